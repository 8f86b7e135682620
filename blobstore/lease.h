/* Which node does a job that one should do (docs/bucket-format.md section 12). A lease is a log of
 * epochs: to take or to keep it is to create the next one. A holder that did not create one for the
 * lease's time is gone for the others, by their own clocks, counted from when they saw its last; it
 * counts itself gone a tenth earlier, counted from before it sent it. So at most one believes to
 * hold it, as long as clocks run at about the same rate.
 *
 * No safety rests on that: a node may be paused between asking and doing. What is done under a
 * lease must be harmless when two do it, or be a numbered create (lastlog.h) whose number the new
 * holder has taken when it begins: then what an old holder still sends finds its number filled.
 *
 * Thread rule: lease_step, lease_released and lease_release by one thread; lease_epoch by any. */
#ifndef STOWAGE_BLOBSTORE_LEASE_H
#define STOWAGE_BLOBSTORE_LEASE_H

#include "blobstore/node.h"

#define LEASE_TTL_MS     40000
#define LEASE_TTL_MIN_MS 1000

struct lease;

/* job: keys_word_valid. */
int lease_new(struct node *n, struct str job, int64_t ttl_ms, struct lease **ret) must_check;
void lease_free(struct lease *l); /* without releasing */

/* Looks, takes, keeps: whatever is due. To be called again within *ret_wait_ms. An error says why
 * it could not; the lease may still be held. Costs one look at the next number, and a create each
 * third of the time for the holder. */
int lease_step(struct lease *l, int64_t *ret_wait_ms, struct err_detail *detail) must_check;

/* When it was last given back, by the store's clock in ms; 0: it is held, or never was. Looks, and
 * takes nothing. */
int lease_released(struct lease *l, int64_t *ret_ms, struct err_detail *detail) must_check;

/* The epoch in which this node holds the lease now, else 0. Rises with every holder; a holder keeps
 * its first one. */
uint64_t lease_epoch(struct lease *l);

/* Others may take it at once. */
void lease_release(struct lease *l);

#endif
