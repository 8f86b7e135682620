/* Users and their passwords: a file of lines "user:hash", hashes by bcrypt ($2y$, $2b$, $2a$)
 * alone. The only user of crypt.h. A struct htpasswd is one content of the file: immutable, shared,
 * any thread. */
#ifndef STOWAGE_AUTH_HTPASSWD_H
#define STOWAGE_AUTH_HTPASSWD_H

#include "base/digest.h"

#define HTPASSWD_USERS_MAX 100000
#define HTPASSWD_COST_MAX  14 /* about 3 s a hash; more would be a way to stop the server */

struct htpasswd;

/* -ERR_INVAL with a sentence that names the line: no "user:hash", a user twice, another kind of
 * hash, a cost above the maximum. Empty lines and those that begin with '#' are left out. */
int htpasswd_parse(struct str text, struct htpasswd **ret, struct err_detail *detail) must_check;
struct htpasswd *htpasswd_ref(struct htpasswd *h);
void htpasswd_unref(struct htpasswd *h);
void htpasswd_unrefp(struct htpasswd **h);
#define auto_htpasswd auto_of(htpasswd_unrefp)
size_t htpasswd_count(const struct htpasswd *h);

/* Exactly one hash is computed, of an unknown user with the greatest cost of the file: 0 or
 * -ERR_UNAUTHORIZED, -ERR_NOMEM. Takes as long as the hash's cost says (10: about 0.1 s): workers
 * only. */
int htpasswd_verify(const struct htpasswd *h, struct str user, struct str password) must_check;
/* A digest of the user's line: it changes when the password does. False: no such user. */
bool htpasswd_proof(const struct htpasswd *h, struct str user, uint8_t out[HMAC_BYTES]);

#endif
