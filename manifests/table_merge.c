/* New tables. The records of the old table and the changes are merged in order; of the result each
 * record decides by itself whether the part ends behind it, from the bytes since the part's start
 * and a hash of its key. So a part depends on its own records alone, and one that no change touches
 * is taken over unread, as long as the one before it ended where it did in the old table. */
#include <assert.h>

#include "base/crc.h"
#include "manifests/table_internal.h"

const struct table_limits table_limits = {.block = 16u << 10,
                                          .part_min = 256u << 10,
                                          .part_mean = 1u << 20,
                                          .part_max = 4u << 20,
                                          .inline_max = 128u << 10};

struct merge {
    const struct table_limits *limits;
    const struct table_spec *spec;
    struct table *base, *made;
    table_emit_fn emit;
    void *arg;
    struct err_detail *detail;

    /* The part in the making. */
    struct buf part, last;
    struct block_maker block, index;
    uint64_t records;
    size_t part_bytes, block_bytes; /* of records */

    /* The first part waits here until a second one shows that it is an object. */
    struct buf first;
};

static void merge_init(struct merge *m)
{
    m->part = BUF_INIT(TABLE_PART_BYTES);
    m->first = BUF_INIT(TABLE_PART_BYTES);
    m->last = BUF_INIT(TABLE_KEY_MAX);
    block_maker_init(&m->block);
    block_maker_init(&m->index);
}

static void merge_done(struct merge *m)
{
    buf_done(&m->part);
    buf_done(&m->first);
    buf_done(&m->last);
    block_maker_done(&m->block);
    block_maker_done(&m->index);
    table_unref(m->made);
}

/* ---- parts */

static int flush_first(struct merge *m)
{
    int e = 0;

    if (m->first.len > 0 && m->emit)
        e = m->emit(m->arg, table_part(m->made, 0), buf_str(&m->first));
    buf_done(&m->first);
    return e;
}

static int end_block(struct merge *m)
{
    struct buf place auto_buf = BUF_INIT(2 * PACK_NUMBER_MAX);
    size_t start = m->part.len;
    int e = block_maker_end(&m->block, &m->part);

    if (e < 0)
        return e;
    pack_u64(&place, start);
    pack_u64(&place, m->part.len - start);
    if (buf_err(&place) < 0)
        return buf_err(&place);
    block_maker_add(&m->index, buf_str(&m->last), buf_str(&place));
    m->block_bytes = 0;
    return 0;
}

static int end_part(struct merge *m)
{
    struct table_part p = {.last = buf_str(&m->last), .records = m->records};
    size_t before;
    int e = m->block.count > 0 ? end_block(m) : 0;

    before = m->part.len;
    if (e == 0)
        e = block_maker_end(&m->index, &m->part);
    if (e < 0)
        return e;
    p.bytes = m->part.len;
    p.index = m->part.len - before;
    digest_of(DIGEST_SHA256, buf_str(&m->part), &p.sha);
    e = flush_first(m);
    if (e == 0)
        e = table_add_part(m->made, &p);
    if (e == 0 && table_part_count(m->made) == 1) {
        m->first = m->part;
        m->part = BUF_INIT(TABLE_PART_BYTES);
    } else if (e == 0 && m->emit) {
        e = m->emit(m->arg, &p, buf_str(&m->part));
    }
    buf_clear(&m->part);
    m->records = 0;
    m->part_bytes = 0;
    return e;
}

/* A hash that spreads: the last step of MurmurHash3 over a CRC. */
static uint32_t spread(struct str key)
{
    uint32_t h = crc32c(key);

    h = (h ^ (h >> 16)) * 0x85ebca6bu;
    h = (h ^ (h >> 13)) * 0xc2b2ae35u;
    return h ^ (h >> 16);
}

/* Longer records end parts more often, so that parts are of one size whatever they hold. */
static bool ends_part(const struct merge *m, struct str key, size_t record_bytes)
{
    const struct table_limits *l = m->limits;
    uint64_t chance = (uint64_t)record_bytes * (UINT32_MAX / (l->part_mean - l->part_min));

    return m->part_bytes >= l->part_max || (m->part_bytes >= l->part_min && spread(key) < chance);
}

static int add(struct merge *m, struct str key, struct str value)
{
    size_t bytes = block_record_bytes(key, value);
    int e = 0;

    /* A long record lies alone. */
    if (bytes >= m->limits->block && m->block.count > 0)
        e = end_block(m);
    if (e < 0)
        return e;
    block_maker_add(&m->block, key, value);
    buf_clear(&m->last);
    buf_add(&m->last, key);
    if (buf_err(&m->last) < 0)
        return buf_err(&m->last);
    m->records++;
    m->block_bytes += bytes;
    m->part_bytes += bytes;
    if (m->block_bytes >= m->limits->block)
        e = end_block(m);
    if (e == 0 && ends_part(m, key, bytes))
        e = end_part(m);
    return e;
}

/* ---- merging */

static int add_change(struct merge *m, struct omap_node *n)
{
    const struct row *r = omap_value(n);

    return r->gone ? 0 : add(m, omap_key(n), row_value(r));
}

/* *next: the first change that is not merged yet; NULL: none. */
static int merge_block(struct merge *m, const struct omap *changes, const struct view *v,
                       struct omap_node **next)
{
    int e = 0;

    for (uint32_t i = 0; e == 0 && i < v->count; i++) {
        struct str key, value;
        int c = 1;

        view_record(v, i, &key, &value);
        while (e == 0 && *next && (c = str_cmp(omap_key(*next), key)) <= 0) {
            e = add_change(m, *next);
            *next = omap_next(changes, *next);
            if (c == 0)
                break;
        }
        if (e == 0 && c != 0)
            e = add(m, key, value);
    }
    return e;
}

/* The blocks of a part in order, found by its index. */
static int merge_part(struct merge *m, const struct omap *changes, size_t i,
                      struct omap_node **next)
{
    const struct table_part *p = table_part(m->base, i);
    struct buf bytes auto_buf = BUF_INIT(TABLE_PART_BYTES);
    struct view index, block;
    int e = table_read(m->base, i, 0, p->bytes, &bytes, m->detail);

    if (e < 0)
        return e;
    if (view_parse(str_skip(buf_str(&bytes), (size_t)(p->bytes - p->index)), &index) < 0)
        return table_damaged(m->base, i, m->detail, "is damaged");
    for (uint32_t b = 0; e == 0 && b < index.count; b++) {
        struct str rest = buf_str(&bytes);
        uint64_t offset, len;

        if (!view_place(&index, b, &offset, &len) || offset > rest.len ||
            view_parse(str_head(str_skip(rest, (size_t)offset), (size_t)len), &block) < 0)
            return table_damaged(m->base, i, m->detail, "is damaged");
        e = merge_block(m, changes, &block, next);
    }
    return e;
}

/* Between two parts, and no change up to the end of this one; of the last part, which ends for want
 * of records, none behind it either. */
static bool stays(const struct merge *m, size_t i, const struct omap_node *next)
{
    bool last = i + 1 == table_part_count(m->base);

    return m->records == 0 && table_inline(m->base).len == 0 &&
           (!next || (!last && str_cmp(omap_key(next), table_part(m->base, i)->last) > 0));
}

static int keep(struct merge *m, size_t i)
{
    int e = flush_first(m);

    return e < 0 ? e : table_add_part(m->made, table_part(m->base, i));
}

/* A single part that is small lies in the head, whether it was made now or taken over. */
static int settle(struct merge *m)
{
    const struct table_part *p;
    int e = 0;

    if (table_part_count(m->made) != 1)
        return flush_first(m);
    p = table_part(m->made, 0);
    if (p->bytes > m->limits->inline_max)
        return flush_first(m);
    if (m->first.len == 0) {
        for (size_t i = 0; i < table_part_count(m->base); i++)
            if (digest_eq(&table_part(m->base, i)->sha, &p->sha))
                e = table_read(m->base, i, 0, p->bytes, &m->first, m->detail);
        if (e < 0)
            return e;
    }
    e = table_set_inline(m->made, buf_str(&m->first));
    return e == -ERR_CORRUPT ? err_set(m->detail, e, "checkpoint part: is damaged") : e;
}

static int run(struct merge *m, const struct omap *changes)
{
    struct omap_node *next = omap_first(changes);
    int e = 0;

    for (size_t i = 0; e == 0 && m->base && i < table_part_count(m->base); i++) {
        if (stays(m, i, next))
            e = keep(m, i);
        else
            e = merge_part(m, changes, i, &next);
    }
    for (; e == 0 && next; next = omap_next(changes, next))
        e = add_change(m, next);
    if (e == 0 && m->records > 0)
        e = end_part(m);
    return e < 0 ? e : settle(m);
}

int table_merge(const struct table_spec *spec, const struct table_limits *limits,
                struct table *base, const struct omap *changes, table_emit_fn emit, void *arg,
                struct table **ret, struct err_detail *detail)
{
    struct merge m auto_of(merge_done) = {
        .limits = limits, .spec = spec, .base = base, .emit = emit, .arg = arg, .detail = detail};
    int e;

    merge_init(&m);
    e = table_new(spec, &m.made);
    if (e == 0)
        e = run(&m, changes);
    if (e < 0)
        return e;
    *ret = STEAL(m.made);
    return 0;
}

int table_check_part(struct table *t, size_t i, struct err_detail *detail)
{
    const struct table_part *p = table_part(t, i);
    struct buf bytes auto_buf = BUF_INIT(TABLE_PART_BYTES);
    struct digest sha;
    int e = table_read(t, i, 0, p->bytes, &bytes, detail);

    if (e < 0)
        return e;
    digest_of(DIGEST_SHA256, buf_str(&bytes), &sha);
    if (!digest_eq(&sha, &p->sha))
        return table_damaged(t, i, detail, "has other bytes");
    cache_note_good(t->cache, p->sha.bytes);
    return 0;
}
