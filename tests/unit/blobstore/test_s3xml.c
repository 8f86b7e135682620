/* Answers of S3 servers, as they write them, and such as nobody should. */
#include "fixture.h"

#include <stdio.h>

#include "base/enc.h"
#include "blobstore/s3xml.h"

#define HEAD "<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n"
#define NS   " xmlns=\"http://s3.amazonaws.com/doc/2006-03-01/\""

struct seen {
    char text[512];
    int stop;
};

static int see(const struct s3_item *item, void *arg)
{
    struct seen *s = arg;
    size_t len = strlen(s->text);

    snprintf(s->text + len, sizeof(s->text) - len, STR_FMT "|" STR_FMT "|%llu|%lld;",
             STR_ARG(item->key), STR_ARG(item->upload), (unsigned long long)item->size,
             (long long)item->date_ms);
    return s->stop;
}

static void test_objects(void **state)
{
    static const char text[] = HEAD
        "<ListBucketResult" NS "><Name>b</Name><Prefix/><KeyCount>2</KeyCount><MaxKeys>2</MaxKeys>"
        "<IsTruncated>true</IsTruncated><Contents><Key>a%2Fb+c</Key><LastModified>"
        "2026-11-22T07:50:00.120Z</LastModified><ETag>&quot;x&quot;</ETag><Size>7</Size><Owner>"
        "<ID>i</ID></Owner></Contents><Contents><Key>z%FF</Key><LastModified>1970-01-01T00:00:01Z"
        "</LastModified><Size>0</Size></Contents><EncodingType>url</EncodingType>"
        "<CommonPrefixes><Prefix>p/</Prefix></CommonPrefixes></ListBucketResult>";
    struct s3_page page auto_s3_page = S3_PAGE_INIT;
    struct seen s = {"", 0}, stopped = {"", 9};

    (void)state;
    assert_int_equal(s3xml_objects(str_of(text), see, &s, &page), 0);
    assert_string_equal(s.text, "a/b c||7|1795333800120;z\xff||0|1000;");
    assert_true(page.truncated);
    assert_int_equal(s3xml_objects(str_of(text), see, &stopped, &page), 9);
    assert_string_equal(stopped.text, "a/b c||7|1795333800120;");
    assert_int_equal(s3xml_uploads(str_of(text), see, &s, &page), -ERR_CORRUPT);
}

static void test_uploads(void **state)
{
    static const char text[] = HEAD
        "<ListMultipartUploadsResult><Bucket>b</Bucket><KeyMarker></KeyMarker><NextKeyMarker>data/k"
        "</NextKeyMarker><NextUploadIdMarker>u2</NextUploadIdMarker><IsTruncated>false</"
        "IsTruncated>"
        "<Upload><Key>data/k</Key><UploadId>u+1</UploadId><Initiated>2013-05-24T00:00:00.000Z"
        "</Initiated></Upload></ListMultipartUploadsResult>";
    struct s3_page page auto_s3_page = S3_PAGE_INIT;
    struct seen s = {"", 0};

    (void)state;
    assert_int_equal(s3xml_uploads(str_of(text), see, &s, &page), 0);
    assert_string_equal(s.text, "data/k|u+1|0|1369353600000;");
    assert_false(page.truncated);
    assert_string_equal(buf_c(&page.key_marker), "data/k");
    assert_string_equal(buf_c(&page.upload_marker), "u2");
}

static void test_error(void **state)
{
    struct s3_error e;

    (void)state;
    assert_int_equal(s3xml_error(STR(HEAD "<Error><Code>SlowDown</Code><Message>less\n\xc3\xa4"
                                          "</Message><Resource>/b</Resource></Error>"),
                                 &e),
                     0);
    assert_string_equal(e.code, "SlowDown");
    assert_string_equal(e.message, "less   ");
    assert_int_equal(s3xml_error(STR("<Error><Code></Code></Error>"), &e), -ERR_CORRUPT);
    assert_int_equal(s3xml_error(STR("<html>504 Gateway</html>"), &e), -ERR_CORRUPT);
    assert_int_equal(s3xml_error(STR(""), &e), -ERR_CORRUPT);
}

static void test_completed(void **state)
{
    struct buf id auto_buf = BUF_INIT(64);
    bool dense;
    struct s3_error e;

    (void)state;
    assert_int_equal(s3xml_completed(STR(HEAD "<CompleteMultipartUploadResult" NS "><Key>k</Key>"
                                              "</CompleteMultipartUploadResult>"),
                                     &e),
                     0);
    assert_int_equal(s3xml_completed(STR(HEAD "<Error><Code>InternalError</Code></Error>"), &e),
                     -ERR_IO);
    assert_string_equal(e.code, "InternalError");
    assert_int_equal(s3xml_completed(STR("   "), &e), -ERR_CORRUPT);
    assert_int_equal(s3xml_completed(STR("<CompleteMultipartUploadResult><Key>"), &e),
                     -ERR_CORRUPT);
    assert_int_equal(s3xml_initiated(STR("<InitiateMultipartUploadResult><UploadId>u/1</UploadId>"
                                         "</InitiateMultipartUploadResult>"),
                                     &id, &dense),
                     0);
    assert_string_equal(buf_c(&id), "u/1");
    assert_false(dense);
    buf_clear(&id);
    assert_int_equal(s3xml_initiated(STR("<InitiateMultipartUpload><UploadId>u-2</UploadId>"
                                         "</InitiateMultipartUpload>"),
                                     &id, &dense),
                     0);
    assert_string_equal(buf_c(&id), "u-2");
    assert_true(dense);
    buf_clear(&id);
    assert_int_equal(s3xml_initiated(STR("<InitiateMultipartUploadResult/>"), &id, &dense),
                     -ERR_CORRUPT);
}

static void test_hostile(void **state)
{
    static const char *const texts[] = {
        "<!DOCTYPE x [<!ENTITY a \"b\">]><Error><Code>&a;</Code></Error>",
        "<Error><a><b><c><d><e><f><g><h>deep</h></g></f></e></d></c></b></a></Error>",
        "<Error><Code>x</Code></Error><Error/>",
        "<Error><Code>x</Code>",
        "<Error><Code>\xff</Code></Error>",
    };
    struct buf big auto_buf = BUF_INIT(S3XML_BYTES_MAX);
    struct s3_error e;

    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(texts); i++)
        assert_int_equal(s3xml_error(str_of(texts[i]), &e), -ERR_CORRUPT);
    buf_add(&big, STR("<Error><Code>"));
    for (size_t i = 0; i <= S3XML_TEXT_MAX; i++)
        buf_addc(&big, 'x');
    buf_add(&big, STR("</Code></Error>"));
    assert_int_equal(s3xml_error(buf_str(&big), &e), -ERR_CORRUPT);
}

static void test_dates(void **state)
{
    static const char *const wrong[] = {"",
                                        "2026-11-22",
                                        "2026-11-22T07:50:00",
                                        "2026-13-22T07:50:00Z",
                                        "2026-11-22T07:50:00.12",
                                        "2026-11-22T24:50:00Z",
                                        "2026-11-22T07:50:00+01:00",
                                        "Sun, 22 Nov 2026 07:50:00 CET",
                                        "Sun, 22 Foo 2026 07:50:00 GMT"};
    int64_t ms;

    (void)state;
    for (int64_t day = 0; day < 60000; day++) {
        char text[TIME_TEXT_MAX];
        int64_t want = day * 86400000 + 43201000;

        assert_true(s3_time_http(time_format_http(want, text), &ms) && ms == want);
        assert_true(s3_time_iso(time_format_rfc3339(want + 7, text), &ms) && ms == want + 7);
    }
    for (size_t i = 0; i < ARRAY_LEN(wrong); i++) {
        assert_false(s3_time_iso(str_of(wrong[i]), &ms));
        assert_false(s3_time_http(str_of(wrong[i]), &ms));
    }
}

int main(void)
{
    static const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_objects), cmocka_unit_test(test_uploads),
        cmocka_unit_test(test_error),   cmocka_unit_test(test_completed),
        cmocka_unit_test(test_hostile), cmocka_unit_test(test_dates),
    };

    return cmocka_run_group_tests_name("s3xml", tests, NULL, NULL);
}
