/* The option table: precedence, kinds of values, refusals, and the texts made from it. */
#include <stdlib.h>

#include "base/opt.h"
#include "check.h"

struct settings {
    const char *root, *none;
    struct opt_list listen;
    int64_t bytes, workers, idle;
    bool open;
    int references;
};

#define AT(field) offsetof(struct settings, field)

static const struct opt_spec specs[] = {
    {"root", OPT_STRING, "DIR", "data", NULL, 0, 0, "Folder of the store.", AT(root)},
    {"none", OPT_STRING, NULL, NULL, NULL, 0, 0, "Has no default.", AT(none)},
    {"listen", OPT_LIST, "HOST:PORT", "127.0.0.1:5000", NULL, 0, 0, "Address.", AT(listen)},
    {"body-bytes-max", OPT_SIZE, "BYTES", "4MiB", NULL, 1024, INT64_C(1) << 40, "Limit.",
     AT(bytes)},
    {"workers", OPT_COUNT, "N", "4", NULL, 1, 256, "Threads.", AT(workers)},
    {"idle", OPT_SECONDS, "TIME", "24h", NULL, 0, 0, "Idle time.", AT(idle)},
    {"allow-anonymous-network", OPT_BOOL, NULL, NULL, NULL, 0, 0, "Opens.", AT(open)},
    {"references", OPT_CHOICE, NULL, "strict", "strict|index-sparse|none", 0, 0, "Policy.",
     AT(references)},
};

#define ARGS_MAX 24

/* Parses the NULL-ended list of arguments. */
static int parse(const char *const *args, struct settings *s, struct opt_list *rest,
                 struct err_detail *d)
{
    char *argv[ARGS_MAX];
    int argc = 0;

    memset(s, 0xee, sizeof(*s));
    d->text[0] = '\0';
    for (; args[argc]; argc++) {
        assert_true(argc < ARGS_MAX);
        argv[argc] = strdup(args[argc]);
        assert_non_null(argv[argc]);
    }
    int r = opt_parse(specs, ARRAY_LEN(specs), argc, argv, s, rest, d);

    /* Strings are borrowed from argv: exchange them for those of the table of the test. */
    for (int i = 0; i < argc; i++) {
        for (size_t k = 0; r == 0 && rest && k < rest->count; k++) {
            if (rest->at[k] == argv[i])
                rest->at[k] = args[i];
        }
    }
    for (int i = 0; i < argc; i++) {
        size_t len = strlen(argv[i]);

        for (size_t k = 0; r == 0 && k < s->listen.count; k++) {
            if (s->listen.at[k] >= argv[i] && s->listen.at[k] <= argv[i] + len)
                s->listen.at[k] = args[i] + (s->listen.at[k] - argv[i]);
        }
        if (r == 0 && s->root >= argv[i] && s->root <= argv[i] + len)
            s->root = args[i] + (s->root - argv[i]);
        free(argv[i]);
    }
    return r;
}

#define PARSE(s, rest, d, ...) parse((const char *const[]){__VA_ARGS__, NULL}, (s), (rest), (d))

static void defaults(void **state)
{
    struct opt_list rest;
    struct err_detail d;
    struct settings s;

    (void)state;
    assert_int_equal(parse((const char *const[]){NULL}, &s, &rest, &d), 0);
    assert_string_equal(s.root, "data");
    assert_null(s.none);
    assert_int_equal(s.listen.count, 1);
    assert_string_equal(s.listen.at[0], "127.0.0.1:5000");
    assert_int_equal(s.bytes, 4 << 20);
    assert_int_equal(s.workers, 4);
    assert_int_equal(s.idle, 86400);
    assert_false(s.open);
    assert_int_equal(s.references, 0);
    assert_int_equal(rest.count, 0);
}

static void flags(void **state)
{
    struct opt_list rest;
    struct err_detail d;
    struct settings s;

    (void)state;
    assert_int_equal(PARSE(&s, &rest, &d, "NAME:TAG", "--root", "a dir", "--listen=[::1]:0",
                           "--listen", "unix:/run/s", "--workers=8", "--allow-anonymous-network",
                           "--references", "none", "-", "--body-bytes-max", "64KiB", "--idle=15m",
                           "--", "--root"),
                     0);
    assert_string_equal(s.root, "a dir");
    assert_int_equal(s.listen.count, 2); /* the default is replaced */
    assert_string_equal(s.listen.at[0], "[::1]:0");
    assert_string_equal(s.listen.at[1], "unix:/run/s");
    assert_int_equal(s.workers, 8);
    assert_true(s.open);
    assert_int_equal(s.references, 2);
    assert_int_equal(s.bytes, 65536);
    assert_int_equal(s.idle, 900);
    assert_int_equal(rest.count, 3);
    assert_string_equal(rest.at[0], "NAME:TAG");
    assert_string_equal(rest.at[1], "-");
    assert_string_equal(rest.at[2], "--root");
    assert_int_equal(PARSE(&s, &rest, &d, "--root=a", "--root=", "--root=b=c"), 0);
    assert_string_equal(s.root, "b=c"); /* the last one counts */
    assert_int_equal(
        PARSE(&s, &rest, &d, "--allow-anonymous-network", "--allow-anonymous-network=false"), 0);
    assert_false(s.open);
}

static void environment(void **state)
{
    struct opt_list rest;
    struct err_detail d;
    struct settings s;

    (void)state;
    setenv("STOWAGE_ROOT", "/env", 1);
    setenv("STOWAGE_LISTEN", "127.0.0.1:1", 1);
    setenv("STOWAGE_ALLOW_ANONYMOUS_NETWORK", "true", 1);
    setenv("STOWAGE_WORKERS", "", 1); /* as if absent */
    assert_int_equal(parse((const char *const[]){NULL}, &s, &rest, &d), 0);
    assert_string_equal(s.root, "/env");
    assert_int_equal(s.listen.count, 1);
    assert_string_equal(s.listen.at[0], "127.0.0.1:1");
    assert_true(s.open);
    assert_int_equal(s.workers, 4);
    assert_int_equal(PARSE(&s, &rest, &d, "--root=/flag", "--listen", "127.0.0.1:2",
                           "--allow-anonymous-network=false"),
                     0);
    assert_string_equal(s.root, "/flag");
    assert_int_equal(s.listen.count, 1);
    assert_string_equal(s.listen.at[0], "127.0.0.1:2");
    assert_false(s.open);
    setenv("STOWAGE_WORKERS", "many", 1);
    assert_int_equal(parse((const char *const[]){NULL}, &s, &rest, &d), -ERR_INVAL);
    assert_string_equal(d.text, "STOWAGE_WORKERS: \"many\" is not a whole number");
    unsetenv("STOWAGE_ROOT");
    unsetenv("STOWAGE_LISTEN");
    unsetenv("STOWAGE_ALLOW_ANONYMOUS_NETWORK");
    unsetenv("STOWAGE_WORKERS");
}

static void refusals(void **state)
{
    static const struct {
        const char *args[3];
        const char *detail;
    } cases[] = {
        {{"--bogus"}, "unknown flag --bogus"},
        {{"--bogus=1"}, "unknown flag --bogus"},
        {{"-r"}, "unknown flag -r"},
        {{"-root"}, "unknown flag -root"},
        {{"--roo", "x"}, "unknown flag --roo"},
        {{"--=x"}, "unknown flag --"},
        {{"--root"}, "--root needs a value"},
        {{"--workers", "0"}, "--workers: \"0\" is not between 1 and 256"},
        {{"--workers", "257"}, "--workers: \"257\" is not between 1 and 256"},
        {{"--workers", "-1"}, "--workers: \"-1\" is not a whole number"},
        {{"--workers", "4k"}, "--workers: \"4k\" is not a whole number"},
        {{"--workers="}, "--workers: \"\" is not a whole number"},
        {{"--workers", " 4"}, "--workers: \" 4\" is not a whole number"},
        {{"--body-bytes-max", "4MB"},
         "--body-bytes-max: \"4MB\" is not a size such as 1048576, 64KiB or 4MiB"},
        {{"--body-bytes-max", "1.5GiB"}, "is not a size"},
        {{"--body-bytes-max", "KiB"}, "is not a size"},
        {{"--body-bytes-max", "8388608TiB"}, "is not a size"}, /* past 63 bits */
        {{"--body-bytes-max", "1023"}, "is not between 1024 and 1099511627776"},
        {{"--idle", "1w"}, "--idle: \"1w\" is not a time such as 90, 15m or 24h"},
        {{"--idle", "99999999999999999999"}, "is not a time"},
        {{"--allow-anonymous-network=yes"},
         "--allow-anonymous-network: \"yes\" is not true or false"},
        {{"--references", "index"},
         "--references: \"index\" is not one of strict|index-sparse|none"},
        {{"--references", ""}, "is not one of"},
        {{"--references", "strict|none"}, "is not one of"},
    };

    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        struct opt_list rest;
        struct err_detail d;
        struct settings s;
        int r = parse(cases[i].args, &s, &rest, &d);

        check(r == -ERR_INVAL, "case %zu", i);
        check(strstr(d.text, cases[i].detail), "case %zu says \"%s\"", i, d.text);
    }
}

static void numbers(void **state)
{
    static const struct {
        const char *flag, *text;
        int64_t v;
    } cases[] = {
        {"--body-bytes-max", "1024", 1024},
        {"--body-bytes-max", "1024B", 1024},
        {"--body-bytes-max", "1KiB", 1024},
        {"--body-bytes-max", "1GiB", INT64_C(1) << 30},
        {"--body-bytes-max", "1TiB", INT64_C(1) << 40},
        {"--idle", "0", 0},
        {"--idle", "90", 90},
        {"--idle", "90s", 90},
        {"--idle", "7d", 604800},
        {"--idle", "9223372036854775807", INT64_MAX},
    };

    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        struct opt_list rest;
        struct err_detail d;
        struct settings s;
        int r = PARSE(&s, &rest, &d, cases[i].flag, cases[i].text);
        int64_t v = cases[i].flag[2] == 'b' ? s.bytes : s.idle;

        check(r == 0 && v == cases[i].v, "%s %s", cases[i].flag, cases[i].text);
    }
}

static void lists_and_rest_are_bounded(void **state)
{
    const char *args[OPT_LIST_MAX + 2] = {NULL};
    struct opt_list rest;
    struct err_detail d;
    struct settings s;

    (void)state;
    for (size_t i = 0; i < OPT_LIST_MAX; i++)
        args[i] = "--listen=x";
    assert_int_equal(parse(args, &s, &rest, &d), 0);
    assert_int_equal(s.listen.count, OPT_LIST_MAX);
    args[OPT_LIST_MAX] = "--listen=x";
    assert_int_equal(parse(args, &s, &rest, &d), -ERR_INVAL);
    assert_string_equal(d.text, "--listen: given more than 16 times");
    for (size_t i = 0; i < OPT_LIST_MAX; i++)
        args[i] = "rest";
    args[OPT_LIST_MAX] = "too-many";
    assert_int_equal(parse(args, &s, &rest, &d), -ERR_INVAL);
    assert_string_equal(d.text, "unexpected argument \"too-many\"");
    assert_int_equal(PARSE(&s, NULL, &d, "extra"), -ERR_INVAL);
    assert_string_equal(d.text, "unexpected argument \"extra\"");
}

static void texts(void **state)
{
    static const struct {
        void (*fn)(const struct opt_spec *specs, size_t count, struct buf *out);
        const char *wanted[5];
    } cases[] = {
        {opt_help,
         {"  --root DIR                      Folder of the store. Default: data.\n",
          "  --listen HOST:PORT              Address. Repeatable. Default: 127.0.0.1:5000.\n",
          "  --allow-anonymous-network       Opens.\n",
          "  --references strict|index-sparse|none\n"
          "                                  Policy. Default: strict.\n",
          "  --none VALUE                    Has no default.\n"}},
        {opt_roff,
         {".TP\n\\fB\\-\\-root\\fR \\fIDIR\\fR, \\fBSTOWAGE_ROOT\\fR\n"
          "Folder of the store. Default: data.\n",
          "\\fB\\-\\-allow\\-anonymous\\-network\\fR, \\fBSTOWAGE_ALLOW_ANONYMOUS_NETWORK\\fR\n",
          "\\fIstrict|index\\-sparse|none\\fR"}},
        {opt_markdown,
         {"| Flag | Environment | Default | Meaning |\n|---|---|---|---|\n| `--root DIR` | "
          "`STOWAGE_ROOT` | `data` | Folder of the store. |\n",
          "| `--references strict\\|index-sparse\\|none` | `STOWAGE_REFERENCES` | `strict` |",
          "| `--none VALUE` | `STOWAGE_NONE` |  | Has no default. |\n"}},
    };

    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        struct buf b auto_buf = BUF_INIT(10000);

        cases[i].fn(specs, ARRAY_LEN(specs), &b);
        assert_int_equal(buf_err(&b), 0);
        for (size_t k = 0; k < ARRAY_LEN(cases[i].wanted) && cases[i].wanted[k]; k++)
            check(strstr(buf_c(&b), cases[i].wanted[k]), "missing \"%s\" in\n%s",
                  cases[i].wanted[k], buf_c(&b));
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(defaults),    cmocka_unit_test(flags),
        cmocka_unit_test(environment), cmocka_unit_test(refusals),
        cmocka_unit_test(numbers),     cmocka_unit_test(lists_and_rest_are_bounded),
        cmocka_unit_test(texts),
    };

    return cmocka_run_group_tests_name("opt", tests, NULL, NULL);
}
