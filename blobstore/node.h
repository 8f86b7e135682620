/* One running registry process on one store: its identity, the registry's format object and
 * secrets. Everything below HTTP hangs off a node, so that tests can run several in one process.
 * Immutable after open except the secrets; any thread. */
#ifndef STOWAGE_BLOBSTORE_NODE_H
#define STOWAGE_BLOBSTORE_NODE_H

#include "base/digest.h"
#include "blobstore/store.h"

#define NODE_ID_LEN 32 /* hex digits */

struct node;

/* Reads or creates `format` and the first secret. -ERR_VERSION when the bucket was written by a
 * newer version. The store is borrowed and must outlive the node. */
int node_open(struct store *store, struct node **ret, struct err_detail *detail) must_check;
void node_free(struct node *n);
void node_freep(struct node **n);
#define auto_node auto_of(node_freep)

struct store *node_store(const struct node *n);
struct str node_id(const struct node *n);       /* 32 hex digits, new at each open */
struct str node_registry(const struct node *n); /* registry id of `format` */

/* The store's clock, for stamps; and the guard without which a node with a wrong clock, or a store
 * that was given a wrong one, could poison logs (design section 9). -ERR_NOTCOMMITTED with a
 * sentence while the store's clock is not known or this node's own is further than
 * NODE_CLOCK_MAX_MS from it; further than NODE_CLOCK_WARN_MS is said in the log. */
#define NODE_CLOCK_WARN_MS 60000
#define NODE_CLOCK_MAX_MS  300000
int node_now(struct node *n, int64_t *ret_ms, struct err_detail *detail) must_check;

/* Logs, by the name in their entries, that take entries although the last one lies in the future
 * (objlog.h): an operator's override. Borrowed; before anything is committed. */
void node_override_ahead(struct node *n, const char *const *logs, size_t count);
bool node_overrides_ahead(const struct node *n, struct str log);

/* Keys derived for a use (one label per use), newest first; index 0 signs. False past the last.
 * Another process may have added a secret: a verifier that fails on all known ones calls
 * node_refresh_secrets and tries once more. */
bool node_key(struct node *n, struct str label, unsigned index, uint8_t out[HMAC_BYTES]);
int node_refresh_secrets(struct node *n, struct err_detail *detail) must_check;
/* The same key, and until when (milliseconds since 1970, the store's clock) its secret was the
 * newest; 0: it is. */
bool node_key_until(struct node *n, struct str label, unsigned index, uint8_t out[HMAC_BYTES],
                    int64_t *ret_until_ms);
/* Adds a secret: it signs from now on, here at once, elsewhere when it is looked for. */
int node_add_secret(struct node *n, struct err_detail *detail) must_check;

#endif
