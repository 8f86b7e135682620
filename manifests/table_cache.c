/* Blocks in memory. Least recently used go first, but none that somebody holds: so what a request
 * has pinned is found again under a lock, where nothing may be read. Holders are few and hold
 * little, which bounds by how much the cache may pass its maximum. */
#include <assert.h>

#include "base/metrics.h"
#include "base/thread.h"
#include "manifests/table_internal.h"

#define BUCKETS   4096
#define EVICT_TRY 64  /* blocks looked at for one to evict */
#define BAD_MAX   256 /* parts remembered as damaged; the oldest is forgotten */

struct table_cache {
    atomic_uint refs;
    size_t bytes_max;
    struct mutex mu; /* guards all below */
    struct block *buckets[BUCKETS];
    struct block *newest, *oldest;
    size_t bytes;
    uint8_t bad[BAD_MAX][32];
    size_t bad_count, bad_next;
};

int table_cache_new(size_t bytes_max, struct table_cache **ret)
{
    struct table_cache *c = calloc(1, sizeof(*c));

    if (!c)
        return -ERR_NOMEM;
    c->bytes_max = bytes_max;
    atomic_init(&c->refs, 1);
    mutex_init(&c->mu);
    *ret = c;
    return 0;
}

struct table_cache *table_cache_ref(struct table_cache *c)
{
    atomic_fetch_add_explicit(&c->refs, 1, memory_order_relaxed);
    return c;
}

/* ---- blocks */

struct block *block_new(const struct block_name *name, struct buf *bytes)
{
    struct block *b = calloc(1, sizeof(*b));

    if (!b)
        return NULL;
    b->name = *name;
    b->bytes = *bytes;
    *bytes = BUF_INIT(bytes->max);
    atomic_init(&b->refs, 1);
    return b;
}

struct block *block_ref(struct block *b)
{
    atomic_fetch_add_explicit(&b->refs, 1, memory_order_relaxed);
    return b;
}

void block_unref(struct block *b)
{
    if (b && atomic_fetch_sub_explicit(&b->refs, 1, memory_order_acq_rel) == 1) {
        buf_done(&b->bytes);
        free(b);
    }
}

static size_t block_size(const struct block *b)
{
    return sizeof(*b) + b->bytes.cap;
}

/* A part's name is a digest already. */
static size_t bucket_of(const struct block_name *name)
{
    uint64_t h;

    memcpy(&h, name->part, sizeof(h));
    return (size_t)((h ^ (name->offset * 0x9e3779b97f4a7c15u)) >> 20) % BUCKETS;
}

static bool same(const struct block_name *a, const struct block_name *b)
{
    return a->offset == b->offset && memcmp(a->part, b->part, sizeof(a->part)) == 0;
}

/* ---- the lists; under the mutex */

static void list_remove(struct table_cache *c, struct block *b)
{
    *(b->newer ? &b->newer->older : &c->newest) = b->older;
    *(b->older ? &b->older->newer : &c->oldest) = b->newer;
    b->newer = b->older = NULL;
}

static void list_add(struct table_cache *c, struct block *b)
{
    b->older = c->newest;
    if (b->older)
        b->older->newer = b;
    else
        c->oldest = b;
    c->newest = b;
}

static struct block *find(struct table_cache *c, const struct block_name *name)
{
    struct block *b = c->buckets[bucket_of(name)];

    while (b && !same(&b->name, name))
        b = b->chain;
    return b;
}

static void take_out(struct table_cache *c, struct block *b)
{
    struct block **at = &c->buckets[bucket_of(&b->name)];

    while (*at != b)
        at = &(*at)->chain;
    *at = b->chain;
    list_remove(c, b);
    c->bytes -= block_size(b);
    metric_add(METRIC_table_cache_bytes, -(int64_t)block_size(b));
    block_unref(b);
}

/* Only the cache makes references out of nothing, so one that it alone holds stays so. */
static void evict(struct table_cache *c)
{
    struct block *b = c->oldest;

    for (int i = 0; b && c->bytes > c->bytes_max && i < EVICT_TRY; i++) {
        struct block *next = b->newer;

        if (atomic_load_explicit(&b->refs, memory_order_acquire) == 1)
            take_out(c, b);
        b = next;
    }
}

/* ---- for tables */

struct block *cache_get(struct table_cache *c, const struct block_name *name)
{
    struct block *b;

    mutex_lock(&c->mu);
    b = find(c, name);
    if (b) {
        block_ref(b);
        if (c->newest != b) {
            list_remove(c, b);
            list_add(c, b);
        }
    }
    mutex_unlock(&c->mu);
    return b;
}

struct block *cache_put(struct table_cache *c, struct block *b)
{
    struct block *have;

    mutex_lock(&c->mu);
    have = find(c, &b->name);
    if (have) {
        block_ref(have);
    } else {
        struct block **at = &c->buckets[bucket_of(&b->name)];

        have = block_ref(b); /* the cache's */
        b->chain = *at;
        *at = b;
        list_add(c, b);
        c->bytes += block_size(b);
        metric_add(METRIC_table_cache_bytes, (int64_t)block_size(b));
        evict(c);
    }
    mutex_unlock(&c->mu);
    if (have != b)
        block_unref(b);
    return have;
}

size_t table_cache_bytes(struct table_cache *c)
{
    size_t bytes;

    mutex_lock(&c->mu);
    bytes = c->bytes;
    mutex_unlock(&c->mu);
    return bytes;
}

void table_cache_free(struct table_cache *c)
{
    if (!c || atomic_fetch_sub_explicit(&c->refs, 1, memory_order_acq_rel) > 1)
        return;
    while (c->newest) {
        assert(atomic_load(&c->newest->refs) == 1);
        take_out(c, c->newest);
    }
    mutex_done(&c->mu);
    free(c);
}

/* ---- damaged parts; under the mutex but for the last three */

static size_t find_bad(const struct table_cache *c, const uint8_t part[32])
{
    size_t i = 0;

    while (i < c->bad_count && memcmp(c->bad[i], part, sizeof(c->bad[i])) != 0)
        i++;
    return i;
}

void cache_note_bad(struct table_cache *c, const uint8_t part[32])
{
    mutex_lock(&c->mu);
    if (find_bad(c, part) == c->bad_count) {
        memcpy(c->bad[c->bad_next], part, sizeof(c->bad[0]));
        c->bad_next = (c->bad_next + 1) % BAD_MAX;
        c->bad_count += c->bad_count < BAD_MAX ? 1 : 0;
    }
    mutex_unlock(&c->mu);
}

void cache_note_good(struct table_cache *c, const uint8_t part[32])
{
    size_t i;

    mutex_lock(&c->mu);
    i = find_bad(c, part);
    if (i < c->bad_count)
        memset(c->bad[i], 0, sizeof(c->bad[i])); /* no part has this name */
    mutex_unlock(&c->mu);
}

bool cache_is_bad(struct table_cache *c, const uint8_t part[32])
{
    bool bad;

    mutex_lock(&c->mu);
    bad = find_bad(c, part) < c->bad_count;
    mutex_unlock(&c->mu);
    return bad;
}
