/* A pool of worker threads over one bounded queue, first in first out.
 *
 * Invariants: `queued` is the length of the list from `head`; a thread leaves only with the queue
 * empty, when the pool stops or is trimmed, so an item queued by a running task is seen by the
 * thread that ran the task at the latest. Before a thread runs an item it sees to it that another
 * is idle, while there may be more: most servers never need them all, and one that is not there
 * costs no memory and no time at the start. */
#include <assert.h>
#include <stdatomic.h>
#include <stdlib.h>

#include "base/clock.h"
#include "base/metrics.h"
#include "base/thread.h"
#include "base/work.h"

#define WORK_THREADS_MAX   1024
#define WORK_THREADS_FIRST 2    /* started with the pool, and never trimmed */
#define WORK_TRIM_MS       1000 /* idle threads leave within microseconds */

struct worker {
    struct thread thread;
    struct work *pool;
    enum { WORKER_NONE, WORKER_RUNS, WORKER_LEFT } is; /* guarded by the pool's mu */
};

struct work {
    struct mutex mu;
    struct cond more, left;
    struct work_item *head, **tail; /* guarded by mu */
    atomic_uint queued;             /* written under mu, read without */
    bool stopping;                  /* guarded by mu */
    const char *name;
    unsigned queue_max, threads_max;
    /* Guarded by mu: threads that run, that wait, the fewest that waited since the last trim, and
     * how many of them are to leave. */
    unsigned started, idle, least_idle, leaving;
    struct worker workers[];
};

static void worker(void *arg);

/* With mu held, by a worker that is about to be busy. When it fails the next item tries again. */
static void grow(struct work *w)
{
    struct worker *one = w->workers;

    if (w->stopping || w->started == w->threads_max || w->idle > 0)
        return;
    while (one < w->workers + w->threads_max && one->is != WORKER_NONE)
        one++;
    if (one == w->workers + w->threads_max || /* one that left is being joined */
        thread_start(&one->thread, w->name, worker, one) < 0)
        return;
    one->is = WORKER_RUNS;
    w->started++;
}

/* With mu held. */
static void push(struct work *w, struct work_item *item)
{
    item->next = NULL;
    *w->tail = item;
    w->tail = &item->next;
    atomic_fetch_add_explicit(&w->queued, 1, memory_order_relaxed);
    metric_add(METRIC_worker_queue, 1);
    cond_signal(&w->more);
}

/* With mu held; NULL when the queue is empty. */
static struct work_item *pop(struct work *w)
{
    struct work_item *item = w->head;

    if (!item)
        return NULL;
    w->head = item->next;
    if (!w->head)
        w->tail = &w->head;
    atomic_fetch_sub_explicit(&w->queued, 1, memory_order_relaxed);
    metric_add(METRIC_worker_queue, -1);
    return item;
}

/* With mu held. */
static void wait_for_more(struct work *w)
{
    w->idle++;
    cond_wait(&w->more, &w->mu);
    w->idle--;
    if (w->idle < w->least_idle)
        w->least_idle = w->idle;
}

static void worker(void *arg)
{
    struct worker *self = arg;
    struct work *w = self->pool;

    mutex_lock(&w->mu);
    for (;;) {
        struct work_item *item = pop(w);

        if (item) {
            grow(w);
            mutex_unlock(&w->mu);
            item->fn(item);
            mutex_lock(&w->mu);
        } else if (w->stopping) {
            break;
        } else if (w->leaving > 0) {
            w->leaving--;
            w->started--;
            self->is = WORKER_LEFT;
            cond_signal(&w->left);
            break;
        } else {
            wait_for_more(w);
        }
    }
    mutex_unlock(&w->mu);
}

int work_new(const char *name, unsigned threads, unsigned queue_max, struct work **ret)
{
    struct work *w;

    assert(name && ret && threads > 0 && threads <= WORK_THREADS_MAX && queue_max > 0);
    w = calloc(1, sizeof(*w) + threads * sizeof(w->workers[0]));
    if (!w)
        return -ERR_NOMEM;
    mutex_init(&w->mu);
    cond_init(&w->more);
    cond_init(&w->left);
    w->tail = &w->head;
    w->name = name;
    w->queue_max = queue_max;
    w->threads_max = threads;
    for (unsigned i = 0; i < threads; i++)
        w->workers[i].pool = w;
    for (unsigned i = 0; i < threads && i < WORK_THREADS_FIRST; i++) {
        int r = thread_start(&w->workers[i].thread, name, worker, &w->workers[i]);

        if (r < 0) {
            work_free(w);
            return r;
        }
        mutex_lock(&w->mu); /* those that run already may be reading */
        w->workers[i].is = WORKER_RUNS;
        w->started++;
        mutex_unlock(&w->mu);
    }
    *ret = w;
    return 0;
}

/* Takes one that left; NULL when there is none. */
static struct worker *next_left(struct work *w)
{
    struct worker *found = NULL;

    mutex_lock(&w->mu);
    for (unsigned i = 0; i < w->threads_max && !found; i++)
        if (w->workers[i].is == WORKER_LEFT)
            found = &w->workers[i];
    mutex_unlock(&w->mu);
    return found;
}

void work_trim(struct work *w)
{
    int64_t deadline_ms = clock_boot_ms() + WORK_TRIM_MS;
    struct worker *one;
    unsigned more;

    mutex_lock(&w->mu);
    more = w->started > WORK_THREADS_FIRST ? w->started - WORK_THREADS_FIRST : 0;
    w->leaving = w->least_idle < more ? w->least_idle : more;
    if (w->leaving > 0)
        cond_broadcast(&w->more);
    while (w->leaving > 0 && cond_wait_until(&w->left, &w->mu, deadline_ms))
        ;
    w->leaving = 0; /* those that were given a task instead stay */
    w->least_idle = w->idle;
    mutex_unlock(&w->mu);
    while ((one = next_left(w))) {
        thread_join(&one->thread);
        mutex_lock(&w->mu);
        one->is = WORKER_NONE;
        mutex_unlock(&w->mu);
    }
}

int work_submit(struct work *w, struct work_item *item)
{
    int r = -ERR_BUSY;

    assert(w && item && item->fn);
    mutex_lock(&w->mu);
    if (!w->stopping && work_queued(w) < w->queue_max) {
        push(w, item);
        r = 0;
    }
    mutex_unlock(&w->mu);
    return r;
}

void work_continue(struct work *w, struct work_item *item)
{
    assert(w && item && item->fn);
    mutex_lock(&w->mu);
    push(w, item);
    mutex_unlock(&w->mu);
}

unsigned work_queued(const struct work *w)
{
    return atomic_load_explicit(&w->queued, memory_order_relaxed);
}

void work_free(struct work *w)
{
    if (!w)
        return;
    mutex_lock(&w->mu);
    w->stopping = true;
    cond_broadcast(&w->more);
    mutex_unlock(&w->mu);
    for (unsigned i = 0; i < w->threads_max; i++)
        if (w->workers[i].is != WORKER_NONE) /* a stopping pool starts none */
            thread_join(&w->workers[i].thread);
    assert(!w->head); /* a continuation after the drain would be lost */
    cond_done(&w->left);
    cond_done(&w->more);
    mutex_done(&w->mu);
    free(w);
}
