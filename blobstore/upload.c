/* Upload sessions: ids, holding, bytes (upload.h; docs/bucket-format.md section 7).
 *
 * A session is small while its bytes fit into memory and into its entries (BLOB_INLINE_MAX), then a
 * stream. What was written and not saved is worth nothing to anybody: it is dropped at release, on
 * a rollback, and when the log turns out to have gone on elsewhere. */
#include "blobstore/upload.h"

#include <assert.h>

#include "base/clock.h"
#include "base/enc.h"
#include "base/json.h"
#include "base/metrics.h"
#include "base/mutant.h"
#include "base/rand.h"
#include "blobstore/upload_internal.h"

#define UPLOAD_KEY_LABEL STR("upload session")
#define UPLOAD_MAC_INPUT                                                                           \
    (KEYS_SESSION_BIRTH + KEYS_SESSION_RANDOM + STORE_KEY_MAX + UPLOAD_IDENTITY_MAX + 4)
#define UPLOAD_KEYS_MAX 256 /* secrets tried for one id; a node keeps fewer */

/* ---- ids */

static size_t put_text(char *out, size_t at, struct str text)
{
    memcpy(out + at, text.len > 0 ? text.at : "", text.len);
    out[at + text.len] = 0;
    return at + text.len + 1;
}

/* MAC of the first two parts of id, as hex. */
static void mac_of(const uint8_t key[HMAC_BYTES], struct str id, struct str repo,
                   struct str identity, char out[KEYS_SESSION_MAC + 1])
{
    char input[UPLOAD_MAC_INPUT];
    uint8_t mac[HMAC_BYTES];
    size_t len;

    len = put_text(input, 0, str_head(id, KEYS_SESSION_BIRTH));
    len = put_text(input, len, str_head(str_skip(id, KEYS_SESSION_BIRTH), KEYS_SESSION_RANDOM));
    len = put_text(input, len, repo);
    len = put_text(input, len, identity);
    hmac_sha256(str_make(key, HMAC_BYTES), str_make(input, len), mac);
    hex_encode(mac, KEYS_SESSION_MAC / 2, out);
}

static int64_t birth_now(struct uploads *us)
{
    int64_t now;

    mutex_lock(&us->mu);
    now = clock_boot_ms() + us->clock_offset_ms;
    mutex_unlock(&us->mu);
    return mutant("own-birth") ? clock_wall_ms() : now;
}

void upload_start(struct uploads *us, struct str repo, struct str identity, enum digest_alg alg,
                  char ret_id[KEYS_SESSION_LEN + 1])
{
    uint64_t birth = (uint64_t)birth_now(us);
    uint8_t birth_bytes[KEYS_SESSION_BIRTH / 2], random[UPLOAD_RANDOM_BYTES], key[HMAC_BYTES];
    char mac[KEYS_SESSION_MAC + 1];
    bool keyed = node_key(us->node, UPLOAD_KEY_LABEL, 0, key);

    assert(keyed && repo.len <= STORE_KEY_MAX && identity.len <= UPLOAD_IDENTITY_MAX);
    for (size_t i = 0; i < sizeof(birth_bytes); i++)
        birth_bytes[i] = (uint8_t)(birth >> (8 * (sizeof(birth_bytes) - 1 - i)));
    rand_bytes(random, sizeof(random));
    hex_encode(birth_bytes, sizeof(birth_bytes), ret_id);
    hex_encode(random, sizeof(random), ret_id + KEYS_SESSION_BIRTH);
    mac_of(key, str_of(ret_id), repo, identity, mac);
    memcpy(ret_id + KEYS_SESSION_BIRTH + KEYS_SESSION_RANDOM, mac, sizeof(mac));
    metric_add(METRIC_upload_sessions_started_total, 1);
    if (alg !=
        DIGEST_SHA256) { /* worth remembering; without it the digest is computed by reading again */
        struct upload *u = upload_new(us, str_of(ret_id), alg);

        if (u)
            upload_table_keep(u);
    }
}

static bool mac_matches(struct uploads *us, struct str repo, struct str identity, struct str id)
{
    struct str given = str_skip(id, KEYS_SESSION_BIRTH + KEYS_SESSION_RANDOM);
    uint8_t key[HMAC_BYTES];
    char mac[KEYS_SESSION_MAC + 1];
    bool found = false;

    for (unsigned i = 0; i < UPLOAD_KEYS_MAX && node_key(us->node, UPLOAD_KEY_LABEL, i, key); i++) {
        mac_of(key, id, repo, identity, mac);
        found = bytes_eq_constant_time(mac, given.at, KEYS_SESSION_MAC) || found;
    }
    return found;
}

bool upload_id_valid(struct uploads *us, struct str repo, struct str identity, struct str id)
{
    uint8_t bytes[KEYS_SESSION_LEN / 2];

    assert(us);
    if (id.len != KEYS_SESSION_LEN || !hex_decode(id, bytes, sizeof(bytes)))
        return false;
    if (repo.len > STORE_KEY_MAX || identity.len > UPLOAD_IDENTITY_MAX)
        return false;
    if (mac_matches(us, repo, identity, id))
        return true;
    return node_refresh_secrets(us->node, NULL) == 0 && mac_matches(us, repo, identity, id);
}

/* ---- holding */

static int unknown(struct err_detail *detail)
{
    return err_set(detail, -ERR_NOTFOUND, "no such upload session");
}

/* What a hold takes for the session's state. */
enum knowing { LOOKED_AT, KNOWN_LATELY, TAKEN_FOR_NEW };

/* Is what this node knows of the session so young that its end may be tried on it? Only where a
 * look is a request. */
static bool known_lately(const struct upload *u)
{
    return store_is_remote(u->us->store) && u->state == UPLOAD_OPEN && u->pos.seq > 0 &&
           !objlog_unsettled(u->log) && clock_boot_ms() - u->validated_ms <= UPLOAD_FRESH_MS;
}

/* May the session be taken for one without entries? Only one so young that an entry of it, had
 * there been any, would still stand (B4). */
static bool taken_for_new(struct upload *u)
{
    int64_t now;

    if (!store_is_remote(u->us->store) || u->state != UPLOAD_OPEN || u->pos.seq > 0)
        return false;
    if (uploads_now(u->us, &now, NULL) < 0 || now - upload_birth(upload_id(u)) > UPLOAD_IDLE_MS / 2)
        return false;
    if (!u->log && upload_log_new(u->us, upload_id(u), &u->log) < 0)
        return false;
    if (objlog_unsettled(u->log))
        return false;
    u->validated_ms = clock_boot_ms();
    return true;
}

/* Brings a taken session up to date; -ERR_NOTFOUND when it may not be used any more. */
static int refresh(struct upload *u, enum knowing knowing, struct err_detail *detail)
{
    int64_t now;
    int r;

    u->unlooked = (knowing == KNOWN_LATELY && known_lately(u)) ||
                  (knowing == TAKEN_FOR_NEW && taken_for_new(u));
    if (u->unlooked)
        return 0;
    r = upload_log_look(u, detail);
    if (r < 0)
        return r;
    if (u->state == UPLOAD_ENDED)
        return unknown(detail);
    if (u->state == UPLOAD_OPEN)
        return 0;
    r = uploads_now(u->us, &now, detail);
    if (r == 0 && now - u->closed_ts > UPLOAD_ROLL_MS) /* B18 */
        r = unknown(detail);
    return r;
}

static int hold(struct uploads *us, struct str repo, struct str identity, struct str id,
                enum knowing knowing, struct upload **ret, struct err_detail *detail)
{
    struct upload *u;
    int r;

    assert(us && ret);
    if (!upload_id_valid(us, repo, identity, id))
        return unknown(detail);
    r = upload_table_take(us, id, &u);
    if (r == -ERR_NOTFOUND)
        return unknown(detail);
    if (r < 0)
        return err_set(detail, r, "the upload session is in use by another request");
    buf_clear(&u->repo);
    buf_add(&u->repo, repo);
    r = buf_err(&u->repo) < 0 ? -ERR_NOMEM : refresh(u, knowing, detail);
    if (r < 0) {
        upload_table_give(u, false);
        return r == -ERR_BUSY ? -ERR_UNAVAIL : r; /* the store's "busy" is not the session's */
    }
    *ret = u;
    return 0;
}

int upload_hold(struct uploads *us, struct str repo, struct str identity, struct str id,
                struct upload **ret, struct err_detail *detail)
{
    return hold(us, repo, identity, id, LOOKED_AT, ret, detail);
}

int upload_hold_to_end(struct uploads *us, struct str repo, struct str identity, struct str id,
                       struct upload **ret, struct err_detail *detail)
{
    return hold(us, repo, identity, id, KNOWN_LATELY, ret, detail);
}

int upload_hold_new(struct uploads *us, struct str repo, struct str identity, struct str id,
                    struct upload **ret, struct err_detail *detail)
{
    return hold(us, repo, identity, id, TAKEN_FOR_NEW, ret, detail);
}

/* Is there anything the next request could not read from the log, or only at a price? */
static bool worth_keeping(const struct upload *u)
{
    return u->state == UPLOAD_OPEN &&
           (u->pos.seq > 0 || objlog_unsettled(u->log) || u->hasher.alg != DIGEST_SHA256);
}

void upload_release(struct upload *u)
{
    if (!u)
        return;
    upload_forget_unsaved(u);
    upload_table_give(u, worth_keeping(u));
}

uint64_t upload_offset(const struct upload *u)
{
    return u->state == UPLOAD_CLOSED ? u->closed.size : u->size;
}

bool upload_closed(const struct upload *u)
{
    return u->state == UPLOAD_CLOSED;
}

struct str upload_id(const struct upload *u)
{
    return str_make(u->id, KEYS_SESSION_LEN);
}

/* ---- bytes */

void upload_drop_stream(struct upload *u)
{
    if (!u->stream)
        return;
    store_stream_close(u->stream);
    u->stream = NULL;
}

void upload_count_bytes(struct upload *u)
{
    atomic_fetch_add(&u->us->small_bytes, (long long)u->bytes.cap - (long long)u->bytes_counted);
    u->bytes_counted = u->bytes.cap;
}

/* In memory while they are few, and while those of all sessions together are. */
static bool stays_small(const struct upload *u, size_t more)
{
    return !u->streaming && u->bytes.len + more <= BLOB_INLINE_MAX &&
           (u->bytes.len == 0 || atomic_load(&u->us->small_bytes) <= UPLOAD_SMALL_BYTES_MAX);
}

static void back_to_saved(struct upload *u)
{
    upload_drop_stream(u); /* resumed from its saved state when next needed */
    u->streaming = u->stream_state.len > 0;
    if (!u->streaming)
        buf_truncate(&u->bytes, (size_t)u->saved);
    u->partial = u->streaming && u->bytes.len != u->saved - u->bytes_at;
    u->hasher = u->saved_hasher;
    u->size = u->saved;
}

void upload_forget_unsaved(struct upload *u)
{
    if (u->state == UPLOAD_OPEN && u->size != u->saved)
        back_to_saved(u);
}

/* What the state does not hold is written again from what the session's entries carried. */
static int resume(struct upload *u, struct str key, struct store_stream **ret,
                  struct err_detail *detail)
{
    struct store_stream *stream = NULL;
    int r = 0;

    if (u->partial || u->bytes.len != u->saved - u->bytes_at) {
        enum upload_state state = u->state;
        uint64_t saved = u->saved;

        r = upload_log_again(u, detail);
        if (r == 0 && (u->state != state || u->saved != saved))
            r = err_set(detail, -ERR_RANGE, "the upload went on elsewhere");
    }
    if (r == 0)
        r = store_stream_resume(u->us->store, key, buf_str(&u->stream_state), u->saved, &stream,
                                detail);
    if (r < 0)
        return r;
    if (store_stream_size(stream) + u->bytes.len != u->saved)
        r = err_set(detail, -ERR_CORRUPT, "an upload session's entries miss some of its bytes");
    if (r == 0)
        r = store_stream_write(stream, buf_str(&u->bytes), detail);
    if (r < 0)
        store_stream_close(stream);
    else
        *ret = stream;
    return r;
}

int upload_need_stream(struct upload *u, struct err_detail *detail)
{
    struct buf key auto_buf = BUF_INIT(STORE_KEY_MAX);
    struct store_stream *stream = NULL;
    int r;

    if (u->stream)
        return 0;
    keys_data(&key, upload_id(u));
    if (buf_err(&key) < 0)
        return buf_err(&key);
    if (u->stream_state.len > 0) {
        r = resume(u, buf_str(&key), &stream, detail);
    } else {
        r = store_stream_open(u->us->store, buf_str(&key), &stream, detail);
        if (r == 0 && u->bytes.len > 0)
            r = store_stream_write(stream, buf_str(&u->bytes), detail);
        if (r < 0)
            store_stream_close(stream);
    }
    if (r < 0)
        return r;
    u->stream = stream;
    u->streaming = true;
    buf_truncate(&u->bytes, u->stream_state.len > 0 ? 0 : (size_t)u->saved);
    if (u->bytes.len == 0)
        buf_done(&u->bytes);
    upload_count_bytes(u);
    return 0;
}

static int write_small(struct upload *u, struct str bytes)
{
    buf_add(&u->bytes, bytes);
    upload_count_bytes(u);
    if (buf_err(&u->bytes) == 0)
        return 0;
    u->bytes.err = 0; /* nothing was added */
    return -ERR_NOMEM;
}

int upload_write(struct upload *u, struct str bytes, struct err_detail *detail)
{
    int r;

    assert(u);
    if (u->state == UPLOAD_CLOSED || bytes.len == 0)
        return 0;
    if (u->state != UPLOAD_OPEN)
        return unknown(detail);
    if (stays_small(u, bytes.len)) {
        r = write_small(u, bytes);
    } else {
        r = upload_need_stream(u, detail);
        if (r == 0)
            r = store_stream_write(u->stream, bytes, detail);
        if (r < 0) /* nobody knows what the stream holds now */
            back_to_saved(u);
    }
    if (r < 0)
        return r;
    hasher_add(&u->hasher, bytes);
    u->size += bytes.len;
    return 0;
}

static void saved_now(struct upload *u, struct buf *state)
{
    u->saved = u->size;
    u->saved_hasher = u->hasher;
    if (!u->streaming)
        return;
    u->bytes_at = store_stream_safe(u->stream);
    buf_done(&u->bytes); /* the stream has them */
    upload_count_bytes(u);
    buf_done(&u->stream_state);
    u->stream_state = *state;
    *state = BUF_INIT(0);
}

/* What entries must carry of a stream just saved: the new bytes that its state does not hold. */
static int tail_of(const struct upload *u, struct buf *out, struct err_detail *detail)
{
    uint64_t safe = store_stream_safe(u->stream), at = safe > u->saved ? safe : u->saved;

    while (at < u->size) {
        size_t had = out->len;
        int r = store_stream_read(u->stream, at, (size_t)(u->size - at), out, detail);

        if (r < 0)
            return r;
        if (out->len == had)
            return err_set(detail, -ERR_IO, "an upload's stream is shorter than what was written");
        at += out->len - had;
    }
    return 0;
}

/* [{"op":"append",...}] for everything written so far. */
static int append_ops(const struct upload *u, const struct buf *state, struct buf *out)
{
    struct buf hash auto_buf = BUF_INIT(HASHER_STATE_MAX);
    struct jw w = JW_INIT(out);

    hasher_save(&u->hasher, &hash);
    if (buf_err(&hash) < 0)
        return buf_err(&hash);
    jw_begin(&w, '[');
    jw_begin(&w, '{');
    jw_kstr(&w, "op", STR("append"));
    jw_kint(&w, "offset", (int64_t)u->size);
    jw_kstr(&w, "hash", buf_str(&hash));
    jw_key(&w, "stream");
    if (u->streaming)
        jw_raw(&w, buf_str(state));
    else
        jw_null(&w);
    if (u->streaming && store_stream_safe(u->stream) < u->size)
        jw_kint(&w, "from", (int64_t)store_stream_safe(u->stream));
    jw_end(&w, '}');
    jw_end(&w, ']');
    return buf_err(out);
}

/* tail: what the entry carried of a stream. */
static int save(struct upload *u, struct buf *tail, struct err_detail *detail)
{
    struct buf state auto_buf = BUF_INIT(STORE_STREAM_STATE_MAX);
    struct buf ops auto_buf = BUF_INIT(UPLOAD_OPS_MAX);
    struct str payload = STR_NONE;
    int r = 0;

    if (u->state != UPLOAD_OPEN)
        return unknown(detail);
    if (u->size == u->saved)
        return 0;
    if (u->streaming)
        r = store_stream_save(u->stream, &state, detail);
    if (r == 0 && u->streaming)
        r = tail_of(u, tail, detail);
    if (u->streaming)
        payload = buf_str(tail);
    else
        payload = str_skip(buf_str(&u->bytes), (size_t)u->saved);
    if (r == 0)
        r = append_ops(u, &state, &ops);
    if (r == 0)
        r = upload_log_append(u, buf_str(&ops), payload, detail);
    if (r == 0)
        saved_now(u, &state);
    if (r != -ERR_EXISTS)
        return r;
    if (u->state != UPLOAD_OPEN)
        return unknown(detail);
    return err_set(detail, -ERR_RANGE, "the upload went on elsewhere and holds %llu bytes",
                   (unsigned long long)u->saved);
}

int upload_save(struct upload *u, struct err_detail *detail)
{
    struct buf tail auto_buf = BUF_INIT(UPLOAD_TAIL_MAX);

    assert(u);
    return save(u, &tail, detail);
}

int upload_append(struct upload *u, struct err_detail *detail)
{
    struct buf written auto_buf = BUF_INIT(UPLOAD_TAIL_MAX);
    uint64_t size = u->size;
    bool taken_for_new;
    int r;

    assert(u);
    taken_for_new = u->unlooked && u->saved == 0;
    if (taken_for_new && size == 0) { /* no entry will tell */
        r = upload_log_look(u, detail);
        return r == 0 && u->state != UPLOAD_OPEN ? unknown(detail) : r;
    }
    if (taken_for_new && !u->streaming)
        buf_add(&written, buf_str(&u->bytes));
    r = buf_err(&written) < 0 ? buf_err(&written) : save(u, &written, detail);
    if (r != -ERR_RANGE || !taken_for_new || written.len != size)
        return r;
    r = upload_write(u, buf_str(&written), detail);
    return r < 0 ? r : upload_save(u, detail);
}

int upload_rollback(struct upload *u, struct err_detail *detail)
{
    (void)detail;
    assert(u);
    upload_forget_unsaved(u);
    return 0;
}

/* ---- endings */

void upload_end(struct upload *u)
{
    upload_spent_add(u->us, upload_id(u));
    upload_drop_stream(u);
    u->state = UPLOAD_ENDED;
}

void upload_sweep_stream(struct upload *u)
{
    struct buf key auto_buf = BUF_INIT(STORE_KEY_MAX);

    upload_drop_stream(u);
    keys_data(&key, upload_id(u));
    if (buf_err(&key) == 0 && store_stream_sweep(u->us->store, buf_str(&key), NULL) < 0)
        return; /* the hourly sweep comes back to it */
}

int upload_cancel(struct upload *u, struct err_detail *detail)
{
    int r;

    assert(u);
    if (u->state == UPLOAD_ENDED)
        return unknown(detail);
    r = upload_log_cancel(u, detail);
    if (r < 0)
        return r;
    upload_sweep_stream(u);
    upload_end(u);
    return 0;
}

void uploads_trim(struct uploads *us)
{
    upload_table_trim(us, clock_boot_ms() - UPLOAD_CACHED_IDLE_MS);
}
