/* See audit.h: rules held at each effect. Owns what is remembered of a run's effects. The checks at
 * the end are in audit_end.c. */
#include "audit.h"

#include <assert.h>
#include <stdio.h>

#include "audit_internal.h"
#include "base/omap.h"

#define RESEND_MAX_US  (OBJLOG_VALID_MS * MS) /* D */
#define MARK_BEHIND_US (3 * 60 * SEC)
#define MARK_SLOT_MS   600000

static struct {
    struct omap *sent;    /* "<key>#<hash>" -> when it left first, with the process's clock */
    struct omap *absent;  /* "<process>#<key>" -> when it was last read as not there */
    struct omap *tables;  /* key of a checkpoint -> its bytes as first sent */
    struct omap *removed; /* keys of log entries that were removed */
    struct omap *owners;  /* data id -> key of its record */
    struct omap *strays;  /* keys of data of swept sessions */
    struct omap *ticks;   /* key of a log entry -> tick of its creation */
} seen;

static void *copy_of(struct str bytes)
{
    struct str *s = malloc(sizeof(*s) + bytes.len + 1);

    assert(s);
    memcpy(s + 1, bytes.len ? bytes.at : "", bytes.len);
    *s = str_make(s + 1, bytes.len);
    return s;
}

static void remember(struct omap *map, struct str key, struct str value)
{
    int r = omap_put(map, key, copy_of(value));

    assert(r == 0);
}

static const struct str *recall(const struct omap *map, struct str key)
{
    return omap_get(map, key);
}

void audit_begin(void)
{
    struct omap **all[] = {&seen.sent,   &seen.absent, &seen.tables, &seen.removed,
                           &seen.owners, &seen.strays, &seen.ticks};

    for (size_t i = 0; i < ARRAY_LEN(all); i++) {
        int r = omap_new(free, all[i]);

        assert(r == 0);
    }
}

void audit_end(void)
{
    omap_freep(&seen.sent);
    omap_freep(&seen.absent);
    omap_freep(&seen.tables);
    omap_freep(&seen.removed);
    omap_freep(&seen.owners);
    omap_freep(&seen.strays);
    omap_freep(&seen.ticks);
}

/* ---- looking */

bool audit_get(struct str key, struct buf *out)
{
    buf_done(out);
    return store_get(net_store(), key, 0, STORE_WHOLE, out, NULL) == 0;
}

bool audit_has(struct str key)
{
    struct store_info info;

    return store_head(net_store(), key, &info, NULL) == 0;
}

/* "<prefix>/_log/<16>/<20>" or "uploads/<id>/<20>". */
bool audit_log_key(struct str key, struct log_key *ret)
{
    struct str rest = key, id;
    const char *at = key.len ? memmem(key.at, key.len, "/_log/", 6) : NULL;

    if (at) {
        ret->prefix = str_make(key.at, (size_t)(at - key.at));
        rest = str_skip(key, key.len < 20 ? 0 : key.len - 20);
        ret->deep = true;
        return keys_number_parse(rest, &ret->seq);
    }
    if (!keys_session_parse(key, &id, &ret->seq))
        return false;
    ret->prefix = str_head(key, key.len - 21);
    ret->deep = false;
    return true;
}

bool audit_is_entry(struct str key)
{
    struct log_key log;

    return audit_log_key(key, &log);
}

bool audit_entry(struct str prefix, bool deep, uint64_t seq, struct buf *out)
{
    struct buf key auto_buf = BUF_INIT(STORE_KEY_MAX);

    keys_log_entry(&key, prefix, deep, seq);
    return audit_get(buf_str(&key), out);
}

uint32_t audit_tick(struct str prefix, uint64_t seq)
{
    struct buf key auto_buf = BUF_INIT(STORE_KEY_MAX);
    const struct str *value;
    uint32_t tick = 0;

    keys_log_entry(&key, prefix, true, seq);
    value = recall(seen.ticks, buf_str(&key));
    if (value)
        memcpy(&tick, value->at, sizeof(tick));
    return tick;
}

struct str audit_log_name(struct str prefix)
{
    return str_starts(prefix, STR("repos/")) ? str_skip(prefix, 6) : prefix;
}

static bool parse(struct str prefix, uint64_t seq, struct str bytes, struct objlog_entry *ret,
                  struct json_doc **doc)
{
    struct err_detail why = {{0}};

    if (objlog_parse(bytes, audit_log_name(prefix), seq, ret, doc, &why) == 0)
        return true;
    sim_fail("entry %llu of " STR_FMT " does not parse: %s", (unsigned long long)seq,
             STR_ARG(prefix), why.text);
    return false;
}

/* ---- creates on their way */

static void name_read(struct buf *out, const struct proc *p, struct str key)
{
    buf_addf(out, "%s#", p->name);
    buf_add(out, key);
}

/* A number read as free says where the log ends only when the one before stands. */
static bool after_the_end(const struct log_key *log)
{
    struct buf before auto_buf = BUF_INIT(STORE_KEY_MAX);

    if (log->seq == 1)
        return false;
    keys_log_entry(&before, log->prefix, log->deep, log->seq - 1);
    return !recall(seen.ticks, buf_str(&before));
}

void audit_absent(const struct proc *p, struct str key)
{
    struct log_key log;
    struct buf name auto_buf = BUF_INIT(STORE_KEY_MAX + SCHED_NAME_MAX);
    int64_t now = sched_now_us();

    if (!audit_log_key(key, &log) || after_the_end(&log))
        return;
    name_read(&name, p, key);
    remember(seen.absent, buf_str(&name), str_make(&now, sizeof(now)));
}

/* The first entry of a session that is so young that no entry of it can have been removed. */
static bool begins_session(struct str key)
{
    struct str id = str_skip(key, sizeof("uploads/") - 1);
    int64_t now = SCHED_EPOCH_MS + sched_now_us() / MS + sched_store_skew_ms, birth = 0;
    char number[] = "/00000000000000000001";

    if (!str_starts(key, STR("uploads/")) || !str_ends(key, str_of(number)))
        return false;
    for (size_t i = 0; i < KEYS_SESSION_BIRTH; i++)
        birth = birth * 16 + (id.at[i] <= '9' ? id.at[i] - '0' : id.at[i] - 'a' + 10);
    return now - birth < UPLOAD_IDLE_MS;
}

/* What depends on the state leaves within D of a look at it, and none is younger than the last look
 * that found the number free; but who begins a session need not look. Empty entries and the
 * catalog's depend on nothing, an end by age on another look. */
static void looked_lately(const struct proc *p, struct str key, struct str bytes)
{
    struct buf name auto_buf = BUF_INIT(STORE_KEY_MAX + SCHED_NAME_MAX);
    const struct str *last;
    int64_t at;

    name_read(&name, p, key);
    last = recall(seen.absent, buf_str(&name));
    if (!last || begins_session(key) || str_starts(key, STR(KEYS_CATALOG)) ||
        memmem(bytes.at, bytes.len, "\"ops\":[]", 8) ||
        memmem(bytes.at, bytes.len, "\"op\":\"expire\"", 13))
        return;
    memcpy(&at, last->at, sizeof(at));
    if (sched_now_us() - at > RESEND_MAX_US)
        sim_fail("an entry leaves %lld s after the last look: " STR_FMT,
                 (long long)((sched_now_us() - at) / SEC), STR_ARG(key));
}

void audit_sending(const struct proc *p, struct str key, struct str bytes)
{
    struct buf name auto_buf = BUF_INIT(STORE_KEY_MAX + 80);
    char text[DIGEST_TEXT_MAX];
    struct log_key log;
    struct digest d;
    int64_t now = sched_now_us();
    const struct str *first;

    if (!audit_log_key(key, &log))
        return;
    looked_lately(p, key, bytes);
    digest_of(DIGEST_SHA256, bytes, &d);
    buf_add(&name, key);
    buf_addc(&name, '#');
    buf_add(&name, digest_text(&d, text));
    first = recall(seen.sent, buf_str(&name));
    if (!first) {
        remember(seen.sent, buf_str(&name), str_make(&now, sizeof(now)));
        return;
    }
    memcpy(&now, first->at, sizeof(now));
    if (sched_now_us() - now > RESEND_MAX_US)
        sim_fail("the same bytes leave again for " STR_FMT " %lld s after the first time",
                 STR_ARG(key), (long long)((sched_now_us() - now) / SEC));
}

/* I11: whoever encodes a checkpoint makes the same bytes. */
static void same_table(struct str key, struct str bytes)
{
    const struct str *first;

    if (!memmem(key.at, key.len, "/_table/", 8))
        return;
    first = recall(seen.tables, key);
    if (!first)
        remember(seen.tables, key, bytes);
    else if (!str_eq(*first, bytes))
        sim_fail("two checkpoints differ: " STR_FMT, STR_ARG(key));
}

void audit_exists(struct str key, struct str bytes)
{
    same_table(key, bytes);
}

/* ---- log entries */

static bool has_op(const struct objlog_entry *e, const char *op)
{
    return str_eq(json_str(json_get(json_at(e->ops, 0), "op")), str_of(op));
}

/* Dense, chained, ts rises; nothing behind a session's end (I1, I9, B6, B18). */
static void follows(const struct log_key *log, struct str bytes)
{
    struct buf before auto_buf = BUF_INIT(OBJLOG_ENTRY_MAX);
    struct json_doc *doc auto_json = NULL, *doc_before auto_json = NULL;
    struct objlog_entry e, b;
    char hex[DIGEST_TEXT_MAX];
    struct digest d;
    struct str prev;

    if (!parse(log->prefix, log->seq, bytes, &e, &doc))
        return;
    json_get_str(json_root(doc), "prev", &prev);
    if (log->seq == 1)
        return;
    if (!audit_entry(log->prefix, log->deep, log->seq - 1, &before)) {
        sim_fail("entry %llu of " STR_FMT " has no predecessor", (unsigned long long)log->seq,
                 STR_ARG(log->prefix));
        return;
    }
    if (!parse(log->prefix, log->seq - 1, buf_str(&before), &b, &doc_before))
        return;
    digest_of(DIGEST_SHA256, buf_str(&before), &d);
    if (!str_eq(digest_hex(&d, hex), prev))
        sim_fail("entry %llu of " STR_FMT " does not follow its predecessor",
                 (unsigned long long)log->seq, STR_ARG(log->prefix));
    if (e.ts <= b.ts)
        sim_fail("ts does not rise at entry %llu of " STR_FMT, (unsigned long long)log->seq,
                 STR_ARG(log->prefix));
    if (!log->deep && (has_op(&b, "close") || has_op(&b, "expire") || has_op(&b, "cancel")))
        sim_fail("entry %llu behind the end of " STR_FMT, (unsigned long long)log->seq,
                 STR_ARG(log->prefix));
}

/* B20: the catalog knows the name before the first entry. */
static bool in_catalog(struct str name)
{
    struct buf raw auto_buf = BUF_INIT(OBJLOG_ENTRY_MAX);

    for (uint64_t seq = 1; audit_entry(STR(KEYS_CATALOG), true, seq, &raw); seq++) {
        struct json_doc *doc auto_json = NULL;
        struct objlog_entry e;

        if (!parse(STR(KEYS_CATALOG), seq, buf_str(&raw), &e, &doc))
            return false;
        for (size_t i = 0; i < json_len(e.ops); i++) {
            const struct json *op = json_at(e.ops, i);

            if (str_eq(json_str(json_get(op, "op")), STR("add")) &&
                str_eq(json_str(json_get(op, "name")), name))
                return true;
        }
    }
    return false;
}

/* The marker stands before the entry: in the ten minutes of now, or (a late or slow entry, a clock
 * that was set) in those of a little earlier. */
static bool marked(struct str name)
{
    int64_t now = SCHED_EPOCH_MS + sched_now_us() / MS + sched_store_skew_ms;

    for (int64_t ms = now - 3 * MARK_SLOT_MS; ms <= now + MARK_SLOT_MS; ms += MARK_SLOT_MS / 2) {
        struct buf key auto_buf = BUF_INIT(STORE_KEY_MAX);

        keys_changes(&key, ms, name);
        if (audit_has(buf_str(&key)))
            return true;
    }
    return false;
}

static void log_grew(struct str key, const struct log_key *log, struct str bytes)
{
    struct str name = audit_log_name(log->prefix);
    uint32_t tick = hist_tick();

    if (recall(seen.removed, key))
        sim_fail("a number that was removed is used again: " STR_FMT, STR_ARG(key));
    follows(log, bytes);
    remember(seen.ticks, key, str_make(&tick, sizeof(tick)));
    if (!str_starts(log->prefix, STR("repos/")))
        return;
    if (log->seq == 1 && !in_catalog(name))
        sim_fail("the first entry of " STR_FMT " came before the catalog knew it", STR_ARG(name));
    if (!marked(name))
        sim_fail("entry %llu of " STR_FMT " came before its marker", (unsigned long long)log->seq,
                 STR_ARG(name));
}

/* ---- other objects */

static bool swept(struct str session)
{
    struct buf key auto_buf = BUF_INIT(STORE_KEY_MAX);

    keys_log_entry(&key, session, false, 1);
    return recall(seen.removed, buf_str(&key)) != NULL;
}

/* B17: data comes into being after its session's close. */
static void data_made(struct str key)
{
    struct buf prefix auto_buf = BUF_INIT(STORE_KEY_MAX), raw auto_buf = BUF_INIT(OBJLOG_ENTRY_MAX);
    bool closed = false;
    struct str id;

    if (!keys_data_parse(key, &id))
        return;
    keys_session(&prefix, id);
    for (uint64_t seq = 1; audit_entry(buf_str(&prefix), false, seq, &raw); seq++) {
        struct json_doc *doc auto_json = NULL;
        struct objlog_entry e;

        closed = parse(buf_str(&prefix), seq, buf_str(&raw), &e, &doc) && has_op(&e, "close");
    }
    /* Of a session that was swept while its node slept the node itself removes what it made. */
    if (!closed && swept(buf_str(&prefix)))
        remember(seen.strays, key, STR_NONE);
    else if (!closed)
        sim_fail("data came into being without a close: " STR_FMT, STR_ARG(key));
}

/* B9, B10: data first, and of one record alone. */
static void record_made(struct str key, struct str bytes)
{
    struct buf data auto_buf = BUF_INIT(STORE_KEY_MAX);
    struct err_detail why = {{0}};
    struct blob_info info;
    const struct str *owner;

    if (blob_header_parse(bytes, &info, &why) < 0) {
        sim_fail("a record does not parse: " STR_FMT " %s", STR_ARG(key), why.text);
        return;
    }
    if (!info.data_id[0])
        return;
    keys_data(&data, str_of(info.data_id));
    if (!audit_has(buf_str(&data)))
        sim_fail("a record came before its data: " STR_FMT, STR_ARG(key));
    if (recall(seen.strays, buf_str(&data)))
        sim_fail("a record names the data of a swept session: " STR_FMT, STR_ARG(key));
    owner = recall(seen.owners, str_of(info.data_id));
    if (owner && !str_eq(*owner, key))
        sim_fail("two records share one data object: " STR_FMT " and " STR_FMT, STR_ARG(key),
                 STR_ARG(*owner));
    if (!owner)
        remember(seen.owners, str_of(info.data_id), key);
}

static uint64_t head_of(struct str prefix)
{
    struct buf raw auto_buf = BUF_INIT(OBJLOG_ENTRY_MAX);
    uint64_t seq = 0;

    while (audit_entry(prefix, true, seq + 1, &raw))
        seq++;
    return seq;
}

static void table_made(struct str key, struct str bytes)
{
    const char *at = memmem(key.at, key.len, "/_table/", 8);
    struct str prefix = str_make(key.at, at ? (size_t)(at - key.at) : 0);
    uint64_t seq;

    same_table(key, bytes);
    if (!keys_number_parse(str_skip(key, key.len - 20), &seq) || seq > head_of(prefix))
        sim_fail("a checkpoint lies beyond the head: " STR_FMT, STR_ARG(key));
}

void audit_created(struct str key, struct str bytes)
{
    struct log_key log;

    if (audit_log_key(key, &log))
        log_grew(key, &log, bytes);
    else if (str_starts(key, STR("data/")))
        data_made(key);
    else if (str_starts(key, STR("blobs/")))
        record_made(key, bytes);
    else if (memmem(key.at, key.len, "/_table/", 8))
        table_made(key, bytes);
}

/* Only advice is overwritten (B1), and it never leads beyond the head. */
void audit_put(struct str key, struct str bytes)
{
    struct json_doc *doc auto_json = NULL;
    int64_t head = 0;

    if (memmem(key.at, key.len, "/_part/", 7)) { /* B26: with the bytes that its name says */
        char hex[DIGEST_TEXT_MAX];
        struct digest d;

        digest_of(DIGEST_SHA256, bytes, &d);
        if (!str_ends(key, digest_hex(&d, hex)))
            sim_fail("a part was overwritten by other bytes: " STR_FMT, STR_ARG(key));
        return;
    }
    if (!str_ends(key, STR("/_hint"))) {
        sim_fail("an object was overwritten: " STR_FMT, STR_ARG(key));
        return;
    }
    if (json_parse(bytes, &doc, NULL) < 0 || !json_get_int(json_root(doc), "head", &head) ||
        (uint64_t)head > head_of(str_head(key, key.len - 6)))
        sim_fail("a hint leads beyond the head: " STR_FMT " " STR_FMT, STR_ARG(key),
                 STR_ARG(bytes));
}

void audit_removed(struct str key)
{
    struct log_key log;

    if (!audit_log_key(key, &log))
        return;
    if (log.deep)
        sim_fail("an entry of a log was removed: " STR_FMT, STR_ARG(key));
    if (!recall(seen.removed, key))
        remember(seen.removed, key, STR_NONE);
}
