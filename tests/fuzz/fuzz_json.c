/* Input: JSON text. */
#include "base/json.h"
#include "fuzz.h"

struct walk {
    unsigned depth;
    size_t members;
};

static void check_node(const struct json *node, unsigned depth);

static int check_member(struct str key, const struct json *value, void *arg)
{
    struct walk *w = arg;

    assert(utf8_valid(key) && !fuzz_has_nul(key));
    w->members++;
    check_node(value, w->depth);
    return 0;
}

static void check_node(const struct json *node, unsigned depth)
{
    struct walk w = {depth + 1, 0};
    enum json_type type = json_type(node);
    struct str s = json_str(node);
    int64_t n;
    bool b;

    assert(type != JSON_NONE);
    assert(depth <= JSON_DEPTH_MAX);
    assert((type == JSON_STRING_T) == (s.at != NULL));
    assert((type == JSON_INTEGER_T) == json_int(node, &n));
    assert((type == JSON_BOOL_T) == json_bool(node, &b));
    assert(utf8_valid(s) && !fuzz_has_nul(s));
    for (size_t i = 0; type == JSON_ARRAY_T && i < json_len(node); i++)
        check_node(json_at(node, i), depth + 1);
    assert(json_each(node, check_member, &w) == 0);
    assert(type != JSON_OBJECT_T || w.members == json_len(node));
    assert(type == JSON_OBJECT_T || w.members == 0);
}

/* Written and read again it is the same, and from then on the same bytes. */
static void check_dump(const struct json_doc *doc)
{
    struct buf one auto_buf = BUF_INIT(16 * FUZZ_INPUT_MAX);
    struct buf two auto_buf = BUF_INIT(16 * FUZZ_INPUT_MAX);
    struct json_doc *again auto_json = NULL;

    json_dump(&one, json_root(doc));
    assert(buf_err(&one) == 0);
    assert(json_parse(buf_str(&one), &again, NULL) == 0);
    json_dump(&two, json_root(again));
    assert(str_eq(buf_str(&one), buf_str(&two)));
}

/* Our own writer: any text comes back. */
static void check_writer(struct str text)
{
    struct buf out auto_buf = BUF_INIT(8 * FUZZ_INPUT_MAX);
    struct json_doc *doc auto_json = NULL;
    struct jw w = JW_INIT(&out);

    if (!utf8_valid(text) || fuzz_has_nul(text))
        return;
    jw_begin(&w, '[');
    jw_str(&w, text);
    jw_int(&w, INT64_MIN);
    jw_end(&w, ']');
    assert(json_parse(buf_str(&out), &doc, NULL) == 0);
    assert(str_eq(json_str(json_at(json_root(doc), 0)), text));
}

void fuzz_one(struct str input)
{
    struct json_doc *doc auto_json = NULL;
    struct err_detail detail = {{0}};
    int r = json_parse(input, &doc, &detail);

    check_writer(input);
    assert(r == 0 || (r == -ERR_INVAL && detail.text[0]));
    if (r < 0)
        return;
    assert(utf8_valid(input));
    check_node(json_root(doc), 0);
    check_dump(doc);
}
