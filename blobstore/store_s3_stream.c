/* Streams of the S3 store: a multipart upload that begins with the first full part (store.h).
 *
 * Bytes gather in a slot of an unlinked temporary file; a full slot is sent as a part while
 * another one fills. Each stream may have S3_PARTS_IN_FLIGHT parts under way, and up to
 * S3_PARTS_MOST while all streams of the store have less than S3_PARTS_EXTRA more than that; what
 * such a part took of the file is given back when it has arrived. What has not become a part is the
 * tail: whoever saves the stream keeps it (by reading it back) and writes it again after resume().
 * So an object of up to one part is one PUT, and no part is ever smaller than the store allows.
 *
 * Two holders of one saved state may both send parts of one upload. Their numbers differ unless
 * both drew the same residue (one in PART_STRIDE); then the later part has replaced the earlier,
 * and completing names a part by its ETag: it fails instead of mixing bytes. Where numbers must
 * have no gaps (s3xml_initiated) only the ETag guards.
 *
 * State: {"upload":"<id or empty>","at":<bytes in parts>,"parts":[[number,"etag"],...]}, and
 * "dense":1 where numbers have no gaps. */
#include <assert.h>
#include <errno.h>
#include <fcntl.h>
#include <stdatomic.h>
#include <stdio.h>
#include <sys/mman.h>

#include "base/clock.h"
#include "base/enc.h"
#include "base/fd.h"
#include "base/json.h"
#include "base/rand.h"
#include "blobstore/store_s3_internal.h"

#define SLOTS         (S3_PARTS_MOST + 1)
#define SLOT_SPACE    ((uint64_t)1 << 33) /* of the sparse file; more than the largest part */
#define NUMBER_MAX    10000               /* S3's */
#define PART_STRIDE   8
#define PARTS_MAX     (NUMBER_MAX / PART_STRIDE - 1)
#define PARTS_DOUBLE  128 /* behind the first S3_PARTS_SAME, sizes double after so many */
#define XML_PART_MAX  256
#define UPLOAD_ID_MAX 1024

struct part {
    unsigned number;
    char etag[S3_ETAG_MAX];
};

struct slot {
    struct s3_stream *st;
    struct s3_call call;
    bool busy, extra;
    uint64_t at, len; /* the object's bytes that lie here */
    size_t part;      /* index of the part it is sent as */
    char payload[2 * HMAC_BYTES + 1];
};

struct s3_stream {
    struct store_stream stream;
    struct store_s3 *s;
    struct buf key, upload;
    struct part *parts;
    size_t count, cap;
    unsigned next_number;
    bool dense;        /* numbers have no gaps */
    uint64_t at, size; /* bytes in parts, sent or being sent; all bytes */
    int fd;
    unsigned now;  /* the slot that fills */
    unsigned busy; /* slots that are sent */
    struct slot slots[SLOTS];
    struct hasher hasher; /* of the slot that fills */
    struct httpc_wait wait;
    bool named;     /* a saved state names the upload */
    bool committed; /* the object is made */
};

static struct s3_stream *stream_of(struct store_stream *st)
{
    return (struct s3_stream *)(void *)st;
}

static uint64_t part_size(const struct s3_stream *st)
{
    size_t k = st->count;

    return st->s->part_bytes << (k < S3_PARTS_SAME ? 0 : 1 + (k - S3_PARTS_SAME) / PARTS_DOUBLE);
}

/* A file without a name where there is a place for one, else memory. */
static int scratch_file(void)
{
    const char *tmp = getenv("TMPDIR");
    const char *const places[] = {tmp && tmp[0] ? tmp : "/var/tmp", "/tmp"};
    int fd = -1;

    for (size_t i = 0; i < ARRAY_LEN(places) && fd < 0; i++)
        fd = open(places[i], O_TMPFILE | O_RDWR | O_CLOEXEC, 0600);
    return fd >= 0 ? fd : memfd_create("stowage-parts", MFD_CLOEXEC);
}

static int stream_new(struct store_s3 *s, struct str key, struct s3_stream **ret)
{
    struct s3_stream *st = calloc(1, sizeof(*st));

    if (!st)
        return -ERR_NOMEM;
    st->stream.ops = s->store.ops;
    st->s = s;
    st->key = BUF_INIT(STORE_KEY_MAX);
    st->upload = BUF_INIT(UPLOAD_ID_MAX);
    st->fd = -1;
    for (unsigned i = 0; i < SLOTS; i++)
        st->slots[i].st = st;
    buf_add(&st->key, key);
    hasher_init(&st->hasher, DIGEST_SHA256);
    httpc_wait_init(&st->wait);
    *ret = st;
    if (buf_err(&st->key) == 0)
        return 0;
    s3_stream_close(&st->stream);
    return -ERR_NOMEM;
}

int s3_stream_open(struct store *store, struct str key, struct store_stream **ret,
                   struct err_detail *detail)
{
    struct s3_stream *st;
    int r = stream_new(s3_of(store), key, &st);

    (void)detail;
    if (r == 0)
        *ret = &st->stream;
    return r;
}

/* ---- parts */

static int64_t read_slot(uint64_t offset, char *at, size_t max, void *arg)
{
    struct slot *slot = arg;
    uint64_t place = (uint64_t)(slot - slot->st->slots) * SLOT_SPACE + offset;
    ssize_t n;

    do
        n = pread(slot->st->fd, at, max, (off_t)place);
    while (n < 0 && errno == EINTR);
    return n;
}

/* A body out of the slot that fills; its hash is known only now. */
static void slot_body(struct s3_stream *st, struct s3_call *c)
{
    struct slot *slot = &st->slots[st->now];
    struct hasher h = st->hasher;
    struct digest d;

    if (!st->s->place.tls) {
        hasher_final(&h, &d);
        hex_encode(d.bytes, HMAC_BYTES, slot->payload);
        c->payload = str_of(slot->payload);
    }
    c->source = read_slot;
    c->source_arg = slot;
    c->source_len = slot->len;
    c->try_ms = S3_PART_TRY_MS + s3_slow_ms(slot->len);
    c->deadline_ms = clock_boot_ms() + S3_PART_MS + s3_slow_ms(slot->len);
}

static int keep_etag(struct s3_stream *st, const struct slot *slot)
{
    struct str etag = httpc_answer_header(&slot->call.http, "etag");
    struct part *part = &st->parts[slot->part];

    if (etag.len == 0 || etag.len >= S3_ETAG_MAX)
        return -ERR_UNAVAIL;
    memcpy(part->etag, etag.at, etag.len);
    part->etag[etag.len] = '\0';
    return 0;
}

static void give_back_extra(struct s3_stream *st, struct slot *slot)
{
    slot->extra = false;
    slot->len = 0;
    atomic_fetch_sub(&st->s->extra_parts, 1);
    (void)!fallocate(st->fd, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE,
                     (off_t)((uint64_t)(slot - st->slots) * SLOT_SPACE), (off_t)SLOT_SPACE);
}

static int finish_slot(struct s3_stream *st, struct slot *slot, struct err_detail *detail)
{
    int r = s3_finish(st->s, &slot->call, detail);

    if (r == 0)
        r = keep_etag(st, slot);
    s3_call_done(&slot->call);
    slot->busy = false;
    st->busy--;
    if (slot->extra)
        give_back_extra(st, slot);
    if (r == -ERR_NOTFOUND)
        return err_set(detail, r, "the upload is gone from the object store");
    return r;
}

/* NULL: none is sent. */
static struct slot *oldest(struct s3_stream *st)
{
    struct slot *found = NULL;

    for (unsigned i = 0; i < SLOTS; i++)
        if (st->slots[i].busy && (!found || st->slots[i].at < found->at))
            found = &st->slots[i];
    return found;
}

static int finish_all(struct s3_stream *st, struct err_detail *detail)
{
    struct slot *slot;
    int first = 0;

    while ((slot = oldest(st)) != NULL) {
        int r = finish_slot(st, slot, detail);

        if (first == 0)
            first = r;
    }
    return first;
}

/* May one more part be under way? */
static bool another(struct s3_stream *st, struct slot *slot)
{
    if (st->busy < S3_PARTS_IN_FLIGHT)
        return true;
    if (st->busy == S3_PARTS_MOST)
        return false;
    slot->extra = atomic_fetch_add(&st->s->extra_parts, 1) < S3_PARTS_EXTRA;
    if (!slot->extra)
        atomic_fetch_sub(&st->s->extra_parts, 1);
    return slot->extra;
}

/* Takes what has arrived, and waits for parts until one more may be sent. */
static int await_turn(struct s3_stream *st, struct slot *slot, struct err_detail *detail)
{
    int r = 0;

    for (unsigned i = 0; i < SLOTS && r == 0; i++) {
        struct s3_call *c = &st->slots[i].call;

        if (st->slots[i].busy && (!c->pending || httpc_finished(&c->http)))
            r = finish_slot(st, &st->slots[i], detail);
    }
    while (r == 0 && !another(st, slot))
        r = finish_slot(st, oldest(st), detail);
    return r;
}

/* The next slot to fill: the first ones are used most. */
static void turn(struct s3_stream *st)
{
    for (st->now = 0; st->slots[st->now].busy; st->now++)
        assert(st->now + 1 < SLOTS);
    st->slots[st->now].at = st->at;
    st->slots[st->now].len = 0;
    hasher_init(&st->hasher, DIGEST_SHA256);
}

/* What follows a part of that number, 0 the beginning. */
static void number_next(struct s3_stream *st, unsigned last)
{
    st->next_number = last + 1 + (st->dense ? 0 : (unsigned)rand_below(PART_STRIDE));
}

static int begin_upload(struct s3_stream *st, struct err_detail *detail)
{
    struct buf text auto_buf = BUF_INIT(S3XML_TEXT_MAX * 4);
    struct s3_call c;
    int r;

    if (st->upload.len > 0)
        return 0;
    s3_call_init(&c, S3_WRITE, "POST", buf_str(&st->key));
    sigv4_query_add(&c.query, "uploads", STR_NONE);
    c.answer = &text;
    r = s3_run_one(st->s, &c, detail);
    s3_call_done(&c);
    if (r == 0)
        r = s3xml_initiated(buf_str(&text), &st->upload, &st->dense);
    if (r == 0)
        number_next(st, 0);
    if (r == 0)
        return 0;
    buf_clear(&st->upload);
    return r == -ERR_CORRUPT || r == -ERR_NOTFOUND
               ? err_set(detail, -ERR_UNAVAIL, "the object store did not begin an upload")
               : r;
}

static int new_part(struct s3_stream *st, size_t *ret)
{
    if (st->next_number > NUMBER_MAX || st->count >= PARTS_MAX)
        return -ERR_TOOBIG;
    if (st->count == st->cap) {
        size_t cap = st->cap == 0 ? 8 : 2 * st->cap;
        struct part *grown = realloc(st->parts, cap * sizeof(*grown));

        if (!grown)
            return -ERR_NOMEM;
        st->parts = grown;
        st->cap = cap;
    }
    st->parts[st->count] = (struct part){st->next_number, ""};
    st->next_number += st->dense ? 1 : PART_STRIDE;
    *ret = st->count++;
    return 0;
}

/* Sends what fills as a part and goes to the next slot. */
static int send_part(struct s3_stream *st, struct err_detail *detail)
{
    struct slot *slot = &st->slots[st->now];
    struct buf number auto_buf = BUF_INIT(32);
    int r = begin_upload(st, detail);

    if (r == 0)
        r = new_part(st, &slot->part);
    if (r == 0)
        r = await_turn(st, slot, detail);
    if (r < 0)
        return r;
    buf_add_u64(&number, st->parts[slot->part].number);
    s3_call_init(&slot->call, S3_WRITE, "PUT", buf_str(&st->key));
    sigv4_query_add(&slot->call.query, "partNumber", buf_str(&number));
    sigv4_query_add(&slot->call.query, "uploadId", buf_str(&st->upload));
    slot_body(st, &slot->call);
    slot->busy = true;
    st->busy++;
    r = s3_start(st->s, &slot->call, &st->wait);
    if (r < 0)
        return r;
    st->at += slot->len;
    turn(st);
    return 0;
}

int s3_stream_write(struct store_stream *stream, struct str bytes, struct err_detail *detail)
{
    struct s3_stream *st = stream_of(stream);

    assert(!st->committed);
    if (st->fd < 0)
        st->fd = scratch_file();
    if (st->fd < 0)
        return err_set(detail, err_from_errno(errno), "no temporary file can be made");
    while (bytes.len > 0) {
        struct slot *slot = &st->slots[st->now];
        uint64_t room = part_size(st) - slot->len;
        struct str now = str_head(bytes, room < bytes.len ? (size_t)room : bytes.len);
        int r = fd_pwrite_all(st->fd, now, st->now * SLOT_SPACE + slot->len);

        if (r < 0)
            return r;
        if (!st->s->place.tls)
            hasher_add(&st->hasher, now);
        slot->len += now.len;
        st->size += now.len;
        bytes = str_skip(bytes, now.len);
        if (slot->len >= part_size(st))
            r = send_part(st, detail);
        if (r < 0)
            return r;
    }
    return 0;
}

uint64_t s3_stream_size(const struct store_stream *stream)
{
    return ((const struct s3_stream *)(const void *)stream)->size;
}

/* ---- saving and resuming */

static int state_text(const struct s3_stream *st, struct buf *out)
{
    struct jw w = JW_INIT(out);

    jw_begin(&w, '{');
    jw_kstr(&w, "upload", buf_str(&st->upload));
    jw_kint(&w, "at", (int64_t)st->at);
    jw_key(&w, "parts");
    jw_begin(&w, '[');
    for (size_t i = 0; i < st->count; i++) {
        jw_begin(&w, '[');
        jw_int(&w, st->parts[i].number);
        jw_str(&w, str_of(st->parts[i].etag));
        jw_end(&w, ']');
    }
    jw_end(&w, ']');
    if (st->dense)
        jw_kint(&w, "dense", 1);
    jw_end(&w, '}');
    return buf_err(out);
}

uint64_t s3_stream_safe(const struct store_stream *stream)
{
    return ((const struct s3_stream *)(const void *)stream)->at;
}

int s3_stream_save(struct store_stream *stream, struct buf *ret_state, struct err_detail *detail)
{
    struct s3_stream *st = stream_of(stream);
    int r = 0;

    if (st->slots[st->now].len > S3_PART_BYTES) /* more than others shall keep */
        r = send_part(st, detail);
    if (r == 0)
        r = finish_all(st, detail);
    if (r == 0)
        r = state_text(st, ret_state);
    if (r == 0)
        st->named = st->named || st->upload.len > 0;
    return r;
}

static int add_saved_part(struct s3_stream *st, const struct json *pair)
{
    struct str etag = json_str(json_at(pair, 1));
    int64_t number;
    size_t i;
    int r;

    if (!json_int(json_at(pair, 0), &number) || number < 1 || number > NUMBER_MAX ||
        etag.len == 0 || etag.len >= S3_ETAG_MAX ||
        (st->count > 0 && number <= (int64_t)st->parts[st->count - 1].number))
        return -ERR_CORRUPT;
    st->next_number = (unsigned)number;
    r = new_part(st, &i);
    if (r < 0)
        return r;
    memcpy(st->parts[i].etag, etag.at, etag.len);
    st->parts[i].etag[etag.len] = '\0';
    return 0;
}

static int state_parse(struct s3_stream *st, struct str state)
{
    struct json_doc *doc auto_json = NULL;
    const struct json *root, *parts;
    struct str upload;
    int64_t at, dense;
    int r = 0;

    if (json_parse(state, &doc, NULL) < 0)
        return -ERR_CORRUPT;
    root = json_root(doc);
    parts = json_get(root, "parts");
    if (!json_get_str(root, "upload", &upload) || !json_get_int(root, "at", &at) || at < 0 ||
        json_type(parts) != JSON_ARRAY_T || (upload.len == 0) != (json_len(parts) == 0) ||
        (at == 0) != (json_len(parts) == 0))
        return -ERR_CORRUPT;
    buf_add(&st->upload, upload);
    st->dense = json_get_int(root, "dense", &dense) && dense == 1;
    for (size_t i = 0; i < json_len(parts) && r == 0; i++)
        r = add_saved_part(st, json_at(parts, i));
    st->at = st->size = (uint64_t)at;
    st->slots[0].at = st->at;
    number_next(st, st->count > 0 ? st->parts[st->count - 1].number : 0);
    return r < 0 ? r : buf_err(&st->upload) < 0 ? -ERR_CORRUPT : 0;
}

int s3_stream_resume(struct store *store, struct str key, struct str state, uint64_t size,
                     struct store_stream **ret, struct err_detail *detail)
{
    struct s3_stream *st;
    int r = stream_new(s3_of(store), key, &st);

    if (r < 0)
        return r;
    r = state_parse(st, state);
    st->named = true;
    if (r == 0 && st->at > size)
        r = -ERR_NOTFOUND;
    if (r < 0) {
        s3_stream_close(&st->stream);
        return r == -ERR_CORRUPT ? err_set(detail, r, "the saved state of an upload is damaged")
                                 : r;
    }
    *ret = &st->stream;
    return 0;
}

/* What still lies in a slot: parts themselves cannot be read back. */
int s3_stream_read(struct store_stream *stream, uint64_t offset, size_t len, struct buf *out,
                   struct err_detail *detail)
{
    struct s3_stream *st = stream_of(stream);

    if (offset >= st->size)
        return 0;
    for (unsigned i = 0; i < SLOTS; i++) {
        const struct slot *slot = &st->slots[i];
        uint64_t in;

        if (offset < slot->at || offset - slot->at >= slot->len)
            continue;
        in = offset - slot->at;
        return fd_pread_all(st->fd, i * SLOT_SPACE + in,
                            slot->len - in < len ? (size_t)(slot->len - in) : len, out);
    }
    return err_set(detail, -ERR_INVAL,
                   "an upload of this size needs its digest algorithm named when it begins");
}

int s3_stream_upload_now(struct store_stream *stream, struct err_detail *detail)
{
    return send_part(stream_of(stream), detail);
}

/* ---- the end */

static int put_whole(struct s3_stream *st, struct err_detail *detail)
{
    struct slot *slot = &st->slots[st->now];
    struct s3_call c;
    int r;

    s3_call_init(&c, S3_CREATE, "PUT", buf_str(&st->key));
    if (slot->len > 0)
        slot_body(st, &c);
    r = s3_run_one(st->s, &c, detail);
    s3_call_done(&c);
    return r == -ERR_AGAIN ? -ERR_UNKNOWN : r;
}

static int complete_text(const struct s3_stream *st, struct buf *out)
{
    buf_add(out, STR("<CompleteMultipartUpload>"));
    for (size_t i = 0; i < st->count; i++) {
        struct str etag = str_of(st->parts[i].etag);

        buf_addf(out, "<Part><PartNumber>%u</PartNumber><ETag>", st->parts[i].number);
        for (size_t k = 0; k < etag.len; k++)
            if (etag.at[k] == '"')
                buf_add(out, STR("&quot;"));
            else if (!strchr("<>&", etag.at[k]))
                buf_addc(out, etag.at[k]);
        buf_add(out, STR("</ETag></Part>"));
    }
    buf_add(out, STR("</CompleteMultipartUpload>"));
    return buf_err(out);
}

/* The upload is no more: completed, by this or by another, or swept. */
static int gone(struct s3_stream *st, struct err_detail *detail)
{
    struct store_info info;
    int r = st->s->store.ops->head(&st->s->store, buf_str(&st->key), &info, detail);

    if (r == 0)
        return -ERR_EXISTS;
    return r == -ERR_NOTFOUND
               ? err_set(detail, r, "the upload's parts are gone from the object store")
               : r;
}

static int complete(struct s3_stream *st, struct err_detail *detail)
{
    struct buf text auto_buf = BUF_INIT(XML_PART_MAX * (PARTS_MAX + 1));
    struct buf answer auto_buf = BUF_INIT(S3XML_TEXT_MAX * 4);
    struct s3_error error = {"", ""};
    struct s3_call c;
    int r = complete_text(st, &text);

    if (r < 0)
        return r;
    s3_call_init(&c, S3_CREATE, "POST", buf_str(&st->key));
    sigv4_query_add(&c.query, "uploadId", buf_str(&st->upload));
    c.body = buf_str(&text);
    c.answer = &answer;
    c.try_ms = S3_PART_TRY_MS;
    c.deadline_ms = clock_boot_ms() + S3_PART_TRY_MS;
    r = s3_run_one(st->s, &c, detail);
    if (r == 0)
        r = s3xml_completed(buf_str(&answer), &error);
    else
        error = c.error;
    s3_call_done(&c);
    if (r == 0 || r == -ERR_EXISTS)
        return r;
    if (strcmp(error.code, "PreconditionFailed") == 0)
        return -ERR_EXISTS;
    if (r == -ERR_NOTFOUND || strcmp(error.code, "NoSuchUpload") == 0 ||
        strcmp(error.code, "InvalidPart") == 0)
        return gone(st, detail);
    return r == -ERR_NOMEM || r == -ERR_UNAVAIL ? r : -ERR_UNKNOWN;
}

int s3_stream_commit(struct store_stream *stream, struct err_detail *detail)
{
    struct s3_stream *st = stream_of(stream);
    int r = 0;

    if (st->committed)
        return -ERR_EXISTS;
    if (st->upload.len > 0 && st->slots[st->now].len > 0)
        r = send_part(st, detail);
    if (r == 0)
        r = finish_all(st, detail);
    if (r == 0)
        r = st->upload.len == 0 ? put_whole(st, detail) : complete(st, detail);
    st->committed = r == 0;
    return r;
}

void s3_stream_close(struct store_stream *stream)
{
    struct s3_stream *st = stream_of(stream);

    (void)!finish_all(st, NULL);
    if (st->upload.len > 0 && !st->named && !st->committed)
        (void)!s3_abort(st->s, buf_str(&st->key), buf_str(&st->upload), NULL);
    if (st->fd >= 0)
        close(st->fd);
    httpc_wait_done(&st->wait);
    buf_done(&st->key);
    buf_done(&st->upload);
    free(st->parts);
    free(st);
}
