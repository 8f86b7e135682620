/* Reverts against other writers, and more of them than fits into one entry. What a revert does to a
 * repository that nobody else writes to is tested over HTTP (tests/api/test_revert.py). */
#include "fixture.h"

#include <stdio.h>

#include "manifests/compare.h"
#include "manifests/revert.h"

#include <cmocka.h>

#define REPO      "library/app"
#define LARGE     60000 /* bytes of an annotation that stays within the entry */
#define MANY      90
#define UNTIL_ALL 10

static const struct repo_who who = {.by = {"tester", 6}, .req = {"0123456789abcdef", 16}};

static int revert_to(struct site *s, uint64_t to, const char *tag, uint64_t *ret_seq)
{
    struct revert how = {.tag = str_of(tag), .who = who};
    struct buf missing auto_buf = BUF_INIT(1 << 20);
    struct repo *r auto_repo = repo_of(s, REPO);

    return revert_repo(r, to, &how, ret_seq, &missing, NULL);
}

static uint64_t head(struct site *s)
{
    struct repo *r auto_repo = repo_of(s, REPO);

    assert_int_equal(repo_refresh(r, NULL), 0);
    return repo_seq(r);
}

static int differs(struct str tag, const struct digest *from, const struct digest *to, void *arg)
{
    (void)from, (void)to, (void)arg;
    print_error("the tag " STR_FMT " differs\n", STR_ARG(tag));
    return 1;
}

static int differs_manifest(const struct digest *d, const struct repo_manifest *from,
                            const struct repo_manifest *to, void *arg)
{
    (void)arg;
    if (from && to)
        return 0;
    print_error("the manifest " STR_FMT " differs\n", STR_ARG(text_of(d)));
    return 1;
}

static void assert_equal_states(struct site *s, uint64_t a, uint64_t b)
{
    struct repo *r auto_repo = repo_of(s, REPO), *x auto_repo = NULL, *y auto_repo = NULL;

    assert_int_equal(repo_refresh(r, NULL), 0);
    assert_int_equal(repo_view(r, a, &x, NULL), 0);
    assert_int_equal(repo_view(r, b, &y, NULL), 0);
    assert_int_equal(compare_tags(x, y, differs, NULL), 0);
    assert_int_equal(compare_manifests(x, y, differs_manifest, NULL), 0);
}

static void start(struct site *s, struct store *store)
{
    site_open(s, store, REFERENCES_STRICT, NULL);
    add_blob(s, REPO, "config");
    add_blob(s, REPO, "one");
}

static struct image image_of(const char *salt)
{
    return (struct image){.config = "config", .layers = {"one"}, .salt = salt};
}

/* ---- another writer between the plan and the entry */

static void push_elsewhere(void *arg)
{
    struct image image = image_of("elsewhere");

    assert_int_equal(put_image(arg, REPO, &image, "elsewhere"), 0);
}

static void test_state_moves(void **state)
{
    struct watch w;
    struct store *store = watched_store(&w, mem_store());
    struct site s, other;
    struct image a = image_of("a"), b = image_of("b");
    uint64_t seq = 0;

    (void)state;
    start(&s, store);
    site_open(&other, store, REFERENCES_STRICT, NULL);
    assert_int_equal(put_image(&s, REPO, &a, "t"), 0);
    assert_int_equal(put_image(&s, REPO, &b, "t"), 0);
    watch_hook(&w, "create", "_log/0000000000000000/00000000000000000003", push_elsewhere, &other);
    assert_int_equal(revert_to(&s, 1, "", &seq), 0);
    /* The other push took number 3, and is reverted, too. */
    assert_int_equal(seq, 4);
    assert_int_equal(head(&s), 4);
    assert_equal_states(&other, 1, 4);
    assert_int_equal(revert_to(&other, 3, "", &seq), 0);
    assert_int_equal(seq, 5);
    assert_equal_states(&s, 3, 5);
    site_close(&other);
    site_close(&s);
    store_free(store);
}

/* Pushes and reverts of many threads on two nodes: every revert's entry equals its goal. */
#define THREADS 4
#define TURNS   6
struct crowd {
    struct site sites[2];
    uint64_t reverts[THREADS][TURNS]; /* entries */
    int wrong[THREADS];
};

static void in_crowd(unsigned index, void *arg)
{
    struct crowd *c = arg;
    struct site *s = &c->sites[index % 2];
    char salt[32];

    for (unsigned i = 0; i < TURNS; i++) {
        int e;

        snprintf(salt, sizeof(salt), "%u-%u", index, i);
        if (index % 3 == 0) {
            e = revert_to(s, 2, "", &c->reverts[index][i]);
        } else {
            struct image image = image_of(salt);

            e = put_image(s, REPO, &image, index % 2 ? "t" : "u");
        }
        if (e < 0 && e != -ERR_NOTCOMMITTED)
            c->wrong[index] = e;
    }
}

static void test_crowd(void **state)
{
    struct store *store = mem_store();
    struct crowd c = {.wrong = {0}};
    struct image a = image_of("a"), b = image_of("b");
    uint64_t seq;

    (void)state;
    start(&c.sites[0], store);
    site_open(&c.sites[1], store, REFERENCES_STRICT, NULL);
    assert_int_equal(put_image(&c.sites[0], REPO, &a, "t"), 0);
    assert_int_equal(put_image(&c.sites[0], REPO, &b, "u"), 0);
    run_threads(THREADS, in_crowd, &c);
    for (unsigned i = 0; i < THREADS; i++) {
        assert_int_equal(c.wrong[i], 0);
        for (unsigned j = 0; j < TURNS; j++)
            if (c.reverts[i][j] > 0)
                assert_equal_states(&c.sites[0], 2, c.reverts[i][j]);
    }
    assert_int_equal(revert_to(&c.sites[1], 2, "", &seq), 0);
    assert_equal_states(&c.sites[0], 2, head(&c.sites[0]));
    site_close(&c.sites[1]);
    site_close(&c.sites[0]);
    store_free(store);
}

/* ---- more than one entry takes */

static void test_more_than_an_entry(void **state)
{
    static char note[LARGE + 1];
    struct store *store = mem_store();
    struct site s;
    struct repo *r auto_repo = NULL;
    uint64_t at, dropped, seq = 0;
    char salt[32], tag[32];

    (void)state;
    start(&s, store);
    memset(note, 'n', LARGE);
    for (unsigned i = 0; i < MANY; i++) {
        struct image image = image_of(salt);

        image.annotation = note;
        snprintf(salt, sizeof(salt), "%u", i);
        snprintf(tag, sizeof(tag), "t%u", i);
        assert_int_equal(put_image(&s, REPO, &image, tag), 0);
    }
    at = head(&s);
    r = repo_of(&s, REPO);
    assert_int_equal(revert_drop(r, &who, &dropped, NULL), 0);
    assert_int_equal(dropped, at + 1);
    assert_int_equal(revert_drop(r, &who, &seq, NULL), -ERR_NOTFOUND);
    assert_int_equal(revert_to(&s, at, "", &seq), 0);
    assert_true(seq > dropped + 1 && seq < dropped + UNTIL_ALL);
    assert_equal_states(&s, at, seq);
    /* Tags come with the last of the entries. */
    for (uint64_t i = dropped; i < seq; i++) {
        struct repo *view auto_repo = NULL;
        struct repo_manifest m;

        assert_int_equal(repo_view(r, i, &view, NULL), 0);
        assert_int_equal(repo_tag(view, STR("t0"), &m), -ERR_NOTFOUND);
    }
    repo_unrefp(&r);
    site_close(&s);
    store_free(store);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_state_moves),
        cmocka_unit_test(test_crowd),
        cmocka_unit_test(test_more_than_an_entry),
    };

    return cmocka_run_group_tests_name("revert", tests, NULL, NULL);
}
