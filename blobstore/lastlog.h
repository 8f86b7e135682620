/* A log of which only the newest entry counts: epochs of a lease, cursors of a webhook
 * (docs/bucket-format.md section 12). Committed like every log, one number after the other; its old
 * entries are removed when nobody can be about to create their numbers again (B4): a create is sent
 * within OBJLOG_VALID_MS of the look that found its number free, a store takes it for some minutes
 * at the longest, and entries stay for LASTLOG_KEEP_MS.
 *
 * One holder at a time; calls may block. */
#ifndef STOWAGE_BLOBSTORE_LASTLOG_H
#define STOWAGE_BLOBSTORE_LASTLOG_H

#include "blobstore/objlog.h"

#define LASTLOG_KEEP_MS (3600 * 1000LL)
#define LASTLOG_STALE_MS                                                                           \
    (600 * 1000LL) /* who did not look for so long finds the end by listing                        \
                    */

struct lastlog;

/* prefix: "lease/<job>", ... (keys.h); copied. */
int lastlog_new(struct node *n, struct str prefix, struct lastlog **ret) must_check;
void lastlog_free(struct lastlog *l);
void lastlog_freep(struct lastlog **l);
#define auto_lastlog auto_of(lastlog_freep)

/* Calls apply for what is newer than what was applied before, in order, at first for the newest
 * alone; older ones may be left out at any time. */
int lastlog_read(struct lastlog *l, objlog_apply_fn apply, void *arg,
                 struct err_detail *detail) must_check;
uint64_t lastlog_seq(const struct lastlog *l); /* of the newest applied, 0: there is none */

/* Creates the entry after the newest applied one. Errors of objlog_append; -ERR_EXISTS: read again.
 * validated_ms: clock_boot_ms before the lastlog_read on which it rests. */
int lastlog_append(struct lastlog *l, struct str ops, int64_t validated_ms,
                   struct err_detail *detail) must_check;

#endif
