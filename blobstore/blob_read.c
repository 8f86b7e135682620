/* Ranges of a blob's bytes on stores without files: pieces asked for at once (blob.h). */
#include <assert.h>

#include "base/log.h"
#include "blobstore/blob.h"
#include "blobstore/cache.h"

struct pieces {
    struct store_op ops[BLOB_PIECES_MAX];
    struct buf bytes[BLOB_PIECES_MAX];
    size_t count;
};

static void pieces_done(struct pieces *p)
{
    for (size_t i = 0; i < p->count; i++)
        buf_done(&p->bytes[i]);
}

/* What the record promises is not there: told with its key, never answered as other bytes. */
static int lacking(struct str key, struct err_detail *detail)
{
    log_error("blob.corrupt", KV_V("key", key), KV_S("why", "is missing or cut short"));
    return err_set(detail, -ERR_CORRUPT, "object " STR_FMT ": is missing or cut short",
                   STR_ARG(str_head(key, 180)));
}

/* Pieces of one object of the store. */
static int read_pieces(struct store *s, struct str key, uint64_t offset, size_t len,
                       struct buf *out, struct err_detail *detail)
{
    struct pieces p auto_of(pieces_done) = {.count = 0};
    int r = 0;

    for (size_t at = 0; at < len; at += BLOB_PIECE) {
        size_t n = len - at < BLOB_PIECE ? len - at : BLOB_PIECE;

        p.bytes[p.count] = BUF_INIT(n);
        p.ops[p.count] = (struct store_op){.kind = STORE_OP_GET,
                                           .key = key,
                                           .offset = offset + at,
                                           .len = n,
                                           .out = &p.bytes[p.count]};
        p.count++;
    }
    store_run(s, p.ops, p.count);
    for (size_t i = 0; i < p.count && r == 0; i++) {
        if (p.ops[i].result == -ERR_NOTFOUND ||
            (p.ops[i].result == 0 && p.bytes[i].len != p.ops[i].len))
            r = lacking(key, detail);
        else if (p.ops[i].result < 0)
            r = err_set(detail, p.ops[i].result, "the store did not give a blob's bytes");
        buf_add(out, buf_str(&p.bytes[i]));
    }
    return r < 0 ? r : buf_err(out);
}

struct fetch {
    struct store *store;
    struct str key;
};

static int fetch_for_cache(void *arg, uint64_t offset, size_t len, struct buf *out,
                           struct err_detail *detail)
{
    const struct fetch *f = arg;

    return read_pieces(f->store, f->key, offset, len, out, detail);
}

int blob_read_at(struct blobs *b, const struct digest *d, const struct blob_info *info,
                 uint64_t offset, size_t len, struct buf *out, struct err_detail *detail)
{
    struct buf key auto_buf = BUF_INIT(STORE_KEY_MAX);
    struct cache *cache = blobs_cache(b);
    struct store *s = node_store(blobs_node(b));

    assert(offset + len <= info->size && len <= (size_t)BLOB_PIECES_MAX * BLOB_PIECE);
    if (info->data_id[0])
        keys_data(&key, str_of(info->data_id));
    else
        keys_record(&key, d, info->g);
    if (buf_err(&key) < 0)
        return buf_err(&key);
    if (info->data_id[0] && cache) {
        struct cache_object o = {str_of(info->data_id), info->size, d};
        struct fetch f = {s, buf_str(&key)};

        return cache_read(cache, &o, offset, len, fetch_for_cache, &f, out, detail);
    }
    return read_pieces(s, buf_str(&key), info->data_id[0] ? offset : offset + info->header_len, len,
                       out, detail);
}
