/* Checkpoint tables (docs/bucket-format.md section 9): a sorted set of records, key and value, in
 * parts of about 1 MiB, each a content-addressed object of sorted blocks. A struct table is one
 * such set, immutable and counted; in memory are only its list of parts and, of a small one, its
 * one part (inline). Blocks are read when they are needed and kept in a cache that all tables of a
 * node share.
 *
 * Where parts and blocks begin follows from the records alone, so equal records are equal parts,
 * whoever writes them and from whatever older table (I11).
 *
 * Thread rule: any thread; a cursor and a struct pins belong to one at a time. With wait false
 * nothing blocks: -ERR_AGAIN means that a block is not at hand. Errors otherwise: -ERR_CORRUPT (a
 * part is damaged or missing; then table_bad() stays true), errors of the store, -ERR_NOMEM. */
#ifndef STOWAGE_MANIFESTS_TABLE_H
#define STOWAGE_MANIFESTS_TABLE_H

#include "base/digest.h"
#include "base/omap.h"
#include "blobstore/store.h"

#define TABLE_KEY_MAX 512
#define TABLE_VALUE_MAX                                                                            \
    (12u << 20)                      /* one record with everything that an 8 MiB operation brings  \
                                      */
#define TABLE_PART_BYTES (32u << 20) /* of a part, more is damage */
#define TABLE_CACHE_MAX  (24u << 20) /* bytes of blocks that a node keeps */

/* Sizes that make boundaries; part of the format. */
struct table_limits {
    size_t block;               /* bytes of records that fill a block */
    size_t part_min, part_mean; /* bytes of records before a part may end; and on average */
    size_t part_max;            /* that end it */
    size_t inline_max;          /* a single part up to this lies in the head */
};
extern const struct table_limits table_limits;

/* A change of a table: a value of the map key -> struct row. */
struct row {
    bool gone;  /* the record is removed */
    bool blind; /* of a layer's (layers.h): the base was not asked what it replaces */
    uint32_t len;
    char at[];
};
struct row *row_new(struct str value); /* NULL: no memory */
struct row *row_gone(void);
static inline struct str row_value(const struct row *r)
{
    return (struct str){r->at, r->len};
}

/* ---- The cache. */
struct table_cache;
int table_cache_new(size_t bytes_max, struct table_cache **ret) must_check;
struct table_cache *table_cache_ref(struct table_cache *c);
void table_cache_free(struct table_cache *c); /* a reference; with the last no block is in use */
size_t table_cache_bytes(struct table_cache *c);

/* ---- Tables. */
struct table_part {
    struct str last;         /* greatest key; borrowed from the table */
    uint64_t records, bytes; /* bytes of the object */
    uint64_t index;          /* of these, the block index at its end */
    struct digest sha;       /* sha256 of the object */
};
struct table_spec {
    struct store *store;       /* borrowed */
    struct table_cache *cache; /* borrowed */
    struct str prefix;         /* of the log; copied */
};
struct table;
int table_new(const struct table_spec *spec, struct table **ret) must_check; /* empty */
/* While it is being made, by one thread: in order of keys. -ERR_CORRUPT: out of order, no sizes. */
int table_add_part(struct table *t, const struct table_part *part) must_check;
/* The bytes of the only part; checked against its digest. */
int table_set_inline(struct table *t, struct str bytes) must_check;
struct table *table_ref(struct table *t); /* NULL is fine */
void table_unref(struct table *t);
void table_unrefp(struct table **t);
#define auto_table auto_of(table_unrefp)

size_t table_part_count(const struct table *t);
const struct table_part *table_part(const struct table *t, size_t i);
struct str table_inline(const struct table *t); /* empty: the parts are objects */
uint64_t table_records(const struct table *t);
size_t table_bytes(const struct table *t); /* memory, the cache not counted */
bool table_bad(const struct table *t);     /* a part was found damaged or missing */
void table_mark_bad(struct table *t);      /* for one whose records make no sense */
/* Was a part of it found damaged or missing by anyone who uses the cache, and not mended since? */
bool table_known_bad(const struct table *t);
bool table_part_bad(struct table_cache *c, const struct table_part *part);
void table_part_mended(struct table_cache *c, const struct table_part *part);

/* ---- Reading. */
struct block;
/* Blocks that are held, so that they stay in the cache. A zeroed one is empty. */
struct pins {
    struct block **at;
    size_t count, cap;
};
void pins_done(struct pins *p);
#define auto_pins auto_of(pins_done)

/* Files of parts that stay open while many blocks are read one after another, where the store has
 * files. One holder's; a zeroed one is empty. */
#define TABLE_FILES_MAX 128
struct table_file {
    uint8_t part[32]; /* sha256 */
    int fd;
};
struct table_files {
    struct table_file at[TABLE_FILES_MAX];
    size_t count, next; /* the next to be closed when all are taken */
};
void table_files_done(struct table_files *f);

struct table_cursor {
    struct table *table; /* borrowed */
    bool wait;
    struct pins *pins;         /* NULL: what is passed is not held */
    struct table_files *files; /* borrowed; NULL: none stays open */
    struct err_detail *detail;
    struct str key, value; /* of the record it stands on; until it moves */
    /* private */
    size_t part;
    uint32_t in_index, in_block;
    struct block *index, *block;
};
void table_cursor_init(struct table_cursor *c, struct table *t, bool wait);
void table_cursor_done(struct table_cursor *c);
#define auto_table_cursor auto_of(table_cursor_done)
/* 1: stands on the first record with key >= key; 0: there is none; an error. */
int table_seek(struct table_cursor *c, struct str key) must_check;
int table_next(struct table_cursor *c) must_check; /* after a 1 */

/* Holds the blocks in which the keys are or would be; those to be read are read side by side. */
bool table_far(const struct table *t); /* each read is a request: worth reading side by side */
int table_pin(struct table *t, const struct str *keys, size_t count, struct pins *pins,
              struct err_detail *detail) must_check;
/* Holds the blocks of about so many records from a key on, of those below end (empty: all). */
int table_pin_range(struct table *t, struct str from, struct str end, size_t records,
                    struct pins *pins, struct err_detail *detail) must_check;

/* ---- Writing. */
typedef int (*table_emit_fn)(void *arg, const struct table_part *part, struct str bytes);
/* The table that base (NULL: nothing) becomes by changes (key -> struct row). Parts in whose range
 * nothing changed are neither read nor written; every new one is given to emit (NULL: nobody), in
 * order, unless it lies inline. May block. */
int table_merge(const struct table_spec *spec, const struct table_limits *limits,
                struct table *base, const struct omap *changes, table_emit_fn emit, void *arg,
                struct table **ret, struct err_detail *detail) must_check;
/* Reads a whole part and checks its digest and blocks: 0, -ERR_CORRUPT (also when it is missing),
 * errors of the store. */
int table_check_part(struct table *t, size_t i, struct err_detail *detail) must_check;

#endif
