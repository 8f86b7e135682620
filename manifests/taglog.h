/* Operations of a tag log (docs/bucket-format.md section 6): to and from JSON, nothing else. A
 * decoded operation borrows its strings from the document it was decoded from and owns its arrays.
 * Any thread, one at a time per operation. */
#ifndef STOWAGE_MANIFESTS_TAGLOG_H
#define STOWAGE_MANIFESTS_TAGLOG_H

#include "manifests/manifest.h"
#include "manifests/settings.h"

#define TAGLOG_INLINE_MAX (64u << 10) /* refs and annotations together; above: ext (B15) */

enum taglog_kind {
    TAGLOG_PUT,
    TAGLOG_TAGS,
    TAGLOG_DELETE,
    TAGLOG_UNLINK,
    TAGLOG_DROP,
    TAGLOG_SETTINGS
};

struct taglog_ref {
    struct digest digest;
    enum ref_kind kind;
    int64_t size;
};

/* What a tag, or the manifest of a put without tags, must be just before the operation (R95): all
 * that is asked for must hold. Texts of digests. */
struct taglog_if {
    bool one_of;          /* it is one of match */
    bool present, absent; /* it is anything; it is nothing */
    struct str *match, *other;
    size_t match_count;
    size_t other_count; /* it is none of other */
};
/* current: text of the digest, empty for nothing; c may be NULL. */
bool taglog_if_holds(const struct taglog_if *c, struct str current);
void taglog_if_done(struct taglog_if *c);

struct taglog_set {
    struct str tag;
    bool remove; /* digest null */
    struct digest digest;
    const struct taglog_if *condition; /* borrowed; NULL: none */
};

struct taglog_op {
    enum taglog_kind kind;
    struct digest digest; /* put, delete, unlink */

    /* put */
    struct str media_type, artifact_type, subject; /* the last two may be empty */
    int64_t size;
    struct str *tags;
    size_t tag_count;
    const struct json *annotations; /* NULL: none */
    struct taglog_ref *refs;        /* members only (B14) */
    size_t ref_count;
    bool ext; /* decoded: refs and annotations are in the manifest's record, see taglog_extend */
    struct str *foreign; /* digests left out of refs; written with ext only */
    size_t foreign_count;
    const struct taglog_if *condition; /* of each tag; borrowed; NULL: none */

    struct taglog_set *sets; /* tags */
    size_t set_count;

    const struct settings *settings; /* settings; borrowed */

    struct settings *own_settings; /* decoded: what the pointer above points to */
    struct taglog_if *conditions;  /* decoded: what the pointers above point to */
    size_t condition_count;
    bool override; /* the caller asked that immutable tags should not hold it back */
    struct str by, req;
};

/* Appends the canonical text (B2). ext is decided here, from the size of refs and annotations;
 * op->ext is not read. */
int taglog_encode(const struct taglog_op *op, struct buf *out) must_check;

/* -ERR_VERSION: an operation this version does not know; -ERR_CORRUPT: one that does not follow the
 * format. */
int taglog_decode(const struct json *node, struct taglog_op *ret,
                  struct err_detail *detail) must_check;
void taglog_op_done(struct taglog_op *op);
#define auto_taglog_op auto_of(taglog_op_done)

/* Gives a put with ext the refs and annotations of its manifest, which must outlive the operation.
 */
int taglog_extend(struct taglog_op *op, const struct manifest *m) must_check;

#endif
