/* Cold open: hint, newest checkpoint that holds, the entries after it (design section 6). Hint and
 * checkpoint are caches: missing or wrong they cost time. But a log that ends before what they name
 * has lost entries: then the newest known state is served, read-only, with an alarm. */
#include "manifests/replica_internal.h"

#include <assert.h>

#include "base/clock.h"
#include "base/log.h"

#define LOOK_FEW   2   /* a log without a hint is read so far before anything else is asked */
#define LOOK_AT    256 /* so many entries without a hint are worth a listing of checkpoints */
#define TABLES_TRY 4   /* newest checkpoints that are tried */
#define PAGES_MAX  100000
#define OPEN_TRY   3 /* checkpoints that may be found damaged while opening */

struct hint {
    uint64_t checkpoint, head;
};

/* Newest first. */
struct tables {
    uint64_t seq[TABLES_TRY];
    size_t count;
    uint64_t last_seen;
};

static struct store *store_of(const struct replica *r)
{
    return node_store(r->node);
}

/* Zeros when there is none that can be read. */
static int read_hint(struct replica *r, struct hint *ret, struct err_detail *detail)
{
    struct buf key auto_buf = BUF_INIT(STORE_KEY_MAX);
    struct buf text auto_buf = BUF_INIT(REPLICA_HINT_MAX);
    struct json_doc *doc auto_json = NULL;
    int64_t checkpoint, head;
    int e;

    *ret = (struct hint){0, 0};
    keys_hint(&key, r->prefix_str);
    e = buf_err(&key);
    if (e == 0)
        e = store_get(store_of(r), buf_str(&key), 0, STORE_WHOLE, &text, detail);
    if (e == -ERR_NOTFOUND || e == -ERR_TOOBIG || e == -ERR_IO)
        return 0;
    if (e == 0)
        e = json_parse(buf_str(&text), &doc, NULL);
    if (e == -ERR_INVAL)
        return 0;
    if (e < 0)
        return e;
    if (json_get_int(json_root(doc), "checkpoint", &checkpoint) && checkpoint >= 0 &&
        json_get_int(json_root(doc), "head", &head) && head >= 0)
        *ret = (struct hint){(uint64_t)checkpoint, (uint64_t)head};
    return 0;
}

static int add_table(struct str key, const struct store_info *info, void *arg)
{
    struct tables *t = arg;
    struct str last = key;
    uint64_t seq;

    (void)info;
    for (ptrdiff_t slash; (slash = str_find(last, '/')) >= 0;)
        last = str_skip(last, (size_t)slash + 1);
    if (!keys_number_parse(last, &seq) || seq == 0)
        return 0;
    memmove(t->seq + 1, t->seq, (TABLES_TRY - 1) * sizeof(t->seq[0]));
    t->seq[0] = seq;
    t->count += t->count < TABLES_TRY ? 1 : 0;
    t->last_seen = seq;
    return 0;
}

/* All checkpoints there are, in ascending order; the last ones are kept. */
static int list_tables(struct replica *r, struct tables *ret, struct err_detail *detail)
{
    struct buf prefix auto_buf = BUF_INIT(STORE_KEY_MAX);
    struct tables t = {.count = 0};
    int e = 0;

    keys_tables_of(&prefix, r->prefix_str);
    for (size_t page = 0; page < PAGES_MAX; page++) {
        struct buf after auto_buf = BUF_INIT(STORE_KEY_MAX);
        uint64_t seen = t.last_seen;

        if (seen > 0)
            keys_table(&after, r->prefix_str, seen);
        if (buf_err(&prefix) < 0 || buf_err(&after) < 0)
            return -ERR_NOMEM;
        e = store_list(store_of(r), buf_str(&prefix), buf_str(&after), STORE_LIST_MAX, add_table,
                       &t, detail);
        if (e < 0)
            return e;
        if (t.last_seen == seen)
            break;
    }
    *ret = t;
    return 0;
}

struct compare {
    const uint8_t *hash;
    bool equal;
};

static int compare_hash(const struct objlog_entry *e, void *arg)
{
    struct compare *c = arg;

    c->equal = memcmp(e->hash, c->hash, OBJLOG_HASH_BYTES) == 0;
    return 0;
}

/* Does a checkpoint hold for this log? 0, -ERR_CORRUPT, -ERR_NOTFOUND (its entry is lost), ... */
static int check_table(struct replica *r, const struct checkpoint_head *head,
                       struct err_detail *detail)
{
    struct compare c = {.hash = head->hash, .equal = false};
    int e = objlog_read(r->log, head->seq, compare_hash, &c, detail);

    if (e < 0)
        return e;
    return c.equal ? 0 : err_set(detail, -ERR_CORRUPT, "the entry there has another hash");
}

/* The state becomes that of the checkpoint, as if its log had been applied. */
static int stand_at(struct replica *r, const struct checkpoint_head *head, struct table *t,
                    const struct json *keys)
{
    int e;

    mutex_lock(&r->mu);
    e = r->ops->reset(r->self);
    if (e == 0) {
        r->layers->base = table_ref(t);
        r->layers->bytes = head->bytes;
        e = r->ops->read_more(r->self, keys, head->seq);
    }
    if (e < 0) {
        (void)!r->ops->reset(r->self);
        mutex_unlock(&r->mu);
        return e;
    }
    r->pos.seq = r->base_seq = head->seq;
    r->pos.ts = head->ts;
    memcpy(r->pos.hash, head->hash, sizeof(r->pos.hash));
    r->due = (struct due){.last = head->seq, .since = 0, .table = head->bytes};
    r->unwritten = 0;
    r->table_pending = false;
    atomic_store(&r->bytes, sizeof(*r) + r->ops->bytes(r->self));
    mutex_unlock(&r->mu);
    return 0;
}

static bool bad_not_failed(int e)
{
    return e == -ERR_CORRUPT || e == -ERR_VERSION || e == -ERR_TOOBIG || e == -ERR_IO;
}

/* Parts that somebody on this node found damaged may have been mended since. */
static int recheck(struct table *t, struct err_detail *detail)
{
    int e = 0;

    for (size_t i = 0; e == 0 && table_known_bad(t) && i < table_part_count(t); i++)
        e = table_check_part(t, i, detail);
    return e;
}

/* *ret_failed: the entry it stands at cannot be read now, which says nothing of the checkpoint. */
static int load_table(struct replica *r, uint64_t seq, struct str text, bool *ret_failed,
                      struct err_detail *why)
{
    struct table_spec spec = replica_table_spec(r);
    struct json_doc *doc auto_json = NULL;
    struct table *t auto_table = NULL;
    struct checkpoint_head head;
    int e = checkpoint_decode(text, r->name_str, &spec, &head, &doc, &t, why), held = 0;

    for (size_t i = 0; e == 0 && i < r->bad_count; i++)
        if (r->bad_tables[i] == seq)
            e = err_set(why, -ERR_CORRUPT, "a record of it was found malformed");
    if (e == 0 && head.seq != seq)
        e = err_set(why, -ERR_CORRUPT, "it names another position");
    if (e == 0)
        e = recheck(t, why);
    if (e == 0)
        held = check_table(r, &head, why);
    *ret_failed = e == 0 && held == -ERR_IO;
    if (e == 0 && held < 0 && held != -ERR_NOTFOUND)
        e = held;
    if (e == 0)
        e = stand_at(r, &head, t, json_root(doc));
    if (e == 0 && held == -ERR_NOTFOUND) /* its entry is lost, it knows more than the log */
        replica_set_readonly(r, "log.lost", seq);
    return e;
}

int replica_try_table(struct replica *r, uint64_t seq, struct err_detail *detail)
{
    struct buf key auto_buf = BUF_INIT(STORE_KEY_MAX);
    struct buf text auto_buf = BUF_INIT(CHECKPOINT_HEAD_MAX);
    struct err_detail why = {{0}};
    bool failed = false;
    int e;

    keys_table(&key, r->prefix_str, seq);
    e = buf_err(&key);
    if (e == 0)
        e = store_get(store_of(r), buf_str(&key), 0, STORE_WHOLE, &text, &why);
    if (e == 0)
        e = load_table(r, seq, buf_str(&text), &failed, &why);
    if (e == 0 || e == -ERR_NOTFOUND)
        return e;
    if (failed || !bad_not_failed(e))
        return err_set(detail, e, "%s", why.text);
    if (e == -ERR_VERSION)
        log_info("checkpoint.passed_over", KV_V("key", buf_str(&key)), KV_S("why", why.text));
    else
        log_alarm("checkpoint.bad",
                  (const struct log_kv[]){KV_V("key", buf_str(&key)), KV_S("error", err_name(e)),
                                          KV_S("why", why.text), KV_END});
    return -ERR_NOTFOUND;
}

/* Without a hint: most logs that have none are empty or very short, and then that is all. 1: the
 * log was read to its end; 0: it is not worth a listing; -ERR_NOTFOUND: it is. A checkpoint may lie
 * behind an entry that is damaged, too. */
static int read_short(struct replica *r, struct err_detail *detail)
{
    int e = replica_follow_to(r, LOOK_FEW, detail);

    if (e < 0 && e != -ERR_CORRUPT && e != -ERR_VERSION)
        return e;
    if (e == 0)
        return 1;
    if (objlog_probe(r->log, LOOK_AT) == 0 || objlog_ends_by(r->log, LOOK_AT))
        return 0;
    return -ERR_NOTFOUND;
}

/* As read_short; 0 also when a checkpoint was taken. */
static int load_newest(struct replica *r, const struct hint *hint, struct err_detail *detail)
{
    struct tables t;
    int e = hint->checkpoint > 0 ? replica_try_table(r, hint->checkpoint, detail)
                                 : read_short(r, detail);

    if (e != -ERR_NOTFOUND)
        return e;
    e = list_tables(r, &t, detail);
    if (e < 0)
        return e;
    replica_table_wait(r); /* of what was read so far */
    for (size_t i = 0; i < t.count; i++) {
        if (t.seq[i] == hint->checkpoint || t.seq[i] <= r->pos.seq)
            continue;
        e = replica_try_table(r, t.seq[i], detail);
        if (e != -ERR_NOTFOUND)
            return e;
    }
    return 0;
}

static int open_log(struct replica *r, uint64_t known, struct err_detail *detail)
{
    int64_t begun_ns = clock_boot_ns();
    struct hint hint;
    int e;

    if (r->frozen)
        return replica_go_to(r, detail);
    e = read_hint(r, &hint, detail);

    /* Opening again after a failure goes on where that one stood. */
    if (e == 0 && r->pos.seq == 0)
        e = load_newest(r, &hint, detail);
    if (e < 0)
        return e;
    e = e == 1 ? 0 : replica_follow(r, detail);
    if (e < 0 && e != -ERR_CORRUPT)
        return e;
    known = hint.head > known ? hint.head : known;
    known = hint.checkpoint > known ? hint.checkpoint : known;
    if (r->pos.seq < known)
        replica_set_readonly(r, "log.lost", known);
    replica_table_replayed(r);
    if (e == 0 && r->pos.seq >= known)
        atomic_store_explicit(&r->confirmed_ns, begun_ns, memory_order_relaxed);
    return 0;
}

int replica_open(struct replica *r, struct err_detail *detail)
{
    int e;

    assert(!r->held);
    for (int i = 0; i < OPEN_TRY; i++) {
        e = open_log(r, 0, detail);
        if (e == 0 || !replica_lost(r))
            break;
        e = replica_reload(r, detail);
        if (e == 0)
            break;
    }
    return e;
}

int replica_open_unheard(struct replica *r, struct err_detail *detail)
{
    int64_t begun_ns = clock_boot_ns();

    if (!objlog_ends_by(r->log, 0))
        return replica_open(r, detail);
    r->unheard = true;
    atomic_store_explicit(&r->confirmed_ns, begun_ns, memory_order_relaxed);
    return 0;
}

int replica_check_unheard(struct replica *r, struct err_detail *detail)
{
    struct hint hint;
    int e = r->unheard && r->pos.seq == 0 ? read_hint(r, &hint, detail) : 1;

    if (e != 0)
        return e < 0 ? e : 0;
    /* Others have written since it was opened, or it is shorter than it was. */
    if (hint.head > 0 || hint.checkpoint > 0)
        e = open_log(r, 0, detail);
    if (e < 0)
        return e;
    r->unheard = false;
    e = replica_writable(r, detail);
    return e == 0 && r->pos.seq > 0 ? -ERR_EXISTS : e;
}

/* ---- again */

bool replica_lost(const struct replica *r)
{
    return r->layers->closed || (r->layers->base && table_bad(r->layers->base));
}

/* A checkpoint that is gone was pruned by another node, which is no damage. */
static void tell(struct replica *r)
{
    struct buf key auto_buf = BUF_INIT(STORE_KEY_MAX);
    struct store_info info;

    if (r->base_seq == 0)
        return;
    keys_table(&key, r->prefix_str, r->base_seq);
    if (buf_err(&key) < 0 || store_head(store_of(r), buf_str(&key), &info, NULL) == -ERR_NOTFOUND)
        return;
    r->bad_tables[r->bad_next++ % REPLICA_BAD_MAX] = r->base_seq;
    r->bad_count += r->bad_count < REPLICA_BAD_MAX ? 1 : 0;
    log_alarm("checkpoint.bad",
              (const struct log_kv[]){KV_V("key", buf_str(&key)),
                                      KV_S("why", "a part is damaged or missing"), KV_END});
}

/* Empty and closed: whoever asks is told to come again. */
static int close_state(struct replica *r)
{
    int e;

    mutex_lock(&r->mu);
    e = r->ops->reset(r->self);
    if (e == 0) {
        r->layers->closed = true;
        r->pos = (struct objlog_pos){.seq = 0};
        r->due = (struct due){.last = 0};
        r->unwritten = r->base_seq = 0;
        r->table_pending = false;
        r->stuck = false;
    }
    mutex_unlock(&r->mu);
    return e;
}

int replica_reload(struct replica *r, struct err_detail *detail)
{
    uint64_t known;
    bool lost;
    int e = 0;

    mutex_lock(&r->mu);
    r->followers_waiting++;
    while (r->held)
        cond_wait(&r->followers, &r->mu);
    r->followers_waiting--;
    r->held = true;
    lost = replica_lost(r);
    known = r->pos.seq > r->known_seq ? r->pos.seq : r->known_seq;
    r->known_seq = known;
    mutex_unlock(&r->mu);
    if (lost) {
        tell(r);
        replica_table_wait(r);
        e = close_state(r);
        if (e == 0)
            e = open_log(r, known, detail);
    }
    mutex_lock(&r->mu);
    if (e == 0)
        r->layers->closed = false;
    r->held = false;
    replica_pass_on(r);
    mutex_unlock(&r->mu);
    return e;
}
