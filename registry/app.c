#include "registry/app.h"

#include <string.h>

#include "blobstore/cache.h"
#include "manifests/view.h"
#include "registry/answers.h"
#include "registry/fetch.h"
#include "registry/redirect.h"
#include "registry/robots.h"

#define BACKGROUND_THREADS   1
#define BACKGROUND_QUEUE_MAX 256

static void committed(void *arg, struct str name, uint64_t seq)
{
    events_committed(arg, name, seq);
}

/* ---- What the access decision needs of the store and the network. */

static bool token_seed(void *arg, unsigned index, uint8_t out[HMAC_BYTES], int64_t *ret_end_ms)
{
    return node_key_until(arg, STR("token key"), index, out, ret_end_ms);
}

static int refresh_secrets(void *arg)
{
    return node_refresh_secrets(arg, NULL);
}

static int refresh_robots(void *arg)
{
    return robots_log_refresh(arg, NULL);
}

static int connect_access(struct app *app)
{
    struct buf issuer auto_buf = BUF_INIT(128);
    struct access_outside outside = {.secrets = {token_seed, refresh_secrets, app->node},
                                     .fetch = {fetch_url, NULL}};
    int e = robots_log_new(app->node, &app->robots);

    if (e < 0)
        return e;
    buf_add(&issuer, STR("stowage:"));
    buf_add(&issuer, node_registry(app->node));
    outside.token_issuer = buf_str(&issuer);
    outside.robots = robots_log_table(app->robots);
    outside.refresh_robots = refresh_robots;
    outside.arg = app->robots;
    return buf_err(&issuer) < 0 ? -ERR_NOMEM : access_connect(app->access, &outside);
}

int app_open(struct app *app, struct store *store, enum references references,
             const struct access_settings *access, struct err_detail *detail)
{
    struct repos_settings repos = {.references = references};
    int e;

    *app = (struct app){.store = store};
    e = access_new(access, &app->access, detail);
    if (e == 0)
        e = answers_new(&app->answers);
    if (e == 0)
        e = work_new("background", BACKGROUND_THREADS, BACKGROUND_QUEUE_MAX, &app->background);
    if (e == 0)
        e = node_open(store, &app->node, detail);
    if (e == 0 && access_enabled(app->access))
        e = connect_access(app);
    if (e == 0)
        e = blobs_new(app->node, &app->blobs);
    if (e == 0)
        e = uploads_new(app->blobs, &app->uploads);
    if (e == 0)
        e = events_new(app->node, &app->events);
    repos.background = app->background;
    repos.committed = committed;
    repos.committed_arg = app->events;
    if (e == 0)
        e = repos_new(app->blobs, &repos, &app->repos);
    if (e == 0)
        e = views_new(app->repos, &app->views);
    return e;
}

int app_set_cache(struct app *app, const char *dir, uint64_t bytes_max, struct err_detail *detail)
{
    int e;

    if (dir[0] == 0)
        return 0;
    if (store_has_files(app->store))
        return err_set(detail, -ERR_INVAL,
                       "--cache-dir is for a remote store: blobs of a directory are sent from it");
    e = cache_open(dir, bytes_max, &app->cache, detail);
    if (e == 0)
        blobs_set_cache(app->blobs, app->cache);
    return e;
}

void app_close(struct app *app)
{
    if (app->background)
        work_free(app->background); /* checkpoints in progress end before what they read */
    views_free(app->views);
    if (app->repos)
        repos_free(app->repos);
    events_free(app->events); /* commits are told to it */
    if (app->uploads)
        uploads_free(app->uploads);
    if (app->blobs)
        blobs_free(app->blobs);
    redirect_free(app->redirect);
    cache_free(app->cache);
    answers_free(app->answers);
    access_free(app->access);
    robots_log_free(app->robots);
    if (app->node)
        node_free(app->node);
    *app = (struct app){.store = NULL};
}

int app_set_external_url(struct app *app, const char *url, struct err_detail *detail)
{
    struct str s = str_of(url ? url : "");

    while (s.len && s.at[s.len - 1] == '/')
        s.len--;
    if (s.len > APP_URL_BASE_MAX || (s.len && s.at[0] != '/' && !str_starts(s, STR("http://")) &&
                                     !str_starts(s, STR("https://"))))
        return err_set(detail, -ERR_INVAL,
                       "the external URL must be http://... or https://... or a path, at most %d "
                       "bytes",
                       APP_URL_BASE_MAX);
    for (size_t i = 0; i < s.len; i++)
        if (s.at[i] <= ' ' || s.at[i] > '~' || strchr("?#<>;,\"\\", s.at[i]))
            return err_set(detail, -ERR_INVAL,
                           "the external URL holds a character that does not belong into one");
    memcpy(app->url_base, s.len ? s.at : "", s.len);
    app->url_base[s.len] = '\0';
    return 0;
}
