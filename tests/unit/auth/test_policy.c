/* Rules: reading, refusals with their line, and the first that matches. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "auth/policy.h"

static struct policy *parsed(const char *text)
{
    struct policy *p = NULL;
    struct err_detail why = {""};

    if (policy_parse(str_of(text), &p, &why) != 0)
        fail_msg("%s", why.text);
    return p;
}

static void test_refused_with_its_line(void **state)
{
    static const struct {
        const char *text, *says;
    } rows[] = {
        {"permit everyone ** pull", "line 1: a line begins with"},
        {"# x\n\nallow everyone **", "line 3: a rule is"},
        {"allow bob ** pull", "line 1: \"bob\" is nobody"},
        {"allow user: ** pull", "is nobody"},
        {"allow claim:=x ** pull", "is nobody"},
        {"allow claim:x ** pull", "is nobody"},
        {"allow everyone ** fly", "\"fly\" is no action"},
        {"allow everyone ** pull, push", "line 1"},
        {"allow everyone a,,b pull", "line 1: a list is empty"},
        {"allow everyone ** pull v* more", "more than a rule's five words"},
        {"group", "line 1: a group is"},
        {"allow everyone \xff pull", "it is no text"},
    };

    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        struct policy *p = NULL;
        struct err_detail why = {""};

        assert_int_equal(policy_parse(str_of(rows[i].text), &p, &why), -ERR_INVAL);
        if (!strstr(why.text, rows[i].says))
            fail_msg("row %zu says: %s", i, why.text);
    }
}

static const char rules[] = "group devs bob carol\n"
                            "deny everyone secret/** *\n"
                            "allow user:alice ** *\n"
                            "allow group:dev* team/**,x pull,push v*,latest\n"
                            "deny user:bob team/** delete v*\n"
                            "allow user:bob team/** delete\n"
                            "allow claim:ref=refs/heads/* ci/* push\n"
                            "allow anonymous public/* pull,catalog\n"
                            "allow authenticated shared pull\r\n"
                            "allow user:dave rel override-immutable v*\n";

static void test_first_rule(void **state)
{
    static const struct {
        const char *who, *repo, *tag;
        enum action action;
        unsigned line;
        bool allowed;
    } rows[] = {
        {"alice", "secret/a", "", ACTION_PULL, 2, false},
        {"alice", "a", "", ACTION_ADMIN, 3, true},
        {"alice", "", "", ACTION_ADMIN, 3, true},
        {"bob", "team/a/b", "v1", ACTION_PUSH, 4, true},
        {"bob", "team/a/b", "w1", ACTION_PUSH, 0, false},
        {"bob", "team/a/b", "", ACTION_PUSH, 4, true}, /* blobs, digests */
        {"bob", "x", "latest", ACTION_PULL, 4, true},
        {"eve,group:devops", "x", "latest", ACTION_PULL, 4, true},
        {"eve,group:ops", "x", "latest", ACTION_PULL, 0, false},
        {"bob", "team/a", "v1", ACTION_DELETE, 5, false},
        {"bob", "team/a", "w1", ACTION_DELETE, 6, true},
        {"bob", "team/a", "", ACTION_DELETE, 5, false}, /* a digest carries any tag */
        {"dave", "rel", "v1", ACTION_OVERRIDE, 10, true},
        {"dave", "rel", "w1", ACTION_OVERRIDE, 0, false},
        {"dave", "rel", "", ACTION_OVERRIDE, 0, false}, /* so here */
        {"dave", "rel", "v1", ACTION_PUSH, 0, false},
        {"carol", "team/a", "w1", ACTION_DELETE, 0, false},
        {"x,claim:ref=refs/heads/main", "ci/a", "t", ACTION_PUSH, 7, true},
        {"x,claim:ref=refs/tags/v1", "ci/a", "t", ACTION_PUSH, 0, false},
        {"anonymous", "public/a", "", ACTION_PULL, 8, true},
        {"bob", "public/a", "", ACTION_PULL, 0, false}, /* anonymous is nobody else */
        {"anonymous", "shared", "", ACTION_PULL, 0, false},
        {"bob", "shared", "", ACTION_PULL, 9, true},
    };
    struct policy *p = parsed(rules);

    (void)state;
    assert_int_equal(policy_rules(p), 9);
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        struct login *l = NULL;
        struct policy_answer got;

        assert_int_equal(policy_caller(str_of(rows[i].who), &l, NULL), 0);
        policy_decide(
            p, &(struct policy_ask){l, rows[i].action, str_of(rows[i].repo), str_of(rows[i].tag)},
            &got);
        if (got.allowed != rows[i].allowed || got.line != rows[i].line)
            fail_msg("row %zu: line %u, allowed %d", i, got.line, got.allowed);
        login_unref(l);
    }
    policy_unref(p);
}

static void test_somewhere(void **state)
{
    struct policy *p = parsed(rules);
    struct login *bob;

    (void)state;
    assert_int_equal(policy_caller(STR("bob"), &bob, NULL), 0);
    assert_true(policy_somewhere(p, NULL, ACTION_CATALOG));
    assert_false(policy_somewhere(p, bob, ACTION_CATALOG));
    assert_true(policy_somewhere(p, bob, ACTION_DELETE));
    login_unref(bob);
    policy_unref(p);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_refused_with_its_line),
        cmocka_unit_test(test_first_rule),
        cmocka_unit_test(test_somewhere),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
