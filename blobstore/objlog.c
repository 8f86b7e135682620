/* The log primitive (docs/bucket-format.md section 3; design sections 4 and 6): envelope, chain,
 * and the one way by which anything is committed.
 *
 * A create whose outcome is not known is *undecided*: its number may be filled by it now, later or
 * never. The log remembers that (struct pending) and commits nothing else until the number is seen
 * filled, by whatever entry; an empty entry is created there if need be (B7). Never is another
 * number tried meanwhile: that is what keeps an unacknowledged operation in the history at most
 * once (I2).
 *
 * Owner of: struct objlog; one holder at a time (objlog.h). */
#include "blobstore/objlog.h"

#include <assert.h>

#include "base/clock.h"
#include "base/enc.h"
#include "base/log.h"
#include "base/metrics.h"
#include "base/mutant.h"
#include "base/rand.h"

#define OBJLOG_VERSION      1
#define OBJLOG_PAUSE_MIN_MS 5
#define OBJLOG_PAUSE_MAX_MS 1000
#define OBJLOG_ID_BYTES     16   /* of node and nonce */
#define OBJLOG_ENVELOPE_MAX 2048 /* bytes of an entry beside its operations and payload */
#define OBJLOG_HEX_LEN      (2 * OBJLOG_HASH_BYTES)
#define OBJLOG_WINDOW_MAX   64         /* entries asked for at once */
#define OBJLOG_WINDOW_FAR   16         /* where each that is not there is a request for nothing */
#define OBJLOG_WINDOW_BYTES (1u << 20) /* of one window; larger ones are followed one by one */

struct objlog {
    struct node *node; /* borrowed */
    struct buf prefix, name;
    bool deep;
    enum store_class cls;
    bool ahead;     /* an alarm was raised: the last entry lies in the future */
    bool broken;    /* the chain does not hold: no commits (B6) */
    bool undecided; /* entry pending.seq + 1 may be ours */
    struct objlog_pos pending;
    uint8_t nonce[OBJLOG_ID_BYTES]; /* of the entry built last */
    struct buf raw;                 /* the entry that objlog_append handed out */
    struct json_doc *doc;           /* owns what entry points to */
    struct objlog_entry entry;
};

/* ---- life */

int objlog_new(struct node *node, const struct objlog_spec *spec, struct objlog **ret)
{
    struct objlog *l auto_objlog = NULL;

    assert(node && spec && ret && spec->prefix.len > 0 && spec->name.len > 0);
    l = calloc(1, sizeof(*l));
    if (!l)
        return -ERR_NOMEM;
    l->node = node;
    l->prefix = BUF_INIT(STORE_KEY_MAX);
    l->name = BUF_INIT(STORE_KEY_MAX);
    l->raw = BUF_INIT(OBJLOG_ENTRY_MAX);
    l->deep = spec->deep;
    l->cls = spec->cls;
    buf_add(&l->prefix, spec->prefix);
    buf_add(&l->name, spec->name);
    if (buf_err(&l->prefix) < 0 || buf_err(&l->name) < 0)
        return -ERR_NOMEM;
    *ret = STEAL(l);
    return 0;
}

static void drop_entry(struct objlog *l)
{
    json_doc_freep(&l->doc);
    buf_done(&l->raw);
    l->entry = (struct objlog_entry){0};
}

void objlog_free(struct objlog *l)
{
    if (!l)
        return;
    drop_entry(l);
    buf_done(&l->prefix);
    buf_done(&l->name);
    free(l);
}

void objlog_freep(struct objlog **l)
{
    objlog_free(*l);
    *l = NULL;
}

void objlog_set_class(struct objlog *l, enum store_class cls)
{
    l->cls = cls;
}

bool objlog_unsettled(const struct objlog *l)
{
    return l->undecided;
}

static int entry_key(const struct objlog *l, uint64_t seq, struct buf *out)
{
    keys_log_entry(out, buf_str(&l->prefix), l->deep, seq);
    return buf_err(out);
}

static void hash_of(struct str bytes, uint8_t out[OBJLOG_HASH_BYTES])
{
    struct digest d;

    digest_of(DIGEST_SHA256, bytes, &d);
    memcpy(out, d.bytes, OBJLOG_HASH_BYTES);
}

/* ---- reading */

static int malformed(struct err_detail *detail, struct str name, uint64_t seq, const char *what)
{
    return err_set(detail, -ERR_CORRUPT, "entry %llu of log " STR_FMT ": %s",
                   (unsigned long long)seq, STR_ARG(str_head(name, 120)), what);
}

/* JSON ends at the first line feed: canonical JSON holds none. */
static int split_payload(const struct json *root, struct str raw, size_t json_len, struct str *ret)
{
    const struct json *bytes = json_get(root, "bytes");
    int64_t count;

    *ret = STR_NONE;
    if (!bytes)
        return json_len == raw.len ? 0 : -ERR_CORRUPT;
    if (!json_int(bytes, &count) || count < 0 || json_len == raw.len)
        return -ERR_CORRUPT;
    *ret = str_skip(raw, json_len + 1);
    return ret->len == (uint64_t)count ? 0 : -ERR_CORRUPT;
}

static bool is_id(struct str s)
{
    uint8_t bytes[OBJLOG_ID_BYTES];

    return hex_decode(s, bytes, sizeof(bytes));
}

static int parse_entry(struct str raw, struct str name, uint64_t seq, struct objlog_entry *ret,
                       uint8_t ret_prev[OBJLOG_HASH_BYTES], struct json_doc **ret_doc,
                       struct err_detail *detail)
{
    struct json_doc *doc auto_json = NULL;
    struct objlog_entry e = {.raw = raw};
    ptrdiff_t feed = str_find(raw, '\n');
    size_t json_len = feed < 0 ? raw.len : (size_t)feed;
    const struct json *root;
    struct str repo, prev;
    int64_t version, number;
    int r = json_parse(str_head(raw, json_len), &doc, NULL);

    if (r < 0)
        return r == -ERR_NOMEM ? r : malformed(detail, name, seq, "not JSON");
    root = json_root(doc);
    if (!json_get_int(root, "v", &version) || version < 1)
        return malformed(detail, name, seq, "no version");
    if (version > OBJLOG_VERSION)
        return err_set(detail, -ERR_VERSION, "log " STR_FMT " needs version %lld",
                       STR_ARG(str_head(name, 120)), (long long)version);
    if (!json_get_str(root, "repo", &repo) || !str_eq(repo, name))
        return malformed(detail, name, seq, "belongs to another log");
    if (!json_get_int(root, "seq", &number) || number <= 0 || (uint64_t)number != seq)
        return malformed(detail, name, seq, "has another number inside");
    if (!json_get_str(root, "prev", &prev) || !hex_decode(prev, ret_prev, OBJLOG_HASH_BYTES))
        return malformed(detail, name, seq, "no prev");
    if (!json_get_str(root, "node", &e.node) || !is_id(e.node) ||
        !json_get_str(root, "nonce", &e.nonce) || !is_id(e.nonce))
        return malformed(detail, name, seq, "no node or nonce");
    if (!json_get_int(root, "ts", &e.ts) || e.ts <= 0)
        return malformed(detail, name, seq, "no time");
    if (json_get(root, "ahead") && (!json_get_int(root, "ahead", &e.ahead) || e.ahead < 0))
        return malformed(detail, name, seq, "ahead is no number");
    e.ops = json_get(root, "ops");
    if (json_type(e.ops) != JSON_ARRAY_T)
        return malformed(detail, name, seq, "no operations");
    if (split_payload(root, raw, json_len, &e.payload) < 0)
        return malformed(detail, name, seq, "bytes do not match their count");
    e.seq = seq;
    hash_of(raw, e.hash);
    *ret = e;
    *ret_doc = STEAL(doc);
    return 0;
}

int objlog_parse(struct str raw, struct str name, uint64_t seq, struct objlog_entry *ret,
                 struct json_doc **ret_doc, struct err_detail *detail)
{
    uint8_t prev[OBJLOG_HASH_BYTES];

    assert(ret && ret_doc);
    return parse_entry(raw, name, seq, ret, prev, ret_doc, detail);
}

/* The whole object of a number into out; -ERR_NOTFOUND. */
static int get_entry(struct objlog *l, uint64_t seq, struct buf *out, struct err_detail *detail)
{
    struct buf key auto_buf = BUF_INIT(STORE_KEY_MAX);
    int r = entry_key(l, seq, &key);

    if (r < 0)
        return r;
    buf_clear(out);
    return store_get(node_store(l->node), buf_str(&key), 0, STORE_WHOLE, out, detail);
}

int objlog_probe(const struct objlog *l, uint64_t seq)
{
    struct buf key auto_buf = BUF_INIT(STORE_KEY_MAX);
    struct store_info info;

    assert(l);
    if (entry_key(l, seq + 1, &key) < 0)
        return -ERR_AGAIN;
    metric_add(METRIC_log_probes_total, 1);
    return store_probe(node_store(l->node), buf_str(&key), &info) == -ERR_NOTFOUND ? 0 : -ERR_AGAIN;
}

bool objlog_ends_by(const struct objlog *l, uint64_t seq)
{
    struct buf key auto_buf = BUF_INIT(STORE_KEY_MAX);
    struct store_info info;

    return entry_key(l, seq + 1, &key) == 0 &&
           store_head(node_store(l->node), buf_str(&key), &info, NULL) == -ERR_NOTFOUND;
}

/* The chain is broken: nothing more is committed here, and an operator must look (B6). */
static int broken(struct objlog *l, uint64_t seq, int r, const struct err_detail *detail)
{
    if (r != -ERR_CORRUPT)
        return r;
    if (!l->broken)
        log_alarm("log.broken",
                  (const struct log_kv[]){KV_V("log", buf_str(&l->name)), KV_I("seq", seq),
                                          KV_S("why", detail ? detail->text : ""), KV_END});
    l->broken = true;
    return r;
}

static int apply_next(struct objlog *l, struct objlog_pos *pos, struct str raw,
                      objlog_apply_fn apply, void *arg, struct err_detail *detail)
{
    struct json_doc *doc auto_json = NULL;
    uint8_t prev[OBJLOG_HASH_BYTES];
    struct err_detail why = {{0}};
    struct objlog_entry e;
    int r = parse_entry(raw, buf_str(&l->name), pos->seq + 1, &e, prev, &doc, &why);

    if (r == 0 && memcmp(prev, pos->hash, sizeof(prev)) != 0)
        r = malformed(&why, buf_str(&l->name), e.seq, "does not follow its predecessor");
    if (r == 0 && e.ts <= pos->ts)
        r = malformed(&why, buf_str(&l->name), e.seq, "is not younger than its predecessor");
    if (r < 0) {
        err_set(detail, r, "%s", why.text);
        return broken(l, pos->seq + 1, r, &why);
    }
    r = apply(&e, arg);
    if (r != 0)
        return r;
    pos->seq = e.seq;
    pos->ts = e.ts;
    memcpy(pos->hash, e.hash, sizeof(pos->hash));
    return 0;
}

/* A number that is seen filled is decided, whoever filled it. */
static void settle_by(struct objlog *l, const struct objlog_pos *pos)
{
    if (l->undecided && pos->seq > l->pending.seq)
        l->undecided = false;
}

/* One entry: 0 = applied. */
static int follow_one(struct objlog *l, struct objlog_pos *pos, objlog_apply_fn apply, void *arg,
                      struct err_detail *detail)
{
    struct buf raw auto_buf = BUF_INIT(OBJLOG_ENTRY_MAX);
    int r = get_entry(l, pos->seq + 1, &raw, detail);

    if (r == -ERR_TOOBIG)
        return broken(l, pos->seq + 1, -ERR_CORRUPT, NULL);
    return r < 0 ? r : apply_next(l, pos, buf_str(&raw), apply, arg, detail);
}

struct window {
    struct buf keys[OBJLOG_WINDOW_MAX], raws[OBJLOG_WINDOW_MAX];
    struct store_op ops[OBJLOG_WINDOW_MAX];
    unsigned size;
};

static void window_done(struct window *w)
{
    for (unsigned i = 0; i < w->size; i++) {
        buf_done(&w->keys[i]);
        buf_done(&w->raws[i]);
    }
}

static unsigned next_window(const struct objlog *l, unsigned size, size_t bytes)
{
    unsigned max = store_is_remote(node_store(l->node)) ? OBJLOG_WINDOW_FAR : OBJLOG_WINDOW_MAX;
    size_t fits = bytes > 0 ? OBJLOG_WINDOW_BYTES * (size_t)size / bytes : max;

    size = size < max / 4 ? 4 * size : max;
    return fits < size ? (unsigned)fits : size;
}

/* Several entries asked for at once: a remote store answers them side by side, of a directory one
 * sync says that all of them are durable. What lies behind the first absence is not looked at. One
 * that cannot be read ends the window, and is asked for again by itself. *size becomes that of the
 * next one, which grows while the entries are small enough. */
static int follow_window(struct objlog *l, struct objlog_pos *pos, unsigned *size,
                         objlog_apply_fn apply, void *arg, struct err_detail *detail)
{
    struct window w auto_of(window_done) = {.size = *size};
    size_t bytes = 0;
    int r = 0;

    for (unsigned i = 0; i < w.size; i++) {
        w.keys[i] = BUF_INIT(STORE_KEY_MAX);
        w.raws[i] = BUF_INIT(OBJLOG_ENTRY_MAX);
        if (entry_key(l, pos->seq + 1 + i, &w.keys[i]) < 0)
            return buf_err(&w.keys[i]);
        w.ops[i] =
            (struct store_op){.kind = STORE_OP_GET, .key = buf_str(&w.keys[i]), .out = &w.raws[i]};
    }
    store_run(node_store(l->node), w.ops, w.size);
    for (unsigned i = 0; i < w.size && r == 0; i++) {
        r = w.ops[i].result;
        if (r < 0 && r != -ERR_NOTFOUND) {
            *size = 1;
            return 0;
        }
        if (r == 0)
            r = apply_next(l, pos, buf_str(&w.raws[i]), apply, arg, detail);
        bytes += w.raws[i].len;
    }
    *size = next_window(l, *size, bytes);
    return r;
}

int objlog_follow(struct objlog *l, struct objlog_pos *pos, objlog_apply_fn apply, void *arg,
                  struct err_detail *detail)
{
    unsigned window = 1;
    int r;

    assert(l && pos && apply);
    r = follow_one(l, pos, apply, arg, detail);
    while (r == 0) {
        if (window > 1) {
            r = follow_window(l, pos, &window, apply, arg, detail);
        } else {
            window = 2; /* mostly one entry has come, and no other */
            r = follow_one(l, pos, apply, arg, detail);
        }
    }
    settle_by(l, pos);
    if (r != -ERR_NOTFOUND)
        return r;
    l->broken = false; /* whole up to its head, as read now */
    return 0;
}

int objlog_read(struct objlog *l, uint64_t seq, objlog_apply_fn apply, void *arg,
                struct err_detail *detail)
{
    struct buf raw auto_buf = BUF_INIT(OBJLOG_ENTRY_MAX);
    struct json_doc *doc auto_json = NULL;
    struct objlog_entry e;
    int r;

    assert(l && apply && seq > 0);
    r = get_entry(l, seq, &raw, detail);
    if (r < 0)
        return r;
    r = objlog_parse(buf_str(&raw), buf_str(&l->name), seq, &e, &doc, detail);
    return r < 0 ? r : apply(&e, arg);
}

/* ---- committing */

/* One attempt to fill a number, from validation to decision. */
struct attempt {
    struct str key, bytes;
    int64_t send_until_ms;   /* nothing is sent later (D after validation) */
    int64_t decide_until_ms; /* an answer is given by then */
    int64_t pause_ms;
    bool maybe;   /* a create that was sent may have landed, or may land yet */
    bool settles; /* what is owed, first */
};

enum outcome { OUTCOME_MINE, OUTCOME_OTHER, OUTCOME_ABSENT, OUTCOME_UNSEEN };

static bool has_nonce(const struct objlog *l, struct str bytes)
{
    char hex[2 * OBJLOG_ID_BYTES + 1];

    hex_encode(l->nonce, sizeof(l->nonce), hex);
    return memmem(bytes.at, bytes.len, hex, strlen(hex)) != NULL;
}

/* Only equal bytes are mine: the status of a create decides nothing (design section 4). */
static enum outcome look(struct objlog *l, const struct attempt *a)
{
    struct buf found auto_buf = BUF_INIT(OBJLOG_ENTRY_MAX);
    int r = store_get(node_store(l->node), a->key, 0, STORE_WHOLE, &found, NULL);

    if (r == -ERR_NOTFOUND)
        return OUTCOME_ABSENT;
    if (r == -ERR_TOOBIG)
        return OUTCOME_OTHER;
    if (r < 0)
        return OUTCOME_UNSEEN;
    if (mutant("settle-nonce") && has_nonce(l, buf_str(&found)))
        return OUTCOME_MINE;
    return str_eq(buf_str(&found), a->bytes) ? OUTCOME_MINE : OUTCOME_OTHER;
}

/* False when the time to decide has passed. */
static bool pause_attempt(struct attempt *a)
{
    int64_t left = a->decide_until_ms - clock_boot_ms();

    if (left <= 0)
        return false;
    clock_sleep_ms(a->pause_ms < left ? a->pause_ms : left);
    a->pause_ms = a->pause_ms * 2 < OBJLOG_PAUSE_MAX_MS ? a->pause_ms * 2 : OBJLOG_PAUSE_MAX_MS;
    return true;
}

/* What to answer when a number stays open. */
static int open_answer(const struct attempt *a, int err, struct err_detail *detail)
{
    if (a->maybe)
        return err_set(detail, -ERR_UNKNOWN, "the store did not say whether the entry was written");
    if (err < 0 && (err == -ERR_NOSPACE || !err_retryable(err)))
        return err;
    return err_set(detail, -ERR_NOTCOMMITTED, "the store did not take the entry: %s",
                   err_text(err < 0 ? err : -ERR_UNAVAIL));
}

/* A refusal that sending again will not change. */
static bool is_final(int err)
{
    return err == -ERR_NOSPACE || err == -ERR_NOMEM || !err_retryable(err);
}

static int send(struct objlog *l, const struct attempt *a, struct err_detail *detail)
{
    struct store *s = node_store(l->node);

    return a->settles ? store_create_settling(s, a->key, l->cls, a->bytes, detail)
                      : store_create(s, a->key, l->cls, a->bytes, detail);
}

/* Sends the same bytes to the same key until the number is decided or the time is up: 0 mine,
 * -ERR_EXISTS another's, -ERR_UNKNOWN, or certainly not committed. Terminates by decide_until_ms:
 * each round but the last sleeps. */
static int decide(struct objlog *l, struct attempt *a, struct err_detail *detail)
{
    int err = 0;
    bool again = true;

    for (;;) {
        if (again && (clock_boot_ms() <= a->send_until_ms || mutant("late-resend"))) {
            err = send(l, a, detail);
            if (err == 0 || (err == -ERR_AGAIN && !a->maybe))
                return err;
            if (err == -ERR_EXISTS && mutant("no-read-back"))
                return err;
            if (err == -ERR_UNKNOWN || err == -ERR_EXISTS)
                a->maybe = true;
        }
        switch (look(l, a)) {
        case OUTCOME_MINE:
            return 0;
        case OUTCOME_OTHER:
            metric_add(METRIC_log_lost_races_total, 1);
            return -ERR_EXISTS;
        case OUTCOME_ABSENT:
            if (!a->maybe && err < 0 && is_final(err))
                return err;
            again = true;
            break;
        case OUTCOME_UNSEEN:
            again = false;
            break;
        }
        if ((!a->maybe && clock_boot_ms() > a->send_until_ms) || !pause_attempt(a))
            return open_answer(a, err, detail);
    }
}

static int64_t ts_after(const struct objlog_pos *pos, int64_t now)
{
    return pos->ts < now ? now : pos->ts + 1;
}

/* Canonical text of an entry after pos (B2). */
static int build(struct objlog *l, const struct objlog_pos *pos, int64_t now,
                 const struct objlog_batch *b, struct buf *out)
{
    int64_t ahead = pos->ts - now;
    struct str ops = b->ops, payload = b->payload;
    struct jw w = JW_INIT(out);
    char nonce_hex[2 * OBJLOG_ID_BYTES + 1], prev[OBJLOG_HEX_LEN + 1];

    if (ops.len > strlen("[]") || !mutant("settle-nonce"))
        rand_bytes(l->nonce, sizeof(l->nonce));
    hex_encode(l->nonce, sizeof(l->nonce), nonce_hex);
    hex_encode(pos->hash, OBJLOG_HASH_BYTES, prev);
    jw_begin(&w, '{');
    jw_kint(&w, "v", OBJLOG_VERSION);
    jw_kstr(&w, "repo", buf_str(&l->name));
    jw_kint(&w, "seq", (int64_t)(pos->seq + 1));
    jw_kstr(&w, "prev", str_of(prev));
    jw_kstr(&w, "node", node_id(l->node));
    jw_kstr(&w, "nonce", str_of(nonce_hex));
    jw_kint(&w, "ts", ts_after(pos, now));
    jw_kint(&w, "gc", 0);
    if (ahead > OBJLOG_AHEAD_MS) /* an operator's override: told for good (B22) */
        jw_kint(&w, "ahead", ahead);
    jw_key(&w, "ops");
    jw_raw(&w, ops);
    if (payload.len > 0)
        jw_kint(&w, "bytes", (int64_t)payload.len);
    jw_end(&w, '}');
    if (payload.len > 0) {
        buf_addc(out, '\n');
        buf_add(out, payload);
    }
    return buf_err(out);
}

/* What a wrong clock wrote is not followed: the order of times would never come right again
 * (design section 9), unless an operator says so. */
static int check_ahead(struct objlog *l, const struct objlog_pos *pos, int64_t now,
                       struct err_detail *detail)
{
    int64_t ahead = pos->ts - now;
    bool overridden = node_overrides_ahead(l->node, buf_str(&l->name));

    if (ahead <= OBJLOG_AHEAD_MS) {
        l->ahead = false;
        return 0;
    }
    if (!l->ahead)
        log_alarm(overridden ? "log.ahead.overridden" : "log.ahead",
                  (const struct log_kv[]){KV_V("log", buf_str(&l->name)), KV_I("seq", pos->seq),
                                          KV_I("ahead_ms", ahead), KV_END});
    l->ahead = true;
    return overridden
               ? 0
               : err_set(detail, -ERR_NOTCOMMITTED,
                         "the last entry of log " STR_FMT " lies %lld s ahead of the store's clock",
                         STR_ARG(str_head(buf_str(&l->name), 120)), (long long)(ahead / 1000));
}

/* What was built just now, without reading it. */
static void describe(const struct objlog *l, const struct objlog_pos *pos, int64_t now,
                     struct str raw, struct objlog_entry *ret)
{
    int64_t ahead = pos->ts - now;

    *ret = (struct objlog_entry){.seq = pos->seq + 1,
                                 .ts = ts_after(pos, now),
                                 .ahead = ahead > OBJLOG_AHEAD_MS ? ahead : 0,
                                 .node = node_id(l->node),
                                 .raw = raw};
    hash_of(raw, ret->hash);
}

/* An entry ready to be sent; what cannot be read back is never committed. */
static int prepare(struct objlog *l, const struct objlog_pos *pos, const struct objlog_batch *b,
                   struct buf *raw, struct objlog_entry *ret, struct json_doc **ret_doc,
                   struct err_detail *detail)
{
    int64_t now;
    int r;

    if (b->ops.len + b->payload.len > OBJLOG_ENTRY_MAX - OBJLOG_ENVELOPE_MAX)
        return err_set(detail, -ERR_TOOBIG, "a log entry holds at most %u bytes", OBJLOG_ENTRY_MAX);
    r = node_now(l->node, &now, detail);
    if (r == 0)
        r = check_ahead(l, pos, now, detail);
    if (r < 0)
        return r;
    r = build(l, pos, now, b, raw);
    if (r < 0)
        return r;
    if (b->known && b->payload.len == 0 && json_reads_back(buf_str(raw))) {
        describe(l, pos, now, buf_str(raw), ret);
        return 0;
    }
    r = objlog_parse(buf_str(raw), buf_str(&l->name), pos->seq + 1, ret, ret_doc, detail);
    return r == -ERR_CORRUPT ? -ERR_INVAL : r;
}

static int attempt_init(const struct objlog *l, uint64_t seq, struct str bytes,
                        int64_t validated_ms, int64_t decide_until_ms, struct buf *key,
                        struct attempt *ret)
{
    int r = entry_key(l, seq, key);

    *ret = (struct attempt){.key = buf_str(key),
                            .bytes = bytes,
                            .send_until_ms = validated_ms + OBJLOG_VALID_MS,
                            .decide_until_ms = decide_until_ms,
                            .pause_ms = OBJLOG_PAUSE_MIN_MS};
    return r;
}

/* Fills the undecided number with an empty entry (0), unless another (ours of before, or a foreign
 * one) already does (-ERR_EXISTS). An empty entry depends on no state, so it is valid now. */
static int settle(struct objlog *l, int64_t decide_until_ms, struct err_detail *detail)
{
    struct buf key auto_buf = BUF_INIT(STORE_KEY_MAX);
    struct buf raw auto_buf = BUF_INIT(OBJLOG_ENTRY_MAX);
    struct json_doc *doc auto_json = NULL;
    const struct objlog_batch nothing = {.ops = STR("[]")};
    struct objlog_entry e;
    struct attempt a;
    int r = prepare(l, &l->pending, &nothing, &raw, &e, &doc, detail);

    if (r == 0)
        r = attempt_init(l, e.seq, buf_str(&raw), clock_boot_ms(), decide_until_ms, &key, &a);
    if (r == 0)
        r = decide(l, &a, detail);
    if (r == 0 || r == -ERR_EXISTS) {
        l->undecided = false;
        return r;
    }
    return err_set(detail, -ERR_NOTCOMMITTED, "an earlier entry of this log is still undecided");
}

/* Of a program that settles at once, to answer better than "unknown": was it an empty entry? */
static bool settled_empty(struct objlog *l)
{
    int64_t until_ms = clock_boot_ms() + OBJLOG_DECIDE_MS;
    int r = -ERR_UNKNOWN;

    while (l->undecided && clock_boot_ms() < until_ms) {
        r = settle(l, until_ms, NULL);
        clock_sleep_ms(OBJLOG_PAUSE_MAX_MS);
    }
    return r == 0;
}

static void advance(struct objlog_pos *pos, const struct objlog_entry *e)
{
    pos->seq = e->seq;
    pos->ts = e->ts;
    memcpy(pos->hash, e->hash, sizeof(pos->hash));
}

int objlog_append(struct objlog *l, struct objlog_pos *pos, struct str ops, struct str payload,
                  int64_t validated_ms, const struct objlog_entry **ret_entry,
                  struct err_detail *detail)
{
    const struct objlog_batch b = {.ops = ops,
                                   .payload = payload,
                                   .validated_ms = validated_ms,
                                   .decide_until_ms = clock_boot_ms() + OBJLOG_DECIDE_MS};

    return objlog_append_until(l, pos, &b, ret_entry, detail);
}

int objlog_append_until(struct objlog *l, struct objlog_pos *pos, const struct objlog_batch *b,
                        const struct objlog_entry **ret_entry, struct err_detail *detail)
{
    struct buf key auto_buf = BUF_INIT(STORE_KEY_MAX);
    int64_t validated_ms = b->validated_ms;
    struct attempt a;
    int r;

    assert(l && pos && b->ops.len > 0);
    drop_entry(l);
    if (l->broken)
        return err_set(detail, -ERR_READONLY, "log " STR_FMT " is damaged",
                       STR_ARG(str_head(buf_str(&l->name), 120)));
    settle_by(l, pos);
    if (l->undecided) {
        r = mutant("unsettled") ? -ERR_NOTCOMMITTED : settle(l, b->decide_until_ms, detail);
        return r == 0 ? -ERR_EXISTS : r; /* whatever stands there is followed first */
    }
    if (mutant("late-first-send"))
        validated_ms = clock_boot_ms();
    if (clock_boot_ms() > validated_ms + OBJLOG_VALID_MS)
        return err_set(detail, -ERR_NOTCOMMITTED, "the check of this change is too old");
    r = prepare(l, pos, b, &l->raw, &l->entry, &l->doc, detail);
    if (r == 0)
        r = attempt_init(l, pos->seq + 1, buf_str(&l->raw), validated_ms, b->decide_until_ms, &key,
                         &a);
    if (r == 0) {
        a.settles = b->settles;
        r = decide(l, &a, detail);
    }
    if (r == 0) {
        advance(pos, &l->entry);
        metric_add(METRIC_log_entries_total, 1);
        if (ret_entry) {
            *ret_entry = &l->entry;
            return 0;
        }
    } else if (r == -ERR_UNKNOWN && mutant("next-number")) {
        r = -ERR_EXISTS;
    } else if (r == -ERR_UNKNOWN) {
        l->undecided = true;
        l->pending = *pos;
        if (mutant("unknown-as-no") || (mutant("settle-nonce") && settled_empty(l)))
            r = -ERR_NOTCOMMITTED;
    }
    drop_entry(l);
    return r;
}
