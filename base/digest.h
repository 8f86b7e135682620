/* Digests (image-spec descriptor.md; R4, R5, R6), streaming hashing with a storable state, HMAC and
 * HKDF. The only owner of OpenSSL. digest values are plain data; a hasher belongs to one thread at
 * a time. */
#ifndef STOWAGE_BASE_DIGEST_H
#define STOWAGE_BASE_DIGEST_H

#include "base/buf.h"

enum digest_alg { DIGEST_SHA256, DIGEST_SHA512, DIGEST_ALGS };

#define DIGEST_BYTES_MAX 64
#define DIGEST_TEXT_MAX  136 /* "sha512:" + 128 + NUL */

struct digest {
    enum digest_alg alg;
    uint8_t bytes[DIGEST_BYTES_MAX]; /* unused tail is zero, so digests compare as plain memory */
};

struct str digest_alg_name(enum digest_alg alg); /* "sha256" */
size_t digest_alg_bytes(enum digest_alg alg);    /* 32 */
/* 0 or -ERR_UNSUPPORTED (name well-formed or not). */
int digest_alg_parse(struct str name, enum digest_alg *ret) must_check;

/* "alg:hex" -> 0; -ERR_INVAL when the grammar of R4 is broken; -ERR_UNSUPPORTED when well-formed
 * but of an algorithm not served (R6). */
int digest_parse(struct str text, struct digest *ret) must_check;
struct str digest_text(const struct digest *d,
                       char out[DIGEST_TEXT_MAX]); /* "sha256:..." NUL-ended too */
struct str digest_hex(const struct digest *d, char out[DIGEST_TEXT_MAX]); /* hex alone */
bool digest_eq(const struct digest *a, const struct digest *b);
int digest_cmp(const struct digest *a, const struct digest *b); /* order of the texts */

/* Hash of bytes at hand. */
void digest_of(enum digest_alg alg, struct str bytes, struct digest *ret);

/* Streaming. The state can be saved as integers and loaded by another process (R68); its text form
 * is stable: part of the bucket format (docs/bucket-format.md, upload sessions). */
struct hasher {
    enum digest_alg alg;
    uint64_t state[32]; /* storage for the library's context */
};
#define HASHER_STATE_MAX 512 /* text bytes of a saved state */

void hasher_init(struct hasher *h, enum digest_alg alg);
void hasher_add(struct hasher *h, struct str bytes);
void hasher_final(struct hasher *h,
                  struct digest *ret); /* h must be initialised again to be used again */
/* Appends "<alg>:<hex of words>:<length>:<hex of tail>". */
void hasher_save(const struct hasher *h, struct buf *out);
int hasher_load(struct hasher *h, struct str text) must_check; /* -ERR_INVAL */

#define HMAC_BYTES 32
void hmac_sha256(struct str key, struct str data, uint8_t out[HMAC_BYTES]);
/* The same with a key that is used often: the two hashes over it are kept. Immutable after init,
 * any thread. */
struct hmac_key {
    struct hasher inner, outer;
};
void hmac_key_init(struct hmac_key *k, struct str key);
void hmac_by_key(const struct hmac_key *k, struct str data, uint8_t out[HMAC_BYTES]);
/* HKDF-SHA256 (RFC 5869) of secret with an empty salt and the label as info: one label per use. */
#define HKDF_LABEL_MAX 64
void hkdf_sha256(struct str secret, struct str label, uint8_t out[HMAC_BYTES]);
bool bytes_eq_constant_time(const void *a, const void *b, size_t len);

/* Startup calls it once: hashes a known text with each algorithm and ends the process when the
 * library is wrong. No other function depends on it. */
void digest_setup(void);

const char *digest_library(void); /* name and version of the library */

#endif
