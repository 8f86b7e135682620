/* Digest grammar, published vectors, storable hash states. */
#include "base/digest.h"
#include "base/enc.h"
#include "check.h"

#define HEX64 "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"
#define HEX128                                                                                     \
    "cf83e1357eefb8bdf1542850d66d8007d620e4050b5715dc83f4a921d36ce9ce47d0d13c5d85f2b0ff8318d2877e" \
    "ec2f63b931bd47417a81a538327af927da3e"

/* FIPS 180-4 examples and the empty message. */
static const struct {
    enum digest_alg alg;
    const char *text;
    size_t times;
    const char *hex;
} vectors[] = {
    {DIGEST_SHA256, "", 1, HEX64},
    {DIGEST_SHA256, "abc", 1, "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"},
    {DIGEST_SHA256, "abcdbcdecdefdefgefghfghighijhijkijkljklmklmnlmnomnopnopq", 1,
     "248d6a61d20638b8e5c026930c3e6039a33ce45964ff2167f6ecedd419db06c1"},
    {DIGEST_SHA256, "a", 1000000,
     "cdc76e5c9914fb9281a1c7e284d73e67f1809a48a497200e046d39ccc7112cd0"},
    {DIGEST_SHA512, "", 1, HEX128},
    {DIGEST_SHA512, "abc", 1,
     "ddaf35a193617abacc417349ae20413112e6fa4e89a97ea20a9eeee64b55d39a2192992a274fc1a836ba3c23a3fe"
     "ebbd454d4423643ce80e2a9ac94fa54ca49f"},
    {DIGEST_SHA512,
     "abcdefghbcdefghicdefghijdefghijkefghijklfghijklmghijklmnhijklmnoijklmnopjklmnopqklmnopqrlmno"
     "pqrsmnopqrstnopqrstu",
     1,
     "8e959b75dae313da8cf4f72814fc143f8f7779c6eb9f7fa17299aeadb6889018501d289e4900f7e4331b99dec4b5"
     "433ac7d329eeb6dd26545e96e55b874be909"},
    {DIGEST_SHA512, "a", 1000000,
     "e718483d0ce769644e2e42c7bc15b4638e1f98b13b2044285632a803afa973ebde0ff244877ea60a4cb0432ce577"
     "c31beb009c5c2c49aa2e4eadb217ad8cc09b"},
};

static void published_vectors(void **state)
{
    (void)state;
    digest_setup();
    for (size_t i = 0; i < ARRAY_LEN(vectors); i++) {
        char out[DIGEST_TEXT_MAX];
        struct hasher h;
        struct digest d;

        hasher_init(&h, vectors[i].alg);
        for (size_t n = 0; n < vectors[i].times; n++)
            hasher_add(&h, str_of(vectors[i].text));
        hasher_final(&h, &d);
        assert_str(digest_hex(&d, out), vectors[i].hex);
        if (vectors[i].times == 1) {
            digest_of(vectors[i].alg, str_of(vectors[i].text), &d);
            assert_str(digest_hex(&d, out), vectors[i].hex);
        }
    }
}

static void grammar(void **state)
{
    static const struct {
        const char *text;
        int r;
    } cases[] = {
        {"sha256:" HEX64, 0},
        {"sha512:" HEX128, 0},
        {"", ERR_INVAL},
        {":", ERR_INVAL},
        {"sha256", ERR_INVAL},
        {"sha256:", ERR_INVAL},
        {":" HEX64, ERR_INVAL},
        {"sha256:" HEX64 "0", ERR_INVAL},
        {"sha256:E3B0C44298FC1C149AFBF4C8996FB92427AE41E4649B934CA495991B7852B855", ERR_INVAL},
        {"sha256:e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b85", ERR_INVAL},
        {"sha256:e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b85g", ERR_INVAL},
        {"sha256:" HEX128, ERR_INVAL},
        {"sha512:" HEX64, ERR_INVAL},
        {"SHA256:" HEX64, ERR_INVAL},
        {" sha256:" HEX64, ERR_INVAL},
        {"sha256:" HEX64 "\n", ERR_INVAL},
        {"sha256::" HEX64, ERR_INVAL},
        {"sha256:sha256:" HEX64, ERR_INVAL},
        {"sha256/../:" HEX64, ERR_INVAL},
        {"blake3:" HEX64, ERR_UNSUPPORTED},
        {"blake3:" HEX64 "00", ERR_INVAL},
        {"blake3:E3B0C44298FC1C149AFBF4C8996FB92427AE41E4649B934CA495991B7852B855", ERR_INVAL},
        {"md5:d41d8cd98f00b204e9800998ecf8427e", ERR_UNSUPPORTED},
        {"sha384:abc", ERR_UNSUPPORTED},
        {"multihash+base58:QmRZxt2b1FVZPNqd8hsiykDL3TdBDeTSPX9Kv46HmX4Gx8", ERR_UNSUPPORTED},
        {"sha256+b64u:LCa0a2j_xo_5m0U8HTBBNBNCLXBkg7-g-YpeiGJm564", ERR_UNSUPPORTED},
        {"a.b_c-d+e:=_-", ERR_UNSUPPORTED},
        {"a..b:x", ERR_INVAL},
        {"+a:x", ERR_INVAL},
        {"a+:x", ERR_INVAL},
        {"a:x.y", ERR_INVAL},
        {"a:x/y", ERR_INVAL},
        {"a:\xc3\xbc", ERR_INVAL},
    };

    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        char out[DIGEST_TEXT_MAX];
        struct digest d;

        memset(&d, 0x55, sizeof(d));
        check(digest_parse(str_of(cases[i].text), &d) == -cases[i].r, "\"%s\"", cases[i].text);
        if (cases[i].r == 0) {
            assert_str(digest_text(&d, out), cases[i].text);
            assert_int_equal(strlen(out), strlen(cases[i].text));
            assert_true(str_ends(str_of(cases[i].text), digest_hex(&d, out)));
        } else {
            check(d.bytes[0] == 0x55, "out-parameter of \"%s\"", cases[i].text);
        }
    }
    assert_int_equal(digest_parse(str_make("sha256:" HEX64 "\0", 72), &(struct digest){0}),
                     -ERR_INVAL);
}

static void algorithms(void **state)
{
    enum digest_alg alg;

    (void)state;
    assert_int_equal(digest_alg_parse(STR("sha512"), &alg), 0);
    assert_int_equal(alg, DIGEST_SHA512);
    assert_str(digest_alg_name(alg), "sha512");
    assert_int_equal(digest_alg_bytes(alg), 64);
    assert_int_equal(digest_alg_bytes(DIGEST_SHA256), 32);
    assert_int_equal(digest_alg_parse(STR("sha"), &alg), -ERR_UNSUPPORTED);
    assert_int_equal(digest_alg_parse(STR_NONE, &alg), -ERR_UNSUPPORTED);
}

/* The order is the one of the texts. */
static void order(void **state)
{
    struct digest d[64];

    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(d); i++)
        digest_of((enum digest_alg)(i % 2), str_make(&i, sizeof(i)), &d[i]);
    for (size_t i = 0; i < ARRAY_LEN(d); i++) {
        for (size_t j = 0; j < ARRAY_LEN(d); j++) {
            char a[DIGEST_TEXT_MAX], b[DIGEST_TEXT_MAX];
            int c = digest_cmp(&d[i], &d[j]);
            int want = str_cmp(digest_text(&d[i], a), digest_text(&d[j], b));

            assert_int_equal((c > 0) - (c < 0), (want > 0) - (want < 0));
            assert_int_equal(digest_eq(&d[i], &d[j]), i == j);
        }
    }
}

/* Saves and loads at every pair of nearby split points over several blocks. */
static void states_survive_saving(void **state)
{
    char data[400];

    (void)state;
    for (size_t i = 0; i < sizeof(data); i++)
        data[i] = (char)(i * 7 + 3);
    for (int alg = 0; alg < DIGEST_ALGS; alg++) {
        struct digest want, got;

        digest_of((enum digest_alg)alg, str_make(data, sizeof(data)), &want);
        for (size_t split = 0; split <= sizeof(data); split++) {
            struct buf text auto_buf = BUF_INIT(HASHER_STATE_MAX);
            struct buf again auto_buf = BUF_INIT(HASHER_STATE_MAX);
            struct hasher h, loaded;

            hasher_init(&h, (enum digest_alg)alg);
            hasher_add(&h, str_make(data, split));
            hasher_save(&h, &text);
            check(buf_err(&text) == 0, "split %zu", split);
            memset(&loaded, 0xee, sizeof(loaded));
            check(hasher_load(&loaded, buf_str(&text)) == 0, "split %zu", split);
            hasher_save(&loaded, &again);
            check(str_eq(buf_str(&text), buf_str(&again)), "split %zu", split);
            hasher_add(&loaded, str_skip(str_make(data, sizeof(data)), split));
            hasher_final(&loaded, &got);
            check(digest_eq(&got, &want), "split %zu", split);
        }
    }
}

/* The text is part of the bucket format, so it must never change. */
static void saved_form_is_stable(void **state)
{
    struct buf b auto_buf = BUF_INIT(2 * HASHER_STATE_MAX);
    struct hasher h;

    (void)state;
    hasher_init(&h, DIGEST_SHA256);
    hasher_add(&h, STR("abc"));
    hasher_save(&h, &b);
    assert_str(buf_str(&b),
               "sha256:6a09e667bb67ae853c6ef372a54ff53a510e527f9b05688c1f83d9ab5be0cd19:3:616263");
    buf_clear(&b);
    hasher_init(&h, DIGEST_SHA512);
    hasher_save(&h, &b);
    assert_str(buf_str(&b),
               "sha512:6a09e667f3bcc908bb67ae8584caa73b3c6ef372fe94f82ba54ff53a5f1d36f1"
               "510e527fade682d19b05688c2b3e6c1f1f83d9abfb41bd6b5be0cd19137e2179:0:");
}

/* Lengths past 32 bits of bits and bytes are kept. */
static void long_messages(void **state)
{
    static const char *const texts[] = {
        "sha256:6a09e667bb67ae853c6ef372a54ff53a510e527f9b05688c1f83d9ab5be0cd19:536870912:",
        "sha256:6a09e667bb67ae853c6ef372a54ff53a510e527f9b05688c1f83d9ab5be0cd19:1099511627777:61",
        "sha256:6a09e667bb67ae853c6ef372a54ff53a510e527f9b05688c1f83d9ab5be0cd19:"
        "2305843009213693888:",
        "sha512:6a09e667f3bcc908bb67ae8584caa73b3c6ef372fe94f82ba54ff53a5f1d36f1"
        "510e527fade682d19b05688c2b3e6c1f1f83d9abfb41bd6b5be0cd19137e2179:1099511627777:61",
    };

    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(texts); i++) {
        struct buf b auto_buf = BUF_INIT(HASHER_STATE_MAX);
        struct hasher h;

        check(hasher_load(&h, str_of(texts[i])) == 0, "case %zu", i);
        hasher_save(&h, &b);
        assert_str(buf_str(&b), texts[i]);
    }
}

static void bad_states_are_refused(void **state)
{
#define WORDS "6a09e667bb67ae853c6ef372a54ff53a510e527f9b05688c1f83d9ab5be0cd19"
    static const char *const texts[] = {
        "",
        "sha256",
        "sha256:" WORDS,
        "sha256:" WORDS ":3",
        "sha256:" WORDS ":3:6162",
        "sha256:" WORDS ":3:61626364",
        "sha256:" WORDS ":3:61626G",
        "sha256:" WORDS ":3:616263:",
        "sha256:" WORDS ":03:616263",
        "sha256:" WORDS ":-3:616263",
        "sha256:" WORDS "::",
        "sha256:" WORDS "00:0:",
        "sha256:6A:0:",
        "sha256:" WORDS ":64:61",
        "sha256:" WORDS ":2305843009213693952:",
        "sha256:" WORDS ":18446744073709551616:",
        "sha512:" WORDS ":3:616263",
        "md5:" WORDS ":0:",
    };

    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(texts); i++) {
        struct hasher h;

        check(hasher_load(&h, str_of(texts[i])) == -ERR_INVAL, "\"%s\"", texts[i]);
    }
}

/* RFC 4231 cases 1, 2, 3, 4, 6, 7. */
static void hmac(void **state)
{
    static const struct {
        const char *key; /* hex */
        size_t times;
        const char *data; /* hex */
        size_t data_times;
        const char *mac;
    } cases[] = {
        {"0b", 20, "4869205468657265", 1,
         "b0344c61d8db38535ca8afceaf0bf12b881dc200c9833da726e9376c2e32cff7"},
        {"4a656665", 1, "7768617420646f2079612077616e7420666f72206e6f7468696e673f", 1,
         "5bdcc146bf60754e6a042426089575c75a003f089d2739839dec58b964ec3843"},
        {"aa", 20, "dd", 50, "773ea91e36800e46854db8ebd09181a72959098b3ef8c122d9635514ced565fe"},
        {"0102030405060708090a0b0c0d0e0f10111213141516171819", 1, "cd", 50,
         "82558a389a443c0ea4cc819899f2083a85f0faa3e578f8077a2e3ff46729665b"},
        {"aa", 131,
         "54657374205573696e67204c6172676572205468616e20426c6f636b2d53697a65204b6579202d2048617368"
         "204b6579204669727374",
         1, "60e431591ee0b67f0d8a26aacbf5b77f8e0bc6213728c5140546040f0ee37f54"},
        {"aa", 131,
         "5468697320697320612074657374207573696e672061206c6172676572207468616e20626c6f636b2d73697a"
         "65206b657920616e642061206c6172676572207468616e20626c6f636b2d73697a6520646174612e20546865"
         "206b6579206e6565647320746f20626520686173686564206265666f7265206265696e672075736564206279"
         "2074686520484d414320616c676f726974686d2e",
         1, "9b09ffa71b942fcb27635fbcd5b0e944bfdc63644f0713938a7f51535c3a35e2"},
    };

    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        struct buf key auto_buf = BUF_INIT(1000), data auto_buf = BUF_INIT(1000);
        uint8_t raw[200], mac[HMAC_BYTES];
        char hex[2 * HMAC_BYTES + 1];
        size_t n = strlen(cases[i].key) / 2;

        assert_true(hex_decode(str_of(cases[i].key), raw, n));
        for (size_t t = 0; t < cases[i].times; t++)
            buf_add(&key, str_make(raw, n));
        n = strlen(cases[i].data) / 2;
        assert_true(hex_decode(str_of(cases[i].data), raw, n));
        for (size_t t = 0; t < cases[i].data_times; t++)
            buf_add(&data, str_make(raw, n));
        hmac_sha256(buf_str(&key), buf_str(&data), mac);
        hex_encode(mac, sizeof(mac), hex);
        assert_string_equal(hex, cases[i].mac);
    }
}

/* RFC 5869 case 3 (empty salt, empty info), its first 32 bytes; a label changes the key. */
static void hkdf(void **state)
{
    uint8_t secret[22], out[HMAC_BYTES], other[HMAC_BYTES], zeros[HMAC_BYTES] = {0};
    uint8_t prk[HMAC_BYTES], by_hand[HMAC_BYTES];
    char hex[2 * HMAC_BYTES + 1];

    (void)state;
    memset(secret, 0x0b, sizeof(secret));
    hkdf_sha256(str_make(secret, sizeof(secret)), STR_NONE, out);
    hex_encode(out, sizeof(out), hex);
    assert_string_equal(hex, "8da4e775a563c18f715f802a063c5a31b8a11f5c5ee1879ec3454e5f3c738d2d");
    hkdf_sha256(str_make(secret, sizeof(secret)), STR("sessions"), other);
    assert_memory_not_equal(out, other, sizeof(out));
    hmac_sha256(str_make(zeros, sizeof(zeros)), str_make(secret, sizeof(secret)), prk);
    hmac_sha256(str_make(prk, sizeof(prk)), STR("sessions\x01"), by_hand);
    assert_memory_equal(other, by_hand, sizeof(other));
}

static void constant_time(void **state)
{
    (void)state;
    assert_true(bytes_eq_constant_time("abc", "abc", 3));
    assert_false(bytes_eq_constant_time("abc", "abd", 3));
    assert_true(bytes_eq_constant_time("abc", "abd", 2));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(published_vectors),
        cmocka_unit_test(grammar),
        cmocka_unit_test(algorithms),
        cmocka_unit_test(order),
        cmocka_unit_test(states_survive_saving),
        cmocka_unit_test(saved_form_is_stable),
        cmocka_unit_test(long_messages),
        cmocka_unit_test(bad_states_are_refused),
        cmocka_unit_test(hmac),
        cmocka_unit_test(hkdf),
        cmocka_unit_test(constant_time),
    };

    return cmocka_run_group_tests_name("digest", tests, NULL, NULL);
}
