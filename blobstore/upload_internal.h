/* Inside of upload sessions: upload.c (ids, holding, bytes), upload_table.c (what is kept in
 * memory), upload_log.c (the session's log), upload_close.c (how a session becomes a blob),
 * upload_sweep.c (how it ends by age).
 *
 * Lock order: one mutex, uploads.mu, which guards the table and nothing of a session but the fields
 * said below. The store is never asked under it. */
#ifndef STOWAGE_BLOBSTORE_UPLOAD_INTERNAL_H
#define STOWAGE_BLOBSTORE_UPLOAD_INTERNAL_H

#include <stdatomic.h>

#include "base/thread.h"
#include "blobstore/objlog.h"
#include "blobstore/upload.h"

#define UPLOAD_BUCKETS          256
#define UPLOAD_CACHED_BYTES_MAX (16u << 20) /* bytes of small sessions kept between requests */
#define UPLOAD_SMALL_BYTES_MAX                                                                     \
    (8u << 20)              /* of all sessions not streaming; then they stream earlier */
#define UPLOAD_PROOFS_MAX 2 /* data objects read back at once (R62): 4 MiB each */
#define UPLOAD_SPENT_SETS 1024
#define UPLOAD_SPENT_WAYS 4
#define UPLOAD_FRESH_MS   10000      /* an entry is sent within this of a look at the log */
#define UPLOAD_TRIES_MAX  8          /* of appending beside entries that mean nothing */
#define UPLOAD_TAIL_MAX   (8u << 20) /* bytes that entries carry beside a stream */
#define UPLOAD_OPS_MAX    (STORE_STREAM_STATE_MAX + 4096) /* bytes of a session's operation */
#define UPLOAD_SWEEP_MS                                                                            \
    (UPLOAD_IDLE_MS + UPLOAD_WAIT_MS) /* after its last entry an end is swept                      \
                                       */
#define UPLOAD_RANDOM_BYTES (KEYS_SESSION_RANDOM / 2)

enum upload_state {
    UPLOAD_OPEN,
    UPLOAD_CLOSED, /* `close` was won; data, record or link may be missing yet */
    UPLOAD_ENDED   /* expired, cancelled, spent */
};

/* What a `close` says. */
struct upload_close {
    struct digest digest;
    uint64_t size;
    unsigned g;
    bool unproved; /* nobody has seen that the data has the digest (B45) */
};

struct upload {
    struct uploads *us;
    char id[KEYS_SESSION_LEN + 1];
    struct upload *next;          /* guarded by mu: same bucket */
    struct upload *older, *newer; /* guarded by mu: idle list, while not held */
    int64_t idle_since_ms;        /* guarded by mu */
    bool held;                    /* guarded by mu */

    /* All else belongs to the holder. */
    struct buf repo;
    struct objlog *log; /* NULL before the first look */
    struct objlog_pos pos;
    int64_t validated_ms; /* clock_boot_ms of the last look at the log */
    enum upload_state state;
    bool changed;               /* a look at the log found an operation */
    bool unlooked;              /* held without a look at the log */
    struct upload_close closed; /* of UPLOAD_CLOSED; unproved: or about to be */
    int64_t closed_ts;

    /* [0, saved) is acknowledged, [saved, size) was written in this hold. Not streaming: bytes
     * holds [0, size). Streaming with a state: the state holds [0, bytes_at) and entries carry
     * [bytes_at, saved), which lie in bytes too unless the stream has them or partial says that
     * the log must be read again. Streaming without: bytes still holds [0, saved). */
    uint64_t saved, size, bytes_at;
    bool partial;
    struct hasher hasher, saved_hasher;
    struct buf bytes;
    size_t bytes_counted; /* of bytes, in uploads.small_bytes */
    bool streaming;
    struct buf stream_state;     /* JSON, of the last saved entry; empty: none */
    struct store_stream *stream; /* NULL: resumed when next needed */
    bool committed;              /* the stream became the object, so it left nothing */
};

struct spent_set {
    uint8_t random[UPLOAD_SPENT_WAYS][UPLOAD_RANDOM_BYTES];
    uint8_t next;
};

struct uploads {
    struct cond proof_over;
    unsigned proofs;     /* guarded by mu: data objects being read back */
    struct blobs *blobs; /* borrowed */
    struct node *node;
    struct store *store;
    atomic_llong small_bytes; /* memory of all sessions' bytes */
    struct mutex mu;
    struct upload *buckets[UPLOAD_BUCKETS]; /* guarded by mu, as all below */
    struct upload *oldest, *newest;         /* idle sessions */
    unsigned idle_count;
    size_t idle_bytes;
    struct spent_set *spent; /* NULL before the first */
    int64_t clock_offset_ms; /* store's clock - clock_boot_ms */
};

/* ---- upload_table.c */

/* 0, -ERR_NOTFOUND (spent), -ERR_BUSY, -ERR_NOMEM. *ret is held; it may know of earlier requests.
 */
int upload_table_take(struct uploads *us, struct str id, struct upload **ret) must_check;
/* Gives the hold back and keeps the session for the next request, or frees it when keep is false.
 */
void upload_table_give(struct upload *u, bool keep);
/* Keeps a new session that nobody holds; frees it when the id is known already. */
void upload_table_keep(struct upload *u);
bool upload_table_held(struct uploads *us, struct str id);
/* Frees sessions idle since before, at most as many as there are. */
void upload_table_trim(struct uploads *us, int64_t before_ms);
struct upload *upload_new(struct uploads *us, struct str id, enum digest_alg alg);
void upload_free(struct upload *u);
/* The id is never served again by this process. */
void upload_spent_add(struct uploads *us, struct str id);
/* The store's clock, remembered for upload_start. */
int uploads_now(struct uploads *us, int64_t *ret_ms, struct err_detail *detail) must_check;

/* ---- upload_log.c */

/* Milliseconds of birth in an id. */
int64_t upload_birth(struct str id);
int upload_log_new(struct uploads *us, struct str id, struct objlog **ret) must_check;
/* Looks at the log and applies what is new. -ERR_NOTFOUND: the session is idle for too long, so
 * that it may not be used even if its end cannot be seen (B4, B18). */
int upload_log_look(struct upload *u, struct err_detail *detail) must_check;
/* Reads the session's log again from its beginning, for bytes that are no longer in memory. */
int upload_log_again(struct upload *u, struct err_detail *detail) must_check;
/* Appends one entry. -ERR_EXISTS: the session is no longer what the caller thought: u tells (state,
 * saved); what was written and not saved is dropped then. Else as objlog_append. */
int upload_log_append(struct upload *u, struct str ops, struct str payload,
                      struct err_detail *detail) must_check;
/* Appends `cancel` whatever the session holds: 0 = ended, by this or by another's end.
 * -ERR_NOTFOUND: it was closed. */
int upload_log_cancel(struct upload *u, struct err_detail *detail) must_check;
/* The operation of an entry that ends a session. */
enum upload_end { UPLOAD_END_NONE, UPLOAD_END_CLOSE, UPLOAD_END_EXPIRE, UPLOAD_END_CANCEL };
struct upload_last { /* what the last entry says */
    struct objlog_pos pos;
    enum upload_end end;
    struct upload_close close;
};
int upload_log_read_last(struct objlog *log, uint64_t seq, struct upload_last *ret,
                         struct err_detail *detail) must_check;

/* ---- upload.c */

/* Opens or resumes the stream; bytes held in memory are written to a new one. */
int upload_need_stream(struct upload *u, struct err_detail *detail) must_check;
void upload_drop_stream(struct upload *u);
/* To be called after bytes grew or shrank. */
void upload_count_bytes(struct upload *u);
/* Back to what is acknowledged. */
void upload_forget_unsaved(struct upload *u);
/* Over: nothing of it is kept, later use is -ERR_NOTFOUND. */
void upload_end(struct upload *u);
/* Closes the stream and removes what it left. Only for a session whose end is in its log. */
void upload_sweep_stream(struct upload *u);

/* ---- upload_sweep.c */

/* B19: removes the data of a close that was never rolled forward, or whose record names another
 * session's. Only for a close older than UPLOAD_SWEEP_MS: nobody creates its record any more. */
int upload_sweep_data(struct uploads *us, struct str id, const struct digest *d, unsigned g);

#endif
