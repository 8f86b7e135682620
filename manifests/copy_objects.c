/* Blobs, links and markers: objects that are listed in both stores and copied where they are
 * missing. */
#include "manifests/copy_internal.h"

#include "base/json.h"
#include "blobstore/blob.h"
#include "manifests/name.h"

#define RECORD_MAX (BLOB_MANIFEST_MAX + BLOB_HEADER_MAX)
#define MARKER_MAX 4096

/* ---- blobs */

static bool same_bytes(const struct digest *d, struct hasher *h)
{
    struct digest found;

    hasher_final(h, &found);
    return digest_eq(d, &found);
}

/* Streams the data through the hash. 1: it is not what the record says; nothing was made. */
static int stream_data(struct copier *c, struct str key, const struct digest *d, uint64_t size,
                       struct store_stream *out, struct err_detail *detail)
{
    struct buf chunk auto_buf = BUF_INIT(COPY_CHUNK);
    struct hasher h;

    hasher_init(&h, d->alg);
    for (uint64_t at = 0; at < size; at += chunk.len) {
        int e;

        buf_clear(&chunk);
        e = copy_get(c->from, key, at, COPY_CHUNK, &chunk, detail);
        if (e == -ERR_NOTFOUND || e == -ERR_CORRUPT || (e == 0 && chunk.len == 0))
            return 1;
        if (e == 0) {
            hasher_add(&h, buf_str(&chunk));
            e = store_stream_write(out, buf_str(&chunk), detail);
        }
        if (e < 0)
            return e;
    }
    return same_bytes(d, &h) ? 0 : 1;
}

/* Is the data there already, from a copy that was cut off? It got its name only after its digest
 * was right. */
static int data_there(struct copier *c, struct str key, uint64_t size, struct err_detail *detail)
{
    struct store_info info;
    int e = copy_head(c->to, key, &info, detail);

    if (e == 0 && info.size != size)
        return err_set(detail, -ERR_EXISTS, "the destination holds other bytes at " STR_FMT,
                       STR_ARG(key));
    return e;
}

static int commit_data(struct copier *c, struct str key, uint64_t size, struct store_stream *out,
                       struct err_detail *detail)
{
    int e = store_stream_commit(out, detail);

    if (e == 0)
        copy_count(c, size);
    if (e != -ERR_UNKNOWN && e != -ERR_EXISTS)
        return e;
    e = data_there(c, key, size, detail);
    return e == -ERR_NOTFOUND ? -ERR_UNAVAIL : e;
}

/* 1: damaged, told. */
static int copy_data(struct copier *c, struct str key, const struct digest *d, uint64_t size,
                     struct err_detail *detail)
{
    struct store_stream *out = NULL;
    struct store_info info;
    int e = data_there(c, key, size, detail);

    if (e != -ERR_NOTFOUND)
        return e;
    e = copy_head(c->from, key, &info, detail);
    if (e == -ERR_NOTFOUND || (e == 0 && info.size != size)) {
        copy_damaged(c, key, e < 0 ? "is missing" : "is not as long as its record says");
        return 1;
    }
    if (e == 0)
        e = store_stream_sweep(c->to, key, detail); /* of a copy that was cut off */
    if (e == 0)
        e = store_stream_open(c->to, key, &out, detail);
    if (e == 0)
        e = stream_data(c, key, d, size, out, detail);
    if (e == 0)
        e = commit_data(c, key, size, out, detail);
    store_stream_close(out);
    if (e == 1)
        copy_damaged(c, key, "does not have the digest that its record names");
    return e;
}

/* A record behind its data; damaged ones are left out with it. */
static int copy_record(struct copier *c, struct str key, struct err_detail *detail)
{
    struct buf raw auto_buf = BUF_INIT(RECORD_MAX), data auto_buf = BUF_INIT(STORE_KEY_MAX);
    struct blob_info info;
    struct digest d, found;
    struct str bytes;
    unsigned g;
    int e;

    if (!keys_record_parse(key, &d, &g))
        return copy_damaged(c, key, "is no key of the bucket format");
    e = copy_get(c->from, key, 0, STORE_WHOLE, &raw, detail);
    if (e == -ERR_NOTFOUND)
        return 0; /* removed since it was listed */
    if (e == 0)
        e = blob_header_parse(buf_str(&raw), &info, detail);
    if (e == -ERR_TOOBIG || e == -ERR_CORRUPT || e == -ERR_IO)
        return copy_damaged(c, key, "is no record that can be read: %s", detail->text);
    if (e < 0)
        return e;
    bytes = str_skip(buf_str(&raw), info.header_len);
    if (info.data_id[0]) {
        keys_data(&data, str_of(info.data_id));
        e = copy_data(c, buf_str(&data), &d, info.size, detail);
        if (e != 0)
            return e < 0 ? e : 0;
    } else {
        digest_of(d.alg, bytes, &found);
        if (bytes.len != info.size || !digest_eq(&d, &found))
            return copy_damaged(c, key, "does not hold bytes of this digest");
    }
    return copy_create(c, key, STORE_RECORD, buf_str(&raw), detail);
}

static int submit_record(struct copier *c, struct str key, struct err_detail *detail)
{
    (void)detail;
    return copy_submit(c, copy_record, key);
}

static int finish(struct copier *c, int e)
{
    int all = copy_wait(c);

    return e < 0 ? e : all;
}

int copy_blobs(struct copier *c, struct err_detail *detail)
{
    return finish(c, copy_each_missing(c, STR("blobs/"), submit_record, detail));
}

/* ---- links */

static int copy_link(struct copier *c, struct str key, struct err_detail *detail)
{
    return copy_create(c, key, STORE_LINK, STR_NONE, detail);
}

/* A link of an unlink that is not copied yet would give back, one day, what another unlink of that
 * number took. */
static int submit_link(struct copier *c, struct str key, struct err_detail *detail)
{
    struct buf repo auto_buf = BUF_INIT(STORE_KEY_MAX);
    const uint64_t *head;
    uint64_t u;

    (void)detail;
    if (!keys_link_parse(key, &repo, &u))
        return copy_damaged(c, key, "is no key of the bucket format");
    head = omap_get(c->heads, buf_str(&repo));
    return u > 0 && (!head || u > *head) ? 0 : copy_submit(c, copy_link, key);
}

int copy_links(struct copier *c, struct err_detail *detail)
{
    return finish(c, copy_each_missing(c, STR("links/"), submit_link, detail));
}

/* ---- markers of changes */

static int copy_marker(struct copier *c, struct str key, struct err_detail *detail)
{
    struct buf text auto_buf = BUF_INIT(MARKER_MAX);
    struct json_doc *doc auto_json = NULL;
    int64_t seq;
    int e = copy_get(c->from, key, 0, STORE_WHOLE, &text, detail);

    if (e == -ERR_NOTFOUND)
        return 0;
    if (e < 0 && e != -ERR_TOOBIG && e != -ERR_IO)
        return e;
    if (e < 0 || json_parse(buf_str(&text), &doc, NULL) < 0 ||
        !json_get_int(json_root(doc), "seq", &seq))
        return copy_damaged(c, key, "is no marker that can be read");
    return copy_create(c, key, STORE_HINT, buf_str(&text), detail);
}

/* Of a repository that is not copied yet, and of entries that are not, the next copy brings them:
 * a marker says where its entries begin. */
static int submit_marker(struct copier *c, struct str key, struct err_detail *detail)
{
    struct str name;

    (void)detail;
    if (!keys_changes_parse(key, &name) || !name_valid(name))
        return copy_damaged(c, key, "is no key of the bucket format");
    return omap_get(c->heads, name) ? copy_submit(c, copy_marker, key) : 0;
}

int copy_markers(struct copier *c, struct err_detail *detail)
{
    return finish(c, copy_each_missing(c, STR("changes/"), submit_marker, detail));
}
