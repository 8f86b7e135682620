/* A point in a log's past, as clients name it: a number of the log, or a time. And names of
 * read-only views, whose first component is a time. Pure, any thread. */
#ifndef STOWAGE_MANIFESTS_MOMENT_H
#define STOWAGE_MANIFESTS_MOMENT_H

#include "base/err.h"
#include "base/str.h"

struct moment {
    bool by_time;
    uint64_t seq; /* without by_time: the state just after this entry; 0: before the first */
    int64_t ms;   /* by_time: the state after all entries stamped up to here */
};

/* "1234", or an RFC 3339 time: "2026-11-22T07:50:00Z", "...00.123+01:00" (T and Z in either case,
 * digits past the millisecond are cut, second 60 counts as the next minute's 0). -ERR_TIME. */
int moment_parse(struct str text, struct moment *ret, struct err_detail *detail) must_check;

/* "at-20261122t075000z" -> milliseconds; false: no such name, or no such time. */
bool moment_of_component(struct str component, int64_t *ret_ms);

#endif
