/* See net.h. Owns the store of the simulation and what is on its way to it. */
#include "net.h"

#include <assert.h>
#include <stdio.h>

#include "audit.h"
#include "blobstore/keys.h"
#include "blobstore/store_ops.h"

#define ENTRIES_MORE 5 /* times likelier is a fault where a log entry is written */

#define PAUSES_MORE 30

struct link { /* a process's connection */
    struct store store;
    struct proc *proc;
    void (*die)(struct proc *p);
};

struct link_stream {
    struct store_stream stream;
    struct link *link;
    struct store_stream *inner;
    struct buf key;
};

/* What becomes of one call. */
enum fate { FATE_FINE, FATE_FAIL, FATE_LOST, FATE_OWN_EXISTS, FATE_LATE, FATE_TWICE };

struct call {
    struct link *link;
    const char *op;
    struct str key;
    enum fate fate;
    int err;
    bool writes, dies_after;
    int64_t slow_us; /* more, for the reply */
};

static struct {
    struct net_settings settings;
    struct store *mem, *fault;
    struct rng rng;
    int64_t outage_until_us;
    unsigned outage_but;
    char cut_off[SCHED_NAME_MAX]; /* name of the process; empty: all */
    int64_t cut_next_us;
    unsigned sleep_calls; /* until then */
    int64_t sleep_us;
    int64_t slow_next_us;
    uint64_t calls;
    unsigned flying;       /* couriers under way */
    int64_t hurry;         /* couriers arrive at once */
    enum store_fault next; /* for store_fault's question */
    int next_err;
} net;

static const struct store_ops link_ops;

/* ---- store_fault asks what was decided before */

static enum store_fault decide(const struct store_fault_call *call, int *ret_err, void *arg)
{
    enum store_fault fault = net.next;

    (void)call;
    (void)arg;
    *ret_err = net.next_err;
    net.next = FAULT_NONE;
    return fault;
}

static void enter(enum store_fault fault, int err)
{
    sched_hold(true);
    sched_at_store(true);
    net.next = fault;
    net.next_err = err;
}

static void leave(void)
{
    net.next = FAULT_NONE;
    sched_at_store(false);
    sched_hold(false);
}

/* ---- late writes: a courier each */

enum { CREATE, PUT, REMOVE };

struct courier {
    int kind; /* CREATE, PUT, REMOVE */
    enum store_class cls;
    struct buf key, bytes;
    int64_t at_us;
};

static int apply(int kind, struct str key, enum store_class cls, struct str bytes)
{
    struct store *s = net.fault;
    int r = kind == CREATE ? s->ops->create(s, key, cls, bytes, NULL)
            : kind == PUT  ? s->ops->put(s, key, cls, bytes, NULL)
                           : s->ops->remove(s, key, cls, NULL);

    if (r == 0 && kind == CREATE)
        audit_created(key, bytes);
    else if (r == 0 && kind == PUT)
        audit_put(key, bytes);
    else if (r == 0)
        audit_removed(key);
    return r;
}

static void carry(void *arg)
{
    struct courier *c = arg;
    int r;

    while (sched_now_us() < c->at_us && !net.hurry)
        sched_sleep_us(c->at_us - sched_now_us() < SEC ? c->at_us - sched_now_us() : SEC);
    enter(FAULT_NONE, 0);
    r = apply((int)c->kind, buf_str(&c->key), c->cls, buf_str(&c->bytes));
    leave();
    sim_trace("late %d " STR_FMT " %s", (int)c->kind, STR_ARG(buf_str(&c->key)), err_name(r));
    buf_done(&c->key);
    buf_done(&c->bytes);
    free(c);
    net.flying--;
}

static int64_t lateness(void)
{
    static const int64_t most[] = {200 * MS, 5 * SEC, 30 * SEC, 120 * SEC, NET_LATE_MAX_US};

    return rng_between(&net.rng, 1, most[rng_below(&net.rng, ARRAY_LEN(most))]);
}

static struct proc sky = {.name = "sky"};

static void send_late(int kind, struct str key, enum store_class cls, struct str bytes)
{
    struct courier *c = calloc(1, sizeof(*c));

    assert(c);
    c->kind = kind;
    c->cls = cls;
    c->key = BUF_INIT(STORE_KEY_MAX);
    c->bytes = BUF_INIT(SIZE_MAX / 2);
    buf_add(&c->key, key);
    buf_add(&c->bytes, bytes);
    assert(buf_err(&c->key) == 0 && buf_err(&c->bytes) == 0);
    c->at_us = sched_now_us() + lateness();
    net.flying++;
    sched_spawn(&sky, "courier", carry, c);
}

/* Commits of streams are kept by store_fault, and land together. */
static void flush(void)
{
    sched_hold(true);
    sched_at_store(true);
    store_fault_flush_late(net.fault);
    leave();
}

static void flush_later(void *arg)
{
    int64_t at_us = sched_now_us() + lateness();

    (void)arg;
    while (sched_now_us() < at_us && !net.hurry)
        sched_sleep_us(at_us - sched_now_us() < SEC ? at_us - sched_now_us() : SEC);
    flush();
    net.flying--;
}

void net_settle(void)
{
    net.hurry++;
    while (net.flying > 0)
        sched_sleep_us(SEC);
    net.hurry--;
}

/* ---- a call */

static int64_t one_way(void)
{
    const struct net_faults *f = &net.settings.faults;

    if (f->slow && rng_chance(&net.rng, f->slow))
        return rng_between(&net.rng, SEC, 25 * SEC);
    return rng_between(&net.rng, 1, net.settings.latency_max_us);
}

static enum fate choose(const struct call *c, int *ret_err)
{
    static const int passing[] = {-ERR_UNAVAIL, -ERR_UNAVAIL, -ERR_BUSY};
    static const int staying[] = {-ERR_IO, -ERR_DENIED, -ERR_NOSPACE};
    const struct net_faults *f = &net.settings.faults;
    unsigned dice = (unsigned)rng_below(&net.rng, 10000);

    *ret_err = passing[rng_below(&net.rng, ARRAY_LEN(passing))];
    if (sched_now_us() < net.outage_until_us &&
        (!net.cut_off[0] || strcmp(net.cut_off, c->link->proc->name) == 0) &&
        !rng_chance(&net.rng, net.outage_but))
        return dice % 3 == 0 ? FATE_FAIL : dice % 3 == 1 && c->writes ? FATE_LATE : FATE_LOST;
    if (net.cut_next_us && c->writes && str_starts(c->key, STR("repos/")) &&
        audit_is_entry(c->key)) {
        net_outage(NULL, sched_now_us() + net.cut_next_us, 0);
        net.cut_next_us = 0;
        return FATE_LATE;
    }
    if (f->cut && c->writes && audit_is_entry(c->key) && rng_chance(&net.rng, f->cut)) {
        net_outage(rng_chance(&net.rng, 5000) ? c->link->proc : NULL,
                   sched_now_us() + rng_between(&net.rng, 5 * SEC, 60 * SEC), 0);
        return dice % 2 ? FATE_LATE : FATE_LOST;
    }
    if (c->writes && audit_is_entry(c->key))
        dice /= ENTRIES_MORE;
    if (dice < f->fail)
        return FATE_FAIL;
    dice -= f->fail;
    if (dice < f->fail_hard) {
        /* A checkpoint that cannot be read is an alarm of its own. */
        if (c->key.len > 0 && memmem(c->key.at, c->key.len, "/_table/", 8))
            return FATE_FINE;
        *ret_err = staying[rng_below(&net.rng, c->writes ? 3 : 2)];
        return FATE_FAIL;
    }
    dice -= f->fail_hard;
    if (dice < f->lost)
        return FATE_LOST;
    dice -= f->lost;
    if (!c->writes)
        return FATE_FINE;
    if (dice < f->own_exists)
        return FATE_OWN_EXISTS;
    dice -= f->own_exists;
    if (dice < f->late)
        return FATE_LATE;
    dice -= f->late;
    return dice < f->twice ? FATE_TWICE : FATE_FINE;
}

static int refused(void)
{
    sched_in_flight(false);
    return -ERR_UNAVAIL;
}

/* The message leaves and arrives. Non-zero: the call ends here with that error. */
static int begin(struct call *c)
{
    const struct net_faults *f = &net.settings.faults;

    net.calls++;
    sched_in_flight(true);
    sched_point();
    if (c->link->proc->dead)
        return refused();
    if (f->crash && rng_chance(&net.rng, f->crash)) {
        if (rng_chance(&net.rng, 5000)) {
            c->link->die(c->link->proc);
            return refused();
        }
        c->dies_after = true;
    }
    c->fate = choose(c, &c->err);
    sched_sleep_us(one_way());
    /* Of one who died meanwhile the message is under way all the same, or never left. */
    return c->link->proc->dead && rng_chance(&net.rng, 5000) ? refused() : 0;
}

/* Where something went wrong with an entry, or in the middle of a close, sleeping is most
 * interesting. */
static void may_pause(const struct call *c)
{
    const struct net_faults *f = &net.settings.faults;
    struct proc *p = c->link->proc;
    bool session = c->writes && str_starts(c->key, STR(KEYS_UPLOADS));
    bool trouble = c->fate != FATE_FINE && audit_is_entry(c->key);
    unsigned chance = session || trouble ? PAUSES_MORE * f->pause : f->pause;

    if (net.sleep_us && net.sleep_calls-- == 0) {
        p->paused_from_us = sched_now_us();
        p->paused_until_us = sched_now_us() + net.sleep_us;
        net.sleep_us = 0;
        return;
    }
    if (f->pause == 0 || p->paused_until_us > sched_now_us() || !rng_chance(&net.rng, chance))
        return;
    p->paused_from_us =
        sched_now_us() + rng_between(&net.rng, 0, rng_chance(&net.rng, 5000) ? 1 : SEC);
    p->paused_until_us = p->paused_from_us + rng_between(&net.rng, SEC, f->pause_max_us);
}

static void note_absent(struct call *c)
{
    audit_absent(c->link->proc, c->key);
    if (!audit_is_entry(c->key))
        return;
    c->slow_us = net.slow_next_us;
    net.slow_next_us = 0;
}

/* The reply comes back, or does not matter any more. */
static int end(struct call *c, int r)
{
    if (c->key.len)
        sim_trace("%s " STR_FMT " fate %d: %s", c->op, STR_ARG(c->key), (int)c->fate,
                  r == 0 ? "ok" : err_name(r));
    if (c->dies_after && !c->link->proc->dead)
        c->link->die(c->link->proc);
    may_pause(c);
    if (c->slow_us)
        sched_sleep_us(c->slow_us);
    sched_in_flight(false);
    sched_sleep_us(one_way());
    return c->link->proc->dead ? -ERR_UNAVAIL : r;
}

static enum store_fault as_fault(const struct call *c)
{
    switch (c->fate) {
    case FATE_FAIL:
        return FAULT_FAIL_BEFORE;
    case FATE_LOST:
        return FAULT_REPLY_LOST;
    case FATE_OWN_EXISTS:
        return FAULT_OWN_EXISTS;
    default:
        return FAULT_NONE;
    }
}

static struct link *link_of(struct store *s)
{
    return (struct link *)(void *)s;
}

static int link_write(struct store *s, const char *op, int kind, struct str key,
                      enum store_class cls, struct str bytes)
{
    struct call c = {.link = link_of(s), .op = op, .key = key, .writes = true};
    int r;

    if (kind == CREATE)
        audit_sending(c.link->proc, key, bytes);
    r = begin(&c);
    if (r < 0)
        return r;
    if (c.fate == FATE_LATE) {
        send_late(kind, key, cls, bytes);
        return end(&c, -ERR_UNKNOWN);
    }
    enter(FAULT_NONE, 0);
    if (c.fate == FATE_FAIL) {
        r = c.err;
    } else {
        r = apply(kind, key, cls, bytes);
        if (kind == CREATE && r == -ERR_EXISTS)
            audit_exists(key, bytes);
        if (c.fate == FATE_LOST)
            r = -ERR_UNKNOWN;
        else if (c.fate == FATE_OWN_EXISTS && kind == CREATE && r == 0)
            r = -ERR_EXISTS;
    }
    leave();
    if (c.fate == FATE_TWICE)
        send_late(kind, key, cls, bytes);
    return end(&c, r);
}

static int link_create(struct store *s, struct str key, enum store_class cls, struct str bytes,
                       struct err_detail *d)
{
    (void)d;
    return link_write(s, "create", CREATE, key, cls, bytes);
}

static int link_put(struct store *s, struct str key, enum store_class cls, struct str bytes,
                    struct err_detail *d)
{
    (void)d;
    return link_write(s, "put", PUT, key, cls, bytes);
}

static int link_remove(struct store *s, struct str key, enum store_class cls, struct err_detail *d)
{
    (void)d;
    return link_write(s, "remove", REMOVE, key, cls, STR_NONE);
}

static int link_get(struct store *s, struct str key, uint64_t offset, uint64_t len, struct buf *out,
                    struct err_detail *d)
{
    struct call c = {.link = link_of(s), .op = "get", .key = key};
    size_t had = out->len;
    int r = begin(&c);

    if (r < 0)
        return r;
    enter(as_fault(&c), c.err);
    r = net.fault->ops->get(net.fault, key, offset, len, out, d);
    if (r == -ERR_NOTFOUND)
        note_absent(&c);
    leave();
    r = end(&c, r);
    if (r < 0)
        buf_truncate(out, had);
    return r;
}

static int link_head(struct store *s, struct str key, struct store_info *ret, struct err_detail *d)
{
    struct call c = {.link = link_of(s), .op = "head", .key = key};
    int r = begin(&c);

    if (r < 0)
        return r;
    enter(as_fault(&c), c.err);
    r = net.fault->ops->head(net.fault, key, ret, d);
    if (r == -ERR_NOTFOUND)
        note_absent(&c);
    leave();
    return end(&c, r);
}

static int link_probe(struct store *s, struct str key, struct store_info *ret)
{
    if (net.settings.remote)
        return -ERR_AGAIN;
    return link_head(s, key, ret, NULL);
}

static int link_list(struct store *s, struct str prefix, struct str after, unsigned max,
                     store_list_fn fn, void *arg, struct err_detail *d)
{
    struct call c = {.link = link_of(s), .op = "list", .key = prefix};
    int r = begin(&c);

    if (r < 0)
        return r;
    enter(as_fault(&c), c.err);
    r = net.fault->ops->list(net.fault, prefix, after, max, fn, arg, d);
    leave();
    return end(&c, r);
}

static int link_now(struct store *s, int64_t *ret_ms, struct err_detail *d)
{
    struct call c = {.link = link_of(s), .op = "now"};
    int r = begin(&c);

    if (r < 0)
        return r;
    enter(as_fault(&c), c.err);
    r = net.fault->ops->now(net.fault, ret_ms, d);
    leave();
    return end(&c, r);
}

static int link_open(struct store *s, struct str key, struct store_object *ret,
                     struct err_detail *d)
{
    (void)s;
    (void)key;
    (void)ret;
    (void)d;
    return -ERR_UNSUPPORTED;
}

static void link_free(struct store *s)
{
    free(link_of(s));
}

/* ---- streams */

static struct link_stream *stream_of(struct store_stream *st)
{
    return (struct link_stream *)(void *)st;
}

static void stream_free(struct link_stream *st)
{
    buf_done(&st->key);
    free(st);
}

static int stream_begin(struct store *s, const char *op, struct str key, struct str state,
                        uint64_t size, struct store_stream **ret, struct err_detail *d)
{
    struct call c = {.link = link_of(s), .op = op, .key = key};
    struct link_stream *st = calloc(1, sizeof(*st));
    int r;

    assert(st);
    *st = (struct link_stream){{&link_ops}, link_of(s), NULL, BUF_INIT(STORE_KEY_MAX)};
    buf_add(&st->key, key);
    r = begin(&c);
    if (r == 0) {
        enter(as_fault(&c), c.err);
        if (state.len > 0)
            r = net.fault->ops->stream_resume(net.fault, key, state, size, &st->inner, d);
        else
            r = net.fault->ops->stream_open(net.fault, key, &st->inner, d);
        leave();
        r = end(&c, r);
        if (r < 0 && st->inner)
            store_stream_close(st->inner);
    }
    if (r < 0) {
        stream_free(st);
        return r;
    }
    *ret = &st->stream;
    return 0;
}

static int link_stream_open(struct store *s, struct str key, struct store_stream **ret,
                            struct err_detail *d)
{
    return stream_begin(s, "stream.open", key, STR_NONE, 0, ret, d);
}

static int link_stream_resume(struct store *s, struct str key, struct str state, uint64_t size,
                              struct store_stream **ret, struct err_detail *d)
{
    return stream_begin(s, "stream.resume", key, state, size, ret, d);
}

static int link_stream_write(struct store_stream *stream, struct str bytes, struct err_detail *d)
{
    struct link_stream *st = stream_of(stream);
    struct call c = {.link = st->link, .op = "stream.write", .key = buf_str(&st->key)};
    int r = begin(&c);

    if (r < 0)
        return r;
    enter(as_fault(&c), c.err);
    r = st->inner->ops->stream_write(st->inner, bytes, d);
    leave();
    return end(&c, r);
}

static uint64_t link_stream_size(const struct store_stream *stream)
{
    const struct link_stream *st = (const struct link_stream *)(const void *)stream;

    return st->inner->ops->stream_size(st->inner);
}

static int link_stream_save(struct store_stream *stream, struct buf *ret_state,
                            struct err_detail *d)
{
    struct link_stream *st = stream_of(stream);
    struct call c = {.link = st->link, .op = "stream.save", .key = buf_str(&st->key)};
    size_t had = ret_state->len;
    int r = begin(&c);

    if (r < 0)
        return r;
    enter(as_fault(&c), c.err);
    r = st->inner->ops->stream_save(st->inner, ret_state, d);
    leave();
    r = end(&c, r);
    if (r < 0)
        buf_truncate(ret_state, had);
    return r;
}

static int link_stream_read(struct store_stream *stream, uint64_t offset, size_t len,
                            struct buf *out, struct err_detail *d)
{
    struct link_stream *st = stream_of(stream);
    struct call c = {.link = st->link, .op = "stream.read", .key = buf_str(&st->key)};
    size_t had = out->len;
    int r = begin(&c);

    if (r < 0)
        return r;
    enter(as_fault(&c), c.err);
    if (net.settings.remote && offset < st->inner->ops->stream_size(st->inner) / 2)
        r = -ERR_INVAL; /* as of parts */
    else
        r = st->inner->ops->stream_read(st->inner, offset, len, out, d);
    leave();
    r = end(&c, r);
    if (r < 0)
        buf_truncate(out, had);
    return r;
}

static bool exists(struct str key)
{
    struct store_info info;

    return net.mem->ops->head(net.mem, key, &info, NULL) == 0;
}

static int link_stream_commit(struct store_stream *stream, struct err_detail *d)
{
    struct link_stream *st = stream_of(stream);
    struct call c = {
        .link = st->link, .op = "stream.commit", .key = buf_str(&st->key), .writes = true};
    enum store_fault fault;
    bool before;
    int r = begin(&c);

    if (r < 0)
        return r;
    fault = c.fate == FATE_LATE    ? FAULT_LATE
            : c.fate == FATE_TWICE ? FAULT_DUPLICATE
                                   : as_fault(&c);
    enter(fault, c.err);
    before = exists(c.key);
    r = st->inner->ops->stream_commit(st->inner, d);
    if (!before && exists(c.key))
        audit_created(c.key, STR_NONE);
    leave();
    if (fault == FAULT_LATE || fault == FAULT_DUPLICATE) {
        net.flying++;
        sched_spawn(&sky, "courier", flush_later, NULL);
    }
    return end(&c, r);
}

static void link_stream_close(struct store_stream *stream)
{
    struct link_stream *st = stream_of(stream);

    sched_hold(true);
    store_stream_close(st->inner);
    sched_hold(false);
    stream_free(st);
}

static int link_stream_sweep(struct store *s, struct str key, struct err_detail *d)
{
    struct call c = {.link = link_of(s), .op = "stream.sweep", .key = key};
    int r = begin(&c);

    if (r < 0)
        return r;
    enter(as_fault(&c), c.err);
    r = net.fault->ops->stream_sweep(net.fault, key, d);
    leave();
    return end(&c, r);
}

static int link_stream_list(struct store *s, store_list_fn fn, void *arg, struct err_detail *d)
{
    struct call c = {.link = link_of(s), .op = "stream.list"};
    int r = begin(&c);

    if (r < 0)
        return r;
    enter(as_fault(&c), c.err);
    r = net.fault->ops->stream_list(net.fault, fn, arg, d);
    leave();
    return end(&c, r);
}

/* Many at once, one after the other: the scheduler mixes them with those of others. */
#define LINK_OPS                                                                                   \
    .free = link_free, .get = link_get, .head = link_head, .probe = link_probe,                    \
    .create = link_create, .put = link_put, .remove = link_remove, .list = link_list,              \
    .now = link_now, .open = link_open, .stream_open = link_stream_open,                           \
    .stream_write = link_stream_write, .stream_size = link_stream_size,                            \
    .stream_save = link_stream_save, .stream_resume = link_stream_resume,                          \
    .stream_read = link_stream_read, .stream_commit = link_stream_commit,                          \
    .stream_close = link_stream_close, .stream_sweep = link_stream_sweep,                          \
    .stream_list = link_stream_list,

static const struct store_ops link_ops = {LINK_OPS};
static const struct store_ops remote_ops = {.remote = true, LINK_OPS};

/* ---- life */

int net_open(struct proc *p, void (*die)(struct proc *p), struct store **ret)
{
    struct link *l = calloc(1, sizeof(*l));

    if (!l)
        return -ERR_NOMEM;
    *l = (struct link){{net.settings.remote ? &remote_ops : &link_ops}, p, die};
    *ret = &l->store;
    return 0;
}

void net_begin(uint64_t seed, const struct net_settings *settings)
{
    int r;

    memset(&net, 0, sizeof(net));
    net.settings = *settings;
    rng_seed(&net.rng, seed, 3);
    r = store_mem_new(&net.mem);
    assert(r == 0);
    r = store_fault_new(net.mem, decide, NULL, &net.fault);
    assert(r == 0);
}

void net_end(void)
{
    store_free(net.fault);
    net.fault = net.mem = NULL;
}

void net_set_faults(const struct net_faults *faults)
{
    net.settings.faults = faults ? *faults : (struct net_faults){.fail = 0};
    net.outage_until_us = 0;
}

void net_outage(const struct proc *p, int64_t until_us, unsigned but)
{
    snprintf(net.cut_off, sizeof(net.cut_off), "%s", p ? p->name : "");
    net.outage_until_us = until_us;
    net.outage_but = but;
}

void net_cut_next(int64_t for_us)
{
    net.cut_next_us = for_us;
}

void net_sleep_next(unsigned calls, int64_t for_us)
{
    net.sleep_calls = calls;
    net.sleep_us = for_us;
}

void net_slow_next(int64_t for_us)
{
    net.slow_next_us = for_us;
}

uint64_t net_calls(void)
{
    return net.calls;
}

struct store *net_store(void)
{
    return net.mem;
}
