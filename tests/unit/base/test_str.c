/* Views of bytes, numbers in text, UTF-8. */
#include "check.h"

static void order_and_parts(void **state)
{
    static const struct {
        const char *a, *b;
        int order;
    } cases[] = {
        {"", "", 0},     {"", "a", -1},  {"a", "a", 0},
        {"a", "ab", -1}, {"b", "ab", 1}, {"a", "\xc3", -1},
    };

    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        struct str a = str_of(cases[i].a), b = str_of(cases[i].b);
        int c = str_cmp(a, b), back = str_cmp(b, a);

        check((c > 0) - (c < 0) == cases[i].order, "case %zu", i);
        check((back > 0) - (back < 0) == -cases[i].order, "case %zu back", i);
        check(str_eq(a, b) == (cases[i].order == 0), "case %zu", i);
    }
    assert_true(str_eq(STR_NONE, STR("")));
    assert_true(str_starts(STR("sha256:x"), STR("sha256:")));
    assert_true(str_starts(STR("x"), STR_NONE));
    assert_false(str_starts(STR("sha"), STR("sha256")));
    assert_true(str_ends(STR("a/b.tar"), STR(".tar")));
    assert_false(str_ends(STR("r"), STR(".tar")));
    assert_int_equal(str_find(STR("a:b:c"), ':'), 1);
    assert_int_equal(str_find(STR("abc"), ':'), -1);
    assert_int_equal(str_find(STR_NONE, ':'), -1);
    assert_str(str_skip(STR("abc"), 1), "bc");
    assert_str(str_skip(STR("abc"), 9), "");
    assert_str(str_head(STR("abc"), 2), "ab");
    assert_str(str_head(STR("abc"), 9), "abc");
}

static void decimal_numbers(void **state)
{
    static const struct {
        const char *text;
        bool ok;
        uint64_t v;
    } cases[] = {
        {"0", true, 0},
        {"007", true, 7},
        {"18446744073709551615", true, UINT64_MAX},
        {"18446744073709551616", false, 0},
        {"18446744073709551620", false, 0},
        {"99999999999999999999999", false, 0},
        {"", false, 0},
        {"-1", false, 0},
        {"+1", false, 0},
        {" 1", false, 0},
        {"1 ", false, 0},
        {"1x", false, 0},
        {"0x1", false, 0},
        {"1.0", false, 0},
        {"\xb2", false, 0},
    };

    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        uint64_t v = 77;
        bool ok = str_u64(str_of(cases[i].text), &v);

        check(ok == cases[i].ok && v == (ok ? cases[i].v : 77), "\"%s\"", cases[i].text);
    }
}

static void case_of_ascii(void **state)
{
    (void)state;
    assert_true(str_eq_nocase(STR("Content-LENGTH"), STR("content-length")));
    assert_false(str_eq_nocase(STR("a"), STR("ab")));
    assert_false(str_eq_nocase(STR("@["), STR("`{")));
    assert_false(str_eq_nocase(STR("\xc4"), STR("\xe4")));
    assert_true(str_eq_nocase(STR_NONE, STR("")));
}

static void utf8(void **state)
{
    static const struct {
        struct str s;
        bool ok;
    } cases[] = {
        {{"", 0}, true},
        {{"abc\0d", 5}, true},
        {{"\x7f", 1}, true},
        {{"\xc2\x80", 2}, true},
        {{"\xdf\xbf", 2}, true},
        {{"\xe0\xa0\x80", 3}, true},
        {{"\xed\x9f\xbf", 3}, true},
        {{"\xee\x80\x80", 3}, true},
        {{"\xef\xbf\xbf", 3}, true},
        {{"\xf0\x90\x80\x80", 4}, true},
        {{"\xf4\x8f\xbf\xbf", 4}, true},
        {{"\x80", 1}, false},             /* lone continuation */
        {{"\xc2", 1}, false},             /* cut */
        {{"\xe2\x82", 2}, false},         /* cut */
        {{"\xf0\x9f\x98", 3}, false},     /* cut */
        {{"\xc0\xaf", 2}, false},         /* overlong */
        {{"\xc1\xbf", 2}, false},         /* overlong */
        {{"\xe0\x9f\xbf", 3}, false},     /* overlong */
        {{"\xf0\x8f\xbf\xbf", 4}, false}, /* overlong */
        {{"\xed\xa0\x80", 3}, false},     /* surrogate */
        {{"\xf4\x90\x80\x80", 4}, false}, /* past U+10FFFF */
        {{"\xf5\x80\x80\x80", 4}, false},
        {{"\xff", 1}, false},
        {{"\xe2\x28\xa1", 3}, false},
        {{"\xe2\x82\x28", 3}, false},
        {{"\xf0\x9f\x98\x28", 4}, false},
    };

    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(cases); i++)
        check(utf8_valid(cases[i].s) == cases[i].ok, "case %zu", i);
    assert_int_equal(utf8_step(STR("\xe2\x82\xac!")), 3);
    assert_int_equal(utf8_step(STR_NONE), 0);
}

static void dup(void **state)
{
    char *whole = malloc(3), *copy, *none = str_dup(STR_NONE);

    (void)state;
    assert_non_null(whole);
    memcpy(whole, "abc", 3); /* nothing of it behind */
    copy = str_dup(str_make(whole, 3));
    assert_string_equal(copy, "abc");
    assert_string_equal(none, "");
    free(whole);
    free(copy);
    free(none);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(dup),
        cmocka_unit_test(order_and_parts),
        cmocka_unit_test(decimal_numbers),
        cmocka_unit_test(case_of_ascii),
        cmocka_unit_test(utf8),
    };

    return cmocka_run_group_tests_name("str", tests, NULL, NULL);
}
