/* Putting back a manifest of the past: the operation that a push of it would have made then. Its
 * refs are those that stood in the view, so nothing becomes readable that was not (I13); all else
 * that it names is foreign (B14). The bytes must still be there. */
#include <assert.h>

#include "manifests/revert_internal.h"

#define REF_KEY_MAX (DIGEST_TEXT_MAX + 1)

static char mark; /* values of sets: never NULL, never read */

/* A ref by kind and digest. */
static struct str ref_key(char out[REF_KEY_MAX], enum ref_kind kind, const struct digest *d)
{
    out[0] = (char)kind;
    return (struct str){out, 1 + digest_text(d, out + 1).len};
}

static int add_standing(const struct repo_ref *ref, void *arg)
{
    struct omap *set = arg;
    char key[REF_KEY_MAX];

    return ref->stands || ref->kind == REF_MANIFEST
               ? omap_put(set, ref_key(key, ref->kind, &ref->digest), &mark)
               : 0;
}

static int refs_of(struct repo *r, const struct digest *d, struct omap **ret)
{
    int e = omap_new(NULL, ret);

    return e < 0 ? e : repo_refs(r, d, add_standing, *ret);
}

int plan_refs_stand(struct plan *p, const struct digest *d)
{
    struct omap *then auto_omap = NULL, *now auto_omap = NULL;
    int e = refs_of(p->past, d, &then);

    if (e == 0)
        e = refs_of(p->now, d, &now);
    if (e < 0)
        return e;
    for (struct omap_node *n = omap_first(then); n; n = omap_next(then, n))
        if (!omap_get(now, omap_key(n)))
            return 0;
    return 1;
}

static int miss(struct plan *p, struct str digest)
{
    if (p->missing++ < REPO_MISSING_MAX) {
        buf_add(p->ret_missing, digest);
        buf_addc(p->ret_missing, '\n');
    }
    return buf_err(p->ret_missing);
}

/* Are the bytes of what it referred to still there? */
static int check_content(struct plan *p, const struct manifest *m, const struct omap *refs)
{
    struct omap *seen auto_omap = NULL;
    int e = omap_new(NULL, &seen);

    for (size_t i = 0; e == 0 && i < m->ref_count; i++) {
        const struct descriptor *d = &m->refs[i];
        struct blob_info info;
        char key[REF_KEY_MAX];

        if (!d->supported || d->kind == REF_MANIFEST || omap_get(seen, d->digest_text) ||
            !omap_get(refs, ref_key(key, d->kind, &d->digest)))
            continue;
        e = omap_put(seen, d->digest_text, &mark);
        if (e == 0)
            e = blob_info(repo_blobs(p->now), &d->digest, &info, p->detail);
        if (e == -ERR_NOTFOUND)
            e = miss(p, d->digest_text);
    }
    return e;
}

static int fill(const struct manifest *m, const struct omap *refs, struct taglog_op *op)
{
    size_t n = m->ref_count ? m->ref_count : 1;
    char key[REF_KEY_MAX];

    op->refs = calloc(n, sizeof(*op->refs));
    op->foreign = calloc(n, sizeof(*op->foreign));
    if (!op->refs || !op->foreign)
        return -ERR_NOMEM;
    for (size_t i = 0; i < m->ref_count; i++) {
        const struct descriptor *d = &m->refs[i];

        if (d->supported && omap_get(refs, ref_key(key, d->kind, &d->digest)))
            op->refs[op->ref_count++] = (struct taglog_ref){d->digest, d->kind, d->size};
        else
            op->foreign[op->foreign_count++] = d->digest_text;
    }
    op->media_type = m->media_type;
    op->artifact_type = m->artifact_type;
    op->subject = m->has_subject ? m->subject.digest_text : STR_NONE;
    op->annotations = m->annotations;
    return 0;
}

/* What does not fit any more waits for an entry of its own. */
static int add_op(struct plan *p, const struct taglog_op *op)
{
    size_t before = p->ops.len;
    int e;

    if (p->ops.len > 0)
        buf_addc(&p->ops, ',');
    e = taglog_encode(op, &p->ops);
    if (e < 0)
        return e;
    if (p->ops.len > REVERT_PUTS_MAX && before > 0) {
        buf_truncate(&p->ops, before);
        p->partial = true;
    }
    return 0;
}

int plan_put(struct plan *p, const struct digest *d)
{
    struct taglog_op op auto_taglog_op = {
        .kind = TAGLOG_PUT, .digest = *d, .by = p->how->who.by, .req = p->how->who.req};
    struct buf body auto_buf = BUF_INIT(MANIFEST_BYTES_MAX);
    struct manifest m auto_manifest = {.doc = NULL};
    struct omap *refs auto_omap = NULL;
    struct repo_manifest known;
    char text[DIGEST_TEXT_MAX];
    int e;

    if (p->partial)
        return 0;
    e = repo_manifest(p->past, d, &known);
    if (e == 0)
        e = refs_of(p->past, d, &refs);
    if (e < 0)
        return e == -ERR_NOTFOUND ? -ERR_CORRUPT : e;
    e = blob_read(repo_blobs(p->now), d, MANIFEST_BYTES_MAX, &body, p->detail);
    if (e == -ERR_NOTFOUND)
        return miss(p, digest_text(d, text));
    if (e == 0)
        e = manifest_parse(buf_str(&body), str_of(known.media_type), &m, p->detail);
    if (e == 0)
        e = check_content(p, &m, refs);
    if (e == 0)
        e = fill(&m, refs, &op);
    op.size = (int64_t)body.len;
    return e < 0 ? e : add_op(p, &op);
}
