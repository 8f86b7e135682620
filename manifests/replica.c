/* Life, following and strict reads of a replica.
 *
 * The state only moves forward, by whole entries in order, applied by the log's holder. A strict
 * read is a probe begun after the read arrived: absent = the state was the head at that moment;
 * present = the prober follows. One probe is in flight at a time, whoever arrives meanwhile shares
 * the next. */
#include "manifests/replica_internal.h"

#include <assert.h>

#include "base/clock.h"
#include "base/log.h"
#include "base/mutant.h"

#define REFRESH_TRY 3 /* tables that may be found damaged under one refresh */

static void free_parts(struct replica *r)
{
    replica_table_free(r);
    objlog_free(r->log);
    cond_done(&r->probers);
    cond_done(&r->followers);
    cond_done(&r->table_over);
    mutex_done(&r->mu);
    free(r);
}

static struct str copy(char to[REPLICA_NAME_MAX], struct str s)
{
    assert(s.len < REPLICA_NAME_MAX);
    memcpy(to, s.at, s.len);
    to[s.len] = 0;
    return (struct str){to, s.len};
}

int replica_new(const struct replica_spec *spec, struct replica **ret)
{
    struct replica *r = calloc(1, sizeof(*r));
    struct objlog_spec log;
    int e;

    assert(spec && spec->node && spec->ops && ret);
    if (!r)
        return -ERR_NOMEM;
    mutex_init(&r->mu);
    cond_init(&r->followers);
    cond_init(&r->probers);
    cond_init(&r->table_over);
    r->node = spec->node;
    r->ops = spec->ops;
    r->self = spec->self;
    r->layers = spec->layers;
    r->cache = spec->cache;
    r->background = spec->background;
    r->prefix_str = copy(r->prefix, spec->prefix);
    r->name_str = copy(r->name, spec->name);
    r->queue_end = &r->queue;
    atomic_init(&r->bytes, sizeof(*r));
    atomic_init(&r->confirmed_ns, -1);
    log = (struct objlog_spec){
        .prefix = r->prefix_str, .name = r->name_str, .deep = true, .cls = STORE_LOG};
    e = objlog_new(r->node, &log, &r->log);
    if (e < 0) {
        free_parts(r);
        return e;
    }
    *ret = r;
    return 0;
}

void replica_free(struct replica *r)
{
    if (!r)
        return;
    assert(!r->queue && !r->held && !r->probing);
    free_parts(r);
}

void replica_freep(struct replica **r)
{
    replica_free(*r);
    *r = NULL;
}

void replica_lock(struct replica *r)
{
    mutex_lock(&r->mu);
}

void replica_unlock(struct replica *r)
{
    mutex_unlock(&r->mu);
}

uint64_t replica_seq(const struct replica *r)
{
    return r->pos.seq;
}

int64_t replica_ts(const struct replica *r)
{
    return r->pos.ts;
}

size_t replica_bytes(const struct replica *r)
{
    return atomic_load_explicit(&r->bytes, memory_order_relaxed);
}

struct table *replica_base(struct replica *r)
{
    struct table *base;

    mutex_lock(&r->mu);
    base = table_ref(r->layers->base);
    mutex_unlock(&r->mu);
    return base;
}

void replica_note_bad(struct replica *r)
{
    struct table *base auto_table = replica_base(r);

    if (base)
        table_mark_bad(base);
}

static int writable(const struct replica *r, struct err_detail *detail)
{
    if (r->refused < 0)
        return err_set(detail, r->refused, "%s", r->why.text);
    if (r->readonly)
        return err_set(detail, -ERR_READONLY, "the log of " STR_FMT " is damaged: it is read-only",
                       STR_ARG(str_head(r->name_str, 128)));
    return 0;
}

int replica_writable(struct replica *r, struct err_detail *detail)
{
    int e;

    mutex_lock(&r->mu);
    e = writable(r, detail);
    mutex_unlock(&r->mu);
    return e;
}

/* ---- applying */

void replica_set_readonly(struct replica *r, const char *event, uint64_t expected)
{
    bool first;
    uint64_t seq;

    mutex_lock(&r->mu);
    first = !r->readonly;
    r->readonly = true;
    seq = r->pos.seq;
    mutex_unlock(&r->mu);
    if (first && event)
        log_alarm(event, (const struct log_kv[]){KV_V("log", r->name_str), KV_I("seq", seq),
                                                 KV_I("expected", expected), KV_END});
}

static void refuse(struct replica *r, int err, const struct err_detail *detail)
{
    mutex_lock(&r->mu);
    r->refused = err;
    r->why = *detail;
    mutex_unlock(&r->mu);
}

static int apply_locked(struct replica *r, void *prepared, const struct objlog_entry *e, bool own)
{
    if (r->refused < 0)
        return r->refused;
    assert(e->seq == r->pos.seq + 1);
    r->ops->apply(r->self, prepared);
    r->pos.seq = e->seq;
    r->pos.ts = e->ts;
    memcpy(r->pos.hash, e->hash, sizeof(r->pos.hash));
    replica_table_applied(r, e, own);
    atomic_store_explicit(&r->bytes, sizeof(*r) + r->ops->bytes(r->self), memory_order_relaxed);
    return 0;
}

int replica_apply(struct replica *r, const struct objlog_entry *e, bool own,
                  const struct replica_known *known, struct err_detail *detail)
{
    void *prepared = NULL;
    int err = r->ops->prepare(r->self, e, known, &prepared, detail);

    if (err < 0)
        return err;
    mutex_lock(&r->mu);
    err = apply_locked(r, prepared, e, own);
    mutex_unlock(&r->mu);
    r->ops->discard(prepared);
    replica_table_submit(r);
    return err;
}

struct follow {
    struct replica *replica;
    struct err_detail *detail;
    uint64_t stop;  /* behind this entry; 0: at the end */
    bool malformed; /* an operation, in an entry that is whole */
};

static int apply_followed(const struct objlog_entry *e, void *arg)
{
    struct follow *f = arg;
    int err = replica_apply(f->replica, e, false, NULL, f->detail);

    f->replica->foreign_ms = clock_boot_ms();
    /* To the log "not found" means its end. */
    assert(err != -ERR_NOTFOUND);
    f->malformed = err == -ERR_CORRUPT;
    return err == 0 && e->seq == f->stop ? 1 : err;
}

int replica_follow(struct replica *r, struct err_detail *detail)
{
    return replica_follow_to(r, 0, detail);
}

static void keep_files(struct replica *r, struct table_files *files)
{
    mutex_lock(&r->mu);
    r->layers->files = files;
    mutex_unlock(&r->mu);
}

int replica_follow_to(struct replica *r, uint64_t stop, struct err_detail *detail)
{
    struct err_detail why = {{0}};
    struct follow f = {r, &why, stop, false};
    struct objlog_pos pos = r->pos; /* written by the holder alone */
    struct table_files files auto_of(table_files_done) = {.count = 0};
    int e;

    keep_files(r, &files);
    e = objlog_follow(r->log, &pos, apply_followed, &f, &why);
    keep_files(r, NULL);
    if (stop > 0)
        return e < 0 ? err_set(detail, e, "%s", why.text) : e;
    if (e == -ERR_CORRUPT) {
        /* Of a damaged entry the log has raised the alarm. */
        replica_set_readonly(r, f.malformed ? "log.damaged" : NULL, pos.seq + 1);
        mutex_lock(&r->mu);
        r->stuck = true;
        mutex_unlock(&r->mu);
    } else if (e == -ERR_VERSION) {
        refuse(r, e, &why);
    }
    assert(e <= 0);
    return e < 0 ? err_set(detail, e, "%s", why.text) : 0;
}

/* ---- strict reads */

void replica_pass_on(struct replica *r)
{
    if (r->held)
        return;
    if (r->followers_waiting > 0)
        cond_signal(&r->followers);
    else if (r->queue && !mutant("leader-asleep"))
        event_set(&r->queue->wake, REPLICA_TURN);
}

static int hold_and_follow(struct replica *r, struct err_detail *detail)
{
    int e;

    mutex_lock(&r->mu);
    r->followers_waiting++;
    while (r->held)
        cond_wait(&r->followers, &r->mu);
    r->followers_waiting--;
    r->held = true;
    mutex_unlock(&r->mu);
    e = replica_follow(r, detail);
    mutex_lock(&r->mu);
    r->held = false;
    replica_pass_on(r);
    mutex_unlock(&r->mu);
    return e;
}

/* Locked on entry and return, not in between. */
static void probe(struct replica *r)
{
    struct err_detail detail = {{0}};
    int64_t begun_ns = clock_boot_ns();
    uint64_t mine = ++r->probe_begun, seq = r->pos.seq;
    int e;

    r->probing = true;
    mutex_unlock(&r->mu);
    e = objlog_probe(r->log, seq);
    if (e == -ERR_AGAIN)
        e = hold_and_follow(r, &detail);
    mutex_lock(&r->mu);
    r->probing = false;
    if (e < 0) {
        r->probe_failed = mine;
        r->probe_err = e;
        r->probe_detail = detail;
    } else {
        r->probe_done = mine;
        atomic_store_explicit(&r->confirmed_ns, begun_ns, memory_order_relaxed);
    }
    cond_broadcast(&r->probers);
}

static int refresh(struct replica *r, struct err_detail *detail)
{
    uint64_t ticket;
    int e = 0;

    if (r->frozen)
        return 0;
    /* Where a look costs no wait, sharing it would cost more. */
    if (replica_refresh_nowait(r) == 0)
        return 0;
    mutex_lock(&r->mu);
    ticket = r->probe_begun + (r->probing && mutant("stale-read") ? 0 : 1);
    for (;;) {
        if (r->refused < 0) {
            e = err_set(detail, r->refused, "%s", r->why.text);
            break;
        }
        /* Of a damaged log what was applied is still read. */
        if (r->stuck || r->probe_done >= ticket)
            break;
        if (r->probe_failed >= ticket) {
            e = err_set(detail, r->probe_err, "%s", r->probe_detail.text);
            break;
        }
        if (r->probing)
            cond_wait(&r->probers, &r->mu);
        else
            probe(r);
    }
    mutex_unlock(&r->mu);
    return e;
}

int replica_refresh(struct replica *r, struct err_detail *detail)
{
    int e = 0;

    for (int i = 0; i < REFRESH_TRY; i++) {
        bool lost;

        mutex_lock(&r->mu);
        lost = replica_lost(r);
        mutex_unlock(&r->mu);
        if (i > 0 && !lost)
            break;
        e = lost ? replica_reload(r, detail) : 0;
        if (e == 0)
            e = refresh(r, detail);
        if (e == 0)
            break;
    }
    return e;
}

int replica_refresh_nowait(struct replica *r)
{
    int64_t begun_ns = clock_boot_ns();
    uint64_t seq;
    bool refused, stuck;
    int e;

    mutex_lock(&r->mu);
    refused = r->refused < 0 || replica_lost(r);
    stuck = r->stuck;
    seq = r->pos.seq;
    mutex_unlock(&r->mu);
    if (refused)
        return -ERR_AGAIN;
    e = stuck ? 0 : objlog_probe(r->log, seq);
    if (e == 0)
        atomic_store_explicit(&r->confirmed_ns, begun_ns, memory_order_relaxed);
    return e;
}

bool replica_recent(const struct replica *r, int64_t ms)
{
    int64_t at = atomic_load_explicit(&r->confirmed_ns, memory_order_relaxed);

    return at >= 0 && clock_boot_ms() - at / NS_PER_MS <= ms;
}

static bool is_sound(struct replica *r)
{
    bool sound;

    mutex_lock(&r->mu);
    sound = r->refused == 0 && !r->stuck && !replica_lost(r);
    mutex_unlock(&r->mu);
    return sound;
}

bool replica_head_lately(struct replica *r, int64_t ms, int64_t *ret_ms)
{
    int64_t at = atomic_load_explicit(&r->confirmed_ns, memory_order_relaxed);

    *ret_ms = at / NS_PER_MS;
    return at >= 0 && clock_boot_ms() - *ret_ms <= ms && is_sound(r);
}

bool replica_newer(struct replica *r, int64_t ns)
{
    return is_sound(r) && atomic_load_explicit(&r->confirmed_ns, memory_order_relaxed) > ns;
}
