/* The configuration file: what it gives, precedence, and the line in each refusal. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <stdlib.h>
#include <string.h>

#include "registry/config.h"
#include "registry/config_file.h"

#define TEXT_MAX (64u << 10)

/* Settings from a file's text and flags. */
static int read_settings(const char *text, int argc, const char *const *argv, struct config *ret,
                         struct config_file **ret_file, struct err_detail *why)
{
    struct opt_list rest;
    char *args[4] = {NULL};
    int e;

    why->text[0] = 0;
    assert_true((size_t)argc <= ARRAY_LEN(args));
    for (int i = 0; i < argc; i++)
        args[i] = (char *)(uintptr_t)argv[i];
    e = config_file_parse(str_of(text), "s.yaml", ret_file, why);
    if (e < 0)
        return e;
    return opt_parse_file(config_specs, config_spec_count, config_file_get(*ret_file), argc, args,
                          ret, &rest, why);
}

static void test_values(void **state)
{
    struct config_file *file auto_config_file = NULL;
    struct config c;
    struct err_detail why;

    (void)state;
    assert_int_equal(read_settings("# all kinds\n"
                                   "root: /srv/x\n"
                                   "listen:\n  - 127.0.0.1:1\n  - \"[::1]:2\"\n"
                                   "workers: 7\n"
                                   "refuse-catalog: true\n"
                                   "references: none\n",
                                   0, NULL, &c, &file, &why),
                     0);
    assert_string_equal(c.root, "/srv/x");
    assert_int_equal(c.listen.count, 2);
    assert_string_equal(c.listen.at[0], "127.0.0.1:1");
    assert_string_equal(c.listen.at[1], "[::1]:2");
    assert_int_equal(c.workers, 7);
    assert_true(c.refuse.catalog);
    assert_false(c.refuse.tag_delete);
    assert_int_equal(c.references, 2);
}

static void test_precedence(void **state)
{
    static const char *const flags[] = {"--workers=9", "--listen", "127.0.0.1:4"};
    static const char text[] = "workers: 7\nlisten: 127.0.0.1:3\nroot: file\nexternal-url: file\n";
    struct config_file *file auto_config_file = NULL;
    struct config c;
    struct err_detail why;

    (void)state;
    setenv("STOWAGE_ROOT", "environment", 1);
    setenv("STOWAGE_WORKERS", "8", 1);
    assert_int_equal(read_settings(text, ARRAY_LEN(flags), flags, &c, &file, &why), 0);
    unsetenv("STOWAGE_ROOT");
    unsetenv("STOWAGE_WORKERS");
    assert_int_equal(c.workers, 9);
    assert_int_equal(c.listen.count, 1);
    assert_string_equal(c.listen.at[0], "127.0.0.1:4");
    assert_string_equal(c.root, "environment");
    assert_string_equal(c.external_url, "file");
    assert_string_equal(c.config_file, "");
}

static void test_nothing_said(void **state)
{
    static const char *const texts[] = {"", "# only this\n", "---\n", "{}\n"};
    struct config c;
    struct err_detail why;

    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(texts); i++) {
        struct config_file *file auto_config_file = NULL;

        assert_int_equal(read_settings(texts[i], 0, NULL, &c, &file, &why), 0);
        assert_string_equal(c.root, "./data");
    }
}

static void test_refused(void **state)
{
    static const struct {
        const char *text, *why;
    } rows[] = {
        {"root: a\nlisen: b\n", "s.yaml:2: there is no setting \"lisen\""},
        {"\nworkers: many\n", "s.yaml:2: workers: \"many\" is not a whole number"},
        {"workers: 1000\n", "s.yaml:1: workers: \"1000\" is not between 2 and 512"},
        {"references: lax\n", "s.yaml:1: references: \"lax\" is not one of strict|"},
        {"refuse-catalog: yes\n", "s.yaml:1: refuse-catalog: \"yes\" is not true or false"},
        {"workers: [1, 2]\n", "s.yaml:1: workers: one value is expected, not a list"},
        {"listen:\n- a\n- {b: c}\n", "s.yaml:3: a list holds plain values"},
        {"root:\n  x: y\n", "s.yaml:2: a value or a list of values is expected"},
        {"root:\nworkers: 3\n", "s.yaml:1: a value is expected"},
        {"root: a\nworkers: 3\nroot: b\n", "s.yaml:3: \"root\" stands in line 1 already"},
        {"root: &x a\nexternal-url: *x\n", "s.yaml:1: anchors are not read"},
        {"external-url: *x\n", "s.yaml:1: "},
        {"root: a\n---\nroot: b\n", "s.yaml:2: a second document is not read"},
        {"- root\n", "s.yaml:1: lines of the form NAME: VALUE are expected"},
        {"just words\n", "s.yaml:1: lines of the form NAME: VALUE are expected"},
        {"root: \"a\n", "s.yaml:2: this is no YAML"},
        {"root: a\n\tworkers: 3\n", "s.yaml:2: this is no YAML"},
        {"root: \"a\\0b\"\n", "s.yaml:1: a NUL is in this value"},
    };
    struct config c;
    struct err_detail why;

    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        struct config_file *file auto_config_file = NULL;

        assert_int_equal(read_settings(rows[i].text, 0, NULL, &c, &file, &why), -ERR_INVAL);
        if (strncmp(why.text, rows[i].why, strlen(rows[i].why)) != 0)
            fail_msg("%s\nexpected: %s\ngot: %s", rows[i].text, rows[i].why, why.text);
    }
}

static void test_files(void **state)
{
    struct config_file *file auto_config_file = NULL;
    struct err_detail why;

    (void)state;
    assert_int_equal(config_file_load("/nowhere/s.yaml", &file, &why), -ERR_NOTFOUND);
    assert_non_null(strstr(why.text, "/nowhere/s.yaml"));
    assert_int_equal(config_file_load("/dev/zero", &file, &why), -ERR_TOOBIG);
}

/* What `stowage config` prints is a file that gives the same. */
static void test_round_trip(void **state)
{
    static const char *const flags[] = {"--root=a \"b\" \\ \tc", "--listen=x:1", "--listen=y:2"};
    struct buf first auto_buf = BUF_INIT(TEXT_MAX), second auto_buf = BUF_INIT(TEXT_MAX);
    struct config_file *file auto_config_file = NULL, *again auto_config_file = NULL;
    struct config c;
    struct err_detail why;

    (void)state;
    assert_int_equal(
        read_settings("workers: 5\nlog-level: debug", ARRAY_LEN(flags), flags, &c, &file, &why), 0);
    opt_yaml(config_specs, config_spec_count, &c, &first);
    assert_int_equal(read_settings(buf_c(&first), 0, NULL, &c, &again, &why), 0);
    opt_yaml(config_specs, config_spec_count, &c, &second);
    assert_string_equal(buf_c(&first), buf_c(&second));
    assert_non_null(strstr(buf_c(&first), "listen: [\"x:1\", \"y:2\"]\n"));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_values),       cmocka_unit_test(test_precedence),
        cmocka_unit_test(test_nothing_said), cmocka_unit_test(test_refused),
        cmocka_unit_test(test_files),        cmocka_unit_test(test_round_trip),
    };

    for (size_t i = 0; i < config_spec_count; i++) {
        struct buf name auto_buf = BUF_INIT(128);

        opt_env_name(config_specs[i].name, &name);
        unsetenv(buf_c(&name));
    }
    return cmocka_run_group_tests(tests, NULL, NULL);
}
