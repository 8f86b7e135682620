/* See job.h. Each node steps its lease; who holds it takes the cursor and does one piece of work
 * after the other: the work itself, which takes seconds, then the cursor is moved behind it. Nodes
 * are put to sleep for longer than the lease, so that between the look at the lease and the move,
 * and while the move is under way, another one takes over.
 *
 * What must hold of the cursor's log (docs/bucket-format.md section 12): the cursor never goes
 * back; what lies before it was done; and once the holder of an epoch has taken it, nobody of an
 * older epoch moves it. */
#include "job.h"

#include <assert.h>
#include <stdio.h>

#include "audit.h"
#include "base/clock.h"
#include "base/json.h"
#include "blobstore/cursor.h"
#include "blobstore/keys.h"
#include "blobstore/lease.h"
#include "blobstore/objlog.h"
#include "hist.h"

#define HOLDERS   3
#define PIECES    1024
#define TAKES     512
#define MOVES     2048
#define RUN_US    (20 * 60 * SEC) /* less than LASTLOG_KEEP_MS: every entry still stands */
#define CALM_US   (4 * 60 * SEC)
#define WORK_US   (4 * SEC)
#define IDLE_US   (500 * MS)
#define PREFIX    "hooks/job"
#define ENTRY_MAX 65536

struct holder {
    struct proc proc; /* first */
    struct store *store;
    struct node *node;
    struct lease *lease;
    struct cursor *cursor;
};

struct take {
    uint64_t epoch, seq;
};

struct move {
    char node[NODE_ID_LEN + 1];
    uint64_t epoch, to;
};

static struct {
    struct holder holders[HOLDERS];
    struct rng rng;
    bool stop;
    bool done[PIECES];
    struct take takes[TAKES];
    struct move moves[MOVES]; /* tried, whatever became of them */
    unsigned take_count, move_count, too_late;
    uint64_t end; /* of the log, as far as it was seen; nothing is removed */
} job;

/* ---- the log, seen from outside */

struct seen {
    char node[NODE_ID_LEN + 1];
    uint64_t at;
    bool empty;
};

/* False: there is no such entry. */
static bool read_entry(uint64_t seq, struct seen *ret)
{
    struct buf key auto_buf = BUF_INIT(STORE_KEY_MAX), bytes auto_buf = BUF_INIT(ENTRY_MAX);
    struct json_doc *doc auto_json = NULL;
    struct objlog_entry e;
    struct str at;

    keys_log_entry(&key, STR(PREFIX), false, seq);
    if (store_get(net_store(), buf_str(&key), 0, STORE_WHOLE, &bytes, NULL) < 0)
        return false;
    *ret = (struct seen){.empty = true};
    if (objlog_parse(buf_str(&bytes), STR(PREFIX), seq, &e, &doc, NULL) < 0) {
        sim_fail("entry %llu of the cursor does not parse", (unsigned long long)seq);
        return true;
    }
    memcpy(ret->node, e.node.at, e.node.len < NODE_ID_LEN ? e.node.len : NODE_ID_LEN);
    ret->empty = !json_get_str(json_at(e.ops, 0), "at", &at) || !str_u64(at, &ret->at);
    return true;
}

static uint64_t log_end(void)
{
    struct seen s;

    while (read_entry(job.end + 1, &s))
        job.end++;
    return job.end;
}

/* The last entry of that node behind begin; else where the log ends. */
static uint64_t taken_at(uint64_t begin, struct str node)
{
    uint64_t end = log_end();
    struct seen s;

    for (uint64_t seq = end; seq > begin; seq--)
        if (read_entry(seq, &s) && str_eq(str_of(s.node), node))
            return seq;
    return end;
}

/* ---- a holder */

static bool leads(const struct holder *h, uint64_t epoch)
{
    return lease_epoch(h->lease) == epoch && !job.stop;
}

static void note_take(const struct holder *h, uint64_t epoch, uint64_t begin)
{
    if (job.take_count < TAKES)
        job.takes[job.take_count++] =
            (struct take){.epoch = epoch, .seq = taken_at(begin, node_id(h->node))};
}

static void note_move(const struct holder *h, uint64_t epoch, uint64_t to)
{
    struct move *m = &job.moves[job.move_count];

    if (job.move_count == MOVES)
        return;
    job.move_count++;
    *m = (struct move){.epoch = epoch, .to = to};
    memcpy(m->node, node_id(h->node).at, NODE_ID_LEN);
}

/* One piece after the other, until something is wrong or the lease is gone. */
static void serve(struct holder *h, uint64_t epoch)
{
    uint64_t begin = log_end(), at = 0;
    char text[24];
    int e = cursor_take(h->cursor, NULL);

    if (e < 0)
        return;
    note_take(h, epoch, begin);
    if (cursor_known(h->cursor) && !str_u64(cursor_at(h->cursor), &at))
        sim_fail("the cursor is no number");
    while (e == 0 && at + 1 < PIECES && leads(h, epoch)) {
        at++;
        sched_sleep_us(rng_between(&job.rng, 1, WORK_US));
        job.done[at] = true;
        note_move(h, epoch, at);
        snprintf(text, sizeof(text), "%llu", (unsigned long long)at);
        e = cursor_save(h->cursor, str_of(text), NULL);
        job.too_late += e == -ERR_EXISTS;
    }
}

static void work(void *arg)
{
    struct holder *h = arg;

    while (!job.stop) {
        uint64_t epoch = lease_epoch(h->lease);

        if (epoch)
            serve(h, epoch);
        sched_sleep_us(IDLE_US);
    }
}

static void hold(void *arg)
{
    struct holder *h = arg;

    while (!job.stop) {
        int64_t wait_ms = LEASE_TTL_MS;

        (void)!lease_step(h->lease, &wait_ms, NULL);
        for (int64_t until = clock_boot_ms() + wait_ms; clock_boot_ms() < until && !job.stop;)
            sched_sleep_us(SEC);
    }
}

static void live(void *arg)
{
    struct holder *h = arg;
    int e = node_open(h->store, &h->node, NULL);

    if (e == 0)
        e = lease_new(h->node, STR("job"), LEASE_TTL_MS, &h->lease);
    if (e == 0)
        e = cursor_new(h->node, STR(PREFIX), &h->cursor);
    if (e < 0) {
        sim_fail("a node of the job does not start: %s", err_name(e));
        return;
    }
    sched_spawn(&h->proc, "lease", hold, h);
    sched_spawn(&h->proc, "work", work, h);
}

static void dies(struct proc *p)
{
    sim_fail("%s died", p->name);
}

static void begin_holders(void)
{
    for (unsigned i = 0; i < HOLDERS; i++) {
        struct holder *h = &job.holders[i];
        int e;

        snprintf(h->proc.name, sizeof(h->proc.name), "j%u", i);
        h->proc.boot_offset_us = rng_between(&job.rng, 0, 1000 * SEC);
        e = net_open(&h->proc, dies, &h->store);
        assert(e == 0);
        sched_spawn(&h->proc, "start", live, h);
        while (sched_live(&h->proc) < 2 && !sim_failure())
            sched_sleep_us(SEC);
    }
}

static void end_holders(void)
{
    job.stop = true;
    for (unsigned i = 0; i < HOLDERS; i++) {
        struct holder *h = &job.holders[i];

        while (sched_live(&h->proc) > 0)
            sched_sleep_us(SEC);
        cursor_free(h->cursor);
        lease_free(h->lease);
        node_free(h->node);
        store_free(h->store);
    }
}

/* ---- what must hold */

/* Of the last epoch in which that node tried it. */
static uint64_t epoch_of(const char *node, uint64_t to)
{
    uint64_t epoch = 0;

    for (unsigned i = 0; i < job.move_count; i++)
        if (job.moves[i].to == to && strcmp(job.moves[i].node, node) == 0 &&
            job.moves[i].epoch > epoch)
            epoch = job.moves[i].epoch;
    return epoch;
}

static void check_move(uint64_t seq, const struct seen *s)
{
    uint64_t epoch = epoch_of(s->node, s->at);

    if (s->at >= PIECES || !job.done[s->at])
        sim_fail("the cursor stands at %llu, which nobody did", (unsigned long long)s->at);
    if (job.move_count == MOVES || job.take_count == TAKES)
        return; /* not all is known */
    for (unsigned i = 0; i < job.take_count; i++)
        if (job.takes[i].seq < seq && job.takes[i].epoch > epoch)
            sim_fail("the cursor, taken in epoch %llu, was moved by the holder of epoch %llu",
                     (unsigned long long)job.takes[i].epoch, (unsigned long long)epoch);
}

static uint64_t check_log(void)
{
    struct seen s;
    uint64_t last = 0;

    for (uint64_t seq = 1; read_entry(seq, &s); seq++) {
        if (s.empty)
            continue;
        if (s.at < last)
            sim_fail("the cursor went back from %llu to %llu", (unsigned long long)last,
                     (unsigned long long)s.at);
        if (s.at > last)
            check_move(seq, &s);
        last = s.at;
    }
    return last;
}

/* ---- a run */

static void sleep_somebody(void)
{
    struct proc *p = &job.holders[rng_below(&job.rng, HOLDERS)].proc;

    p->paused_from_us = sched_now_us();
    p->paused_until_us =
        sched_now_us() + rng_between(&job.rng, SEC, 2 * LEASE_TTL_MS * MS + 60 * SEC);
    sim_trace("sleep of %s", p->name);
}

static void direct(void *arg)
{
    const struct net_faults *faults = arg;
    uint64_t before;

    begin_holders();
    net_set_faults(faults);
    while (sched_now_us() < RUN_US && !sim_failure()) {
        sched_sleep_us(rng_between(&job.rng, SEC, 60 * SEC));
        sleep_somebody();
    }
    net_set_faults(NULL);
    net_settle();
    sched_sleep_us(CALM_US);
    before = check_log();
    sched_sleep_us(CALM_US / 4);
    if (check_log() == before && before + 1 < PIECES)
        sim_fail("nobody does the job any more");
    end_holders();
    net_settle();
    (void)check_log();
}

unsigned job_run(uint64_t seed, bool faulty, const struct net_settings *settings)
{
    struct net_settings mine = {.latency_max_us = settings->latency_max_us,
                                .remote = settings->remote};
    struct net_faults faults = settings->faults;

    memset(&job, 0, sizeof(job));
    rng_seed(&job.rng, seed, 8);
    faults.crash = 0;
    hist_begin();
    audit_begin();
    net_begin(seed, &mine);
    sched_run(seed, direct, faulty ? &faults : NULL);
    net_end();
    audit_end();
    return job.too_late;
}
