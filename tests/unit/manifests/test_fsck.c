/* The check of a store: silent on a whole one, names what is gone or changed, ends on no bytes
 * whatever, and tells what it could not look at apart from damage. Every way of damaging a store on
 * files is in tests/fsck. */
#include "fixture.h"

#include <stdio.h>

#include "base/clock.h"
#include "base/rand.h"
#include "manifests/fsck.h"

#define TEXT_MAX 65536
#define ROUNDS   400
#define DAY_MS   (24 * 3600 * 1000LL)

static void report(const struct fsck_finding *x, void *arg)
{
    struct buf *out = arg;

    buf_addf(out, "%s " STR_FMT " " STR_FMT " (" STR_FMT ")\n", fsck_severity_name(x->severity),
             STR_ARG(x->key), STR_ARG(x->what), STR_ARG(x->meaning));
}

/* Its answer; findings in out. */
static int look(struct store *store, bool deep, struct fsck_counts *counts, struct buf *out)
{
    struct fsck_settings settings = {.deep = deep, .report = report, .arg = out};
    struct err_detail why = {""};
    int e;

    buf_clear(out);
    e = fsck_run(store, &settings, counts, &why);
    check(e == 0 || why.text[0], "%s without a sentence", err_name(e));
    return e;
}

static void push_some(struct store *store)
{
    const struct image one = {.config = "c1", .layers = {"l1", "l2"}};
    const struct image two = {.config = "c2", .layers = {"l1"}, .subject = "s", .annotation = "x"};
    const struct repo_who who = {.by = STR("me"), .req = STR_NONE};
    struct repo *r auto_repo = NULL;
    struct digest d;
    struct site s;

    site_open(&s, store, REFERENCES_STRICT, NULL);
    add_blob(&s, "a/b", "c1");
    add_blob(&s, "a/b", "c2");
    add_blob(&s, "a/b", "l1");
    add_blob(&s, "a/b", "l2");
    assert_int_equal(put_image(&s, "a/b", &one, "v1"), 0);
    assert_int_equal(put_image(&s, "a/b", &two, "v2"), 0);
    r = repo_of(&s, "a/b");
    image_digest(&two, &d);
    assert_int_equal(repo_delete_tag(r, STR("v2"), &who, NULL), 0);
    assert_int_equal(repo_delete_manifest(r, &d, &who, NULL), 0);
    repo_unref(STEAL(r));
    site_close(&s);
}

static void test_whole(void **state)
{
    struct buf said auto_buf = BUF_INIT(TEXT_MAX);
    struct store *store = mem_store();
    struct fsck_counts counts;

    (void)state;
    check(look(store, false, &counts, &said) == -ERR_NOTFOUND, "an empty store is no registry");
    push_some(store);
    assert_int_equal(look(store, true, &counts, &said), 0);
    check(said.len == 0, "%s", buf_c(&said));
    assert_int_equal(counts.repositories, 1);
    assert_int_equal(counts.manifests, 1);
    assert_int_equal(counts.records, 6);
    assert_int_equal(counts.links, 4);
    store_free(store);
}

static void test_missing(void **state)
{
    static const struct {
        const char *key, *severity, *what;
    } cases[] = {
        {"repos/a/b/_log/0000000000000000/00000000000000000002", "damage ", "is missing"},
        {"format", "damage ", "is missing"},
        {"secret/_log/0000000000000000/00000000000000000001", "damage ", "there is no secret"},
    };

    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        struct buf said auto_buf = BUF_INIT(TEXT_MAX);
        struct buf want auto_buf = BUF_INIT(TEXT_MAX);
        struct store *store = mem_store();
        struct fsck_counts counts;

        push_some(store);
        assert_int_equal(store_remove(store, str_of(cases[i].key), STORE_LOG, NULL), 0);
        assert_int_equal(look(store, false, &counts, &said), 0);
        buf_addf(&want, "%s%s %s", cases[i].severity, cases[i].key, cases[i].what);
        check(strstr(buf_c(&said), buf_c(&want)), "%s: %s", cases[i].key, buf_c(&said));
        check(counts.findings[FSCK_DAMAGE] == 1, "%s: %s", cases[i].key, buf_c(&said));
        store_free(store);
    }
}

/* A store that does not answer is no damage; one object that cannot be read is. */
static void test_store_errors(void **state)
{
    static const struct {
        const char *op;
        int err, want;
    } cases[] = {
        {"get", -ERR_UNAVAIL, -ERR_UNAVAIL},
        {"list", -ERR_IO, -ERR_IO},
        {"get", -ERR_NOMEM, -ERR_NOMEM},
        {"get", -ERR_IO, 0},
    };

    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        struct buf said auto_buf = BUF_INIT(TEXT_MAX);
        struct faults faults = {.count = 0};
        struct fsck_counts counts;
        struct store *store;

        fake_time_install();
        store = faulty_store(&faults, mem_store());
        push_some(store);
        faults_add(&faults, (struct rule){.op = cases[i].op,
                                          .key_part = "repos/",
                                          .from = 1,
                                          .to = 100000,
                                          .fault = FAULT_FAIL_BEFORE,
                                          .err = cases[i].err});
        check(look(store, false, &counts, &said) == cases[i].want, "case %zu: %s", i, buf_c(&said));
        check((counts.findings[FSCK_DAMAGE] > 0) == (cases[i].want == 0), "case %zu: %s", i,
              buf_c(&said));
        store_free(store);
    }
}

/* ---- any bytes */

struct keys {
    char at[64][256];
    size_t count;
};

static int add_key(struct str key, const struct store_info *info, void *arg)
{
    struct keys *k = arg;

    (void)info;
    if (k->count < ARRAY_LEN(k->at) && key.len < sizeof(k->at[0])) {
        memcpy(k->at[k->count], key.at, key.len);
        k->at[k->count++][key.len] = '\0';
    }
    return 0;
}

static unsigned any(unsigned below)
{
    uint32_t v;

    rand_bytes(&v, sizeof(v));
    return v % below;
}

static void spoil(struct buf *bytes)
{
    static const char *const texts[] = {"[]", "{}", "-1", "\"", "99999999999999999999", "null"};
    struct buf out auto_buf = BUF_INIT(TEXT_MAX);
    size_t at = bytes->len ? any((unsigned)bytes->len) : 0;

    buf_add(&out, str_head(buf_str(bytes), at));
    switch (any(4)) {
    case 0:
        break; /* cut */
    case 1:
        buf_addc(&out, (char)any(256));
        buf_add(&out, str_skip(buf_str(bytes), at + 1));
        break;
    case 2:
        buf_add(&out, str_of(texts[any(ARRAY_LEN(texts))]));
        buf_add(&out, str_skip(buf_str(bytes), at + any(4)));
        break;
    default:
        buf_add(&out, str_skip(buf_str(bytes), at));
    }
    buf_clear(bytes);
    buf_add(bytes, buf_str(&out));
}

static void test_any_bytes(void **state)
{
    struct buf said auto_buf = BUF_INIT(1 << 20);
    struct store *store = mem_store();
    struct keys keys = {.count = 0};

    (void)state;
    fake_time_install();
    push_some(store);
    assert_int_equal(store_list(store, STR_NONE, STR_NONE, STORE_LIST_MAX, add_key, &keys, NULL),
                     0);
    for (unsigned i = 0; i < ROUNDS; i++) {
        struct buf before auto_buf = BUF_INIT(TEXT_MAX);
        struct buf bytes auto_buf = BUF_INIT(TEXT_MAX);
        const char *key = keys.at[any((unsigned)keys.count)];
        const char *from = any(8) ? key : keys.at[any((unsigned)keys.count)];
        struct fsck_counts counts;
        int e;

        read_object(store, key, &before);
        read_object(store, from, &bytes);
        spoil(&bytes);
        assert_int_equal(store_put(store, str_of(key), STORE_LOG, buf_str(&bytes), NULL), 0);
        e = look(store, any(2), &counts, &said);
        check(e == 0 || (e == -ERR_VERSION && strcmp(key, "format") == 0), "%s: %s", key,
              err_name(e));
        assert_int_equal(store_put(store, str_of(key), STORE_LOG, buf_str(&before), NULL), 0);
    }
    store_free(store);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_whole),
        cmocka_unit_test(test_missing),
        cmocka_unit_test(test_store_errors),
        cmocka_unit_test(test_any_bytes),
    };

    return cmocka_run_group_tests_name("fsck", tests, NULL, NULL);
}
