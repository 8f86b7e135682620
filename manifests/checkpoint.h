/* Checkpoints (docs/bucket-format.md section 9): the state at a position as one JSON text, and the
 * rule that says at which positions one is due. Pure functions: same log, same bytes (I11). Any
 * thread. */
#ifndef STOWAGE_MANIFESTS_CHECKPOINT_H
#define STOWAGE_MANIFESTS_CHECKPOINT_H

#include "manifests/state.h"

#define CHECKPOINT_BYTES_MAX  (256u << 20)
#define CHECKPOINT_HASH_BYTES 32
#define CHECKPOINT_DUE_MIN    (64u << 10) /* bytes of entries between due positions, at least */
#define CHECKPOINT_DUE_PART   50          /* and this part of the table: 2 % */

struct checkpoint_head {
    struct str repo; /* the log's name; decoded: borrowed from the text's document */
    uint64_t seq;
    uint8_t hash[CHECKPOINT_HASH_BYTES]; /* of entry seq */
    int64_t ts;                          /* of entry seq */
    uint64_t previous;                   /* the due position before this one, 0 none */
};

/* The frame that all logs share: the keys before the sections, and what ends the text. */
void checkpoint_begin(struct jw *w, const struct checkpoint_head *head);
size_t checkpoint_begin_bytes(const struct checkpoint_head *head); /* what it adds */
size_t checkpoint_number_bytes(uint64_t v);      /* of a number in decimal digits */
void checkpoint_end(struct jw *w, size_t start); /* start: length of the buffer before begin */
#define CHECKPOINT_END_BYTES 74                  /* what checkpoint_end adds: sum and brace */
/* Checks the frame of a text that should be of the log repo. -ERR_CORRUPT; -ERR_VERSION: of another
 * encoder. head->repo is set to repo. */
int checkpoint_open(struct str text, struct str repo, struct checkpoint_head *ret,
                    struct json_doc **ret_doc, struct err_detail *detail) must_check;

/* A repository's. */
int checkpoint_encode(const struct state *s, const struct checkpoint_head *head,
                      struct buf *out) must_check;
size_t checkpoint_bytes(const struct state *s,
                        const struct checkpoint_head *head); /* of that text */
int checkpoint_decode(struct str text, struct str repo, struct state **ret,
                      struct checkpoint_head *ret_head, struct err_detail *detail) must_check;

/* Due positions, a function of the log alone. A zeroed value stands before entry 1. */
struct due {
    uint64_t last;  /* last due position */
    uint64_t since; /* bytes of entries after it */
    uint64_t table; /* bytes of the checkpoint there */
};
/* Counts an entry; true when its position is due: then call due_pass with the checkpoint's size
 * there. */
bool due_add(struct due *d, uint64_t entry_bytes) must_check;
void due_pass(struct due *d, uint64_t seq, uint64_t table_bytes);

#endif
