/* Where a reader of events stands, as a text that any node understands (docs/http-api.md, events).
 *
 * Of one repository: the last entry delivered. Of all: a place in the order of all old entries, and
 * for those of the last half hour, in which more may still come to light, how far each repository
 * was delivered. At most EVENT_PAIRS_MAX of these are kept: what is left out is delivered again.
 *
 * The text is bound to the registry and to what is selected by a MAC, and tells nothing to who has
 * it. Pure but for the registry's secrets; any thread. */
#ifndef STOWAGE_MANIFESTS_EVENT_CURSOR_H
#define STOWAGE_MANIFESTS_EVENT_CURSOR_H

#include "blobstore/node.h"
#include "manifests/name.h"

#define EVENT_PAIRS_MAX  128
#define EVENT_REPO_BYTES 8
#define EVENT_CURSOR_MAX 3700 /* characters */

struct event_pair {
    uint8_t repo[EVENT_REPO_BYTES]; /* event_repo */
    uint64_t seq;
};

struct event_cursor {
    int64_t bucket;              /* of all: ten minutes since 1970 ... */
    char name[NAME_MAX_LEN + 1]; /* ... in it the last repository, empty: none yet ... */
    uint64_t seq;                /* ... in that the last entry; of one: the last entry */
    size_t pair_count;
    struct event_pair pairs[EVENT_PAIRS_MAX];
};

/* Stands for a repository in pairs: nobody outside can make two names fall together. */
void event_repo(struct node *n, struct str name, uint8_t ret[EVENT_REPO_BYTES]);

/* of: the repository's name, empty: all. */
int event_cursor_encode(struct node *n, struct str of, const struct event_cursor *c,
                        struct buf *out) must_check;
/* -ERR_INVAL with a sentence. May refresh the node's secrets, so it may block. */
int event_cursor_decode(struct node *n, struct str of, struct str text, struct event_cursor *ret,
                        struct err_detail *detail) must_check;

#endif
