/* Open repositories: queries, strict reads between two nodes, membership, the cache and its bounds.
 */
#include "fixture.h"

#include <stdio.h>

#include "base/clock.h"
#include "base/metrics.h"

#define REPO "library/app"

static struct image image_of(const char *salt)
{
    return (struct image){.config = "config", .layers = {"one", "two"}, .salt = salt};
}

static void add_content(struct site *s, const char *repo)
{
    add_blob(s, repo, "config");
    add_blob(s, repo, "one");
    add_blob(s, repo, "two");
}

static void test_never_written(void **state)
{
    struct store *store = mem_store();
    struct site s;
    struct repo *r;
    struct repo_manifest m;
    struct digest d = digest_named("x");
    struct blob_info info;
    bool more = true;

    (void)state;
    site_open(&s, store, REFERENCES_STRICT, NULL);
    assert_null(repo_cached(s.repos, STR(REPO)));
    r = repo_of(&s, REPO);
    assert_int_equal(repo_refresh(r, NULL), 0);
    assert_int_equal(repo_refresh_nowait(r), 0);
    assert_false(repo_exists(r));
    assert_true(str_eq(repo_name(r), STR(REPO)));
    assert_int_equal(repo_tag(r, STR("t"), &m), -ERR_NOTFOUND);
    assert_int_equal(repo_manifest(r, &d, &m), -ERR_NOTFOUND);
    assert_int_equal(repo_blob(r, &d, &info, NULL), -ERR_NOTFOUND);
    assert_int_equal(link_u_of(r, &d), 0);
    assert_int_equal(repo_tags(r, STR_NONE, 10, NULL, NULL, &more), 0);
    assert_false(more);
    repo_unref(r);
    assert_int_equal(count_objects(store, "repos/"), 0);
    site_close(&s);
    store_free(store);
}

static void test_put_and_read(void **state)
{
    struct store *store = mem_store();
    struct site s;
    struct image image = image_of(NULL);
    struct repo_manifest m;
    struct digest d;
    struct repo *r;

    (void)state;
    site_open(&s, store, REFERENCES_STRICT, NULL);
    add_content(&s, REPO);
    assert_int_equal(put_image(&s, REPO, &image, "latest"), 0);
    image_digest(&image, &d);
    r = repo_cached(s.repos, STR(REPO));
    assert_non_null(r);
    assert_int_equal(repo_refresh_nowait(r), 0);
    assert_true(repo_exists(r));
    assert_int_equal(repo_tag(r, STR("latest"), &m), 0);
    assert_true(digest_eq(&m.digest, &d));
    assert_string_equal(m.media_type, MEDIA_OCI_MANIFEST);
    assert_int_equal(m.seq, 1);
    assert_true(m.ts > 0);
    assert_int_equal(repo_manifest(r, &d, &m), 0);
    assert_true(m.size > 100);
    repo_unref(r);
    assert_int_equal(check_log(store, "repos/" REPO, true), 1);
    site_close(&s);
    store_free(store);
}

/* A strict read sees what another node committed before; without waiting it says that it would have
 * to. */
static void test_two_nodes(void **state)
{
    struct store *store = mem_store();
    struct site a, b;
    struct image image = image_of(NULL);
    struct repo_manifest m;
    struct repo *r;

    (void)state;
    site_open(&a, store, REFERENCES_STRICT, NULL);
    site_open(&b, store, REFERENCES_STRICT, NULL);
    add_content(&a, REPO);
    r = repo_of(&b, REPO);
    assert_int_equal(put_image(&a, REPO, &image, "latest"), 0);
    assert_int_equal(repo_refresh_nowait(r), -ERR_AGAIN);
    assert_int_equal(repo_tag(r, STR("latest"), &m), -ERR_NOTFOUND);
    assert_int_equal(repo_refresh(r, NULL), 0);
    assert_int_equal(repo_tag(r, STR("latest"), &m), 0);
    assert_int_equal(repo_refresh_nowait(r), 0);
    repo_unref(r);
    site_close(&a);
    site_close(&b);
    store_free(store);
}

struct names {
    char text[1024];
    unsigned stop_after;
};

static int add_name(struct str name, void *arg)
{
    struct names *n = arg;
    size_t len = strlen(n->text);

    snprintf(n->text + len, sizeof(n->text) - len, STR_FMT " ", STR_ARG(name));
    return n->stop_after > 0 && --n->stop_after == 0 ? 5 : 0;
}

/* R120, R121: byte order, strictly after last, exactly n. */
static void test_tag_pages(void **state)
{
    static const char *const tags[] = {"b", "a", "B", "a-1", "a.1", "_", "1", NULL};
    static const struct {
        const char *last;
        size_t n;
        const char *want;
        bool more;
    } cases[] = {
        {"", 100, "1 B _ a a-1 a.1 b ", false},
        {"", 7, "1 B _ a a-1 a.1 b ", false},
        {"", 2, "1 B ", true},
        {"B", 2, "_ a ", true},
        {"A", 2, "B _ ", true},
        {"a.1", 5, "b ", false},
        {"b", 5, "", false},
        {"zz", 5, "", false},
    };
    struct store *store = mem_store();
    struct site s;
    struct image image = image_of(NULL);
    struct buf body auto_buf = BUF_INIT(MANIFEST_BYTES_MAX);
    struct repo *r;
    struct names stopped = {.stop_after = 2};
    bool more;

    (void)state;
    site_open(&s, store, REFERENCES_STRICT, NULL);
    add_content(&s, REPO);
    image_body(&image, &body);
    assert_int_equal(put_body(&s, REPO, buf_str(&body), tags, NULL), 0);
    assert_int_equal(check_log(store, "repos/" REPO, true), 1); /* all tags in one step */
    r = repo_of(&s, REPO);
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        struct names got = {.text = ""};

        more = !cases[i].more;
        assert_int_equal(repo_tags(r, str_of(cases[i].last), cases[i].n, add_name, &got, &more), 0);
        check(strcmp(got.text, cases[i].want) == 0, "case %zu: %s", i, got.text);
        check(more == cases[i].more, "case %zu", i);
    }
    assert_int_equal(repo_tags(r, STR_NONE, 10, add_name, &stopped, &more), 5);
    assert_string_equal(stopped.text, "1 B ");
    repo_unref(r);
    site_close(&s);
    store_free(store);
}

struct found {
    unsigned count;
    char last[DIGEST_TEXT_MAX];
    char note[64];
};

static int add_referrer(const struct repo_referrer *ref, void *arg)
{
    struct found *f = arg;

    assert_true(str_cmp(str_of(f->last), ref->digest) < 0);
    snprintf(f->last, sizeof(f->last), STR_FMT, STR_ARG(ref->digest));
    snprintf(f->note, sizeof(f->note), STR_FMT, STR_ARG(ref->annotations));
    assert_true(str_eq(ref->media_type, STR(MEDIA_OCI_MANIFEST)));
    assert_true(str_eq(ref->artifact_type, STR("application/vnd.oci.image.config.v1+json")));
    assert_true(ref->size > 100);
    f->count++;
    return 0;
}

/* R132, R136, R137: also for a subject that is not there, and also when pushed twice. */
static void test_referrers(void **state)
{
    struct store *store = mem_store();
    struct site s;
    struct digest subject = digest_named("subject"), other = digest_named("other");
    struct found all = {0}, rest = {0}, none = {0};
    struct repo *r;
    char half[DIGEST_TEXT_MAX];

    (void)state;
    site_open(&s, store, REFERENCES_STRICT, NULL);
    add_content(&s, REPO);
    for (int i = 0; i < 10; i++) {
        char salt[8];
        struct image image = image_of(salt);

        snprintf(salt, sizeof(salt), "%d", i);
        image.subject = "subject";
        image.annotation = i == 3 ? NULL : "n";
        assert_int_equal(put_image(&s, REPO, &image, i % 2 ? "t" : NULL), 0);
        assert_int_equal(put_image(&s, REPO, &image, "again"), 0);
    }
    r = repo_of(&s, REPO);
    assert_int_equal(repo_referrers(r, &subject, STR_NONE, add_referrer, &all), 0);
    assert_int_equal(all.count, 10);
    snprintf(half, sizeof(half), "sha256:8");
    assert_int_equal(repo_referrers(r, &subject, str_of(half), add_referrer, &rest), 0);
    assert_true(rest.count < 10);
    assert_string_equal(rest.last, all.last);
    assert_int_equal(repo_referrers(r, &subject, str_of(all.last), add_referrer, &none), 0);
    assert_int_equal(repo_referrers(r, &other, STR_NONE, add_referrer, &none), 0);
    assert_int_equal(none.count, 0);
    repo_unref(r);
    site_close(&s);
    store_free(store);
}

/* B11: by a link, by a manifest; here and not elsewhere. */
static void test_membership(void **state)
{
    struct store *store = mem_store();
    struct site s;
    struct image image = image_of(NULL);
    struct digest one = digest_named("one"), nothing = digest_named("nothing");
    struct blob_info info;
    struct repo *r;
    int e;

    (void)state;
    site_open(&s, store, REFERENCES_STRICT, NULL);
    add_content(&s, REPO);
    assert_true(blob_readable(&s, REPO, "one"));
    assert_false(blob_readable(&s, "library/other", "one"));
    assert_int_equal(put_image(&s, REPO, &image, "t"), 0);
    assert_int_equal(blob_link_remove(s.blobs, STR(REPO), &one, 0, NULL), 0);
    assert_true(blob_readable(&s, REPO, "one")); /* the manifest has it */
    assert_false(blob_readable(&s, "library/other", "one"));
    r = repo_cached(s.repos, STR(REPO));
    assert_int_equal(repo_blob_nowait(r, &one, &info), 0);
    assert_int_equal(info.size, 3);
    e = repo_blob_nowait(r, &nothing, &info);
    assert_true(e == -ERR_NOTFOUND || e == -ERR_AGAIN);
    repo_unref(r);
    site_close(&s);
    store_free(store);
}

/* A link is asked for once for each number of the last unlink, which ends what was seen. */
static void test_a_seen_link_ends_with_the_unlink(void **state)
{
    struct store *store = mem_store();
    struct site s;
    struct repo_who who = {.by = STR("alice"), .req = STR("r1")};
    struct digest one = digest_named("one");
    struct repo *r;
    uint64_t u;

    (void)state;
    site_open(&s, store, REFERENCES_STRICT, NULL);
    add_content(&s, REPO);
    assert_true(blob_readable(&s, REPO, "one"));
    assert_false(blob_readable(&s, "library/other", "one"));
    assert_int_equal(blob_link_remove(s.blobs, STR(REPO), &one, 0, NULL), 0);
    assert_true(blob_readable(&s, REPO, "one")); /* not asked again */
    assert_int_equal(blob_link_create(s.blobs, STR(REPO), &one, 0, NULL), 0);
    assert_int_equal(repo_get(s.repos, STR(REPO), &r, NULL), 0);
    assert_int_equal(repo_unlink_blob(r, &one, &who, NULL), 0);
    assert_false(blob_readable(&s, REPO, "one"));
    assert_int_equal(blob_link_create(s.blobs, STR(REPO), &one, 0, NULL), 0);
    assert_false(blob_readable(&s, REPO, "one")); /* an old number */
    assert_int_equal(repo_link_u(r, &one, &u), 0);
    assert_int_equal(blob_link_create(s.blobs, STR(REPO), &one, u, NULL), 0);
    assert_true(blob_readable(&s, REPO, "one"));
    assert_true(blob_readable(&s, REPO, "one"));
    repo_unref(r);
    site_close(&s);
    store_free(store);
}

/* A link whose record does not exist makes nothing readable. */
static void test_link_without_record(void **state)
{
    struct store *store = mem_store();
    struct site s;
    struct digest d = digest_named("ghost");

    (void)state;
    site_open(&s, store, REFERENCES_STRICT, NULL);
    assert_int_equal(blob_link_create(s.blobs, STR(REPO), &d, 0, NULL), 0);
    assert_false(blob_readable(&s, REPO, "ghost"));
    site_close(&s);
    store_free(store);
}

/* The cache is bounded, the least recently used go, those in use stay. */
static void test_eviction(void **state)
{
    struct store *store = mem_store();
    struct site s;
    struct repo *kept;
    char name[32];

    (void)state;
    site_open(&s, store, REFERENCES_STRICT, NULL);
    kept = repo_of(&s, "kept");
    for (int i = 0; i < REPOS_CACHED_MAX + 50; i++) {
        struct repo *r;

        snprintf(name, sizeof(name), "r/%d", i);
        r = repo_of(&s, name);
        repo_unref(r);
    }
    check(metric_value(METRIC_repositories_cached) <= REPOS_CACHED_MAX, "%lld cached",
          (long long)metric_value(METRIC_repositories_cached));
    assert_null(repo_cached(s.repos, STR("r/0")));
    assert_true(repo_cached(s.repos, STR("kept")) == kept);
    repo_unref(kept);
    repo_unref(kept);
    site_close(&s);
    assert_int_equal(metric_value(METRIC_repositories_cached), 0);
    store_free(store);
}

#define OPENERS 8
static struct site opened_by_all;
static struct repo *openers[OPENERS];

static void open_one(unsigned index, void *arg)
{
    (void)arg;
    if (repo_get(opened_by_all.repos, STR(REPO), &openers[index], NULL) < 0)
        openers[index] = NULL;
}

/* Many open the same at once: it is one. */
static void test_open_at_once(void **state)
{
    struct store *store = mem_store();

    (void)state;
    site_open(&opened_by_all, store, REFERENCES_STRICT, NULL);
    run_threads(OPENERS, open_one, NULL);
    for (int i = 0; i < OPENERS; i++) {
        assert_non_null(openers[i]);
        assert_true(openers[i] == openers[0]);
        repo_unref(openers[i]);
    }
    site_close(&opened_by_all);
    store_free(store);
}

/* A store that fails at the opening is an error of that request only. */
static void test_open_fails(void **state)
{
    struct watch w;
    struct store *store = watched_store(&w, mem_store());
    struct site s;
    struct repo *r = NULL;

    (void)state;
    site_open(&s, store, REFERENCES_STRICT, NULL);
    watch_fail(&w, "get", "repos/" REPO "/_hint", -ERR_UNAVAIL, 1);
    assert_int_equal(repo_get(s.repos, STR(REPO), &r, NULL), -ERR_UNAVAIL);
    assert_null(r);
    r = repo_of(&s, REPO);
    repo_unref(r);
    site_close(&s);
    store_free(store);
}

#define READERS 8
#define READS   200
static struct site read_by_all;
static unsigned read_errors;

static void read_many(unsigned index, void *arg)
{
    (void)arg;
    for (int i = 0; i < READS; i++) {
        struct repo *r auto_repo = NULL;

        if (repo_get(read_by_all.repos, STR(REPO), &r, NULL) < 0 || repo_refresh(r, NULL) < 0)
            __atomic_fetch_add(&read_errors, 1, __ATOMIC_RELAXED);
        if (index == 0 && i % 20 == 0)
            clock_sleep_ms(1);
    }
}

/* Probes are shared: many readers cost fewer probes than reads when a probe takes time. */
static void test_shared_probes(void **state)
{
    struct watch w;
    struct store *store = watched_store(&w, mem_store());

    (void)state;
    site_open(&read_by_all, store, REFERENCES_STRICT, NULL);
    repo_unref(repo_of(&read_by_all, REPO));
    watch_clear(&w);
    run_threads(READERS, read_many, NULL);
    assert_int_equal(read_errors, 0);
    check(w.probes <= READERS * READS, "%u probes", w.probes);
    print_message("%u reads, %u probes\n", READERS * READS, w.probes);
    site_close(&read_by_all);
    store_free(store);
}

/* What the hottest path costs beside its one probe. */
static void test_hot_path(void **state)
{
    enum { ROUNDS = 100000 };
    struct store *store = mem_store();
    struct site s;
    struct image image = image_of(NULL);
    struct repo_manifest m;
    int64_t start;

    (void)state;
    site_open(&s, store, REFERENCES_STRICT, NULL);
    add_content(&s, REPO);
    assert_int_equal(put_image(&s, REPO, &image, "latest"), 0);
    start = clock_boot_ns();
    for (int i = 0; i < ROUNDS; i++) {
        struct repo *r = repo_cached(s.repos, STR(REPO));

        if (!r || repo_refresh_nowait(r) < 0 || repo_tag(r, STR("latest"), &m) < 0)
            fail();
        repo_unref(r);
    }
    print_message("cached tag read with probe of memory: %lld ns\n",
                  (long long)((clock_boot_ns() - start) / ROUNDS));
    site_close(&s);
    store_free(store);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_never_written),
        cmocka_unit_test(test_put_and_read),
        cmocka_unit_test(test_two_nodes),
        cmocka_unit_test(test_tag_pages),
        cmocka_unit_test(test_referrers),
        cmocka_unit_test(test_membership),
        cmocka_unit_test(test_link_without_record),
        cmocka_unit_test(test_a_seen_link_ends_with_the_unlink),
        cmocka_unit_test(test_eviction),
        cmocka_unit_test(test_open_at_once),
        cmocka_unit_test(test_open_fails),
        cmocka_unit_test(test_shared_probes),
        cmocka_unit_test(test_hot_path),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
