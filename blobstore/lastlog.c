#include "blobstore/lastlog.h"

#include <assert.h>

#include "base/clock.h"

#define TRIES_MAX      8
#define PRUNE_EACH_MS  (LASTLOG_KEEP_MS / 6)
#define PRUNE_KEYS_MAX STORE_LIST_MAX

struct lastlog {
    struct node *node; /* borrowed */
    struct objlog *log;
    struct buf prefix;
    struct objlog_pos pos;
    int64_t looked_ms; /* clock_boot_ms of the last look; 0: none */
    int64_t pruned_ms;
};

int lastlog_new(struct node *n, struct str prefix, struct lastlog **ret)
{
    struct objlog_spec spec = {.prefix = prefix, .name = prefix, .deep = false, .cls = STORE_LOG};
    struct lastlog *l auto_lastlog = calloc(1, sizeof(*l));
    int e;

    if (!l)
        return -ERR_NOMEM;
    l->node = n;
    l->prefix = BUF_INIT(STORE_KEY_MAX);
    buf_add(&l->prefix, prefix);
    buf_addc(&l->prefix, '/');
    l->pruned_ms = clock_boot_ms();
    e = buf_err(&l->prefix);
    if (e == 0)
        e = objlog_new(n, &spec, &l->log);
    if (e < 0)
        return e;
    *ret = STEAL(l);
    return 0;
}

void lastlog_free(struct lastlog *l)
{
    if (!l)
        return;
    objlog_free(l->log);
    buf_done(&l->prefix);
    free(l);
}

void lastlog_freep(struct lastlog **l)
{
    lastlog_free(*l);
    *l = NULL;
}

uint64_t lastlog_seq(const struct lastlog *l)
{
    return l->pos.seq;
}

/* ---- the end */

struct listing {
    struct str prefix;
    struct buf after;
    uint64_t last;
    unsigned count;
};

static int see_key(struct str key, const struct store_info *info, void *arg)
{
    struct listing *x = arg;
    uint64_t seq;

    (void)info;
    x->count++;
    buf_clear(&x->after);
    buf_add(&x->after, key);
    if (keys_number_parse(str_skip(key, x->prefix.len), &seq) && seq <= INT64_MAX)
        x->last = seq;
    return buf_err(&x->after);
}

/* Greatest number there is; 0: none. */
static int find_last(struct lastlog *l, uint64_t *ret, struct err_detail *detail)
{
    struct listing x = {.prefix = buf_str(&l->prefix), .after = BUF_INIT(STORE_KEY_MAX)};
    int e;

    do {
        x.count = 0;
        e = store_list(node_store(l->node), x.prefix, buf_str(&x.after), STORE_LIST_MAX, see_key,
                       &x, detail);
    } while (e == 0 && x.count == STORE_LIST_MAX);
    buf_done(&x.after);
    *ret = x.last;
    return e;
}

struct start {
    struct objlog_pos pos;
    objlog_apply_fn apply;
    void *arg;
};

static int begin_at(const struct objlog_entry *e, void *arg)
{
    struct start *s = arg;

    s->pos.seq = e->seq;
    s->pos.ts = e->ts;
    memcpy(s->pos.hash, e->hash, sizeof(s->pos.hash));
    return s->apply(e, s->arg);
}

/* From the greatest number on: what lies before it was removed, or is about to be. */
static int open_end(struct lastlog *l, objlog_apply_fn apply, void *arg, struct err_detail *detail)
{
    for (int i = 0; i < TRIES_MAX; i++) {
        struct start s = {.apply = apply, .arg = arg};
        uint64_t last;
        int e = find_last(l, &last, detail);

        if (e < 0 || last <= l->pos.seq)
            return e;
        e = objlog_read(l->log, last, begin_at, &s, detail);
        if (e == 0)
            l->pos = s.pos;
        if (e != -ERR_NOTFOUND)
            return e;
    }
    return err_set(detail, -ERR_UNAVAIL, "the end of log %s moves on all the time",
                   buf_c(&l->prefix));
}

int lastlog_read(struct lastlog *l, objlog_apply_fn apply, void *arg, struct err_detail *detail)
{
    int64_t now = clock_boot_ms();
    int e = 0;

    if (l->looked_ms == 0 || now - l->looked_ms > LASTLOG_STALE_MS)
        e = open_end(l, apply, arg, detail);
    if (e == 0)
        e = objlog_follow(l->log, &l->pos, apply, arg, detail);
    if (e == 0)
        l->looked_ms = now;
    return e;
}

/* ---- appending */

struct old {
    struct lastlog *log;
    int64_t before_ms;
    struct buf keys[PRUNE_KEYS_MAX];
    size_t count;
};

static int see_old(struct str key, const struct store_info *info, void *arg)
{
    struct old *o = arg;
    uint64_t seq;

    if (!keys_number_parse(str_skip(key, o->log->prefix.len), &seq) || seq >= o->log->pos.seq ||
        info->modified_ms >= o->before_ms)
        return 1;
    o->keys[o->count] = BUF_INIT(STORE_KEY_MAX);
    buf_add(&o->keys[o->count], key);
    return buf_err(&o->keys[o->count++]);
}

/* Best effort; what is left is removed another time. */
static void prune(struct lastlog *l)
{
    struct store *s = node_store(l->node);
    struct old *o;
    int64_t now;

    if (clock_boot_ms() - l->pruned_ms < PRUNE_EACH_MS || store_now(s, &now, NULL) < 0)
        return;
    l->pruned_ms = clock_boot_ms();
    o = calloc(1, sizeof(*o));
    if (!o)
        return;
    o->log = l;
    o->before_ms = now - LASTLOG_KEEP_MS;
    (void)!store_list(s, buf_str(&l->prefix), STR_NONE, PRUNE_KEYS_MAX, see_old, o, NULL);
    for (size_t i = 0; i < o->count; i++) {
        (void)!store_remove(s, buf_str(&o->keys[i]), STORE_HINT, NULL);
        buf_done(&o->keys[i]);
    }
    free(o);
}

int lastlog_append(struct lastlog *l, struct str ops, int64_t validated_ms,
                   struct err_detail *detail)
{
    int e;

    assert(l->looked_ms > 0);
    e = objlog_append(l->log, &l->pos, ops, STR_NONE, validated_ms, NULL, detail);
    if (e == 0)
        prune(l);
    return e;
}
