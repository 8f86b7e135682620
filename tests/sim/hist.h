/* What clients did and were told, and the judgement whether it is linearizable. Times are ticks: a
 * counter that rises with each call, return and store effect, so that any two are ordered. */
#ifndef STOWAGE_TESTS_SIM_HIST_H
#define STOWAGE_TESTS_SIM_HIST_H

#include <stdbool.h>
#include <stdint.h>

#define HIST_OPS_MAX 4096
#define HIST_NEVER   UINT32_MAX

enum op_kind {
    OP_PUT,
    OP_SET_TAGS, /* several at once, all or none */
    OP_DELETE_TAG,
    OP_DELETE_MANIFEST,
    OP_UNLINK,
    OP_LINK, /* an upload closed, or a mount: the blob is readable from now on */
    OP_GET_TAG,
    OP_GET_MANIFEST,
    OP_GET_BLOB,
    OP_LIST, /* tags */
    OP_SETTINGS
};

enum outcome {
    OUT_UNKNOWN, /* no answer, or one that says so */
    OUT_OK,
    OUT_NOT_FOUND,
    OUT_MISSING,   /* put: refused, for these are missing */
    OUT_CONDITION, /* refused, for the tag is not what was asked for */
    OUT_DENIED,    /* refused, for a tag is immutable */
    OUT_NOT_DONE   /* certainly without effect */
};

struct op {
    enum op_kind kind;
    enum outcome outcome;
    unsigned client, repo;
    unsigned manifest, blob; /* indexes into the world's content */
    uint32_t tags;           /* mask: put, delete of a tag; OP_LIST: the answer; OP_SETTINGS: the
                                immutable ones */
    uint32_t gone;           /* mask of tags to be removed: OP_SET_TAGS */
    bool override;           /* asked that immutable tags should not hold it back */
    unsigned want;           /* condition on the one tag: 0 none, else what GET_TAG said + 1 */
    uint32_t missing_blobs, missing_manifests;
    int value;           /* OP_GET_TAG: manifest + 1, 0 none; OP_GET_*: 1 there, 0 not */
    uint32_t call, back; /* ticks; back HIST_NEVER: no answer */
};

void hist_begin(void);
uint32_t hist_tick(void);
struct op *hist_call(enum op_kind kind, unsigned client, unsigned repo);
void hist_return(struct op *op, enum outcome outcome);
unsigned hist_count(void);
struct op *hist_at(unsigned i);
const char *hist_name(enum op_kind kind);

/* ---- Linearizability of one register whose values are 0..31 (Wing and Gong; memo after Lowe). */
struct lin_op {
    uint32_t call, back; /* back HIST_NEVER: may take effect at any later time, or never */
    uint32_t need;       /* mask of values at which it can happen */
    int set;             /* the value after it; -1: as before */
    int clear_if;        /* then 0 instead of this value; -1: none */
    unsigned what;       /* of the caller */
};
#define LIN_OPS_MAX 512
enum lin { LIN_YES, LIN_NO, LIN_TOO_COMPLEX };
enum lin lin_check(const struct lin_op *ops, unsigned count);

#endif
