/* JSON over jansson. A struct json is a json_t seen from outside; this file is the only one that
 * knows.
 *
 * Input is checked for UTF-8 and depth by a scan of ours before jansson sees it, as jansson
 * recurses for each level; jansson refuses the rest (duplicate keys, NUL, lone surrogates, integers
 * past 64 bits). */
#include <assert.h>
#include <pthread.h>
#include <stdlib.h>

#define json_type jansson_type /* the library's typedef bears the name of a function of ours */
#include <jansson.h>
#undef json_type

#include "base/json.h"

struct json_doc {
    json_t *root;
};

/* Set when the library ran out of memory in this thread. It reports some of those failures as
 * syntax errors, and others not at all: when its token buffer cannot grow, a byte of a string is
 * lost. */
static _Thread_local bool out_of_memory;

static void *lib_malloc(size_t n)
{
    void *p = malloc(n);

    if (!p)
        out_of_memory = true;
    return p;
}

static pthread_once_t setup_once = PTHREAD_ONCE_INIT;

static void setup(void)
{
    json_set_alloc_funcs(lib_malloc, free);
}

static const json_t *lib(const struct json *node)
{
    return (const json_t *)(const void *)node;
}

static const struct json *ours(const json_t *node)
{
    return (const struct json *)(const void *)node;
}

/* The library asks for a mutable node where it only reads. */
static json_t *lib_mutable(const struct json *node)
{
    union {
        const struct json *in;
        json_t *out;
    } u = {.in = node};

    return u.out;
}

/* Finds the byte where the text breaks a limit before it is parsed. */
static int scan(struct str text, struct err_detail *detail)
{
    bool in_string = false, escaped = false;
    int depth = 0;
    size_t step;

    for (size_t i = 0; i < text.len; i += step) {
        char c = text.at[i];

        step = (unsigned char)c < 0x80 ? 1 : utf8_step(str_skip(text, i));
        if (step == 0)
            return err_set(detail, -ERR_INVAL, "the JSON is not valid UTF-8 at byte %zu", i);
        if (in_string) {
            if (escaped)
                escaped = false;
            else if (c == '\\')
                escaped = true;
            else if (c == '"')
                in_string = false;
        } else if (c == '"') {
            in_string = true;
        } else if (c == '{' || c == '[') {
            if (++depth > JSON_DEPTH_MAX)
                return err_set(detail, -ERR_INVAL,
                               "the JSON is nested deeper than %d levels at byte %zu",
                               JSON_DEPTH_MAX, i);
        } else if (c == '}' || c == ']') {
            depth--;
        }
    }
    return 0;
}

/* Never the library's own text: it quotes the input, which may hold secrets. */
static const char *reason(const json_error_t *e)
{
    switch (json_error_code(e)) {
    case json_error_premature_end_of_input:
        return "ends too early";
    case json_error_end_of_input_expected:
        return "goes on after its value";
    case json_error_duplicate_key:
        return "repeats a key of an object";
    case json_error_numeric_overflow:
        return "has a number out of range";
    case json_error_null_byte_in_key:
    case json_error_null_character:
        return "has a NUL character in a string";
    case json_error_invalid_utf8:
        return "has an escape that is no character";
    default:
        return "has a syntax error";
    }
}

int json_parse(struct str text, struct json_doc **ret, struct err_detail *detail)
{
    struct json_doc *doc;
    json_error_t e = {0};
    int r;

    assert(ret);
    r = scan(text, detail);
    if (r < 0)
        return r;
    (void)pthread_once(&setup_once, setup);
    doc = malloc(sizeof(*doc));
    if (!doc)
        return -ERR_NOMEM;
    out_of_memory = false;
    doc->root =
        json_loadb(text.len ? text.at : "", text.len, JSON_REJECT_DUPLICATES | JSON_DECODE_ANY, &e);
    if (out_of_memory || !doc->root) {
        json_doc_free(doc);
        if (out_of_memory)
            return -ERR_NOMEM;
        return err_set(detail, -ERR_INVAL, "the JSON %s near byte %d", reason(&e), e.position);
    }
    *ret = doc;
    return 0;
}

bool json_reads_back(struct str written)
{
    static const char nul[] = "\\u0000"; /* or its letters behind a backslash */

    return scan(written, NULL) == 0 && !memmem(written.at, written.len, nul, sizeof(nul) - 1);
}

void json_doc_free(struct json_doc *doc)
{
    if (!doc)
        return;
    json_decref(doc->root);
    free(doc);
}

void json_doc_freep(struct json_doc **doc)
{
    json_doc_free(*doc);
    *doc = NULL;
}

const struct json *json_root(const struct json_doc *doc)
{
    return doc ? ours(doc->root) : NULL;
}

enum json_type json_type(const struct json *node)
{
    if (!node)
        return JSON_NONE;
    switch (json_typeof(lib(node))) {
    case JSON_OBJECT:
        return JSON_OBJECT_T;
    case JSON_ARRAY:
        return JSON_ARRAY_T;
    case JSON_STRING:
        return JSON_STRING_T;
    case JSON_INTEGER:
        return JSON_INTEGER_T;
    case JSON_REAL:
        return JSON_REAL_T;
    case JSON_TRUE:
    case JSON_FALSE:
        return JSON_BOOL_T;
    case JSON_NULL:
        return JSON_NULL_T;
    }
    return JSON_NONE;
}

const struct json *json_get(const struct json *object, const char *key)
{
    return json_type(object) == JSON_OBJECT_T ? ours(json_object_get(lib(object), key)) : NULL;
}

struct str json_str(const struct json *node)
{
    if (json_type(node) != JSON_STRING_T)
        return STR_NONE;
    return str_make(json_string_value(lib(node)), json_string_length(lib(node)));
}

bool json_int(const struct json *node, int64_t *ret)
{
    if (json_type(node) != JSON_INTEGER_T)
        return false;
    *ret = json_integer_value(lib(node));
    return true;
}

bool json_bool(const struct json *node, bool *ret)
{
    if (json_type(node) != JSON_BOOL_T)
        return false;
    *ret = json_is_true(lib(node));
    return true;
}

size_t json_len(const struct json *node)
{
    switch (json_type(node)) {
    case JSON_ARRAY_T:
        return json_array_size(lib(node));
    case JSON_OBJECT_T:
        return json_object_size(lib(node));
    default:
        return 0;
    }
}

const struct json *json_at(const struct json *array, size_t i)
{
    return json_type(array) == JSON_ARRAY_T ? ours(json_array_get(lib(array), i)) : NULL;
}

int json_each(const struct json *object,
              int (*fn)(struct str key, const struct json *value, void *arg), void *arg)
{
    json_t *o = lib_mutable(object);

    if (json_type(object) != JSON_OBJECT_T)
        return 0;
    for (void *it = json_object_iter(o); it; it = json_object_iter_next(o, it)) {
        int r = fn(str_of(json_object_iter_key(it)), ours(json_object_iter_value(it)), arg);

        if (r)
            return r;
    }
    return 0;
}

bool json_get_str(const struct json *object, const char *key, struct str *ret)
{
    struct str s = json_str(json_get(object, key));

    if (s.at)
        *ret = s;
    return s.at != NULL;
}

bool json_get_int(const struct json *object, const char *key, int64_t *ret)
{
    return json_int(json_get(object, key), ret);
}

static int dump_some(const char *at, size_t len, void *arg)
{
    struct buf *out = arg;

    buf_add(out, str_make(at, len));
    return buf_err(out) ? -1 : 0;
}

void json_dump(struct buf *out, const struct json *node)
{
    int r = json_dump_callback(lib(node), dump_some, out, JSON_COMPACT | JSON_ENCODE_ANY);

    if (r != 0 && !buf_err(out))
        out->err = -ERR_NOMEM;
}

static void before_value(struct jw *w)
{
    if (w->need_comma)
        buf_addc(w->out, ',');
    w->need_comma = true;
}

void jw_begin(struct jw *w, char open)
{
    assert(open == '{' || open == '[');
    before_value(w);
    buf_addc(w->out, open);
    w->need_comma = false;
}

void jw_end(struct jw *w, char close)
{
    assert(close == '}' || close == ']');
    buf_addc(w->out, close);
    w->need_comma = true;
}

void jw_key(struct jw *w, const char *key)
{
    jw_str(w, str_of(key));
    buf_addc(w->out, ':');
    w->need_comma = false;
}

/* The letter of a short escape, 0 when the byte has none. */
static char short_escape(unsigned char c)
{
    switch (c) {
    case '"':
    case '\\':
        return (char)c;
    case '\b':
        return 'b';
    case '\f':
        return 'f';
    case '\n':
        return 'n';
    case '\r':
        return 'r';
    case '\t':
        return 't';
    default:
        return 0;
    }
}

void jw_str(struct jw *w, struct str s)
{
    size_t plain = 0; /* start of the bytes not yet written */

    before_value(w);
    buf_addc(w->out, '"');
    for (size_t i = 0; i < s.len; i++) {
        unsigned char c = (unsigned char)s.at[i];
        char letter = short_escape(c);

        if (!letter && c >= 0x20)
            continue;
        buf_add(w->out, str_make(s.at + plain, i - plain));
        plain = i + 1;
        if (letter)
            buf_addf(w->out, "\\%c", letter);
        else
            buf_addf(w->out, "\\u%04x", c);
    }
    buf_add(w->out, str_skip(s, plain));
    buf_addc(w->out, '"');
}

void jw_int(struct jw *w, int64_t v)
{
    before_value(w);
    buf_addf(w->out, "%lld", (long long)v);
}

void jw_bool(struct jw *w, bool v)
{
    jw_raw(w, v ? STR("true") : STR("false"));
}

void jw_null(struct jw *w)
{
    jw_raw(w, STR("null"));
}

void jw_raw(struct jw *w, struct str json)
{
    before_value(w);
    buf_add(w->out, json);
}

void jw_kstr(struct jw *w, const char *key, struct str s)
{
    jw_key(w, key);
    jw_str(w, s);
}

void jw_kint(struct jw *w, const char *key, int64_t v)
{
    jw_key(w, key);
    jw_int(w, v);
}

const char *json_library(void)
{
    return jansson_version_str();
}
