/* Who may do what without authentication, and where such a server may listen. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "auth/access.h"

static struct access *make(bool allow_network)
{
    struct access_settings settings = {.allow_anonymous_network = allow_network};
    struct access *a;

    assert_int_equal(access_new(&settings, &a), 0);
    return a;
}

static const enum action all_actions[] = {
#define ACTION_VALUE(name, word) ACTION_##name,
    ACTION_TABLE(ACTION_VALUE)
#undef ACTION_VALUE
};

static void test_anonymous_may_do_everything(void **state)
{
    struct access *a = make(false);
    struct identity nobody = {""};

    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(all_actions); i++) {
        assert_int_equal(access_check(a, &nobody, all_actions[i], STR_NONE), 0);
        assert_int_equal(access_check(a, &nobody, all_actions[i], STR("a/b")), 0);
    }
    access_free(a);
}

/* There are no other identities: one that appears all the same has no rights. */
static void test_a_name_has_no_rights(void **state)
{
    struct access *a = make(true);
    struct identity someone = {"someone"};

    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(all_actions); i++)
        assert_int_equal(access_check(a, &someone, all_actions[i], STR("a")), -ERR_DENIED);
    access_free(a);
}

static void test_listen(void **state)
{
    static const struct {
        bool allowed, loopback;
        int result;
    } rows[] = {
        {false, true, 0},
        {false, false, -ERR_DENIED},
        {true, true, 0},
        {true, false, 0},
    };

    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        struct access *a = make(rows[i].allowed);
        struct err_detail why = {""};

        assert_int_equal(access_check_listen(a, STR("192.0.2.1:5000"), rows[i].loopback, &why),
                         rows[i].result);
        assert_int_equal(why.text[0] != '\0', rows[i].result < 0);
        assert_int_equal(access_check_listen(a, STR("192.0.2.1:5000"), rows[i].loopback, NULL),
                         rows[i].result);
        access_free(a);
    }
}

/* The sentence names the address and the way out. */
static void test_listen_sentence(void **state)
{
    struct access *a = make(false);
    struct err_detail why = {""};

    (void)state;
    assert_int_equal(access_check_listen(a, STR("0.0.0.0:80"), false, &why), -ERR_DENIED);
    assert_non_null(strstr(why.text, "0.0.0.0:80"));
    assert_non_null(strstr(why.text, "--allow-anonymous-network"));
    access_free(a);
}

static void test_words(void **state)
{
    static const struct {
        enum action action;
        const char *word;
    } rows[] = {
        {ACTION_NONE, ""},         {ACTION_PULL, "pull"},     {ACTION_PUSH, "push"},
        {ACTION_ADMIN, "admin"},   {ACTION_DELETE, "delete"}, {ACTION_CATALOG, "catalog"},
        {ACTION_HEALTH, "health"},
    };

    (void)state;
    assert_int_equal(ARRAY_LEN(rows), ARRAY_LEN(all_actions));
    for (size_t i = 0; i < ARRAY_LEN(rows); i++)
        assert_string_equal(action_word(rows[i].action), rows[i].word);
}

static void test_free_of_nothing(void **state)
{
    (void)state;
    access_free(NULL);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_anonymous_may_do_everything),
        cmocka_unit_test(test_a_name_has_no_rights),
        cmocka_unit_test(test_listen),
        cmocka_unit_test(test_listen_sentence),
        cmocka_unit_test(test_words),
        cmocka_unit_test(test_free_of_nothing),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
