/* stowage serve: opens the store, serves until SIGTERM or SIGINT, drains. */
#include <errno.h>
#include <malloc.h>
#include <signal.h>
#include <stdio.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/log.h"
#include "blobstore/store_check.h"
#include "registry/app.h"
#include "registry/cmd.h"
#include "registry/http.h"
#include "registry/maint.h"
#include "registry/store_open.h"
#include "registry/webhooks.h"

/* Signals are blocked before the first thread and taken here by waiting; SIGPIPE is ignored for
 * good. */
static void signals_prepare(sigset_t *stop)
{
    struct sigaction ignore = {.sa_handler = SIG_IGN};

    sigaction(SIGPIPE, &ignore, NULL);
    sigemptyset(stop);
    sigaddset(stop, SIGTERM);
    sigaddset(stop, SIGINT);
    sigprocmask(SIG_BLOCK, stop, NULL);
}

/* From the first signal on, a second one ends the process at once. */
static void signals_wait(const sigset_t *stop)
{
    int number;

    while (sigwait(stop, &number) != 0)
        ;
    log_info("serve.draining", KV_I("signal", number));
    struct sigaction once = {.sa_handler = SIG_DFL};
    sigaction(SIGTERM, &once, NULL);
    sigaction(SIGINT, &once, NULL);
    sigprocmask(SIG_UNBLOCK, stop, NULL);
}

static void say_listening(const char *url, void *arg)
{
    (void)arg;
    printf("listening on %s\n", url);
    fflush(stdout);
    log_info("serve.listening", KV_S("url", url));
}

static void say_warning(const struct store_finding *f, void *arg)
{
    (void)arg;
    if (f->verdict == STORE_CHECK_WARNING)
        log_warn("serve.store", KV_S("check", f->check), KV_S("why", f->text));
}

static int serve(struct app *app, const struct config *config, const sigset_t *stop,
                 struct err_detail *why)
{
    struct http_settings settings = {.listen = config->listen.at,
                                     .listen_count = config->listen.count,
                                     .workers = (unsigned)config->workers};
    struct http *http = NULL;
    struct maint *maint = NULL;
    struct webhooks *webhooks = NULL;
    int e = maint_start(app, &maint);

    /* Else the first push to a new repository opens it. A failure is told to whoever meets it. */
    if (e == 0 && store_is_remote(app->store))
        (void)!catalog_refresh(repos_catalog(app->repos), NULL);
    if (e == 0)
        e = webhooks_start(app, config->webhooks, &webhooks, why);
    if (e == 0) /* the last that may fail: it says that it listens */
        e = http_start(app, &settings, say_listening, NULL, &http, why);
    if (e == 0) {
        maint_set_http(maint, http);
        log_info("serve.started", KV_S("store", store_open_text(config)),
                 KV_I("connections_max", http_connections_max(http)));
        signals_wait(stop);
    }
    maint_stop(maint);
    http_stop(http);
    webhooks_stop(webhooks);
    return e;
}

/* An unsafe store is refused with one sentence; there is no other mode. */
static int check_store(struct store *store, struct err_detail *why)
{
    int64_t start = clock_boot_ms();
    int e = store_check(store, say_warning, NULL, why);

    if (e == 0)
        log_info("serve.store_checked", KV_I("ms", clock_boot_ms() - start));
    return e;
}

/* Gathered bodies and windows of blobs go back when they are freed. Left to itself the allocator
 * would take them from its heaps once the first was freed, where one that grows leaves holes. What
 * stays on top of a heap is what the library itself would choose for this size. */
static void keep_large_apart(void)
{
    (void)mallopt(M_MMAP_THRESHOLD, HTTP_LARGE);
    (void)mallopt(M_TRIM_THRESHOLD, 2 * HTTP_LARGE);
}

int cmd_serve(const struct config *config, const struct opt_list *args)
{
    struct err_detail why = {""};
    struct store *store auto_store = NULL;
    struct app app = {.store = NULL};
    sigset_t stop;
    int e;

    if (args->count) {
        cmd_complain("serve takes no argument, but got \"%s\"", args->at[0]);
        return EXIT_USAGE;
    }
    signals_prepare(&stop);
    keep_large_apart();
    e = store_open_config(config, STORE_SERVE, &store, &why);
    if (e == 0 && !store_has_files(store))
        e = check_store(store, &why);
    if (e == 0)
        e = app_open(&app, store, (enum references)config->references, &config->access, &why);
    if (e == 0)
        e = app_set_external_url(&app, config->external_url, &why);
    if (e == 0)
        e = app_set_cache(&app, config->cache_dir, (uint64_t)config->cache_size, &why);
    if (e == 0)
        e = redirect_new(&config->redirect, store, config->external_url, &app.redirect, &why);
    app.refuse = config->refuse;
    app.staleness_ms = config->staleness * 1000;
    if (e == 0)
        node_override_ahead(app.node, config->override_ahead.at, config->override_ahead.count);
    app.certificate_header = config->certificate_header;
    app.token_realm = config->token_realm;
    app.origins = &config->origins;
    if (e == 0)
        e = proxies_parse(&config->trusted_proxies, &app.proxies, &why);
    app.tag_history = config->tag_history;
    if (e == 0)
        e = serve(&app, config, &stop, &why);
    app_close(&app);
    if (e < 0)
        cmd_complain("%s", why.text[0] ? why.text : err_text(e));
    else
        log_info("serve.stopped", KV_S("store", store_open_text(config)));
    return e < 0 ? EXIT_FAILED : EXIT_OK;
}
