/* Is this store safe to keep a registry in? Everything rests on create-once (S1 of store.h), which
 * some servers ignore and some check without holding anything; so it is tried at every start and by
 * `stowage doctor`, on scratch keys below "probe/" that are removed again. What passes is not
 * proven safe: a race that shows once in a thousand rounds is not found. Blocks. */
#ifndef STOWAGE_BLOBSTORE_STORE_CHECK_H
#define STOWAGE_BLOBSTORE_STORE_CHECK_H

#include "blobstore/store.h"

#define STORE_CHECK_RACERS 8
#define STORE_CHECK_ROUNDS 8

enum store_verdict {
    STORE_CHECK_GOOD,
    STORE_CHECK_WARNING,
    STORE_CHECK_UNSAFE,
    STORE_CHECK_FAILED
};
struct store_finding {
    const char *check; /* "create once" */
    enum store_verdict verdict;
    const char *text; /* a sentence unless good; until the call returns */
};
typedef void (*store_finding_fn)(const struct store_finding *f, void *arg);

/* Runs all checks until one is not passed; report (may be NULL) hears of each. 0; -ERR_UNSUPPORTED:
 * the store is unsafe, with one sentence; others: it could not be tried. */
int store_check(struct store *s, store_finding_fn report, void *arg,
                struct err_detail *detail) must_check;

#endif
