/* Inside of the audit; included by audit*.c only. */
#ifndef STOWAGE_TESTS_SIM_AUDIT_INTERNAL_H
#define STOWAGE_TESTS_SIM_AUDIT_INTERNAL_H

#include "base/json.h"
#include "blobstore/objlog.h"
#include "world.h"

struct log_key {
    struct str prefix;
    uint64_t seq;
    bool deep;
};

bool audit_log_key(struct str key, struct log_key *ret);
bool audit_get(struct str key, struct buf *out); /* out is emptied first */
bool audit_has(struct str key);
bool audit_entry(struct str prefix, bool deep, uint64_t seq, struct buf *out);
uint32_t audit_tick(struct str prefix, uint64_t seq); /* of an entry's creation */
struct str audit_log_name(struct str prefix);

/* What a repository's log says, entry by entry, as a plain model knows it. */
#define VIEWS_MAX 2048
struct view {
    uint32_t tick; /* of the entry's creation */
    uint32_t manifests;
    uint32_t immutable;     /* mask of tags */
    uint8_t tags[TAGS_MAX]; /* manifest + 1 */
};
struct replay {
    unsigned repo, count; /* views[0] is before the first entry */
    struct view views[VIEWS_MAX];
    unsigned times[HIST_OPS_MAX]; /* of each operation of the history: how often it is in the log */
    unsigned at[HIST_OPS_MAX];    /* and its entry */
};
void audit_witness(const struct replay *r); /* audit_history.c */

#endif
