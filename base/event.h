/* One thing that one thread waits for and another says. Unlike a condition it is said without
 * holding what it is about, so that a thread that wakes many does not make them queue for one lock.
 *
 * Thread rule: one waiter, one setter at a time. After event_set the setter touches it no more, so
 * the waiter may end it as soon as it has seen it set. */
#ifndef STOWAGE_BASE_EVENT_H
#define STOWAGE_BASE_EVENT_H

#include "base/thread.h"

struct event {
    struct mutex mu;
    struct cond changed;
    bool set;
};

void event_init(struct event *e); /* not set */
void event_done(struct event *e);
void event_set(struct event *e);
/* Waits until it is set, and takes that back. */
void event_wait(struct event *e);
/* The same; false when the deadline (clock_boot_ms) passed before. */
bool event_wait_until(struct event *e, int64_t deadline_ms);

#endif
