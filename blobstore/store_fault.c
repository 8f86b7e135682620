/* A wrapper that injects faults into another store. decide() is called outside any lock, once for
 * each call; what it picks is meaningful as in store.h, and otherwise:
 *   - FAULT_OWN_EXISTS of anything but a create or commit is FAULT_NONE; of a create that failed
 *     by itself, its own error.
 *   - FAULT_LATE and FAULT_DUPLICATE of a read are FAULT_NONE; of a write to a stream (its bytes
 *     have an order), FAULT_REPLY_LOST.
 *   - A decide() that leaves the error unset means -ERR_UNAVAIL.
 * Late writes are kept, at most LATE_MAX (what exceeds them is applied at once: "may have landed"),
 * and dropped when the store is freed. */
#include "blobstore/store_ops.h"

#include <assert.h>

#include "base/thread.h"

#define LATE_MAX 4096

/* The inner stream lives until its holder closed it and no late commit waits for it. */
struct inner_stream {
    struct store_stream *st;
    unsigned refs; /* guarded by the store's mu */
};

struct late {
    enum { LATE_CREATE, LATE_PUT, LATE_REMOVE, LATE_COMMIT } kind;
    enum store_class cls;
    struct buf key, bytes;
    struct inner_stream *stream; /* commit: a reference */
    struct late *next;
};

struct store_fault_store {
    struct store store;
    struct store *inner;
    store_fault_fn decide;
    void *arg;
    struct mutex mu;
    uint64_t calls;      /* guarded by mu, with the next three */
    struct late *first;  /* in the order of the calls */
    struct late **place; /* where the next one goes */
    unsigned count;
};

struct fault_stream {
    struct store_stream stream;
    struct store_fault_store *fs;
    struct inner_stream *inner;
    struct buf key;
};

static const struct store_ops fault_ops;
static int fault_create(struct store *s, struct str key, enum store_class cls, struct str bytes,
                        struct err_detail *detail);

static struct store_fault_store *fault_of(struct store *s)
{
    return (struct store_fault_store *)(void *)s;
}

static struct fault_stream *stream_of(struct store_stream *st)
{
    return (struct fault_stream *)(void *)st;
}

static enum store_fault ask(struct store_fault_store *fs, const char *op, struct str key,
                            int *ret_err)
{
    struct store_fault_call call = {op, key, 0};

    mutex_lock(&fs->mu);
    call.number = ++fs->calls;
    mutex_unlock(&fs->mu);
    *ret_err = 0;
    enum store_fault fault = fs->decide(&call, ret_err, fs->arg);
    if (*ret_err >= 0)
        *ret_err = -ERR_UNAVAIL;
    return fault;
}

static int injected(int err, struct err_detail *detail)
{
    return err_set(detail, err, "injected fault");
}

/* ---- Late writes. */

static void inner_release(struct store_fault_store *fs, struct inner_stream *in)
{
    mutex_lock(&fs->mu);
    bool last = --in->refs == 0;
    mutex_unlock(&fs->mu);
    if (last) {
        in->st->ops->stream_close(in->st);
        free(in);
    }
}

static void late_free(struct store_fault_store *fs, struct late *l)
{
    buf_done(&l->key);
    buf_done(&l->bytes);
    if (l->stream != NULL)
        inner_release(fs, l->stream);
    free(l);
}

static void late_apply(struct store_fault_store *fs, const struct late *l)
{
    struct store *s = fs->inner;
    struct str key = buf_str(&l->key);

    /* Nobody waits for the outcome any more. */
    switch (l->kind) {
    case LATE_CREATE:
        (void)s->ops->create(s, key, l->cls, buf_str(&l->bytes), NULL);
        break;
    case LATE_PUT:
        (void)s->ops->put(s, key, l->cls, buf_str(&l->bytes), NULL);
        break;
    case LATE_REMOVE:
        (void)s->ops->remove(s, key, l->cls, NULL);
        break;
    case LATE_COMMIT:
        (void)l->stream->st->ops->stream_commit(l->stream->st, NULL);
        break;
    }
}

/* Queues a copy of the write; false when it must be applied at once. */
static bool later(struct store_fault_store *fs, struct late what, struct str key, struct str bytes)
{
    struct late *l = malloc(sizeof(*l));

    if (l == NULL)
        return false;
    *l = what;
    l->key = BUF_INIT(STORE_KEY_MAX);
    l->bytes = BUF_INIT(SIZE_MAX / 2);
    l->next = NULL;
    buf_add(&l->key, key);
    buf_add(&l->bytes, bytes);
    mutex_lock(&fs->mu);
    bool taken = buf_err(&l->key) == 0 && buf_err(&l->bytes) == 0 && fs->count < LATE_MAX;
    if (taken) {
        *fs->place = l;
        fs->place = &l->next;
        fs->count++;
        if (l->stream != NULL)
            l->stream->refs++;
    }
    mutex_unlock(&fs->mu);
    if (!taken) {
        l->stream = NULL;
        late_free(fs, l);
    }
    return taken;
}

static struct late *late_take(struct store_fault_store *fs)
{
    mutex_lock(&fs->mu);
    struct late *all = fs->first;
    fs->first = NULL;
    fs->place = &fs->first;
    fs->count = 0;
    mutex_unlock(&fs->mu);
    return all;
}

void store_fault_flush_late(struct store *s)
{
    struct store_fault_store *fs = fault_of(s);

    assert(s->ops->create == fault_create);
    for (struct late *l = late_take(fs), *next; l != NULL; l = next) {
        next = l->next;
        late_apply(fs, l);
        late_free(fs, l);
    }
}

/* A create, put, remove or commit with its fault. */
static int write_call(struct store_fault_store *fs, const char *op, const struct late *what,
                      struct str key, struct str bytes, int (*apply)(void *arg), void *arg,
                      struct err_detail *detail)
{
    int err, r;
    enum store_fault fault = ask(fs, op, key, &err);
    bool creates = what->kind == LATE_CREATE || what->kind == LATE_COMMIT;

    if (fault == FAULT_FAIL_BEFORE)
        return injected(err, detail);
    if (fault == FAULT_LATE && later(fs, *what, key, bytes))
        return injected(-ERR_UNKNOWN, detail);
    r = apply(arg);
    if (fault == FAULT_DUPLICATE)
        (void)later(fs, *what, key, bytes);
    if (fault == FAULT_REPLY_LOST || fault == FAULT_LATE)
        return injected(-ERR_UNKNOWN, detail);
    if (fault == FAULT_OWN_EXISTS && creates && r == 0)
        return injected(-ERR_EXISTS, detail);
    return r;
}

struct plain_write {
    struct store *s;
    struct str key, bytes;
    enum store_class cls;
    struct err_detail *detail;
};

static int apply_create(void *arg)
{
    struct plain_write *w = arg;
    return w->s->ops->create(w->s, w->key, w->cls, w->bytes, w->detail);
}

static int apply_put(void *arg)
{
    struct plain_write *w = arg;
    return w->s->ops->put(w->s, w->key, w->cls, w->bytes, w->detail);
}

static int apply_remove(void *arg)
{
    struct plain_write *w = arg;
    return w->s->ops->remove(w->s, w->key, w->cls, w->detail);
}

static int fault_create(struct store *s, struct str key, enum store_class cls, struct str bytes,
                        struct err_detail *detail)
{
    struct store_fault_store *fs = fault_of(s);
    struct plain_write w = {fs->inner, key, bytes, cls, detail};

    return write_call(fs, "create", &(struct late){.kind = LATE_CREATE, .cls = cls}, key, bytes,
                      apply_create, &w, detail);
}

static int fault_put(struct store *s, struct str key, enum store_class cls, struct str bytes,
                     struct err_detail *detail)
{
    struct store_fault_store *fs = fault_of(s);
    struct plain_write w = {fs->inner, key, bytes, cls, detail};

    return write_call(fs, "put", &(struct late){.kind = LATE_PUT, .cls = cls}, key, bytes,
                      apply_put, &w, detail);
}

static int fault_remove(struct store *s, struct str key, enum store_class cls,
                        struct err_detail *detail)
{
    struct store_fault_store *fs = fault_of(s);
    struct plain_write w = {fs->inner, key, STR_NONE, cls, detail};

    return write_call(fs, "remove", &(struct late){.kind = LATE_REMOVE, .cls = cls}, key, STR_NONE,
                      apply_remove, &w, detail);
}

/* ---- Reads. */

/* Whether the call fails before it is made (*ret is then its result), or after. */
static bool fails_before(struct store_fault_store *fs, const char *op, struct str key, int *ret,
                         bool *ret_after)
{
    int err;
    enum store_fault fault = ask(fs, op, key, &err);

    *ret = err;
    *ret_after = fault == FAULT_REPLY_LOST;
    return fault == FAULT_FAIL_BEFORE;
}

static int fault_get(struct store *s, struct str key, uint64_t offset, uint64_t len,
                     struct buf *out, struct err_detail *detail)
{
    struct store_fault_store *fs = fault_of(s);
    size_t had = out->len;
    bool after;
    int err;

    if (fails_before(fs, "get", key, &err, &after))
        return injected(err, detail);
    int r = fs->inner->ops->get(fs->inner, key, offset, len, out, detail);
    if (!after)
        return r;
    buf_truncate(out, had);
    return injected(err, detail);
}

static int fault_head(struct store *s, struct str key, struct store_info *ret,
                      struct err_detail *detail)
{
    struct store_fault_store *fs = fault_of(s);
    bool after;
    int err;

    if (fails_before(fs, "head", key, &err, &after) || after)
        return injected(err, detail);
    return fs->inner->ops->head(fs->inner, key, ret, detail);
}

static int fault_probe(struct store *s, struct str key, struct store_info *ret)
{
    struct store_fault_store *fs = fault_of(s);
    bool after;
    int err;

    if (fails_before(fs, "probe", key, &err, &after) || after)
        return err;
    return fs->inner->ops->probe(fs->inner, key, ret);
}

static int fault_list(struct store *s, struct str prefix, struct str after_key, unsigned max,
                      store_list_fn fn, void *arg, struct err_detail *detail)
{
    struct store_fault_store *fs = fault_of(s);
    bool after;
    int err;

    if (fails_before(fs, "list", prefix, &err, &after))
        return injected(err, detail);
    int r = fs->inner->ops->list(fs->inner, prefix, after_key, max, fn, arg, detail);
    return after ? injected(err, detail) : r;
}

static int fault_now(struct store *s, int64_t *ret_ms, struct err_detail *detail)
{
    struct store_fault_store *fs = fault_of(s);
    bool after;
    int err;

    if (fails_before(fs, "now", STR_NONE, &err, &after) || after)
        return injected(err, detail);
    return fs->inner->ops->now(fs->inner, ret_ms, detail);
}

static int fault_open(struct store *s, struct str key, struct store_object *ret,
                      struct err_detail *detail)
{
    struct store_fault_store *fs = fault_of(s);
    bool after;
    int err;

    if (fails_before(fs, "open", key, &err, &after) || after)
        return injected(err, detail);
    return fs->inner->ops->open(fs->inner, key, ret, detail);
}

static int fault_presign_get(struct store *s, struct str key, int64_t ttl_ms, struct buf *ret_url)
{
    struct store_fault_store *fs = fault_of(s);
    bool after;
    int err;

    if (fails_before(fs, "presign_get", key, &err, &after) || after)
        return err;
    return store_presign_get(fs->inner, key, ttl_ms, ret_url);
}

static int fault_sweep_temporary(struct store *s, struct err_detail *detail)
{
    struct store_fault_store *fs = fault_of(s);
    bool after;
    int err;

    if (fails_before(fs, "sweep_temporary", STR_NONE, &err, &after))
        return injected(err, detail);
    int r = store_sweep_temporary(fs->inner, detail);
    return after ? injected(err, detail) : r;
}

/* ---- Streams. */

static void fault_stream_free(struct fault_stream *st)
{
    buf_done(&st->key);
    free(st->inner);
    free(st);
}

static struct fault_stream *fault_stream_new(struct store_fault_store *fs, struct str key)
{
    struct fault_stream *st = calloc(1, sizeof(*st));

    if (st == NULL)
        return NULL;
    *st = (struct fault_stream){
        {&fault_ops}, fs, calloc(1, sizeof(*st->inner)), BUF_INIT(STORE_KEY_MAX)};
    buf_add(&st->key, key);
    if (st->inner != NULL && buf_err(&st->key) == 0)
        return st;
    fault_stream_free(st);
    return NULL;
}

/* Gives out the stream around an inner one that was opened with result r. */
static int fault_stream_opened(struct fault_stream *st, int r, bool after, int err,
                               struct store_stream **ret, struct err_detail *detail)
{
    if (r == 0 && after) {
        st->inner->st->ops->stream_close(st->inner->st);
        r = injected(err, detail);
    }
    if (r < 0) {
        fault_stream_free(st);
        return r;
    }
    st->inner->refs = 1;
    *ret = &st->stream;
    return 0;
}

static int fault_stream_open(struct store *s, struct str key, struct store_stream **ret,
                             struct err_detail *detail)
{
    struct store_fault_store *fs = fault_of(s);
    bool after;
    int err;

    if (fails_before(fs, "stream.open", key, &err, &after))
        return injected(err, detail);
    struct fault_stream *st = fault_stream_new(fs, key);
    if (st == NULL)
        return -ERR_NOMEM;
    int r = fs->inner->ops->stream_open(fs->inner, key, &st->inner->st, detail);
    return fault_stream_opened(st, r, after, err, ret, detail);
}

static int fault_stream_resume(struct store *s, struct str key, struct str state, uint64_t size,
                               struct store_stream **ret, struct err_detail *detail)
{
    struct store_fault_store *fs = fault_of(s);
    bool after;
    int err;

    if (fails_before(fs, "stream.resume", key, &err, &after))
        return injected(err, detail);
    struct fault_stream *st = fault_stream_new(fs, key);
    if (st == NULL)
        return -ERR_NOMEM;
    int r = fs->inner->ops->stream_resume(fs->inner, key, state, size, &st->inner->st, detail);
    return fault_stream_opened(st, r, after, err, ret, detail);
}

static int fault_stream_write(struct store_stream *stream, struct str bytes,
                              struct err_detail *detail)
{
    struct fault_stream *st = stream_of(stream);
    struct store_stream *in = st->inner->st;
    int err;
    enum store_fault fault = ask(st->fs, "stream.write", buf_str(&st->key), &err);

    if (fault == FAULT_FAIL_BEFORE)
        return injected(err, detail);
    int r = in->ops->stream_write(in, bytes, detail);
    return fault == FAULT_NONE || fault == FAULT_OWN_EXISTS ? r : injected(-ERR_UNKNOWN, detail);
}

static uint64_t fault_stream_size(const struct store_stream *stream)
{
    const struct fault_stream *st = (const struct fault_stream *)(const void *)stream;

    return st->inner->st->ops->stream_size(st->inner->st);
}

static uint64_t fault_stream_safe(const struct store_stream *stream)
{
    const struct fault_stream *st = (const struct fault_stream *)(const void *)stream;

    return store_stream_safe(st->inner->st);
}

static int fault_stream_save(struct store_stream *stream, struct buf *ret_state,
                             struct err_detail *detail)
{
    struct fault_stream *st = stream_of(stream);
    struct store_stream *in = st->inner->st;
    size_t had = ret_state->len;
    int err;
    enum store_fault fault = ask(st->fs, "stream.save", buf_str(&st->key), &err);

    if (fault == FAULT_FAIL_BEFORE)
        return injected(err, detail);
    int r = in->ops->stream_save(in, ret_state, detail);
    if (fault == FAULT_NONE || fault == FAULT_OWN_EXISTS)
        return r;
    buf_truncate(ret_state, had);
    return injected(-ERR_UNKNOWN, detail);
}

static int fault_stream_read(struct store_stream *stream, uint64_t offset, size_t len,
                             struct buf *out, struct err_detail *detail)
{
    struct fault_stream *st = stream_of(stream);
    struct store_stream *in = st->inner->st;
    bool after;
    int err;

    if (fails_before(st->fs, "stream.read", buf_str(&st->key), &err, &after) || after)
        return injected(err, detail);
    return in->ops->stream_read(in, offset, len, out, detail);
}

struct commit_write {
    struct store_stream *in;
    struct err_detail *detail;
};

static int apply_commit(void *arg)
{
    struct commit_write *w = arg;
    return w->in->ops->stream_commit(w->in, w->detail);
}

static int fault_stream_commit(struct store_stream *stream, struct err_detail *detail)
{
    struct fault_stream *st = stream_of(stream);
    struct commit_write w = {st->inner->st, detail};

    return write_call(st->fs, "stream.commit",
                      &(struct late){.kind = LATE_COMMIT, .cls = STORE_DATA, .stream = st->inner},
                      buf_str(&st->key), STR_NONE, apply_commit, &w, detail);
}

static void fault_stream_close(struct store_stream *stream)
{
    struct fault_stream *st = stream_of(stream);

    inner_release(st->fs, st->inner);
    st->inner = NULL;
    fault_stream_free(st);
}

static int fault_stream_sweep(struct store *s, struct str key, struct err_detail *detail)
{
    struct store_fault_store *fs = fault_of(s);
    int err;
    enum store_fault fault = ask(fs, "stream.sweep", key, &err);

    if (fault == FAULT_FAIL_BEFORE)
        return injected(err, detail);
    int r = fs->inner->ops->stream_sweep(fs->inner, key, detail);
    return fault == FAULT_NONE || fault == FAULT_OWN_EXISTS ? r : injected(-ERR_UNKNOWN, detail);
}

static int fault_stream_list(struct store *s, store_list_fn fn, void *arg,
                             struct err_detail *detail)
{
    struct store_fault_store *fs = fault_of(s);
    bool after;
    int err;

    if (fails_before(fs, "stream.list", STR_NONE, &err, &after))
        return injected(err, detail);
    int r = fs->inner->ops->stream_list(fs->inner, fn, arg, detail);
    return after ? injected(err, detail) : r;
}

/* ---- Table. */

static void fault_free(struct store *s)
{
    struct store_fault_store *fs = fault_of(s);

    for (struct late *l = late_take(fs), *next; l != NULL; l = next) {
        next = l->next;
        late_free(fs, l);
    }
    store_free(fs->inner);
    mutex_done(&fs->mu);
    free(fs);
}

#define FAULT_OPS(files)                                                                           \
    {                                                                                              \
        .free = fault_free, .get = fault_get, .head = fault_head, .probe = fault_probe,            \
        .create = fault_create, .put = fault_put, .remove = fault_remove, .list = fault_list,      \
        .now = fault_now, .open = fault_open, .has_files = (files),                                \
        .presign_get = fault_presign_get, .stream_open = fault_stream_open,                        \
        .stream_write = fault_stream_write, .stream_size = fault_stream_size,                      \
        .stream_save = fault_stream_save, .stream_safe = fault_stream_safe,                        \
        .stream_resume = fault_stream_resume, .stream_read = fault_stream_read,                    \
        .stream_commit = fault_stream_commit, .stream_close = fault_stream_close,                  \
        .stream_sweep = fault_stream_sweep, .stream_list = fault_stream_list,                      \
        .sweep_temporary = fault_sweep_temporary,                                                  \
    }

static const struct store_ops fault_ops = FAULT_OPS(false);
static const struct store_ops fault_file_ops = FAULT_OPS(true);

int store_fault_new(struct store *inner, store_fault_fn decide, void *arg, struct store **ret)
{
    struct store_fault_store *fs = calloc(1, sizeof(*fs));

    assert(inner != NULL && decide != NULL && ret != NULL);
    if (fs == NULL)
        return -ERR_NOMEM;
    fs->store.ops = inner->ops->has_files ? &fault_file_ops : &fault_ops;
    fs->inner = inner;
    fs->decide = decide;
    fs->arg = arg;
    fs->place = &fs->first;
    mutex_init(&fs->mu);
    *ret = &fs->store;
    return 0;
}
