/* Who is redirected to the object store: networks and names (R42, R44). */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "base/err.h"
#include "registry/redirect.h"

static void test_networks(void **state)
{
    static const struct {
        const char *network, *address;
        int want;
        bool inside;
    } cases[] = {
        {"10.0.0.0/8", "10.255.0.1", 0, true},
        {"10.0.0.0/8", "11.0.0.1", 0, false},
        {"192.168.4.0/22", "192.168.7.255", 0, true},
        {"192.168.4.0/22", "192.168.8.0", 0, false},
        {"0.0.0.0/0", "203.0.113.9", 0, true},
        {"0.0.0.0/0", "2001:db8::1", 0, false},
        {"192.0.2.7", "192.0.2.7", 0, true},
        {"192.0.2.7", "192.0.2.8", 0, false},
        {"192.0.2.7", "::ffff:192.0.2.7", 0, true},
        {"2001:db8::/33", "2001:db8:7fff::1", 0, true},
        {"2001:db8::/33", "2001:db8:8000::1", 0, false},
        {"::/0", "2001:db8::1", 0, true},
        {"10.0.0.0/8", "unix", 0, false},
        {"10.0.0.0/8", "", 0, false},
        {"10.0.0.0/8", "10.0.0.1, 10.0.0.2", 0, false},
        {"10.0.0.0/33", "10.0.0.1", -ERR_INVAL, false},
        {"2001:db8::/129", "2001:db8::1", -ERR_INVAL, false},
        {"10.0.0/8", "10.0.0.1", -ERR_INVAL, false},
        {"host/8", "10.0.0.1", -ERR_INVAL, false},
        {"10.0.0.0/", "10.0.0.1", -ERR_INVAL, false},
        {"", "10.0.0.1", -ERR_INVAL, false},
    };

    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        bool inside = false;

        assert_int_equal(
            redirect_network_parse(cases[i].network, str_of(cases[i].address), &inside),
            cases[i].want);
        assert_int_equal(inside, cases[i].inside);
    }
}

static void test_same_site(void **state)
{
    static const struct {
        const char *registry, *host;
        bool same;
    } cases[] = {
        {"registry.example.org", "registry.example.org", true},
        {"registry.example.org", "Registry.Example.ORG", true},
        {"registry.example.org", "store.registry.example.org", true},
        {"registry.example.org", "xregistry.example.org", false},
        {"registry.example.org", "store.example.org", false},
        {"registry.example.org", "example.org", false},
        {"127.0.0.1", "localhost", false},
        {"127.0.0.1", "127.0.0.1", true},
        {"", "store.example.org", false},
    };

    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(cases); i++)
        assert_int_equal(redirect_same_site(str_of(cases[i].registry), str_of(cases[i].host)),
                         cases[i].same);
}

int main(void)
{
    static const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_networks),
        cmocka_unit_test(test_same_site),
    };

    return cmocka_run_group_tests_name("redirect", tests, NULL, NULL);
}
