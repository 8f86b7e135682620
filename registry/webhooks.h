/* Webhooks: what changes is posted to targets that a file names (docs/operations.md, webhooks).
 *
 * One node does it, the one that holds the lease `webhooks`; another goes on where it ended when it
 * is gone. Each target has a thread and a cursor of its own (hooks/<target>), so that one that does
 * not answer holds up no other. A target gets each change at least once, those of a repository in
 * order: the next event is posted when this one was taken (2xx), or never. */
#ifndef STOWAGE_REGISTRY_WEBHOOKS_H
#define STOWAGE_REGISTRY_WEBHOOKS_H

#include "registry/app.h"

#define WEBHOOKS_MAX        32
#define WEBHOOK_GLOBS_MAX   64
#define WEBHOOK_ACTIONS_MAX 16
#define WEBHOOK_URL_MAX     2048
#define WEBHOOK_SECRET_MAX  1024
#define WEBHOOK_TIMEOUT_MS  10000 /* of one post */
#define WEBHOOK_BACKOFF_MS  1000  /* after the first failure, doubling ... */
#define WEBHOOK_BACKOFF_MAX_MS                                                                     \
    (300 * 1000LL)                   /* ... up to here, each half to one and a half times */
#define WEBHOOK_CURSOR_MS       1000 /* a cursor is written at most so often ... */
#define WEBHOOK_CURSOR_QUIET_MS (600 * 1000LL) /* ... and so often when nothing was posted */

struct webhook {
    char name[KEYS_WORD_MAX + 1];
    char *url, *secret;
    bool judged;          /* it has an `as`: it hears only of what this caller may pull ... */
    struct login *caller; /* ... who may be nobody: NULL */
    char *repositories[WEBHOOK_GLOBS_MAX]; /* globs of auth/glob.h; none: all */
    char *actions[WEBHOOK_ACTIONS_MAX];    /* of event_action; none: all */
    size_t repository_count, action_count;
    bool from_start; /* a new target gets everything there ever was, else what comes */
};

struct webhook_list {
    struct webhook at[WEBHOOKS_MAX];
    size_t count;
};

/* {"targets":[{"name","url","secret"?,"repositories"?,"actions"?,"from"?,"as"?},...]}. -ERR_INVAL
 * with a sentence; the list is done by the caller in any case. Pure. */
int webhooks_parse(struct str text, struct webhook_list *ret, struct err_detail *detail) must_check;
void webhook_list_done(struct webhook_list *l);
/* By its lists alone. */
bool webhook_wants(const struct webhook *w, struct str repo, struct str action);

struct webhooks;
/* Reads the file and starts; path empty: nothing to do, *ret is NULL. */
int webhooks_start(struct app *app, const char *path, struct webhooks **ret,
                   struct err_detail *detail) must_check;
void webhooks_stop(struct webhooks *w); /* gives the lease up */

#endif
