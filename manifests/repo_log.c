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

struct decoded {
    struct taglog_op op;
    bool incomplete;
    struct buf body; /* of a put with ext, like its manifest */
    struct manifest manifest;
};

static void decoded_done(struct decoded *d)
{
    taglog_op_done(&d->op);
    manifest_done(&d->manifest);
    buf_done(&d->body);
}

/* B15. A record that is gone or damaged does not stop the log: the manifest may have been deleted
 * since. It then grants nothing. */
static int load_ext(struct repo *r, struct decoded *p, struct err_detail *detail)
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

/* Of the log's errors only its own are -ERR_CORRUPT; a table that is damaged can be done without.
 */
static int table_err(struct repo *r, int err)
{
    if (err != -ERR_CORRUPT)
        return err == -ERR_NOTFOUND ? -ERR_UNAVAIL : err;
    replica_note_bad(r->replica);
    return -ERR_UNAVAIL;
}

static int change(struct repo *r, struct state *next, const struct taglog_op *op, bool incomplete,
                  const struct objlog_entry *e, struct err_detail *detail)
{
    struct pins pins auto_pins = {.at = NULL};
    int err;

    state_fetch(next, op, &pins);
    err = state_change(next, op, incomplete, e->seq, e->ts, detail);
    return table_err(r, err);
}

static int prepare_op(struct repo *r, struct state *next, const struct json *node,
                      const struct objlog_entry *e, struct err_detail *detail)
{
    struct decoded d auto_of(decoded_done) = {.body = BUF_INIT(MANIFEST_BYTES_MAX)};
    int err = taglog_decode(node, &d.op, detail);

    if (err == 0 && d.op.ext)
        err = load_ext(r, &d, detail);
    return err < 0 ? err : change(r, next, &d.op, d.incomplete, e, detail);
}

static void discard(void *prepared)
{
    state_free(prepared);
}

static int prepare_ops(struct repo *r, struct state *next, const struct objlog_entry *e,
                       const struct replica_known *known, struct err_detail *detail)
{
    int err = 0;

    assert(e->ops || known);
    for (size_t i = 0; e->ops && err == 0 && i < json_len(e->ops); i++)
        err = prepare_op(r, next, json_at(e->ops, i), e, detail);
    for (size_t i = 0; !e->ops && err == 0 && i < known->count; i++)
        err = change(r, next, known->at[i], false, e, detail);
    return err;
}

static int prepare(void *self, const struct objlog_entry *e, const struct replica_known *known,
                   void **ret, struct err_detail *detail)
{
    struct repo *r = self;
    struct state *next = calloc(1, sizeof(*next));
    bool due;
    int err;

    if (!next)
        return -ERR_NOMEM;
    replica_lock(r->replica);
    err = state_begin(r->state, next);
    replica_unlock(r->replica);
    if (err < 0) {
        free(next);
        return err;
    }
    due = replica_due_with(r->replica, e);
    /* Of an own entry all that it needs is at hand. */
    next->blind = !known && !due;
    err = prepare_ops(r, next, e, known, detail);
    if (err == 0 && (due || state_sees_soon(next)))
        err = table_err(r, state_see(next, detail));
    if (err < 0) {
        discard(next);
        return err;
    }
    *ret = next;
    return 0;
}

static void apply(void *self, void *prepared)
{
    struct repo *r = self;
    bool filled = repo_filled(r);

    state_commit(r->state, prepared);
    if (repo_filled(r) != filled)
        r->flipped = replica_seq(r->replica) + 1;
}

/* ---- checkpoints */

static bool settled(void *self)
{
    const struct repo *r = self;

    return r->state->incomplete == 0;
}

static void write_more(void *self, struct jw *w)
{
    const struct repo *r = self;

    state_write_numbers(r->state, w);
}

static int read_more(void *self, const struct json *head, uint64_t seq)
{
    struct repo *r = self;

    return state_read_numbers(r->state, head, seq);
}

static int reset(void *self)
{
    struct repo *r = self;

    return state_reset(r->state);
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
    bool was = false;
    int e = 0;

    if (seq == 1 && !mutant("add-after")) /* B20 */
        e = catalog_add_until(repos_catalog(r->owner), r->name_str, r->batch.puts, deadline_ms,
                              &was, detail);
    if (e == 0 && was) /* heard of, while it was opened as if nobody had */
        e = replica_check_unheard(r->replica, detail);
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

    replica_lock(r->replica);
    seq = replica_seq(r->replica);
    replica_unlock(r->replica);
    /* Again: an entry may have come to stand long after its time. */
    (void)!mark_changes(r, seq, NULL);
    if (settings->committed)
        settings->committed(settings->committed_arg, r->name_str, seq);
    repo_tell_catalog(r, deadline_ms);
}

const struct replica_ops repo_replica_ops = {.prepare = prepare,
                                             .apply = apply,
                                             .discard = discard,
                                             .settled = settled,
                                             .write_more = write_more,
                                             .read_more = read_more,
                                             .reset = reset,
                                             .bytes = bytes,
                                             .batch = batch,
                                             .judge = judge,
                                             .before = before,
                                             .after = after};
