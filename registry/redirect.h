/* Whether a blob is fetched from the object store by the client itself (R40-R47): a 307 to a URL
 * that the store's own key signs. Immutable after the start, any thread. */
#ifndef STOWAGE_REGISTRY_REDIRECT_H
#define STOWAGE_REGISTRY_REDIRECT_H

#include "base/opt.h"

#define REDIRECT_TTL_MIN_S 900 /* R45 */
#define REDIRECT_HOST_MAX  256

struct redirect_settings {
    bool off;
    int64_t min_bytes; /* smaller blobs come from the node (R41) */
    int64_t ttl_s;
    struct opt_list networks, agents; /* R44: CIDR; parts of User-Agent: no redirect for these */
};

struct req;
struct store;
struct redirect;

/* -ERR_INVAL with a sentence: a network that is none. On a store that cannot sign URLs every answer
 * is no. external_url: what clients call the registry, may be empty (R42 is then judged by the Host
 * of each request alone). */
int redirect_new(const struct redirect_settings *settings, struct store *store,
                 const char *external_url, struct redirect **ret,
                 struct err_detail *detail) must_check;
void redirect_free(struct redirect *x);

/* Answers the request with a redirect to the object of a blob and returns true in *ret_done, or
 * leaves it alone. */
int redirect_reply(const struct redirect *x, struct req *r, struct str key, struct str digest,
                   uint64_t size, bool *ret_done) must_check;

/* Is the address (text) in the network "a.b.c.d/n" or "x::/n"? Pure, for tests. */
int redirect_network_parse(const char *text, struct str address, bool *ret_inside) must_check;
/* Would a client that calls the registry by `registry` send its credentials to `host`, too? Both
 * without port. */
bool redirect_same_site(struct str registry, struct str host);

#endif
