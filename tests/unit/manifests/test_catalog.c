/* The catalog: names stay, the newest word about a repository counts, listings show what is filled.
 * docs/bucket-format.md section 10, R125. */
#include "fixture.h"

#include <stdio.h>

static const struct repo_who who = {.by = {"tester", 6}, .req = {"r", 1}};

struct names {
    char text[4096];
};

static int add_name(struct str name, void *arg)
{
    struct names *n = arg;
    size_t len = strlen(n->text);

    snprintf(n->text + len, sizeof(n->text) - len, STR_FMT " ", STR_ARG(name));
    return 0;
}

static void expect(struct site *s, const char *last, size_t n, const char *want, bool want_more)
{
    struct catalog *c = repos_catalog(s->repos);
    struct names got = {.text = ""};
    bool more = !want_more;

    assert_int_equal(catalog_refresh(c, NULL), 0);
    assert_int_equal(catalog_page(c, str_of(last), n, add_name, &got, &more), 0);
    check(strcmp(got.text, want) == 0, "got %s, not %s", got.text, want);
    check(more == want_more, "%s: more", want);
}

static void test_words(void **state)
{
    struct store *store = mem_store();
    struct site s, other;
    struct catalog *c;

    (void)state;
    site_open(&s, store, REFERENCES_STRICT, NULL);
    c = repos_catalog(s.repos);
    assert_int_equal(catalog_refresh_nowait(c), -ERR_AGAIN); /* not open yet */
    expect(&s, "", 10, "", false);
    assert_int_equal(catalog_refresh_nowait(c), 0);
    assert_int_equal(catalog_add(c, STR("b/c"), true, NULL), 0);
    assert_int_equal(catalog_add(c, STR("a"), false, NULL), 0);
    assert_int_equal(catalog_add(c, STR("b"), true, NULL), 0);
    assert_int_equal(catalog_add(c, STR("b-c"), true, NULL), 0);
    assert_int_equal(catalog_add(c, STR("b"), false, NULL), 0); /* stands already */
    assert_int_equal(check_log(store, "catalog", true), 4);
    expect(&s, "", 10, "b b-c b/c ", false);
    expect(&s, "", 2, "b b-c ", true);
    expect(&s, "b-c", 2, "b/c ", false);
    expect(&s, "zz", 2, "", false);
    /* The greatest number wins, whatever comes last. */
    assert_int_equal(catalog_mark(c, STR("b"), false, 7, NULL), 0);
    assert_int_equal(catalog_mark(c, STR("b"), true, 5, NULL), 0);
    assert_int_equal(catalog_mark(c, STR("a"), true, 2, NULL), 0);
    assert_int_equal(catalog_mark(c, STR("a"), true, 2, NULL), 0);
    assert_int_equal(check_log(store, "catalog", true), 6);
    expect(&s, "", 10, "a b-c b/c ", false);
    assert_int_equal(catalog_mark(c, STR("nowhere"), true, 1, NULL), -ERR_NOTFOUND);
    site_open(&other, store, REFERENCES_STRICT, NULL);
    expect(&other, "", 10, "a b-c b/c ", false);
    site_close(&s);
    site_close(&other);
    store_free(store);
}

static int delete_it(struct site *s, const char *repo, const struct image *image)
{
    struct repo *r auto_repo = repo_of(s, repo);
    struct digest d;

    image_digest(image, &d);
    return repo_delete_manifest(r, &d, &who, NULL);
}

/* R125: a repository shows while it holds a manifest. */
static void test_filled(void **state)
{
    struct store *store = mem_store();
    struct site s, other;
    struct image image = {.config = "config"};

    (void)state;
    site_open(&s, store, REFERENCES_NONE, NULL);
    site_open(&other, store, REFERENCES_NONE, NULL);
    add_blob(&s, "only/blobs", "x");
    expect(&s, "", 10, "", false);
    assert_int_equal(put_image(&s, "b", &image, "t"), 0);
    assert_int_equal(put_image(&other, "a", &image, "t"), 0);
    expect(&s, "", 10, "a b ", false);
    assert_int_equal(check_log(store, "catalog", true), 2); /* one add each says it all */
    assert_int_equal(delete_it(&s, "b", &image), 0);
    expect(&other, "", 10, "a ", false);
    assert_int_equal(put_image(&other, "b", &image, NULL), 0);
    expect(&s, "", 10, "a b ", false);
    assert_int_equal(check_log(store, "catalog", true), 4);
    site_close(&s);
    site_close(&other);
    store_free(store);
}

/* What a node could not say before it died is said by the next that opens or changes the
 * repository. */
static void test_repaired(void **state)
{
    struct watch w;
    struct store *store = watched_store(&w, mem_store());
    struct site s;
    struct image image = {.config = "config"}, second = {.config = "config", .salt = "2"};

    (void)state;
    site_open(&s, store, REFERENCES_NONE, NULL);
    assert_int_equal(put_image(&s, "a", &image, "t"), 0);
    watch_fail(&w, "create", "catalog/_log/", -ERR_NOSPACE, 1000);
    assert_int_equal(delete_it(&s, "a", &image), 0); /* a warning, no failure */
    expect(&s, "", 10, "a ", false);
    watch_fail(&w, "create", "never", 0, 0);
    site_close(&s);
    site_open(&s, store, REFERENCES_NONE, NULL);
    repo_unref(repo_of(&s, "a"));
    expect(&s, "", 10, "", false);

    watch_fail(&w, "create", "catalog/_log/", -ERR_NOSPACE, 1000);
    assert_int_equal(put_image(&s, "a", &image, "t"), 0);
    expect(&s, "", 10, "", false);
    watch_fail(&w, "create", "never", 0, 0);
    assert_int_equal(put_image(&s, "a", &second, "t"), 0);
    expect(&s, "", 10, "a ", false);
    site_close(&s);
    store_free(store);
}

/* A word about an older entry that comes to stand late changes nothing, also when the catalog
 * seemed to agree before. */
static void test_late_word(void **state)
{
    struct watch w;
    struct store *store = watched_store(&w, mem_store());
    struct site s;
    struct image image = {.config = "config"};

    (void)state;
    site_open(&s, store, REFERENCES_NONE, NULL);
    assert_int_equal(put_image(&s, "a", &image, "t"), 0);
    watch_fail(&w, "create", "catalog/_log/", -ERR_NOSPACE, 1000);
    assert_int_equal(delete_it(&s, "a", &image), 0);
    watch_fail(&w, "create", "never", 0, 0);
    assert_int_equal(put_image(&s, "a", &image, "t"), 0);
    assert_int_equal(catalog_mark(repos_catalog(s.repos), STR("a"), false, 2, NULL), 0);
    expect(&s, "", 10, "a ", false);
    site_close(&s);
    store_free(store);
}

/* A name is in the catalog once, however many nodes bring it at once. */
#define NODES 4
static struct site crowd[NODES];
static int errors[NODES];

static void push_first(unsigned index, void *arg)
{
    struct catalog *c = repos_catalog(crowd[index].repos);
    char name[32];

    (void)arg;
    for (int i = 0; i < 50 && errors[index] == 0; i++) {
        struct str s = {name, (size_t)snprintf(name, sizeof(name), "repo-%02d", i)};

        errors[index] = catalog_add(c, s, true, NULL);
    }
}

static void test_many_nodes(void **state)
{
    struct store *store = mem_store();
    struct names want = {.text = ""};

    (void)state;
    for (int i = 0; i < NODES; i++)
        site_open(&crowd[i], store, REFERENCES_STRICT, NULL);
    run_threads(NODES, push_first, NULL);
    for (int i = 0; i < NODES; i++)
        assert_int_equal(errors[i], 0);
    assert_int_equal(check_log(store, "catalog", true), 50);
    for (int i = 0; i < 50; i++) {
        char name[32];

        add_name((struct str){name, (size_t)snprintf(name, sizeof(name), "repo-%02d", i)}, &want);
    }
    for (int i = 0; i < NODES; i++) {
        expect(&crowd[i], "", 100, want.text, false);
        site_close(&crowd[i]);
    }
    store_free(store);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_words),      cmocka_unit_test(test_filled),
        cmocka_unit_test(test_repaired),   cmocka_unit_test(test_late_word),
        cmocka_unit_test(test_many_nodes),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
