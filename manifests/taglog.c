/* Operations of a tag log, as text and as values. Decoding checks what later code rests on: served
 * digests, valid tags, sizes that are not negative; whether an operation makes sense in a state is
 * not known here. */
#include "manifests/taglog.h"

#include <assert.h>

#include "base/omap.h"
#include "manifests/name.h"

#define OP_MAX (9u << 20) /* bytes of refs and annotations while their size is not known */

static const struct {
    enum taglog_kind kind;
    const char *name;
} kinds[] = {{TAGLOG_PUT, "put"},       {TAGLOG_TAGS, "tags"}, {TAGLOG_DELETE, "delete"},
             {TAGLOG_UNLINK, "unlink"}, {TAGLOG_DROP, "drop"}, {TAGLOG_SETTINGS, "settings"}};

/* ---- encoding */

static void write_digest(struct jw *w, const struct digest *d)
{
    char text[DIGEST_TEXT_MAX];

    jw_str(w, digest_text(d, text));
}

static void write_refs(struct jw *w, const struct taglog_op *op)
{
    jw_begin(w, '[');
    for (size_t i = 0; i < op->ref_count; i++) {
        char kind = (char)op->refs[i].kind;

        jw_begin(w, '[');
        write_digest(w, &op->refs[i].digest);
        jw_str(w, (struct str){&kind, 1});
        jw_int(w, op->refs[i].size);
        jw_end(w, ']');
    }
    jw_end(w, ']');
}

static void write_strings(struct jw *w, const char *key, const struct str *at, size_t count)
{
    jw_key(w, key);
    jw_begin(w, '[');
    for (size_t i = 0; i < count; i++)
        jw_str(w, at[i]);
    jw_end(w, ']');
}

static bool asks_nothing(const struct taglog_if *c)
{
    return !c || (!c->one_of && !c->present && !c->absent && c->other_count == 0);
}

static void write_if(struct jw *w, const struct taglog_if *c)
{
    if (asks_nothing(c))
        return;
    jw_key(w, "if");
    jw_begin(w, '{');
    if (c->one_of)
        write_strings(w, "match", c->match, c->match_count);
    if (c->present) {
        jw_key(w, "present");
        jw_bool(w, true);
    }
    if (c->other_count > 0)
        write_strings(w, "other", c->other, c->other_count);
    if (c->absent) {
        jw_key(w, "absent");
        jw_bool(w, true);
    }
    jw_end(w, '}');
}

/* refs and annotations, or ext and foreign (B15). */
static int write_content(struct jw *w, const struct taglog_op *op)
{
    struct buf refs auto_buf = BUF_INIT(OP_MAX);
    struct buf annotations auto_buf = BUF_INIT(OP_MAX);
    struct jw rw = JW_INIT(&refs);

    if (op->ref_count > 0)
        write_refs(&rw, op);
    if (json_len(op->annotations) > 0)
        json_dump(&annotations, op->annotations);
    if (buf_err(&refs) == -ERR_NOMEM || buf_err(&annotations) == -ERR_NOMEM)
        return -ERR_NOMEM;
    if (buf_err(&refs) < 0 || buf_err(&annotations) < 0 ||
        refs.len + annotations.len > TAGLOG_INLINE_MAX) {
        jw_key(w, "ext");
        jw_bool(w, true);
        if (op->foreign_count > 0)
            write_strings(w, "foreign", op->foreign, op->foreign_count);
        return 0;
    }
    if (annotations.len > 0) {
        jw_key(w, "annotations");
        jw_raw(w, buf_str(&annotations));
    }
    if (refs.len > 0) {
        jw_key(w, "refs");
        jw_raw(w, buf_str(&refs));
    }
    return 0;
}

static int write_put(struct jw *w, const struct taglog_op *op)
{
    int r;

    jw_kstr(w, "mediaType", op->media_type);
    jw_kint(w, "size", op->size);
    write_strings(w, "tags", op->tags, op->tag_count);
    if (op->artifact_type.len > 0)
        jw_kstr(w, "artifactType", op->artifact_type);
    if (op->subject.len > 0)
        jw_kstr(w, "subject", op->subject);
    r = write_content(w, op);
    write_if(w, op->condition);
    return r;
}

static void write_sets(struct jw *w, const struct taglog_op *op)
{
    jw_key(w, "set");
    jw_begin(w, '[');
    for (size_t i = 0; i < op->set_count; i++) {
        jw_begin(w, '{');
        jw_kstr(w, "tag", op->sets[i].tag);
        jw_key(w, "digest");
        if (op->sets[i].remove)
            jw_null(w);
        else
            write_digest(w, &op->sets[i].digest);
        write_if(w, op->sets[i].condition);
        jw_end(w, '}');
    }
    jw_end(w, ']');
}

int taglog_encode(const struct taglog_op *op, struct buf *out)
{
    struct jw w = JW_INIT(out);
    int r = 0;

    assert(op && out && (size_t)op->kind < ARRAY_LEN(kinds) && kinds[op->kind].kind == op->kind);
    jw_begin(&w, '{');
    jw_kstr(&w, "op", str_of(kinds[op->kind].name));
    if (op->kind == TAGLOG_PUT || op->kind == TAGLOG_DELETE || op->kind == TAGLOG_UNLINK) {
        jw_key(&w, "digest");
        write_digest(&w, &op->digest);
    }
    if (op->kind == TAGLOG_PUT)
        r = write_put(&w, op);
    else if (op->kind == TAGLOG_TAGS)
        write_sets(&w, op);
    else if (op->kind == TAGLOG_SETTINGS) {
        jw_key(&w, "settings");
        jw_raw(&w, settings_text(op->settings));
    }
    if (op->override) {
        jw_key(&w, "override");
        jw_bool(&w, true);
    }
    jw_kstr(&w, "by", op->by);
    jw_kstr(&w, "req", op->req);
    jw_end(&w, '}');
    return r < 0 ? r : buf_err(out);
}

/* ---- decoding */

static int malformed(struct err_detail *detail, const char *what)
{
    return err_set(detail, -ERR_CORRUPT, "operation of a tag log: %s", what);
}

static bool read_digest(const struct json *node, struct digest *ret)
{
    return json_type(node) == JSON_STRING_T && digest_parse(json_str(node), ret) == 0;
}

/* [[digest,kind,size],...]; absent is empty. */
static int read_refs(const struct json *node, struct taglog_op *op, struct err_detail *detail)
{
    size_t n = json_len(node);

    if (!node)
        return 0;
    if (json_type(node) != JSON_ARRAY_T)
        return malformed(detail, "refs is not an array");
    op->refs = calloc(n ? n : 1, sizeof(*op->refs));
    if (!op->refs)
        return -ERR_NOMEM;
    for (size_t i = 0; i < n; i++) {
        const struct json *row = json_at(node, i);
        struct taglog_ref *ref = &op->refs[i];
        struct str kind = json_str(json_at(row, 1));

        if (!read_digest(json_at(row, 0), &ref->digest) || kind.len != 1 ||
            !memchr("clmb", kind.at[0], 4) || !json_int(json_at(row, 2), &ref->size) ||
            ref->size < 0)
            return malformed(detail, "a ref is malformed");
        ref->kind = (enum ref_kind)kind.at[0];
    }
    op->ref_count = n;
    return 0;
}

static int read_strings(const struct json *node, struct str **ret, size_t *ret_count,
                        struct err_detail *detail)
{
    size_t n = json_len(node);

    if (!node)
        return 0;
    if (json_type(node) != JSON_ARRAY_T)
        return malformed(detail, "a list is not an array");
    *ret = calloc(n ? n : 1, sizeof(**ret));
    if (!*ret)
        return -ERR_NOMEM;
    for (size_t i = 0; i < n; i++) {
        (*ret)[i] = json_str(json_at(node, i));
        if (!(*ret)[i].at)
            return malformed(detail, "a list holds something else than strings");
    }
    *ret_count = n;
    return 0;
}

static bool optional_str(const struct json *node, struct str *ret)
{
    if (!node)
        return true;
    *ret = json_str(node);
    return json_type(node) == JSON_STRING_T;
}

static bool optional_bool(const struct json *node, bool *ret)
{
    return !node || json_bool(node, ret);
}

static bool are_digests(const struct str *at, size_t count)
{
    struct digest d;

    for (size_t i = 0; i < count; i++)
        if (digest_parse(at[i], &d) < 0)
            return false;
    return true;
}

/* of: how many conditions the operation may have; *ret stays as it is without one. */
static int read_if(const struct json *node, struct taglog_op *op, size_t of,
                   const struct taglog_if **ret, struct err_detail *detail)
{
    struct taglog_if *c;
    int r;

    if (!node)
        return 0;
    if (json_type(node) != JSON_OBJECT_T)
        return malformed(detail, "a condition is not an object");
    if (!op->conditions)
        op->conditions = calloc(of, sizeof(*op->conditions));
    if (!op->conditions)
        return -ERR_NOMEM;
    assert(op->condition_count < of);
    c = &op->conditions[op->condition_count++];
    c->one_of = json_get(node, "match") != NULL;
    r = read_strings(json_get(node, "match"), &c->match, &c->match_count, detail);
    if (r == 0)
        r = read_strings(json_get(node, "other"), &c->other, &c->other_count, detail);
    if (r == 0 &&
        (!optional_bool(json_get(node, "present"), &c->present) ||
         !optional_bool(json_get(node, "absent"), &c->absent) ||
         !are_digests(c->match, c->match_count) || !are_digests(c->other, c->other_count)))
        r = malformed(detail, "a condition is malformed");
    *ret = c;
    return r;
}

static int read_put(const struct json *node, struct taglog_op *op, struct err_detail *detail)
{
    const struct json *ext = json_get(node, "ext");
    int r;

    if (!json_get_str(node, "mediaType", &op->media_type) ||
        !json_get_int(node, "size", &op->size) || op->size < 0 ||
        !optional_str(json_get(node, "artifactType"), &op->artifact_type) ||
        !optional_str(json_get(node, "subject"), &op->subject) ||
        (ext && !json_bool(ext, &op->ext)))
        return malformed(detail, "a put lacks a key or has one of a wrong type");
    op->annotations = json_get(node, "annotations");
    if (op->annotations && json_type(op->annotations) != JSON_OBJECT_T)
        return malformed(detail, "annotations is not an object");
    r = read_strings(json_get(node, "tags"), &op->tags, &op->tag_count, detail);
    for (size_t i = 0; r == 0 && i < op->tag_count; i++)
        if (!tag_valid(op->tags[i]))
            r = malformed(detail, "a tag is malformed");
    if (r == 0)
        r = read_strings(json_get(node, "foreign"), &op->foreign, &op->foreign_count, detail);
    if (r == 0)
        r = read_if(json_get(node, "if"), op, 1, &op->condition, detail);
    return r < 0 ? r : read_refs(json_get(node, "refs"), op, detail);
}

static int read_sets(const struct json *node, struct taglog_op *op, struct err_detail *detail)
{
    const struct json *list = json_get(node, "set");
    size_t n = json_len(list);

    if (json_type(list) != JSON_ARRAY_T)
        return malformed(detail, "set is not an array");
    op->sets = calloc(n ? n : 1, sizeof(*op->sets));
    if (!op->sets)
        return -ERR_NOMEM;
    for (size_t i = 0; i < n; i++) {
        const struct json *row = json_at(list, i), *digest = json_get(row, "digest");
        struct taglog_set *set = &op->sets[i];
        int r;

        set->remove = json_type(digest) == JSON_NULL_T;
        if (!json_get_str(row, "tag", &set->tag) || !tag_valid(set->tag) ||
            (!set->remove && !read_digest(digest, &set->digest)))
            return malformed(detail, "a set is malformed");
        r = read_if(json_get(row, "if"), op, n, &set->condition, detail);
        if (r < 0)
            return r;
    }
    op->set_count = n;
    return 0;
}

/* A setting that this version does not know may forbid what it would do: it must not go on. */
static int read_settings(const struct json *node, struct taglog_op *op, struct err_detail *detail)
{
    int r = settings_read(json_get(node, "settings"), &op->own_settings, detail);

    op->settings = op->own_settings;
    if (r == -ERR_UNSUPPORTED)
        return err_set(detail, -ERR_VERSION,
                       "the log of this repository holds a setting of a newer version");
    return r == -ERR_INVAL ? malformed(detail, "settings are malformed") : r;
}

static int read_kind(const struct json *node, enum taglog_kind *ret, struct err_detail *detail)
{
    struct str name;

    if (!json_get_str(node, "op", &name))
        return malformed(detail, "it has no name");
    for (size_t i = 0; i < ARRAY_LEN(kinds); i++)
        if (str_eq(name, str_of(kinds[i].name))) {
            *ret = kinds[i].kind;
            return 0;
        }
    return err_set(detail, -ERR_VERSION,
                   "the log of this repository holds an operation of a newer version");
}

int taglog_decode(const struct json *node, struct taglog_op *ret, struct err_detail *detail)
{
    struct taglog_op op auto_taglog_op = {.kind = TAGLOG_PUT};
    int r;

    assert(ret);
    r = read_kind(node, &op.kind, detail);
    if (r < 0)
        return r;
    if ((op.kind == TAGLOG_PUT || op.kind == TAGLOG_DELETE || op.kind == TAGLOG_UNLINK) &&
        !read_digest(json_get(node, "digest"), &op.digest))
        return malformed(detail, "the digest is missing or malformed");
    if (op.kind == TAGLOG_PUT)
        r = read_put(node, &op, detail);
    else if (op.kind == TAGLOG_TAGS)
        r = read_sets(node, &op, detail);
    else if (op.kind == TAGLOG_SETTINGS)
        r = read_settings(node, &op, detail);
    if (r < 0)
        return r;
    if (!optional_bool(json_get(node, "override"), &op.override))
        return malformed(detail, "override is not a boolean");
    if (!optional_str(json_get(node, "by"), &op.by) ||
        !optional_str(json_get(node, "req"), &op.req))
        return malformed(detail, "by or req is not a string");
    *ret = op;
    op = (struct taglog_op){.kind = TAGLOG_PUT};
    return 0;
}

void taglog_if_done(struct taglog_if *c)
{
    free(c->match);
    free(c->other);
    *c = (struct taglog_if){.one_of = false};
}

void taglog_op_done(struct taglog_op *op)
{
    for (size_t i = 0; i < op->condition_count; i++)
        taglog_if_done(&op->conditions[i]);
    free(op->conditions);
    settings_free(op->own_settings);
    free(op->tags);
    free(op->refs);
    free(op->foreign);
    free(op->sets);
    *op = (struct taglog_op){.kind = TAGLOG_PUT};
}

int taglog_extend(struct taglog_op *op, const struct manifest *m)
{
    struct omap *foreign auto_omap = NULL;
    static char mark; /* values are never NULL and never read */
    int r = omap_new(NULL, &foreign);

    assert(op->kind == TAGLOG_PUT && op->ext && op->ref_count == 0);
    for (size_t i = 0; r == 0 && i < op->foreign_count; i++)
        r = omap_put(foreign, op->foreign[i], &mark);
    if (r < 0)
        return r;
    free(op->refs);
    op->refs = calloc(m->ref_count ? m->ref_count : 1, sizeof(*op->refs));
    if (!op->refs)
        return -ERR_NOMEM;
    for (size_t i = 0; i < m->ref_count; i++) {
        const struct descriptor *d = &m->refs[i];

        if (d->supported && !omap_get(foreign, d->digest_text))
            op->refs[op->ref_count++] = (struct taglog_ref){d->digest, d->kind, d->size};
    }
    op->annotations = m->annotations;
    return 0;
}

/* ---- conditions */

static bool holds_text(const struct str *at, size_t count, struct str text)
{
    for (size_t i = 0; i < count; i++)
        if (str_eq(at[i], text))
            return true;
    return false;
}

bool taglog_if_holds(const struct taglog_if *c, struct str current)
{
    if (!c)
        return true;
    if (current.len == 0)
        return !c->one_of && !c->present;
    return !c->absent && (!c->one_of || holds_text(c->match, c->match_count, current)) &&
           !holds_text(c->other, c->other_count, current);
}
