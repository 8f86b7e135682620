/* Hex, percent-encoding, times. */
#include <time.h>

#include "base/enc.h"
#include "check.h"

static void hex(void **state)
{
    uint8_t all[256], back[256];
    char text[513];

    (void)state;
    for (size_t i = 0; i < sizeof(all); i++)
        all[i] = (uint8_t)i;
    hex_encode(all, sizeof(all), text);
    assert_int_equal(strlen(text), 512);
    assert_memory_equal(text, "000102", 6);
    assert_memory_equal(text + 506, "fdfeff", 6);
    assert_true(hex_decode(str_of(text), back, sizeof(back)));
    assert_memory_equal(all, back, sizeof(all));
    assert_true(hex_decode(STR_NONE, back, 0));
    assert_false(hex_decode(STR("0"), back, 0));
    assert_false(hex_decode(STR("000"), back, 1));
    assert_false(hex_decode(STR("0000"), back, 1));
    assert_false(hex_decode(STR("00"), back, 2));
    assert_false(hex_decode(STR("0A"), back, 1));
    assert_false(hex_decode(STR("0g"), back, 1));
    assert_false(hex_decode(STR(" 0"), back, 1));
    assert_false(hex_decode(STR("0\0"), back, 1));
}

static void percent_encodes(void **state)
{
    static const struct {
        struct str in;
        const char *also, *out;
    } cases[] = {
        {{"a/b c", 5}, NULL, "a%2Fb%20c"},
        {{"a/b c", 5}, "/", "a/b%20c"},
        {{"AZaz09._~-", 10}, "", "AZaz09._~-"},
        {{"\0\xff%+", 4}, "/", "%00%FF%25%2B"},
        {{NULL, 0}, NULL, ""},
    };

    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        struct buf b auto_buf = BUF_INIT(100);

        url_encode(&b, cases[i].in, cases[i].also);
        assert_str(buf_str(&b), cases[i].out);
    }
}

static void percent_decodes(void **state)
{
    static const struct {
        const char *in;
        bool plus;
        const char *out; /* NULL = refused */
    } cases[] = {
        {"a%2Fb%20c", false, "a/b c"},
        {"a%2fb", false, "a/b"},
        {"a+b", false, "a+b"},
        {"a+b%2B", true, "a b+"},
        {"%C3%BC", false, "\xc3\xbc"},
        {"", false, ""},
        {"%", false, NULL},
        {"%2", false, NULL},
        {"abc%2", false, NULL},
        {"%zz", false, NULL},
        {"%2g", false, NULL},
        {"%%20", false, NULL},
        {"%00", false, NULL},
        {"a%00b", true, NULL},
        {"%25%30%30", false, "%00"}, /* decoded once only */
    };

    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        struct buf b auto_buf = BUF_INIT(100);
        int r = url_decode(&b, str_of(cases[i].in), cases[i].plus);

        check(r == (cases[i].out ? 0 : -ERR_INVAL), "\"%s\"", cases[i].in);
        if (cases[i].out)
            assert_str(buf_str(&b), cases[i].out);
    }
}

static void decoding_respects_the_limit(void **state)
{
    struct buf b auto_buf = BUF_INIT(2);

    (void)state;
    assert_int_equal(url_decode(&b, STR("a%20b"), false), -ERR_TOOBIG);
}

static void times(void **state)
{
    static const struct {
        int64_t ms;
        const char *rfc3339, *http, *minute;
    } cases[] = {
        {0, "1970-01-01T00:00:00.000Z", "Thu, 01 Jan 1970 00:00:00 GMT", "197001010000"},
        {784111777000, "1994-11-06T08:49:37.000Z", "Sun, 06 Nov 1994 08:49:37 GMT", /* RFC 9110 */
         "199411060849"},
        {951782400123, "2000-02-29T00:00:00.123Z", "Tue, 29 Feb 2000 00:00:00 GMT", "200002290000"},
        {1795333800123, "2026-11-22T07:50:00.123Z", "Sun, 22 Nov 2026 07:50:00 GMT",
         "202611220750"},
        {4107542399999, "2100-02-28T23:59:59.999Z", "Sun, 28 Feb 2100 23:59:59 GMT",
         "210002282359"},
        {4107542400000, "2100-03-01T00:00:00.000Z", "Mon, 01 Mar 2100 00:00:00 GMT",
         "210003010000"},
        {-1, "1969-12-31T23:59:59.999Z", "Wed, 31 Dec 1969 23:59:59 GMT", "196912312359"},
        {253402300799999, "9999-12-31T23:59:59.999Z", "Fri, 31 Dec 9999 23:59:59 GMT",
         "999912312359"},
    };
    char out[TIME_TEXT_MAX];

    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        assert_str(time_format_rfc3339(cases[i].ms, out), cases[i].rfc3339);
        assert_str(time_format_http(cases[i].ms, out), cases[i].http);
        assert_str(time_format_minute(cases[i].ms, out), cases[i].minute);
    }
    assert_str(time_format_rfc3339(INT64_MAX, out), "292278994-08-17T07:12:55.807Z");
    assert_str(time_format_rfc3339(INT64_MIN, out), "-292275055-05-16T16:47:04.192Z");
}

/* Every day of 1600 to 2400 against the C library. */
static void days_agree_with_the_library(void **state)
{
    char out[TIME_TEXT_MAX], want[TIME_TEXT_MAX];

    (void)state;
    for (int64_t day = -135140; day < 157054; day++) {
        time_t t = (time_t)(day * 86400 + 86399);
        struct tm tm;

        assert_non_null(gmtime_r(&t, &tm));
        strftime(want, sizeof(want), "%a, %d %b %Y %H:%M:%S GMT", &tm);
        assert_str(time_format_http((int64_t)t * 1000, out), want);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(hex),
        cmocka_unit_test(percent_encodes),
        cmocka_unit_test(percent_decodes),
        cmocka_unit_test(decoding_respects_the_limit),
        cmocka_unit_test(times),
        cmocka_unit_test(days_agree_with_the_library),
    };

    return cmocka_run_group_tests_name("enc", tests, NULL, NULL);
}
