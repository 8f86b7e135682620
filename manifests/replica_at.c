/* A replica at a position of the past: the newest checkpoint that is not beyond it, then entries up
 * to it. It never moves again: a strict read of it needs no probe, and nothing is committed. */
#include "manifests/replica_internal.h"

#include <assert.h>

#include "base/enc.h"

#define WORTH_A_TABLE 64 /* up to here the entries alone are read */
#define TABLES_TRY    4  /* newest checkpoints that are tried */
#define PAGES_MAX     100000
#define REACHED       1
#define BEYOND        2

/* Those up to a position, newest first. */
struct tables {
    uint64_t up_to, seq[TABLES_TRY], last_seen;
    size_t count;
};

static int add_table(struct str key, const struct store_info *info, void *arg)
{
    struct tables *t = arg;
    struct str last = key;
    uint64_t seq;

    (void)info;
    for (ptrdiff_t slash; (slash = str_find(last, '/')) >= 0;)
        last = str_skip(last, (size_t)slash + 1);
    if (!keys_number_parse(last, &seq) || seq == 0)
        return 0;
    if (seq > t->up_to)
        return BEYOND;
    memmove(t->seq + 1, t->seq, (TABLES_TRY - 1) * sizeof(t->seq[0]));
    t->seq[0] = t->last_seen = seq;
    t->count += t->count < TABLES_TRY ? 1 : 0;
    return 0;
}

static int list_tables(struct replica *r, struct tables *t, struct err_detail *detail)
{
    struct buf prefix auto_buf = BUF_INIT(STORE_KEY_MAX);

    keys_tables_of(&prefix, r->prefix_str);
    for (size_t page = 0; page < PAGES_MAX; page++) {
        struct buf after auto_buf = BUF_INIT(STORE_KEY_MAX);
        uint64_t seen = t->last_seen;
        int e;

        if (seen > 0)
            keys_table(&after, r->prefix_str, seen);
        if (buf_err(&prefix) < 0 || buf_err(&after) < 0)
            return -ERR_NOMEM;
        e = store_list(node_store(r->node), buf_str(&prefix), buf_str(&after), STORE_LIST_MAX,
                       add_table, t, detail);
        if (e < 0)
            return e;
        if (e == BEYOND || t->last_seen == seen)
            break;
    }
    return 0;
}

static int load_before(struct replica *r, uint64_t seq, struct err_detail *detail)
{
    struct tables t = {.up_to = seq};
    int e = list_tables(r, &t, detail);

    for (size_t i = 0; e == 0 && i < t.count; i++) {
        e = replica_try_table(r, t.seq[i], detail);
        if (e == 0)
            return 0;
        if (e == -ERR_NOTFOUND)
            e = 0;
    }
    return e;
}

struct until {
    struct replica *replica;
    uint64_t seq;
    struct err_detail *detail;
};

static int apply_until(const struct objlog_entry *e, void *arg)
{
    struct until *u = arg;
    int err = replica_apply(u->replica, e, false, NULL, u->detail);

    /* To the log "not found" means its end. */
    assert(err != -ERR_NOTFOUND);
    if (err < 0)
        return err;
    return e->seq == u->seq ? REACHED : 0;
}

int replica_open_at(struct replica *r, uint64_t seq, struct err_detail *detail)
{
    int e;

    assert(!r->held && r->pos.seq == 0);
    r->frozen = true;
    r->frozen_seq = seq;
    r->background = NULL; /* looking back writes nothing */
    e = replica_go_to(r, detail);
    return e < 0 && replica_lost(r) ? replica_reload(r, detail) : e;
}

int replica_go_to(struct replica *r, struct err_detail *detail)
{
    uint64_t seq = r->frozen_seq;

    struct until u = {r, seq, detail};
    struct objlog_pos pos;
    int e = 0;

    if (seq > WORTH_A_TABLE)
        e = load_before(r, seq, detail);
    pos = r->pos;
    if (e == 0 && pos.seq < seq)
        e = objlog_follow(r->log, &pos, apply_until, &u, detail);
    if (e < 0)
        return e;
    if (r->pos.seq < seq)
        return err_set(detail, -ERR_CORRUPT, "entry %llu of log " STR_FMT " is missing",
                       (unsigned long long)r->pos.seq + 1, STR_ARG(str_head(r->name_str, 128)));
    return 0;
}

/* ---- times */

static int take_ts(const struct objlog_entry *e, void *arg)
{
    *(int64_t *)arg = e->ts;
    return 0;
}

/* Can an entry stamped up to ms still be written? */
static int check_final(struct replica *r, int64_t ms, struct err_detail *detail)
{
    char text[TIME_TEXT_MAX];
    int64_t now;
    int e = store_now(node_store(r->node), &now, detail);

    if (e < 0)
        return e;
    if (now - ms >= REPLICA_FINAL_MS)
        return 0;
    return err_set(detail, -ERR_TIME,
                   "%s is not final yet: what it shows is known after the next change here, or "
                   "when it is %d minutes old",
                   time_format_rfc3339(ms, text).at, REPLICA_FINAL_MS / 60000);
}

int replica_seq_at(struct replica *r, int64_t ms, uint64_t *ret, struct err_detail *detail)
{
    uint64_t low = 0, high; /* entry low is stamped up to ms, entry high later */
    int64_t last;

    mutex_lock(&r->mu);
    high = r->pos.seq;
    last = r->pos.ts;
    mutex_unlock(&r->mu);
    if (high == 0 || last <= ms) {
        *ret = high;
        return check_final(r, ms, detail);
    }
    while (high - low > 1) {
        uint64_t middle = low + (high - low) / 2;
        int64_t ts = 0;
        int e = replica_read(r, middle, take_ts, &ts, detail);

        if (e < 0)
            return e == -ERR_NOTFOUND ? -ERR_CORRUPT : e;
        if (ts <= ms)
            low = middle;
        else
            high = middle;
    }
    *ret = low;
    return 0;
}

int replica_read(struct replica *r, uint64_t seq, objlog_apply_fn fn, void *arg,
                 struct err_detail *detail)
{
    return objlog_read(r->log, seq, fn, arg, detail);
}
