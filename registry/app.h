/* What handlers work with: one registry process. Built by cmd_serve.c, immutable while the server
 * runs. */
#ifndef STOWAGE_REGISTRY_APP_H
#define STOWAGE_REGISTRY_APP_H

#include "auth/access.h"
#include "base/work.h"
#include "blobstore/upload.h"
#include "manifests/catalog.h"
#include "manifests/events.h"
#include "manifests/repo.h"
#include "registry/forwarded.h"

struct answers;
struct robots_log;
struct views;
struct redirect;

#define APP_URL_BASE_MAX 512

/* What an operator switched off (R65, R125, R143): answered 405 UNSUPPORTED, a mount without `from`
 * by a session. */
struct app_refuse {
    bool tag_delete, manifest_delete, blob_delete, catalog, anonymous_mount;
};

struct app {
    struct store *store;
    struct node *node;
    struct blobs *blobs;
    struct cache *cache; /* of blobs on disk; mostly NULL */
    struct uploads *uploads;
    struct repos *repos;
    struct views *views; /* of the past */
    struct access *access;
    struct answers *answers; /* prepared manifest answers */
    struct work *background;
    struct events *events;
    struct redirect *redirect; /* NULL: never */
    struct app_refuse refuse;
    int64_t staleness_ms; /* how old the state may be that reads are answered from; 0: strict */
    struct robots_log *robots;      /* API keys; NULL while nobody is asked who he is */
    struct proxies proxies;         /* whose headers are believed */
    const char *certificate_header; /* of theirs; borrowed, may be empty */
    const char *token_realm;        /* URL of an outside token server; borrowed, may be empty */
    const struct opt_list *origins; /* R28; borrowed, NULL: none */
    bool tag_history;               /* served (R162) */
    char url_base[APP_URL_BASE_MAX +
                  1]; /* before "/v2/" in Location and Link (R25, R26); mostly empty */
};

/* --external-url: "https://host[:port][/path]" makes Location and Link absolute, "/path" puts a
 * path before them, "" leaves them relative. */
int app_set_external_url(struct app *app, const char *url, struct err_detail *detail) must_check;

/* Opens everything below HTTP on a store (borrowed). */
int app_open(struct app *app, struct store *store, enum references references,
             const struct access_settings *access, struct err_detail *detail) must_check;
/* --cache-dir, --cache-size: for a store that is remote (-ERR_INVAL for another). */
int app_set_cache(struct app *app, const char *dir, uint64_t bytes_max,
                  struct err_detail *detail) must_check;
void app_close(struct app *app); /* also of a half-open one */

#endif
