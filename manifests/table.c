/* Tables and cursors. A cursor walks by block index and block, both held while it stands in them.
 */
#include "manifests/table.h"

#include <assert.h>

#include "base/fd.h"
#include "base/metrics.h"
#include "blobstore/keys.h"
#include "manifests/table_internal.h"

#define PARTS_MAX  (1u << 20)
#define PINS_MAX   65536
#define SHA_BYTES  sizeof(((struct block_name *)0)->part)
#define PREFIX_MAX STORE_KEY_MAX

struct row *row_new(struct str value)
{
    struct row *r = malloc(sizeof(*r) + value.len);

    assert(value.len <= TABLE_VALUE_MAX);
    if (!r)
        return NULL;
    r->gone = r->blind = false;
    r->len = (uint32_t)value.len;
    if (value.len > 0)
        memcpy(r->at, value.at, value.len);
    return r;
}

struct row *row_gone(void)
{
    struct row *r = row_new(STR_NONE);

    if (r)
        r->gone = true;
    return r;
}

/* ---- life */

int table_new(const struct table_spec *spec, struct table **ret)
{
    struct table *t = calloc(1, sizeof(*t));

    if (!t)
        return -ERR_NOMEM;
    atomic_init(&t->refs, 1);
    atomic_init(&t->bad, false);
    t->store = spec->store;
    t->cache = spec->cache;
    t->prefix = BUF_INIT(PREFIX_MAX);
    t->at_hand = BUF_INIT(TABLE_PART_BYTES);
    buf_add(&t->prefix, spec->prefix);
    if (buf_err(&t->prefix) < 0) {
        table_unref(t);
        return -ERR_NOMEM;
    }
    *ret = t;
    return 0;
}

struct table *table_ref(struct table *t)
{
    if (t)
        atomic_fetch_add_explicit(&t->refs, 1, memory_order_relaxed);
    return t;
}

static void free_key(const struct table_part *p)
{
    union {
        const char *in;
        char *out;
    } key = {p->last.at};

    free(key.out);
}

void table_unref(struct table *t)
{
    if (!t || atomic_fetch_sub_explicit(&t->refs, 1, memory_order_acq_rel) > 1)
        return;
    for (size_t i = 0; i < t->count; i++)
        free_key(&t->parts[i]);
    free(t->parts);
    buf_done(&t->prefix);
    buf_done(&t->at_hand);
    free(t);
}

void table_unrefp(struct table **t)
{
    table_unref(*t);
    *t = NULL;
}

static bool part_sane(const struct table *t, const struct table_part *p)
{
    return p->last.len > 0 && p->last.len <= TABLE_KEY_MAX && p->records > 0 &&
           p->bytes <= TABLE_PART_BYTES && p->index > BLOCK_TAIL && p->index < p->bytes &&
           (t->count == 0 || str_cmp(t->parts[t->count - 1].last, p->last) < 0);
}

int table_add_part(struct table *t, const struct table_part *part)
{
    char *key;

    if (!part_sane(t, part) || t->count == PARTS_MAX)
        return -ERR_CORRUPT;
    if (t->count == t->cap) {
        size_t cap = t->cap ? 2 * t->cap : 4;
        struct table_part *grown = realloc(t->parts, cap * sizeof(*grown));

        if (!grown)
            return -ERR_NOMEM;
        t->parts = grown;
        t->cap = cap;
    }
    key = malloc(part->last.len);
    if (!key)
        return -ERR_NOMEM;
    memcpy(key, part->last.at, part->last.len);
    t->parts[t->count] = *part;
    t->parts[t->count].last.at = key;
    t->count++;
    t->records += part->records;
    t->key_bytes += part->last.len;
    return 0;
}

int table_set_inline(struct table *t, struct str bytes)
{
    struct digest sha;

    digest_of(DIGEST_SHA256, bytes, &sha);
    if (t->count != 1 || bytes.len != t->parts[0].bytes || !digest_eq(&sha, &t->parts[0].sha))
        return -ERR_CORRUPT;
    buf_add(&t->at_hand, bytes);
    return buf_err(&t->at_hand);
}

size_t table_part_count(const struct table *t)
{
    return t->count;
}

const struct table_part *table_part(const struct table *t, size_t i)
{
    assert(i < t->count);
    return &t->parts[i];
}

struct str table_inline(const struct table *t)
{
    return buf_str(&t->at_hand);
}

uint64_t table_records(const struct table *t)
{
    return t->records;
}

size_t table_bytes(const struct table *t)
{
    return sizeof(*t) + t->prefix.cap + t->cap * sizeof(*t->parts) + t->key_bytes + t->at_hand.cap;
}

bool table_far(const struct table *t)
{
    return t->at_hand.len == 0 && !store_has_files(t->store);
}

bool table_bad(const struct table *t)
{
    return atomic_load_explicit(&t->bad, memory_order_relaxed);
}

void table_mark_bad(struct table *t)
{
    atomic_store(&t->bad, true);
}

bool table_part_bad(struct table_cache *c, const struct table_part *part)
{
    return cache_is_bad(c, part->sha.bytes);
}

void table_part_mended(struct table_cache *c, const struct table_part *part)
{
    cache_note_good(c, part->sha.bytes);
}

bool table_known_bad(const struct table *t)
{
    for (size_t i = 0; i < t->count; i++)
        if (t->at_hand.len == 0 && cache_is_bad(t->cache, t->parts[i].sha.bytes))
            return true;
    return false;
}

/* ---- objects */

void table_part_key(const struct table *t, size_t part, struct buf *out)
{
    char hex[DIGEST_TEXT_MAX];

    keys_part(out, buf_str(&t->prefix), digest_hex(&t->parts[part].sha, hex));
}

int table_damaged(struct table *t, size_t part, struct err_detail *detail, const char *what)
{
    char hex[DIGEST_TEXT_MAX];

    atomic_store(&t->bad, true);
    cache_note_bad(t->cache, t->parts[part].sha.bytes);
    return err_set(detail, -ERR_CORRUPT, "checkpoint part " STR_FMT " %s",
                   STR_ARG(digest_hex(&t->parts[part].sha, hex)), what);
}

int table_read(struct table *t, size_t part, uint64_t offset, uint64_t len, struct buf *out,
               struct err_detail *detail)
{
    struct buf key auto_buf = BUF_INIT(STORE_KEY_MAX);
    size_t before = out->len;
    int e;

    if (t->at_hand.len > 0) {
        buf_add(out, str_head(str_skip(buf_str(&t->at_hand), (size_t)offset), (size_t)len));
        e = buf_err(out);
    } else {
        table_part_key(t, part, &key);
        e = buf_err(&key);
        if (e == 0)
            e = store_get(t->store, buf_str(&key), offset, len, out, detail);
        if (e == -ERR_NOTFOUND)
            return table_damaged(t, part, detail, "is missing");
        if (e == -ERR_TOOBIG)
            return table_damaged(t, part, detail, "is too long");
    }
    if (e == 0 && out->len - before != len)
        return table_damaged(t, part, detail, "is cut short");
    return e;
}

/* ---- open files */

void table_files_done(struct table_files *f)
{
    for (size_t i = 0; i < f->count; i++)
        fd_closep(&f->at[i].fd);
    f->count = f->next = 0;
}

/* -1: there is none. */
static int open_part(struct table_files *f, const struct table *t, size_t part)
{
    struct buf key auto_buf = BUF_INIT(STORE_KEY_MAX);
    const uint8_t *sha = t->parts[part].sha.bytes;
    struct store_object object;
    struct table_file *slot;

    for (size_t i = 0; i < f->count; i++)
        if (memcmp(f->at[i].part, sha, sizeof(f->at[i].part)) == 0)
            return f->at[i].fd;
    table_part_key(t, part, &key);
    if (buf_err(&key) < 0 || store_open(t->store, buf_str(&key), &object, NULL) < 0)
        return -1;
    slot = &f->at[f->next];
    if (f->count == TABLE_FILES_MAX)
        fd_closep(&slot->fd);
    else
        f->count++;
    f->next = (f->next + 1) % TABLE_FILES_MAX;
    memcpy(slot->part, sha, sizeof(slot->part));
    slot->fd = object.fd;
    return slot->fd;
}

/* False: it is to be read in the ordinary way, which says what is wrong, too. */
static bool read_open(const struct table_cursor *c, size_t part, uint64_t offset, uint64_t len,
                      struct buf *out)
{
    int fd;

    if (!c->files || c->table->at_hand.len > 0 || !store_has_files(c->table->store))
        return false;
    fd = open_part(c->files, c->table, part);
    if (fd >= 0 && fd_pread_all(fd, offset, (size_t)len, out) == 0)
        return true;
    buf_clear(out);
    return false;
}

/* ---- blocks */

static int block_load(const struct table_cursor *c, size_t part, uint64_t offset, uint64_t len,
                      struct block **ret)
{
    struct buf bytes auto_buf = BUF_INIT(BLOCK_BYTES_MAX);
    struct table *t = c->table;
    struct block_name name = {.offset = offset};
    struct block *b;
    int e;

    memcpy(name.part, t->parts[part].sha.bytes, sizeof(name.part));
    b = cache_get(t->cache, &name);
    if (!b) {
        if (!c->wait && t->at_hand.len == 0)
            return -ERR_AGAIN;
        e = read_open(c, part, offset, len, &bytes)
                ? 0
                : table_read(t, part, offset, len, &bytes, c->detail);
        if (e < 0)
            return e;
        b = block_new(&name, &bytes);
        if (!b)
            return -ERR_NOMEM;
        if (view_parse(buf_str(&b->bytes), &b->view) < 0) {
            block_unref(b);
            return table_damaged(t, part, c->detail, "is damaged");
        }
        metric_add(METRIC_table_blocks_read_total, 1);
        b = cache_put(t->cache, b);
    }
    *ret = b;
    return 0;
}

static int index_load(const struct table_cursor *c, size_t part, struct block **ret)
{
    const struct table_part *p = &c->table->parts[part];

    return block_load(c, part, p->bytes - p->index, p->index, ret);
}

/* ---- pins */

int pins_add(struct pins *p, struct block *b)
{
    if (p->count == p->cap) {
        size_t cap = p->cap ? 2 * p->cap : 8;
        struct block **grown = cap > PINS_MAX ? NULL : realloc(p->at, cap * sizeof(*grown));

        if (!grown)
            return -ERR_NOMEM;
        p->at = grown;
        p->cap = cap;
    }
    p->at[p->count++] = block_ref(b);
    return 0;
}

void pins_done(struct pins *p)
{
    for (size_t i = 0; i < p->count; i++)
        block_unref(p->at[i]);
    free(p->at);
    *p = (struct pins){.at = NULL};
}

/* ---- cursors */

void table_cursor_init(struct table_cursor *c, struct table *t, bool wait)
{
    *c = (struct table_cursor){.table = t, .wait = wait};
}

void table_cursor_done(struct table_cursor *c)
{
    block_unref(c->index);
    block_unref(c->block);
    c->index = c->block = NULL;
}

static int hold(struct table_cursor *c, struct block **at, struct block *b)
{
    block_unref(*at);
    *at = b;
    return c->pins ? pins_add(c->pins, b) : 0;
}

static int enter_part(struct table_cursor *c, size_t part)
{
    struct block *b;
    int e = index_load(c, part, &b);

    if (e < 0)
        return e;
    c->part = part;
    return hold(c, &c->index, b);
}

static int enter_block(struct table_cursor *c, uint32_t in_index)
{
    const struct table_part *p = &c->table->parts[c->part];
    uint64_t offset, len;
    struct block *b;
    int e;

    if (!view_place(&c->index->view, in_index, &offset, &len) || offset > p->bytes - p->index ||
        len > p->bytes - p->index - offset)
        return table_damaged(c->table, c->part, c->detail, "has a wrong index");
    e = block_load(c, c->part, offset, len, &b);
    if (e < 0)
        return e;
    c->in_index = in_index;
    return hold(c, &c->block, b);
}

static int stand(struct table_cursor *c, uint32_t in_block)
{
    c->in_block = in_block;
    view_record(&c->block->view, in_block, &c->key, &c->value);
    return 1;
}

size_t table_part_of(const struct table *t, struct str key)
{
    size_t low = 0, high = t->count;

    while (low < high) {
        size_t middle = low + (high - low) / 2;

        if (str_cmp(t->parts[middle].last, key) < 0)
            low = middle + 1;
        else
            high = middle;
    }
    return low;
}

int table_seek(struct table_cursor *c, struct str key)
{
    size_t part = table_part_of(c->table, key);
    uint32_t at;
    int e;

    if (part == c->table->count)
        return 0;
    e = enter_part(c, part);
    if (e < 0)
        return e;
    at = view_at_least(&c->index->view, key);
    if (at == c->index->view.count)
        return table_damaged(c->table, part, c->detail, "ends before its last key");
    e = enter_block(c, at);
    if (e < 0)
        return e;
    at = view_at_least(&c->block->view, key);
    if (at == c->block->view.count)
        return table_damaged(c->table, part, c->detail, "has a wrong index");
    return stand(c, at);
}

int table_next(struct table_cursor *c)
{
    int e;

    assert(c->block);
    if (c->in_block + 1 < c->block->view.count)
        return stand(c, c->in_block + 1);
    if (c->in_index + 1 < c->index->view.count) {
        e = enter_block(c, c->in_index + 1);
    } else if (c->part + 1 < c->table->count) {
        e = enter_part(c, c->part + 1);
        if (e == 0)
            e = enter_block(c, 0);
    } else {
        return 0;
    }
    return e < 0 ? e : stand(c, 0);
}

/* ---- holding */

int table_pin_range(struct table *t, struct str from, struct str end, size_t records,
                    struct pins *pins, struct err_detail *detail)
{
    struct table_cursor c auto_table_cursor = {
        .table = t, .wait = true, .pins = pins, .detail = detail};
    int e = table_seek(&c, from);

    while (e == 1 && (end.len == 0 || str_cmp(c.key, end) < 0)) {
        size_t left = c.block->view.count - c.in_block;

        if (records < left)
            break;
        records -= left;
        c.in_block = c.block->view.count - 1; /* on to the next block */
        e = table_next(&c);
    }
    return e < 0 ? e : 0;
}
