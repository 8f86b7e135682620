/* What trusted proxies say of a request (R26): the client's address, the scheme, host and path that
 * clients see, the subject of a client certificate. Headers of anybody else mean nothing. */
#ifndef STOWAGE_REGISTRY_FORWARDED_H
#define STOWAGE_REGISTRY_FORWARDED_H

#include "base/buf.h"
#include "base/opt.h"

#define FORWARDED_PROXIES_MAX OPT_LIST_MAX
#define FORWARDED_BASE_MAX    512
#define FORWARDED_SUBJECT_MAX 255
#define FORWARDED_ADDRESS_MAX 64
#define FORWARDED_HOPS_MAX    32 /* entries of X-Forwarded-For that are looked at */

struct req;

/* Addresses of proxies, "192.0.2.0/24", "2001:db8::1" or "unix" for socket files. */
struct proxies {
    struct proxy_range {
        uint8_t bytes[16]; /* IPv4 as ::ffff:a.b.c.d */
        unsigned bits;
        bool unix_socket;
    } at[FORWARDED_PROXIES_MAX];
    size_t count;
};
/* -ERR_INVAL with a sentence. */
int proxies_parse(const struct opt_list *list, struct proxies *ret,
                  struct err_detail *detail) must_check;
/* Is this address, as text, one of them? */
bool proxies_trust(const struct proxies *p, struct str address);

/* The client's address: the peer's; where that is a trusted proxy, the last one in X-Forwarded-For
 * that is none. */
struct str forwarded_address(struct req *r, char out[FORWARDED_ADDRESS_MAX]);
/* Appends "http://host[:port][/prefix]" as clients see it: the configured external URL; else what a
 * trusted proxy says in Forwarded or X-Forwarded-Proto, -Host and -Prefix; else the Host. */
void forwarded_base(struct req *r, struct buf *out);
/* Appends the verified subject; nothing: there is none, or nobody to trust for it. */
void forwarded_subject(struct req *r, struct buf *out);

#endif
