/* Ranges of a blob's bytes on stores without files: pieces asked for at once (blob.h). */
#include <assert.h>

#include "base/clock.h"
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

static size_t piece_size(struct blob_pace *pace, size_t len)
{
    size_t told = atomic_load(&pace->piece), known = told > 0 ? told : BLOB_PIECE;
    size_t least = (len + BLOB_PIECES_MAX - 1) / BLOB_PIECES_MAX;

    if (known < BLOB_PIECE_MIN)
        known = BLOB_PIECE_MIN;
    return known > least ? known : least;
}

/* All pieces were under way together, so each connection gave one in that time. */
static void learn(struct blob_pace *pace, size_t piece, int64_t ns)
{
    double fit = (double)piece * BLOB_PIECE_MS * 1e6 / (double)(ns > 0 ? ns : 1);

    atomic_store(&pace->piece, fit < (double)BLOB_READ_MAX ? (size_t)fit : BLOB_READ_MAX);
}

static void plan(struct pieces *p, struct str key, uint64_t offset, size_t len, size_t piece)
{
    for (size_t at = 0; at < len; at += piece) {
        size_t n = len - at < piece ? len - at : piece;

        assert(p->count < BLOB_PIECES_MAX);
        p->bytes[p->count] = BUF_INIT(n);
        (void)!buf_reserve(&p->bytes[p->count], n); /* an error stays in it */
        p->ops[p->count] = (struct store_op){.kind = STORE_OP_GET,
                                             .key = key,
                                             .offset = offset + at,
                                             .len = n,
                                             .out = &p->bytes[p->count]};
        p->count++;
    }
}

struct fetch {
    struct store *store;
    struct str key;
    struct blob_pace *pace;
};

/* Pieces of one object of the store. */
static int read_pieces(void *arg, uint64_t offset, size_t len, struct buf *out,
                       struct err_detail *detail)
{
    const struct fetch *f = arg;
    struct pieces p auto_of(pieces_done) = {.count = 0};
    size_t piece = piece_size(f->pace, len);
    int64_t begin = clock_boot_ns();
    int r = 0;

    plan(&p, f->key, offset, len, piece);
    store_run(f->store, p.ops, p.count);
    learn(f->pace, p.count > 1 ? piece : len, clock_boot_ns() - begin);
    for (size_t i = 0; i < p.count && r == 0; i++) {
        if (p.ops[i].result == -ERR_NOTFOUND ||
            (p.ops[i].result == 0 && p.bytes[i].len != p.ops[i].len))
            r = lacking(f->key, detail);
        else if (p.ops[i].result < 0)
            r = err_set(detail, p.ops[i].result, "the store did not give a blob's bytes");
        buf_add(out, buf_str(&p.bytes[i]));
    }
    return r < 0 ? r : buf_err(out);
}

int blob_read_at(struct blobs *b, const struct digest *d, const struct blob_info *info,
                 uint64_t offset, size_t len, struct blob_pace *pace, struct buf *out,
                 struct err_detail *detail)
{
    struct buf key auto_buf = BUF_INIT(STORE_KEY_MAX);
    struct cache *cache = blobs_cache(b);
    struct fetch f = {node_store(blobs_node(b)), STR_NONE, pace};

    assert(offset + len <= info->size && len <= BLOB_READ_MAX);
    if (info->data_id[0])
        keys_data(&key, str_of(info->data_id));
    else
        keys_record(&key, d, info->g);
    if (buf_err(&key) < 0)
        return buf_err(&key);
    f.key = buf_str(&key);
    if (info->data_id[0] && cache) {
        struct cache_object o = {str_of(info->data_id), info->size, d};

        return cache_read(cache, &o, offset, len, read_pieces, &f, out, detail);
    }
    return read_pieces(&f, info->data_id[0] ? offset : offset + info->header_len, len, out, detail);
}
