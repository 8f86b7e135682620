/* One job at a time makes the next piece on a worker, when the one before was sent; the event
 * thread sends it. With nothing to send the connection is suspended, until a job has made a piece.
 *
 * Ownership: made by the handler; after the reply by the library's answer, whose end is `gone`; a
 * job on it keeps it alive: whoever of the two ends last frees it. */
#include "registry/http_stream.h"

#include <assert.h>

#include "base/clock.h"
#include "base/log.h"
#include "registry/http_internal.h"

#define TICK_MS 200 /* wake-ups by time are late by this at most */

struct stream {
    struct work_item item; /* first */
    struct http *http;
    const struct stream_source *source;
    void *self;
    struct stream *next, **at; /* guarded by the list's mutex */

    struct mutex mu; /* guards everything below; not held over next() */
    struct MHD_Connection *conn;
    struct buf piece;
    size_t sent;     /* of it */
    int64_t wake_ms; /* while waiting */
    bool running;    /* a job is queued or runs */
    bool waiting;    /* for a wake-up */
    bool woken;      /* one came while a job ran or a piece was not sent yet */
    bool suspended;
    bool ended, broken, gone;
};

/* ---- life */

int stream_new(struct req *r, const struct stream_source *source, void *self, struct stream **ret)
{
    struct stream *s = calloc(1, sizeof(*s));

    if (!s) {
        source->free(self);
        return -ERR_NOMEM;
    }
    mutex_init(&s->mu);
    s->http = r->http;
    s->source = source;
    s->self = self;
    s->conn = r->conn;
    s->piece = BUF_INIT(STREAM_PIECE_MAX);
    *ret = s;
    return 0;
}

void stream_drop(struct stream *s)
{
    struct http_streams *all;

    if (!s)
        return;
    all = &s->http->streams;
    if (s->at) {
        mutex_lock(&all->mu);
        *s->at = s->next;
        if (s->next)
            s->next->at = s->at;
        mutex_unlock(&all->mu);
    }
    s->source->free(s->self);
    buf_done(&s->piece);
    mutex_done(&s->mu);
    free(s);
}

/* ---- jobs */

static void job_main(struct work_item *item);

/* Locked. */
static void start_job(struct stream *s)
{
    assert(!s->running);
    s->running = true;
    s->waiting = s->woken = false;
    s->item.fn = job_main;
    atomic_fetch_add(&s->http->jobs, 1);
    work_continue(s->http->workers, &s->item);
}

/* Locked. */
static void resume(struct stream *s)
{
    if (s->suspended)
        MHD_resume_connection(s->conn);
    s->suspended = false;
}

/* Locked. */
static void finish_piece(struct stream *s, struct buf *piece, int state, int64_t wake_ms)
{
    s->running = false;
    buf_done(&s->piece);
    s->piece = *piece;
    *piece = BUF_INIT(STREAM_PIECE_MAX);
    s->sent = 0;
    s->broken |= state < 0 || buf_err(&s->piece) < 0;
    s->ended |= state == STREAM_END;
    if (s->gone)
        return;
    if (s->piece.len > 0 || s->ended || s->broken) {
        s->waiting = state == STREAM_WAIT;
        s->wake_ms = wake_ms;
        resume(s);
    } else if (state == STREAM_MORE || s->woken) {
        start_job(s);
    } else {
        s->waiting = true;
        s->wake_ms = wake_ms;
    }
}

static void job_main(struct work_item *item)
{
    struct stream *s = (struct stream *)item;
    struct http *h = s->http;
    struct buf piece auto_buf = BUF_INIT(STREAM_PIECE_MAX);
    int64_t wake_ms = INT64_MAX;
    int state = s->source->next(s->self, &piece, &wake_ms);
    bool gone;

    mutex_lock(&s->mu);
    finish_piece(s, &piece, state, wake_ms);
    gone = s->gone;
    mutex_unlock(&s->mu);
    if (gone)
        stream_drop(s);
    atomic_fetch_sub(&h->jobs, 1);
}

/* Locked. */
static void wake(struct stream *s)
{
    if (s->gone || s->ended || s->broken)
        return;
    if (s->waiting && !s->running && s->sent == s->piece.len)
        start_job(s);
    else
        s->woken = true;
}

void stream_wake(struct stream *s)
{
    mutex_lock(&s->mu);
    wake(s);
    mutex_unlock(&s->mu);
}

/* ---- the event thread's side */

static ssize_t read_stream(void *arg, uint64_t pos, char *out, size_t max)
{
    struct stream *s = arg;
    size_t n;
    ssize_t result = 0;

    (void)pos;
    mutex_lock(&s->mu);
    n = s->piece.len - s->sent < max ? s->piece.len - s->sent : max;
    if (n > 0) {
        memcpy(out, s->piece.at + s->sent, n);
        s->sent += n;
        result = (ssize_t)n;
    } else if (s->broken) {
        result = reply_break_off(s->conn);
    } else if (s->ended) {
        result = MHD_CONTENT_READER_END_OF_STREAM;
    } else {
        MHD_suspend_connection(s->conn);
        s->suspended = true;
        if (!s->running && (!s->waiting || s->woken))
            start_job(s);
    }
    mutex_unlock(&s->mu);
    return result;
}

static void gone(void *arg)
{
    struct stream *s = arg;
    bool running;

    mutex_lock(&s->mu);
    s->gone = true;
    running = s->running;
    mutex_unlock(&s->mu);
    if (!running)
        stream_drop(s);
}

/* ---- all of them */

static void tick(struct http_streams *all)
{
    int64_t now = clock_boot_ms();

    for (struct stream *s = all->first; s; s = s->next) {
        mutex_lock(&s->mu);
        if (s->waiting && !s->running && now >= s->wake_ms)
            wake(s);
        mutex_unlock(&s->mu);
    }
}

static void streams_main(void *arg)
{
    struct http_streams *all = arg;

    mutex_lock(&all->mu);
    while (!all->stop) {
        if (!all->first) {
            cond_wait(&all->changed, &all->mu);
            continue;
        }
        tick(all);
        cond_wait_until(&all->changed, &all->mu, clock_boot_ms() + TICK_MS);
    }
    mutex_unlock(&all->mu);
}

static int enlist(struct stream *s)
{
    struct http_streams *all = &s->http->streams;
    int e = 0;

    mutex_lock(&all->mu);
    if (all->stop)
        e = -ERR_UNAVAIL;
    else if (!all->started)
        e = thread_start(&all->thread, "streams", streams_main, all);
    if (e == 0) {
        all->started = true;
        s->next = all->first;
        s->at = &all->first;
        if (all->first)
            all->first->at = &s->next;
        all->first = s;
        cond_signal(&all->changed);
    }
    mutex_unlock(&all->mu);
    return e;
}

int req_reply_stream(struct req *r, unsigned status, const char *content_type, struct stream *s)
{
    struct MHD_Response *response;
    int e = enlist(s);

    if (e < 0) {
        stream_drop(s);
        return e;
    }
    req_add_header(r, "Content-Type", str_of(content_type));
    response = MHD_create_response_from_callback(MHD_SIZE_UNKNOWN, HTTP_STREAM_BUFFER_MIN,
                                                 read_stream, s, gone);
    if (!response)
        stream_drop(s);
    return reply_set(r, status, response);
}

void streams_init(struct http_streams *all)
{
    mutex_init(&all->mu);
    cond_init(&all->changed);
}

void streams_end(struct http_streams *all)
{
    mutex_lock(&all->mu);
    all->stop = true;
    cond_broadcast(&all->changed);
    for (struct stream *s = all->first; s; s = s->next) {
        mutex_lock(&s->mu);
        s->ended = true;
        resume(s);
        mutex_unlock(&s->mu);
    }
    mutex_unlock(&all->mu);
}

void streams_done(struct http_streams *all)
{
    assert(!all->first);
    if (all->started)
        thread_join(&all->thread);
    cond_done(&all->changed);
    mutex_done(&all->mu);
}
