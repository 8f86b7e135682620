/* Group commit. Callers queue operations that are validated and encoded; whoever waits first leads:
 * it takes a batch off the head of the queue, judges each operation on the present state, and
 * creates the next entry. Lost to another node: follow, judge again, create again. The lead passes
 * on after each batch. No lock is held over I/O: `held` keeps others off the log.
 *
 * An operation is in exactly one place: in the queue and not taken, in the queue and taken (its
 * entry is being created; it must wait for the outcome), or done. */
#include "manifests/replica_internal.h"

#include <assert.h>

#include "base/clock.h"
#include "base/rand.h"

struct batch {
    struct replica_op *ops[OBJLOG_BATCH_OPS_MAX]; /* the queue's first count operations */
    size_t count;
    struct replica_known known;        /* of all of them, or of none */
    struct buf text;                   /* the JSON array */
    int64_t validated_ms, deadline_ms; /* the earliest of the operations */
    bool owed;                         /* of any of them */
};

#define FOREIGN_RECENT_MS                                                                          \
    1000                 /* another node wrote so lately: it may want the next number, too         \
                          */
#define ALONE_MS     250 /* who writes alone for so long pauses once */
#define RANDOM_PARTS 1024
#define YIELD_MAX_MS 1000

/* ---- queue; locked */

static void push(struct replica *r, struct replica_op *op)
{
    op->next = NULL;
    *r->queue_end = op;
    r->queue_end = &op->next;
    r->queue_len++;
}

/* Takes an operation out, wherever it stands. */
static void pull(struct replica *r, struct replica_op *op)
{
    struct replica_op **at = &r->queue;

    while (*at != op) {
        assert(*at);
        at = &(*at)->next;
    }
    *at = op->next;
    if (!*at)
        r->queue_end = at;
    r->queue_len--;
}

/* It is told later, see tell(): those who wake up would all wait for the lock. */
static void finish(struct replica *r, struct replica_op *op, int result,
                   struct replica_op **finished)
{
    pull(r, op);
    op->result = result;
    op->done = true;
    op->next = *finished;
    *finished = op;
}

/* Not locked. Wakes those who have their answer; self is the caller's own. */
static void tell(struct replica_op **finished, struct replica_op *self)
{
    struct replica_op *next;

    for (struct replica_op *op = *finished; op; op = next) {
        next = op->next; /* it may be gone once it is told */
        if (op == self)
            op->told = true;
        else
            event_set(&op->wake, REPLICA_DONE_SAID);
    }
    *finished = NULL;
}

static int too_late(struct replica_op *op)
{
    return err_set(&op->detail, -ERR_NOTCOMMITTED, "the log was busy for too long");
}

/* ---- batches */

static bool fits(const struct batch *b, const struct replica_op *op)
{
    if (b->count == 0)
        return true;
    return b->count < OBJLOG_BATCH_OPS_MAX && b->text.len + 1 + op->text.len < OBJLOG_BATCH_MAX;
}

static int take(struct batch *b, struct replica_op *op)
{
    size_t before = b->text.len;

    if (b->count > 0)
        buf_addc(&b->text, ',');
    buf_add(&b->text, op->text);
    if (buf_err(&b->text) < 0) {
        int e = buf_err(&b->text);

        b->text.err = 0;
        buf_truncate(&b->text, before);
        return e;
    }
    if (b->count == 0 || op->validated_ms < b->validated_ms)
        b->validated_ms = op->validated_ms;
    if (b->count == 0 || op->deadline_ms < b->deadline_ms)
        b->deadline_ms = op->deadline_ms;
    b->owed |= op->owed;
    op->taken = true;
    b->known.at[b->count] = op->known;
    b->known.count += op->known != NULL;
    b->ops[b->count++] = op;
    return 0;
}

/* Locked. Fills a batch from the head of the queue; what is refused falls out with its answer. */
static size_t gather(struct replica *r, struct batch *b, struct replica_op **finished)
{
    struct replica_op *op, *next;
    int64_t now = clock_boot_ms();

    b->count = b->known.count = 0;
    b->owed = false;
    buf_clear(&b->text);
    buf_addc(&b->text, '[');
    r->ops->batch(r->self);
    for (op = r->queue; op; op = next) {
        enum replica_verdict verdict;
        int e;

        next = op->next;
        if (r->refused < 0) { /* the state is not one to judge on */
            finish(r, op, r->refused, finished);
            continue;
        }
        if (now + REPLICA_SEND_MS >= op->deadline_ms) {
            finish(r, op, too_late(op), finished);
            continue;
        }
        if (!fits(b, op))
            break;
        verdict = r->ops->judge(r->self, op);
        if (verdict == REPLICA_LATER)
            break;
        e = verdict == REPLICA_DONE ? op->result : take(b, op);
        if (verdict == REPLICA_DONE || e < 0)
            finish(r, op, e, finished);
    }
    buf_addc(&b->text, ']');
    return b->count;
}

/* Holder, not locked. The winner of a number gives others, when there are some, time for the next:
 * half to one and a half times as long as an entry takes (design section 6). Else it would win
 * again and again, since it alone knows the new head at once. Others that always lose are never
 * seen: so also who writes alone pauses now and then. */
static void plan_yield(struct replica *r, int64_t took_ns)
{
    int64_t now = clock_boot_ms(), wait_ms;
    uint32_t random = RANDOM_PARTS;
    bool contended = r->foreign_ms > 0 && now - r->foreign_ms <= FOREIGN_RECENT_MS;

    r->round_ns = r->round_ns == 0 ? took_ns : (3 * r->round_ns + took_ns) / 4;
    r->yield_until_ms = 0;
    if (!contended && now - r->yielded_ms < ALONE_MS)
        return;
    if (contended) {
        rand_bytes(&random, sizeof(random));
        random %= RANDOM_PARTS;
    }
    wait_ms = (r->round_ns / 2 + (int64_t)random * (r->round_ns / RANDOM_PARTS) + NS_PER_MS / 2) /
              NS_PER_MS;
    r->yield_until_ms = now + (wait_ms < YIELD_MAX_MS ? wait_ms : YIELD_MAX_MS);
    r->yielded_ms = now;
}

/* Holder, not locked. What the others made of that time is followed before a number is tried. */
static void yield(struct replica *r)
{
    int64_t left = r->yield_until_ms - clock_boot_ms();

    if (left <= 0)
        return;
    clock_sleep_ms(left);
    r->yield_until_ms = 0;
    if (objlog_probe(r->log, r->pos.seq) == 0)
        return;
    if (replica_follow(r, NULL) < 0)
        return; /* the create will meet the same */
}

/* Not locked. 0, -ERR_EXISTS (lost; followed up to the head), -ERR_AGAIN (what is owed must be
 * settled), or the batch's answer. */
static int commit_batch(struct replica *r, struct batch *b, struct err_detail *detail)
{
    struct objlog_pos pos = r->pos;
    const struct objlog_batch append = {.ops = buf_str(&b->text),
                                        .validated_ms = b->validated_ms,
                                        .decide_until_ms = b->deadline_ms,
                                        .known = b->known.count == b->count,
                                        .settles = b->owed};
    const struct objlog_entry *entry = NULL;
    int64_t begun;
    int e;

    if (buf_err(&b->text) < 0)
        return buf_err(&b->text);
    e = r->ops->before(r->self, pos.seq + 1, b->deadline_ms, detail);
    if (e < 0)
        return e;
    begun = clock_boot_ns();
    e = objlog_append_until(r->log, &pos, &append, &entry, detail);
    if (e == 0) {
        plan_yield(r, clock_boot_ns() - begun);
        /* Should this fail, the entry stands all the same: the next reader follows it. */
        if (replica_apply(r, entry, true, &b->known, NULL) == 0)
            r->ops->after(r->self, b->deadline_ms);
        return 0;
    }
    if (e != -ERR_EXISTS)
        return e;
    e = replica_follow(r, detail);
    if (e == 0)
        return -ERR_EXISTS;
    if (e == -ERR_CORRUPT)
        return -ERR_READONLY;
    return e == -ERR_VERSION || e == -ERR_NOMEM ? e : -ERR_NOTCOMMITTED;
}

static void answer(struct replica *r, struct batch *b, int result, const struct err_detail *detail,
                   struct replica_op **finished)
{
    for (size_t i = 0; i < b->count; i++) {
        b->ops[i]->detail = *detail;
        finish(r, b->ops[i], result, finished);
    }
}

/* Locked. The batch was not committed, for no fault of its own. */
static void put_back(struct replica *r, struct batch *b, bool owed_too,
                     struct replica_op **finished)
{
    for (size_t i = 0; i < b->count; i++) {
        if (b->ops[i]->owed && !owed_too)
            finish(r, b->ops[i], -ERR_AGAIN, finished);
        else
            b->ops[i]->taken = false;
    }
}

/* Locked on entry and return. One batch, decided. */
static void lead(struct replica *r, struct replica_op *self)
{
    struct batch b = {.text = BUF_INIT(OBJLOG_OP_MAX + 2)};
    struct replica_op *finished = NULL;
    struct err_detail detail;
    int e;

    assert(!r->held);
    r->held = true;
    mutex_unlock(&r->mu);
    yield(r);
    mutex_lock(&r->mu);
    while (gather(r, &b, &finished) > 0) {
        detail.text[0] = 0;
        mutex_unlock(&r->mu);
        tell(&finished, self);
        e = commit_batch(r, &b, &detail);
        mutex_lock(&r->mu);
        if (e != -ERR_EXISTS && !(e == -ERR_AGAIN && b.owed)) {
            answer(r, &b, e, &detail, &finished);
            break;
        }
        /* Lost: the same operations, judged on the new state, until their deadlines. */
        put_back(r, &b, e == -ERR_EXISTS, &finished);
    }
    r->held = false;
    replica_pass_on(r);
    mutex_unlock(&r->mu);
    tell(&finished, self);
    buf_done(&b.text);
    mutex_lock(&r->mu);
}

/* Locked. Waits for the answer or the lead. */
static void wait_turn(struct replica *r, struct replica_op *op)
{
    struct replica_op *finished = NULL;
    bool taken = op->taken;
    unsigned said;

    mutex_unlock(&r->mu);
    said = taken ? event_wait(&op->wake) : event_wait_until(&op->wake, op->deadline_ms);
    op->told = said & REPLICA_DONE_SAID;
    mutex_lock(&r->mu);
    if (said || op->done || op->taken || clock_boot_ms() < op->deadline_ms)
        return;
    finish(r, op, too_late(op), &finished);
    op->told = true;
    /* A wake-up meant for this one goes to the next. */
    replica_pass_on(r);
}

int replica_commit(struct replica *r, struct replica_op *op)
{
    int e;

    assert(r && op && op->text.len > 0 && !r->frozen);
    op->taken = op->done = op->told = false;
    op->detail.text[0] = 0;
    e = replica_writable(r, &op->detail);
    if (e < 0)
        return e;
    event_init(&op->wake);
    mutex_lock(&r->mu);
    if (r->queue_len >= REPLICA_QUEUE_MAX) {
        op->done = op->told = true;
        op->result = err_set(&op->detail, -ERR_BUSY, "too many changes wait for this log");
    } else {
        push(r, op);
    }
    while (!op->done) {
        if (!r->held && r->followers_waiting == 0)
            lead(r, op);
        else
            wait_turn(r, op);
    }
    mutex_unlock(&r->mu);
    while (!op->told)
        op->told = event_wait(&op->wake) & REPLICA_DONE_SAID;
    event_done(&op->wake);
    return op->result;
}
