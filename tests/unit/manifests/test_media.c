/* Media types: R84, R85, R89. */
#include "fixture.h"

static void test_kinds(void **state)
{
    (void)state;
    assert_int_equal(media_kind(STR(MEDIA_OCI_MANIFEST)), MEDIA_IMAGE);
    assert_int_equal(media_kind(STR(MEDIA_DOCKER_MANIFEST)), MEDIA_IMAGE);
    assert_int_equal(media_kind(STR(MEDIA_OCI_INDEX)), MEDIA_INDEX);
    assert_int_equal(media_kind(STR(MEDIA_DOCKER_LIST)), MEDIA_INDEX);
    assert_int_equal(media_kind(STR("application/vnd.oci.artifact.manifest.v1+json")), MEDIA_OTHER);
    assert_int_equal(media_kind(STR("application/vnd.docker.distribution.manifest.v1+json")),
                     MEDIA_OTHER);
    assert_int_equal(media_kind(STR("")), MEDIA_OTHER);
}

static void test_strip(void **state)
{
    static const char *const cases[][2] = {
        {"application/json", "application/json"},
        {"application/json; charset=utf-8", "application/json"},
        {" application/json \t;x", "application/json"},
        {";", ""},
        {"", ""},
    };

    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(cases); i++)
        check(str_eq(media_strip(str_of(cases[i][0])), str_of(cases[i][1])), "%s", cases[i][0]);
}

static void test_generic(void **state)
{
    (void)state;
    assert_true(media_generic(STR("")));
    assert_true(media_generic(STR("application/json")));
    assert_true(media_generic(STR("Application/JSON")));
    assert_true(media_generic(STR("application/octet-stream")));
    assert_true(media_generic(STR("text/plain")));
    assert_false(media_generic(STR(MEDIA_OCI_INDEX)));
    assert_false(media_generic(STR("text/html")));
}

static void test_foreign(void **state)
{
    static const char *const foreign[] = {
        "application/vnd.oci.image.layer.nondistributable.v1.tar",
        "application/vnd.oci.image.layer.nondistributable.v1.tar+gzip",
        "application/vnd.oci.image.layer.nondistributable.v1.tar+zstd",
        "application/vnd.docker.image.rootfs.foreign.diff.tar",
        "application/vnd.docker.image.rootfs.foreign.diff.tar.gzip",
    };

    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(foreign); i++)
        check(media_foreign(str_of(foreign[i])), "%s", foreign[i]);
    assert_false(media_foreign(STR("application/vnd.oci.image.layer.v1.tar+gzip")));
    assert_false(media_foreign(STR("")));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_kinds),
        cmocka_unit_test(test_strip),
        cmocka_unit_test(test_generic),
        cmocka_unit_test(test_foreign),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
