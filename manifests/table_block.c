/* Blocks as bytes: records one after another, each the lengths of key and value and these; then the
 * place of each record, their count and a CRC-32C over all before it, as 32-bit numbers, lowest
 * byte first. A block is checked as a whole when it comes into memory, and trusted afterwards. */
#include <assert.h>
#include <endian.h>

#include "base/crc.h"
#include "manifests/table_internal.h"

#define WORD sizeof(uint32_t)

static uint32_t word_at(struct str bytes, size_t at)
{
    uint32_t word;

    memcpy(&word, bytes.at + at, WORD);
    return le32toh(word);
}

static void add_word(struct buf *out, uint32_t v)
{
    uint32_t word = htole32(v);

    buf_add(out, str_make(&word, WORD));
}

static size_t offsets_at(const struct view *v)
{
    return v->bytes.len - BLOCK_TAIL - v->count * WORD;
}

static bool record_parse(struct str *rest, struct str *key, struct str *value)
{
    uint64_t key_len, value_len;

    if (rest->len >= 2 && !((rest->at[0] | rest->at[1]) & 0x80)) { /* as most are: of a byte each */
        key_len = (uint64_t)rest->at[0];
        value_len = (uint64_t)rest->at[1];
        *rest = str_skip(*rest, 2);
    } else if (!unpack_u64(rest, &key_len) || !unpack_u64(rest, &value_len)) {
        return false;
    }
    return key_len > 0 && key_len <= TABLE_KEY_MAX && value_len <= TABLE_VALUE_MAX &&
           unpack_bytes(rest, (size_t)key_len, key) && unpack_bytes(rest, (size_t)value_len, value);
}

int view_parse(struct str bytes, struct view *ret)
{
    struct view v = {.bytes = bytes};
    struct str rest, before = STR_NONE;

    if (bytes.len < BLOCK_TAIL || bytes.len > BLOCK_BYTES_MAX ||
        word_at(bytes, bytes.len - WORD) != crc32c(str_head(bytes, bytes.len - WORD)))
        return -ERR_CORRUPT;
    v.count = word_at(bytes, bytes.len - BLOCK_TAIL);
    if (v.count == 0 || v.count > (bytes.len - BLOCK_TAIL) / WORD)
        return -ERR_CORRUPT;
    rest = str_head(bytes, offsets_at(&v));
    for (uint32_t i = 0; i < v.count; i++) {
        size_t at = (size_t)(rest.at - bytes.at);
        struct str key, value;

        if (word_at(bytes, offsets_at(&v) + i * WORD) != at || !record_parse(&rest, &key, &value) ||
            (i > 0 && str_cmp(before, key) >= 0))
            return -ERR_CORRUPT;
        before = key;
    }
    if (rest.len > 0)
        return -ERR_CORRUPT;
    *ret = v;
    return 0;
}

void view_record(const struct view *v, uint32_t i, struct str *ret_key, struct str *ret_value)
{
    struct str rest = str_head(v->bytes, offsets_at(v));
    bool whole;

    assert(i < v->count);
    rest = str_skip(rest, word_at(v->bytes, offsets_at(v) + i * WORD));
    whole = record_parse(&rest, ret_key, ret_value);
    assert(whole); /* checked when it was parsed */
}

/* A search looks at keys alone. */
static inline struct str key_at(const struct view *v, uint32_t i)
{
    const char *at = v->bytes.at + word_at(v->bytes, offsets_at(v) + i * WORD);
    struct str key, value;

    if (!((at[0] | at[1]) & 0x80)) /* as in record_parse() */
        return (struct str){at + 2, (size_t)at[0]};
    view_record(v, i, &key, &value);
    return key;
}

uint32_t view_at_least(const struct view *v, struct str key)
{
    uint32_t low = 0, high = v->count;

    while (low < high) {
        uint32_t middle = low + (high - low) / 2;

        if (str_cmp(key_at(v, middle), key) < 0)
            low = middle + 1;
        else
            high = middle;
    }
    return low;
}

bool view_place(const struct view *index, uint32_t i, uint64_t *ret_offset, uint64_t *ret_len)
{
    struct str key, value;

    view_record(index, i, &key, &value);
    return unpack_u64(&value, ret_offset) && unpack_u64(&value, ret_len) && value.len == 0 &&
           *ret_len >= BLOCK_TAIL && *ret_len <= BLOCK_BYTES_MAX && *ret_offset <= TABLE_PART_BYTES;
}

/* ---- making */

void block_maker_init(struct block_maker *b)
{
    *b = (struct block_maker){.records = BUF_INIT(BLOCK_BYTES_MAX),
                              .offsets = BUF_INIT(BLOCK_BYTES_MAX)};
}

void block_maker_done(struct block_maker *b)
{
    buf_done(&b->records);
    buf_done(&b->offsets);
}

void block_maker_add(struct block_maker *b, struct str key, struct str value)
{
    assert(key.len > 0 && key.len <= TABLE_KEY_MAX && value.len <= TABLE_VALUE_MAX);
    add_word(&b->offsets, (uint32_t)b->records.len);
    pack_u64(&b->records, key.len);
    pack_u64(&b->records, value.len);
    buf_add(&b->records, key);
    buf_add(&b->records, value);
    b->count++;
}

size_t block_record_bytes(struct str key, struct str value)
{
    return pack_u64_bytes(key.len) + pack_u64_bytes(value.len) + key.len + value.len;
}

int block_maker_end(struct block_maker *b, struct buf *out)
{
    size_t start = out->len;
    int e = buf_err(&b->records) < 0 ? buf_err(&b->records) : buf_err(&b->offsets);

    assert(b->count > 0);
    buf_add(out, buf_str(&b->records));
    buf_add(out, buf_str(&b->offsets));
    add_word(out, b->count);
    if (e == 0)
        e = buf_err(out);
    if (e < 0)
        return e;
    add_word(out, crc32c(str_skip(buf_str(out), start)));
    buf_clear(&b->records);
    buf_clear(&b->offsets);
    b->count = 0;
    return buf_err(out);
}
