/* Settings of a repository: patterns, strict reading, canonical text. docs/bucket-format.md
 * section 6. */
#include "fixture.h"

#include "manifests/settings.h"

static void test_patterns(void **state)
{
    static const struct {
        const char *pattern, *tag;
        bool fits;
    } cases[] = {
        {"v1", "v1", true},           {"v1", "v10", false},       {"v1", "V1", false},
        {"*", "anything", true},      {"v*", "v", true},          {"v*", "av", false},
        {"*-rc", "1.0-rc", true},     {"*-rc", "1.0-rc1", false}, {"v?.?", "v1.2", true},
        {"v?.?", "v1.22", false},     {"?", "", false},           {"*a*b*", "xxaxxbxx", true},
        {"*a*b*", "xxbxxaxx", false}, {"a*a", "a", false},        {"a**a", "aa", true},
        {"*.*.*", "1.2.3", true},     {"*.*.*", "1.2", false},    {"*ab", "aab", true},
        {"*?b", "b", false},
    };

    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(cases); i++)
        check(pattern_fits(str_of(cases[i].pattern), str_of(cases[i].tag)) == cases[i].fits,
              "%s on %s", cases[i].pattern, cases[i].tag);
}

/* The longest pattern of stars on the longest tag: a matcher that tried every split would never
 * come back. */
static void test_many_stars(void **state)
{
    char pattern[SETTINGS_PATTERN_MAX_LEN + 1] = "", tag[129] = "";

    (void)state;
    for (int i = 0; i + 1 < SETTINGS_PATTERN_MAX_LEN; i += 2) {
        pattern[i] = '*';
        pattern[i + 1] = 'a';
    }
    memset(tag, 'a', 128);
    pattern[SETTINGS_PATTERN_MAX_LEN - 1] = 'b';
    assert_false(pattern_fits(str_of(pattern), str_of(tag)));
    tag[127] = 'b';
    assert_true(pattern_fits(str_of(pattern), str_of(tag)));
}

static struct settings *parse(const char *text)
{
    struct settings *s = NULL;

    assert_int_equal(settings_parse(str_of(text), &s, NULL), 0);
    return s;
}

static void test_last_decides(void **state)
{
    struct settings *s auto_settings =
        parse("{\"immutable\":[\"*\",\"!latest\",\"!dev-*\",\"dev-1\"]}");
    struct settings *none auto_settings = parse("{\"immutable\":[]}");

    (void)state;
    assert_true(settings_immutable(s, STR("v1")));
    assert_false(settings_immutable(s, STR("latest")));
    assert_false(settings_immutable(s, STR("dev-2")));
    assert_true(settings_immutable(s, STR("dev-1")));
    assert_true(settings_any_immutable(s));
    assert_false(settings_immutable(none, STR("v1")));
    assert_false(settings_any_immutable(none));
    assert_false(settings_immutable(NULL, STR("v1")));
}

static void test_text(void **state)
{
    struct settings *s auto_settings = parse(" { \"immutable\" : [ \"b\", \"a\", \"b\" ] } ");
    struct settings *none auto_settings = parse("{\"immutable\":[]}");
    struct buf out auto_buf = BUF_INIT(1 << 12);
    struct jw w = JW_INIT(&out);

    (void)state;
    assert_true(str_eq(settings_text(s), STR("{\"immutable\":[\"b\",\"a\",\"b\"]}")));
    assert_true(str_eq(settings_text(none), STR("{}")));
    assert_true(str_eq(settings_text(NULL), STR("{}")));
    settings_write(&w, NULL);
    settings_write(&w, s);
    assert_string_equal(buf_c(&out), "{\"immutable\":[]},{\"immutable\":[\"b\",\"a\",\"b\"]}");
}

static void test_refused(void **state)
{
    static const struct {
        const char *text;
        int err;
    } cases[] = {
        {"", -ERR_INVAL},
        {"[]", -ERR_INVAL},
        {"{\"quota\":5}", -ERR_UNSUPPORTED},
        {"{\"retention\":null}", -ERR_UNSUPPORTED},
        {"{\"immutable\":[\"a\"],\"Immutable\":[]}", -ERR_UNSUPPORTED},
        {"{\"immutable\":null}", -ERR_INVAL},
        {"{\"immutable\":\"v*\"}", -ERR_INVAL},
        {"{\"immutable\":[1]}", -ERR_INVAL},
        {"{\"immutable\":[\"\"]}", -ERR_INVAL},
        {"{\"immutable\":[\"!\"]}", -ERR_INVAL},
        {"{\"immutable\":[\"!!a\"]}", -ERR_INVAL},
        {"{\"immutable\":[\"a b\"]}", -ERR_INVAL},
        {"{\"immutable\":[\"a/b\"]}", -ERR_INVAL},
        {"{\"immutable\":[\"[ab]\"]}", -ERR_INVAL},
    };
    struct buf many auto_buf = BUF_INIT(1 << 16);

    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        struct err_detail why = {""};
        struct settings *s = NULL;

        check(settings_parse(str_of(cases[i].text), &s, &why) == cases[i].err, "%s", cases[i].text);
        check(s == NULL && why.text[0], "%s", cases[i].text);
    }
    buf_add(&many, STR("{\"immutable\":[\"a\""));
    for (int i = 0; i < SETTINGS_PATTERNS_MAX; i++)
        buf_add(&many, STR(",\"a\""));
    buf_add(&many, STR("]}"));
    struct settings *s = NULL;
    assert_int_equal(settings_parse(buf_str(&many), &s, NULL), -ERR_INVAL);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_patterns),     cmocka_unit_test(test_many_stars),
        cmocka_unit_test(test_last_decides), cmocka_unit_test(test_text),
        cmocka_unit_test(test_refused),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
