/* Counters, gauges, histograms and their exposition. */
#include "base/metrics.h"
#include "base/thread.h"
#include "check.h"

#define ROUNDS 20000

static void values(void **state)
{
    (void)state;
    assert_int_equal(metric_value(METRIC_store_gets_total), 0);
    metric_add(METRIC_store_gets_total, 1);
    metric_add(METRIC_store_gets_total, 41);
    assert_int_equal(metric_value(METRIC_store_gets_total), 42);
    metric_set(METRIC_http_connections, 7);
    metric_add(METRIC_http_connections, -3);
    assert_int_equal(metric_value(METRIC_http_connections), 4);
}

static void bump(void *arg)
{
    (void)arg;
    for (int i = 0; i < ROUNDS; i++) {
        metric_add(METRIC_store_puts_total, 1);
        metric_add(METRIC_upload_streams_open, i % 2 ? -1 : 1);
    }
}

static void threads_do_not_lose_counts(void **state)
{
    struct thread t[4];

    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(t); i++)
        assert_int_equal(thread_start(&t[i], "bump", bump, NULL), 0);
    for (size_t i = 0; i < ARRAY_LEN(t); i++)
        thread_join(&t[i]);
    assert_int_equal(metric_value(METRIC_store_puts_total), 4 * ROUNDS);
    assert_int_equal(metric_value(METRIC_upload_streams_open), 0);
}

static void exposition(void **state)
{
    static const char *const wanted[] = {
        "# HELP stowage_store_gets_total Objects read from the store\n"
        "# TYPE stowage_store_gets_total counter\n"
        "stowage_store_gets_total 42\n",
        "# TYPE stowage_http_connections gauge\nstowage_http_connections 4\n",
        "# TYPE stowage_http_request_seconds histogram\n"
        "stowage_http_request_seconds_bucket{le=\"0.0005\"} 3\n"
        "stowage_http_request_seconds_bucket{le=\"0.001\"} 4\n",
        "stowage_http_request_seconds_bucket{le=\"30\"} 5\n"
        "stowage_http_request_seconds_bucket{le=\"60\"} 6\n"
        "stowage_http_request_seconds_bucket{le=\"+Inf\"} 7\n"
        "stowage_http_request_seconds_sum 3690.001000003\n"
        "stowage_http_request_seconds_count 7\n",
    };
    static const int64_t observed[] = {-5,          2,           500000,       500001,
                                       30000000000, 60000000000, 3600000000000};
    struct buf b auto_buf = BUF_INIT(65536);

    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(observed); i++)
        metric_observe_ns(METRIC_http_request_seconds, observed[i]);
    metrics_render(&b);
    assert_int_equal(buf_err(&b), 0);
    for (size_t i = 0; i < ARRAY_LEN(wanted); i++)
        check(strstr(buf_c(&b), wanted[i]), "missing %s\nin\n%s", wanted[i], buf_c(&b));
}

/* Each line is a comment of the known kinds or "name[{labels}] value". */
static void lines_are_well_formed(void **state)
{
    struct buf b auto_buf = BUF_INIT(65536);
    struct str rest;
    size_t metrics = 0;

    (void)state;
    metrics_render(&b);
    rest = buf_str(&b);
    while (rest.len > 0) {
        ptrdiff_t end = str_find(rest, '\n');
        struct str line = str_head(rest, (size_t)end);

        assert_true(end > 0);
        rest = str_skip(rest, (size_t)end + 1);
        metrics += str_starts(line, STR("# TYPE stowage_"));
        if (line.at[0] == '#')
            assert_true(str_starts(line, STR("# TYPE stowage_")) ||
                        str_starts(line, STR("# HELP stowage_")));
        else
            assert_true(str_starts(line, STR("stowage_")) && str_find(line, ' ') > 0);
    }
    assert_int_equal(metrics, METRIC_COUNT);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(values),
        cmocka_unit_test(threads_do_not_lose_counts),
        cmocka_unit_test(exposition),
        cmocka_unit_test(lines_are_well_formed),
    };

    return cmocka_run_group_tests_name("metrics", tests, NULL, NULL);
}
