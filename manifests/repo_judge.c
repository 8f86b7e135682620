/* The judgement of changes at the commit point: in memory, on the state just before the entry that
 * is about to be created, under the replica's lock.
 *
 * Since a change was validated (repo_commit.c) the state may have moved. The judge looks again at
 * everything a delete, an unlink or a drop may have ended, and sends a put back to its caller
 * (-ERR_AGAIN) when a membership no longer stands as it was found: so a ref is recorded only if it
 * was a member at the final position (B14, I13). Conditions (R95) are judged here and nowhere else:
 * a change that asks about a tag which an operation of the same batch touches waits for the next
 * batch, where the state knows the outcome. So it is with immutable tags (R96): what the settings
 * forbid is said before conditions are looked at; it does not hold back who asked to override it
 * (B23), whose right to is the caller's matter. */
#include <assert.h>

#include "base/mutant.h"
#include "manifests/repo_internal.h"

static char mark; /* values of sets: never NULL, never read */

/* What cannot be read now is looked at again by the caller. */
static enum replica_verdict done(struct repo_change *c, int result)
{
    c->op.result = result == -ERR_CORRUPT || result == -ERR_UNAVAIL ? -ERR_AGAIN : result;
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

static int refuse(struct repo_change *c, int err, struct str tag, const struct digest *current)
{
    struct repo_refusal *to = c->refusal;

    if (to) {
        *to = (struct repo_refusal){.present = current != NULL};
        memcpy(to->tag, tag.len > 0 ? tag.at : "", tag.len);
        if (current)
            to->digest = *current;
    }
    return err;
}

/* What a tag is on: 1, 0 nothing, an error. */
static int on_tag(const struct repo *r, struct str tag, struct digest *ret)
{
    struct hit hit auto_hit = {.value = STR_NONE};
    struct state_tag t;
    int e = state_tag(r->state, tag, &hit, &t);

    if (e == 0)
        *ret = t.digest;
    return e == 0 ? 1 : e == -ERR_NOTFOUND ? 0 : e;
}

/* May the tag, which is on current, be set to wanted (NULL: removed)? */
static int check_immutable(const struct repo *r, struct repo_change *c, struct str tag,
                           const struct digest *current, const struct digest *wanted)
{
    if (!current || c->override || (wanted && digest_eq(current, wanted)) ||
        !settings_immutable(r->state->settings, tag) || mutant("immutable"))
        return 0;
    err_set(&c->op.detail, -ERR_DENIED, "the tag \"" STR_FMT "\" is immutable", STR_ARG(tag));
    return refuse(c, -ERR_DENIED, tag, current);
}

static int check_condition(struct repo_change *c, const struct taglog_if *condition, struct str tag,
                           const struct digest *current)
{
    char text[DIGEST_TEXT_MAX];

    if (taglog_if_holds(condition, current ? digest_text(current, text) : STR_NONE))
        return 0;
    err_set(&c->op.detail, -ERR_CONDITION,
            tag.len > 0 ? "the tag \"" STR_FMT "\" is not what the condition asks for"
                        : "the manifest" STR_FMT " is not what the condition asks for",
            STR_ARG(tag));
    return refuse(c, -ERR_CONDITION, tag, current);
}

static int refuse_put_tag(const struct repo *r, struct repo_change *c, struct str tag, bool first)
{
    struct digest on;
    int e = on_tag(r, tag, &on);
    const struct digest *current = e == 1 ? &on : NULL;

    if (e < 0)
        return e;
    return first ? check_immutable(r, c, tag, current, &c->digest)
                 : check_condition(c, c->put->condition, tag, current);
}

static int refuse_put(const struct repo *r, struct repo_change *c)
{
    const struct repo_put *put = c->put;
    int e = 0;

    for (size_t i = 0; e == 0 && i < put->tag_count; i++)
        e = refuse_put_tag(r, c, put->tags[i], true);
    for (size_t i = 0; e == 0 && i < put->tag_count && put->condition; i++)
        e = refuse_put_tag(r, c, put->tags[i], false);
    if (put->tag_count == 0 && put->condition) {
        e = state_has_manifest(r->state, &c->digest);
        if (e >= 0)
            e = check_condition(c, put->condition, STR_NONE, e == 1 ? &c->digest : NULL);
    }
    return e;
}

static int refuse_missing(const struct repo *r, struct repo_change *c)
{
    for (size_t i = 0; i < c->set_count; i++) {
        const struct taglog_set *set = &c->sets[i];
        int e = set->remove ? 1 : state_has_manifest(r->state, &set->digest);

        if (e < 0)
            return e;
        if (e == 0) {
            err_set(&c->op.detail, -ERR_MISSING_REF,
                    "the manifest for the tag \"" STR_FMT "\" is not in this repository",
                    STR_ARG(set->tag));
            refuse(c, -ERR_MISSING_REF, set->tag, NULL);
            if (c->refusal)
                c->refusal->digest = set->digest;
            return -ERR_MISSING_REF;
        }
    }
    return 0;
}

static int refuse_set(const struct repo *r, struct repo_change *c, const struct taglog_set *set,
                      bool first)
{
    struct digest on;
    int e = on_tag(r, set->tag, &on);
    const struct digest *current = e == 1 ? &on : NULL;

    if (e < 0)
        return e;
    if (!first)
        return check_condition(c, set->condition, set->tag, current);
    if (c->must_exist && !current)
        return -ERR_NOTFOUND;
    return check_immutable(r, c, set->tag, current, set->remove ? NULL : &set->digest);
}

static int refuse_sets(const struct repo *r, struct repo_change *c)
{
    int e = refuse_missing(r, c);

    for (size_t i = 0; e == 0 && i < c->set_count; i++)
        e = refuse_set(r, c, &c->sets[i], true);
    for (size_t i = 0; e == 0 && i < c->set_count; i++)
        e = refuse_set(r, c, &c->sets[i], false);
    return e;
}

struct delete_check {
    const struct repo *r;
    struct repo_change *c;
};

static int refuse_tag_on(struct str tag, void *arg)
{
    const struct delete_check *d = arg;

    return check_immutable(d->r, d->c, tag, &d->c->digest, NULL);
}

static int refuse_delete(const struct repo *r, struct repo_change *c)
{
    struct delete_check d = {r, c};
    int e = state_has_manifest(r->state, &c->digest);

    if (e <= 0)
        return e == 0 ? -ERR_NOTFOUND : e;
    if (!settings_any_immutable(r->state->settings))
        return 0;
    return state_tags_of(r->state, &c->digest, refuse_tag_on, &d);
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
    case CHANGE_WHOLE:
        return 0;
    }
    assert(false);
    return -ERR_INVAL;
}

/* ---- the judge */

/* An answer that would have to wait is no yes: the caller looks again. */
static bool still_member(const struct repo *r, const struct digest *d, const struct member_ref *ref)
{
    uint64_t u;

    switch (ref->how) {
    case MEMBER_NOT:
        return true;
    case MEMBER_MANIFEST:
        return state_has_manifest(r->state, d) == 1;
    case MEMBER_BY_REFS:
        return state_readable(r->state, d) == 1;
    case MEMBER_BY_LINK:
        return state_link_u(r->state, d, &u) == 0 && u == ref->u;
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

/* Alone in its entry, and only where it was made for. */
static enum replica_verdict judge_whole(struct repo *r, struct repo_change *c)
{
    if (r->batch.taken)
        return REPLICA_LATER;
    if (c->seen != REPO_ANYWHERE && c->seen != replica_seq(r->replica))
        return done(c, -ERR_AGAIN);
    r->batch.whole = true;
    return REPLICA_TAKE;
}

static enum replica_verdict judge(struct repo *r, struct repo_change *c)
{
    if (mutant("no-rejudge")) {
        r->batch.puts |= c->kind == CHANGE_PUT;
        return REPLICA_TAKE;
    }
    if (r->batch.whole || (r->batch.settings && !mutant("settings-same-batch")))
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
    case CHANGE_WHOLE:
        return judge_whole(r, c);
    }
    assert(false);
    return REPLICA_DONE;
}

enum replica_verdict repo_judge(struct repo *r, struct repo_change *c)
{
    enum replica_verdict verdict = judge(r, c);

    r->batch.taken |= verdict == REPLICA_TAKE;
    return verdict;
}
