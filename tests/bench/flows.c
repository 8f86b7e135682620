/*
 * Flows: what one operation of each scenario sends and what it accepts. A flow function keeps
 * its state in struct op only; arguments are shared by all connections and read-only.
 * Each answer is checked: status, length, and digest where the operation is a sample.
 */
#include "load.h"

#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define ACCEPT_MANIFEST                                                                            \
    "Accept: application/vnd.oci.image.manifest.v1+json\r\n"                                       \
    "Accept: application/vnd.docker.distribution.manifest.v2+json\r\n"

__attribute__((format(printf, 2, 3))) static enum flow_next fail(struct op *op, const char *fmt,
                                                                 ...)
{
    va_list ap;

    va_start(ap, fmt);
    vsnprintf(op->error, sizeof(op->error), fmt, ap);
    va_end(ap);
    return FLOW_FAIL;
}

/* Request line and Host; the caller adds headers and ends the head. */
static void begin(struct request *rq, const struct target *t, const char *method, const char *path)
{
    int n = snprintf(rq->head, sizeof(rq->head),
                     "%s %s HTTP/1.1\r\nHost: %s\r\nUser-Agent: bench\r\n", method, path, t->host);
    rq->head_len = (size_t)n;
}

__attribute__((format(printf, 2, 3))) static void add(struct request *rq, const char *fmt, ...)
{
    va_list ap;

    va_start(ap, fmt);
    int n = vsnprintf(rq->head + rq->head_len, sizeof(rq->head) - rq->head_len, fmt, ap);
    va_end(ap);
    if (n < 0 || rq->head_len + (size_t)n >= sizeof(rq->head))
        abort(); /* paths and locations are bounded well below */
    rq->head_len += (size_t)n;
}

static bool status_is(struct op *op, const struct response *last, int want)
{
    if (last->status == want)
        return true;
    fail(op, "status %d instead of %d", last->status, want);
    return false;
}

/* Checks length and, in samples, digests of a GET or HEAD. */
static bool content_matches(struct op *op, const struct response *last, bool head, int64_t length,
                            const char *digest)
{
    int64_t got = head ? last->content_length : (int64_t)last->body_bytes;

    if (length >= 0 && got != length) {
        fail(op, "length %" PRId64 " instead of %" PRId64, got, length);
        return false;
    }
    if (!digest)
        return true;
    if (last->digest[0] && strcmp(last->digest, digest) != 0) {
        fail(op, "header says %s, wanted %s", last->digest, digest);
        return false;
    }
    if (last->hashed) {
        if (strcmp(last->body_digest, digest) != 0) {
            fail(op, "body is %s, wanted %s", last->body_digest, digest);
            return false;
        }
        op->checked++;
    }
    return true;
}

enum flow_next flow_get(const void *arg, struct op *op, const struct response *last,
                        struct request *out)
{
    const struct get_flow *f = arg;

    if (op->step == 0) {
        begin(out, f->target, f->head ? "HEAD" : "GET", f->path);
        add(out, "%s\r\n", f->accept ? f->accept : "");
        out->bodiless = f->head;
        out->hash = op->sample && !f->head && f->digest;
        return FLOW_SEND;
    }
    if (!status_is(op, last, 200) || !content_matches(op, last, f->head, f->length, f->digest))
        return FLOW_FAIL;
    op->bytes = f->head ? 0 : last->body_bytes;
    return FLOW_DONE;
}

/* Keeps the path and query of a Location, absolute or not. */
static bool keep_location(struct op *op, const struct response *last)
{
    const char *at = last->location;
    const char *scheme = strstr(at, "://");

    if (scheme && scheme - at <= 5)
        at = strchr(scheme + 3, '/');
    if (!at || *at != '/') {
        fail(op, "no usable Location: %.100s", last->location);
        return false;
    }
    snprintf(op->location, sizeof(op->location), "%s", at);
    return true;
}

static void push_put(const struct push_flow *f, struct op *op, struct request *out)
{
    char path[LOCATION_MAX + DIGEST_TEXT_MAX + 16];

    snprintf(path, sizeof(path), "%s%cdigest=%s", op->location,
             strchr(op->location, '?') ? '&' : '?', op->digest);
    begin(out, f->target, "PUT", path);
    if (f->monolithic) {
        add(out, "Content-Type: application/octet-stream\r\nContent-Length: %" PRIu64 "\r\n\r\n",
            content_bytes(f->content));
        content_body(f->content, f->first + op->index, false, op->scratch, out);
    } else {
        add(out, "Content-Length: 0\r\n\r\n");
    }
}

static enum flow_next push_end(const struct push_flow *f, struct op *op,
                               const struct response *last)
{
    if (!status_is(op, last, 201))
        return FLOW_FAIL;
    if (last->digest[0] && strcmp(last->digest, op->digest) != 0)
        return fail(op, "stored as %s, wanted %s", last->digest, op->digest);
    op->checked += last->digest[0] != '\0';
    op->gap_ns = last->head_ns - (f->monolithic ? op->sent_ns : op->mark_ns);
    op->bytes = content_bytes(f->content);
    return FLOW_DONE;
}

/* Steps: 0 HEAD, 1 POST, 2 PATCH, 3 PUT; a monolithic push leaves out PATCH, and HEAD is left
   out by neither. */
enum flow_next flow_push(const void *arg, struct op *op, const struct response *last,
                         struct request *out)
{
    const struct push_flow *f = arg;
    char path[PATH_MAX_BYTES];

    switch (op->step) {
    case 0:
        content_digest(f->content, f->first + op->index, op->digest);
        snprintf(path, sizeof(path), "/v2/%s/blobs/%s", f->repo, op->digest);
        begin(out, f->target, "HEAD", path);
        add(out, "\r\n");
        out->bodiless = true;
        return FLOW_SEND;
    case 1:
        if (last->status == 200 && f->may_exist)
            return FLOW_DONE;
        if (!status_is(op, last, 404))
            return FLOW_FAIL;
        snprintf(path, sizeof(path), "/v2/%s/blobs/uploads/", f->repo);
        begin(out, f->target, "POST", path);
        add(out, "Content-Length: 0\r\n\r\n");
        return FLOW_SEND;
    case 2:
        if (!status_is(op, last, 202) || !keep_location(op, last))
            return FLOW_FAIL;
        if (f->monolithic) {
            push_put(f, op, out);
            return FLOW_SEND;
        }
        begin(out, f->target, "PATCH", op->location);
        add(out, "Content-Type: application/octet-stream\r\nTransfer-Encoding: chunked\r\n\r\n");
        content_body(f->content, f->first + op->index, true, op->scratch, out);
        return FLOW_SEND;
    case 3:
        if (f->monolithic)
            return push_end(f, op, last);
        if (!status_is(op, last, 202) || !keep_location(op, last))
            return FLOW_FAIL;
        op->mark_ns = op->sent_ns;
        push_put(f, op, out);
        return FLOW_SEND;
    default:
        return push_end(f, op, last);
    }
}

/* One PUT with a length; for the bare receive loop. */
enum flow_next flow_raw(const void *arg, struct op *op, const struct response *last,
                        struct request *out)
{
    const struct raw_flow *f = arg;

    if (op->step == 0) {
        content_digest(f->content, op->index, op->digest);
        begin(out, f->target, "PUT", f->path);
        add(out, "Content-Length: %" PRIu64 "\r\n\r\n", content_bytes(f->content));
        content_body(f->content, op->index, false, op->scratch, out);
        return FLOW_SEND;
    }
    if (!status_is(op, last, 201))
        return FLOW_FAIL;
    if (strcmp(last->digest, op->digest) != 0)
        return fail(op, "received as %s, wanted %s", last->digest, op->digest);
    op->checked++;
    op->gap_ns = last->head_ns - op->sent_ns;
    op->bytes = content_bytes(f->content);
    return FLOW_DONE;
}

enum flow_next flow_commit(const void *arg, struct op *op, const struct response *last,
                           struct request *out)
{
    const struct commit_flow *f = arg;
    char path[PATH_MAX_BYTES];
    char label[64];

    if (op->step == 0) {
        uint64_t n = f->first + op->index;
        snprintf(label, sizeof(label), "%" PRIx64 "-%" PRIu64, f->salt, n);
        size_t len = manifest_text(op->scratch, sizeof(op->scratch), f->config, f->layers,
                                   f->layer_count, label);
        sha256_text(op->scratch, len, op->digest);
        snprintf(path, sizeof(path), "/v2/%s/manifests/%s%07" PRIu64, f->repo, f->prefix, n);
        begin(out, f->target, "PUT", path);
        add(out,
            "Content-Type: application/vnd.oci.image.manifest.v1+json\r\n"
            "Content-Length: %zu\r\n\r\n",
            len);
        out->body[0] = (struct segment){op->scratch, len, 1};
        out->segments = 1;
        op->bytes = len;
        return FLOW_SEND;
    }
    if (!status_is(op, last, 201))
        return FLOW_FAIL;
    if (last->digest[0] && strcmp(last->digest, op->digest) != 0)
        return fail(op, "stored as %s, wanted %s", last->digest, op->digest);
    op->checked += last->digest[0] != '\0';
    return FLOW_DONE;
}

enum flow_next flow_page(const void *arg, struct op *op, const struct response *last,
                         struct request *out)
{
    const struct page_flow *f = arg;
    char path[PATH_MAX_BYTES];

    if (op->step == 0) {
        uint64_t span = f->tags > f->page ? f->tags - f->page : 1;
        uint64_t n = (op->index * 0x9E3779B97F4A7C15ULL >> 20) % span;
        snprintf(path, sizeof(path), "%s?n=%u&last=%s%07" PRIu64, f->list, f->page, f->prefix, n);
        begin(out, f->target, "GET", path);
        add(out, "\r\n");
        out->count = true;
        return FLOW_SEND;
    }
    if (!status_is(op, last, 200))
        return FLOW_FAIL;
    op->bytes = last->body_bytes;
    return FLOW_DONE;
}

/* One image: the manifest by tag, then each blob in turn on the same connection. */
enum flow_next flow_pull(const void *arg, struct op *op, const struct response *last,
                         struct request *out)
{
    const struct pull_flow *f = arg;
    char path[PATH_MAX_BYTES];

    if (op->step == 1) {
        if (!status_is(op, last, 200) ||
            !content_matches(op, last, false, (int64_t)f->manifest_bytes, f->manifest_digest))
            return FLOW_FAIL;
    } else if (op->step > 1) {
        const struct described *got = &f->blobs[op->step - 2];
        if (!status_is(op, last, 200) ||
            !content_matches(op, last, false, (int64_t)got->bytes, got->digest))
            return FLOW_FAIL;
    }
    if (last)
        op->bytes += last->body_bytes;
    if (op->step > f->blob_count)
        return FLOW_DONE;
    if (op->step == 0)
        snprintf(path, sizeof(path), "/v2/%s/manifests/%s", f->repo, f->tag);
    else
        snprintf(path, sizeof(path), "/v2/%s/blobs/%s", f->repo, f->blobs[op->step - 1].digest);
    begin(out, f->target, "GET", path);
    add(out, "%s\r\n", op->step == 0 ? ACCEPT_MANIFEST : "");
    out->hash = op->sample;
    return FLOW_SEND;
}
