/* The file of webhook targets: what is refused, with a sentence, and what a target wants. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

#include <cmocka.h>

#include "registry/webhooks.h"

static int parse(const char *text, struct webhook_list *ret)
{
    struct err_detail why = {""};
    int e;

    *ret = (struct webhook_list){.count = 0};
    e = webhooks_parse(str_of(text), ret, &why);
    if (e < 0 && why.text[0] == '\0')
        fail_msg("%s: refused without a sentence", text);
    return e;
}

static void test_refused(void **state)
{
    static const char *const texts[] = {
        "",
        "[]",
        "{}",
        "{\"targets\":{}}",
        "{\"targets\":[],\"more\":1}",
        "{\"targets\":[1]}",
        "{\"targets\":[{\"url\":\"http://x\"}]}",
        "{\"targets\":[{\"name\":\"a/b\",\"url\":\"http://x\"}]}",
        "{\"targets\":[{\"name\":\"a\"}]}",
        "{\"targets\":[{\"name\":\"a\",\"url\":\"file:///etc\"}]}",
        "{\"targets\":[{\"name\":\"a\",\"url\":\"http://x y\"}]}",
        "{\"targets\":[{\"name\":\"a\",\"url\":\"http://x\",\"secret\":\"\"}]}",
        "{\"targets\":[{\"name\":\"a\",\"url\":\"http://x\",\"secret\":1}]}",
        "{\"targets\":[{\"name\":\"a\",\"url\":\"http://x\",\"actions\":\"push\"}]}",
        "{\"targets\":[{\"name\":\"a\",\"url\":\"http://x\",\"repositories\":[]}]}",
        "{\"targets\":[{\"name\":\"a\",\"url\":\"http://x\",\"from\":\"then\"}]}",
        "{\"targets\":[{\"name\":\"a\",\"url\":\"http://x\",\"typo\":1}]}",
        "{\"targets\":[{\"name\":\"a\",\"url\":\"http://x\",\"as\":\"\"}]}",
        "{\"targets\":[{\"name\":\"a\",\"url\":\"http://x\",\"as\":1}]}",
        ("{\"targets\":[{\"name\":\"a\",\"url\":\"http://x\"},"
         "{\"name\":\"a\",\"url\":\"http://y\"}]}"),
    };

    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(texts); i++) {
        struct webhook_list l;

        if (parse(texts[i], &l) != -ERR_INVAL)
            fail_msg("accepted: %s", texts[i]);
        webhook_list_done(&l);
    }
}

static void test_wants(void **state)
{
    struct webhook_list l;

    (void)state;
    assert_int_equal(
        parse("{\"targets\":[{\"name\":\"a\",\"url\":\"https://x/y?z\",\"secret\":\"s\","
              "\"repositories\":[\"team/*\",\"x/**\"],\"actions\":[\"push\",\"delete\"],"
              "\"from\":\"start\"},{\"name\":\"b-2\",\"url\":\"http://x\"}]}",
              &l),
        0);
    assert_int_equal(l.count, 2);
    assert_string_equal(l.at[0].url, "https://x/y?z");
    assert_string_equal(l.at[0].secret, "s");
    assert_true(l.at[0].from_start);
    assert_false(l.at[1].from_start);
    assert_true(webhook_wants(&l.at[0], STR("team/app"), STR("push")));
    assert_true(webhook_wants(&l.at[0], STR("x/y/z"), STR("delete")));
    assert_false(webhook_wants(&l.at[0], STR("team/app/sub"), STR("push")));
    assert_false(webhook_wants(&l.at[0], STR("team/app"), STR("tags")));
    assert_false(webhook_wants(&l.at[0], STR("other"), STR("push")));
    assert_true(webhook_wants(&l.at[0], STR("team/app"), STR_NONE)); /* some action */
    assert_true(webhook_wants(&l.at[1], STR("anything"), STR("at-all")));
    webhook_list_done(&l);
}

static void test_as(void **state)
{
    struct webhook_list l;

    (void)state;
    assert_int_equal(parse("{\"targets\":[{\"name\":\"a\",\"url\":\"http://x\"},"
                           "{\"name\":\"b\",\"url\":\"http://x\",\"as\":\"anonymous\"},"
                           "{\"name\":\"c\",\"url\":\"http://x\",\"as\":\"bob,group:devs\"}]}",
                           &l),
                     0);
    assert_false(l.at[0].judged);
    assert_true(l.at[1].judged && !l.at[1].caller);
    assert_true(l.at[2].judged && l.at[2].caller);
    assert_string_equal(login_name(l.at[2].caller), "bob");
    assert_int_equal(login_attr_count(l.at[2].caller), 1);
    webhook_list_done(&l);
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_refused), cmocka_unit_test(test_wants),
                                       cmocka_unit_test(test_as)};

    return cmocka_run_group_tests(tests, NULL, NULL);
}
