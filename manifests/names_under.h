/* Which repositories there are under a prefix, now or at a time. Any thread; blocks. */
#ifndef STOWAGE_MANIFESTS_NAMES_UNDER_H
#define STOWAGE_MANIFESTS_NAMES_UNDER_H

#include "base/omap.h"
#include "manifests/view.h"

/* A prefix ends with a slash; empty: all. What people write: "team/", and "/" for all. False: not
 * one. */
bool prefix_parse(struct str text, struct str *ret);

/* Puts names behind `last` into the set, with values that mean nothing: those of now, and those of
 * the time in milliseconds, n of each at most. So the first n of the set are the first there are,
 * and fewer than n are all. A time that is not final in the catalog is one since which nothing
 * changed in it. */
int names_under(struct repos *rs, struct views *v, struct str prefix, int64_t time_ms,
                struct str last, size_t n, struct omap *set, struct err_detail *detail) must_check;

#endif
