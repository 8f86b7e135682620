/* Numbers and strings as bytes. Pure. */
#include "manifests/pack.h"

void pack_u64(struct buf *out, uint64_t v)
{
    char bytes[PACK_NUMBER_MAX];
    size_t n = 0;

    for (; v >= 0x80; v >>= 7)
        bytes[n++] = (char)(v | 0x80);
    bytes[n++] = (char)v;
    buf_add(out, (struct str){bytes, n});
}

void pack_str(struct buf *out, struct str s)
{
    pack_u64(out, s.len);
    buf_add(out, s);
}

size_t pack_u64_bytes(uint64_t v)
{
    size_t n = 1;

    for (; v >= 0x80; v >>= 7)
        n++;
    return n;
}

bool unpack_u64(struct str *rest, uint64_t *ret)
{
    uint64_t v = 0;

    for (size_t i = 0; i < rest->len && i < PACK_NUMBER_MAX; i++) {
        uint8_t byte = (uint8_t)rest->at[i];

        if (i == PACK_NUMBER_MAX - 1 && byte > 1)
            return false; /* past 64 bits */
        v |= (uint64_t)(byte & 0x7f) << (7 * i);
        if (byte & 0x80)
            continue;
        if (byte == 0 && i > 0)
            return false; /* one number, one form */
        *rest = str_skip(*rest, i + 1);
        *ret = v;
        return true;
    }
    return false;
}

bool unpack_i64(struct str *rest, int64_t *ret)
{
    uint64_t v;

    if (!unpack_u64(rest, &v) || v > INT64_MAX)
        return false;
    *ret = (int64_t)v;
    return true;
}

bool unpack_bytes(struct str *rest, size_t len, struct str *ret)
{
    if (rest->len < len)
        return false;
    *ret = str_head(*rest, len);
    *rest = str_skip(*rest, len);
    return true;
}

bool unpack_str(struct str *rest, struct str *ret)
{
    struct str from = *rest;
    uint64_t len;

    if (!unpack_u64(&from, &len) || len > from.len || !unpack_bytes(&from, (size_t)len, ret))
        return false;
    *rest = from;
    return true;
}
