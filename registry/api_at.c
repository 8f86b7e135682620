/* Reading the past: which moment a request asks for, and the repository as it was then. */
#include "base/enc.h"
#include "manifests/view.h"
#include "registry/admit.h"
#include "registry/api_common.h"

int api_moment(struct req *r, struct moment *ret)
{
    struct buf text auto_buf = BUF_INIT(QUERY_VALUE_MAX);
    const struct target *t = req_target(r);
    int e;

    if (t->past) {
        *ret = (struct moment){.by_time = true, .ms = t->past_ms};
        return 1;
    }
    e = req_query(r, "at", 0, true, &text);
    if (e == -ERR_NOTFOUND)
        return 0;
    if (e == -ERR_NOMEM)
        return e;
    if (e < 0)
        return err_set(req_detail(r), -ERR_TIME, "at is malformed");
    e = moment_parse(buf_str(&text), ret, req_detail(r));
    return e < 0 ? e : 1;
}

int api_may(struct req *r, enum action action, struct str repo, struct str tag)
{
    int e = admit_may(r, action, repo, tag);
    struct err_detail reason = *req_detail(r);

    return e == -ERR_DENIED
               ? admit_refuse(r, action, repo, reason.text[0] ? reason.text : err_text(e))
               : e;
}

int api_past_repo(struct req *r, enum waiting waiting, struct repo **ret)
{
    struct str name = req_target(r)->name;
    struct moment m;
    int e = api_moment(r, &m);

    if (e <= 0)
        return e;
    if (waiting == NO_WAIT)
        return -ERR_AGAIN;
    e = api_may(r, ACTION_HISTORY, name, STR_NONE);
    if (e == 0)
        e = views_repo(req_app(r)->views, name, &m, ret, req_detail(r));
    return e < 0 ? e : 1;
}

void api_add_past(struct req *r)
{
    req_add_header(r, "Cache-Control", api_cache_immutable(r));
}

void api_link_at(struct req *r, struct buf *url)
{
    struct buf text auto_buf = BUF_INIT(QUERY_VALUE_MAX);

    if (req_query(r, "at", 0, true, &text) < 0)
        return;
    buf_add(url, STR("&at="));
    url_encode(url, buf_str(&text), "");
}

int api_content_removed(struct req *r)
{
    return err_set(req_detail(r), -ERR_NOTFOUND, REPO_CONTENT_REMOVED);
}
