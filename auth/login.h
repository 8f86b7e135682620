/* A verified caller: who, what is said about him, and what limits him. Made once when a credential
 * is verified, shared by all requests that bring it, immutable but for its count. Any thread. */
#ifndef STOWAGE_AUTH_LOGIN_H
#define STOWAGE_AUTH_LOGIN_H

#include <stdint.h>

#include "auth/scope.h"

#define LOGIN_NAME_MAX  255
#define LOGIN_ATTR_MAX  1024 /* bytes of one attribute */
#define LOGIN_ATTRS_MAX 64

enum login_kind {
    LOGIN_PASSWORD, /* user of the htpasswd file */
    LOGIN_TOKEN,    /* a token of our own; its limit says what it was given for */
    LOGIN_ROBOT,    /* an API key */
    LOGIN_ISSUER,   /* an outside issuer's identity; the policy decides */
    LOGIN_SERVER,   /* an outside token server's token: its limit alone decides */
    LOGIN_PROXY     /* client certificate that a trusted proxy verified */
};

struct login;
int login_new(enum login_kind kind, struct str name, struct login **ret) must_check;
struct login *login_ref(struct login *l);
void login_unref(struct login *l);
void login_unrefp(struct login **l);
#define auto_login auto_of(login_unrefp)

/* Before it is shared: "group:devs", "claim:ref=refs/heads/main". What passes the limits is
 * -ERR_LIMIT. */
int login_add_attr(struct login *l, const char *prefix, struct str value) must_check;
/* Takes the scopes over: from now on nothing outside them is allowed. */
void login_limit(struct login *l, struct scopes *limit);
void login_set_expiry(struct login *l, int64_t expires_ms); /* wall clock */

enum login_kind login_kind(const struct login *l);
const char *login_name(const struct login *l); /* "": anonymous */
size_t login_attr_count(const struct login *l);
struct str login_attr(const struct login *l, size_t i);
const struct scopes *login_scopes(const struct login *l); /* NULL: not limited */
int64_t login_expiry(const struct login *l);              /* 0: none */

#endif
