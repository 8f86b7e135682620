/* Issuers outside: who else's tokens are believed, and what they make of their bearer. A file of
 * JSON (docs/authentication.md) names for each its issuer and audience, where its keys are (a file
 * or an https URL), which claims must hold, and which become the identity, its groups and its
 * claims in the policy. An issuer of the kind "tokens" is a token server: its tokens carry what
 * they allow, and nothing else is asked.
 *
 * Keys are fetched from the configured places only, kept, fetched again when they are old, and once
 * a minute at most for a token whose key is not known. Any thread; verifying may wait for a fetch:
 * not on event threads. */
#ifndef STOWAGE_AUTH_ISSUER_H
#define STOWAGE_AUTH_ISSUER_H

#include "auth/jwt.h"
#include "auth/login.h"

#define ISSUERS_MAX           16
#define ISSUER_RULES_MAX      32
#define ISSUER_KEYS_OLD_MS    (10 * 60000)     /* fetched again when used after this */
#define ISSUER_KEYS_DEAD_MS   (24 * 3600000LL) /* not used after this, if fetching fails */
#define ISSUER_UNKNOWN_KEY_MS 60000            /* for an unknown key at most so often */
#define ISSUER_RETRY_MS       5000             /* after a failure */

/* Appends what lies at the URL, at most the buffer's maximum, with no redirect followed. ca_file:
 * NULL, the system's. */
struct issuer_fetch {
    int (*fn)(void *arg, const char *url, const char *ca_file, struct buf *out,
              struct err_detail *detail);
    void *arg;
};

struct issuers;
int issuers_parse(struct str text, struct issuers **ret, struct err_detail *detail) must_check;
struct issuers *issuers_ref(struct issuers *is);
void issuers_unref(struct issuers *is);
void issuers_unrefp(struct issuers **is);
#define auto_issuers auto_of(issuers_unrefp)
size_t issuers_count(const struct issuers *is);

/* Is the token's issuer one of these? */
bool issuers_know(const struct issuers *is, const struct jwt *j);
/* -ERR_UNAUTHORIZED with the reason; -ERR_UNAVAIL: the keys cannot be had. service: the audience
 * where the file names none. */
int issuers_verify(struct issuers *is, const struct jwt *j, struct str service, int64_t now_ms,
                   const struct issuer_fetch *fetch, struct login **ret,
                   struct err_detail *reason) must_check;

#endif
