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

static const struct state_manifest *on_tag(const struct rules *r, struct str tag)
{
    const struct state_tag *t = state_tag(r->state, tag);

    return t ? t->manifest : NULL;
}

static void check_condition(const struct rules *r, const struct taglog_if *condition,
                            const struct state_manifest *current, struct str what)
{
    if (!taglog_if_holds(condition, current ? current->text : STR_NONE))
        fsck_say(r->f, FSCK_DAMAGE, r->key, meaning, "changes " STR_FMT " against its condition",
                 STR_ARG(what));
}

/* wanted NULL: removed. */
static void check_immutable(const struct rules *r, struct str tag, const struct digest *wanted)
{
    const struct state_manifest *current = on_tag(r, tag);

    if (current && settings_immutable(r->state->settings, tag) &&
        !(wanted && digest_eq(&current->digest, wanted)))
        fsck_say(r->f, FSCK_DAMAGE, r->key, meaning, "changes the immutable tag " STR_FMT,
                 STR_ARG(tag));
}

static void check_put(const struct rules *r, const struct taglog_op *op)
{
    char text[DIGEST_TEXT_MAX];

    for (size_t i = 0; i < op->tag_count; i++) {
        check_immutable(r, op->tags[i], &op->digest);
        check_condition(r, op->condition, on_tag(r, op->tags[i]), op->tags[i]);
    }
    if (op->tag_count == 0)
        check_condition(r, op->condition, state_manifest(r->state, &op->digest),
                        digest_text(&op->digest, text));
}

static void check_sets(const struct rules *r, const struct taglog_op *op)
{
    for (size_t i = 0; i < op->set_count; i++) {
        const struct taglog_set *set = &op->sets[i];

        check_immutable(r, set->tag, set->remove ? NULL : &set->digest);
        check_condition(r, set->condition, on_tag(r, set->tag), set->tag);
    }
}

void fsck_check_rules(struct fsck *f, struct str key, const struct state *s,
                      const struct taglog_op *op)
{
    struct rules r = {f, key, s};
    const struct state_manifest *m;

    switch (op->kind) {
    case TAGLOG_PUT:
        check_put(&r, op);
        break;
    case TAGLOG_TAGS:
        check_sets(&r, op);
        break;
    case TAGLOG_DELETE:
        m = state_manifest(s, &op->digest);
        for (const struct state_tag *t = m ? m->tags : NULL; t; t = t->next)
            check_immutable(&r, t->name, NULL);
        break;
    case TAGLOG_UNLINK:
    case TAGLOG_DROP:
    case TAGLOG_SETTINGS:
        break;
    }
}
