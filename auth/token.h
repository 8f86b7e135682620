/* The registry's own tokens (R115-R118): JWTs signed by keys that follow from the registry's
 * secrets, so that every node signs and verifies alike without a word between them. The newest
 * secret signs; an older one verifies what was signed before its end, for as long as such a token
 * lives.
 *
 * Keys are made at the first use. Any thread; everything but token_unknown may compute for a
 * millisecond, and refreshing may wait for the store: not on event threads. */
#ifndef STOWAGE_AUTH_TOKEN_H
#define STOWAGE_AUTH_TOKEN_H

#include "auth/jwt.h"
#include "auth/login.h"

#define TOKEN_SECONDS         300
#define TOKEN_REFRESH_SECONDS (30 * 86400)
#define TOKEN_LEEWAY_SECONDS  60    /* clocks may differ by this */
#define TOKEN_LOOK_MS         60000 /* a node knows of a new secret after this at the latest */
#define TOKEN_KEYS_MAX        8     /* newest ones that verify */

/* Where seeds come from. seed: the index-th of the secrets, newest first, and when (wall clock, ms)
 * a newer one replaced it, 0 for the newest; false past the last. refresh: looks for newer ones,
 * may wait; its failure changes nothing. */
struct token_source {
    bool (*seed)(void *arg, unsigned index, uint8_t out[HMAC_BYTES], int64_t *ret_end_ms);
    int (*refresh)(void *arg);
    void *arg;
};

struct token_mint;
/* Strings are copied. */
int token_mint_new(const struct token_source *source, struct str issuer, struct str service,
                   struct token_mint **ret) must_check;
void token_mint_free(struct token_mint *m);
struct str token_issuer(const struct token_mint *m);
struct str token_service(const struct token_mint *m);

struct token_grant {
    const struct login *login; /* NULL: nobody */
    const struct scopes *access;
    bool refresh;     /* a refresh token: no access, longer life */
    struct str proof; /* of a refresh token: hex of what its password's line was */
    int64_t now_ms;   /* wall clock */
};
int token_issue(struct token_mint *m, const struct token_grant *g, struct buf *out) must_check;

/* The token's login: LOGIN_TOKEN, limited to its access. -ERR_UNAUTHORIZED with the reason: not
 * ours, too early, too late, for another service, a refresh token. */
int token_verify(struct token_mint *m, const struct jwt *j, int64_t now_ms, struct login **ret,
                 struct err_detail *reason) must_check;
/* Of a refresh token: the login and the proof, appended. */
int token_verify_refresh(struct token_mint *m, const struct jwt *j, int64_t now_ms,
                         struct login **ret, struct buf *ret_proof,
                         struct err_detail *reason) must_check;
/* {"keys":[...]}: what verifies our tokens. */
int token_jwks(struct token_mint *m, struct buf *out) must_check;

/* Claims that tokens of all issuers share (R118): exp, nbf and iat within the leeway of now, aud is
 * or holds the service. -ERR_UNAUTHORIZED with the reason; *ret_exp_s. */
int token_check_times(const struct json *claims, int64_t now_s, int64_t *ret_exp_s,
                      struct err_detail *reason) must_check;
bool token_has_audience(const struct json *claims, struct str audience);
/* The claim "access" as scopes. -ERR_INVAL. */
int token_read_access(const struct json *claims, struct scopes *ret) must_check;

#endif
