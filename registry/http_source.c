/* Answers whose bytes must be waited for: windows are fetched on a worker, one ahead of the one
 * that is being sent. The connection is suspended while neither is at hand, so an event thread
 * never waits, and a worker is held only while it fetches.
 *
 * Ownership of a struct source: the response's; a fetch in progress keeps it alive (`fetching`):
 * whoever of the two ends last frees it. */
#include <assert.h>
#include <stdlib.h>

#include "base/clock.h"
#include "base/log.h"
#include "base/metrics.h"
#include "registry/http_internal.h"

#define FAST_TURN_NS 250000000    /* a window sent within this makes the next one larger */
#define SOURCE_BLOCK (128u << 10) /* the library asks for so much at once */

struct source {
    struct work_item item; /* first: jobs get it back */
    struct http *http;
    struct MHD_Connection *conn;
    reply_fetch_fn fetch;
    void (*done)(void *arg);
    void *arg;
    uint64_t size, fetched; /* of the answer; asked for so far (of the job, while one runs) */
    size_t window;          /* counted in http->sourced, twice */
    int64_t turned_ns;      /* when the last window began to be sent */
    char id[17];

    struct mutex mu;
    struct buf now, next; /* guarded by mu; now is the event thread's alone */
    size_t sent;          /* of now */
    bool fetching, suspended, gone, failed;
};

static void source_free(struct source *s)
{
    atomic_fetch_sub(&s->http->sourced, 2 * (long long)s->window);
    s->done(s->arg);
    buf_done(&s->now);
    buf_done(&s->next);
    mutex_done(&s->mu);
    free(s);
}

static int fetch_into(struct source *s, struct buf *out, struct err_detail *detail)
{
    uint64_t left = s->size - s->fetched;
    size_t most = left < s->window ? (size_t)left : s->window;
    int e;

    out->max = s->window;
    e = s->fetch(s->arg, s->fetched, most, out, detail);
    if (e == 0 && out->len != most)
        e = -ERR_CORRUPT;
    s->fetched += most;
    return e;
}

static void fetch_job(struct work_item *item)
{
    struct source *s = (struct source *)item;
    struct http *h = s->http;
    struct err_detail why = {""};
    struct buf bytes = BUF_INIT(0);
    bool gone;
    int e = fetch_into(s, &bytes, &why);

    if (e < 0)
        log_warn("http.broken_off", KV_S("req", s->id), KV_S("error", err_name(e)),
                 KV_S("why", why.text));
    mutex_lock(&s->mu);
    s->failed = e < 0;
    buf_done(&s->next);
    s->next = bytes;
    s->fetching = false;
    gone = s->gone;
    if (s->suspended && !gone)
        MHD_resume_connection(s->conn);
    s->suspended = false;
    mutex_unlock(&s->mu);
    if (gone)
        source_free(s);
    atomic_fetch_sub(&h->jobs, 1);
}

static void start_fetch(struct source *s)
{
    s->item.fn = fetch_job;
    s->fetching = true;
    atomic_fetch_add(&s->http->jobs, 1);
    work_continue(s->http->workers, &s->item);
}

/* Changes the size of windows within the memory that those of all answers may have; each answer
 * holds two. False: not even for small ones. */
static bool set_window(struct source *s, size_t window)
{
    long long more = 2 * ((long long)window - (long long)s->window);
    long long all = atomic_fetch_add(&s->http->sourced, more) + more;
    long long most = HTTP_SOURCE_MEMORY_MAX * (window > HTTP_WINDOW_MIN ? 1LL : 4LL);

    if (more > 0 && all > most) {
        atomic_fetch_sub(&s->http->sourced, more);
        return false;
    }
    s->window = window;
    return true;
}

/* A client that takes a window fast gets a larger one next. No job runs. */
static void adapt_window(struct source *s)
{
    int64_t now = clock_boot_ns();

    if (now - s->turned_ns > FAST_TURN_NS)
        (void)set_window(s, HTTP_WINDOW_MIN);
    else if (s->window < HTTP_WINDOW_MAX)
        (void)set_window(s, 2 * s->window);
    s->turned_ns = now;
}

/* Asks for the window after the one being sent, unless it is there, on its way, or does not exist.
 */
static void ask_ahead(struct source *s)
{
    if (s->fetching || s->failed || s->next.len > 0 || s->fetched == s->size)
        return;
    start_fetch(s);
}

/* Takes the next window when the one before is sent; false: it is not there. */
static bool turn(struct source *s)
{
    if (s->fetching || s->next.len == 0)
        return false;
    buf_done(&s->now);
    s->now = s->next;
    s->next = BUF_INIT(0);
    s->sent = 0;
    adapt_window(s);
    return true;
}

/* A client that has taken half of a window gets the next one fetched: one that has stopped holds
 * no more than a window. */
static ssize_t read_source(void *arg, uint64_t pos, char *out, size_t max)
{
    struct source *s = arg;
    size_t left;

    (void)pos;
    mutex_lock(&s->mu);
    if (s->sent >= s->now.len / 2)
        ask_ahead(s);
    if (s->sent == s->now.len && !turn(s)) {
        bool wait = s->fetching;

        s->suspended = wait;
        if (wait)
            MHD_suspend_connection(s->conn);
        mutex_unlock(&s->mu);
        return wait ? 0 : MHD_CONTENT_READER_END_WITH_ERROR;
    }
    mutex_unlock(&s->mu);
    left = s->now.len - s->sent;
    if (left > max)
        left = max;
    memcpy(out, s->now.at + s->sent, left);
    s->sent += left;
    return (ssize_t)left;
}

static void drop_source(void *arg)
{
    struct source *s = arg;
    bool fetching;

    mutex_lock(&s->mu);
    s->gone = true;
    fetching = s->fetching;
    mutex_unlock(&s->mu);
    if (!fetching)
        source_free(s);
}

int req_reply_source(struct req *r, unsigned status, uint64_t size, reply_fetch_fn fetch,
                     void (*done)(void *arg), void *arg)
{
    struct source *s = calloc(1, sizeof(*s));
    int e;

    assert(size > 0);
    if (!s) {
        done(arg);
        return -ERR_NOMEM;
    }
    s->http = r->http;
    s->conn = r->conn;
    s->fetch = fetch;
    s->done = done;
    s->arg = arg;
    s->size = size;
    s->turned_ns = clock_boot_ns();
    memcpy(s->id, r->id, sizeof(s->id));
    mutex_init(&s->mu);
    /* The first window is fetched at once, so that a store that fails gives an answer. */
    e = set_window(s, HTTP_WINDOW_MIN) ? fetch_into(s, &s->now, req_detail(r)) : -ERR_BUSY;
    if (e < 0) {
        buf_clear(&r->header_text); /* were of the body */
        r->header_count = 0;
        source_free(s);
        return e;
    }
    metric_add(METRIC_http_sent_bytes_total, (int64_t)size);
    return reply_callback(r, status, size, SOURCE_BLOCK, read_source, drop_source, s);
}
