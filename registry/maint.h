/* Scheduled maintenance of a serving node: temporary files of dead processes go, threads and memory
 * that a load left behind go back to the system; and, by one node of a store an hour: idle upload
 * sessions expire, what they left is swept. That one holds the lease "sweep" while it does; the
 * others look for its end, so that one that was stopped is followed by another within
 * LEASE_TTL_MS. */
#ifndef STOWAGE_REGISTRY_MAINT_H
#define STOWAGE_REGISTRY_MAINT_H

#include "registry/app.h"
#include "registry/http.h"

#define MAINT_SWEEP_MS (3600 * 1000LL)
#define MAINT_TRIM_MS  (30 * 1000LL)

struct maint;
int maint_start(struct app *app, struct maint **ret) must_check;
void maint_set_http(struct maint *m, struct http *http); /* outlives it */
void maint_stop(struct maint *m);

#endif
