/* Blob records, data objects, links (docs/bucket-format.md sections 4 and 5). Content-addressed
 * bytes; knows neither manifests nor tags: who may read what is decided by the owner of the
 * repository's log, who passes u (number of the digest's last unlink). Any thread; calls may block
 * except *_nowait. */
#ifndef STOWAGE_BLOBSTORE_BLOB_H
#define STOWAGE_BLOBSTORE_BLOB_H

#include <stdatomic.h>

#include "blobstore/keys.h"
#include "blobstore/node.h"

#define BLOB_INLINE_MAX   (64u << 10) /* blobs up to this lie in their record */
#define BLOB_MANIFEST_MAX (4u << 20)  /* manifests always do */
#define BLOB_HEADER_MAX   256         /* bytes of a record's header line */
#define BLOB_DATA_ID_MAX  128
#define BLOB_GENERATION   0u /* of new records: no digest is ever condemned here */

struct blobs; /* per node: bounded cache of record headers */
int blobs_new(struct node *n, struct blobs **ret) must_check;
/* Large blobs are read through this cache (borrowed; blobstore/cache.h). Before the first read. */
struct cache;
void blobs_set_cache(struct blobs *b, struct cache *c);
struct cache *blobs_cache(const struct blobs *b); /* NULL: none */
void blobs_free(struct blobs *b);
struct node *blobs_node(const struct blobs *b);

struct blob_info {
    uint64_t size;
    unsigned g;
    uint32_t header_len;                /* where inline bytes start in the record */
    char data_id[BLOB_DATA_ID_MAX + 1]; /* empty: bytes are in the record */
};

/* The record of a digest. -ERR_NOTFOUND; -ERR_CORRUPT (key logged) when its header is damaged. A
 * found header is cached: records never change. nowait answers from the cache only: 0 or
 * -ERR_AGAIN. */
int blob_info(struct blobs *b, const struct digest *d, struct blob_info *ret,
              struct err_detail *detail) must_check;
int blob_info_nowait(struct blobs *b, const struct digest *d, struct blob_info *ret) must_check;
/* The record of one generation, past the cache (B19 asks for exactly that one). */
int blob_info_at(struct blobs *b, const struct digest *d, unsigned g, struct blob_info *ret,
                 struct err_detail *detail) must_check;

/* Makes a record that holds the bytes. 0 also when the record exists already (then durable). The
 * digest is the caller's word. */
int blob_create_inline(struct blobs *b, const struct digest *d, struct str bytes,
                       struct err_detail *detail) must_check;
/* The same for one that a log entry will refer to at once: it may be owed (store.h). Then either
 * that entry settles it (blob_settled), or blob_settle does. */
int blob_create_owing(struct blobs *b, const struct digest *d, struct str bytes,
                      struct store_owed *ret, struct err_detail *detail) must_check;
void blob_settled(struct blobs *b, const struct digest *d, struct store_owed *owed);
int blob_settle(struct blobs *b, const struct digest *d, struct store_owed *owed,
                struct err_detail *detail) must_check;
/* Makes a record that names data id, which exists. When another record won: reads it back, removes
 * data/<id> only if the record names another id (B9), and returns 0. */
int blob_create_record(struct blobs *b, const struct digest *d, uint64_t size, struct str data_id,
                       unsigned g, struct err_detail *detail) must_check;

/* All bytes, verified against the digest: -ERR_CORRUPT (key logged) and nothing otherwise. For
 * records up to max bytes (-ERR_TOOBIG). */
int blob_read(struct blobs *b, const struct digest *d, size_t max, struct buf *out,
              struct err_detail *detail) must_check;

/* Bytes as a range of a file, for sendfile (stores with files). The file's length was checked
 * against the record: shorter or longer is -ERR_CORRUPT (key logged), never wrong bytes. */
struct blob_body {
    int fd; /* the caller's */
    uint64_t offset, size;
};
int blob_open(struct blobs *b, const struct digest *d, const struct blob_info *info,
              struct blob_body *ret, struct err_detail *detail) must_check;

/* Appends bytes [offset, offset + len) of the blob, len <= BLOB_READ_MAX; on any store.
 * -ERR_CORRUPT (key logged) when they are not all there.
 *
 * What would keep one connection busy for much longer than BLOB_PIECE_MS is asked for in pieces, by
 * several at once; so a fast store is asked seldom, and of a slow one more comes than one
 * connection gives. pace remembers for the next reads of the same blob how fast pieces came: any
 * thread, zero at first. */
#define BLOB_READ_MAX   ((size_t)32 << 20)
#define BLOB_PIECE      ((size_t)8 << 20) /* while nothing is known */
#define BLOB_PIECE_MIN  ((size_t)2 << 20)
#define BLOB_PIECE_MS   60
#define BLOB_PIECES_MAX 8
struct blob_pace {
    atomic_size_t piece; /* bytes that one connection gives in BLOB_PIECE_MS; 0: not known */
};
int blob_read_at(struct blobs *b, const struct digest *d, const struct blob_info *info,
                 uint64_t offset, size_t len, struct blob_pace *pace, struct buf *out,
                 struct err_detail *detail) must_check;

/* Links. u as in B11. One of another number than 0 is created after that of 0 (B44). exists = the
 * link key is there and durable (the record's existence is a question to blob_info). */
int blob_link_create(struct blobs *b, struct str repo, const struct digest *d, uint64_t u,
                     struct err_detail *detail) must_check;
/* blob_create_inline and blob_link_create of a small blob (<= BLOB_INLINE_MAX) in one go. */
int blob_create_linked(struct blobs *b, struct str repo, const struct digest *d, uint64_t u,
                       struct str bytes, struct err_detail *detail) must_check;
int blob_link_exists(struct blobs *b, struct str repo, const struct digest *d, uint64_t u,
                     struct err_detail *detail) must_check;
int blob_link_exists_nowait(struct blobs *b, struct str repo, const struct digest *d,
                            uint64_t u) must_check;
int blob_link_remove(struct blobs *b, struct str repo, const struct digest *d, uint64_t u,
                     struct err_detail *detail) must_check;
/* Many existence checks at once: ret_found[i] says whether link and record of digests[i] (with
 * u[i]) are there. */
int blob_links_exist(struct blobs *b, struct str repo, const struct digest *digests,
                     const uint64_t *u, size_t count, bool *ret_found,
                     struct err_detail *detail) must_check;
/* Calls fn for repositories that have a link of the digest (any u), until non-zero, which is
 * returned; at most BLOB_MOUNT_SCAN_MAX. */
#define BLOB_MOUNT_SCAN_MAX 1000
int blob_each_link(struct blobs *b, const struct digest *d,
                   int (*fn)(struct str repo, uint64_t u, void *arg), void *arg,
                   struct err_detail *detail) must_check;

/* Parses a record's header line: pure, for fuzzing and readers. */
int blob_header_parse(struct str bytes, struct blob_info *ret,
                      struct err_detail *detail) must_check;

#endif
