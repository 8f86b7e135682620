/* Who may do what without authentication, and where such a server may listen. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include "auth/access.h"
#include "auth/throttle.h"
#include "base/clock.h"
#include "base/metrics.h"

static char file[] = "users-XXXXXX";

static struct access *make(bool allow_network)
{
    struct access_settings settings = {.allow_anonymous_network = allow_network};
    struct access *a;

    assert_int_equal(access_new(&settings, &a, NULL), 0);
    return a;
}

static const struct {
    enum action action;
    const char *word;
} actions[] = {
#define ACTION_VALUE(name, word) {ACTION_##name, word},
    ACTION_TABLE(ACTION_VALUE)
#undef ACTION_VALUE
};

static int may(struct access *a, const struct identity *who, enum action action, struct str repo)
{
    struct access_need need = {.action = action, .repo = repo};

    return access_check(a, who, &need, NULL);
}

static bool open_to_all(enum action a)
{
    return a == ACTION_HEALTH || a == ACTION_TOKEN;
}

static void test_anonymous_may_do_everything(void **state)
{
    struct access *a = make(false);
    struct identity nobody = IDENTITY_NOBODY;

    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(actions); i++) {
        assert_int_equal(may(a, &nobody, actions[i].action, STR_NONE), 0);
        assert_int_equal(may(a, &nobody, actions[i].action, STR("a/b")), 0);
    }
    access_free(a);
}

/* There are no other identities: one that appears all the same has no rights. */
static void test_a_name_has_no_rights(void **state)
{
    struct access *a = make(true);
    struct identity someone = {"someone", NULL};

    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(actions); i++)
        assert_int_equal(may(a, &someone, actions[i].action, STR("a")),
                         open_to_all(actions[i].action) ? 0 : -ERR_DENIED);
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

/* Words are found again, but for the actions that nobody can grant. */
static void test_words(void **state)
{
    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(actions); i++) {
        unsigned bit = ACTION_BIT(actions[i].action);

        assert_string_equal(action_word(actions[i].action), actions[i].word);
        assert_int_equal(action_bits(str_of(actions[i].word)), bit & ACTIONS_GRANTED);
    }
    assert_int_equal(action_bits(STR("*")), ACTIONS_GRANTED);
    assert_int_equal(action_bits(STR("Pull")), 0);
}

/* ---- users */

#define ALICE "alice:$2b$04$abcdefghijklmnopqrstuu5cldSTjqTa.nw4QeJC5.F6G/ueChgIa"

static void write_file(const char *path, const char *text)
{
    char fresh[64];
    FILE *f;

    snprintf(fresh, sizeof(fresh), "%s.new", path);
    f = fopen(fresh, "w");
    assert_non_null(f);
    assert_true(fputs(text, f) >= 0);
    assert_int_equal(fclose(f), 0);
    assert_int_equal(rename(fresh, path), 0);
}

static int identify(struct access *a, const char *user, const char *password, bool may_wait,
                    struct login **ret, int64_t *ret_ms)
{
    struct credentials c auto_credentials = {.kind = CREDENTIALS_NONE};
    struct access_ask ask = {&c, STR("192.0.2.9"), may_wait};
    struct err_detail why;

    assert_int_equal(credentials_basic(str_of(user), str_of(password), &c), 0);
    return access_identify(a, &ask, ret, ret_ms, &why);
}

static int64_t hashes(void)
{
    return metric_value(METRIC_auth_hashes_total);
}

/* The first time costs a hash on a thread that may wait; after that the event thread knows. */
static void test_verified_once(void **state)
{
    struct access *a = *state;
    struct login *l = NULL;
    int64_t ms, before = hashes();

    assert_int_equal(identify(a, "alice", "open", false, &l, &ms), -ERR_AGAIN);
    assert_int_equal(hashes(), before);
    assert_int_equal(identify(a, "alice", "open", true, &l, &ms), 0);
    assert_string_equal(login_name(l), "alice");
    login_unref(l);
    assert_int_equal(identify(a, "alice", "open", false, &l, &ms), 0);
    login_unref(l);
    assert_int_equal(hashes(), before + 1);
    assert_int_equal(identify(a, "alice", "Open", false, &l, &ms), -ERR_AGAIN);
    assert_int_equal(identify(a, "alice", "Open", true, &l, &ms), -ERR_UNAUTHORIZED);
    assert_int_equal(identify(a, "nobody", "open", true, &l, &ms), -ERR_UNAUTHORIZED);
    assert_int_equal(hashes(), before + 3);
}

static void test_users_may_nobody_may_not(void **state)
{
    struct access *a = *state;
    struct identity nobody = IDENTITY_NOBODY, alice;
    struct login *l;
    int64_t ms;

    assert_true(access_enabled(a));
    assert_int_equal(identify(a, "alice", "open", true, &l, &ms), 0);
    alice = (struct identity){login_name(l), l};
    for (size_t i = 0; i < ARRAY_LEN(actions); i++) {
        enum action action = actions[i].action;

        assert_int_equal(may(a, &alice, action, STR("a")), 0);
        assert_int_equal(may(a, &nobody, action, STR("a")), open_to_all(action) ? 0 : -ERR_DENIED);
    }
    login_unref(l);
    assert_int_equal(access_check_listen(a, STR("0.0.0.0:80"), false, NULL), 0);
}

/* After a few wrong passwords the pair is refused, also with the right one, and another address is
 * not; what was verified before goes on. */
static void test_guessing_is_refused(void **state)
{
    struct access *a = *state;
    struct credentials c auto_credentials = {.kind = CREDENTIALS_NONE};
    struct access_ask elsewhere = {&c, STR("198.51.100.1"), true};
    struct login *l;
    int64_t ms;

    char guess[32];

    for (int i = 0; i <= THROTTLE_FREE; i++) {
        snprintf(guess, sizeof(guess), "guess %d", i);
        assert_int_equal(identify(a, "alice", guess, true, &l, &ms), -ERR_UNAUTHORIZED);
        assert_int_equal(identify(a, "alice", guess, true, &l, &ms),
                         i < THROTTLE_FREE ? -ERR_UNAUTHORIZED : -ERR_THROTTLED);
    }
    assert_int_equal(identify(a, "alice", "guess", true, &l, &ms), -ERR_THROTTLED);
    assert_true(ms > 0 && ms <= THROTTLE_REFUSE_MS);
    assert_int_equal(identify(a, "alice", "open", false, &l, &ms), -ERR_THROTTLED);
    assert_int_equal(credentials_basic(STR("alice"), STR("open"), &c), 0);
    assert_int_equal(access_identify(a, &elsewhere, &l, &ms, NULL), 0);
    login_unref(l);
    assert_int_equal(identify(a, "alice", "open", false, &l, &ms), 0);
    login_unref(l);
}

/* Waits until the files are looked at again, then reads them as the gate's thread would. */
static void reread(struct access *a)
{
    struct login *l;
    int64_t ms;

    clock_sleep_ms(ACCESS_LOOK_MS + 20);
    if (identify(a, "x", "y", false, &l, &ms) == -ERR_AGAIN)
        assert_int_equal(identify(a, "x", "y", true, &l, &ms), -ERR_UNAUTHORIZED);
}

/* A changed password counts at once, also against what was verified; a broken file changes nothing.
 */
static void test_reload(void **state)
{
    struct access *a = *state;
    struct login *l;
    int64_t ms, before;

    assert_int_equal(identify(a, "alice", "open", true, &l, &ms), 0);
    login_unref(l);
    write_file(file, "alice:plain text\n");
    reread(a);
    assert_int_equal(identify(a, "alice", "open", false, &l, &ms), 0);
    login_unref(l);
    write_file(file, ALICE "\nbob:$2b$04$abcdefghijklmnopqrstuu5cldSTjqTa.nw4QeJC5.F6G/ueChgIa\n");
    reread(a);
    before = hashes();
    assert_int_equal(identify(a, "alice", "open", false, &l, &ms), 0); /* her line is the same */
    login_unref(l);
    assert_int_equal(hashes(), before);
    assert_int_equal(identify(a, "bob", "open", true, &l, &ms), 0);
    login_unref(l);
    write_file(file, "# nobody\n");
    reread(a);
    assert_int_equal(identify(a, "alice", "open", true, &l, &ms), -ERR_UNAUTHORIZED);
    write_file(file, ALICE "\n");
}

static void test_bad_file(void **state)
{
    struct access_settings settings = {.htpasswd = "/nonexistent/users"};
    struct err_detail why = {""};
    struct access *a;

    (void)state;
    assert_true(access_new(&settings, &a, &why) < 0);
    assert_non_null(strstr(why.text, "/nonexistent/users"));
}

static int open_access(void **state)
{
    struct access_settings settings = {.htpasswd = file};
    struct access *a;

    write_file(file, ALICE "\n");
    assert_int_equal(access_new(&settings, &a, NULL), 0);
    *state = a;
    return 0;
}

static int close_access(void **state)
{
    access_free(*state);
    unlink(file);
    return 0;
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
        cmocka_unit_test(test_bad_file),
        cmocka_unit_test_setup_teardown(test_verified_once, open_access, close_access),
        cmocka_unit_test_setup_teardown(test_users_may_nobody_may_not, open_access, close_access),
        cmocka_unit_test_setup_teardown(test_guessing_is_refused, open_access, close_access),
        cmocka_unit_test_setup_teardown(test_reload, open_access, close_access),
    };

    assert_true(mkstemp(file) >= 0);
    return cmocka_run_group_tests(tests, NULL, NULL);
}
