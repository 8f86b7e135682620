/* Digests over OpenSSL's SHA-2 block functions. The older context structs are used on purpose:
 * their state can be saved and loaded (R68), which the newer interface does not offer, and nothing
 * is allocated or can fail.
 *
 * Invariant: the struct hasher holds exactly one SHA256_CTX or SHA512_CTX at the start of its
 * storage. */
#define OPENSSL_SUPPRESS_DEPRECATED
#include <assert.h>
#include <stdio.h>
#include <stdlib.h>

#include <openssl/crypto.h>
#include <openssl/sha.h>

#include "base/digest.h"
#include "base/enc.h"

#define SHA256_BLOCK    64
#define SHA512_BLOCK    128
#define HASH_WORDS      8
#define HASH_LENGTH_MAX (UINT64_C(1) << 61) /* bytes; SHA-256 counts bits in 64 */
#define HEX_TAIL_MAX    (2 * SHA512_BLOCK + 1)

_Static_assert(sizeof(SHA256_CTX) <= sizeof(((struct hasher *)0)->state), "storage of a hasher");
_Static_assert(sizeof(SHA512_CTX) <= sizeof(((struct hasher *)0)->state), "storage of a hasher");
_Static_assert(sizeof(SHA_LONG) == 4 && sizeof(SHA_LONG64) == 8, "words of the saved state");
_Static_assert(SHA512_DIGEST_LENGTH <= DIGEST_BYTES_MAX, "room of a digest");

static const struct {
    struct str name;
    size_t bytes, block;
} algs[DIGEST_ALGS] = {
    [DIGEST_SHA256] = {{"sha256", 6}, SHA256_DIGEST_LENGTH, SHA256_BLOCK},
    [DIGEST_SHA512] = {{"sha512", 6}, SHA512_DIGEST_LENGTH, SHA512_BLOCK},
};

struct str digest_alg_name(enum digest_alg alg)
{
    assert(alg < DIGEST_ALGS);
    return algs[alg].name;
}

size_t digest_alg_bytes(enum digest_alg alg)
{
    assert(alg < DIGEST_ALGS);
    return algs[alg].bytes;
}

int digest_alg_parse(struct str name, enum digest_alg *ret)
{
    for (int i = 0; i < DIGEST_ALGS; i++) {
        if (str_eq(name, algs[i].name)) {
            *ret = (enum digest_alg)i;
            return 0;
        }
    }
    return -ERR_UNSUPPORTED;
}

static bool lower_or_digit(char c)
{
    return (c >= 'a' && c <= 'z') || (c >= '0' && c <= '9');
}

/* R4: [a-z0-9]+([+._-][a-z0-9]+)* */
static bool alg_grammar(struct str s)
{
    bool after_part = false;

    for (size_t i = 0; i < s.len; i++) {
        char c = s.at[i];

        if (lower_or_digit(c))
            after_part = true;
        else if (after_part && (c == '+' || c == '.' || c == '_' || c == '-'))
            after_part = false;
        else
            return false;
    }
    return after_part;
}

/* R4: [a-zA-Z0-9=_-]+ */
static bool encoded_grammar(struct str s)
{
    for (size_t i = 0; i < s.len; i++) {
        char c = s.at[i];

        if (!lower_or_digit(c) && !(c >= 'A' && c <= 'Z') && c != '=' && c != '_' && c != '-')
            return false;
    }
    return s.len > 0;
}

/* An algorithm that the image-spec registers and we do not serve (R6). */
static bool blake3_grammar(struct str encoded)
{
    uint8_t bytes[32];

    return hex_decode(encoded, bytes, sizeof(bytes));
}

int digest_parse(struct str text, struct digest *ret)
{
    struct digest d = {0};
    struct str alg, encoded;
    ptrdiff_t colon = str_find(text, ':');

    assert(ret);
    if (colon < 0)
        return -ERR_INVAL;
    alg = str_head(text, (size_t)colon);
    encoded = str_skip(text, (size_t)colon + 1);
    if (!alg_grammar(alg) || !encoded_grammar(encoded))
        return -ERR_INVAL;
    if (digest_alg_parse(alg, &d.alg) < 0) {
        if (str_eq(alg, STR("blake3")) && !blake3_grammar(encoded))
            return -ERR_INVAL;
        return -ERR_UNSUPPORTED;
    }
    if (!hex_decode(encoded, d.bytes, algs[d.alg].bytes))
        return -ERR_INVAL;
    *ret = d;
    return 0;
}

struct str digest_text(const struct digest *d, char out[DIGEST_TEXT_MAX])
{
    struct str name = digest_alg_name(d->alg);

    memcpy(out, name.at, name.len);
    out[name.len] = ':';
    hex_encode(d->bytes, algs[d->alg].bytes, out + name.len + 1);
    return str_make(out, name.len + 1 + 2 * algs[d->alg].bytes);
}

struct str digest_hex(const struct digest *d, char out[DIGEST_TEXT_MAX])
{
    hex_encode(d->bytes, digest_alg_bytes(d->alg), out);
    return str_make(out, 2 * algs[d->alg].bytes);
}

bool digest_eq(const struct digest *a, const struct digest *b)
{
    return digest_cmp(a, b) == 0;
}

/* The names of the algorithms sort as the enum does, and hex as the bytes do. */
int digest_cmp(const struct digest *a, const struct digest *b)
{
    if (a->alg != b->alg)
        return a->alg < b->alg ? -1 : 1;
    return memcmp(a->bytes, b->bytes, digest_alg_bytes(a->alg));
}

void digest_of(enum digest_alg alg, struct str bytes, struct digest *ret)
{
    struct hasher h;

    hasher_init(&h, alg);
    hasher_add(&h, bytes);
    hasher_final(&h, ret);
}

/* The library's functions answer 1 always for contexts that were initialised. */
static void lib_check(int ok)
{
    assert(ok == 1);
    (void)ok;
}

void hasher_init(struct hasher *h, enum digest_alg alg)
{
    assert(h && alg < DIGEST_ALGS);
    memset(h, 0, sizeof(*h));
    h->alg = alg;
    if (alg == DIGEST_SHA256)
        lib_check(SHA256_Init((SHA256_CTX *)(void *)h->state));
    else
        lib_check(SHA512_Init((SHA512_CTX *)(void *)h->state));
}

void hasher_add(struct hasher *h, struct str bytes)
{
    if (bytes.len == 0)
        return;
    if (h->alg == DIGEST_SHA256)
        lib_check(SHA256_Update((SHA256_CTX *)(void *)h->state, bytes.at, bytes.len));
    else
        lib_check(SHA512_Update((SHA512_CTX *)(void *)h->state, bytes.at, bytes.len));
}

void hasher_final(struct hasher *h, struct digest *ret)
{
    struct digest d = {0};

    d.alg = h->alg;
    if (h->alg == DIGEST_SHA256)
        lib_check(SHA256_Final(d.bytes, (SHA256_CTX *)(void *)h->state));
    else
        lib_check(SHA512_Final(d.bytes, (SHA512_CTX *)(void *)h->state));
    *ret = d;
}

static void put_state(struct buf *out, enum digest_alg alg, const uint64_t *words, uint64_t length,
                      const void *tail)
{
    char hex[HEX_TAIL_MAX];

    buf_add(out, digest_alg_name(alg));
    buf_addc(out, ':');
    for (int i = 0; i < HASH_WORDS; i++)
        buf_addf(out, "%0*llx", alg == DIGEST_SHA256 ? 8 : 16, (unsigned long long)words[i]);
    buf_addc(out, ':');
    buf_add_u64(out, length);
    buf_addc(out, ':');
    hex_encode(tail, length % algs[alg].block, hex);
    buf_add(out, str_of(hex));
}

void hasher_save(const struct hasher *h, struct buf *out)
{
    uint64_t words[HASH_WORDS];

    if (h->alg == DIGEST_SHA256) {
        SHA256_CTX c;

        memcpy(&c, h->state, sizeof(c));
        for (int i = 0; i < HASH_WORDS; i++)
            words[i] = c.h[i];
        put_state(out, h->alg, words, (uint64_t)c.Nh << 29 | c.Nl >> 3, c.data);
    } else {
        SHA512_CTX c;

        memcpy(&c, h->state, sizeof(c));
        for (int i = 0; i < HASH_WORDS; i++)
            words[i] = c.h[i];
        put_state(out, h->alg, words, (uint64_t)c.Nh << 61 | c.Nl >> 3, c.u.p);
    }
}

/* Cuts the part before ':' from *rest. */
static bool cut_part(struct str *rest, struct str *part)
{
    ptrdiff_t colon = str_find(*rest, ':');

    if (colon < 0)
        return false;
    *part = str_head(*rest, (size_t)colon);
    *rest = str_skip(*rest, (size_t)colon + 1);
    return true;
}

static void get_state(struct hasher *h, const uint64_t *words, uint64_t length, const uint8_t *tail)
{
    size_t tail_len = (size_t)(length % algs[h->alg].block);

    if (h->alg == DIGEST_SHA256) {
        SHA256_CTX c;

        memcpy(&c, h->state, sizeof(c));
        for (int i = 0; i < HASH_WORDS; i++)
            c.h[i] = (SHA_LONG)words[i];
        c.Nl = (SHA_LONG)(length << 3 & UINT32_MAX);
        c.Nh = (SHA_LONG)(length >> 29);
        c.num = (unsigned)tail_len;
        memcpy(c.data, tail, tail_len);
        memcpy(h->state, &c, sizeof(c));
    } else {
        SHA512_CTX c;

        memcpy(&c, h->state, sizeof(c));
        for (int i = 0; i < HASH_WORDS; i++)
            c.h[i] = words[i];
        c.Nl = length << 3;
        c.Nh = length >> 61;
        c.num = (unsigned)tail_len;
        memcpy(c.u.p, tail, tail_len);
        memcpy(h->state, &c, sizeof(c));
    }
}

int hasher_load(struct hasher *h, struct str text)
{
    struct str name, words_hex, length_text, tail_hex = text;
    uint8_t raw[HASH_WORDS * 8], tail[SHA512_BLOCK];
    uint64_t words[HASH_WORDS] = {0}, length;
    struct hasher fresh;
    enum digest_alg alg;
    size_t word_bytes;

    if (!cut_part(&tail_hex, &name) || !cut_part(&tail_hex, &words_hex) ||
        !cut_part(&tail_hex, &length_text) || digest_alg_parse(name, &alg) < 0)
        return -ERR_INVAL;
    word_bytes = alg == DIGEST_SHA256 ? 4 : 8;
    if (!hex_decode(words_hex, raw, HASH_WORDS * word_bytes) || !str_u64(length_text, &length) ||
        length >= HASH_LENGTH_MAX || (length_text.len > 1 && length_text.at[0] == '0') ||
        !hex_decode(tail_hex, tail, (size_t)(length % algs[alg].block)))
        return -ERR_INVAL;
    for (size_t i = 0; i < HASH_WORDS * word_bytes; i++)
        words[i / word_bytes] = words[i / word_bytes] << 8 | raw[i];
    hasher_init(&fresh, alg);
    get_state(&fresh, words, length, tail);
    *h = fresh;
    return 0;
}

/* RFC 2104. */
void hmac_key_init(struct hmac_key *k, struct str key)
{
    uint8_t pad[SHA256_BLOCK] = {0};
    struct digest d;

    if (key.len > sizeof(pad)) {
        digest_of(DIGEST_SHA256, key, &d);
        memcpy(pad, d.bytes, HMAC_BYTES);
    } else if (key.len > 0) {
        memcpy(pad, key.at, key.len);
    }
    for (size_t i = 0; i < sizeof(pad); i++)
        pad[i] ^= 0x36;
    hasher_init(&k->inner, DIGEST_SHA256);
    hasher_add(&k->inner, str_make(pad, sizeof(pad)));
    for (size_t i = 0; i < sizeof(pad); i++)
        pad[i] ^= 0x36 ^ 0x5c;
    hasher_init(&k->outer, DIGEST_SHA256);
    hasher_add(&k->outer, str_make(pad, sizeof(pad)));
    OPENSSL_cleanse(pad, sizeof(pad));
}

void hmac_by_key(const struct hmac_key *k, struct str data, uint8_t out[HMAC_BYTES])
{
    struct hasher h = k->inner;
    struct digest d;

    hasher_add(&h, data);
    hasher_final(&h, &d);
    h = k->outer;
    hasher_add(&h, str_make(d.bytes, HMAC_BYTES));
    hasher_final(&h, &d);
    memcpy(out, d.bytes, HMAC_BYTES);
    OPENSSL_cleanse(&h, sizeof(h));
}

void hmac_sha256(struct str key, struct str data, uint8_t out[HMAC_BYTES])
{
    struct hmac_key k;

    hmac_key_init(&k, key);
    hmac_by_key(&k, data, out);
    OPENSSL_cleanse(&k, sizeof(k));
}

/* RFC 5869: extract with a salt of zeros, then the first block of expand. */
void hkdf_sha256(struct str secret, struct str label, uint8_t out[HMAC_BYTES])
{
    static const uint8_t salt[HMAC_BYTES];
    uint8_t key[HMAC_BYTES], info[HKDF_LABEL_MAX + 1];

    assert(label.len <= HKDF_LABEL_MAX);
    hmac_sha256(str_make(salt, sizeof(salt)), secret, key);
    if (label.len > 0)
        memcpy(info, label.at, label.len);
    info[label.len] = 1;
    hmac_sha256(str_make(key, sizeof(key)), str_make(info, label.len + 1), out);
    OPENSSL_cleanse(key, sizeof(key));
}

bool bytes_eq_constant_time(const void *a, const void *b, size_t len)
{
    return CRYPTO_memcmp(a, b, len) == 0;
}

/* FIPS 180-4 examples: a library that hashes wrongly must not store anything. */
void digest_setup(void)
{
    static const char known[DIGEST_ALGS][DIGEST_TEXT_MAX] = {
        "sha256:ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad",
        "sha512:ddaf35a193617abacc417349ae20413112e6fa4e89a97ea20a9eeee64b55d39a"
        "2192992a274fc1a836ba3c23a3feebbd454d4423643ce80e2a9ac94fa54ca49f",
    };

    for (int i = 0; i < DIGEST_ALGS; i++) {
        char text[DIGEST_TEXT_MAX];
        struct digest d;

        digest_of((enum digest_alg)i, STR("abc"), &d);
        if (!str_eq(digest_text(&d, text), str_of(known[i])))
            abort();
    }
}

const char *digest_library(void)
{
    return OpenSSL_version(OPENSSL_VERSION);
}
