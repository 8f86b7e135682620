/* The rights there are. Every route names one (registry/routes.def), the policy grants them, and
 * the words are those of the token scopes (R111). */
#ifndef STOWAGE_AUTH_ACTION_H
#define STOWAGE_AUTH_ACTION_H

#include "base/err.h"
#include "base/str.h"

/* X(name, word). */
#define ACTION_TABLE(X)                                                                            \
    X(NONE, "") /* ping, discovery: no right, but an identity where there are any (R22) */         \
    X(PULL, "pull")                                                                                \
    X(PUSH, "push")                                                                                \
    X(DELETE, "delete")                                                                            \
    X(OVERRIDE, "override-immutable") /* change immutable tags, where a request asks to */         \
    X(HISTORY, "history")             /* the past, and views of it */                              \
    X(CATALOG, "catalog")             /* the repository is listed */                               \
    X(ADMIN, "admin")                 /* settings, API keys */                                     \
    X(TOKEN, "token")                 /* the token endpoint and its keys: open to everyone */      \
    X(HEALTH, "health")               /* livez, readyz, metrics: open to everyone */

enum action {
#define ACTION_ENUM(name, word) ACTION_##name,
    ACTION_TABLE(ACTION_ENUM)
#undef ACTION_ENUM
        ACTION_COUNT
};

#define ACTION_BIT(a) (1u << (a))
/* Those that a policy can grant. */
#define ACTIONS_GRANTED                                                                            \
    (ACTION_BIT(ACTION_PULL) | ACTION_BIT(ACTION_PUSH) | ACTION_BIT(ACTION_DELETE) |               \
     ACTION_BIT(ACTION_OVERRIDE) | ACTION_BIT(ACTION_HISTORY) | ACTION_BIT(ACTION_CATALOG) |       \
     ACTION_BIT(ACTION_ADMIN))

const char *action_word(enum action a);
/* One of ACTIONS_GRANTED by its word, or "*" for all: the bits; 0: no such word. */
unsigned action_bits(struct str word);

#endif
