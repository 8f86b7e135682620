/* What a revert has to do, by comparing the present with the view. */
#include <assert.h>

#include "manifests/compare.h"
#include "manifests/revert_internal.h"

#define DEPTH_MAX 32 /* of indexes in indexes, for one tag */

static char mark;

void plan_init(struct plan *p)
{
    *p = (struct plan){.ops = BUF_INIT(OBJLOG_OP_MAX)};
}

void plan_done(struct plan *p)
{
    settings_free(p->settings);
    omap_free(p->puts);
    omap_free(p->deletes);
    omap_free(p->tags);
    buf_done(&p->ops);
}

static int note(struct omap *set, const struct digest *d)
{
    char text[DIGEST_TEXT_MAX];

    return omap_put(set, digest_text(d, text), &mark);
}

/* ---- manifests */

/* Is it the same now as it was then? 1, 0. Without removals a manifest loses nothing but by a push
 * of its own. */
static int is_same(struct plan *p, const struct repo_manifest *then,
                   const struct repo_manifest *now)
{
    if (!str_eq(str_of(then->media_type), str_of(now->media_type)))
        return 0;
    if (then->seq == now->seq && !p->removals)
        return 1;
    return plan_refs_stand(p, &then->digest);
}

static int plan_manifest(const struct digest *d, const struct repo_manifest *then,
                         const struct repo_manifest *now, void *arg)
{
    struct plan *p = arg;
    int same;

    if (!then)
        return note(p->deletes, d);
    same = now ? is_same(p, then, now) : 0;
    return same == 0 ? note(p->puts, d) : same < 0 ? same : 0;
}

struct children {
    struct digest at[64];
    size_t count;
    size_t skip; /* of those before */
};

static int add_child(const struct repo_ref *ref, void *arg)
{
    struct children *c = arg;

    if (ref->kind != REF_MANIFEST || !ref->stands)
        return 0;
    if (c->skip > 0) {
        c->skip--;
        return 0;
    }
    if (c->count < ARRAY_LEN(c->at))
        c->at[c->count++] = ref->digest;
    return 0;
}

/* A manifest that a tag goes back to, with those it lists. */
static int plan_tree(struct plan *p, const struct digest *d, unsigned depth)
{
    struct repo_manifest then, now;
    size_t seen = 0;
    int e = repo_manifest(p->past, d, &then), n;

    if (depth > DEPTH_MAX)
        return err_set(p->detail, -ERR_LIMIT, "indexes are nested deeper than %d", DEPTH_MAX);
    if (e == 0) {
        n = repo_manifest(p->now, d, &now);
        e = n == 0 || n == -ERR_NOTFOUND ? plan_manifest(d, &then, n == 0 ? &now : NULL, p) : n;
    }
    while (e == 0) {
        struct children c = {.skip = seen};

        e = repo_refs(p->past, d, add_child, &c);
        for (size_t i = 0; e == 0 && i < c.count; i++)
            e = plan_tree(p, &c.at[i], depth + 1);
        seen += c.count;
        if (c.count < ARRAY_LEN(c.at))
            break;
    }
    return e;
}

/* ---- tags */

/* now: what it is on; then: what it shall be on. NULL: nothing. */
static int plan_tag(struct str tag, const struct digest *now, const struct digest *then, void *arg)
{
    struct plan *p = arg;
    struct plan_tag *t;
    int e;

    if (now && !p->how->who.override && settings_immutable(p->settings, tag))
        return err_set(p->detail, -ERR_DENIED, "the tag \"" STR_FMT "\" is immutable",
                       STR_ARG(tag));
    t = calloc(1, sizeof(*t));
    if (!t)
        return -ERR_NOMEM;
    t->from_any = now != NULL;
    t->to_any = then != NULL;
    if (now)
        t->from = *now;
    if (then)
        t->to = *then;
    e = omap_put(p->tags, tag, t);
    if (e < 0)
        free(t);
    return e;
}

static int plan_one_tag(struct plan *p)
{
    struct repo_manifest then, now;
    int a = repo_tag(p->past, p->how->tag, &then), b = repo_tag(p->now, p->how->tag, &now), e = 0;

    if ((a < 0 && a != -ERR_NOTFOUND) || (b < 0 && b != -ERR_NOTFOUND))
        return a < 0 && a != -ERR_NOTFOUND ? a : b;
    if (a != b || (a == 0 && !digest_eq(&then.digest, &now.digest)))
        e = plan_tag(p->how->tag, b == 0 ? &now.digest : NULL, a == 0 ? &then.digest : NULL, p);
    return e < 0 || a < 0 ? e : plan_tree(p, &then.digest, 0);
}

static struct taglog_op plan_op(const struct plan *p, enum taglog_kind kind)
{
    const struct repo_who *who = &p->how->who;

    return (struct taglog_op){
        .kind = kind, .override = who->override, .by = who->by, .req = who->req};
}

static int add_sets(struct plan *p)
{
    struct taglog_op op auto_taglog_op = plan_op(p, TAGLOG_TAGS);

    if (omap_count(p->tags) == 0)
        return 0;
    op.sets = calloc(omap_count(p->tags), sizeof(*op.sets));
    if (!op.sets)
        return -ERR_NOMEM;
    for (struct omap_node *n = omap_first(p->tags); n; n = omap_next(p->tags, n)) {
        const struct plan_tag *t = omap_value(n);

        op.sets[op.set_count++] =
            (struct taglog_set){.tag = omap_key(n), .remove = !t->to_any, .digest = t->to};
    }
    if (p->ops.len > 0)
        buf_addc(&p->ops, ',');
    return taglog_encode(&op, &p->ops);
}

static int add_deletes(struct plan *p)
{
    int e = 0;

    for (struct omap_node *n = omap_first(p->deletes); e == 0 && n; n = omap_next(p->deletes, n)) {
        struct taglog_op op = plan_op(p, TAGLOG_DELETE);

        e = digest_parse(omap_key(n), &op.digest);
        if (e == 0 && p->ops.len > 0)
            buf_addc(&p->ops, ',');
        if (e == 0)
            e = taglog_encode(&op, &p->ops);
    }
    return e;
}

/* ---- all of it */

static int find_changes(struct plan *p)
{
    int e;

    if (p->how->tag.len > 0)
        return plan_one_tag(p);
    e = compare_manifests(p->past, p->now, plan_manifest, p);
    return e < 0 ? e : compare_tags(p->now, p->past, plan_tag, p);
}

int plan_make(struct plan *p)
{
    int e = omap_new(NULL, &p->puts);

    if (e == 0)
        e = omap_new(NULL, &p->deletes);
    if (e == 0)
        e = omap_new(free, &p->tags);
    if (e == 0)
        e = repo_settings(p->now, &p->settings);
    p->removals = repo_removed(p->now) > repo_seq(p->past);
    if (e == 0)
        e = find_changes(p);
    for (struct omap_node *n = p->puts ? omap_first(p->puts) : NULL; e == 0 && n;
         n = omap_next(p->puts, n)) {
        struct digest d;

        e = digest_parse(omap_key(n), &d);
        if (e == 0)
            e = plan_put(p, &d);
    }
    if (e == 0 && p->missing > 0)
        return err_set(p->detail, -ERR_MISSING_REF, "%zu digests that were here are gone",
                       p->missing);
    if (e < 0 || p->partial)
        return e;
    e = add_sets(p);
    if (e == 0)
        e = add_deletes(p);
    return e == -ERR_TOOBIG ? err_set(p->detail, -ERR_LIMIT,
                                      "too many changes for one entry: revert tags one by one")
                            : e;
}
