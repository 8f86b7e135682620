/* Inside of repositories; included by repo*.c only. */
#ifndef STOWAGE_MANIFESTS_REPO_INTERNAL_H
#define STOWAGE_MANIFESTS_REPO_INTERNAL_H

#include "manifests/catalog.h"
#include "manifests/replica.h"
#include "manifests/state.h"

/* What the leader of a commit remembers of the batch it gathers: an operation whose validity
 * another one of the batch may end waits for the next batch. */
struct repo_batch {
    struct omap *removed; /* digests of manifests deleted and blobs unlinked; NULL until needed */
    struct omap *touched; /* tags set or removed; NULL until needed */
    bool puts;            /* holds a put */
    bool unlinks, deletes, settings;
    bool taken; /* holds something */
    bool whole; /* and nothing else comes in */
};

/* A link that was seen. Its key names the last unlink of the digest, and it is removed only after
 * another unlink (garbage collection takes it with its record): so it stays true for that number.
 */
struct link_seen {
    struct digest digest;
    uint64_t u;
    bool used;
};
#define REPO_LINKS_SEEN 64 /* direct-mapped by digest */

struct repo {
    struct repos *owner;
    struct replica *replica;
    char name[NAME_MAX_LEN + 1];
    struct str name_str;
    struct state *state;     /* guarded by the replica's lock, like the next */
    struct link_seen *links; /* NULL until one was seen */

    struct repo_batch batch; /* the holder's */
    uint64_t flipped;        /* the entry that emptied or filled it last, until the catalog says so;
                              * 0: none; replica's lock */
    int64_t marked;          /* the holder's: newest ten minutes whose marker exists */

    struct {
        bool known;
        int64_t ms;
        uint64_t seq;
    } time;      /* the last one asked for, which was final; guarded by the replica's lock */
    bool past;   /* a view: it never changes */
    uint64_t at; /* of a view: its position */

    /* Of the cache, guarded by its mutex. */
    struct repo_cache *cache;
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
bool repos_remote(const struct repos *rs); /* a look at its store is a request */

/* The meaning of a repository's log; repo_log.c. */
extern const struct replica_ops repo_replica_ops;

/* How a descriptor is a member. */
enum member { MEMBER_NOT, MEMBER_MANIFEST, MEMBER_BY_REFS, MEMBER_BY_LINK };

struct member_ref {
    enum member how;
    uint64_t u;    /* the link that was found, or would have been */
    uint32_t slot; /* of the store's answer, while asking */
    bool asked;    /* its link decides */
};

/* Blocks held for questions under the lock: see repo_ask_again. */
struct repo_asking {
    struct pins pins;
    unsigned tries;
};

enum change_kind {
    CHANGE_PUT,
    CHANGE_TAGS,
    CHANGE_DELETE_MANIFEST,
    CHANGE_UNLINK,
    CHANGE_SETTINGS,
    CHANGE_WHOLE /* operations judged by whoever made them, on the very state before the entry */
};

/* A change on its way into the log: made and validated in repo_commit.c, judged in repo_judge.c. */
struct repo_change {
    struct replica_op op; /* first: the replica knows this one */
    enum change_kind kind;
    uint64_t seen; /* position of the state it was validated on */
    struct digest digest;
    const struct taglog_set *sets;
    size_t set_count;
    bool must_exist; /* what the sets remove */
    bool override;   /* repo_who's */
    const struct repo_put *put;
    const struct settings *settings;
    struct member_ref *refs;      /* of the put's manifest, or one of an unlink */
    bool stored;                  /* the manifest's bytes have their record ... */
    struct store_owed owed;       /* ... which may be owed */
    struct repo_refusal *refusal; /* NULL: not asked for */
    struct repo_asking asking;    /* holds what the judge asks for */
};

/* Under the replica's lock. The judgement when a batch is gathered; and its part that refuses, on
 * the present state: 0, or the answer with its cause in c->op.detail and c->refusal. */
enum replica_verdict repo_judge(struct repo *r, struct repo_change *c);
int repo_refuse(const struct repo *r, struct repo_change *c);

/* Makes the catalog say whether it is filled. Best effort; takes the lock. */
void repo_tell_catalog(struct repo *r, int64_t deadline_ms);

/* Queries with the lock held by the caller. */
bool repo_filled(const struct repo *r);

/* B11, not locked: is the digest readable by refs, and the number that its link has. */
int repo_readable(struct repo *r, const struct digest *d, bool *ret_readable, uint64_t *ret_u,
                  struct err_detail *detail) must_check;

/* After a question under the lock was answered with e: what is to be done before it is asked again,
 * with the blocks of these keys held. 0: ask again; or the final answer. */
void repo_asking_done(struct repo_asking *a);
#define auto_asking auto_of(repo_asking_done)
/* Holds the blocks that say which tags are on a manifest. */
int repo_hold_tags_on(struct repo *r, struct repo_asking *a,
                      const struct digest *manifest) must_check;
int repo_ask_again_manifests(struct repo *r, struct repo_asking *a, int e,
                             const struct digest *after, size_t records) must_check;
int repo_ask_again(struct repo *r, struct repo_asking *a, int e, const struct state_key *keys,
                   size_t count, struct err_detail *detail) must_check;

#endif
