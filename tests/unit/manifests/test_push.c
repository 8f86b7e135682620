/* A whole push (uploads, manifests, tags, deletes) on a store of which any one call fails, loses
 * its answer, comes late or twice, or is the last of its process: what was answered holds for every
 * node, what was not is there whole or not at all, and the push can be finished by the same process
 * or by another. */
#include "../blobstore/upload_fixture.h"

#include <stdio.h>

#include "manifests/repo.h"

#define CALLS_MAX  1000 /* of one push; a script that needs more is a test that never ends */
#define TRIES_MAX  3    /* of a step, once the fault is over */
#define BODY_BYTES 1024

static const struct repo_who who = {.by = {"tester", 6}, .req = {"request-1", 9}};

/* One process. */
struct site {
    struct peer p;
    struct repos *repos;
};

struct world {
    struct faults f;
    struct store *s;
    struct site a, b;
    struct digest small, large;
    char session[KEYS_SESSION_LEN + 1];
};

static void site_open(struct site *s, struct store *store)
{
    struct repos_settings settings = {.references = REFERENCES_STRICT};

    peer_open(&s->p, store);
    assert_int_equal(repos_new(s->p.blobs, &settings, &s->repos), 0);
}

static void site_close(struct site *s)
{
    repos_free(s->repos);
    peer_close(&s->p);
}

static void world_open(struct world *w)
{
    w->s = faulty_store(&w->f, mem_store());
    site_open(&w->a, w->s);
    site_open(&w->b, w->s);
    w->small = content_digest(SMALL, DIGEST_SHA256);
    w->large = content_digest(LARGE, DIGEST_SHA256);
    w->session[0] = 0;
    faults_clear(&w->f);
}

static void world_close(struct world *w)
{
    site_close(&w->a);
    site_close(&w->b);
    store_free(w->s);
}
#define auto_world auto_of(world_close)

static int setup(void **state)
{
    (void)state;
    fake_time_install();
    return 0;
}

/* ---- the steps of the push */

static int fresh(struct site *s, struct repo **ret)
{
    int r = repo_get(s->repos, REPO, ret, NULL);

    if (r < 0)
        return r;
    r = repo_refresh(*ret, NULL);
    if (r < 0)
        repo_unrefp(ret);
    return r;
}

/* A closing request: the rest of the bytes, then the blob, under the link that counts now. */
static int finish(struct site *s, const char *id, size_t size, const struct digest *d)
{
    struct repo *repo auto_repo = NULL;
    struct upload *u;
    uint64_t link_u;
    int r = upload_hold(s->p.uploads, REPO, IDENTITY, str_of(id), &u, NULL);

    if (r < 0)
        return r;
    if (!upload_closed(u) && upload_offset(u) < size)
        r = upload_write(u, content((size_t)upload_offset(u), size - (size_t)upload_offset(u)),
                         NULL);
    if (r == 0)
        r = fresh(s, &repo);
    if (r == 0)
        r = repo_link_u(repo, d, &link_u);
    if (r == 0)
        r = upload_close(u, d, link_u, NULL);
    upload_release(u);
    return r;
}

static int push_small(struct world *w, struct site *s)
{
    char id[KEYS_SESSION_LEN + 1];

    start(&s->p, id);
    return finish(s, id, SMALL, &w->small);
}

/* In two requests; a repeated step goes on with its session, or begins anew when that is spent. */
static int push_large(struct world *w, struct site *s)
{
    int r;

    if (w->session[0] == 0)
        start(&s->p, w->session);
    r = patch(&s->p, w->session, 120000);
    if (r == 0)
        r = finish(s, w->session, LARGE, &w->large);
    else if (r == -ERR_NOTFOUND)
        w->session[0] = 0;
    return r;
}

static struct str body_of(const struct world *w, const char *name, char out[BODY_BYTES])
{
    char small[DIGEST_TEXT_MAX], large[DIGEST_TEXT_MAX];
    int n = snprintf(out, BODY_BYTES,
                     "{\"schemaVersion\":2,\"mediaType\":\"%s\",\"config\":{\"mediaType\":"
                     "\"application/vnd.oci.image.config.v1+json\",\"digest\":\"" STR_FMT
                     "\",\"size\":%u},\"layers\":[{\"mediaType\":\"application/x\",\"digest\":"
                     "\"" STR_FMT "\",\"size\":%u}],\"name\":\"%s\"}",
                     MEDIA_OCI_MANIFEST, STR_ARG(digest_text(&w->small, small)), SMALL,
                     STR_ARG(digest_text(&w->large, large)), LARGE, name);

    assert_true(n > 0 && n < BODY_BYTES);
    return str_make(out, (size_t)n);
}

static struct digest digest_of_body(const struct world *w, const char *name)
{
    char body[BODY_BYTES];
    struct digest d;

    digest_of(DIGEST_SHA256, body_of(w, name, body), &d);
    return d;
}

static int put_manifest(struct world *w, struct site *s, const char *name, const struct str *tags,
                        size_t count)
{
    struct manifest m auto_manifest = {.doc = NULL};
    struct buf missing auto_buf = BUF_INIT(1 << 16);
    struct repo *repo auto_repo = NULL;
    char text[BODY_BYTES];
    struct repo_put put = {.manifest = &m,
                           .body = body_of(w, name, text),
                           .digest = digest_of_body(w, name),
                           .tags = tags,
                           .tag_count = count};
    int r;

    assert_int_equal(manifest_parse(put.body, STR_NONE, &m, NULL), 0);
    r = repo_get(s->repos, REPO, &repo, NULL);
    return r < 0 ? r : repo_put(repo, &put, &who, &missing, NULL);
}

static int put_one(struct world *w, struct site *s)
{
    return put_manifest(w, s, "one", (const struct str[]){STR("v1")}, 1);
}

static int put_two(struct world *w, struct site *s)
{
    return put_manifest(w, s, "two", (const struct str[]){STR("v1"), STR("v2")}, 2);
}

static int delete_tag(struct world *w, struct site *s)
{
    struct repo *repo auto_repo = NULL;
    int r = repo_get(s->repos, REPO, &repo, NULL);

    (void)w;
    return r < 0 ? r : repo_delete_tag(repo, STR("v2"), &who, NULL);
}

static int delete_two(struct world *w, struct site *s)
{
    struct repo *repo auto_repo = NULL;
    struct digest d = digest_of_body(w, "two");
    int r = repo_get(s->repos, REPO, &repo, NULL);

    return r < 0 ? r : repo_delete_manifest(repo, &d, &who, NULL);
}

static int unlink_small(struct world *w, struct site *s)
{
    struct repo *repo auto_repo = NULL;
    int r = repo_get(s->repos, REPO, &repo, NULL);

    return r < 0 ? r : repo_unlink_blob(repo, &w->small, &who, NULL);
}

/* ---- what everyone can read */

enum {
    HAS_SMALL = 1,
    HAS_LARGE = 2,
    HAS_ONE = 4,
    HAS_TWO = 8,
    V1_ONE = 16,
    V1_TWO = 32,
    V2_TWO = 64
};

static const struct step {
    const char *name;
    int (*run)(struct world *w, struct site *s);
    bool gone; /* "not found" says that it was done before */
    unsigned after;
} steps[] = {
    {"small blob", push_small, false, HAS_SMALL},
    {"large blob", push_large, false, HAS_SMALL | HAS_LARGE},
    {"first manifest", put_one, false, HAS_SMALL | HAS_LARGE | HAS_ONE | V1_ONE},
    {"second manifest", put_two, false,
     HAS_SMALL | HAS_LARGE | HAS_ONE | HAS_TWO | V1_TWO | V2_TWO},
    {"delete of a tag", delete_tag, true, HAS_SMALL | HAS_LARGE | HAS_ONE | HAS_TWO | V1_TWO},
    {"delete of a manifest", delete_two, true, HAS_SMALL | HAS_LARGE | HAS_ONE},
    {"delete of a blob", unlink_small, true, HAS_LARGE | HAS_ONE},
    {"small blob again", push_small, false, HAS_SMALL | HAS_LARGE | HAS_ONE},
    {"tag again", put_one, false, HAS_SMALL | HAS_LARGE | HAS_ONE | V1_ONE},
};

static bool has_blob(struct site *s, struct repo *repo, const struct digest *d, size_t size)
{
    struct buf bytes auto_buf = BUF_INIT(1 << 20);
    struct blob_info info;
    int r = repo_blob(repo, d, &info, NULL);

    if (r == -ERR_NOTFOUND)
        return false;
    assert_int_equal(r, 0);
    assert_int_equal(blob_read(s->p.blobs, d, 1 << 20, &bytes, NULL), 0);
    assert_true(str_eq(buf_str(&bytes), content(0, size)));
    return true;
}

static bool has_manifest(const struct world *w, struct site *s, struct repo *repo, const char *name)
{
    struct digest d = digest_of_body(w, name);
    struct buf bytes auto_buf = BUF_INIT(BODY_BYTES);
    struct repo_manifest m;
    char body[BODY_BYTES];
    int r = repo_manifest(repo, &d, &m);

    if (r == -ERR_NOTFOUND)
        return false;
    assert_int_equal(r, 0);
    assert_int_equal(blob_read(s->p.blobs, &d, BODY_BYTES, &bytes, NULL), 0);
    assert_true(str_eq(buf_str(&bytes), body_of(w, name, body)));
    return true;
}

static bool tag_is(const struct world *w, struct repo *repo, struct str tag, const char *name)
{
    struct digest d = digest_of_body(w, name);
    struct repo_manifest m;

    return repo_tag(repo, tag, &m) == 0 && digest_eq(&m.digest, &d);
}

static unsigned readable(const struct world *w, struct site *s)
{
    struct repo *repo auto_repo = NULL;
    unsigned has = 0;

    assert_int_equal(fresh(s, &repo), 0);
    has |= has_blob(s, repo, &w->small, SMALL) ? HAS_SMALL : 0;
    has |= has_blob(s, repo, &w->large, LARGE) ? HAS_LARGE : 0;
    has |= has_manifest(w, s, repo, "one") ? HAS_ONE : 0;
    has |= has_manifest(w, s, repo, "two") ? HAS_TWO : 0;
    has |= tag_is(w, repo, STR("v1"), "one") ? V1_ONE : 0;
    has |= tag_is(w, repo, STR("v1"), "two") ? V1_TWO : 0;
    has |= tag_is(w, repo, STR("v2"), "two") ? V2_TWO : 0;
    return has;
}

/* ---- the push with a fault */

static unsigned after(size_t done)
{
    return done == 0 ? 0 : steps[done - 1].after;
}

/* Steps from `done` on, up to the first error; returns how many are done now. */
static size_t push(struct world *w, struct site *s, size_t done)
{
    while (done < ARRAY_LEN(steps) && steps[done].run(w, s) == 0)
        done++;
    return done;
}

/* Without faults a step has success, or was done before; what is undecided gets decided. */
static void goes_on(struct world *w, struct site *s, size_t done)
{
    for (; done < ARRAY_LEN(steps); done++) {
        int r = -ERR_IO;

        for (int i = 0; i < TRIES_MAX && r < 0 && !(steps[done].gone && r == -ERR_NOTFOUND); i++)
            r = steps[done].run(w, s);
        if (r < 0 && !(steps[done].gone && r == -ERR_NOTFOUND)) {
            print_error("%s: %s\n", steps[done].name, err_name(r));
            fail();
        }
        assert_int_equal(readable(w, s), steps[done].after);
    }
}

static void holds(struct world *w, struct site *s, size_t done, const char *what, unsigned at)
{
    unsigned has = readable(w, s);
    size_t next = done < ARRAY_LEN(steps) ? done + 1 : done;

    if (has != after(done) && has != after(next)) {
        print_error("%s at call %u: after step %zu others read %x\n", what, at, done, has);
        fail();
    }
}

static void ends_well(struct world *w)
{
    assert_int_equal(readable(w, &w->a), after(ARRAY_LEN(steps)));
    assert_int_equal(readable(w, &w->b), after(ARRAY_LEN(steps)));
    assert_true(check_log(w->s, "repos/library/app", true) >= ARRAY_LEN(steps) - 3);
    check_log(w->s, "catalog", true);
    check_records(&w->b.p, w->s);
}

/* One call goes wrong; the same process goes on, or another. */
static bool stumbles_at(unsigned at, enum store_fault fault, bool other)
{
    struct world w auto_world;

    world_open(&w);
    faults_add(&w.f, (struct rule){.from = at, .fault = fault});
    size_t done = push(&w, &w.a, 0);
    bool clean = w.f.calls < at;
    faults_clear(&w.f);
    assert_true(!clean || done == ARRAY_LEN(steps));
    struct site *next = other ? &w.b : &w.a;
    if (other)
        holds(&w, next, done, "fault", at);
    goes_on(&w, next, done);
    store_fault_flush_late(w.s);
    ends_well(&w);
    return clean;
}

static void test_one_fault_at_any_call(void **state)
{
    static const enum store_fault faults[] = {FAULT_FAIL_BEFORE, FAULT_REPLY_LOST, FAULT_LATE,
                                              FAULT_DUPLICATE, FAULT_OWN_EXISTS};

    (void)state;
    for (size_t i = 0; i < 2 * ARRAY_LEN(faults); i++) {
        unsigned at = 1;

        while (!stumbles_at(at, faults[i / 2], i % 2 == 1))
            assert_true(++at < CALLS_MAX);
    }
}

/* The process dies before its n-th call, or between that call's effect and its answer. */
static bool dies_at(unsigned at, bool applied)
{
    struct world w auto_world;

    world_open(&w);
    w.f.dead_after = at;
    w.f.fail_at = applied ? 0 : at;
    w.f.lost_at = applied ? at : 0;
    size_t done = push(&w, &w.a, 0);
    bool clean = w.f.calls < at;
    faults_clear(&w.f);
    holds(&w, &w.b, done, applied ? "death after" : "death before", at);
    site_close(&w.a);
    site_open(&w.a, w.s);
    goes_on(&w, at % 2 == 0 ? &w.a : &w.b, done);
    ends_well(&w);
    return clean;
}

static void test_death_at_any_call(void **state)
{
    (void)state;
    for (int applied = 0; applied < 2; applied++) {
        unsigned at = 1;

        while (!dies_at(at, applied == 1))
            assert_true(++at < CALLS_MAX);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_one_fault_at_any_call),
        cmocka_unit_test(test_death_at_any_call),
    };

    return cmocka_run_group_tests(tests, setup, NULL);
}
