/* Layers: see layers.h. Invariant: over[] has no gap, over[0] is always there. */
#include "manifests/layers.h"

#include <assert.h>

#define MALLOC_EXTRA 32 /* what the allocator takes for a node and its row, about */

/* ---- overlays */

int overlay_new(struct overlay **ret)
{
    struct overlay *o = calloc(1, sizeof(*o));
    int e = o ? omap_new(free, &o->map) : -ERR_NOMEM;

    if (e < 0) {
        free(o);
        return e;
    }
    atomic_init(&o->refs, 1);
    *ret = o;
    return 0;
}

struct overlay *overlay_ref(struct overlay *o)
{
    if (o)
        atomic_fetch_add_explicit(&o->refs, 1, memory_order_relaxed);
    return o;
}

void overlay_unref(struct overlay *o)
{
    if (!o || atomic_fetch_sub_explicit(&o->refs, 1, memory_order_acq_rel) > 1)
        return;
    omap_free(o->map);
    free(o);
}

size_t overlay_bytes(const struct overlay *o)
{
    return sizeof(*o) + omap_bytes(o->map) + o->row_bytes + omap_count(o->map) * MALLOC_EXTRA;
}

static size_t row_bytes(const struct row *r)
{
    return r ? sizeof(*r) + r->len : 0;
}

static void count_row(struct overlay *o, const struct row *r)
{
    o->row_bytes += row_bytes(r);
    o->blind += r && r->blind ? 1 : 0;
}

static void uncount_row(struct overlay *o, const struct row *r)
{
    o->row_bytes -= row_bytes(r);
    o->blind -= r && r->blind ? 1 : 0;
}

/* Takes row over, also when it fails. */
static int overlay_put(struct overlay *o, struct str key, struct row *row)
{
    struct row *old = omap_get(o->map, key);
    int e;

    if (!row)
        return -ERR_NOMEM;
    uncount_row(o, old); /* which goes */
    e = omap_put(o->map, key, row);
    count_row(o, e < 0 ? old : row);
    if (e < 0)
        free(row);
    return e;
}

/* All of from comes into to, which is what lies lowest when bottom: there nothing needs to say that
 * a record is gone. */
static void overlay_absorb(struct overlay *to, struct overlay *from, bool bottom)
{
    struct omap_node *n;

    while ((n = omap_first(from->map))) {
        struct row *row = omap_value(n), *old;

        assert(!bottom || !row->blind);
        if (row->gone && bottom) {
            uncount_row(to, omap_get(to->map, omap_key(n)));
            omap_remove(to->map, omap_key(n));
            omap_remove(from->map, omap_key(n));
            continue;
        }
        count_row(to, row);
        old = omap_move(to->map, from->map, n);
        uncount_row(to, old);
        free(old);
    }
    from->row_bytes = from->blind = 0;
}

/* ---- life */

int layers_init(struct layers *l)
{
    *l = (struct layers){.wait = true};
    return overlay_new(&l->over[0]);
}

void layers_done(struct layers *l)
{
    for (size_t i = 0; i < LAYERS_MAX; i++)
        overlay_unref(l->over[i]);
    table_unref(l->base);
    *l = (struct layers){.base = NULL};
}

int layers_reset(struct layers *l)
{
    struct layers fresh;
    int e = layers_init(&fresh);

    if (e < 0)
        return e;
    fresh.wait = l->wait;
    fresh.closed = l->closed;
    fresh.files = l->files;
    layers_done(l);
    *l = fresh;
    return 0;
}

size_t layers_memory(const struct layers *l)
{
    size_t bytes = l->base ? table_bytes(l->base) : 0;

    for (size_t i = 0; i < LAYERS_MAX && l->over[i]; i++)
        bytes += overlay_bytes(l->over[i]);
    return bytes;
}

/* How many overlays count; *ret_base: whether the base does. */
static size_t visible(const struct layers *l, bool *ret_base)
{
    size_t n = 0;

    *ret_base = l->base != NULL;
    while (n < LAYERS_MAX && l->over[n])
        if (l->over[n++]->hides) {
            *ret_base = false;
            break;
        }
    return n;
}

/* ---- reading */

void hit_done(struct hit *h)
{
    table_cursor_done(&h->in);
}

int layers_get_above(const struct layers *l, struct str key, struct hit *ret)
{
    bool in_base;
    size_t n = visible(l, &in_base);

    table_cursor_done(&ret->in);
    ret->blind = false;
    if (l->closed)
        return -ERR_UNAVAIL;
    for (size_t i = 0; i < n; i++) {
        const struct row *row = omap_get(l->over[i]->map, key);

        if (!row)
            continue;
        ret->value = row_value(row);
        ret->blind = row->blind;
        return row->gone ? -ERR_NOTFOUND : 0;
    }
    return in_base ? -ERR_AGAIN : -ERR_NOTFOUND;
}

static int get_below(const struct layers *l, struct str key, struct hit *ret,
                     struct err_detail *detail)
{
    int e;

    table_cursor_done(&ret->in);
    table_cursor_init(&ret->in, l->base, l->wait);
    ret->in.files = l->wait ? l->files : NULL;
    ret->in.detail = detail;
    e = table_seek(&ret->in, key);
    if (e == 0 || (e == 1 && !str_eq(ret->in.key, key)))
        return -ERR_NOTFOUND;
    ret->value = ret->in.value;
    return e < 0 ? e : 0;
}

int layers_get(const struct layers *l, struct str key, struct hit *ret, struct err_detail *detail)
{
    int e = layers_get_above(l, key, ret);

    return e == -ERR_AGAIN ? get_below(l, key, ret, detail) : e;
}

void layers_cursor_init(struct layers_cursor *c, const struct layers *l)
{
    *c = (struct layers_cursor){.layers = l};
    table_cursor_init(&c->in, l->base, l->wait);
    c->in.files = l->wait ? l->files : NULL;
}

void layers_cursor_done(struct layers_cursor *c)
{
    table_cursor_done(&c->in);
}

/* The topmost of those that stand on the smallest key, which becomes the cursor's: LAYERS_MAX is
 * the base, LAYERS_MAX + 1 nothing. */
static size_t smallest(struct layers_cursor *c)
{
    size_t best = LAYERS_MAX + 1;

    for (size_t i = 0; i < LAYERS_MAX; i++)
        if (c->at[i] && (best > LAYERS_MAX || str_cmp(omap_key(c->at[i]), c->key) < 0)) {
            c->key = omap_key(c->at[i]);
            best = i;
        }
    if (c->in_base == 1 && (best > LAYERS_MAX || str_cmp(c->in.key, c->key) < 0)) {
        c->key = c->in.key;
        best = LAYERS_MAX;
    }
    return best;
}

/* All that stand on the key move; its bytes lie in one of them, the base, if any, moves last. */
static int step(struct layers_cursor *c)
{
    bool base_too = c->in_base == 1 && str_eq(c->in.key, c->key);

    for (size_t i = 0; i < LAYERS_MAX; i++)
        if (c->at[i] && str_eq(omap_key(c->at[i]), c->key))
            c->at[i] = omap_next(c->layers->over[i]->map, c->at[i]);
    if (base_too)
        c->in_base = table_next(&c->in);
    return c->in_base < 0 ? c->in_base : 0;
}

/* Onto the next record that is not gone. */
static int settle(struct layers_cursor *c)
{
    int e = 0;

    while (e == 0) {
        size_t top = smallest(c);
        const struct row *row;

        if (top > LAYERS_MAX)
            return 0;
        if (top == LAYERS_MAX) {
            c->value = c->in.value;
            return 1;
        }
        row = omap_value(c->at[top]);
        if (!row->gone) {
            c->value = row_value(row);
            return 1;
        }
        e = step(c);
    }
    return e;
}

int layers_seek(struct layers_cursor *c, struct str key)
{
    bool in_base;
    size_t n = visible(c->layers, &in_base);

    if (c->layers->closed)
        return -ERR_UNAVAIL;
    for (size_t i = 0; i < LAYERS_MAX; i++)
        c->at[i] = i < n ? omap_at_least(c->layers->over[i]->map, key) : NULL;
    c->in.detail = c->detail;
    c->in_base = in_base ? table_seek(&c->in, key) : 0;
    return c->in_base < 0 ? c->in_base : settle(c);
}

int layers_next(struct layers_cursor *c)
{
    int e = step(c);

    return e < 0 ? e : settle(c);
}

/* ---- changing */

int layers_begin(const struct layers *l, struct layers *ret)
{
    struct overlay *top;
    int e = overlay_new(&top);

    if (e < 0)
        return e;
    assert(!l->over[LAYERS_MAX - 1]);
    *ret = (struct layers){.over = {top},
                           .base = table_ref(l->base),
                           .bytes = l->bytes,
                           .wait = true,
                           .files = l->files};
    for (size_t i = 0; i + 1 < LAYERS_MAX; i++)
        ret->over[i + 1] = overlay_ref(l->over[i]);
    return 0;
}

static void count(struct layers *l, struct str key, const struct str *old, const struct str *value)
{
    l->bytes += value ? key.len + value->len : 0;
    assert(!old || l->bytes >= key.len + old->len);
    l->bytes -= old ? key.len + old->len : 0;
}

/* Takes row over. value: what it holds, NULL for nothing. */
static int write_row(struct layers *l, struct str key, struct row *row, const struct str *value,
                     const struct str *old)
{
    size_t old_len = old ? old->len : 0; /* the old row may go */
    int e = overlay_put(l->over[0], key, row);

    if (e == 0)
        count(l, key, old ? &(struct str){NULL, old_len} : NULL, value);
    return e;
}

int layers_put(struct layers *l, struct str key, struct str value, const struct str *old)
{
    return write_row(l, key, row_new(value), &value, old);
}

int layers_remove(struct layers *l, struct str key, const struct str *old)
{
    return old ? write_row(l, key, row_gone(), NULL, old) : 0;
}

/* ---- blind changes */

int layers_write_blind(struct layers *l, struct str key, const struct str *value,
                       const struct str *old)
{
    struct row *row = value ? row_new(*value) : row_gone();

    if (row)
        row->blind = true;
    return write_row(l, key, row, value, old);
}

size_t layers_blind(const struct layers *l)
{
    bool in_base;
    size_t n = visible(l, &in_base), blind = 0;

    for (size_t i = 0; i < n; i++)
        blind += l->over[i]->blind;
    return blind;
}

/* Does the i-th overlay say what the record is now? */
static bool is_topmost(const struct layers *l, size_t i, struct str key)
{
    for (size_t above = 0; above < i; above++)
        if (omap_get(l->over[above]->map, key))
            return false;
    return true;
}

int layers_each_blind(const struct layers *l, int (*fn)(struct str key, void *arg), void *arg)
{
    bool in_base;
    size_t n = visible(l, &in_base);
    int r = 0;

    for (size_t i = 0; i < n; i++) {
        struct omap_node *at = l->over[i]->blind > 0 ? omap_first(l->over[i]->map) : NULL;

        for (; r == 0 && at; at = omap_next(l->over[i]->map, at)) {
            const struct row *row = omap_value(at);

            if (row->blind && is_topmost(l, i, omap_key(at)))
                r = fn(omap_key(at), arg);
        }
    }
    return r;
}

int layers_see(struct layers *l, struct str key, struct hit *ret, struct err_detail *detail)
{
    struct hit now auto_hit = {.value = STR_NONE};
    int e = layers_get_above(l, key, &now), below;

    assert((e == 0 || e == -ERR_NOTFOUND) && now.blind);
    below = get_below(l, key, ret, detail);
    if (below < 0 && below != -ERR_NOTFOUND)
        return below;
    e = overlay_put(l->over[0], key, e == 0 ? row_new(now.value) : row_gone());
    if (e < 0)
        return e;
    if (below == 0)
        count(l, key, &ret->value, NULL);
    return below;
}

/* ---- all of it */

int layers_clear(struct layers *l)
{
    struct overlay *fresh;
    int e = overlay_new(&fresh);

    if (e < 0)
        return e;
    fresh->hides = true;
    overlay_unref(l->over[0]);
    l->over[0] = fresh;
    l->bytes = 0;
    return 0;
}

void layers_commit(struct layers *l, struct layers *change)
{
    struct overlay *top = change->over[0];

    if (top->hides) {
        change->over[0] = l->over[0];
        l->over[0] = top;
    } else {
        overlay_absorb(l->over[0], top, l->over[0]->hides || (!l->over[1] && !l->base));
    }
    l->bytes = change->bytes;
}

/* ---- checkpoints */

int layers_freeze(struct layers *l)
{
    struct overlay *fresh;
    int e = overlay_new(&fresh);

    if (e < 0)
        return e;
    assert(l->over[0]->blind == 0);
    if (l->over[1] && !l->over[0]->hides)
        overlay_absorb(l->over[1], l->over[0], l->over[1]->hides || !l->base);
    if (l->over[1] && !l->over[0]->hides) {
        overlay_unref(l->over[0]);
    } else {
        overlay_unref(l->over[1]);
        l->over[1] = l->over[0];
    }
    l->over[0] = fresh;
    return 0;
}

struct overlay *layers_frozen(const struct layers *l)
{
    return l->over[1];
}

void layers_rebase(struct layers *l, struct table *base)
{
    overlay_unref(l->over[1]);
    l->over[1] = NULL;
    table_unref(l->base);
    l->base = table_ref(base);
}
