/* Blobs: GET, HEAD, DELETE (R30-R38, R142). */
#include <stdlib.h>
#include <sys/mman.h>

#include "base/fd.h"
#include "manifests/moment.h"
#include "registry/answers.h"
#include "registry/api.h"
#include "registry/api_common.h"
#include "registry/conditional.h"
#include "registry/redirect.h"

#define BLOB_TYPE         "application/octet-stream"
#define BLOB_RANGES_MAX   (8u << 20)  /* bytes of several ranges out of a remote store */
#define BLOB_PREPARED_MAX (16u << 10) /* blobs up to this are answered from memory */

static void add_headers(struct req *r, const struct digest *d)
{
    api_add_digest_header(r, d);
    api_add_etag(r, d);
    req_add_header(r, "Cache-Control", api_cache_immutable(r));
}

/* Range applies only when If-Range is absent or names what we have (R37). */
static bool range_wanted(struct req *r, struct str digest)
{
    struct str condition = req_header(r, "If-Range");

    return condition.len == 0 ||
           (!str_starts(condition, STR("W/")) && etag_listed(condition, digest));
}

/* ---- Stores without files: windows of the blob, fetched as they are sent. */
struct remote {
    struct blobs *blobs;
    struct digest digest;
    struct blob_info info;
    uint64_t first;
    struct blob_pace pace;
};

static int remote_fetch(void *arg, uint64_t offset, size_t len, struct buf *out,
                        struct err_detail *detail)
{
    struct remote *m = arg;

    return blob_read_at(m->blobs, &m->digest, &m->info, m->first + offset, len, &m->pace, out,
                        detail);
}

static int reply_remote(struct req *r, unsigned status, const struct digest *d,
                        const struct blob_info *info, uint64_t first, uint64_t size)
{
    struct remote *m;

    if (size == 0)
        return req_reply_empty(r, status);
    m = calloc(1, sizeof(*m));
    if (!m)
        return -ERR_NOMEM;
    *m = (struct remote){req_app(r)->blobs, *d, *info, first, {0}};
    return req_reply_source(r, status, size, remote_fetch, free, m);
}

/* Several ranges: fetched into memory that is read like the blob's file; those of too many bytes
 * are answered with the whole blob, as RFC 9110 14.2 allows. */
static int reply_remote_ranges(struct req *r, const struct digest *d, const struct blob_info *info,
                               const struct byte_range *ranges, size_t count)
{
    struct buf bytes auto_buf = BUF_INIT(BLOB_RANGES_MAX);
    int fd auto_fd = memfd_create("stowage-ranges", MFD_CLOEXEC);
    struct blob_pace pace = {0};
    uint64_t total = 0;
    int e = fd < 0 ? -ERR_NOMEM : 0;

    for (size_t i = 0; i < count; i++)
        total += ranges[i].last - ranges[i].first + 1;
    if (total > BLOB_RANGES_MAX) {
        req_add_header(r, "Content-Type", STR(BLOB_TYPE));
        return reply_remote(r, 200, d, info, 0, info->size);
    }
    for (size_t i = 0; i < count && e == 0; i++) {
        buf_clear(&bytes);
        e = blob_read_at(req_app(r)->blobs, d, info, ranges[i].first,
                         (size_t)(ranges[i].last - ranges[i].first + 1), &pace, &bytes,
                         req_detail(r));
        if (e == 0)
            e = fd_pwrite_all(fd, buf_str(&bytes), ranges[i].first);
    }
    return e < 0 ? e : req_reply_ranges(r, fd_steal(&fd), 0, info->size, ranges, count);
}

static int try_redirect(struct req *r, const struct digest *d, const struct blob_info *info,
                        bool *ret_done)
{
    struct buf key auto_buf = BUF_INIT(STORE_KEY_MAX);
    const struct redirect *x = req_app(r)->redirect;
    char text[DIGEST_TEXT_MAX];
    int e;

    *ret_done = false;
    if (!x || !info->data_id[0])
        return 0;
    keys_data(&key, str_of(info->data_id));
    e = buf_err(&key) < 0
            ? buf_err(&key)
            : redirect_reply(x, r, buf_str(&key), digest_text(d, text), info->size, ret_done);
    return e;
}

static int reply_remote_body(struct req *r, const struct digest *d, const struct blob_info *info,
                             const struct byte_range *ranges, size_t count)
{
    bool done;
    int e;

    if (count <= 1) { /* stores answer one range only (R46) */
        e = try_redirect(r, d, info, &done);
        if (e < 0 || done)
            return e;
    }
    add_headers(r, d);
    req_add_header(r, "Accept-Ranges", STR("bytes"));
    if (count > 1)
        return reply_remote_ranges(r, d, info, ranges, count);
    req_add_header(r, "Content-Type", STR(BLOB_TYPE));
    if (count == 0)
        return reply_remote(r, 200, d, info, 0, info->size);
    req_add_headerf(r, "Content-Range", "bytes %llu-%llu/%llu", (unsigned long long)ranges->first,
                    (unsigned long long)ranges->last, (unsigned long long)info->size);
    return reply_remote(r, 206, d, info, ranges->first, ranges->last - ranges->first + 1);
}

static int reply_body(struct req *r, const struct digest *d, const struct blob_info *info,
                      const struct byte_range *ranges, size_t count)
{
    struct blob_body body;
    int e;

    if (!store_has_files(req_app(r)->store))
        return reply_remote_body(r, d, info, ranges, count);
    e = blob_open(req_app(r)->blobs, d, info, &body, req_detail(r));
    if (e == -ERR_NOTFOUND)
        return api_missing_record(r, d);
    if (e < 0)
        return e;
    add_headers(r, d);
    req_add_header(r, "Accept-Ranges", STR("bytes"));
    if (count > 1)
        return req_reply_ranges(r, body.fd, body.offset, body.size, ranges, count);
    req_add_header(r, "Content-Type", STR(BLOB_TYPE));
    if (count == 0)
        return req_reply_file(r, 200, body.fd, body.offset, body.size);
    req_add_headerf(r, "Content-Range", "bytes %llu-%llu/%llu", (unsigned long long)ranges->first,
                    (unsigned long long)ranges->last, (unsigned long long)body.size);
    return req_reply_file(r, 206, body.fd, body.offset + ranges->first,
                          ranges->last - ranges->first + 1);
}

/* ---- Small blobs come from memory: prepared answers hold bytes, membership was asked before. */
static int prepare(struct req *r, const struct digest *d, struct answer **ret)
{
    struct buf body auto_buf = BUF_INIT(BLOB_PREPARED_MAX);
    char text[DIGEST_TEXT_MAX], etag[DIGEST_TEXT_MAX + 2];
    struct answer *a;
    int e = blob_read(req_app(r)->blobs, d, BLOB_PREPARED_MAX, &body, req_detail(r));

    if (e == 0)
        e = answer_new(200, buf_str(&body), &a);
    if (e < 0)
        return e;
    if (answer_add_header(a, "Docker-Content-Digest", digest_text(d, text)) < 0 ||
        answer_add_header(a, "ETag", api_etag(d, etag)) < 0 ||
        answer_add_header(a, "Cache-Control", api_cache_immutable(r)) < 0 ||
        answer_add_header(a, "Accept-Ranges", STR("bytes")) < 0 ||
        answer_add_header(a, "Content-Type", STR(BLOB_TYPE)) < 0) {
        answer_unref(a);
        return -ERR_NOMEM;
    }
    answers_put(req_app(r)->answers, d, STR(BLOB_TYPE), false, a, body.len);
    *ret = a;
    return 0;
}

static int reply_prepared(struct req *r, const struct digest *d, enum waiting waiting)
{
    struct answer *a = answers_get(req_app(r)->answers, d, STR(BLOB_TYPE), false);
    int e = 0;

    if (!a && waiting == NO_WAIT)
        return -ERR_AGAIN;
    if (!a)
        e = prepare(r, d, &a);
    if (e == -ERR_NOTFOUND)
        return api_missing_record(r, d);
    if (e == 0)
        e = req_reply_answer(r, a);
    answer_unref(a);
    return e;
}

static int reply_head(struct req *r, const struct digest *d, const struct blob_info *info)
{
    add_headers(r, d);
    req_add_header(r, "Accept-Ranges", STR("bytes"));
    req_add_header(r, "Content-Type", STR(BLOB_TYPE));
    return req_reply_sized(r, 200, info->size);
}

static int reply_blob(struct req *r, const struct digest *d, const struct blob_info *info,
                      enum waiting waiting)
{
    char text[DIGEST_TEXT_MAX];
    struct str digest = digest_text(d, text), condition = req_header(r, "If-None-Match"),
               range = req_header(r, "Range");
    struct byte_range *ranges auto_free = NULL;
    enum range_kind kind;
    size_t count = 0;

    if (condition.len && etag_listed(condition, digest)) {
        add_headers(r, d);
        return req_reply_empty(r, 304);
    }
    if (req_is_head(r) && store_is_remote(req_app(r)->store))
        return reply_head(r, d, info); /* costs no request */
    if ((range.len == 0 || req_is_head(r)) && info->size <= BLOB_PREPARED_MAX)
        return reply_prepared(r, d, waiting);
    if (req_is_head(r))
        return reply_head(r, d, info);
    if (waiting == NO_WAIT && !store_has_files(req_app(r)->store))
        return -ERR_AGAIN;
    if (range.len == 0 || !range_wanted(r, digest))
        return reply_body(r, d, info, NULL, 0);
    ranges = calloc(HTTP_RANGES_MAX, sizeof(*ranges));
    if (!ranges)
        return -ERR_NOMEM;
    kind = ranges_parse(range, info->size, ranges, &count);
    if (kind == RANGE_UNSATISFIABLE) {
        req_add_headerf(r, "Content-Range", "bytes */%llu", (unsigned long long)info->size);
        return err_set(req_detail(r), -ERR_RANGE, "the range lies outside the blob");
    }
    return reply_body(r, d, info, ranges, kind == RANGE_SOME ? count : 0);
}

static int find_blob(struct req *r, struct repo *repo, const struct digest *d, enum waiting waiting,
                     struct blob_info *ret)
{
    return waiting == NO_WAIT ? repo_blob_nowait(repo, d, ret)
                              : repo_blob(repo, d, ret, req_detail(r));
}

/* Docker asks for each blob before it pushes it. */
static bool never_there(struct req *r, const struct digest *d, enum waiting waiting)
{
    struct moment m;

    return waiting == MAY_WAIT && req_is_head(r) && api_moment(r, &m) == 0 &&
           repo_blob_never(req_app(r)->repos, req_target(r)->name, d);
}

static int blob_get(struct req *r, enum waiting waiting)
{
    struct repo *repo auto_repo = NULL;
    struct blob_info info;
    struct digest d;
    bool strict = true;
    int e = api_path_digest(r, &d);

    if (e == 0 && never_there(r, &d, waiting))
        e = -ERR_NOTFOUND;
    if (e == 0)
        e = api_read_repo(r, waiting, &repo, &strict);
    if (e == 0)
        e = find_blob(r, repo, &d, waiting, &info);
    if (e == -ERR_NOTFOUND && !strict) {
        e = api_confirm(r, repo, waiting);
        if (e == 0)
            e = find_blob(r, repo, &d, waiting, &info);
    }
    return e < 0 ? e : reply_blob(r, &d, &info, waiting);
}

int api_blob_get_fast(struct req *r)
{
    return blob_get(r, NO_WAIT);
}

int api_blob_get(struct req *r)
{
    return blob_get(r, MAY_WAIT);
}

int api_blob_delete(struct req *r)
{
    struct repo *repo auto_repo = NULL;
    struct repo_who who = api_who(r);
    struct digest d;
    int e = api_path_digest(r, &d);

    if (e == 0 && req_app(r)->refuse.blob_delete)
        e = err_set(req_detail(r), -ERR_UNSUPPORTED, "this registry does not delete blobs");
    if (e == 0)
        e = repo_get(req_app(r)->repos, req_target(r)->name, &repo, req_detail(r));
    if (e == 0)
        e = repo_unlink_blob(repo, &d, &who, req_detail(r));
    return e < 0 ? e : req_reply_empty(r, 202);
}
