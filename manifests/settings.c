/* Settings of a repository, from and to JSON. */
#include "manifests/settings.h"

#include <assert.h>
#include <stdlib.h>

struct settings {
    struct buf text;       /* canonical */
    struct json_doc *doc;  /* of that text; owns what the patterns point to */
    struct str *immutable; /* in their order */
    size_t immutable_count;
};

/* ---- patterns */

static bool tag_character(char c)
{
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '_' ||
           c == '.' || c == '-';
}

static bool excludes(struct str pattern)
{
    return pattern.len > 0 && pattern.at[0] == '!';
}

bool pattern_valid(struct str pattern)
{
    if (pattern.len > SETTINGS_PATTERN_MAX_LEN)
        return false;
    if (excludes(pattern))
        pattern = str_skip(pattern, 1);
    for (size_t i = 0; i < pattern.len; i++)
        if (!tag_character(pattern.at[i]) && pattern.at[i] != '*' && pattern.at[i] != '?')
            return false;
    return pattern.len > 0;
}

/* Of all stars only the last one passed can still grow: so pattern times tag steps at most. */
bool pattern_fits(struct str pattern, struct str tag)
{
    size_t p = 0, t = 0, star = pattern.len, from = 0;

    while (t < tag.len) {
        if (p < pattern.len && pattern.at[p] == '*') {
            star = p++;
            from = t;
        } else if (p < pattern.len && (pattern.at[p] == '?' || pattern.at[p] == tag.at[t])) {
            p++;
            t++;
        } else if (star < pattern.len) {
            p = star + 1;
            t = ++from;
        } else {
            return false;
        }
    }
    while (p < pattern.len && pattern.at[p] == '*')
        p++;
    return p == pattern.len;
}

/* ---- reading */

void settings_free(struct settings *s)
{
    if (!s)
        return;
    free(s->immutable);
    json_doc_free(s->doc);
    buf_done(&s->text);
    free(s);
}

void settings_freep(struct settings **s)
{
    settings_free(*s);
    *s = NULL;
}

static int check_patterns(const struct json *list, struct err_detail *detail)
{
    if (json_type(list) != JSON_ARRAY_T || json_len(list) > SETTINGS_PATTERNS_MAX)
        return err_set(detail, -ERR_INVAL, "immutable must be a list of at most %d patterns",
                       SETTINGS_PATTERNS_MAX);
    for (size_t i = 0; i < json_len(list); i++) {
        struct str one = json_str(json_at(list, i));

        if (!one.at || !pattern_valid(one))
            return err_set(detail, -ERR_INVAL,
                           "immutable holds something that is no pattern: characters of tags, * "
                           "and ?, with ! in front or not");
    }
    return 0;
}

static int check_key(struct str key, const struct json *value, void *arg)
{
    if (str_eq(key, STR("immutable")))
        return check_patterns(value, arg);
    return err_set(arg, -ERR_UNSUPPORTED, "there is no setting \"" STR_FMT "\"",
                   STR_ARG(str_head(key, 100)));
}

static void write_patterns(struct jw *w, const struct json *list)
{
    jw_key(w, "immutable");
    jw_begin(w, '[');
    for (size_t i = 0; i < json_len(list); i++)
        jw_str(w, json_str(json_at(list, i)));
    jw_end(w, ']');
}

static int write_text(struct settings *s, const struct json *object)
{
    struct jw w = JW_INIT(&s->text);

    jw_begin(&w, '{');
    if (json_len(json_get(object, "immutable")) > 0)
        write_patterns(&w, json_get(object, "immutable"));
    jw_end(&w, '}');
    return buf_err(&s->text);
}

/* From its text, which is canonical and was checked. */
static int fill(struct settings *s, struct err_detail *detail)
{
    const struct json *list;
    int e = json_parse(buf_str(&s->text), &s->doc, detail);

    if (e < 0)
        return e;
    list = json_get(json_root(s->doc), "immutable");
    s->immutable = calloc(json_len(list) + 1, sizeof(*s->immutable));
    if (!s->immutable)
        return -ERR_NOMEM;
    for (; s->immutable_count < json_len(list); s->immutable_count++)
        s->immutable[s->immutable_count] = json_str(json_at(list, s->immutable_count));
    return 0;
}

int settings_read(const struct json *object, struct settings **ret, struct err_detail *detail)
{
    struct settings *s auto_settings = NULL;
    struct err_detail why = {""};
    int e;

    assert(ret);
    if (json_type(object) != JSON_OBJECT_T)
        return err_set(detail, -ERR_INVAL, "settings are an object");
    e = json_each(object, check_key, &why);
    if (e < 0)
        return err_set(detail, e, "%s", why.text);
    s = calloc(1, sizeof(*s));
    if (!s)
        return -ERR_NOMEM;
    s->text = BUF_INIT(SETTINGS_BYTES_MAX);
    e = write_text(s, object);
    if (e == 0)
        e = fill(s, detail);
    if (e < 0)
        return e;
    *ret = STEAL(s);
    return 0;
}

int settings_parse(struct str text, struct settings **ret, struct err_detail *detail)
{
    struct json_doc *doc auto_json = NULL;
    int e = json_parse(text, &doc, detail);

    return e < 0 ? e : settings_read(json_root(doc), ret, detail);
}

/* ---- what they say */

struct str settings_text(const struct settings *s)
{
    return s ? buf_str(&s->text) : STR("{}");
}

void settings_write(struct jw *w, const struct settings *s)
{
    jw_begin(w, '{');
    write_patterns(w, s ? json_get(json_root(s->doc), "immutable") : NULL);
    jw_end(w, '}');
}

bool settings_immutable(const struct settings *s, struct str tag)
{
    for (size_t i = s ? s->immutable_count : 0; i-- > 0;) {
        struct str pattern = s->immutable[i];
        bool out = excludes(pattern);

        if (pattern_fits(out ? str_skip(pattern, 1) : pattern, tag))
            return !out;
    }
    return false;
}

bool settings_any_immutable(const struct settings *s)
{
    return s && s->immutable_count > 0;
}
