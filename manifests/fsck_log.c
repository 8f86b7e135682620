/* A deep log: every entry from 1, the chain, times, nonces and request ids (I1, I2, I9), its hint
 * and checkpoints (I4), and whether it ends before what vouches for it.
 *
 * Behind a damaged entry the chain is followed again from the next one, but the state is not: only
 * a checkpoint that holds can give it back, as for a server. */
#include "manifests/fsck_internal.h"

#include <stdio.h>

#include "base/enc.h"

#define ID_BYTES    16
#define IDS_MAX     (1u << 20) /* entries among which ids are compared with each other */
#define TABLES_MAX  65536
#define HINT_MAX    4096
#define KEEP_BYTES  (64u << 10)
#define PART_OLD_MS (24 * 3600 * 1000LL) /* prunings have had their time */
#define REQUEST_MIN 16 /* characters of a random request id; shorter ones are no such */

struct id {
    uint8_t bytes[ID_BYTES];
    uint64_t seq;
};

struct ids {
    struct id *at;
    size_t count, cap;
};

struct walk {
    struct fsck *f;
    struct fsck_log *log;
    uint64_t listed; /* greatest entry seen by listing */
    uint64_t *tables;
    size_t table_count, table_cap, table_next;
    struct omap *parts; /* sha256 in hex of those listed and those named -> struct part */
    uint64_t hint_checkpoint, hint_head;
    struct objlog_pos pos; /* last entry there was; hash known if `chained` */
    bool chained;
    bool whole;   /* everything up to pos was applied */
    bool version; /* something newer: look no further */
    struct ids nonces, requests;
};

struct part {
    int64_t listed_ms; /* its date; 0: not listed */
    bool named;        /* by a checkpoint */
    bool checked, good;
};

static void walk_done(struct walk *w)
{
    omap_free(w->parts);
    free(w->tables);
    free(w->nonces.at);
    free(w->requests.at);
}

static int grow(void **at, size_t *cap, size_t count, size_t size)
{
    size_t cap_new = *cap ? 2 * *cap : 256;
    void *grown;

    if (count < *cap)
        return 0;
    grown = realloc(*at, cap_new * size);
    if (!grown)
        return -ERR_NOMEM;
    *at = grown;
    *cap = cap_new;
    return 0;
}

void fsck_log_key(const struct fsck_log *log, uint64_t seq, struct buf *out)
{
    buf_clear(out);
    keys_log_entry(out, log->prefix, true, seq);
}

static void say_entry(struct walk *w, uint64_t seq, const char *what)
{
    struct buf key auto_buf = BUF_INIT(STORE_KEY_MAX);

    fsck_log_key(w->log, seq, &key);
    fsck_say(w->f, FSCK_DAMAGE, buf_str(&key), w->log->ops->broken, "%s", what);
}

void fsck_log_lost(struct fsck *f, const struct fsck_log *log, uint64_t seq, const char *by)
{
    struct buf key auto_buf = BUF_INIT(STORE_KEY_MAX);

    fsck_log_key(log, log->head + 1, &key);
    if (!fsck_told(f, buf_str(&key)))
        fsck_say(f, FSCK_DAMAGE, buf_str(&key), log->ops->lost,
                 "is missing: the log ends before it, but %s says that it goes on to %llu", by,
                 (unsigned long long)seq);
}

/* ---- ids */

static int compare_ids(const void *a, const void *b)
{
    const struct id *x = a, *y = b;
    int c = memcmp(x->bytes, y->bytes, ID_BYTES);

    return c ? c : (x->seq > y->seq) - (x->seq < y->seq);
}

static void ids_settle(struct walk *w, struct ids *ids, const char *what)
{
    char text[160];

    if (ids->count > 1)
        qsort(ids->at, ids->count, sizeof(*ids->at), compare_ids);
    for (size_t i = 1; i < ids->count; i++) {
        const struct id *x = &ids->at[i - 1], *y = &ids->at[i];

        if (memcmp(x->bytes, y->bytes, ID_BYTES) != 0 || x->seq == y->seq)
            continue;
        snprintf(text, sizeof(text), "has the %s of entry %llu: one change is in the log twice",
                 what, (unsigned long long)x->seq);
        say_entry(w, y->seq, text);
    }
    ids->count = 0;
}

static int ids_add(struct walk *w, struct ids *ids, const char *what, struct str text, uint64_t seq)
{
    struct digest d;
    struct id *id;

    if (ids->count == IDS_MAX)
        ids_settle(w, ids, what);
    if (grow((void **)&ids->at, &ids->cap, ids->count, sizeof(*ids->at)) < 0)
        return -ERR_NOMEM;
    digest_of(DIGEST_SHA256, text, &d);
    id = &ids->at[ids->count++];
    memcpy(id->bytes, d.bytes, ID_BYTES);
    id->seq = seq;
    return 0;
}

static const char nonce_text[] = "nonce", request_text[] = "request id";

static int note_ids(struct walk *w, const struct objlog_entry *e)
{
    int r = ids_add(w, &w->nonces, nonce_text, e->nonce, e->seq);

    for (size_t i = 0; r == 0 && i < json_len(e->ops); i++) {
        struct str req = json_str(json_get(json_at(e->ops, i), "req"));

        if (req.len >= REQUEST_MIN)
            r = ids_add(w, &w->requests, request_text, req, e->seq);
    }
    return r;
}

/* ---- hint, listing */

static int read_hint(struct walk *w)
{
    struct fsck *f = w->f;
    struct buf key auto_buf = BUF_INIT(STORE_KEY_MAX);
    struct buf text auto_buf = BUF_INIT(HINT_MAX);
    struct json_doc *doc auto_json = NULL;
    int64_t checkpoint = 0, head = 0;
    int e;

    keys_hint(&key, w->log->prefix);
    e = fsck_get(f, buf_str(&key), 0, STORE_WHOLE, &text);
    if (e == -ERR_NOTFOUND)
        return 0;
    if (e < 0 && !fsck_of_object(e))
        return e;
    if (e == 0)
        e = json_parse(buf_str(&text), &doc, NULL);
    if (e == -ERR_NOMEM)
        return e;
    if (e < 0 || !json_get_int(json_root(doc), "checkpoint", &checkpoint) || checkpoint < 0 ||
        !json_get_int(json_root(doc), "head", &head) || head < checkpoint) {
        fsck_say(f, FSCK_WARNING, buf_str(&key), "opening the log takes longer",
                 "is no hint that can be read");
        return 0;
    }
    w->hint_checkpoint = (uint64_t)checkpoint;
    w->hint_head = (uint64_t)head;
    return 0;
}

static struct part *part_of(struct walk *w, struct str hex)
{
    struct part *p = omap_get(w->parts, hex);

    if (p)
        return p;
    p = calloc(1, sizeof(*p));
    if (p && omap_put(w->parts, hex, p) < 0) {
        free(p);
        p = NULL;
    }
    return p;
}

static int note_key(struct fsck *f, struct str key, const struct store_info *info, void *arg)
{
    struct walk *w = arg;
    enum keys_log_part part;
    uint64_t seq = 0;

    if (!keys_log_parse(key, w->log->prefix, &part, &seq)) {
        fsck_unknown(f, key);
    } else if (part == KEYS_LOG_PART) {
        struct part *p = part_of(w, str_skip(key, key.len - 2 * CHECKPOINT_HASH_BYTES));

        if (!p)
            return -ERR_NOMEM;
        p->listed_ms = info->modified_ms;
    } else if (part == KEYS_LOG_ENTRY) {
        w->listed = seq > w->listed ? seq : w->listed;
    } else if (part == KEYS_LOG_TABLE && w->table_count < TABLES_MAX) {
        if (grow((void **)&w->tables, &w->table_cap, w->table_count, sizeof(*w->tables)) < 0)
            return -ERR_NOMEM;
        w->tables[w->table_count++] = seq;
    }
    return 0;
}

/* ---- checkpoints */

static void say_table(struct walk *w, struct str key, const char *what)
{
    fsck_say(w->f, FSCK_DAMAGE, key, w->log->ops->wrong, "%s", what);
}

/* A part of a checkpoint: 0 good; -ERR_CORRUPT, told. Each is read once. */
static int check_part(struct walk *w, struct table *t, size_t i)
{
    struct fsck *f = w->f;
    struct buf key auto_buf = BUF_INIT(STORE_KEY_MAX);
    struct err_detail why = {""};
    char hex[DIGEST_TEXT_MAX];
    struct part *p = part_of(w, digest_hex(&table_part(t, i)->sha, hex));
    int e;

    if (!p)
        return -ERR_NOMEM;
    p->named = true;
    if (p->checked)
        return p->good ? 0 : -ERR_CORRUPT;
    e = table_check_part(t, i, &why);
    if (e < 0 && e != -ERR_CORRUPT && e != -ERR_IO)
        return e;
    f->counts->bytes += table_part(t, i)->bytes;
    p->checked = true;
    p->good = e == 0;
    keys_part(&key, w->log->prefix, str_of(hex));
    if (e < 0)
        say_table(w, buf_str(&key), why.text);
    return e < 0 ? -ERR_CORRUPT : 0;
}

/* All parts, so that each that is bad is told. -ERR_NOTFOUND: pruned meanwhile. */
static int check_parts(struct walk *w, struct str key, struct table *t)
{
    struct store_info info;
    int result = 0;

    for (size_t i = 0; table_inline(t).len == 0 && i < table_part_count(t); i++) {
        int e = check_part(w, t, i);

        if (e < 0 && e != -ERR_CORRUPT)
            return e;
        if (e < 0 && fsck_head(w->f, key, &info) == -ERR_NOTFOUND)
            return -ERR_NOTFOUND;
        result = e < 0 ? e : result;
    }
    return result;
}

static int decode_table(struct walk *w, struct fsck_table *t, struct checkpoint_head *head,
                        struct json_doc **doc, uint64_t seq, const uint8_t *hash,
                        struct err_detail *why)
{
    int e = checkpoint_decode(t->text, w->log->name, t->spec, head, doc, &t->table, why);

    if (e == 0 && head->seq != seq)
        e = err_set(why, -ERR_CORRUPT, "names another position");
    if (e == 0 && hash && memcmp(head->hash, hash, sizeof(head->hash)) != 0)
        e = err_set(why, -ERR_CORRUPT, "the entry at its position has another hash");
    t->head = head;
    t->keys = e == 0 ? json_root(*doc) : NULL;
    return e;
}

/* The checkpoint at the entry just walked over. */
static int check_table(struct walk *w, uint64_t seq, const uint8_t *hash)
{
    struct fsck *f = w->f;
    struct table_spec spec = {.store = f->store, .cache = f->tables, .prefix = w->log->prefix};
    struct fsck_table t = {.spec = &spec};
    struct buf key auto_buf = BUF_INIT(STORE_KEY_MAX);
    struct buf text auto_buf = BUF_INIT(CHECKPOINT_HEAD_MAX);
    struct json_doc *doc auto_json = NULL;
    struct checkpoint_head head;
    struct err_detail why = {""};
    int e;

    keys_table(&key, w->log->prefix, seq);
    e = fsck_get(f, buf_str(&key), 0, STORE_WHOLE, &text);
    if (e == -ERR_NOTFOUND) /* pruned meanwhile */
        return 0;
    if (fsck_of_object(e)) {
        say_table(w, buf_str(&key), f->why.text);
        return 0;
    }
    t.text = buf_str(&text);
    if (e == 0)
        e = decode_table(w, &t, &head, &doc, seq, hash, &why);
    if (e == -ERR_VERSION) {
        fsck_say(f, FSCK_WARNING, buf_str(&key), "servers of this version pass it over",
                 "was written by another encoder");
        return 0;
    }
    if (e == -ERR_CORRUPT)
        say_table(w, buf_str(&key), why.text);
    if (e == 0) {
        e = check_parts(w, buf_str(&key), t.table);
        if (e == 0 && w->log->ops->table && hash) {
            e = w->log->ops->table(w->log->self, &t, w->whole, &why);
            w->whole = w->whole || e == 0;
            if (e == -ERR_CORRUPT)
                say_table(w, buf_str(&key), why.text);
        }
    }
    table_unref(t.table);
    return e == -ERR_CORRUPT || e == -ERR_NOTFOUND ? 0 : e;
}

/* Those between the last entry and this one stand on entries that are missing. */
static int tables_to(struct walk *w, uint64_t seq, const uint8_t *hash)
{
    int e = 0;

    while (e == 0 && w->table_next < w->table_count && w->tables[w->table_next] <= seq) {
        uint64_t at = w->tables[w->table_next++];

        e = check_table(w, at, at == seq ? hash : NULL);
    }
    return e;
}

/* ---- entries */

struct entry {
    struct buf raw;
    struct json_doc *doc;
    struct objlog_entry e;
    uint8_t prev[OBJLOG_HASH_BYTES];
};

static void entry_done(struct entry *x)
{
    buf_done(&x->raw);
    json_doc_freep(&x->doc);
}

/* 0; -ERR_CORRUPT with f->why; -ERR_NOTFOUND; other errors of the object; others. */
static int entry_read(struct walk *w, uint64_t seq, struct entry *ret)
{
    struct buf key auto_buf = BUF_INIT(STORE_KEY_MAX);
    struct str prev;
    int e;

    fsck_log_key(w->log, seq, &key);
    buf_clear(&ret->raw);
    json_doc_freep(&ret->doc);
    e = fsck_get(w->f, buf_str(&key), 0, STORE_WHOLE, &ret->raw);
    if (e == 0)
        e = objlog_parse(buf_str(&ret->raw), w->log->name, seq, &ret->e, &ret->doc, &w->f->why);
    if (e == 0 && (!json_get_str(json_root(ret->doc), "prev", &prev) ||
                   !hex_decode(prev, ret->prev, sizeof(ret->prev))))
        e = err_set(&w->f->why, -ERR_CORRUPT, "no prev");
    return e;
}

/* The chain is broken between seq - 1 and seq. When the next entry vouches for this one, it is the
 * one before that was changed. */
static int blame(struct walk *w, uint64_t seq, const uint8_t hash[OBJLOG_HASH_BYTES])
{
    struct entry next auto_of(entry_done) = {.raw = BUF_INIT(OBJLOG_ENTRY_MAX)};
    char text[200];
    int e = entry_read(w, seq + 1, &next);

    if (e < 0 && e != -ERR_NOTFOUND && e != -ERR_VERSION && !fsck_of_object(e))
        return e;
    if (seq > 1 && e == 0 && memcmp(next.prev, hash, OBJLOG_HASH_BYTES) == 0) {
        struct buf key auto_buf = BUF_INIT(STORE_KEY_MAX);

        fsck_log_key(w->log, seq - 1, &key);
        snprintf(text, sizeof(text), "was changed after entry %llu was written",
                 (unsigned long long)seq);
        if (!fsck_told(w->f, buf_str(&key)))
            say_entry(w, seq - 1, text);
        return 0;
    }
    snprintf(text, sizeof(text), "does not follow entry %llu: this one%s was changed",
             (unsigned long long)(seq - 1), e == 0 ? "" : " or that one");
    say_entry(w, seq, text);
    return 0;
}

static int apply(struct walk *w, const struct objlog_entry *e)
{
    struct err_detail why = {""};
    int r;

    if (!w->whole)
        return 0;
    r = w->log->ops->apply(w->log->self, e, &why);
    if (r == -ERR_CORRUPT || r == -ERR_VERSION) {
        w->whole = false;
        w->version = r == -ERR_VERSION;
        if (r == -ERR_CORRUPT)
            say_entry(w, e->seq, why.text);
        return 0;
    }
    if (r == 0 && w->log->ops->passed)
        r = w->log->ops->passed(w->log->self, e);
    return r;
}

static int take(struct walk *w, struct entry *x)
{
    const struct objlog_entry *e = &x->e;
    int r = 0;

    if (w->chained && memcmp(x->prev, w->pos.hash, sizeof(x->prev)) != 0) {
        w->whole = false;
        r = blame(w, e->seq, e->hash);
    } else if (w->chained && e->ts <= w->pos.ts) {
        w->whole = false;
        say_entry(w, e->seq, "is not younger than the entry before it");
    }
    if (r == 0)
        r = note_ids(w, e);
    if (r == 0)
        r = apply(w, e);
    w->pos.seq = e->seq;
    w->pos.ts = e->ts;
    memcpy(w->pos.hash, e->hash, sizeof(w->pos.hash));
    w->chained = true;
    w->f->counts->entries++;
    return r < 0 ? r : tables_to(w, e->seq, e->hash);
}

/* An entry is absent although greater ones are there. */
static int gap(struct walk *w)
{
    struct buf key auto_buf = BUF_INIT(STORE_KEY_MAX);
    struct buf next auto_buf = BUF_INIT(STORE_KEY_MAX);
    struct buf prefix auto_buf = BUF_INIT(STORE_KEY_MAX);
    uint64_t missing = w->pos.seq + 1, seq;
    enum keys_log_part part;
    char text[160];
    int e;

    buf_add(&prefix, w->log->prefix);
    buf_add(&prefix, STR("/_log/"));
    fsck_log_key(w->log, missing, &key);
    e = fsck_confirm_gone(w->f, buf_str(&key));
    if (e != -ERR_NOTFOUND && !fsck_of_object(e))
        return e; /* it is there now, or the check ends */
    buf_add(&next, buf_str(&key));
    do
        e = fsck_first(w->f, buf_str(&prefix), buf_str(&next), &next);
    while (e == 0 && (!keys_log_parse(buf_str(&next), w->log->prefix, &part, &seq) ||
                      part != KEYS_LOG_ENTRY));
    if (e == -ERR_NOTFOUND) { /* what was listed is gone, too: the log ends here */
        w->listed = w->pos.seq;
        return 0;
    }
    if (e < 0)
        return e;
    snprintf(text, sizeof(text), "is missing (with all before %llu)", (unsigned long long)seq);
    say_entry(w, missing, seq == missing + 1 ? "is missing" : text);
    w->pos.seq = seq - 1;
    w->whole = w->chained = false;
    return 0;
}

/* 1: the log's end. */
static int step(struct walk *w, struct entry *x)
{
    uint64_t seq = w->pos.seq + 1;
    int e = entry_read(w, seq, x);

    if (e == 0)
        return take(w, x);
    if (e == -ERR_NOTFOUND && seq > w->listed)
        return 1;
    if (e == -ERR_NOTFOUND)
        return gap(w);
    if (e == -ERR_VERSION) {
        w->version = true;
        return 1;
    }
    if (!fsck_of_object(e))
        return e;
    say_entry(w, seq, w->f->why.text);
    w->pos.seq = seq;
    w->whole = w->chained = false;
    return 0;
}

static int follow(struct walk *w)
{
    struct entry x auto_of(entry_done) = {.raw = BUF_INIT(OBJLOG_ENTRY_MAX)};
    int e = 0;

    while (e == 0 && !w->version) {
        e = step(w, &x);
        if (x.raw.cap > KEEP_BYTES)
            buf_done(&x.raw);
    }
    return e < 0 ? e : 0;
}

/* ---- what stands beyond the end */

static int check_end(struct walk *w)
{
    struct fsck_log *log = w->log;
    struct buf key auto_buf = BUF_INIT(STORE_KEY_MAX);
    bool found = w->hint_checkpoint == 0;
    int e = 0;

    for (size_t i = 0; i < w->table_count; i++)
        found = found || w->tables[i] == w->hint_checkpoint;
    if (!found && w->hint_checkpoint <= log->head) {
        keys_table(&key, log->prefix, w->hint_checkpoint);
        e = fsck_confirm_gone(w->f, buf_str(&key));
        if (e == -ERR_NOTFOUND || fsck_of_object(e))
            fsck_say(w->f, FSCK_WARNING, buf_str(&key), "opening the log takes longer",
                     "is missing, but the hint names it");
        e = e == -ERR_NOTFOUND || fsck_of_object(e) ? 0 : e;
    }
    if (w->table_count > 0 && w->tables[w->table_count - 1] > log->head)
        fsck_log_lost(w->f, log, w->tables[w->table_count - 1], "a checkpoint");
    if (w->hint_head > log->head)
        fsck_log_lost(w->f, log, w->hint_head, "the hint");
    return e < 0 ? e : tables_to(w, UINT64_MAX, NULL);
}

/* Parts that no checkpoint names, and that are not about to be named. */
static void check_unnamed(struct walk *w)
{
    for (struct omap_node *n = omap_first(w->parts); n; n = omap_next(w->parts, n)) {
        const struct part *p = omap_value(n);
        struct buf key auto_buf = BUF_INIT(STORE_KEY_MAX);

        if (p->named || w->f->now - p->listed_ms <= PART_OLD_MS)
            continue;
        keys_part(&key, w->log->prefix, omap_key(n));
        fsck_say(w->f, FSCK_GARBAGE, buf_str(&key), "none", "belongs to no checkpoint any more");
    }
}

int fsck_log_check(struct fsck *f, struct fsck_log *log)
{
    struct walk w auto_of(walk_done) = {.f = f, .log = log, .chained = true, .whole = true};
    struct buf prefix auto_buf = BUF_INIT(STORE_KEY_MAX);
    int e = omap_new(free, &w.parts);

    if (e == 0)
        e = read_hint(&w);
    buf_add(&prefix, log->prefix);
    buf_add(&prefix, STR("/_"));
    if (e == 0)
        e = fsck_each(f, buf_str(&prefix), STR_NONE, note_key, &w);
    if (e == 0)
        e = follow(&w);
    if (e < 0)
        return e;
    log->head = w.pos.seq;
    log->whole = w.whole;
    memcpy(log->hash, w.pos.hash, sizeof(log->hash));
    if (w.version) {
        struct buf key auto_buf = BUF_INIT(STORE_KEY_MAX);

        fsck_log_key(log, w.pos.seq + 1, &key);
        fsck_say(f, FSCK_WARNING, buf_str(&key), "servers of this version refuse this log",
                 "or one before it was written by a newer version; not checked from here");
    } else {
        e = check_end(&w);
        if (e == 0)
            check_unnamed(&w);
    }
    ids_settle(&w, &w.nonces, nonce_text);
    ids_settle(&w, &w.requests, request_text);
    return e;
}
