/* What is not asked on a remote store, where each question is a request, and what is found out
 * instead: by the first link, by the create of an entry, before a repository's first entry. */
#include "fixture.h"

#include "base/metrics.h"
#include "blobstore/store_ops.h"
#include "manifests/revert.h"

#define REPO "library/app"

static const struct repo_who who = {.by = {"alice", 5}, .req = {"r1", 2}};
static const struct image image = {.config = "config", .layers = {"one", "two"}};

static struct store *as_remote(struct store *s, struct store_ops *ops)
{
    *ops = *s->ops;
    ops->remote = true;
    s->ops = ops;
    return s;
}

static void add_content(struct site *s)
{
    add_blob(s, REPO, "config");
    add_blob(s, REPO, "one");
    add_blob(s, REPO, "two");
}

static bool never(struct site *s, const char *name)
{
    struct digest d = digest_named(name);

    return repo_blob_never(s->repos, STR(REPO), &d);
}

/* B44: whatever happened to a digest, its first link tells whether it can be readable. */
static void test_first_link(void **state)
{
    struct store_ops ops;
    struct store *store = as_remote(mem_store(), &ops);
    struct site a, b, c;
    struct digest one = digest_named("one");
    struct repo *r;
    uint64_t seq;

    (void)state;
    site_open(&a, store, REFERENCES_STRICT, NULL);
    site_open(&b, store, REFERENCES_STRICT, NULL);
    assert_true(never(&b, "one"));
    add_content(&a);
    assert_int_equal(put_image(&a, REPO, &image, "t"), 0);
    assert_false(never(&b, "one"));
    r = repo_of(&a, REPO);
    assert_int_equal(repo_unlink_blob(r, &one, &who, NULL), 0);
    add_blob(&a, REPO, "one");
    site_open(&c, store, REFERENCES_STRICT, NULL);
    assert_false(never(&c, "one"));
    assert_true(blob_readable(&c, REPO, "one"));
    site_close(&c);

    assert_int_equal(revert_drop(r, &who, &seq, NULL), 0);
    add_blob(&a, REPO, "three"); /* by a link of another number than 0 */
    assert_false(never(&b, "three"));
    assert_true(blob_readable(&b, REPO, "three"));
    repo_unref(r);
    site_close(&b);
    site_close(&a);
    store_free(store);
}

/* A push on a state that was looked at a moment ago asks nothing of the log, and finds out. */
static void test_push_without_a_look(void **state)
{
    struct store *store = mem_store();
    struct store_ops ops;
    struct watch w;
    struct store *watched = as_remote(watched_store(&w, store), &ops);
    struct site a, b;
    struct digest d, one = digest_named("one");
    struct image next = image;
    struct repo *ra, *rb;
    struct repo_manifest m;

    (void)state;
    site_open(&a, store, REFERENCES_STRICT, NULL);
    site_open(&b, watched, REFERENCES_STRICT, NULL);
    add_content(&a);
    assert_int_equal(put_image(&a, REPO, &image, "t"), 0);
    image_digest(&image, &d);
    ra = repo_of(&a, REPO);
    rb = repo_of(&b, REPO);
    assert_int_equal(repo_refresh(rb, NULL), 0);

    /* "Nothing to do" on what b knows: but it is gone. */
    assert_int_equal(repo_delete_manifest(ra, &d, &who, NULL), 0);
    assert_int_equal(put_image(&b, REPO, &image, "t"), 0);
    assert_int_equal(repo_refresh(ra, NULL), 0);
    assert_int_equal(repo_tag(ra, STR("t"), &m), 0);

    /* A blob that b knows as a member, unlinked meanwhile. */
    assert_int_equal(repo_delete_manifest(ra, &d, &who, NULL), 0);
    assert_int_equal(repo_refresh(rb, NULL), 0);
    assert_int_equal(repo_unlink_blob(ra, &one, &who, NULL), 0);
    next.salt = "next";
    assert_int_equal(put_image(&b, REPO, &next, "t"), -ERR_MISSING_REF);
    add_blob(&a, REPO, "one");
    assert_int_equal(put_image(&b, REPO, &next, "t"), 0);

    /* With nobody else there, the entry is all that the log is asked for. */
    next.salt = "last";
    assert_int_equal(repo_refresh(rb, NULL), 0);
    watch_clear(&w);
    assert_int_equal(put_image(&b, REPO, &next, "t"), 0);
    assert_int_equal(w.gets + w.probes, 0);
    repo_unref(ra);
    repo_unref(rb);
    site_close(&b);
    site_close(&a);
    store_free(watched);
}

/* An empty log is not held against its hint where nobody heard of it; but before its first entry.
 */
static void test_lost_log_takes_no_first_entry(void **state)
{
    struct store_ops ops;
    struct store *store = as_remote(mem_store(), &ops);
    struct site a, b;
    int64_t alarms = metric_value(METRIC_alarms_total);
    struct repo *r;

    (void)state;
    site_open(&a, store, REFERENCES_STRICT, NULL);
    site_open(&b, store, REFERENCES_STRICT, NULL);
    assert_int_equal(catalog_refresh(repos_catalog(b.repos), NULL), 0);
    assert_int_equal(catalog_add(repos_catalog(a.repos), STR(REPO), true, NULL), 0);
    assert_int_equal(store_put(store, STR("repos/" REPO "/_hint"), STORE_HINT,
                               STR("{\"v\":1,\"checkpoint\":0,\"head\":3}"), NULL),
                     0);
    add_content(&b);
    r = repo_of(&b, REPO);
    assert_int_equal(repo_refresh(r, NULL), 0);
    assert_false(repo_exists(r));
    assert_int_equal(metric_value(METRIC_alarms_total), alarms);
    assert_int_equal(put_image(&b, REPO, &image, "t"), -ERR_READONLY);
    assert_int_equal(metric_value(METRIC_alarms_total), alarms + 1);
    assert_int_equal(count_objects(store, "repos/" REPO "/_log/"), 0);
    repo_unref(r);

    /* One that the catalog knows and that never came to its first entry is no loss. */
    assert_int_equal(catalog_add(repos_catalog(a.repos), STR("library/other"), true, NULL), 0);
    add_blob(&b, "library/other", "config");
    add_blob(&b, "library/other", "one");
    add_blob(&b, "library/other", "two");
    assert_int_equal(put_image(&b, "library/other", &image, "t"), 0);
    site_close(&b);
    site_close(&a);
    store_free(store);
}

/* What a hint names that others wrote since the log was opened is no loss; what is not there is. */
static void test_others_wrote_after_the_look(void **state)
{
    struct store_ops ops;
    struct store *store = as_remote(mem_store(), &ops);
    struct site a, b;
    struct image next = image;
    int64_t alarms = metric_value(METRIC_alarms_total);

    (void)state;
    next.salt = "next";
    for (int lost = 0; lost < 2; lost++) {
        const char *name = lost ? "library/shorter" : REPO;
        struct str hint = lost ? STR("repos/library/shorter/_hint") : STR("repos/" REPO "/_hint");
        struct repo *r;

        site_open(&a, store, REFERENCES_STRICT, NULL);
        site_open(&b, store, REFERENCES_STRICT, NULL);
        assert_int_equal(catalog_refresh(repos_catalog(b.repos), NULL), 0);
        r = repo_of(&b, name);
        add_blob(&a, name, "config");
        add_blob(&a, name, "one");
        add_blob(&a, name, "two");
        assert_int_equal(put_image(&a, name, &image, "t"), 0);
        assert_int_equal(store_put(store, hint, STORE_HINT,
                                   lost ? STR("{\"v\":1,\"checkpoint\":0,\"head\":2}")
                                        : STR("{\"v\":1,\"checkpoint\":0,\"head\":1}"),
                                   NULL),
                         0);
        assert_int_equal(put_image(&b, name, &next, "t"), lost ? -ERR_READONLY : 0);
        assert_int_equal(metric_value(METRIC_alarms_total), alarms + lost);
        assert_true(repo_exists(r));
        repo_unref(r);
        site_close(&b);
        site_close(&a);
    }
    store_free(store);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_first_link),
        cmocka_unit_test(test_push_without_a_look),
        cmocka_unit_test(test_lost_log_takes_no_first_entry),
        cmocka_unit_test(test_others_wrote_after_the_look),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
