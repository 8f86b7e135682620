/* Who calls, and who may do what. Every route names the action it needs (registry/routes.def);
 * every request has an identity; this module decides. Without any credentials configured there is
 * one identity, anonymous, which may do everything, and the one rule that keeps this safe: only
 * loopback addresses are listened on unless the operator says otherwise.
 *
 * Knows neither store nor HTTP server. Any thread. Where authentication is off nothing here takes
 * memory, threads or time. Files are looked at again once a second, when somebody calls. */
#ifndef STOWAGE_AUTH_ACCESS_H
#define STOWAGE_AUTH_ACCESS_H

#include "auth/action.h"
#include "auth/credentials.h"
#include "auth/gate.h"
#include "auth/login.h"

#define ACCESS_SEEN_MS 120000 /* a verified credential is not verified again for so long */
#define ACCESS_LOOK_MS 1000   /* files are looked at so often */

/* Of one request. login NULL: nobody said who he is; a token for nobody has a login without a name.
 */
struct identity {
    const char *name; /* never NULL; empty: anonymous */
    struct login *login;
};
#define IDENTITY_NOBODY ((struct identity){"", NULL})

struct access;
struct access_settings {
    bool allow_anonymous_network;
    const char *htpasswd; /* path; NULL or empty: none */
};
/* Reads the files: an error in one is -ERR_INVAL with a sentence that names it. Strings are
 * borrowed. */
int access_new(const struct access_settings *settings, struct access **ret,
               struct err_detail *detail) must_check;
void access_free(struct access *a);

/* Is anybody asked who he is? */
bool access_enabled(const struct access *a);
/* Where access_identify(MAY_WAIT) runs; NULL while nobody is asked. */
struct gate *access_gate(struct access *a);

/* Whose credentials are these? 0 with a reference in *ret, NULL for nobody. -ERR_UNAUTHORIZED: they
 * are wrong. -ERR_THROTTLED: too many wrong ones came; not again before *ret_ms have passed.
 * -ERR_AGAIN (may_wait false): ask again, may_wait true, on the gate's thread after *ret_ms.
 * address: the client's, for counting failures. */
struct access_ask {
    const struct credentials *credentials;
    struct str address;
    bool may_wait;
};
int access_identify(struct access *a, const struct access_ask *ask, struct login **ret,
                    int64_t *ret_ms, struct err_detail *detail) must_check;

/* 0, or -ERR_DENIED with the reason. repo is empty for actions on no repository, tag where none is
 * named. */
int access_check(struct access *a, const struct identity *who, enum action action, struct str repo,
                 struct str tag, struct err_detail *reason) must_check;

/* May the server listen on this address? `loopback`: a loopback address or a local socket.
 * -ERR_DENIED with a sentence. */
int access_check_listen(const struct access *a, struct str address, bool loopback,
                        struct err_detail *detail) must_check;

#endif
