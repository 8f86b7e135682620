/* The catalog: one more log, whose state says which repositories exist and which are filled
 * (docs/bucket-format.md section 10). Opened at its first use. Names are never removed; of two
 * words about a repository the one with the greater number of its log counts. */
#include "manifests/catalog.h"

#include <assert.h>

#include "base/clock.h"
#include "base/log.h"
#include "manifests/pack.h"
#include "manifests/replica.h"

#define OP_MAX   1024
#define ASK_MAX  64 /* tries of one question */
#define PAGE_MAX (8u << 20)

struct said_row {
    bool filled;
    uint64_t seq; /* of the repository, 0 by add */
};

enum opening { CLOSED, OPENING, OPEN };

struct catalog {
    struct replica *replica;
    struct mutex mu; /* guards opening */
    struct cond opened;
    enum opening opening;
    struct layers layers; /* guarded by the replica's lock */
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
    struct pins pins; /* what the judge asks for */
    bool was;         /* it was said already */
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

/* ---- state: a record of a repository lies in the section that says which; its value is seq */

enum { FILLED = 'f', EMPTY = 'e' };

struct row_key {
    char at[1 + NAME_MAX_LEN + 1];
    size_t len;
};

static struct str key_of(char section, struct str name, struct row_key *k)
{
    assert(name.len <= NAME_MAX_LEN);
    k->at[0] = section;
    if (name.len > 0)
        memcpy(k->at + 1, name.at, name.len);
    k->len = 1 + name.len;
    return (struct str){k->at, k->len};
}

static int get_in(const struct layers *l, char section, struct str name, struct said_row *ret,
                  struct err_detail *detail)
{
    struct hit hit auto_hit = {.value = STR_NONE};
    struct row_key key;
    struct str value;
    int e = layers_get(l, key_of(section, name, &key), &hit, detail);

    if (e < 0)
        return e;
    value = hit.value;
    ret->filled = section == FILLED;
    return unpack_u64(&value, &ret->seq) && value.len == 0 ? 0 : -ERR_CORRUPT;
}

/* -ERR_NOTFOUND, and what layers answer. */
static int get_row(const struct layers *l, struct str name, struct said_row *ret,
                   struct err_detail *detail)
{
    int e = get_in(l, FILLED, name, ret, detail);

    return e == -ERR_NOTFOUND ? get_in(l, EMPTY, name, ret, detail) : e;
}

/* old NULL: there is none. */
static int set_row(struct layers *l, struct str name, const struct said_row *row,
                   const struct said_row *old)
{
    struct buf value auto_buf = BUF_INIT(PACK_NUMBER_MAX),
                     before auto_buf = BUF_INIT(PACK_NUMBER_MAX);
    struct row_key key;
    struct str had;
    bool moves = old && old->filled != row->filled;
    int e = 0;

    pack_u64(&value, row->seq);
    pack_u64(&before, old ? old->seq : 0);
    if (buf_err(&value) < 0 || buf_err(&before) < 0)
        return -ERR_NOMEM;
    had = buf_str(&before);
    if (moves)
        e = layers_remove(l, key_of(old->filled ? FILLED : EMPTY, name, &key), &had);
    if (e == 0)
        e = layers_put(l, key_of(row->filled ? FILLED : EMPTY, name, &key), buf_str(&value),
                       old && !moves ? &had : NULL);
    return e;
}

static int say(struct layers *l, const struct said *s, struct err_detail *detail)
{
    struct said_row have, row = {s->filled, s->seq};
    int e = get_row(l, s->name, &have, detail);

    if (e < 0 && e != -ERR_NOTFOUND)
        return e;
    if (s->word == WORD_ADD ? e == 0 : e < 0 || have.seq > s->seq)
        return 0;
    return set_row(l, s->name, &row, e == 0 ? &have : NULL);
}

/* ---- the replica's questions */

static void discard(void *prepared)
{
    layers_done(prepared);
    free(prepared);
}

static int prepare_op(struct catalog *c, struct layers *l, const struct json *node,
                      struct err_detail *detail)
{
    struct said said;
    int e = decode_op(node, &said, detail);

    if (e < 0)
        return e;
    e = say(l, &said, detail);
    if (e != -ERR_CORRUPT)
        return e == -ERR_NOTFOUND ? -ERR_UNAVAIL : e;
    replica_note_bad(c->replica);
    return -ERR_UNAVAIL;
}

static int prepare(void *self, const struct objlog_entry *e, const struct replica_known *known,
                   void **ret, struct err_detail *detail)
{
    struct catalog *c = self;
    struct layers *l = calloc(1, sizeof(*l));
    int err;

    (void)known; /* commit() gives none */
    if (!l)
        return -ERR_NOMEM;
    replica_lock(c->replica);
    err = layers_begin(&c->layers, l);
    replica_unlock(c->replica);
    if (err < 0) {
        free(l);
        return err;
    }
    for (size_t i = 0; err == 0 && i < json_len(e->ops); i++)
        err = prepare_op(c, l, json_at(e->ops, i), detail);
    if (err < 0) {
        discard(l);
        return err;
    }
    *ret = l;
    return 0;
}

static void apply(void *self, void *prepared)
{
    struct catalog *c = self;

    layers_commit(&c->layers, prepared);
}

static bool settled(void *self)
{
    (void)self;
    return true;
}

static void write_more(void *self, struct jw *w)
{
    (void)self;
    (void)w;
}

static int read_more(void *self, const struct json *head, uint64_t seq)
{
    (void)self;
    (void)head;
    (void)seq;
    return 0;
}

static int reset(void *self)
{
    struct catalog *c = self;

    return layers_reset(&c->layers);
}

static size_t bytes(void *self)
{
    struct catalog *c = self;

    return layers_memory(&c->layers);
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
    struct said_row have;
    int e = get_row(&c->layers, s->name, &have, NULL);
    bool known = e == 0 && (s->word == WORD_ADD || have.seq > s->seq ||
                            (have.seq == s->seq && have.filled == s->filled));

    op->result = 0;
    ((struct change *)op)->was = known;
    if (e < 0 && e != -ERR_NOTFOUND)
        op->result = -ERR_AGAIN; /* not at hand: the caller looks again */
    else if (e < 0 && s->word != WORD_ADD)
        op->result = -ERR_NOTFOUND;
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
                                                       .discard = discard,
                                                       .settled = settled,
                                                       .write_more = write_more,
                                                       .read_more = read_more,
                                                       .reset = reset,
                                                       .bytes = bytes,
                                                       .batch = batch,
                                                       .judge = judge,
                                                       .before = before,
                                                       .after = after};

/* ---- life */

int catalog_new(struct blobs *b, struct table_cache *cache, struct work *background,
                struct catalog **ret)
{
    struct catalog *c = calloc(1, sizeof(*c));
    struct replica_spec spec = {.node = blobs_node(b),
                                .prefix = STR(KEYS_CATALOG),
                                .name = STR(KEYS_CATALOG),
                                .ops = &catalog_replica_ops,
                                .self = c,
                                .cache = cache,
                                .background = background};
    int e = c ? layers_init(&c->layers) : -ERR_NOMEM;

    if (e == 0) {
        c->layers.wait = false; /* it is asked under the lock */
        spec.layers = &c->layers;
        e = replica_new(&spec, &c->replica);
    }
    if (e < 0) {
        if (c)
            layers_done(&c->layers);
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
    layers_done(&c->layers);
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

/* ---- the past */

int catalog_open_at(struct catalog *c, uint64_t seq, struct err_detail *detail)
{
    int e = replica_open_at(c->replica, seq, detail);

    c->opening = e == 0 ? OPEN : CLOSED;
    return e;
}

uint64_t catalog_seq(struct catalog *c)
{
    uint64_t seq;

    replica_lock(c->replica);
    seq = replica_seq(c->replica);
    replica_unlock(c->replica);
    return seq;
}

int catalog_seq_at(struct catalog *c, int64_t ms, uint64_t *ret, struct err_detail *detail)
{
    return replica_seq_at(c->replica, ms, ret, detail);
}

/* ---- saying and asking */

/* After -ERR_AGAIN and its like under the lock: reads what is needed without it. 0: ask again. */
static int hold(struct catalog *c, int e, struct str name, struct pins *pins,
                struct err_detail *detail)
{
    struct table *base auto_table = replica_base(c->replica);
    struct row_key filled, empty;
    struct str keys[2] = {key_of(FILLED, name, &filled), key_of(EMPTY, name, &empty)};

    if (e == -ERR_AGAIN)
        e = base ? table_pin(base, keys, ARRAY_LEN(keys), pins, detail) : 0;
    if (e == -ERR_CORRUPT)
        replica_note_bad(c->replica);
    return e == -ERR_CORRUPT || e == -ERR_UNAVAIL ? replica_refresh(c->replica, detail) : e;
}

/* Says the row as it is known; -ERR_NOTFOUND. */
static int known_row(struct catalog *c, struct str name, struct said_row *ret)
{
    struct pins pins auto_pins = {.at = NULL};
    int e = 0;

    for (int i = 0; i < ASK_MAX; i++) {
        replica_lock(c->replica);
        e = get_row(&c->layers, name, ret, NULL);
        replica_unlock(c->replica);
        if (e == 0 || e == -ERR_NOTFOUND)
            return e;
        e = hold(c, e, name, &pins, NULL);
        if (e < 0)
            return e;
    }
    return -ERR_UNAVAIL;
}

static int commit(struct catalog *c, const struct said *s, int64_t deadline_ms, bool *ret_was,
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
    change.op.deadline_ms = deadline_ms;
    do {
        change.op.validated_ms = clock_boot_ms();
        e = replica_commit(c->replica, &change.op);
        if (e == -ERR_AGAIN && clock_boot_ms() < deadline_ms)
            e = hold(c, e, s->name, &change.pins, detail) < 0 ? -ERR_NOTCOMMITTED : -ERR_AGAIN;
        else if (e == -ERR_AGAIN)
            e = -ERR_NOTCOMMITTED;
    } while (e == -ERR_AGAIN);
    pins_done(&change.pins);
    if (ret_was)
        *ret_was = change.was;
    return e < 0 ? err_set(detail, e, "catalog: %s", change.op.detail.text) : 0;
}

static int64_t from_now(void)
{
    return clock_boot_ms() + OBJLOG_DECIDE_MS;
}

int catalog_add(struct catalog *c, struct str name, bool filled, struct err_detail *detail)
{
    return catalog_add_until(c, name, filled, from_now(), NULL, detail);
}

int catalog_add_until(struct catalog *c, struct str name, bool filled, int64_t deadline_ms,
                      bool *ret_was, struct err_detail *detail)
{
    struct said s = {.word = WORD_ADD, .name = name, .filled = filled};
    struct said_row row;

    /* A name that is there stays there: memory is enough to say so. */
    if (!is_open(c) || known_row(c, name, &row) < 0)
        return commit(c, &s, deadline_ms, ret_was, detail);
    if (ret_was)
        *ret_was = true;
    return 0;
}

bool catalog_unheard(struct catalog *c, struct str name)
{
    struct said_row row;
    int e = 0;

    if (!is_open(c))
        return false;
    replica_lock(c->replica);
    if (!c->layers.closed)
        e = get_row(&c->layers, name, &row, NULL);
    replica_unlock(c->replica);
    return e == -ERR_NOTFOUND;
}

static int mark(struct catalog *c, struct str name, bool filled, uint64_t seq, int64_t deadline_ms,
                struct err_detail *detail)
{
    struct said s = {
        .word = filled ? WORD_FILLED : WORD_EMPTY, .name = name, .filled = filled, .seq = seq};

    return commit(c, &s, deadline_ms, NULL, detail);
}

int catalog_mark(struct catalog *c, struct str name, bool filled, uint64_t seq,
                 struct err_detail *detail)
{
    return mark(c, name, filled, seq, from_now(), detail);
}

static bool agrees(struct catalog *c, struct str name, const struct catalog_state *is)
{
    struct said_row row;

    return known_row(c, name, &row) == 0 &&
           (row.seq > is->seq || (row.filled == is->filled && row.seq >= is->since));
}

int catalog_agree(struct catalog *c, struct str name, const struct catalog_state *is,
                  int64_t deadline_ms)
{
    struct err_detail detail = {{0}};
    struct said_row row;
    int e;

    if (is_open(c) && agrees(c, name, is))
        return 0;
    e = catalog_refresh(c, &detail);
    if (e == 0 && agrees(c, name, is))
        return 0;
    if (e == 0)
        e = known_row(c, name, &row);
    if (e == -ERR_NOTFOUND)
        e = catalog_add_until(c, name, is->filled, deadline_ms, NULL, &detail);
    else if (e == 0)
        e = mark(c, name, is->filled, is->seq, deadline_ms, &detail);
    if (e < 0)
        log_warn("catalog.behind", KV_V("repository", name), KV_S("error", err_name(e)),
                 KV_S("why", detail.text));
    return e;
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

/* ---- pages */

struct page {
    struct buf names; /* each with a zero byte behind */
    size_t count;
    bool more;
};

/* Just behind last, or the first of its section. */
static struct str from_key(struct str last, struct row_key *k)
{
    struct str key = key_of(FILLED, str_head(last, NAME_MAX_LEN), k);

    if (last.len > 0)
        k->at[key.len++] = 0; /* no name has a zero byte */
    return (struct str){k->at, key.len};
}

static int try_page(struct catalog *c, struct str last, size_t n, struct page *p)
{
    struct layers_cursor cursor auto_layers_cursor = {.layers = NULL};
    struct row_key from;
    int e;

    buf_clear(&p->names);
    p->count = 0;
    replica_lock(c->replica);
    layers_cursor_init(&cursor, &c->layers);
    for (e = layers_seek(&cursor, from_key(last, &from)); e == 1 && cursor.key.at[0] == FILLED;
         e = layers_next(&cursor)) {
        if (p->count == n)
            break;
        buf_add(&p->names, str_skip(cursor.key, 1));
        buf_addc(&p->names, 0);
        p->count++;
    }
    p->more = e == 1 && cursor.key.at[0] == FILLED;
    layers_cursor_done(&cursor);
    replica_unlock(c->replica);
    return e < 0 ? e : buf_err(&p->names);
}

static int tell_page(const struct page *p, int (*fn)(struct str name, void *arg), void *arg)
{
    struct str rest = buf_str(&p->names);
    int e = 0;

    for (size_t i = 0; e == 0 && i < p->count; i++) {
        struct str name = str_head(rest, (size_t)str_find(rest, 0));

        rest = str_skip(rest, name.len + 1);
        e = fn(name, arg);
    }
    return e;
}

int catalog_page_nowait(struct catalog *c, struct str last, size_t n,
                        int (*fn)(struct str name, void *arg), void *arg, bool *ret_more)
{
    struct page p = {.names = BUF_INIT(PAGE_MAX)};
    int e = try_page(c, last, n, &p);

    if (e == -ERR_CORRUPT || e == -ERR_UNAVAIL)
        e = -ERR_AGAIN;
    if (e == 0)
        e = tell_page(&p, fn, arg);
    *ret_more = p.more;
    buf_done(&p.names);
    return e;
}

int catalog_page(struct catalog *c, struct str last, size_t n,
                 int (*fn)(struct str name, void *arg), void *arg, bool *ret_more)
{
    struct page p = {.names = BUF_INIT(PAGE_MAX)};
    struct pins pins auto_pins = {.at = NULL};
    struct row_key from;
    size_t records = n + 1;
    int e = 0;

    for (int i = 0; i < ASK_MAX && (e = try_page(c, last, n, &p)) < 0; i++) {
        struct table *base auto_table = replica_base(c->replica);
        char behind = FILLED + 1;

        if (e == -ERR_AGAIN)
            e = base ? table_pin_range(base, from_key(last, &from), (struct str){&behind, 1},
                                       records, &pins, NULL)
                     : 0;
        e = e < 0 ? hold(c, e, STR_NONE, &pins, NULL) : 0;
        if (e < 0)
            break;
        records += records; /* some of them may be gone since */
    }
    if (e == 0)
        e = tell_page(&p, fn, arg);
    *ret_more = p.more;
    buf_done(&p.names);
    return e;
}
