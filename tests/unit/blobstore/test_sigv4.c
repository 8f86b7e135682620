/* Signatures against the examples that the Amazon S3 API reference and the IAM guide publish. */
#include "fixture.h"

#include "base/enc.h"
#include "blobstore/sigv4.h"

#define SECRET "wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEKEY"
#define ACCESS "AKIAIOSFODNN7EXAMPLE"
#define TIME   "20130524T000000Z"

static void signer(struct sigv4_signer *s, uint8_t key[HMAC_BYTES])
{
    assert_int_equal(sigv4_day_key(STR(SECRET), STR("20130524"), STR("us-east-1"), STR("s3"), key),
                     0);
    *s = (struct sigv4_signer){STR(ACCESS), STR("us-east-1"), STR("s3"), key, STR(TIME)};
}

static void test_day_key(void **state)
{
    uint8_t key[HMAC_BYTES];
    char hex[2 * HMAC_BYTES + 1], secret[SIGV4_SECRET_MAX + 1] = {0};

    (void)state;
    assert_int_equal(sigv4_day_key(STR("wJalrXUtnFEMI/K7MDENG+bPxRfiCYEXAMPLEKEY"), STR("20150830"),
                                   STR("us-east-1"), STR("iam"), key),
                     0);
    hex_encode(key, sizeof(key), hex);
    assert_string_equal(hex, "c4afb1cc5771d871763a393e44b703571b55cc28424d1a5e86da6ed3c154a4b9");
    assert_int_equal(
        sigv4_day_key(str_make(secret, sizeof(secret)), STR("20150830"), STR("r"), STR("s3"), key),
        -ERR_TOOBIG);
}

static void test_time(void **state)
{
    char text[SIGV4_TIME_LEN + 1];

    (void)state;
    assert_true(str_eq(sigv4_time(INT64_C(1369353600000), text), STR("20130524T000000Z")));
    assert_true(str_eq(sigv4_time(INT64_C(1369353599999), text), STR("20130523T235959Z")));
}

/* Like STR, for tables. */
#define TEXT(literal)                                                                              \
    {                                                                                              \
        literal, sizeof(literal) - 1                                                               \
    }
#define HOST                                                                                       \
    {                                                                                              \
        TEXT("host"), TEXT("examplebucket.s3.amazonaws.com")                                       \
    }
#define AMZ(hash)                                                                                  \
    {TEXT("x-amz-date"), TEXT(TIME)},                                                              \
    {                                                                                              \
        TEXT("x-amz-content-sha256"), TEXT(hash)                                                   \
    }
#define WELCOME "44ce7dd67c959e0d3524ffac1771dfbba87d2b6b4b4e99e42034a8b803f8b072"

static const struct {
    const char *method, *path, *query, *payload;
    struct sigv4_header headers[6];
    size_t header_count;
    const char *signed_headers, *signature;
} examples[] = {
    {"GET",
     "/test.txt",
     "",
     SIGV4_EMPTY,
     {HOST, AMZ(SIGV4_EMPTY), {TEXT("range"), TEXT("bytes=0-9")}},
     4,
     "host;range;x-amz-content-sha256;x-amz-date",
     "f0e8bdb87c964420e857bd35b5d6ed310bd44f0170aba48dd91039c6036bdb41"},
    {"PUT",
     "/test%24file.text",
     "",
     WELCOME,
     {HOST,
      AMZ(WELCOME),
      {TEXT("x-amz-storage-class"), TEXT("REDUCED_REDUNDANCY")},
      {TEXT("date"), TEXT("Fri, 24 May 2013 00:00:00 GMT")}},
     5,
     "date;host;x-amz-content-sha256;x-amz-date;x-amz-storage-class",
     "98ad721746da40c64f1a55b78f14c238d841ea1380cd77a1b5971af0ece108bd"},
    {"GET",
     "/",
     "lifecycle=",
     SIGV4_EMPTY,
     {HOST, AMZ(SIGV4_EMPTY)},
     3,
     "host;x-amz-content-sha256;x-amz-date",
     "fea454ca298b7da1c68078a5d1bdbfbbe0d65c699e0f91ac7a200a0136783543"},
    {"GET",
     "/",
     "max-keys=2&prefix=J",
     SIGV4_EMPTY,
     {HOST, AMZ(SIGV4_EMPTY)},
     3,
     "host;x-amz-content-sha256;x-amz-date",
     "34b48302e7b5fa45bde8084f4b7868a86f0a534bc59db6670ed5711ef69dc6f7"},
};

static void test_headers(void **state)
{
    uint8_t key[HMAC_BYTES];
    struct sigv4_signer s;

    (void)state;
    signer(&s, key);
    for (size_t i = 0; i < ARRAY_LEN(examples); i++) {
        struct buf got auto_buf = BUF_INIT(1024);
        struct buf want auto_buf = BUF_INIT(1024);
        struct sigv4_request q = {str_of(examples[i].method), str_of(examples[i].path),
                                  str_of(examples[i].query),  examples[i].headers,
                                  examples[i].header_count,   str_of(examples[i].payload)};

        assert_int_equal(sigv4_authorization(&s, &q, &got), 0);
        buf_addf(&want,
                 "AWS4-HMAC-SHA256 Credential=" ACCESS
                 "/20130524/us-east-1/s3/aws4_request,SignedHeaders=%s,Signature=%s",
                 examples[i].signed_headers, examples[i].signature);
        assert_string_equal(buf_c(&got), buf_c(&want));
    }
}

static void test_presign(void **state)
{
    struct buf query auto_buf = BUF_INIT(2048);
    uint8_t key[HMAC_BYTES];
    struct sigv4_signer s;

    (void)state;
    signer(&s, key);
    assert_int_equal(sigv4_presign(&s, STR("examplebucket.s3.amazonaws.com"), STR("/test.txt"),
                                   STR_NONE, 86400, STR_NONE, &query),
                     0);
    assert_string_equal(buf_c(&query),
                        "X-Amz-Algorithm=AWS4-HMAC-SHA256&X-Amz-Credential=" ACCESS
                        "%2F20130524%2Fus-east-1%2Fs3%2Faws4_request&X-Amz-Date=" TIME
                        "&X-Amz-Expires=86400"
                        "&X-Amz-SignedHeaders=host&X-Amz-Signature="
                        "aeeed9bbccd4d02ee5c0109b86d86835f995330da4c265957d157751f604d404");
    /* A token and what the answer's headers shall be are signed, too. */
    struct buf more auto_buf = BUF_INIT(2048);
    assert_int_equal(sigv4_presign(&s, STR("h"), STR("/k"), STR("a+b/"), 900,
                                   STR("response-content-type=text%2Fplain"), &more),
                     0);
    assert_non_null(strstr(buf_c(&more), "&X-Amz-Security-Token=a%2Bb%2F&X-Amz-SignedHeaders=host"
                                         "&response-content-type=text%2Fplain&X-Amz-Signature="));
}

static void test_query(void **state)
{
    struct buf q auto_buf = BUF_INIT(256);

    (void)state;
    sigv4_query_add(&q, "delimiter", STR("/"));
    sigv4_query_add(&q, "prefix", STR("a b+~*\xff"));
    sigv4_query_add(&q, "uploads", STR_NONE);
    assert_string_equal(buf_c(&q), "delimiter=%2F&prefix=a%20b%2B~%2A%FF&uploads=");
}

int main(void)
{
    static const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_day_key), cmocka_unit_test(test_time),
        cmocka_unit_test(test_headers), cmocka_unit_test(test_presign),
        cmocka_unit_test(test_query),
    };

    return cmocka_run_group_tests_name("sigv4", tests, NULL, NULL);
}
