/* JSON: parsing through jansson (the only user of it) and our own writer for canonical output.
 *
 * Parsed documents are trees of borrowed nodes owned by one struct json_doc; nodes live as long as
 * it does. A document belongs to one thread at a time. Input is bounded by bytes and by depth
 * before parsing. */
#ifndef STOWAGE_BASE_JSON_H
#define STOWAGE_BASE_JSON_H

#include "base/buf.h"

#define JSON_DEPTH_MAX 64

struct json_doc;
struct json; /* a node, borrowed */

/* Parses exactly one value (nothing but white space after it): valid UTF-8, depth <=
 * JSON_DEPTH_MAX, no duplicate keys in any object, no NUL in strings. -ERR_INVAL with a detail that
 * says what is wrong and at which byte. */
int json_parse(struct str text, struct json_doc **ret, struct err_detail *detail) must_check;
/* Of a text that struct jw wrote from keys that differ: would json_parse take it, too? False: ask
 * that. Far cheaper than parsing. */
bool json_reads_back(struct str written);
void json_doc_free(struct json_doc *doc);
void json_doc_freep(struct json_doc **doc);
#define auto_json auto_of(json_doc_freep)
const struct json *json_root(const struct json_doc *doc);

enum json_type {
    JSON_NONE,
    JSON_OBJECT_T,
    JSON_ARRAY_T,
    JSON_STRING_T,
    JSON_INTEGER_T,
    JSON_REAL_T,
    JSON_BOOL_T,
    JSON_NULL_T
};
enum json_type json_type(const struct json *node); /* JSON_NONE for NULL */

/* All accessors take NULL or a node of another type and then answer the "absent" value. */
const struct json *json_get(const struct json *object, const char *key);
struct str json_str(const struct json *node);         /* STR_NONE (at NULL) when not a string */
bool json_int(const struct json *node, int64_t *ret); /* false when not an integer */
bool json_bool(const struct json *node, bool *ret);
size_t json_len(const struct json *node); /* array or object size */
const struct json *json_at(const struct json *array, size_t i);
/* Visits members of an object in document order; stops at and returns the first non-zero. */
int json_each(const struct json *object,
              int (*fn)(struct str key, const struct json *value, void *arg), void *arg);

/* Short forms for formats of ours: missing or wrong type = false. */
bool json_get_str(const struct json *object, const char *key, struct str *ret);
bool json_get_int(const struct json *object, const char *key, int64_t *ret);

/* Appends the value re-encoded compactly (used for annotations in answers; never for stored bytes).
 */
void json_dump(struct buf *out, const struct json *node);

/* Writer: appends to a buf (errors stick there), places commas, no blanks, keys in the order of the
 * calls. */
struct jw {
    struct buf *out;
    bool need_comma;
};
#define JW_INIT(buffer) ((struct jw){(buffer), false})
void jw_begin(struct jw *w, char open); /* '{' or '[' */
void jw_end(struct jw *w, char close);
void jw_key(struct jw *w, const char *key);
void jw_str(struct jw *w,
            struct str s); /* escapes only what JSON requires; bytes must be valid UTF-8 */
void jw_int(struct jw *w, int64_t v);
void jw_bool(struct jw *w, bool v);
void jw_null(struct jw *w);
void jw_raw(struct jw *w, struct str json); /* an already encoded value */
/* key + value in one */
void jw_kstr(struct jw *w, const char *key, struct str s);
void jw_kint(struct jw *w, const char *key, int64_t v);

const char *json_library(void); /* version of the library */

#endif
