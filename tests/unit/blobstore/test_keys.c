/* Key names, byte for byte as docs/bucket-format.md section 2 gives them. */
#include "fixture.h"

#include "blobstore/keys.h"

#define ID                                                                                         \
    "0192f0aabbcc"                                                                                 \
    "7f00112233445566778899aabbccddee"                                                             \
    "ffeeddccbbaa99887766554433221100"
#define HEX "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"

static const struct digest *empty_digest(void)
{
    static struct digest d;

    digest_of(DIGEST_SHA256, STR_NONE, &d);
    return &d;
}

static void key_format(struct buf *out)
{
    keys_format(out);
}
static void key_data(struct buf *out)
{
    keys_data(out, STR(ID));
}
static void key_record(struct buf *out)
{
    keys_record(out, empty_digest(), 0);
}
static void key_record_later(struct buf *out)
{
    keys_record(out, empty_digest(), 12);
}
static void key_link(struct buf *out)
{
    keys_link(out, empty_digest(), 0, STR("library/app"), 42);
}
static void key_links_of(struct buf *out)
{
    keys_links_of(out, empty_digest(), 1);
}
static void key_entry_deep(struct buf *out)
{
    keys_log_entry(out, STR("repos/library/app"), true, 12345);
}
static void key_entry_flat(struct buf *out)
{
    keys_log_entry(out, STR("uploads/x"), false, 7);
}
static void key_entry_last(struct buf *out)
{
    keys_log_entry(out, STR("catalog"), true, UINT64_MAX);
}
static void key_repo(struct buf *out)
{
    keys_repo(out, STR("a/b"));
}
static void key_session(struct buf *out)
{
    keys_session(out, STR(ID));
}
static void key_part(struct buf *out)
{
    keys_part(out, STR("repos/a"), STR(HEX));
}

static void key_table(struct buf *out)
{
    keys_table(out, STR("repos/a"), 9);
}
static void key_tables_of(struct buf *out)
{
    keys_tables_of(out, STR("catalog"));
}
static void key_hint(struct buf *out)
{
    keys_hint(out, STR("repos/a"));
}
static void key_changes(struct buf *out)
{
    keys_changes(out, 1795332599123, STR("a/b")); /* 2026-11-22T07:29:59.123Z */
}

static const struct {
    void (*make)(struct buf *out);
    const char *key;
} names[] = {
    {key_format, "format"},
    {key_data, "data/7f/" ID},
    {key_record, "blobs/sha256/e3/" HEX ".0"},
    {key_record_later, "blobs/sha256/e3/" HEX ".12"},
    {key_link, "links/sha256/e3/" HEX ".0/library!app/42"},
    {key_links_of, "links/sha256/e3/" HEX ".1/"},
    {key_entry_deep, "repos/library/app/_log/0000000000000001/00000000000000012345"},
    {key_entry_flat, "uploads/x/00000000000000000007"},
    {key_entry_last, "catalog/_log/1844674407370955/18446744073709551615"},
    {key_repo, "repos/a/b"},
    {key_session, "uploads/" ID},
    {key_table, "repos/a/_table/00000000000000000009"},
    {key_part, "repos/a/_part/" HEX},
    {key_tables_of, "catalog/_table/"},
    {key_hint, "repos/a/_hint"},
    {key_changes, "changes/202611220720/a/b/_"},
};

static void test_names(void **state)
{
    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(names); i++) {
        struct buf key auto_buf = BUF_INIT(STORE_KEY_MAX);

        names[i].make(&key);
        assert_int_equal(buf_err(&key), 0);
        assert_string_equal(buf_c(&key), names[i].key);
    }
}

static void test_sha512_record_is_another_key(void **state)
{
    struct buf key auto_buf = BUF_INIT(STORE_KEY_MAX);
    struct digest d;

    (void)state;
    digest_of(DIGEST_SHA512, STR("x"), &d);
    keys_record(&key, &d, 0);
    assert_true(str_starts(buf_str(&key), STR("blobs/sha512/a4/a4abd4448c49562d")));
    assert_true(str_ends(buf_str(&key), STR(".0")));
}

static const struct {
    const char *key, *repo;
    uint64_t u;
} links[] = {
    {"links/sha256/e3/" HEX ".0/library!app/42", "library/app", 42},
    {"links/sha256/e3/" HEX ".0/a/0", "a", 0},
    {"links/sha256/e3/" HEX ".0/a/042", NULL, 0},
    {"links/sha256/e3/" HEX ".0/a/", NULL, 0},
    {"links/sha256/e3/" HEX ".0/a", NULL, 0},
    {"links/sha256/e3/" HEX ".0/a/1/2", NULL, 0},
    {"links/sha256/e3/" HEX ".0//1", NULL, 0},
    {"blobs/sha256/e3/" HEX ".0/a/1", NULL, 0},
    {"", NULL, 0},
};

static void test_links_parse(void **state)
{
    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(links); i++) {
        struct buf repo auto_buf = BUF_INIT(STORE_KEY_MAX);
        uint64_t u = 77;
        bool ok = keys_link_parse(str_of(links[i].key), &repo, &u);

        assert_int_equal(ok, links[i].repo != NULL);
        if (!ok)
            continue;
        assert_string_equal(buf_c(&repo), links[i].repo);
        assert_int_equal(u, links[i].u);
    }
}

static const struct {
    const char *key;
    uint64_t seq; /* 0: refused */
} sessions[] = {
    {"uploads/" ID "/00000000000000000007", 7},
    {"uploads/" ID "/00000000000000000000", 0},
    {"uploads/" ID "/0000000000000000007", 0},
    {"uploads/" ID "/99999999999999999999", 0}, /* past 64 bits */
    {"uploads/" ID "/0000000000000000000x", 0},
    {"uploads/" ID "0/00000000000000000007", 0},
    {"uploads/X192f0aabbcc" ID "/00000000000000000007", 0},
    {"uploads/" ID, 0},
    {"data/" ID "/00000000000000000007", 0},
};

static void test_sessions_parse(void **state)
{
    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(sessions); i++) {
        struct str id = STR_NONE;
        uint64_t seq = 0;
        bool ok = keys_session_parse(str_of(sessions[i].key), &id, &seq);

        assert_int_equal(ok, sessions[i].seq != 0);
        assert_int_equal(seq, sessions[i].seq);
        if (ok)
            assert_true(str_eq(id, STR(ID)));
    }
}

static void test_data_parses(void **state)
{
    struct str id;

    (void)state;
    assert_true(keys_data_parse(STR("data/7f/" ID), &id));
    assert_true(str_eq(id, STR(ID)));
    assert_false(keys_data_parse(STR("data/00/" ID), &id)); /* not its folder */
    assert_false(keys_data_parse(STR("data/7f/" ID "/1"), &id));
    assert_false(keys_data_parse(STR("data/7f/7f"), &id));
}

/* B3: no key of one log is a path prefix of another, whatever the names. */
static void test_nested_names_do_not_collide(void **state)
{
    struct buf outer auto_buf = BUF_INIT(STORE_KEY_MAX);
    struct buf inner auto_buf = BUF_INIT(STORE_KEY_MAX);

    (void)state;
    keys_log_entry(&outer, STR("repos/a"), true, 1);
    keys_log_entry(&inner, STR("repos/a/b"), true, 1);
    assert_false(str_starts(buf_str(&inner), buf_str(&outer)));
    assert_false(str_starts(buf_str(&outer), buf_str(&inner)));
}

/* Readers of a whole store take keys apart: exactly those that are built here. */
static void test_taking_apart(void **state)
{
    static const char *const log_keys[] = {"a/b/_log/0000000000000000/00000000000000000007",
                                           "a/b/_table/00000000000000000007", ("a/b/_part/" HEX),
                                           "a/b/_hint"};
    static const char *const no_log_keys[] = {"a/b/_log/0000000000000001/00000000000000000007",
                                              "a/b/_log/0000000000000000/7",
                                              "a/b/_table/00000000000000000000",
                                              "a/b/_hint/x",
                                              "a/c/_hint",
                                              "",
                                              "a/b/_part/x"};
    static const char *const no_records[] = {"blobs/sha256/e3/" HEX,
                                             "blobs/sha256/e4/" HEX ".0",
                                             "blobs/sha256/e3/" HEX ".00",
                                             "blobs/sha512/e3/" HEX ".0",
                                             "blobs/sha256/e3/" HEX ".0/x",
                                             "links/sha256/e3/" HEX ".0",
                                             ""};
    struct buf key auto_buf = BUF_INIT(STORE_KEY_MAX);
    enum keys_log_part part;
    struct digest d;
    struct str name;
    uint64_t seq;
    unsigned g;

    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(log_keys); i++) {
        assert_true(keys_log_parse(str_of(log_keys[i]), STR("a/b"), &part, &seq));
        assert_int_equal(part, i);
    }
    assert_int_equal(seq, 7);
    for (size_t i = 0; i < ARRAY_LEN(no_log_keys); i++)
        assert_false(keys_log_parse(str_of(no_log_keys[i]), STR("a/b"), &part, &seq));
    keys_record(&key, empty_digest(), 12);
    assert_true(keys_record_parse(buf_str(&key), &d, &g));
    assert_true(digest_eq(&d, empty_digest()) && g == 12);
    for (size_t i = 0; i < ARRAY_LEN(no_records); i++)
        assert_false(keys_record_parse(str_of(no_records[i]), &d, &g));
    buf_clear(&key);
    keys_link(&key, empty_digest(), 3, STR("a/b"), 9);
    assert_true(keys_link_digest_parse(buf_str(&key), &d, &g));
    assert_true(digest_eq(&d, empty_digest()) && g == 3);
    assert_false(keys_link_digest_parse(STR("links/sha256/e3/x.0/a/0"), &d, &g));
    assert_true(keys_repo_parse(STR("repos/a/b/_log/x"), &name) && str_eq(name, STR("a/b")));
    assert_false(keys_repo_parse(STR("repos/a/b/c"), &name));
    assert_false(keys_repo_parse(STR("repos/_x"), &name));
    assert_true(keys_changes_parse(STR("changes/202611220750/a/b/_"), &name) &&
                str_eq(name, STR("a/b")));
    assert_false(keys_changes_parse(STR("changes/202611220751/a/b/_"), &name));
    assert_false(keys_changes_parse(STR("changes/202611220750//_"), &name) && name.len > 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_names),        cmocka_unit_test(test_sha512_record_is_another_key),
        cmocka_unit_test(test_links_parse),  cmocka_unit_test(test_sessions_parse),
        cmocka_unit_test(test_data_parses),  cmocka_unit_test(test_nested_names_do_not_collide),
        cmocka_unit_test(test_taking_apart),
    };

    return cmocka_run_group_tests_name("keys", tests, NULL, NULL);
}
