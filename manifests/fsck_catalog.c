/* The catalog: its log, its checkpoints, and the rows it gives, read here without the code that
 * writes it. */
#include "manifests/fsck_internal.h"

#include "manifests/pack.h"

struct fsck_catalog {
    struct omap *rows; /* name -> struct fsck_row */
    uint64_t seq;      /* applied up to */
};

void fsck_catalog_free(struct fsck_catalog *c)
{
    if (!c)
        return;
    omap_free(c->rows);
    free(c);
}

const struct fsck_row *fsck_catalog_row(const struct fsck *f, struct str name)
{
    return omap_get(f->catalog->rows, name);
}

static int put(struct omap *rows, struct str name, struct fsck_row row)
{
    struct fsck_row *have = omap_get(rows, name);
    int e;

    if (have) {
        row.ts = have->ts;
        *have = row;
        return 0;
    }
    have = malloc(sizeof(*have));
    if (!have)
        return -ERR_NOMEM;
    *have = row;
    e = omap_put(rows, name, have);
    if (e < 0)
        free(have);
    return e;
}

static int apply_op(struct fsck_catalog *c, const struct json *op, int64_t ts,
                    struct err_detail *detail)
{
    struct str word = json_str(json_get(op, "op")), name;
    struct fsck_row row = {.ts = ts};
    const struct fsck_row *have;
    int64_t seq;
    bool add = str_eq(word, STR("add")), empty = str_eq(word, STR("empty"));

    if (!word.at)
        return err_set(detail, -ERR_CORRUPT, "an operation has no name");
    if (!add && !empty && !str_eq(word, STR("filled")))
        return err_set(detail, -ERR_VERSION, "an operation of a newer version");
    if (!json_get_str(op, "name", &name) || !name_valid(name))
        return err_set(detail, -ERR_CORRUPT, "an operation names no repository");
    have = omap_get(c->rows, name);
    if (add) {
        if (!json_bool(json_get(op, "filled"), &row.filled))
            return err_set(detail, -ERR_CORRUPT, "an operation lacks a key");
        return have ? 0 : put(c->rows, name, row);
    }
    if (!json_get_int(op, "seq", &seq) || seq <= 0)
        return err_set(detail, -ERR_CORRUPT, "an operation lacks a key");
    row.seq = (uint64_t)seq;
    row.filled = !empty;
    return !have || have->seq > row.seq ? 0 : put(c->rows, name, row);
}

static int apply(void *self, const struct objlog_entry *e, struct err_detail *detail)
{
    struct fsck_catalog *c = self;
    int r = 0;

    for (size_t i = 0; r == 0 && i < json_len(e->ops); i++)
        r = apply_op(c, json_at(e->ops, i), e->ts, detail);
    return r;
}

/* A record of the table: section and name, seq. */
static bool read_row(struct str key, struct str value, struct str *name, struct fsck_row *row)
{
    *name = str_skip(key, 1);
    row->filled = key.at[0] == 'f';
    return (row->filled || key.at[0] == 'e') && name_valid(*name) &&
           unpack_u64(&value, &row->seq) && value.len == 0;
}

static int table(void *self, const struct fsck_table *t, bool whole, struct err_detail *detail)
{
    struct fsck_catalog *c = self;
    struct table_cursor at auto_table_cursor = {.table = t->table, .wait = true};
    bool same = !whole || table_records(t->table) == omap_count(c->rows);
    uint64_t bytes = 0;
    int e;

    for (e = table_seek(&at, STR("a")); e == 1 && same; e = e == 0 ? table_next(&at) : e) {
        struct fsck_row row = {.ts = t->head->ts};
        const struct fsck_row *have;
        struct str name;

        e = 0;
        same = read_row(at.key, at.value, &name, &row);
        if (!same)
            break;
        bytes += at.key.len + at.value.len;
        have = omap_get(c->rows, name);
        if (whole)
            same = have && have->filled == row.filled && have->seq == row.seq;
        else
            e = put(c->rows, name, row);
    }
    if (e >= 0 && (!same || bytes != t->head->bytes))
        e = err_set(detail, -ERR_CORRUPT, "holds other rows than the log gives up to there");
    return e < 0 ? e : 0;
}

static const struct fsck_log_ops catalog_ops = {
    .apply = apply,
    .table = table,
    .lost = "repositories may be missing from listings; servers keep the catalog read-only",
    .broken = "repositories may be missing from listings, and none can be made",
    .wrong = "servers raise an alarm and open the catalog from an older one or from the log",
};

int fsck_catalog_check(struct fsck *f)
{
    struct fsck_log log = {
        .prefix = STR(KEYS_CATALOG), .name = STR(KEYS_CATALOG), .ops = &catalog_ops};
    int e;

    f->catalog = calloc(1, sizeof(*f->catalog));
    e = f->catalog ? omap_new(free, &f->catalog->rows) : -ERR_NOMEM;
    if (e < 0)
        return e;
    log.self = f->catalog;
    e = fsck_log_check(f, &log);
    f->catalog->seq = log.head;
    return e;
}

int fsck_catalog_refresh(struct fsck *f)
{
    struct buf raw auto_buf = BUF_INIT(OBJLOG_ENTRY_MAX);
    struct buf key auto_buf = BUF_INIT(STORE_KEY_MAX);
    int e = 0;

    while (e == 0) {
        struct json_doc *doc auto_json = NULL;
        struct objlog_entry entry;

        buf_clear(&raw);
        buf_clear(&key);
        keys_log_entry(&key, STR(KEYS_CATALOG), true, f->catalog->seq + 1);
        e = fsck_get(f, buf_str(&key), 0, STORE_WHOLE, &raw);
        if (e == 0)
            e = objlog_parse(buf_str(&raw), STR(KEYS_CATALOG), f->catalog->seq + 1, &entry, &doc,
                             &f->why);
        if (e == 0)
            e = apply(f->catalog, &entry, &f->why);
        if (e == 0)
            f->catalog->seq++;
    }
    return e == -ERR_NOTFOUND || e == -ERR_VERSION || fsck_of_object(e) ? 0 : e;
}

static int leftover(struct fsck *f, struct str name, const struct fsck_row *row)
{
    struct buf key auto_buf = BUF_INIT(STORE_KEY_MAX);
    struct buf any auto_buf = BUF_INIT(STORE_KEY_MAX);
    struct buf entry auto_buf = BUF_INIT(STORE_KEY_MAX);
    struct store_info info;
    int e;

    keys_repo(&key, name);
    keys_log_entry(&entry, buf_str(&key), true, 1);
    e = fsck_head(f, buf_str(&entry), &info);
    if (fsck_of_object(e) && !fsck_told(f, buf_str(&entry)))
        fsck_say(f, FSCK_DAMAGE, buf_str(&entry), "the repository is lost", "%s", f->why.text);
    if (e != -ERR_NOTFOUND)
        return fsck_of_object(e) ? 0 : e;
    if (f->now - row->ts <= FSCK_YOUNG_MS && row->seq == 0)
        return 0;
    buf_add(&key, STR("/_"));
    e = fsck_first(f, buf_str(&key), STR_NONE, &any);
    if (e != -ERR_NOTFOUND)
        return e; /* its log was looked at */
    buf_clear(&key);
    keys_repo(&key, name);
    if (row->seq > 0) {
        fsck_say(f, FSCK_DAMAGE, buf_str(&entry), "the repository is lost",
                 "is missing: the catalog says that this log goes on to %llu",
                 (unsigned long long)row->seq);
    } else {
        fsck_say(f, FSCK_WARNING, buf_str(&key),
                 row->filled ? "listings show a repository that holds nothing" : "none",
                 "is in the catalog, but has no entry: its first change was cut off, or its log is "
                 "lost");
    }
    return 0;
}

int fsck_catalog_leftover(struct fsck *f)
{
    int e = fsck_catalog_refresh(f);

    for (struct omap_node *n = omap_first(f->catalog->rows); e == 0 && n;
         n = omap_next(f->catalog->rows, n))
        e = leftover(f, omap_key(n), omap_value(n));
    return e;
}
