/* Where the verification of credentials runs: a few threads of low priority of its own, so that
 * hashing passwords, however many are sent, takes neither the event threads' nor the workers' time.
 * Items wait until they are due, without holding a thread. Any thread; submitting never waits. */
#ifndef STOWAGE_AUTH_GATE_H
#define STOWAGE_AUTH_GATE_H

#include <stdint.h>

#include "base/err.h"

#define GATE_QUEUE_MAX 512

struct gate;

/* Embedded in its owner, which outlives the run. */
struct gate_item {
    void (*fn)(struct gate_item *item);
    struct gate_item *next; /* of the gate */
    int64_t due_ms;
};

/* threads: 0 = half of the cores, at least one. */
int gate_new(unsigned threads, struct gate **ret) must_check;
/* Runs fn on a thread of the gate, not before delay_ms have passed. -ERR_BUSY: too many wait. */
int gate_submit(struct gate *g, struct gate_item *item, int64_t delay_ms) must_check;
/* Runs everything that waits, at once, then joins the threads. */
void gate_free(struct gate *g);

#endif
