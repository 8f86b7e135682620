/* Random histories of a repository over a few digests and tags, and a naive model of what follows
 * from them: written down from docs/bucket-format.md sections 5 and 6, knowing nothing of state.c.
 */
#ifndef STOWAGE_TESTS_MANIFESTS_HISTORY_H
#define STOWAGE_TESTS_MANIFESTS_HISTORY_H

#include "fixture.h"

#define HISTORY_BLOBS     6
#define HISTORY_MANIFESTS 5
#define HISTORY_TAGS      4
#define HISTORY_REFS_MAX  5

struct history {
    uint64_t random;
    struct digest blobs[HISTORY_BLOBS], manifests[HISTORY_MANIFESTS];
    char tags[HISTORY_TAGS][8];
};
void history_init(struct history *h, uint64_t seed);
unsigned history_below(struct history *h, unsigned n);
/* Appends the JSON text of the next operation. */
void history_op(struct history *h, struct buf *out);

struct model_manifest {
    bool present;
    uint64_t seq;
    int subject;                /* index of a manifest, -1 none */
    int refs[HISTORY_REFS_MAX]; /* index of a blob, or 100 + index of a manifest */
    int ref_count;
    char note[16];
};
struct model {
    struct model_manifest manifests[HISTORY_MANIFESTS];
    int tags[HISTORY_TAGS]; /* index of a manifest, -1 none */
    uint64_t tag_seq[HISTORY_TAGS];
    uint64_t unlinked[HISTORY_BLOBS], dropped;
    char settings[64];
};
void model_init(struct model *m);
void model_apply(struct model *m, const struct history *h, const struct taglog_op *op,
                 uint64_t seq);
bool model_readable(const struct model *m, int blob);
/* Fails the test when a state says anything else than the model. */
void model_compare(const struct model *m, const struct history *h, const struct state *s);

#endif
