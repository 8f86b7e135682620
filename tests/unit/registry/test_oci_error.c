/* The table of error codes (R100-R104). */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

#include <cmocka.h>

#include "base/json.h"
#include "manifests/repo.h"
#include "registry/oci_error.h"

#define RESOURCES_END (RESOURCE_METRICS + 1)

static const struct {
    int err;
    enum resource resource;
    unsigned status;
    const char *code;
} rows[] = {
    {-ERR_NOTFOUND, RESOURCE_MANIFEST, 404, "MANIFEST_UNKNOWN"},
    {-ERR_NOTFOUND, RESOURCE_BLOB, 404, "BLOB_UNKNOWN"},
    {-ERR_NOTFOUND, RESOURCE_UPLOAD, 404, "BLOB_UPLOAD_UNKNOWN"},
    {-ERR_NOTFOUND, RESOURCE_TAGS, 404, "NAME_UNKNOWN"},
    {-ERR_NOTFOUND, RESOURCE_NONE, 404, "NAME_UNKNOWN"},
    {-ERR_NOREPO, RESOURCE_MANIFEST, 404, "NAME_UNKNOWN"},
    {-ERR_NOREPO, RESOURCE_BLOB, 404, "NAME_UNKNOWN"},
    {-ERR_INVAL, RESOURCE_MANIFEST, 400, "MANIFEST_INVALID"},
    {-ERR_INVAL, RESOURCE_BLOB, 400, "DIGEST_INVALID"},
    {-ERR_INVAL, RESOURCE_REFERRERS, 400, "DIGEST_INVALID"},
    {-ERR_INVAL, RESOURCE_UPLOADS, 400, "BLOB_UPLOAD_INVALID"},
    {-ERR_INVAL, RESOURCE_UPLOAD, 400, "BLOB_UPLOAD_INVALID"},
    {-ERR_INVAL, RESOURCE_TAGS, 400, "UNSUPPORTED"}, /* a bad n (R101) */
    {-ERR_INVAL, RESOURCE_CATALOG, 400, "UNSUPPORTED"},
    {-ERR_INVAL, RESOURCE_NONE, 400, "NAME_INVALID"},
    {-ERR_DIGEST, RESOURCE_UPLOAD, 400, "DIGEST_INVALID"},
    {-ERR_SIZE, RESOURCE_UPLOAD, 400, "SIZE_INVALID"},
    {-ERR_TOOBIG, RESOURCE_MANIFEST, 413, "SIZE_INVALID"},
    {-ERR_RANGE, RESOURCE_UPLOAD, 416, "BLOB_UPLOAD_INVALID"},
    {-ERR_CONDITION, RESOURCE_MANIFEST, 412, "DENIED"},
    {-ERR_DENIED, RESOURCE_MANIFEST, 403, "DENIED"},
    {-ERR_UNAUTHORIZED, RESOURCE_MANIFEST, 401, "UNAUTHORIZED"},
    {-ERR_THROTTLED, RESOURCE_PING, 429, "TOOMANYREQUESTS"},
    {-ERR_UNSUPPORTED, RESOURCE_BLOB, 405, "UNSUPPORTED"},
    {-ERR_LIMIT, RESOURCE_MANIFEST, 414, "MANIFEST_INVALID"},
    {-ERR_MISSING_REF, RESOURCE_MANIFEST, 400, "MANIFEST_BLOB_UNKNOWN"},
    {-ERR_NOSPACE, RESOURCE_UPLOAD, 507, "UNKNOWN"},
    {-ERR_UNAVAIL, RESOURCE_MANIFEST, 503, "UNKNOWN"},
    {-ERR_UNKNOWN, RESOURCE_MANIFEST, 503, "UNKNOWN"},
    {-ERR_BUSY, RESOURCE_MANIFEST, 503, "UNKNOWN"},
    {-ERR_CORRUPT, RESOURCE_BLOB, 500, "UNKNOWN"},
    {-ERR_IO, RESOURCE_BLOB, 500, "UNKNOWN"},
    {ERR_NOTFOUND, RESOURCE_BLOB, 404, "BLOB_UNKNOWN"}, /* either sign */
};

/* {"errors":[...]} and nothing else (R100). */
static const struct json *errors_of(struct json_doc *doc)
{
    const struct json *errors = json_get(json_root(doc), "errors");

    assert_int_equal(json_len(json_root(doc)), 1);
    assert_int_equal(json_type(errors), JSON_ARRAY_T);
    assert_true(json_len(errors) > 0);
    return errors;
}

static void body_of(int err, enum resource resource, const char *message, unsigned *ret_status,
                    struct buf *out)
{
    buf_clear(out);
    *ret_status = oci_error_body(err, resource, message, out);
    assert_int_equal(buf_err(out), 0);
}

static void check_row(size_t i)
{
    struct buf out auto_buf = BUF_INIT(OCI_ERROR_BODY_MAX);
    struct json_doc *doc auto_json = NULL;
    const struct json *one;
    unsigned status;

    body_of(rows[i].err, rows[i].resource, "why", &status, &out);
    assert_int_equal(status, rows[i].status);
    assert_int_equal(json_parse(buf_str(&out), &doc, NULL), 0);
    one = json_at(errors_of(doc), 0);
    if (!str_eq(json_str(json_get(one, "code")), str_of(rows[i].code)))
        fail_msg("row %zu: %s", i, buf_c(&out));
    assert_true(str_ends(json_str(json_get(one, "message")), STR("why")));
}

/* What may have happened is told from what did not. */
static void test_outcomes(void **state)
{
    static const struct {
        int err;
        const char *given, *message;
    } cases[] = {{-ERR_NOTCOMMITTED, "why", "not committed: why"},
                 {-ERR_UNKNOWN, "why", "outcome unknown: why"},
                 {-ERR_UNKNOWN, "outcome unknown: why", "outcome unknown: why"},
                 {-ERR_NOTCOMMITTED, "", "not committed"},
                 {-ERR_UNKNOWN, "", "outcome unknown"},
                 {-ERR_BUSY, "why", "why"}};

    (void)state;
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        struct buf out auto_buf = BUF_INIT(OCI_ERROR_BODY_MAX);
        struct json_doc *doc auto_json = NULL;
        struct str got;
        unsigned status;

        body_of(cases[i].err, RESOURCE_MANIFEST, cases[i].given, &status, &out);
        assert_int_equal(status, 503);
        assert_int_equal(json_parse(buf_str(&out), &doc, NULL), 0);
        got = json_str(json_get(json_at(errors_of(doc), 0), "message"));
        if (!str_eq(got, str_of(cases[i].message)))
            fail_msg("case %zu: %s", i, buf_c(&out));
    }
}

static void test_codes(void **state)
{
    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(rows); i++)
        check_row(i);
}

/* Every error on every resource is an answer that clients can read: a status from 400, a code of
 * R101 below 500, UNKNOWN from there (R103), a message. */
static void check_any(int err, enum resource resource)
{
    static const char *const known[] = {
        "BLOB_UNKNOWN", "BLOB_UPLOAD_INVALID", "BLOB_UPLOAD_UNKNOWN", "DIGEST_INVALID",
        "MANIFEST_BLOB_UNKNOWN", "MANIFEST_INVALID", "MANIFEST_UNKNOWN", "NAME_INVALID",
        "NAME_UNKNOWN", "SIZE_INVALID", "DENIED", "UNAUTHORIZED", "UNSUPPORTED", "TOOMANYREQUESTS",
        /* Not sent to anybody: the client is gone, or the error is never answered. */
        "UNKNOWN"};
    struct buf out auto_buf = BUF_INIT(OCI_ERROR_BODY_MAX);
    struct json_doc *doc auto_json = NULL;
    const struct json *one;
    unsigned status;
    bool found = false;

    body_of(-err, resource, NULL, &status, &out);
    assert_in_range(status, 400, 599);
    assert_int_equal(json_parse(buf_str(&out), &doc, NULL), 0);
    one = json_at(errors_of(doc), 0);
    assert_true(json_str(json_get(one, "message")).len > 0);
    assert_int_equal(str_eq(json_str(json_get(one, "code")), STR("UNKNOWN")) || status < 500, 1);
    for (size_t i = 0; i < ARRAY_LEN(known); i++)
        found = found || str_eq(json_str(json_get(one, "code")), str_of(known[i]));
    assert_true(found);
}

static void test_every_error_on_every_resource(void **state)
{
    (void)state;
    for (int err = 1; err < ERR_COUNT; err++)
        for (int resource = 0; resource < RESOURCES_END; resource++)
            check_any(err, (enum resource)resource);
}

static void test_messages(void **state)
{
    static const struct {
        const char *given, *said;
    } messages[] = {
        {"a \"quoted\" tab\t and line\nfeed", "a \"quoted\" tab\t and line\nfeed"},
        {"gr\xc3\xbc\xc3\x9f", "gr\xc3\xbc\xc3\x9f"},
        {"bad \xff byte", "no such object"},
        {"cut \xc3", "no such object"},
        {"", "no such object"},
        {NULL, "no such object"},
    };
    struct buf out auto_buf = BUF_INIT(OCI_ERROR_BODY_MAX);

    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(messages); i++) {
        struct json_doc *doc auto_json = NULL;
        unsigned status;

        body_of(-ERR_NOTFOUND, RESOURCE_BLOB, messages[i].given, &status, &out);
        assert_int_equal(json_parse(buf_str(&out), &doc, NULL), 0);
        assert_true(str_eq(json_str(json_get(json_at(errors_of(doc), 0), "message")),
                           str_of(messages[i].said)));
    }
}

/* One entry for each missing digest, which its detail names (R88). */
static void check_missing(struct str lines, size_t count)
{
    struct buf out auto_buf = BUF_INIT(OCI_ERROR_BODY_MAX);
    struct json_doc *doc auto_json = NULL;
    const struct json *errors;

    oci_error_missing(lines, &out);
    assert_int_equal(buf_err(&out), 0);
    assert_int_equal(json_parse(buf_str(&out), &doc, NULL), 0);
    errors = errors_of(doc);
    assert_int_equal(json_len(errors), count);
    for (size_t i = 0; i < count; i++) {
        const struct json *one = json_at(errors, i);
        char text[32];
        int n = snprintf(text, sizeof(text), "sha256:%zu", i);

        assert_true(str_eq(json_str(json_get(one, "code")), STR("MANIFEST_BLOB_UNKNOWN")));
        assert_true(str_eq(json_str(json_get(json_get(one, "detail"), "digest")),
                           str_make(text, (size_t)n)));
    }
}

static void test_missing(void **state)
{
    struct buf lines auto_buf = BUF_INIT(1u << 20);

    (void)state;
    check_missing(STR("sha256:0\n"), 1);
    check_missing(STR("sha256:0"), 1);
    check_missing(STR("sha256:0\nsha256:1\n"), 2);
    for (unsigned i = 0; i < 1000; i++)
        buf_addf(&lines, "sha256:%u\n", i);
    check_missing(buf_str(&lines), 1000);
}

/* The longest list of missing digests fits the body, and that is below 1 MiB (R100). */
static void test_largest_body(void **state)
{
    struct buf lines auto_buf = BUF_INIT(1u << 20);
    struct buf out auto_buf = BUF_INIT(OCI_ERROR_BODY_MAX);

    (void)state;
    for (unsigned i = 0; i < REPO_MISSING_MAX; i++)
        buf_addf(&lines, "sha512:%0128u\n", i);
    oci_error_missing(buf_str(&lines), &out);
    assert_int_equal(buf_err(&out), 0);
    assert_true(out.len < 1u << 20);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_codes),
        cmocka_unit_test(test_outcomes),
        cmocka_unit_test(test_every_error_on_every_resource),
        cmocka_unit_test(test_messages),
        cmocka_unit_test(test_missing),
        cmocka_unit_test(test_largest_body),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
