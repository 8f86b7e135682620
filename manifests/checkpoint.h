/* Checkpoint heads (docs/bucket-format.md section 9.4): what names a table and says for which
 * position of which log it holds; and the rule that says at which positions one is due. Pure
 * functions: same log, same bytes (I11). Any thread. */
#ifndef STOWAGE_MANIFESTS_CHECKPOINT_H
#define STOWAGE_MANIFESTS_CHECKPOINT_H

#include "base/json.h"
#include "manifests/table.h"

#define CHECKPOINT_HEAD_MAX   (64u << 20)
#define CHECKPOINT_HASH_BYTES 32
#define CHECKPOINT_DUE_MIN    (64u << 10) /* bytes of entries between due positions, at least */
#define CHECKPOINT_DUE_PART   50          /* and this part of the table: 2 % */

struct checkpoint_head {
    struct str repo; /* the log's name; decoded: the one that was asked for */
    uint64_t seq;
    uint8_t hash[CHECKPOINT_HASH_BYTES]; /* of entry seq */
    int64_t ts;                          /* of entry seq */
    uint64_t previous;                   /* the due position before this one, 0 none */
    uint64_t bytes;                      /* of keys and values of all records */
};

/* more: further keys of the head as the log's owner wants them, JSON without braces, may be empty.
 */
int checkpoint_encode(const struct checkpoint_head *head, struct str more, const struct table *t,
                      struct buf *out) must_check;
/* Of a head that should be of the log head->repo. -ERR_CORRUPT; -ERR_VERSION: of another encoder.
 * *ret_doc: its keys, for the owner; spec may be NULL: then only the head is looked at and no table
 * is made. */
int checkpoint_decode(struct str text, struct str repo, const struct table_spec *spec,
                      struct checkpoint_head *ret, struct json_doc **ret_doc,
                      struct table **ret_table, struct err_detail *detail) must_check;

/* Due positions, a function of the log alone. A zeroed value stands before entry 1. */
struct due {
    uint64_t last;  /* last due position */
    uint64_t since; /* bytes of entries after it */
    uint64_t table; /* bytes of all records there */
};
/* Counts an entry; true when its position is due: then call due_pass with the bytes of all records
 * there. */
bool due_add(struct due *d, uint64_t entry_bytes) must_check;
void due_pass(struct due *d, uint64_t seq, uint64_t table_bytes);

#endif
