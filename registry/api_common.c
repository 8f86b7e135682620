#include "registry/api_common.h"

#include <stdlib.h>

#include "base/clock.h"
#include "registry/conditional.h"
#include "registry/oci_error.h"

int api_fresh_repo(struct req *r, struct str name, enum waiting waiting, struct repo **ret)
{
    int64_t since_ns = clock_boot_ns();
    struct repo *repo auto_repo = NULL;
    int e;

    if (waiting == NO_WAIT) {
        repo = repo_cached(req_app(r)->repos, name);
        e = repo ? repo_refresh_nowait(repo) : -ERR_AGAIN;
    } else {
        e = repo_get(req_app(r)->repos, name, &repo, req_detail(r));
        if (e == 0 && !repo_newer(repo, since_ns))
            e = repo_refresh(repo, req_detail(r));
    }
    if (e < 0)
        return e;
    *ret = STEAL(repo);
    return 0;
}

int api_read_repo(struct req *r, enum waiting waiting, struct repo **ret, bool *ret_strict)
{
    int64_t staleness_ms = req_app(r)->staleness_ms;
    struct repo *repo auto_repo = NULL;
    int e = api_past_repo(r, waiting, ret);

    *ret_strict = true;
    if (e != 0)
        return e == 1 ? 0 : e;
    if (staleness_ms > 0)
        repo = repo_cached(req_app(r)->repos, req_target(r)->name);
    if (!repo || !repo_recent(repo, staleness_ms))
        return api_fresh_repo(r, req_target(r)->name, waiting, ret);
    *ret_strict = false;
    *ret = STEAL(repo);
    return 0;
}

int api_confirm(struct req *r, struct repo *repo, enum waiting waiting)
{
    return waiting == NO_WAIT ? repo_refresh_nowait(repo) : repo_refresh(repo, req_detail(r));
}

int api_path_digest(struct req *r, struct digest *ret)
{
    int e = digest_parse(req_target(r)->reference, ret);

    if (e == -ERR_UNSUPPORTED)
        return -ERR_NOTFOUND;
    if (e < 0)
        return err_set(req_detail(r), -ERR_DIGEST, "the digest is malformed");
    return 0;
}

int api_write_digest(struct req *r, struct str text, struct digest *ret)
{
    int e = digest_parse(text, ret);

    if (e == -ERR_UNSUPPORTED)
        return err_set(req_detail(r), -ERR_DIGEST,
                       "the digest's algorithm is not served; sha256 and sha512 are");
    if (e < 0)
        return err_set(req_detail(r), -ERR_DIGEST, "the digest is malformed");
    return 0;
}

struct repo_who api_who(struct req *r)
{
    return (struct repo_who){.by = str_of(req_identity(r)->name), .req = str_of(req_id(r))};
}

int api_override(struct req *r, const struct str *tags, size_t count, struct repo_who *who)
{
    struct buf text auto_buf = BUF_INIT(QUERY_VALUE_MAX);
    struct str name = req_target(r)->name;
    int e = req_query(r, "override", 0, false, &text);

    if (e == -ERR_NOMEM)
        return e;
    if (e == -ERR_NOTFOUND || (e == 0 && str_eq(buf_str(&text), STR("false"))))
        return 0;
    if (e < 0 || !str_eq(buf_str(&text), STR("true")))
        return err_set(req_detail(r), -ERR_INVAL, "override must be true or false");
    who->override = true;
    e = count == 0 ? api_may(r, ACTION_OVERRIDE, name, STR_NONE) : 0;
    for (size_t i = 0; e == 0 && i < count; i++)
        e = api_may(r, ACTION_OVERRIDE, name, tags[i]);
    return e;
}

void api_add_digest_header(struct req *r, const struct digest *d)
{
    char text[DIGEST_TEXT_MAX];

    req_add_header(r, "Docker-Content-Digest", digest_text(d, text));
}

struct str api_etag(const struct digest *d, char out[DIGEST_TEXT_MAX + 2])
{
    size_t len = digest_text(d, out + 1).len;

    out[0] = out[len + 1] = '"';
    return str_make(out, len + 2);
}

void api_add_etag(struct req *r, const struct digest *d)
{
    char text[DIGEST_TEXT_MAX + 2];

    req_add_header(r, "ETag", api_etag(d, text));
}

int api_page_size(struct req *r, size_t initial, size_t max, size_t *ret)
{
    struct buf text auto_buf = BUF_INIT(QUERY_VALUE_MAX);
    uint64_t n;
    int e = req_query(r, "n", 0, false, &text);

    *ret = initial;
    if (e == -ERR_NOTFOUND)
        return 0;
    if (e == -ERR_NOMEM)
        return e;
    if (e < 0 || text.len == 0)
        return err_set(req_detail(r), -ERR_INVAL, "n must be a number");
    for (size_t i = 0; i < text.len; i++)
        if (text.at[i] < '0' || text.at[i] > '9')
            return err_set(req_detail(r), -ERR_INVAL, "n must be a number");
    *ret = str_u64(buf_str(&text), &n) && n < max ? (size_t)n : max;
    return 0;
}

int api_missing_record(struct req *r, const struct digest *d)
{
    struct buf key auto_buf = BUF_INIT(STORE_KEY_MAX);

    keys_record(&key, d, 0);
    return err_set(req_detail(r), -ERR_CORRUPT, "%s is missing in the store", buf_c(&key));
}

struct str api_cache_immutable(struct req *r)
{
    return access_enabled(req_app(r)->access) ? STR("private, max-age=31536000, immutable")
                                              : STR("max-age=31536000, immutable");
}

/* ---- conditions */

/* All lines of one header are one list (RFC 9110 section 5.3). */
static int read_etags(struct req *r, const char *name, bool strong, struct etag_list *ret)
{
    struct str line;

    for (unsigned i = 0; (line = req_header_at(r, name, i)).at; i++)
        ret->max += etags_max(line);
    if (ret->max == 0)
        return 0;
    ret->at = calloc(ret->max, sizeof(*ret->at));
    if (!ret->at)
        return -ERR_NOMEM;
    for (unsigned i = 0; (line = req_header_at(r, name, i)).at; i++)
        etags_add(line, strong, ret);
    return 1;
}

int api_condition(struct req *r, struct taglog_if *ret)
{
    struct etag_list match = {.any = false}, other = {.any = false};
    int matches = read_etags(r, "If-Match", true, &match), others = 0;

    if (matches >= 0)
        others = read_etags(r, "If-None-Match", false, &other);
    *ret = (struct taglog_if){.one_of = matches == 1 && !match.any,
                              .present = match.any,
                              .absent = other.any,
                              .match = match.at,
                              .match_count = match.any ? 0 : match.count,
                              .other = other.at,
                              .other_count = other.any ? 0 : other.count};
    if (matches < 0 || others < 0)
        return -ERR_NOMEM;
    return matches == 1 || others == 1;
}

bool api_is_refusal(int err, const struct repo_refusal *refusal)
{
    return err == -ERR_CONDITION || (err == -ERR_DENIED && refusal->tag[0]);
}

int api_reply_refused(struct req *r, int err, const struct repo_refusal *refusal)
{
    struct buf body auto_buf = BUF_INIT(OCI_ERROR_BODY_MAX);
    struct oci_refusal to = {.tag = str_of(refusal->tag)};
    char text[DIGEST_TEXT_MAX];
    unsigned status;

    if (refusal->present)
        to.digest = digest_text(&refusal->digest, text);
    status = oci_error_refused(err, req_detail(r)->text, &to, &body);
    return req_reply_body(r, status, "application/json", &body);
}
