/* Inside of reverting; included by revert*.c only. */
#ifndef STOWAGE_MANIFESTS_REVERT_INTERNAL_H
#define STOWAGE_MANIFESTS_REVERT_INTERNAL_H

#include "base/omap.h"
#include "manifests/revert.h"

/* What has to be done to a state, found by comparing it with a view. */
struct plan {
    struct repo *now, *past;
    const struct revert *how;
    struct settings *settings; /* of now */
    bool removals;             /* something was deleted or unlinked after the view */
    struct omap *puts;         /* digest text -> mark: manifests to be put back */
    struct omap *deletes;      /* digest text -> mark */
    struct omap *tags;         /* tag -> struct plan_tag */
    struct buf ops;            /* texts of the puts, joined by commas */
    bool partial;              /* not all puts fit: the rest comes in another entry */
    size_t missing;
    struct buf *ret_missing;
    struct err_detail *detail;
};

struct plan_tag {
    bool from_any, to_any;
    struct digest from, to;
};

void plan_init(struct plan *p);
void plan_done(struct plan *p);
#define auto_plan auto_of(plan_done)
/* Fills it; then ops holds what is to be committed, empty when nothing is. */
int plan_make(struct plan *p) must_check;

/* Adds the operation that puts a manifest of the view back, as it was recorded there. The digest of
 * what is missing goes to ret_missing, and the plan goes on. */
int plan_put(struct plan *p, const struct digest *d) must_check;
/* Do all refs that stood in the view stand now? 1, 0. */
int plan_refs_stand(struct plan *p, const struct digest *d) must_check;

#endif
