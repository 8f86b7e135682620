/* Parsing and validation of manifests: R81, R84-R93, R133. */
#include "fixture.h"

#include "base/clock.h"

#define A "sha256:aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa"
#define B "sha256:bbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbb"

#define DESC(type, digest, more)                                                                   \
    "{\"mediaType\":\"" type "\",\"digest\":\"" digest "\",\"size\":3" more "}"
#define CONFIG      DESC("application/vnd.oci.image.config.v1+json", A, "")
#define LAYER       DESC("application/vnd.oci.image.layer.v1.tar", B, "")
#define IMAGE(more) "{\"schemaVersion\":2,\"config\":" CONFIG more "}"
#define INDEX(list) "{\"schemaVersion\":2,\"manifests\":[" list "]}"

static int parse(const char *body, const char *type, struct manifest *ret,
                 struct err_detail *detail)
{
    return manifest_parse(str_of(body), str_of(type), ret, detail);
}

/* R84, R85: what a manifest is. */
static void test_types(void **state)
{
    static const struct {
        const char *body, *header, *type; /* type NULL: refused */
    } cases[] = {
        {IMAGE(""), MEDIA_OCI_MANIFEST, MEDIA_OCI_MANIFEST},
        {IMAGE(""), MEDIA_DOCKER_MANIFEST "; charset=utf-8", MEDIA_DOCKER_MANIFEST},
        {IMAGE(""), "", MEDIA_OCI_MANIFEST},
        {IMAGE(""), "application/json", MEDIA_OCI_MANIFEST},
        {INDEX(""), "text/plain", MEDIA_OCI_INDEX},
        {INDEX(""), MEDIA_DOCKER_LIST, MEDIA_DOCKER_LIST},
        {IMAGE(",\"mediaType\":\"" MEDIA_DOCKER_MANIFEST "\""), "", MEDIA_DOCKER_MANIFEST},
        {IMAGE(",\"mediaType\":\"" MEDIA_DOCKER_MANIFEST "\""), "application/octet-stream",
         MEDIA_DOCKER_MANIFEST},
        {IMAGE(",\"mediaType\":\"" MEDIA_OCI_MANIFEST "\""), MEDIA_OCI_MANIFEST,
         MEDIA_OCI_MANIFEST},
        {IMAGE(",\"mediaType\":\"" MEDIA_DOCKER_MANIFEST "\""), MEDIA_OCI_MANIFEST, NULL},
        {IMAGE(""), MEDIA_OCI_INDEX, NULL},
        {INDEX(""), MEDIA_OCI_MANIFEST, NULL},
        {IMAGE(""), "application/vnd.oci.artifact.manifest.v1+json", NULL},
        {IMAGE(""), "application/vnd.docker.distribution.manifest.v1+prettyjws", NULL},
        {IMAGE(",\"mediaType\":\"application/vnd.example\""), "", NULL},
        {IMAGE(",\"mediaType\":5"), MEDIA_OCI_MANIFEST, NULL},
        {"{\"schemaVersion\":2}", "", NULL},
    };

    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        struct manifest m auto_manifest = {.doc = NULL};
        struct err_detail detail = {{0}};
        int e = parse(cases[i].body, cases[i].header, &m, &detail);

        if (!cases[i].type) {
            check(e == -ERR_INVAL && detail.text[0], "case %zu: %s", i, err_name(e));
            continue;
        }
        check(e == 0, "case %zu: %s", i, detail.text);
        check(str_eq(m.media_type, str_of(cases[i].type)), "case %zu", i);
        check(m.kind == media_kind(str_of(cases[i].type)), "case %zu", i);
    }
}

/* R86, R93: refused, with a sentence. */
static void test_refused(void **state)
{
    static const char *const cases[] = {
        "",
        "[]",
        "5",
        "{",
        "{\"schemaVersion\":2,\"schemaVersion\":2,\"manifests\":[]}",
        "{\"manifests\":[]}",
        "{\"schemaVersion\":1,\"manifests\":[]}",
        "{\"schemaVersion\":\"2\",\"manifests\":[]}",
        "{\"schemaVersion\":2.0,\"manifests\":[]}",
        "{\"schemaVersion\":2,\"manifests\":{}}",
        "{\"schemaVersion\":2,\"layers\":[]}",
        IMAGE(",\"manifests\":[]"),
        "{\"schemaVersion\":2,\"manifests\":[],\"config\":" CONFIG "}",
        "{\"schemaVersion\":2,\"manifests\":[],\"layers\":[]}",
        IMAGE(",\"layers\":{}"),
        IMAGE(",\"layers\":[5]"),
        IMAGE(",\"layers\":[{}]"),
        IMAGE(",\"layers\":[{\"mediaType\":\"a\",\"digest\":\"" A "\"}]"),
        IMAGE(",\"layers\":[{\"mediaType\":\"a\",\"digest\":\"" A "\",\"size\":-1}]"),
        IMAGE(",\"layers\":[{\"mediaType\":\"a\",\"digest\":\"" A "\",\"size\":1.0}]"),
        IMAGE(",\"layers\":[{\"mediaType\":\"a\",\"digest\":\"" A "\",\"size\":1e3}]"),
        IMAGE(",\"layers\":[{\"mediaType\":\"a\",\"digest\":\"" A "\",\"size\":\"1\"}]"),
        IMAGE(",\"layers\":[{\"digest\":\"" A "\",\"size\":1}]"),
        IMAGE(",\"layers\":[{\"mediaType\":7,\"digest\":\"" A "\",\"size\":1}]"),
        IMAGE(",\"layers\":[{\"mediaType\":\"a\",\"digest\":\"sha256:AB\",\"size\":1}]"),
        IMAGE(",\"layers\":[{\"mediaType\":\"a\",\"digest\":7,\"size\":1}]"),
        IMAGE(",\"layers\":[" DESC("a", A, ",\"urls\":\"http://x\"") "]"),
        IMAGE(",\"layers\":[" DESC("a", A, ",\"urls\":[5]") "]"),
        IMAGE(",\"layers\":[" DESC("a", A, ",\"annotations\":{\"a\":5}") "]"),
        IMAGE(",\"layers\":[" DESC("a", A, ",\"artifactType\":5") "]"),
        IMAGE(",\"layers\":[" DESC("a", A, ",\"data\":5") "]"),
        IMAGE(",\"artifactType\":5"),
        IMAGE(",\"annotations\":[]"),
        IMAGE(",\"annotations\":{\"a\":null}"),
        IMAGE(",\"annotations\":{\"a\":{}}"),
        IMAGE(",\"subject\":5"),
        IMAGE(",\"subject\":{}"),
        IMAGE(",\"subject\":{\"mediaType\":\"a\",\"digest\":\"nodigest\",\"size\":1}"),
        IMAGE("") "x",
        "{\"schemaVersion\":2,\"manifests\":[],\"annotations\":{\"a\":\"\xff\"}}",
    };

    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        struct manifest m auto_manifest = {.doc = NULL};
        struct err_detail detail = {{0}};
        int e = parse(cases[i], "", &m, &detail);

        check(e == -ERR_INVAL && detail.text[0], "case %zu, %s: %s", i, cases[i], err_name(e));
    }
}

/* R87: odd, but no errors. */
static void test_accepted(void **state)
{
    static const struct {
        const char *body;
        size_t refs;
    } cases[] = {
        {IMAGE(""), 1},
        {IMAGE(",\"layers\":[]"), 1},
        {IMAGE(",\"layers\":null"), 1},
        {IMAGE(",\"manifests\":null,\"annotations\":null,\"subject\":null"), 1},
        {IMAGE(",\"layers\":[" LAYER "," LAYER "]"), 3},
        {IMAGE(",\"annotations\":{}"), 1},
        {IMAGE(",\"annotations\":{\"unknown\":\"\"},\"unknown\":{\"a\":[1.5]}"), 1},
        {IMAGE(",\"artifactType\":\"application/x-unknown\""), 1},
        {IMAGE(",\"layers\":[" DESC("", A, "") "]"), 2},
        {IMAGE(",\"layers\":[" DESC("a/b", A, ",\"data\":\"e30=\",\"urls\":[\"ftp://x\"]") "]"), 2},
        {INDEX(""), 0},
        {"{\"schemaVersion\":2,\"manifests\":null,\"mediaType\":\"" MEDIA_OCI_INDEX "\"}", 0},
        {INDEX(DESC(MEDIA_OCI_INDEX, A,
                    ",\"platform\":{\"architecture\":\"unknown\",\"os\":\"unknown\"}")),
         1},
        {"{\"schemaVersion\":2,\"manifests\":[],\"artifactType\":\"a/b\"}", 0},
    };

    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        struct manifest m auto_manifest = {.doc = NULL};
        struct err_detail detail = {{0}};
        int e = parse(cases[i].body, "", &m, &detail);

        check(e == 0, "case %zu: %s", i, detail.text);
        check(m.ref_count == cases[i].refs, "case %zu: %zu refs", i, m.ref_count);
    }
}

/* R89, R90: kinds, order, and what may be absent. */
static void test_refs(void **state)
{
    struct manifest m auto_manifest = {.doc = NULL};
    struct manifest x auto_manifest = {.doc = NULL};
    static const char image[] =
        IMAGE(",\"layers\":[" LAYER
              "," DESC("application/vnd.docker.image.rootfs.foreign.diff.tar.gzip", A,
                       "") "," DESC("a/b", B, ",\"urls\":[\"https://x/y\"]") "," //
              DESC("a/b", B, ",\"urls\":[\"https://\"]") "," DESC("a/b", B, ",\"urls\":[]") "]");
    static const char index[] =
        INDEX(DESC(MEDIA_OCI_MANIFEST, A, "") "," DESC(MEDIA_DOCKER_LIST, B, "") "," //
              DESC("application/vnd.buildkit.cacheconfig.v0", A, ""));

    (void)state;
    assert_int_equal(parse(image, "", &m, NULL), 0);
    assert_int_equal(m.ref_count, 6);
    assert_int_equal(m.refs[0].kind, REF_CONFIG);
    assert_int_equal(m.refs[1].kind, REF_LAYER);
    assert_true(m.refs[1].supported);
    assert_true(str_eq(m.refs[1].digest_text, STR(B)));
    assert_int_equal(m.refs[1].size, 3);
    assert_false(m.refs[1].optional);
    assert_true(m.refs[2].optional);
    assert_true(m.refs[3].optional);
    assert_false(m.refs[4].optional);
    assert_false(m.refs[5].optional);
    assert_int_equal(parse(index, "", &x, NULL), 0);
    assert_int_equal(x.ref_count, 3);
    assert_int_equal(x.refs[0].kind, REF_MANIFEST);
    assert_int_equal(x.refs[1].kind, REF_MANIFEST);
    assert_int_equal(x.refs[2].kind, REF_BLOB);
}

/* A well-formed digest of an algorithm that is not served is no error and no member. */
static void test_unsupported_digest(void **state)
{
    struct manifest m auto_manifest = {.doc = NULL};

    (void)state;
    assert_int_equal(parse(IMAGE(",\"layers\":[" DESC("a/b", "other+x:abc=", "") "],\"subject\":" //
                                 DESC(MEDIA_OCI_MANIFEST, "md5:00", "")),
                           "", &m, NULL),
                     0);
    assert_false(m.refs[1].supported);
    assert_true(str_eq(m.refs[1].digest_text, STR("other+x:abc=")));
    assert_true(m.has_subject);
    assert_false(m.subject.supported);
}

/* R133 */
static void test_artifact_type(void **state)
{
    static const struct {
        const char *body, *type;
    } cases[] = {
        {IMAGE(",\"artifactType\":\"a/b\""), "a/b"},
        {IMAGE(",\"artifactType\":\"\""), "application/vnd.oci.image.config.v1+json"},
        {IMAGE(""), "application/vnd.oci.image.config.v1+json"},
        {INDEX(""), ""},
        {"{\"schemaVersion\":2,\"manifests\":[],\"artifactType\":\"a/b\"}", "a/b"},
    };

    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        struct manifest m auto_manifest = {.doc = NULL};

        assert_int_equal(parse(cases[i].body, "", &m, NULL), 0);
        check(str_eq(m.artifact_type, str_of(cases[i].type)), "case %zu", i);
    }
}

/* The parsed manifest does not need the request's header afterwards. */
static void test_borrows_no_header(void **state)
{
    struct manifest m auto_manifest = {.doc = NULL};
    char header[] = MEDIA_DOCKER_MANIFEST;

    (void)state;
    assert_int_equal(parse(IMAGE(""), header, &m, NULL), 0);
    memset(header, 'x', sizeof(header) - 1);
    assert_true(str_eq(m.media_type, STR(MEDIA_DOCKER_MANIFEST)));
}

/* R81: 4 MiB are accepted, not one byte more; both large shapes are fast. */
static void test_large(void **state)
{
    struct buf body auto_buf = BUF_INIT(8u << 20);
    struct manifest layers auto_manifest = {.doc = NULL};
    struct manifest notes auto_manifest = {.doc = NULL};
    struct manifest over auto_manifest = {.doc = NULL};
    int64_t start = clock_boot_ms();

    (void)state;
    buf_add(&body, STR("{\"schemaVersion\":2,\"config\":" CONFIG ",\"layers\":["));
    for (int i = 0; i < 30000; i++)
        buf_addf(&body, "%s{\"mediaType\":\"a/b\",\"digest\":\"sha256:%064x\",\"size\":%d}",
                 i ? "," : "", (unsigned)i, i);
    buf_add(&body, STR("]}"));
    assert_int_equal(manifest_parse(buf_str(&body), STR_NONE, &layers, NULL), 0);
    assert_int_equal(layers.ref_count, 30001);
    assert_int_equal(layers.refs[30000].size, 29999);

    buf_clear(&body);
    buf_add(&body, STR("{\"schemaVersion\":2,\"config\":" CONFIG ",\"subject\":" //
                       DESC(MEDIA_OCI_MANIFEST, A, "") ",\"annotations\":{"));
    for (int i = 0; i < 390; i++) {
        buf_addf(&body, "%s\"note.%d\":\"", i ? "," : "", i);
        memset(buf_reserve(&body, 10000), 'n', 10000);
        buf_added(&body, 10000);
        buf_addc(&body, '"');
    }
    buf_add(&body, STR("}}"));
    assert_int_equal(manifest_parse(buf_str(&body), STR_NONE, &notes, NULL), 0);
    assert_int_equal(json_len(notes.annotations), 390);
    assert_true(clock_boot_ms() - start < 5000); /* under sanitizers and load, too */

    while (body.len < MANIFEST_BYTES_MAX)
        buf_addc(&body, ' ');
    manifest_done(&notes);
    assert_int_equal(manifest_parse(buf_str(&body), STR_NONE, &notes, NULL), 0);
    buf_addc(&body, ' ');
    assert_int_equal(manifest_parse(buf_str(&body), STR_NONE, &over, NULL), -ERR_TOOBIG);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_types),
        cmocka_unit_test(test_refused),
        cmocka_unit_test(test_accepted),
        cmocka_unit_test(test_refs),
        cmocka_unit_test(test_unsupported_digest),
        cmocka_unit_test(test_artifact_type),
        cmocka_unit_test(test_borrows_no_header),
        cmocka_unit_test(test_large),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
