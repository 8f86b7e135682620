/* The growable buffer: growth, limit, sticky errors. */
#include "base/buf.h"
#include "check.h"

static void grows_and_ends_with_nul(void **state)
{
    struct buf b auto_buf = BUF_INIT(100000);

    (void)state;
    assert_string_equal(buf_c(&b), "");
    for (size_t i = 0; i < 100000; i++) {
        buf_addc(&b, (char)('a' + i % 26));
        assert_int_equal(b.at[b.len], 0);
    }
    assert_int_equal(buf_err(&b), 0);
    assert_int_equal(b.len, 100000);
    for (size_t i = 0; i < b.len; i++)
        assert_int_equal(b.at[i], 'a' + i % 26);
    buf_clear(&b);
    assert_string_equal(buf_c(&b), "");
    assert_int_equal(b.max, 100000);
}

static void limit_is_exact(void **state)
{
    (void)state;
    for (size_t max = 0; max < 200; max++) {
        struct buf b auto_buf = BUF_INIT(max);

        for (size_t i = 0; i < max; i++)
            buf_addc(&b, 'x');
        check(buf_err(&b) == 0 && b.len == max, "max %zu", max);
        buf_addc(&b, 'x');
        check(buf_err(&b) == -ERR_TOOBIG && b.len == max, "max %zu", max);
        buf_add(&b, STR(""));
        check(buf_err(&b) == -ERR_TOOBIG, "max %zu", max);
    }
}

static void error_sticks_until_cleared(void **state)
{
    struct buf b auto_buf = BUF_INIT(4);

    (void)state;
    buf_add(&b, STR("abc"));
    buf_add(&b, STR("de"));
    assert_int_equal(buf_err(&b), -ERR_TOOBIG);
    buf_addc(&b, 'd');
    buf_addf(&b, "%d", 1);
    buf_add_u64(&b, 1);
    assert_null(buf_reserve(&b, 0));
    assert_str(buf_str(&b), "abc");
    buf_clear(&b);
    buf_add(&b, STR("wxyz"));
    assert_int_equal(buf_err(&b), 0);
    assert_str(buf_str(&b), "wxyz");
}

static void huge_demands_are_refused(void **state)
{
    struct buf b auto_buf = BUF_INIT(10), unbounded auto_buf = BUF_INIT(SIZE_MAX);

    (void)state;
    buf_addc(&b, 'x');
    assert_null(buf_reserve(&b, SIZE_MAX));
    assert_int_equal(buf_err(&b), -ERR_TOOBIG);
    assert_null(buf_reserve(&unbounded, 1)); /* no room for the NUL in the address space */
    assert_int_equal(buf_err(&unbounded), -ERR_TOOBIG);
}

static void formats(void **state)
{
    struct buf b auto_buf = BUF_INIT(300);
    char wide[201];

    (void)state;
    memset(wide, 'w', 200);
    wide[200] = '\0';
    buf_addf(&b, "%s-%d", "a", 5);
    buf_addf(&b, "%s", wide); /* past the first allocation */
    assert_int_equal(b.len, 203);
    assert_int_equal(strlen(buf_c(&b)), 203);
    buf_addf(&b, "%s", wide);
    assert_int_equal(buf_err(&b), -ERR_TOOBIG);
    assert_int_equal(b.len, 203);
    assert_int_equal(strlen(buf_c(&b)), 203);
    buf_clear(&b);
    buf_addf(&b, "%s", "");
    assert_int_equal(buf_err(&b), 0);
    assert_string_equal(buf_c(&b), "");
}

static void numbers(void **state)
{
    static const uint64_t cases[] = {0, 9, 10, 1234567890, UINT64_MAX};
    char text[32];

    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        struct buf b auto_buf = BUF_INIT(20);

        snprintf(text, sizeof(text), "%llu", (unsigned long long)cases[i]);
        buf_add_u64(&b, cases[i]);
        assert_str(buf_str(&b), text);
    }
}

static void reserve_add_truncate(void **state)
{
    struct buf b auto_buf = BUF_INIT(1000);
    char *at;

    (void)state;
    buf_add(&b, STR("head "));
    at = buf_reserve(&b, 995);
    assert_non_null(at);
    memset(at, 'z', 995);
    buf_added(&b, 3);
    assert_str(buf_str(&b), "head zzz");
    assert_string_equal(buf_c(&b), "head zzz");
    buf_truncate(&b, 4);
    assert_string_equal(buf_c(&b), "head");
    buf_truncate(&b, 0);
    assert_string_equal(buf_c(&b), "");
    buf_done(&b);
    assert_int_equal(b.max, 1000);
    buf_truncate(&b, 0);
    buf_add(&b, STR("again"));
    assert_str(buf_str(&b), "again");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(grows_and_ends_with_nul),
        cmocka_unit_test(limit_is_exact),
        cmocka_unit_test(error_sticks_until_cleared),
        cmocka_unit_test(huge_demands_are_refused),
        cmocka_unit_test(formats),
        cmocka_unit_test(numbers),
        cmocka_unit_test(reserve_add_truncate),
    };

    return cmocka_run_group_tests_name("buf", tests, NULL, NULL);
}
