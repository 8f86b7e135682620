/* Checkpoints of a replica. At a due position what changed since the last one freezes, under the
 * lock and at once; a background task merges it with the base into a new table, writes the parts
 * that are new, the head, the hint, and then puts the new table below in place of both. When that
 * fails, the frozen changes stay where they are, and the next due position takes them up.
 *
 * A replayed log passes many due positions whose checkpoints nobody needs: there one is written
 * only after as many bytes of entries as the table has, so that replaying stays linear, or when
 * memory asks for it, or at the log's end. Until then the frozen changes take up those that follow,
 * from one due position to the next. */
#include "manifests/replica_internal.h"

#include <assert.h>

#include "base/clock.h"
#include "base/log.h"
#include "base/mutant.h"

#define MORE_MAX     (4u << 20)   /* bytes of what the owner says in a head */
#define OVERLAYS_MAX (16u << 20)  /* memory of changes, from which on one is made whoever wrote */
#define PRUNE_MS     (600 * 1000) /* between two prunings */
#define PRUNE_COUNT  64           /* or so many checkpoints */

/* Outlives its replica while a task runs. */
struct table_writer {
    struct work_item item; /* first: the task is the writer */
    atomic_uint refs;
    struct mutex mu;         /* guards the next; taken before the replica's lock */
    struct replica *replica; /* NULL: it is gone */

    /* Of the task, or of the replica while none runs. */
    struct store *store;
    struct table_cache *cache;
    char prefix[REPLICA_NAME_MAX], name[REPLICA_NAME_MAX];
    struct checkpoint_head head;
    struct buf more;
    struct overlay *changes;
    struct table *base;
    uint64_t base_seq, log_seq;
    bool own;
    int64_t begun_ms, pruned_ms;
    unsigned since_prune;
};

static void let_go(struct table_writer *w)
{
    overlay_unref(w->changes);
    table_unref(w->base);
    w->changes = NULL;
    w->base = NULL;
    buf_done(&w->more);
}

static void unref(struct table_writer *w)
{
    if (atomic_fetch_sub(&w->refs, 1) > 1)
        return;
    let_go(w);
    table_cache_free(w->cache);
    mutex_done(&w->mu);
    free(w);
}

void replica_table_free(struct replica *r)
{
    struct table_writer *w = r->writer;

    if (!w)
        return;
    mutex_lock(&w->mu);
    w->replica = NULL;
    mutex_unlock(&w->mu);
    unref(w);
    r->writer = NULL;
}

struct table_spec replica_table_spec(const struct replica *r)
{
    return (struct table_spec){
        .store = node_store(r->node), .cache = r->cache, .prefix = r->prefix_str};
}

/* ---- the task */

/* Of another's part the date is made new when it is old: nobody names it any more, and it may be on
 * its way out. */
static int keep_part(struct table_writer *w, struct str key, struct str bytes,
                     const struct table_part *part)
{
    struct store_info info;
    int64_t now;
    int e = store_head(w->store, key, &info, NULL);

    if (e == 0)
        e = store_now(w->store, &now, NULL);
    if (e < 0)
        return e;
    if (table_part_bad(w->cache, part) || now - info.modified_ms > REPLICA_PART_GRACE_MS / 2)
        e = store_put(w->store, key, STORE_RECORD, bytes, NULL);
    if (e == 0)
        table_part_mended(w->cache, part);
    return e;
}

static int emit(void *arg, const struct table_part *part, struct str bytes)
{
    struct table_writer *w = arg;
    struct buf key auto_buf = BUF_INIT(STORE_KEY_MAX);
    char hex[DIGEST_TEXT_MAX];
    struct store_info info;
    int e;

    keys_part(&key, str_of(w->prefix), digest_hex(&part->sha, hex));
    if (buf_err(&key) < 0)
        return buf_err(&key);
    /* Who follows is mostly second. */
    e = w->own ? -ERR_NOTFOUND : store_head(w->store, buf_str(&key), &info, NULL);
    if (e == -ERR_NOTFOUND)
        e = store_create(w->store, buf_str(&key), STORE_RECORD, bytes, NULL);
    else if (e == 0)
        e = -ERR_EXISTS;
    if (e == -ERR_UNKNOWN || e == -ERR_EXISTS)
        e = keep_part(w, buf_str(&key), bytes, part);
    return e;
}

/* Parts that were taken over unread are named by the base's checkpoint; when that was pruned
 * meanwhile, so may they have been. */
static int still_there(const struct table_writer *w, struct table *t)
{
    struct buf key auto_buf = BUF_INIT(STORE_KEY_MAX);
    struct store_info info;
    int e;

    if (!w->base || w->base_seq == 0 || table_inline(t).len > 0)
        return 0;
    keys_table(&key, str_of(w->prefix), w->base_seq);
    e = buf_err(&key) < 0 ? buf_err(&key) : store_head(w->store, buf_str(&key), &info, NULL);
    if (e != -ERR_NOTFOUND)
        return e;
    e = 0;
    for (size_t i = 0; e == 0 && i < table_part_count(t); i++) {
        char hex[DIGEST_TEXT_MAX];

        buf_clear(&key);
        keys_part(&key, str_of(w->prefix), digest_hex(&table_part(t, i)->sha, hex));
        e = store_head(w->store, buf_str(&key), &info, NULL);
    }
    return e;
}

static int write_hint(const struct table_writer *w)
{
    struct buf key auto_buf = BUF_INIT(STORE_KEY_MAX);
    struct buf text auto_buf = BUF_INIT(REPLICA_HINT_MAX);
    struct jw json = JW_INIT(&text);

    keys_hint(&key, str_of(w->prefix));
    jw_begin(&json, '{');
    jw_kint(&json, "v", 1);
    jw_kint(&json, "checkpoint", (int64_t)w->head.seq);
    jw_kint(&json, "head", (int64_t)w->log_seq + (mutant("hint-ahead") ? 1 : 0));
    jw_end(&json, '}');
    if (buf_err(&key) < 0 || buf_err(&text) < 0)
        return -ERR_NOMEM;
    return store_put(w->store, buf_str(&key), STORE_HINT, buf_str(&text), NULL);
}

static int write_head(const struct table_writer *w, const struct table *t)
{
    struct buf key auto_buf = BUF_INIT(STORE_KEY_MAX);
    struct buf text auto_buf = BUF_INIT(CHECKPOINT_HEAD_MAX);
    int e = checkpoint_encode(&w->head, buf_str(&w->more), t, &text);

    keys_table(&key, str_of(w->prefix), w->head.seq + (mutant("table-ahead") ? 1 : 0));
    if (e == 0)
        e = buf_err(&key);
    if (e == 0 && clock_boot_ms() - w->begun_ms > REPLICA_TABLE_MAX_MS)
        e = -ERR_LIMIT; /* its parts may be taken for forgotten ones */
    if (e == 0)
        e = store_create(w->store, buf_str(&key), STORE_RECORD, buf_str(&text), NULL);
    /* Another node's is the same; of an unknown outcome nothing is said. */
    return e == -ERR_EXISTS ? 0 : e;
}

static int make_table(struct table_writer *w, struct table **ret, struct err_detail *detail)
{
    struct table_spec spec = {.store = w->store, .cache = w->cache, .prefix = str_of(w->prefix)};
    struct table *t auto_table = NULL;
    int e = table_merge(&spec, &table_limits, w->base, w->changes->map, emit, w, &t, detail);

    if (e == 0)
        e = still_there(w, t);
    if (e == 0)
        e = write_head(w, t);
    if (e < 0)
        return e;
    *ret = STEAL(t);
    return 0;
}

/* t NULL: it failed. */
static void install(struct table_writer *w, struct table *t)
{
    struct replica *r;

    mutex_lock(&w->mu);
    r = w->replica;
    if (r) {
        mutex_lock(&r->mu);
        if (t && layers_frozen(r->layers) == w->changes) {
            layers_rebase(r->layers, t);
            r->base_seq = w->head.seq;
            atomic_store(&r->bytes, sizeof(*r) + r->ops->bytes(r->self));
        }
        r->freezing = false;
        cond_broadcast(&r->table_over);
        mutex_unlock(&r->mu);
    }
    mutex_unlock(&w->mu);
}

static bool prune_due(struct table_writer *w)
{
    int64_t now = clock_boot_ms();

    if (w->pruned_ms > 0 && now - w->pruned_ms < PRUNE_MS && ++w->since_prune < PRUNE_COUNT)
        return false;
    w->pruned_ms = now;
    w->since_prune = 0;
    return true;
}

static void write_table(struct work_item *item)
{
    struct table_writer *w = (struct table_writer *)item;
    struct prune p = {.store = w->store, .prefix = str_of(w->prefix), .name = str_of(w->name)};
    struct table *t auto_table = NULL;
    struct err_detail detail = {{0}};
    bool prunes;
    int e = make_table(w, &t, &detail);

    if (e == 0)
        e = write_hint(w);
    if (e < 0)
        log_debug("checkpoint.unwritten", KV_S("log", w->prefix), KV_I("seq", w->head.seq),
                  KV_S("error", err_name(e)), KV_S("why", detail.text));
    prunes = e == 0 && prune_due(w);
    /* From here on the replica may begin the next one. */
    install(w, t);
    if (prunes)
        replica_prune(&p);
    unref(w);
}

/* ---- the replica's side */

static struct table_writer *writer_of(struct replica *r)
{
    struct table_writer *w = r->writer;

    if (!w && r->background) {
        w = calloc(1, sizeof(*w));
        if (!w)
            return NULL;
        w->item.fn = write_table;
        atomic_init(&w->refs, 1);
        mutex_init(&w->mu);
        w->replica = r;
        w->store = node_store(r->node);
        w->cache = table_cache_ref(r->cache);
        memcpy(w->prefix, r->prefix, sizeof(w->prefix));
        memcpy(w->name, r->name, sizeof(w->name));
        w->more = BUF_INIT(MORE_MAX);
        r->writer = w;
    }
    return w;
}

static void freeze(struct replica *r, const struct checkpoint_head *head, bool own)
{
    struct table_writer *w = writer_of(r);
    struct jw more = JW_INIT(NULL);

    if (!w || r->freezing || !r->ops->settled(r->self))
        return;
    let_go(w);
    more.out = &w->more;
    r->ops->write_more(r->self, &more);
    if (buf_err(&w->more) < 0 || layers_freeze(r->layers) < 0)
        return;
    w->head = *head;
    w->head.repo = str_of(w->name);
    w->changes = overlay_ref(layers_frozen(r->layers));
    w->base = w->changes->hides ? NULL : table_ref(r->layers->base);
    w->base_seq = r->base_seq;
    w->own = own;
    r->table_pending = true;
}

/* Locked: what froze at the last due position is written. */
static void begin(struct replica *r)
{
    if (!r->table_pending)
        return;
    r->table_pending = false;
    r->unwritten = 0;
    r->freezing = r->table_ready = true;
}

static size_t overlays(const struct replica *r)
{
    return layers_memory(r->layers) - (r->layers->base ? table_bytes(r->layers->base) : 0);
}

bool replica_due_with(struct replica *r, const struct objlog_entry *e)
{
    struct due due;

    mutex_lock(&r->mu);
    due = r->due;
    mutex_unlock(&r->mu);
    return due_add(&due, e->raw.len);
}

void replica_table_applied(struct replica *r, const struct objlog_entry *e, bool own)
{
    struct checkpoint_head head = {
        .seq = e->seq, .ts = e->ts, .previous = r->due.last, .bytes = r->layers->bytes};

    r->unwritten += e->raw.len;
    if (!due_add(&r->due, e->raw.len))
        return;
    memcpy(head.hash, e->hash, sizeof(head.hash));
    freeze(r, &head, own);
    if (own || r->unwritten >= head.bytes || overlays(r) > OVERLAYS_MAX)
        begin(r);
    due_pass(&r->due, e->seq, head.bytes);
}

void replica_table_replayed(struct replica *r)
{
    mutex_lock(&r->mu);
    begin(r);
    mutex_unlock(&r->mu);
    replica_table_submit(r);
}

void replica_table_wait(struct replica *r)
{
    mutex_lock(&r->mu);
    while (r->freezing && !r->table_ready)
        cond_wait(&r->table_over, &r->mu);
    mutex_unlock(&r->mu);
}

void replica_table_submit(struct replica *r)
{
    struct table_writer *w = NULL;
    bool much;

    mutex_lock(&r->mu);
    if (r->table_ready) {
        w = r->writer;
        w->log_seq = r->pos.seq;
        w->begun_ms = clock_boot_ms();
        atomic_fetch_add(&w->refs, 1);
        r->table_ready = false;
    }
    much = r->freezing && overlays(r) > 2 * OVERLAYS_MAX;
    mutex_unlock(&r->mu);
    if (w && work_submit(r->background, &w->item) < 0) {
        mutex_lock(&r->mu);
        r->freezing = false; /* the next due position takes it up */
        mutex_unlock(&r->mu);
        unref(w);
        return;
    }
    if (much)
        replica_table_wait(r);
}
