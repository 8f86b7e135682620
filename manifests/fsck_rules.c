/* What the writer of an entry had to hold an operation against: the condition it carries (section 6
 * of docs/bucket-format.md) and immutable tags (B21). Readers apply without looking, so a writer
 * that judged by an old state shows here only. */
#include "manifests/fsck_internal.h"

#include "base/digest.h"

static const char meaning[] =
    "a process wrote without knowing the entry before: report it with both";

struct rules {
    struct fsck *f;
    struct str key; /* of the entry */
    const struct state *state;
};

/* What a tag is on: 1, 0 nothing; -1: it cannot be read now, and nothing is said. */
static int on_tag(const struct rules *r, struct str tag, struct digest *ret)
{
    struct hit hit auto_hit = {.value = STR_NONE};
    struct state_tag t;
    int e = state_tag(r->state, tag, &hit, &t);

    if (e == 0)
        *ret = t.digest;
    return e == 0 ? 1 : e == -ERR_NOTFOUND ? 0 : -1;
}

/* current NULL: nothing. */
static void check_condition(const struct rules *r, const struct taglog_if *condition,
                            const struct digest *current, struct str what)
{
    char text[DIGEST_TEXT_MAX];

    if (!taglog_if_holds(condition, current ? digest_text(current, text) : STR_NONE))
        fsck_say(r->f, FSCK_DAMAGE, r->key, meaning, "changes " STR_FMT " against its condition",
                 STR_ARG(what));
}

/* wanted NULL: removed. */
static void check_immutable(const struct rules *r, struct str tag, const struct digest *current,
                            const struct digest *wanted)
{
    if (settings_immutable(r->state->settings, tag) && !(wanted && digest_eq(current, wanted)))
        fsck_say(r->f, FSCK_DAMAGE, r->key, meaning, "changes the immutable tag " STR_FMT,
                 STR_ARG(tag));
}

static void check_tag(const struct rules *r, struct str tag, const struct digest *wanted,
                      const struct taglog_if *condition)
{
    struct digest on;
    int there = on_tag(r, tag, &on);

    if (there < 0)
        return;
    if (there > 0)
        check_immutable(r, tag, &on, wanted);
    check_condition(r, condition, there > 0 ? &on : NULL, tag);
}

static void check_put(const struct rules *r, const struct taglog_op *op)
{
    char text[DIGEST_TEXT_MAX];
    int there;

    for (size_t i = 0; i < op->tag_count; i++)
        check_tag(r, op->tags[i], &op->digest, op->condition);
    if (op->tag_count > 0)
        return;
    there = state_has_manifest(r->state, &op->digest);
    if (there >= 0)
        check_condition(r, op->condition, there > 0 ? &op->digest : NULL,
                        digest_text(&op->digest, text));
}

static void check_sets(const struct rules *r, const struct taglog_op *op)
{
    for (size_t i = 0; i < op->set_count; i++) {
        const struct taglog_set *set = &op->sets[i];

        check_tag(r, set->tag, set->remove ? NULL : &set->digest, set->condition);
    }
}

static int loses_tag(struct str tag, void *arg)
{
    const struct rules *r = arg;
    struct digest on;

    if (on_tag(r, tag, &on) > 0)
        check_immutable(r, tag, &on, NULL);
    return 0;
}

void fsck_check_rules(struct fsck *f, struct str key, const struct state *s,
                      const struct taglog_op *op)
{
    struct rules r = {f, key, s};

    switch (op->kind) {
    case TAGLOG_PUT:
        check_put(&r, op);
        break;
    case TAGLOG_TAGS:
        check_sets(&r, op);
        break;
    case TAGLOG_DELETE:
        (void)!state_tags_of(s, &op->digest, loses_tag, &r);
        break;
    case TAGLOG_UNLINK:
    case TAGLOG_DROP:
    case TAGLOG_SETTINGS:
        break;
    }
}
