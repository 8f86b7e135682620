/* The error table and error details. */
#include <errno.h>

#include "check.h"

static void table_is_complete(void **state)
{
    (void)state;
    for (int i = 1; i < ERR_COUNT; i++) {
        check(err_name(-i)[0] && err_text(-i)[0], "error %d", i);
        check(err_status(-i) >= 400 && err_status(-i) < 600, "error %d", i);
        check(err_name(i) == err_name(-i), "error %d", i);
    }
    assert_string_equal(err_name(-ERR_NOTFOUND), "NOTFOUND");
    assert_string_equal(err_text(-ERR_NOTFOUND), "no such object");
    assert_int_equal(err_status(-ERR_NOSPACE), 507);
    assert_true(err_retryable(-ERR_UNAVAIL));
    assert_false(err_retryable(-ERR_UNKNOWN) && err_status(-ERR_UNKNOWN) != 503);
    assert_false(err_retryable(-ERR_INVAL));
}

static void errno_maps(void **state)
{
    static const struct {
        int errno_value, err;
    } cases[] = {
        {ENOENT, ERR_NOTFOUND},
        {ENOTDIR, ERR_NOTFOUND},
        {EEXIST, ERR_EXISTS},
        {ENOSPC, ERR_NOSPACE},
        {EDQUOT, ERR_NOSPACE},
        {EFBIG, ERR_NOSPACE},
        {ENOMEM, ERR_NOMEM},
        {EIO, ERR_IO},
        {EACCES, ERR_IO},
        {EPERM, ERR_IO},
        {EINVAL, ERR_IO},
        {EROFS, ERR_IO},
        {EMFILE, ERR_BUSY},
        {EAGAIN, ERR_AGAIN},
        {ECONNRESET, ERR_UNAVAIL},
        {ETIMEDOUT, ERR_UNAVAIL},
        {0, ERR_IO},
        {-1, ERR_IO},
        {ENAMETOOLONG, ERR_INVAL},
    };

    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(cases); i++)
        check(err_from_errno(cases[i].errno_value) == -cases[i].err, "errno %d",
              cases[i].errno_value);
}

static void detail_is_plain_text(void **state)
{
    static const struct {
        const char *in, *out;
    } cases[] = {
        {"plain", "plain"},
        {"gr\xc3\xbc\xc3\x9f", "gr\xc3\xbc\xc3\x9f"},
        {"line\nfeed\x7f", "line?feed?"},
        {"bad \xff\xc3.", "bad ??."},
        {"\xed\xa0\x80", "???"},
    };
    struct err_detail d;

    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        assert_int_equal(err_set(&d, -ERR_INVAL, "%s", cases[i].in), -ERR_INVAL);
        assert_string_equal(d.text, cases[i].out);
    }
    assert_int_equal(err_set(NULL, -ERR_IO, "%d", 1), -ERR_IO);
}

static void detail_is_cut_at_a_character(void **state)
{
    char long_text[2 * ERR_DETAIL_MAX];
    struct err_detail d;

    (void)state;
    for (size_t shift = 0; shift < 2; shift++) {
        memset(long_text, 'x', shift);
        for (size_t i = shift; i + 1 < sizeof(long_text); i += 2)
            memcpy(long_text + i, "\xc3\xbc", 2);
        long_text[sizeof(long_text) - 1] = '\0';
        err_set(&d, -ERR_INVAL, "%s", long_text);
        assert_int_equal(strlen(d.text), ERR_DETAIL_MAX - 1);
        assert_true(utf8_valid(str_of(d.text)));
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(table_is_complete),
        cmocka_unit_test(errno_maps),
        cmocka_unit_test(detail_is_plain_text),
        cmocka_unit_test(detail_is_cut_at_a_character),
    };

    return cmocka_run_group_tests_name("err", tests, NULL, NULL);
}
