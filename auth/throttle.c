/* Rows of a few entries each; within a row the one that failed longest ago is overwritten. Names
 * are kept as keyed hashes only. */
#include "auth/throttle.h"

#include <stdlib.h>

#include "base/digest.h"
#include "base/rand.h"
#include "base/thread.h"

#define ROW_ENTRIES 8
#define ROWS        (THROTTLE_ENTRIES / ROW_ENTRIES)

struct entry {
    uint64_t id;
    uint64_t guess; /* the last one, of a pair */
    int64_t last_ms;
    unsigned failures; /* 0: free */
};

struct throttle {
    struct hmac_key mac;
    struct mutex mu;
    struct entry rows[ROWS][ROW_ENTRIES]; /* guarded by mu */
};

struct ids {
    uint64_t pair, user, address;
};

int throttle_new(struct throttle **ret)
{
    struct throttle *t = calloc(1, sizeof(*t));
    uint8_t key[HMAC_BYTES];

    if (!t)
        return -ERR_NOMEM;
    rand_bytes(key, sizeof(key));
    hmac_key_init(&t->mac, str_make(key, sizeof(key)));
    mutex_init(&t->mu);
    *ret = t;
    return 0;
}

void throttle_free(struct throttle *t)
{
    if (!t)
        return;
    mutex_done(&t->mu);
    free(t);
}

static uint64_t id_of(const struct throttle *t, char kind, struct str a, struct str b)
{
    uint8_t all[2 * HMAC_BYTES + 1], mac[HMAC_BYTES];
    uint64_t id;

    hmac_by_key(&t->mac, a, all);
    hmac_by_key(&t->mac, b, all + HMAC_BYTES);
    all[2 * HMAC_BYTES] = (uint8_t)kind;
    hmac_by_key(&t->mac, str_make(all, sizeof(all)), mac);
    memcpy(&id, mac, sizeof(id));
    return id;
}

static struct ids ids_of(const struct throttle *t, struct str user, struct str address)
{
    return (struct ids){id_of(t, 'p', user, address), id_of(t, 'u', user, STR_NONE),
                        id_of(t, 'a', STR_NONE, address)};
}

/* With mu held; NULL: no failures. */
static struct entry *find(struct throttle *t, uint64_t id, int64_t now_ms)
{
    struct entry *row = t->rows[id % ROWS];

    for (size_t i = 0; i < ROW_ENTRIES; i++)
        if (row[i].failures && row[i].id == id) {
            if (now_ms - row[i].last_ms < THROTTLE_FORGET_MS)
                return &row[i];
            row[i].failures = 0;
        }
    return NULL;
}

static struct entry *count(struct throttle *t, uint64_t id, int64_t now_ms)
{
    struct entry *row = t->rows[id % ROWS], *e = find(t, id, now_ms);

    for (size_t i = 0; i < ROW_ENTRIES && !(e && (e->failures == 0 || e->id == id)); i++)
        if (!e || row[i].failures == 0 || row[i].last_ms < e->last_ms)
            e = &row[i];
    if (e->id != id || e->failures == 0)
        *e = (struct entry){.id = id};
    e->failures++;
    e->last_ms = now_ms;
    return e;
}

static int64_t refusal_of(const struct entry *e, int64_t now_ms)
{
    int64_t wait = THROTTLE_REFUSE_MS;

    if (!e || e->failures <= THROTTLE_FREE)
        return 0;
    for (unsigned i = THROTTLE_FREE + 1; i < e->failures && wait < THROTTLE_REFUSE_MAX; i++)
        wait *= 2;
    if (wait > THROTTLE_REFUSE_MAX)
        wait = THROTTLE_REFUSE_MAX;
    return e->last_ms + wait - now_ms;
}

static int64_t slowing_of(const struct entry *e)
{
    int64_t wait = e && e->failures > THROTTLE_SLOW_FREE
                       ? (int64_t)(e->failures - THROTTLE_SLOW_FREE) * THROTTLE_SLOW_MS
                       : 0;

    return wait < THROTTLE_SLOW_MAX ? wait : THROTTLE_SLOW_MAX;
}

int throttle_ask(struct throttle *t, struct str user, struct str address, int64_t now_ms,
                 int64_t *ret_ms)
{
    struct ids id = ids_of(t, user, address);
    int64_t refused, by_user, by_address;

    mutex_lock(&t->mu);
    refused = refusal_of(find(t, id.pair, now_ms), now_ms);
    by_user = slowing_of(find(t, id.user, now_ms));
    by_address = slowing_of(find(t, id.address, now_ms));
    mutex_unlock(&t->mu);
    *ret_ms = refused > 0 ? refused : by_user > by_address ? by_user : by_address;
    return refused > 0 ? -ERR_THROTTLED : 0;
}

void throttle_failed(struct throttle *t, struct str user, struct str address, uint64_t guess,
                     int64_t now_ms)
{
    struct ids id = ids_of(t, user, address);
    struct entry *e;

    mutex_lock(&t->mu);
    e = find(t, id.pair, now_ms);
    if (!e || e->guess != guess) {
        count(t, id.pair, now_ms)->guess = guess;
        count(t, id.user, now_ms);
        count(t, id.address, now_ms);
    }
    mutex_unlock(&t->mu);
}

void throttle_passed(struct throttle *t, struct str user, struct str address, int64_t now_ms)
{
    struct ids id = ids_of(t, user, address);
    struct entry *e;

    mutex_lock(&t->mu);
    e = find(t, id.pair, now_ms);
    if (e)
        e->failures = 0;
    e = find(t, id.user, now_ms);
    if (e)
        e->failures--;
    e = find(t, id.address, now_ms);
    if (e)
        e->failures--;
    mutex_unlock(&t->mu);
}
