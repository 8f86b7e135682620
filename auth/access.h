/* Who calls, and who may do what. Every route names the action it needs (registry/routes.def);
 * every request has an identity; this module decides. Without any credentials or policy configured
 * there is one identity, anonymous, which may do everything, and the one rule that keeps this safe:
 * only loopback addresses are listened on unless the operator says otherwise.
 *
 * Knows neither store nor HTTP server: what lies in the store (keys of tokens, API keys) and what
 * is fetched (keys of issuers) comes in by access_connect. Any thread. Where authentication is off
 * nothing here takes memory, threads or time. Files are looked at again once a second, when
 * somebody calls. */
#ifndef STOWAGE_AUTH_ACCESS_H
#define STOWAGE_AUTH_ACCESS_H

#include "auth/action.h"
#include "auth/credentials.h"
#include "auth/gate.h"
#include "auth/issuer.h"
#include "auth/login.h"
#include "auth/robot.h"
#include "auth/token.h"

#define ACCESS_SEEN_MS 120000 /* a verified credential is not verified again for so long ... */
#define ACCESS_SEEN_ROBOT_MS                                                                       \
    10000                   /* ... an API key: revoked on another node, it ends after this         \
                             */
#define ACCESS_LOOK_MS 1000 /* files are looked at so often */

/* Of one request. login NULL: nobody said who he is; a token for nobody has a login without a name.
 */
struct identity {
    const char *name; /* never NULL; empty: anonymous */
    struct login *login;
};
#define IDENTITY_NOBODY ((struct identity){"", NULL})

enum access_mode { ACCESS_BASIC, ACCESS_BEARER }; /* what a challenge asks for */

struct access;
struct access_settings {
    bool allow_anonymous_network;
    const char *htpasswd, *policy, *issuers; /* paths; NULL or empty: none */
    int mode;                                /* enum access_mode */
    const char *service;                     /* of tokens; NULL or empty: "stowage" */
};
/* Reads the files: an error in one is -ERR_INVAL with a sentence that names it. Strings are
 * borrowed. */
int access_new(const struct access_settings *settings, struct access **ret,
               struct err_detail *detail) must_check;
void access_free(struct access *a);

/* What lies outside. Before the first request. robots, borrowed, may be NULL; refresh_robots makes
 * the table as new as the moment of the call, and may wait. */
struct access_outside {
    struct token_source secrets;
    struct str token_issuer;
    struct issuer_fetch fetch;
    struct robots *robots;
    int (*refresh_robots)(void *arg);
    void *arg;
};
int access_connect(struct access *a, const struct access_outside *outside) must_check;

/* Is anybody asked who he is? */
bool access_enabled(const struct access *a);
enum access_mode access_mode(const struct access *a);
struct str access_service(const struct access *a);
/* Where access_identify(MAY_WAIT) runs; NULL while nobody is asked. */
struct gate *access_gate(struct access *a);

/* The short way for an event thread: was this credential verified lately? True with a reference in
 * *ret. False: access_identify knows more. */
bool access_seen(struct access *a, const struct credentials *c, struct login **ret);

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

/* 0, or -ERR_DENIED with the reason. */
struct access_need {
    enum action action;
    struct str repo;  /* its real name; empty: no repository */
    struct str asked; /* as the client calls it, where that is another name (a view of the past) */
    struct str tag;   /* empty: none is named */
};
int access_check(struct access *a, const struct identity *who, const struct access_need *need,
                 struct err_detail *reason) must_check;

/* Tokens of our own, for a caller who was identified (NULL: nobody). */
int access_issue(struct access *a, const struct login *login, const struct scopes *granted,
                 struct buf *out) must_check;
/* -ERR_UNSUPPORTED: only users of the file can be given one. */
int access_issue_refresh(struct access *a, const struct login *login, struct buf *out) must_check;
/* The login of a refresh token whose user and password are still the same; -ERR_UNAUTHORIZED. */
int access_refresh(struct access *a, struct str token, struct login **ret,
                   struct err_detail *reason) must_check;
int access_jwks(struct access *a, struct buf *out) must_check;
/* An API key was revoked: its logins are forgotten. */
void access_forget(struct access *a, const char *name);

/* May the server listen on this address? `loopback`: a loopback address or a local socket.
 * -ERR_DENIED with a sentence. */
int access_check_listen(const struct access *a, struct str address, bool loopback,
                        struct err_detail *detail) must_check;

#endif
