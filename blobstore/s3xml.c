/* S3's XML (s3xml.h). Every answer has one shape: a root, leaves below it, and groups of leaves
 * (Contents, Upload). One expat run turns it into calls leaf(group, name, text) and end(group);
 * what a document means is a table of such calls. Namespaces are not looked at: servers differ. */
#include "blobstore/s3xml.h"

#include <expat.h>

#include "base/enc.h"

#define NAME_MAX_LEN 64

struct walk;
typedef int (*leaf_fn)(struct walk *w, struct str group, struct str name, struct str text);

struct walk {
    XML_Parser parser;
    leaf_fn leaf; /* name empty: the group has ended */
    void *arg;
    const char *root; /* wanted; NULL = any */
    char names[4][NAME_MAX_LEN];
    unsigned depth;
    bool mixed; /* the innermost element holds elements */
    struct buf text;
    int result;
};

static void stop(struct walk *w, int result)
{
    if (w->result != 0)
        return;
    w->result = result;
    XML_StopParser(w->parser, XML_FALSE);
}

static void on_start(void *arg, const XML_Char *name, const XML_Char **attributes)
{
    struct walk *w = arg;

    (void)attributes;
    if (w->depth >= S3XML_DEPTH_MAX || strlen(name) >= NAME_MAX_LEN) {
        stop(w, -ERR_CORRUPT);
        return;
    }
    if (w->depth == 0 && w->root != NULL && strcmp(name, w->root) != 0) {
        stop(w, -ERR_CORRUPT);
        return;
    }
    if (w->depth < ARRAY_LEN(w->names))
        memcpy(w->names[w->depth], name, strlen(name) + 1);
    w->depth++;
    w->mixed = false;
    buf_clear(&w->text);
}

static void on_text(void *arg, const XML_Char *text, int len)
{
    struct walk *w = arg;

    buf_add(&w->text, str_make(text, (size_t)len));
    if (buf_err(&w->text) < 0)
        stop(w, buf_err(&w->text) == -ERR_NOMEM ? -ERR_NOMEM : -ERR_CORRUPT);
}

static void on_end(void *arg, const XML_Char *name)
{
    struct walk *w = arg;
    unsigned depth = w->depth--;
    int r = 0;

    (void)name;
    if (w->result != 0)
        return;
    if (depth == 2 && !w->mixed)
        r = w->leaf(w, STR_NONE, str_of(w->names[1]), buf_str(&w->text));
    else if (depth == 2)
        r = w->leaf(w, str_of(w->names[1]), STR_NONE, STR_NONE);
    else if (depth == 3 && !w->mixed)
        r = w->leaf(w, str_of(w->names[1]), str_of(w->names[2]), buf_str(&w->text));
    w->mixed = true;
    if (r != 0)
        stop(w, r);
}

/* A DTD could define entities that grow without end; no server sends one. */
static void on_doctype(void *arg, const XML_Char *name, const XML_Char *system,
                       const XML_Char *public, int subset)
{
    (void)name;
    (void)system;
    (void)public;
    (void)subset;
    stop(arg, -ERR_CORRUPT);
}

static int walk(struct str text, const char *root, leaf_fn leaf, void *arg)
{
    struct walk w = {.leaf = leaf, .arg = arg, .root = root, .text = BUF_INIT(S3XML_TEXT_MAX)};
    enum XML_Status status;

    if (text.len == 0 || text.len > S3XML_BYTES_MAX)
        return -ERR_CORRUPT;
    w.parser = XML_ParserCreate(NULL);
    if (w.parser == NULL)
        return -ERR_NOMEM;
    XML_SetUserData(w.parser, &w);
    XML_SetElementHandler(w.parser, on_start, on_end);
    XML_SetCharacterDataHandler(w.parser, on_text);
    XML_SetStartDoctypeDeclHandler(w.parser, on_doctype);
    status = XML_Parse(w.parser, text.at, (int)text.len, XML_TRUE);
    if (status != XML_STATUS_OK && w.result == 0)
        w.result = XML_GetErrorCode(w.parser) == XML_ERROR_NO_MEMORY ? -ERR_NOMEM : -ERR_CORRUPT;
    XML_ParserFree(w.parser);
    buf_done(&w.text);
    return w.result;
}

/* ---- errors */

static void copy_plain(char *out, size_t max, struct str text)
{
    size_t n = 0;

    for (; n < text.len && n < max - 1; n++)
        out[n] = (char)(text.at[n] >= ' ' && text.at[n] <= '~' ? text.at[n] : ' ');
    out[n] = '\0';
}

static int error_leaf(struct walk *w, struct str group, struct str name, struct str text)
{
    struct s3_error *e = w->arg;

    if (group.len == 0 && str_eq(name, STR("Code")))
        copy_plain(e->code, sizeof(e->code), text);
    else if (group.len == 0 && str_eq(name, STR("Message")))
        copy_plain(e->message, sizeof(e->message), text);
    return 0;
}

int s3xml_error(struct str text, struct s3_error *ret)
{
    struct s3_error e = {"", ""};
    int r = walk(text, "Error", error_leaf, &e);

    if (r < 0)
        return r;
    *ret = e;
    return e.code[0] != '\0' ? 0 : -ERR_CORRUPT;
}

/* ---- listings */

struct listing {
    const char *group; /* Contents or Upload */
    s3_item_fn fn;
    void *arg;
    struct s3_page *page;
    struct buf key, upload, decoded;
    uint64_t size;
    int64_t date_ms;
    bool encoded, has_key, broken;
};

static int keep(struct buf *out, struct str text)
{
    buf_clear(out);
    buf_add(out, text);
    return buf_err(out);
}

static int item_end(struct listing *l)
{
    struct s3_item item = {buf_str(&l->key), buf_str(&l->upload), l->size, l->date_ms};
    int r;

    if (!l->has_key || l->broken)
        return -ERR_CORRUPT;
    if (l->encoded) {
        buf_clear(&l->decoded);
        if (url_decode(&l->decoded, item.key, true) < 0)
            return -ERR_CORRUPT;
        item.key = buf_str(&l->decoded);
    }
    r = l->fn(&item, l->arg);
    l->has_key = false;
    l->size = 0;
    l->date_ms = 0;
    buf_clear(&l->upload);
    return r;
}

static int item_leaf(struct listing *l, struct str name, struct str text)
{
    if (str_eq(name, STR("Key"))) {
        l->has_key = true;
        return keep(&l->key, text);
    }
    if (str_eq(name, STR("UploadId")))
        return keep(&l->upload, text);
    if (str_eq(name, STR("Size")))
        l->broken = l->broken || !str_u64(text, &l->size);
    else if (str_eq(name, STR("LastModified")) || str_eq(name, STR("Initiated")))
        l->broken = l->broken || !s3_time_iso(text, &l->date_ms);
    return 0;
}

static int listing_leaf(struct walk *w, struct str group, struct str name, struct str text)
{
    struct listing *l = w->arg;

    if (group.len > 0)
        return !str_eq(group, str_of(l->group)) ? 0
               : name.len == 0                  ? item_end(l)
                                                : item_leaf(l, name, text);
    if (str_eq(name, STR("EncodingType")))
        l->encoded = str_eq_nocase(text, STR("url"));
    else if (str_eq(name, STR("IsTruncated")))
        l->page->truncated = str_eq(text, STR("true"));
    else if (str_eq(name, STR("NextKeyMarker")))
        return keep(&l->page->key_marker, text);
    else if (str_eq(name, STR("NextUploadIdMarker")))
        return keep(&l->page->upload_marker, text);
    return 0;
}

/* Where the encoding is told behind the keys it applies to: looked for beforehand. */
static int encoding_leaf(struct walk *w, struct str group, struct str name, struct str text)
{
    bool *encoded = w->arg;

    if (group.len == 0 && str_eq(name, STR("EncodingType")))
        *encoded = str_eq_nocase(text, STR("url"));
    return 0;
}

static int listing(struct str text, const char *root, const char *group, s3_item_fn fn, void *arg,
                   struct s3_page *ret)
{
    struct listing l = {.group = group,
                        .fn = fn,
                        .arg = arg,
                        .page = ret,
                        .key = BUF_INIT(S3XML_TEXT_MAX),
                        .upload = BUF_INIT(S3XML_TEXT_MAX),
                        .decoded = BUF_INIT(S3XML_TEXT_MAX)};
    int r = walk(text, root, encoding_leaf, &l.encoded);

    ret->truncated = false;
    if (r == 0)
        r = walk(text, root, listing_leaf, &l);
    if (r == 0 && l.encoded && ret->key_marker.len > 0) {
        buf_clear(&l.decoded);
        r = url_decode(&l.decoded, buf_str(&ret->key_marker), true);
        if (r == 0)
            r = keep(&ret->key_marker, buf_str(&l.decoded));
        r = r == -ERR_NOMEM ? r : r < 0 ? -ERR_CORRUPT : 0;
    }
    buf_done(&l.key);
    buf_done(&l.upload);
    buf_done(&l.decoded);
    return r;
}

void s3_page_done(struct s3_page *p)
{
    buf_done(&p->key_marker);
    buf_done(&p->upload_marker);
}

int s3xml_objects(struct str text, s3_item_fn fn, void *arg, struct s3_page *ret)
{
    return listing(text, "ListBucketResult", "Contents", fn, arg, ret);
}

int s3xml_uploads(struct str text, s3_item_fn fn, void *arg, struct s3_page *ret)
{
    return listing(text, "ListMultipartUploadsResult", "Upload", fn, arg, ret);
}

/* ---- uploads */

static int initiated_leaf(struct walk *w, struct str group, struct str name, struct str text)
{
    if (group.len == 0 && str_eq(name, STR("UploadId")))
        return keep(w->arg, text);
    return 0;
}

int s3xml_initiated(struct str text, struct buf *ret_id, bool *ret_dense)
{
    int r = walk(text, "InitiateMultipartUploadResult", initiated_leaf, ret_id);

    *ret_dense = r == -ERR_CORRUPT;
    if (*ret_dense)
        r = walk(text, "InitiateMultipartUpload", initiated_leaf, ret_id);
    return r < 0 ? r : ret_id->len > 0 ? 0 : -ERR_CORRUPT;
}

static int nothing_leaf(struct walk *w, struct str group, struct str name, struct str text)
{
    (void)w;
    (void)group;
    (void)name;
    (void)text;
    return 0;
}

int s3xml_completed(struct str text, struct s3_error *ret)
{
    int r = s3xml_error(text, ret);

    if (r == 0)
        return -ERR_IO;
    return r == -ERR_NOMEM ? r : walk(text, "CompleteMultipartUploadResult", nothing_leaf, NULL);
}

/* ---- dates */

static bool number(struct str text, size_t at, size_t len, int64_t min, int64_t max, int64_t *ret)
{
    uint64_t value;

    if (at + len > text.len || !str_u64(str_make(text.at + at, len), &value) ||
        value > (uint64_t)max || (int64_t)value < min)
        return false;
    *ret = (int64_t)value;
    return true;
}

static int64_t days_of(int64_t year, int64_t month, int64_t day)
{
    int64_t y = month <= 2 ? year - 1 : year, m = month <= 2 ? month + 9 : month - 3;

    return y * 365 + y / 4 - y / 100 + y / 400 + (m * 153 + 2) / 5 + day - 1 - 719468;
}

/* "HH:MM:SS" at a place. */
static bool clock_of(struct str text, size_t at, int64_t *ret_s)
{
    int64_t h, m, s;

    if (at + 8 > text.len || text.at[at + 2] != ':' || text.at[at + 5] != ':' ||
        !number(text, at, 2, 0, 23, &h) || !number(text, at + 3, 2, 0, 59, &m) ||
        !number(text, at + 6, 2, 0, 60, &s))
        return false;
    *ret_s = h * 3600 + m * 60 + s;
    return true;
}

bool s3_time_iso(struct str text, int64_t *ret_ms)
{
    int64_t year, month, day, seconds, ms = 0, unit = 100;
    size_t at = 19;

    if (text.len < 20 || text.at[4] != '-' || text.at[7] != '-' || text.at[10] != 'T' ||
        !number(text, 0, 4, 1970, 9999, &year) || !number(text, 5, 2, 1, 12, &month) ||
        !number(text, 8, 2, 1, 31, &day) || !clock_of(text, 11, &seconds))
        return false;
    if (text.at[at] == '.')
        for (at++; at < text.len && text.at[at] >= '0' && text.at[at] <= '9'; at++, unit /= 10)
            ms += (text.at[at] - '0') * unit;
    if (at + 1 != text.len || text.at[at] != 'Z')
        return false;
    *ret_ms = (days_of(year, month, day) * 86400 + seconds) * 1000 + ms;
    return true;
}

bool s3_time_http(struct str text, int64_t *ret_ms)
{
    static const char months[] = "JanFebMarAprMayJunJulAugSepOctNovDec";
    int64_t year, day, seconds;

    if (text.len != 29 || !str_ends(text, STR(" GMT")) || !number(text, 5, 2, 1, 31, &day) ||
        !number(text, 12, 4, 1970, 9999, &year) || !clock_of(text, 17, &seconds))
        return false;
    for (int64_t month = 1; month <= 12; month++)
        if (memcmp(text.at + 8, months + 3 * (month - 1), 3) == 0) {
            *ret_ms = (days_of(year, month, day) * 86400 + seconds) * 1000;
            return true;
        }
    return false;
}
