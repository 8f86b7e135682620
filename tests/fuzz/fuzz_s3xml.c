/* Input: an answer of an S3 server, read as each kind of answer. */
#include "base/enc.h"
#include "blobstore/s3xml.h"
#include "fuzz.h"

static int check_item(const struct s3_item *item, void *arg)
{
    assert(item->key.len <= S3XML_TEXT_MAX && item->upload.len <= S3XML_TEXT_MAX);
    ++*(unsigned *)arg;
    return 0;
}

static void check_date(struct str input)
{
    char text[TIME_TEXT_MAX];
    int64_t ms, again;

    if (s3_time_iso(input, &ms))
        assert(s3_time_iso(time_format_rfc3339(ms, text), &again) && again == ms);
    if (s3_time_http(input, &ms))
        assert(s3_time_http(time_format_http(ms, text), &again) && again == ms);
}

void fuzz_one(struct str input)
{
    struct s3_page page auto_s3_page = S3_PAGE_INIT;
    struct buf id auto_buf = BUF_INIT(S3XML_TEXT_MAX);
    struct s3_error e = {"", ""};
    unsigned objects = 0, uploads = 0;
    bool dense;
    int o = s3xml_objects(input, check_item, &objects, &page);
    int u = s3xml_uploads(input, check_item, &uploads, &page);
    int error = s3xml_error(input, &e);

    /* A document is of one kind. */
    assert((o == 0) + (u == 0) + (error == 0) <= 1);
    assert(error < 0 || (e.code[0] != '\0' && strlen(e.code) < S3_CODE_MAX));
    if (s3xml_initiated(input, &id, &dense) == 0)
        assert(id.len > 0 && o < 0 && u < 0 && error < 0);
    assert((s3xml_completed(input, &e) == -ERR_IO) == (error == 0));
    check_date(input);
}
