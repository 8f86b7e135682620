/* A log followed in memory: cold open, strict reads by shared probes, group commit, checkpoints
 * (design section 6). What the entries mean is its owner's business (struct replica_ops): a
 * repository (repo.h) or the catalog (catalog.h).
 *
 * Thread rule: any thread. One mutex guards the owner's state and everything here; it is never held
 * over I/O. The log itself is used by one holder at a time: a committer or a follower. */
#ifndef STOWAGE_MANIFESTS_REPLICA_H
#define STOWAGE_MANIFESTS_REPLICA_H

#include "base/event.h"
#include "base/work.h"
#include "blobstore/objlog.h"
#include "manifests/checkpoint.h"
#include "manifests/layers.h"

#define REPLICA_QUEUE_MAX 4096 /* operations that wait for a commit */
#define REPLICA_SEND_MS   1000 /* with less time left an operation is not sent any more */

struct replica;
struct replica_op;

/* Operations of an own entry, as its owner gave them (replica_op.known). */
struct replica_known {
    const void *at[OBJLOG_BATCH_OPS_MAX];
    size_t count;
};

enum replica_verdict {
    REPLICA_TAKE,  /* into this batch */
    REPLICA_LATER, /* depends on one in this batch: it begins the next one */
    REPLICA_DONE   /* answered with op->result, without an entry */
};

/* All members set. self is the owner. "Locked": under the replica's mutex, must not wait. "Holder":
 * without it, may do I/O. */
struct replica_ops {
    /* Holder: decodes an entry and makes its change on a view of the layers. -ERR_CORRUPT (of the
     * entry; a damaged table is -ERR_UNAVAIL), -ERR_VERSION, or an error that may pass. known: what
     * the entry says, when it comes without ops. */
    int (*prepare)(void *self, const struct objlog_entry *e, const struct replica_known *known,
                   void **ret, struct err_detail *detail);
    void (*apply)(void *self, void *prepared); /* locked: the change comes into the state */
    void (*discard)(void *prepared);

    /* Locked. May a checkpoint be made of the state as it is? What its head says besides. */
    bool (*settled)(void *self);
    void (*write_more)(void *self, struct jw *w);
    /* Locked, while opening: the layers are those of a checkpoint's position; -ERR_CORRUPT,
     * -ERR_VERSION. As before the first entry. */
    int (*read_more)(void *self, const struct json *head, uint64_t seq);
    int (*reset)(void *self);
    size_t (*bytes)(void *self); /* memory; locked */

    /* Locked: a batch begins; one operation after the other is judged on the present state. */
    void (*batch)(void *self);
    enum replica_verdict (*judge)(void *self, struct replica_op *op);
    /* Holder: before entry seq is sent; a failure is the batch's. After an entry of this node was
     * applied, before its operations are answered. Both by a deadline (clock_boot_ms). */
    int (*before)(void *self, uint64_t seq, int64_t deadline_ms, struct err_detail *detail);
    void (*after)(void *self, int64_t deadline_ms);
};

struct replica_spec {
    struct node *node;
    struct str prefix, name; /* as in objlog_spec; copied */
    const struct replica_ops *ops;
    void *self;
    struct layers *layers;     /* of the owner; guarded by the replica's lock */
    struct table_cache *cache; /* borrowed */
    struct work *background;   /* writes checkpoints; NULL: none are written */
};
int replica_new(const struct replica_spec *spec, struct replica **ret) must_check;
void replica_free(struct replica *r);
void replica_freep(struct replica **r);
#define auto_replica auto_of(replica_freep)

/* Reads the log to its end; before anything else, by one thread; again only after a failure.
 * -ERR_VERSION; a damaged log opens read-only. */
int replica_open(struct replica *r, struct err_detail *detail) must_check;
/* The same for a log that its owner has heard nothing of: if it has no entry, that is all that is
 * asked. Whether it has lost entries (B25) is then to be asked before the first one is created. */
int replica_open_unheard(struct replica *r, struct err_detail *detail) must_check;
/* Holder. -ERR_EXISTS: others have written since, what there is has been read; -ERR_READONLY: it
 * has lost entries, and the alarm is raised. */
int replica_check_unheard(struct replica *r, struct err_detail *detail) must_check;
/* Instead: the log as it was just after entry seq, which exists (0: before the first). The replica
 * stays there: refreshing it asks nobody, and nothing is committed. -ERR_CORRUPT: an entry up to
 * there is missing or damaged. */
int replica_open_at(struct replica *r, uint64_t seq, struct err_detail *detail) must_check;
/* The last entry stamped up to ms, as the state stands; 0: none is. -ERR_TIME: not final, an entry
 * stamped up to then may still come (design section 9). Reads about log2(entries) entries. */
#define REPLICA_FINAL_MS (20 * 60 * 1000)
int replica_seq_at(struct replica *r, int64_t ms, uint64_t *ret,
                   struct err_detail *detail) must_check;
/* One entry, from the store; any thread. -ERR_NOTFOUND. */
int replica_read(struct replica *r, uint64_t seq, objlog_apply_fn fn, void *arg,
                 struct err_detail *detail) must_check;

void replica_lock(struct replica *r);
void replica_unlock(struct replica *r);
uint64_t replica_seq(const struct replica *r); /* locked: the last applied entry ... */
int64_t replica_ts(const struct replica *r);   /* ... and its time */
/* Holder, in prepare: will a checkpoint be due behind this entry? */
bool replica_due_with(struct replica *r, const struct objlog_entry *e);
/* The base as it is now, with a reference, NULL for none: for holding its blocks while the lock is
 * free. */
struct table *replica_base(struct replica *r);
/* A record of the base is not what it must be: the next refresh opens from another checkpoint. */
void replica_note_bad(struct replica *r);

/* Makes the state at least as new as the moment of the call. */
int replica_refresh(struct replica *r, struct err_detail *detail) must_check;
int replica_refresh_nowait(struct replica *r) must_check; /* 0, or -ERR_AGAIN */

/* Was the state the head at a moment not longer ago than this? Any time. */
bool replica_recent(const struct replica *r, int64_t ms);
/* Was the head looked at by a look that began after this moment (clock_boot_ns)? So who notes the
 * time, gets a replica and finds it opened by that very call needs no second look. */
bool replica_newer(struct replica *r, int64_t ns);

/* Was the state found to be the head by a look that began not longer ago than ms? *ret_ms: then
 * (clock_boot_ms). For a change whose create will tell whether it still is. */
bool replica_head_lately(struct replica *r, int64_t ms, int64_t *ret_ms);

size_t replica_bytes(const struct replica *r); /* memory, any time */
int replica_writable(struct replica *r,
                     struct err_detail *detail) must_check; /* 0, -ERR_READONLY, ... */

/* An operation on its way into the log; embedded in the caller's, which lives until replica_commit
 * returns. */
struct replica_op {
    struct str text;      /* JSON of the operation */
    const void *known;    /* what text says, in the owner's form; NULL: it is read from there */
    int64_t validated_ms; /* clock_boot_ms of the probe on which it was validated */
    int64_t deadline_ms;  /* an answer is wanted by then */
    bool owed;  /* what it refers to is (store.h); the answer -ERR_AGAIN may mean: settle that, then
                 * commit again */
    int result; /* judge sets it with REPLICA_DONE */
    struct err_detail detail;
    /* of the replica */
    struct replica_op *next;
    struct event wake;
    bool taken, done;
    bool told; /* nobody else will touch it any more */
};
/* Returns op->result, or 0 when committed; errors of objlog_append. */
int replica_commit(struct replica *r, struct replica_op *op) must_check;

#endif
