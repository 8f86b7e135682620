/* What one thread waits for and others say, as bits. Unlike a condition it is said without holding
 * what it is about, so that a thread that wakes many does not make them queue for one lock.
 *
 * Thread rule: one waiter. A setter touches it no more after event_set, so the waiter may end it as
 * soon as it has got the last bit that will be said. */
#ifndef STOWAGE_BASE_EVENT_H
#define STOWAGE_BASE_EVENT_H

#include "base/thread.h"

struct event {
    struct mutex mu;
    struct cond changed;
    unsigned said;
};

void event_init(struct event *e); /* nothing was said */
void event_done(struct event *e);
void event_set(struct event *e, unsigned bits);
/* Waits until something was said; returns all of it, once. */
unsigned event_wait(struct event *e);
/* The same; 0 when the deadline (clock_boot_ms) passed before. */
unsigned event_wait_until(struct event *e, int64_t deadline_ms);

#endif
