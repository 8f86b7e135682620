/* Which proxies are trusted. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "registry/forwarded.h"

static void test_ranges(void **state)
{
    static const struct {
        const char *range, *address;
        bool trusted;
    } rows[] = {
        {"192.0.2.1", "192.0.2.1", true},
        {"192.0.2.1", "192.0.2.2", false},
        {"192.0.2.0/24", "192.0.2.255", true},
        {"192.0.2.0/24", "192.0.3.0", false},
        {"10.0.0.0/9", "10.127.0.1", true},
        {"10.0.0.0/9", "10.128.0.1", false},
        {"0.0.0.0/0", "8.8.8.8", true},
        {"0.0.0.0/0", "2001:db8::1", false},
        {"0.0.0.0/0", "::ffff:8.8.8.8", true},
        {"2001:db8::/32", "2001:db8:1::5", true},
        {"2001:db8::/32", "2001:db9::1", false},
        {"::1", "::1", true},
        {"unix", "unix", true},
        {"unix", "127.0.0.1", false},
        {"127.0.0.1", "unix", false},
        {"127.0.0.1", "nonsense", false},
    };

    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        struct opt_list list = {{rows[i].range}, 1};
        struct proxies p;

        assert_int_equal(proxies_parse(&list, &p, NULL), 0);
        if (proxies_trust(&p, str_of(rows[i].address)) != rows[i].trusted)
            fail_msg("%s by %s", rows[i].address, rows[i].range);
    }
}

static void test_no_ranges(void **state)
{
    static const char *const rows[] = {"", "host", "1.2.3.4/33", "1.2.3.4/", "::1/129", "1.2.3"};

    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        struct opt_list list = {{rows[i]}, 1};
        struct err_detail why = {""};
        struct proxies p;

        assert_int_equal(proxies_parse(&list, &p, &why), -ERR_INVAL);
        assert_non_null(strstr(why.text, "no proxy"));
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_ranges),
        cmocka_unit_test(test_no_ranges),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
