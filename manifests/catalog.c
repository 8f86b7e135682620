/* The catalog: one more log, whose state says which repositories exist and which are filled
 * (docs/bucket-format.md section 10). Opened at its first use. Names are never removed; of two
 * words about a repository the one with the greater number of its log counts. */
#include "manifests/catalog.h"

#include <assert.h>

#include "base/clock.h"
#include "base/log.h"
#include "manifests/replica.h"

#define OP_MAX 1024

struct row {
    bool filled;
    uint64_t seq; /* of the repository, 0 by add */
};

enum opening { CLOSED, OPENING, OPEN };

struct catalog {
    struct replica *replica;
    struct mutex mu; /* guards opening */
    struct cond opened;
    enum opening opening;
    /* guarded by the replica's lock */
    struct omap *rows;
    size_t row_bytes;
};

/* ---- operations */

enum word { WORD_ADD, WORD_EMPTY, WORD_FILLED };

static const char *const words[] = {"add", "empty", "filled"};

struct said {
    enum word word;
    struct str name;
    bool filled;
    uint64_t seq;
};

/* On its way into the log. */
struct change {
    struct replica_op op; /* first: the replica knows this one */
    struct said said;
};

static int encode_op(const struct said *s, struct buf *out)
{
    struct jw w = JW_INIT(out);

    jw_begin(&w, '{');
    jw_kstr(&w, "op", str_of(words[s->word]));
    jw_kstr(&w, "name", s->name);
    if (s->word == WORD_ADD) {
        jw_key(&w, "filled");
        jw_bool(&w, s->filled);
    } else {
        jw_kint(&w, "seq", (int64_t)s->seq);
    }
    jw_end(&w, '}');
    return buf_err(out);
}

static int decode_op(const struct json *node, struct said *ret, struct err_detail *detail)
{
    struct str op;
    int64_t seq;

    if (!json_get_str(node, "op", &op))
        return err_set(detail, -ERR_CORRUPT, "operation of the catalog: it has no name");
    for (size_t i = 0; i < ARRAY_LEN(words); i++) {
        if (!str_eq(op, str_of(words[i])))
            continue;
        *ret = (struct said){.word = (enum word)i, .filled = i == WORD_FILLED};
        if (!json_get_str(node, "name", &ret->name) || !name_valid(ret->name))
            return err_set(detail, -ERR_CORRUPT, "operation of the catalog: no name");
        if (i == WORD_ADD)
            return json_bool(json_get(node, "filled"), &ret->filled) ? 0 : -ERR_CORRUPT;
        if (!json_get_int(node, "seq", &seq) || seq <= 0)
            return err_set(detail, -ERR_CORRUPT, "operation of the catalog: no seq");
        ret->seq = (uint64_t)seq;
        return 0;
    }
    return err_set(detail, -ERR_VERSION, "the catalog holds an operation of a newer version");
}

/* ---- state */

static void write_row(struct jw *w, struct str name, const struct row *row)
{
    jw_begin(w, '[');
    jw_str(w, name);
    jw_bool(w, row->filled);
    jw_int(w, (int64_t)row->seq);
    jw_end(w, ']');
}

/* The length of that; a name needs no escapes. */
static size_t row_bytes(struct str name, const struct row *row)
{
    return strlen("[\"\",,]") + name.len + strlen(row->filled ? "true" : "false") +
           checkpoint_number_bytes(row->seq);
}

static int set_row(struct omap *rows, struct str name, struct row row, size_t *bytes_of_rows)
{
    struct row *have = omap_get(rows, name);
    int e;

    if (have) {
        *bytes_of_rows -= row_bytes(name, have);
        *have = row;
    } else {
        have = malloc(sizeof(*have));
        if (!have)
            return -ERR_NOMEM;
        *have = row;
        e = omap_put(rows, name, have);
        if (e < 0) {
            free(have);
            return e;
        }
    }
    *bytes_of_rows += row_bytes(name, have);
    return 0;
}

static int say(struct catalog *c, const struct said *s)
{
    const struct row *have = omap_get(c->rows, s->name);

    if (s->word == WORD_ADD ? have != NULL : !have || have->seq > s->seq)
        return 0;
    return set_row(c->rows, s->name, (struct row){s->filled, s->seq}, &c->row_bytes);
}

/* ---- the replica's questions */

struct prepared {
    size_t count;
    struct said said[];
};

/* The names stay in the entry's document, which outlives this. */
static int prepare(void *self, const struct objlog_entry *e, void **ret, struct err_detail *detail)
{
    size_t count = json_len(e->ops);
    struct prepared *p = calloc(1, sizeof(*p) + count * sizeof(p->said[0]));
    int err = 0;

    (void)self;
    if (!p)
        return -ERR_NOMEM;
    for (size_t i = 0; err == 0 && i < count; i++)
        err = decode_op(json_at(e->ops, i), &p->said[p->count++], detail);
    if (err < 0) {
        free(p);
        return err;
    }
    *ret = p;
    return 0;
}

/* An entry may be applied again, wherever it stopped: a word that was taken changes nothing the
 * second time. */
static int apply(void *self, void *prepared, const struct objlog_entry *e)
{
    struct prepared *p = prepared;
    int err = 0;

    (void)e;
    for (size_t i = 0; err == 0 && i < p->count; i++)
        err = say(self, &p->said[i]);
    return err;
}

static int encode(void *self, const struct checkpoint_head *head, struct buf *out)
{
    struct catalog *c = self;
    struct jw w = JW_INIT(out);
    size_t start = out->len;

    checkpoint_begin(&w, head);
    jw_key(&w, "c");
    jw_begin(&w, '[');
    for (struct omap_node *n = omap_first(c->rows); n; n = omap_next(c->rows, n))
        write_row(&w, omap_key(n), omap_value(n));
    jw_end(&w, ']');
    checkpoint_end(&w, start);
    return buf_err(out);
}

static size_t table_bytes(void *self, const struct checkpoint_head *head)
{
    struct catalog *c = self;
    size_t rows = omap_count(c->rows);

    return checkpoint_begin_bytes(head) + strlen(",\"c\":[]") + c->row_bytes +
           (rows ? rows - 1 : 0) + CHECKPOINT_END_BYTES;
}

static int load_rows(const struct json *list, struct omap *rows, size_t *bytes_of_rows)
{
    if (json_type(list) != JSON_ARRAY_T)
        return -ERR_CORRUPT;
    for (size_t i = 0; i < json_len(list); i++) {
        const struct json *node = json_at(list, i);
        struct str name = json_str(json_at(node, 0));
        struct row row;
        int64_t seq;
        int e;

        if (!name.at || !name_valid(name) || omap_get(rows, name) ||
            !json_bool(json_at(node, 1), &row.filled) || !json_int(json_at(node, 2), &seq) ||
            seq < 0)
            return -ERR_CORRUPT;
        row.seq = (uint64_t)seq;
        e = set_row(rows, name, row, bytes_of_rows);
        if (e < 0)
            return e;
    }
    return 0;
}

static int load(void *self, struct str text, struct checkpoint_head *ret, struct err_detail *detail)
{
    struct catalog *c = self;
    struct json_doc *doc auto_json = NULL;
    struct omap *rows auto_omap = NULL;
    struct checkpoint_head head;
    size_t bytes_of_rows = 0;
    int e = checkpoint_open(text, STR(KEYS_CATALOG), &head, &doc, detail);

    if (e == 0)
        e = omap_new(free, &rows);
    if (e == 0)
        e = load_rows(json_get(json_root(doc), "c"), rows, &bytes_of_rows);
    if (e < 0)
        return e;
    omap_free(c->rows);
    c->rows = STEAL(rows);
    c->row_bytes = bytes_of_rows;
    *ret = head;
    return 0;
}

static int reset(void *self)
{
    struct catalog *c = self;
    struct omap *rows = NULL;
    int e = omap_new(free, &rows);

    if (e < 0)
        return e;
    omap_free(c->rows);
    c->rows = rows;
    c->row_bytes = 0;
    return 0;
}

static size_t bytes(void *self)
{
    struct catalog *c = self;

    return omap_bytes(c->rows) + omap_count(c->rows) * sizeof(struct row);
}

static void batch(void *self)
{
    (void)self;
}

/* Nothing is ever refused: what is said already needs no entry. */
static enum replica_verdict judge(void *self, struct replica_op *op)
{
    struct catalog *c = self;
    const struct said *s = &((struct change *)op)->said;
    const struct row *have = omap_get(c->rows, s->name);
    bool known = s->word == WORD_ADD ? have != NULL
                                     : have && (have->seq > s->seq ||
                                                (have->seq == s->seq && have->filled == s->filled));

    op->result = s->word != WORD_ADD && !have ? -ERR_NOTFOUND : 0;
    return known || op->result < 0 ? REPLICA_DONE : REPLICA_TAKE;
}

static int before(void *self, uint64_t seq, int64_t deadline_ms, struct err_detail *detail)
{
    (void)self;
    (void)deadline_ms;
    (void)seq;
    (void)detail;
    return 0;
}

static void after(void *self, int64_t deadline_ms)
{
    (void)self;
    (void)deadline_ms;
}

static const struct replica_ops catalog_replica_ops = {.prepare = prepare,
                                                       .apply = apply,
                                                       .apply_repeats = true,
                                                       .discard = free,
                                                       .encode = encode,
                                                       .table_bytes = table_bytes,
                                                       .load = load,
                                                       .reset = reset,
                                                       .bytes = bytes,
                                                       .batch = batch,
                                                       .judge = judge,
                                                       .before = before,
                                                       .after = after};

/* ---- life */

int catalog_new(struct blobs *b, struct work *background, struct catalog **ret)
{
    struct catalog *c = calloc(1, sizeof(*c));
    struct replica_spec spec = {.node = blobs_node(b),
                                .prefix = STR(KEYS_CATALOG),
                                .name = STR(KEYS_CATALOG),
                                .ops = &catalog_replica_ops,
                                .self = c,
                                .background = background};
    int e = c ? omap_new(free, &c->rows) : -ERR_NOMEM;

    if (e == 0)
        e = replica_new(&spec, &c->replica);
    if (e < 0) {
        if (c)
            omap_free(c->rows);
        free(c);
        return e;
    }
    mutex_init(&c->mu);
    cond_init(&c->opened);
    *ret = c;
    return 0;
}

void catalog_free(struct catalog *c)
{
    if (!c)
        return;
    replica_free(c->replica);
    omap_free(c->rows);
    cond_done(&c->opened);
    mutex_done(&c->mu);
    free(c);
}

static bool is_open(struct catalog *c)
{
    bool open;

    mutex_lock(&c->mu);
    open = c->opening == OPEN;
    mutex_unlock(&c->mu);
    return open;
}

/* One thread opens, others wait for it. */
static int open_catalog(struct catalog *c, struct err_detail *detail)
{
    bool mine;
    int e;

    mutex_lock(&c->mu);
    while (c->opening == OPENING)
        cond_wait(&c->opened, &c->mu);
    mine = c->opening == CLOSED;
    if (mine)
        c->opening = OPENING;
    mutex_unlock(&c->mu);
    if (!mine)
        return 0;
    e = replica_open(c->replica, detail);
    mutex_lock(&c->mu);
    c->opening = e == 0 ? OPEN : CLOSED;
    cond_broadcast(&c->opened);
    mutex_unlock(&c->mu);
    return e;
}

/* ---- saying and asking */

static int commit(struct catalog *c, const struct said *s, int64_t deadline_ms,
                  struct err_detail *detail)
{
    struct buf text auto_buf = BUF_INIT(OP_MAX);
    struct change change = {.said = *s};
    int e = open_catalog(c, detail);

    if (e == 0)
        e = encode_op(s, &text);
    if (e < 0)
        return e;
    change.op.text = buf_str(&text);
    change.op.validated_ms = clock_boot_ms();
    change.op.deadline_ms = deadline_ms;
    e = replica_commit(c->replica, &change.op);
    return e < 0 ? err_set(detail, e, "catalog: %s", change.op.detail.text) : 0;
}

/* Says the row as it is known; false: not known. */
static bool known_row(struct catalog *c, struct str name, struct row *ret)
{
    const struct row *have;

    replica_lock(c->replica);
    have = omap_get(c->rows, name);
    if (have)
        *ret = *have;
    replica_unlock(c->replica);
    return have != NULL;
}

static int64_t from_now(void)
{
    return clock_boot_ms() + OBJLOG_DECIDE_MS;
}

int catalog_add(struct catalog *c, struct str name, bool filled, struct err_detail *detail)
{
    return catalog_add_until(c, name, filled, from_now(), detail);
}

int catalog_add_until(struct catalog *c, struct str name, bool filled, int64_t deadline_ms,
                      struct err_detail *detail)
{
    struct said s = {.word = WORD_ADD, .name = name, .filled = filled};
    struct row row;

    /* A name that is there stays there: memory is enough to say so. */
    if (is_open(c) && known_row(c, name, &row))
        return 0;
    return commit(c, &s, deadline_ms, detail);
}

static int mark(struct catalog *c, struct str name, bool filled, uint64_t seq, int64_t deadline_ms,
                struct err_detail *detail)
{
    struct said s = {
        .word = filled ? WORD_FILLED : WORD_EMPTY, .name = name, .filled = filled, .seq = seq};

    return commit(c, &s, deadline_ms, detail);
}

int catalog_mark(struct catalog *c, struct str name, bool filled, uint64_t seq,
                 struct err_detail *detail)
{
    return mark(c, name, filled, seq, from_now(), detail);
}

static bool agrees(struct catalog *c, struct str name, bool filled, uint64_t seq)
{
    struct row row;

    return known_row(c, name, &row) && (row.filled == filled || row.seq > seq);
}

void catalog_agree(struct catalog *c, struct str name, bool filled, uint64_t seq)
{
    catalog_agree_until(c, name, filled, seq, from_now());
}

void catalog_agree_until(struct catalog *c, struct str name, bool filled, uint64_t seq,
                         int64_t deadline_ms)
{
    struct err_detail detail = {{0}};
    struct row row;
    int e;

    if (is_open(c) && agrees(c, name, filled, seq))
        return;
    e = catalog_refresh(c, &detail);
    if (e == 0 && agrees(c, name, filled, seq))
        return;
    if (e == 0 && !known_row(c, name, &row))
        e = catalog_add_until(c, name, filled, deadline_ms, &detail);
    else if (e == 0)
        e = mark(c, name, filled, seq, deadline_ms, &detail);
    if (e < 0)
        log_warn("catalog.behind", KV_V("repository", name), KV_S("error", err_name(e)),
                 KV_S("why", detail.text));
}

int catalog_refresh(struct catalog *c, struct err_detail *detail)
{
    int e = open_catalog(c, detail);

    return e < 0 ? e : replica_refresh(c->replica, detail);
}

int catalog_refresh_nowait(struct catalog *c)
{
    return is_open(c) ? replica_refresh_nowait(c->replica) : -ERR_AGAIN;
}

int catalog_page(struct catalog *c, struct str last, size_t n,
                 int (*fn)(struct str name, void *arg), void *arg, bool *ret_more)
{
    struct omap_node *node;
    bool more = false;
    size_t count = 0;
    int e = 0;

    replica_lock(c->replica);
    node = last.len > 0 ? omap_after(c->rows, last) : omap_first(c->rows);
    for (; e == 0 && node && !more; node = omap_next(c->rows, node)) {
        const struct row *row = omap_value(node);

        if (!row->filled)
            continue;
        if (count == n) {
            more = true;
        } else {
            e = fn(omap_key(node), arg);
            count++;
        }
    }
    replica_unlock(c->replica);
    *ret_more = more;
    return e;
}
