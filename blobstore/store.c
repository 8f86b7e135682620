/* The object store interface: checks of arguments, metrics, and the one-after-another default of
 * store_run. The work is in the backends (store_dir*.c, store_mem.c, store_fault.c). No state. */
#include "blobstore/store_ops.h"

#include <assert.h>

#include "base/metrics.h"

/* Keys are made by keys.c alone, so a bad one is a programmer's error. A leading '.' is kept for
 * what backends store beside the objects. */
static bool key_ok(struct str key)
{
    size_t start = 0;

    if (key.len == 0 || key.len > STORE_KEY_MAX || key.at[0] == '.' ||
        memchr(key.at, 0, key.len) != NULL)
        return false;
    for (;;) {
        struct str rest = str_skip(key, start);
        ptrdiff_t slash = str_find(rest, '/');
        struct str segment = slash < 0 ? rest : str_head(rest, (size_t)slash);

        if (segment.len == 0 || segment.len > STORE_SEGMENT_MAX || str_eq(segment, STR(".")) ||
            str_eq(segment, STR("..")))
            return false;
        if (slash < 0)
            return true;
        start += segment.len + 1;
    }
}

/* Backends name the files of a stream by its key with '/' as '!' and a suffix after '~'. */
static bool stream_key_ok(struct str key)
{
    return key_ok(key) && key.len <= STORE_STREAM_KEY_MAX && str_find(key, '!') < 0 &&
           str_find(key, '~') < 0;
}

static int counted(int r)
{
    if (r < 0 && r != -ERR_NOTFOUND && r != -ERR_EXISTS && r != -ERR_AGAIN)
        metric_add(METRIC_store_errors_total, 1);
    return r;
}

static int count_create(int r)
{
    if (r == 0)
        metric_add(METRIC_store_creates_total, 1);
    else if (r == -ERR_EXISTS)
        metric_add(METRIC_store_create_conflicts_total, 1);
    return counted(r);
}

void store_free(struct store *s)
{
    if (s != NULL)
        s->ops->free(s);
}

void store_freep(struct store **s)
{
    store_free(*s);
    *s = NULL;
}

int store_get(struct store *s, struct str key, uint64_t offset, uint64_t len, struct buf *out,
              struct err_detail *detail)
{
    assert(s != NULL && out != NULL && key_ok(key));
    metric_add(METRIC_store_gets_total, 1);
    return counted(s->ops->get(s, key, offset, len, out, detail));
}

int store_head(struct store *s, struct str key, struct store_info *ret, struct err_detail *detail)
{
    assert(s != NULL && ret != NULL && key_ok(key));
    metric_add(METRIC_store_heads_total, 1);
    return counted(s->ops->head(s, key, ret, detail));
}

int store_probe(struct store *s, struct str key, struct store_info *ret)
{
    assert(s != NULL && ret != NULL && key_ok(key));
    metric_add(METRIC_store_heads_total, 1);
    return counted(s->ops->probe(s, key, ret));
}

int store_create(struct store *s, struct str key, enum store_class cls, struct str bytes,
                 struct err_detail *detail)
{
    assert(s != NULL && key_ok(key));
    return count_create(s->ops->create(s, key, cls, bytes, detail));
}

int store_create_owing(struct store *s, struct str key, enum store_class cls, struct str bytes,
                       struct store_owed *ret, struct err_detail *detail)
{
    assert(ret != NULL);
    *ret = (struct store_owed){.owed = false};
    if (s->ops->create_owing == NULL)
        return store_create(s, key, cls, bytes, detail);
    assert(key_ok(key));
    return count_create(s->ops->create_owing(s, key, cls, bytes, ret, detail));
}

int store_create_settling(struct store *s, struct str key, enum store_class cls, struct str bytes,
                          struct err_detail *detail)
{
    if (s->ops->create_settling == NULL)
        return store_create(s, key, cls, bytes, detail);
    assert(key_ok(key));
    return count_create(s->ops->create_settling(s, key, cls, bytes, detail));
}

void store_settled(struct store *s, struct str key, struct store_owed *owed)
{
    if (owed->owed && s->ops->settled != NULL)
        s->ops->settled(s, key, owed);
    owed->owed = false;
}

int store_put(struct store *s, struct str key, enum store_class cls, struct str bytes,
              struct err_detail *detail)
{
    assert(s != NULL && key_ok(key));
    metric_add(METRIC_store_puts_total, 1);
    return counted(s->ops->put(s, key, cls, bytes, detail));
}

int store_remove(struct store *s, struct str key, enum store_class cls, struct err_detail *detail)
{
    assert(s != NULL && key_ok(key));
    metric_add(METRIC_store_removes_total, 1);
    return counted(s->ops->remove(s, key, cls, detail));
}

/* The result may be the callback's own, so it is not counted as an error here. */
int store_list(struct store *s, struct str prefix, struct str after, unsigned max, store_list_fn fn,
               void *arg, struct err_detail *detail)
{
    assert(s != NULL && fn != NULL && max > 0 && max <= STORE_LIST_MAX);
    metric_add(METRIC_store_lists_total, 1);
    return s->ops->list(s, prefix, after, max, fn, arg, detail);
}

int store_now(struct store *s, int64_t *ret_ms, struct err_detail *detail)
{
    assert(s != NULL && ret_ms != NULL);
    return counted(s->ops->now(s, ret_ms, detail));
}

void store_run(struct store *s, struct store_op *ops, size_t count)
{
    assert(s != NULL && (ops != NULL || count == 0));
    if (s->ops->run != NULL) {
        s->ops->run(s, ops, count);
        return;
    }
    for (size_t i = 0; i < count; i++) {
        struct store_op *op = &ops[i];

        switch (op->kind) {
        case STORE_OP_HEAD:
            op->result = store_head(s, op->key, &op->info, NULL);
            break;
        case STORE_OP_GET:
            op->result = store_get(s, op->key, op->offset, op->len > 0 ? op->len : STORE_WHOLE,
                                   op->out, NULL);
            break;
        case STORE_OP_CREATE:
            op->result = store_create(s, op->key, op->cls, op->bytes, NULL);
            break;
        case STORE_OP_REMOVE:
            op->result = store_remove(s, op->key, op->cls, NULL);
            break;
        }
    }
}

int store_open(struct store *s, struct str key, struct store_object *ret, struct err_detail *detail)
{
    assert(s != NULL && ret != NULL && key_ok(key));
    metric_add(METRIC_store_gets_total, 1);
    return counted(s->ops->open(s, key, ret, detail));
}

bool store_has_files(const struct store *s)
{
    assert(s != NULL);
    return s->ops->has_files;
}

bool store_is_remote(const struct store *s)
{
    assert(s != NULL);
    return s->ops->remote;
}

int store_presign_get(struct store *s, struct str key, int64_t ttl_ms, struct buf *ret_url)
{
    assert(s != NULL && ret_url != NULL && ttl_ms > 0 && key_ok(key));
    if (s->ops->presign_get == NULL)
        return -ERR_UNSUPPORTED;
    return counted(s->ops->presign_get(s, key, ttl_ms, ret_url));
}

int store_stream_open(struct store *s, struct str key, struct store_stream **ret,
                      struct err_detail *detail)
{
    assert(s != NULL && ret != NULL && stream_key_ok(key));
    int r = counted(s->ops->stream_open(s, key, ret, detail));
    if (r == 0)
        metric_add(METRIC_upload_streams_open, 1);
    return r;
}

int store_stream_write(struct store_stream *st, struct str bytes, struct err_detail *detail)
{
    assert(st != NULL);
    return counted(st->ops->stream_write(st, bytes, detail));
}

uint64_t store_stream_size(const struct store_stream *st)
{
    assert(st != NULL);
    return st->ops->stream_size(st);
}

int store_stream_save(struct store_stream *st, struct buf *ret_state, struct err_detail *detail)
{
    assert(st != NULL && ret_state != NULL);
    return counted(st->ops->stream_save(st, ret_state, detail));
}

uint64_t store_stream_safe(const struct store_stream *st)
{
    assert(st != NULL);
    return st->ops->stream_safe != NULL ? st->ops->stream_safe(st) : st->ops->stream_size(st);
}

int store_stream_resume(struct store *s, struct str key, struct str state, uint64_t size,
                        struct store_stream **ret, struct err_detail *detail)
{
    assert(s != NULL && ret != NULL && stream_key_ok(key));
    if (state.len > STORE_STREAM_STATE_MAX)
        return err_set(detail, -ERR_CORRUPT, "the saved state of an upload is too long");
    int r = counted(s->ops->stream_resume(s, key, state, size, ret, detail));
    if (r == 0)
        metric_add(METRIC_upload_streams_open, 1);
    return r;
}

int store_stream_read(struct store_stream *st, uint64_t offset, size_t len, struct buf *out,
                      struct err_detail *detail)
{
    assert(st != NULL && out != NULL);
    return counted(st->ops->stream_read(st, offset, len, out, detail));
}

int store_stream_commit(struct store_stream *st, struct err_detail *detail)
{
    assert(st != NULL);
    return count_create(st->ops->stream_commit(st, detail));
}

void store_stream_close(struct store_stream *st)
{
    if (st == NULL)
        return;
    metric_add(METRIC_upload_streams_open, -1);
    st->ops->stream_close(st);
}

int store_stream_sweep(struct store *s, struct str key, struct err_detail *detail)
{
    assert(s != NULL && stream_key_ok(key));
    return counted(s->ops->stream_sweep(s, key, detail));
}

int store_stream_list(struct store *s, store_list_fn fn, void *arg, struct err_detail *detail)
{
    assert(s != NULL && fn != NULL);
    return s->ops->stream_list(s, fn, arg, detail);
}

int store_sweep_temporary(struct store *s, struct err_detail *detail)
{
    assert(s != NULL);
    return s->ops->sweep_temporary == NULL ? 0 : counted(s->ops->sweep_temporary(s, detail));
}
