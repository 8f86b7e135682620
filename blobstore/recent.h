/* Records of small blobs that were just read for their header, whole: whoever then wants the bytes
 * needs no second request. Each is given once. Of fixed size, any thread, never waits. */
#ifndef STOWAGE_BLOBSTORE_RECENT_H
#define STOWAGE_BLOBSTORE_RECENT_H

#include "base/buf.h"
#include "base/digest.h"

#define RECENT_RECORD_MAX ((16u << 10) + 256) /* bytes of a record */
#define RECENT_SLOTS      32u

struct recent;
int recent_new(struct recent **ret) must_check;
void recent_free(struct recent *r);

/* Takes the bytes over when it keeps them; leaves out empty. */
void recent_put(struct recent *r, const struct digest *d, struct buf *record);
/* False: not there. */
bool recent_take(struct recent *r, const struct digest *d, struct buf *ret) must_check;

#endif
