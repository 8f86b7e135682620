/* The door of a request: who calls, by the credentials it brings, and may he do what he asks; else
 * the 401 or 403 with the challenge that leads each client on (R22, R110-R114). Between
 * route_resolve and the handler. */
#ifndef STOWAGE_REGISTRY_ADMIT_H
#define STOWAGE_REGISTRY_ADMIT_H

#include "registry/http.h"

/* 0 with the request's identity set. -ERR_AGAIN (may_wait false): call again with may_wait true on
 * the gate's thread, not before *ret_delay_ms. Else the error to answer; headers are added. */
int admit_identify(struct req *r, bool may_wait, int64_t *ret_delay_ms) must_check;
/* 0, or the error to answer; headers are added. Event thread. */
int admit_check(struct req *r) must_check;

/* May the caller do this, too? For what only a handler knows: other repositories, tags in a body. 0
 * or -ERR_DENIED, without headers; nothing is logged. repo: as it is named in the request; a view
 * of the past is judged by its real name, and needs the right to history besides. */
int admit_may(struct req *r, enum action action, struct str repo, struct str tag) must_check;
/* The answer after such a denial, logged: -ERR_UNAUTHORIZED or -ERR_DENIED with headers added. */
int admit_refuse(struct req *r, enum action action, struct str repo, const char *reason) must_check;
/* May the caller mount from this repository (R114)? 1: he may; 0: he may not, go on without;
 * negative: the answer, a challenge for a token that speaks of it, too. */
int admit_mount(struct req *r, struct str from) must_check;

/* Credentials out of a form instead of a header: as admit_identify, without an identity. */
int admit_form(struct req *r, struct str user, struct str password, bool may_wait,
               struct login **ret, int64_t *ret_delay_ms) must_check;
/* The same name without its point in time. */
struct str admit_real_name(struct str repo);

#endif
