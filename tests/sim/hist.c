/* See hist.h. */
#include "hist.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>

#include "tasks.h"

#define LIN_MEMO   (1u << 18) /* slots of the table of what was tried */
#define LIN_VALUES 32

static struct op ops[HIST_OPS_MAX];
static unsigned count;
static uint32_t tick;

void hist_begin(void)
{
    count = 0;
    tick = 0;
}

uint32_t hist_tick(void)
{
    return ++tick;
}

struct op *hist_call(enum op_kind kind, unsigned client, unsigned repo)
{
    struct op *op = &ops[count];

    assert(count < HIST_OPS_MAX);
    *op = (struct op){
        .kind = kind, .client = client, .repo = repo, .call = hist_tick(), .back = HIST_NEVER};
    count++;
    return op;
}

void hist_return(struct op *op, enum outcome outcome)
{
    op->outcome = outcome;
    op->back = outcome == OUT_UNKNOWN ? HIST_NEVER : hist_tick();
}

unsigned hist_count(void)
{
    return count;
}

struct op *hist_at(unsigned i)
{
    return &ops[i];
}

const char *hist_name(enum op_kind kind)
{
    static const char *const names[] = {"put",      "set-tags", "delete-tag", "delete-manifest",
                                        "unlink",   "link",     "get-tag",    "get-manifest",
                                        "get-blob", "list",     "settings"};

    return names[kind];
}

/* ---- linearizability
 *
 * Depth first: the next operation of an order is any that was called before every return that is
 * still outstanding. What was tried (set of operations, value) is remembered by a 64-bit hash of
 * it, so no set is entered twice: the hash is the exclusive-or of a random word each. */

struct search {
    const struct lin_op *ops;
    unsigned count, must; /* must: those that returned */
    uint64_t words[LIN_OPS_MAX], values[LIN_VALUES];
    bool done[LIN_OPS_MAX];
    uint64_t *memo;
    unsigned tried;
};

static bool seen(struct search *s, uint64_t hash)
{
    unsigned slot = (unsigned)(hash % LIN_MEMO);

    while (s->memo[slot]) {
        if (s->memo[slot] == hash)
            return true;
        slot = (slot + 1) % LIN_MEMO;
    }
    s->memo[slot] = hash;
    s->tried++;
    return false;
}

static uint32_t first_return(const struct search *s)
{
    uint32_t first = HIST_NEVER;

    for (unsigned i = 0; i < s->count; i++)
        if (!s->done[i] && s->ops[i].back < first)
            first = s->ops[i].back;
    return first;
}

struct frame {
    uint64_t hash;
    unsigned next, chosen, left;
    uint32_t limit;
    int value;
};

static int value_after(const struct lin_op *op, int value)
{
    if (op->set >= 0)
        return op->set;
    return op->clear_if >= 0 && value == op->clear_if ? 0 : value;
}

/* The next operation that may stand here; false: none is left to try. */
static bool step(struct search *s, struct frame *f, struct frame *ret)
{
    for (; f->next < s->count; f->next++) {
        const struct lin_op *op = &s->ops[f->next];
        int after;
        uint64_t hash;

        if (s->done[f->next] || op->call > f->limit || !(op->need & (1u << f->value)))
            continue;
        after = value_after(op, f->value);
        if (op->back == HIST_NEVER && after == f->value)
            continue; /* without effect: as if it never happened */
        hash = f->hash ^ s->words[f->next] ^ s->values[f->value] ^ s->values[after];
        if (seen(s, hash))
            continue;
        f->chosen = f->next++;
        s->done[f->chosen] = true;
        *ret = (struct frame){.hash = hash,
                              .left = f->left - (op->back != HIST_NEVER),
                              .limit = first_return(s),
                              .value = after};
        return true;
    }
    return false;
}

static enum lin run(struct search *s, struct frame *frames)
{
    unsigned depth = 0;

    frames[0] = (struct frame){.hash = s->values[0], .left = s->must, .limit = first_return(s)};
    for (;;) {
        if (frames[depth].left == 0)
            return LIN_YES;
        if (s->tried > LIN_MEMO / 2)
            return LIN_TOO_COMPLEX;
        if (step(s, &frames[depth], &frames[depth + 1])) {
            depth++;
            continue;
        }
        if (depth == 0)
            return LIN_NO;
        s->done[frames[--depth].chosen] = false;
    }
}

enum lin lin_check(const struct lin_op *list, unsigned n)
{
    struct search s = {.ops = list, .count = n};
    struct frame *frames;
    struct rng rng;
    enum lin r;

    if (n > LIN_OPS_MAX)
        return LIN_TOO_COMPLEX;
    frames = calloc(n + 2, sizeof(*frames));
    s.memo = calloc(LIN_MEMO, sizeof(*s.memo));
    assert(frames && s.memo);
    rng_seed(&rng, 1, 1);
    for (unsigned i = 0; i < n; i++) {
        s.words[i] = rng_next(&rng);
        s.must += list[i].back != HIST_NEVER;
    }
    for (unsigned i = 0; i < LIN_VALUES; i++)
        s.values[i] = rng_next(&rng) | 1;
    r = run(&s, frames);
    free(s.memo);
    free(frames);
    return r;
}
