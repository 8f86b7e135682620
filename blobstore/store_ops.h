/* What a backend implements; included by store*.c only. Contracts in store.h. NULL members are not
 * allowed except where said. */
#ifndef STOWAGE_BLOBSTORE_STORE_OPS_H
#define STOWAGE_BLOBSTORE_STORE_OPS_H

#include "blobstore/store.h"

/* Keys of streams: no '!' and no '~', so that a file name can be "<key, '/' as '!'>~<16
 * characters>". */
#define STORE_STREAM_KEY_MAX 230

struct store_ops {
    void (*free)(struct store *s);
    int (*get)(struct store *s, struct str key, uint64_t offset, uint64_t len, struct buf *out,
               struct err_detail *d);
    int (*head)(struct store *s, struct str key, struct store_info *ret, struct err_detail *d);
    int (*probe)(struct store *s, struct str key, struct store_info *ret);
    int (*create)(struct store *s, struct str key, enum store_class cls, struct str bytes,
                  struct err_detail *d);
    int (*create_owing)(struct store *s, struct str key, enum store_class cls, struct str bytes,
                        struct store_owed *ret, struct err_detail *d); /* NULL: nothing is owed */
    int (*create_settling)(struct store *s, struct str key, enum store_class cls, struct str bytes,
                           struct err_detail *d);                                    /* with it */
    void (*settled)(struct store *s, struct str key, const struct store_owed *owed); /* with it */
    int (*put)(struct store *s, struct str key, enum store_class cls, struct str bytes,
               struct err_detail *d);
    int (*remove)(struct store *s, struct str key, enum store_class cls, struct err_detail *d);
    int (*list)(struct store *s, struct str prefix, struct str after, unsigned max,
                store_list_fn fn, void *arg, struct err_detail *d);
    int (*now)(struct store *s, int64_t *ret_ms, struct err_detail *d);
    void (*run)(struct store *s, struct store_op *ops, size_t count); /* NULL: one after another */
    int (*open)(struct store *s, struct str key, struct store_object *ret, struct err_detail *d);
    bool has_files, remote;
    int (*presign_get)(struct store *s, struct str key, int64_t ttl_ms,
                       struct buf *ret_url); /* NULL: unsupported */
    int (*stream_open)(struct store *s, struct str key, struct store_stream **ret,
                       struct err_detail *d);
    int (*stream_write)(struct store_stream *st, struct str bytes, struct err_detail *d);
    uint64_t (*stream_size)(const struct store_stream *st);
    uint64_t (*stream_safe)(const struct store_stream *st); /* NULL: everything */
    int (*stream_save)(struct store_stream *st, struct buf *ret_state, struct err_detail *d);
    int (*stream_resume)(struct store *s, struct str key, struct str state, uint64_t size,
                         struct store_stream **ret, struct err_detail *d);
    int (*stream_read)(struct store_stream *st, uint64_t offset, size_t len, struct buf *out,
                       struct err_detail *d);
    int (*stream_commit)(struct store_stream *st, struct err_detail *d);
    void (*stream_close)(struct store_stream *st);
    int (*stream_sweep)(struct store *s, struct str key, struct err_detail *d);
    int (*stream_list)(struct store *s, store_list_fn fn, void *arg, struct err_detail *d);
    /* What store_check tries on an object that is not there beside what every store must do; makes
     * it. -ERR_UNSUPPORTED unsafe, -ERR_AGAIN a warning, each with a sentence. NULL: nothing. */
    int (*check)(struct store *s, struct str key, struct err_detail *d);
    int (*sweep_temporary)(struct store *s, struct err_detail *d); /* NULL: nothing to do */
};

/* Backends embed these as their first member. */
struct store {
    const struct store_ops *ops;
};
struct store_stream {
    const struct store_ops *ops;
};

#endif
