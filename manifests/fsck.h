/* Checks a whole store against docs/bucket-format.md, reading only, while servers use it. What is
 * in flight or younger than a moment is no finding: absences are looked at again before they are
 * told. Memory: one repository's state at a time, and tables of fixed size.
 *
 * One thread at a time. */
#ifndef STOWAGE_MANIFESTS_FSCK_H
#define STOWAGE_MANIFESTS_FSCK_H

#include "blobstore/store.h"

enum fsck_severity {
    FSCK_DAMAGE,  /* something that was acknowledged is lost, wrong, or no longer vouched for */
    FSCK_WARNING, /* nothing is lost, but an operator should know */
    FSCK_GARBAGE  /* takes space, means nothing */
};
#define FSCK_SEVERITIES 3
const char *fsck_severity_name(enum fsck_severity s);

struct fsck_finding {
    enum fsck_severity severity;
    struct str key;     /* the object it is about */
    struct str what;    /* what is wrong */
    struct str meaning; /* what it means for users */
};

struct fsck_settings {
    bool deep;               /* every byte of every blob is hashed */
    const struct str *names; /* these repositories only, with all they refer to; none: everything */
    size_t name_count;
    void (*report)(const struct fsck_finding *finding, void *arg);
    void *arg;
};

struct fsck_counts {
    uint64_t findings[FSCK_SEVERITIES];
    uint64_t repositories, entries, manifests, records, links, sessions;
    uint64_t bytes; /* hashed */
};

/* 0: looked at everything; the counts tell what was found. -ERR_NOREPO: a name has no log.
 * -ERR_NOTFOUND: no registry is there. Other errors: the store did not answer, the check is not
 * complete; the counts hold what was found until then. */
int fsck_run(struct store *s, const struct fsck_settings *settings, struct fsck_counts *ret,
             struct err_detail *detail) must_check;

#endif
