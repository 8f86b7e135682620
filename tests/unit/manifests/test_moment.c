/* Points in time as text. */
#include "fixture.h"

#include "manifests/moment.h"

#include <cmocka.h>

static void test_numbers_and_times(void **state)
{
    static const struct {
        const char *text;
        bool by_time;
        int64_t value;
    } cases[] = {
        {"0", false, 0},
        {"42", false, 42},
        {"000042", false, 42},
        {"999999999999999999", false, 999999999999999999},
        {"1970-01-01T00:00:00Z", true, 0},
        {"2026-11-22T07:50:00Z", true, 1795333800000},
        {"2026-11-22t07:50:00.5z", true, 1795333800500},
        {"2026-11-22T07:50:00.123456Z", true, 1795333800123},
        {"2026-11-22T08:50:00+01:00", true, 1795333800000},
        {"2026-11-22T00:20:00-07:30", true, 1795333800000},
        {"2024-02-29T00:00:00Z", true, 1709164800000},
        {"2000-02-29T23:59:60Z", true, 951868800000},
        {"9999-12-31T23:59:59.999Z", true, 253402300799999},
    };
    struct moment m;

    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        check(moment_parse(str_of(cases[i].text), &m, NULL) == 0, "%s", cases[i].text);
        check(m.by_time == cases[i].by_time, "%s", cases[i].text);
        check((m.by_time ? m.ms : (int64_t)m.seq) == cases[i].value, "%s", cases[i].text);
    }
}

static void test_what_is_none(void **state)
{
    static const char *const cases[] = {"",
                                        "-1",
                                        "+1",
                                        "1 ",
                                        "1e3",
                                        "9999999999999999999",
                                        "now",
                                        "2026-11-22",
                                        "2026-11-22T07:50Z",
                                        "2026-11-22T07:50:00",
                                        "2026-11-22T07:50:00.Z",
                                        "2026-11-22T07:50:00Zx",
                                        "2026-11-22T07:50:00+0100",
                                        "2026-11-22T07:50:00+24:00",
                                        "2026-11-22T24:00:00Z",
                                        "2026-11-22T23:60:00Z",
                                        "2026-02-29T00:00:00Z",
                                        "2100-02-29T00:00:00Z",
                                        "2026-13-01T00:00:00Z",
                                        "2026-00-01T00:00:00Z",
                                        "2026-01-00T00:00:00Z",
                                        "1969-12-31T23:59:59Z",
                                        "1970-01-01T00:00:00+01:00"};
    struct err_detail why = {{0}};
    struct moment m;

    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(cases); i++)
        check(moment_parse(str_of(cases[i]), &m, &why) == -ERR_TIME, "%s", cases[i]);
    check(moment_parse(str_make("1\0", 2), &m, NULL) == -ERR_TIME, "a zero byte");
    assert_non_null(strstr(why.text, "2026-"));
}

static void test_components(void **state)
{
    static const char *const none[] = {"at-20261122t075000",  "at-20261122t075000zz",
                                       "at-20261122T075000z", "at-20261122t075000Z",
                                       "at-20261322t075000z", "at-20261122t250000z",
                                       "on-20261122t075000z", "at-2026112xt075000z",
                                       "at-19691122t075000z", ""};
    int64_t ms = 0;

    (void)state;
    assert_true(moment_of_component(STR("at-20261122t075000z"), &ms));
    assert_true(ms == 1795333800000);
    for (size_t i = 0; i < ARRAY_LEN(none); i++)
        check(!moment_of_component(str_of(none[i]), &ms), "%s", none[i]);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_numbers_and_times),
        cmocka_unit_test(test_what_is_none),
        cmocka_unit_test(test_components),
    };

    return cmocka_run_group_tests_name("moment", tests, NULL, NULL);
}
