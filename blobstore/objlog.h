/* The log primitive: numbered entries, each created once (docs/bucket-format.md section 3; design
 * sections 4 and 6). The numbered create is the only commit there is. This module knows the
 * envelope (seq, prev, node, nonce, ts), not the operations.
 *
 * Invariants kept here: I1 entries are dense, chained, never change; I2 an acknowledged operation
 * is in the history exactly once, an unacknowledged one at most once; I9 ts strictly rises.
 *
 * Thread rule: a struct objlog belongs to one holder at a time for append and follow (its owner's
 * commit order); objlog_probe may be called by any thread with a position of its own. */
#ifndef STOWAGE_BLOBSTORE_OBJLOG_H
#define STOWAGE_BLOBSTORE_OBJLOG_H

#include "base/json.h"
#include "blobstore/keys.h"
#include "blobstore/node.h"

#define OBJLOG_ENTRY_MAX     (9u << 20) /* bytes of one entry with everything */
#define OBJLOG_BATCH_OPS_MAX 256
#define OBJLOG_BATCH_MAX     (1u << 20) /* bytes of operations in a batch */
#define OBJLOG_OP_MAX        (8u << 20) /* bytes of one operation alone */
#define OBJLOG_VALID_MS      60000      /* D: a create is sent only within this of its validation */
#define OBJLOG_DECIDE_MS     20000      /* a commit answers within this, "unknown" if need be */
#define OBJLOG_AHEAD_MS                                                                            \
    300000 /* an entry so far ahead of the store's clock is not followed, but by an override */
#define OBJLOG_HASH_BYTES 32

struct objlog;

/* Where a reader stands: the last entry it has applied. All zero = before entry 1. */
struct objlog_pos {
    uint64_t seq;
    uint8_t hash[OBJLOG_HASH_BYTES];
    int64_t ts;
};

struct objlog_spec {
    struct str prefix; /* from keys_repo, keys_session, KEYS_CATALOG, ...; copied */
    struct str name;   /* the envelope's "repo"; copied */
    bool deep;         /* <prefix>/_log/<16>/<20>, else <prefix>/<20> */
    enum store_class cls;
};

/* A decoded entry, borrowed for the callback. */
struct objlog_entry {
    uint64_t seq;
    int64_t ts;
    int64_t ahead; /* B22: it was written about so long before ts; mostly 0 */
    struct str node, nonce;
    const struct json *ops; /* array; NULL in an own entry whose operations are known */
    struct str payload;     /* bytes behind the JSON, mostly empty */
    struct str raw;         /* the whole object */
    uint8_t hash[OBJLOG_HASH_BYTES];
};
typedef int (*objlog_apply_fn)(const struct objlog_entry *e, void *arg);

int objlog_new(struct node *node, const struct objlog_spec *spec, struct objlog **ret) must_check;
/* Durability of entries appended from now on (a log whose entries do not all matter alike). */
void objlog_set_class(struct objlog *l, enum store_class cls);
void objlog_free(struct objlog *l);
void objlog_freep(struct objlog **l);
#define auto_objlog auto_of(objlog_freep)

/* Is there an entry after seq? One store_probe: 0 = none (the position is the head as of now),
 * -ERR_AGAIN = perhaps: follow on a worker. */
int objlog_probe(const struct objlog *l, uint64_t seq) must_check;

/* The same for a worker: true when it is certain that there is no entry after seq. */
bool objlog_ends_by(const struct objlog *l, uint64_t seq);

/* Applies entries after *pos in order until one is absent, moving *pos behind each applied one.
 * apply's first non-zero stops and is returned. -ERR_CORRUPT: an entry does not parse or `prev`
 * does not match (alarm raised). -ERR_VERSION. */
int objlog_follow(struct objlog *l, struct objlog_pos *pos, objlog_apply_fn apply, void *arg,
                  struct err_detail *detail) must_check;

/* Reads one entry (for checks of a checkpoint's position, history): -ERR_NOTFOUND. */
int objlog_read(struct objlog *l, uint64_t seq, objlog_apply_fn apply, void *arg,
                struct err_detail *detail) must_check;

/* Commits one entry at pos->seq + 1. ops: the JSON array text; payload: bytes to follow (may be
 * empty). validated_ms: clock_boot_ms of the probe on which the operations were validated; past
 * OBJLOG_VALID_MS nothing is sent: -ERR_NOTCOMMITTED. 0               committed; *pos is the new
 * entry; *ret_entry (may be NULL) is valid until the next call -ERR_EXISTS     certainly not
 * committed: another entry stands there; follow, validate again, append again -ERR_NOTCOMMITTED
 * certainly not committed (with a reason) -ERR_UNKNOWN    undecided within OBJLOG_DECIDE_MS; the
 * log is unsettled: the next append first settles that number with an empty entry -ERR_NOSPACE and
 * other certain errors: not committed Read-after-failure: after anything but success of the create
 * the key is read: mine = won, another's = lost, absent = the same bytes again. */
int objlog_append(struct objlog *l, struct objlog_pos *pos, struct str ops, struct str payload,
                  int64_t validated_ms, const struct objlog_entry **ret_entry,
                  struct err_detail *detail) must_check;
/* The same, with an answer by decide_until_ms (clock_boot_ms), which is not later than
 * OBJLOG_DECIDE_MS from now. known: the caller knows what the operations say, which struct jw
 * wrote; the entry handed out may come without ops and nonce. -ERR_AGAIN: certainly not committed,
 * since what is owed could not be settled. */
struct objlog_batch {
    struct str ops, payload;
    int64_t validated_ms, decide_until_ms;
    bool known;
    bool settles; /* what it refers to is owed (store.h): settled before the entry stands */
};
int objlog_append_until(struct objlog *l, struct objlog_pos *pos, const struct objlog_batch *b,
                        const struct objlog_entry **ret_entry,
                        struct err_detail *detail) must_check;
bool objlog_unsettled(const struct objlog *l);

/* Parses an object's bytes as entry seq of log name: pure, for fuzzing and readers. The json_doc
 * owns what e points to. */
int objlog_parse(struct str raw, struct str name, uint64_t seq, struct objlog_entry *ret,
                 struct json_doc **ret_doc, struct err_detail *detail) must_check;

#endif
