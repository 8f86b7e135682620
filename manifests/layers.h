/* What a log says at a position, as records: the table of the last checkpoint, and over it in
 * memory what changed since, the newer the higher. A node holds no more of a log than this.
 *
 *   live     changes since the last checkpoint was begun; the only layer that still changes
 *   frozen   those that go into the checkpoint that is being written; missing when none is
 *   base     the table of the checkpoint before
 *
 * A change is made in a layer of its own above these, without the owner's lock and with reading
 * from the store, and then put into the live layer in one step that cannot fail.
 *
 * A change may be blind: written without a look at the base, where no layer above it has the
 * record. What such a record is now is known, and reading is as ever; what it replaces in the base
 * is not counted yet, neither here (bytes) nor by the owner. Nobody freezes before that is done
 * (layers_see).
 *
 * Not thread-safe: the owner locks. Layers below the live one, and the live one between two steps,
 * may be read without the lock by the one who makes changes. */
#ifndef STOWAGE_MANIFESTS_LAYERS_H
#define STOWAGE_MANIFESTS_LAYERS_H

#include <stdatomic.h>

#include "manifests/table.h"

#define LAYERS_MAX 3 /* overlays */

struct overlay {
    atomic_uint refs;
    struct omap *map; /* key -> struct row */
    bool hides;       /* nothing below counts any more */
    size_t row_bytes; /* memory of rows */
    size_t blind;     /* so many are */
};
int overlay_new(struct overlay **ret) must_check;
void overlay_unref(struct overlay *o); /* NULL is fine */
struct overlay *overlay_ref(struct overlay *o);
size_t overlay_bytes(const struct overlay *o); /* memory */

struct layers {
    struct overlay *over[LAYERS_MAX]; /* the topmost first, then NULL */
    struct table *base;               /* NULL: nothing */
    uint64_t bytes;                   /* of keys and values of all records */
    bool wait;                        /* reading may wait for the store */
    struct table_files *files;        /* borrowed, for views of it; NULL: none stays open */
    bool closed;                      /* not to be read now: -ERR_UNAVAIL */
};
int layers_init(struct layers *l) must_check; /* empty; waits */
void layers_done(struct layers *l);
int layers_reset(struct layers *l) must_check; /* empty; waits or not, closed or not, as before */
/* Memory; the base's list of parts counts, the cache does not. */
size_t layers_memory(const struct layers *l);

/* ---- Reading. Where the layers do not wait: also -ERR_AGAIN. */
struct hit {
    struct str value;
    bool blind;             /* it is, or what says that it is gone */
    struct table_cursor in; /* private: what value lies in */
};
void hit_done(struct hit *h);
#define auto_hit auto_of(hit_done)
/* -ERR_NOTFOUND. The value stays until hit_done or the next change. */
int layers_get(const struct layers *l, struct str key, struct hit *ret,
               struct err_detail *detail) must_check;
/* The same without the base: -ERR_AGAIN when that decides. Never waits. */
int layers_get_above(const struct layers *l, struct str key, struct hit *ret) must_check;

struct layers_cursor {
    const struct layers *layers;
    struct str key, value; /* of the record it stands on; until it moves */
    struct err_detail *detail;
    /* private */
    struct omap_node *at[LAYERS_MAX];
    struct table_cursor in;
    int in_base; /* 1: in stands on a record */
};
void layers_cursor_init(struct layers_cursor *c, const struct layers *l);
void layers_cursor_done(struct layers_cursor *c);
#define auto_layers_cursor auto_of(layers_cursor_done)
/* 1: stands on the first record with key >= key; 0: there is none; an error. */
int layers_seek(struct layers_cursor *c, struct str key) must_check;
int layers_next(struct layers_cursor *c) must_check;

/* ---- Changing. */
/* A view on which changes are made: shares all of l, below an empty layer. Under the owner's lock.
 * It waits. */
int layers_begin(const struct layers *l, struct layers *ret) must_check;
/* old: the value that the record has now, NULL for none. */
int layers_put(struct layers *l, struct str key, struct str value,
               const struct str *old) must_check;
int layers_remove(struct layers *l, struct str key, const struct str *old) must_check;
/* Both (value NULL: removes), of a record that was found to be blind, or of which layers_get_above
 * knew nothing: it is blind then. */
int layers_write_blind(struct layers *l, struct str key, const struct str *value,
                       const struct str *old) must_check;
size_t layers_blind(const struct layers *l); /* how many records are, or a few more */
/* Each of them, until fn returns non-zero, which is then returned; fn may change this view. */
int layers_each_blind(const struct layers *l, int (*fn)(struct str key, void *arg),
                      void *arg) must_check;
/* In a view: the record is blind no more. 0: it replaces *ret, which was counted until now;
 * -ERR_NOTFOUND: nothing. */
int layers_see(struct layers *l, struct str key, struct hit *ret,
               struct err_detail *detail) must_check;
int layers_clear(struct layers *l) must_check; /* no record stays */
/* Under the owner's lock: what was changed in the view that was begun on l comes into l. */
void layers_commit(struct layers *l, struct layers *change);

/* ---- Checkpoints. Under the owner's lock. */
/* The live layer freezes, over it a new one begins; a frozen one that is there takes it up.
 * -ERR_NOMEM leaves all as it was. */
int layers_freeze(struct layers *l) must_check;
struct overlay *layers_frozen(const struct layers *l); /* borrowed; NULL: none */
/* The frozen layer is in this table, which is the base from now on. */
void layers_rebase(struct layers *l, struct table *base);

#endif
