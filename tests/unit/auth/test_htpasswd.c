/* The file of users: what is read, what is refused with its line, and what a verification costs. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "auth/htpasswd.h"
#include "base/clock.h"
#include "base/metrics.h"

#define OPEN_4 "$2b$04$abcdefghijklmnopqrstuu5cldSTjqTa.nw4QeJC5.F6G/ueChgIa"
#define OPEN_7 "$2y$07$abcdefghijklmnopqrstuuJcm.gTwOFlwl9wukdcGpf7QiorvuXT."

static int parse(const char *text, struct htpasswd **ret, struct err_detail *why)
{
    return htpasswd_parse(str_of(text), ret, why);
}

static void test_verify(void **state)
{
    struct htpasswd *h auto_htpasswd = NULL;

    (void)state;
    assert_int_equal(parse("# users\n\nalice:" OPEN_4 "\r\nbob:" OPEN_4, &h, NULL), 0);
    assert_int_equal(htpasswd_count(h), 2);
    assert_int_equal(htpasswd_verify(h, STR("alice"), STR("open")), 0);
    assert_int_equal(htpasswd_verify(h, STR("bob"), STR("open")), 0);
    assert_int_equal(htpasswd_verify(h, STR("alice"), STR("opeN")), -ERR_UNAUTHORIZED);
    assert_int_equal(htpasswd_verify(h, STR("alice"), STR("")), -ERR_UNAUTHORIZED);
    assert_int_equal(htpasswd_verify(h, STR("carol"), STR("open")), -ERR_UNAUTHORIZED);
}

static void test_refused_with_its_line(void **state)
{
    static const struct {
        const char *text, *says;
    } rows[] = {
        {"alice", "line 1 "},
        {"# x\n:" OPEN_4, "line 2 "},
        {"alice:{SHA}2jmj7l5rSw0yVb/vlWAYkK/YBwk=", "line 1: the hash is not bcrypt"},
        {"alice:$apr1$abcdefgh$abcdefghijklmnopqrstuv", "not bcrypt"},
        {"alice:plain", "not bcrypt"},
        {"a:" OPEN_4 "\nb:$2x$04$abcdefghijklmnopqrstuuw7nkOCUZrcuKdbqKYwKo6C.yjPTEfmS", "line 2"},
        {"alice:" OPEN_4 "x", "not bcrypt"},
        {"alice:$2b$15$abcdefghijklmnopqrstuuw7nkOCUZrcuKdbqKYwKo6C.yjPTEfmS", "cost 15"},
        {"a:" OPEN_4 "\na:" OPEN_4, "line 2 names a user for the second time"},
        {"a\xff:" OPEN_4, "line 1 "},
    };

    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        struct htpasswd *h = NULL;
        struct err_detail why = {""};

        assert_int_equal(parse(rows[i].text, &h, &why), -ERR_INVAL);
        assert_null(h);
        if (!strstr(why.text, rows[i].says))
            fail_msg("row %zu says: %s", i, why.text);
    }
}

static int64_t cost_of(const struct htpasswd *h, const char *user)
{
    int64_t best = INT64_MAX;

    for (int i = 0; i < 5; i++) {
        int64_t hashes = metric_value(METRIC_auth_hashes_total), start = clock_boot_ns(), took;

        (void)!htpasswd_verify(h, str_of(user), STR("guess"));
        took = clock_boot_ns() - start;
        best = took < best ? took : best;
        assert_int_equal(metric_value(METRIC_auth_hashes_total), hashes + 1);
    }
    return best;
}

/* An unknown user costs the same hash. The factor leaves room for a busy machine; without the hash
 * it would be thousands. */
static void test_unknown_users_cost_the_same(void **state)
{
    struct htpasswd *h auto_htpasswd = NULL;
    int64_t known, unknown;

    (void)state;
    assert_int_equal(parse("alice:" OPEN_7, &h, NULL), 0);
    known = cost_of(h, "alice");
    unknown = cost_of(h, "nobody");
    if (unknown * 3 < known || known * 3 < unknown)
        fail_msg("known %lld ns, unknown %lld ns", (long long)known, (long long)unknown);
}

static void test_proof(void **state)
{
    struct htpasswd *h auto_htpasswd = NULL;
    uint8_t a[HMAC_BYTES], b[HMAC_BYTES];

    (void)state;
    assert_int_equal(parse("alice:" OPEN_4 "\nbob:" OPEN_7, &h, NULL), 0);
    assert_true(htpasswd_proof(h, STR("alice"), a));
    assert_true(htpasswd_proof(h, STR("bob"), b));
    assert_memory_not_equal(a, b, sizeof(a));
    assert_false(htpasswd_proof(h, STR("carol"), a));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_verify),
        cmocka_unit_test(test_refused_with_its_line),
        cmocka_unit_test(test_unknown_users_cost_the_same),
        cmocka_unit_test(test_proof),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
