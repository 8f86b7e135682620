/* Who may do what. Every route names the action it needs; every request carries an identity; this
 * module decides. Without authentication configured there is one identity, anonymous, which may do
 * everything, and the one rule that keeps this safe: only loopback addresses are listened on unless
 * the operator says otherwise. Knows neither store nor HTTP server. Immutable after access_new; any
 * thread. */
#ifndef STOWAGE_AUTH_ACCESS_H
#define STOWAGE_AUTH_ACCESS_H

#include "base/err.h"
#include "base/str.h"

/* X(name, word of the token scope (R111)). */
#define ACTION_TABLE(X)                                                                            \
    X(NONE, "") /* ping, discovery: no right needed */                                             \
    X(PULL, "pull")                                                                                \
    X(PUSH, "push")                                                                                \
    X(DELETE, "delete")                                                                            \
    X(ADMIN, "admin") /* settings of a repository */                                               \
    X(CATALOG, "catalog")                                                                          \
    X(HEALTH, "health") /* livez, readyz, metrics */

enum action {
#define ACTION_ENUM(name, word) ACTION_##name,
    ACTION_TABLE(ACTION_ENUM)
#undef ACTION_ENUM
};
const char *action_word(enum action a);

#define IDENTITY_NAME_MAX 128
struct identity {
    char name[IDENTITY_NAME_MAX + 1]; /* empty: anonymous */
};

struct access;
struct access_settings {
    bool allow_anonymous_network;
};
int access_new(const struct access_settings *settings, struct access **ret) must_check;
void access_free(struct access *a);

/* 0, or -ERR_DENIED. repo is empty for actions on no repository. */
int access_check(const struct access *a, const struct identity *who, enum action action,
                 struct str repo) must_check;

/* May the server listen on this address? `loopback`: a loopback address or a local socket.
 * -ERR_DENIED with a sentence. */
int access_check_listen(const struct access *a, struct str address, bool loopback,
                        struct err_detail *detail) must_check;

#endif
