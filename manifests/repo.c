/* The caches of open repositories and of views of their past, and queries on one.
 *
 * A repository is in its cache's table from the moment its opening begins until it is evicted:
 * least recently used and unreferenced first, when there are too many or their states are too large
 * together. One thread opens, others that want the same wait for it. A view is a repository at a
 * position of its past; it has a cache of its own, so that looking back does not push out what is
 * served. */
#include "manifests/repo.h"

#include <assert.h>

#include "base/clock.h"
#include "base/log.h"
#include "base/metrics.h"
#include "base/rand.h"
#include "manifests/repo_internal.h"

#define EVICT_TRY 64 /* repositories looked at for one to evict */

struct repo_cache {
    size_t count_max, bytes_max;
    struct repo **buckets; /* twice count_max */
    struct repo *newest, *oldest;
    size_t count, bytes;
};

struct repos {
    struct blobs *blobs; /* borrowed */
    struct repos_settings settings;
    struct catalog *catalog;
    struct table_cache *tables;
    uint64_t seed;

    struct mutex mu; /* guards all below */
    struct cond opened;
    struct repo_cache present, past;
};

/* ---- life */

static int cache_init(struct repo_cache *c, size_t count_max, size_t bytes_max)
{
    *c = (struct repo_cache){.count_max = count_max, .bytes_max = bytes_max};
    c->buckets = calloc(2 * count_max, sizeof(*c->buckets));
    return c->buckets ? 0 : -ERR_NOMEM;
}

static void cache_done(struct repo_cache *c)
{
    struct repo *next;

    for (struct repo *r = c->newest; r; r = next) {
        next = r->older;
        assert(r->refs == 0 && !r->opening);
        repo_free(r);
        metric_add(METRIC_repositories_cached, -1);
    }
    free(c->buckets);
}

int repos_new(struct blobs *b, const struct repos_settings *settings, struct repos **ret)
{
    struct repos *rs;
    int e;

    assert(b && settings && ret);
    rs = calloc(1, sizeof(*rs));
    if (!rs)
        return -ERR_NOMEM;
    rs->blobs = b;
    rs->settings = *settings;
    rand_bytes(&rs->seed, sizeof(rs->seed));
    e = cache_init(&rs->present, REPOS_CACHED_MAX, REPOS_CACHED_BYTES);
    if (e == 0)
        e = cache_init(&rs->past, REPOS_VIEWS_MAX, REPOS_VIEWS_BYTES);
    if (e == 0)
        e = table_cache_new(TABLE_CACHE_MAX, &rs->tables);
    if (e == 0)
        e = catalog_new(b, rs->tables, settings->background, &rs->catalog);
    if (e < 0) {
        table_cache_free(rs->tables);
        cache_done(&rs->past);
        cache_done(&rs->present);
        free(rs);
        return e;
    }
    mutex_init(&rs->mu);
    cond_init(&rs->opened);
    *ret = rs;
    return 0;
}

void repos_free(struct repos *rs)
{
    if (!rs)
        return;
    cache_done(&rs->past);
    cache_done(&rs->present);
    catalog_free(rs->catalog);
    table_cache_free(rs->tables);
    cond_done(&rs->opened);
    mutex_done(&rs->mu);
    free(rs);
}

struct blobs *repos_blobs(const struct repos *rs)
{
    return rs->blobs;
}

bool repos_remote(const struct repos *rs)
{
    return store_is_remote(node_store(blobs_node(rs->blobs)));
}

struct table_cache *repos_tables(const struct repos *rs)
{
    return rs->tables;
}

struct catalog *repos_catalog(const struct repos *rs)
{
    return rs->catalog;
}

const struct repos_settings *repos_settings(const struct repos *rs)
{
    return &rs->settings;
}

int repo_new(struct repos *rs, struct str name, struct repo **ret)
{
    struct buf prefix auto_buf = BUF_INIT(STORE_KEY_MAX);
    struct repo *r = calloc(1, sizeof(*r));
    struct replica_spec spec;
    int e;

    assert(name_valid(name));
    if (!r)
        return -ERR_NOMEM;
    memcpy(r->name, name.at, name.len);
    r->name_str = (struct str){r->name, name.len};
    r->owner = rs;
    r->marked = -1;
    keys_repo(&prefix, name);
    spec = (struct replica_spec){.node = blobs_node(rs->blobs),
                                 .prefix = buf_str(&prefix),
                                 .name = r->name_str,
                                 .ops = &repo_replica_ops,
                                 .self = r,
                                 .cache = rs->tables,
                                 .background = rs->settings.background};
    e = buf_err(&prefix);
    if (e == 0)
        e = state_new(&r->state);
    if (e == 0) {
        r->state->layers.wait = false; /* it is asked under the lock */
        spec.layers = &r->state->layers;
        e = replica_new(&spec, &r->replica);
    }
    if (e < 0) {
        repo_free(r);
        return e;
    }
    *ret = r;
    return 0;
}

void repo_free(struct repo *r)
{
    replica_free(r->replica);
    state_free(r->state);
    free(r->links);
    omap_free(r->batch.removed);
    omap_free(r->batch.touched);
    free(r);
}

/* ---- the caches; all but the first under their mutex */

/* FNV-1a, seeded per process. */
static uint64_t hash_of(const struct repos *rs, struct str name, uint64_t at)
{
    uint64_t h = rs->seed ^ (at * 0x9e3779b97f4a7c15u) ^ 0xcbf29ce484222325u;

    for (size_t i = 0; i < name.len; i++)
        h = (h ^ (unsigned char)name.at[i]) * 0x100000001b3u;
    return h ^ (h >> 32);
}

static struct repo **find(struct repo_cache *c, struct str name, uint64_t at, uint64_t hash)
{
    struct repo **found = &c->buckets[hash % (2 * c->count_max)];

    while (*found &&
           ((*found)->hash != hash || (*found)->at != at || !str_eq((*found)->name_str, name)))
        found = &(*found)->chain;
    return found;
}

static void list_remove(struct repo_cache *c, struct repo *r)
{
    *(r->newer ? &r->newer->older : &c->newest) = r->older;
    *(r->older ? &r->older->newer : &c->oldest) = r->newer;
    r->newer = r->older = NULL;
}

static void list_add(struct repo_cache *c, struct repo *r)
{
    r->older = c->newest;
    if (r->older)
        r->older->newer = r;
    else
        c->oldest = r;
    c->newest = r;
}

static void count_bytes(struct repo *r)
{
    size_t now = sizeof(*r) + replica_bytes(r->replica);

    r->cache->bytes += now - r->counted;
    r->counted = now;
}

static void insert(struct repo_cache *c, struct repo *r)
{
    struct repo **at = &c->buckets[r->hash % (2 * c->count_max)];

    r->cache = c;
    r->chain = *at;
    *at = r;
    list_add(c, r);
    c->count++;
    metric_add(METRIC_repositories_cached, 1);
}

static void take_out(struct repo *r)
{
    struct repo_cache *c = r->cache;
    struct repo **at = find(c, r->name_str, r->at, r->hash);

    assert(*at == r && !r->gone);
    *at = r->chain;
    list_remove(c, r);
    c->count--;
    c->bytes -= r->counted;
    r->gone = true;
    metric_add(METRIC_repositories_cached, -1);
}

/* One repository that has to go, out of the cache; NULL: none. A single one may be as large as it
 * is. */
static struct repo *evict(struct repo_cache *c)
{
    struct repo *r = c->oldest;

    if (c->count <= c->count_max && (c->bytes <= c->bytes_max || c->count <= 1))
        return NULL;
    for (int i = 0; r && i < EVICT_TRY; i++, r = r->newer)
        if (r->refs == 0 && !r->opening) {
            take_out(r);
            return r;
        }
    return NULL;
}

static void use(struct repo *r)
{
    r->refs++;
    if (r->cache->newest != r) {
        list_remove(r->cache, r);
        list_add(r->cache, r);
    }
}

struct repo *repo_cached(struct repos *rs, struct str name)
{
    uint64_t hash = hash_of(rs, name, 0);
    struct repo *r;

    mutex_lock(&rs->mu);
    r = *find(&rs->present, name, 0, hash);
    if (r && !r->opening)
        use(r);
    else
        r = NULL;
    mutex_unlock(&rs->mu);
    return r;
}

/* The entry of a name (and position) in a cache, referenced; *ret_mine: it is new and this thread
 * opens it. */
static int enter(struct repos *rs, struct repo_cache *c, struct str name, uint64_t at,
                 struct repo **ret, bool *ret_mine)
{
    uint64_t hash = hash_of(rs, name, at);
    struct repo *r;
    int e = 0;

    mutex_lock(&rs->mu);
    while ((r = *find(c, name, at, hash)) && r->opening)
        cond_wait(&rs->opened, &rs->mu);
    *ret_mine = !r;
    if (!r) {
        e = repo_new(rs, name, &r);
        if (e == 0) {
            r->hash = hash;
            r->at = at;
            r->past = c == &rs->past;
            r->opening = true;
            insert(c, r);
        }
    }
    if (e == 0) {
        use(r);
        *ret = r;
    }
    mutex_unlock(&rs->mu);
    return e;
}

void repo_tell_catalog(struct repo *r, int64_t deadline_ms)
{
    struct catalog *c = r->owner->catalog;
    struct catalog_state is;
    uint64_t flipped;

    replica_lock(r->replica);
    is.seq = replica_seq(r->replica);
    is.filled = repo_filled(r);
    flipped = r->flipped;
    replica_unlock(r->replica);
    is.since = flipped > 1 ? flipped : 0; /* of the first entry the catalog hears before */
    if (is.seq == 0)
        return;
    /* What this node last saw the catalog say may be of before another node's change. */
    if (is.since > 0)
        (void)!catalog_refresh(c, NULL);
    if (catalog_agree(c, r->name_str, &is, deadline_ms) < 0 || flipped == 0)
        return;
    replica_lock(r->replica);
    if (r->flipped == flipped)
        r->flipped = 0;
    replica_unlock(r->replica);
}

static int open_repo(struct repo *r, struct err_detail *detail)
{
    bool remote = repos_remote(r->owner);
    int e;

    if (r->past)
        return replica_open_at(r->replica, r->at, detail);
    if (remote && catalog_unheard(r->owner->catalog, r->name_str))
        return replica_open_unheard(r->replica, detail);
    e = replica_open(r->replica, detail);
    /* Several requests on a remote store: there the next change tells it. */
    if (e == 0 && !remote)
        repo_tell_catalog(r, clock_boot_ms() + OBJLOG_DECIDE_MS); /* what its writer left undone */
    return e;
}

static int get(struct repos *rs, struct repo_cache *c, struct str name, uint64_t at,
               struct repo **ret, struct err_detail *detail)
{
    struct repo *r = NULL;
    bool mine;
    int e = enter(rs, c, name, at, &r, &mine);

    if (e < 0)
        return e;
    if (mine) {
        e = open_repo(r, detail);
        mutex_lock(&rs->mu);
        r->opening = false;
        if (e < 0)
            take_out(r);
        cond_broadcast(&rs->opened);
        mutex_unlock(&rs->mu);
    }
    if (e < 0) {
        repo_unref(r);
        return e;
    }
    *ret = r;
    return 0;
}

int repo_get(struct repos *rs, struct str name, struct repo **ret, struct err_detail *detail)
{
    return get(rs, &rs->present, name, 0, ret, detail);
}

int repo_view(struct repo *r, uint64_t seq, struct repo **ret, struct err_detail *detail)
{
    uint64_t head = repo_seq(r);

    assert(!r->past);
    if (seq > head)
        return err_set(detail, -ERR_NOTFOUND, "the repository has %llu entries, not %llu",
                       (unsigned long long)head, (unsigned long long)seq);
    return get(r->owner, &r->owner->past, r->name_str, seq, ret, detail);
}

void repo_unref(struct repo *r)
{
    struct repos *rs;
    struct repo_cache *cache = NULL;
    struct repo *out = NULL;

    if (!r)
        return;
    rs = r->owner;
    mutex_lock(&rs->mu);
    assert(r->refs > 0);
    r->refs--;
    if (r->gone) {
        out = r->refs == 0 ? r : NULL;
    } else {
        cache = r->cache;
        count_bytes(r);
        out = evict(cache);
    }
    mutex_unlock(&rs->mu);
    while (out) {
        repo_free(out);
        if (!cache)
            break;
        mutex_lock(&rs->mu);
        out = evict(cache);
        mutex_unlock(&rs->mu);
    }
}

void repo_unrefp(struct repo **r)
{
    repo_unref(*r);
    *r = NULL;
}
