/* Inside of repositories; included by repo*.c only. */
#ifndef STOWAGE_MANIFESTS_REPO_INTERNAL_H
#define STOWAGE_MANIFESTS_REPO_INTERNAL_H

#include "manifests/catalog.h"
#include "manifests/replica.h"

/* What the leader of a commit remembers of the batch it gathers: an operation whose validity
 * another one of the batch may end waits for the next batch. */
struct repo_batch {
    struct omap *removed; /* "t" tag, "m" digest, "b" digest; NULL until needed */
    bool puts;            /* holds a put */
    bool unlinks, deletes;
};

struct repo {
    struct repos *owner;
    struct replica *replica;
    char name[NAME_MAX_LEN + 1];
    struct str name_str;
    struct state *state; /* guarded by the replica's lock */

    struct repo_batch batch; /* the holder's */
    int64_t marked;          /* the holder's: newest ten minutes whose marker exists */

    /* Of the cache, guarded by its mutex. */
    uint64_t hash;
    struct repo *chain;         /* same bucket */
    struct repo *newer, *older; /* by last use */
    unsigned refs;
    bool opening; /* by one thread; others wait */
    bool gone;    /* out of the cache; freed with its last reference */
    size_t counted;
};

int repo_new(struct repos *rs, struct str name, struct repo **ret) must_check;
void repo_free(struct repo *r);
const struct repos_settings *repos_settings(const struct repos *rs);

/* The meaning of a repository's log; repo_log.c. */
extern const struct replica_ops repo_replica_ops;

/* Operations on their way into the log; repo_commit.c. */
struct repo_change;
enum replica_verdict repo_judge(struct repo *r, struct repo_change *c);

/* Queries with the lock held by the caller. */
bool repo_filled(const struct repo *r);

#endif
