/* Pruning: of the checkpoints the newest two stay and the last of each day, of the parts those that
 * a checkpoint names, or that are young. Checkpoints go first; what they alone named goes with a
 * later pruning, so that whoever has just looked up one of them still finds its parts. Everything
 * here is advice to save space: a failure leaves more than is needed. */
#include "manifests/replica_internal.h"

#include <assert.h>

#include "base/log.h"

#define DAY_MS     (24 * 3600 * 1000LL)
#define KEEP_NEW   2
#define TABLES_MAX 4096
#define PAGES_MAX  10000
#define NAMED_MAX  (1u << 20) /* parts; with more, none is removed */

struct found {
    uint64_t seq;
    int64_t day;
};

struct pruning {
    const struct prune *p;
    struct found tables[TABLES_MAX];
    size_t count;
    bool more, blind;   /* not all that may name a part were read */
    struct omap *named; /* sha256 in hex of parts that stay */
    struct buf last;    /* key, where a page ended */
    int64_t now;
    struct buf gone[STORE_LIST_MAX];
    size_t gone_count;
};

static void pruning_freep(struct pruning **p)
{
    if (!*p)
        return;
    omap_free((*p)->named);
    buf_done(&(*p)->last);
    for (size_t i = 0; i < STORE_LIST_MAX; i++)
        buf_done(&(*p)->gone[i]);
    free(*p);
}

static struct str last_segment(struct str key)
{
    for (ptrdiff_t slash; (slash = str_find(key, '/')) >= 0;)
        key = str_skip(key, (size_t)slash + 1);
    return key;
}

/* ---- checkpoints */

static int add_table(struct str key, const struct store_info *info, void *arg)
{
    struct pruning *p = arg;
    uint64_t seq;

    buf_clear(&p->last);
    buf_add(&p->last, key);
    if (!keys_number_parse(last_segment(key), &seq))
        return 0;
    p->more = p->count == TABLES_MAX;
    if (!p->more)
        p->tables[p->count++] = (struct found){seq, info->modified_ms / DAY_MS};
    return p->more ? 1 : 0;
}

static int list(struct pruning *p, struct str prefix, store_list_fn fn)
{
    int e = 0;

    buf_clear(&p->last);
    for (size_t page = 0; e == 0 && page < PAGES_MAX; page++) {
        struct buf after auto_buf = BUF_INIT(STORE_KEY_MAX);

        buf_add(&after, buf_str(&p->last));
        e = store_list(p->p->store, prefix, buf_str(&after), STORE_LIST_MAX, fn, p, NULL);
        if (e == 0 && buf_err(&p->last) < 0)
            e = -ERR_NOMEM;
        if (str_eq(buf_str(&after), buf_str(&p->last)))
            break;
    }
    return e < 0 ? e : 0;
}

/* Of those listed: is it one of the newest, or the last of its day? */
static bool stays(const struct pruning *p, size_t i)
{
    return i + KEEP_NEW >= p->count || p->tables[i].day != p->tables[i + 1].day;
}

static int note_parts(struct pruning *p, uint64_t seq)
{
    static char mark;
    struct buf key auto_buf = BUF_INIT(STORE_KEY_MAX);
    struct buf text auto_buf = BUF_INIT(CHECKPOINT_HEAD_MAX);
    struct json_doc *doc auto_json = NULL;
    const struct json *parts;
    struct checkpoint_head head;
    int e;

    keys_table(&key, p->p->prefix, seq);
    e = buf_err(&key) < 0 ? buf_err(&key)
                          : store_get(p->p->store, buf_str(&key), 0, STORE_WHOLE, &text, NULL);
    if (e == 0)
        e = checkpoint_decode(buf_str(&text), p->p->name, NULL, &head, &doc, NULL, NULL);
    if (e == -ERR_NOTFOUND || e == -ERR_VERSION) /* it names no part that is here */
        return 0;
    if (e == -ERR_CORRUPT) { /* who knows which it names */
        p->blind = true;
        return 0;
    }
    if (e < 0)
        return e;
    parts = json_get(json_root(doc), "parts");
    for (size_t i = 0; e == 0 && i < json_len(parts); i++)
        e = omap_put(p->named, json_str(json_at(json_at(parts, i), 4)), &mark);
    return omap_count(p->named) > NAMED_MAX ? -ERR_LIMIT : e;
}

static int prune_tables(struct pruning *p)
{
    struct buf prefix auto_buf = BUF_INIT(STORE_KEY_MAX);
    int e;

    keys_tables_of(&prefix, p->p->prefix);
    e = buf_err(&prefix) < 0 ? buf_err(&prefix) : list(p, buf_str(&prefix), add_table);
    /* What they name stays this time, also of those that go. */
    for (size_t i = 0; e == 0 && i < p->count; i++)
        e = note_parts(p, p->tables[i].seq);
    for (size_t i = 0; e == 0 && i < p->count; i++) {
        struct buf key auto_buf = BUF_INIT(STORE_KEY_MAX);

        if (stays(p, i))
            continue;
        keys_table(&key, p->p->prefix, p->tables[i].seq);
        e = buf_err(&key) < 0 ? buf_err(&key)
                              : store_remove(p->p->store, buf_str(&key), STORE_HINT, NULL);
    }
    return e;
}

/* ---- parts */

static int add_gone(struct str key, const struct store_info *info, void *arg)
{
    struct pruning *p = arg;
    struct buf *gone = &p->gone[p->gone_count];

    buf_clear(&p->last);
    buf_add(&p->last, key);
    if (p->now - info->modified_ms <= REPLICA_PART_GRACE_MS ||
        omap_get(p->named, last_segment(key)))
        return 0;
    *gone = BUF_INIT(STORE_KEY_MAX);
    buf_add(gone, key);
    p->gone_count++;
    return p->gone_count == STORE_LIST_MAX ? 1 : 0;
}

static int prune_parts(struct pruning *p)
{
    struct buf prefix auto_buf = BUF_INIT(STORE_KEY_MAX);
    int e;

    keys_parts_of(&prefix, p->p->prefix);
    e = buf_err(&prefix) < 0 ? buf_err(&prefix) : list(p, buf_str(&prefix), add_gone);
    for (size_t i = 0; e == 0 && i < p->gone_count; i++)
        e = buf_err(&p->gone[i]) < 0
                ? buf_err(&p->gone[i])
                : store_remove(p->p->store, buf_str(&p->gone[i]), STORE_HINT, NULL);
    return e;
}

void replica_prune(const struct prune *prune)
{
    struct pruning *p auto_of(pruning_freep) = calloc(1, sizeof(*p));
    int e = p ? omap_new(NULL, &p->named) : -ERR_NOMEM;

    if (e == 0) {
        p->p = prune;
        p->last = BUF_INIT(STORE_KEY_MAX);
        e = store_now(prune->store, &p->now, NULL);
    }
    if (e == 0)
        e = prune_tables(p);
    if (e == 0 && !p->more && !p->blind)
        e = prune_parts(p);
    if (e < 0)
        log_debug("checkpoint.unpruned", KV_V("log", prune->name), KV_S("error", err_name(e)));
}
