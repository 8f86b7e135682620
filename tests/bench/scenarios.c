/*
 * Scenarios: set-up, warm-up, then the measured window. Set-up is idempotent, so a scenario may
 * run again on the same root: blobs and images for reading have fixed content, everything that is
 * written in a window is new in each run (salted by time and process id).
 *
 * The window covers its operations whole: none starts after its end, all are waited for, and
 * server CPU and memory are read before the first and after the last.
 */
#include "load.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#define FIXED_SALT      0x5eedULL
#define SMALL_BYTES     4096
#define LARGE_BYTES     (256ULL << 20)
#define LAYER_BYTES     (10ULL << 20)
#define GAP_BYTES       (64ULL << 20)
#define PAGE_TAGS       100
#define PRELOAD_CLIENTS 16
#define SAMPLE_EVERY    16
#define WARM_SECONDS    0.5
#define ACCEPT_MANIFEST "Accept: application/vnd.oci.image.manifest.v1+json\r\n"

struct image {
    struct described config;
    struct described layers[LAYERS_MAX];
    unsigned layer_count;
    char manifest_digest[DIGEST_TEXT_MAX];
    size_t manifest_bytes;
};

static uint64_t run_salt(void)
{
    struct timespec t;

    clock_gettime(CLOCK_REALTIME, &t);
    return ((uint64_t)t.tv_sec << 30 ^ (uint64_t)t.tv_nsec) + (uint64_t)getpid();
}

static void rest(double seconds)
{
    struct timespec t = {(time_t)seconds, (long)((seconds - (double)(time_t)seconds) * 1e9)};

    nanosleep(&t, NULL);
}

/* Runs a flow that must succeed, outside any measured window. */
static int prepare(const struct options *opt, flow_fn *flow, const void *arg, uint64_t ops,
                   unsigned clients)
{
    struct result *result = calloc(1, sizeof(*result));
    struct engine *e = engine_new(&opt->target, clients);
    const struct run run = {.flow = flow, .arg = arg, .ops = ops, .sample_every = 1};
    int r = -1;

    if (e && result) {
        engine_run(e, &run, result);
        r = result->errors > 0 || result->ops != ops ? -1 : 0;
        if (r < 0)
            fprintf(stderr, "set-up failed: %s\n", result->first_error);
    }
    engine_free(e);
    free(result);
    return r;
}

static int put_blob(const struct options *opt, const struct content *c, uint64_t number,
                    struct described *ret)
{
    const struct push_flow push = {.target = &opt->target,
                                   .repo = opt->repo,
                                   .content = c,
                                   .may_exist = true,
                                   .first = number};

    content_digest(c, number, ret->digest);
    ret->bytes = content_bytes(c);
    return prepare(opt, flow_push, &push, 1, 1);
}

static int put_fixed(const struct options *opt, uint64_t bytes, uint64_t number,
                     struct described *ret)
{
    struct content *c = content_new(bytes, FIXED_SALT);
    int r = c ? put_blob(opt, c, number, ret) : -1;

    content_free(c);
    return r;
}

/* An image of small config and the given layers; tag PREFIX0000000. */
static int put_image(const struct options *opt, const char *prefix, unsigned layers,
                     uint64_t layer_bytes, struct image *ret)
{
    char text[SCRATCH_MAX];
    char label[64];

    ret->layer_count = layers;
    int r = put_fixed(opt, SMALL_BYTES, 0, &ret->config);
    for (unsigned i = 0; r == 0 && i < layers; i++)
        r = put_fixed(opt, layer_bytes, i + 1, &ret->layers[i]);
    if (r < 0)
        return r;
    const struct commit_flow commit = {.target = &opt->target,
                                       .repo = opt->repo,
                                       .prefix = prefix,
                                       .salt = FIXED_SALT,
                                       .config = &ret->config,
                                       .layers = ret->layers,
                                       .layer_count = layers};
    snprintf(label, sizeof(label), "%llx-0", (unsigned long long)FIXED_SALT);
    ret->manifest_bytes =
        manifest_text(text, sizeof(text), &ret->config, ret->layers, layers, label);
    sha256_text(text, ret->manifest_bytes, ret->manifest_digest);
    return prepare(opt, flow_commit, &commit, 1, 1);
}

static void watch_anon(void *arg)
{
    struct report *ret = arg;
    struct proc_memory now;

    if (proc_memory(ret->opt->pid, &now) == 0 && now.anon_kib > ret->anon_peak_kib)
        ret->anon_peak_kib = now.anon_kib;
}

/* Warm-up, then the window. Returns 0 if no operation failed. */
static int measure(struct engine *e, const struct options *opt, flow_fn *flow, const void *arg,
                   unsigned sample_every, struct report *ret)
{
    struct run run = {.flow = flow,
                      .arg = arg,
                      .ops = (uint64_t)opt->clients * 64,
                      .seconds = WARM_SECONDS,
                      .sample_every = 1};
    uint64_t cpu_before = 0;
    uint64_t cpu_after = 0;

    if (opt->warm) {
        engine_run(e, &run, &ret->result);
        if (ret->result.errors > 0)
            return -1;
    }
    run.ops = opt->ops;
    run.seconds = opt->seconds;
    run.sample_every = sample_every;
    run.tick = watch_anon;
    run.tick_arg = ret;
    ret->peak_reset = proc_reset_peak(opt->pid);
    int r = proc_memory(opt->pid, &ret->before);
    if (r == 0)
        r = proc_cpu_ns(opt->pid, &cpu_before);
    if (r < 0) {
        fprintf(stderr, "process %d: %s\n", (int)opt->pid, strerror(-r));
        return -1;
    }
    engine_run(e, &run, &ret->result);
    r = proc_cpu_ns(opt->pid, &cpu_after);
    if (r == 0)
        r = proc_memory(opt->pid, &ret->after);
    watch_anon(ret);
    ret->cpu_s = (double)(cpu_after - cpu_before) / 1e9;
    ret->measured = true;
    return r < 0 || ret->result.errors > 0 || ret->result.ops == 0 ? -1 : 0;
}

static int measure_new(const struct options *opt, flow_fn *flow, const void *arg,
                       unsigned sample_every, struct report *ret)
{
    struct engine *e = engine_new(&opt->target, opt->clients);
    int r = e ? measure(e, opt, flow, arg, sample_every, ret) : -1;

    engine_free(e);
    return r;
}

static int manifest_read(const struct options *opt, bool head, struct report *ret)
{
    struct image image;
    char path[PATH_MAX_BYTES];
    int r = put_image(opt, "read", 1, SMALL_BYTES, &image);
    if (r < 0)
        return r;
    snprintf(path, sizeof(path), "/v2/%s/manifests/read0000000", opt->repo);
    const struct get_flow get = {.target = &opt->target,
                                 .head = head,
                                 .path = path,
                                 .accept = ACCEPT_MANIFEST,
                                 .length = (int64_t)image.manifest_bytes,
                                 .digest = image.manifest_digest};
    return measure_new(opt, flow_get, &get, SAMPLE_EVERY, ret);
}

static int manifest_get(const struct options *opt, struct report *ret)
{
    return manifest_read(opt, false, ret);
}

static int manifest_head(const struct options *opt, struct report *ret)
{
    return manifest_read(opt, true, ret);
}

static int blob_read(const struct options *opt, bool head, uint64_t bytes, unsigned sample_every,
                     struct report *ret)
{
    struct described blob;
    char path[PATH_MAX_BYTES];
    int r = put_fixed(opt, bytes, 7, &blob);
    if (r < 0)
        return r;
    snprintf(path, sizeof(path), "/v2/%s/blobs/%s", opt->repo, blob.digest);
    const struct get_flow get = {.target = &opt->target,
                                 .head = head,
                                 .path = path,
                                 .length = (int64_t)bytes,
                                 .digest = blob.digest};
    return measure_new(opt, flow_get, &get, sample_every, ret);
}

static int blob_get_small(const struct options *opt, struct report *ret)
{
    return blob_read(opt, false, SMALL_BYTES, SAMPLE_EVERY, ret);
}

static int blob_head(const struct options *opt, struct report *ret)
{
    return blob_read(opt, true, SMALL_BYTES, SAMPLE_EVERY, ret);
}

/* Digests are verified in the warm-up, lengths always: hashing beside the server would take the
   core it shares. */
static int blob_get_large(const struct options *opt, struct report *ret)
{
    return blob_read(opt, false, opt->bytes ? opt->bytes : LARGE_BYTES, 0, ret);
}

static int get_path(const struct options *opt, struct report *ret)
{
    const struct get_flow get = {.target = &opt->target,
                                 .path = opt->path,
                                 .accept = ACCEPT_MANIFEST,
                                 .length = opt->length,
                                 .digest = opt->digest};
    bool large = opt->length > (1 << 20);

    return measure_new(opt, flow_get, &get, large ? 0 : SAMPLE_EVERY, ret);
}

/* The warm-up is one push per client of content numbers of its own. */
static int push(const struct options *opt, uint64_t bytes, bool monolithic, struct report *ret)
{
    struct content *c = content_new(bytes, run_salt());
    if (!c)
        return -1;
    struct push_flow push = {.target = &opt->target,
                             .repo = opt->repo,
                             .content = c,
                             .monolithic = monolithic,
                             .first = OPS_MAX};
    struct options window = *opt;
    window.warm = false;
    int r = opt->warm ? prepare(opt, flow_push, &push, opt->clients, opt->clients) : 0;
    push.first = 0;
    if (r == 0)
        r = measure_new(&window, flow_push, &push, 0, ret);
    content_free(c);
    return r;
}

static int push_large(const struct options *opt, struct report *ret)
{
    return push(opt, opt->bytes ? opt->bytes : LARGE_BYTES, false, ret);
}

static int push_large_put(const struct options *opt, struct report *ret)
{
    return push(opt, opt->bytes ? opt->bytes : LARGE_BYTES, true, ret);
}

static int push_small(const struct options *opt, struct report *ret)
{
    return push(opt, opt->bytes ? opt->bytes : SMALL_BYTES, false, ret);
}

static int gap(const struct options *opt, struct report *ret)
{
    return push(opt, opt->bytes ? opt->bytes : GAP_BYTES, false, ret);
}

static int gap_put(const struct options *opt, struct report *ret)
{
    return push(opt, opt->bytes ? opt->bytes : GAP_BYTES, true, ret);
}

static int put_raw(const struct options *opt, struct report *ret)
{
    struct content *c = content_new(opt->bytes ? opt->bytes : LARGE_BYTES, run_salt());
    if (!c)
        return -1;
    const struct raw_flow raw = {.target = &opt->target, .path = opt->path, .content = c};
    struct options window = *opt;
    window.warm = false;
    int r = opt->warm ? prepare(opt, flow_raw, &raw, opt->clients, opt->clients) : 0;
    if (r == 0)
        r = measure_new(&window, flow_raw, &raw, 0, ret);
    content_free(c);
    return r;
}

/* Sees to it that the repository has tags pre0000000 .. pre<count - 1>. */
static int preload_tags(const struct options *opt, const struct image *image)
{
    char path[PATH_MAX_BYTES];
    struct result *result = calloc(1, sizeof(*result));
    struct engine *e = engine_new(&opt->target, 1);

    if (!result || !e || opt->tags == 0) {
        free(result);
        engine_free(e);
        return opt->tags == 0 ? 0 : -1;
    }
    snprintf(path, sizeof(path), "/v2/%s/manifests/pre%07llu", opt->repo,
             (unsigned long long)(opt->tags - 1));
    const struct get_flow last = {.target = &opt->target,
                                  .head = true,
                                  .path = path,
                                  .accept = ACCEPT_MANIFEST,
                                  .length = -1};
    const struct run run = {.flow = flow_get, .arg = &last, .ops = 1};
    engine_run(e, &run, result);
    bool there = result->ops == 1;
    engine_free(e);
    free(result);
    if (there)
        return 0;
    const struct commit_flow commit = {.target = &opt->target,
                                       .repo = opt->repo,
                                       .prefix = "pre",
                                       .salt = FIXED_SALT,
                                       .config = &image->config,
                                       .layers = image->layers,
                                       .layer_count = image->layer_count};
    /* All but the last in any order, then the last: it stands for all. */
    int r = opt->tags > 1 ? prepare(opt, flow_commit, &commit, opt->tags - 1, PRELOAD_CLIENTS) : 0;
    struct commit_flow end = commit;
    end.first = opt->tags - 1;
    return r < 0 ? r : prepare(opt, flow_commit, &end, 1, 1);
}

static int tag_commits(const struct options *opt, struct report *ret)
{
    struct image image;
    char prefix[32];
    uint64_t salt = run_salt();
    int r = put_image(opt, "read", 1, SMALL_BYTES, &image);
    if (r == 0)
        r = preload_tags(opt, &image);
    if (r < 0)
        return r;
    snprintf(prefix, sizeof(prefix), "w%llx-", (unsigned long long)salt);
    struct commit_flow commit = {.target = &opt->target,
                                 .repo = opt->repo,
                                 .prefix = prefix,
                                 .salt = salt,
                                 .first = OPS_MAX / 2,
                                 .config = &image.config,
                                 .layers = image.layers,
                                 .layer_count = image.layer_count};
    struct options window = *opt;
    window.warm = false;
    r = opt->warm ? prepare(opt, flow_commit, &commit, opt->clients, opt->clients) : 0;
    commit.first = 0;
    return r < 0 ? r : measure_new(&window, flow_commit, &commit, 0, ret);
}

/* Pages from the middle of a list whose entries are called pre0000000 .. pre<count - 1>; quotes: of
 * the texts beside the entries. */
static int read_pages(const struct options *opt, const char *list, uint64_t quotes,
                      struct report *ret)
{
    const struct page_flow page = {.target = &opt->target,
                                   .list = list,
                                   .prefix = "pre",
                                   .tags = opt->tags,
                                   .page = PAGE_TAGS};
    int r = measure_new(opt, flow_page, &page, 0, ret);
    ret->entries = ret->result.quotes >= quotes ? (long)(ret->result.quotes - quotes) / 2 : 0;
    return r;
}

static int tags_page(const struct options *opt, struct report *ret)
{
    struct image image;
    char list[PATH_MAX_BYTES];
    int r = put_image(opt, "read", 1, SMALL_BYTES, &image);
    if (r == 0)
        r = preload_tags(opt, &image);
    if (r < 0)
        return r;
    snprintf(list, sizeof(list), "/v2/%s/tags/list", opt->repo);
    /* {"name":"..","tags":["..",..]}: three quoted texts beside the entries */
    return read_pages(opt, list, 6, ret);
}

/* The repositories pre0000000 .. are there already. */
static int catalog_page(const struct options *opt, struct report *ret)
{
    return read_pages(opt, "/v2/_catalog", 2, ret);
}

static int idle_memory(const struct options *opt, struct report *ret)
{
    rest(opt->settle);
    int r = proc_memory(opt->pid, &ret->before);
    ret->after = ret->before;
    ret->anon_peak_kib = ret->before.anon_kib;
    return r;
}

static int idle_connections(const struct options *opt, struct report *ret)
{
    struct image image;
    char path[PATH_MAX_BYTES];
    int r = put_image(opt, "read", 1, SMALL_BYTES, &image);
    struct engine *e = r == 0 ? engine_new(&opt->target, opt->clients) : NULL;
    if (!e)
        return -1;
    snprintf(path, sizeof(path), "/v2/%s/manifests/read0000000", opt->repo);
    const struct get_flow get = {.target = &opt->target,
                                 .path = path,
                                 .accept = ACCEPT_MANIFEST,
                                 .length = (int64_t)image.manifest_bytes,
                                 .digest = image.manifest_digest};
    /* One request on one connection first, so that what any request costs once is in "before". */
    if (prepare(opt, flow_get, &get, 16, 1) < 0) {
        engine_free(e);
        return -1;
    }
    rest(opt->settle);
    struct options window = *opt;
    window.warm = false;
    window.ops = opt->clients;
    r = measure(e, &window, flow_get, &get, 0, ret);
    rest(opt->settle);
    proc_memory(opt->pid, &ret->after);
    ret->held = (long)opt->clients;
    engine_free(e);
    rest(opt->settle);
    proc_memory(opt->pid, &ret->closed);
    return r;
}

static int pull_storm(const struct options *opt, struct report *ret)
{
    struct image image;
    struct described blobs[LAYERS_MAX + 1];
    int r = put_image(opt, "storm", LAYERS_MAX, opt->bytes ? opt->bytes : LAYER_BYTES, &image);
    if (r < 0)
        return r;
    blobs[0] = image.config;
    memcpy(blobs + 1, image.layers, sizeof(image.layers));
    const struct pull_flow pull = {.target = &opt->target,
                                   .repo = opt->repo,
                                   .tag = "storm0000000",
                                   .manifest_digest = image.manifest_digest,
                                   .manifest_bytes = image.manifest_bytes,
                                   .blobs = blobs,
                                   .blob_count = LAYERS_MAX + 1};
    struct options window = *opt;
    window.warm = false; /* the peak of a fresh server is what is asked */
    rest(opt->settle);
    return measure_new(&window, flow_pull, &pull, SAMPLE_EVERY, ret);
}

const struct scenario scenarios[] = {
    {"manifest-get", "GET of a 1 KiB manifest by tag", 16, 3, OPS_MAX, manifest_get},
    {"manifest-head", "HEAD of the same", 16, 3, OPS_MAX, manifest_head},
    {"blob-get-small", "GET of a 4 KiB blob", 16, 3, OPS_MAX, blob_get_small},
    {"blob-head", "HEAD of the same", 16, 3, OPS_MAX, blob_head},
    {"blob-get-large", "GET of a 256 MiB blob", 1, 3, OPS_MAX, blob_get_large},
    {"push-large", "256 MiB: HEAD, POST, PATCH chunked, PUT", 1, 0, 4, push_large},
    {"push-large-put", "256 MiB: HEAD, POST, PUT", 1, 0, 4, push_large_put},
    {"push-small", "4 KiB blob: HEAD, POST, PATCH chunked, PUT", 16, 3, OPS_MAX, push_small},
    {"tag-commits", "PUT of distinct manifests, new tags, one repository", 64, 3, OPS_MAX,
     tag_commits},
    {"tags-page", "page of 100 among --tags N", 1, 3, OPS_MAX, tags_page},
    {"catalog-page", "page of 100 among --tags N repositories", 1, 3, OPS_MAX, catalog_page},
    {"idle-memory", "no load", 1, 0, 1, idle_memory},
    {"idle-connections", "connections held after one request", 1000, 0, OPS_MAX, idle_connections},
    {"pull-storm", "manifest, config and 3 layers of 10 MiB by each client", 64, 0, 128,
     pull_storm},
    {"last-byte", "push of 64 MiB, PATCH and PUT: last byte to headers", 1, 0, 3, gap},
    {"last-byte-put", "push of 64 MiB, single PUT: last byte to headers", 1, 0, 3, gap_put},
    {"get-path", "GET of --path", 16, 3, OPS_MAX, get_path},
    {"put-raw", "256 MiB: one PUT to --path", 1, 0, 4, put_raw},
};
const size_t scenario_count = sizeof(scenarios) / sizeof(scenarios[0]);
