/* The judgement of changes at the commit point: in memory, on the state just before the entry that
 * is about to be created, under the replica's lock.
 *
 * Since a change was validated (repo_commit.c) the state may have moved. The judge looks again at
 * everything a delete, an unlink or a drop may have ended, and sends a put back to its caller
 * (-ERR_AGAIN) when a membership no longer stands as it was found: so a ref is recorded only if it
 * was a member at the final position (B14, I13). Conditions (R95) are judged here and nowhere else:
 * a change that asks about a tag which an operation of the same batch touches waits for the next
 * batch, where the state knows the outcome. So it is with immutable tags (R96): what the settings
 * forbid is said before conditions are looked at. */
#include <assert.h>

#include "base/mutant.h"
#include "manifests/repo_internal.h"

static char mark; /* values of sets: never NULL, never read */

static enum replica_verdict done(struct repo_change *c, int result)
{
    c->op.result = result;
    return REPLICA_DONE;
}

/* ---- what the batch touches */

static bool is_touched(const struct repo *r, struct str tag)
{
    return r->batch.touched && omap_get(r->batch.touched, tag);
}

static int touch(struct repo *r, struct str tag)
{
    int e = r->batch.touched ? 0 : omap_new(NULL, &r->batch.touched);

    return e < 0 ? e : omap_put(r->batch.touched, tag, &mark);
}

static bool is_removed(const struct repo *r, struct str digest)
{
    return r->batch.removed && omap_get(r->batch.removed, digest);
}

static enum replica_verdict take_removal(struct repo *r, struct repo_change *c, struct str digest)
{
    int e = r->batch.removed ? 0 : omap_new(NULL, &r->batch.removed);

    if (e == 0)
        e = omap_put(r->batch.removed, digest, &mark);
    if (e < 0)
        return done(c, e);
    r->batch.unlinks |= c->kind == CHANGE_UNLINK;
    r->batch.deletes |= c->kind == CHANGE_DELETE_MANIFEST;
    return REPLICA_TAKE;
}

/* ---- conditions, immutable tags */

static int refuse(struct repo_change *c, int err, struct str tag, const struct state_manifest *m)
{
    struct repo_refusal *to = c->refusal;

    if (to) {
        *to = (struct repo_refusal){.present = m != NULL};
        memcpy(to->tag, tag.len > 0 ? tag.at : "", tag.len);
        if (m)
            to->digest = m->digest;
    }
    return err;
}

static const struct state_manifest *on_tag(const struct repo *r, struct str tag)
{
    const struct state_tag *t = state_tag(r->state, tag);

    return t ? t->manifest : NULL;
}

/* May the tag, which is on current, be set to wanted (NULL: removed)? */
static int check_immutable(const struct repo *r, struct repo_change *c, struct str tag,
                           const struct state_manifest *current, const struct digest *wanted)
{
    if (!current || (wanted && digest_eq(&current->digest, wanted)) ||
        !settings_immutable(r->state->settings, tag) || mutant("immutable"))
        return 0;
    err_set(&c->op.detail, -ERR_DENIED, "the tag \"" STR_FMT "\" is immutable", STR_ARG(tag));
    return refuse(c, -ERR_DENIED, tag, current);
}

static int check_condition(struct repo_change *c, const struct taglog_if *condition, struct str tag,
                           const struct state_manifest *current)
{
    struct str text = current ? current->text : STR_NONE;

    if (taglog_if_holds(condition, text))
        return 0;
    err_set(&c->op.detail, -ERR_CONDITION,
            tag.len > 0 ? "the tag \"" STR_FMT "\" is not what the condition asks for"
                        : "the manifest" STR_FMT " is not what the condition asks for",
            STR_ARG(tag));
    return refuse(c, -ERR_CONDITION, tag, current);
}

static int refuse_put(const struct repo *r, struct repo_change *c)
{
    const struct repo_put *put = c->put;
    int e = 0;

    for (size_t i = 0; e == 0 && i < put->tag_count; i++)
        e = check_immutable(r, c, put->tags[i], on_tag(r, put->tags[i]), &c->digest);
    for (size_t i = 0; e == 0 && i < put->tag_count; i++)
        e = check_condition(c, put->condition, put->tags[i], on_tag(r, put->tags[i]));
    if (put->tag_count == 0)
        e = check_condition(c, put->condition, STR_NONE, state_manifest(r->state, &c->digest));
    return e;
}

static int refuse_sets(const struct repo *r, struct repo_change *c)
{
    int e = 0;

    for (size_t i = 0; i < c->set_count; i++) {
        const struct taglog_set *set = &c->sets[i];

        if (!set->remove && !state_manifest(r->state, &set->digest)) {
            err_set(&c->op.detail, -ERR_MISSING_REF,
                    "the manifest for the tag \"" STR_FMT "\" is not in this repository",
                    STR_ARG(set->tag));
            refuse(c, -ERR_MISSING_REF, set->tag, NULL);
            if (c->refusal)
                c->refusal->digest = set->digest;
            return -ERR_MISSING_REF;
        }
    }
    for (size_t i = 0; e == 0 && i < c->set_count; i++) {
        const struct taglog_set *set = &c->sets[i];
        const struct state_manifest *m = on_tag(r, set->tag);

        if (c->must_exist && !m)
            return -ERR_NOTFOUND;
        e = check_immutable(r, c, set->tag, m, set->remove ? NULL : &set->digest);
    }
    for (size_t i = 0; e == 0 && i < c->set_count; i++)
        e = check_condition(c, c->sets[i].condition, c->sets[i].tag, on_tag(r, c->sets[i].tag));
    return e;
}

static int refuse_delete(const struct repo *r, struct repo_change *c)
{
    const struct state_manifest *m = state_manifest(r->state, &c->digest);
    int e = m ? 0 : -ERR_NOTFOUND;

    for (const struct state_tag *t = m ? m->tags : NULL; e == 0 && t; t = t->next)
        e = check_immutable(r, c, t->name, m, NULL);
    return e;
}

int repo_refuse(const struct repo *r, struct repo_change *c)
{
    switch (c->kind) {
    case CHANGE_PUT:
        return refuse_put(r, c);
    case CHANGE_TAGS:
        return refuse_sets(r, c);
    case CHANGE_DELETE_MANIFEST:
        return refuse_delete(r, c);
    case CHANGE_UNLINK:
    case CHANGE_SETTINGS:
        return 0;
    }
    assert(false);
    return -ERR_INVAL;
}

/* ---- the judge */

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

/* Does it ask about something whose outcome an operation of this batch decides? */
static bool put_waits(const struct repo *r, const struct repo_change *c)
{
    const struct repo_put *put = c->put;

    if (r->batch.unlinks || r->batch.deletes)
        return true;
    for (size_t i = 0; i < put->tag_count; i++)
        if (is_touched(r, put->tags[i]) &&
            (put->condition || settings_immutable(r->state->settings, put->tags[i])))
            return true;
    return put->condition && put->tag_count == 0 && r->batch.puts;
}

static enum replica_verdict judge_put(struct repo *r, struct repo_change *c)
{
    const struct repo_put *put = c->put;
    const struct manifest *m = put->manifest;
    int e;

    if (put_waits(r, c))
        return REPLICA_LATER;
    e = repo_refuse(r, c);
    if (e == 0 && r->state->removed > c->seen)
        for (size_t i = 0; i < m->ref_count; i++)
            if (!still_member(r, &m->refs[i].digest, &c->refs[i]))
                return done(c, -ERR_AGAIN);
    for (size_t i = 0; e == 0 && i < put->tag_count; i++)
        e = touch(r, put->tags[i]);
    if (e < 0)
        return done(c, e);
    r->batch.puts = true;
    return REPLICA_TAKE;
}

static bool sets_wait(const struct repo *r, const struct repo_change *c)
{
    if (r->batch.deletes)
        return true;
    for (size_t i = 0; i < c->set_count; i++)
        if (is_touched(r, c->sets[i].tag) &&
            (c->must_exist || c->sets[i].condition ||
             settings_immutable(r->state->settings, c->sets[i].tag)))
            return true;
    return false;
}

static enum replica_verdict judge_tags(struct repo *r, struct repo_change *c)
{
    int e;

    if (sets_wait(r, c))
        return REPLICA_LATER;
    e = repo_refuse(r, c);
    for (size_t i = 0; e == 0 && i < c->set_count; i++)
        e = touch(r, c->sets[i].tag);
    return e < 0 ? done(c, e) : REPLICA_TAKE;
}

static enum replica_verdict judge_delete_manifest(struct repo *r, struct repo_change *c)
{
    char text[DIGEST_TEXT_MAX];
    struct str digest = digest_text(&c->digest, text);
    int e;

    if (is_removed(r, digest) || (r->batch.touched && settings_any_immutable(r->state->settings)))
        return REPLICA_LATER;
    e = repo_refuse(r, c);
    return e < 0 ? done(c, e) : take_removal(r, c, digest);
}

static enum replica_verdict judge_unlink(struct repo *r, struct repo_change *c)
{
    char text[DIGEST_TEXT_MAX];
    struct str digest = digest_text(&c->digest, text);

    if (r->batch.deletes || is_removed(r, digest))
        return REPLICA_LATER;
    if (r->state->removed > c->seen && !still_member(r, &c->digest, c->refs))
        return done(c, -ERR_AGAIN);
    return take_removal(r, c, digest);
}

enum replica_verdict repo_judge(struct repo *r, struct repo_change *c)
{
    if (mutant("no-rejudge")) {
        r->batch.puts |= c->kind == CHANGE_PUT;
        return REPLICA_TAKE;
    }
    if (r->batch.settings && !mutant("settings-same-batch"))
        return REPLICA_LATER; /* judged by what they will be */
    switch (c->kind) {
    case CHANGE_PUT:
        return judge_put(r, c);
    case CHANGE_TAGS:
        return judge_tags(r, c);
    case CHANGE_DELETE_MANIFEST:
        return judge_delete_manifest(r, c);
    case CHANGE_UNLINK:
        return judge_unlink(r, c);
    case CHANGE_SETTINGS:
        r->batch.settings = true;
        return REPLICA_TAKE;
    }
    assert(false);
    return REPLICA_DONE;
}
