/* Logs, held to their chain, and checkpoints. */
#include "manifests/copy_internal.h"

#include "base/enc.h"
#include "base/json.h"
#include "blobstore/objlog.h"

#define TABLE_MAX (256u << 20)
#define HINT_MAX  4096

static int entry_key(const struct copy_log *log, uint64_t seq, struct buf *out)
{
    buf_clear(out);
    keys_log_entry(out, log->prefix, true, seq);
    return buf_err(out);
}

int copy_log_head(struct copier *c, const struct copy_log *log, uint64_t *ret,
                  struct err_detail *detail)
{
    struct buf prefix auto_buf = BUF_INIT(STORE_KEY_MAX);
    struct copy_lister l auto_of(copy_lister_done);
    struct str key;
    int e;

    buf_add(&prefix, log->prefix);
    buf_add(&prefix, STR("/_log/"));
    copy_lister_init(&l, c->from, buf_str(&prefix));
    *ret = 0;
    while ((e = copy_lister_next(&l, &key, detail)) > 0) {
        enum keys_log_part part;
        uint64_t seq;

        if (keys_log_parse(key, log->prefix, &part, &seq) && part == KEYS_LOG_ENTRY)
            *ret = seq;
        else
            copy_damaged(c, key, "is no key of the bucket format");
    }
    return e;
}

/* ---- where the destination stands */

static int there(struct copier *c, const struct copy_log *log, uint64_t seq,
                 struct err_detail *detail)
{
    struct buf key auto_buf = BUF_INIT(STORE_KEY_MAX);
    struct store_info info;
    int e = entry_key(log, seq, &key);

    if (e == 0)
        e = copy_head(c->to, buf_str(&key), &info, detail);
    return e == 0 ? 1 : e == -ERR_NOTFOUND ? 0 : e;
}

/* What a copy wrote is dense, so its end is found by doubling and halving. */
static int find_end(struct copier *c, const struct copy_log *log, uint64_t *ret,
                    struct err_detail *detail)
{
    uint64_t low = 0, high = 1; /* low is there (or 0); high is not, in the end */
    int e;

    while ((e = there(c, log, high, detail)) > 0) {
        low = high;
        high *= 2;
    }
    while (e == 0 && high - low > 1) {
        uint64_t middle = low + (high - low) / 2;

        e = there(c, log, middle, detail);
        if (e > 0)
            low = middle;
        else
            high = middle;
        e = e < 0 ? e : 0;
    }
    *ret = low;
    return e;
}

/* ---- entries */

struct reader {
    struct buf key, raw;
    struct json_doc *doc;
    struct objlog_entry entry;
};

static void reader_done(struct reader *r)
{
    buf_done(&r->key);
    buf_done(&r->raw);
    json_doc_freep(&r->doc);
}

#define READER_INIT                                                                                \
    ((struct reader){BUF_INIT(STORE_KEY_MAX), BUF_INIT(OBJLOG_ENTRY_MAX), NULL, {0}})

/* 1: damaged or missing, and told. 2: it does not follow the one before: one of them is damaged. */
static int read_entry(struct copier *c, const struct copy_log *log, const struct objlog_pos *after,
                      struct reader *r, struct err_detail *detail)
{
    uint8_t prev[OBJLOG_HASH_BYTES];
    int e = entry_key(log, after->seq + 1, &r->key);

    json_doc_freep(&r->doc);
    buf_clear(&r->raw);
    if (e == 0)
        e = copy_get(c->from, buf_str(&r->key), 0, STORE_WHOLE, &r->raw, detail);
    if (e == -ERR_NOTFOUND) {
        copy_damaged(c, buf_str(&r->key), "is missing: the log goes on behind it");
        return 1;
    }
    if (e == 0)
        e = objlog_parse(buf_str(&r->raw), log->name, after->seq + 1, &r->entry, &r->doc, detail);
    if (e == -ERR_CORRUPT || e == -ERR_TOOBIG || e == -ERR_IO) {
        copy_damaged(c, buf_str(&r->key), "cannot be read: %s", detail->text);
        return 1;
    }
    if (e < 0)
        return e;
    if (!hex_decode(json_str(json_get(json_root(r->doc), "prev")), prev, sizeof(prev)) ||
        memcmp(prev, after->hash, sizeof(prev)) != 0 || r->entry.ts <= after->ts)
        return 2;
    return 0;
}

static void advance(struct objlog_pos *pos, const struct objlog_entry *e)
{
    pos->seq = e->seq;
    pos->ts = e->ts;
    memcpy(pos->hash, e->hash, sizeof(pos->hash));
}

/* The last entry of the destination, if it is the source's, too. */
static int join(struct copier *c, const struct copy_log *log, uint64_t seq, struct objlog_pos *ret,
                struct err_detail *detail)
{
    struct reader r auto_of(reader_done) = READER_INIT;
    struct buf there auto_buf = BUF_INIT(OBJLOG_ENTRY_MAX);
    int e = entry_key(log, seq, &r.key);

    if (e == 0)
        e = copy_get(c->from, buf_str(&r.key), 0, STORE_WHOLE, &r.raw, detail);
    if (e == -ERR_NOTFOUND)
        return err_set(detail, -ERR_EXISTS,
                       "log " STR_FMT " is longer in the destination than in the source",
                       STR_ARG(str_head(log->prefix, 150)));
    if (e == 0)
        e = copy_get(c->to, buf_str(&r.key), 0, STORE_WHOLE, &there, detail);
    if (e == 0 && !str_eq(buf_str(&there), buf_str(&r.raw)))
        return err_set(detail, -ERR_EXISTS, "the destination has gone its own way at " STR_FMT,
                       STR_ARG(str_head(buf_str(&r.key), 150)));
    if (e == 0)
        e = objlog_parse(buf_str(&r.raw), log->name, seq, &r.entry, &r.doc, detail);
    if (e == 0)
        advance(ret, &r.entry);
    return e;
}

static int create_entry(struct copier *c, const struct reader *r, copy_ops_fn each,
                        struct err_detail *detail)
{
    int e = each ? each(c, r->entry.ops, detail) : 0;

    if (e == 0)
        e = copy_create(c, buf_str(&r->key), STORE_LOG, buf_str(&r->raw), detail);
    if (e < 0)
        return e;
    mutex_lock(&c->mu);
    c->counts->entries++;
    mutex_unlock(&c->mu);
    return 0;
}

/* An entry is vouched for by the next one, so it is created when that one was read. */
int copy_log(struct copier *c, const struct copy_log *log, uint64_t head, copy_ops_fn each,
             struct err_detail *detail)
{
    struct reader two[2] = {READER_INIT, READER_INIT};
    struct reader *now = &two[0], *next = &two[1], *swap;
    struct objlog_pos pos = {.seq = 0};
    uint64_t end = 0;
    int read = 0, e = find_end(c, log, &end, detail);

    if (e == 0 && end > 0)
        e = join(c, log, end, &pos, detail);
    if (e == 0 && pos.seq < head)
        read = e = read_entry(c, log, &pos, now, detail);
    while (e == 0 && read == 0 && pos.seq < head) {
        advance(&pos, &now->entry);
        if (pos.seq < head)
            read = read_entry(c, log, &pos, next, detail);
        if (read == 2)
            copy_damaged(c, buf_str(&now->key), "is not the entry that the next one follows");
        else
            e = read < 0 ? read : create_entry(c, now, each, detail);
        swap = now;
        now = next;
        next = swap;
    }
    if (e == 2)
        copy_damaged(c, buf_str(&now->key), "does not follow the entry before it");
    reader_done(&two[0]);
    reader_done(&two[1]);
    return e < 0 ? e : 0;
}

/* ---- checkpoints */

static int copy_part(struct copier *c, struct str key, struct err_detail *detail)
{
    struct buf bytes auto_buf = BUF_INIT(TABLE_MAX);
    char text[DIGEST_TEXT_MAX];
    struct str name = key;
    struct digest d;
    int e = copy_get(c->from, key, 0, STORE_WHOLE, &bytes, detail);

    if (e == -ERR_NOTFOUND)
        return 0;
    if (e < 0)
        return e;
    for (ptrdiff_t slash; (slash = str_find(name, '/')) >= 0;)
        name = str_skip(name, (size_t)slash + 1);
    digest_of(DIGEST_SHA256, buf_str(&bytes), &d);
    if (!str_eq(name, digest_hex(&d, text)))
        return copy_damaged(c, key, "does not have the digest that is its name");
    return copy_create(c, key, STORE_RECORD, buf_str(&bytes), detail);
}

/* The checkpoint holds for the copy, if it names the entry that was copied. */
static bool names_entry(struct copier *c, const struct copy_log *log, uint64_t seq,
                        const struct json *head, struct err_detail *detail)
{
    struct buf key auto_buf = BUF_INIT(STORE_KEY_MAX), raw auto_buf = BUF_INIT(OBJLOG_ENTRY_MAX);
    char text[DIGEST_TEXT_MAX];
    struct digest d;

    if (entry_key(log, seq, &key) < 0 ||
        copy_get(c->to, buf_str(&key), 0, STORE_WHOLE, &raw, detail) < 0)
        return false;
    digest_of(DIGEST_SHA256, buf_str(&raw), &d);
    return str_eq(json_str(json_get(head, "hash")), digest_hex(&d, text));
}

/* A checkpoint that holds all itself carries bytes behind its text. */
static struct str first_line(struct str text)
{
    ptrdiff_t end = str_find(text, '\n');

    return end < 0 ? text : str_head(text, (size_t)end);
}

/* Those that a checkpoint names, before it. 1: all are there; 0: one is not to be had. */
static int copy_parts(struct copier *c, const struct copy_log *log, const struct json *head,
                      struct err_detail *detail)
{
    const struct json *parts = json_get(head, "parts");
    bool is_inline = false;

    if (json_bool(json_get(head, "inline"), &is_inline) && is_inline)
        return 1;
    for (size_t i = 0; i < json_len(parts); i++) {
        struct buf key auto_buf = BUF_INIT(STORE_KEY_MAX);
        struct str sha = json_str(json_at(json_at(parts, i), 4));
        struct store_info info;
        int e;

        if (sha.len != 64)
            return 0;
        keys_parts_of(&key, log->prefix);
        buf_add(&key, sha);
        e = copy_head(c->to, buf_str(&key), &info, detail);
        if (e == 0)
            copy_present(c);
        if (e == -ERR_NOTFOUND)
            e = copy_part(c, buf_str(&key), detail);
        if (e == 0)
            e = copy_head(c->to, buf_str(&key), &info, detail);
        if (e < 0)
            return e == -ERR_NOTFOUND ? 0 : e;
    }
    return 1;
}

/* 1: copied, or there. */
static int copy_table(struct copier *c, const struct copy_log *log, struct str key, uint64_t seq,
                      struct err_detail *detail)
{
    struct buf text auto_buf = BUF_INIT(TABLE_MAX);
    struct json_doc *doc auto_json = NULL;
    struct store_info info;
    int e = copy_head(c->to, key, &info, detail);

    if (e == 0)
        copy_present(c);
    if (e != -ERR_NOTFOUND)
        return e < 0 ? e : 1;
    e = copy_get(c->from, key, 0, STORE_WHOLE, &text, detail);
    if (e == -ERR_NOTFOUND)
        return 0;
    if (e < 0)
        return e;
    if (json_parse(first_line(buf_str(&text)), &doc, NULL) < 0 ||
        !names_entry(c, log, seq, json_root(doc), detail))
        return copy_damaged(c, key, "is no checkpoint of this log");
    e = copy_parts(c, log, json_root(doc), detail);
    if (e <= 0) /* one was pruned meanwhile, with this checkpoint */
        return e;
    e = copy_create(c, key, STORE_RECORD, buf_str(&text), detail);
    return e < 0 ? e : 1;
}

static int copy_heads(struct copier *c, const struct copy_log *log, uint64_t head,
                      uint64_t *ret_last, struct err_detail *detail)
{
    struct buf prefix auto_buf = BUF_INIT(STORE_KEY_MAX);
    struct copy_lister l auto_of(copy_lister_done);
    struct str key;
    int e;

    keys_tables_of(&prefix, log->prefix);
    copy_lister_init(&l, c->from, buf_str(&prefix));
    while ((e = copy_lister_next(&l, &key, detail)) > 0) {
        enum keys_log_part part;
        uint64_t seq;

        if (!keys_log_parse(key, log->prefix, &part, &seq) || part != KEYS_LOG_TABLE || seq > head)
            continue;
        e = copy_table(c, log, key, seq, detail);
        if (e < 0)
            return e;
        if (e > 0)
            *ret_last = seq;
    }
    return e;
}

static int write_hint(struct copier *c, const struct copy_log *log, uint64_t checkpoint,
                      uint64_t head, struct err_detail *detail)
{
    struct buf key auto_buf = BUF_INIT(STORE_KEY_MAX), text auto_buf = BUF_INIT(HINT_MAX);
    struct jw w = JW_INIT(&text);
    int e, tries = 0;

    keys_hint(&key, log->prefix);
    jw_begin(&w, '{');
    jw_kint(&w, "v", 1);
    jw_kint(&w, "checkpoint", (int64_t)checkpoint);
    jw_kint(&w, "head", (int64_t)head);
    jw_end(&w, '}');
    if (buf_err(&key) < 0 || buf_err(&text) < 0)
        return -ERR_NOMEM;
    do {
        e = store_put(c->to, buf_str(&key), STORE_HINT, buf_str(&text), detail);
    } while (copy_again(e, ++tries));
    return e;
}

int copy_tables(struct copier *c, const struct copy_log *log, uint64_t head,
                struct err_detail *detail)
{
    uint64_t end = 0, last = 0;
    int e = find_end(c, log, &end, detail);

    if (end > head) /* of an earlier copy; this one adds nothing */
        end = head;
    if (e == 0)
        e = copy_heads(c, log, end, &last, detail);
    return e < 0 || last == 0 ? e : write_hint(c, log, last, end, detail);
}
