/* Shared by the tests of manifests: see fixture.h. */
#include "fixture.h"

#include <stdio.h>
#include <stdlib.h>

#include "base/clock.h"
#include "base/thread.h"

#define TEXTS       64
#define THREADS_MAX 32

/* ---- content */

struct digest digest_named(const char *name)
{
    struct digest d;

    digest_of(DIGEST_SHA256, str_of(name), &d);
    return d;
}

struct str text_of(const struct digest *d)
{
    static _Thread_local char texts[TEXTS][DIGEST_TEXT_MAX];
    static _Thread_local unsigned next;

    return digest_text(d, texts[next++ % TEXTS]);
}

static void descriptor(struct buf *out, const char *type, struct str digest, size_t size)
{
    buf_addf(out, "{\"mediaType\":\"%s\",\"digest\":\"" STR_FMT "\",\"size\":%zu}", type,
             STR_ARG(digest), size);
}

static void named(struct buf *out, const char *type, const char *name)
{
    struct digest d = digest_named(name);

    descriptor(out, type, text_of(&d), strlen(name));
}

void image_body(const struct image *image, struct buf *out)
{
    const char *type =
        image->layer_type ? image->layer_type : "application/vnd.oci.image.layer.v1.tar+gzip";

    buf_addf(out, "{\"schemaVersion\":2,\"mediaType\":\"%s\",\"config\":", MEDIA_OCI_MANIFEST);
    named(out, "application/vnd.oci.image.config.v1+json", image->config);
    buf_add(out, STR(",\"layers\":["));
    for (size_t i = 0; i < IMAGE_LAYERS_MAX && image->layers[i]; i++) {
        if (i > 0)
            buf_addc(out, ',');
        named(out, type, image->layers[i]);
    }
    buf_addc(out, ']');
    if (image->subject) {
        buf_add(out, STR(",\"subject\":"));
        named(out, MEDIA_OCI_MANIFEST, image->subject);
    }
    if (image->annotation)
        buf_addf(out, ",\"annotations\":{\"note\":\"%s\"}", image->annotation);
    if (image->salt)
        buf_addf(out, ",\"salt\":\"%s\"", image->salt);
    buf_addc(out, '}');
    assert_int_equal(buf_err(out), 0);
}

void index_body(const char *const *digests, const char *media_type, struct buf *out)
{
    buf_addf(out, "{\"schemaVersion\":2,\"mediaType\":\"%s\",\"manifests\":[", MEDIA_OCI_INDEX);
    for (size_t i = 0; digests[i]; i++) {
        if (i > 0)
            buf_addc(out, ',');
        descriptor(out, media_type ? media_type : MEDIA_OCI_MANIFEST, str_of(digests[i]), 10);
    }
    buf_add(out, STR("]}"));
    assert_int_equal(buf_err(out), 0);
}

/* ---- nodes */

void site_open(struct site *s, struct store *store, enum references references,
               struct work *background)
{
    struct repos_settings settings = {.references = references, .background = background};

    s->node = open_node(store);
    assert_int_equal(blobs_new(s->node, &s->blobs), 0);
    assert_int_equal(repos_new(s->blobs, &settings, &s->repos), 0);
}

void site_close(struct site *s)
{
    repos_free(s->repos);
    blobs_free(s->blobs);
    node_free(s->node);
}

struct repo *repo_of(struct site *s, const char *name)
{
    struct repo *r = NULL;
    struct err_detail detail = {{0}};
    int e = repo_get(s->repos, str_of(name), &r, &detail);

    check(e == 0, "repo_get %s: %s (%s)", name, err_name(e), detail.text);
    return r;
}

uint64_t link_u_of(struct repo *r, const struct digest *d)
{
    uint64_t u = 0;

    assert_int_equal(repo_link_u(r, d, &u), 0);
    return u;
}

void add_blob(struct site *s, const char *repo, const char *name)
{
    struct digest d = digest_named(name);
    struct repo *r auto_repo = repo_of(s, repo);

    assert_int_equal(repo_refresh(r, NULL), 0);
    assert_int_equal(blob_create_inline(s->blobs, &d, str_of(name), NULL), 0);
    assert_int_equal(blob_link_create(s->blobs, str_of(repo), &d, link_u_of(r, &d), NULL), 0);
}

bool blob_readable(struct site *s, const char *repo, const char *name)
{
    struct digest d = digest_named(name);
    struct repo *r auto_repo = repo_of(s, repo);
    struct blob_info info;
    int e;

    assert_int_equal(repo_refresh(r, NULL), 0);
    e = repo_blob(r, &d, &info, NULL);
    check(e == 0 || e == -ERR_NOTFOUND, "repo_blob: %s", err_name(e));
    return e == 0;
}

void body_digest(struct str body, struct digest *ret)
{
    digest_of(DIGEST_SHA256, body, ret);
}

void image_digest(const struct image *image, struct digest *ret)
{
    struct buf body auto_buf = BUF_INIT(MANIFEST_BYTES_MAX);

    image_body(image, &body);
    body_digest(buf_str(&body), ret);
}

int put_body(struct site *s, const char *repo, struct str body, const char *const *tags,
             struct buf *ret_missing)
{
    struct manifest m auto_manifest = {.doc = NULL};
    struct repo *r auto_repo = NULL;
    struct buf missing auto_buf = BUF_INIT(1 << 20);
    struct repo_who who = {.by = STR("tester"), .req = STR("request-1")};
    struct str names[REPO_TAGS_PUT_MAX];
    struct repo_put put = {.manifest = &m, .body = body, .tags = names};
    int e = manifest_parse(body, STR_NONE, &m, NULL);

    for (size_t i = 0; tags && tags[i]; i++)
        names[put.tag_count++] = str_of(tags[i]);
    body_digest(body, &put.digest);
    if (e == 0)
        e = repo_get(s->repos, str_of(repo), &r, NULL);
    return e < 0 ? e : repo_put(r, &put, &who, ret_missing ? ret_missing : &missing, NULL);
}

int put_image(struct site *s, const char *repo, const struct image *image, const char *tag)
{
    struct buf body auto_buf = BUF_INIT(MANIFEST_BYTES_MAX);
    const char *tags[] = {tag, NULL};

    image_body(image, &body);
    return put_body(s, repo, buf_str(&body), tags, NULL);
}

/* ---- watching */

static bool is_call(const struct watch *w, const struct store_fault_call *call)
{
    return w->hook_op && str_eq(str_of(w->hook_op), str_of(call->op)) && call->key.len > 0 &&
           memmem(call->key.at, call->key.len, w->hook_key, strlen(w->hook_key));
}

static enum store_fault decide(const struct store_fault_call *call, int *ret_err, void *arg)
{
    struct watch *w = arg;
    void (*hook)(void *arg) = NULL;
    enum store_fault fault = FAULT_NONE;
    unsigned delay = 0;

    mutex_lock(&w->mu);
    if (str_eq(str_of(call->op), STR("create"))) {
        if (w->creates < WATCH_KEYS_MAX)
            snprintf(w->keys[w->creates], sizeof(w->keys[0]), STR_FMT, STR_ARG(call->key));
        w->creates++;
        if (memmem(call->key.at, call->key.len, "/_log/", 6))
            delay = w->log_delay_ms;
    }
    w->gets += str_eq(str_of(call->op), STR("get"));
    w->probes += str_eq(str_of(call->op), STR("probe"));
    if (is_call(w, call)) {
        if (w->fail_err < 0 && w->fail_count > 0) {
            w->fail_count--;
            *ret_err = w->fail_err;
            fault = FAULT_FAIL_BEFORE;
        } else if (w->hook) {
            hook = w->hook;
            w->hook = NULL;
        }
    }
    mutex_unlock(&w->mu);
    if (hook)
        hook(w->hook_arg);
    if (delay > 0)
        clock_sleep_ms(delay);
    return fault;
}

struct store *watched_store(struct watch *w, struct store *inner)
{
    struct store *s;

    *w = (struct watch){.creates = 0};
    mutex_init(&w->mu);
    assert_int_equal(store_fault_new(inner, decide, w, &s), 0);
    return s;
}

void watch_clear(struct watch *w)
{
    mutex_lock(&w->mu);
    w->creates = w->gets = w->probes = 0;
    mutex_unlock(&w->mu);
}

void watch_hook(struct watch *w, const char *op, const char *key, void (*fn)(void *arg), void *arg)
{
    mutex_lock(&w->mu);
    w->hook_op = op;
    w->hook_key = key;
    w->hook = fn;
    w->hook_arg = arg;
    w->fail_err = 0;
    mutex_unlock(&w->mu);
}

void watch_fail(struct watch *w, const char *op, const char *key, int err, unsigned count)
{
    mutex_lock(&w->mu);
    w->hook_op = op;
    w->hook_key = key;
    w->hook = NULL;
    w->fail_err = err;
    w->fail_count = count;
    mutex_unlock(&w->mu);
}

/* ---- threads */

struct runner {
    struct thread thread;
    unsigned index;
    void (*fn)(unsigned index, void *arg);
    void *arg;
};

static void run(void *arg)
{
    struct runner *r = arg;

    r->fn(r->index, r->arg);
}

void run_threads(unsigned count, void (*fn)(unsigned index, void *arg), void *arg)
{
    struct runner runners[THREADS_MAX];

    assert_true(count <= THREADS_MAX);
    for (unsigned i = 0; i < count; i++) {
        runners[i] = (struct runner){.index = i, .fn = fn, .arg = arg};
        assert_int_equal(thread_start(&runners[i].thread, "test", run, &runners[i]), 0);
    }
    for (unsigned i = 0; i < count; i++)
        thread_join(&runners[i].thread);
}
