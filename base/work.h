/* A pool of worker threads, started as they are needed up to a fixed number, with a bounded queue.
 * Tasks run straight-line code that may block on the store; no task waits for another that has not
 * started. */
#ifndef STOWAGE_BASE_WORK_H
#define STOWAGE_BASE_WORK_H

#include "base/err.h"

struct work;

/* A queued task; embedded in its owner, which must outlive the run. fn may free it. */
struct work_item {
    void (*fn)(struct work_item *item);
    struct work_item *next; /* of the pool */
};

/* threads: at most; name is borrowed. */
int work_new(const char *name, unsigned threads, unsigned queue_max, struct work **ret) must_check;
/* -ERR_BUSY when the queue is full (answer 503 + Retry-After). Any thread, never blocks. */
int work_submit(struct work *w, struct work_item *item) must_check;
/* Like work_submit but always accepted: for the continuation of work already admitted. */
void work_continue(struct work *w, struct work_item *item);
unsigned work_queued(const struct work *w);
/* Ends those threads above the first two that no task needed since the call before. One caller at a
 * time; may wait for a second. */
void work_trim(struct work *w);
/* Runs everything queued, then joins the threads. */
void work_free(struct work *w);

#endif
