/* API keys: secrets for programs, made here, limited to scopes, with an end. Of a key only the
 * digest is kept; the key itself is shown once. The table follows from the operations of a log
 * (docs/bucket-format.md section 13) that somebody else reads. Any thread, never waits. */
#ifndef STOWAGE_AUTH_ROBOT_H
#define STOWAGE_AUTH_ROBOT_H

#include "auth/login.h"
#include "base/digest.h"
#include "base/json.h"

#define ROBOTS_MAX       10000 /* keys that are not revoked */
#define ROBOT_ID_LEN     16    /* hex digits */
#define ROBOT_KEY_MAX    96    /* "stw_<id>_<64 hex>" */
#define ROBOT_NAME_MAX   64
#define ROBOT_SCOPE_MAX  4096
#define ROBOT_LIFE_MAX_S (100LL * 366 * 86400)

struct robot {
    char id[ROBOT_ID_LEN + 1];
    char name[ROBOT_NAME_MAX + 1]; /* lower-case letters, digits, '-' */
    char hash[2 * HMAC_BYTES + 1]; /* sha256 of the key, hex */
    char *scopes;                  /* text; repository names may be globs */
    int64_t expires_ms;            /* wall clock; 0: never */
    int64_t created_ms;
};

struct robots;
int robots_new(struct robots **ret) must_check;
void robots_free(struct robots *rs);

/* Makes an id, a key (the text to show) and its hash. */
void robot_make(struct robot *ret, char ret_key[ROBOT_KEY_MAX]);
bool robot_name_valid(struct str name);
/* Every scope is understood and there is one at least; globs allowed. -ERR_INVAL. */
int robot_scopes_check(struct str scopes, struct err_detail *detail) must_check;

/* The operations. add_...: appends one as JSON. apply: takes one over; ts is its entry's.
 * -ERR_VERSION: not known. */
void robot_add_create(struct jw *w, const struct robot *r, struct str by, struct str req);
void robot_add_revoke(struct jw *w, struct str id, struct str by, struct str req);
int robots_apply(struct robots *rs, const struct json *op, int64_t ts) must_check;

/* Is this text an API key by its form? */
bool robot_is_key(struct str text);
/* 0 with a login limited to the key's scopes; user: its name, or empty. -ERR_UNAUTHORIZED. */
int robots_check(struct robots *rs, struct str user, struct str key, int64_t now_ms,
                 struct login **ret) must_check;
/* Is there a key of this name that is not over? */
bool robots_has(struct robots *rs, struct str name, int64_t now_ms);
bool robots_has_id(struct robots *rs, struct str id, struct buf *ret_name);
size_t robots_count(struct robots *rs);
/* In order of ids, under the table's lock: fn must not call back. Non-zero stops and is returned.
 */
int robots_each(struct robots *rs, int (*fn)(const struct robot *r, void *arg), void *arg);

#endif
