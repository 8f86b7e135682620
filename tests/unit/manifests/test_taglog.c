/* Operations of a tag log as text: docs/bucket-format.md section 6. */
#include "fixture.h"

#include "manifests/taglog.h"

#define HEX "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa"
#define A   "sha256:" HEX

static int decode(const char *text, struct taglog_op *ret, struct json_doc **doc)
{
    assert_int_equal(json_parse(str_of(text), doc, NULL), 0);
    return taglog_decode(json_root(*doc), ret, NULL);
}

/* Canonical texts: what is decoded and encoded again gives the same bytes. */
static void test_round_trip(void **state)
{
    static const char *const cases[] = {
        "{\"op\":\"put\",\"digest\":\"" A "\",\"mediaType\":\"a/b\",\"size\":5,\"tags\":[],"
        "\"by\":\"\",\"req\":\"\"}",
        "{\"op\":\"put\",\"digest\":\"" A "\",\"mediaType\":\"a/b\",\"size\":0,\"tags\":[\"x\","
        "\"y\"],\"artifactType\":\"c/d\",\"subject\":\"md5:0\",\"annotations\":{\"b\":\"\\\"\","
        "\"a\":\"\xc3\xa4\"},\"refs\":[[\"" A "\",\"c\",1],[\"" A "\",\"l\",2],[\"" A
        "\",\"m\",3],[\"" A "\",\"b\",4]],\"by\":\"me\",\"req\":\"1\"}",
        "{\"op\":\"tags\",\"set\":[{\"tag\":\"x\",\"digest\":null},{\"tag\":\"y\",\"digest\":"
        "\"" A "\"}],\"by\":\"me\",\"req\":\"1\"}",
        "{\"op\":\"put\",\"digest\":\"" A "\",\"mediaType\":\"a/b\",\"size\":0,\"tags\":[\"x\"],"
        "\"refs\":[[\"" A "\",\"c\",1]],\"if\":{\"match\":[\"" A "\",\"sha512:" HEX HEX
        "\"]},\"by\":\"\",\"req\":\"\"}",
        "{\"op\":\"tags\",\"set\":[{\"tag\":\"x\",\"digest\":null,\"if\":{\"present\":true,"
        "\"other\":[\"" A "\"]}},{\"tag\":\"y\",\"digest\":null},{\"tag\":\"z\",\"digest\":\"" A
        "\",\"if\":{\"absent\":true}}],\"by\":\"me\",\"req\":\"1\"}",
        "{\"op\":\"delete\",\"digest\":\"" A "\",\"by\":\"\",\"req\":\"\"}",
        "{\"op\":\"unlink\",\"digest\":\"sha512:" HEX HEX "\",\"by\":\"\",\"req\":\"\"}",
        "{\"op\":\"drop\",\"by\":\"\",\"req\":\"\"}",
        "{\"op\":\"drop\",\"override\":true,\"by\":\"\",\"req\":\"\"}",
        "{\"op\":\"delete\",\"digest\":\"" A "\",\"override\":true,\"by\":\"\",\"req\":\"\"}",
        "{\"op\":\"settings\",\"settings\":{},\"by\":\"\",\"req\":\"\"}",
        ("{\"op\":\"settings\",\"settings\":{\"immutable\":[\"v*\",\"!v?\"]},"
         "\"by\":\"me\",\"req\":\"1\"}"),
    };

    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        struct buf out auto_buf = BUF_INIT(1 << 20);
        struct json_doc *doc auto_json = NULL;
        struct taglog_op op auto_taglog_op = {.kind = TAGLOG_PUT};

        check(decode(cases[i], &op, &doc) == 0, "case %zu", i);
        assert_int_equal(taglog_encode(&op, &out), 0);
        check(str_eq(buf_str(&out), str_of(cases[i])), "case %zu: %s", i, buf_c(&out));
    }
}

/* Unknown keys are ignored (B2), also the condition that history keeps. */
static void test_unknown_keys(void **state)
{
    struct json_doc *doc auto_json = NULL;
    struct taglog_op op auto_taglog_op = {.kind = TAGLOG_PUT};

    (void)state;
    assert_int_equal(decode("{\"op\":\"put\",\"digest\":\"" A "\",\"mediaType\":\"a/b\",\"size\":5,"
                            "\"tags\":[],\"if\":{\"x\":1},\"new\":[],\"by\":\"\",\"req\":\"\"}",
                            &op, &doc),
                     0);
    assert_int_equal(op.size, 5);
}

static void test_refused(void **state)
{
    static const struct {
        const char *text;
        int err;
    } cases[] = {
        {"{\"op\":\"rename\"}", -ERR_VERSION},
        {"{\"op\":\"settings\",\"settings\":{\"quota\":1}}", -ERR_VERSION},
        {"{\"op\":\"settings\"}", -ERR_CORRUPT},
        {"{\"op\":\"settings\",\"settings\":{\"immutable\":[\"/\"]}}", -ERR_CORRUPT},
        {"{}", -ERR_CORRUPT},
        {"5", -ERR_CORRUPT},
        {"{\"op\":\"delete\"}", -ERR_CORRUPT},
        {"{\"op\":\"delete\",\"digest\":\"x\"}", -ERR_CORRUPT},
        {"{\"op\":\"unlink\",\"digest\":5}", -ERR_CORRUPT},
        {"{\"op\":\"put\",\"digest\":\"" A "\",\"mediaType\":\"a/b\"}", -ERR_CORRUPT},
        {"{\"op\":\"put\",\"digest\":\"" A "\",\"mediaType\":\"a/b\",\"size\":-1}", -ERR_CORRUPT},
        {"{\"op\":\"put\",\"digest\":\"" A "\",\"mediaType\":\"a/b\",\"size\":1,\"tags\":[\"/\"]}",
         -ERR_CORRUPT},
        {"{\"op\":\"put\",\"digest\":\"" A
         "\",\"mediaType\":\"a/b\",\"size\":1,\"refs\":[[\"x\",\"l\",1]]}",
         -ERR_CORRUPT},
        {"{\"op\":\"put\",\"digest\":\"" A "\",\"mediaType\":\"a/b\",\"size\":1,\"refs\":[[\"" A
         "\",\"x\",1]]}",
         -ERR_CORRUPT},
        {"{\"op\":\"put\",\"digest\":\"" A "\",\"mediaType\":\"a/b\",\"size\":1,\"refs\":[[\"" A
         "\",\"l\"]]}",
         -ERR_CORRUPT},
        {"{\"op\":\"put\",\"digest\":\"" A
         "\",\"mediaType\":\"a/b\",\"size\":1,\"annotations\":[]}",
         -ERR_CORRUPT},
        {"{\"op\":\"tags\"}", -ERR_CORRUPT},
        {"{\"op\":\"tags\",\"set\":[{\"tag\":\"x\"}]}", -ERR_CORRUPT},
        {"{\"op\":\"tags\",\"set\":[{\"tag\":\"/\",\"digest\":null}]}", -ERR_CORRUPT},
        {"{\"op\":\"tags\",\"set\":[{\"tag\":\"x\",\"digest\":null,\"if\":5}]}", -ERR_CORRUPT},
        {"{\"op\":\"tags\",\"set\":[{\"tag\":\"x\",\"digest\":null,\"if\":{\"match\":[\"x\"]}}]}",
         -ERR_CORRUPT},
        {"{\"op\":\"tags\",\"set\":[{\"tag\":\"x\",\"digest\":null,\"if\":{\"absent\":1}}]}",
         -ERR_CORRUPT},
        {"{\"op\":\"drop\",\"by\":5}", -ERR_CORRUPT},
        {"{\"op\":\"drop\",\"override\":1}", -ERR_CORRUPT},
    };

    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        struct json_doc *doc auto_json = NULL;
        struct taglog_op op auto_taglog_op = {.kind = TAGLOG_PUT};

        check(decode(cases[i].text, &op, &doc) == cases[i].err, "case %zu", i);
    }
}

/* Conditions on what is there. */
static void test_conditions(void **state)
{
    struct str both[] = {STR("a"), STR("b")};
    struct taglog_if none = {.one_of = false}, absent = {.absent = true},
                     present = {.present = true}, other = {.other = both, .other_count = 2},
                     match = {.one_of = true, .match = both, .match_count = 2},
                     nothing = {.one_of = true},
                     but = {.one_of = true,
                            .match = both,
                            .match_count = 2,
                            .other = both + 1,
                            .other_count = 1};
    const struct {
        const struct taglog_if *c;
        const char *current;
        bool holds;
    } cases[] = {
        {NULL, "", true},       {NULL, "a", true},     {&none, "", true},     {&none, "a", true},
        {&absent, "", true},    {&absent, "a", false}, {&present, "", false}, {&present, "a", true},
        {&match, "", false},    {&match, "b", true},   {&match, "c", false},  {&nothing, "", false},
        {&nothing, "a", false}, {&other, "", true},    {&other, "a", false},  {&other, "c", true},
        {&but, "a", true},      {&but, "b", false},    {&but, "", false},
    };

    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(cases); i++)
        check(taglog_if_holds(cases[i].c, str_of(cases[i].current)) == cases[i].holds, "case %zu",
              i);
}

#define MANY 2000

static void many_layers(struct buf *body, unsigned count)
{
    buf_addf(body, "{\"schemaVersion\":2,\"config\":{\"mediaType\":\"a/b\",\"digest\":\"" A
                   "\",\"size\":2},\"annotations\":{\"k\":\"v\"},\"layers\":[");
    for (unsigned i = 0; i < count; i++)
        buf_addf(body, "%s{\"mediaType\":\"a/b\",\"digest\":\"sha256:%064x\",\"size\":%u}",
                 i ? "," : "", i, i);
    buf_add(body, STR("]}"));
}

static void fill(struct taglog_op *op, const struct manifest *m)
{
    op->refs = calloc(m->ref_count, sizeof(*op->refs));
    op->foreign = calloc(1, sizeof(*op->foreign));
    assert_true(op->refs && op->foreign);
    op->digest = digest_named("m");
    op->media_type = m->media_type;
    op->annotations = m->annotations;
    for (size_t i = 0; i < m->ref_count; i++)
        if (i == 7)
            op->foreign[op->foreign_count++] = m->refs[i].digest_text;
        else
            op->refs[op->ref_count++] =
                (struct taglog_ref){m->refs[i].digest, m->refs[i].kind, m->refs[i].size};
}

/* B15: past 64 KiB refs and annotations come from the manifest, less those named foreign. */
static void test_ext(void **state)
{
    struct buf body auto_buf = BUF_INIT(MANIFEST_BYTES_MAX);
    struct buf out auto_buf = BUF_INIT(1 << 20);
    struct manifest m auto_manifest = {.doc = NULL};
    struct taglog_op op auto_taglog_op = {.kind = TAGLOG_PUT};
    struct taglog_op back auto_taglog_op = {.kind = TAGLOG_PUT};
    struct json_doc *doc auto_json = NULL;

    (void)state;
    many_layers(&body, MANY);
    assert_int_equal(manifest_parse(buf_str(&body), STR_NONE, &m, NULL), 0);
    fill(&op, &m);
    assert_int_equal(taglog_encode(&op, &out), 0);
    assert_true(out.len < 1000);
    assert_non_null(strstr(buf_c(&out), "\"ext\":true,\"foreign\":[\"sha256:"));
    assert_null(strstr(buf_c(&out), "refs"));
    assert_null(strstr(buf_c(&out), "annotations"));

    assert_int_equal(decode(buf_c(&out), &back, &doc), 0);
    assert_true(back.ext);
    assert_int_equal(back.ref_count, 0);
    assert_int_equal(taglog_extend(&back, &m), 0);
    assert_int_equal(back.ref_count, op.ref_count);
    for (size_t i = 0; i < op.ref_count; i++)
        assert_true(digest_eq(&back.refs[i].digest, &op.refs[i].digest) &&
                    back.refs[i].kind == op.refs[i].kind && back.refs[i].size == op.refs[i].size);
    assert_int_equal(json_len(back.annotations), 1);
}

/* Up to the limit everything stays in the entry, and foreign digests are not named. */
static void test_no_ext(void **state)
{
    struct buf body auto_buf = BUF_INIT(MANIFEST_BYTES_MAX);
    struct buf out auto_buf = BUF_INIT(1 << 20);
    struct manifest m auto_manifest = {.doc = NULL};
    struct taglog_op op auto_taglog_op = {.kind = TAGLOG_PUT};

    (void)state;
    many_layers(&body, 700);
    assert_int_equal(manifest_parse(buf_str(&body), STR_NONE, &m, NULL), 0);
    fill(&op, &m);
    assert_int_equal(taglog_encode(&op, &out), 0);
    assert_null(strstr(buf_c(&out), "\"ext\""));
    assert_null(strstr(buf_c(&out), "\"foreign\""));
    assert_true(out.len > 50000);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_round_trip), cmocka_unit_test(test_unknown_keys),
        cmocka_unit_test(test_refused),    cmocka_unit_test(test_conditions),
        cmocka_unit_test(test_ext),        cmocka_unit_test(test_no_ext),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
