/* Input: a blob record, or the beginning of one. */
#include "base/json.h"
#include "blobstore/blob.h"
#include "fuzz.h"

/* A header written from what was read says the same. */
static void check_again(const struct blob_info *info)
{
    struct buf text auto_buf = BUF_INIT(BLOB_HEADER_MAX);
    struct blob_info again;

    buf_addf(&text, "{\"v\":1,\"size\":%llu,\"data\":", (unsigned long long)info->size);
    if (info->data_id[0])
        buf_addf(&text, "\"%s\"}\n", info->data_id);
    else
        buf_add(&text, STR("null}\n"));
    assert(buf_err(&text) == 0 && blob_header_parse(buf_str(&text), &again, NULL) == 0);
    assert(again.size == info->size && strcmp(again.data_id, info->data_id) == 0);
    assert(again.header_len == text.len);
}

void fuzz_one(struct str input)
{
    struct buf key auto_buf = BUF_INIT(STORE_KEY_MAX);
    struct err_detail detail = {{0}};
    struct blob_info info, longer;
    int r = blob_header_parse(input, &info, &detail);

    assert(r == 0 || ((r == -ERR_CORRUPT || r == -ERR_VERSION) && detail.text[0]));
    if (r < 0)
        return;
    assert(info.header_len > 0 && info.header_len <= BLOB_HEADER_MAX);
    assert(info.header_len <= input.len && input.at[info.header_len - 1] == '\n');
    assert(info.size <= INT64_MAX && info.g == 0);
    assert(strlen(info.data_id) <= BLOB_DATA_ID_MAX);
    if (info.data_id[0]) {
        keys_data(&key, str_of(info.data_id)); /* what is read next */
        assert(buf_err(&key) == 0);
    }
    /* What follows the line feed has no say. */
    assert(blob_header_parse(str_head(input, info.header_len), &longer, NULL) == 0);
    assert(longer.size == info.size && strcmp(longer.data_id, info.data_id) == 0);
    check_again(&info);
}
