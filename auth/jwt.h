/* JSON Web Tokens: reading, verifying against a set of keys, signing. The only user of cjose. What
 * is accepted is a list: RS, PS (256, 384, 512) with RSA keys of 2,048 bits and more, ES256, ES384,
 * ES512 with the curve that belongs to each. Never "none", never a shared secret; a key serves only
 * the algorithms of its own kind, so a public key cannot be taken for a secret (R118). A header
 * with "crit" is refused, keys within a header are not looked at.
 *
 * Any thread. Verifying and signing take up to a millisecond of computing: not on event threads. */
#ifndef STOWAGE_AUTH_JWT_H
#define STOWAGE_AUTH_JWT_H

#include "base/digest.h"
#include "base/json.h"

#define JWT_TEXT_MAX  (16u << 10) /* bytes of a token */
#define JWT_KEYS_MAX  64          /* of one set */
#define JWT_KEYS_TEXT (256u << 10)
#define JWT_KID_MAX   256

/* A token that was read, not verified. */
struct jwt {
    struct str text; /* borrowed */
    struct json_doc *header, *payload;
    struct str alg, kid; /* kid empty: none */
};
void jwt_done(struct jwt *j);
#define auto_jwt auto_of(jwt_done)
/* -ERR_INVAL: no token, or one that no key could verify. */
int jwt_read(struct str text, struct jwt *ret, struct err_detail *detail) must_check;

/* A JWK set. Keys that cannot serve (of another kind, for encryption, too short, secrets) are left
 * out. -ERR_INVAL: no set. */
struct jwt_keys;
int jwt_keys_read(struct str json, struct jwt_keys **ret, struct err_detail *detail) must_check;
void jwt_keys_free(struct jwt_keys *k);
size_t jwt_keys_count(const struct jwt_keys *k);
/* 0; -ERR_NOTFOUND: no key has the token's kid (or, without kid, its kind); -ERR_UNAUTHORIZED: the
 * signature is not by that key, or the algorithm not for it. */
int jwt_verify(const struct jwt *j, struct jwt_keys *keys) must_check;

/* Our own key (ES256), which follows from a seed. -ERR_INVAL: no key follows from this one; take
 * another. */
struct jwt_signer;
int jwt_signer_new(const uint8_t seed[HMAC_BYTES], struct jwt_signer **ret) must_check;
void jwt_signer_free(struct jwt_signer *s);
const char *jwt_signer_kid(const struct jwt_signer *s);
/* {"kty":...,"kid":...,"use":"sig","alg":"ES256",...}: the public part. */
void jwt_signer_public(const struct jwt_signer *s, struct buf *out);
int jwt_sign(struct jwt_signer *s, struct str payload, struct buf *out) must_check;
int jwt_signer_verify(struct jwt_signer *s, const struct jwt *j) must_check;

#endif
