/* What an S3 server answers as XML, taken apart by expat. Pure functions over bytes at hand, any
 * thread; input is hostile: its size, depth and the length of each text are bounded, documents with
 * a DTD are refused.
 *
 * All return -ERR_CORRUPT (what stands there is not that answer) or -ERR_NOMEM on failure. */
#ifndef STOWAGE_BLOBSTORE_S3XML_H
#define STOWAGE_BLOBSTORE_S3XML_H

#include "base/buf.h"

#define S3XML_BYTES_MAX (4u << 20) /* of one document: 1,000 keys, each byte of them escaped */
#define S3XML_DEPTH_MAX 8
#define S3XML_TEXT_MAX  4096 /* of one element */
#define S3_CODE_MAX     64
#define S3_MESSAGE_MAX  160

/* <Error>: Code and Message, cut at their maxima, printable ASCII only. */
struct s3_error {
    char code[S3_CODE_MAX];
    char message[S3_MESSAGE_MAX];
};
int s3xml_error(struct str text, struct s3_error *ret) must_check;

/* One key of a listing, or one upload in progress (upload is then its id, date its beginning). */
struct s3_item {
    struct str key, upload;
    uint64_t size;
    int64_t date_ms;
};
/* What a listing says of itself. */
struct s3_page {
    bool truncated;
    struct buf key_marker, upload_marker; /* where an uploads listing goes on */
};
#define S3_PAGE_INIT                                                                               \
    (struct s3_page)                                                                               \
    {                                                                                              \
        false, BUF_INIT(S3XML_TEXT_MAX), BUF_INIT(S3XML_TEXT_MAX)                                  \
    }
void s3_page_done(struct s3_page *p);
#define auto_s3_page auto_of(s3_page_done)

/* Calls fn for each item until it returns non-zero, which is then returned. Keys are decoded where
 * the answer names the encoding. Items live for the callback. */
typedef int (*s3_item_fn)(const struct s3_item *item, void *arg);
int s3xml_objects(struct str text, s3_item_fn fn, void *arg, struct s3_page *ret) must_check;
int s3xml_uploads(struct str text, s3_item_fn fn, void *arg, struct s3_page *ret) must_check;

/* The id of an upload just begun, appended. dense: the server is one of those (gofakes3, in rclone)
 * that lack a word in this answer, and want part numbers without gaps. */
int s3xml_initiated(struct str text, struct buf *ret_id, bool *ret_dense) must_check;
/* Complete answers 200 before it knows: 0 = done, -ERR_IO = an error in the body, told. */
int s3xml_completed(struct str text, struct s3_error *ret) must_check;

/* "2026-11-22T07:50:00.000Z" (fraction optional) and "Sun, 22 Nov 2026 07:50:00 GMT" to
 * milliseconds since 1970; false when it is not one. */
bool s3_time_iso(struct str text, int64_t *ret_ms);
bool s3_time_http(struct str text, int64_t *ret_ms);

#endif
