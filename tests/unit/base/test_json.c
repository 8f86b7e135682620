/* JSON in and out. */
#include "base/json.h"
#include "check.h"

static int parse(struct str text, struct json_doc **ret)
{
    return json_parse(text, ret, NULL);
}

static void accepts(void **state)
{
    static const struct {
        const char *text;
        enum json_type type;
    } cases[] = {
        {"{}", JSON_OBJECT_T},
        {" \t\r\n[1,2]\n", JSON_ARRAY_T},
        {"\"x\"", JSON_STRING_T},
        {"-9223372036854775808", JSON_INTEGER_T},
        {"9223372036854775807", JSON_INTEGER_T},
        {"1e5", JSON_REAL_T},
        {"1.0", JSON_REAL_T},
        {"true", JSON_BOOL_T},
        {"false", JSON_BOOL_T},
        {"null", JSON_NULL_T},
        {"{\"a\":{\"a\":1},\"b\":{\"a\":1}}", JSON_OBJECT_T},
        {"\"\\ud83d\\ude00\"", JSON_STRING_T},
        {"\"[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[\\\"[[[\"",
         JSON_STRING_T},
    };

    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        struct json_doc *doc auto_json = NULL;

        check(parse(str_of(cases[i].text), &doc) == 0, "%s", cases[i].text);
        check(json_type(json_root(doc)) == cases[i].type, "%s", cases[i].text);
    }
}

static void refuses(void **state)
{
    static const struct {
        struct str text;
        const char *detail;
    } cases[] = {
#define CASE(text, detail) {{text, sizeof(text) - 1}, detail}
        CASE("", "the JSON ends too early near byte 0"),
        CASE("   ", "ends too early"),
        CASE("{\"a\":1", "ends too early"),
        CASE("\"abc", "ends too early"),
        CASE("{} {}", "goes on after its value near byte 4"),
        CASE("{}x", "goes on after its value"),
        CASE("{}\0", "near byte"),
        CASE("\0", "near byte"),
        CASE("{\"a\":1,\"a\":1}", "repeats a key of an object near byte 10"),
        CASE("[{\"a\":1,\"b\":2,\"\\u0061\":3}]", "repeats a key of an object"),
        CASE("{\"a\":1,}", "syntax error"),
        CASE("[1,]", "syntax error"),
        CASE("{'a':1}", "syntax error"),
        CASE("{a:1}", "syntax error"),
        CASE("nul", "syntax error"),
        CASE("NaN", "syntax error"),
        CASE("01", "syntax error"),
        CASE("-", "syntax error"),
        CASE("+1", "syntax error"),
        CASE("\"\t\"", "syntax error"),
        CASE("\"\\x\"", "syntax error"),
        CASE("/* c */ 1", "syntax error"),
        CASE("\xef\xbb\xbf{}", "syntax error"),
        CASE("9223372036854775808", "has a number out of range"),
        CASE("1e999", "has a number out of range"),
        CASE("\"a\\u0000b\"", "has a NUL character in a string"),
        CASE("{\"a\\u0000b\":1}", "has a NUL character in a string"),
        CASE("\"\\ud800\"", "has"),
        CASE("\"\\udc00\\ud800\"", "has"),
        CASE("{\"a\":\"\xff\"}", "the JSON is not valid UTF-8 at byte 6"),
        CASE("\"\xc0\xaf\"", "the JSON is not valid UTF-8 at byte 1"),
        CASE("\"\xed\xa0\x80\"", "the JSON is not valid UTF-8 at byte 1"),
        CASE("\"\xe2\x82\"", "the JSON is not valid UTF-8 at byte 1"),
#undef CASE
    };

    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        struct err_detail d = {{0}};
        struct json_doc *doc = NULL;
        int r = json_parse(cases[i].text, &doc, &d);

        check(r == -ERR_INVAL && !doc, "case %zu", i);
        check(strstr(d.text, cases[i].detail), "case %zu says \"%s\"", i, d.text);
        check(strstr(d.text, "byte"), "case %zu says \"%s\"", i, d.text);
    }
    assert_int_equal(json_parse(STR_NONE, &(struct json_doc *){NULL}, NULL), -ERR_INVAL);
}

static void depth(void **state)
{
    static const char *const pairs[] = {"[]", "{}"};

    (void)state;
    for (size_t kind = 0; kind < ARRAY_LEN(pairs); kind++) {
        for (int levels = 62; levels <= 66; levels++) {
            struct buf b auto_buf = BUF_INIT(4096);
            struct json_doc *doc auto_json = NULL;
            struct err_detail d = {{0}};
            int r;

            for (int i = 0; i < levels; i++)
                buf_addf(&b, "%c%s", pairs[kind][0], kind && i + 1 < levels ? "\"k\":" : "");
            for (int i = 0; i < levels; i++)
                buf_addc(&b, pairs[kind][1]);
            r = json_parse(buf_str(&b), &doc, &d);
            check(r == (levels <= JSON_DEPTH_MAX ? 0 : -ERR_INVAL), "%d levels: %s", levels,
                  d.text);
            if (r < 0)
                check(strstr(d.text, "deeper than 64 levels at byte"), "%s", d.text);
        }
    }
}

/* A million open brackets must not use the stack. */
static void very_deep(void **state)
{
    struct buf b auto_buf = BUF_INIT(1000000);
    struct json_doc *doc = NULL;
    char *at = buf_reserve(&b, 1000000);

    (void)state;
    assert_non_null(at);
    memset(at, '[', 1000000);
    buf_added(&b, 1000000);
    assert_int_equal(parse(buf_str(&b), &doc), -ERR_INVAL);
}

static void accessors(void **state)
{
    struct json_doc *doc auto_json = NULL;
    const struct json *root;
    struct str s = STR("kept");
    int64_t n = 77;
    bool b = false;

    (void)state;
    assert_int_equal(parse(STR("{\"s\":\"gr\xc3\xbc\xc3\x9f\",\"empty\":\"\",\"n\":-5,\"r\":1.0,"
                               "\"t\":true,\"z\":null,\"a\":[1,\"two\",[]],\"o\":{\"k\":7}}"),
                           &doc),
                     0);
    root = json_root(doc);
    assert_int_equal(json_len(root), 8);
    assert_str(json_str(json_get(root, "s")), "gr\xc3\xbc\xc3\x9f");
    assert_non_null(json_str(json_get(root, "empty")).at);
    assert_null(json_str(json_get(root, "n")).at);
    assert_null(json_str(NULL).at);
    assert_true(json_int(json_get(root, "n"), &n));
    assert_int_equal(n, -5);
    assert_false(json_int(json_get(root, "r"), &n));
    assert_false(json_int(json_get(root, "s"), &n));
    assert_false(json_int(NULL, &n));
    assert_true(json_bool(json_get(root, "t"), &b));
    assert_true(b);
    assert_false(json_bool(json_get(root, "z"), &b));
    assert_int_equal(json_type(json_get(root, "z")), JSON_NULL_T);
    assert_int_equal(json_type(json_get(root, "absent")), JSON_NONE);
    assert_int_equal(json_len(json_get(root, "a")), 3);
    assert_str(json_str(json_at(json_get(root, "a"), 1)), "two");
    assert_null(json_at(json_get(root, "a"), 3));
    assert_null(json_at(root, 0));
    assert_null(json_at(NULL, 0));
    assert_null(json_get(json_get(root, "a"), "k"));
    assert_null(json_get(NULL, "k"));
    assert_int_equal(json_len(json_get(root, "s")), 0);
    assert_true(json_get_int(json_get(root, "o"), "k", &n));
    assert_int_equal(n, 7);
    assert_false(json_get_int(root, "s", &n));
    assert_true(json_get_str(root, "empty", &s));
    assert_int_equal(s.len, 0);
    s = STR("kept");
    assert_false(json_get_str(root, "n", &s));
    assert_false(json_get_str(NULL, "n", &s));
    assert_str(s, "kept");
    json_doc_free(NULL);
}

static int collect(struct str key, const struct json *value, void *arg)
{
    struct buf *b = arg;
    int64_t n = 0;

    buf_add(b, key);
    if (!json_int(value, &n))
        return 42;
    buf_addf(b, "=%lld ", (long long)n);
    return 0;
}

static void members_in_document_order(void **state)
{
    struct json_doc *doc auto_json = NULL, *stops auto_json = NULL;
    struct buf b auto_buf = BUF_INIT(1000);

    (void)state;
    assert_int_equal(parse(STR("{\"z\":1,\"a\":2,\"m\":3,\"b\":4,\"zz\":5,\"\":6}"), &doc), 0);
    assert_int_equal(json_each(json_root(doc), collect, &b), 0);
    assert_str(buf_str(&b), "z=1 a=2 m=3 b=4 zz=5 =6 ");
    buf_clear(&b);
    assert_int_equal(parse(STR("{\"a\":1,\"b\":\"x\",\"c\":2}"), &stops), 0);
    assert_int_equal(json_each(json_root(stops), collect, &b), 42);
    assert_str(buf_str(&b), "a=1 b");
    assert_int_equal(json_each(NULL, collect, &b), 0);
    assert_int_equal(json_each(json_get(json_root(stops), "a"), collect, &b), 0);
}

static void dumps(void **state)
{
    struct json_doc *doc auto_json = NULL;
    struct buf b auto_buf = BUF_INIT(1000), small auto_buf = BUF_INIT(5);

    (void)state;
    assert_int_equal(parse(STR(" { \"z\" : [ 1 , null ], \"a\" : \"\xc3\xbc/\\\"\\n\" } "), &doc),
                     0);
    json_dump(&b, json_root(doc));
    assert_int_equal(buf_err(&b), 0);
    assert_str(buf_str(&b), "{\"z\":[1,null],\"a\":\"\xc3\xbc/\\\"\\n\"}");
    buf_clear(&b);
    json_dump(&b, json_get(json_root(doc), "a"));
    assert_str(buf_str(&b), "\"\xc3\xbc/\\\"\\n\"");
    json_dump(&small, json_root(doc));
    assert_int_equal(buf_err(&small), -ERR_TOOBIG);
}

static void writes(void **state)
{
    struct buf b auto_buf = BUF_INIT(1000);
    struct jw w = JW_INIT(&b);

    (void)state;
    jw_begin(&w, '{');
    jw_kstr(&w, "s", STR("x"));
    jw_kint(&w, "n", INT64_MIN);
    jw_key(&w, "a");
    jw_begin(&w, '[');
    jw_begin(&w, '[');
    jw_end(&w, ']');
    jw_begin(&w, '{');
    jw_end(&w, '}');
    jw_int(&w, 1);
    jw_str(&w, STR_NONE);
    jw_bool(&w, true);
    jw_bool(&w, false);
    jw_null(&w);
    jw_raw(&w, STR("{\"r\":0}"));
    jw_end(&w, ']');
    jw_key(&w, "o");
    jw_begin(&w, '{');
    jw_kint(&w, "k", 0);
    jw_end(&w, '}');
    jw_kstr(&w, "last", STR("l"));
    jw_end(&w, '}');
    assert_str(buf_str(&b),
               "{\"s\":\"x\",\"n\":-9223372036854775808,\"a\":[[],{},1,\"\",true,false,"
               "null,{\"r\":0}],\"o\":{\"k\":0},\"last\":\"l\"}");
}

static void escapes_only_what_it_must(void **state)
{
    struct buf b auto_buf = BUF_INIT(1000);
    struct jw w = JW_INIT(&b);

    (void)state;
    jw_str(&w, str_make("\"\\/\b\f\n\r\t\0\x01\x1f\x7f<>&'\xc3\xbc\xf0\x9f\x98\x80", 22));
    assert_str(buf_str(&b), "\"\\\"\\\\/\\b\\f\\n\\r\\t\\u0000\\u0001\\u001f\x7f<>&'\xc3\xbc"
                            "\xf0\x9f\x98\x80\"");
}

/* What the writer escapes, the parser gives back. */
static void every_character_round_trips(void **state)
{
    struct buf b auto_buf = BUF_INIT(10000);
    struct jw w = JW_INIT(&b);
    struct json_doc *doc auto_json = NULL;
    char all[127];

    (void)state;
    for (size_t i = 0; i < sizeof(all); i++)
        all[i] = (char)(i + 1);
    jw_str(&w, str_make(all, sizeof(all)));
    assert_int_equal(parse(buf_str(&b), &doc), 0);
    assert_true(str_eq(json_str(json_root(doc)), str_make(all, sizeof(all))));
}

/* Without parsing: never yes to what the parser would refuse, yes to all that is usual. */
static void written_texts_read_back(void **state)
{
    const struct {
        struct str text;
        bool reads;
    } cases[] = {
        {STR("{\"a\":[1,\"\\n\\u0001\xc3\xbc\"]}"), true},
        {STR("[\"\\u0000\"]"), false},
        {STR("[\"\\\\u0000\"]"), false}, /* the parser decides */
        {STR("[\"\xff\"]"), false},
        {STR("[\"\xed\xa0\x80\"]"), false},
    };

    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        struct json_doc *doc auto_json = NULL;
        int e = json_parse(cases[i].text, &doc, NULL);

        assert_int_equal(json_reads_back(cases[i].text), cases[i].reads);
        assert_true(!cases[i].reads || e == 0);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(accepts),
        cmocka_unit_test(refuses),
        cmocka_unit_test(depth),
        cmocka_unit_test(very_deep),
        cmocka_unit_test(accessors),
        cmocka_unit_test(members_in_document_order),
        cmocka_unit_test(dumps),
        cmocka_unit_test(writes),
        cmocka_unit_test(escapes_only_what_it_must),
        cmocka_unit_test(every_character_round_trips),
        cmocka_unit_test(written_texts_read_back),
    };

    return cmocka_run_group_tests_name("json", tests, NULL, NULL);
}
