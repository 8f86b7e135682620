/* Slows down guessing. Failures are counted for (user, address): after a few, that pair is refused
 * for a time that doubles. The same password once more is no guess and does not count: clients
 * ask several times with what they were given. Failures of a user from anywhere only slow: attempts
 * for that user wait before they are looked at, so nobody can lock a user out. So do those of an
 * address with any users. A bounded table; what is pushed out of it is forgotten. Any thread, never
 * waits. */
#ifndef STOWAGE_AUTH_THROTTLE_H
#define STOWAGE_AUTH_THROTTLE_H

#include "base/err.h"
#include "base/str.h"

#define THROTTLE_FREE       5     /* failures of a pair without consequence */
#define THROTTLE_REFUSE_MS  1000  /* after the next one; doubles */
#define THROTTLE_REFUSE_MAX 60000 /* up to this */
#define THROTTLE_SLOW_FREE  20    /* failures of a user, or of an address, without consequence */
#define THROTTLE_SLOW_MS    50    /* more wait for each further one ... */
#define THROTTLE_SLOW_MAX   2000  /* ... up to this */
#define THROTTLE_FORGET_MS  600000
#define THROTTLE_ENTRIES    8192

struct throttle;
int throttle_new(struct throttle **ret) must_check;
void throttle_free(struct throttle *t);

/* May this attempt be looked at? 0: after *ret_ms of waiting. -ERR_THROTTLED: not before *ret_ms
 * have passed. */
int throttle_ask(struct throttle *t, struct str user, struct str address, int64_t now_ms,
                 int64_t *ret_ms) must_check;
/* guess: a keyed hash of what was tried, not 0. */
void throttle_failed(struct throttle *t, struct str user, struct str address, uint64_t guess,
                     int64_t now_ms);
/* The pair's failures are forgotten, and one of the user's and the address's each. */
void throttle_passed(struct throttle *t, struct str user, struct str address, int64_t now_ms);

#endif
