/* See world.h. Owns the nodes and their lives.
 *
 * A node that crashes is marked dead at once: its requests are lost, none of its store calls has an
 * effect any more, and a new incarnation starts soon after. The threads of the dead one run to
 * their ends among failing calls, then its memory is freed. */
#include "world.h"

#include <assert.h>
#include <stdio.h>

#include "base/thread.h"
#include "manifests/manifest.h"

#define POOL_QUEUE_MAX 64
#define OPEN_PAUSE_US  (200 * MS)
#define OPEN_TRIES     3000 /* until its clock is set right */
#define TYPE_CONFIG    "application/vnd.oci.image.config.v1+json"
#define TYPE_LAYER     "application/vnd.oci.image.layer.v1.tar+gzip"

struct world *world;

/* ---- names and content */

struct str world_repo(unsigned i)
{
    return str_of(world->repo_names[i]);
}

struct str world_tag(unsigned i)
{
    static const char *const names[TAGS_MAX] = {"latest", "v1", "v2", "edge"};

    return str_of(names[i]);
}

const struct digest *world_blob(unsigned i)
{
    return &world->contents[i / 2].digests[i % 2];
}

uint64_t world_blob_size(unsigned i)
{
    return world->contents[i / 2].bytes.len;
}

int world_blob_of(struct str text)
{
    char have[DIGEST_TEXT_MAX];

    for (unsigned i = 0; i < 2 * world->plan.contents; i++)
        if (str_eq(digest_text(world_blob(i), have), text))
            return (int)i;
    return -1;
}

int world_manifest_of(struct str text)
{
    char have[DIGEST_TEXT_MAX];

    for (unsigned i = 0; i < world->plan.manifests; i++)
        if (str_eq(digest_text(&world->mans[i].digest, have), text))
            return (int)i;
    return -1;
}

int world_repo_of(struct str name)
{
    for (unsigned i = 0; i < world->plan.repos; i++)
        if (str_eq(world_repo(i), name))
            return (int)i;
    return -1;
}

static void make_contents(struct rng *rng)
{
    for (unsigned i = 0; i < world->plan.contents; i++) {
        struct content *c = &world->contents[i];
        size_t size = i % 3 != 0 ? (size_t)rng_between(rng, BLOB_INLINE_MAX + 1, BLOB_BIG_BYTES)
                                 : (size_t)rng_between(rng, 1, i == 0 ? 300 : BLOB_INLINE_MAX);

        c->bytes = BUF_INIT(BLOB_BIG_BYTES);
        char *at = buf_reserve(&c->bytes, size);
        assert(at);
        for (size_t n = 0; n < size; n++)
            at[n] = (char)('a' + (n * 7 + i * 13 + n / 251) % 26);
        buf_added(&c->bytes, size);
        digest_of(DIGEST_SHA256, buf_str(&c->bytes), &c->digests[0]);
        digest_of(DIGEST_SHA512, buf_str(&c->bytes), &c->digests[1]);
    }
}

static void add_descriptor(struct buf *out, const char *type, const struct digest *d, uint64_t size)
{
    char text[DIGEST_TEXT_MAX];

    digest_text(d, text);
    buf_addf(out, "{\"mediaType\":\"%s\",\"digest\":\"%s\",\"size\":%llu}", type, text,
             (unsigned long long)size);
}

static void add_annotation(struct buf *out, unsigned bytes)
{
    buf_add(out, STR(",\"annotations\":{\"note\":\""));
    for (unsigned i = 0; i < bytes; i++)
        buf_addc(out, (char)('a' + i % 23));
    buf_add(out, STR("\"}"));
}

/* The last one is an index over the first two; others share blobs, one in two has a subject. */
static void make_manifest(struct rng *rng, unsigned i)
{
    struct man *m = &world->mans[i];
    unsigned n = world->plan.manifests;

    m->body = BUF_INIT(MANIFEST_BYTES_MAX);
    if (n > 2 && i == n - 1) {
        buf_addf(&m->body, "{\"schemaVersion\":2,\"mediaType\":\"%s\",\"manifests\":[",
                 MEDIA_OCI_INDEX);
        for (unsigned k = 0; k < 2; k++) {
            if (k > 0)
                buf_addc(&m->body, ',');
            add_descriptor(&m->body, MEDIA_OCI_MANIFEST, &world->mans[k].digest,
                           world->mans[k].body.len);
            m->manifests |= 1u << k;
        }
        buf_addc(&m->body, ']');
    } else {
        unsigned layers = (unsigned)rng_between(rng, 1, 2), config = 2 * (i % world->plan.contents);

        buf_addf(&m->body,
                 "{\"schemaVersion\":2,\"mediaType\":\"%s\",\"config\":", MEDIA_OCI_MANIFEST);
        add_descriptor(&m->body, TYPE_CONFIG, world_blob(config), world_blob_size(config));
        m->blobs |= 1u << config;
        buf_add(&m->body, STR(",\"layers\":["));
        for (unsigned k = 0; k < layers; k++) {
            unsigned blob = 2 * (unsigned)rng_below(rng, world->plan.contents);

            if (k == 1 && rng_chance(rng, 1500))
                blob++;
            if (k > 0)
                buf_addc(&m->body, ',');
            add_descriptor(&m->body, TYPE_LAYER, world_blob(blob), world_blob_size(blob));
            m->blobs |= 1u << blob;
        }
        buf_addc(&m->body, ']');
    }
    if (i % 2 == 1) {
        buf_add(&m->body, STR(",\"subject\":"));
        add_descriptor(&m->body, MEDIA_OCI_MANIFEST, &world->mans[0].digest,
                       world->mans[0].body.len);
    }
    buf_addf(&m->body, ",\"number\":%u", i); /* no two are equal */
    add_annotation(&m->body, (unsigned)rng_below(rng, world->plan.annotation + 1));
    buf_addc(&m->body, '}');
    assert(buf_err(&m->body) == 0);
    digest_of(DIGEST_SHA256, buf_str(&m->body), &m->digest);
}

void world_begin(const struct plan *plan)
{
    struct rng rng;

    world = calloc(1, sizeof(*world));
    assert(world);
    world->plan = *plan;
    rng_seed(&world->rng, plan->seed, 4);
    rng_seed(&rng, plan->seed, 5);
    mutex_init(&world->mu);
    cond_init(&world->changed);
    for (unsigned i = 0; i < plan->repos; i++)
        snprintf(world->repo_names[i], sizeof(world->repo_names[i]), i == 1 ? "r0/app" : "r%u", i);
    make_contents(&rng);
    for (unsigned i = 0; i < plan->manifests; i++)
        make_manifest(&rng, i);
}

void world_end(void)
{
    for (unsigned i = 0; i < CONTENTS_MAX; i++)
        buf_done(&world->contents[i].bytes);
    for (unsigned i = 0; i < MANIFESTS_MAX; i++)
        buf_done(&world->mans[i].body);
    cond_done(&world->changed);
    mutex_done(&world->mu);
    free(world);
    world = NULL;
}

/* ---- a node's life */

/* Everything of the process is lost at this instant. */
static void die(struct proc *p)
{
    struct site *s = (struct site *)(void *)p;

    if (p->dead)
        return;
    sim_trace("crash of %s", p->name);
    p->dead = true;
    s->up = false;
    world->counts[0]++;
    if (world->sites[s->index] == s)
        world->sites[s->index] = NULL;
    for (struct request *rq = s->asked; rq; rq = rq->next)
        rq->lost = true;
    cond_broadcast(&world->changed);
}

static int open_site(struct site *s)
{
    struct repos_settings repos = {.references = REFERENCES_STRICT};
    struct err_detail why = {{0}};
    int e = 0;

    if (!s->background)
        e = work_new("background", 1, POOL_QUEUE_MAX, &s->background);
    if (e == 0 && !s->pool)
        e = work_new("worker", world->plan.workers, POOL_QUEUE_MAX, &s->pool);
    if (e == 0 && !s->node)
        e = node_open(s->store, &s->node, &why);
    if (e == 0 && !s->blobs)
        e = blobs_new(s->node, &s->blobs);
    if (e == 0 && !s->uploads)
        e = uploads_new(s->blobs, &s->uploads);
    repos.background = s->background;
    if (e == 0 && !s->repos)
        e = repos_new(s->blobs, &repos, &s->repos);
    sim_trace("open: %s %s", e < 0 ? err_name(e) : "ok", why.text);
    return e;
}

static void site_open(void *arg)
{
    struct site *s = arg;
    unsigned tries = 0;
    int e;

    while ((e = open_site(s)) < 0 && !s->proc.dead) {
        if (!world->plan.faulty)
            sim_fail("a node does not start: %s", err_name(e));
        sched_sleep_us(OPEN_PAUSE_US);
        if (world->calm || ++tries > OPEN_TRIES)
            s->proc.wall_skew_ms = 0; /* nobody may make a registry whose clock is wrong */
    }
    mutex_lock(&world->mu);
    s->opening = false;
    s->up = !s->proc.dead;
    if (s->up)
        world->sites[s->index] = s;
    cond_broadcast(&world->changed);
    mutex_unlock(&world->mu);
}

/* Ends what runs in the process and frees it; also of one that is dead, or never came up. */
static void site_close(void *arg)
{
    struct site *s = arg;

    while (s->pins > 0 || s->opening)
        sched_sleep_us(MS);
    work_free(s->pool);
    work_free(s->background);
    repos_free(s->repos);
    uploads_free(s->uploads);
    blobs_free(s->blobs);
    node_free(s->node);
    store_free(s->store);
    mutex_lock(&world->mu);
    world->dying--;
    cond_broadcast(&world->changed);
    mutex_unlock(&world->mu);
}

/* The site's memory goes when none of its threads is left. */
static void bury(void *arg)
{
    struct site *s = arg;

    sched_spawn(&s->proc, "end", site_close, s);
    while (sched_live(&s->proc) > 0)
        sched_sleep_us(100 * MS);
    free(s);
    mutex_lock(&world->mu);
    world->dying--;
    cond_broadcast(&world->changed);
    mutex_unlock(&world->mu);
}

static void life(unsigned index, unsigned incarnation)
{
    struct site *s = calloc(1, sizeof(*s));
    struct rng *rng = &world->rng;
    int e;

    assert(s);
    s->index = index;
    snprintf(s->proc.name, sizeof(s->proc.name), "n%u.%u", index, incarnation);
    s->proc.boot_offset_us = rng_between(rng, 0, 1000 * SEC);
    s->proc.wall_skew_ms = rng_chance(rng, 3000) ? rng_between(rng, -120000, 120000) : 0;
    if (world->plan.faulty && !world->calm && rng_chance(rng, 800))
        s->proc.wall_skew_ms = rng_between(rng, -2 * HOUR / MS, 400 * 24 * HOUR / MS);
    e = net_open(&s->proc, die, &s->store);
    assert(e == 0);
    s->opening = true;
    sched_spawn(&s->proc, "start", site_open, s);
    mutex_lock(&world->mu);
    while (!s->proc.dead && !(world->stop && s->up))
        cond_wait(&world->changed, &world->mu);
    if (world->sites[index] == s)
        world->sites[index] = NULL;
    s->up = false;
    world->dying += 2;
    mutex_unlock(&world->mu);
    sched_spawn(sched_proc(), "undertaker", bury, s);
}

static void keep(void *arg)
{
    unsigned index = (unsigned)(uintptr_t)arg;

    for (unsigned i = 1; !world->stop; i++) {
        life(index, i);
        if (!world->stop)
            sched_sleep_us(rng_between(&world->rng, 10 * MS, 8 * SEC));
    }
    mutex_lock(&world->mu);
    world->keepers_left--;
    cond_broadcast(&world->changed);
    mutex_unlock(&world->mu);
}

void world_start_nodes(void)
{
    world->keepers_left = world->plan.nodes;
    for (unsigned i = 0; i < world->plan.nodes; i++)
        sched_spawn(sched_proc(), "keeper", keep, (void *)(uintptr_t)i);
}

void world_stop_nodes(void)
{
    mutex_lock(&world->mu);
    world->stop = true;
    cond_broadcast(&world->changed);
    while (world->keepers_left > 0 || world->dying > 0)
        cond_wait(&world->changed, &world->mu);
    mutex_unlock(&world->mu);
}

void world_crash(unsigned node)
{
    if (world->sites[node])
        die(&world->sites[node]->proc);
}

/* ---- requests */

static void forget(struct request *rq)
{
    struct request **at = &rq->site->asked;

    while (*at && *at != rq)
        at = &(*at)->next;
    if (*at)
        *at = rq->next;
}

static void run_item(struct work_item *item)
{
    struct request *rq = (struct request *)(void *)item;

    if (!rq->site->proc.dead)
        rq->run(rq);
    mutex_lock(&world->mu);
    forget(rq);
    if (!rq->lost)
        rq->finished = true;
    cond_broadcast(&world->changed);
    mutex_unlock(&world->mu);
    request_unref(rq);
}

struct request *request_new(void (*run)(struct request *rq))
{
    struct request *rq = calloc(1, sizeof(*rq));

    assert(rq);
    rq->item.fn = run_item;
    rq->run = run;
    rq->refs = 1;
    return rq;
}

void request_unref(struct request *rq)
{
    if (--rq->refs == 0)
        free(rq);
}

bool request_call(struct request *rq, unsigned node, int64_t patience_us)
{
    int64_t until_ms = (sched_now_us() + patience_us) / MS + 1;
    struct site *s;
    bool taken;

    mutex_lock(&world->mu);
    s = world->sites[node];
    if (!s || !s->up) {
        mutex_unlock(&world->mu);
        return false;
    }
    rq->site = s;
    rq->refs++;
    rq->next = s->asked;
    s->asked = rq;
    s->pins++;
    mutex_unlock(&world->mu);
    sched_start_for(&s->proc); /* a pool starts its threads as they are needed */
    taken = !rq->lost && work_submit(s->pool, &rq->item) == 0;
    sched_start_for(NULL);
    mutex_lock(&world->mu);
    if (!taken) {
        forget(rq);
        rq->refs--;
    }
    s->pins--;
    if (!taken) {
        mutex_unlock(&world->mu);
        return false;
    }
    while (!rq->finished && !rq->lost)
        if (!cond_wait_until(&world->changed, &world->mu, until_ms))
            rq->lost = true;
    mutex_unlock(&world->mu);
    return true;
}
