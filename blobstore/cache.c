/* The index of the cache: which blocks are here, which are being fetched, who was used last.
 *
 * A block is in the index from the moment its fetch begins (so that its room is counted, C3) until
 * it is dropped. Its file may be gone at any time; whoever finds that drops the block. */
#include "blobstore/cache.h"

#include <assert.h>
#include <stdlib.h>

#include "base/fd.h"
#include "base/log.h"
#include "base/metrics.h"
#include "base/omap.h"
#include "base/thread.h"
#include "blobstore/cache_internal.h"

#define BLOCKS_MAX (CACHE_READ_MAX / CACHE_BLOCK + 1) /* that one read touches */
#define VICTIMS    16                                 /* dropped under one hold of the lock */

struct object {
    uint64_t here; /* blocks on disk */
    bool verified; /* hashed whole (C2) */
};

struct block {
    struct block *newer, *older; /* by use; only when here */
    uint64_t bytes;              /* of the file */
    bool filling;
    char name[]; /* of the file: the map's key */
};

struct cache {
    int dir, lock;
    uint64_t bytes_max;

    struct mutex mu;      /* guards all below */
    struct cond filled;   /* some fetch has ended */
    struct omap *blocks;  /* file name -> struct block */
    struct omap *objects; /* id -> struct object; those with a block here */
    struct block *newest, *oldest;
    uint64_t bytes;   /* of files: here, being filled, being removed */
    uint64_t leaving; /* of those: being removed */
};

/* ---- index; locked */

static struct str id_of(const char *name)
{
    return str_make(name, strcspn(name, "."));
}

static void unlist(struct cache *c, struct block *b)
{
    *(b->newer ? &b->newer->older : &c->newest) = b->older;
    *(b->older ? &b->older->newer : &c->oldest) = b->newer;
    b->newer = b->older = NULL;
}

static void list(struct cache *c, struct block *b)
{
    b->older = c->newest;
    *(c->newest ? &c->newest->newer : &c->oldest) = b;
    c->newest = b;
}

static void leave_object(struct cache *c, struct str id)
{
    struct object *o = omap_get(c->objects, id);

    if (o && --o->here == 0)
        omap_remove(c->objects, id);
    else if (o)
        o->verified = false;
}

/* Out of the index; its bytes are still counted. Returns them. */
static uint64_t drop(struct cache *c, struct block *b)
{
    uint64_t bytes = b->bytes;

    if (!b->filling) {
        unlist(c, b);
        leave_object(c, id_of(b->name));
    }
    omap_remove(c->blocks, str_of(b->name));
    return bytes;
}

/* Its file is gone, or never came. */
static void uncount(struct cache *c, uint64_t bytes)
{
    c->bytes -= bytes;
    metric_set(METRIC_cache_bytes, (int64_t)c->bytes);
}

/* A new block, being filled; NULL: no memory. */
static struct block *begin(struct cache *c, const char *name, uint64_t bytes)
{
    struct block *b = calloc(1, sizeof(*b) + strlen(name) + 1);

    if (!b)
        return NULL;
    memcpy(b->name, name, strlen(name) + 1);
    b->bytes = bytes;
    b->filling = true;
    if (omap_put(c->blocks, str_of(name), b) < 0) {
        free(b);
        return NULL;
    }
    c->bytes += bytes;
    metric_set(METRIC_cache_bytes, (int64_t)c->bytes);
    return b;
}

/* The file is there. false: no memory, the block is dropped. */
static bool arrived(struct cache *c, struct block *b)
{
    struct str id = id_of(b->name);
    struct object *o = omap_get(c->objects, id);

    if (!o) {
        o = calloc(1, sizeof(*o));
        if (o && omap_put(c->objects, id, o) < 0) {
            free(o);
            o = NULL;
        }
    }
    if (!o) {
        uncount(c, drop(c, b));
        return false;
    }
    o->here++;
    b->filling = false;
    list(c, b);
    return true;
}

/* ---- room */

/* Drops the least recently used until so many bytes fit; false: they cannot. A dropped block counts
 * until its file is gone (C3). Not locked. */
static bool make_room(struct cache *c, uint64_t bytes)
{
    for (;;) {
        char names[VICTIMS][CACHE_NAME_MAX];
        uint64_t freed = 0;
        unsigned count = 0;
        bool fits;

        mutex_lock(&c->mu);
        while (c->bytes - c->leaving + bytes > c->bytes_max && c->oldest && count < VICTIMS) {
            memcpy(names[count++], c->oldest->name, strlen(c->oldest->name) + 1);
            c->leaving += c->oldest->bytes;
            freed += drop(c, c->oldest);
        }
        mutex_unlock(&c->mu);
        for (unsigned i = 0; i < count; i++)
            cache_file_remove(c->dir, names[i]);
        mutex_lock(&c->mu);
        c->leaving -= freed;
        uncount(c, freed);
        fits = c->bytes + bytes <= c->bytes_max && omap_count(c->blocks) < CACHE_FILES_MAX;
        mutex_unlock(&c->mu);
        if (fits || count == 0)
            return fits;
    }
}

static void forget(struct cache *c, const char *name)
{
    uint64_t bytes = 0;
    struct block *b;

    mutex_lock(&c->mu);
    b = omap_get(c->blocks, str_of(name));
    if (b && !b->filling)
        bytes = drop(c, b);
    mutex_unlock(&c->mu);
    cache_file_remove(c->dir, name);
    mutex_lock(&c->mu);
    uncount(c, bytes);
    mutex_unlock(&c->mu);
}

/* ---- life */

static int take_over(const char *name, uint64_t bytes, void *arg)
{
    struct cache *c = arg;
    struct block *b;

    if (strlen(name) >= CACHE_NAME_MAX || strcspn(name, ".") + 9 != strlen(name) ||
        bytes <= CACHE_HEADER_BYTES || bytes > CACHE_HEADER_BYTES + CACHE_BLOCK ||
        omap_get(c->blocks, str_of(name)))
        return 0;
    b = begin(c, name, bytes);
    return b && arrived(c, b) ? 0 : -ERR_NOMEM;
}

int cache_open(const char *dir, uint64_t bytes_max, struct cache **ret, struct err_detail *detail)
{
    struct cache *c = calloc(1, sizeof(*c));
    int e;

    assert(dir && ret && bytes_max >= CACHE_BYTES_MIN);
    if (!c)
        return -ERR_NOMEM;
    c->dir = c->lock = -1;
    c->bytes_max = bytes_max;
    mutex_init(&c->mu);
    cond_init(&c->filled);
    e = cache_dir_open(dir, &c->dir, &c->lock, detail);
    if (e == 0)
        e = omap_new(free, &c->blocks);
    if (e == 0)
        e = omap_new(free, &c->objects);
    if (e == 0)
        e = cache_dir_list(c->dir, take_over, c);
    if (e < 0) {
        cache_free(c);
        return e;
    }
    (void)make_room(c, 0);
    *ret = c;
    return 0;
}

void cache_free(struct cache *c)
{
    if (!c)
        return;
    omap_free(c->blocks);
    omap_free(c->objects);
    fd_closep(&c->dir);
    fd_closep(&c->lock);
    cond_done(&c->filled);
    mutex_done(&c->mu);
    free(c);
}

uint64_t cache_bytes(struct cache *c)
{
    uint64_t bytes;

    mutex_lock(&c->mu);
    bytes = c->bytes;
    mutex_unlock(&c->mu);
    return bytes;
}

/* ---- one read: what is here is read, what nobody fetches is claimed and fetched, and only then,
 * with nothing claimed any more, others' fetches are waited for. So no two reads wait for each
 * other. */

enum state { HERE, CLAIMED, OTHERS, BARE /* fetched without being kept */ };

struct read {
    struct cache *cache;
    const struct cache_object *object;
    cache_fetch_fn fetch;
    void *arg;
    struct err_detail *detail;
    uint64_t first; /* block */
    size_t count;
    enum state state[BLOCKS_MAX];
    struct buf block[BLOCKS_MAX];
};

static size_t block_len(const struct read *r, size_t i)
{
    uint64_t left = r->object->size - (r->first + i) * CACHE_BLOCK;

    return left < CACHE_BLOCK ? (size_t)left : CACHE_BLOCK;
}

static void name_of(const struct read *r, size_t i, char out[CACHE_NAME_MAX])
{
    cache_file_name(r->object->id, r->first + i, out);
}

/* Locked. */
static bool look(struct cache *c, const char *name, enum state *ret)
{
    struct block *b = omap_get(c->blocks, str_of(name));

    if (!b)
        return false;
    *ret = b->filling ? OTHERS : HERE;
    if (!b->filling && c->newest != b) {
        unlist(c, b);
        list(c, b);
    }
    return true;
}

static void claim(struct read *r, size_t i)
{
    struct cache *c = r->cache;
    uint64_t bytes = CACHE_HEADER_BYTES + block_len(r, i);
    char name[CACHE_NAME_MAX];
    bool known, room;

    name_of(r, i, name);
    mutex_lock(&c->mu);
    known = look(c, name, &r->state[i]);
    mutex_unlock(&c->mu);
    if (known)
        return;
    room = make_room(c, bytes);
    mutex_lock(&c->mu);
    if (!look(c, name, &r->state[i]))
        r->state[i] =
            room && c->bytes + bytes <= c->bytes_max && begin(c, name, bytes) ? CLAIMED : BARE;
    mutex_unlock(&c->mu);
}

/* After a fetch, whatever came of it: nobody waits any longer. kept: the file is there. true: this
 * was the object's last missing block. */
static bool publish(struct read *r, size_t i, bool kept)
{
    struct cache *c = r->cache;
    uint64_t blocks = (r->object->size + CACHE_BLOCK - 1) / CACHE_BLOCK;
    char name[CACHE_NAME_MAX];
    struct object *o = NULL;
    struct block *b;

    name_of(r, i, name);
    mutex_lock(&c->mu);
    b = omap_get(c->blocks, str_of(name));
    assert(b && b->filling);
    if (kept && arrived(c, b))
        o = omap_get(c->objects, r->object->id);
    else if (!kept)
        uncount(c, drop(c, b));
    kept = o && o->here == blocks && !o->verified;
    cond_broadcast(&c->filled);
    mutex_unlock(&c->mu);
    return kept;
}

/* What is not there after all is to be fetched without being kept. */
static void read_here(struct read *r, size_t i)
{
    char name[CACHE_NAME_MAX];
    int e;

    name_of(r, i, name);
    e = cache_file_read(r->cache->dir, name, block_len(r, i), &r->block[i]);
    if (e == 0) {
        metric_add(METRIC_cache_hits_total, 1);
        return;
    }
    if (e == -ERR_CORRUPT)
        log_warn("cache.damaged", KV_S("block", name));
    forget(r->cache, name);
    r->state[i] = BARE;
}

/* Fetches blocks [from, to) in one piece and cuts it. */
static int fetch_run(struct read *r, size_t from, size_t to)
{
    struct buf bytes auto_buf = BUF_INIT((to - from) * CACHE_BLOCK);
    size_t len = 0, at = 0;
    int e;

    for (size_t i = from; i < to; i++)
        len += block_len(r, i);
    metric_add(METRIC_cache_misses_total, (int64_t)(to - from));
    e = r->fetch(r->arg, (r->first + from) * CACHE_BLOCK, len, &bytes, r->detail);
    if (e == 0 && bytes.len != len)
        e = -ERR_CORRUPT;
    for (size_t i = from; e == 0 && i < to; at += block_len(r, i), i++) {
        buf_add(&r->block[i], str_make(bytes.at + at, block_len(r, i)));
        e = buf_err(&r->block[i]);
    }
    return e;
}

/* C2. */
static int verify(struct read *r)
{
    struct cache *c = r->cache;
    struct buf bytes auto_buf = BUF_INIT(CACHE_BLOCK);
    struct hasher h;
    struct digest found;
    struct object *o;
    char name[CACHE_NAME_MAX];
    uint64_t left = r->object->size, count = 0;

    hasher_init(&h, r->object->digest->alg);
    for (; left > 0; count++) {
        size_t len = left < CACHE_BLOCK ? (size_t)left : CACHE_BLOCK;

        cache_file_name(r->object->id, count, name);
        buf_clear(&bytes);
        if (cache_file_read(c->dir, name, len, &bytes) < 0)
            return 0; /* gone or damaged meanwhile: its next reader finds that */
        hasher_add(&h, buf_str(&bytes));
        left -= len;
    }
    hasher_final(&h, &found);
    if (digest_eq(&found, r->object->digest)) {
        mutex_lock(&c->mu);
        o = omap_get(c->objects, r->object->id);
        if (o)
            o->verified = true;
        mutex_unlock(&c->mu);
        return 0;
    }
    log_alarm("cache.digest", (const struct log_kv[]){KV_V("id", r->object->id), KV_END});
    while (count-- > 0) {
        cache_file_name(r->object->id, count, name);
        forget(c, name);
    }
    return err_set(r->detail, -ERR_CORRUPT, "the store gave bytes of another digest");
}

static int fill(struct read *r, size_t from, size_t to)
{
    int e = fetch_run(r, from, to);
    bool complete = false;

    for (size_t i = from; i < to; i++) {
        char name[CACHE_NAME_MAX];

        if (r->state[i] != CLAIMED)
            continue;
        name_of(r, i, name);
        complete |= publish(
            r, i, e == 0 && cache_file_write(r->cache->dir, name, buf_str(&r->block[i])) == 0);
    }
    return e == 0 && complete ? verify(r) : e;
}

static bool to_fetch(const struct read *r, size_t i)
{
    return r->state[i] == CLAIMED || r->state[i] == BARE;
}

/* Runs of blocks that are fetched; after an error what is claimed is still given up. */
static int fill_all(struct read *r)
{
    int e = 0;

    for (size_t i = 0, to; i < r->count; i = to) {
        to = i + 1;
        if (!to_fetch(r, i) || r->block[i].len > 0)
            continue;
        while (to < r->count && to_fetch(r, to) && r->block[to].len == 0)
            to++;
        if (e == 0) {
            e = fill(r, i, to);
            continue;
        }
        for (size_t k = i; k < to; k++)
            if (r->state[k] == CLAIMED)
                (void)publish(r, k, false);
    }
    return e;
}

static void wait_for_others(struct read *r, size_t i)
{
    struct cache *c = r->cache;
    char name[CACHE_NAME_MAX];

    name_of(r, i, name);
    mutex_lock(&c->mu);
    while (look(c, name, &r->state[i]) && r->state[i] == OTHERS)
        cond_wait(&c->filled, &c->mu);
    if (r->state[i] == OTHERS) /* gone */
        r->state[i] = BARE;
    mutex_unlock(&c->mu);
    if (r->state[i] == HERE)
        read_here(r, i);
}

static int read_blocks(struct read *r)
{
    int e;

    for (size_t i = 0; i < r->count; i++)
        claim(r, i);
    for (size_t i = 0; i < r->count; i++)
        if (r->state[i] == HERE) {
            read_here(r, i);
            if (r->state[i] == BARE)
                claim(r, i);
            if (r->state[i] == HERE && r->block[i].len == 0)
                r->state[i] = BARE;
        }
    e = fill_all(r);
    for (size_t i = 0; e == 0 && i < r->count; i++)
        if (r->state[i] == OTHERS)
            wait_for_others(r, i);
    return e < 0 ? e : fill_all(r); /* what others gave up */
}

int cache_read(struct cache *c, const struct cache_object *o, uint64_t offset, size_t len,
               cache_fetch_fn fetch, void *arg, struct buf *out, struct err_detail *detail)
{
    struct read *r;
    int e;

    assert(len <= CACHE_READ_MAX && offset + len <= o->size && o->id.len <= CACHE_ID_MAX);
    if (len == 0)
        return 0;
    r = calloc(1, sizeof(*r));
    if (!r)
        return -ERR_NOMEM;
    *r = (struct read){.cache = c, .object = o, .fetch = fetch, .arg = arg, .detail = detail};
    r->first = offset / CACHE_BLOCK;
    r->count = (size_t)((offset + len - 1) / CACHE_BLOCK - r->first) + 1;
    for (size_t i = 0; i < r->count; i++)
        r->block[i] = BUF_INIT(CACHE_BLOCK);
    e = read_blocks(r);
    for (size_t i = 0; i < r->count; i++) {
        struct str bytes = buf_str(&r->block[i]);

        if (i + 1 == r->count)
            bytes = str_head(bytes, (size_t)(offset + len - (r->first + i) * CACHE_BLOCK));
        if (i == 0)
            bytes = str_skip(bytes, (size_t)(offset - r->first * CACHE_BLOCK));
        if (e == 0)
            buf_add(out, bytes);
        buf_done(&r->block[i]);
    }
    free(r);
    return e < 0 ? e : buf_err(out);
}
