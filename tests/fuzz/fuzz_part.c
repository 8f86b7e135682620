/* Input: a byte for the way, then bytes. They are a block (CRC added behind), or a part whose last
 * bytes, as many as the second byte says, are its index. Whatever is taken holds records in
 * ascending order that are found again; all else is refused. */
#include "base/crc.h"
#include "fuzz.h"
#include "manifests/table.h"

static struct store *store;
static struct table_cache *cache;

static void setup(void)
{
    if (store)
        return;
    fuzz_need(store_mem_new(&store), "store_mem_new");
    fuzz_need(table_cache_new(1 << 16, &cache), "table_cache_new");
}

static void add_crc(struct buf *out, struct str bytes)
{
    uint32_t crc = crc32c(bytes);

    buf_add(out, bytes);
    for (unsigned i = 0; i < sizeof(crc); i++)
        buf_addc(out, (char)(crc >> (8 * i)));
}

static void read_part(struct str bytes, uint64_t index, struct str last)
{
    struct table_spec spec = {.store = store, .cache = cache, .prefix = STR("repos/a")};
    struct table_part part = {
        .last = last, .records = 1, .bytes = bytes.len, .index = index, .sha = {.alg = 0}};
    struct table *t auto_table = NULL;
    struct table_cursor c auto_table_cursor = {.wait = true};
    struct buf before auto_buf = BUF_INIT(TABLE_KEY_MAX);
    int e;

    digest_of(DIGEST_SHA256, bytes, &part.sha);
    fuzz_need(table_new(&spec, &t), "table_new");
    if (table_add_part(t, &part) < 0)
        return;
    fuzz_need(table_set_inline(t, bytes), "table_set_inline");
    c.table = t;
    for (e = table_seek(&c, STR("a")); e == 1; e = table_next(&c)) {
        assert(str_cmp(buf_str(&before), c.key) < 0 || before.len == 0 || c.in_block == 0);
        buf_clear(&before);
        buf_add(&before, c.key);
    }
    assert(e == 0 || (e == -ERR_CORRUPT && table_bad(t)));
}

void fuzz_one(struct str input)
{
    struct buf part auto_buf = BUF_INIT(4 * FUZZ_INPUT_MAX);
    uint8_t way = fuzz_u8(&input);
    size_t first = fuzz_u8(&input);

    setup();
    if (way & 1) {
        add_crc(&part, str_head(input, first));
        first = part.len;
        add_crc(&part, str_skip(input, first));
    } else {
        buf_add(&part, input);
        first = first < part.len ? first : part.len;
    }
    assert(buf_err(&part) == 0);
    if (part.len > first)
        read_part(buf_str(&part), part.len - first, STR("z"));
}
