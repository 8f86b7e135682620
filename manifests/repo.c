/* The cache of open repositories and queries on one.
 *
 * A repository is in the cache's table from the moment its opening begins until it is evicted:
 * least recently used and unreferenced first, when there are too many or their states are too large
 * together. One thread opens, others that want the same wait for it. */
#include "manifests/repo.h"

#include <assert.h>

#include "base/log.h"
#include "base/metrics.h"
#include "base/rand.h"
#include "manifests/repo_internal.h"

#define BUCKETS   (2 * REPOS_CACHED_MAX)
#define EVICT_TRY 64 /* repositories looked at for one to evict */

struct repos {
    struct blobs *blobs; /* borrowed */
    struct repos_settings settings;
    struct catalog *catalog;
    struct table_cache *tables;
    uint64_t seed;

    struct mutex mu; /* guards all below */
    struct cond opened;
    struct repo **buckets;
    struct repo *newest, *oldest;
    size_t count, bytes;
};

/* ---- life */

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
    rs->buckets = calloc(BUCKETS, sizeof(struct repo *));
    e = rs->buckets ? table_cache_new(TABLE_CACHE_MAX, &rs->tables) : -ERR_NOMEM;
    if (e == 0)
        e = catalog_new(b, rs->tables, settings->background, &rs->catalog);
    if (e < 0) {
        table_cache_free(rs->tables);
        free(rs->buckets);
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
    struct repo *next;

    if (!rs)
        return;
    for (struct repo *r = rs->newest; r; r = next) {
        next = r->older;
        assert(r->refs == 0 && !r->opening);
        repo_free(r);
        metric_add(METRIC_repositories_cached, -1);
    }
    catalog_free(rs->catalog);
    table_cache_free(rs->tables);
    cond_done(&rs->opened);
    mutex_done(&rs->mu);
    free(rs->buckets);
    free(rs);
}

struct blobs *repos_blobs(const struct repos *rs)
{
    return rs->blobs;
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

/* ---- the cache; all but the first under its mutex */

/* FNV-1a, seeded per process. */
static uint64_t hash_of(const struct repos *rs, struct str name)
{
    uint64_t h = rs->seed ^ 0xcbf29ce484222325u;

    for (size_t i = 0; i < name.len; i++)
        h = (h ^ (unsigned char)name.at[i]) * 0x100000001b3u;
    return h ^ (h >> 32);
}

static struct repo **find(struct repos *rs, struct str name, uint64_t hash)
{
    struct repo **at = &rs->buckets[hash % BUCKETS];

    while (*at && ((*at)->hash != hash || !str_eq((*at)->name_str, name)))
        at = &(*at)->chain;
    return at;
}

static void list_remove(struct repos *rs, struct repo *r)
{
    *(r->newer ? &r->newer->older : &rs->newest) = r->older;
    *(r->older ? &r->older->newer : &rs->oldest) = r->newer;
    r->newer = r->older = NULL;
}

static void list_add(struct repos *rs, struct repo *r)
{
    r->older = rs->newest;
    if (r->older)
        r->older->newer = r;
    else
        rs->oldest = r;
    rs->newest = r;
}

static void count_bytes(struct repos *rs, struct repo *r)
{
    size_t now = sizeof(*r) + replica_bytes(r->replica);

    rs->bytes += now - r->counted;
    r->counted = now;
}

static void insert(struct repos *rs, struct repo *r)
{
    struct repo **at = &rs->buckets[r->hash % BUCKETS];

    r->chain = *at;
    *at = r;
    list_add(rs, r);
    rs->count++;
    metric_add(METRIC_repositories_cached, 1);
}

static void take_out(struct repos *rs, struct repo *r)
{
    struct repo **at = find(rs, r->name_str, r->hash);

    assert(*at == r && !r->gone);
    *at = r->chain;
    list_remove(rs, r);
    rs->count--;
    rs->bytes -= r->counted;
    r->gone = true;
    metric_add(METRIC_repositories_cached, -1);
}

/* One repository that has to go, out of the cache; NULL: none. A single one may be as large as it
 * is. */
static struct repo *evict(struct repos *rs)
{
    struct repo *r = rs->oldest;

    if (rs->count <= REPOS_CACHED_MAX && (rs->bytes <= REPOS_CACHED_BYTES || rs->count <= 1))
        return NULL;
    for (int i = 0; r && i < EVICT_TRY; i++, r = r->newer)
        if (r->refs == 0 && !r->opening) {
            take_out(rs, r);
            return r;
        }
    return NULL;
}

static void use(struct repos *rs, struct repo *r)
{
    r->refs++;
    if (rs->newest != r) {
        list_remove(rs, r);
        list_add(rs, r);
    }
}

struct repo *repo_cached(struct repos *rs, struct str name)
{
    uint64_t hash = hash_of(rs, name);
    struct repo *r;

    mutex_lock(&rs->mu);
    r = *find(rs, name, hash);
    if (r && !r->opening)
        use(rs, r);
    else
        r = NULL;
    mutex_unlock(&rs->mu);
    return r;
}

/* The entry of a name, referenced; *ret_mine: it is new and this thread opens it. */
static int enter(struct repos *rs, struct str name, struct repo **ret, bool *ret_mine)
{
    uint64_t hash = hash_of(rs, name);
    struct repo *r;
    int e = 0;

    mutex_lock(&rs->mu);
    while ((r = *find(rs, name, hash)) && r->opening)
        cond_wait(&rs->opened, &rs->mu);
    *ret_mine = !r;
    if (!r) {
        e = repo_new(rs, name, &r);
        if (e == 0) {
            r->hash = hash;
            r->opening = true;
            insert(rs, r);
        }
    }
    if (e == 0) {
        use(rs, r);
        *ret = r;
    }
    mutex_unlock(&rs->mu);
    return e;
}

/* What another node left undone: the catalog hears of entries whose writer died before it told. */
static void tell_catalog(struct repo *r)
{
    uint64_t seq;
    bool filled;

    replica_lock(r->replica);
    seq = replica_seq(r->replica);
    filled = repo_filled(r);
    replica_unlock(r->replica);
    if (seq > 0)
        catalog_agree(r->owner->catalog, r->name_str, filled, seq);
}

int repo_get(struct repos *rs, struct str name, struct repo **ret, struct err_detail *detail)
{
    struct repo *r = NULL;
    bool mine;
    int e = enter(rs, name, &r, &mine);

    if (e < 0)
        return e;
    if (mine) {
        e = replica_open(r->replica, detail);
        /* Several requests on a remote store: there the next change tells it. */
        if (e == 0 && !store_is_remote(node_store(blobs_node(rs->blobs))))
            tell_catalog(r);
        mutex_lock(&rs->mu);
        r->opening = false;
        if (e < 0)
            take_out(rs, r);
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

void repo_unref(struct repo *r)
{
    struct repos *rs;
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
        count_bytes(rs, r);
        out = evict(rs);
    }
    mutex_unlock(&rs->mu);
    while (out) {
        repo_free(out);
        mutex_lock(&rs->mu);
        out = evict(rs);
        mutex_unlock(&rs->mu);
    }
}

void repo_unrefp(struct repo **r)
{
    repo_unref(*r);
    *r = NULL;
}
