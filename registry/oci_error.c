/* The table of codes. A 5xx carries UNKNOWN: clients retry on it, and never on UNSUPPORTED or
 * DENIED (R103). */
#include "registry/oci_error.h"

#include "base/json.h"

struct code {
    const char *code;
    unsigned status;
};

/* Not found and malformed mean different things on each resource. */
static struct code not_found(enum resource resource)
{
    switch (resource) {
    case RESOURCE_MANIFEST:
    case RESOURCE_TAG_HISTORY:
        return (struct code){"MANIFEST_UNKNOWN", 404};
    case RESOURCE_BLOB:
        return (struct code){"BLOB_UNKNOWN", 404};
    case RESOURCE_UPLOAD:
    case RESOURCE_UPLOADS:
        return (struct code){"BLOB_UPLOAD_UNKNOWN", 404};
    default:
        return (struct code){"NAME_UNKNOWN", 404};
    }
}

static struct code invalid(enum resource resource)
{
    switch (resource) {
    case RESOURCE_MANIFEST:
    case RESOURCE_RELEASE:
        return (struct code){"MANIFEST_INVALID", 400};
    case RESOURCE_BLOB:
    case RESOURCE_REFERRERS:
        return (struct code){"DIGEST_INVALID", 400};
    case RESOURCE_UPLOAD:
    case RESOURCE_UPLOADS:
        return (struct code){"BLOB_UPLOAD_INVALID", 400};
    case RESOURCE_TAGS:
    case RESOURCE_CATALOG:
    case RESOURCE_SETTINGS:
    case RESOURCE_EVENTS:
    case RESOURCE_TAG_HISTORY:
    case RESOURCE_LOG:
    case RESOURCE_DIFF:
    case RESOURCE_REVERT:
    case RESOURCE_REVERT_UNDER:
        return (struct code){"UNSUPPORTED", 400};
    default:
        return (struct code){"NAME_INVALID", 400};
    }
}

static struct code code_of(int err, enum resource resource)
{
    int e = err < 0 ? -err : err;
    unsigned status = (unsigned)err_status(err);

    switch (e) {
    case ERR_NOTFOUND:
        return not_found(resource);
    case ERR_NOREPO:
        return (struct code){"NAME_UNKNOWN", 404};
    case ERR_INVAL:
        return invalid(resource);
    case ERR_DIGEST:
        return (struct code){"DIGEST_INVALID", 400};
    case ERR_SIZE:
        return (struct code){"SIZE_INVALID", 400};
    case ERR_TOOBIG:
        return (struct code){"SIZE_INVALID", 413};
    case ERR_RANGE:
        return (struct code){"BLOB_UPLOAD_INVALID", 416};
    case ERR_CONDITION:
        return (struct code){"DENIED", 412};
    case ERR_DENIED:
        return (struct code){"DENIED", 403};
    case ERR_UNAUTHORIZED:
        return (struct code){"UNAUTHORIZED", 401};
    case ERR_THROTTLED:
        return (struct code){"TOOMANYREQUESTS", 429};
    case ERR_UNSUPPORTED:
        return (struct code){"UNSUPPORTED", 405};
    case ERR_LIMIT:
        return (struct code){"MANIFEST_INVALID", 414};
    case ERR_TIME:
        return (struct code){"UNSUPPORTED", 400};
    case ERR_MISSING_REF:
        return (struct code){"MANIFEST_BLOB_UNKNOWN", 400};
    default:
        return (struct code){"UNKNOWN", status >= 400 ? status : 500};
    }
}

static void add_error(struct jw *w, const char *code, struct str message, struct str digest)
{
    jw_begin(w, '{');
    jw_kstr(w, "code", str_of(code));
    jw_kstr(w, "message", message);
    if (digest.len) {
        jw_key(w, "detail");
        jw_begin(w, '{');
        jw_kstr(w, "digest", digest);
        jw_end(w, '}');
    }
    jw_end(w, '}');
}

static void open_errors(struct jw *w)
{
    jw_begin(w, '{');
    jw_key(w, "errors");
    jw_begin(w, '[');
}

/* Of a commit that failed clients are told which of the two it is: whether to look before they send
 * it again. */
static void add_message(int err, struct str message, struct buf *out)
{
    struct str kind = str_of(err_text(err));
    int e = err < 0 ? -err : err;

    if ((e == ERR_NOTCOMMITTED || e == ERR_UNKNOWN) && !str_starts(message, kind)) {
        buf_add(out, kind);
        buf_add(out, STR(": "));
    }
    buf_add(out, message);
}

unsigned oci_error_body(int err, enum resource resource, const char *message, struct buf *out)
{
    struct code c = code_of(err, resource);
    struct str text = str_of(message && message[0] ? message : err_text(err));
    struct buf whole auto_buf = BUF_INIT(OCI_ERROR_BODY_MAX);
    struct jw w = JW_INIT(out);

    add_message(err, utf8_valid(text) ? text : str_of(err_text(err)), &whole);
    open_errors(&w);
    add_error(&w, c.code, buf_err(&whole) < 0 ? STR_NONE : buf_str(&whole), STR_NONE);
    jw_end(&w, ']');
    jw_end(&w, '}');
    return c.status;
}

void oci_error_missing(struct str digests, struct buf *out)
{
    struct jw w = JW_INIT(out);

    open_errors(&w);
    while (digests.len) {
        ptrdiff_t end = str_find(digests, '\n');
        struct str one = end < 0 ? digests : str_head(digests, (size_t)end);

        add_error(&w, "MANIFEST_BLOB_UNKNOWN",
                  STR("content that the manifest refers to is not in this repository"), one);
        digests = end < 0 ? STR_NONE : str_skip(digests, (size_t)end + 1);
    }
    jw_end(&w, ']');
    jw_end(&w, '}');
}

static void add_or_null(struct jw *w, const char *key, struct str s)
{
    jw_key(w, key);
    if (s.len)
        jw_str(w, s);
    else
        jw_null(w);
}

unsigned oci_error_refused(int err, const char *message, const struct oci_refusal *refusal,
                           struct buf *out)
{
    struct code c = code_of(err, RESOURCE_MANIFEST);
    struct jw w = JW_INIT(out);

    open_errors(&w);
    jw_begin(&w, '{');
    jw_kstr(&w, "code", str_of(c.code));
    jw_kstr(&w, "message", str_of(message && message[0] ? message : err_text(err)));
    jw_key(&w, "detail");
    jw_begin(&w, '{');
    add_or_null(&w, "tag", refusal->tag);
    add_or_null(&w, "digest", refusal->digest);
    jw_end(&w, '}');
    jw_end(&w, '}');
    jw_end(&w, ']');
    jw_end(&w, '}');
    return c.status;
}
