/* Token scopes (R111, R117): "repository:<name>:pull,push", several divided by a blank. Pure, any
 * thread. */
#ifndef STOWAGE_AUTH_SCOPE_H
#define STOWAGE_AUTH_SCOPE_H

#include "auth/action.h"
#include "base/buf.h"

#define SCOPES_MAX     64   /* of one request or token; further ones are not looked at */
#define SCOPE_NAME_MAX 512  /* bytes of a name */
#define SCOPE_TEXT_MAX 8192 /* bytes of all that one request asks for */

enum scope_type { SCOPE_REPOSITORY, SCOPE_REGISTRY };

struct scope {
    enum scope_type type;
    char *name; /* owned; of a registry scope "catalog" */
    unsigned actions;
};

struct scopes {
    struct scope *at; /* owned */
    size_t count;
};
void scopes_done(struct scopes *s);
#define auto_scopes auto_of(scopes_done)

/* Adds what the text asks for; the same name twice is one scope. A scope of another type, or whose
 * actions are all unknown, asks for nothing and is left out. -ERR_NOMEM; past SCOPES_MAX nothing
 * more is added. */
int scopes_parse(struct str text, struct scopes *add) must_check;
int scopes_add(struct scopes *s, enum scope_type type, struct str name,
               unsigned actions) must_check;

/* The bits that stand for this name. globs: names are patterns (limits of API keys). */
unsigned scopes_actions(const struct scopes *s, enum scope_type type, struct str name, bool globs);

/* Is the name in there, with whatever actions, none even? */
bool scopes_name(const struct scopes *s, enum scope_type type, struct str name);

const char *scope_type_word(enum scope_type t);
bool scope_type_parse(struct str word, enum scope_type *ret); /* "repository(plugin)", too */
/* "repository:<name>:pull,push", blanks between; appended. */
void scope_text(const struct scope *s, struct buf *out);
void scopes_text(const struct scopes *s, struct buf *out);
/* "pull,push"; all grantable actions are "*". */
void scope_actions_text(unsigned actions, struct buf *out);

#endif
