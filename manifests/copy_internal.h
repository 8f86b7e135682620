/* Inside of a copy; included by copy*.c only. */
#ifndef STOWAGE_MANIFESTS_COPY_INTERNAL_H
#define STOWAGE_MANIFESTS_COPY_INTERNAL_H

#include "base/omap.h"
#include "base/thread.h"
#include "base/work.h"
#include "blobstore/keys.h"
#include "manifests/copy.h"

struct copy_job;

struct copier {
    struct store *from, *to;
    const struct copy_settings *settings;
    struct omap *heads; /* repository -> uint64_t: last entry to copy; fixed before any copying */

    struct mutex mu; /* guards everything below */
    struct cond room;
    struct work *work;
    unsigned running;
    int err; /* first one that ends the copy */
    struct err_detail detail;
    struct copy_counts *counts;
};

/* ---- copy.c: what all share */

/* Tells damage of the source; always 0, so that the copy goes on. */
int copy_damaged(struct copier *c, struct str key, const char *format, ...) printf_like(3, 4);
void copy_count(struct copier *c, uint64_t bytes); /* one object was copied */
void copy_present(struct copier *c);
/* After a failure that may pass: waits, and says whether to try again. */
bool copy_again(int e, int tries);
/* Asks again for a while when the store does not answer. */
int copy_get(struct store *s, struct str key, uint64_t offset, uint64_t len, struct buf *out,
             struct err_detail *detail) must_check;
int copy_head(struct store *s, struct str key, struct store_info *ret,
              struct err_detail *detail) must_check;
/* Makes the object in the destination: 0 also when these bytes are there already, -ERR_EXISTS when
 * others are. */
int copy_create(struct copier *c, struct str key, enum store_class cls, struct str bytes,
                struct err_detail *detail) must_check;

/* Runs fn(c, key) on one of the threads; waits while all are busy. Returns the copy's error, if
 * there is one by now. */
typedef int (*copy_fn)(struct copier *c, struct str key, struct err_detail *detail);
int copy_submit(struct copier *c, copy_fn fn, struct str key) must_check;
int copy_wait(struct copier *c) must_check; /* until all have run */

/* All keys of a prefix > after, in order: 1 with a key, which is valid until the next call, 0 at
 * the end. */
struct copy_lister {
    struct store *store;
    struct str prefix;
    struct buf keys; /* of a page, each behind its length */
    struct buf after;
    size_t at, page;
    bool done;
};
void copy_lister_init(struct copy_lister *l, struct store *s, struct str prefix);
void copy_lister_done(struct copy_lister *l);
int copy_lister_next(struct copy_lister *l, struct str *ret, struct err_detail *detail) must_check;
/* Hands every key under the prefix that the source has and the destination has not to fn, in order,
 * on this thread. */
int copy_each_missing(struct copier *c, struct str prefix, copy_fn fn,
                      struct err_detail *detail) must_check;

/* ---- copy_objects.c */
int copy_blobs(struct copier *c, struct err_detail *detail) must_check;
int copy_links(struct copier *c, struct err_detail *detail) must_check;
int copy_markers(struct copier *c, struct err_detail *detail) must_check;

/* ---- copy_log.c */
struct copy_log {
    struct str prefix, name;
};
/* Greatest number in the log: by listing, in the source. */
int copy_log_head(struct copier *c, const struct copy_log *log, uint64_t *ret,
                  struct err_detail *detail) must_check;
/* Entries up to head that the destination has not. each (may be NULL) is called with an entry's
 * operations before it is created. */
struct json;
typedef int (*copy_ops_fn)(struct copier *c, const struct json *ops, struct err_detail *detail);
int copy_log(struct copier *c, const struct copy_log *log, uint64_t head, copy_ops_fn each,
             struct err_detail *detail) must_check;
/* Checkpoints up to head, their parts before, and a hint. */
int copy_tables(struct copier *c, const struct copy_log *log, uint64_t head,
                struct err_detail *detail) must_check;

#endif
