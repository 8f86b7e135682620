/* Range and If-None-Match as R34-R38 want them, at the edges of sizes, too. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "registry/conditional.h"

#define D "sha256:e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"

static const struct {
    const char *header;
    bool listed;
} etags[] = {
    {"\"" D "\"", true},
    {D, true},
    {"W/\"" D "\"", true},
    {"W/" D, true},
    {"*", true},
    {"\"x\", \"" D "\"", true},
    {"\"x\",\t W/\"" D "\" , \"y\"", true},
    {" \"" D "\" ", true},
    {",,\"" D "\"", true},
    {"\"x\", *", true},
    {"", false},
    {",", false},
    {"\"", false},
    {"\"\"", false},
    {"W/", false},
    {"\"x\"", false},
    {"\"" D, false},
    {D "\"", false},
    {"\"" D "0\"", false},
    {"w/\"" D "\"", false},
    {"\"SHA256" D "\"", false},
};

static void test_etag(void **state)
{
    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(etags); i++)
        if (etag_listed(str_of(etags[i].header), STR(D)) != etags[i].listed)
            fail_msg("%s", etags[i].header);
}

#define E "sha256:0000000000000000000000000000000000000000000000000000000000000000"

static const struct {
    const char *header;
    bool strong, any;
    size_t count; /* D, then E */
} lists[] = {
    {"\"" D "\"", true, false, 1},
    {D, true, false, 1},
    {"W/\"" D "\"", true, false, 0},
    {"W/\"" D "\"", false, false, 1},
    {"W/" D ", " D, true, false, 1},
    {"\"" D "\",\"" E "\"", true, false, 2},
    {",, " D " ,\t" E ",", false, false, 2},
    {"*", true, true, 0},
    {D ", *", true, true, 1},
    {"\"x\", \"" D "\", W/\"y\"", true, false, 1},
    {"", true, false, 0},
    {"\"", true, false, 0},
    {"\"" D, true, false, 0},
};

static void test_lists(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof(lists) / sizeof(lists[0]); i++) {
        struct str at[8], header = str_of(lists[i].header);
        struct etag_list list = {.at = at, .max = etags_max(header)};

        assert_true(list.max <= 8);
        etags_add(header, lists[i].strong, &list);
        if (list.any != lists[i].any || list.count != lists[i].count ||
            (list.count > 0 && !str_eq(at[0], STR(D))) ||
            (list.count > 1 && !str_eq(at[1], STR(E))))
            fail_msg("%s", lists[i].header);
    }
}

/* ---- Ranges. */
#define MAX3 4
struct wanted {
    const char *header;
    uint64_t size;
    enum range_kind kind;
    size_t count;
    struct byte_range ranges[MAX3];
};

#define U64 UINT64_MAX
#define I64 ((uint64_t)INT64_MAX)

static const struct wanted range_rows[] = {
    /* The shapes of the suite (R34, R35) on 2048 bytes. */
    {"bytes=500-1499", 2048, RANGE_SOME, 1, {{500, 1499}}},
    {"bytes=500-", 2048, RANGE_SOME, 1, {{500, 2047}}},
    {"bytes=-500", 2048, RANGE_SOME, 1, {{1548, 2047}}},
    {"bytes=2000-5000", 2048, RANGE_SOME, 1, {{2000, 2047}}},
    {"bytes=500-0", 2048, RANGE_UNSATISFIABLE, 0, {{0, 0}}},
    {"bytes=5000-10000", 2048, RANGE_UNSATISFIABLE, 0, {{0, 0}}},
    /* Ends. */
    {"bytes=0-0", 2048, RANGE_SOME, 1, {{0, 0}}},
    {"bytes=0-2047", 2048, RANGE_SOME, 1, {{0, 2047}}},
    {"bytes=2047-2047", 2048, RANGE_SOME, 1, {{2047, 2047}}},
    {"bytes=2047-", 2048, RANGE_SOME, 1, {{2047, 2047}}},
    {"bytes=2048-", 2048, RANGE_UNSATISFIABLE, 0, {{0, 0}}},
    {"bytes=2048-2048", 2048, RANGE_UNSATISFIABLE, 0, {{0, 0}}},
    {"bytes=-1", 2048, RANGE_SOME, 1, {{2047, 2047}}},
    {"bytes=-2048", 2048, RANGE_SOME, 1, {{0, 2047}}},
    {"bytes=-9999", 2048, RANGE_SOME, 1, {{0, 2047}}},
    {"bytes=-0", 2048, RANGE_UNSATISFIABLE, 0, {{0, 0}}},
    /* One byte, none. */
    {"bytes=0-", 1, RANGE_SOME, 1, {{0, 0}}},
    {"bytes=0-99", 1, RANGE_SOME, 1, {{0, 0}}},
    {"bytes=-1", 1, RANGE_SOME, 1, {{0, 0}}},
    {"bytes=1-", 1, RANGE_UNSATISFIABLE, 0, {{0, 0}}},
    {"bytes=0-", 0, RANGE_UNSATISFIABLE, 0, {{0, 0}}},
    {"bytes=0-0", 0, RANGE_UNSATISFIABLE, 0, {{0, 0}}},
    {"bytes=-1", 0, RANGE_UNSATISFIABLE, 0, {{0, 0}}},
    {"bytes=1-0", 0, RANGE_UNSATISFIABLE, 0, {{0, 0}}},
    /* Numbers at the limit. */
    {"bytes=0-18446744073709551615", 10, RANGE_SOME, 1, {{0, 9}}},
    {"bytes=-18446744073709551615", 10, RANGE_SOME, 1, {{0, 9}}},
    {"bytes=18446744073709551615-", 10, RANGE_UNSATISFIABLE, 0, {{0, 0}}},
    {"bytes=18446744073709551615-18446744073709551615", 10, RANGE_UNSATISFIABLE, 0, {{0, 0}}},
    {"bytes=0-18446744073709551616", 10, RANGE_NONE, 0, {{0, 0}}},
    {"bytes=99999999999999999999-", 10, RANGE_NONE, 0, {{0, 0}}},
    {"bytes=0-", U64, RANGE_SOME, 1, {{0, U64 - 1}}},
    {"bytes=18446744073709551614-", U64, RANGE_SOME, 1, {{U64 - 1, U64 - 1}}},
    {"bytes=18446744073709551615-", U64, RANGE_UNSATISFIABLE, 0, {{0, 0}}},
    {"bytes=-1", U64, RANGE_SOME, 1, {{U64 - 1, U64 - 1}}},
    /* Sums; places end at INT64_MAX. */
    {"bytes=0-,0-", I64, RANGE_NONE, 0, {{0, 0}}},
    {"bytes=0-,1-,2-,3-,4-", I64, RANGE_NONE, 0, {{0, 0}}},
    {"bytes=0-4611686018427387903,4611686018427387904-",
     I64,
     RANGE_SOME,
     2,
     {{0, I64 / 2}, {I64 / 2 + 1, I64 - 1}}},
    {"bytes=0-4611686018427387903,4611686018427387904-,-1", I64, RANGE_NONE, 0, {{0, 0}}},
    /* Several: order kept, not merged, unsatisfiable ones left out (R36). */
    {"bytes=0-1,4-5", 10, RANGE_SOME, 2, {{0, 1}, {4, 5}}},
    {"bytes=4-5,0-1", 10, RANGE_SOME, 2, {{4, 5}, {0, 1}}},
    {"bytes=0-1,1-2", 10, RANGE_SOME, 2, {{0, 1}, {1, 2}}},
    {"bytes=0-1, 4-5 ,\t-2", 10, RANGE_SOME, 3, {{0, 1}, {4, 5}, {8, 9}}},
    {"bytes=0-1,20-30", 10, RANGE_SOME, 1, {{0, 1}}},
    {"bytes=0-1,5-4,-1", 10, RANGE_SOME, 2, {{0, 1}, {9, 9}}},
    {"bytes=20-30,40-50", 10, RANGE_UNSATISFIABLE, 0, {{0, 0}}},
    {"bytes=0-4,5-9", 10, RANGE_SOME, 2, {{0, 4}, {5, 9}}},
    {"bytes=0-4,5-9,0-0", 10, RANGE_NONE, 0, {{0, 0}}},
    {"bytes=0-,0-", 10, RANGE_NONE, 0, {{0, 0}}},
    {"bytes=0-1,", 10, RANGE_SOME, 1, {{0, 1}}},
    /* Blanks and letters. */
    {" bytes=0-1 ", 10, RANGE_SOME, 1, {{0, 1}}},
    {"bytes= 0-1", 10, RANGE_SOME, 1, {{0, 1}}},
    {"bytes=0000000000000000000000001-2", 10, RANGE_SOME, 1, {{1, 2}}},
    /* Not ranges: ignored (R35). */
    {"", 10, RANGE_NONE, 0, {{0, 0}}},
    {"bytes", 10, RANGE_NONE, 0, {{0, 0}}},
    {"bytes=", 10, RANGE_NONE, 0, {{0, 0}}},
    {"bytes=-", 10, RANGE_NONE, 0, {{0, 0}}},
    {"bytes=x-1", 10, RANGE_NONE, 0, {{0, 0}}},
    {"bytes=1-x", 10, RANGE_NONE, 0, {{0, 0}}},
    {"bytes=+1-2", 10, RANGE_NONE, 0, {{0, 0}}},
    {"bytes=--1", 10, RANGE_NONE, 0, {{0, 0}}},
    {"bytes=1", 10, RANGE_NONE, 0, {{0, 0}}},
    {"bytes=0-1-2", 10, RANGE_NONE, 0, {{0, 0}}},
    {"bytes=0-1;2-3", 10, RANGE_NONE, 0, {{0, 0}}},
    {"bytes=0-1,x", 10, RANGE_NONE, 0, {{0, 0}}},
    {"bytes=,0-1", 10, RANGE_NONE, 0, {{0, 0}}},
    {"bytes 0-1", 10, RANGE_NONE, 0, {{0, 0}}},
    {"items=0-1", 10, RANGE_NONE, 0, {{0, 0}}},
    {"0-1", 10, RANGE_NONE, 0, {{0, 0}}},
};

static void check(const struct wanted *w)
{
    static struct byte_range out[HTTP_RANGES_MAX];
    size_t count = 77;
    enum range_kind kind = ranges_parse(str_of(w->header), w->size, out, &count);

    if (kind != w->kind)
        fail_msg("\"%s\" of %llu: kind %d", w->header, (unsigned long long)w->size, (int)kind);
    assert_int_equal(count, kind == RANGE_SOME ? w->count : 77);
    for (size_t i = 0; i < w->count; i++) {
        if (out[i].first != w->ranges[i].first || out[i].last != w->ranges[i].last)
            fail_msg("\"%s\" of %llu: part %zu is %llu-%llu", w->header,
                     (unsigned long long)w->size, i, (unsigned long long)out[i].first,
                     (unsigned long long)out[i].last);
    }
}

static void test_ranges(void **state)
{
    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(range_rows); i++)
        check(&range_rows[i]);
}

/* As many as allowed, and one more; those that cannot be satisfied count, too. */
static void test_range_count(void **state)
{
    static struct byte_range out[HTTP_RANGES_MAX];
    struct buf text auto_buf = BUF_INIT(64u << 10);
    size_t count = 0;

    (void)state;
    buf_add(&text, STR("bytes="));
    for (unsigned i = 0; i < HTTP_RANGES_MAX; i++)
        buf_addf(&text, "%s%u-%u", i ? "," : "", 2 * i, 2 * i);
    assert_int_equal(ranges_parse(buf_str(&text), 1u << 20, out, &count), RANGE_SOME);
    assert_int_equal(count, HTTP_RANGES_MAX);
    assert_int_equal(out[HTTP_RANGES_MAX - 1].first, 2 * (HTTP_RANGES_MAX - 1));
    buf_add(&text, STR(",99999999-"));
    assert_int_equal(ranges_parse(buf_str(&text), 1u << 20, out, &count), RANGE_NONE);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_etag),
        cmocka_unit_test(test_lists),
        cmocka_unit_test(test_ranges),
        cmocka_unit_test(test_range_count),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
