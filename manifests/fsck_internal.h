/* Inside of the check of a store; included by fsck*.c only. fsck.c: what all share, and the way
 * through the store; fsck_log.c: any deep log; fsck_repo.c, fsck_catalog.c: what two kinds of log
 * mean; fsck_rules.c: what a writer had to look at; fsck_records.c: records and data; fsck_links.c:
 * links and change markers; fsck_sessions.c: upload sessions. */
#ifndef STOWAGE_MANIFESTS_FSCK_INTERNAL_H
#define STOWAGE_MANIFESTS_FSCK_INTERNAL_H

#include "base/omap.h"
#include "blobstore/blob.h"
#include "blobstore/objlog.h"
#include "manifests/checkpoint.h"
#include "manifests/fsck.h"
#include "manifests/name.h"
#include "manifests/state.h"

#define FSCK_YOUNG_MS (600 * 1000LL) /* what is younger may still be in the making */
#define FSCK_TOLD_MAX 10000          /* keys remembered as told */

struct fsck_catalog;

struct fsck {
    struct store *store;
    const struct fsck_settings *settings;
    struct fsck_counts *counts;
    struct err_detail *detail;
    struct err_detail why; /* of the last object that could not be read */
    int64_t now;           /* the store's clock at the start */
    unsigned pauses;       /* taken before second looks */
    struct omap *told;     /* keys with damage, so that it is told once */
    struct fsck_catalog *catalog;
    struct table_cache *tables;
};

/* Every repository is looked at, so records are, too, by a pass of their own. */
static inline bool fsck_all(const struct fsck *f)
{
    return f->settings->name_count == 0;
}

void fsck_say(struct fsck *f, enum fsck_severity severity, struct str key, const char *meaning,
              const char *format, ...) printf_like(5, 6);
bool fsck_told(const struct fsck *f, struct str key);
void fsck_unknown(struct fsck *f, struct str key); /* no key of the format */

/* An error that is one object's matter (f->why tells it); others end the check. */
bool fsck_of_object(int e);
/* store_get, tried again where that may help: 0, -ERR_NOTFOUND, an error of the object, other. */
int fsck_get(struct fsck *f, struct str key, uint64_t offset, uint64_t len,
             struct buf *out) must_check;
int fsck_head(struct fsck *f, struct str key, struct store_info *ret) must_check;
/* A moment, unless there were many: then nothing is in doubt, and it answers false. */
bool fsck_pause(struct fsck *f);
/* A second look after a moment: -ERR_NOTFOUND when the object is really not there. */
int fsck_confirm_gone(struct fsck *f, struct str key) must_check;

/* All keys with the prefix that are > after, a page at a time; fn may use the store. Its first
 * non-zero stops and is returned. */
typedef int (*fsck_key_fn)(struct fsck *f, struct str key, const struct store_info *info,
                           void *arg);
int fsck_each(struct fsck *f, struct str prefix, struct str after, fsck_key_fn fn,
              void *arg) must_check;
/* The first key with the prefix that is > after: 0, -ERR_NOTFOUND. */
int fsck_first(struct fsck *f, struct str prefix, struct str after, struct buf *ret_key) must_check;

/* ---- fsck_log.c */

/* A checkpoint that is whole: its head's sum holds, and every part is there with its digest. */
struct fsck_table {
    struct str text; /* of the head */
    const struct checkpoint_head *head;
    const struct json *keys;
    struct table *table;
    const struct table_spec *spec;
};

struct fsck_log_ops {
    /* Applies an entry: -ERR_CORRUPT, -ERR_VERSION with detail; other errors end the check. */
    int (*apply)(void *self, const struct objlog_entry *e, struct err_detail *detail);
    /* After it: the position was applied and the log is whole up to here. */
    int (*passed)(void *self, const struct objlog_entry *e);
    /* Compares a checkpoint that has the right frame, position and hash with what was applied
     * (whole), or takes the state over from it: 0, -ERR_CORRUPT with detail, other. NULL: none. */
    int (*table)(void *self, const struct fsck_table *t, bool whole, struct err_detail *detail);
    const char *lost;   /* what lost entries mean for users */
    const char *broken; /* what a damaged entry means */
    const char *wrong;  /* what a damaged checkpoint means */
};

struct fsck_log {
    struct str prefix, name;
    const struct fsck_log_ops *ops;
    void *self;

    /* results */
    uint64_t head;
    uint8_t hash[OBJLOG_HASH_BYTES];
    bool whole; /* the state is that of the head */
};
int fsck_log_check(struct fsck *f, struct fsck_log *log) must_check;
void fsck_log_key(const struct fsck_log *log, uint64_t seq, struct buf *out);
/* Entries were lost: something stands beyond the head. */
void fsck_log_lost(struct fsck *f, const struct fsck_log *log, uint64_t seq, const char *by);

/* ---- fsck_catalog.c */

struct fsck_row {
    bool filled;
    uint64_t seq;
    int64_t ts; /* when it was added */
};
int fsck_catalog_check(struct fsck *f) must_check;
void fsck_catalog_free(struct fsck_catalog *c);
/* Reads on from where the check ended; damage is not told again. */
int fsck_catalog_refresh(struct fsck *f) must_check;
const struct fsck_row *fsck_catalog_row(const struct fsck *f, struct str name); /* or NULL */
/* After all repositories: listed names without a log. */
int fsck_catalog_leftover(struct fsck *f) must_check;

/* ---- the others */

/* Tells what an operation of an entry should not have done to the state before it. */
void fsck_check_rules(struct fsck *f, struct str key, const struct state *s,
                      const struct taglog_op *op);
int fsck_repo_check(struct fsck *f, struct str name) must_check;
int fsck_records_check(struct fsck *f) must_check;
/* The record of a digest: 0, -ERR_NOTFOUND, or an error of the object, with f->why. Whole: also its
 * length, its data object's presence and length; told under the key at fault. */
int fsck_record_look(struct fsck *f, const struct digest *d, struct blob_info *ret) must_check;
int fsck_record_check(struct fsck *f, const struct digest *d, unsigned g, uint64_t object_size,
                      const char *meaning) must_check;
int fsck_links_check(struct fsck *f) must_check;
int fsck_changes_check(struct fsck *f) must_check;
int fsck_sessions_check(struct fsck *f) must_check;

#endif
