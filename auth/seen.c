/* A hash table with chains and one list in order of use. */
#include "auth/seen.h"

#include <stdlib.h>

#include "base/rand.h"
#include "base/thread.h"

#define SEEN_BUCKETS 2048

struct entry {
    struct entry *chain, *newer, *older;
    uint8_t key[HMAC_BYTES];
    struct login *login;
    int64_t until_ms;
};

struct seen {
    struct hmac_key mac; /* random, of this process */
    struct mutex mu;
    struct entry *buckets[SEEN_BUCKETS]; /* all guarded by mu */
    struct entry *newest, *oldest;
    size_t count;
    uint64_t epoch;
};

int seen_new(struct seen **ret)
{
    struct seen *s = calloc(1, sizeof(*s));
    uint8_t key[HMAC_BYTES];

    if (!s)
        return -ERR_NOMEM;
    rand_bytes(key, sizeof(key));
    hmac_key_init(&s->mac, str_make(key, sizeof(key)));
    explicit_bzero(key, sizeof(key));
    mutex_init(&s->mu);
    *ret = s;
    return 0;
}

static struct entry **bucket_of(struct seen *s, const uint8_t *key)
{
    return &s->buckets[((size_t)key[0] | (size_t)key[1] << 8) % SEEN_BUCKETS];
}

static void list_out(struct seen *s, struct entry *e)
{
    *(e->newer ? &e->newer->older : &s->newest) = e->older;
    *(e->older ? &e->older->newer : &s->oldest) = e->newer;
}

static void list_in(struct seen *s, struct entry *e)
{
    e->newer = NULL;
    e->older = s->newest;
    *(s->newest ? &s->newest->newer : &s->oldest) = e;
    s->newest = e;
}

static void remove_entry(struct seen *s, struct entry *e)
{
    struct entry **at = bucket_of(s, e->key);

    while (*at != e)
        at = &(*at)->chain;
    *at = e->chain;
    list_out(s, e);
    s->count--;
    login_unref(e->login);
    free(e);
}

void seen_free(struct seen *s)
{
    if (!s)
        return;
    while (s->oldest)
        remove_entry(s, s->oldest);
    mutex_done(&s->mu);
    explicit_bzero(&s->mac, sizeof(s->mac));
    free(s);
}

void seen_key(const struct seen *s, char kind, struct str a, struct str b, uint8_t out[HMAC_BYTES])
{
    struct hmac_key second;
    uint8_t first[HMAC_BYTES + 1];

    hmac_by_key(&s->mac, a, first);
    first[HMAC_BYTES] = (uint8_t)kind;
    if (b.len == 0) {
        hmac_by_key(&s->mac, str_make(first, sizeof(first)), out);
        return;
    }
    hmac_key_init(&second, str_make(first, sizeof(first)));
    hmac_by_key(&second, b, out);
}

static struct entry *find(struct seen *s, const uint8_t *key)
{
    struct entry *e = *bucket_of(s, key);

    while (e && !bytes_eq_constant_time(e->key, key, HMAC_BYTES))
        e = e->chain;
    return e;
}

struct login *seen_get(struct seen *s, const uint8_t key[HMAC_BYTES], int64_t now_ms)
{
    struct login *found = NULL;
    struct entry *e;

    mutex_lock(&s->mu);
    e = find(s, key);
    if (e && now_ms >= e->until_ms) {
        remove_entry(s, e);
    } else if (e) {
        found = login_ref(e->login);
        if (e != s->newest) {
            list_out(s, e);
            list_in(s, e);
        }
    }
    mutex_unlock(&s->mu);
    return found;
}

uint64_t seen_epoch(struct seen *s)
{
    uint64_t epoch;

    mutex_lock(&s->mu);
    epoch = s->epoch;
    mutex_unlock(&s->mu);
    return epoch;
}

void seen_put(struct seen *s, const uint8_t key[HMAC_BYTES], struct login *l, int64_t until_ms,
              uint64_t epoch)
{
    struct entry *e = calloc(1, sizeof(*e)), *there;
    struct entry **bucket = bucket_of(s, key);

    if (!e)
        return;
    memcpy(e->key, key, HMAC_BYTES);
    e->login = login_ref(l);
    e->until_ms = until_ms;
    mutex_lock(&s->mu);
    if (s->epoch != epoch) {
        mutex_unlock(&s->mu);
        login_unref(e->login);
        free(e);
        return;
    }
    there = find(s, key);
    if (there)
        remove_entry(s, there);
    e->chain = *bucket;
    *bucket = e;
    list_in(s, e);
    s->count++;
    while (s->count > SEEN_MAX)
        remove_entry(s, s->oldest);
    mutex_unlock(&s->mu);
}

void seen_drop(struct seen *s, bool (*fn)(const struct login *l, void *arg), void *arg)
{
    struct entry *e, *older;

    mutex_lock(&s->mu);
    s->epoch++;
    for (e = s->newest; e; e = older) {
        older = e->older;
        if (fn(e->login, arg))
            remove_entry(s, e);
    }
    mutex_unlock(&s->mu);
}

size_t seen_count(struct seen *s)
{
    size_t n;

    mutex_lock(&s->mu);
    n = s->count;
    mutex_unlock(&s->mu);
    return n;
}
