/* Inside of tables; included by table*.c only. table_block.c: the format of blocks and parts;
 * table_cache.c: blocks in memory; table.c: tables and cursors; table_pin.c: holding many blocks;
 * table_merge.c: new tables. */
#ifndef STOWAGE_MANIFESTS_TABLE_INTERNAL_H
#define STOWAGE_MANIFESTS_TABLE_INTERNAL_H

#include <stdatomic.h>

#include "manifests/pack.h"
#include "manifests/table.h"

#define BLOCK_TAIL      8 /* count and CRC */
#define BLOCK_BYTES_MAX (TABLE_VALUE_MAX + (1u << 20))

/* ---- Blocks as bytes. */
struct view {
    struct str bytes;
    uint32_t count;
};
/* -ERR_CORRUPT unless everything about the block is right: CRC, records, ascending keys. */
int view_parse(struct str bytes, struct view *ret) must_check;
void view_record(const struct view *v, uint32_t i, struct str *ret_key, struct str *ret_value);
uint32_t view_at_least(const struct view *v, struct str key); /* count: there is none */
/* What the index says of one block. */
bool view_place(const struct view *index, uint32_t i, uint64_t *ret_offset, uint64_t *ret_len);

/* A block in the making. */
struct block_maker {
    struct buf records, offsets;
    uint32_t count;
};
void block_maker_init(struct block_maker *b);
void block_maker_done(struct block_maker *b);
void block_maker_add(struct block_maker *b, struct str key, struct str value);
size_t block_record_bytes(struct str key, struct str value);
/* Appends the finished block and begins anew. */
int block_maker_end(struct block_maker *b, struct buf *out) must_check;

/* ---- Blocks in memory. */
struct block_name {
    uint8_t part[32]; /* sha256 of the part */
    uint64_t offset;
};
struct block {
    struct view view; /* of bytes */
    struct block_name name;
    atomic_uint refs;
    /* of the cache, guarded by its mutex */
    struct block *chain, *newer, *older;
    bool cached;
    struct buf bytes;
};
/* Takes the bytes, unless it fails for lack of memory (NULL). */
struct block *block_new(const struct block_name *name, struct buf *bytes);
struct block *block_ref(struct block *b);
void block_unref(struct block *b);

struct block *cache_get(struct table_cache *c, const struct block_name *name); /* NULL: not there */
/* Puts it in; returns a reference to it, or to one that came before, in place of b's. */
struct block *cache_put(struct table_cache *c, struct block *b);
void cache_note_bad(struct table_cache *c, const uint8_t part[32]);
void cache_note_good(struct table_cache *c, const uint8_t part[32]);
bool cache_is_bad(struct table_cache *c, const uint8_t part[32]);

/* ---- Tables. */
struct table {
    atomic_uint refs;
    atomic_bool bad;
    struct store *store;
    struct table_cache *cache;
    struct buf prefix;
    struct table_part *parts;
    size_t count, cap;
    struct buf at_hand; /* the inline part */
    uint64_t records;
    size_t key_bytes;
};
/* The object of a part: a range, or TABLE_WHOLE bytes from 0. -ERR_CORRUPT when it is not there. */
int table_read(struct table *t, size_t part, uint64_t offset, uint64_t len, struct buf *out,
               struct err_detail *detail) must_check;
int table_damaged(struct table *t, size_t part, struct err_detail *detail, const char *what);
/* The first part whose last key is not smaller; the number of parts: there is none. */
size_t table_part_of(const struct table *t, struct str key);
int pins_add(struct pins *p, struct block *b) must_check; /* takes a reference of its own */
/* What a part is read from: its object's key. */
void table_part_key(const struct table *t, size_t part, struct buf *out);

#endif
