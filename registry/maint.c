#include "registry/maint.h"

#include <malloc.h>
#include <stdlib.h>

#include "base/clock.h"
#include "base/log.h"
#include "base/thread.h"
#include "blobstore/store_check.h"

struct maint {
    struct app *app;
    struct thread thread;
    struct mutex mu;
    struct cond stopped;
    struct http *http; /* NULL: not yet; guarded by mu, like the next */
    bool stop;
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

/* A server may be replaced by another under the same name. */
static void check(struct app *app)
{
    struct err_detail why = {""};
    int e = store_has_files(app->store) ? 0 : store_check(app->store, NULL, NULL, &why);

    if (e == -ERR_UNSUPPORTED)
        log_alarm("store.unsafe", (const struct log_kv[]){KV_S("why", why.text), KV_END});
    else if (e < 0)
        log_warn("maint.check_failed", KV_S("error", err_name(e)), KV_S("why", why.text));
}

static void maint_main(void *arg)
{
    struct maint *m = arg;
    int64_t next_trim = clock_boot_ms() + MAINT_TRIM_MS;
    int64_t next_sweep = next_trim; /* soon after the start, then hourly */
    struct http *http;

    mutex_lock(&m->mu);
    while (!m->stop) {
        if (cond_wait_until(&m->stopped, &m->mu, next_trim))
            continue; /* woken early */
        http = m->http;
        mutex_unlock(&m->mu);
        uploads_trim(m->app->uploads);
        if (http)
            http_trim(http);
        malloc_trim(0);
        if (clock_boot_ms() >= next_sweep) {
            sweep(m->app);
            check(m->app);
            next_sweep = clock_boot_ms() + MAINT_SWEEP_MS;
        }
        next_trim = clock_boot_ms() + MAINT_TRIM_MS;
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

void maint_set_http(struct maint *m, struct http *http)
{
    mutex_lock(&m->mu);
    m->http = http;
    mutex_unlock(&m->mu);
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
