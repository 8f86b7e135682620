/* Names, tags, references: R1-R4. */
#include "fixture.h"

static void test_names(void **state)
{
    static const struct {
        const char *text;
        bool valid;
    } cases[] = {
        {"a", true},
        {"library/hello", true},
        {"a/b/c/d/e", true},
        {"0", true},
        {"a.b", true},
        {"a_b", true},
        {"a__b", true},
        {"a-b", true},
        {"a----b", true},
        {"a-b_c.d__e/f", true},
        {"at-20261122t075000z/a", true},
        {"", false},
        {"/", false},
        {"a/", false},
        {"/a", false},
        {"a//b", false},
        {"A", false},
        {"a..b", false},
        {"a___b", false},
        {"a._b", false},
        {"a-.b", false},
        {"a_-b", false},
        {"-a", false},
        {"a-", false},
        {"_a", false},
        {"a_", false},
        {".a", false},
        {"a.", false},
        {"a/_log", false},
        {"a b", false},
        {"a:b", false},
        {"a\xc3\xa4", false},
        {"a/b_/c", false},
        {"a@b", false},
    };

    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(cases); i++)
        check(name_valid(str_of(cases[i].text)) == cases[i].valid, "name %s", cases[i].text);
    assert_false(name_valid(STR("a\0b")));
}

/* R2: 255 bytes, not one more. */
static void test_name_length(void **state)
{
    char name[300];

    (void)state;
    memset(name, 'a', sizeof(name));
    assert_true(name_valid(str_make(name, 255)));
    assert_false(name_valid(str_make(name, 256)));
}

static void test_tags(void **state)
{
    static const struct {
        const char *text;
        bool valid;
    } cases[] = {
        {"latest", true}, {"1.2.3", true}, {"_x", true},   {"A-b.C_d", true},
        {"", false},      {".a", false},   {"-a", false},  {"a/b", false},
        {"a:b", false},   {"a+b", false},  {"a b", false}, {"\xc3\xa4", false},
    };
    char tag[200];

    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(cases); i++)
        check(tag_valid(str_of(cases[i].text)) == cases[i].valid, "tag %s", cases[i].text);
    memset(tag, 'a', sizeof(tag));
    assert_true(tag_valid(str_make(tag, TAG_MAX_LEN)));
    assert_false(tag_valid(str_make(tag, TAG_MAX_LEN + 1)));
    assert_false(tag_valid(STR("a\0b")));
}

static void test_reserved(void **state)
{
    static const struct {
        const char *text;
        bool reserved;
    } cases[] = {
        {"at-20261122t075000z", true},
        {"at-20261122t075000z/library/app", true},
        {"at-00000000t000000z/a", true},
        {"at-20261122t075000", false},
        {"at-20261122t075000zz/a", false},
        {"at-2026112xt075000z/a", false},
        {"at-20261122x075000z/a", false},
        {"library/at-20261122t075000z", false},
        {"at", false},
        {"", false},
    };

    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(cases); i++)
        check(name_reserved(str_of(cases[i].text)) == cases[i].reserved, "name %s", cases[i].text);
}

static void test_references(void **state)
{
    struct digest d = digest_named("x");
    char blake[80] = "blake3:";
    struct reference ref;

    (void)state;
    assert_int_equal(reference_parse(STR("latest"), &ref), 0);
    assert_false(ref.is_digest);
    assert_true(str_eq(ref.tag, STR("latest")));
    assert_int_equal(reference_parse(text_of(&d), &ref), 0);
    assert_true(ref.is_digest);
    assert_true(digest_eq(&ref.digest, &d));
    assert_int_equal(reference_parse(STR("sha256:baddigeststring"), &ref), -ERR_INVAL);
    assert_int_equal(reference_parse(STR("a:b:c"), &ref), -ERR_INVAL);
    assert_int_equal(reference_parse(STR("-a"), &ref), -ERR_INVAL);
    assert_int_equal(reference_parse(STR(""), &ref), -ERR_INVAL);
    memset(blake + 7, 'a', 64);
    assert_int_equal(reference_parse(str_of(blake), &ref), -ERR_UNSUPPORTED);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_names),      cmocka_unit_test(test_name_length),
        cmocka_unit_test(test_tags),       cmocka_unit_test(test_reserved),
        cmocka_unit_test(test_references),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
