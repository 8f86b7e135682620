/* Referrers (R130-R138): an index made from the repository's state, in order of digest, split only
 * above 4 MiB. */
#include "base/enc.h"
#include "base/json.h"
#include "registry/api.h"
#include "registry/api_common.h"

#define REFERRERS_BODY_MAX    (4u << 20)
#define REFERRERS_FILTERS_MAX 16
#define PAGE_FULL             1

struct filter {
    struct buf text[REFERRERS_FILTERS_MAX];
    size_t count;
};

static void filter_done(struct filter *f)
{
    for (size_t i = 0; i < f->count; i++)
        buf_done(&f->text[i]);
}

/* Repeated artifactType = any of them; an empty value is no filter (R134). */
static int filter_read(struct req *r, struct filter *f)
{
    for (unsigned i = 0; f->count < REFERRERS_FILTERS_MAX; i++) {
        struct buf *one = &f->text[f->count];
        int e;

        *one = BUF_INIT(QUERY_VALUE_MAX);
        e = req_query(r, "artifactType", i, true, one);
        if (e == -ERR_NOTFOUND)
            return 0;
        if (e < 0) {
            buf_done(one);
            if (e == -ERR_NOMEM)
                return e;
            return err_set(req_detail(r), -ERR_INVAL, "artifactType is malformed");
        }
        if (one->len)
            f->count++;
        else
            buf_done(one);
    }
    return 0;
}

struct listing {
    struct jw w;
    const struct filter *filter;
    char last[DIGEST_TEXT_MAX];
    bool full;
};

static bool filter_passes(const struct filter *f, struct str type)
{
    for (size_t i = 0; i < f->count; i++)
        if (str_eq(buf_str(&f->text[i]), type))
            return true;
    return f->count == 0;
}

static int add_referrer(const struct repo_referrer *ref, void *arg)
{
    struct listing *l = arg;
    size_t need =
        256 + ref->media_type.len + ref->digest.len + ref->artifact_type.len + ref->annotations.len;

    if (!filter_passes(l->filter, ref->artifact_type))
        return 0;
    if (l->last[0] && l->w.out->len + need > REFERRERS_BODY_MAX) {
        l->full = true;
        return PAGE_FULL;
    }
    jw_begin(&l->w, '{');
    jw_kstr(&l->w, "mediaType", ref->media_type);
    jw_kstr(&l->w, "digest", ref->digest);
    jw_kint(&l->w, "size", (int64_t)ref->size);
    if (ref->artifact_type.len)
        jw_kstr(&l->w, "artifactType", ref->artifact_type);
    if (ref->annotations.len) {
        jw_key(&l->w, "annotations");
        jw_raw(&l->w, ref->annotations);
    }
    jw_end(&l->w, '}');
    memcpy(l->last, ref->digest.at, ref->digest.len);
    l->last[ref->digest.len] = '\0';
    return 0;
}

/* A page without its link would look like the last one. */
static int add_link(struct req *r, const struct filter *f, const char *last)
{
    struct buf url auto_buf = BUF_INIT(REFERRERS_FILTERS_MAX * QUERY_VALUE_MAX);

    buf_addf(&url, "<%s/v2/" STR_FMT "/referrers/" STR_FMT "?last=%s", req_app(r)->url_base,
             STR_ARG(req_target(r)->name), STR_ARG(req_target(r)->reference), last);
    for (size_t i = 0; i < f->count; i++) {
        buf_add(&url, STR("&artifactType="));
        url_encode(&url, buf_str(&f->text[i]), "");
    }
    buf_add(&url, STR(">; rel=\"next\""));
    if (buf_err(&url) < 0)
        return buf_err(&url);
    req_add_header(r, "Link", buf_str(&url));
    return 0;
}

static int write_page(struct req *r, struct repo *repo, const struct digest *subject,
                      const struct filter *f, enum waiting waiting)
{
    /* One descriptor may pass the page alone: a manifest's annotations reach nearly its own
     * maximum. */
    struct buf body auto_buf = BUF_INIT(3 * REFERRERS_BODY_MAX),
                    after auto_buf = BUF_INIT(QUERY_VALUE_MAX);
    struct listing l = {.w = JW_INIT(&body), .filter = f};
    int e = req_query(r, "last", 0, false, &after);

    if (e == -ERR_NOMEM)
        return e;
    if (e < 0 && e != -ERR_NOTFOUND)
        return err_set(req_detail(r), -ERR_INVAL, "last is malformed");
    buf_add(&body,
            STR("{\"schemaVersion\":2,\"mediaType\":\"" MEDIA_OCI_INDEX "\",\"manifests\":["));
    e = 0;
    if (repo)
        e = (waiting == NO_WAIT ? repo_referrers_nowait
                                : repo_referrers)(repo, subject, buf_str(&after), add_referrer, &l);
    if (e < 0)
        return e;
    buf_add(&body, STR("]}"));
    if (f->count)
        req_add_header(r, "OCI-Filters-Applied", STR("artifactType"));
    if (l.full)
        e = add_link(r, f, l.last);
    return e < 0 ? e : req_reply_body(r, 200, MEDIA_OCI_INDEX, &body);
}

static int referrers(struct req *r, enum waiting waiting)
{
    struct filter filter auto_of(filter_done) = {.count = 0};
    struct repo *repo auto_repo = NULL;
    struct digest subject;
    bool strict; /* an empty list is an answer like any other */
    int e = digest_parse(req_target(r)->reference, &subject);

    if (e == -ERR_INVAL)
        return err_set(req_detail(r), -ERR_DIGEST, "the digest is malformed");
    if (e == 0)
        e = api_read_repo(r, waiting, &repo, &strict);
    else
        e = 0; /* an algorithm not served: nothing refers to it here */
    if (e == 0)
        e = filter_read(r, &filter);
    return e < 0 ? e : write_page(r, repo, &subject, &filter, waiting);
}

int api_referrers_fast(struct req *r)
{
    return referrers(r, NO_WAIT);
}

int api_referrers(struct req *r)
{
    return referrers(r, MAY_WAIT);
}
