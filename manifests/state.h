/* The state of a repository: what follows from its log up to a position (docs/bucket-format.md
 * sections 5, 6, 9). Its records lie in layers (layers.h): most of them in the bucket, those that
 * changed lately in memory; next to them a few numbers. A pure function of the operations applied.
 *
 * A state changes in steps: state_begin, state_change once or more, state_commit. Only begin and
 * commit need the owner's lock and neither waits; a change reads what it needs from the store.
 * Queries read through the layers: where these do not wait, each may answer -ERR_AGAIN. Other
 * errors: -ERR_CORRUPT (a table's part is damaged or missing), of the store, -ERR_NOMEM. Not
 * thread-safe.
 *
 * Counting (B11): a digest counts as readable by refs when a manifest that is present has it in its
 * refs (kinds config, layer, blob) from a put whose number is greater than the digest's last unlink
 * (or drop). count is the number of such refs. */
#ifndef STOWAGE_MANIFESTS_STATE_H
#define STOWAGE_MANIFESTS_STATE_H

#include "manifests/layers.h"
#include "manifests/name.h"
#include "manifests/settings.h"
#include "manifests/taglog.h"

struct state {
    struct layers layers;
    uint64_t dropped; /* number of the last drop, 0 none */
    uint64_t removed; /* number of the last delete, unlink or drop: memberships from before it may
                         have ended */
    uint64_t tags, manifests;  /* how many there are */
    uint64_t incomplete;       /* manifests whose refs are not known */
    struct settings *settings; /* NULL: defaults; a drop leaves them */
    bool owns_settings; /* a change has those of the state it was begun on, until it sets some */
    bool blind; /* of a change: it sets tags without a look at what they were in the base; then tags
                 * and layers.bytes count for nothing until state_see */
};

/* Empty, waiting. */
int state_new(struct state **ret) must_check;
void state_done(struct state *s);
void state_free(struct state *s);
void state_freep(struct state **s);
#define auto_state auto_of(state_freep)
int state_reset(struct state *s) must_check; /* as before entry 1 */
size_t state_bytes(const struct state *s);   /* memory */

/* ---- Changes. */
int state_begin(const struct state *s, struct state *ret) must_check;
/* incomplete: op has ext and its record could not be read. After a failure the change is good for
 * state_done only. */
int state_change(struct state *change, const struct taglog_op *op, bool incomplete, uint64_t seq,
                 int64_t ts, struct err_detail *detail) must_check;
/* What blind changes replaced, up to here, is looked up and counted. */
int state_see(struct state *change, struct err_detail *detail) must_check;
/* Are there as many as are looked up side by side? Where that takes requests, more are not left to
 * one moment. */
bool state_sees_soon(const struct state *change);
void state_commit(struct state *s, struct state *change); /* change is done with */
/* Before state_change: reads what the operation asks for side by side, where that is worth it, and
 * holds it. Best effort. */
void state_fetch(const struct state *change, const struct taglog_op *op, struct pins *pins);
/* All three, for a state of one's own. */
int state_apply(struct state *s, const struct taglog_op *op, bool incomplete, uint64_t seq,
                int64_t ts) must_check;

/* ---- Records, decoded. Strings lie in the hit; a hit serves one record at a time. */
struct state_tag {
    struct str name; /* as asked for */
    struct digest digest;
    struct str media_type; /* of the manifest */
    int64_t size;
    uint64_t seq; /* of the tag's last change */
    int64_t ts;
};
struct state_manifest {
    struct digest digest;
    struct str media_type, artifact_type;
    int64_t size, ts;
    uint64_t seq; /* of its last put */
    bool ext;
    bool incomplete; /* its refs could not be read: state_change was told so */
    bool has_subject;
    struct digest subject;
    uint64_t ref_count;
    struct str refs; /* packed: state_ref_next */
};
struct state_ref {
    struct digest digest;
    enum ref_kind kind;
    int64_t size;
};
struct state_blob {
    uint64_t users;    /* refs of any kind that point here */
    uint64_t count;    /* those that make it readable */
    uint64_t unlinked; /* number of its last unlink, 0 none (drops are not noted here) */
};
struct state_referrer {
    struct digest digest;
    struct str media_type, artifact_type;
    struct str annotations; /* JSON object, or empty */
    int64_t size;
};

int state_tag(const struct state *s, struct str tag, struct hit *hit,
              struct state_tag *ret) must_check; /* -ERR_NOTFOUND */
int state_manifest(const struct state *s, const struct digest *d, struct hit *hit,
                   struct state_manifest *ret) must_check; /* -ERR_NOTFOUND */
int state_has_manifest(const struct state *s, const struct digest *d) must_check; /* 1, 0 */
/* The refs of a manifest one after another, off the front of *rest (which begins as m->refs). */
bool state_ref_next(struct str *rest, struct state_ref *ret);
/* Zeros when there is no record. */
int state_blob(const struct state *s, const struct digest *d, struct state_blob *ret) must_check;
int state_readable(const struct state *s, const struct digest *d) must_check; /* 1, 0: by refs */
/* Number of the last unlink or drop. */
int state_link_u(const struct state *s, const struct digest *d, uint64_t *ret) must_check;
/* Is the very ref recorded by the manifest's last put, and does it still stand? 1, 0. */
int state_ref_stands(const struct state *s, const struct state_manifest *m,
                     const struct state_ref *ref) must_check;

/* Each calls fn in order until it returns non-zero, which is then returned. */
typedef int (*state_tag_fn)(struct str tag, void *arg);
int state_tags_of(const struct state *s, const struct digest *manifest, state_tag_fn fn,
                  void *arg) must_check; /* the tags on a manifest */
/* All that are > after (empty: from the first). */
int state_each_tag(const struct state *s, struct str after,
                   int (*fn)(const struct state_tag *t, void *arg), void *arg) must_check;
/* Those > after (NULL: all). */
int state_each_manifest(const struct state *s, const struct digest *after,
                        int (*fn)(const struct state_manifest *m, void *arg), void *arg) must_check;
int state_each_blob(const struct state *s,
                    int (*fn)(const struct digest *d, const struct state_blob *b, void *arg),
                    void *arg) must_check;
/* Referrers of a subject whose digest is > after (NULL: all). */
int state_referrers(const struct state *s, const struct digest *subject, const struct digest *after,
                    int (*fn)(const struct state_referrer *r, void *arg), void *arg) must_check;

/* ---- Keys of records (state_rows.c), for those who hold blocks before they ask under a lock. */
struct state_key {
    char at[TABLE_KEY_MAX];
    size_t len;
};
static inline struct str state_key_str(const struct state_key *k)
{
    return (struct str){k->at, k->len};
}
void state_key_tag(struct state_key *k, struct str tag);
void state_key_manifest(struct state_key *k, const struct digest *d);
void state_key_blob(struct state_key *k, const struct digest *d);
/* after NULL: before the first of the subject. */
void state_key_referrer(struct state_key *k, const struct digest *subject,
                        const struct digest *after);
void state_key_on(struct state_key *k, const struct digest *manifest, struct str tag);
/* What comes behind every key that begins like this one. */
void state_key_end(struct state_key *k);

/* ---- Checkpoints (checkpoint.h). The keys of a head that are a state's. */
void state_write_numbers(const struct state *s, struct jw *w);
/* -ERR_CORRUPT; -ERR_VERSION: a setting of a newer version. */
int state_read_numbers(struct state *s, const struct json *head, uint64_t seq) must_check;
/* Of a state of one's own that has no frozen layer: appends the head of its checkpoint (head->bytes
 * is not read); parts go to emit, which may be NULL, as may ret_table. */
struct checkpoint_head;
int state_encode(const struct state *s, const struct checkpoint_head *head,
                 const struct table_spec *spec, table_emit_fn emit, void *arg, struct buf *out,
                 struct table **ret_table, struct err_detail *detail) must_check;
/* The state that such a head names. */
int state_decode(struct str text, struct str repo, const struct table_spec *spec,
                 struct state **ret, struct checkpoint_head *ret_head,
                 struct err_detail *detail) must_check;

#endif
