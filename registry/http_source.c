/* Answers whose bytes must be waited for: windows are fetched on workers, ahead of the one that is
 * being sent. The connection is suspended while its next window is not at hand, so an event thread
 * never waits, and a worker is held only while it fetches.
 *
 * A client that takes bytes more slowly than they come has one small window fetched ahead. One that
 * has to wait gets larger ones, and several are under way at once: then it is the store that
 * limits, and a store gives more over several connections (blob_read_at).
 *
 * Ownership of a struct source: the response's; fetches in progress keep it alive: whoever ends
 * last frees it. */
#include <assert.h>
#include <stdlib.h>

#include "base/clock.h"
#include "base/log.h"
#include "base/metrics.h"
#include "registry/http_internal.h"

#define SLOW_TURN_NS                                                                               \
    250000000 /* a client that needs longer for a window that was there is slow                    \
               */
#define SOURCE_BLOCK (128u << 10) /* the library asks for so much at once */
#define PROVEN       (4u << 20)   /* bytes that buffers on the way may take without any client */
#define GROWTH       4            /* of windows, for a client that waits */
#define WINDOWS      4            /* of an answer: one is sent, the others are fetched ahead */
#define WINDOWS_SLOW 2            /* the same for a client that does not wait */

struct window {
    struct work_item item; /* first: jobs get it back */
    struct source *source;
    uint64_t offset;
    size_t len;       /* counted in http->sourced */
    struct buf bytes; /* of the job while it fetches, then of the event thread */
    enum { FREE, FETCHING, HERE, FAILED } state; /* guarded by the source's mu */
};

struct source {
    struct http *http;
    struct MHD_Connection *conn;
    reply_fetch_fn fetch;
    void (*done)(void *arg);
    void *arg;
    char id[17];

    /* The event thread's. */
    uint64_t size, asked; /* of the answer; its bytes up to here are sent or on their way */
    size_t wish;          /* bytes of the next window */
    size_t sent;          /* of the first window */
    unsigned first, used; /* windows in use, in order */
    bool waits;           /* the client takes bytes faster than they come */
    bool waited;          /* it did so for the window being sent */
    int64_t turned_ns;    /* when that began */
    struct window windows[WINDOWS];

    struct mutex mu;
    unsigned fetching; /* guarded by mu, as all below */
    bool suspended, gone;
};

static bool take_memory(struct source *s, size_t len, long long most)
{
    if (atomic_fetch_add(&s->http->sourced, (long long)len) + (long long)len <= most)
        return true;
    atomic_fetch_sub(&s->http->sourced, (long long)len);
    return false;
}

static void let_go(struct source *s, struct window *w)
{
    buf_done(&w->bytes);
    atomic_fetch_sub(&s->http->sourced, (long long)w->len);
    w->len = 0;
    w->state = FREE;
}

static void source_free(struct source *s)
{
    for (unsigned i = 0; i < WINDOWS; i++)
        let_go(s, &s->windows[i]);
    s->done(s->arg);
    mutex_done(&s->mu);
    free(s);
}

static int fetch_into(struct window *w, struct err_detail *detail)
{
    const struct source *s = w->source;
    int e;

    w->bytes = BUF_INIT(w->len);
    e = s->fetch(s->arg, w->offset, w->len, &w->bytes, detail);
    return e == 0 && w->bytes.len != w->len ? -ERR_CORRUPT : e;
}

static void fetch_job(struct work_item *item)
{
    struct window *w = (struct window *)item;
    struct source *s = w->source;
    struct http *h = s->http;
    struct err_detail why = {""};
    bool last;
    int e = fetch_into(w, &why);

    if (e < 0)
        log_warn("http.broken_off", KV_S("req", s->id), KV_S("error", err_name(e)),
                 KV_S("why", why.text));
    mutex_lock(&s->mu);
    w->state = e < 0 ? FAILED : HERE;
    s->fetching--;
    last = s->gone && s->fetching == 0;
    if (s->suspended && !s->gone && w == &s->windows[s->first]) {
        s->suspended = false;
        MHD_resume_connection(s->conn);
    }
    mutex_unlock(&s->mu);
    if (last)
        source_free(s);
    atomic_fetch_sub(&h->jobs, 1);
}

/* The next window of the answer, within the memory that those of all answers may have; NULL: there
 * is none for it. What is being waited for gets a small one even so. */
static struct window *next_window(struct source *s)
{
    struct window *w = &s->windows[(s->first + s->used) % WINDOWS];
    uint64_t left = s->size - s->asked;
    size_t len;

    while (s->wish > HTTP_WINDOW_MIN && !take_memory(s, s->wish, HTTP_SOURCE_MEMORY_MAX))
        s->wish /= 2;
    if (s->wish == HTTP_WINDOW_MIN &&
        !take_memory(s, s->wish,
                     s->used == 0 && s->asked > 0 ? INT64_MAX : 4LL * HTTP_SOURCE_MEMORY_MAX))
        return NULL;
    len = left < s->wish ? (size_t)left : s->wish;
    atomic_fetch_sub(&s->http->sourced, (long long)(s->wish - len));
    w->source = s;
    w->offset = s->asked;
    w->len = len;
    s->asked += len;
    s->used++;
    return w;
}

static void ask_ahead(struct source *s)
{
    unsigned most = s->waits ? WINDOWS : WINDOWS_SLOW;
    struct window *w;

    while (s->used < most && s->asked < s->size && (w = next_window(s)) != NULL) {
        w->item.fn = fetch_job;
        mutex_lock(&s->mu);
        w->state = FETCHING;
        s->fetching++;
        mutex_unlock(&s->mu);
        atomic_fetch_add(&s->http->jobs, 1);
        work_continue(s->http->workers, &w->item);
    }
}

/* The first window is sent: the next one's turn. */
static void turn(struct source *s)
{
    int64_t now = clock_boot_ns();

    let_go(s, &s->windows[s->first]);
    mutex_lock(&s->mu);
    s->first = (s->first + 1) % WINDOWS;
    mutex_unlock(&s->mu);
    s->used--;
    s->sent = 0;
    if (!s->waited && now - s->turned_ns > SLOW_TURN_NS) {
        s->waits = false;
        s->wish = s->wish > HTTP_WINDOW_MIN ? s->wish / 2 : HTTP_WINDOW_MIN;
    }
    s->waited = false;
    s->turned_ns = now;
}

/* Is the first window there? Else the connection is suspended until it is, or has failed. */
static bool first_is_here(struct source *s, bool *ret_failed)
{
    const struct window *w = &s->windows[s->first];
    bool here;

    mutex_lock(&s->mu);
    here = s->used > 0 && w->state == HERE;
    *ret_failed = s->used == 0 || w->state == FAILED;
    if (!here && !*ret_failed) {
        s->suspended = true;
        MHD_suspend_connection(s->conn);
    }
    mutex_unlock(&s->mu);
    return here;
}

/* A client that waits: more is fetched at once. */
static void note_waiting(struct source *s, uint64_t taken)
{
    if (s->waited || taken < PROVEN)
        return;
    s->waits = s->waited = true;
    s->wish = s->wish <= HTTP_WINDOW_MAX / GROWTH ? GROWTH * s->wish : HTTP_WINDOW_MAX;
}

/* What is ahead of a window is fetched when half of it is taken: a client that has stopped holds no
 * more than a window. One that waits gets everything at once. */
static ssize_t read_source(void *arg, uint64_t pos, char *out, size_t max)
{
    struct source *s = arg;
    struct window *w = &s->windows[s->first];
    bool failed;
    size_t left;

    (void)pos;
    if (s->used > 0 && s->sent == w->len) {
        turn(s);
        w = &s->windows[s->first];
    }
    if (s->waits || s->used == 0 || s->sent >= w->len / 2)
        ask_ahead(s);
    if (!first_is_here(s, &failed)) {
        if (!failed)
            note_waiting(s, w->offset);
        return failed ? reply_break_off(s->conn) : 0;
    }
    left = w->len - s->sent;
    if (left > max)
        left = max;
    memcpy(out, w->bytes.at + s->sent, left);
    s->sent += left;
    return (ssize_t)left;
}

static void drop_source(void *arg)
{
    struct source *s = arg;
    bool last;

    mutex_lock(&s->mu);
    s->gone = true;
    last = s->fetching == 0;
    mutex_unlock(&s->mu);
    if (last)
        source_free(s);
}

int req_reply_source(struct req *r, unsigned status, uint64_t size, reply_fetch_fn fetch,
                     void (*done)(void *arg), void *arg)
{
    struct source *s = calloc(1, sizeof(*s));
    struct window *first;
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
    s->wish = HTTP_WINDOW_MIN;
    s->turned_ns = clock_boot_ns();
    memcpy(s->id, r->id, sizeof(s->id));
    mutex_init(&s->mu);
    /* The first window is fetched at once, so that a store that fails gives an answer. */
    first = next_window(s);
    e = first ? fetch_into(first, req_detail(r)) : -ERR_BUSY;
    if (e < 0) {
        buf_clear(&r->header_text); /* were of the body */
        r->header_count = 0;
        source_free(s);
        return e;
    }
    first->state = HERE;
    metric_add(METRIC_http_sent_bytes_total, (int64_t)size);
    return reply_callback(r, status, size, SOURCE_BLOCK, read_source, drop_source, s);
}
