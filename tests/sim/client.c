/* Clients: what they do, as requests to nodes, and what they note down of it (hist.h). */
#include <assert.h>
#include <stdio.h>

#include "world.h"

#define PATIENCE_US (45 * SEC)
#define RETRIES_MAX 4

enum deed {
    DEED_PUT,
    DEED_PUSH,  /* a blob, by a new session */
    DEED_GO_ON, /* with somebody's session */
    DEED_MOUNT,
    DEED_DELETE_TAG,
    DEED_DELETE_MANIFEST,
    DEED_UNLINK,
    DEED_GET_TAG,
    DEED_GET_MANIFEST,
    DEED_GET_BLOB,
    DEED_LIST,
    DEED_SWAP,     /* reads a tag, then changes it if it is still so */
    DEED_SET_TAGS, /* several at once */
    DEED_SETTINGS, /* which tags are immutable */
    DEED_COUNT
};

/* ---- a client's deeds */

struct client {
    unsigned number;
    struct rng rng;
};

static unsigned any_node(struct client *c)
{
    return (unsigned)rng_below(&c->rng, world->plan.nodes);
}

static unsigned any(struct client *c, unsigned n)
{
    return (unsigned)rng_below(&c->rng, n);
}

/* Of reads "denied" is the store's word. */
static enum outcome outcome_of(enum op_kind kind, int e)
{
    if (e == 0)
        return OUT_OK;
    if (e == -ERR_NOTFOUND)
        return OUT_NOT_FOUND;
    if (e == -ERR_MISSING_REF)
        return OUT_MISSING;
    if (e == -ERR_CONDITION)
        return OUT_CONDITION;
    if (e == -ERR_DENIED && kind <= OP_UNLINK)
        return OUT_DENIED;
    return e == -ERR_UNKNOWN ? OUT_UNKNOWN : OUT_NOT_DONE;
}

/* Sends a request that is noted as an operation, and notes how it ended. */
static void do_op(struct client *c, struct request *rq, unsigned node, bool linking)
{
    struct op *op = rq->op;
    unsigned index = (unsigned)(op - hist_at(0));
    bool sent;

    snprintf(rq->number, sizeof(rq->number), "%u", index);
    sim_trace("call %u %s c%u r%u m%u b%u tags %x node %u", index, hist_name(op->kind), c->number,
              op->repo, op->manifest, op->blob, op->tags, node);
    rq->tick = op->call;
    sent = request_call(rq, node, PATIENCE_US);
    if (!sent)
        hist_return(op, OUT_NOT_DONE);
    else if (rq->lost)
        hist_return(op, OUT_UNKNOWN);
    else if (!linking)
        hist_return(op, outcome_of(op->kind, rq->result));
    else
        hist_return(op, rq->result == 0 ? OUT_OK : rq->reached ? OUT_UNKNOWN : OUT_NOT_DONE);
    sim_trace("back %u %s: outcome %d value %d tags %x", index, hist_name(op->kind),
              (int)op->outcome, op->value, op->tags);
    request_unref(rq);
    if (!sent)
        sched_sleep_us(rng_between(&c->rng, MS, SEC));
}

/* In some worlds one change in so many is an override. */
#define OVERRIDES_EVERY 8

static struct op *begin_op(struct client *c, struct request *rq, enum op_kind kind, unsigned repo)
{
    rq->op = hist_call(kind, c->number, repo);
    rq->op->override = world->plan.overrides && kind <= OP_DELETE_MANIFEST &&
                       (rq->op - hist_at(0)) % OVERRIDES_EVERY == 0;
    rq->repo = repo;
    return rq->op;
}

/* What the client's read, the first operation of its own since at, said. */
static int my_answer(const struct client *c, unsigned at)
{
    while (hist_at(at)->client != c->number)
        at++;
    return hist_at(at)->value;
}

/* One plain request; true when it was answered as done. */
static bool ask(struct client *c, enum op_kind kind, unsigned repo, unsigned what, uint32_t tags,
                unsigned node)
{
    struct request *rq = request_new(kind == OP_PUT      ? request_put
                                     : kind <= OP_UNLINK ? request_remove
                                                         : request_read);
    struct op *op = begin_op(c, rq, kind, repo);

    rq->manifest = rq->tag = what;
    rq->tags = tags;
    op->manifest =
        kind == OP_PUT || kind == OP_DELETE_MANIFEST || kind == OP_GET_MANIFEST ? what : 0;
    op->blob = kind == OP_UNLINK || kind == OP_GET_BLOB ? what : 0;
    op->tags = kind == OP_DELETE_TAG || kind == OP_GET_TAG ? 1u << what : tags;
    do_op(c, rq, node, false);
    return op->outcome == OUT_OK;
}

static int session_request(struct session *s, void (*run)(struct request *rq), uint64_t upto,
                           unsigned node)
{
    struct request *rq = request_new(run);
    int e;

    rq->session = s;
    rq->upto = upto;
    rq->repo = s->repo;
    rq->tick = hist_tick();
    e = !request_call(rq, node, PATIENCE_US) || rq->lost ? -ERR_UNKNOWN : rq->result;
    request_unref(rq);
    return e;
}

static bool close_session(struct client *c, struct session *s, unsigned alg, unsigned node)
{
    struct request *rq = request_new(request_close);
    struct op *op = begin_op(c, rq, OP_LINK, s->repo);

    rq->session = s;
    rq->alg = alg;
    op->blob = 2 * s->content + alg;
    do_op(c, rq, node, true);
    return op->outcome == OUT_OK;
}

/* A second request to close the same session, by another node: of a proxy that did not wait. */
struct twin {
    struct client client;
    struct session *session;
    unsigned alg, node;
};

static void close_too(void *arg)
{
    struct twin *t = arg;

    sched_sleep_us(rng_between(&t->client.rng, 1, 20 * MS));
    (void)close_session(&t->client, t->session, t->alg, t->node);
    free(t);
    mutex_lock(&world->mu);
    world->clients_left--;
    cond_broadcast(&world->changed);
    mutex_unlock(&world->mu);
}

static void close_twice(struct client *c, struct session *s, unsigned alg, unsigned node)
{
    struct twin *t = malloc(sizeof(*t));

    assert(t);
    *t = (struct twin){.client = *c, .session = s, .alg = alg};
    t->node = (node + 1 + any(c, world->plan.nodes - 1)) % world->plan.nodes;
    world->clients_left++;
    sched_spawn(sched_proc(), "twin", close_too, t);
}

static unsigned choose_alg(struct client *c)
{
    return rng_chance(&c->rng, 1200) ? 1 : 0;
}

static struct session *new_session(struct client *c, unsigned repo, unsigned content, unsigned alg)
{
    struct session *s = &world->sessions[world->session_count];
    struct request *rq;
    bool started;

    if (world->session_count == SESSIONS_MAX)
        return NULL;
    world->session_count++;
    s->repo = repo;
    s->content = content;
    rq = request_new(request_start);
    rq->session = s;
    rq->repo = repo;
    rq->alg = alg;
    started = request_call(rq, any_node(c), PATIENCE_US) && rq->finished;
    request_unref(rq);
    s->used = started;
    return started ? s : NULL;
}

static bool push_blob(struct client *c, unsigned repo, unsigned content, unsigned alg)
{
    uint64_t size = world->contents[content].bytes.len;
    struct session *s = new_session(c, repo, content, alg);
    unsigned node = any_node(c), pieces = any(c, 3);

    if (!s)
        return false;
    for (unsigned i = 0; i < pieces; i++) {
        (void)session_request(s, request_patch, size * (i + 1) / (pieces + 1), node);
        if (rng_chance(&c->rng, 3000))
            node = any_node(c);
    }
    if (c->number < CLIENTS_MAX && rng_chance(&c->rng, 800)) /* left to others, or to its age */
        return false;
    if (rng_chance(&c->rng, size > BLOB_INLINE_MAX ? 6000 : 500))
        close_twice(c, s, rng_chance(&c->rng, 1000) ? !alg : alg, node);
    for (unsigned i = 0; i < RETRIES_MAX; i++) {
        if (close_session(c, s, alg, node))
            return true;
        node = any_node(c);
        sched_sleep_us(rng_between(&c->rng, MS, 2 * SEC));
    }
    return false;
}

/* Someone else's session, old or young. */
static void go_on(struct client *c)
{
    struct session *s;

    if (world->session_count == 0)
        return;
    s = &world->sessions[rng_chance(&c->rng, 5000) ? world->session_count - 1
                                                   : any(c, world->session_count)];
    if (!s->used)
        return;
    if (rng_chance(&c->rng, 500))
        (void)session_request(s, request_cancel, 0, any_node(c));
    else if (rng_chance(&c->rng, 5000))
        (void)session_request(s, request_patch,
                              any(c, (unsigned)world->contents[s->content].bytes.len), any_node(c));
    else
        (void)close_session(c, s, choose_alg(c), any_node(c));
}

static void mount_blob(struct client *c, unsigned from, unsigned repo, unsigned blob)
{
    struct request *rq = request_new(request_find);
    unsigned node = any_node(c);
    struct op *op = begin_op(c, rq, OP_GET_BLOB, from);
    bool found;

    op->blob = blob;
    rq->from = from;
    rq->repo = from;
    do_op(c, rq, node, false);
    found = op->outcome == OUT_OK && op->value;
    if (!found)
        return;
    rq = request_new(request_mount);
    op = begin_op(c, rq, OP_LINK, repo);
    op->blob = blob;
    do_op(c, rq, node, true);
}

/* Pushes what a put was told is missing, and puts again. */
static void put(struct client *c, unsigned repo)
{
    unsigned manifest = any(c, world->plan.manifests);
    uint32_t tags = (uint32_t)rng_below(&c->rng, 1u << world->plan.tags);
    const struct op *last;

    for (unsigned i = 0; i < RETRIES_MAX; i++) {
        unsigned before = hist_count();

        if (ask(c, OP_PUT, repo, manifest, tags, any_node(c)))
            return;
        last = hist_at(before);
        if (last->outcome != OUT_MISSING) {
            sched_sleep_us(rng_between(&c->rng, MS, 3 * SEC));
            continue;
        }
        for (unsigned b = 0; b < 2 * world->plan.contents; b++)
            if (last->missing_blobs & (1u << b))
                (void)push_blob(c, repo, b / 2, b % 2);
        if (last->missing_manifests)
            manifest = last->missing_manifests & 1 ? 0 : 1;
    }
}

static void swap(struct client *c, unsigned repo)
{
    unsigned tag = any(c, world->plan.tags), manifest = any(c, world->plan.manifests), at;
    bool remove = rng_chance(&c->rng, 2000);
    struct request *rq;
    struct op *op;

    at = hist_count();
    if (!ask(c, OP_GET_TAG, repo, tag, 0, any_node(c)))
        return;
    rq = request_new(remove ? request_remove : request_put);
    op = begin_op(c, rq, remove ? OP_DELETE_TAG : OP_PUT, repo);
    op->tags = rq->tags = 1u << tag;
    op->want = (unsigned)my_answer(c, at) + 1;
    op->manifest = rq->manifest = remove ? 0 : manifest;
    rq->tag = tag;
    do_op(c, rq, any_node(c), false);
}

static void set_tags(struct client *c, unsigned repo)
{
    struct request *rq = request_new(request_set_tags);
    struct op *op = begin_op(c, rq, OP_SET_TAGS, repo);
    uint32_t all = (1u << world->plan.tags) - 1;

    op->tags = rq->tags = (uint32_t)rng_next(&c->rng) & all;
    op->gone = rq->gone = (uint32_t)rng_next(&c->rng) & all & ~op->tags;
    if (!op->tags && !op->gone)
        op->tags = rq->tags = 1;
    op->manifest = rq->manifest = any(c, world->plan.manifests);
    do_op(c, rq, any_node(c), false);
}

static bool settle(struct client *c, unsigned repo, uint32_t immutable, unsigned node)
{
    struct request *rq = request_new(request_settings);
    struct op *op = begin_op(c, rq, OP_SETTINGS, repo);

    op->tags = rq->tags = immutable;
    do_op(c, rq, node, false);
    return op->outcome == OUT_OK;
}

static void act(struct client *c, enum deed deed)
{
    unsigned repo = any(c, world->plan.repos), node = any_node(c);
    unsigned tag = any(c, world->plan.tags), manifest = any(c, world->plan.manifests);
    unsigned content = any(c, world->plan.contents), blob = 2 * content + choose_alg(c);

    switch (deed) {
    case DEED_PUT:
        put(c, repo);
        break;
    case DEED_PUSH:
        (void)push_blob(c, repo, content, blob % 2);
        break;
    case DEED_GO_ON:
        go_on(c);
        break;
    case DEED_MOUNT:
        mount_blob(c, any(c, world->plan.repos), repo, blob);
        break;
    case DEED_DELETE_TAG:
        (void)ask(c, OP_DELETE_TAG, repo, tag, 0, node);
        break;
    case DEED_DELETE_MANIFEST:
        (void)ask(c, OP_DELETE_MANIFEST, repo, manifest, 0, node);
        break;
    case DEED_UNLINK:
        (void)ask(c, OP_UNLINK, repo, blob, 0, node);
        break;
    case DEED_GET_TAG:
        (void)ask(c, OP_GET_TAG, repo, tag, 0, node);
        break;
    case DEED_GET_MANIFEST:
        (void)ask(c, OP_GET_MANIFEST, repo, manifest, 0, node);
        break;
    case DEED_GET_BLOB:
        (void)ask(c, OP_GET_BLOB, repo, blob, 0, node);
        break;
    case DEED_SWAP:
        swap(c, repo);
        break;
    case DEED_SET_TAGS:
        set_tags(c, repo);
        break;
    case DEED_SETTINGS: /* mostly none, or little could change any more */
        (void)settle(c, repo, rng_chance(&c->rng, 5000) ? 0 : 1u << tag, node);
        break;
    case DEED_LIST:
    case DEED_COUNT:
        (void)ask(c, OP_LIST, repo, 0, 0, node);
        break;
    }
}

static enum deed choose_deed(struct client *c)
{
    unsigned sum = 0, dice;

    for (unsigned i = 0; i < DEED_COUNT; i++)
        sum += world->plan.weights[i];
    dice = any(c, sum);
    for (unsigned i = 0; i < DEED_COUNT; i++) {
        if (dice < world->plan.weights[i])
            return (enum deed)i;
        dice -= world->plan.weights[i];
    }
    return DEED_LIST;
}

void client_run(void *arg)
{
    struct client c = {.number = (unsigned)(uintptr_t)arg};

    rng_seed(&c.rng, world->plan.seed, 100 + c.number);
    for (unsigned i = 0; i < world->plan.ops; i++) {
        if (sched_now_us() < world->quiet_until_us) {
            sched_sleep_us(world->quiet_until_us - sched_now_us());
            go_on(&c);
        }
        act(&c, choose_deed(&c));
        sched_sleep_us(rng_between(&c.rng, 1, world->plan.think_max_us));
    }
    mutex_lock(&world->mu);
    world->clients_left--;
    cond_broadcast(&world->changed);
    mutex_unlock(&world->mu);
}

/* ---- at the end: nothing goes wrong any more, so everything must work by every node */

static void must(bool ok, const char *what, unsigned node, unsigned repo)
{
    const struct op *last = hist_at(hist_count() - 1);

    if (!ok)
        sim_fail("at the end: %s by node %u in repository %u: outcome %d", what, node, repo,
                 (int)last->outcome);
}

static void verify_repo(struct client *c, unsigned node, unsigned repo)
{
    for (unsigned i = 0; i < world->plan.tags; i++)
        must(ask(c, OP_GET_TAG, repo, i, 0, node), "get tag", node, repo);
    for (unsigned i = 0; i < world->plan.manifests; i++)
        must(ask(c, OP_GET_MANIFEST, repo, i, 0, node), "get manifest", node, repo);
    for (unsigned i = 0; i < 2 * world->plan.contents; i++)
        must(ask(c, OP_GET_BLOB, repo, i, 0, node), "get blob", node, repo);
    must(ask(c, OP_LIST, repo, 0, 0, node), "list", node, repo);
}

/* Every node can commit to every log: none is blocked by something undecided, none read-only. */
static void change_repo(struct client *c, unsigned node, unsigned repo)
{
    uint32_t blobs = world->mans[0].blobs;

    for (unsigned i = 0; i < RETRIES_MAX; i++) {
        bool ok = true;

        for (unsigned b = 0; b < 2 * world->plan.contents; b++)
            if (blobs & (1u << b))
                ok = push_blob(c, repo, b / 2, b % 2) && ok;
        if (!ok)
            continue;
        if (!ask(c, OP_GET_MANIFEST, repo, 0, 0, node))
            continue;
        if (hist_at(hist_count() - 1)->value)
            must(ask(c, OP_DELETE_MANIFEST, repo, 0, 0, node), "delete", node, repo);
        must(ask(c, OP_PUT, repo, 0, 1, node), "put", node, repo);
        return;
    }
    sim_fail("at the end: blobs cannot be pushed to repository %u", repo);
}

/* After days without a request every session has ended, for every node. */
static void verify_sessions(struct client *c)
{
    int64_t until_us = sched_now_us() + rng_between(&c->rng, 25 * HOUR, 60 * HOUR);

    while (sched_now_us() < until_us) {
        struct request *rq = request_new(request_sweep);

        (void)request_call(rq, any_node(c), PATIENCE_US);
        request_unref(rq);
        sched_sleep_us(until_us - sched_now_us() < 20 * HOUR ? until_us - sched_now_us() + 1
                                                             : rng_between(&c->rng, 1, 20 * HOUR));
    }
    for (unsigned i = 0; i < world->session_count; i++) {
        struct session *s = &world->sessions[i];
        int e = s->used ? session_request(s, request_patch, 1, any_node(c)) : -ERR_NOTFOUND;

        if (e != -ERR_NOTFOUND)
            sim_fail("session %s is served after days: %s", s->id, e < 0 ? err_name(e) : "ok");
    }
}

/* An entry whose outcome its node cannot learn: the node settles the number when it next commits,
 * and commits. */
static void leave_undecided(struct client *c, unsigned repo)
{
    unsigned node = any_node(c);

    change_repo(c, node, repo);
    net_cut_next(rng_between(&c->rng, 21 * SEC, 60 * SEC));
    (void)ask(c, OP_DELETE_TAG, repo, 0, 0, node);
    net_cut_next(0);
    sched_sleep_us(65 * SEC);
    if (!ask(c, OP_DELETE_TAG, repo, 0, 0, node))
        must(hist_at(hist_count() - 1)->outcome == OUT_NOT_FOUND, "delete after an undecided entry",
             node, repo);
    must(ask(c, OP_PUT, repo, 0, 1, node), "put after an undecided entry", node, repo);
}

/* A node that sleeps in the middle of a change, past the life of its check. */
static void sleep_over(struct client *c, unsigned repo)
{
    unsigned node = any_node(c);

    change_repo(c, node, repo);
    net_sleep_next(any(c, 5), rng_between(&c->rng, 61 * SEC, 150 * SEC));
    (void)ask(c, OP_DELETE_TAG, repo, 0, 0, node);
    net_sleep_next(0, 0);
    sched_sleep_us(200 * SEC);
}

struct beside {
    struct client client;
    unsigned repo, node;
    bool done;
};

static void read_slowly(void *arg)
{
    struct beside *b = arg;

    (void)ask(&b->client, OP_GET_TAG, b->repo, 0, 0, b->node);
    mutex_lock(&world->mu);
    b->done = true;
    cond_broadcast(&world->changed);
    mutex_unlock(&world->mu);
}

/* While a node's look at the log is on its way back, another node changes a tag; who then reads by
 * the first one must not be answered by that look. */
static void read_beside(struct client *c, unsigned repo)
{
    unsigned node = any_node(c), other = (node + 1 + any(c, world->plan.nodes - 1));
    struct beside first = {.client = *c, .repo = repo, .node = node};

    other %= world->plan.nodes;
    change_repo(c, other, repo);
    net_slow_next(3 * SEC);
    sched_spawn(sched_proc(), "beside", read_slowly, &first);
    sched_sleep_us(SEC);
    net_slow_next(0);
    must(ask(c, OP_DELETE_TAG, repo, 0, 0, other), "delete", other, repo);
    must(ask(c, OP_GET_TAG, repo, 0, 0, node), "get tag", node, repo);
    mutex_lock(&world->mu);
    while (!first.done)
        cond_wait(&world->changed, &world->mu);
    mutex_unlock(&world->mu);
}

void client_verify(void)
{
    struct client c = {.number = CLIENTS_MAX};

    rng_seed(&c.rng, world->plan.seed, 99);
    if (world->plan.jumps > 0)
        verify_sessions(&c);
    for (unsigned repo = 0; repo < world->plan.repos; repo++) {
        must(settle(&c, repo, 0, any_node(&c)), "settings", 0, repo);
        for (unsigned node = 0; node < world->plan.nodes; node++)
            verify_repo(&c, node, repo);
        for (unsigned node = 0, first = any_node(&c); node < world->plan.nodes; node++)
            change_repo(&c, (node + first) % world->plan.nodes, repo);
        if (world->plan.faulty && rng_chance(&c.rng, 3000))
            leave_undecided(&c, repo);
        if (world->plan.faulty && rng_chance(&c.rng, 3000))
            sleep_over(&c, repo);
        if (rng_chance(&c.rng, 3000))
            read_beside(&c, repo);
        verify_repo(&c, any_node(&c), repo);
    }
}
