/* Layout, before it is written in hex: MAC, and enciphered: version, bucket, seq, length of the
 * name, name, number of pairs, pairs, zeros up to a multiple of PAD_BYTES. Numbers are LEB128.
 *
 * Enciphered, because a reader passes repositories that he may not know of. The MAC of the plain
 * text is what the key stream begins with (as in RFC 5297), so equal cursors are equal texts and
 * two streams are the same for equal ones alone. */
#include "manifests/event_cursor.h"

#include <assert.h>

#include "base/enc.h"

#define VERSION    2
#define MAC_BYTES  16
#define PAD_BYTES  64 /* the length tells little of how many repositories there are */
#define RAW_MAX    (EVENT_CURSOR_MAX / 2)
#define LABEL      "event cursor"
#define CIPHER     "event cursor cipher"
#define REPOS      "event repository"
#define NUMBER_MAX 10 /* bytes of a number */

/* ---- numbers */

static void add_number(struct buf *out, uint64_t v)
{
    for (; v >= 0x80; v >>= 7)
        buf_addc(out, (char)((v & 0x7f) | 0x80));
    buf_addc(out, (char)v);
}

static bool cut_number(struct str *s, uint64_t *ret)
{
    uint64_t v = 0;

    for (unsigned i = 0; i < NUMBER_MAX && i < s->len; i++) {
        uint64_t byte = (uint8_t)s->at[i];

        if (i == NUMBER_MAX - 1 && byte > 1)
            return false;
        v |= (byte & 0x7f) << (7 * i);
        if (byte < 0x80) {
            *s = str_skip(*s, i + 1);
            *ret = v;
            return true;
        }
    }
    return false;
}

static bool cut_bytes(struct str *s, void *to, size_t len)
{
    if (s->len < len)
        return false;
    memcpy(to, s->at, len);
    *s = str_skip(*s, len);
    return true;
}

/* ---- keys */

void event_repo(struct node *n, struct str name, uint8_t ret[EVENT_REPO_BYTES])
{
    uint8_t key[HMAC_BYTES], mac[HMAC_BYTES];

    if (!node_key(n, STR(REPOS), 0, key))
        memset(key, 0, sizeof(key));
    hmac_sha256(str_make(key, sizeof(key)), name, mac);
    memcpy(ret, mac, EVENT_REPO_BYTES);
}

static bool mac_of(const uint8_t key[HMAC_BYTES], struct str of, struct str raw,
                   uint8_t out[HMAC_BYTES])
{
    struct buf text auto_buf = BUF_INIT(RAW_MAX + NAME_MAX_LEN + 1);

    buf_add(&text, of);
    buf_addc(&text, '\0');
    buf_add(&text, raw);
    if (buf_err(&text) < 0)
        return false;
    hmac_sha256(str_make(key, HMAC_BYTES), buf_str(&text), out);
    return true;
}

/* Enciphers, and deciphers. */
static void cipher(const uint8_t key[HMAC_BYTES], const uint8_t mac[MAC_BYTES], uint8_t *at,
                   size_t len)
{
    uint8_t own[HMAC_BYTES], block[MAC_BYTES + 1], stream[HMAC_BYTES];
    struct hmac_key by;

    static_assert(RAW_MAX / HMAC_BYTES < UINT8_MAX, "a byte counts blocks");
    hmac_sha256(str_make(key, HMAC_BYTES), STR(CIPHER), own); /* no MAC: that has a zero in it */
    hmac_key_init(&by, str_make(own, sizeof(own)));
    memcpy(block, mac, MAC_BYTES);
    for (size_t i = 0; i < len; i++) {
        if (i % HMAC_BYTES == 0) {
            block[MAC_BYTES] = (uint8_t)(i / HMAC_BYTES);
            hmac_by_key(&by, str_make(block, sizeof(block)), stream);
        }
        at[i] ^= stream[i % HMAC_BYTES];
    }
}

static void add_plain(struct buf *raw, const struct event_cursor *c)
{
    struct str name = str_of(c->name);

    buf_addc(raw, VERSION);
    add_number(raw, (uint64_t)c->bucket);
    add_number(raw, c->seq);
    add_number(raw, name.len);
    buf_add(raw, name);
    add_number(raw, c->pair_count);
    for (size_t i = 0; i < c->pair_count; i++) {
        buf_add(raw, str_make(c->pairs[i].repo, EVENT_REPO_BYTES));
        add_number(raw, c->pairs[i].seq);
    }
    while (raw->len % PAD_BYTES != 0 && raw->len < raw->max)
        buf_addc(raw, 0);
}

int event_cursor_encode(struct node *n, struct str of, const struct event_cursor *c,
                        struct buf *out)
{
    struct buf raw auto_buf = BUF_INIT(RAW_MAX - MAC_BYTES);
    uint8_t key[HMAC_BYTES], mac[HMAC_BYTES];
    char *hex;

    assert(c->pair_count <= EVENT_PAIRS_MAX);
    add_plain(&raw, c);
    if (buf_err(&raw) < 0 || !node_key(n, STR(LABEL), 0, key) ||
        !mac_of(key, of, buf_str(&raw), mac))
        return -ERR_NOMEM;
    cipher(key, mac, (uint8_t *)raw.at, raw.len);
    hex = buf_reserve(out, 2 * (MAC_BYTES + raw.len) + 1);
    if (!hex)
        return -ERR_NOMEM;
    hex_encode(mac, MAC_BYTES, hex);
    hex_encode((const uint8_t *)raw.at, raw.len, hex + 2 * MAC_BYTES);
    buf_added(out, 2 * (MAC_BYTES + raw.len));
    return 0;
}

/* ---- decoding */

static bool parse(struct str s, struct event_cursor *ret)
{
    uint64_t version, bucket, len, count;

    if (!cut_number(&s, &version) || version != VERSION || !cut_number(&s, &bucket) ||
        bucket > INT32_MAX || !cut_number(&s, &ret->seq) || ret->seq > INT64_MAX ||
        !cut_number(&s, &len) || len > NAME_MAX_LEN || !cut_bytes(&s, ret->name, (size_t)len) ||
        !cut_number(&s, &count) || count > EVENT_PAIRS_MAX)
        return false;
    ret->bucket = (int64_t)bucket;
    ret->name[len] = '\0';
    ret->pair_count = (size_t)count;
    for (size_t i = 0; i < ret->pair_count; i++)
        if (!cut_bytes(&s, ret->pairs[i].repo, EVENT_REPO_BYTES) ||
            !cut_number(&s, &ret->pairs[i].seq))
            return false;
    while (s.len > 0 && s.at[0] == 0)
        s = str_skip(s, 1);
    return s.len == 0;
}

/* Deciphers the len bytes behind the MAC in place. The key that made it; -1: none of those known,
 * and the bytes are as before. */
static int open_text(struct node *n, struct str of, uint8_t *text, size_t len)
{
    uint8_t key[HMAC_BYTES], right[HMAC_BYTES], *body = text + MAC_BYTES;

    for (unsigned i = 0; node_key(n, STR(LABEL), i, key); i++) {
        cipher(key, text, body, len);
        if (mac_of(key, of, str_make(body, len), right) &&
            bytes_eq_constant_time(right, text, MAC_BYTES))
            return (int)i;
        cipher(key, text, body, len);
    }
    return -1;
}

int event_cursor_decode(struct node *n, struct str of, struct str text, struct event_cursor *ret,
                        struct err_detail *detail)
{
    uint8_t raw[RAW_MAX];
    size_t len = text.len / 2;
    struct event_cursor c;
    int key;

    if (text.len > EVENT_CURSOR_MAX || len <= MAC_BYTES || !hex_decode(text, raw, len))
        return err_set(detail, -ERR_INVAL, "the cursor is malformed");
    len -= MAC_BYTES;
    key = open_text(n, of, raw, len);
    if (key < 0 && node_refresh_secrets(n, NULL) == 0)
        key = open_text(n, of, raw, len);
    if (key < 0 || !parse(str_make(raw + MAC_BYTES, len), &c))
        return err_set(detail, -ERR_INVAL,
                       "the cursor is not one of this registry and of what is asked for");
    if (key > 0) /* pairs are named by a key that is not used any more */
        c.pair_count = 0;
    *ret = c;
    return 0;
}
