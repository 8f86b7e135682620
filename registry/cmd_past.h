/* What the commands about the past share; they work on the store itself, also beside serving nodes.
 */
#ifndef STOWAGE_REGISTRY_CMD_PAST_H
#define STOWAGE_REGISTRY_CMD_PAST_H

#include "manifests/view.h"
#include "registry/cmd.h"

struct past {
    struct app app;
    struct store *store;
    const struct config *config;
    struct err_detail why;
    bool failed; /* something was complained about */
};

/* NAME, NAME:TAG, or PREFIX/ (name ends with a slash; "/" is everything). */
struct past_target {
    struct str name, tag;
    bool prefix;
};
bool past_target_parse(const char *text, struct past_target *ret);

int past_open(struct past *p, const struct config *config) must_check; /* complains */
void past_close(struct past *p);
/* Says what went wrong with a repository. */
void past_complain(struct past *p, struct str name, int e);

/* A moment given by an option, as a position of the repository, which is refreshed. */
int past_position(struct past *p, struct repo *r, const char *text, uint64_t *ret) must_check;

/* Calls fn for the repository, or all under the prefix that exist now or did at the moment (text, a
 * time). A failure is complained about, and the next one follows. */
typedef int (*past_fn)(struct past *p, struct repo *r, void *arg);
int past_each(struct past *p, const struct past_target *t, const char *moment, past_fn fn,
              void *arg) must_check;

#endif
