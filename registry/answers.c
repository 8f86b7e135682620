/* A hash table with chains and one list in order of use. */
#include "registry/answers.h"

#include <stdlib.h>

#include "base/thread.h"

#define ANSWERS_BUCKETS  1024
#define ANSWERS_OVERHEAD 1024 /* memory of an entry and its headers beside the body */
#define MEDIA_TYPE_MAX   256

struct entry {
    struct entry *chain;
    struct entry *newer, *older;
    struct digest digest;
    struct answer *answer;
    size_t bytes;
    bool by_tag;
    size_t media_len;
    char media_type[];
};

struct answers {
    struct mutex mu;
    struct entry *buckets[ANSWERS_BUCKETS]; /* all guarded by mu */
    struct entry *newest, *oldest;
    size_t bytes;
};

static struct entry **bucket_of(struct answers *a, const struct digest *d)
{
    size_t h = (size_t)d->bytes[0] | (size_t)d->bytes[1] << 8;

    return &a->buckets[h % ANSWERS_BUCKETS];
}

int answers_new(struct answers **ret)
{
    struct answers *a = calloc(1, sizeof(*a));

    if (!a)
        return -ERR_NOMEM;
    mutex_init(&a->mu);
    *ret = a;
    return 0;
}

static void list_out(struct answers *a, struct entry *e)
{
    *(e->newer ? &e->newer->older : &a->newest) = e->older;
    *(e->older ? &e->older->newer : &a->oldest) = e->newer;
}

static void list_in(struct answers *a, struct entry *e)
{
    e->newer = NULL;
    e->older = a->newest;
    *(a->newest ? &a->newest->newer : &a->oldest) = e;
    a->newest = e;
}

static void entry_free(struct entry *e)
{
    answer_unref(e->answer);
    free(e);
}

static void evict_oldest(struct answers *a)
{
    struct entry *e = a->oldest;
    struct entry **at = bucket_of(a, &e->digest);

    while (*at != e)
        at = &(*at)->chain;
    *at = e->chain;
    list_out(a, e);
    a->bytes -= e->bytes;
    entry_free(e);
}

void answers_free(struct answers *a)
{
    if (!a)
        return;
    while (a->oldest)
        evict_oldest(a);
    mutex_done(&a->mu);
    free(a);
}

static struct entry *find(struct answers *a, const struct digest *d, struct str media_type,
                          bool by_tag)
{
    for (struct entry *e = *bucket_of(a, d); e; e = e->chain)
        if (e->by_tag == by_tag && digest_eq(&e->digest, d) &&
            str_eq(str_make(e->media_type, e->media_len), media_type))
            return e;
    return NULL;
}

struct answer *answers_get(struct answers *a, const struct digest *d, struct str media_type,
                           bool by_tag)
{
    struct answer *found = NULL;
    struct entry *e;

    mutex_lock(&a->mu);
    e = find(a, d, media_type, by_tag);
    if (e) {
        found = answer_ref(e->answer);
        if (e != a->newest) {
            list_out(a, e);
            list_in(a, e);
        }
    }
    mutex_unlock(&a->mu);
    return found;
}

void answers_put(struct answers *a, const struct digest *d, struct str media_type, bool by_tag,
                 struct answer *answer, size_t bytes)
{
    struct entry *e;
    struct entry **bucket;

    if (bytes > ANSWERS_ONE_MAX || media_type.len > MEDIA_TYPE_MAX)
        return;
    e = calloc(1, sizeof(*e) + media_type.len);
    if (!e)
        return;
    e->digest = *d;
    e->by_tag = by_tag;
    e->bytes = bytes + ANSWERS_OVERHEAD;
    e->media_len = media_type.len;
    memcpy(e->media_type, media_type.len ? media_type.at : "", media_type.len);
    e->answer = answer_ref(answer);
    mutex_lock(&a->mu);
    if (find(a, d, media_type, by_tag)) {
        mutex_unlock(&a->mu);
        entry_free(e);
        return;
    }
    bucket = bucket_of(a, d);
    e->chain = *bucket;
    *bucket = e;
    list_in(a, e);
    a->bytes += e->bytes;
    while (a->bytes > ANSWERS_BYTES_MAX)
        evict_oldest(a);
    mutex_unlock(&a->mu);
}
