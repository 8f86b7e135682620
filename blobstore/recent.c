/* Direct-mapped by digest: a newer record takes the place of an older one. */
#include "blobstore/recent.h"

#include <assert.h>
#include <stdlib.h>

#include "base/thread.h"

struct recent_slot {
    struct digest digest;
    struct buf record; /* empty: unused */
};

struct recent {
    struct mutex mu;
    struct recent_slot slots[RECENT_SLOTS]; /* guarded by mu */
};

int recent_new(struct recent **ret)
{
    struct recent *r = calloc(1, sizeof(*r));

    assert(ret);
    if (!r)
        return -ERR_NOMEM;
    mutex_init(&r->mu);
    for (size_t i = 0; i < RECENT_SLOTS; i++)
        r->slots[i].record = BUF_INIT(0);
    *ret = r;
    return 0;
}

void recent_free(struct recent *r)
{
    if (!r)
        return;
    for (size_t i = 0; i < RECENT_SLOTS; i++)
        buf_done(&r->slots[i].record);
    mutex_done(&r->mu);
    free(r);
}

static struct recent_slot *slot_of(struct recent *r, const struct digest *d)
{
    return &r->slots[d->bytes[0] % RECENT_SLOTS];
}

void recent_put(struct recent *r, const struct digest *d, struct buf *record)
{
    struct recent_slot *slot = slot_of(r, d);
    struct buf old;

    assert(record->len <= RECENT_RECORD_MAX);
    mutex_lock(&r->mu);
    old = slot->record;
    slot->digest = *d;
    slot->record = *record;
    mutex_unlock(&r->mu);
    *record = BUF_INIT(0);
    buf_done(&old);
}

bool recent_take(struct recent *r, const struct digest *d, struct buf *ret)
{
    struct recent_slot *slot = slot_of(r, d);
    bool found;

    mutex_lock(&r->mu);
    found = slot->record.len > 0 && digest_eq(&slot->digest, d);
    if (found) {
        *ret = slot->record;
        slot->record = BUF_INIT(0);
    }
    mutex_unlock(&r->mu);
    return found;
}
