/* Log lines, read back from a pipe put in place of stderr. */
#include <fcntl.h>
#include <unistd.h>

#include "base/log.h"
#include "base/metrics.h"
#include "check.h"

#define READ_MAX 32768
#define HEX_44   "0123456789abcdef0123456789abcdef0123456789ab"
#define HEX_64   HEX_44 "cdef0123456789abcdef"

static int pipe_read_end, saved_stderr;
static char got[READ_MAX];

static void capture_start(void)
{
    int ends[2];

    assert_int_equal(pipe2(ends, O_CLOEXEC), 0);
    saved_stderr = dup(2);
    assert_true(saved_stderr >= 0);
    assert_int_equal(dup2(ends[1], 2), 2);
    close(ends[1]);
    pipe_read_end = ends[0];
}

/* What was written since, as text. */
static const char *capture_end(void)
{
    size_t n = 0;
    ssize_t r;

    dup2(saved_stderr, 2);
    close(saved_stderr);
    while ((r = read(pipe_read_end, got + n, sizeof(got) - 1 - n)) > 0)
        n += (size_t)r;
    close(pipe_read_end);
    got[n] = '\0';
    return got;
}

static void lines_have_the_form(void **state)
{
    const char *text;

    (void)state;
    capture_start();
    log_info("blob.put", KV_S("digest", "sha256:ab"), KV_I("bytes", -42), KV_I("min", INT64_MIN),
             KV_V("v", STR("x y")));
    text = capture_end();
    assert_memory_equal(text, "ts=20", 5);
    assert_string_equal(text + 27, " level=info event=blob.put digest=sha256:ab bytes=-42 "
                                   "min=-9223372036854775808 v=\"x y\"\n");
    assert_int_equal(text[26], 'Z');
}

static void values_are_quoted(void **state)
{
    static const struct {
        struct str in;
        const char *out;
    } cases[] = {
        {{"plain/path:1", 12}, "plain/path:1"},
        {{"", 0}, "\"\""},
        {{NULL, 0}, "\"\""},
        {{"a b", 3}, "\"a b\""},
        {{"a=b", 3}, "\"a=b\""},
        {{"say \"hi\"", 8}, "\"say \\\"hi\\\"\""},
        {{"c:\\x", 4}, "\"c:\\\\x\""},
        {{"l1\nl2", 5}, "\"l1\\nl2\""},
        {{"\t\r\0\x1b\x7f", 5}, "\"\\x09\\x0d\\x00\\x1b\\x7f\""},
        {{"gr\xc3\xbc\xc3\x9f", 6}, "gr\xc3\xbc\xc3\x9f"},
        {{"\xff\xc3", 2}, "\"\\xff\\xc3\""},
        {{"uploads/" HEX_64 "012345678901/x", 86}, "uploads/" HEX_44 ".../x"},
        {{"/" HEX_64, 65}, "/" HEX_64},
        {{"sha512:" HEX_64 HEX_64 ",", 136}, "sha512:" HEX_64 HEX_64 ","},
        {{HEX_64 HEX_64 "0" HEX_64, 193}, HEX_44 "..."},
    };

    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        char want[200];
        const char *text;

        capture_start();
        log_error("e", KV_V("k", cases[i].in));
        text = capture_end();
        snprintf(want, sizeof(want), " level=error event=e k=%s\n", cases[i].out);
        assert_string_equal(text + 27, want);
    }
}

static void lines_are_bounded(void **state)
{
    static char huge[100000];
    struct log_kv kv[12];
    const char *text;
    size_t len;

    (void)state;
    memset(huge, 'h', sizeof(huge));
    capture_start();
    log_warn("big", KV_V("k", str_make(huge, sizeof(huge))), KV_I("after", 1));
    text = capture_end();
    assert_non_null(strstr(text, "hhh... after=1\n"));
    memset(huge, '\n', sizeof(huge));
    for (size_t i = 0; i < 11; i++)
        kv[i] = KV_V("k", str_make(huge, sizeof(huge)));
    kv[11] = KV_END;
    capture_start();
    log_event(LOG_WARN, "bigger", kv);
    text = capture_end();
    len = strlen(text);
    assert_true(len <= 4096);
    assert_ptr_equal(strchr(text, '\n'), text + len - 1);
}

static void levels_filter(void **state)
{
    enum log_level level = LOG_INFO;
    const char *text;

    (void)state;
    capture_start();
    log_debug("hidden", KV_I("n", 1));
    log_set_level(LOG_ERROR);
    log_warn("hidden", KV_I("n", 2));
    log_error("shown", KV_I("n", 3));
    log_set_level(LOG_DEBUG);
    log_debug("shown", KV_I("n", 4));
    log_set_level(LOG_INFO);
    text = capture_end();
    assert_null(strstr(text, "hidden"));
    assert_non_null(strstr(text, "event=shown n=3\n"));
    assert_non_null(strstr(text, "level=debug event=shown n=4\n"));
    assert_true(log_level_parse(STR("warn"), &level));
    assert_int_equal(level, LOG_WARN);
    assert_false(log_level_parse(STR("WARN"), &level));
    assert_false(log_level_parse(STR_NONE, &level));
}

static void alarms_are_kept(void **state)
{
    static const char *const names[] = {"a0",  "a1",  "a2",  "a3",  "a4",  "a5",
                                        "a6",  "a7",  "a8",  "a9",  "a10", "a11",
                                        "a12", "a13", "a14", "a15", "a16", "a17"};
    const char *alarms[LOG_ALARMS_MAX];
    struct log_kv kv[] = {KV_S("key", "r/app/_log/0007"), KV_END};
    const char *text;

    (void)state;
    assert_int_equal(log_alarms(alarms), 0);
    capture_start();
    log_alarm("log.corrupt", kv);
    log_alarm("store.torn", NULL);
    log_alarm("log.corrupt", kv);
    text = capture_end();
    assert_non_null(strstr(text, "level=error event=log.corrupt key=r/app/_log/0007\n"));
    assert_int_equal(metric_value(METRIC_alarms_total), 3);
    assert_int_equal(log_alarms(alarms), 2);
    assert_string_equal(alarms[0], "log.corrupt");
    assert_string_equal(alarms[1], "store.torn");
    capture_start();
    for (size_t i = 0; i < ARRAY_LEN(names); i++)
        log_alarm(names[i], NULL);
    (void)capture_end();
    assert_int_equal(log_alarms(alarms), LOG_ALARMS_MAX);
    assert_string_equal(alarms[LOG_ALARMS_MAX - 1], "a13");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(lines_have_the_form), cmocka_unit_test(values_are_quoted),
        cmocka_unit_test(lines_are_bounded),   cmocka_unit_test(levels_filter),
        cmocka_unit_test(alarms_are_kept),
    };

    return cmocka_run_group_tests_name("log", tests, NULL, NULL);
}
