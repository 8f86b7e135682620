/* Changes of a repository: validation by the caller's thread (which may ask the store), and
 * encoding. A caller validates on a state that was probed after its call began, at log position
 * `seen`; until its entry is created the state may move: see repo_judge.c. */
#include <assert.h>

#include "base/clock.h"
#include "base/mutant.h"
#include "manifests/repo_internal.h"

#define GUESS_MS     2000 /* a state looked at within this is mostly still the head */
#define LOCKED_REFS  64   /* refs looked up under one hold of the lock, with their blocks held */
#define REF_TEXT_MAX 192  /* of one in an entry */
#define PINNED_REFS  256  /* of a manifest that is there already, while it is compared */

/* ---- sending */

static void begin(struct repo_change *c, const struct repo_who *who)
{
    c->override = who->override;
    c->op.deadline_ms = clock_boot_ms() + OBJLOG_DECIDE_MS;
}

/* A state to validate on: probed now. */
static int look(struct repo *r, struct repo_change *c, struct err_detail *detail)
{
    int e;

    repo_asking_done(&c->asking);
    c->op.validated_ms = clock_boot_ms();
    e = mutant("stale-refusal") ? 0 : repo_refresh(r, detail);
    if (e < 0)
        return e;
    replica_lock(r->replica);
    c->seen = replica_seq(r->replica);
    replica_unlock(r->replica);
    return 0;
}

/* The state as it was looked at a moment ago, for a change that will be an entry: its create tells
 * whether another came in between, and is then judged like any that lost. Refusals and "nothing to
 * do" need a look (weigh). */
static bool guess(struct repo *r, struct repo_change *c)
{
    if (!repos_remote(r->owner))
        return false;
    repo_asking_done(&c->asking);
    replica_lock(r->replica);
    c->seen = replica_seq(r->replica);
    replica_unlock(r->replica);
    return replica_head_lately(r->replica, GUESS_MS, &c->op.validated_ms);
}

/* Do refs and annotations of a put certainly stand in the entry (B15)? */
static bool fits_inline(const struct repo_change *c)
{
    return !c->put ||
           c->put->body.len + c->put->manifest->ref_count * REF_TEXT_MAX <= TAGLOG_INLINE_MAX;
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
    c->op.known = fits_inline(c) ? op : NULL;
    e = replica_commit(r->replica, &c->op);
    if (e == -ERR_AGAIN && clock_boot_ms() >= c->op.deadline_ms)
        return err_set(detail, -ERR_NOTCOMMITTED, "the repository changed too often meanwhile");
    return e < 0 && e != -ERR_AGAIN ? err_set(detail, e, "%s", c->op.detail.text) : e;
}

static struct taglog_op op_of(enum taglog_kind kind, const struct repo_who *who)
{
    return (struct taglog_op){
        .kind = kind,
        .override = who->override && !mutant("override-unsaid"),
        .by = who->by,
        .req = who->req,
    };
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

/* What the state knows of one descriptor: 1; 0: its link decides; an error. */
static int known_member(const struct repo *r, const struct descriptor *d, struct member_ref *ret)
{
    int e;

    *ret = (struct member_ref){.how = MEMBER_NOT};
    if (!d->supported)
        return 1;
    if (d->kind == REF_MANIFEST) {
        e = state_has_manifest(r->state, &d->digest);
        ret->how = e == 1 ? MEMBER_MANIFEST : MEMBER_NOT;
        return e < 0 ? e : 1;
    }
    e = state_readable(r->state, &d->digest);
    if (e == 1)
        ret->how = MEMBER_BY_REFS;
    if (e != 0)
        return e;
    ret->how = MEMBER_BY_LINK;
    e = state_link_u(r->state, &d->digest, &ret->u);
    return e < 0 ? e : 0;
}

static void key_of_ref(const struct descriptor *d, struct state_key *ret)
{
    if (d->kind == REF_MANIFEST)
        state_key_manifest(ret, &d->digest);
    else
        state_key_blob(ret, &d->digest);
}

/* A record of these descriptors was not at hand. */
static int hold_members(struct repo *r, const struct descriptor *refs, size_t count,
                        struct repo_asking *a, int e, struct err_detail *detail)
{
    struct state_key *keys auto_free = calloc(count, sizeof(*keys));
    size_t n = 0;

    if (!keys)
        return -ERR_NOMEM;
    for (size_t i = 0; i < count; i++)
        if (refs[i].supported)
            key_of_ref(&refs[i], &keys[n++]);
    return repo_ask_again(r, a, e, keys, n, detail);
}

/* Of count descriptors from at on: which the state knows. */
static int know_members(struct repo *r, struct repo_change *c, size_t at, size_t count,
                        struct err_detail *detail)
{
    const struct manifest *m = c->put->manifest;
    struct repo_asking a auto_asking = {.tries = 0};
    int e;

    for (;;) {
        e = 0;
        replica_lock(r->replica);
        for (size_t i = at; e >= 0 && i < at + count; i++) {
            e = known_member(r, &m->refs[i], &c->refs[i]);
            c->refs[i].asked = e == 0;
        }
        replica_unlock(r->replica);
        if (e >= 0)
            return 0;
        e = hold_members(r, &m->refs[at], count, &a, e, detail);
        if (e < 0)
            return e;
    }
}

/* Finds out of each descriptor how it is a member. */
static int find_members(struct repo *r, struct repo_change *c, struct err_detail *detail)
{
    const struct manifest *m = c->put->manifest;
    struct links links auto_links = {.count = 0};
    int e = links_init(&links, m->ref_count);

    for (size_t at = 0; e == 0 && at < m->ref_count; at += LOCKED_REFS) {
        size_t end = at + LOCKED_REFS < m->ref_count ? at + LOCKED_REFS : m->ref_count;

        e = know_members(r, c, at, end - at, detail);
        for (size_t i = at; e == 0 && i < end; i++)
            if (c->refs[i].asked)
                e = links_add(&links, &m->refs[i], &c->refs[i]);
    }
    if (e == 0 && links.count > 0)
        e = blob_links_exist(repos_blobs(r->owner), r->name_str, links.digests, links.u,
                             links.count, links.found, detail);
    for (size_t i = 0; e == 0 && i < m->ref_count; i++)
        if (c->refs[i].how == MEMBER_BY_LINK && !links.found[c->refs[i].slot] &&
            !mutant("unverified-ref"))
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

/* Are the refs of the manifest that is there those that would be recorded now? 1, 0, an error. */
static int refs_same(const struct repo *r, const struct repo_change *c,
                     const struct state_manifest *have)
{
    const struct manifest *m = c->put->manifest;
    struct str rest = have->refs;
    uint64_t n = 0;

    for (size_t i = 0; i < m->ref_count; i++) {
        struct state_ref ref;
        int e;

        if (c->refs[i].how == MEMBER_NOT)
            continue;
        if (n == have->ref_count || !state_ref_next(&rest, &ref) || ref.kind != m->refs[i].kind ||
            !digest_eq(&ref.digest, &m->refs[i].digest))
            return 0;
        e = state_ref_stands(r->state, have, &ref);
        if (e == -ERR_AGAIN && i >= PINNED_REFS)
            return 0; /* an entry too many costs less than holding all that this needs */
        if (e <= 0)
            return e;
        n++;
    }
    return n == have->ref_count;
}

/* R97: the manifest is present, all tags are on it, and its refs stand as they would be recorded
 * now. */
static int put_changes_nothing(const struct repo *r, const struct repo_change *c)
{
    const struct repo_put *put = c->put;
    struct hit hit auto_hit = {.value = STR_NONE};
    struct state_manifest have;
    int e = state_manifest(r->state, &c->digest, &hit, &have);

    if (e < 0)
        return e == -ERR_NOTFOUND ? 0 : e;
    if (have.incomplete || !str_eq(have.media_type, put->manifest->media_type))
        return 0;
    for (size_t i = 0; i < put->tag_count; i++) {
        struct hit tag auto_hit = {.value = STR_NONE};
        struct state_tag t;

        e = state_tag(r->state, put->tags[i], &tag, &t);
        if (e == -ERR_NOTFOUND || (e == 0 && !digest_eq(&t.digest, &c->digest)))
            return 0;
        if (e < 0)
            return e;
    }
    return refs_same(r, c, &have);
}

static int sets_change_nothing(const struct repo *r, const struct repo_change *c)
{
    for (size_t i = 0; i < c->set_count; i++) {
        const struct taglog_set *set = &c->sets[i];
        struct hit hit auto_hit = {.value = STR_NONE};
        struct state_tag t;
        int e = state_tag(r->state, set->tag, &hit, &t);

        if (e < 0 && e != -ERR_NOTFOUND)
            return e;
        if (set->remove ? e == 0 : e < 0 || !digest_eq(&t.digest, &set->digest))
            return 0;
    }
    return 1;
}

static int changes_nothing(const struct repo *r, const struct repo_change *c)
{
    switch (c->kind) {
    case CHANGE_PUT:
        return put_changes_nothing(r, c);
    case CHANGE_TAGS:
        return sets_change_nothing(r, c);
    case CHANGE_SETTINGS:
        return str_eq(settings_text(r->state->settings), settings_text(c->settings));
    case CHANGE_DELETE_MANIFEST:
    case CHANGE_UNLINK:
    case CHANGE_WHOLE:
        break;
    }
    return 0;
}

static size_t keys_max(const struct repo_change *c)
{
    size_t refs = c->put ? c->put->manifest->ref_count : 0;

    return 1 + 2 * c->set_count + (c->put ? c->put->tag_count : 0) +
           (refs < PINNED_REFS ? refs : PINNED_REFS);
}

/* The records that the judge and the weighing ask for. */
static size_t keys_of(const struct repo_change *c, struct state_key *keys)
{
    size_t n = 0;

    if (c->kind == CHANGE_PUT || c->kind == CHANGE_DELETE_MANIFEST)
        state_key_manifest(&keys[n++], &c->digest);
    for (size_t i = 0; i < c->set_count; i++) {
        state_key_tag(&keys[n++], c->sets[i].tag);
        if (!c->sets[i].remove)
            state_key_manifest(&keys[n++], &c->sets[i].digest);
    }
    if (!c->put)
        return n;
    for (size_t i = 0; i < c->put->tag_count; i++)
        state_key_tag(&keys[n++], c->put->tags[i]);
    for (size_t i = 0; i < c->put->manifest->ref_count && i < PINNED_REFS; i++)
        if (c->put->manifest->refs[i].supported)
            key_of_ref(&c->put->manifest->refs[i], &keys[n++]);
    return n;
}

/* A record was not at hand. Keys are large, and few changes come here. */
static int hold_and_ask_again(struct repo *r, struct repo_change *c, int e, bool tags_too,
                              struct err_detail *detail)
{
    struct state_key *keys auto_free = calloc(keys_max(c), sizeof(*keys));

    if (!keys)
        return -ERR_NOMEM;
    if (e == -ERR_AGAIN && tags_too && repo_hold_tags_on(r, &c->asking, &c->digest) < 0)
        e = -ERR_UNAVAIL;
    return repo_ask_again(r, &c->asking, e, keys, keys_of(c, keys), detail);
}

/* On the state that was looked at: 1 nothing to do, 0 to be sent, or a refusal, which is final: the
 * judge would say the same. Both are said of one state; what it took stays held for the judge. */
static int weigh(struct repo *r, struct repo_change *c, struct err_detail *detail)
{
    int e;

    for (;;) {
        bool tags_too;

        replica_lock(r->replica);
        e = repo_refuse(r, c);
        if (e == 0)
            e = changes_nothing(r, c);
        if (e == 0 && c->kind == CHANGE_PUT) {
            e = state_has_manifest(r->state, &c->digest);
            c->stored |= e == 1; /* its record exists (I5) */
            e = e < 0 ? e : 0;
        }
        tags_too = c->kind == CHANGE_DELETE_MANIFEST && settings_any_immutable(r->state->settings);
        replica_unlock(r->replica);
        if (e >= 0)
            return e;
        if (e != -ERR_AGAIN && e != -ERR_CORRUPT && e != -ERR_UNAVAIL)
            return err_set(detail, e, "%s", c->op.detail.text);
        e = hold_and_ask_again(r, c, e, tags_too, detail);
        if (e < 0)
            return e;
    }
}

/* 1: nothing to do. */
static int validate_put(struct repo *r, struct repo_change *c, struct buf *ret_missing,
                        struct err_detail *detail)
{
    int e = find_members(r, c, detail);

    if (e == 0)
        e = check_references(r, c, ret_missing, detail);
    return e == 0 ? weigh(r, c, detail) : e;
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
    op.condition = c->put->condition;
    return send(r, c, &op, detail);
}

static int look_and_validate(struct repo *r, struct repo_change *c, struct buf *ret_missing,
                             struct err_detail *detail)
{
    int e = look(r, c, detail);

    buf_clear(ret_missing);
    return e < 0 ? e : validate_put(r, c, ret_missing, detail);
}

static int try_put(struct repo *r, struct repo_change *c, bool first, const struct repo_who *who,
                   struct buf *ret_missing, struct err_detail *detail)
{
    int e = first && guess(r, c) ? validate_put(r, c, ret_missing, detail) : 1;

    if (e != 0)
        e = look_and_validate(r, c, ret_missing, detail);
    if (e != 0)
        return e < 0 ? e : 0;
    e = replica_writable(r->replica, detail);
    if (e < 0)
        return e;
    if (!c->stored)
        e = blob_create_owing(repos_blobs(r->owner), &c->digest, c->put->body, &c->owed, detail);
    else
        e = blob_settle(repos_blobs(r->owner), &c->digest, &c->owed, detail);
    if (e < 0)
        return e;
    c->stored = true;
    c->op.owed = c->owed.owed;
    e = send_put(r, c, who, detail);
    if (e == 0)
        blob_settled(repos_blobs(r->owner), &c->digest, &c->owed);
    return e;
}

int repo_put(struct repo *r, const struct repo_put *put, const struct repo_who *who,
             struct buf *ret_missing, struct err_detail *detail)
{
    struct repo_change c = {
        .kind = CHANGE_PUT, .digest = put->digest, .put = put, .refusal = put->refusal};
    size_t refs = put->manifest->ref_count;
    int e = 0;

    assert(r && who && ret_missing && put->tag_count <= REPO_TAGS_PUT_MAX);
    c.refs = calloc(refs ? refs : 1, sizeof(*c.refs));
    if (!c.refs)
        return -ERR_NOMEM;
    begin(&c, who);
    for (bool first = true; first || e == -ERR_AGAIN; first = false)
        e = try_put(r, &c, first, who, ret_missing, detail);
    repo_asking_done(&c.asking);
    free(c.refs);
    return e;
}

/* ---- tags and removals */

/* Looks, weighs and sends until it is decided. */
static int commit(struct repo *r, struct repo_change *c, const struct taglog_op *op,
                  const struct repo_who *who, struct err_detail *detail)
{
    int e;

    begin(c, who);
    do {
        e = look(r, c, detail);
        if (e == 0)
            e = weigh(r, c, detail);
        if (e == 0)
            e = send(r, c, op, detail);
        else if (e == 1)
            e = 0;
    } while (e == -ERR_AGAIN);
    repo_asking_done(&c->asking);
    return e;
}

static int send_sets(struct repo *r, struct repo_change *c, const struct repo_who *who,
                     struct err_detail *detail)
{
    struct taglog_op op auto_taglog_op = op_of(TAGLOG_TAGS, who);

    op.sets = calloc(c->set_count, sizeof(*op.sets));
    if (!op.sets)
        return -ERR_NOMEM;
    for (; op.set_count < c->set_count; op.set_count++)
        op.sets[op.set_count] = c->sets[op.set_count];
    return commit(r, c, &op, who, detail);
}

int repo_delete_tag_if(struct repo *r, struct str tag, const struct taglog_if *condition,
                       const struct repo_who *who, struct repo_refusal *refusal,
                       struct err_detail *detail)
{
    struct taglog_set set = {.tag = tag, .remove = true, .condition = condition};
    struct repo_change c = {
        .kind = CHANGE_TAGS, .sets = &set, .set_count = 1, .must_exist = true, .refusal = refusal};

    return send_sets(r, &c, who, detail);
}

int repo_delete_tag(struct repo *r, struct str tag, const struct repo_who *who,
                    struct err_detail *detail)
{
    return repo_delete_tag_if(r, tag, NULL, who, NULL, detail);
}

int repo_set_tags(struct repo *r, const struct taglog_set *sets, size_t count,
                  const struct repo_who *who, struct repo_refusal *refusal,
                  struct err_detail *detail)
{
    struct omap *seen auto_omap = NULL;
    struct repo_change c = {
        .kind = CHANGE_TAGS, .sets = sets, .set_count = count, .refusal = refusal};
    static char mark;
    int e = omap_new(NULL, &seen);

    assert(count > 0 && count <= REPO_SETS_MAX);
    for (size_t i = 0; e == 0 && i < count; i++) {
        if (omap_get(seen, sets[i].tag))
            return err_set(detail, -ERR_INVAL, "the tag \"" STR_FMT "\" is named twice",
                           STR_ARG(sets[i].tag));
        e = omap_put(seen, sets[i].tag, &mark);
    }
    return e < 0 ? e : send_sets(r, &c, who, detail);
}

int repo_delete_manifest_for(struct repo *r, const struct digest *d, const struct repo_who *who,
                             struct repo_refusal *refusal, struct err_detail *detail)
{
    struct repo_change c = {.kind = CHANGE_DELETE_MANIFEST, .digest = *d, .refusal = refusal};
    struct taglog_op op = op_of(TAGLOG_DELETE, who);

    op.digest = *d;
    return commit(r, &c, &op, who, detail);
}

int repo_delete_manifest(struct repo *r, const struct digest *d, const struct repo_who *who,
                         struct err_detail *detail)
{
    return repo_delete_manifest_for(r, d, who, NULL, detail);
}

int repo_set_settings(struct repo *r, const struct settings *settings, const struct repo_who *who,
                      struct err_detail *detail)
{
    struct repo_change c = {.kind = CHANGE_SETTINGS, .settings = settings};
    struct taglog_op op = op_of(TAGLOG_SETTINGS, who);

    op.settings = settings;
    return commit(r, &c, &op, who, detail);
}

static int try_unlink(struct repo *r, struct repo_change *c, const struct repo_who *who,
                      struct err_detail *detail)
{
    struct taglog_op op = op_of(TAGLOG_UNLINK, who);
    struct blob_info info;
    bool readable;
    int e = look(r, c, detail);

    if (e == 0)
        e = repo_readable(r, &c->digest, &readable, &c->refs->u, detail);
    if (e < 0)
        return e;
    c->refs->how = readable ? MEMBER_BY_REFS : MEMBER_BY_LINK;
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

    begin(&c, who);
    do {
        e = try_unlink(r, &c, who, detail);
    } while (e == -ERR_AGAIN);
    repo_asking_done(&c.asking);
    /* Of the old link nothing depends any more (B12); but that of 0 stays (B44). */
    if (e == 0 && (ref.u > 0 || mutant("first-link")) &&
        blob_link_remove(repos_blobs(r->owner), r->name_str, d, ref.u, NULL) < 0)
        return 0;
    return e;
}
