/* Checkpoints of a replica: encoded by whoever applies the entry at a due position, since only
 * there the state is the one wanted; written in the background. The encoding runs under the lock,
 * about 1 ms per 3 MB of table: bounded by CHECKPOINT_BYTES_MAX.
 *
 * A replayed log passes many due positions whose checkpoints nobody needs: there one is encoded
 * only after as many bytes of entries as it is long, so that replaying stays linear. */
#include "manifests/replica_internal.h"

#include <assert.h>

#include "base/log.h"
#include "base/mutant.h"

/* Outlives its replica while a task runs. */
struct table_writer {
    struct work_item item; /* first: the task is the writer */
    atomic_uint refs;
    atomic_bool busy; /* text belongs to the task */
    struct store *store;
    char prefix[REPLICA_NAME_MAX];
    uint64_t seq, head;
    struct buf text;
};

static void unref(struct table_writer *w)
{
    if (atomic_fetch_sub(&w->refs, 1) > 1)
        return;
    buf_done(&w->text);
    free(w);
}

void replica_table_free(struct replica *r)
{
    if (r->writer)
        unref(r->writer);
    r->writer = NULL;
}

static int write_hint(const struct table_writer *w)
{
    struct buf key auto_buf = BUF_INIT(STORE_KEY_MAX);
    struct buf text auto_buf = BUF_INIT(REPLICA_HINT_MAX);
    struct jw json = JW_INIT(&text);

    keys_hint(&key, str_of(w->prefix));
    jw_begin(&json, '{');
    jw_kint(&json, "v", 1);
    jw_kint(&json, "checkpoint", (int64_t)w->seq);
    jw_kint(&json, "head", (int64_t)w->head + (mutant("hint-ahead") ? 1 : 0));
    jw_end(&json, '}');
    if (buf_err(&key) < 0 || buf_err(&text) < 0)
        return -ERR_NOMEM;
    return store_put(w->store, buf_str(&key), STORE_HINT, buf_str(&text), NULL);
}

static void write_table(struct work_item *item)
{
    struct table_writer *w = (struct table_writer *)item;
    struct buf key auto_buf = BUF_INIT(STORE_KEY_MAX);
    int e;

    keys_table(&key, str_of(w->prefix), w->seq + (mutant("table-ahead") ? 1 : 0));
    e = buf_err(&key);
    if (e == 0)
        e = store_create(w->store, buf_str(&key), STORE_RECORD, buf_str(&w->text), NULL);
    /* Another node's is the same; of an unknown outcome nothing is said. */
    if (e == 0 || e == -ERR_EXISTS)
        e = write_hint(w);
    if (e < 0)
        log_debug("checkpoint.unwritten", KV_S("log", w->prefix), KV_I("seq", w->seq),
                  KV_S("error", err_name(e)));
    buf_done(&w->text);
    atomic_store(&w->busy, false);
    unref(w);
}

static struct table_writer *writer_of(struct replica *r)
{
    struct table_writer *w = r->writer;

    if (!w && r->background) {
        w = calloc(1, sizeof(*w));
        if (!w)
            return NULL;
        w->item.fn = write_table;
        atomic_init(&w->refs, 1);
        atomic_init(&w->busy, false);
        w->store = node_store(r->node);
        memcpy(w->prefix, r->prefix, sizeof(w->prefix));
        w->text = BUF_INIT(CHECKPOINT_BYTES_MAX);
        r->writer = w;
    }
    return w;
}

static void encode(struct replica *r, const struct checkpoint_head *head, size_t size)
{
    struct table_writer *w = writer_of(r);

    if (!w || r->table_ready || atomic_load(&w->busy) || size > CHECKPOINT_BYTES_MAX)
        return;
    buf_clear(&w->text);
    if (r->ops->encode(r->self, head, &w->text) < 0) {
        buf_done(&w->text);
        return;
    }
    assert(w->text.len == size);
    w->seq = w->head = head->seq;
    r->unwritten = 0;
    r->table_ready = true;
}

void replica_table_applied(struct replica *r, const struct objlog_entry *e, bool own)
{
    struct checkpoint_head head = {
        .repo = r->name_str, .seq = e->seq, .ts = e->ts, .previous = r->due.last};
    size_t size;

    r->unwritten += e->raw.len;
    if (!due_add(&r->due, e->raw.len))
        return;
    memcpy(head.hash, e->hash, sizeof(head.hash));
    size = r->ops->table_bytes(r->self, &head);
    if (own || r->unwritten >= size)
        encode(r, &head, size);
    due_pass(&r->due, e->seq, size);
}

void replica_table_submit(struct replica *r)
{
    struct table_writer *w = NULL;

    mutex_lock(&r->mu);
    if (r->table_ready) {
        r->table_ready = false;
        w = r->writer;
        w->head = r->pos.seq;
        atomic_store(&w->busy, true);
        atomic_fetch_add(&w->refs, 1);
    }
    mutex_unlock(&r->mu);
    if (!w || work_submit(r->background, &w->item) == 0)
        return;
    buf_done(&w->text);
    atomic_store(&w->busy, false);
    unref(w);
}
