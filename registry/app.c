#include "registry/app.h"

#include <string.h>

#include "manifests/view.h"
#include "registry/answers.h"

#define BACKGROUND_THREADS   1
#define BACKGROUND_QUEUE_MAX 256

static void committed(void *arg, struct str name, uint64_t seq)
{
    events_committed(arg, name, seq);
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
    if (app->node)
        node_free(app->node);
    answers_free(app->answers);
    access_free(app->access);
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
