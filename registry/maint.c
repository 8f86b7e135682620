#include "registry/maint.h"

#include <stdlib.h>

#include "base/clock.h"
#include "base/log.h"
#include "base/thread.h"

struct maint {
    struct app *app;
    struct thread thread;
    struct mutex mu;
    struct cond stopped;
    bool stop; /* guarded by mu */
};

static void sweep(struct app *app)
{
    struct err_detail why = {""};
    int e = uploads_sweep(app->uploads, &why);

    if (e == 0)
        e = store_sweep_temporary(app->store, &why);
    if (e < 0)
        log_warn("maint.sweep_failed", KV_S("error", err_name(e)), KV_S("why", why.text));
}

static void maint_main(void *arg)
{
    struct maint *m = arg;
    int64_t next_sweep = clock_boot_ms() + MAINT_TRIM_MS; /* soon after the start, then hourly */

    mutex_lock(&m->mu);
    while (!m->stop) {
        int64_t now = clock_boot_ms();

        if (cond_wait_until(&m->stopped, &m->mu, now + MAINT_TRIM_MS))
            continue;
        mutex_unlock(&m->mu);
        uploads_trim(m->app->uploads);
        if (clock_boot_ms() >= next_sweep) {
            sweep(m->app);
            next_sweep = clock_boot_ms() + MAINT_SWEEP_MS;
        }
        mutex_lock(&m->mu);
    }
    mutex_unlock(&m->mu);
}

int maint_start(struct app *app, struct maint **ret)
{
    struct maint *m = calloc(1, sizeof(*m));
    int e;

    if (!m)
        return -ERR_NOMEM;
    m->app = app;
    mutex_init(&m->mu);
    cond_init(&m->stopped);
    e = thread_start(&m->thread, "maint", maint_main, m);
    if (e < 0) {
        cond_done(&m->stopped);
        mutex_done(&m->mu);
        free(m);
        return e;
    }
    *ret = m;
    return 0;
}

void maint_stop(struct maint *m)
{
    if (!m)
        return;
    mutex_lock(&m->mu);
    m->stop = true;
    cond_broadcast(&m->stopped);
    mutex_unlock(&m->mu);
    thread_join(&m->thread);
    cond_done(&m->stopped);
    mutex_done(&m->mu);
    free(m);
}
