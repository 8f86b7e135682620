/* A copy that dies, or meets a fault, at any call to either store: what is there then is a registry
 * without damage, and copying again completes it. Copies by the program are in tests/copy. */
#include "fixture.h"

#include <stdio.h>

#include "blobstore/upload.h"
#include "manifests/copy.h"
#include "manifests/fsck.h"

#define TEXT_MAX 65536
#define LARGE    (BLOB_INLINE_MAX + 1000)

static int setup(void **state)
{
    (void)state;
    fake_time_install();
    return 0;
}

static void say_damage(const struct fsck_finding *x, void *arg)
{
    if (x->severity == FSCK_DAMAGE)
        buf_addf(arg, STR_FMT " " STR_FMT "\n", STR_ARG(x->key), STR_ARG(x->what));
}

static void is_whole(struct store *s, const char *when)
{
    struct buf said auto_buf = BUF_INIT(TEXT_MAX);
    struct fsck_settings settings = {.deep = true, .report = say_damage, .arg = &said};
    struct err_detail why = {""};
    struct fsck_counts counts;

    check(fsck_run(s, &settings, &counts, &why) == 0, "%s: fsck: %s", when, why.text);
    check(said.len == 0, "%s: %s", when, buf_c(&said));
}

static void say_copy(struct str key, struct str what, void *arg)
{
    buf_addf(arg, STR_FMT " " STR_FMT "\n", STR_ARG(key), STR_ARG(what));
}

static int copy(struct store *from, struct store *to, struct copy_counts *counts)
{
    struct buf said auto_buf = BUF_INIT(TEXT_MAX);
    struct copy_settings settings = {.report = say_copy, .arg = &said};
    struct err_detail why = {""};
    int e = copy_run(from, to, &settings, counts, &why);

    check(e == 0 || why.text[0], "%s without a sentence", err_name(e));
    check(said.len == 0, "%s", buf_c(&said));
    return e;
}

static void push_large(struct site *s, const char *repo)
{
    struct uploads *us;
    struct upload *u;
    struct buf bytes auto_buf = BUF_INIT(LARGE);
    char id[KEYS_SESSION_LEN + 1];
    struct digest d;

    for (unsigned i = 0; i < LARGE; i++)
        buf_addc(&bytes, (char)('a' + i % 26));
    digest_of(DIGEST_SHA256, buf_str(&bytes), &d);
    assert_int_equal(uploads_new(s->blobs, &us), 0);
    upload_start(us, str_of(repo), STR_NONE, DIGEST_SHA256, id);
    assert_int_equal(upload_hold(us, str_of(repo), STR_NONE, str_of(id), &u, NULL), 0);
    assert_int_equal(upload_write(u, buf_str(&bytes), NULL), 0);
    assert_int_equal(upload_close(u, &d, 0, NULL), 0);
    upload_release(u);
    uploads_free(us);
}

/* Two repositories, a large blob, a tag that moved, a deleted manifest, an unlinked blob. */
static struct store *make_source(void)
{
    const struct image one = {.config = "c1", .layers = {"l1"}},
                       two = {.config = "c1", .layers = {"l1"}, .salt = "2"};
    const struct repo_who who = {.by = STR("me"), .req = STR_NONE};
    struct store *s = mem_store();
    struct digest d;
    struct site site;
    struct repo *r;

    site_open(&site, s, REFERENCES_STRICT, NULL);
    for (unsigned i = 0; i < 2; i++) {
        const char *name = i ? "b" : "a/x";

        add_blob(&site, name, "c1");
        add_blob(&site, name, "l1");
        assert_int_equal(put_image(&site, name, &one, "v"), 0);
        assert_int_equal(put_image(&site, name, &two, "v"), 0);
    }
    push_large(&site, "b");
    r = repo_of(&site, "b");
    image_digest(&one, &d);
    assert_int_equal(repo_delete_manifest(r, &d, &who, NULL), 0);
    image_digest(&two, &d);
    assert_int_equal(repo_delete_manifest(r, &d, &who, NULL), 0);
    d = digest_named("l1");
    assert_int_equal(repo_unlink_blob(r, &d, &who, NULL), 0);
    repo_unref(r);
    site_close(&site);
    return s;
}

static void test_complete(void **state)
{
    struct store *from auto_store = make_source(), *to auto_store = mem_store();
    const char *const same[] = {"data/",  "blobs/",   "links/", "changes/",
                                "repos/", "catalog/", "secret/"};
    struct copy_counts counts;

    (void)state;
    assert_int_equal(copy(from, to, &counts), 0);
    is_whole(to, "copied");
    assert_int_equal(counts.repositories, 2);
    for (size_t i = 0; i < ARRAY_LEN(same); i++)
        check(count_objects(from, same[i]) == count_objects(to, same[i]), "%s", same[i]);
    assert_true(count_objects(to, "data/") == 1);
    assert_int_equal(copy(from, to, &counts), 0);
    assert_int_equal(counts.objects, 0);
}

/* Of the destination: dies at its n-th call, or that call fails once, or its reply is lost. */
enum fate { DIES, FAILS, LOST };

static uint64_t copy_with(struct store *from, uint64_t n, enum fate fate)
{
    struct faults f;
    struct store *to auto_store = faulty_store(&f, mem_store());
    struct copy_counts counts;
    char when[64];
    uint64_t calls;
    int e;

    faults_clear(&f);
    f.dead_after = fate == DIES ? n : 0;
    f.fail_at = fate == FAILS ? n : 0;
    f.lost_at = fate == LOST ? n : 0;
    e = copy(from, to, &counts);
    calls = f.calls;
    check(fate == DIES || e == 0, "call %u, fate %u: %s", (unsigned)n, fate, err_name(e));
    faults_clear(&f);
    snprintf(when, sizeof(when), "call %u, fate %u", (unsigned)n, fate);
    if (count_objects(to, "secret/") > 0)
        is_whole(to, when);
    assert_int_equal(copy(from, to, &counts), 0);
    is_whole(to, when);
    check(count_objects(from, "repos/") == count_objects(to, "repos/"), "%s", when);
    return calls;
}

static void test_dies_or_fails_at_any_call(void **state)
{
    struct store *from auto_store = make_source();
    uint64_t calls = copy_with(from, 0, FAILS);

    (void)state;
    check(calls > 40, "%u calls", (unsigned)calls);
    for (uint64_t n = 1; n <= calls; n++) {
        copy_with(from, n, DIES);
        copy_with(from, n, FAILS);
        copy_with(from, n, LOST);
    }
}

/* The source goes on: its next entries come with the next copy, and a link of an unlink that is not
 * there yet does not come before it. */
static void push_on(const struct store_fault_call *call, void *arg)
{
    const struct image more = {.config = "c1", .layers = {"l1"}, .salt = "3"};
    const struct repo_who who = {.by = STR("me"), .req = STR_NONE};
    struct site site;
    struct digest d = digest_named("l1"), m;
    struct repo *r;

    (void)call;
    site_open(&site, arg, REFERENCES_STRICT, NULL);
    r = repo_of(&site, "a/x");
    assert_int_equal(repo_unlink_blob(r, &d, &who, NULL), 0);
    add_blob(&site, "a/x", "l1");
    assert_int_equal(put_image(&site, "a/x", &more, "later"), 0);
    image_digest(&more, &m);
    add_blob(&site, "new", "c1");
    add_blob(&site, "new", "l1");
    assert_int_equal(put_image(&site, "new", &more, "later"), 0);
    repo_unref(r);
    site_close(&site);
}

static void test_source_goes_on(void **state)
{
    (void)state;
    for (uint64_t n = 1, calls = 2; n < calls; n++) {
        struct store *from auto_store = make_source();
        struct faults f;
        struct store *to auto_store = faulty_store(&f, mem_store());
        struct copy_counts counts;

        faults_clear(&f);
        f.hook_at = n;
        f.hook = push_on;
        f.hook_arg = from;
        assert_int_equal(copy(from, to, &counts), 0);
        calls = f.calls;
        faults_clear(&f);
        is_whole(to, "while the source went on");
        assert_int_equal(copy(from, to, &counts), 0);
        is_whole(to, "copied again");
        check(count_objects(from, "repos/") == count_objects(to, "repos/"), "all entries");
        /* The link that an unlink made void was removed in the source. */
        check(count_objects(from, "links/") <= count_objects(to, "links/"), "all links");
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup(test_complete, setup),
        cmocka_unit_test_setup(test_dies_or_fails_at_any_call, setup),
        cmocka_unit_test_setup(test_source_goes_on, setup),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
