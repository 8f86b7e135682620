/* The option table: defaults, limits, and that the documents hold the tables of the program. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <stdio.h>
#include <stdlib.h>

#include "base/metrics.h"
#include "manifests/repo.h"
#include "registry/config.h"
#include "registry/http.h"

#define DOC_MAX (256u << 10)

extern char **environ;

static int parse(int argc, const char *const *argv, struct config *ret, struct err_detail *why)
{
    char *copy[8];
    struct opt_list rest;

    assert_true((size_t)argc <= ARRAY_LEN(copy));
    for (int i = 0; i < argc; i++)
        assert_non_null(copy[i] = strdup(argv[i]));
    why->text[0] = '\0';
    *ret = (struct config){.root = NULL};
    int e = opt_parse(config_specs, config_spec_count, argc, copy, ret, &rest, why);
    for (int i = 0; i < argc; i++)
        free(copy[i]);
    return e;
}

static void test_defaults(void **state)
{
    struct config c;
    struct err_detail why;

    (void)state;
    assert_int_equal(parse(0, NULL, &c, &why), 0);
    assert_string_equal(c.root, "./data");
    assert_int_equal(c.listen.count, 1);
    assert_string_equal(c.listen.at[0], "127.0.0.1:5000");
    assert_false(c.access.allow_anonymous_network);
    assert_int_equal(c.references, REFERENCES_STRICT);
    assert_int_equal(c.workers, 64);
    assert_string_equal(c.external_url, "");
    assert_false(c.refuse.tag_delete || c.refuse.manifest_delete || c.refuse.blob_delete);
    assert_false(c.refuse.catalog || c.refuse.anonymous_mount);
}

/* The words of --references stand in the order of enum references. */
static void test_references(void **state)
{
    static const struct {
        const char *word;
        enum references value;
    } rows[] = {{"strict", REFERENCES_STRICT},
                {"index-sparse", REFERENCES_INDEX_SPARSE},
                {"none", REFERENCES_NONE}};
    struct config c;
    struct err_detail why;

    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        const char *argv[] = {"--references", rows[i].word};

        assert_int_equal(parse(2, argv, &c, &why), 0);
        assert_int_equal(c.references, rows[i].value);
    }
}

static void test_refused(void **state)
{
    static const char *const rows[][2] = {
        {"--references", "loose"}, {"--references", ""},
        {"--workers", "1"},        {"--workers", "513"},
        {"--workers", "many"},     {"--log-level", "loud"},
        {"--listn", "x"},          {"--allow-anonymous-network=maybe", "x"},
    };
    struct config c;
    struct err_detail why;

    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        assert_int_equal(parse(2, rows[i], &c, &why), -ERR_INVAL);
        assert_true(why.text[0] != '\0');
    }
}

/* Fields do not overlap and lie within the struct. */
static void test_each_field_is_its_own(void **state)
{
    static const size_t sizes[] = {
        [OPT_STRING] = sizeof(char *),   [OPT_LIST] = sizeof(struct opt_list),
        [OPT_SIZE] = sizeof(int64_t),    [OPT_COUNT] = sizeof(int64_t),
        [OPT_SECONDS] = sizeof(int64_t), [OPT_BOOL] = sizeof(bool),
        [OPT_CHOICE] = sizeof(int),
    };
    static bool taken[sizeof(struct config)];

    (void)state;
    for (size_t i = 0; i < config_spec_count; i++) {
        const struct opt_spec *s = &config_specs[i];

        assert_true(s->offset + sizes[s->type] <= sizeof(struct config));
        for (size_t at = s->offset; at < s->offset + sizes[s->type]; at++) {
            if (taken[at])
                fail_msg("--%s shares its field", s->name);
            taken[at] = true;
        }
    }
}

static void test_names_and_help(void **state)
{
    (void)state;
    for (size_t i = 0; i < config_spec_count; i++) {
        const struct opt_spec *s = &config_specs[i];
        struct str help = str_of(s->help);

        for (size_t j = 0; j < i; j++)
            assert_string_not_equal(s->name, config_specs[j].name);
        if (help.len == 0 || help.at[help.len - 1] != '.')
            fail_msg("--%s: its help is no sentence", s->name);
    }
}

static void read_file(const char *path, struct buf *out)
{
    FILE *f = fopen(path, "r");
    char block[4096];
    size_t n;

    if (!f)
        fail_msg("cannot open %s", path);
    while ((n = fread(block, 1, sizeof(block), f)) > 0)
        buf_add(out, str_make(block, n));
    fclose(f);
    assert_int_equal(buf_err(out), 0);
}

static void read_document(const char *name, struct buf *out)
{
    const char *root = getenv("SOURCE_ROOT");
    char path[4096];

    if (!root)
        skip();
    snprintf(path, sizeof(path), "%s/docs/%s", root, name);
    read_file(path, out);
}

/* docs/configuration.md is written by hand around the table that the program makes. */
static void test_options_document(void **state)
{
    struct buf doc auto_buf = BUF_INIT(DOC_MAX), table auto_buf = BUF_INIT(DOC_MAX);

    (void)state;
    read_document("configuration.md", &doc);
    opt_markdown(config_specs, config_spec_count, &table);
    assert_int_equal(buf_err(&table), 0);
    if (strstr(buf_c(&doc), buf_c(&table)))
        return;
    fprintf(stderr, "%s", buf_c(&table)); /* longer than a message of the test library */
    fail_msg("docs/configuration.md lacks the table above");
}

static void test_metrics_document(void **state)
{
    static const char *const names[] = {
#define METRIC_TEXT(name, help) "`stowage_" #name "`",
        METRICS_TABLE(METRIC_TEXT, METRIC_TEXT, METRIC_TEXT)
#undef METRIC_TEXT
    };
    struct buf doc auto_buf = BUF_INIT(DOC_MAX);

    (void)state;
    read_document("operations.md", &doc);
    for (size_t i = 0; i < ARRAY_LEN(names); i++)
        if (!strstr(buf_c(&doc), names[i]))
            fail_msg("docs/operations.md lacks %s", names[i]);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_defaults),         cmocka_unit_test(test_references),
        cmocka_unit_test(test_refused),          cmocka_unit_test(test_each_field_is_its_own),
        cmocka_unit_test(test_names_and_help),   cmocka_unit_test(test_options_document),
        cmocka_unit_test(test_metrics_document),
    };

    /* Settings of whoever runs the tests are not ours. */
    for (size_t i = 0; i < config_spec_count; i++) {
        struct buf name auto_buf = BUF_INIT(128);

        opt_env_name(config_specs[i].name, &name);
        unsetenv(buf_c(&name));
    }
    return cmocka_run_group_tests(tests, NULL, NULL);
}
