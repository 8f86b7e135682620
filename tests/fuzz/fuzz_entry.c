/* Input: an even first byte: the bytes of a log entry follow; an odd one: places and values by
 * which a good entry is changed. */
#include "blobstore/objlog.h"
#include "fuzz.h"

#define NAME  STR("team/app")
#define OTHER STR("team/apq")
#define SEQ   41
#define HEX32 "0123456789abcdef0123456789abcdef"

static const char good[] =
    "{\"v\":1,\"repo\":\"team/app\",\"seq\":41,\"prev\":\"" HEX32 HEX32 "\",\"node\":\"" HEX32
    "\",\"nonce\":\"" HEX32 "\",\"ts\":1800000000000,\"gc\":0,\"ops\":[{\"op\":\"drop\","
    "\"by\":\"\",\"req\":\"\"}],\"bytes\":5}\nhello";

/* An entry is entry SEQ of NAME and nothing else's, and its bytes are those of the object. */
static void check_entry(struct str raw)
{
    struct json_doc *doc auto_json = NULL, *none auto_json = NULL;
    struct err_detail detail = {{0}};
    struct objlog_entry e, other;
    struct digest d;
    int r = objlog_parse(raw, NAME, SEQ, &e, &doc, &detail);

    if (r == 0) {
        digest_of(DIGEST_SHA256, raw, &d);
        assert(memcmp(d.bytes, e.hash, sizeof(e.hash)) == 0);
        assert(e.seq == SEQ && e.ts > 0 && str_eq(e.raw, raw));
        assert(e.node.len == NODE_ID_LEN && e.nonce.len == NODE_ID_LEN);
        assert(json_type(e.ops) == JSON_ARRAY_T);
        assert(e.payload.len == 0 || e.payload.at + e.payload.len == raw.at + raw.len);
        assert(e.payload.len == 0 || e.payload.at[-1] == '\n');
    } else {
        assert((r == -ERR_CORRUPT || r == -ERR_VERSION) && detail.text[0]);
    }
    assert(objlog_parse(raw, OTHER, SEQ, &other, &none, NULL) < 0 || r < 0);
    json_doc_freep(&none);
    assert(objlog_parse(raw, NAME, SEQ + 1, &other, &none, NULL) < 0 || r < 0);
    json_doc_freep(&none);
    assert(objlog_parse(raw, NAME, UINT64_MAX, &other, &none, NULL) < 0);
}

void fuzz_one(struct str input)
{
    struct buf raw auto_buf = BUF_INIT(sizeof(good));
    struct json_doc *doc auto_json = NULL;
    struct objlog_entry e;

    if (fuzz_u8(&input) % 2 == 0) {
        check_entry(input);
        return;
    }
    buf_add(&raw, str_make(good, sizeof(good) - 1));
    assert(objlog_parse(buf_str(&raw), NAME, SEQ, &e, &doc, NULL) == 0);
    fuzz_edit(&raw, input);
    check_entry(buf_str(&raw));
}
