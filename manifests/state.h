/* The state of a repository: what follows from its log up to a position (docs/bucket-format.md
 * sections 5, 6, 9). In memory, a cache of the log, a pure function of the operations applied. Not
 * thread-safe: its owner locks. Strings of the structs below are borrowed until the next apply.
 *
 * Counting (B11): a digest counts as readable by refs when a manifest that is present has it in its
 * refs (kinds config, layer, blob) from a put whose number is greater than the digest's last unlink
 * (or drop). count is the number of such refs. */
#ifndef STOWAGE_MANIFESTS_STATE_H
#define STOWAGE_MANIFESTS_STATE_H

#include "base/omap.h"
#include "manifests/name.h"
#include "manifests/taglog.h"

struct state_blob {
    struct str digest; /* the map's key */
    uint32_t users;    /* refs of any kind that point here */
    uint32_t count;    /* those that make it readable */
    uint64_t unlinked; /* number of its last unlink, 0 none (drops are not noted here) */
};

struct state_ref {
    struct state_blob *blob;
    int64_t size;
    enum ref_kind kind;
};

struct state_manifest {
    struct digest digest;
    struct str text; /* of the digest: the map's key */
    struct str media_type, artifact_type, subject;
    struct str annotations; /* JSON object of a manifest that has a subject; else empty */
    int64_t size, ts;
    uint64_t seq; /* of its last put */
    bool ext;
    bool incomplete; /* its refs could not be read: state_apply was told so */
    struct state_ref *refs;
    size_t ref_count;
    struct state_tag *tags; /* those that point here */
    char *strings;          /* storage of the texts above */
    size_t row_bytes;       /* of its checkpoint row */
};

struct state_tag {
    struct str name; /* the map's key */
    struct state_manifest *manifest;
    uint64_t seq; /* of its last change */
    int64_t ts;
    struct state_tag *next, *previous; /* of the same manifest */
};

struct state {
    struct omap *tags;         /* name -> struct state_tag */
    struct omap *manifests;    /* digest text -> struct state_manifest */
    struct omap *referrers;    /* subject|referrer -> struct state_manifest, borrowed */
    struct omap *blobs;        /* digest text -> struct state_blob */
    struct settings *settings; /* NULL: defaults; a drop leaves them */
    uint64_t dropped;          /* number of the last drop, 0 none */
    uint64_t removed;   /* number of the last delete, unlink or drop: memberships from before it may
                           have ended */
    size_t incomplete;  /* manifests whose refs are not known */
    size_t value_bytes; /* memory of values */
    size_t row_bytes;   /* of all checkpoint rows, without commas */
    size_t unlinked_count; /* blobs that have a checkpoint row */
};

int state_new(struct state **ret) must_check;
void state_free(struct state *s);
void state_freep(struct state **s);
#define auto_state auto_of(state_freep)

/* incomplete: op has ext and its record could not be read. -ERR_NOMEM leaves a state that is good
 * for state_free only. */
int state_apply(struct state *s, const struct taglog_op *op, bool incomplete, uint64_t seq,
                int64_t ts) must_check;

const struct state_tag *state_tag(const struct state *s, struct str tag);
const struct state_manifest *state_manifest(const struct state *s, const struct digest *d);
bool state_readable(const struct state *s, const struct digest *d); /* by refs */
uint64_t state_link_u(const struct state *s, const struct digest *d);
/* Is the very ref recorded by the manifest's last put, and does it still stand? */
bool state_ref_stands(const struct state *s, const struct state_manifest *m,
                      const struct state_ref *ref);
size_t state_bytes(const struct state *s); /* memory */

/* First and next referrer of a subject after a digest text; NULL at the end. */
int state_referrers(const struct state *s, struct str subject, struct str after,
                    int (*fn)(const struct state_manifest *m, void *arg), void *arg) must_check;

/* Rows of a checkpoint. */
void state_write_tag(struct jw *w, const struct state_tag *t);
void state_write_manifest(struct jw *w, const struct state_manifest *m);
void state_write_blob(struct jw *w, const struct state_blob *b);

/* Copies s; NULL and what says nothing are the defaults. */
int state_set_settings(struct state *s, const struct settings *settings) must_check;

/* For the decoder of checkpoints, in the order unlinked, manifests, tags. -ERR_CORRUPT: given
 * twice, or a tag on nothing. */
int state_load_unlinked(struct state *s, struct str digest, uint64_t seq) must_check;
int state_load_manifest(struct state *s, const struct taglog_op *op, uint64_t seq,
                        int64_t ts) must_check;
int state_load_tag(struct state *s, struct str tag, struct str digest, uint64_t seq,
                   int64_t ts) must_check;

#endif
