/* Clients' records against each other (linearizable, knowing nothing of the log) and against the
 * log (each acknowledged change once, at a moment between call and return; reads of states that
 * stood at such a moment). */
#include <assert.h>
#include <stdio.h>

#include "audit.h"
#include "audit_internal.h"

#define ALL UINT32_MAX

static unsigned too_complex, judged;

unsigned audit_too_complex(void)
{
    return too_complex;
}

unsigned audit_judged(void)
{
    return judged;
}

/* ---- the log as witness (I2, I3) */

/* The last view that stood at a tick. */
static unsigned view_at(const struct replay *r, uint32_t tick)
{
    unsigned i = 0;

    while (i + 1 < r->count && r->views[i + 1].tick <= tick)
        i++;
    return i;
}

/* Is there a tag that the operation would change, and must not? */
static bool denied(const struct view *v, const struct op *op)
{
    if (op->override)
        return false;
    for (unsigned t = 0; t < TAGS_MAX; t++) {
        bool named = (op->tags & (1u << t)) != 0, gone = (op->gone & (1u << t)) != 0;
        bool on = v->tags[t] == op->manifest + 1;

        if (!(v->immutable & (1u << t)) || !v->tags[t])
            continue;
        if (op->kind == OP_DELETE_MANIFEST
                ? on
                : gone || (named && op->kind == OP_DELETE_TAG) || (named && !on))
            return true;
    }
    return false;
}

static bool holds(const struct view *v, const struct op *op)
{
    bool there = (v->manifests & (1u << op->manifest)) != 0;
    uint32_t tags = 0;

    if (op->outcome == OUT_DENIED)
        return denied(v, op);
    switch (op->kind) {
    case OP_SETTINGS: /* that were so */
        return v->immutable == op->tags;
    case OP_PUT: /* of one that changed nothing */
    case OP_SET_TAGS:
        if (op->outcome == OUT_MISSING || op->outcome == OUT_CONDITION)
            return true; /* judged with the others of its tag and manifest */
        for (unsigned t = 0; t < TAGS_MAX; t++)
            if ((op->tags & (1u << t)) && v->tags[t] != op->manifest + 1)
                return false;
        for (unsigned t = 0; t < TAGS_MAX; t++)
            if ((op->gone & (1u << t)) && v->tags[t])
                return false;
        return there || (op->kind == OP_SET_TAGS && !op->tags);
    case OP_DELETE_MANIFEST: /* of one that was refused */
        return !there;
    case OP_GET_MANIFEST:
        return there == (op->value != 0);
    case OP_DELETE_TAG:
        if (op->outcome == OUT_CONDITION)
            return true;
        __attribute__((fallthrough));
    case OP_GET_TAG:
        for (unsigned t = 0; t < TAGS_MAX; t++)
            if ((op->tags & (1u << t)) && v->tags[t] != op->value)
                return false;
        return true;
    case OP_LIST:
        for (unsigned t = 0; t < TAGS_MAX; t++)
            tags |= v->tags[t] ? 1u << t : 0;
        return tags == op->tags;
    case OP_UNLINK:
    case OP_LINK:
    case OP_GET_BLOB:
        break;
    }
    return true;
}

static bool held_meanwhile(const struct replay *r, const struct op *op)
{
    for (unsigned i = view_at(r, op->call); i < r->count; i++) {
        if (i > 0 && r->views[i].tick > op->back)
            return false;
        if (holds(&r->views[i], op))
            return true;
    }
    return false;
}

/* What is acknowledged without an entry changed nothing. */
static bool must_commit(const struct op *op)
{
    return op->kind <= OP_UNLINK && op->kind != OP_PUT && op->kind != OP_SET_TAGS;
}

static void witness(const struct replay *r, unsigned i)
{
    const struct op *op = hist_at(i);
    uint32_t tick = r->times[i] ? r->views[r->at[i]].tick : 0;

    if (r->times[i] && tick < op->call)
        sim_fail("operation %u is in the log before it was called", i);
    if (r->times[i] && op->outcome == OUT_OK && tick > op->back)
        sim_fail("operation %u was acknowledged before it was in the log", i);
    if (r->times[i] && op->outcome != OUT_OK && op->outcome != OUT_UNKNOWN)
        sim_fail("operation %u (%s) was answered as not done (%d) and is in the log, entry %u", i,
                 hist_name(op->kind), (int)op->outcome, r->at[i]);
    if (!r->times[i] && op->outcome == OUT_OK && must_commit(op))
        sim_fail("operation %u (%s) was acknowledged and is not in the log", i,
                 hist_name(op->kind));
    if (op->outcome == OUT_UNKNOWN || op->outcome == OUT_NOT_DONE || op->outcome == OUT_MISSING)
        return;
    if (!r->times[i] && !(op->outcome == OUT_OK && must_commit(op)) && !held_meanwhile(r, op))
        sim_fail("operation %u (%s, outcome %d, value %d, tags %x) was answered from a state that "
                 "did not stand then",
                 i, hist_name(op->kind), (int)op->outcome, op->value, op->tags);
}

void audit_witness(const struct replay *r)
{
    for (unsigned i = 0; i < hist_count(); i++)
        if (hist_at(i)->repo == r->repo)
            witness(r, i);
}

/* ---- linearizability of one tag, one manifest, one blob */

struct list {
    struct lin_op ops[LIN_OPS_MAX];
    unsigned count;
};

static void add(struct list *l, unsigned what, uint32_t need, int set, int clear_if)
{
    const struct op *op = hist_at(what);
    bool effect = set >= 0 || clear_if >= 0;

    if (l->count == LIN_OPS_MAX || (op->back == HIST_NEVER && !effect))
        return;
    l->ops[l->count++] = (struct lin_op){.call = op->call,
                                         .back = op->back,
                                         .need = need,
                                         .set = set,
                                         .clear_if = clear_if,
                                         .what = what};
}

static void add_tag(struct list *l, unsigned i, unsigned tag)
{
    const struct op *op = hist_at(i);
    bool done = op->outcome == OUT_OK || op->outcome == OUT_UNKNOWN;
    bool named = (op->tags & (1u << tag)) != 0;
    uint32_t wanted = op->want ? 1u << (op->want - 1) : ALL;

    switch (op->kind) {
    case OP_PUT:
    case OP_SET_TAGS:
        if (done && named)
            add(l, i, wanted, (int)op->manifest + 1, -1);
        else if (done && (op->gone & (1u << tag)))
            add(l, i, ALL, 0, -1);
        else if (named && op->outcome == OUT_CONDITION)
            add(l, i, ~wanted, -1, -1);
        break;
    case OP_DELETE_TAG:
        if (done && named)
            add(l, i, ~1u & wanted, 0, -1);
        else if (named && op->outcome == OUT_NOT_FOUND)
            add(l, i, 1u, -1, -1);
        else if (named && op->outcome == OUT_CONDITION)
            add(l, i, ~1u & ~wanted, -1, -1);
        break;
    case OP_DELETE_MANIFEST:
        if (done)
            add(l, i, ALL, -1, (int)op->manifest + 1);
        break;
    case OP_GET_TAG:
        if (named && op->outcome == OUT_OK)
            add(l, i, 1u << op->value, -1, -1);
        break;
    case OP_LIST:
        if (op->outcome == OUT_OK)
            add(l, i, named ? ~1u : 1u, -1, -1);
        break;
    case OP_UNLINK:
    case OP_LINK:
    case OP_GET_MANIFEST:
    case OP_GET_BLOB:
    case OP_SETTINGS:
        break;
    }
}

static void add_manifest(struct list *l, unsigned i, unsigned manifest)
{
    const struct op *op = hist_at(i);
    bool done = op->outcome == OUT_OK || op->outcome == OUT_UNKNOWN;

    if (op->kind == OP_PUT && op->manifest == manifest && done)
        add(l, i, ALL, 1, -1);
    if (op->kind == OP_PUT && op->outcome == OUT_OK &&
        (world->mans[op->manifest].manifests & (1u << manifest)))
        add(l, i, 2u, -1, -1);
    if (op->kind == OP_PUT && op->outcome == OUT_MISSING &&
        (op->missing_manifests & (1u << manifest)))
        add(l, i, 1u, -1, -1);
    if (op->kind == OP_SET_TAGS && op->manifest == manifest && op->tags && op->outcome == OUT_OK)
        add(l, i, 2u, -1, -1);
    if (op->kind == OP_SET_TAGS && op->manifest == manifest && op->outcome == OUT_MISSING)
        add(l, i, 1u, -1, -1);
    if (op->kind == OP_DELETE_MANIFEST && op->manifest == manifest && done)
        add(l, i, 2u, 0, -1);
    if (op->kind == OP_DELETE_MANIFEST && op->manifest == manifest && op->outcome == OUT_NOT_FOUND)
        add(l, i, 1u, -1, -1);
    if (op->kind == OP_GET_MANIFEST && op->manifest == manifest && op->outcome == OUT_OK)
        add(l, i, 1u << op->value, -1, -1);
}

/* A put that was done says that all it refers to was there; one that was refused, what was not. */
static void add_blob(struct list *l, unsigned i, unsigned blob)
{
    const struct op *op = hist_at(i);
    bool done = op->outcome == OUT_OK || op->outcome == OUT_UNKNOWN;

    if (op->kind == OP_LINK && op->blob == blob && done)
        add(l, i, ALL, 1, -1);
    if (op->kind == OP_UNLINK && op->blob == blob && done)
        add(l, i, 2u, 0, -1);
    if (op->kind == OP_UNLINK && op->blob == blob && op->outcome == OUT_NOT_FOUND)
        add(l, i, 1u, -1, -1);
    if (op->kind == OP_GET_BLOB && op->blob == blob && op->outcome == OUT_OK)
        add(l, i, 1u << op->value, -1, -1);
    if (op->kind == OP_PUT && op->outcome == OUT_OK &&
        (world->mans[op->manifest].blobs & (1u << blob)))
        add(l, i, 2u, -1, -1);
    if (op->kind == OP_PUT && op->outcome == OUT_MISSING && (op->missing_blobs & (1u << blob)))
        add(l, i, 1u, -1, -1);
}

static void judge(struct list *l, unsigned repo, const char *what, unsigned which)
{
    enum lin r = lin_check(l->ops, l->count);

    judged++;
    if (r == LIN_TOO_COMPLEX)
        too_complex++;
    if (r != LIN_NO)
        return;
    for (unsigned i = 0; i < l->count; i++) {
        const struct op *op = hist_at(l->ops[i].what);

        sim_trace("history of %s %u in r%u: %u [%u, %u] c%u %s need %x set %d clear %d", what,
                  which, repo, l->ops[i].what, op->call, op->back, op->client, hist_name(op->kind),
                  l->ops[i].need, l->ops[i].set, l->ops[i].clear_if);
    }
    sim_fail("the history of %s %u in repository %u is not linearizable", what, which, repo);
}

static void judge_all(struct list *l, unsigned repo, const char *what, unsigned which,
                      void (*adder)(struct list *, unsigned, unsigned))
{
    l->count = 0;
    for (unsigned i = 0; i < hist_count(); i++)
        if (hist_at(i)->repo == repo)
            adder(l, i, which);
    judge(l, repo, what, which);
}

void audit_history(void)
{
    struct list *l auto_free = malloc(sizeof(*l));

    assert(l);
    for (unsigned repo = 0; repo < world->plan.repos; repo++) {
        for (unsigned i = 0; i < world->plan.tags; i++)
            judge_all(l, repo, "tag", i, add_tag);
        for (unsigned i = 0; i < world->plan.manifests; i++)
            judge_all(l, repo, "manifest", i, add_manifest);
        for (unsigned i = 0; i < 2 * world->plan.contents; i++)
            judge_all(l, repo, "blob", i, add_blob);
    }
}
