/* Upload sessions: each a flat log. Its entries are synced, their folder is not until the close: a
 * power failure may leave a gap, which costs that client a new upload and nothing else. */
#include "manifests/fsck_internal.h"

#include "base/enc.h"
#include "blobstore/upload.h"

#define LATE_MS (UPLOAD_WAIT_MS) /* beyond its time, before a sweep counts as missing */

struct session {
    char id[KEYS_SESSION_LEN + 1]; /* empty: none yet */
    uint64_t seq;                  /* last entry */
    int64_t ts;
    uint8_t hash[OBJLOG_HASH_BYTES];
    uint64_t offset, bytes; /* acknowledged; carried by entries */
    bool chained;           /* hash is that of the entry before the next */
    bool partial;           /* entries before the first are gone */
    bool ended, bad, gone;
    int64_t modified_ms;
};

static const char unusable[] = "this upload cannot go on; its client must begin again";

static void session_key(const struct session *s, uint64_t seq, struct buf *out)
{
    struct buf prefix auto_buf = BUF_INIT(STORE_KEY_MAX);

    keys_session(&prefix, str_of(s->id));
    keys_log_entry(out, buf_str(&prefix), false, seq);
}

static int finish(struct fsck *f, const struct session *s)
{
    struct buf key auto_buf = BUF_INIT(STORE_KEY_MAX);
    struct store_info info;
    int64_t age, limit;
    int e;

    if (!s->id[0])
        return 0;
    f->counts->sessions++;
    age = f->now - (s->bad ? s->modified_ms : s->ts);
    limit = UPLOAD_IDLE_MS + LATE_MS + (s->ended ? UPLOAD_WAIT_MS : 0);
    if (s->gone || age <= limit)
        return 0;
    session_key(s, s->seq, &key);
    e = fsck_head(f, buf_str(&key), &info);
    if (e == 0)
        fsck_say(f, FSCK_GARBAGE, buf_str(&key), "none; a running server sweeps it",
                 "is the last entry of a session that %s long ago", s->ended ? "ended" : "expired");
    return e == -ERR_NOTFOUND || fsck_of_object(e) ? 0 : e;
}

static const char *apply_append(struct session *s, const struct objlog_entry *e,
                                const struct json *op)
{
    const struct json *stream = json_get(op, "stream");
    int64_t offset;
    struct hasher h;

    if (!json_get_int(op, "offset", &offset) || offset < 0 || (uint64_t)offset < s->offset)
        return "goes back behind what was acknowledged";
    if (hasher_load(&h, json_str(json_get(op, "hash"))) < 0)
        return "has no state of the digest";
    s->offset = (uint64_t)offset;
    s->bytes += e->payload.len;
    if (json_type(stream) == JSON_NULL_T && !s->partial && s->bytes != s->offset)
        return "carries other bytes than its offset says";
    if (json_type(stream) != JSON_NULL_T && json_type(stream) != JSON_OBJECT_T)
        return "does not say where its bytes are";
    return NULL;
}

/* What is wrong, or NULL. */
static const char *apply_op(struct session *s, const struct objlog_entry *e, const struct json *op)
{
    struct str word = json_str(json_get(op, "op"));
    struct digest d;
    int64_t n;

    if (s->ended)
        return "stands behind the session's end";
    if (str_eq(word, STR("append")))
        return apply_append(s, e, op);
    if (str_eq(word, STR("close"))) {
        if (!json_get_str(op, "digest", &word) || digest_parse(word, &d) < 0 ||
            !json_get_int(op, "size", &n) || !json_get_int(op, "g", &n))
            return "is a close without digest, size and generation";
    } else if (!str_eq(word, STR("expire")) && !str_eq(word, STR("cancel"))) {
        return "holds an operation that is not known";
    }
    s->ended = true;
    return NULL;
}

static void say_bad(struct fsck *f, struct session *s, struct str key, const char *what)
{
    if (!s->bad)
        fsck_say(f, FSCK_DAMAGE, key, unusable, "%s", what);
    s->bad = true;
}

static void take(struct fsck *f, struct session *s, struct str key, const struct objlog_entry *e,
                 const struct json *root)
{
    uint8_t prev[OBJLOG_HASH_BYTES];
    const char *what = NULL;

    if (!hex_decode(json_str(json_get(root, "prev")), prev, sizeof(prev)))
        what = "no prev";
    else if (s->chained && memcmp(prev, s->hash, sizeof(prev)) != 0)
        what = "does not follow the entry before it: this one or that one was changed";
    else if (s->chained && e->ts <= s->ts)
        what = "is not younger than the entry before it";
    for (size_t i = 0; !what && s->chained && i < json_len(e->ops); i++)
        what = apply_op(s, e, json_at(e->ops, i));
    if (!s->chained && json_len(e->ops) > 0) {
        struct str word = json_str(json_get(json_at(e->ops, 0), "op"));

        s->ended = word.at && !str_eq(word, STR("append"));
    }
    if (what)
        say_bad(f, s, key, what);
    s->ts = e->ts;
    memcpy(s->hash, e->hash, sizeof(s->hash));
}

/* Entries before this one are absent: a sweep removes them from the first on, a power failure may
 * have lost them. */
static int note_gap(struct fsck *f, struct session *s, uint64_t seq)
{
    struct buf key auto_buf = BUF_INIT(STORE_KEY_MAX);
    int e;

    s->chained = false;
    s->partial = true;
    if (s->seq == 0) /* how a sweep leaves it that was cut off */
        return 0;
    session_key(s, s->seq + 1, &key);
    e = fsck_confirm_gone(f, buf_str(&key));
    if (e != -ERR_NOTFOUND)
        return fsck_of_object(e) ? 0 : e;
    buf_clear(&key);
    session_key(s, s->seq, &key);
    e = fsck_confirm_gone(f, buf_str(&key));
    if (e == -ERR_NOTFOUND) {
        s->gone = true; /* being swept */
        return 0;
    }
    if (e < 0)
        return fsck_of_object(e) ? 0 : e;
    buf_clear(&key);
    session_key(s, s->seq + 1, &key);
    fsck_say(f, FSCK_WARNING, buf_str(&key), unusable,
             "is missing, although entry %llu is there: a power failure", (unsigned long long)seq);
    s->bad = true;
    return 0;
}

static int read_entry(struct fsck *f, struct session *s, struct str key, uint64_t seq)
{
    struct buf raw auto_buf = BUF_INIT(OBJLOG_ENTRY_MAX);
    struct buf name auto_buf = BUF_INIT(STORE_KEY_MAX);
    struct json_doc *doc auto_json = NULL;
    struct objlog_entry entry;
    int e = fsck_get(f, key, 0, STORE_WHOLE, &raw);

    if (e == -ERR_NOTFOUND) {
        s->gone = true;
        return 0;
    }
    keys_session(&name, str_of(s->id));
    if (e == 0)
        e = objlog_parse(buf_str(&raw), buf_str(&name), seq, &entry, &doc, &f->why);
    if (e == -ERR_VERSION) {
        fsck_say(f, FSCK_WARNING, key, unusable, "was written by a newer version");
        s->bad = true;
    } else if (fsck_of_object(e)) {
        say_bad(f, s, key, f->why.text);
        s->chained = false;
        return 0;
    } else if (e < 0) {
        return e;
    } else {
        take(f, s, key, &entry, json_root(doc));
    }
    s->chained = e == 0;
    return 0;
}

static int see_entry(struct fsck *f, struct str key, const struct store_info *info, void *arg)
{
    struct session *s = arg;
    struct str id;
    uint64_t seq;
    int e = 0;

    if (!keys_session_parse(key, &id, &seq)) {
        fsck_unknown(f, key);
        return 0;
    }
    if (!str_eq(id, str_of(s->id))) {
        e = finish(f, s);
        *s = (struct session){.chained = true};
        memcpy(s->id, id.at, id.len);
    }
    if (e == 0 && seq != s->seq + 1 && !s->gone)
        e = note_gap(f, s, seq);
    if (e == 0 && !s->gone)
        e = read_entry(f, s, key, seq);
    s->seq = seq;
    s->modified_ms = info->modified_ms;
    return e;
}

int fsck_sessions_check(struct fsck *f)
{
    struct session s = {.chained = true};
    int e = fsck_each(f, STR(KEYS_UPLOADS), STR_NONE, see_entry, &s);

    return e < 0 ? e : finish(f, &s);
}
