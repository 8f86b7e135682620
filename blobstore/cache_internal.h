/* Block files of the cache; included by cache*.c alone. */
#ifndef STOWAGE_BLOBSTORE_CACHE_INTERNAL_H
#define STOWAGE_BLOBSTORE_CACHE_INTERNAL_H

#include "blobstore/cache.h"

#define CACHE_HEADER_BYTES 16 /* magic, CRC-32C, length of the bytes that follow */
#define CACHE_NAME_MAX     (CACHE_ID_MAX + 16)

/* "<id>.<8 hex>". */
void cache_file_name(struct str id, uint64_t block, char out[CACHE_NAME_MAX]);

/* Opens and locks the directory. */
int cache_dir_open(const char *dir, int *ret_dir, int *ret_lock,
                   struct err_detail *detail) must_check;
/* Calls fn for each block file; removes what a fill left behind. */
int cache_dir_list(int dir, int (*fn)(const char *name, uint64_t bytes, void *arg),
                   void *arg) must_check;

/* Appends the block's bytes; -ERR_CORRUPT (C1), -ERR_NOTFOUND, ... */
int cache_file_read(int dir, const char *name, size_t len, struct buf *out) must_check;
/* Whole or not at all; folders are made as needed. */
int cache_file_write(int dir, const char *name, struct str bytes) must_check;
void cache_file_remove(int dir, const char *name);

#endif
