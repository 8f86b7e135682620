/* Parsing and validation of manifests (R84-R93). Everything a struct manifest points to lies in its
 * document or is static. A pure function of body and content type: the store is not asked here.
 *
 * Absent and null are the same for every optional member: clients written in Go send null for empty
 * lists. */
#include "manifests/manifest.h"

#include <assert.h>

#define DIGEST_TEXT_LEN_MAX 255        /* also of algorithms that are not served */
#define TYPE_LEN_MAX        1024       /* media and artifact types */
#define REFS_MAX            (1u << 17) /* more do not fit into MANIFEST_BYTES_MAX */
#define NO_INDEX            SIZE_MAX
#define SHOWN_MAX           120 /* bytes of a client's text in a message */

/* Where in the document a descriptor stands, for messages. */
struct place {
    const char *member;
    size_t index; /* NO_INDEX: the member itself */
};

static bool given(const struct json *node)
{
    enum json_type t = json_type(node);

    return t != JSON_NONE && t != JSON_NULL_T;
}

/* Absent, null, or of that type. */
static bool is_or_absent(const struct json *node, enum json_type type)
{
    return !given(node) || json_type(node) == type;
}

/* A client's text for a message: cut, and only when it is plain. */
static struct str shown(struct str s)
{
    s = str_head(s, SHOWN_MAX);
    for (size_t i = 0; i < s.len; i++)
        if (s.at[i] < ' ' || s.at[i] > '~')
            return STR("(not printable)");
    return s;
}

static int refuse(struct err_detail *detail, struct place at, const char *what)
{
    if (at.index == NO_INDEX)
        return err_set(detail, -ERR_INVAL, "%s: %s", at.member, what);
    return err_set(detail, -ERR_INVAL, "%s[%zu]: %s", at.member, at.index, what);
}

static int each_annotation(struct str key, const struct json *value, void *arg)
{
    (void)key;
    (void)arg;
    return json_type(value) == JSON_STRING_T ? 0 : -ERR_INVAL;
}

static bool annotations_valid(const struct json *node)
{
    if (!given(node))
        return true;
    return json_type(node) == JSON_OBJECT_T && json_each(node, each_annotation, NULL) == 0;
}

/* Strings only; *ret_http: one of them can be fetched (R89). */
static bool urls_valid(const struct json *urls, bool *ret_http)
{
    *ret_http = false;
    if (!given(urls))
        return true;
    if (json_type(urls) != JSON_ARRAY_T)
        return false;
    for (size_t i = 0; i < json_len(urls); i++) {
        const struct json *url = json_at(urls, i);
        struct str s = json_str(url);

        if (json_type(url) != JSON_STRING_T)
            return false;
        if ((str_starts(s, STR("http://")) && s.len > 7) ||
            (str_starts(s, STR("https://")) && s.len > 8))
            *ret_http = true;
    }
    return true;
}

static int parse_digest(const struct json *node, struct place at, struct descriptor *d,
                        struct err_detail *detail)
{
    const struct json *digest = json_get(node, "digest");
    int r;

    if (json_type(digest) != JSON_STRING_T)
        return refuse(detail, at, "digest is missing or not a string");
    d->digest_text = json_str(digest);
    if (d->digest_text.len > DIGEST_TEXT_LEN_MAX)
        return refuse(detail, at, "digest is too long");
    r = digest_parse(d->digest_text, &d->digest);
    if (r == -ERR_UNSUPPORTED)
        return 0; /* well-formed; it can be no member */
    if (r < 0)
        return refuse(detail, at, "digest is malformed");
    d->supported = true;
    return 0;
}

static int parse_types(const struct json *node, struct place at, struct descriptor *d,
                       struct err_detail *detail)
{
    const struct json *media = json_get(node, "mediaType");
    const struct json *artifact = json_get(node, "artifactType");

    if (json_type(media) != JSON_STRING_T)
        return refuse(detail, at, "mediaType is missing or not a string");
    if (!is_or_absent(artifact, JSON_STRING_T))
        return refuse(detail, at, "artifactType is not a string");
    d->media_type = json_str(media);
    if (given(artifact))
        d->artifact_type = json_str(artifact);
    if (d->media_type.len > TYPE_LEN_MAX || d->artifact_type.len > TYPE_LEN_MAX)
        return refuse(detail, at, "media type is too long");
    return 0;
}

static int parse_descriptor(const struct json *node, struct place at, enum ref_kind kind,
                            struct descriptor *ret, struct err_detail *detail)
{
    struct descriptor d = {.kind = kind};
    bool http;
    int r;

    if (json_type(node) != JSON_OBJECT_T)
        return refuse(detail, at, "not an object");
    r = parse_digest(node, at, &d, detail);
    if (r < 0)
        return r;
    r = parse_types(node, at, &d, detail);
    if (r < 0)
        return r;
    /* A real number is no size, whatever its value. */
    if (!json_int(json_get(node, "size"), &d.size) || d.size < 0)
        return refuse(detail, at, "size is missing or not an integer of at least 0");
    if (!urls_valid(json_get(node, "urls"), &http))
        return refuse(detail, at, "urls is not an array of strings");
    if (!annotations_valid(json_get(node, "annotations")))
        return refuse(detail, at, "annotations is not an object of strings");
    if (!is_or_absent(json_get(node, "data"), JSON_STRING_T))
        return refuse(detail, at, "data is not a string");
    if (!is_or_absent(json_get(node, "platform"), JSON_OBJECT_T))
        return refuse(detail, at, "platform is not an object");
    d.optional = http || media_foreign(d.media_type);
    *ret = d;
    return 0;
}

/* A type of the four as a static string, so that nothing points into a request's header. */
static struct str static_type(struct str type)
{
    static const char *const types[] = {MEDIA_OCI_MANIFEST, MEDIA_OCI_INDEX, MEDIA_DOCKER_MANIFEST,
                                        MEDIA_DOCKER_LIST};

    for (size_t i = 0; i < ARRAY_LEN(types); i++)
        if (str_eq(type, str_of(types[i])))
            return str_of(types[i]);
    return STR_NONE;
}

/* R84, R85: header, body's mediaType, or the shape, in this order. */
static int find_type(struct manifest *m, const struct json *root, struct str header,
                     struct err_detail *detail)
{
    const struct json *node = json_get(root, "mediaType");
    struct str body = json_str(node), type = header;

    if (!is_or_absent(node, JSON_STRING_T))
        return err_set(detail, -ERR_INVAL, "mediaType is not a string");
    if (media_generic(header)) {
        type = body;
        if (type.len == 0 && given(json_get(root, "manifests")))
            type = STR(MEDIA_OCI_INDEX);
        else if (type.len == 0 &&
                 (given(json_get(root, "config")) || given(json_get(root, "layers"))))
            type = STR(MEDIA_OCI_MANIFEST);
    } else if (body.len > 0 && !str_eq(header, body)) {
        return err_set(detail, -ERR_INVAL,
                       "Content-Type " STR_FMT " differs from mediaType " STR_FMT,
                       STR_ARG(shown(header)), STR_ARG(shown(body)));
    }
    if (type.len == 0)
        return err_set(detail, -ERR_INVAL, "neither Content-Type nor mediaType says what this is");
    m->kind = media_kind(type);
    m->media_type = static_type(type);
    if (m->kind == MEDIA_OTHER)
        return err_set(detail, -ERR_INVAL,
                       "media type " STR_FMT " is not an accepted manifest type",
                       STR_ARG(shown(type)));
    return 0;
}

static enum ref_kind kind_of_entry(const struct json *node)
{
    /* R90: an entry that is no manifest is looked up among blobs. */
    return media_kind(json_str(json_get(node, "mediaType"))) == MEDIA_OTHER ? REF_BLOB
                                                                            : REF_MANIFEST;
}

static int parse_list(struct manifest *m, const struct json *list, const char *member,
                      struct err_detail *detail)
{
    int r;

    for (size_t i = 0; i < json_len(list); i++) {
        const struct json *node = json_at(list, i);
        enum ref_kind kind = m->kind == MEDIA_INDEX ? kind_of_entry(node) : REF_LAYER;

        r = parse_descriptor(node, (struct place){member, i}, kind, &m->refs[m->ref_count], detail);
        if (r < 0)
            return r;
        m->ref_count++;
    }
    return 0;
}

static int parse_refs(struct manifest *m, const struct json *root, struct err_detail *detail)
{
    bool image = m->kind == MEDIA_IMAGE;
    const char *member = image ? "layers" : "manifests";
    const struct json *list = json_get(root, member);
    const struct json *config = json_get(root, "config");
    size_t n;
    int r;

    /* Type confusion (R86). */
    if (image && given(json_get(root, "manifests")))
        return err_set(detail, -ERR_INVAL, "an image manifest must not hold manifests");
    if (!image && (given(config) || given(json_get(root, "layers"))))
        return err_set(detail, -ERR_INVAL, "an index must not hold config or layers");
    if (!is_or_absent(list, JSON_ARRAY_T))
        return err_set(detail, -ERR_INVAL, "%s is not an array", member);
    if (!image && json_type(list) == JSON_NONE)
        return err_set(detail, -ERR_INVAL, "an index must hold manifests");
    if (image && !given(config))
        return err_set(detail, -ERR_INVAL, "an image manifest must hold a config");
    n = (image ? 1 : 0) + (given(list) ? json_len(list) : 0);
    if (n > REFS_MAX)
        return err_set(detail, -ERR_INVAL, "%s holds more than %u descriptors", member, REFS_MAX);
    m->refs = calloc(n ? n : 1, sizeof(*m->refs));
    if (!m->refs)
        return -ERR_NOMEM;
    if (image) {
        r = parse_descriptor(config, (struct place){"config", NO_INDEX}, REF_CONFIG, &m->refs[0],
                             detail);
        if (r < 0)
            return r;
        m->ref_count = 1;
    }
    return given(list) ? parse_list(m, list, member, detail) : 0;
}

static int parse_rest(struct manifest *m, const struct json *root, struct err_detail *detail)
{
    const struct json *artifact = json_get(root, "artifactType");
    const struct json *annotations = json_get(root, "annotations");
    const struct json *subject = json_get(root, "subject");

    if (!is_or_absent(artifact, JSON_STRING_T))
        return err_set(detail, -ERR_INVAL, "artifactType is not a string");
    if (!annotations_valid(annotations))
        return err_set(detail, -ERR_INVAL, "annotations is not an object of strings");
    if (given(artifact))
        m->artifact_type = json_str(artifact);
    if (m->artifact_type.len > TYPE_LEN_MAX)
        return err_set(detail, -ERR_INVAL, "artifactType is too long");
    if (m->artifact_type.len == 0 && m->kind == MEDIA_IMAGE)
        m->artifact_type = m->refs[0].media_type; /* R133 */
    if (given(annotations))
        m->annotations = annotations;
    if (!given(subject))
        return 0;
    m->has_subject = true;
    return parse_descriptor(subject, (struct place){"subject", NO_INDEX}, REF_MANIFEST, &m->subject,
                            detail);
}

int manifest_parse(struct str body, struct str content_type, struct manifest *ret,
                   struct err_detail *detail)
{
    struct manifest m auto_manifest = {.doc = NULL};
    const struct json *root;
    int64_t version;
    int r;

    assert(ret);
    if (body.len > MANIFEST_BYTES_MAX)
        return err_set(detail, -ERR_TOOBIG, "a manifest holds at most %u bytes",
                       MANIFEST_BYTES_MAX);
    r = json_parse(body, &m.doc, detail);
    if (r < 0)
        return r;
    root = json_root(m.doc);
    if (json_type(root) != JSON_OBJECT_T)
        return err_set(detail, -ERR_INVAL, "a manifest must be a JSON object");
    if (!json_get_int(root, "schemaVersion", &version) || version != 2)
        return err_set(detail, -ERR_INVAL, "schemaVersion must be 2");
    r = find_type(&m, root, media_strip(content_type), detail);
    if (r < 0)
        return r;
    r = parse_refs(&m, root, detail);
    if (r < 0)
        return r;
    r = parse_rest(&m, root, detail);
    if (r < 0)
        return r;
    *ret = m;
    m = (struct manifest){.doc = NULL};
    return 0;
}

void manifest_done(struct manifest *m)
{
    free(m->refs);
    json_doc_free(m->doc);
    *m = (struct manifest){.doc = NULL};
}
