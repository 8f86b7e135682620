/* What the entries of a repository's log mean to its replica: decoding, applying, checkpoints, and
 * what comes before and after a commit. */
#include <assert.h>

#include "base/log.h"
#include "base/mutant.h"
#include "manifests/repo_internal.h"

#define MARKER_MS (600 * 1000LL) /* ten minutes of the store's clock */
#define MARKER_AHEAD_MS                                                                            \
    (OBJLOG_VALID_MS + OBJLOG_DECIDE_MS) /* an entry lands within this of its marker */
#define MARKER_MAX 128

/* ---- entries */

struct prepared_op {
    struct taglog_op op;
    bool incomplete;
    struct buf body; /* of a put with ext, like its manifest */
    struct manifest manifest;
};

struct prepared {
    size_t count;
    struct prepared_op ops[];
};

static void discard(void *prepared)
{
    struct prepared *p = prepared;

    if (!p)
        return;
    for (size_t i = 0; i < p->count; i++) {
        taglog_op_done(&p->ops[i].op);
        manifest_done(&p->ops[i].manifest);
        buf_done(&p->ops[i].body);
    }
    free(p);
}

/* B15. A record that is gone or damaged does not stop the log: the manifest may have been deleted
 * since. It then grants nothing. */
static int load_ext(struct repo *r, struct prepared_op *p, struct err_detail *detail)
{
    char text[DIGEST_TEXT_MAX];
    int e = blob_read(repos_blobs(r->owner), &p->op.digest, MANIFEST_BYTES_MAX, &p->body, detail);

    if (e == 0)
        e = manifest_parse(buf_str(&p->body), p->op.media_type, &p->manifest, detail);
    if (e == 0)
        e = taglog_extend(&p->op, &p->manifest);
    if (e != -ERR_NOTFOUND && e != -ERR_CORRUPT && e != -ERR_TOOBIG && e != -ERR_INVAL)
        return e;
    p->incomplete = true;
    log_alarm("manifest.unreadable",
              (const struct log_kv[]){KV_V("repository", r->name_str),
                                      KV_V("digest", digest_text(&p->op.digest, text)),
                                      KV_S("error", err_name(e)), KV_END});
    return 0;
}

static int prepare(void *self, const struct objlog_entry *e, void **ret, struct err_detail *detail)
{
    size_t count = json_len(e->ops);
    struct prepared *p = calloc(1, sizeof(*p) + count * sizeof(p->ops[0]));
    int err = 0;

    if (!p)
        return -ERR_NOMEM;
    for (size_t i = 0; err == 0 && i < count; i++) {
        struct prepared_op *op = &p->ops[p->count++];

        op->body = BUF_INIT(MANIFEST_BYTES_MAX);
        err = taglog_decode(json_at(e->ops, i), &op->op, detail);
        if (err == 0 && op->op.ext)
            err = load_ext(self, op, detail);
    }
    if (err < 0) {
        discard(p);
        return err;
    }
    *ret = p;
    return 0;
}

static int apply(void *self, void *prepared, const struct objlog_entry *e)
{
    struct repo *r = self;
    struct prepared *p = prepared;
    bool filled = repo_filled(r);
    int err = 0;

    for (size_t i = 0; err == 0 && i < p->count; i++)
        err = state_apply(r->state, &p->ops[i].op, p->ops[i].incomplete, e->seq, e->ts);
    r->flipped = r->flipped || repo_filled(r) != filled;
    return err < 0 ? -ERR_NOMEM : 0;
}

/* ---- checkpoints */

static int encode(void *self, const struct checkpoint_head *head, struct buf *out)
{
    struct repo *r = self;

    return r->state->incomplete > 0 ? -ERR_AGAIN : checkpoint_encode(r->state, head, out);
}

static size_t table_bytes(void *self, const struct checkpoint_head *head)
{
    struct repo *r = self;

    return checkpoint_bytes(r->state, head);
}

static int load(void *self, struct str text, struct checkpoint_head *ret, struct err_detail *detail)
{
    struct repo *r = self;
    struct state *fresh = NULL;
    int e = checkpoint_decode(text, r->name_str, &fresh, ret, detail);

    if (e < 0)
        return e;
    state_free(r->state);
    r->state = fresh;
    return 0;
}

static int reset(void *self)
{
    struct repo *r = self;
    struct state *fresh = NULL;
    int e = state_new(&fresh);

    if (e < 0)
        return e;
    state_free(r->state);
    r->state = fresh;
    return 0;
}

static size_t bytes(void *self)
{
    struct repo *r = self;

    return state_bytes(r->state);
}

/* ---- commits */

static void batch(void *self)
{
    struct repo *r = self;

    omap_freep(&r->batch.removed);
    omap_freep(&r->batch.touched);
    r->batch = (struct repo_batch){.removed = NULL};
}

static enum replica_verdict judge(void *self, struct replica_op *op)
{
    return repo_judge(self, (struct repo_change *)op);
}

/* The marker of one ten minutes: who follows changes reads these repositories. */
static int mark(struct repo *r, int64_t ms, uint64_t seq, struct err_detail *detail)
{
    struct buf key auto_buf = BUF_INIT(STORE_KEY_MAX);
    struct buf text auto_buf = BUF_INIT(MARKER_MAX);
    struct jw w = JW_INIT(&text);
    struct store *s = node_store(blobs_node(repos_blobs(r->owner)));
    struct store_info info;
    int e;

    keys_changes(&key, ms, r->name_str);
    jw_begin(&w, '{');
    jw_kint(&w, "v", 1);
    jw_kint(&w, "seq", (int64_t)seq);
    jw_end(&w, '}');
    if (buf_err(&key) < 0 || buf_err(&text) < 0)
        return -ERR_NOMEM;
    e = store_create(s, buf_str(&key), STORE_HINT, buf_str(&text), detail);
    if (e == -ERR_UNKNOWN)
        e = store_head(s, buf_str(&key), &info, detail);
    if (e == -ERR_NOTFOUND)
        e = store_create(s, buf_str(&key), STORE_HINT, buf_str(&text), detail);
    if (e == 0 || e == -ERR_EXISTS)
        return 0;
    /* Of the entry itself nothing was sent. */
    return e == -ERR_UNKNOWN ? -ERR_NOTCOMMITTED : e;
}

/* The store's clock may pass into the next ten minutes before the entry lands: near the end both
 * are marked. So are those of the entry's own time, which is later than its predecessor's, whatever
 * the clock says. */
static int mark_changes(struct repo *r, uint64_t seq, struct err_detail *detail)
{
    struct store *s = node_store(blobs_node(repos_blobs(r->owner)));
    int64_t now, first, last, least;
    int e = store_now(s, &now, detail);

    if (e < 0)
        return -ERR_NOTCOMMITTED;
    replica_lock(r->replica);
    least = replica_ts(r->replica) + 1;
    replica_unlock(r->replica);
    first = now / MARKER_MS;
    last = (now + MARKER_AHEAD_MS > least ? now + MARKER_AHEAD_MS : least) / MARKER_MS;
    for (int64_t i = first > r->marked ? first : r->marked + 1; e == 0 && i <= last; i++) {
        e = mark(r, i * MARKER_MS, seq, detail);
        if (e == 0)
            r->marked = i;
    }
    return e;
}

static int before(void *self, uint64_t seq, int64_t deadline_ms, struct err_detail *detail)
{
    struct repo *r = self;
    int e = 0;

    if (seq == 1 && !mutant("add-after")) /* B20 */
        e = catalog_add_until(repos_catalog(r->owner), r->name_str, r->batch.puts, deadline_ms,
                              detail);
    /* Undecided there is certainly not committed here. */
    if (e == -ERR_UNKNOWN)
        e = -ERR_NOTCOMMITTED;
    return e < 0 || mutant("marker-after") ? e : mark_changes(r, seq, detail);
}

static void after(void *self, int64_t deadline_ms)
{
    struct repo *r = self;
    const struct repos_settings *settings = repos_settings(r->owner);
    uint64_t seq;
    bool filled, flipped;

    replica_lock(r->replica);
    seq = replica_seq(r->replica);
    filled = repo_filled(r);
    flipped = r->flipped;
    r->flipped = false;
    replica_unlock(r->replica);
    /* Again: an entry may have come to stand long after its time. */
    (void)!mark_changes(r, seq, NULL);
    if (settings->committed)
        settings->committed(settings->committed_arg, r->name_str, seq);
    /* What this node last saw the catalog say may be of before another node's change. */
    if (flipped)
        (void)!catalog_refresh(repos_catalog(r->owner), NULL);
    catalog_agree_until(repos_catalog(r->owner), r->name_str, filled, seq, deadline_ms);
}

const struct replica_ops repo_replica_ops = {.prepare = prepare,
                                             .apply = apply,
                                             .apply_repeats = false,
                                             .discard = discard,
                                             .encode = encode,
                                             .table_bytes = table_bytes,
                                             .load = load,
                                             .reset = reset,
                                             .bytes = bytes,
                                             .batch = batch,
                                             .judge = judge,
                                             .before = before,
                                             .after = after};
