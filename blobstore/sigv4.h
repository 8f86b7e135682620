/* Signatures of AWS Signature Version 4, for headers and for presigned URLs. Pure functions: no
 * clock, no state, any thread. Everything is given as it goes over the wire: the path with its
 * escapes, the query as sigv4_query_add() builds it.
 *
 * Source of the rules: "Authenticating Requests: Using the Authorization Header" and "Using Query
 * Parameters" in the Amazon S3 API reference. */
#ifndef STOWAGE_BLOBSTORE_SIGV4_H
#define STOWAGE_BLOBSTORE_SIGV4_H

#include "base/digest.h"

#define SIGV4_HEADERS_MAX 16
#define SIGV4_TEXT_MAX    8192 /* bytes of a canonical request */
#define SIGV4_SECRET_MAX  256
#define SIGV4_TIME_LEN    16 /* "20130524T000000Z" */
#define SIGV4_DAY_LEN     8  /* "20130524" */
#define SIGV4_UNSIGNED    "UNSIGNED-PAYLOAD"
/* sha256 of nothing */
#define SIGV4_EMPTY "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"

struct sigv4_header {
    struct str name;  /* lower-case */
    struct str value; /* without blanks around it */
};

/* Who signs, where, when. The day key is sigv4_day_key() of the time's day. */
struct sigv4_signer {
    struct str access, region, service;
    const uint8_t *day_key; /* HMAC_BYTES */
    struct str time;        /* SIGV4_TIME_LEN */
};

struct sigv4_request {
    struct str method, path, query;
    const struct sigv4_header *headers; /* those to be signed; `host` among them */
    size_t header_count;
    struct str payload; /* hex digest of the body, or SIGV4_UNSIGNED */
};

/* "20130524T000000Z" from milliseconds since 1970. */
struct str sigv4_time(int64_t ms, char out[SIGV4_TIME_LEN + 1]);
/* Good for one day, region and service: worth keeping. -ERR_TOOBIG: no such secret. */
int sigv4_day_key(struct str secret, struct str day, struct str region, struct str service,
                  uint8_t out[HMAC_BYTES]) must_check;

/* Adds name=value, escaped, to a query; in byte order of the escaped names (the caller's duty). */
void sigv4_query_add(struct buf *query, const char *name, struct str value);

/* Appends the value of the header Authorization. */
int sigv4_authorization(const struct sigv4_signer *s, const struct sigv4_request *q,
                        struct buf *out) must_check;
/* Appends the query of a presigned GET of path at host: X-Amz-*, then `also` (mostly empty; its
 * names must sort after "X-Amz-SignedHeaders"). */
int sigv4_presign(const struct sigv4_signer *s, struct str host, struct str path, struct str token,
                  int64_t ttl_s, struct str also, struct buf *out) must_check;

#endif
