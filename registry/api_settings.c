/* Settings of a repository (docs/http-api.md, R96). */
#include "manifests/settings.h"
#include "registry/api.h"
#include "registry/api_common.h"

static int reply_settings(struct req *r, const struct settings *s)
{
    struct buf body auto_buf = BUF_INIT(2 * SETTINGS_BYTES_MAX);
    struct jw w = JW_INIT(&body);

    settings_write(&w, s);
    req_add_header(r, "Cache-Control", STR("no-cache"));
    return req_reply_body(r, 200, "application/json", &body);
}

static int settings_get(struct req *r, enum waiting waiting)
{
    struct repo *repo auto_repo = NULL;
    struct settings *s auto_settings = NULL;
    int e = api_fresh_repo(r, req_target(r)->name, waiting, &repo);

    if (e == 0)
        e = repo_exists(repo) ? repo_settings(repo, &s) : -ERR_NOREPO;
    return e < 0 ? e : reply_settings(r, s);
}

int api_settings_get_fast(struct req *r)
{
    return settings_get(r, NO_WAIT);
}

int api_settings_get(struct req *r)
{
    return settings_get(r, MAY_WAIT);
}

int api_settings_put(struct req *r)
{
    struct repo *repo auto_repo = NULL;
    struct settings *s auto_settings = NULL;
    struct repo_who who = api_who(r);
    int e = settings_parse(req_body(r), &s, req_detail(r));

    if (e == -ERR_UNSUPPORTED) /* a key: of the request, not the method */
        e = -ERR_INVAL;
    if (e == 0)
        e = repo_get(req_app(r)->repos, req_target(r)->name, &repo, req_detail(r));
    if (e == 0)
        e = repo_set_settings(repo, s, &who, req_detail(r));
    return e < 0 ? e : reply_settings(r, s);
}
