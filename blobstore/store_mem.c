/* The object store in memory, for tests and simulation: exact semantics, no files. One mutex guards
 * both maps and all they hold; callbacks run outside it. A removed key can be created again.
 *
 * An unfinished stream is a mem_file. Its holder alone writes to it; `held` files are never swept
 * or taken over, so the holder may keep the pointer. Its saved state has the shape of the
 * directory's. */
#include "blobstore/store_ops.h"

#include <assert.h>

#include "base/clock.h"
#include "base/json.h"
#include "base/omap.h"
#include "base/thread.h"

#define MEM_STREAM_MAX ((size_t)1 << 31) /* bytes of one stream */
#define MEM_NAME_MAX   (STORE_STREAM_KEY_MAX + 24)

struct mem_object {
    int64_t modified_ms;
    size_t len;
    char bytes[];
};

struct mem_file {
    struct buf bytes;
    int64_t modified_ms;
    bool held;
};

struct store_mem {
    struct store store;
    struct mutex mu;
    struct omap *objects; /* guarded by mu: key -> mem_object */
    struct omap *files;   /* guarded by mu: file name -> mem_file */
    uint64_t next_suffix; /* guarded by mu */
};

struct mem_stream {
    struct store_stream stream;
    struct store_mem *mem;
    struct mem_file *file;
    size_t saved; /* bytes of the file that some saved state may name */
    bool kept;    /* some saved state names the file */
    bool committed;
    char key[STORE_STREAM_KEY_MAX];
    size_t key_len;
    char name[MEM_NAME_MAX];
};

static const struct store_ops mem_ops;

static struct store_mem *mem_of(struct store *s)
{
    return (struct store_mem *)(void *)s;
}

static void mem_free_file(void *value)
{
    struct mem_file *file = value;

    buf_done(&file->bytes);
    free(file);
}

static void mem_free(struct store *s)
{
    struct store_mem *m = mem_of(s);

    omap_free(m->objects);
    omap_free(m->files);
    mutex_done(&m->mu);
    free(m);
}

static int mem_get_locked(struct store_mem *m, struct str key, uint64_t offset, uint64_t len,
                          struct buf *out)
{
    const struct mem_object *o = omap_get(m->objects, key);

    if (o == NULL)
        return -ERR_NOTFOUND;
    size_t from = offset < o->len ? (size_t)offset : o->len;
    size_t n = o->len - from;
    if (len < n)
        n = (size_t)len;
    if (out->max - out->len < n)
        return -ERR_TOOBIG;
    buf_add(out, str_make(o->bytes + from, n));
    return buf_err(out);
}

static int mem_get(struct store *s, struct str key, uint64_t offset, uint64_t len, struct buf *out,
                   struct err_detail *detail)
{
    struct store_mem *m = mem_of(s);

    (void)detail;
    mutex_lock(&m->mu);
    int r = mem_get_locked(m, key, offset, len, out);
    mutex_unlock(&m->mu);
    return r;
}

static int mem_probe(struct store *s, struct str key, struct store_info *ret)
{
    struct store_mem *m = mem_of(s);
    int r = -ERR_NOTFOUND;

    mutex_lock(&m->mu);
    const struct mem_object *o = omap_get(m->objects, key);
    if (o != NULL) {
        *ret = (struct store_info){o->len, o->modified_ms};
        r = 0;
    }
    mutex_unlock(&m->mu);
    return r;
}

static int mem_head(struct store *s, struct str key, struct store_info *ret,
                    struct err_detail *detail)
{
    (void)detail;
    return mem_probe(s, key, ret);
}

/* Stores a copy of bytes. */
static int mem_store(struct store_mem *m, struct str key, struct str bytes, bool overwrite)
{
    struct mem_object *o = malloc(sizeof(*o) + bytes.len);
    int r;

    if (o == NULL)
        return -ERR_NOMEM;
    o->modified_ms = clock_wall_ms();
    o->len = bytes.len;
    if (bytes.len > 0)
        memcpy(o->bytes, bytes.at, bytes.len);
    mutex_lock(&m->mu);
    r = !overwrite && omap_get(m->objects, key) != NULL ? -ERR_EXISTS
                                                        : omap_put(m->objects, key, o);
    mutex_unlock(&m->mu);
    if (r < 0)
        free(o);
    return r;
}

static int mem_create(struct store *s, struct str key, enum store_class cls, struct str bytes,
                      struct err_detail *detail)
{
    (void)cls;
    (void)detail;
    return mem_store(mem_of(s), key, bytes, false);
}

static int mem_put(struct store *s, struct str key, enum store_class cls, struct str bytes,
                   struct err_detail *detail)
{
    (void)cls;
    (void)detail;
    return mem_store(mem_of(s), key, bytes, true);
}

static int mem_remove(struct store *s, struct str key, enum store_class cls,
                      struct err_detail *detail)
{
    struct store_mem *m = mem_of(s);

    (void)cls;
    (void)detail;
    mutex_lock(&m->mu);
    omap_remove(m->objects, key);
    mutex_unlock(&m->mu);
    return 0;
}

/* A listing copied out under the mutex, so that callbacks run without it. */
struct mem_item {
    size_t at, len;
    struct store_info info;
};
struct mem_listing {
    struct buf names;
    struct mem_item *items;
    size_t count, cap;
};

static void mem_listing_done(struct mem_listing *l)
{
    buf_done(&l->names);
    free(l->items);
}

static int mem_listing_add(struct mem_listing *l, struct str name, struct store_info info)
{
    if (l->count == l->cap) {
        size_t cap = l->cap == 0 ? 16 : 2 * l->cap;
        struct mem_item *grown = realloc(l->items, cap * sizeof(*grown));
        if (grown == NULL)
            return -ERR_NOMEM;
        l->items = grown;
        l->cap = cap;
    }
    l->items[l->count++] = (struct mem_item){l->names.len, name.len, info};
    buf_add(&l->names, name);
    return buf_err(&l->names);
}

static int mem_listing_tell(const struct mem_listing *l, store_list_fn fn, void *arg)
{
    for (size_t i = 0; i < l->count; i++) {
        const struct mem_item *item = &l->items[i];
        int r = fn(str_make(l->names.at + item->at, item->len), &item->info, arg);
        if (r != 0)
            return r;
    }
    return 0;
}

static int mem_list(struct store *s, struct str prefix, struct str after, unsigned max,
                    store_list_fn fn, void *arg, struct err_detail *detail)
{
    struct store_mem *m = mem_of(s);
    struct mem_listing l auto_of(mem_listing_done) = {
        .names = BUF_INIT((size_t)STORE_LIST_MAX * STORE_KEY_MAX)};
    int r = 0;

    (void)detail;
    mutex_lock(&m->mu);
    struct omap_node *n = str_cmp(after, prefix) >= 0 ? omap_after(m->objects, after)
                                                      : omap_at_least(m->objects, prefix);
    for (; n != NULL && l.count < max && str_starts(omap_key(n), prefix) && r == 0;
         n = omap_next(m->objects, n)) {
        const struct mem_object *o = omap_value(n);
        r = mem_listing_add(&l, omap_key(n), (struct store_info){o->len, o->modified_ms});
    }
    mutex_unlock(&m->mu);
    return r < 0 ? r : mem_listing_tell(&l, fn, arg);
}

static int mem_now(struct store *s, int64_t *ret_ms, struct err_detail *detail)
{
    (void)s;
    (void)detail;
    *ret_ms = clock_wall_ms();
    return 0;
}

static int mem_open(struct store *s, struct str key, struct store_object *ret,
                    struct err_detail *detail)
{
    struct store_info info;
    int r = mem_head(s, key, &info, detail);

    if (r == 0)
        *ret = (struct store_object){-1, info};
    return r;
}

/* ---- Streams. */

static struct mem_stream *stream_of(struct store_stream *st)
{
    return (struct mem_stream *)(void *)st;
}

/* File names of a key begin with the key, '/' as '!'. */
static struct str mem_name(struct str key, char out[MEM_NAME_MAX])
{
    for (size_t i = 0; i < key.len; i++)
        out[i] = key.at[i];
    for (size_t i = 0; i < key.len; i++)
        out[i] = (char)(out[i] == '/' ? '!' : out[i]);
    out[key.len] = 0;
    return str_make(out, key.len);
}

static bool mem_name_of(struct str name, struct str escaped)
{
    return str_starts(name, escaped) && (name.len == escaped.len || name.at[escaped.len] == '~');
}

static void mem_close_locked(struct mem_stream *st)
{
    struct mem_file *file = st->file;

    file->held = false;
    if (!st->kept || st->committed)
        omap_remove(st->mem->files, str_of(st->name));
    else
        buf_truncate(&file->bytes, st->saved);
}

static void mem_stream_close(struct store_stream *stream)
{
    struct mem_stream *st = stream_of(stream);

    mutex_lock(&st->mem->mu);
    mem_close_locked(st);
    mutex_unlock(&st->mem->mu);
    free(st);
}

static struct mem_stream *mem_stream_new(struct store_mem *m, struct str key)
{
    struct mem_stream *st = calloc(1, sizeof(*st));

    if (st == NULL)
        return NULL;
    st->stream.ops = &mem_ops;
    st->mem = m;
    memcpy(st->key, key.at, key.len);
    st->key_len = key.len;
    mem_name(key, st->name);
    return st;
}

/* A new file for st, by the plain name when it is free, else with a suffix. */
static int mem_new_file(struct mem_stream *st)
{
    struct store_mem *m = st->mem;
    struct mem_file *file = calloc(1, sizeof(*file));
    struct buf name auto_buf = BUF_INIT(MEM_NAME_MAX - 1);

    if (file == NULL)
        return -ERR_NOMEM;
    *file = (struct mem_file){BUF_INIT(MEM_STREAM_MAX), clock_wall_ms(), true};
    mutex_lock(&m->mu);
    buf_add(&name, str_of(st->name));
    if (omap_get(m->files, buf_str(&name)) != NULL)
        buf_addf(&name, "~%016llx", (unsigned long long)++m->next_suffix);
    int r = buf_err(&name);
    if (r == 0)
        r = omap_put(m->files, buf_str(&name), file);
    mutex_unlock(&m->mu);
    if (r < 0) {
        free(file);
        return r;
    }
    memcpy(st->name, buf_c(&name), name.len + 1);
    st->file = file;
    return 0;
}

static int mem_stream_open(struct store *s, struct str key, struct store_stream **ret,
                           struct err_detail *detail)
{
    struct mem_stream *st = mem_stream_new(mem_of(s), key);
    int r = st == NULL ? -ERR_NOMEM : mem_new_file(st);

    (void)detail;
    if (r < 0) {
        free(st);
        return r;
    }
    *ret = &st->stream;
    return 0;
}

static int mem_stream_write(struct store_stream *stream, struct str bytes,
                            struct err_detail *detail)
{
    struct mem_stream *st = stream_of(stream);
    struct mem_file *file = st->file;

    (void)detail;
    assert(!st->committed);
    mutex_lock(&st->mem->mu);
    buf_add(&file->bytes, bytes);
    file->modified_ms = clock_wall_ms();
    int r = buf_err(&file->bytes);
    mutex_unlock(&st->mem->mu);
    return r;
}

static uint64_t mem_stream_size(const struct store_stream *stream)
{
    return ((const struct mem_stream *)(const void *)stream)->file->bytes.len;
}

static int mem_stream_save(struct store_stream *stream, struct buf *ret_state,
                           struct err_detail *detail)
{
    struct mem_stream *st = stream_of(stream);
    struct jw w = JW_INIT(ret_state);
    size_t len = ret_state->len;

    (void)detail;
    jw_begin(&w, '{');
    jw_kstr(&w, "file", str_of(st->name));
    jw_kint(&w, "size", (int64_t)st->file->bytes.len);
    jw_end(&w, '}');
    int r = buf_err(ret_state);
    if (r < 0) {
        buf_truncate(ret_state, len);
        return r;
    }
    st->saved = st->file->bytes.len;
    st->kept = true;
    return 0;
}

/* Takes the saved file over when nobody holds it and nothing lies behind the prefix (which another
 * saved state might name); otherwise copies the prefix. */
static int mem_take(struct mem_stream *st, struct str name, size_t size)
{
    struct store_mem *m = st->mem;
    struct buf copy auto_buf = BUF_INIT(MEM_STREAM_MAX);
    int r = -ERR_NOTFOUND;

    mutex_lock(&m->mu);
    struct mem_file *file = omap_get(m->files, name);
    if (file != NULL && file->bytes.len >= size) {
        if (!file->held && file->bytes.len == size) {
            file->held = true;
            st->file = file;
            st->kept = true;
            st->saved = size;
            memcpy(st->name, name.at, name.len);
            st->name[name.len] = 0;
        }
        buf_add(&copy, str_make(file->bytes.at, st->file == NULL ? size : 0));
        r = buf_err(&copy);
    }
    mutex_unlock(&m->mu);
    if (r < 0 || st->file != NULL)
        return r;
    r = mem_new_file(st);
    if (r == 0)
        buf_add(&st->file->bytes, buf_str(&copy));
    return r;
}

static int mem_stream_resume(struct store *s, struct str key, struct str state, uint64_t size,
                             struct store_stream **ret, struct err_detail *detail)
{
    struct json_doc *doc auto_json = NULL;
    char escaped[MEM_NAME_MAX];
    struct str name;
    int r = json_parse(state, &doc, detail);

    if (r < 0)
        return r == -ERR_NOMEM ? r : -ERR_CORRUPT;
    if (!json_get_str(json_root(doc), "file", &name) || name.len >= MEM_NAME_MAX ||
        str_find(name, '/') >= 0 || !mem_name_of(name, mem_name(key, escaped)))
        return err_set(detail, -ERR_CORRUPT, "the saved state of an upload names no file of it");
    if (size > MEM_STREAM_MAX)
        return -ERR_NOTFOUND;
    struct mem_stream *st = mem_stream_new(mem_of(s), key);
    r = st == NULL ? -ERR_NOMEM : mem_take(st, name, (size_t)size);
    if (r < 0) {
        free(st);
        return r;
    }
    *ret = &st->stream;
    return 0;
}

static int mem_stream_read(struct store_stream *stream, uint64_t offset, size_t len,
                           struct buf *out, struct err_detail *detail)
{
    const struct buf *bytes = &stream_of(stream)->file->bytes;

    (void)detail;
    size_t from = offset < bytes->len ? (size_t)offset : bytes->len;
    size_t n = bytes->len - from < len ? bytes->len - from : len;
    if (out->max - out->len < n)
        return -ERR_TOOBIG;
    buf_add(out, str_make(n > 0 ? bytes->at + from : "", n));
    return buf_err(out);
}

static int mem_stream_commit(struct store_stream *stream, struct err_detail *detail)
{
    struct mem_stream *st = stream_of(stream);

    (void)detail;
    int r = mem_store(st->mem, str_make(st->key, st->key_len), buf_str(&st->file->bytes), false);
    if (r == 0)
        st->committed = true;
    return r;
}

static int mem_stream_sweep(struct store *s, struct str key, struct err_detail *detail)
{
    struct store_mem *m = mem_of(s);
    char name[MEM_NAME_MAX];
    struct str escaped = mem_name(key, name);

    (void)detail;
    mutex_lock(&m->mu);
    struct omap_node *n = omap_at_least(m->files, escaped);
    while (n != NULL && str_starts(omap_key(n), escaped)) {
        struct omap_node *next = omap_next(m->files, n);
        const struct mem_file *file = omap_value(n);

        if (mem_name_of(omap_key(n), escaped) && !file->held)
            omap_remove(m->files, omap_key(n));
        n = next;
    }
    mutex_unlock(&m->mu);
    return 0;
}

static int mem_stream_list(struct store *s, store_list_fn fn, void *arg, struct err_detail *detail)
{
    struct store_mem *m = mem_of(s);
    struct mem_listing l auto_of(mem_listing_done) = {.names = BUF_INIT(MEM_STREAM_MAX)};
    int r = 0;

    (void)detail;
    mutex_lock(&m->mu);
    for (struct omap_node *n = omap_first(m->files); n != NULL && r == 0;
         n = omap_next(m->files, n)) {
        const struct mem_file *file = omap_value(n);
        ptrdiff_t suffix = str_find(omap_key(n), '~');
        struct str name = suffix < 0 ? omap_key(n) : str_head(omap_key(n), (size_t)suffix);

        r = mem_listing_add(&l, name, (struct store_info){file->bytes.len, file->modified_ms});
    }
    mutex_unlock(&m->mu);
    for (size_t i = 0; i < l.names.len; i++)
        l.names.at[i] = (char)(l.names.at[i] == '!' ? '/' : l.names.at[i]);
    return r < 0 ? r : mem_listing_tell(&l, fn, arg);
}

static const struct store_ops mem_ops = {
    .free = mem_free,
    .get = mem_get,
    .head = mem_head,
    .probe = mem_probe,
    .create = mem_create,
    .put = mem_put,
    .remove = mem_remove,
    .list = mem_list,
    .now = mem_now,
    .open = mem_open,
    .stream_open = mem_stream_open,
    .stream_write = mem_stream_write,
    .stream_size = mem_stream_size,
    .stream_save = mem_stream_save,
    .stream_resume = mem_stream_resume,
    .stream_read = mem_stream_read,
    .stream_commit = mem_stream_commit,
    .stream_close = mem_stream_close,
    .stream_sweep = mem_stream_sweep,
    .stream_list = mem_stream_list,
};

int store_mem_new(struct store **ret)
{
    struct store_mem *m = calloc(1, sizeof(*m));
    int r;

    assert(ret != NULL);
    if (m == NULL)
        return -ERR_NOMEM;
    m->store.ops = &mem_ops;
    mutex_init(&m->mu);
    r = omap_new(free, &m->objects);
    if (r == 0)
        r = omap_new(mem_free_file, &m->files);
    if (r < 0) {
        mem_free(&m->store);
        return r;
    }
    *ret = &m->store;
    return 0;
}
