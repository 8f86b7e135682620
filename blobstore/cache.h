/* Read-through cache of large objects on local disk, for nodes whose store is remote (design
 * section 8): blocks of 1 MiB at multiples of 1 MiB, so a range reads its own blocks only. Holds
 * bytes, never who may read them. Everything in it may vanish or be damaged at any time: that costs
 * reads of the store, nothing else.
 *
 *   C1  A block is used only if its length and CRC-32C fit; else it is dropped and fetched.
 *   C2  When the last block of an object arrives, all of it is hashed. Of another digest nothing is
 *       kept, and the read that completed it fails.
 *   C3  Files together never take more than bytes_max: room is made before a block is written.
 *   C4  Whoever wants a block that is being fetched waits for it: one fetch for all.
 *
 * Files: <dir>/<2 hex>/<id>.<block>, and <dir>/lock, held while a process uses the directory.
 *
 * Thread rule: any thread, may wait; not for event threads. No lock is held over I/O. */
#ifndef STOWAGE_BLOBSTORE_CACHE_H
#define STOWAGE_BLOBSTORE_CACHE_H

#include "base/buf.h"
#include "base/digest.h"

#define CACHE_BLOCK     (1u << 20)
#define CACHE_BYTES_MIN (16u << 20)
#define CACHE_ID_MAX    128         /* hex digits */
#define CACHE_READ_MAX  (32u << 20) /* bytes of one read */
#define CACHE_FILES_MAX (1u << 20)  /* blocks; more are not kept */

struct cache;

/* Makes the directory (0700) when absent and takes over what an earlier process left. -ERR_BUSY:
 * another process uses it. */
int cache_open(const char *dir, uint64_t bytes_max, struct cache **ret,
               struct err_detail *detail) must_check;
void cache_free(struct cache *c); /* the files stay */

/* An object that never changes; id is its name in the store, unique for ever. */
struct cache_object {
    struct str id; /* lower-case hex */
    uint64_t size;
    const struct digest *digest;
};

/* Appends bytes [offset, offset + len) of the object from the store; all of them or an error. */
typedef int (*cache_fetch_fn)(void *arg, uint64_t offset, size_t len, struct buf *out,
                              struct err_detail *detail);

/* Appends bytes [offset, offset + len), from disk where they are, else by fetch. Errors are those
 * of fetch, -ERR_NOMEM, -ERR_CORRUPT (C2). */
int cache_read(struct cache *c, const struct cache_object *o, uint64_t offset, size_t len,
               cache_fetch_fn fetch, void *arg, struct buf *out,
               struct err_detail *detail) must_check;

uint64_t cache_bytes(struct cache *c); /* of all files */

#endif
