/* Sessions in memory: those held by requests, and a bounded number between requests, oldest dropped
 * first. All of it is a cache of the sessions' logs; only the set of spent ids says more, and only
 * to answer 404 sooner (upload.h). */
#include <assert.h>

#include "base/clock.h"
#include "base/enc.h"
#include "blobstore/upload_internal.h"

/* ---- spent ids: a set-associative table over the random part, the oldest of a set replaced */

static bool random_of(struct str id, uint8_t out[UPLOAD_RANDOM_BYTES])
{
    return hex_decode(str_head(str_skip(id, KEYS_SESSION_BIRTH), KEYS_SESSION_RANDOM), out,
                      UPLOAD_RANDOM_BYTES);
}

static unsigned set_of(const uint8_t random[UPLOAD_RANDOM_BYTES])
{
    return ((unsigned)random[0] << 8 | random[1]) % UPLOAD_SPENT_SETS;
}

static bool spent_locked(const struct uploads *us, struct str id)
{
    uint8_t random[UPLOAD_RANDOM_BYTES];
    const struct spent_set *set;

    if (!us->spent || !random_of(id, random))
        return false;
    set = &us->spent[set_of(random)];
    for (unsigned i = 0; i < UPLOAD_SPENT_WAYS; i++)
        if (memcmp(set->random[i], random, sizeof(random)) == 0)
            return true;
    return false;
}

void upload_spent_add(struct uploads *us, struct str id)
{
    uint8_t random[UPLOAD_RANDOM_BYTES];

    if (!random_of(id, random))
        return;
    mutex_lock(&us->mu);
    if (!us->spent)
        us->spent = calloc(UPLOAD_SPENT_SETS, sizeof(*us->spent));
    if (us->spent && !spent_locked(us, id)) {
        struct spent_set *set = &us->spent[set_of(random)];

        memcpy(set->random[set->next], random, sizeof(random));
        set->next = (uint8_t)((set->next + 1) % UPLOAD_SPENT_WAYS);
    }
    mutex_unlock(&us->mu);
}

/* ---- sessions */

struct upload *upload_new(struct uploads *us, struct str id, enum digest_alg alg)
{
    struct upload *u = calloc(1, sizeof(*u));

    assert(id.len == KEYS_SESSION_LEN);
    if (!u)
        return NULL;
    u->us = us;
    memcpy(u->id, id.at, id.len);
    u->repo = BUF_INIT(STORE_KEY_MAX);
    u->bytes = BUF_INIT(BLOB_INLINE_MAX);
    u->stream_state = BUF_INIT(STORE_STREAM_STATE_MAX);
    hasher_init(&u->hasher, alg);
    u->saved_hasher = u->hasher;
    return u;
}

void upload_free(struct upload *u)
{
    if (!u)
        return;
    upload_drop_stream(u);
    objlog_free(u->log);
    buf_done(&u->repo);
    buf_done(&u->bytes);
    upload_count_bytes(u);
    buf_done(&u->stream_state);
    free(u);
}

static struct upload **bucket_of(struct uploads *us, struct str id)
{
    uint8_t random[UPLOAD_RANDOM_BYTES] = {0};

    (void)random_of(id, random);
    return &us->buckets[random[UPLOAD_RANDOM_BYTES - 1] % UPLOAD_BUCKETS];
}

static struct upload *find_locked(struct uploads *us, struct str id)
{
    struct upload *u = *bucket_of(us, id);

    while (u && !str_eq(str_of(u->id), id))
        u = u->next;
    return u;
}

static void insert_locked(struct uploads *us, struct upload *u)
{
    struct upload **bucket = bucket_of(us, str_of(u->id));

    u->next = *bucket;
    *bucket = u;
}

static void remove_locked(struct uploads *us, struct upload *u)
{
    struct upload **at = bucket_of(us, str_of(u->id));

    while (*at != u)
        at = &(*at)->next;
    *at = u->next;
    u->next = NULL;
}

static void idle_add_locked(struct uploads *us, struct upload *u)
{
    u->idle_since_ms = clock_boot_ms();
    u->newer = NULL;
    u->older = us->newest;
    if (us->newest)
        us->newest->newer = u;
    else
        us->oldest = u;
    us->newest = u;
    us->idle_count++;
    us->idle_bytes += u->bytes.cap;
}

static void idle_remove_locked(struct uploads *us, struct upload *u)
{
    if (u->older)
        u->older->newer = u->newer;
    else
        us->oldest = u->newer;
    if (u->newer)
        u->newer->older = u->older;
    else
        us->newest = u->older;
    u->older = u->newer = NULL;
    us->idle_count--;
    us->idle_bytes -= u->bytes.cap;
}

/* Takes idle sessions out, oldest first, until the bounds hold and none is idle since before; they
 * are chained by next and freed by the caller without the mutex, for that closes streams. */
static struct upload *shrink_locked(struct uploads *us, int64_t before_ms)
{
    struct upload *out = NULL;

    while (us->oldest &&
           (us->idle_count > UPLOAD_CACHED_MAX || us->idle_bytes > UPLOAD_CACHED_BYTES_MAX ||
            us->oldest->idle_since_ms < before_ms)) {
        struct upload *u = us->oldest;

        idle_remove_locked(us, u);
        remove_locked(us, u);
        u->next = out;
        out = u;
    }
    return out;
}

static void free_chain(struct upload *u)
{
    while (u) {
        struct upload *next = u->next;

        upload_free(u);
        u = next;
    }
}

int upload_table_take(struct uploads *us, struct str id, struct upload **ret)
{
    struct upload *u;
    int r = 0;

    mutex_lock(&us->mu);
    u = find_locked(us, id);
    if (spent_locked(us, id)) {
        r = u && u->held ? -ERR_BUSY : -ERR_NOTFOUND;
    } else if (u && u->held) {
        r = -ERR_BUSY;
    } else if (u) {
        idle_remove_locked(us, u);
    } else {
        u = upload_new(us, id, DIGEST_SHA256);
        if (u)
            insert_locked(us, u);
        else
            r = -ERR_NOMEM;
    }
    if (r == 0) {
        u->held = true;
        *ret = u;
    }
    mutex_unlock(&us->mu);
    return r;
}

void upload_table_give(struct upload *u, bool keep)
{
    struct uploads *us = u->us;
    struct upload *out = NULL;

    mutex_lock(&us->mu);
    assert(u->held);
    u->held = false;
    if (keep) {
        idle_add_locked(us, u);
        out = shrink_locked(us, INT64_MIN);
    } else {
        remove_locked(us, u);
        out = u;
    }
    mutex_unlock(&us->mu);
    free_chain(out);
}

void upload_table_keep(struct upload *u)
{
    struct uploads *us = u->us;
    struct upload *out;

    mutex_lock(&us->mu);
    if (find_locked(us, str_of(u->id))) {
        out = u;
    } else {
        insert_locked(us, u);
        idle_add_locked(us, u);
        out = shrink_locked(us, INT64_MIN);
    }
    mutex_unlock(&us->mu);
    free_chain(out);
}

bool upload_table_held(struct uploads *us, struct str id)
{
    const struct upload *u;
    bool held;

    mutex_lock(&us->mu);
    u = find_locked(us, id);
    held = u && u->held;
    mutex_unlock(&us->mu);
    return held;
}

void upload_table_trim(struct uploads *us, int64_t before_ms)
{
    struct upload *out;

    mutex_lock(&us->mu);
    out = shrink_locked(us, before_ms);
    mutex_unlock(&us->mu);
    free_chain(out);
}

/* ---- life */

int uploads_new(struct blobs *b, struct uploads **ret)
{
    struct uploads *us = calloc(1, sizeof(*us));
    int64_t now;
    int r;

    assert(b && ret);
    if (!us)
        return -ERR_NOMEM;
    us->blobs = b;
    us->node = blobs_node(b);
    us->store = node_store(us->node);
    mutex_init(&us->mu);
    cond_init(&us->proof_over);
    /* Births are by the store's clock alone: an id of a clock that is ahead would never be too old,
     * and live again when its entries are gone (B18). */
    r = uploads_now(us, &now, NULL);
    if (r < 0) {
        uploads_free(us);
        return r;
    }
    *ret = us;
    return 0;
}

void uploads_free(struct uploads *us)
{
    if (!us)
        return;
    upload_table_trim(us, INT64_MAX);
    for (size_t i = 0; i < UPLOAD_BUCKETS; i++)
        assert(!us->buckets[i]); /* none is held any more */
    cond_done(&us->proof_over);
    mutex_done(&us->mu);
    free(us->spent);
    free(us);
}

int uploads_now(struct uploads *us, int64_t *ret_ms, struct err_detail *detail)
{
    int64_t now;
    int r = store_now(us->store, &now, detail);

    if (r < 0)
        return r;
    mutex_lock(&us->mu);
    us->clock_offset_ms = now - clock_boot_ms();
    mutex_unlock(&us->mu);
    *ret_ms = now;
    return 0;
}
