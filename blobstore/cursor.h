/* How far a job is that one node does under a lease (docs/bucket-format.md section 12): a log of
 * which only the newest entry counts. Who begins under a new epoch of the lease takes the cursor
 * first, by an entry of its own: what an older holder still sends then finds its number taken, and
 * that one learns that it is the older. So no step of an older holder, however late it arrives,
 * moves a cursor that a newer one has taken.
 *
 * One thread at a time; calls may block. */
#ifndef STOWAGE_BLOBSTORE_CURSOR_H
#define STOWAGE_BLOBSTORE_CURSOR_H

#include "blobstore/node.h"

#define CURSOR_AT_MAX 4096 /* bytes of a place; a longer one is -ERR_TOOBIG */

struct cursor;

/* prefix: keys_hook; copied. */
int cursor_new(struct node *n, struct str prefix, struct cursor **ret) must_check;
void cursor_free(struct cursor *c);

/* Reads where the job stands and writes it again, as this holder; of a job that never began nothing
 * is written. -ERR_EXISTS: somebody else was faster, several times. */
int cursor_take(struct cursor *c, struct err_detail *detail) must_check;
/* Everything up to at is done. -ERR_EXISTS: another holder has taken it, or begun it. Any other
 * error: take it anew. */
int cursor_save(struct cursor *c, struct str at, struct err_detail *detail) must_check;

bool cursor_known(const struct cursor *c);    /* false: the job never began */
struct str cursor_at(const struct cursor *c); /* valid until the next call */

#endif
