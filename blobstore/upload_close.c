/* How a session becomes a blob (docs/bucket-format.md section 7, B17, B18; design section 7).
 *
 * Small: record and link, no `close`: there is no data object that a sweep could find without its
 * record. A digest that cannot be computed before there is an object is proved then, from the
 * object (R62): until that, nothing says that the data has it. Stream: everything is saved, `close`
 * is won, then data object, record, link, in this order. Whoever finds a won `close` without its
 * record rolls it forward the same way; all roads make the same record of the same id. */
#include <assert.h>

#include "base/clock.h"
#include "base/log.h"
#include "base/mutant.h"
#include "blobstore/upload_internal.h"

#define CLOSE_TRIES_MAX  3 /* of making the data object */
#define CLOSE_WAITS_MAX  6 /* for another node that is just making it: about 6 s together */
#define CLOSE_PAUSE_MS   50
#define CLOSE_READ_BYTES (1u << 20)
#define CLOSE_GENERATION 0u
#define CLOSE_OPS_MAX    1024
#define PROOF_READ_BYTES (4u << 20)

/* ---- digest */

static int digest_of_stream(struct upload *u, enum digest_alg alg, struct digest *ret,
                            struct err_detail *detail)
{
    struct buf chunk auto_buf = BUF_INIT(CLOSE_READ_BYTES);
    struct hasher h;
    int r = upload_need_stream(u, detail);

    if (r < 0)
        return r;
    hasher_init(&h, alg);
    for (uint64_t at = 0; at < u->size; at += chunk.len) {
        uint64_t left = u->size - at;
        size_t len = left < CLOSE_READ_BYTES ? (size_t)left : CLOSE_READ_BYTES;

        buf_clear(&chunk);
        r = store_stream_read(u->stream, at, len, &chunk, detail);
        if (r < 0)
            return r;
        if (chunk.len == 0)
            return err_set(detail, -ERR_IO, "an upload's stream is shorter than what was written");
        hasher_add(&h, buf_str(&chunk));
    }
    hasher_final(&h, ret);
    return 0;
}

/* R62: an algorithm first named now is computed from memory, else by reading the stream again.
 * -ERR_INVAL: the store gives its bytes back only when they are an object. */
static int digest_of_all(struct upload *u, enum digest_alg alg, struct digest *ret,
                         struct err_detail *detail)
{
    struct hasher copy = u->hasher;

    if (alg == copy.alg)
        hasher_final(&copy, ret);
    else if (!u->streaming)
        digest_of(alg, buf_str(&u->bytes), ret);
    else
        return digest_of_stream(u, alg, ret, detail);
    return 0;
}

/* R53: nothing is stored and the session is dropped. One that others may know of says so in its
 * log; where that fails it is dropped here and ends by age. */
static int refuse(struct upload *u, struct err_detail *detail)
{
    bool known = u->pos.seq > 0 || u->streaming || objlog_unsettled(u->log);

    if (known && upload_log_cancel(u, NULL) == 0)
        upload_sweep_stream(u);
    upload_end(u);
    return err_set(detail, -ERR_DIGEST, "the content does not match the digest");
}

/* ---- rolling a won close forward */

/* The object of the bytes. What a commit answers decides nothing: another node may have made it. */
static int seen_data(struct upload *u, struct err_detail *detail)
{
    struct buf key auto_buf = BUF_INIT(STORE_KEY_MAX);
    struct store_info info;
    int r;

    keys_data(&key, upload_id(u));
    r = buf_err(&key) < 0 ? buf_err(&key) : store_head(u->us->store, buf_str(&key), &info, detail);
    if (r < 0 || info.size == u->closed.size)
        return r;
    log_error("upload.data_size", KV_V("key", buf_str(&key)), KV_I("size", info.size));
    return err_set(detail, -ERR_CORRUPT, "an upload's data object has a wrong size");
}

static int commit_data(struct upload *u, struct err_detail *detail)
{
    int r = upload_need_stream(u, detail);

    if (r == 0 && store_stream_size(u->stream) != u->closed.size) {
        upload_drop_stream(u);
        return err_set(detail, -ERR_CORRUPT, "an upload's stream has a wrong size");
    }
    if (r == 0)
        r = store_stream_commit(u->stream, detail);
    u->committed = r == 0;
    return r;
}

/* -ERR_NOTFOUND of a commit: another node that ends the same session has taken the parts, and its
 * object is about to be there, or its record is (whose bytes may then be another session's). */
static int make_data(struct upload *u, struct err_detail *detail)
{
    struct blob_info info;
    int r = 0;

    for (int i = 0; i < (r == -ERR_NOTFOUND ? CLOSE_WAITS_MAX : CLOSE_TRIES_MAX); i++) {
        int seen;

        if (i > 0)
            clock_sleep_ms(CLOSE_PAUSE_MS << i);
        r = commit_data(u, detail);
        if (r == 0)
            return 0;
        seen = seen_data(u, NULL);
        if (seen == 0 || seen == -ERR_CORRUPT)
            return seen;
        if (r == -ERR_NOTFOUND) {
            if (blob_info_at(u->us->blobs, &u->closed.digest, u->closed.g, &info, NULL) == 0)
                return r; /* the caller looks, too */
            continue;
        }
        if (r != -ERR_UNKNOWN && r != -ERR_EXISTS && (r == -ERR_NOSPACE || !err_retryable(r)))
            return r;
    }
    return r;
}

/* B18: the sweep may remove the data of an older close at any time. One that came into being behind
 * the sweep's back, because this process slept in the middle, is removed here. */
static int young(struct upload *u, bool made, struct err_detail *detail)
{
    int64_t now;
    int r = uploads_now(u->us, &now, detail);

    if (r < 0 || now - u->closed_ts <= UPLOAD_ROLL_MS)
        return r;
    if (made && now - u->closed_ts > UPLOAD_SWEEP_MS)
        (void)!upload_sweep_data(u->us, upload_id(u), &u->closed.digest, u->closed.g);
    return err_set(detail, -ERR_NOTFOUND, "the upload session has expired");
}

/* Has the digest its record? Who has just won the close is the first to roll it forward: where a
 * look is a request it asks its memory only. Should the record be there all the same, another
 * session's, then its create says so and the data made for nothing is removed (B9). */
static int record_there(struct upload *u, bool first, struct err_detail *detail)
{
    struct blobs *b = u->us->blobs;
    struct blob_info info;

    if (!first || !store_is_remote(u->us->store) || u->closed.g != BLOB_GENERATION)
        return blob_info_at(b, &u->closed.digest, u->closed.g, &info, detail);
    return blob_info_nowait(b, &u->closed.digest, &info) == 0 ? 0 : -ERR_NOTFOUND;
}

/* ---- proving a digest that was named last */

static int read_back(struct upload *u, struct hasher *h, struct err_detail *detail)
{
    struct buf key auto_buf = BUF_INIT(STORE_KEY_MAX);
    struct buf chunk auto_buf = BUF_INIT(PROOF_READ_BYTES);
    int r = 0;

    keys_data(&key, upload_id(u));
    if (buf_err(&key) < 0)
        return buf_err(&key);
    for (uint64_t at = 0; r == 0 && at < u->closed.size; at += chunk.len) {
        uint64_t left = u->closed.size - at;

        buf_clear(&chunk);
        r = store_get(u->us->store, buf_str(&key), at,
                      left < PROOF_READ_BYTES ? (size_t)left : PROOF_READ_BYTES, &chunk, detail);
        if (r == 0 && chunk.len == 0)
            r = err_set(detail, -ERR_CORRUPT, "an upload's data object is too short");
        if (r == 0)
            hasher_add(h, buf_str(&chunk));
    }
    return r;
}

/* -ERR_DIGEST: it is another digest's data. Few at a time, for each holds a buffer. */
static int prove(struct upload *u, struct err_detail *detail)
{
    struct uploads *us = u->us;
    struct digest actual;
    struct hasher h;
    int r;

    mutex_lock(&us->mu);
    while (us->proofs >= UPLOAD_PROOFS_MAX)
        cond_wait(&us->proof_over, &us->mu);
    us->proofs++;
    mutex_unlock(&us->mu);
    hasher_init(&h, u->closed.digest.alg);
    r = read_back(u, &h, detail);
    mutex_lock(&us->mu);
    us->proofs--;
    cond_signal(&us->proof_over);
    mutex_unlock(&us->mu);
    if (r < 0)
        return r;
    hasher_final(&h, &actual);
    if (!digest_eq(&actual, &u->closed.digest))
        return err_set(detail, -ERR_DIGEST, "the content does not match the digest");
    u->closed.unproved = false;
    return 0;
}

/* Whoever rolls this close forward finds the same, so nobody makes a record for it. */
static void drop_disproved(struct upload *u)
{
    struct buf key auto_buf = BUF_INIT(STORE_KEY_MAX);

    keys_data(&key, upload_id(u));
    if (buf_err(&key) == 0 && store_remove(u->us->store, buf_str(&key), STORE_DATA, NULL) < 0)
        log_debug("upload.data_left", KV_V("key", buf_str(&key)));
    upload_end(u);
}

/* Data and record, unless the digest has a record: its data is then whole, whoever brought it
 * (R67). What this session may have left of its own goes with its sweep (B19). The record is sent
 * within D of a look at the close's age and at the data; else both are looked at again. */
static int make_record(struct upload *u, bool won, struct err_detail *detail)
{
    struct blobs *b = u->us->blobs;
    struct blob_info info;
    bool made = false;

    for (int i = 0; i < CLOSE_TRIES_MAX; i++) {
        int64_t checked_ms = clock_boot_ms();
        int r = young(u, made, detail);

        if (r < 0)
            return r;
        /* Who has not proved to have the bytes gains nothing by others having them (I13). */
        r = u->closed.unproved ? -ERR_NOTFOUND : record_there(u, won && !made, detail);
        if (r != -ERR_NOTFOUND)
            return r;
        r = made ? seen_data(u, detail) : make_data(u, detail);
        if (r < 0) { /* another node may have finished, and swept, between our two looks */
            bool there = !u->closed.unproved &&
                         blob_info_at(b, &u->closed.digest, u->closed.g, &info, NULL) == 0;
            return there ? 0 : r;
        }
        made = true;
        r = u->closed.unproved ? prove(u, detail) : 0;
        if (r < 0)
            return r;
        if (clock_boot_ms() - checked_ms <= OBJLOG_VALID_MS)
            return blob_create_record(b, &u->closed.digest, u->closed.size, upload_id(u),
                                      u->closed.g, detail);
    }
    return err_set(detail, -ERR_NOTCOMMITTED, "the store is too slow to finish the upload");
}

static int finish(struct upload *u, bool won, uint64_t link_u, struct err_detail *detail)
{
    int r = make_record(u, won, detail);

    if (r == 0)
        r = blob_link_create(u->us->blobs, buf_str(&u->repo), &u->closed.digest, link_u, detail);
    if (r == -ERR_DIGEST)
        drop_disproved(u);
    if (r < 0)
        return r;
    if (!u->committed || store_has_files(u->us->store))
        upload_sweep_stream(u); /* a listing on a remote store */
    upload_end(u);
    return 0;
}

/* ---- closing */

static int close_small(struct upload *u, const struct digest *d, uint64_t link_u,
                       struct err_detail *detail)
{
    int r =
        blob_create_linked(u->us->blobs, buf_str(&u->repo), d, link_u, buf_str(&u->bytes), detail);

    if (r < 0)
        return r;
    upload_end(u);
    return 0;
}

static int close_ops(const struct upload *u, const struct digest *d, struct buf *out)
{
    char text[DIGEST_TEXT_MAX];
    struct jw w = JW_INIT(out);

    jw_begin(&w, '[');
    jw_begin(&w, '{');
    jw_kstr(&w, "op", STR("close"));
    jw_kstr(&w, "digest", digest_text(d, text));
    jw_kint(&w, "size", (int64_t)u->size);
    jw_kint(&w, "g", CLOSE_GENERATION);
    if (u->closed.unproved) {
        jw_key(&w, "unproved");
        jw_bool(&w, true);
    }
    jw_end(&w, '}');
    jw_end(&w, ']');
    return buf_err(out);
}

/* Unlike other entries of a session a
 * close is synced with its directory: were it lost, the session would live beside its own data
 * object (B17). */
static int win_close(struct upload *u, const struct digest *d, struct err_detail *detail)
{
    struct buf ops auto_buf = BUF_INIT(CLOSE_OPS_MAX);
    int r = close_ops(u, d, &ops);

    if (r < 0)
        return r;
    objlog_set_class(u->log, STORE_LOG);
    if (!mutant("record-no-close"))
        r = upload_log_append(u, buf_str(&ops), STR_NONE, detail);
    objlog_set_class(u->log, STORE_UPLOAD);
    if (r == 0) {
        u->closed.digest = *d;
        u->closed.size = u->size;
        u->closed.g = CLOSE_GENERATION;
        u->closed_ts = u->pos.ts;
        u->state = UPLOAD_CLOSED;
        return 0;
    }
    if (r != -ERR_EXISTS)
        return r;
    if (u->state == UPLOAD_OPEN)
        return err_set(detail, -ERR_RANGE, "the upload went on elsewhere");
    return err_set(detail, -ERR_NOTFOUND, "the upload session has ended");
}

/* Of a session held without a look, what another node did since. Bytes written in this hold were
 * then taken for others than they are. */
static int look_and_close(struct upload *u, const struct digest *d, uint64_t link_u,
                          struct err_detail *detail)
{
    bool wrote = u->size > u->saved;
    int r;

    u->changed = false;
    r = upload_log_look(u, detail);
    assert(!u->unlooked || r < 0);
    if (r == 0 && wrote && u->changed && u->state == UPLOAD_OPEN)
        r = err_set(detail, -ERR_RANGE, "the upload went on elsewhere");
    return r < 0 ? r : upload_close(u, d, link_u, detail);
}

int upload_close(struct upload *u, const struct digest *d, uint64_t link_u,
                 struct err_detail *detail)
{
    struct digest actual;
    int r;

    assert(u && d);
    if (u->state == UPLOAD_CLOSED && mutant("twin-data"))
        u->closed.digest = *d;
    if (u->state == UPLOAD_CLOSED && mutant("close-no-g")) /* another view of what is condemned */
        u->closed.g = CLOSE_GENERATION + 1;
    if (u->state == UPLOAD_CLOSED && digest_eq(&u->closed.digest, d))
        return finish(u, false, link_u, detail);
    if (u->state != UPLOAD_OPEN)
        return err_set(detail, -ERR_NOTFOUND, "the upload session has ended");
    r = digest_of_all(u, d->alg, &actual, detail);
    u->closed.unproved = r == -ERR_INVAL;
    if (u->closed.unproved && u->unlooked) /* a digest would have told that there is more by now */
        return look_and_close(u, d, link_u, detail);
    if (r < 0 && !u->closed.unproved)
        return r;
    if (!u->closed.unproved && !digest_eq(&actual, d))
        return u->unlooked ? look_and_close(u, d, link_u, detail) : refuse(u, detail);
    if (!u->streaming)
        return close_small(u, d, link_u, detail);
    r = upload_need_stream(u, detail); /* a close whose bytes cannot be had would help nobody */
    if (r == 0)
        r = upload_save(u, detail);
    if (r == 0)
        r = win_close(u, d, detail);
    if (r == -ERR_NOTFOUND && u->state == UPLOAD_OPEN) { /* another node's end took the stream */
        r = upload_log_look(u, detail);
        if (r == 0)
            r = err_set(detail, -ERR_NOTFOUND, "the upload session's bytes are gone");
    }
    if (r < 0 && !(u->state == UPLOAD_CLOSED && digest_eq(&u->closed.digest, d)))
        return r;
    return finish(u, r == 0, link_u, detail); /* whoever won: it is the same close */
}
