/* Listings of tags and repositories (R120-R126). */
#include "base/enc.h"
#include "base/json.h"
#include "registry/admit.h"
#include "registry/api.h"
#include "registry/api_common.h"

#define TAGS_PAGE_MAX        10000 /* R123: also what comes without n */
#define CATALOG_PAGE_MAX     10000
#define CATALOG_PAGE_INITIAL 1000
#define LIST_BODY_MAX        (4u << 20)
#define CATALOG_LOOK_BATCH   1000
#define CATALOG_LOOK_FAST    2000 /* names looked at on an event thread */

struct page {
    struct jw w;
    struct buf last; /* last name written */
};

static int add_name(struct str name, void *arg)
{
    struct page *p = arg;

    jw_str(&p->w, name);
    buf_clear(&p->last);
    buf_add(&p->last, name);
    return 0;
}

/* A page without its link would look like the last one. */
static int add_link(struct req *r, struct str path, size_t n, const struct buf *last)
{
    struct buf url auto_buf = BUF_INIT(QUERY_VALUE_MAX);

    buf_addf(&url, "<%s" STR_FMT "?n=%zu&last=", req_app(r)->url_base, STR_ARG(path), n);
    url_encode(&url, buf_str(last), "");
    buf_add(&url, STR(">; rel=\"next\""));
    if (buf_err(last) < 0 || buf_err(&url) < 0)
        return -ERR_NOMEM;
    req_add_header(r, "Link", buf_str(&url));
    return 0;
}

static int query_last(struct req *r, struct buf *out)
{
    int e = req_query(r, "last", 0, false, out);

    if (e == -ERR_INVAL)
        return err_set(req_detail(r), e, "last is malformed");
    return e == -ERR_NOTFOUND ? 0 : e;
}

static int tags_list(struct req *r, enum waiting waiting)
{
    struct repo *repo auto_repo = NULL;
    struct buf body auto_buf = BUF_INIT(LIST_BODY_MAX), last auto_buf = BUF_INIT(QUERY_VALUE_MAX),
                    path auto_buf = BUF_INIT(512);
    struct page p = {JW_INIT(&body), BUF_INIT(QUERY_VALUE_MAX)};
    size_t n = 0;
    bool more = false, strict = true;
    int e = api_page_size(r, TAGS_PAGE_MAX, TAGS_PAGE_MAX, &n);

    if (e == 0)
        e = query_last(r, &last);
    if (e == 0)
        e = api_read_repo(r, waiting, &repo, &strict);
    if (e == 0 && !strict && !repo_exists(repo))
        e = api_confirm(r, repo, waiting);
    if (e == 0 && !repo_exists(repo))
        e = -ERR_NOREPO;
    if (e < 0)
        return e;
    jw_begin(&p.w, '{');
    jw_kstr(&p.w, "name", req_target(r)->name);
    jw_key(&p.w, "tags");
    jw_begin(&p.w, '[');
    if (n > 0)
        e = (waiting == NO_WAIT ? repo_tags_nowait : repo_tags)(repo, buf_str(&last), n, add_name,
                                                                &p, &more);
    jw_end(&p.w, ']');
    jw_end(&p.w, '}');
    buf_addf(&path, "/v2/" STR_FMT "/tags/list", STR_ARG(req_target(r)->name));
    if (e == 0)
        e = buf_err(&path);
    if (e == 0 && more)
        e = add_link(r, buf_str(&path), n, &p.last);
    buf_done(&p.last);
    return e < 0 ? e : req_reply_body(r, 200, "application/json", &body);
}

int api_tags_fast(struct req *r)
{
    return tags_list(r, NO_WAIT);
}

int api_tags(struct req *r)
{
    return tags_list(r, MAY_WAIT);
}

/* A page of what the caller may see. */
struct view {
    struct req *r;
    struct page *page;
    size_t want, added, looked;
    bool more;
    struct buf at; /* the last name looked at */
};

static int look(struct str name, void *arg)
{
    struct view *v = arg;

    v->looked++;
    buf_clear(&v->at);
    buf_add(&v->at, name);
    if (admit_may(v->r, ACTION_CATALOG, name, STR_NONE) < 0)
        return 0;
    v->more = v->added == v->want;
    v->added++;
    return v->more ? 1 : add_name(name, v->page);
}

/* As catalog_page, but only names that the caller may see; looks on until it knows whether another
 * one follows. -ERR_AGAIN: too many to look at without a wait. */
static int visible_page(struct req *r, struct str last, size_t n, struct page *page,
                        enum waiting waiting, bool *ret_more)
{
    struct buf from auto_buf = BUF_INIT(QUERY_VALUE_MAX);
    struct view v = {.r = r, .page = page, .want = n, .at = BUF_INIT(QUERY_VALUE_MAX)};
    bool rows = true;
    int e = 0;

    buf_add(&from, last);
    while (e == 0 && rows && !v.more) {
        if (waiting == NO_WAIT && v.looked >= CATALOG_LOOK_FAST) {
            e = -ERR_AGAIN;
            break;
        }
        e = (waiting == NO_WAIT ? catalog_page_nowait : catalog_page)(
            repos_catalog(req_app(r)->repos), buf_str(&from), CATALOG_LOOK_BATCH, look, &v, &rows);
        buf_clear(&from);
        buf_add(&from, buf_str(&v.at));
        if (e >= 0)
            e = buf_err(&from);
    }
    buf_done(&v.at);
    *ret_more = v.more;
    req_detail(r)->text[0] = '\0';
    return e;
}

static int catalog_list(struct req *r, enum waiting waiting)
{
    struct catalog *c = repos_catalog(req_app(r)->repos);
    struct buf body auto_buf = BUF_INIT(LIST_BODY_MAX), last auto_buf = BUF_INIT(QUERY_VALUE_MAX);
    struct page p = {JW_INIT(&body), BUF_INIT(QUERY_VALUE_MAX)};
    size_t n = 0;
    bool more = false;
    int e = api_page_size(r, CATALOG_PAGE_INITIAL, CATALOG_PAGE_MAX, &n);

    if (req_app(r)->refuse.catalog)
        return err_set(req_detail(r), -ERR_UNSUPPORTED, "this registry does not list repositories");
    if (e == 0)
        e = query_last(r, &last);
    if (e == 0)
        e = waiting == NO_WAIT ? catalog_refresh_nowait(c) : catalog_refresh(c, req_detail(r));
    if (e < 0)
        return e;
    jw_begin(&p.w, '{');
    jw_key(&p.w, "repositories");
    jw_begin(&p.w, '[');
    if (n > 0 && access_enabled(req_app(r)->access))
        e = visible_page(r, buf_str(&last), n, &p, waiting, &more);
    else if (n > 0)
        e = (waiting == NO_WAIT ? catalog_page_nowait : catalog_page)(c, buf_str(&last), n,
                                                                      add_name, &p, &more);
    jw_end(&p.w, ']');
    jw_end(&p.w, '}');
    if (e == 0 && more)
        e = add_link(r, STR("/v2/_catalog"), n, &p.last);
    buf_done(&p.last);
    return e < 0 ? e : req_reply_body(r, 200, "application/json", &body);
}

int api_catalog_fast(struct req *r)
{
    return catalog_list(r, NO_WAIT);
}

int api_catalog(struct req *r)
{
    return catalog_list(r, MAY_WAIT);
}
