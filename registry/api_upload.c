/* Upload sessions: POST (also monolithic and mount), PATCH, PUT, GET, DELETE (R50-R71). The steps
 * of a request with a body are begin (session held, everything checked), data, run (at the end) or
 * gone (the client vanished: what arrived is kept). */
#include <stdlib.h>

#include "base/clock.h"
#include "base/log.h"
#include "registry/admit.h"
#include "registry/api.h"
#include "registry/api_common.h"
#include "registry/conditional.h"

#define HELD_WAIT_MS                                                                               \
    2000 /* a session held by a request whose client just vanished is free again within this */
#define HELD_POLL_MS    20
#define BEGUN           "begun"
#define MOUNT_TRIES_MAX 16 /* repositories looked at for a mount without `from` */
#define MOUNT_REFUSED_MAX                                                                          \
    4096 /* repositories passed over because the caller may not pull from them */

struct transfer {
    struct upload *upload;
    struct digest digest; /* PUT, monolithic POST */
    bool has_digest;
    bool has_range;
    bool closes;       /* a PUT */
    bool ends;         /* a PUT that brings no bytes */
    uint64_t start;    /* offset at the beginning */
    uint64_t expected; /* bytes by Content-Range */
    uint64_t received;
};

static void transfer_free(struct req *r)
{
    struct transfer *t = req_state(r);

    if (t && t->upload)
        upload_release(t->upload);
    free(t);
    req_set_state(r, NULL);
}

static struct transfer *transfer_new(struct req *r)
{
    struct transfer *t = calloc(1, sizeof(*t));

    req_set_state(r, t);
    return t;
}

/* ---- Answers. */

/* On a remote store the URL says that something was written, so that one which does not is known to
 * begin (upload_hold_new). Nothing else is read from it: old URLs stay usable (R56). */
static void add_session_headers(struct req *r, struct str id, uint64_t offset)
{
    const char *state = offset > 0 && store_is_remote(req_app(r)->store) ? "?" BEGUN "=1" : "";

    req_add_headerf(r, "Location", "%s/v2/" STR_FMT "/blobs/uploads/" STR_FMT "%s",
                    req_app(r)->url_base, STR_ARG(req_target(r)->name), STR_ARG(id), state);
    req_add_headerf(r, "Range", "0-%llu", (unsigned long long)(offset ? offset - 1 : 0)); /* R58 */
    req_add_header(r, "Docker-Upload-UUID", id);
}

static int reply_session(struct req *r, unsigned status, struct str id, uint64_t offset)
{
    add_session_headers(r, id, offset);
    return req_reply_empty(r, status);
}

static int reply_created(struct req *r, const struct digest *d)
{
    char text[DIGEST_TEXT_MAX];

    digest_text(d, text);
    req_add_headerf(r, "Location", "%s/v2/" STR_FMT "/blobs/%s", req_app(r)->url_base,
                    STR_ARG(req_target(r)->name), text);
    api_add_digest_header(r, d);
    return req_reply_empty(r, 201);
}

/* ---- Holding a session. */
typedef int (*hold_fn)(struct uploads *us, struct str repo, struct str identity, struct str id,
                       struct upload **ret, struct err_detail *detail);

static int hold(struct req *r, hold_fn take, struct upload **ret, bool *ret_waited)
{
    int64_t until = clock_boot_ms() + HELD_WAIT_MS;
    int e;

    *ret_waited = false;
    for (;;) {
        e = take(req_app(r)->uploads, req_target(r)->name, str_of(req_identity(r)->name),
                 req_target(r)->reference, ret, req_detail(r));
        if (e != -ERR_BUSY || clock_boot_ms() > until)
            break;
        *ret_waited = true;
        clock_sleep_ms(HELD_POLL_MS);
    }
    if (e == -ERR_BUSY)
        return err_set(req_detail(r), -ERR_RANGE, "another request is writing to this upload");
    return e;
}

static int refuse_range(struct req *r, struct transfer *t, const char *why)
{
    add_session_headers(r, upload_id(t->upload), upload_offset(t->upload));
    transfer_free(r);
    return err_set(req_detail(r), -ERR_RANGE, "%s", why);
}

/* How much must be known of the session before the chunk's place can be told. The end of a small
 * session has no entry that would find out: a PUT that brings bytes looks. */
static hold_fn how_to_hold(struct req *r, const struct transfer *t, struct str range)
{
    struct buf text auto_buf = BUF_INIT(QUERY_VALUE_MAX);
    uint64_t first = 0, last = 0;

    if (t->ends && range.len == 0)
        return upload_hold_to_end;
    if (t->closes || req_query(r, BEGUN, 0, false, &text) != -ERR_NOTFOUND)
        return upload_hold;
    if (range.len > 0 && (!content_range_parse(range, &first, &last) || first > 0))
        return upload_hold;
    return upload_hold_new;
}

/* Begin of PATCH and PUT: the session is held and the chunk's place is right, or nothing changes.
 */
static int begin_chunk(struct req *r, struct transfer *t)
{
    struct str range = req_header(r, "Content-Range");
    uint64_t first = 0, last = 0;
    bool waited;
    int e = hold(r, how_to_hold(r, t, range), &t->upload, &waited);

    if (e < 0) {
        transfer_free(r);
        return e;
    }
    t->start = upload_offset(t->upload);
    if (range.len == 0)
        return waited ? refuse_range(r, t, "another request wrote to this upload") : 0;
    if (!content_range_parse(range, &first, &last)) {
        transfer_free(r);
        return err_set(req_detail(r), -ERR_INVAL, "Content-Range must be <first>-<last>");
    }
    t->has_range = true;
    t->expected = last - first + 1;
    if (first != t->start)
        return refuse_range(r, t, "the chunk does not begin where the upload ends");
    if (req_content_length(r) >= 0 && (uint64_t)req_content_length(r) != t->expected) {
        transfer_free(r);
        return err_set(req_detail(r), -ERR_SIZE, "the body's length is not that of Content-Range");
    }
    return 0;
}

/* ---- Body. */
int api_upload_data(struct req *r, struct str bytes)
{
    struct transfer *t = req_state(r);

    t->received += bytes.len;
    if (!t->upload || (t->has_range && t->received > t->expected))
        return 0; /* a body that nobody asked for, or too long: refused at the end */
    return upload_write(t->upload, bytes, req_detail(r));
}

/* The client vanished, or a write failed: what is written is kept as far as it can be saved; but
 * that of a POST which brings the blob itself, whose session nobody was told, is of no use. */
void api_upload_gone(struct req *r)
{
    struct transfer *t = req_state(r);
    int e;

    if (!t)
        return;
    if (t->upload && t->has_digest) {
        e = upload_rollback(t->upload, NULL);
        if (e < 0)
            log_debug("upload.not_dropped", KV_S("error", err_name(e)));
    } else if (t->upload && !(t->has_range && t->received > t->expected)) {
        e = upload_save(t->upload, NULL);
        if (e < 0)
            log_debug("upload.not_saved", KV_S("error", err_name(e)));
    }
    transfer_free(r);
}

static int check_length(struct req *r, struct transfer *t)
{
    int e;

    if (!t->has_range || t->received == t->expected)
        return 0;
    e = upload_rollback(t->upload, req_detail(r));
    return e < 0 ? e
                 : err_set(req_detail(r), -ERR_SIZE,
                           "the body's length is not that of Content-Range");
}

/* The session becomes the blob, readable through a link that names the digest's last unlink. */
static int close_as(struct req *r, struct transfer *t)
{
    struct repo *repo auto_repo = NULL;
    uint64_t u;
    int e = api_fresh_repo(r, req_target(r)->name, MAY_WAIT, &repo);

    if (e == 0)
        e = repo_link_u(repo, &t->digest, &u);
    return e < 0 ? e : upload_close(t->upload, &t->digest, u, req_detail(r));
}

/* ---- POST. */
static int link_mounted(struct req *r, const struct digest *d)
{
    struct repo *to auto_repo = NULL;
    uint64_t u;
    int e = api_fresh_repo(r, req_target(r)->name, MAY_WAIT, &to);

    if (e == 0)
        e = repo_link_u(to, d, &u);
    if (e < 0)
        return e;
    return blob_link_create(req_app(r)->blobs, req_target(r)->name, d, u, req_detail(r));
}

/* May the blob be read in `from` by this caller? */
static int readable_in(struct req *r, struct str from, const struct digest *d)
{
    struct repo *repo auto_repo = NULL;
    struct blob_info info;
    int e = admit_may(r, ACTION_PULL, from, STR_NONE);

    if (e == 0)
        e = api_fresh_repo(r, from, MAY_WAIT, &repo);
    return e < 0 ? e : repo_blob(repo, d, &info, req_detail(r));
}

static int mount_from(struct req *r, struct str from, const struct digest *d)
{
    int e = admit_mount(r, from);

    return e <= 0 ? e : readable_in(r, from, d) == 0;
}

struct mount_search {
    struct req *r;
    const struct digest *digest;
    unsigned tries, refused;
};

static int try_mount(struct str repo, uint64_t u, void *arg)
{
    struct mount_search *s = arg;

    (void)u;
    if (admit_may(s->r, ACTION_PULL, repo, STR_NONE) < 0)
        return ++s->refused < MOUNT_REFUSED_MAX ? 0 : -ERR_NOTFOUND;
    if (readable_in(s->r, repo, s->digest) == 0)
        return 1;
    return ++s->tries < MOUNT_TRIES_MAX ? 0 : -ERR_NOTFOUND;
}

/* R64, R65: 1 = mounted and answered; 0 = not, a session follows; negative: error. */
static int mount(struct req *r)
{
    struct buf text auto_buf = BUF_INIT(QUERY_VALUE_MAX), from auto_buf = BUF_INIT(QUERY_VALUE_MAX);
    struct digest d;
    struct mount_search search = {.r = r, .digest = &d};
    int e = req_query(r, "mount", 0, true, &text);

    if (e < 0 || digest_parse(buf_str(&text), &d) < 0)
        return 0;
    e = req_query(r, "from", 0, false, &from);
    if (e == -ERR_NOTFOUND && req_app(r)->refuse.anonymous_mount)
        return 0;
    if (e == -ERR_NOTFOUND)
        e = blob_each_link(req_app(r)->blobs, &d, try_mount, &search, req_detail(r));
    else if (e == 0 && name_valid(buf_str(&from)))
        e = mount_from(r, buf_str(&from), &d);
    if (e == -ERR_UNAUTHORIZED)
        return e;
    if (e <= 0)
        return 0;
    e = link_mounted(r, &d);
    if (e == 0)
        e = reply_created(r, &d);
    return e < 0 ? e : 1;
}

static enum digest_alg announced_algorithm(struct req *r, int *ret_err)
{
    struct buf text auto_buf = BUF_INIT(QUERY_VALUE_MAX);
    enum digest_alg alg = DIGEST_SHA256;
    int e = req_query(r, "digest-algorithm", 0, true, &text);

    *ret_err = 0;
    if (e == 0 && digest_alg_parse(buf_str(&text), &alg) < 0)
        *ret_err = err_set(req_detail(r), -ERR_DIGEST,
                           "the digest algorithm is not served; sha256 and sha512 are");
    return alg;
}

int api_upload_post_begin(struct req *r)
{
    struct buf text auto_buf = BUF_INIT(QUERY_VALUE_MAX);
    char id[KEYS_SESSION_LEN + 1];
    struct transfer *t;
    int e = 0;

    (void)announced_algorithm(r, &e); /* refused before anything else happens */
    if (e == 0)
        e = mount(r);
    if (e != 0)
        return e < 0 ? e : 0;
    t = transfer_new(r);
    if (!t)
        return -ERR_NOMEM;
    e = req_query(r, "digest", 0, true, &text);
    if (e == -ERR_NOTFOUND)
        return 0;
    if (e == 0)
        e = api_write_digest(r, buf_str(&text), &t->digest);
    if (e == 0) {
        t->has_digest = true;
        upload_start(req_app(r)->uploads, req_target(r)->name, str_of(req_identity(r)->name),
                     t->digest.alg, id);
        e = upload_hold_new(req_app(r)->uploads, req_target(r)->name, str_of(req_identity(r)->name),
                            str_of(id), &t->upload, req_detail(r));
    }
    if (e < 0)
        transfer_free(r);
    return e;
}

int api_upload_post(struct req *r)
{
    struct transfer *t = req_state(r);
    char id[KEYS_SESSION_LEN + 1];
    struct digest d = t->digest;
    int e = 0;

    if (t->has_digest) {
        e = close_as(r, t);
        transfer_free(r);
        return e < 0 ? e : reply_created(r, &d);
    }
    transfer_free(r);
    upload_start(req_app(r)->uploads, req_target(r)->name, str_of(req_identity(r)->name),
                 announced_algorithm(r, &e), id);
    return reply_session(r, 202, str_of(id), 0);
}

/* ---- PATCH. */
int api_upload_patch_begin(struct req *r)
{
    struct transfer *t = transfer_new(r);

    return t ? begin_chunk(r, t) : -ERR_NOMEM;
}

int api_upload_patch(struct req *r)
{
    struct transfer *t = req_state(r);
    int e = check_length(r, t);

    if (e == 0) /* R57: at the end, unless the client said where */
        e = (t->has_range ? upload_save : upload_append)(t->upload, req_detail(r));
    if (e == -ERR_RANGE)
        return refuse_range(r, t, "another request wrote to this upload");
    if (e == 0)
        e = reply_session(r, 202, upload_id(t->upload), upload_offset(t->upload));
    transfer_free(r);
    return e;
}

/* ---- PUT. */
int api_upload_put_begin(struct req *r)
{
    struct buf text auto_buf = BUF_INIT(QUERY_VALUE_MAX);
    struct transfer *t;
    struct digest d;
    int e;

    if (!upload_id_valid(req_app(r)->uploads, req_target(r)->name, str_of(req_identity(r)->name),
                         req_target(r)->reference))
        return -ERR_NOTFOUND;
    e = req_query(r, "digest", 0, true, &text);
    if (e == -ERR_NOTFOUND)
        return err_set(req_detail(r), -ERR_DIGEST,
                       "the digest of the blob is missing in the query");
    if (e == 0)
        e = api_write_digest(r, buf_str(&text), &d);
    if (e < 0)
        return e;
    t = transfer_new(r);
    if (!t)
        return -ERR_NOMEM;
    t->digest = d;
    t->closes = true;
    t->ends = req_content_length(r) == 0;
    return begin_chunk(r, t);
}

int api_upload_put(struct req *r)
{
    struct transfer *t = req_state(r);
    struct digest d = t->digest;
    int e = check_length(r, t);

    if (e == 0)
        e = close_as(r, t);
    if (e == -ERR_RANGE)
        return refuse_range(r, t, "another request wrote to this upload");
    transfer_free(r);
    return e < 0 ? e : reply_created(r, &d);
}

/* ---- GET, DELETE. */
int api_upload_get(struct req *r)
{
    struct upload *u;
    bool waited;
    int e = hold(r, upload_hold, &u, &waited);

    if (e < 0)
        return e;
    e = upload_closed(u) ? -ERR_NOTFOUND : reply_session(r, 204, upload_id(u), upload_offset(u));
    upload_release(u);
    return e;
}

int api_upload_delete(struct req *r)
{
    struct upload *u;
    bool waited;
    int e = hold(r, upload_hold, &u, &waited);

    if (e < 0)
        return e;
    e = upload_cancel(u, req_detail(r));
    upload_release(u);
    return e < 0 ? e : req_reply_empty(r, 204);
}
