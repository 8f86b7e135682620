/* Listings of tags and repositories (R120-R126). */
#include "base/enc.h"
#include "base/json.h"
#include "manifests/view.h"
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
    api_link_at(r, &url);
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
    jw_kstr(&p.w, "name", req_target(r)->shown);
    jw_key(&p.w, "tags");
    jw_begin(&p.w, '[');
    if (n > 0)
        e = (waiting == NO_WAIT ? repo_tags_nowait : repo_tags)(repo, buf_str(&last), n, add_name,
                                                                &p, &more);
    jw_end(&p.w, ']');
    jw_end(&p.w, '}');
    buf_addf(&path, "/v2/" STR_FMT "/tags/list", STR_ARG(req_target(r)->shown));
    if (repo_is_view(repo))
        api_add_past(r);
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
struct visible {
    struct req *r;
    struct page *page;
    size_t want, added, looked;
    bool past, more;
    struct buf at; /* the last name looked at */
};

static bool may_see(struct req *r, struct str name, bool past)
{
    return admit_may(r, ACTION_CATALOG, name, STR_NONE) == 0 &&
           (!past || admit_may(r, ACTION_HISTORY, name, STR_NONE) == 0);
}

static int look(struct str name, void *arg)
{
    struct visible *v = arg;

    v->looked++;
    buf_clear(&v->at);
    buf_add(&v->at, name);
    if (!may_see(v->r, name, v->past))
        return 0;
    v->more = v->added == v->want;
    v->added++;
    return v->more ? 1 : add_name(name, v->page);
}

typedef int (*page_fn)(struct catalog *c, struct str last, size_t n,
                       int (*fn)(struct str name, void *arg), void *arg, bool *ret_more);

/* As catalog_page, but only names that the caller may see; looks on until it knows whether another
 * one follows. -ERR_AGAIN: too many to look at without a wait. */
static int visible_page(struct visible *v, struct catalog *c, struct str last, enum waiting waiting)
{
    page_fn page = waiting == NO_WAIT ? catalog_page_nowait : catalog_page;
    struct buf from auto_buf = BUF_INIT(QUERY_VALUE_MAX);
    bool rows = true;
    int e = 0;

    buf_add(&from, last);
    while (e == 0 && rows && !v->more) {
        if (waiting == NO_WAIT && v->looked >= CATALOG_LOOK_FAST)
            return -ERR_AGAIN;
        e = page(c, buf_str(&from), CATALOG_LOOK_BATCH, look, v, &rows);
        buf_clear(&from);
        buf_add(&from, buf_str(&v->at));
        if (e >= 0 && buf_err(&from) < 0)
            e = buf_err(&from);
    }
    req_detail(v->r)->text[0] = '\0';
    return e < 0 ? e : 0;
}

/* The catalog of now, or of the moment that is asked for; *ret_view: then to be given back. */
static int asked_catalog(struct req *r, enum waiting waiting, struct catalog **ret,
                         struct catalog **ret_view)
{
    struct app *app = req_app(r);
    struct moment m;
    int e = api_moment(r, &m);

    *ret_view = NULL;
    *ret = repos_catalog(app->repos);
    if (e == 0)
        return waiting == NO_WAIT ? catalog_refresh_nowait(*ret)
                                  : catalog_refresh(*ret, req_detail(r));
    if (e < 0)
        return e;
    if (waiting == NO_WAIT)
        return -ERR_AGAIN;
    e = views_catalog(app->views, &m, ret_view, req_detail(r));
    *ret = *ret_view;
    return e;
}

static int add_names(struct req *r, enum waiting waiting, struct catalog *c, struct str last,
                     size_t n, bool past, struct page *page, bool *ret_more)
{
    struct visible v = {
        .r = r, .page = page, .want = n, .past = past, .at = BUF_INIT(QUERY_VALUE_MAX)};
    int e;

    if (n == 0)
        return 0;
    if (!access_enabled(req_app(r)->access))
        return (waiting == NO_WAIT ? catalog_page_nowait : catalog_page)(c, last, n, add_name, page,
                                                                         ret_more);
    e = visible_page(&v, c, last, waiting);
    buf_done(&v.at);
    *ret_more = v.more;
    return e;
}

static int write_catalog(struct req *r, enum waiting waiting, struct catalog *c, bool past,
                         struct str last_seen, size_t n)
{
    struct buf body auto_buf = BUF_INIT(LIST_BODY_MAX), path auto_buf = BUF_INIT(512);
    struct page p = {JW_INIT(&body), BUF_INIT(QUERY_VALUE_MAX)};
    bool more = false;
    int e;

    jw_begin(&p.w, '{');
    jw_key(&p.w, "repositories");
    jw_begin(&p.w, '[');
    e = add_names(r, waiting, c, last_seen, n, past, &p, &more);
    jw_end(&p.w, ']');
    jw_end(&p.w, '}');
    buf_addf(&path, "/v2/" STR_FMT "%s_catalog", STR_ARG(req_target(r)->shown),
             req_target(r)->past ? "/" : "");
    if (e == 0)
        e = buf_err(&path);
    if (e == 0 && more)
        e = add_link(r, buf_str(&path), n, &p.last);
    buf_done(&p.last);
    return e < 0 ? e : req_reply_body(r, 200, "application/json", &body);
}

static int catalog_list(struct req *r, enum waiting waiting)
{
    struct catalog *c = NULL, *view = NULL;
    struct buf last auto_buf = BUF_INIT(QUERY_VALUE_MAX);
    size_t n = 0;
    int e = api_page_size(r, CATALOG_PAGE_INITIAL, CATALOG_PAGE_MAX, &n);

    if (req_app(r)->refuse.catalog)
        return err_set(req_detail(r), -ERR_UNSUPPORTED, "this registry does not list repositories");
    if (e == 0)
        e = query_last(r, &last);
    if (e == 0)
        e = asked_catalog(r, waiting, &c, &view);
    if (e < 0)
        return e;
    if (view)
        api_add_past(r);
    e = write_catalog(r, waiting, c, view != NULL, buf_str(&last), n);
    views_catalog_done(req_app(r)->views, view);
    return e;
}

int api_catalog_fast(struct req *r)
{
    return catalog_list(r, NO_WAIT);
}

int api_catalog(struct req *r)
{
    return catalog_list(r, MAY_WAIT);
}
