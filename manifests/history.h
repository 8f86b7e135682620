/* A repository's log as a reader sees it: who changed what, when, and from what to what. Reads
 * entries from the store; the state before the first one comes from a view (manifests/view.h).
 *
 * Costs: history_walk opens one view, then reads each entry once. history_of_tag reads entries
 * backwards, from the tag's last change where it still exists, at most HISTORY_SCAN_MAX a call.
 *
 * Thread rule: any thread; may block. r is the present repository, refreshed by the caller. */
#ifndef STOWAGE_MANIFESTS_HISTORY_H
#define STOWAGE_MANIFESTS_HISTORY_H

#include "manifests/repo.h"

#define HISTORY_SCAN_MAX 20000 /* entries read for one page of a tag's history */

/* An entry is told as ENTRY, then for each operation OP, a TAG for each tag that it set or removed,
 * and OP_END, then ENTRY_END. */
enum history_what { HISTORY_ENTRY, HISTORY_OP, HISTORY_TAG, HISTORY_OP_END, HISTORY_ENTRY_END };

/* Borrowed for the call. */
struct history_event {
    enum history_what what;
    uint64_t seq;
    int64_t ts;
    const struct taglog_op *op; /* not in ENTRY, ENTRY_END; refs and annotations may be left out */
    struct str tag;             /* TAG */
    struct str from, to;        /* TAG: digests just before and after; empty: none */
};
typedef int (*history_fn)(const struct history_event *e, void *arg);

/* Entries after .. up_to, in order, those that exist. fn's first non-zero stops and is returned.
 * Of a drop the tags that it removed are not told. -ERR_NOTFOUND: after lies past the head. */
int history_walk(struct repo *r, uint64_t after, uint64_t up_to, history_fn fn, void *arg,
                 struct err_detail *detail) must_check;

/* What a tag was put on. */
struct history_assignment {
    struct repo_manifest manifest; /* seq, ts: of the assignment. size 0 and no type: not known any
                                      more */
};

/* Assignments of a tag before entry `before` (0: all), newest first, at most n. *ret_before: where
 * the next page begins, 0: there are no more. A page may be short, or empty, and yet have a next
 * one: reading stops after HISTORY_SCAN_MAX entries. */
int history_of_tag(struct repo *r, struct str tag, uint64_t before, size_t n,
                   int (*fn)(const struct history_assignment *a, void *arg), void *arg,
                   uint64_t *ret_before, struct err_detail *detail) must_check;

#endif
