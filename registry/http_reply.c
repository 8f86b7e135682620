/* Answers: headers are gathered in the request, then one reply makes the library's response; the
 * event thread queues it. */
#include <assert.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

#include "base/clock.h"
#include "base/enc.h"
#include "base/fd.h"
#include "base/log.h"
#include "base/metrics.h"
#include "registry/cors.h"
#include "registry/http_internal.h"
#include "registry/oci_error.h"

#define RANGE_BLOCK       (64u << 10)
#define PART_HEADER_MAX   192
#define HEADER_FORMAT_MAX 2048
#define RETRY_AFTER       "1"

struct answer {
    struct MHD_Response *response;
    char *body; /* of the response */
    size_t len;
    unsigned status;
    atomic_uint refs;
};

/* R21, and nothing that comes from here is ever a page: no sniffing, no script, no frame. */
static const struct {
    const char *name, *value;
} v2_headers[] = {
    {"Docker-Distribution-API-Version", "registry/2.0"},
    {"X-Content-Type-Options", "nosniff"},
    {"Content-Security-Policy", "default-src 'none'; frame-ancestors 'none'; sandbox"},
};

/* An answer without one of its headers would be a wrong one, so no memory is an error. A header
 * without a value is left out. */
static int add_header(struct MHD_Response *response, const char *name, const char *value)
{
    return !value[0] || MHD_add_response_header(response, name, value) == MHD_YES ? 0 : -ERR_NOMEM;
}

static int add_v2_headers(struct MHD_Response *response)
{
    int e = 0;

    for (size_t i = 0; i < ARRAY_LEN(v2_headers) && e == 0; i++)
        e = add_header(response, v2_headers[i].name, v2_headers[i].value);
    return e;
}

void req_add_header(struct req *r, const char *name, struct str value)
{
    size_t offset = r->header_text.len;

    assert(r->header_count < HTTP_REPLY_HEADERS_MAX);
    r->header_text.max = REQ_HEADER_TEXT_MAX;
    buf_add(&r->header_text, value);
    buf_addc(&r->header_text, '\0');
    r->headers[r->header_count++] = (struct reply_header){name, offset};
}

void req_add_headerf(struct req *r, const char *name, const char *format, ...)
{
    char text[HEADER_FORMAT_MAX];
    va_list args;
    int n;

    va_start(args, format);
    n = vsnprintf(text, sizeof(text), format, args);
    va_end(args);
    assert(n >= 0 && n < HEADER_FORMAT_MAX);
    req_add_header(r, name, str_make(text, (size_t)n));
}

bool reply_ready(const struct req *r)
{
    return r->response || r->answer;
}

int reply_set(struct req *r, unsigned status, struct MHD_Response *response)
{
    int e;

    assert(!reply_ready(r));
    if (!response)
        return -ERR_NOMEM;
    e = buf_err(&r->header_text);
    for (size_t i = 0; i < r->header_count && e == 0; i++)
        e = add_header(response, r->headers[i].name, r->header_text.at + r->headers[i].offset);
    if (r->target.v2 && e == 0)
        e = add_v2_headers(response);
    if (e < 0) {
        MHD_destroy_response(response);
        return e;
    }
    r->response = response;
    r->status = status;
    return 0;
}

int reply_callback(struct req *r, unsigned status, uint64_t size, size_t block,
                   MHD_ContentReaderCallback read, MHD_ContentReaderFreeCallback drop, void *arg)
{
    struct MHD_Response *response = MHD_create_response_from_callback(size, block, read, arg, drop);

    if (!response)
        drop(arg);
    return reply_set(r, status, response);
}

ssize_t reply_break_off(struct MHD_Connection *conn)
{
    const union MHD_ConnectionInfo *info =
        MHD_get_connection_info(conn, MHD_CONNECTION_INFO_CONNECTION_FD);

    if (info)
        (void)shutdown(info->connect_fd, SHUT_RDWR);
    return MHD_CONTENT_READER_END_WITH_ERROR;
}

int req_reply_empty(struct req *r, unsigned status)
{
    return reply_set(r, status, MHD_create_response_from_buffer(0, NULL, MHD_RESPMEM_PERSISTENT));
}

int req_reply_body(struct req *r, unsigned status, const char *content_type, struct buf *body)
{
    struct MHD_Response *response;
    int e = buf_err(body);

    if (e < 0)
        return e;
    if (body->len == 0)
        return req_reply_empty(r, status);
    req_add_header(r, "Content-Type", str_of(content_type));
    response = MHD_create_response_from_buffer(body->len, body->at, MHD_RESPMEM_MUST_FREE);
    if (response)
        *body = BUF_INIT(body->max);
    return reply_set(r, status, response);
}

static ssize_t read_nothing(void *arg, uint64_t pos, char *out, size_t max)
{
    (void)arg, (void)pos, (void)out, (void)max;
    return MHD_CONTENT_READER_END_WITH_ERROR;
}

int req_reply_sized(struct req *r, unsigned status, uint64_t size)
{
    assert(r->method == METHOD_HEAD);
    if (size == 0)
        return req_reply_empty(r, status);
    return reply_set(
        r, status, MHD_create_response_from_callback(size, RANGE_BLOCK, read_nothing, NULL, NULL));
}

int req_reply_file(struct req *r, unsigned status, int fd, uint64_t offset, uint64_t size)
{
    struct MHD_Response *response;

    if (size == 0) {
        close(fd);
        return req_reply_empty(r, status);
    }
    response = MHD_create_response_from_fd_at_offset64(size, fd, offset);
    if (!response)
        close(fd);
    else
        metric_add(METRIC_http_sent_bytes_total, (int64_t)size);
    return reply_set(r, status, response);
}

/* ---- multipart/byteranges (RFC 9110 14.6): parts in the order asked for. */
struct multipart {
    int fd;
    uint64_t offset;
    size_t count, current;
    uint64_t current_start; /* position in the answer where the current part begins */
    char boundary[33];
    uint64_t size;
    struct byte_range ranges[];
};

static size_t part_header(const struct multipart *m, size_t i, char out[PART_HEADER_MAX])
{
    int n;

    if (i == m->count)
        n = snprintf(out, PART_HEADER_MAX, "\r\n--%s--\r\n", m->boundary);
    else
        n = snprintf(out, PART_HEADER_MAX,
                     "%s--%s\r\nContent-Type: application/octet-stream\r\nContent-Range: bytes "
                     "%llu-%llu/%llu\r\n\r\n",
                     i ? "\r\n" : "", m->boundary, (unsigned long long)m->ranges[i].first,
                     (unsigned long long)m->ranges[i].last, (unsigned long long)m->size);
    assert(n > 0 && n < PART_HEADER_MAX);
    return (size_t)n;
}

static uint64_t part_bytes(const struct multipart *m, size_t i)
{
    return i == m->count ? 0 : m->ranges[i].last - m->ranges[i].first + 1;
}

static ssize_t read_parts(void *arg, uint64_t pos, char *out, size_t max)
{
    struct multipart *m = arg;
    char header[PART_HEADER_MAX];
    size_t header_len;
    uint64_t within;
    ssize_t n;

    for (;;) {
        header_len = part_header(m, m->current, header);
        within = pos - m->current_start;
        if (within < header_len + part_bytes(m, m->current) || m->current == m->count)
            break;
        m->current_start += header_len + part_bytes(m, m->current);
        m->current++;
    }
    if (within < header_len) {
        size_t take = header_len - (size_t)within < max ? header_len - (size_t)within : max;
        memcpy(out, header + within, take);
        return (ssize_t)take;
    }
    within -= header_len;
    if (part_bytes(m, m->current) - within < max)
        max = (size_t)(part_bytes(m, m->current) - within);
    n = pread(m->fd, out, max, (off_t)(m->offset + m->ranges[m->current].first + within));
    return n > 0 ? n : MHD_CONTENT_READER_END_WITH_ERROR;
}

static void free_parts(void *arg)
{
    struct multipart *m = arg;

    close(m->fd);
    free(m);
}

int req_reply_ranges(struct req *r, int fd, uint64_t offset, uint64_t size,
                     const struct byte_range *ranges, size_t count)
{
    int file auto_fd = fd;
    struct multipart *m;
    struct MHD_Response *response;
    char header[PART_HEADER_MAX];
    uint64_t total = 0;

    assert(count > 0 && count <= HTTP_RANGES_MAX);
    m = calloc(1, sizeof(*m) + count * sizeof(*ranges));
    if (!m)
        return -ERR_NOMEM;
    *m = (struct multipart){.offset = offset, .count = count, .size = size};
    memcpy(m->ranges, ranges, count * sizeof(*ranges));
    snprintf(m->boundary, sizeof(m->boundary), "stowage-%s", req_id(r));
    for (size_t i = 0; i <= count; i++)
        total += part_header(m, i, header) + part_bytes(m, i);
    m->fd = fd_steal(&file);
    req_add_headerf(r, "Content-Type", "multipart/byteranges; boundary=%s", m->boundary);
    response = MHD_create_response_from_callback(total, RANGE_BLOCK, read_parts, m, free_parts);
    if (!response)
        free_parts(m);
    return reply_set(r, MHD_HTTP_PARTIAL_CONTENT, response);
}

/* ---- Prepared answers. */
int answer_new(unsigned status, struct str body, struct answer **ret)
{
    struct answer *a = calloc(1, sizeof(*a));

    if (!a)
        return -ERR_NOMEM;
    a->len = body.len;
    a->body = malloc(body.len + 1);
    if (a->body) {
        memcpy(a->body, body.len ? body.at : "", body.len);
        a->response = MHD_create_response_from_buffer(body.len, a->body, MHD_RESPMEM_MUST_FREE);
    }
    if (!a->response) {
        free(a->body);
        free(a);
        return -ERR_NOMEM;
    }
    a->status = status;
    atomic_init(&a->refs, 1);
    if (add_v2_headers(a->response) < 0) {
        answer_unref(a);
        return -ERR_NOMEM;
    }
    *ret = a;
    return 0;
}

int answer_add_header(struct answer *a, const char *name, struct str value)
{
    char text[HEADER_FORMAT_MAX];

    assert(value.len < sizeof(text));
    memcpy(text, value.len ? value.at : "", value.len);
    text[value.len] = '\0';
    return MHD_add_response_header(a->response, name, text) == MHD_YES ? 0 : -ERR_NOMEM;
}

struct answer *answer_ref(struct answer *a)
{
    atomic_fetch_add_explicit(&a->refs, 1, memory_order_relaxed);
    return a;
}

void answer_unref(struct answer *a)
{
    if (!a || atomic_fetch_sub_explicit(&a->refs, 1, memory_order_acq_rel) != 1)
        return;
    MHD_destroy_response(a->response);
    free(a);
}

int req_reply_answer(struct req *r, struct answer *a)
{
    assert(!reply_ready(r));
    r->answer = answer_ref(a);
    r->status = a->status;
    return 0;
}

/* ---- Errors and queueing. */
/* What went wrong inside is for the log, not for the client (R104). */
static const char *public_reason(struct req *r, int err)
{
    if (err_status(err) < 500)
        return r->detail.text;
    log_warn("http.failed", KV_S("req", req_id(r)), KV_V("path", r->path),
             KV_S("error", err_name(err)), KV_S("why", r->detail.text));
    return "";
}

void reply_error(struct req *r, int err)
{
    struct buf body auto_buf = BUF_INIT(OCI_ERROR_BODY_MAX);
    struct buf allow auto_buf = BUF_INIT(128);
    unsigned status = oci_error_body(err, r->target.resource, public_reason(r, err), &body);

    reply_drop(r);
    if (buf_err(&r->header_text)) { /* those of the answer that could not be made */
        buf_clear(&r->header_text);
        r->header_count = 0;
    }
    if (status == MHD_HTTP_METHOD_NOT_ALLOWED && r->target.resource != RESOURCE_NONE) {
        route_allow(r->target.resource, &allow);
        req_add_header(r, "Allow", buf_str(&allow));
    }
    if (err_retryable(err))
        req_add_header(r, "Retry-After", STR(RETRY_AFTER));
    if (req_reply_body(r, status, "application/json", &body) < 0)
        (void)req_reply_empty(r, status); /* no memory: if not even this, the connection closes */
}

void reply_drop(struct req *r)
{
    if (r->response)
        MHD_destroy_response(r->response);
    r->response = NULL;
    answer_unref(r->answer);
    r->answer = NULL;
}

static void count_answer(const struct req *r)
{
    metric_add(METRIC_http_requests_total, 1);
    if (r->status >= 500)
        metric_add(METRIC_http_responses_5xx_total, 1);
    else if (r->status >= 400)
        metric_add(METRIC_http_responses_4xx_total, 1);
    metric_observe_ns(METRIC_http_request_seconds, clock_boot_ns() - r->start_ns);
}

static enum MHD_Result copy_header(void *arg, enum MHD_ValueKind kind, const char *name,
                                   const char *value)
{
    (void)kind;
    return MHD_add_response_header(arg, name, value);
}

/* A shared answer becomes one of this request's own, to which headers may be added. */
static int make_own(struct req *r)
{
    struct answer *a = r->answer;

    if (!a)
        return 0;
    r->response = MHD_create_response_from_buffer(a->len, a->body, MHD_RESPMEM_MUST_COPY);
    if (!r->response)
        return -ERR_NOMEM;
    r->answer = NULL;
    MHD_get_response_headers(a->response, copy_header, r->response);
    answer_unref(a);
    return 0;
}

/* R28. */
static int add_cors(struct req *r)
{
    struct cors c = cors_of(r);
    char origin[CORS_ORIGIN_MAX + 1];
    int e = c.configured ? make_own(r) : 0;

    if (e == 0 && c.configured)
        e = add_header(r->response, "Vary", "Origin");
    if (c.origin.len == 0 || c.origin.len > CORS_ORIGIN_MAX || e < 0)
        return e;
    memcpy(origin, c.origin.at, c.origin.len);
    origin[c.origin.len] = '\0';
    e = add_header(r->response, "Access-Control-Allow-Origin", origin);
    if (e == 0 && c.explicit)
        e = add_header(r->response, "Access-Control-Allow-Credentials", "true");
    return e < 0 ? e : add_header(r->response, "Access-Control-Expose-Headers", CORS_EXPOSED);
}

enum MHD_Result reply_queue(struct req *r)
{
    enum MHD_Result e;

    if (!reply_ready(r) || add_cors(r) < 0)
        return MHD_NO;
    if (r->close_after && r->response && add_header(r->response, "Connection", "close") < 0)
        return MHD_NO;
    count_answer(r);
    e = MHD_queue_response(r->conn, r->status, r->answer ? r->answer->response : r->response);
    reply_drop(r); /* the library holds its own reference */
    return e;
}
