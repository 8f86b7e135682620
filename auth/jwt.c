/* cjose's objects are used under a lock: their counts are not atomic. */
#include "auth/jwt.h"

#include <cjose/cjose.h>
#include <stdlib.h>

#include "base/enc.h"
#include "base/thread.h"

#define RSA_BITS_MIN 2048
#define KID_HEX      32

enum kind { KIND_RSA, KIND_P256, KIND_P384, KIND_P521, KIND_NONE };

static const struct {
    const char *name;
    enum kind kind;
} algorithms[] = {
    {"RS256", KIND_RSA},  {"RS384", KIND_RSA},  {"RS512", KIND_RSA},
    {"PS256", KIND_RSA},  {"PS384", KIND_RSA},  {"PS512", KIND_RSA},
    {"ES256", KIND_P256}, {"ES384", KIND_P384}, {"ES512", KIND_P521},
};

struct key {
    cjose_jwk_t *jwk;
    enum kind kind;
    char kid[JWT_KID_MAX + 1];
    char alg[16]; /* the only one it is for; empty: any of its kind */
};

struct jwt_keys {
    struct mutex mu;
    size_t count;
    struct key at[JWT_KEYS_MAX];
};

struct jwt_signer {
    struct mutex mu;
    struct key key;
};

static enum kind kind_of_alg(struct str alg)
{
    for (size_t i = 0; i < ARRAY_LEN(algorithms); i++)
        if (str_eq(alg, str_of(algorithms[i].name)))
            return algorithms[i].kind;
    return KIND_NONE;
}

/* ---- Reading a token. */

void jwt_done(struct jwt *j)
{
    json_doc_freep(&j->header);
    json_doc_freep(&j->payload);
}

static int read_part(struct str part, struct json_doc **ret)
{
    struct buf text auto_buf = BUF_INIT(JWT_TEXT_MAX);
    int e =
        part.len && str_find(part, '+') < 0 && str_find(part, '/') < 0 && str_find(part, '=') < 0
            ? b64_decode(&text, part)
            : -ERR_INVAL;

    if (e == 0)
        e = json_parse(buf_str(&text), ret, NULL);
    if (e == 0 && json_type(json_root(*ret)) != JSON_OBJECT_T)
        return -ERR_INVAL;
    return e == -ERR_NOMEM ? e : e < 0 ? -ERR_INVAL : 0;
}

int jwt_read(struct str text, struct jwt *ret, struct err_detail *detail)
{
    struct jwt j auto_jwt = {.text = text};
    ptrdiff_t first = str_find(text, '.'), second;
    const struct json *header;
    int e;

    if (first < 0 || text.len > JWT_TEXT_MAX)
        return err_set(detail, -ERR_INVAL, "it is no token");
    second = str_find(str_skip(text, (size_t)first + 1), '.');
    if (second < 0 || str_find(str_skip(text, (size_t)(first + second) + 2), '.') >= 0)
        return err_set(detail, -ERR_INVAL, "it is no token");
    e = read_part(str_head(text, (size_t)first), &j.header);
    if (e == 0)
        e = read_part(str_head(str_skip(text, (size_t)first + 1), (size_t)second), &j.payload);
    if (e < 0)
        return e == -ERR_NOMEM ? e : err_set(detail, e, "the token cannot be read");
    header = json_root(j.header);
    j.alg = json_str(json_get(header, "alg"));
    j.kid = json_str(json_get(header, "kid"));
    if (kind_of_alg(j.alg) == KIND_NONE)
        return err_set(detail, -ERR_INVAL, "the token's algorithm is not accepted");
    if (json_get(header, "crit") || j.kid.len > JWT_KID_MAX)
        return err_set(detail, -ERR_INVAL, "the token's header is not accepted");
    *ret = j;
    j.header = j.payload = NULL;
    return 0;
}

/* ---- Keys. */

static enum kind kind_of_jwk(const cjose_jwk_t *jwk)
{
    cjose_err err = {.code = CJOSE_ERR_NONE};

    switch (cjose_jwk_get_kty(jwk, &err)) {
    case CJOSE_JWK_KTY_RSA:
        return cjose_jwk_get_keysize(jwk, &err) >= RSA_BITS_MIN ? KIND_RSA : KIND_NONE;
    case CJOSE_JWK_KTY_EC:
        break;
    default:
        return KIND_NONE;
    }
    switch (cjose_jwk_EC_get_curve(jwk, &err)) {
    case CJOSE_JWK_EC_P_256:
        return KIND_P256;
    case CJOSE_JWK_EC_P_384:
        return KIND_P384;
    case CJOSE_JWK_EC_P_521:
        return KIND_P521;
    default:
        return KIND_NONE;
    }
}

static void copy(char *out, size_t room, struct str s)
{
    size_t n = s.len < room ? s.len : room - 1;

    memcpy(out, n ? s.at : "", n);
    out[n] = '\0';
}

/* 1: taken; 0: a key that cannot serve here. */
static int read_key(const struct json *json, struct key *ret)
{
    struct buf text auto_buf = BUF_INIT(JWT_KEYS_TEXT);
    struct str kid = json_str(json_get(json, "kid")), use = json_str(json_get(json, "use"));
    struct str alg = json_str(json_get(json, "alg"));
    cjose_err err = {.code = CJOSE_ERR_NONE};

    if (kid.len > JWT_KID_MAX || (use.at && !str_eq(use, STR("sig"))) ||
        (alg.at && kind_of_alg(alg) == KIND_NONE))
        return 0;
    json_dump(&text, json);
    if (buf_err(&text) < 0)
        return -ERR_NOMEM;
    ret->jwk = cjose_jwk_import(buf_c(&text), text.len, &err);
    if (!ret->jwk)
        return err.code == CJOSE_ERR_NO_MEMORY ? -ERR_NOMEM : 0;
    ret->kind = kind_of_jwk(ret->jwk);
    if (ret->kind == KIND_NONE || (alg.at && kind_of_alg(alg) != ret->kind)) {
        cjose_jwk_release(ret->jwk);
        return 0;
    }
    copy(ret->kid, sizeof(ret->kid), kid);
    copy(ret->alg, sizeof(ret->alg), alg);
    return 1;
}

int jwt_keys_read(struct str json, struct jwt_keys **ret, struct err_detail *detail)
{
    struct json_doc *doc auto_json = NULL;
    const struct json *list;
    struct jwt_keys *k;
    int e = json.len <= JWT_KEYS_TEXT ? json_parse(json, &doc, NULL) : -ERR_INVAL;

    if (e == -ERR_NOMEM)
        return e;
    list = e == 0 ? json_get(json_root(doc), "keys") : NULL;
    if (json_type(list) != JSON_ARRAY_T)
        return err_set(detail, -ERR_INVAL, "it is no set of keys (JWKS)");
    k = calloc(1, sizeof(*k));
    if (!k)
        return -ERR_NOMEM;
    mutex_init(&k->mu);
    for (size_t i = 0; i < json_len(list) && k->count < JWT_KEYS_MAX; i++) {
        e = read_key(json_at(list, i), &k->at[k->count]);
        if (e < 0) {
            jwt_keys_free(k);
            return e;
        }
        k->count += (size_t)e;
    }
    *ret = k;
    return 0;
}

void jwt_keys_free(struct jwt_keys *k)
{
    if (!k)
        return;
    for (size_t i = 0; i < k->count; i++)
        cjose_jwk_release(k->at[i].jwk);
    mutex_done(&k->mu);
    free(k);
}

size_t jwt_keys_count(const struct jwt_keys *k)
{
    return k->count;
}

static bool suits(const struct key *key, const struct jwt *j)
{
    return key->kind == kind_of_alg(j->alg) && (!key->alg[0] || str_eq(str_of(key->alg), j->alg));
}

static bool verified(const struct key *key, const struct jwt *j)
{
    cjose_err err = {.code = CJOSE_ERR_NONE};
    cjose_jws_t *jws = cjose_jws_import(j->text.at, j->text.len, &err);
    bool good = jws && cjose_jws_verify(jws, key->jwk, &err);

    if (jws)
        cjose_jws_release(jws);
    return good;
}

int jwt_verify(const struct jwt *j, struct jwt_keys *keys)
{
    int e = -ERR_NOTFOUND;

    mutex_lock(&keys->mu);
    for (size_t i = 0; i < keys->count && e != 0; i++) {
        const struct key *key = &keys->at[i];

        if (j->kid.len && !str_eq(j->kid, str_of(key->kid)))
            continue;
        if (suits(key, j) && verified(key, j))
            e = 0;
        else if (j->kid.len || suits(key, j))
            e = -ERR_UNAUTHORIZED;
    }
    mutex_unlock(&keys->mu);
    return e;
}

/* ---- Our own. */

/* RFC 7638: the digest of the members that make the key, in order. */
static int thumbprint(struct key *key)
{
    struct json_doc *doc auto_json = NULL;
    struct buf text auto_buf = BUF_INIT(1024);
    struct jw w = JW_INIT(&text);
    cjose_err err = {.code = CJOSE_ERR_NONE};
    char *json = cjose_jwk_to_json(key->jwk, false, &err), hex[DIGEST_TEXT_MAX];
    struct digest d;
    int e = json ? json_parse(str_of(json), &doc, NULL) : -ERR_NOMEM;

    free(json);
    if (e < 0)
        return e;
    jw_begin(&w, '{');
    jw_kstr(&w, "crv", json_str(json_get(json_root(doc), "crv")));
    jw_kstr(&w, "kty", json_str(json_get(json_root(doc), "kty")));
    jw_kstr(&w, "x", json_str(json_get(json_root(doc), "x")));
    jw_kstr(&w, "y", json_str(json_get(json_root(doc), "y")));
    jw_end(&w, '}');
    if (buf_err(&text) < 0)
        return buf_err(&text);
    digest_of(DIGEST_SHA256, buf_str(&text), &d);
    copy(key->kid, sizeof(key->kid), str_head(digest_hex(&d, hex), KID_HEX));
    return 0;
}

/* A number from 1 to the order of P-256 less 1. */
static bool is_scalar(const uint8_t seed[HMAC_BYTES])
{
    static const uint8_t order[HMAC_BYTES] = {0xff, 0xff, 0xff, 0xff, 0x00, 0x00, 0x00, 0x00,
                                              0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff,
                                              0xbc, 0xe6, 0xfa, 0xad, 0xa7, 0x17, 0x9e, 0x84,
                                              0xf3, 0xb9, 0xca, 0xc2, 0xfc, 0x63, 0x25, 0x51};
    static const uint8_t zero[HMAC_BYTES];

    return memcmp(seed, order, sizeof(order)) < 0 && memcmp(seed, zero, sizeof(zero)) != 0;
}

int jwt_signer_new(const uint8_t seed[HMAC_BYTES], struct jwt_signer **ret)
{
    uint8_t d[HMAC_BYTES];
    cjose_jwk_ec_keyspec spec = {.crv = CJOSE_JWK_EC_P_256, .d = d, .dlen = sizeof(d)};
    cjose_err err = {.code = CJOSE_ERR_NONE};
    struct jwt_signer *s;
    int e;

    if (!is_scalar(seed))
        return -ERR_INVAL;
    s = calloc(1, sizeof(*s));
    if (!s)
        return -ERR_NOMEM;
    mutex_init(&s->mu);
    memcpy(d, seed, sizeof(d));
    s->key.kind = KIND_P256;
    s->key.jwk = cjose_jwk_create_EC_spec(&spec, &err);
    explicit_bzero(d, sizeof(d));
    e = s->key.jwk ? thumbprint(&s->key) : -ERR_NOMEM;
    if (e < 0) {
        jwt_signer_free(s);
        return e;
    }
    *ret = s;
    return 0;
}

void jwt_signer_free(struct jwt_signer *s)
{
    if (!s)
        return;
    if (s->key.jwk)
        cjose_jwk_release(s->key.jwk);
    mutex_done(&s->mu);
    free(s);
}

const char *jwt_signer_kid(const struct jwt_signer *s)
{
    return s->key.kid;
}

void jwt_signer_public(const struct jwt_signer *s, struct buf *out)
{
    cjose_err err = {.code = CJOSE_ERR_NONE};
    char *json = cjose_jwk_to_json(s->key.jwk, false, &err);

    if (!json) {
        out->err = -ERR_NOMEM;
        return;
    }
    buf_addf(out, "{\"kid\":\"%s\",\"use\":\"sig\",\"alg\":\"ES256\",%s", s->key.kid, json + 1);
    free(json);
}

int jwt_sign(struct jwt_signer *s, struct str payload, struct buf *out)
{
    cjose_err err = {.code = CJOSE_ERR_NONE};
    cjose_header_t *header = cjose_header_new(&err);
    cjose_jws_t *jws = NULL;
    const char *text = NULL;

    mutex_lock(&s->mu);
    if (header && cjose_header_set(header, CJOSE_HDR_ALG, CJOSE_HDR_ALG_ES256, &err) &&
        cjose_header_set(header, CJOSE_HDR_KID, s->key.kid, &err) &&
        cjose_header_set(header, "typ", "JWT", &err))
        jws = cjose_jws_sign(s->key.jwk, header, (const uint8_t *)payload.at, payload.len, &err);
    if (jws && cjose_jws_export(jws, &text, &err))
        buf_add(out, str_of(text));
    else
        out->err = -ERR_NOMEM;
    if (jws)
        cjose_jws_release(jws);
    if (header)
        cjose_header_release(header);
    mutex_unlock(&s->mu);
    return buf_err(out);
}

int jwt_signer_verify(struct jwt_signer *s, const struct jwt *j)
{
    bool good;

    if (!str_eq(j->kid, str_of(s->key.kid)))
        return -ERR_NOTFOUND;
    mutex_lock(&s->mu);
    good = suits(&s->key, j) && verified(&s->key, j);
    mutex_unlock(&s->mu);
    return good ? 0 : -ERR_UNAUTHORIZED;
}
