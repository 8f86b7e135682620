/* What paths mean (R1-R15): resources, names, references, 404, 405 and NAME_INVALID. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "manifests/manifest.h"
#include "registry/route.h"

#define HEX "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"

static const struct {
    const char *path;
    enum resource resource;
    const char *name, *reference;
} found[] = {
    {"/v2/", RESOURCE_PING, "", ""},
    {"/v2", RESOURCE_PING, "", ""}, /* R10 */
    {"/v2/_catalog", RESOURCE_CATALOG, "", ""},
    {"/v2/_oci/ext/discover", RESOURCE_DISCOVER, "", ""},
    {"/v2/_stowage/events", RESOURCE_EVENTS, "", ""},
    {"/v2/_stowage/revert", RESOURCE_REVERT_UNDER, "", ""},
    {"/v2/a/_oci/ext/discover", RESOURCE_REPO_DISCOVER, "a", ""},
    {"/v2/a/b/_oci/ext/discover", RESOURCE_REPO_DISCOVER, "a/b", ""},
    {"/v2/a/manifests/latest", RESOURCE_MANIFEST, "a", "latest"},
    {"/v2/a/b/c/manifests/x", RESOURCE_MANIFEST, "a/b/c", "x"},
    {"/v2/a/manifests/sha256:" HEX, RESOURCE_MANIFEST, "a", "sha256:" HEX},
    {"/v2/a/blobs/sha256:" HEX, RESOURCE_BLOB, "a", "sha256:" HEX},
    {"/v2/a/referrers/sha256:" HEX, RESOURCE_REFERRERS, "a", "sha256:" HEX},
    {"/v2/a/tags/list", RESOURCE_TAGS, "a", ""},
    {"/v2/a/blobs/uploads/", RESOURCE_UPLOADS, "a", ""},
    {"/v2/a/blobs/uploads", RESOURCE_UPLOADS, "a", ""}, /* R10 */
    {"/v2/a/blobs/uploads/1-_.=Z", RESOURCE_UPLOAD, "a", "1-_.=Z"},
    {"/livez", RESOURCE_LIVEZ, "", ""},
    {"/readyz", RESOURCE_READYZ, "", ""},
    {"/metrics", RESOURCE_METRICS, "", ""},
    /* Components named like the words of the API: from the right end (R9). */
    {"/v2/a/blobs/uploads/manifests/x", RESOURCE_MANIFEST, "a/blobs/uploads", "x"},
    {"/v2/manifests/manifests/manifests", RESOURCE_MANIFEST, "manifests", "manifests"},
    {"/v2/manifests/manifests/manifests/manifests", RESOURCE_MANIFEST, "manifests/manifests",
     "manifests"},
    {"/v2/blobs/manifests/uploads", RESOURCE_MANIFEST, "blobs", "uploads"},
    {"/v2/a/manifests/manifests", RESOURCE_MANIFEST, "a", "manifests"},
    {"/v2/a/manifests/blobs/x", RESOURCE_BLOB, "a/manifests", "x"},
    {"/v2/blobs/blobs/x", RESOURCE_BLOB, "blobs", "x"},
    {"/v2/blobs/blobs/uploads", RESOURCE_UPLOADS, "blobs", ""},
    {"/v2/blobs/blobs/uploads/", RESOURCE_UPLOADS, "blobs", ""},
    {"/v2/blobs/uploads/blobs/uploads/", RESOURCE_UPLOADS, "blobs/uploads", ""},
    {"/v2/blobs/uploads/blobs/uploads/x", RESOURCE_UPLOAD, "blobs/uploads", "x"},
    {"/v2/a/blobs/uploads/uploads", RESOURCE_UPLOAD, "a", "uploads"},
    {"/v2/a/blobs/uploads/blobs", RESOURCE_UPLOAD, "a", "blobs"},
    {"/v2/uploads/blobs/x", RESOURCE_BLOB, "uploads", "x"},
    {"/v2/a/blobs/uploads/tags/list", RESOURCE_TAGS, "a/blobs/uploads", ""},
    {"/v2/tags/list/tags/list", RESOURCE_TAGS, "tags/list", ""},
    {"/v2/tags/tags/list", RESOURCE_TAGS, "tags", ""},
    {"/v2/list/manifests/tags", RESOURCE_MANIFEST, "list", "tags"},
    {"/v2/a/tags/manifests/list", RESOURCE_MANIFEST, "a/tags", "list"},
    {"/v2/referrers/referrers/x", RESOURCE_REFERRERS, "referrers", "x"},
    {"/v2/v2/manifests/v2", RESOURCE_MANIFEST, "v2", "v2"},
    {"/v2/oci/ext/discover/manifests/x", RESOURCE_MANIFEST, "oci/ext/discover", "x"},
    /* Separators (R1). */
    {"/v2/a.b_c__d-e---f/manifests/x", RESOURCE_MANIFEST, "a.b_c__d-e---f", "x"},
    {"/v2/0/manifests/x", RESOURCE_MANIFEST, "0", "x"},
    /* Escapes: segments are split first, decoded after (R11). */
    {"/v2/a/blobs/sha256%3A" HEX, RESOURCE_BLOB, "a", "sha256:" HEX},
    {"/v2/a/blobs/sha256%3a" HEX, RESOURCE_BLOB, "a", "sha256:" HEX},
    {"/v2/%61/manifests/%78", RESOURCE_MANIFEST, "a", "x"},
    {"/v2/a%2Eb/manifests/x", RESOURCE_MANIFEST, "a.b", "x"},
    {"/v2/a/manifests/a+b", RESOURCE_MANIFEST, "a", "a+b"}, /* '+' is itself in a path */
    {"/v2/a/manifests/%20", RESOURCE_MANIFEST, "a", " "},   /* judged by the handler */
    {"/v2/a/manifests/...", RESOURCE_MANIFEST, "a", "..."},
};

static bool is_posted(enum resource resource)
{
    return resource == RESOURCE_UPLOADS || resource == RESOURCE_REVERT_UNDER;
}

static void test_found(void **state)
{
    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(found); i++) {
        enum method method = is_posted(found[i].resource) ? METHOD_POST : METHOD_GET;
        struct err_detail why = {""};
        struct target t;
        int e = route_resolve(str_of(found[i].path), method, &t, &why);

        if (e != 0 || t.resource != found[i].resource)
            fail_msg("%s: %s, resource %d: %s", found[i].path, err_name(e), (int)t.resource,
                     why.text);
        if (!str_eq(t.name, str_of(found[i].name)) ||
            !str_eq(t.reference, str_of(found[i].reference)))
            fail_msg("%s: name \"%.*s\", reference \"%.*s\"", found[i].path, STR_ARG(t.name),
                     STR_ARG(t.reference));
        assert_int_equal(t.v2, found[i].path[1] == 'v');
        assert_non_null(t.route);
        assert_int_equal(t.route->resource, t.resource);
        assert_int_equal(t.route->method, method);
    }
}

static const struct {
    const char *path;
    int result; /* of a GET */
    bool v2;
} refused[] = {
    /* Nothing there. */
    {"/", -ERR_NOTFOUND, false},
    {"", -ERR_NOTFOUND, false},
    {"*", -ERR_NOTFOUND, false},
    {"/v1/", -ERR_NOTFOUND, false},
    {"/v22/", -ERR_NOTFOUND, false},
    {"/V2/", -ERR_NOTFOUND, false},
    {"//v2/", -ERR_NOTFOUND, false},
    {"/livez/", -ERR_NOTFOUND, false},
    {"/Metrics", -ERR_NOTFOUND, false},
    {"/v2/a", -ERR_NOTFOUND, true},
    {"/v2/a/", -ERR_NOTFOUND, true},
    {"/v2//", -ERR_NOTFOUND, true},
    {"/v2/_catalog/", -ERR_NOTFOUND, true},
    {"/v2/a/tags", -ERR_NOTFOUND, true},
    {"/v2/a/tags/list/", -ERR_NOTFOUND, true},
    {"/v2/a/tags/other", -ERR_NOTFOUND, true},
    {"/v2/a/unknown/x", -ERR_NOTFOUND, true},
    {"/v2/a/manifests/x/", -ERR_NOTFOUND, true},
    {"/v2/a/blobs/uploads/x/", -ERR_NOTFOUND, true},
    {"/v2/a/%6Danifests/x", -ERR_NOTFOUND, true}, /* words of the API are not decoded */
    {"/v2/_other/ext/discover", -ERR_NOTFOUND, true},
    {"/v2/manifests/x", -ERR_NOTFOUND, true}, /* no name */
    {"/v2/blobs/uploads/", -ERR_NOTFOUND, true},
    {"/v2/tags/list", -ERR_NOTFOUND, true},
    /* Empty segments. */
    {"/v2//manifests/x", -ERR_INVAL, true},
    {"/v2//a/manifests/x", -ERR_INVAL, true},
    {"/v2/a//b/manifests/x", -ERR_INVAL, true},
    {"/v2/a//manifests/x", -ERR_INVAL, true},
    {"/v2/a/manifests/", -ERR_INVAL, true},
    {"/v2/a/manifests//", -ERR_NOTFOUND, true},
    {"/v2/a/blobs/", -ERR_INVAL, true},
    {"/v2/a/referrers/", -ERR_INVAL, true},
    /* Ways out, hidden separators and ends (R11). */
    {"/v2/a%2Fb/manifests/x", -ERR_INVAL, true},
    {"/v2/a%2fb/manifests/x", -ERR_INVAL, true},
    {"/v2/a/manifests/x%2Fy", -ERR_INVAL, true},
    {"/v2/a%00b/manifests/x", -ERR_INVAL, true},
    {"/v2/a/manifests/x%00", -ERR_INVAL, true},
    {"/v2/./manifests/x", -ERR_INVAL, true},
    {"/v2/../manifests/x", -ERR_INVAL, true},
    {"/v2/a/../b/manifests/x", -ERR_INVAL, true},
    {"/v2/a/%2e%2e/b/manifests/x", -ERR_INVAL, true},
    {"/v2/a/%2E/b/manifests/x", -ERR_INVAL, true},
    {"/v2/a/.%2e/b/manifests/x", -ERR_INVAL, true},
    {"/v2/a/manifests/..", -ERR_INVAL, true},
    {"/v2/a/manifests/%2e%2e", -ERR_INVAL, true},
    {"/v2/a/manifests/.", -ERR_INVAL, true},
    {"/v2/a/blobs/uploads/..", -ERR_INVAL, true},
    {"/v2/a%252Fb/manifests/x", -ERR_INVAL, true}, /* decoded once: "%2F" is no name */
    {"/v2/a/manifests/%", -ERR_INVAL, true},
    {"/v2/a/manifests/%4", -ERR_INVAL, true},
    {"/v2/a/manifests/%zz", -ERR_INVAL, true},
    {"/v2/a%/manifests/x", -ERR_INVAL, true},
    /* Names (R1). */
    {"/v2/A/manifests/x", -ERR_INVAL, true},
    {"/v2/a..b/manifests/x", -ERR_INVAL, true},
    {"/v2/a___b/manifests/x", -ERR_INVAL, true},
    {"/v2/-a/manifests/x", -ERR_INVAL, true},
    {"/v2/a-/manifests/x", -ERR_INVAL, true},
    {"/v2/_a/manifests/x", -ERR_INVAL, true},
    {"/v2/a_/manifests/x", -ERR_INVAL, true},
    {"/v2/a/_b/manifests/x", -ERR_INVAL, true},
    {"/v2/a%20b/manifests/x", -ERR_INVAL, true},
    {"/v2/a+b/manifests/x", -ERR_INVAL, true},
    {"/v2/\xc3\xa4/manifests/x", -ERR_INVAL, true},
    {"/v2/a:5000/manifests/x", -ERR_INVAL, true},
};

static void test_refused(void **state)
{
    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(refused); i++) {
        struct err_detail why = {""};
        struct target t;
        int e = route_resolve(str_of(refused[i].path), METHOD_GET, &t, &why);

        if (e != refused[i].result || t.v2 != refused[i].v2)
            fail_msg("%s: %s, v2 %d", refused[i].path, err_name(e), (int)t.v2);
        assert_int_equal(t.resource, RESOURCE_NONE);
        assert_true(why.text[0] != '\0');
        assert_int_equal(route_resolve(str_of(refused[i].path), METHOD_GET, &t, NULL), e);
    }
}

/* The sentence speaks of the part that is wrong. */
static void test_sentences(void **state)
{
    static const struct {
        const char *path, *part;
    } rows[] = {
        {"/v2/A/manifests/x", "repository name"}, {"/v2/a%00/manifests/x", "repository name"},
        {"/v2/a/manifests/x%00", "last part"},    {"/v2/a/manifests/", "last part"},
        {"/v2/a/blobs/..", "last part"},
    };

    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        struct err_detail why = {""};
        struct target t;

        assert_int_equal(route_resolve(str_of(rows[i].path), METHOD_GET, &t, &why), -ERR_INVAL);
        if (!strstr(why.text, rows[i].part))
            fail_msg("%s: %s", rows[i].path, why.text);
    }
}

static int resolve_name(size_t name_len, const char *tail, struct target *t)
{
    struct buf path auto_buf = BUF_INIT(2 * ROUTE_PATH_MAX);

    buf_add(&path, STR("/v2/"));
    for (size_t i = 0; i < name_len; i++)
        buf_addc(&path, i % 100 == 99 ? '/' : 'a');
    buf_add(&path, str_of(tail));
    assert_int_equal(buf_err(&path), 0);
    return route_resolve(buf_str(&path), METHOD_GET, t, NULL);
}

static void test_name_length(void **state)
{
    static const struct {
        size_t len;
        int result;
    } rows[] = {
        {1, 0}, {254, 0}, {255, 0}, {256, -ERR_INVAL}, {1024, -ERR_INVAL}, {5000, -ERR_INVAL}};

    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        struct target t;

        assert_int_equal(resolve_name(rows[i].len, "/manifests/x", &t), rows[i].result);
        if (rows[i].result == 0)
            assert_int_equal(t.name.len, rows[i].len);
        assert_true(t.v2);
    }
}

/* Nothing of the path's size or shape reaches past the fixed arrays. */
static void test_path_limits(void **state)
{
    struct buf path auto_buf = BUF_INIT(3 * ROUTE_PATH_MAX);
    struct target t;

    (void)state;
    buf_add(&path, STR("/v2/a/manifests/"));
    while (path.len < ROUTE_PATH_MAX)
        buf_addc(&path, 'x'); /* a reference past ROUTE_TEXT_MAX */
    assert_int_equal(route_resolve(buf_str(&path), METHOD_GET, &t, NULL), -ERR_INVAL);
    buf_addc(&path, 'x');
    assert_int_equal(route_resolve(buf_str(&path), METHOD_GET, &t, NULL), -ERR_INVAL);
    for (size_t segments = 250; segments < 260; segments++) {
        buf_clear(&path);
        buf_add(&path, STR("/v2"));
        for (size_t i = 1; i < segments; i++)
            buf_add(&path, STR("/"));
        assert_true(route_resolve(buf_str(&path), METHOD_GET, &t, NULL) < 0);
    }
    buf_clear(&path);
    buf_add(&path, STR("/v2"));
    for (size_t i = 0; i < 125; i++)
        buf_add(&path, STR("/a"));
    buf_add(&path, STR("/manifests/x"));
    assert_int_equal(route_resolve(buf_str(&path), METHOD_GET, &t, NULL), 0);
    assert_int_equal(t.name.len, 249);
}

/* ---- Methods. */
static const struct {
    const char *path, *allow;
} methods[] = {
    {"/v2/", "GET, HEAD"},
    {"/v2/_catalog", "GET, HEAD"},
    {"/v2/_oci/ext/discover", "GET, HEAD"},
    {"/v2/a/_oci/ext/discover", "GET, HEAD"},
    {"/v2/a/manifests/x", "GET, HEAD, PUT, DELETE"},
    {"/v2/a/blobs/x", "GET, HEAD, DELETE"},
    {"/v2/a/blobs/uploads/", "POST"},
    {"/v2/a/blobs/uploads/x", "GET, HEAD, PATCH, PUT, DELETE"},
    {"/v2/a/tags/list", "GET, HEAD"},
    {"/v2/a/referrers/x", "GET, HEAD"},
    {"/livez", "GET, HEAD"},
    {"/readyz", "GET, HEAD"},
    {"/metrics", "GET, HEAD"},
};

static const char *const method_names[] = {"GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "?"};

static bool lists(const char *allow, const char *method)
{
    struct str rest = str_of(allow);

    for (;;) {
        ptrdiff_t comma = str_find(rest, ',');
        struct str one = comma < 0 ? rest : str_head(rest, (size_t)comma);

        if (str_eq(one, str_of(method)))
            return true;
        if (comma < 0)
            return false;
        rest = str_skip(rest, (size_t)comma + 2);
    }
}

/* A method is served exactly when Allow lists it; HEAD has the route of GET (R15). */
static void test_methods(void **state)
{
    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(methods); i++) {
        struct buf allow auto_buf = BUF_INIT(128);
        struct target t;

        for (size_t m = 0; m < ARRAY_LEN(method_names); m++) {
            int e = route_resolve(str_of(methods[i].path), (enum method)m, &t, NULL);

            if (e != (lists(methods[i].allow, method_names[m]) ? 0 : -ERR_UNSUPPORTED))
                fail_msg("%s %s: %s", method_names[m], methods[i].path, err_name(e));
            assert_int_not_equal(t.resource, RESOURCE_NONE);
            if (e == 0)
                assert_int_equal(t.route->method, m == METHOD_HEAD ? METHOD_GET : m);
        }
        route_allow(t.resource, &allow);
        assert_string_equal(buf_c(&allow), methods[i].allow);
    }
}

/* A malformed name is NAME_INVALID with any method. */
static void test_bad_name_before_method(void **state)
{
    struct target t;

    (void)state;
    assert_int_equal(route_resolve(STR("/v2/A/tags/list"), METHOD_PUT, &t, NULL), -ERR_INVAL);
    assert_int_equal(route_resolve(STR("/v2/A/blobs/uploads/"), METHOD_OTHER, &t, NULL),
                     -ERR_INVAL);
}

/* ---- The right that each route names, and how it takes its body. */
static const struct {
    const char *path;
    enum method method;
    enum action action;
    enum body_kind body;
} rights[] = {
    {"/v2/", METHOD_GET, ACTION_NONE, BODY_NONE},
    {"/v2/_catalog", METHOD_GET, ACTION_CATALOG, BODY_NONE},
    {"/v2/a/manifests/x", METHOD_GET, ACTION_PULL, BODY_NONE},
    {"/v2/a/manifests/x", METHOD_HEAD, ACTION_PULL, BODY_NONE},
    {"/v2/a/manifests/x", METHOD_PUT, ACTION_PUSH, BODY_MEM},
    {"/v2/a/manifests/x", METHOD_DELETE, ACTION_DELETE, BODY_NONE},
    {"/v2/a/blobs/x", METHOD_GET, ACTION_PULL, BODY_NONE},
    {"/v2/a/blobs/x", METHOD_DELETE, ACTION_DELETE, BODY_NONE},
    {"/v2/a/blobs/uploads/", METHOD_POST, ACTION_PUSH, BODY_STREAM},
    {"/v2/a/blobs/uploads/x", METHOD_GET, ACTION_PUSH, BODY_NONE},
    {"/v2/a/blobs/uploads/x", METHOD_PATCH, ACTION_PUSH, BODY_STREAM},
    {"/v2/a/blobs/uploads/x", METHOD_PUT, ACTION_PUSH, BODY_STREAM},
    {"/v2/a/blobs/uploads/x", METHOD_DELETE, ACTION_PUSH, BODY_NONE}, /* R60 */
    {"/v2/a/tags/list", METHOD_GET, ACTION_PULL, BODY_NONE},
    {"/v2/a/referrers/x", METHOD_GET, ACTION_PULL, BODY_NONE},
    {"/livez", METHOD_GET, ACTION_HEALTH, BODY_NONE},
    {"/readyz", METHOD_GET, ACTION_HEALTH, BODY_NONE},
    {"/metrics", METHOD_GET, ACTION_HEALTH, BODY_NONE},
};

static void test_rights(void **state)
{
    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(rights); i++) {
        struct target t;

        assert_int_equal(route_resolve(str_of(rights[i].path), rights[i].method, &t, NULL), 0);
        if (t.route->action != rights[i].action || t.route->body != rights[i].body)
            fail_msg("%s %s", method_names[rights[i].method], rights[i].path);
        assert_true(t.route->fast || t.route->run);
        if (t.route->body == BODY_STREAM)
            assert_true(t.route->begin && t.route->data && t.route->gone && t.route->run);
        if (t.route->body == BODY_MEM)
            assert_int_equal(t.route->body_max, MANIFEST_BYTES_MAX);
    }
}

/* ---- Names that start with a point in time: views, no writes. */
static void test_reserved(void **state)
{
    static const struct {
        const char *path;
        bool reserved;
        int read; /* what a GET gets */
    } rows[] = {
        {"/v2/at-20261122t075000z/a/manifests/x", true, 0},
        {"/v2/at-20261122t075000z/manifests/x", true, -ERR_NOREPO},
        {"/v2/at-00000000t000000z/a/manifests/x", true, -ERR_TIME},
        {"/v2/%61t-20261122t075000z/a/manifests/x", true, 0},
        {"/v2/a/at-20261122t075000z/manifests/x", false, 0},
        {"/v2/at-20261122t075000z0/manifests/x", false, 0},
        {"/v2/at-20261122t07500z/manifests/x", false, 0},
        {"/v2/at-2026112at075000z/manifests/x", false, 0},
        {"/v2/at-20261122t075000y/manifests/x", false, 0},
        {"/v2/at/manifests/x", false, 0},
    };

    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        int write = rows[i].reserved ? -ERR_UNSUPPORTED : 0;
        struct target t;

        assert_int_equal(route_resolve(str_of(rows[i].path), METHOD_GET, &t, NULL), rows[i].read);
        assert_int_equal(route_resolve(str_of(rows[i].path), METHOD_HEAD, &t, NULL), rows[i].read);
        assert_int_equal(route_resolve(str_of(rows[i].path), METHOD_PUT, &t, NULL), write);
        assert_int_equal(route_resolve(str_of(rows[i].path), METHOD_DELETE, &t, NULL), write);
        assert_int_equal(t.resource, RESOURCE_MANIFEST);
    }
}

/* What is asked about is the name behind the time; the path's own name is kept for answers. */
static void test_views(void **state)
{
    static const struct {
        const char *path;
        int result;
        const char *name, *shown;
    } rows[] = {
        {"/v2/at-20261122t075000z/a/manifests/x", 0, "a", "at-20261122t075000z/a"},
        {"/v2/at-20261122t075000z/a/b/tags/list", 0, "a/b", "at-20261122t075000z/a/b"},
        {"/v2/at-20261122t075000z/a/referrers/x", 0, "a", "at-20261122t075000z/a"},
        {"/v2/at-20261122t075000z/a/blobs/x", 0, "a", "at-20261122t075000z/a"},
        {"/v2/at-20261122t075000z/_catalog", 0, "", "at-20261122t075000z"},
        {"/v2/at-20261122t075000z/a/_catalog", -ERR_NOTFOUND, NULL, NULL},
        {"/v2/b/_catalog", -ERR_NOTFOUND, NULL, NULL},
        {"/v2/at-20261122t075000z/a/_stowage/log", -ERR_NOTFOUND, NULL, NULL},
        {"/v2/at-20261122t075000z/a/_oci/tag-history/x", -ERR_NOTFOUND, NULL, NULL},
        {"/v2/at-20261122t075000z/tags/list", -ERR_NOREPO, NULL, NULL},
        {"/v2/at-20260230t000000z/_catalog", -ERR_TIME, NULL, NULL},
    };

    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        struct target t;

        assert_int_equal(route_resolve(str_of(rows[i].path), METHOD_GET, &t, NULL), rows[i].result);
        if (rows[i].result < 0)
            continue;
        assert_true(t.past && t.past_ms == 1795333800000);
        assert_true(str_eq(t.name, str_of(rows[i].name)));
        assert_true(str_eq(t.shown, str_of(rows[i].shown)));
    }
}

static void test_reserved_uploads(void **state)
{
    static const struct {
        const char *path;
        enum method method;
    } rows[] = {
        {"/v2/at-20261122t075000z/a/blobs/uploads/", METHOD_POST},
        {"/v2/at-20261122t075000z/a/blobs/uploads/x", METHOD_PATCH},
        {"/v2/at-20261122t075000z/a/blobs/uploads/x", METHOD_PUT},
        {"/v2/at-20261122t075000z/a/blobs/uploads/x", METHOD_DELETE},
        {"/v2/at-20261122t075000z/a/blobs/x", METHOD_DELETE},
    };

    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        struct err_detail why = {""};
        struct target t;

        assert_int_equal(route_resolve(str_of(rows[i].path), rows[i].method, &t, &why),
                         -ERR_UNSUPPORTED);
        assert_non_null(strstr(why.text, "read-only"));
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_found),
        cmocka_unit_test(test_refused),
        cmocka_unit_test(test_sentences),
        cmocka_unit_test(test_name_length),
        cmocka_unit_test(test_path_limits),
        cmocka_unit_test(test_methods),
        cmocka_unit_test(test_bad_name_before_method),
        cmocka_unit_test(test_rights),
        cmocka_unit_test(test_reserved),
        cmocka_unit_test(test_views),
        cmocka_unit_test(test_reserved_uploads),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
