/* The log of one session (docs/bucket-format.md section 7): what its operations mean, and how one
 * is appended.
 *
 * An entry is sent within UPLOAD_FRESH_MS of a look at the log, and never to a session that is idle
 * for longer than UPLOAD_IDLE_MS: entries are removed UPLOAD_WAIT_MS after that at the earliest, so
 * a number that was removed is never filled again (B4), however long this process slept. */
#include <assert.h>

#include "base/clock.h"
#include "base/mutant.h"
#include "blobstore/upload_internal.h"

/* ---- operations */

static int bad(struct err_detail *detail, const char *what)
{
    return err_set(detail, -ERR_CORRUPT, "an upload session's entry has %s", what);
}

/* The bytes of the session that entries carry, after one more of them: from is the first that its
 * stream does not hold. Those that lie in a stream of ours only are not at hand any more; partial
 * then says so. */
static int apply_tail(struct upload *u, struct str payload, uint64_t from, uint64_t offset)
{
    uint64_t begin = from > u->saved ? from : u->saved;
    bool whole = !u->partial && u->bytes.len == u->saved - u->bytes_at;

    if (from > offset || from < u->bytes_at || payload.len != offset - begin)
        return -ERR_CORRUPT;
    u->partial = from < u->saved && !whole;
    if (from >= u->saved || u->partial) {
        buf_clear(&u->bytes);
    } else if (from > u->bytes_at) {
        memmove(u->bytes.at, u->bytes.at + (from - u->bytes_at), (size_t)(u->saved - from));
        buf_truncate(&u->bytes, (size_t)(u->saved - from));
    }
    u->bytes_at = from;
    if (!u->partial) {
        u->bytes.max = UPLOAD_TAIL_MAX;
        buf_add(&u->bytes, payload);
    }
    return buf_err(&u->bytes) == -ERR_TOOBIG ? -ERR_CORRUPT : buf_err(&u->bytes);
}

static int apply_stream(struct upload *u, const struct objlog_entry *e, const struct json *op,
                        int64_t offset, struct err_detail *detail)
{
    struct buf state auto_buf = BUF_INIT(STORE_STREAM_STATE_MAX);
    int64_t from = offset;
    int r;

    if (json_get(op, "from") && (!json_get_int(op, "from", &from) || from < 0))
        return bad(detail, "no place of its bytes");
    json_dump(&state, json_get(op, "stream"));
    if (buf_err(&state) < 0)
        return buf_err(&state);
    upload_drop_stream(u); /* ours, if any, is another's prefix now */
    r = apply_tail(u, e->payload, (uint64_t)from, (uint64_t)offset);
    if (r < 0)
        return r == -ERR_NOMEM ? r : bad(detail, "other bytes than its offset says");
    upload_count_bytes(u);
    buf_done(&u->stream_state);
    u->stream_state = state;
    state = BUF_INIT(0);
    u->streaming = true;
    return 0;
}

static int apply_append(struct upload *u, const struct objlog_entry *e, const struct json *op,
                        struct err_detail *detail)
{
    const struct json *stream = json_get(op, "stream");
    struct hasher h;
    int64_t offset;
    struct str text;
    int r;

    if (!json_get_int(op, "offset", &offset) || (uint64_t)offset < u->saved)
        return bad(detail, "no offset");
    if (!json_get_str(op, "hash", &text) || hasher_load(&h, text) < 0)
        return bad(detail, "no state of the digest");
    if (json_type(stream) == JSON_OBJECT_T) {
        r = apply_stream(u, e, op, offset, detail);
        if (r < 0)
            return r;
    } else if (json_type(stream) == JSON_NULL_T && !u->streaming) {
        buf_add(&u->bytes, e->payload);
        if (buf_err(&u->bytes) < 0)
            return buf_err(&u->bytes) == -ERR_NOMEM ? -ERR_NOMEM : bad(detail, "too many bytes");
        if (u->bytes.len != (uint64_t)offset)
            return bad(detail, "other bytes than its offset says");
    } else {
        return bad(detail, "no place of its bytes");
    }
    u->hasher = u->saved_hasher = h;
    u->saved = u->size = (uint64_t)offset;
    return 0;
}

static int parse_close(const struct json *op, struct upload_close *ret)
{
    int64_t size, g;
    struct str text;

    if (!json_get_str(op, "digest", &text) || digest_parse(text, &ret->digest) < 0)
        return -ERR_CORRUPT;
    if (!json_get_int(op, "size", &size) || size < 0)
        return -ERR_CORRUPT;
    if (!json_get_int(op, "g", &g) || g < 0 || g > INT32_MAX)
        return -ERR_CORRUPT;
    ret->size = (uint64_t)size;
    ret->g = (unsigned)g;
    ret->unproved = false;
    if (json_get(op, "unproved") && !json_bool(json_get(op, "unproved"), &ret->unproved))
        return -ERR_CORRUPT;
    return 0;
}

static int apply_op(struct upload *u, const struct objlog_entry *e, const struct json *op,
                    struct err_detail *detail)
{
    struct str name = json_str(json_get(op, "op"));

    if (u->state != UPLOAD_OPEN)
        return bad(detail, "an operation behind its end");
    if (str_eq(name, STR("append")))
        return apply_append(u, e, op, detail);
    if (str_eq(name, STR("close"))) {
        if (parse_close(op, &u->closed) < 0)
            return bad(detail, "a close without digest, size and generation");
        u->closed_ts = e->ts;
        u->state = UPLOAD_CLOSED;
        return 0;
    }
    if (str_eq(name, STR("expire")) || str_eq(name, STR("cancel"))) {
        u->state = UPLOAD_ENDED;
        return 0;
    }
    return err_set(detail, -ERR_VERSION, "an upload session needs a newer version"); /* B2 */
}

struct apply {
    struct upload *u;
    struct err_detail *detail;
};

static int apply_entry(const struct objlog_entry *e, void *arg)
{
    struct apply *a = arg;
    int r = 0;

    if (json_len(e->ops) == 0) /* B7 */
        return 0;
    upload_forget_unsaved(a->u);
    a->u->changed = true;
    for (size_t i = 0; r == 0 && i < json_len(e->ops); i++)
        r = apply_op(a->u, e, json_at(e->ops, i), a->detail);
    return r;
}

/* ---- looking */

int64_t upload_birth(struct str id)
{
    int64_t ms = 0;

    for (size_t i = 0; i < KEYS_SESSION_BIRTH && i < id.len; i++) {
        char c = id.at[i];

        ms = ms * 16 + (c <= '9' ? c - '0' : c - 'a' + 10);
    }
    return ms;
}

int upload_log_new(struct uploads *us, struct str id, struct objlog **ret)
{
    struct buf prefix auto_buf = BUF_INIT(STORE_KEY_MAX);
    struct objlog_spec spec = {.deep = false, .cls = STORE_UPLOAD};

    keys_session(&prefix, id);
    if (buf_err(&prefix) < 0)
        return buf_err(&prefix);
    spec.prefix = spec.name = buf_str(&prefix);
    return objlog_new(us->node, &spec, ret);
}

static int follow(struct upload *u, struct err_detail *detail)
{
    struct apply a = {u, detail};

    return objlog_follow(u->log, &u->pos, apply_entry, &a, detail);
}

int upload_log_again(struct upload *u, struct err_detail *detail)
{
    enum digest_alg alg = u->hasher.alg;

    upload_drop_stream(u);
    buf_done(&u->bytes);
    buf_done(&u->stream_state);
    u->pos = (struct objlog_pos){0};
    u->saved = u->size = u->bytes_at = 0;
    u->streaming = u->partial = false;
    u->bytes.max = BLOB_INLINE_MAX;
    hasher_init(&u->hasher, alg);
    u->saved_hasher = u->hasher;
    u->state = UPLOAD_OPEN;
    return follow(u, detail);
}

/* A look that began at start has read all there is: what is sent because of it is fresh from then
 * on, unless the session has been idle for so long that its entries may be gone. */
static int looked(struct upload *u, int64_t start, struct err_detail *detail)
{
    int64_t now, last = u->pos.seq > 0 ? u->pos.ts : upload_birth(str_of(u->id));
    int r = uploads_now(u->us, &now, detail);

    if (r < 0)
        return r;
    if (now - last > UPLOAD_IDLE_MS && !mutant("old-session"))
        return err_set(detail, -ERR_NOTFOUND, "the upload session has expired");
    u->validated_ms = start;
    u->unlooked = false;
    return 0;
}

int upload_log_look(struct upload *u, struct err_detail *detail)
{
    int64_t start = clock_boot_ms();
    bool known = u->log != NULL;
    int r = known ? 0 : upload_log_new(u->us, str_of(u->id), &u->log);

    if (r == 0 && (!known || objlog_probe(u->log, u->pos.seq) != 0))
        r = follow(u, detail);
    return r < 0 ? r : looked(u, start, detail);
}

/* What an entry says about the session's end. */
static int read_last(const struct objlog_entry *e, void *arg)
{
    struct upload_last *last = arg;
    const struct json *op = json_at(e->ops, 0);
    struct str name = json_str(json_get(op, "op"));

    last->pos.seq = e->seq;
    last->pos.ts = e->ts;
    memcpy(last->pos.hash, e->hash, sizeof(last->pos.hash));
    last->end = UPLOAD_END_NONE;
    if (!op || str_eq(name, STR("append")))
        return 0;
    if (str_eq(name, STR("expire")))
        last->end = UPLOAD_END_EXPIRE;
    else if (str_eq(name, STR("cancel")))
        last->end = UPLOAD_END_CANCEL;
    else if (str_eq(name, STR("close")))
        last->end = UPLOAD_END_CLOSE;
    else
        return -ERR_VERSION;
    return last->end == UPLOAD_END_CLOSE ? parse_close(op, &last->close) : 0;
}

int upload_log_read_last(struct objlog *log, uint64_t seq, struct upload_last *ret,
                         struct err_detail *detail)
{
    return objlog_read(log, seq, read_last, ret, detail);
}

/* ---- appending */

int upload_log_append(struct upload *u, struct str ops, struct str payload,
                      struct err_detail *detail)
{
    int64_t start;
    int r;

    assert(u->log && u->state == UPLOAD_OPEN);
    u->changed = false;
    for (int i = 0; i < UPLOAD_TRIES_MAX; i++) {
        int64_t sent_ms = clock_boot_ms();

        if (clock_boot_ms() - u->validated_ms > UPLOAD_FRESH_MS) {
            r = upload_log_look(u, detail);
            if (r < 0)
                return r;
            if (u->changed)
                return -ERR_EXISTS;
        }
        r = objlog_append(u->log, &u->pos, ops, payload, u->validated_ms, NULL, detail);
        if (r == 0) { /* the log ended there: as good as a look */
            u->validated_ms = sent_ms;
            u->unlooked = false;
        }
        if (r != -ERR_EXISTS)
            return r;
        start = clock_boot_ms();
        r = follow(u, detail);
        if (r == 0)
            r = looked(u, start, detail);
        if (r < 0)
            return r;
        if (u->changed)
            return -ERR_EXISTS;
    }
    return err_set(detail, -ERR_NOTCOMMITTED, "the upload session is in use elsewhere");
}

int upload_log_cancel(struct upload *u, struct err_detail *detail)
{
    int r = 0;

    upload_forget_unsaved(u);
    for (int i = 0; i < UPLOAD_TRIES_MAX && u->state == UPLOAD_OPEN; i++) {
        r = upload_log_append(u, STR("[{\"op\":\"cancel\"}]"), STR_NONE, detail);
        if (r == 0)
            return 0;
        if (r != -ERR_EXISTS)
            return r;
    }
    if (u->state == UPLOAD_CLOSED)
        return err_set(detail, -ERR_NOTFOUND, "the upload session was closed");
    return u->state == UPLOAD_ENDED ? 0 : -ERR_NOTCOMMITTED;
}
