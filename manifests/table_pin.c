/* Holding blocks for a request: those that are not in memory are read side by side, first the
 * indexes of the parts, then the blocks; each read is a request where the store is far away. */
#include <assert.h>

#include "base/metrics.h"
#include "manifests/table_internal.h"

#define TOGETHER_MAX 32 /* reads at once */

/* A block that is wanted. */
struct want {
    size_t part;
    uint64_t offset, len;
};

struct fetch {
    struct want want[TOGETHER_MAX];
    struct store_op ops[TOGETHER_MAX];
    struct buf keys[TOGETHER_MAX], bytes[TOGETHER_MAX];
    size_t count;
};

static void fetch_freep(struct fetch **f)
{
    for (size_t i = 0; *f && i < TOGETHER_MAX; i++) {
        buf_done(&(*f)->keys[i]);
        buf_done(&(*f)->bytes[i]);
    }
    free(*f);
}

static bool wanted(const struct fetch *f, const struct want *w)
{
    for (size_t i = 0; i < f->count; i++)
        if (f->want[i].part == w->part && f->want[i].offset == w->offset)
            return true;
    return false;
}

static void name_of(const struct table *t, const struct want *w, struct block_name *ret)
{
    memcpy(ret->part, t->parts[w->part].sha.bytes, sizeof(ret->part));
    ret->offset = w->offset;
}

/* One that was read into memory; damage is left to whoever asks for it by itself. */
static int keep(struct table *t, const struct want *w, struct buf *bytes, struct pins *pins)
{
    struct block_name name;
    struct block *b;
    int e;

    name_of(t, w, &name);
    b = bytes->len == w->len ? block_new(&name, bytes) : NULL;
    if (!b)
        return 0;
    if (view_parse(buf_str(&b->bytes), &b->view) < 0) {
        block_unref(b);
        return 0;
    }
    metric_add(METRIC_table_blocks_read_total, 1);
    b = cache_put(t->cache, b);
    e = pins_add(pins, b);
    block_unref(b);
    return e;
}

static int fetch_run(struct table *t, struct fetch *f, struct pins *pins)
{
    int e = 0;

    if (f->count < 2) { /* alone it is read by who asks for it */
        f->count = 0;
        return 0;
    }
    for (size_t i = 0; i < f->count; i++) {
        buf_clear(&f->keys[i]);
        buf_clear(&f->bytes[i]);
        table_part_key(t, f->want[i].part, &f->keys[i]);
        f->ops[i] = (struct store_op){.kind = STORE_OP_GET,
                                      .key = buf_str(&f->keys[i]),
                                      .offset = f->want[i].offset,
                                      .len = f->want[i].len,
                                      .out = &f->bytes[i]};
        if (buf_err(&f->keys[i]) < 0)
            return -ERR_NOMEM;
    }
    store_run(t->store, f->ops, f->count);
    for (size_t i = 0; e == 0 && i < f->count; i++)
        if (f->ops[i].result == 0)
            e = keep(t, &f->want[i], &f->bytes[i], pins);
    f->count = 0;
    return e;
}

/* Adds a block that is not in memory; runs when there are enough. */
static int fetch_add(struct table *t, struct fetch *f, struct want w, struct pins *pins)
{
    struct block_name name;
    struct block *have;

    if (wanted(f, &w))
        return 0;
    name_of(t, &w, &name);
    have = cache_get(t->cache, &name);
    if (have) {
        int e = pins_add(pins, have);

        block_unref(have);
        return e;
    }
    f->want[f->count++] = w;
    return f->count == TOGETHER_MAX ? fetch_run(t, f, pins) : 0;
}

/* Where the key's block is, as far as that is in memory. */
static bool place_of(struct table *t, struct str key, struct want *ret)
{
    const struct table_part *p;
    struct want index;
    struct block_name name;
    struct block *b;
    uint32_t at;
    bool found = false;

    index.part = table_part_of(t, key);
    if (index.part == t->count)
        return false;
    p = &t->parts[index.part];
    index.offset = p->bytes - p->index;
    name_of(t, &index, &name);
    b = cache_get(t->cache, &name);
    if (!b)
        return false;
    at = view_at_least(&b->view, key);
    ret->part = index.part;
    if (at < b->view.count && view_place(&b->view, at, &ret->offset, &ret->len))
        found = ret->offset + ret->len <= p->bytes - p->index;
    block_unref(b);
    return found;
}

static int fetch_all(struct table *t, const struct str *keys, size_t count, struct pins *pins)
{
    struct fetch *f auto_of(fetch_freep) = calloc(1, sizeof(*f));
    int e = f ? 0 : -ERR_NOMEM;

    for (size_t i = 0; e == 0 && i < TOGETHER_MAX; i++) {
        f->keys[i] = BUF_INIT(STORE_KEY_MAX);
        f->bytes[i] = BUF_INIT(BLOCK_BYTES_MAX);
    }
    for (size_t i = 0; e == 0 && i < count; i++) {
        struct want w = {.part = table_part_of(t, keys[i])};

        if (w.part == t->count)
            continue;
        w.len = t->parts[w.part].index;
        w.offset = t->parts[w.part].bytes - w.len;
        e = fetch_add(t, f, w, pins);
    }
    if (e == 0)
        e = fetch_run(t, f, pins);
    for (size_t i = 0; e == 0 && i < count; i++) {
        struct want w;

        if (place_of(t, keys[i], &w))
            e = fetch_add(t, f, w, pins);
    }
    return e == 0 ? fetch_run(t, f, pins) : e;
}

int table_pin(struct table *t, const struct str *keys, size_t count, struct pins *pins,
              struct err_detail *detail)
{
    int e = count > 1 && t->at_hand.len == 0 ? fetch_all(t, keys, count, pins) : 0;

    for (size_t i = 0; e >= 0 && i < count; i++) {
        struct table_cursor c auto_table_cursor = {
            .table = t, .wait = true, .pins = pins, .detail = detail};

        e = table_seek(&c, keys[i]);
    }
    return e < 0 ? e : 0;
}
