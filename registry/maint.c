#include "registry/maint.h"

#include <malloc.h>
#include <stdlib.h>

#include "base/clock.h"
#include "base/log.h"
#include "base/thread.h"
#include "blobstore/lease.h"
#include "blobstore/store_check.h"

#define JOB            "sweep"
#define SWEEP_RETRY_MS (60 * 1000LL) /* the lease could not be had, or was lost */

struct maint {
    struct app *app;
    struct lease *lease;
    uint64_t epoch; /* in which it sweeps, 0: without the lease */
    struct thread thread;
    struct mutex mu;
    struct cond stopped;
    struct http *http; /* NULL: not yet; guarded by mu, like the next */
    bool stop;
};

static bool stopping(struct maint *m)
{
    bool stop;

    mutex_lock(&m->mu);
    stop = m->stop;
    mutex_unlock(&m->mu);
    return stop;
}

static void failed(const char *event, int e, const struct err_detail *why)
{
    log_warn(event, KV_S("error", err_name(e)), KV_S("why", why->text));
}

/* ---- the sweep */

/* What was paused for longer than the lease leaves the rest to whoever has it now. */
static bool still_ours(void *arg)
{
    struct maint *m = arg;
    struct err_detail why = {""};
    int64_t wait_ms;
    int e = m->epoch ? lease_step(m->lease, &wait_ms, &why) : 0;

    if (e < 0)
        failed("lease.step", e, &why);
    return lease_epoch(m->lease) == m->epoch && !stopping(m);
}

static int sweep(struct maint *m)
{
    struct err_detail why = {""};
    int e;

    m->epoch = lease_epoch(m->lease);
    e = uploads_sweep(m->app->uploads, still_ours, m, &why);
    if (e == -ERR_AGAIN)
        log_info("maint.sweep_left", KV_I("epoch", (int64_t)m->epoch));
    else if (e < 0)
        failed("maint.sweep_failed", e, &why);
    if (lease_epoch(m->lease))
        lease_release(m->lease);
    return e;
}

/* Sweeps if the last sweep of any node is an hour old. Returns after how many ms to look again. */
static int64_t sweep_if_due(struct maint *m)
{
    struct err_detail why = {""};
    int64_t released_ms = 0, now = 0, wait_ms = MAINT_TRIM_MS;
    int e = lease_released(m->lease, &released_ms, &why);

    if (e == 0)
        e = store_now(m->app->store, &now, &why);
    if (e == 0 && released_ms > now - MAINT_SWEEP_MS && released_ms <= now)
        return released_ms + MAINT_SWEEP_MS - now;
    if (e == 0)
        e = lease_step(m->lease, &wait_ms, &why);
    if (e == 0 && !lease_epoch(m->lease))
        return wait_ms; /* another one is at it */
    if (e < 0)
        failed("lease.step", e, &why);
    if (e == 0 || e == -ERR_NOSPACE) /* what it removes may be what is lacking */
        e = sweep(m);
    return e == 0 ? MAINT_SWEEP_MS : SWEEP_RETRY_MS;
}

static void tidy(struct app *app, struct http *http)
{
    uploads_trim(app->uploads);
    if (http)
        http_trim(http);
    malloc_trim(0);
}

/* ---- what each node does for itself, hourly */

/* A server may be replaced by another under the same name. */
static void check(struct app *app)
{
    struct err_detail why = {""};
    int e = store_sweep_temporary(app->store, &why);

    if (e < 0)
        failed("maint.sweep_failed", e, &why);
    e = store_has_files(app->store) ? 0 : store_check(app->store, NULL, NULL, &why);

    if (e == -ERR_UNSUPPORTED)
        log_alarm("store.unsafe", (const struct log_kv[]){KV_S("why", why.text), KV_END});
    else if (e < 0)
        failed("maint.check_failed", e, &why);
}

static void maint_main(void *arg)
{
    struct maint *m = arg;
    int64_t trim = clock_boot_ms() + MAINT_TRIM_MS;
    int64_t sweep = trim, checks = trim; /* soon after the start, then hourly */
    struct http *http;

    mutex_lock(&m->mu);
    while (!m->stop) {
        if (cond_wait_until(&m->stopped, &m->mu, trim < sweep ? trim : sweep))
            continue; /* woken early */
        http = m->http;
        mutex_unlock(&m->mu);
        if (clock_boot_ms() >= trim) {
            tidy(m->app, http);
            trim = clock_boot_ms() + MAINT_TRIM_MS;
        }
        if (clock_boot_ms() >= checks) {
            check(m->app);
            checks = clock_boot_ms() + MAINT_SWEEP_MS;
        }
        if (clock_boot_ms() >= sweep)
            sweep = clock_boot_ms() + sweep_if_due(m);
        mutex_lock(&m->mu);
    }
    mutex_unlock(&m->mu);
}

static void maint_free(struct maint *m)
{
    lease_free(m->lease);
    cond_done(&m->stopped);
    mutex_done(&m->mu);
    free(m);
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
    e = lease_new(app->node, STR(JOB), LEASE_TTL_MS, &m->lease);
    if (e == 0)
        e = thread_start(&m->thread, "maint", maint_main, m);
    if (e < 0) {
        maint_free(m);
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
    maint_free(m);
}
