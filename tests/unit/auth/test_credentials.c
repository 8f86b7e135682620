/* Authorization headers, challenges, scopes and globs. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "auth/challenge.h"
#include "auth/credentials.h"
#include "auth/glob.h"
#include "auth/scope.h"

static void test_headers(void **state)
{
    static const struct {
        const char *header;
        enum credentials_kind kind;
        const char *user, *secret;
    } rows[] = {
        {"", CREDENTIALS_NONE, "", ""},
        {"Basic YWxpY2U6b3Blbg==", CREDENTIALS_BASIC, "alice", "open"},
        {"basic   YWxpY2U6b3Blbg", CREDENTIALS_BASIC, "alice", "open"},
        {"BASIC YWxpY2U6", CREDENTIALS_BASIC, "alice", ""},
        {"Basic YTpiOmM=", CREDENTIALS_BASIC, "a", "b:c"},
        {"Basic Og==", CREDENTIALS_NONE, "", ""}, /* R112 */
        {"Basic OnB3", CREDENTIALS_BAD, "", ""},  /* no user */
        {"Basic YWxpY2U=", CREDENTIALS_BAD, "", ""},
        {"Basic !!!!", CREDENTIALS_BAD, "", ""},
        {"Basic YQA6Yg==", CREDENTIALS_BAD, "", ""},
        {"Basic YTpiAGM=", CREDENTIALS_BAD, "", ""},
        {"Basic", CREDENTIALS_BAD, "", ""},
        {"Bearer abc.def", CREDENTIALS_BEARER, "", "abc.def"},
        {"bearer abc def", CREDENTIALS_BAD, "", ""},
        {"Negotiate abc", CREDENTIALS_BAD, "", ""},
    };

    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        struct credentials c auto_credentials = {.kind = CREDENTIALS_NONE};
        struct str secret;

        assert_int_equal(credentials_parse(str_of(rows[i].header), &c), 0);
        if (c.kind != rows[i].kind)
            fail_msg("%s: kind %d", rows[i].header, (int)c.kind);
        secret = c.kind == CREDENTIALS_BEARER ? c.token : c.password;
        if (c.kind == CREDENTIALS_BASIC || c.kind == CREDENTIALS_BEARER) {
            assert_true(str_eq(c.user, str_of(rows[i].user)));
            assert_true(str_eq(secret, str_of(rows[i].secret)));
        }
    }
}

static void test_challenge(void **state)
{
    const struct {
        struct challenge c;
        const char *text;
    } rows[] = {
        {{.realm = STR("Stowage")}, "Basic realm=\"Stowage\""},
        {{true, STR("http://h:1/auth/token"), STR("s"), STR_NONE, CHALLENGE_NO_ERROR},
         "Bearer realm=\"http://h:1/auth/token\",service=\"s\""},
        {{true, STR("http://h/t"), STR("s"), STR("repository:a:pull repository:b:pull"),
          CHALLENGE_INSUFFICIENT_SCOPE},
         "Bearer realm=\"http://h/t\",service=\"s\",scope=\"repository:a:pull "
         "repository:b:pull\",error=\"insufficient_scope\""},
        {{true, STR("x\"\\\r\ny"), STR("s"), STR_NONE, CHALLENGE_INVALID_TOKEN},
         "Bearer realm=\"xy\",service=\"s\",error=\"invalid_token\""},
    };

    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        struct buf text auto_buf = BUF_INIT(CHALLENGE_MAX);

        challenge_text(&rows[i].c, &text);
        assert_string_equal(buf_c(&text), rows[i].text);
    }
}

/* What is asked, and what is understood, written again (R117). */
static void test_scopes(void **state)
{
    static const struct {
        const char *asked, *understood;
    } rows[] = {
        {"", ""},
        {"repository:a/b:pull,push", "repository:a/b:pull,push"},
        {"repository:host:5000/a:pull", "repository:host:5000/a:pull"},
        {"repository(plugin):a:pull", "repository:a:pull"},
        {"repository:a:*", "repository:a:*"},
        {"repository:a:pull repository:a:delete repository:b:pull",
         "repository:a:pull,delete repository:b:pull"},
        {"registry:catalog:*", "registry:catalog:*"},
        {"registry:other:*", ""},
        {"repository:a:nothing", ""},
        {"repository::pull", ""},
        {"repository:a", ""},
        {"volume:a:pull", ""},
        {"  repository:a:pull  ", "repository:a:pull"},
        {":::", ""},
    };

    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        struct scopes s auto_scopes = {.count = 0};
        struct buf text auto_buf = BUF_INIT(SCOPE_TEXT_MAX);

        assert_int_equal(scopes_parse(str_of(rows[i].asked), &s), 0);
        scopes_text(&s, &text);
        assert_string_equal(buf_c(&text), rows[i].understood);
    }
}

static void test_scopes_are_bounded(void **state)
{
    struct buf text auto_buf = BUF_INIT(64u << 10);
    struct scopes s auto_scopes = {.count = 0};

    (void)state;
    for (int i = 0; i < 2 * SCOPES_MAX; i++)
        buf_addf(&text, "repository:r%d:pull ", i);
    assert_int_equal(scopes_parse(buf_str(&text), &s), 0);
    assert_int_equal(s.count, SCOPES_MAX);
    assert_int_equal(scopes_actions(&s, SCOPE_REPOSITORY, STR("r3"), false),
                     ACTION_BIT(ACTION_PULL));
    assert_int_equal(scopes_actions(&s, SCOPE_REPOSITORY, STR("r"), false), 0);
}

static void test_globs(void **state)
{
    static const struct {
        const char *pattern, *text;
        bool match;
    } rows[] = {
        {"", "", true},
        {"", "a", false},
        {"a", "a", true},
        {"a", "ab", false},
        {"*", "", true},
        {"*", "abc", true},
        {"*", "a/b", false},
        {"**", "a/b", true},
        {"**", "", true},
        {"a/*", "a/b", true},
        {"a/*", "a/b/c", false},
        {"a/**", "a/b/c", true},
        {"a/**", "a", false},
        {"*/b", "a/b", true},
        {"**/b", "x/a/b", true},
        {"**/b", "b", false},
        {"a*c*e", "abcde", true},
        {"a*c*e", "abcdf", false},
        {"**a*b", "a/xaxb", true},
        {"**a*b", "axb/", false},
        {"a**b*c", "a/b/bxc", true},
        {"v*.*", "v1.2", true},
        {"*b*", "aba/b", false},
        {"**x/*y", "x/ax/by", true},
    };

    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(rows); i++)
        if (glob_match(str_of(rows[i].pattern), str_of(rows[i].text)) != rows[i].match)
            fail_msg("%s on %s", rows[i].pattern, rows[i].text);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_headers), cmocka_unit_test(test_challenge),
        cmocka_unit_test(test_scopes),  cmocka_unit_test(test_scopes_are_bounded),
        cmocka_unit_test(test_globs),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
