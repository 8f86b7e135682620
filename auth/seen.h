/* Credentials that were verified a short while ago, so that a client that brings the same ones with
 * each request is verified once: a bounded table from the keyed hash of the credential to its
 * login. The credential itself is not kept. Any thread; nothing here waits. */
#ifndef STOWAGE_AUTH_SEEN_H
#define STOWAGE_AUTH_SEEN_H

#include "auth/login.h"
#include "base/digest.h"

#define SEEN_MAX 8192 /* entries; the least recently used goes first */

struct seen;
int seen_new(struct seen **ret) must_check;
void seen_free(struct seen *s);

/* The keyed hash of a credential; parts are divided. */
void seen_key(const struct seen *s, char kind, struct str a, struct str b, uint8_t out[HMAC_BYTES]);
/* A reference to the login, or NULL. */
struct login *seen_get(struct seen *s, const uint8_t key[HMAC_BYTES], int64_t now_ms);
/* Which content counts: read before a verification begins. */
uint64_t seen_epoch(struct seen *s);
/* Keeps the login until until_ms (clock_boot_ms); not when something was dropped since epoch. No
 * memory: it is not kept. */
void seen_put(struct seen *s, const uint8_t key[HMAC_BYTES], struct login *l, int64_t until_ms,
              uint64_t epoch);
/* Forgets all for which fn says true; called under the table's lock. */
void seen_drop(struct seen *s, bool (*fn)(const struct login *l, void *arg), void *arg);
size_t seen_count(struct seen *s);

#endif
