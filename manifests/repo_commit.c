/* Changes of a repository: validation by the caller's thread (which may ask the store), encoding,
 * and the judgement at the commit point (in memory).
 *
 * A caller validates on a state that was probed after its call began, at log position `seen`. Until
 * its entry is created the state may move: the judge then looks again at everything a delete, an
 * unlink or a drop may have ended, and sends the operation back to its caller (-ERR_AGAIN) when a
 * membership no longer stands as it was found. So a ref is recorded only if it was a member at the
 * final position (B14, I13). */
#include <assert.h>

#include "base/clock.h"
#include "manifests/repo_internal.h"

#define LOCKED_REFS 512 /* refs looked up under one hold of the lock */

enum change_kind { CHANGE_PUT, CHANGE_DELETE_TAG, CHANGE_DELETE_MANIFEST, CHANGE_UNLINK };

/* How a descriptor is a member. */
enum member { MEMBER_NOT, MEMBER_MANIFEST, MEMBER_BY_REFS, MEMBER_BY_LINK };

struct member_ref {
    enum member how;
    uint64_t u;    /* the link that was found, or would have been */
    uint32_t slot; /* of the store's answer, while asking */
};

struct repo_change {
    struct replica_op op; /* first: the replica knows this one */
    enum change_kind kind;
    uint64_t seen; /* position of the state it was validated on */
    struct digest digest;
    struct str tag;
    const struct repo_put *put;
    struct member_ref *refs; /* of the put's manifest, or one of an unlink */
    bool stored;             /* the manifest's bytes have their record */
};

/* ---- the judge; under the replica's lock */

static bool still_member(const struct repo *r, const struct digest *d, const struct member_ref *ref)
{
    switch (ref->how) {
    case MEMBER_NOT:
        return true;
    case MEMBER_MANIFEST:
        return state_manifest(r->state, d) != NULL;
    case MEMBER_BY_REFS:
        return state_readable(r->state, d);
    case MEMBER_BY_LINK:
        return state_link_u(r->state, d) == ref->u;
    }
    return false;
}

static enum replica_verdict done(struct repo_change *c, int result)
{
    c->op.result = result;
    return REPLICA_DONE;
}

static enum replica_verdict judge_put(struct repo *r, struct repo_change *c)
{
    const struct manifest *m = c->put->manifest;

    if (r->batch.unlinks || r->batch.deletes)
        return REPLICA_LATER;
    if (r->state->removed > c->seen)
        for (size_t i = 0; i < m->ref_count; i++)
            if (!still_member(r, &m->refs[i].digest, &c->refs[i]))
                return done(c, -ERR_AGAIN);
    r->batch.puts = true;
    return REPLICA_TAKE;
}

static void removed_key(struct buf *out, char kind, struct str what)
{
    buf_addc(out, kind);
    buf_add(out, what);
}

static bool batch_removes(const struct repo *r, char kind, struct str what)
{
    struct buf key auto_buf = BUF_INIT(STORE_KEY_MAX);

    if (!r->batch.removed)
        return false;
    removed_key(&key, kind, what);
    return buf_err(&key) < 0 || omap_get(r->batch.removed, buf_str(&key));
}

static enum replica_verdict take_removal(struct repo *r, struct repo_change *c, char kind,
                                         struct str what)
{
    struct buf key auto_buf = BUF_INIT(STORE_KEY_MAX);
    static char mark; /* values are never NULL and never read */
    int e = 0;

    if (!r->batch.removed)
        e = omap_new(NULL, &r->batch.removed);
    removed_key(&key, kind, what);
    if (e == 0)
        e = buf_err(&key);
    if (e == 0)
        e = omap_put(r->batch.removed, buf_str(&key), &mark);
    if (e < 0)
        return done(c, e);
    r->batch.unlinks |= c->kind == CHANGE_UNLINK;
    r->batch.deletes |= c->kind == CHANGE_DELETE_MANIFEST;
    return REPLICA_TAKE;
}

static enum replica_verdict judge_delete_tag(struct repo *r, struct repo_change *c)
{
    const struct state_tag *t = state_tag(r->state, c->tag);

    if (!t)
        return done(c, -ERR_NOTFOUND);
    if (batch_removes(r, 't', c->tag) || batch_removes(r, 'm', t->manifest->text))
        return REPLICA_LATER;
    return take_removal(r, c, 't', c->tag);
}

static enum replica_verdict judge_delete_manifest(struct repo *r, struct repo_change *c)
{
    const struct state_manifest *m = state_manifest(r->state, &c->digest);

    if (!m)
        return done(c, -ERR_NOTFOUND);
    if (batch_removes(r, 'm', m->text))
        return REPLICA_LATER;
    return take_removal(r, c, 'm', m->text);
}

static enum replica_verdict judge_unlink(struct repo *r, struct repo_change *c)
{
    char text[DIGEST_TEXT_MAX];
    struct str digest = digest_text(&c->digest, text);

    if (r->batch.deletes || batch_removes(r, 'b', digest))
        return REPLICA_LATER;
    if (r->state->removed > c->seen && !still_member(r, &c->digest, c->refs))
        return done(c, -ERR_AGAIN);
    return take_removal(r, c, 'b', digest);
}

enum replica_verdict repo_judge(struct repo *r, struct repo_change *c)
{
    switch (c->kind) {
    case CHANGE_PUT:
        return judge_put(r, c);
    case CHANGE_DELETE_TAG:
        return judge_delete_tag(r, c);
    case CHANGE_DELETE_MANIFEST:
        return judge_delete_manifest(r, c);
    case CHANGE_UNLINK:
        return judge_unlink(r, c);
    }
    assert(false);
    return REPLICA_DONE;
}

/* ---- sending */

static void begin(struct repo_change *c)
{
    c->op.deadline_ms = clock_boot_ms() + OBJLOG_DECIDE_MS;
}

/* A state to validate on: probed now. */
static int look(struct repo *r, struct repo_change *c, struct err_detail *detail)
{
    int e;

    c->op.validated_ms = clock_boot_ms();
    e = repo_refresh(r, detail);
    if (e < 0)
        return e;
    replica_lock(r->replica);
    c->seen = replica_seq(r->replica);
    replica_unlock(r->replica);
    return 0;
}

/* -ERR_AGAIN: look, validate and send again. */
static int send(struct repo *r, struct repo_change *c, const struct taglog_op *op,
                struct err_detail *detail)
{
    struct buf text auto_buf = BUF_INIT(OBJLOG_OP_MAX);
    int e = taglog_encode(op, &text);

    if (e < 0)
        return e;
    c->op.text = buf_str(&text);
    e = replica_commit(r->replica, &c->op);
    if (e == -ERR_AGAIN && clock_boot_ms() >= c->op.deadline_ms)
        return err_set(detail, -ERR_NOTCOMMITTED, "the repository changed too often meanwhile");
    return e < 0 && e != -ERR_AGAIN ? err_set(detail, e, "%s", c->op.detail.text) : e;
}

static struct taglog_op op_of(enum taglog_kind kind, const struct repo_who *who)
{
    return (struct taglog_op){.kind = kind, .by = who->by, .req = who->req};
}

/* ---- validation of a put */

/* Blobs whose link has to be looked for, each once. */
struct links {
    struct omap *slots; /* digest text -> slot + 1 */
    struct digest *digests;
    uint64_t *u;
    bool *found;
    uint32_t count;
};

static void links_done(struct links *l)
{
    omap_free(l->slots);
    free(l->digests);
    free(l->u);
    free(l->found);
}
#define auto_links auto_of(links_done)

static int links_init(struct links *l, size_t max)
{
    l->digests = calloc(max ? max : 1, sizeof(*l->digests));
    l->u = calloc(max ? max : 1, sizeof(*l->u));
    l->found = calloc(max ? max : 1, sizeof(*l->found));
    if (!l->digests || !l->u || !l->found)
        return -ERR_NOMEM;
    return omap_new(NULL, &l->slots);
}

static int links_add(struct links *l, const struct descriptor *d, struct member_ref *ref)
{
    uintptr_t known = (uintptr_t)omap_get(l->slots, d->digest_text);
    int e;

    if (known > 0) {
        ref->slot = (uint32_t)(known - 1);
        return 0;
    }
    e = omap_put(l->slots, d->digest_text, (void *)(uintptr_t)(l->count + 1));
    if (e < 0)
        return e;
    ref->slot = l->count;
    l->digests[l->count] = d->digest;
    l->u[l->count] = ref->u;
    l->count++;
    return 0;
}

/* What memory knows of one descriptor; false: its link decides. */
static bool known_member(const struct repo *r, const struct descriptor *d, struct member_ref *ret)
{
    *ret = (struct member_ref){.how = MEMBER_NOT};
    if (!d->supported)
        return true;
    if (d->kind == REF_MANIFEST) {
        ret->how = state_manifest(r->state, &d->digest) ? MEMBER_MANIFEST : MEMBER_NOT;
        return true;
    }
    if (state_readable(r->state, &d->digest)) {
        ret->how = MEMBER_BY_REFS;
        return true;
    }
    ret->how = MEMBER_BY_LINK;
    ret->u = state_link_u(r->state, &d->digest);
    return false;
}

/* Finds out of each descriptor how it is a member. */
static int find_members(struct repo *r, struct repo_change *c, struct err_detail *detail)
{
    const struct manifest *m = c->put->manifest;
    struct links links auto_links = {.count = 0};
    int e = links_init(&links, m->ref_count);

    for (size_t at = 0; e == 0 && at < m->ref_count; at += LOCKED_REFS) {
        size_t end = at + LOCKED_REFS < m->ref_count ? at + LOCKED_REFS : m->ref_count;

        replica_lock(r->replica);
        for (size_t i = at; e == 0 && i < end; i++)
            if (!known_member(r, &m->refs[i], &c->refs[i]))
                e = links_add(&links, &m->refs[i], &c->refs[i]);
        replica_unlock(r->replica);
    }
    if (e == 0 && links.count > 0)
        e = blob_links_exist(repos_blobs(r->owner), r->name_str, links.digests, links.u,
                             links.count, links.found, detail);
    for (size_t i = 0; e == 0 && i < m->ref_count; i++)
        if (c->refs[i].how == MEMBER_BY_LINK && !links.found[c->refs[i].slot])
            c->refs[i].how = MEMBER_NOT;
    return e;
}

static bool may_be_missing(enum references policy, const struct manifest *m,
                           const struct descriptor *d)
{
    return d->optional || policy == REFERENCES_NONE ||
           (policy == REFERENCES_INDEX_SPARSE && m->kind == MEDIA_INDEX);
}

/* R88-R91; each missing digest is named once. */
static int check_references(struct repo *r, const struct repo_change *c, struct buf *ret_missing,
                            struct err_detail *detail)
{
    const struct manifest *m = c->put->manifest;
    enum references policy = repos_settings(r->owner)->references;
    struct omap *seen auto_omap = NULL;
    static char mark;
    int e = omap_new(NULL, &seen);

    for (size_t i = 0; e == 0 && i < m->ref_count && omap_count(seen) < REPO_MISSING_MAX; i++) {
        const struct descriptor *d = &m->refs[i];

        if (c->refs[i].how != MEMBER_NOT || may_be_missing(policy, m, d) ||
            omap_get(seen, d->digest_text))
            continue;
        e = omap_put(seen, d->digest_text, &mark);
        buf_add(ret_missing, d->digest_text);
        buf_addc(ret_missing, '\n');
    }
    if (e < 0)
        return e;
    if (omap_count(seen) > 0)
        return err_set(detail, -ERR_MISSING_REF,
                       "%zu referenced digests are not in this repository", omap_count(seen));
    return 0;
}

/* R97: the manifest is present, all tags are on it, and its refs stand as they would be recorded
 * now. */
static bool changes_nothing(struct repo *r, const struct repo_change *c)
{
    const struct repo_put *put = c->put;
    const struct manifest *m = put->manifest;
    const struct state_manifest *have = state_manifest(r->state, &c->digest);
    size_t n = 0;

    if (!have || have->incomplete || !str_eq(have->media_type, m->media_type))
        return false;
    for (size_t i = 0; i < put->tag_count; i++) {
        const struct state_tag *t = state_tag(r->state, put->tags[i]);

        if (!t || t->manifest != have)
            return false;
    }
    for (size_t i = 0; i < m->ref_count; i++) {
        const struct state_ref *ref = &have->refs[n];

        if (c->refs[i].how == MEMBER_NOT)
            continue;
        if (n == have->ref_count || ref->kind != m->refs[i].kind ||
            !str_eq(ref->blob->digest, m->refs[i].digest_text) ||
            !state_ref_stands(r->state, have, ref))
            return false;
        n++;
    }
    return n == have->ref_count;
}

/* 1: nothing to do. */
static int validate_put(struct repo *r, struct repo_change *c, struct buf *ret_missing,
                        struct err_detail *detail)
{
    bool nothing;
    int e = find_members(r, c, detail);

    if (e == 0)
        e = check_references(r, c, ret_missing, detail);
    if (e < 0)
        return e;
    replica_lock(r->replica);
    nothing = changes_nothing(r, c);
    /* Its record exists (I5). */
    c->stored |= state_manifest(r->state, &c->digest) != NULL;
    replica_unlock(r->replica);
    return nothing ? 1 : 0;
}

/* ---- put */

/* Members become refs, all others are foreign (B14, B15). */
static int fill_refs(const struct repo_change *c, struct taglog_op *op)
{
    const struct manifest *m = c->put->manifest;
    size_t n = m->ref_count ? m->ref_count : 1;

    op->refs = calloc(n, sizeof(*op->refs));
    op->foreign = calloc(n, sizeof(*op->foreign));
    if (!op->refs || !op->foreign)
        return -ERR_NOMEM;
    for (size_t i = 0; i < m->ref_count; i++) {
        const struct descriptor *d = &m->refs[i];

        if (c->refs[i].how == MEMBER_NOT)
            op->foreign[op->foreign_count++] = d->digest_text;
        else
            op->refs[op->ref_count++] = (struct taglog_ref){d->digest, d->kind, d->size};
    }
    return 0;
}

static int send_put(struct repo *r, struct repo_change *c, const struct repo_who *who,
                    struct err_detail *detail)
{
    const struct manifest *m = c->put->manifest;
    struct taglog_op op auto_taglog_op = op_of(TAGLOG_PUT, who);
    size_t tags = c->put->tag_count;
    int e = fill_refs(c, &op);

    if (e < 0)
        return e;
    op.tags = calloc(tags ? tags : 1, sizeof(*op.tags));
    if (!op.tags)
        return -ERR_NOMEM;
    for (; op.tag_count < tags; op.tag_count++)
        op.tags[op.tag_count] = c->put->tags[op.tag_count];
    op.digest = c->digest;
    op.media_type = m->media_type;
    op.artifact_type = m->artifact_type;
    op.subject = m->has_subject ? m->subject.digest_text : STR_NONE;
    op.annotations = m->annotations;
    op.size = (int64_t)c->put->body.len;
    return send(r, c, &op, detail);
}

static int try_put(struct repo *r, struct repo_change *c, const struct repo_who *who,
                   struct buf *ret_missing, struct err_detail *detail)
{
    int e = look(r, c, detail);

    if (e == 0)
        e = validate_put(r, c, ret_missing, detail);
    if (e != 0)
        return e < 0 ? e : 0;
    e = replica_writable(r->replica, detail);
    if (e < 0)
        return e;
    if (!c->stored) {
        e = blob_create_inline(repos_blobs(r->owner), &c->digest, c->put->body, detail);
        if (e < 0)
            return e;
        c->stored = true;
    }
    return send_put(r, c, who, detail);
}

int repo_put(struct repo *r, const struct repo_put *put, const struct repo_who *who,
             struct buf *ret_missing, struct err_detail *detail)
{
    struct repo_change c = {.kind = CHANGE_PUT, .digest = put->digest, .put = put};
    size_t refs = put->manifest->ref_count;
    int e;

    assert(r && who && ret_missing && put->tag_count <= REPO_TAGS_PUT_MAX);
    c.refs = calloc(refs ? refs : 1, sizeof(*c.refs));
    if (!c.refs)
        return -ERR_NOMEM;
    begin(&c);
    do {
        e = try_put(r, &c, who, ret_missing, detail);
    } while (e == -ERR_AGAIN);
    free(c.refs);
    return e;
}

/* ---- removals */

int repo_delete_tag(struct repo *r, struct str tag, const struct repo_who *who,
                    struct err_detail *detail)
{
    struct repo_change c = {.kind = CHANGE_DELETE_TAG, .tag = tag};
    struct taglog_set set = {.tag = tag, .remove = true};
    struct taglog_op op = op_of(TAGLOG_TAGS, who);
    bool there;
    int e;

    begin(&c);
    e = look(r, &c, detail);
    if (e < 0)
        return e;
    replica_lock(r->replica);
    there = state_tag(r->state, tag) != NULL;
    replica_unlock(r->replica);
    if (!there)
        return -ERR_NOTFOUND;
    op.sets = &set; /* borrowed: op is not done */
    op.set_count = 1;
    return send(r, &c, &op, detail);
}

int repo_delete_manifest(struct repo *r, const struct digest *d, const struct repo_who *who,
                         struct err_detail *detail)
{
    struct repo_change c = {.kind = CHANGE_DELETE_MANIFEST, .digest = *d};
    struct taglog_op op = op_of(TAGLOG_DELETE, who);
    bool there;
    int e;

    begin(&c);
    e = look(r, &c, detail);
    if (e < 0)
        return e;
    replica_lock(r->replica);
    there = state_manifest(r->state, d) != NULL;
    replica_unlock(r->replica);
    if (!there)
        return -ERR_NOTFOUND;
    op.digest = *d;
    return send(r, &c, &op, detail);
}

static int try_unlink(struct repo *r, struct repo_change *c, const struct repo_who *who,
                      struct err_detail *detail)
{
    struct taglog_op op = op_of(TAGLOG_UNLINK, who);
    struct blob_info info;
    int e = look(r, c, detail);

    if (e < 0)
        return e;
    replica_lock(r->replica);
    c->refs->how = state_readable(r->state, &c->digest) ? MEMBER_BY_REFS : MEMBER_BY_LINK;
    c->refs->u = state_link_u(r->state, &c->digest);
    replica_unlock(r->replica);
    if (c->refs->how == MEMBER_BY_LINK) {
        e = blob_link_exists(repos_blobs(r->owner), r->name_str, &c->digest, c->refs->u, detail);
        if (e == 0)
            e = blob_info(repos_blobs(r->owner), &c->digest, &info, detail);
        if (e < 0)
            return e;
    }
    op.digest = c->digest;
    return send(r, c, &op, detail);
}

int repo_unlink_blob(struct repo *r, const struct digest *d, const struct repo_who *who,
                     struct err_detail *detail)
{
    struct member_ref ref = {.how = MEMBER_NOT};
    struct repo_change c = {.kind = CHANGE_UNLINK, .digest = *d, .refs = &ref};
    int e;

    begin(&c);
    do {
        e = try_unlink(r, &c, who, detail);
    } while (e == -ERR_AGAIN);
    /* Of the old link nothing depends any more (B12). */
    if (e == 0 && blob_link_remove(repos_blobs(r->owner), r->name_str, d, ref.u, NULL) < 0)
        return 0;
    return e;
}
