/* Request bodies and the way to the workers. An upload has two buffers: the event thread fills one
 * while a job drains the other, and the connection is suspended when both are full; so a worker is
 * held only while whole buffers are at hand, never for the length of a client's body. */
#include <assert.h>
#include <stdlib.h>

#include "base/clock.h"
#include "base/log.h"
#include "base/metrics.h"
#include "registry/admit.h"
#include "registry/app.h"
#include "registry/http_internal.h"

#define FAST_FLUSH_NS 50000000 /* a buffer filled within this makes the next one twice as large */
#define GATHER_EXACT_MAX                                                                           \
    (64u << 10) /* a body announced up to this gets its memory in one piece                        \
                 */

static void call_begin(struct req *r)
{
    int e = r->target.route->begin(r);

    r->begun = true;
    if (e < 0 && !reply_ready(r))
        reply_error(r, e);
    if (reply_ready(r))
        r->ended = true; /* refused, or done without a body: nothing is open */
}

static void call_data(struct req *r)
{
    int e;

    if (r->stream_err || r->drain.len == 0)
        return;
    e = r->target.route->data(r, buf_str(&r->drain));
    metric_add(METRIC_http_received_bytes_total, (int64_t)r->drain.len);
    if (r->flush_at > HTTP_STREAM_BUFFER_MIN)
        buf_clear(&r->drain);
    else
        buf_done(&r->drain); /* a slow client holds one buffer, not two */
    if (e < 0)
        r->stream_err = e;
}

static void swap_buffers(struct req *r)
{
    struct buf filled = r->fill;

    r->fill = r->drain;
    r->drain = filled;
}

static void call_run(struct req *r)
{
    const struct route *route = r->target.route;
    int e;

    if (route->body == BODY_STREAM && !r->begun) {
        call_begin(r); /* a stream without a body: both steps in one job */
        if (reply_ready(r))
            return;
    }
    if (route->body == BODY_STREAM) {
        call_data(r);
        swap_buffers(r);
        call_data(r);
    }
    r->ended = true;
    e = r->stream_err;
    if (e < 0 && route->gone)
        route->gone(r); /* a failed write: the session goes back to what is safe */
    else
        e = route->run(r);
    if (e < 0 && !reply_ready(r))
        reply_error(r, e);
}

static void call_gone(struct req *r)
{
    call_data(r);
    swap_buffers(r);
    call_data(r);
    r->ended = true;
    r->target.route->gone(r);
}

static void end_job(struct req *r)
{
    struct http *h = r->http;
    bool resume, gone;

    mutex_lock(&r->mu);
    r->running = false;
    gone = r->gone;
    resume = r->suspended && !gone;
    r->suspended = false;
    if (resume)
        MHD_resume_connection(r->conn);
    mutex_unlock(&r->mu);
    if (gone) {
        if (r->begun && !r->ended)
            call_gone(r);
        req_free(r);
    }
    atomic_fetch_sub(&h->jobs, 1);
}

/* One job on a worker. Afterwards the request belongs to the event thread again, or, when the
 * client vanished meanwhile, to this job alone. */
static void job_main(struct work_item *item)
{
    struct req *r = (struct req *)item;

    switch (r->job) {
    case JOB_BEGIN:
        call_begin(r);
        break;
    case JOB_DATA:
        call_data(r);
        break;
    case JOB_RUN:
        call_run(r);
        break;
    case JOB_GONE:
        call_gone(r);
        break;
    }
    end_job(r);
}

static void open_job(struct req *r, bool suspend)
{
    mutex_lock(&r->mu);
    r->running = true;
    r->suspended = suspend;
    if (suspend)
        MHD_suspend_connection(r->conn);
    mutex_unlock(&r->mu);
    atomic_fetch_add(&r->http->jobs, 1);
}

static void start_job(struct req *r, enum job job, bool suspend)
{
    r->job = job;
    r->item.fn = job_main;
    open_job(r, suspend);
    if (job == JOB_DATA || job == JOB_GONE || r->begun) {
        work_continue(r->http->workers, &r->item);
        return;
    }
    if (work_submit(r->http->workers, &r->item) == 0)
        return;
    atomic_fetch_sub(&r->http->jobs, 1);
    reply_error(r, -ERR_BUSY);
    mutex_lock(&r->mu);
    r->running = r->suspended = false;
    MHD_resume_connection(r->conn);
    mutex_unlock(&r->mu);
}

static void identify_main(struct gate_item *item)
{
    struct req *r = (struct req *)((char *)item - offsetof(struct req, identify));
    int64_t ms;

    r->admitted = admit_identify(r, true, &ms);
    end_job(r);
}

/* False: too many wait there. */
static bool start_on_gate(struct req *r, void (*fn)(struct gate_item *item), int64_t delay_ms)
{
    r->identify.fn = fn;
    open_job(r, true);
    return gate_submit(access_gate(r->http->app->access), &r->identify, delay_ms) == 0;
}

void body_identify(struct req *r, int64_t delay_ms)
{
    r->phase = PHASE_IDENTIFY;
    if (start_on_gate(r, identify_main, delay_ms))
        return;
    r->admitted = -ERR_BUSY;
    end_job(r);
}

static void gate_run_main(struct gate_item *item)
{
    struct req *r = (struct req *)((char *)item - offsetof(struct req, identify));

    call_run(r);
    end_job(r);
}

void body_run(struct req *r, enum job job)
{
    r->phase = PHASE_ANSWER;
    if (r->target.route->action != ACTION_TOKEN || !access_gate(r->http->app->access)) {
        start_job(r, job, true);
    } else if (!start_on_gate(r, gate_run_main, r->delay_ms)) {
        reply_error(r, -ERR_BUSY);
        end_job(r);
    }
}

void body_start(struct req *r)
{
    r->phase = PHASE_BEGIN;
    r->fill = BUF_INIT(HTTP_STREAM_BUFFER_MAX + HTTP_CONNECTION_MEMORY);
    r->drain = BUF_INIT(HTTP_STREAM_BUFFER_MAX + HTTP_CONNECTION_MEMORY);
    r->flush_at = HTTP_STREAM_BUFFER_MIN;
    r->flushed_ns = r->start_ns;
    start_job(r, JOB_BEGIN, true);
}

enum MHD_Result body_discard(struct req *r, size_t *size)
{
    r->discarded += *size;
    *size = 0;
    return r->discarded > HTTP_DISCARD_MAX ? MHD_NO : MHD_YES;
}

static void drop_body(struct req *r)
{
    atomic_fetch_sub(&r->http->gathered, (long long)r->body.len);
    buf_done(&r->body);
}

/* A small body that is announced gets its memory in one piece. A large one gets pages of its own,
 * of which those that nothing was written to yet cost nothing; it grows there without leaving holes
 * behind, so that all bodies take what is counted of them. A failure shows at the adding. */
static void reserve_body(struct req *r, size_t size)
{
    size_t left = r->body.max - r->body.len;
    bool large = r->content_length > GATHER_EXACT_MAX || r->body.len + size > GATHER_EXACT_MAX;

    if (large && r->body.cap < HTTP_LARGE)
        (void)buf_reserve(&r->body, left < HTTP_LARGE ? left : HTTP_LARGE);
    else if (!r->body.at && r->content_length > 0)
        (void)buf_reserve(&r->body, (size_t)r->content_length);
}

/* Gathers into memory; what passes the route's maximum, or the memory of all bodies, turns into an
 * answer and the rest is dropped. */
enum MHD_Result body_gather(struct req *r, const char *data, size_t *size)
{
    long long all = atomic_fetch_add(&r->http->gathered, (long long)*size) + (long long)*size;
    size_t before = r->body.len;

    reserve_body(r, *size);
    buf_add(&r->body, str_make(data, *size));
    metric_add(METRIC_http_received_bytes_total, (int64_t)*size);
    if (buf_err(&r->body) == 0 && all <= HTTP_BODY_MEMORY_MAX) {
        *size = 0;
        return MHD_YES;
    }
    atomic_fetch_sub(&r->http->gathered, (long long)(*size - (r->body.len - before)));
    if (all > HTTP_BODY_MEMORY_MAX)
        reply_error(r, -ERR_BUSY);
    else
        reply_error(r, err_set(&r->detail, buf_err(&r->body), "the body is larger than %zu bytes",
                               r->target.route->body_max));
    drop_body(r);
    r->phase = PHASE_DISCARD;
    return body_discard(r, size);
}

/* Changes the size at which buffers are handed over, within what all uploads may have. */
static void set_flush(struct req *r, size_t size)
{
    long long more = 2 * ((long long)size - (long long)r->flush_at);
    long long all = atomic_fetch_add(&r->http->grown, more) + more;

    if (more > 0 && all > HTTP_STREAM_MEMORY_MAX)
        atomic_fetch_sub(&r->http->grown, more);
    else
        r->flush_at = size;
}

/* A slow client gets small buffers, a fast one large ones. Called when fill is empty and no job
 * runs. */
static void adapt_flush(struct req *r)
{
    int64_t now = clock_boot_ns();

    if (now - r->flushed_ns >= FAST_FLUSH_NS) {
        set_flush(r, HTTP_STREAM_BUFFER_MIN);
        buf_done(&r->fill);
    } else if (r->flush_at < HTTP_STREAM_BUFFER_MAX) {
        set_flush(r, r->flush_at * 2);
    }
    r->flushed_ns = now;
}

enum MHD_Result body_stream(struct req *r, const char *data, size_t *size)
{
    bool running;

    mutex_lock(&r->mu);
    running = r->running;
    if (running && r->fill.len + *size > r->flush_at) {
        r->suspended = true;
        MHD_suspend_connection(r->conn); /* consumes nothing; comes again after the job */
        mutex_unlock(&r->mu);
        return MHD_YES;
    }
    mutex_unlock(&r->mu);
    if (!running && r->stream_err) {
        r->discarded += *size;
        if (r->discarded > HTTP_DISCARD_MAX)
            return MHD_NO;
        *size = 0;
        return MHD_YES;
    }
    buf_add(&r->fill, str_make(data, *size));
    if (buf_err(&r->fill))
        return MHD_NO;
    *size = 0;
    if (running || r->fill.len < r->flush_at)
        return MHD_YES;
    swap_buffers(r);
    adapt_flush(r);
    start_job(r, JOB_DATA, false);
    return MHD_YES;
}

bool body_abandon(struct req *r)
{
    bool running;

    mutex_lock(&r->mu);
    r->gone = true;
    running = r->running;
    mutex_unlock(&r->mu);
    if (running)
        return true; /* the job sees gone and frees */
    if (!r->begun || r->ended || r->target.route->body != BODY_STREAM || !r->target.route->gone)
        return false;
    /* The client vanished in the middle: a worker keeps what arrived. */
    r->job = JOB_GONE;
    r->item.fn = job_main;
    r->running = true;
    atomic_fetch_add(&r->http->jobs, 1);
    work_continue(r->http->workers, &r->item);
    return true;
}

void req_free(struct req *r)
{
    drop_body(r);
    login_unref(r->identity.login);
    if (r->flush_at)
        set_flush(r, HTTP_STREAM_BUFFER_MIN);
    reply_drop(r);
    buf_done(&r->header_text);
    buf_done(&r->fill);
    buf_done(&r->drain);
    mutex_done(&r->mu);
    if (r->counted)
        atomic_fetch_sub(&r->http->active, 1);
    metric_add(METRIC_http_requests_active, -1);
    free(r->uri);
    free(r);
}
