/* What the writer of an entry had to hold an operation against: the condition it carries (section 6
 * of docs/bucket-format.md) and immutable tags (B21, B23). Readers apply without looking, so a
 * writer that judged by an old state shows here only. */
#include "manifests/fsck_internal.h"

#include "base/digest.h"
#include "manifests/state.h"

static const char meaning[] =
    "a process wrote without knowing the entry before: report it with both";

struct rules {
    struct fsck *f;
    struct str key; /* of the entry */
    const struct state *state;
    bool override; /* the operation's */
};

/* What the tag is on; empty: nothing. */
static int on_tag(const struct rules *r, struct str tag, char text[DIGEST_TEXT_MAX],
                  struct str *ret)
{
    struct hit hit auto_hit = {.value = STR_NONE};
    struct state_tag t;
    int e = state_tag(r->state, tag, &hit, &t);

    *ret = e == 0 ? digest_text(&t.digest, text) : STR_NONE;
    return e == -ERR_NOTFOUND ? 0 : e;
}

static void check_condition(const struct rules *r, const struct taglog_if *condition,
                            struct str current, struct str what)
{
    if (!taglog_if_holds(condition, current))
        fsck_say(r->f, FSCK_DAMAGE, r->key, meaning, "changes " STR_FMT " against its condition",
                 STR_ARG(what));
}

/* wanted NULL: removed. */
static void check_immutable(const struct rules *r, struct str tag, struct str current,
                            const struct digest *wanted)
{
    char text[DIGEST_TEXT_MAX];

    if (current.len && !r->override && settings_immutable(r->state->settings, tag) &&
        !(wanted && str_eq(current, digest_text(wanted, text))))
        fsck_say(r->f, FSCK_DAMAGE, r->key, meaning, "changes the immutable tag " STR_FMT,
                 STR_ARG(tag));
}

static int check_tag(const struct rules *r, struct str tag, const struct digest *wanted,
                     const struct taglog_if *condition)
{
    char text[DIGEST_TEXT_MAX];
    struct str current;
    int e = on_tag(r, tag, text, &current);

    if (e < 0)
        return e;
    check_immutable(r, tag, current, wanted);
    check_condition(r, condition, current, tag);
    return 0;
}

static int check_put(const struct rules *r, const struct taglog_op *op)
{
    char text[DIGEST_TEXT_MAX];
    struct str digest = digest_text(&op->digest, text);
    int e = 0;

    for (size_t i = 0; e == 0 && i < op->tag_count; i++)
        e = check_tag(r, op->tags[i], &op->digest, op->condition);
    if (op->tag_count > 0)
        return e;
    e = state_has_manifest(r->state, &op->digest);
    if (e >= 0)
        check_condition(r, op->condition, e > 0 ? digest : STR_NONE, digest);
    return e < 0 ? e : 0;
}

static int check_sets(const struct rules *r, const struct taglog_op *op)
{
    int e = 0;

    for (size_t i = 0; e == 0 && i < op->set_count; i++) {
        const struct taglog_set *set = &op->sets[i];

        e = check_tag(r, set->tag, set->remove ? NULL : &set->digest, set->condition);
    }
    return e;
}

static int check_removed(struct str tag, void *arg)
{
    return check_tag(arg, tag, NULL, NULL);
}

static int check_dropped(const struct state_tag *t, void *arg)
{
    char text[DIGEST_TEXT_MAX];

    check_immutable(arg, t->name, digest_text(&t->digest, text), NULL);
    return 0;
}

int fsck_check_rules(struct fsck *f, struct str key, const struct state *s,
                     const struct taglog_op *op)
{
    struct rules r = {f, key, s, op->override};

    switch (op->kind) {
    case TAGLOG_PUT:
        return check_put(&r, op);
    case TAGLOG_TAGS:
        return check_sets(&r, op);
    case TAGLOG_DELETE:
        return state_tags_of(s, &op->digest, check_removed, &r);
    case TAGLOG_DROP:
        return state_each_tag(s, STR_NONE, check_dropped, &r);
    case TAGLOG_UNLINK:
    case TAGLOG_SETTINGS:
        break;
    }
    return 0;
}
