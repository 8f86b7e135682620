/* Manifests: GET, HEAD, PUT, DELETE (R72-R97, R140, R141). */
#include <stdlib.h>

#include "base/enc.h"
#include "registry/answers.h"
#include "registry/api.h"
#include "registry/api_common.h"
#include "registry/conditional.h"
#include "registry/oci_error.h"

#define CACHE_BY_TAG "no-cache"

/* ---- Reading. */
static int find_manifest(struct repo *repo, const struct reference *ref, enum waiting waiting,
                         struct repo_manifest *ret)
{
    int e;

    if (waiting == NO_WAIT)
        e = ref->is_digest ? repo_manifest_nowait(repo, &ref->digest, ret)
                           : repo_tag_nowait(repo, ref->tag, ret);
    else
        e = ref->is_digest ? repo_manifest(repo, &ref->digest, ret) : repo_tag(repo, ref->tag, ret);
    return e == -ERR_NOTFOUND && !repo_exists(repo) ? -ERR_NOREPO : e;
}

/* *ret_past: of a view, where nothing moves any more. */
static int read_manifest(struct req *r, const struct reference *ref, enum waiting waiting,
                         struct repo_manifest *ret, bool *ret_past)
{
    struct repo *repo auto_repo = NULL;
    bool strict;
    int e = api_read_repo(r, waiting, &repo, &strict);

    if (e < 0)
        return e;
    *ret_past = repo_is_view(repo);
    e = find_manifest(repo, ref, waiting, ret);
    if (e == 0 || e == -ERR_AGAIN || strict)
        return e;
    e = api_confirm(r, repo, waiting);
    return e < 0 ? e : find_manifest(repo, ref, waiting, ret);
}

static int answer_of(struct req *r, const struct repo_manifest *m, struct str body, bool by_tag,
                     struct answer **ret)
{
    char text[DIGEST_TEXT_MAX], etag[DIGEST_TEXT_MAX + 2];
    struct answer *a;
    int e = answer_new(200, body, &a);

    if (e < 0)
        return e;
    if (answer_add_header(a, "Content-Type", str_of(m->media_type)) < 0 ||
        answer_add_header(a, "Docker-Content-Digest", digest_text(&m->digest, text)) < 0 ||
        answer_add_header(a, "ETag", api_etag(&m->digest, etag)) < 0 ||
        answer_add_header(a, "Cache-Control", by_tag ? STR(CACHE_BY_TAG) : api_cache_immutable(r)) <
            0) {
        answer_unref(a);
        return -ERR_NOMEM;
    }
    answers_put(req_app(r)->answers, &m->digest, str_of(m->media_type), by_tag, a, body.len);
    *ret = a;
    return 0;
}

/* Where bytes cost a request, those at hand serve both by digest and by tag. */
static void answer_other(struct req *r, const struct repo_manifest *m, struct str body, bool by_tag)
{
    struct answer *a;

    if (store_is_remote(req_app(r)->store) && answer_of(r, m, body, by_tag, &a) == 0)
        answer_unref(a);
}

static int make_answer(struct req *r, const struct repo_manifest *m, bool past, bool by_tag,
                       struct answer **ret)
{
    struct buf body auto_buf = BUF_INIT(BLOB_MANIFEST_MAX);
    int e = blob_read(req_app(r)->blobs, &m->digest, BLOB_MANIFEST_MAX, &body, req_detail(r));

    if (e == -ERR_NOTFOUND)
        return past ? api_content_removed(r) : api_missing_record(r, &m->digest);
    if (e == 0)
        e = answer_of(r, m, buf_str(&body), by_tag, ret);
    if (e == 0)
        answer_other(r, m, buf_str(&body), !by_tag);
    return e;
}

static int reply_not_modified(struct req *r, const struct digest *d, bool by_tag)
{
    api_add_digest_header(r, d);
    api_add_etag(r, d);
    req_add_header(r, "Cache-Control", by_tag ? STR(CACHE_BY_TAG) : api_cache_immutable(r));
    return req_reply_empty(r, 304);
}

static bool not_modified(struct req *r, const struct digest *d)
{
    struct str header = req_header(r, "If-None-Match");
    char text[DIGEST_TEXT_MAX];

    return header.len && etag_listed(header, digest_text(d, text));
}

static int manifest_get(struct req *r, enum waiting waiting)
{
    struct repo_manifest m;
    struct reference ref;
    struct answer *a;
    bool past, may_change;
    int e = reference_parse(req_target(r)->reference, &ref);

    if (e == -ERR_INVAL && str_find(req_target(r)->reference, ':') >= 0)
        return err_set(req_detail(r), -ERR_DIGEST, "the digest is malformed");
    if (e < 0)
        return -ERR_NOTFOUND; /* no such tag can exist; no such digest is held */
    e = read_manifest(r, &ref, waiting, &m, &past);
    if (e < 0)
        return e;
    may_change = !ref.is_digest && !past;
    if (not_modified(r, &m.digest))
        return reply_not_modified(r, &m.digest, may_change);
    a = answers_get(req_app(r)->answers, &m.digest, str_of(m.media_type), may_change);
    if (!a && waiting == NO_WAIT)
        return -ERR_AGAIN;
    if (!a)
        e = make_answer(r, &m, past, may_change, &a);
    if (e < 0)
        return e;
    e = req_reply_answer(r, a);
    answer_unref(a);
    return e;
}

int api_manifest_get_fast(struct req *r)
{
    return manifest_get(r, NO_WAIT);
}

int api_manifest_get(struct req *r)
{
    return manifest_get(r, MAY_WAIT);
}

/* ---- Writing. */
struct tags {
    struct buf text; /* decoded values one after another */
    struct str at[REPO_TAGS_PUT_MAX];
    size_t count;
};

static void tags_done(struct tags *t)
{
    buf_done(&t->text);
}

static bool tags_hold(const struct tags *t, struct str tag)
{
    for (size_t i = 0; i < t->count; i++)
        if (str_eq(t->at[i], tag))
            return true;
    return false;
}

/* Collects ?tag= values, each checked before anything is written (R83). */
static int tags_from_query(struct req *r, struct tags *t)
{
    struct buf one auto_buf = BUF_INIT(QUERY_VALUE_MAX);
    int e;

    for (unsigned i = 0;; i++) {
        struct str tag;

        buf_clear(&one);
        e = req_query(r, "tag", i, false, &one);
        if (e == -ERR_NOTFOUND)
            return 0;
        if (e == -ERR_NOMEM)
            return e;
        if (!buf_reserve(&t->text, (size_t)REPO_TAGS_PUT_MAX * TAG_MAX_LEN - t->text.len))
            return -ERR_NOMEM; /* once: views on it must not move */
        tag = buf_str(&one);
        if (e < 0 || !tag_valid(tag))
            return err_set(req_detail(r), -ERR_INVAL, "a tag in the query is malformed");
        if (tags_hold(t, tag))
            continue;
        if (t->count == REPO_TAGS_PUT_MAX)
            return err_set(req_detail(r), -ERR_LIMIT, "more than %d tags in one push",
                           REPO_TAGS_PUT_MAX);
        t->at[t->count++] = str_make(t->text.at + t->text.len, tag.len);
        buf_add(&t->text, tag);
    }
}

/* What the path says: a tag, or a digest that the body must have. */
static int put_target(struct req *r, struct tags *tags, struct digest *ret)
{
    struct str text = req_target(r)->reference;
    struct digest actual;
    int e;

    tags->text = BUF_INIT((size_t)REPO_TAGS_PUT_MAX * TAG_MAX_LEN);
    e = tags_from_query(r, tags);
    if (e < 0)
        return e;
    if (str_find(text, ':') < 0) {
        if (!tag_valid(text))
            return err_set(req_detail(r), -ERR_INVAL, "the tag is malformed");
        if (tags->count)
            return err_set(req_detail(r), -ERR_INVAL,
                           "tags in the query go with a digest in the path");
        tags->at[tags->count++] = text;
        digest_of(DIGEST_SHA256, req_body(r), ret);
        return 0;
    }
    e = api_write_digest(r, text, ret);
    if (e < 0)
        return e;
    digest_of(ret->alg, req_body(r), &actual);
    if (!digest_eq(&actual, ret))
        return err_set(req_detail(r), -ERR_DIGEST,
                       "the manifest's bytes do not have the digest of the path");
    return 0;
}

static int reply_missing(struct req *r, const struct buf *missing)
{
    struct buf body auto_buf = BUF_INIT(OCI_ERROR_BODY_MAX);

    oci_error_missing(buf_str(missing), &body);
    return req_reply_body(r, 400, "application/json", &body);
}

static int reply_put(struct req *r, const struct manifest *m, const struct digest *d,
                     const struct tags *tags)
{
    struct str name = req_target(r)->name;
    char text[DIGEST_TEXT_MAX];
    struct buf list auto_buf = BUF_INIT((size_t)REPO_TAGS_PUT_MAX * (TAG_MAX_LEN + 2));

    digest_text(d, text);
    req_add_headerf(r, "Location", "%s/v2/" STR_FMT "/manifests/%s", req_app(r)->url_base,
                    STR_ARG(name), text);
    api_add_digest_header(r, d);
    if (m->has_subject)
        req_add_header(r, "OCI-Subject", m->subject.digest_text);
    if (str_find(req_target(r)->reference, ':') >= 0 && tags->count) {
        for (size_t i = 0; i < tags->count; i++) {
            buf_add(&list, i ? STR(", ") : STR_NONE);
            buf_add(&list, tags->at[i]);
        }
        req_add_header(r, "OCI-Tag", buf_str(&list));
    }
    return req_reply_empty(r, 201);
}

/* What was just pushed is mostly read next. */
static void remember(struct req *r, struct repo *repo, const struct digest *d)
{
    struct repo_manifest m;

    if (!store_is_remote(req_app(r)->store) || repo_manifest(repo, d, &m) < 0)
        return;
    answer_other(r, &m, req_body(r), true);
    answer_other(r, &m, req_body(r), false);
}

int api_manifest_put(struct req *r)
{
    struct tags tags auto_of(tags_done) = {.count = 0};
    struct manifest m auto_manifest = {0};
    struct taglog_if condition auto_of(taglog_if_done) = {.one_of = false};
    struct repo *repo auto_repo = NULL;
    struct buf missing auto_buf = BUF_INIT((size_t)REPO_MISSING_MAX * (DIGEST_TEXT_MAX + 1));
    struct repo_refusal refusal = {.present = false};
    struct repo_who who = api_who(r);
    struct repo_put put = {
        .manifest = &m, .body = req_body(r), .tags = tags.at, .refusal = &refusal};
    int e = put_target(r, &tags, &put.digest);

    if (e == 0)
        e = manifest_parse(req_body(r), req_header(r, "Content-Type"), &m, req_detail(r));
    if (e == 0)
        e = api_condition(r, &condition);
    if (e == 1)
        put.condition = &condition;
    if (e >= 0)
        e = api_override(r, tags.at, tags.count, &who);
    if (e == 0)
        e = repo_get(req_app(r)->repos, req_target(r)->name, &repo, req_detail(r));
    if (e < 0)
        return e;
    put.tag_count = tags.count;
    e = repo_put(repo, &put, &who, &missing, req_detail(r));
    if (e == -ERR_MISSING_REF && missing.len)
        return reply_missing(r, &missing);
    if (api_is_refusal(e, &refusal))
        return api_reply_refused(r, e, &refusal);
    if (e < 0)
        return e;
    remember(r, repo, &put.digest);
    return reply_put(r, &m, &put.digest, &tags);
}

/* What a digest names has only one entity tag, so its condition can be judged ahead; what would be
 * refused without it is told by the change itself. */
static int delete_manifest(struct req *r, struct repo *repo, const struct digest *d,
                           const struct taglog_if *condition, const struct repo_who *who,
                           struct repo_refusal *refusal)
{
    struct repo_manifest m;
    char text[DIGEST_TEXT_MAX];
    int e;

    e = repo_manifest(repo, d, &m);
    if (e < 0 && e != -ERR_NOTFOUND)
        return e;
    if (e == 0 && !taglog_if_holds(condition, digest_text(d, text))) {
        *refusal = (struct repo_refusal){.present = true, .digest = *d};
        return err_set(req_detail(r), -ERR_CONDITION,
                       "the manifest is not what the condition asks for");
    }
    return repo_delete_manifest_for(repo, d, who, refusal, req_detail(r));
}

int api_manifest_delete(struct req *r)
{
    struct repo *repo auto_repo = NULL;
    struct taglog_if condition auto_of(taglog_if_done) = {.one_of = false};
    struct repo_refusal refusal = {.present = false};
    const struct app_refuse *refuse = &req_app(r)->refuse;
    struct repo_who who = api_who(r);
    struct reference ref;
    int e = reference_parse(req_target(r)->reference, &ref);

    if (e == -ERR_INVAL && str_find(req_target(r)->reference, ':') >= 0)
        return err_set(req_detail(r), -ERR_DIGEST, "the digest is malformed");
    if (e < 0)
        return -ERR_NOTFOUND;
    if (ref.is_digest ? refuse->manifest_delete : refuse->tag_delete)
        return err_set(req_detail(r), -ERR_UNSUPPORTED, "this registry does not delete %s",
                       ref.is_digest ? "manifests" : "tags");
    e = api_condition(r, &condition);
    if (e >= 0)
        e = api_override(r, &ref.tag, ref.is_digest ? 0 : 1, &who);
    if (e == 0)
        e = api_fresh_repo(r, req_target(r)->name, MAY_WAIT, &repo);
    if (e == 0 && !repo_exists(repo))
        e = -ERR_NOREPO;
    if (e == 0)
        e = ref.is_digest
                ? delete_manifest(r, repo, &ref.digest, &condition, &who, &refusal)
                : repo_delete_tag_if(repo, ref.tag, &condition, &who, &refusal, req_detail(r));
    if (api_is_refusal(e, &refusal))
        return api_reply_refused(r, e, &refusal);
    return e < 0 ? e : req_reply_empty(r, 202);
}
