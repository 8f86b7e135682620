/* One thread keeps the lease; one for each target posts while it is held. A target's work begins
 * with taking its cursor (blobstore/cursor.h), so that nothing of an older holder moves it. */
#include "registry/webhooks.h"

#include <assert.h>
#include <stdatomic.h>

#include "auth/file.h"
#include "base/clock.h"
#include "base/enc.h"
#include "base/log.h"
#include "base/metrics.h"
#include "base/rand.h"
#include "blobstore/cursor.h"
#include "blobstore/httpc.h"
#include "blobstore/lease.h"

#define JOB           "webhooks"
#define BATCH_MAX     (4u << 20) /* bytes of events that wait for one target */
#define PAUSE_MS      1000
#define AGAIN_MS      3000 /* after a failure of the store */
#define SIGNATURE_MAX (2 * HMAC_BYTES + 16)

/* Events of a step, in order: each with its length before, cursors beside. */
struct batch {
    struct buf texts;
    size_t count;
};

struct target {
    struct webhooks *all;
    const struct webhook *hook;
    struct thread thread;
    struct cond wake;
    bool started;
    bool woken; /* guarded by the mutex of all */

    /* The thread's. */
    uint64_t epoch;
    struct cursor *cursor;
    struct events_reader *reader;
    int64_t written_ms;
    bool posted; /* since the cursor was written */
    struct batch batch;
    unsigned failures;
};

struct webhooks {
    struct app *app;
    struct webhook_list list;
    struct lease *lease;
    struct httpc *http;
    struct thread thread;
    struct mutex mu;
    struct cond changed;
    bool started, stop; /* stop: guarded by mu */
    struct target targets[WEBHOOKS_MAX];
};

/* ---- waiting */

static bool stopping(struct webhooks *w)
{
    bool stop;

    mutex_lock(&w->mu);
    stop = w->stop;
    mutex_unlock(&w->mu);
    return stop;
}

static bool leads(struct target *t)
{
    return t->epoch && lease_epoch(t->all->lease) == t->epoch && !stopping(t->all);
}

/* Until woken, or the time is over. */
static void wait_for(struct target *t, int64_t ms, bool for_events)
{
    struct webhooks *w = t->all;
    int64_t until = clock_boot_ms() + ms;

    mutex_lock(&w->mu);
    while (!w->stop && !(for_events && t->woken))
        if (!cond_wait_until(&t->wake, &w->mu, until))
            break;
    t->woken = false;
    mutex_unlock(&w->mu);
}

static void on_events(void *arg)
{
    struct target *t = arg;

    mutex_lock(&t->all->mu);
    t->woken = true;
    cond_signal(&t->wake);
    mutex_unlock(&t->all->mu);
}

/* ---- the cursor */

static_assert(EVENT_CURSOR_MAX <= CURSOR_AT_MAX, "a cursor of events fits");

static int write_cursor(struct target *t, struct str at, struct err_detail *detail)
{
    int e = cursor_save(t->cursor, at, detail);

    if (e == 0) {
        t->written_ms = clock_boot_ms();
        t->posted = false;
    }
    return e;
}

/* Everything posted so far was taken. Often enough that little is posted again by the next holder,
 * and not for each event. -ERR_EXISTS: there is a newer holder. */
static int save(struct target *t, bool now, struct err_detail *detail)
{
    struct str at = events_cursor(t->reader);
    int64_t age = clock_boot_ms() - t->written_ms;

    if (!at.len || str_eq(at, cursor_at(t->cursor)))
        return 0;
    if (!now && age < (t->posted ? WEBHOOK_CURSOR_MS : WEBHOOK_CURSOR_QUIET_MS))
        return 0;
    if (now && !t->posted)
        return 0;
    return write_cursor(t, at, detail);
}

/* ---- posting */

static void sign(const struct webhook *hook, struct str body, char out[SIGNATURE_MAX])
{
    uint8_t mac[HMAC_BYTES];

    hmac_sha256(str_of(hook->secret), body, mac);
    memcpy(out, "sha256=", strlen("sha256="));
    hex_encode(mac, sizeof(mac), out + strlen("sha256="));
}

static bool post_once(struct target *t, struct str body)
{
    char signature[SIGNATURE_MAX];
    struct httpc_header headers[] = {
        {STR("Content-Type"), STR("application/cloudevents+json; charset=utf-8")},
        {STR("User-Agent"), STR("Stowage")},
        {STR("X-Stowage-Target"), str_of(t->hook->name)},
        {STR("X-Stowage-Signature"), STR_NONE}};
    struct httpc_request r = {.method = "POST",
                              .url = t->hook->url,
                              .headers = headers,
                              .header_count = ARRAY_LEN(headers) - !t->hook->secret[0],
                              .body = body,
                              .deadline_ms = clock_boot_ms() + WEBHOOK_TIMEOUT_MS};
    bool taken;

    if (t->hook->secret[0]) {
        sign(t->hook, body, signature);
        headers[ARRAY_LEN(headers) - 1].value = str_of(signature);
    }
    taken = httpc_run(t->all->http, &r) == 0 && r.result == HTTPC_ANSWERED && r.status >= 200 &&
            r.status < 300;
    metric_add(taken ? METRIC_webhook_posts_total : METRIC_webhook_failures_total, 1);
    if (!taken && t->failures++ == 0)
        log_warn("webhook.failing", KV_S("target", t->hook->name),
                 KV_I("status", r.result == HTTPC_ANSWERED ? (int64_t)r.status : 0));
    if (taken && t->failures > 0) {
        log_info("webhook.well", KV_S("target", t->hook->name),
                 KV_I("failures", (int64_t)t->failures));
        t->failures = 0;
    }
    httpc_request_done(&r);
    return taken;
}

static int64_t backoff_ms(unsigned failures)
{
    int64_t ms = WEBHOOK_BACKOFF_MS;

    while (failures-- > 1 && ms < WEBHOOK_BACKOFF_MAX_MS)
        ms *= 2;
    if (ms > WEBHOOK_BACKOFF_MAX_MS)
        ms = WEBHOOK_BACKOFF_MAX_MS;
    return ms / 2 + (int64_t)rand_below((uint64_t)ms);
}

/* Until it is taken. False: this node does not lead any more. */
static bool post(struct target *t, struct str body)
{
    int64_t next_ms = 0;

    while (leads(t)) {
        if (clock_boot_ms() < next_ms) {
            wait_for(t, next_ms - clock_boot_ms() < PAUSE_MS ? next_ms - clock_boot_ms() : PAUSE_MS,
                     false);
            continue;
        }
        if (post_once(t, body)) {
            t->posted = true;
            return true;
        }
        next_ms = clock_boot_ms() + backoff_ms(t->failures);
    }
    return false;
}

/* Asked again for each event: the policy may be another one by now. */
static bool may_hear(const struct target *t, struct str repo)
{
    const struct webhook *hook = t->hook;
    const struct identity who = {hook->caller ? login_name(hook->caller) : "", hook->caller};
    const struct access_need need = {.action = ACTION_PULL, .repo = repo};

    return !hook->judged || access_check(t->all->app->access, &who, &need, NULL) == 0;
}

static int keep(const struct event *e, void *arg)
{
    struct target *t = arg;
    struct batch *b = &t->batch;

    if (!webhook_wants(t->hook, e->repo, e->action) || !may_hear(t, e->repo))
        return 0;
    buf_add(&b->texts, str_make(&e->text.len, sizeof(e->text.len)));
    buf_add(&b->texts, e->text);
    b->count++;
    return b->texts.len > BATCH_MAX / 2;
}

static bool post_batch(struct target *t)
{
    struct str rest = buf_str(&t->batch.texts);
    bool all = true;

    while (all && rest.len) {
        struct str text;

        memcpy(&text.len, rest.at, sizeof(text.len));
        rest = str_skip(rest, sizeof(text.len));
        text.at = rest.at;
        rest = str_skip(rest, text.len);
        all = post(t, text);
    }
    return all;
}

/* ---- a target, while this node leads */

static bool wants_repo(void *arg, struct str repo)
{
    const struct target *t = arg;

    return webhook_wants(t->hook, repo, STR_NONE) && may_hear(t, repo);
}

static int open_target(struct target *t, struct err_detail *detail)
{
    struct events_spec spec = {.allowed = wants_repo, .wake = on_events, .arg = t};
    int e = cursor_take(t->cursor, detail);

    if (e < 0)
        return e;
    if (cursor_known(t->cursor)) {
        t->written_ms = clock_boot_ms();
        t->posted = false;
        spec.after = cursor_at(t->cursor);
    } else if (!t->hook->from_start) {
        spec.after = STR("now");
    }
    return events_open(t->all->app->events, &spec, &t->reader, detail);
}

/* A new target stands where it begins from its first moment. */
static int first_cursor(struct target *t, struct err_detail *detail)
{
    struct str at = events_cursor(t->reader);

    return cursor_known(t->cursor) || !at.len ? 0 : write_cursor(t, at, detail);
}

/* One step and all its posts: 1 more, 0 nothing more, negative: begin anew. */
static int step(struct target *t, struct err_detail *detail)
{
    int e;

    buf_clear(&t->batch.texts);
    t->batch.count = 0;
    e = events_step(t->reader, keep, t, detail);
    if (e >= 0 && buf_err(&t->batch.texts) < 0)
        return buf_err(&t->batch.texts);
    if (e < 0 && t->batch.count == 0)
        return e;
    if (!post_batch(t))
        return -ERR_CANCELLED;
    if (e == 0)
        e = first_cursor(t, detail);
    if (e >= 0) {
        int saved = save(t, false, detail);

        e = saved < 0 ? saved : e;
    }
    return e;
}

static void serve_target(struct target *t)
{
    struct err_detail why = {""};
    int e = open_target(t, &why);

    while (e >= 0 && leads(t)) {
        e = step(t, &why);
        if (e == 0 && leads(t))
            wait_for(t, t->posted ? WEBHOOK_CURSOR_MS : LEASE_TTL_MS / 8, true);
    }
    if (t->reader && leads(t) == false && e >= 0 && lease_epoch(t->all->lease) == t->epoch)
        e = save(t, true, &why); /* a node that is told to stop */
    events_close(t->reader);
    t->reader = NULL;
    buf_done(&t->batch.texts);
    if (e >= 0 || e == -ERR_CANCELLED)
        return;
    log_warn("webhook.again", KV_S("target", t->hook->name), KV_S("error", err_name(e)),
             KV_S("why", why.text));
    wait_for(t, AGAIN_MS, false);
}

static void target_main(void *arg)
{
    struct target *t = arg;

    while (!stopping(t->all)) {
        t->epoch = lease_epoch(t->all->lease);
        if (t->epoch)
            serve_target(t);
        else
            wait_for(t, PAUSE_MS, true);
    }
}

/* ---- the lease */

static void lead(struct webhooks *w)
{
    struct err_detail why = {""};
    int64_t wait_ms = PAUSE_MS;
    uint64_t before = lease_epoch(w->lease);
    int e = lease_step(w->lease, &wait_ms, &why);

    if (e < 0)
        log_warn("lease.step", KV_S("job", JOB), KV_S("error", err_name(e)), KV_S("why", why.text));
    metric_set(METRIC_webhook_leader, lease_epoch(w->lease) != 0);
    mutex_lock(&w->mu);
    if (lease_epoch(w->lease) != before)
        for (size_t i = 0; i < w->list.count; i++) {
            w->targets[i].woken = true;
            cond_signal(&w->targets[i].wake);
        }
    if (!w->stop)
        cond_wait_until(&w->changed, &w->mu, clock_boot_ms() + wait_ms);
    mutex_unlock(&w->mu);
}

static void lease_main(void *arg)
{
    struct webhooks *w = arg;

    while (!stopping(w))
        lead(w);
}

/* ---- life */

static int start_target(struct webhooks *w, size_t i)
{
    struct target *t = &w->targets[i];
    struct buf prefix auto_buf = BUF_INIT(STORE_KEY_MAX);
    int e;

    t->all = w;
    t->hook = &w->list.at[i];
    t->batch.texts = BUF_INIT(BATCH_MAX);
    keys_hook(&prefix, str_of(t->hook->name));
    e = cursor_new(w->app->node, buf_str(&prefix), &t->cursor);
    if (e == 0)
        e = thread_start(&t->thread, "webhook", target_main, t);
    t->started = e == 0;
    return e;
}

static int read_list(const struct app *app, const char *path, struct webhook_list *ret,
                     struct err_detail *detail)
{
    struct buf text auto_buf = BUF_INIT(FILE_BYTES_MAX);
    struct err_detail why = {""};
    struct file_stamp stamp;
    int e = file_read(path, &text, &stamp, detail);

    if (e < 0)
        return e;
    e = webhooks_parse(buf_str(&text), ret, &why);
    for (size_t i = 0; e == 0 && i < ret->count; i++)
        if (ret->at[i].judged && !access_enabled(app->access))
            e = err_set(&why, -ERR_INVAL,
                        "webhook %zu: \"as\" means nothing where nobody is asked who he is", i + 1);
    return e < 0 ? err_set(detail, e, "%s: %s", path, why.text) : 0;
}

int webhooks_start(struct app *app, const char *path, struct webhooks **ret,
                   struct err_detail *detail)
{
    struct httpc_settings http = {.connections_max = WEBHOOKS_MAX};
    struct webhooks *w;
    int e;

    *ret = NULL;
    if (!path || !path[0])
        return 0;
    w = calloc(1, sizeof(*w));
    if (!w)
        return -ERR_NOMEM;
    mutex_init(&w->mu);
    cond_init(&w->changed);
    w->app = app;
    for (size_t i = 0; i < WEBHOOKS_MAX; i++)
        cond_init(&w->targets[i].wake);
    e = read_list(app, path, &w->list, detail);
    if (e == 0)
        e = httpc_new(&http, &w->http, detail);
    if (e == 0)
        e = lease_new(app->node, STR(JOB), LEASE_TTL_MS, &w->lease);
    for (size_t i = 0; e == 0 && i < w->list.count; i++)
        e = start_target(w, i);
    if (e == 0)
        e = thread_start(&w->thread, JOB, lease_main, w);
    w->started = e == 0;
    if (e < 0) {
        webhooks_stop(w);
        return e;
    }
    *ret = w;
    return 0;
}

void webhooks_stop(struct webhooks *w)
{
    if (!w)
        return;
    mutex_lock(&w->mu);
    w->stop = true;
    cond_broadcast(&w->changed);
    for (size_t i = 0; i < WEBHOOKS_MAX; i++)
        cond_broadcast(&w->targets[i].wake);
    mutex_unlock(&w->mu);
    if (w->started)
        thread_join(&w->thread);
    for (size_t i = 0; i < WEBHOOKS_MAX; i++) {
        struct target *t = &w->targets[i];

        if (t->started)
            thread_join(&t->thread);
        cursor_free(t->cursor);
        buf_done(&t->batch.texts);
        cond_done(&t->wake);
    }
    if (w->lease)
        lease_release(w->lease);
    lease_free(w->lease);
    if (w->http)
        httpc_free(w->http);
    webhook_list_done(&w->list);
    cond_done(&w->changed);
    mutex_done(&w->mu);
    free(w);
}
