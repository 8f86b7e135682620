/* Clients: what they do, as requests to nodes, and what they note down of it (hist.h). A request's
 * steps are those of its HTTP handler (registry/api_*.c), without HTTP. */
#include <assert.h>
#include <stdio.h>

#include "base/thread.h"
#include "world.h"

#define PATIENCE_US (45 * SEC)
#define CHUNK_BYTES (40u << 10)
#define MISSING_MAX (REPO_MISSING_MAX * DIGEST_TEXT_MAX)
#define IDENTITY    STR("someone")
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
    DEED_COUNT
};

/* Errors that say "try later" must not come where nothing goes wrong. */
static void note_error(const char *what, int e, const struct err_detail *why)
{
    sim_trace("%s: %s %s", what, err_name(e), why->text);
    if (!world->plan.faulty && e != -ERR_NOTFOUND && e != -ERR_MISSING_REF && e != -ERR_RANGE &&
        e != -ERR_BUSY && e != -ERR_CONDITION)
        sim_fail("%s without any fault: %s (%s)", what, err_name(e), why->text);
    if (e == -ERR_CORRUPT || e == -ERR_VERSION || e == -ERR_READONLY || e == -ERR_DIGEST)
        sim_fail("%s: %s (%s)", what, err_name(e), why->text);
}

static struct repo *open_repo(struct request *rq, unsigned repo, int *ret_err,
                              struct err_detail *why)
{
    struct repo *r = NULL;

    *ret_err = repo_get(rq->site->repos, world_repo(repo), &r, why);
    if (*ret_err < 0)
        return NULL;
    return r;
}

static struct repo *fresh_repo(struct request *rq, unsigned repo, int *ret_err,
                               struct err_detail *why)
{
    struct repo *r = open_repo(rq, repo, ret_err, why);

    if (*ret_err == 0)
        *ret_err = repo_refresh(r, why);
    return r;
}

/* ---- changes of the log */

static enum outcome outcome_of(int e)
{
    if (e == 0)
        return OUT_OK;
    if (e == -ERR_NOTFOUND)
        return OUT_NOT_FOUND;
    if (e == -ERR_MISSING_REF)
        return OUT_MISSING;
    if (e == -ERR_CONDITION)
        return OUT_CONDITION;
    return e == -ERR_UNKNOWN ? OUT_UNKNOWN : OUT_NOT_DONE;
}

static struct repo_who who_of(struct request *rq)
{
    return (struct repo_who){IDENTITY, str_of(rq->number)};
}

/* If-Match with what the tag was, or If-None-Match: *. */
struct condition {
    struct taglog_if is;
    struct str match;
    char text[DIGEST_TEXT_MAX];
};

static const struct taglog_if *condition_of(const struct request *rq, struct condition *c)
{
    unsigned want = rq->op->want;

    if (want == 0)
        return NULL;
    *c = (struct condition){.is = {.absent = want == 1}};
    if (want > 1) {
        c->match = digest_text(&world->mans[want - 2].digest, c->text);
        c->is.one_of = true;
        c->is.match = &c->match;
        c->is.match_count = 1;
    }
    return &c->is;
}

static void note_missing(struct request *rq, struct str list)
{
    while (list.len > 0) {
        ptrdiff_t end = str_find(list, '\n');
        struct str text = str_head(list, (size_t)end);
        int blob = world_blob_of(text), manifest = world_manifest_of(text);

        if (blob >= 0)
            rq->op->missing_blobs |= 1u << blob;
        else if (manifest >= 0)
            rq->op->missing_manifests |= 1u << manifest;
        else
            sim_fail("a digest nobody named is missing: " STR_FMT, STR_ARG(text));
        list = str_skip(list, (size_t)end + 1);
    }
}

static void run_put(struct request *rq)
{
    const struct man *man = &world->mans[rq->manifest];
    struct buf missing auto_buf = BUF_INIT(MISSING_MAX);
    struct manifest m auto_manifest = {.doc = NULL};
    struct err_detail why = {{0}};
    struct str tags[TAGS_MAX];
    struct repo_put put = {
        .manifest = &m, .body = buf_str(&man->body), .digest = man->digest, .tags = tags};
    struct repo_who who = who_of(rq);
    struct repo *r auto_repo = NULL;
    struct condition condition;
    int e = manifest_parse(put.body, STR_NONE, &m, &why);

    for (unsigned i = 0; i < world->plan.tags; i++)
        if (rq->tags & (1u << i))
            tags[put.tag_count++] = world_tag(i);
    put.condition = condition_of(rq, &condition);
    if (e == 0)
        r = open_repo(rq, rq->repo, &e, &why);
    if (e == 0)
        e = repo_put(r, &put, &who, &missing, &why);
    if (e == -ERR_MISSING_REF)
        note_missing(rq, buf_str(&missing));
    if (e < 0)
        note_error("put", e, &why);
    rq->result = e;
}

static void run_set_tags(struct request *rq)
{
    struct taglog_set sets[TAGS_MAX];
    struct err_detail why = {{0}};
    struct repo_who who = who_of(rq);
    size_t count = 0;
    int e;
    struct repo *r auto_repo = open_repo(rq, rq->repo, &e, &why);

    for (unsigned i = 0; i < world->plan.tags; i++)
        if ((rq->tags | rq->gone) & (1u << i))
            sets[count++] = (struct taglog_set){.tag = world_tag(i),
                                                .remove = !(rq->tags & (1u << i)),
                                                .digest = world->mans[rq->manifest].digest};
    if (e == 0)
        e = repo_set_tags(r, sets, count, &who, NULL, &why);
    if (e < 0)
        note_error("set-tags", e, &why);
    rq->result = e;
}

static void run_remove(struct request *rq)
{
    struct err_detail why = {{0}};
    struct repo_who who = who_of(rq);
    struct condition condition;
    int e;
    struct repo *r auto_repo = open_repo(rq, rq->repo, &e, &why);

    if (e == 0 && rq->op->kind == OP_DELETE_TAG)
        e = repo_delete_tag_if(r, world_tag(rq->tag), condition_of(rq, &condition), &who, NULL,
                               &why);
    else if (e == 0 && rq->op->kind == OP_DELETE_MANIFEST)
        e = repo_delete_manifest(r, &world->mans[rq->manifest].digest, &who, &why);
    else if (e == 0)
        e = repo_unlink_blob(r, world_blob(rq->op->blob), &who, &why);
    if (e < 0)
        note_error(hist_name(rq->op->kind), e, &why);
    rq->result = e;
}

/* ---- reads */

/* What is a member has its bytes (I5, I7). */
static int read_bytes(struct request *rq, const struct digest *d, struct str want,
                      struct err_detail *why)
{
    struct buf bytes auto_buf = BUF_INIT(MANIFEST_BYTES_MAX);
    char text[DIGEST_TEXT_MAX];
    int e = blob_read(rq->site->blobs, d, MANIFEST_BYTES_MAX, &bytes, why);

    if (rq->site->proc.dead)
        return -ERR_UNAVAIL;
    digest_text(d, text);
    if (e == -ERR_NOTFOUND || e == -ERR_CORRUPT || e == -ERR_TOOBIG)
        sim_fail("%s is a member of " STR_FMT " but its bytes are not there: %s (%s)", text,
                 STR_ARG(world_repo(rq->repo)), err_name(e), why->text);
    else if (e == 0 && !str_eq(buf_str(&bytes), want))
        sim_fail("%s of " STR_FMT " has other bytes", text, STR_ARG(world_repo(rq->repo)));
    return e;
}

static int get_manifest(struct request *rq, struct repo *r, struct err_detail *why)
{
    struct repo_manifest m;
    struct digest d;
    char text[DIGEST_TEXT_MAX];
    int index, e;

    if (rq->op->kind == OP_GET_TAG)
        e = repo_tag(r, world_tag(rq->tag), &m);
    else
        e = repo_manifest(r, &world->mans[rq->manifest].digest, &m);
    rq->op->value = 0;
    if (e == -ERR_NOTFOUND)
        return 0;
    d = m.digest;
    index = world_manifest_of(digest_text(&d, text));
    if (index < 0) {
        sim_fail("a tag leads to %s, which nobody pushed", text);
        return -ERR_UNAVAIL;
    }
    rq->op->value = rq->op->kind == OP_GET_TAG ? index + 1 : 1;
    return read_bytes(rq, &d, buf_str(&world->mans[index].body), why);
}

static int get_blob(struct request *rq, struct repo *r, struct err_detail *why)
{
    const struct digest *d = world_blob(rq->op->blob);
    struct blob_info info;
    int e = repo_blob(r, d, &info, why);

    rq->op->value = e == 0;
    if (e < 0)
        return e == -ERR_NOTFOUND ? 0 : e;
    return read_bytes(rq, d, buf_str(&world->contents[rq->op->blob / 2].bytes), why);
}

static int note_tag(struct str tag, void *arg)
{
    struct request *rq = arg;

    for (unsigned i = 0; i < TAGS_MAX; i++)
        if (str_eq(tag, world_tag(i)))
            rq->op->tags |= 1u << i;
    return 0;
}

static void run_read(struct request *rq)
{
    struct err_detail why = {{0}};
    bool more;
    int e;
    struct repo *r auto_repo = fresh_repo(rq, rq->repo, &e, &why);

    if (e == 0 && rq->op->kind == OP_GET_BLOB)
        e = get_blob(rq, r, &why);
    else if (e == 0 && rq->op->kind == OP_LIST)
        e = repo_tags(r, STR_NONE, 100, note_tag, rq, &more);
    else if (e == 0)
        e = get_manifest(rq, r, &why);
    if (e < 0)
        note_error(hist_name(rq->op->kind), e, &why);
    rq->result = e;
}

/* ---- blobs */

static void run_start(struct request *rq)
{
    upload_start(rq->site->uploads, world_repo(rq->repo), IDENTITY,
                 rq->alg ? DIGEST_SHA512 : DIGEST_SHA256, rq->session->id);
}

static int write_up_to(struct upload *u, const struct content *c, uint64_t upto,
                       struct err_detail *why)
{
    uint64_t at;
    int e = 0;

    while (e == 0 && (at = upload_offset(u)) < upto) {
        uint64_t n = upto - at < CHUNK_BYTES ? upto - at : CHUNK_BYTES;

        e = upload_write(u, str_make(c->bytes.at + at, (size_t)n), why);
    }
    return e;
}

/* A session that was gone stays gone, and what it acknowledged stays acknowledged. */
static void note_held(struct request *rq, const struct upload *u)
{
    struct session *s = rq->session;

    if (upload_closed(u))
        return;
    if (s->dead_at && s->dead_at < rq->tick)
        sim_fail("session %s lives again", s->id);
    if (s->acked_at && s->acked_at < rq->tick && upload_offset(u) < s->acked)
        sim_fail("session %s lost bytes: %llu of %llu", s->id, (unsigned long long)upload_offset(u),
                 (unsigned long long)s->acked);
}

/* Of a small session that was closed only the process knows that closed it: no rule is broken when
 * another one starts it anew. */
static void note_gone(struct session *s)
{
    if (!s->dead_at && !s->closed_small)
        s->dead_at = hist_tick();
}

static int hold(struct request *rq, struct upload **ret, struct err_detail *why)
{
    int e = upload_hold(rq->site->uploads, world_repo(rq->session->repo), IDENTITY,
                        str_of(rq->session->id), ret, why);

    if (rq->site->proc.dead) {
        if (e == 0)
            upload_release(*ret);
        return -ERR_UNAVAIL;
    }
    if (e == 0)
        note_held(rq, *ret);
    else if (e == -ERR_NOTFOUND)
        note_gone(rq->session);
    return e;
}

static void run_patch(struct request *rq)
{
    const struct content *c = &world->contents[rq->session->content];
    struct err_detail why = {{0}};
    struct upload *u;
    int e = hold(rq, &u, &why);

    if (e < 0) {
        note_error("hold", e, &why);
        rq->result = e;
        return;
    }
    if (upload_closed(u)) {
        e = -ERR_NOTFOUND;
    } else {
        e = write_up_to(u, c, rq->upto, &why);
        if (e == 0)
            e = upload_save(u, &why);
    }
    if (e == 0 && !rq->site->proc.dead && upload_offset(u) >= rq->session->acked) {
        rq->session->acked = upload_offset(u);
        rq->session->acked_at = hist_tick();
    }
    if (e < 0)
        note_error("patch", e, &why);
    upload_release(u);
    rq->result = e;
}

static void run_close(struct request *rq)
{
    const struct content *c = &world->contents[rq->session->content];
    struct err_detail why = {{0}};
    struct repo *r auto_repo = NULL;
    struct upload *u;
    int e = hold(rq, &u, &why);

    if (e < 0) {
        note_error("hold", e, &why);
        rq->result = e;
        return;
    }
    e = write_up_to(u, c, c->bytes.len, &why);
    if (e == 0)
        r = fresh_repo(rq, rq->session->repo, &e, &why);
    if (e == 0) {
        const struct digest *d = &c->digests[rq->alg];

        rq->reached = true;
        rq->session->closed_small |= c->bytes.len <= BLOB_INLINE_MAX;
        e = upload_close(u, d, repo_link_u(r, d), &why);
    }
    if (e < 0)
        note_error("close", e, &why);
    else if (!rq->site->proc.dead)
        note_gone(rq->session);
    upload_release(u);
    rq->result = e;
}

static void run_cancel(struct request *rq)
{
    struct err_detail why = {{0}};
    struct upload *u;
    int e = hold(rq, &u, &why);

    if (e == 0) {
        e = upload_cancel(u, &why);
        if (e == 0 && !rq->site->proc.dead)
            note_gone(rq->session);
        upload_release(u);
    }
    if (e < 0)
        note_error("cancel", e, &why);
    rq->result = e;
}

static void run_find(struct request *rq) /* in rq->from, for a mount */
{
    unsigned into = rq->repo;

    rq->repo = rq->from;
    run_read(rq);
    rq->repo = into;
}

static void run_mount(struct request *rq)
{
    const struct digest *d = world_blob(rq->op->blob);
    struct err_detail why = {{0}};
    int e;
    struct repo *r auto_repo = fresh_repo(rq, rq->repo, &e, &why);

    if (e == 0) {
        rq->reached = true;
        e = blob_link_create(rq->site->blobs, world_repo(rq->repo), d, repo_link_u(r, d), &why);
    }
    if (e < 0)
        note_error("mount", e, &why);
    rq->result = e;
}

void request_sweep(struct request *rq)
{
    struct err_detail why = {{0}};
    int e = uploads_sweep(rq->site->uploads, &why);

    if (e < 0)
        note_error("sweep", e, &why);
}

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
        hist_return(op, outcome_of(rq->result));
    else
        hist_return(op, rq->result == 0 ? OUT_OK : rq->reached ? OUT_UNKNOWN : OUT_NOT_DONE);
    sim_trace("back %u %s: outcome %d value %d tags %x", index, hist_name(op->kind),
              (int)op->outcome, op->value, op->tags);
    request_unref(rq);
    if (!sent)
        sched_sleep_us(rng_between(&c->rng, MS, SEC));
}

static struct op *begin_op(struct client *c, struct request *rq, enum op_kind kind, unsigned repo)
{
    rq->op = hist_call(kind, c->number, repo);
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
    struct request *rq = request_new(kind == OP_PUT      ? run_put
                                     : kind <= OP_UNLINK ? run_remove
                                                         : run_read);
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
    struct request *rq = request_new(run_close);
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
    rq = request_new(run_start);
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
        (void)session_request(s, run_patch, size * (i + 1) / (pieces + 1), node);
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
        (void)session_request(s, run_cancel, 0, any_node(c));
    else if (rng_chance(&c->rng, 5000))
        (void)session_request(s, run_patch, any(c, (unsigned)world->contents[s->content].bytes.len),
                              any_node(c));
    else
        (void)close_session(c, s, choose_alg(c), any_node(c));
}

static void mount_blob(struct client *c, unsigned from, unsigned repo, unsigned blob)
{
    struct request *rq = request_new(run_find);
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
    rq = request_new(run_mount);
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
    rq = request_new(remove ? run_remove : run_put);
    op = begin_op(c, rq, remove ? OP_DELETE_TAG : OP_PUT, repo);
    op->tags = rq->tags = 1u << tag;
    op->want = (unsigned)my_answer(c, at) + 1;
    op->manifest = rq->manifest = remove ? 0 : manifest;
    rq->tag = tag;
    do_op(c, rq, any_node(c), false);
}

static void set_tags(struct client *c, unsigned repo)
{
    struct request *rq = request_new(run_set_tags);
    struct op *op = begin_op(c, rq, OP_SET_TAGS, repo);
    uint32_t all = (1u << world->plan.tags) - 1;

    op->tags = rq->tags = (uint32_t)rng_next(&c->rng) & all;
    op->gone = rq->gone = (uint32_t)rng_next(&c->rng) & all & ~op->tags;
    if (!op->tags && !op->gone)
        op->tags = rq->tags = 1;
    op->manifest = rq->manifest = any(c, world->plan.manifests);
    do_op(c, rq, any_node(c), false);
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
        int e = s->used ? session_request(s, run_patch, 1, any_node(c)) : -ERR_NOTFOUND;

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

void client_verify(void)
{
    struct client c = {.number = CLIENTS_MAX};

    rng_seed(&c.rng, world->plan.seed, 99);
    if (world->plan.jumps > 0)
        verify_sessions(&c);
    for (unsigned repo = 0; repo < world->plan.repos; repo++) {
        for (unsigned node = 0; node < world->plan.nodes; node++)
            verify_repo(&c, node, repo);
        for (unsigned node = 0, first = any_node(&c); node < world->plan.nodes; node++)
            change_repo(&c, (node + first) % world->plan.nodes, repo);
        if (world->plan.faulty && rng_chance(&c.rng, 3000))
            leave_undecided(&c, repo);
        verify_repo(&c, any_node(&c), repo);
    }
}
