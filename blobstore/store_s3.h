/* The object store on S3 and what speaks its language (store.h; design sections 4, 7, 8).
 *
 * Every request is one HTTP exchange of the store's own client (httpc.h), signed by sigv4.h.
 * Requests that change nothing when repeated are sent again within their time; a create whose fate
 * is not known is answered -ERR_UNKNOWN at once, and whoever commits reads the key back. A store
 * that does not answer is -ERR_UNAVAIL, never -ERR_NOTFOUND. The clock is that of the answers'
 * Date, known to a fraction of a second from many of them.
 *
 * Memory: none for idle stores but the client's; a stream buffers parts in an unlinked temporary
 * file (or anonymous memory where no file can be had): S3_PARTS_IN_FLIGHT + 1 parts each, and
 * S3_PARTS_EXTRA parts more for all of them together. */
#ifndef STOWAGE_BLOBSTORE_STORE_S3_H
#define STOWAGE_BLOBSTORE_STORE_S3_H

#include "blobstore/store.h"

#define S3_PART_BYTES      (8u << 20) /* of the first S3_PARTS_SAME parts; then they double */
#define S3_PARTS_SAME      256
#define S3_PARTS_IN_FLIGHT 4  /* of each stream, at once */
#define S3_PARTS_MOST      8  /* of one stream, as long as all streams together ... */
#define S3_PARTS_EXTRA     32 /* ... have less than so many more than their four */
#define S3_CREATE_HEADER   "If-None-Match: *"
#define S3_PREFIX_MAX      256

enum s3_addressing {
    S3_ADDRESS_AUTO, /* host when there is no endpoint (AWS), else path */
    S3_ADDRESS_PATH, /* https://endpoint/bucket/key */
    S3_ADDRESS_HOST  /* https://bucket.endpoint/key */
};

/* Everything is copied. NULL or 0 = the default said; what AWS's own tools read from environment
 * variables is read from them, too. */
struct store_s3_settings {
    struct str bucket, prefix;   /* prefix: "" or "a/b", without slashes around it */
    const char *endpoint;        /* AWS_ENDPOINT_URL_S3, AWS_ENDPOINT_URL, else AWS by region */
    const char *public_endpoint; /* what clients reach, for presigned URLs; endpoint */
    const char *region;          /* AWS_REGION, AWS_DEFAULT_REGION, the profile's, us-east-1 */
    const char *ca_file;         /* AWS_CA_BUNDLE, the system's */
    const char *create_header;   /* S3_CREATE_HEADER; "x-goog-if-generation-match: 0" on GCS */
    enum s3_addressing addressing;
    uint64_t part_bytes; /* S3_PART_BYTES; at least 5 MiB on most servers */
};

/* "s3://BUCKET[/PREFIX]" into bucket and prefix (borrowed). -ERR_INVAL with a sentence. */
int store_s3_parse_url(struct str url, struct str *ret_bucket, struct str *ret_prefix,
                       struct err_detail *detail) must_check;

/* Opens without a request. -ERR_INVAL: settings that cannot be; -ERR_UNSUPPORTED: no libcurl. */
int store_s3_new(const struct store_s3_settings *settings, struct store **ret,
                 struct err_detail *detail) must_check;

/* How many HTTP requests the process has sent to S3, repeated ones too. */
uint64_t store_s3_requests(void);

#endif
