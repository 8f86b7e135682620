/* One list in order of the times at which items are due; each thread takes the first. */
#include "auth/gate.h"

#include <assert.h>
#include <stdlib.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/thread.h"

#define GATE_THREADS_MAX 8

struct gate {
    struct mutex mu;
    struct cond changed;
    struct gate_item *first; /* guarded by mu, like all below */
    unsigned waiting;
    bool stopping;
    unsigned started;
    struct thread threads[GATE_THREADS_MAX];
};

static void gate_main(void *arg)
{
    struct gate *g = arg;

    thread_lower_priority();
    mutex_lock(&g->mu);
    for (;;) {
        struct gate_item *item = g->first;

        if (!item && g->stopping)
            break;
        if (!item) {
            cond_wait(&g->changed, &g->mu);
        } else if (!g->stopping && item->due_ms > clock_boot_ms()) {
            (void)cond_wait_until(&g->changed, &g->mu, item->due_ms);
        } else {
            g->first = item->next;
            g->waiting--;
            mutex_unlock(&g->mu);
            item->fn(item);
            mutex_lock(&g->mu);
        }
    }
    mutex_unlock(&g->mu);
}

int gate_new(unsigned threads, struct gate **ret)
{
    struct gate *g = calloc(1, sizeof(*g));
    long cores = sysconf(_SC_NPROCESSORS_ONLN);

    if (!g)
        return -ERR_NOMEM;
    if (threads == 0)
        threads = cores >= 4 ? (unsigned)cores / 2 : 1;
    if (threads > GATE_THREADS_MAX)
        threads = GATE_THREADS_MAX;
    mutex_init(&g->mu);
    cond_init(&g->changed);
    for (; g->started < threads; g->started++) {
        int e = thread_start(&g->threads[g->started], "login", gate_main, g);

        if (e < 0) {
            gate_free(g);
            return e;
        }
    }
    *ret = g;
    return 0;
}

int gate_submit(struct gate *g, struct gate_item *item, int64_t delay_ms)
{
    struct gate_item **at = &g->first;
    int e = -ERR_BUSY;

    assert(item->fn && delay_ms >= 0);
    item->due_ms = clock_boot_ms() + delay_ms;
    mutex_lock(&g->mu);
    if (g->waiting < GATE_QUEUE_MAX) {
        while (*at && (*at)->due_ms <= item->due_ms)
            at = &(*at)->next;
        item->next = *at;
        *at = item;
        g->waiting++;
        cond_broadcast(&g->changed);
        e = 0;
    }
    mutex_unlock(&g->mu);
    return e;
}

void gate_free(struct gate *g)
{
    if (!g)
        return;
    mutex_lock(&g->mu);
    g->stopping = true;
    cond_broadcast(&g->changed);
    mutex_unlock(&g->mu);
    for (unsigned i = 0; i < g->started; i++)
        thread_join(&g->threads[i]);
    cond_done(&g->changed);
    mutex_done(&g->mu);
    free(g);
}
