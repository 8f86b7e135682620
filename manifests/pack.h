/* Numbers and strings as bytes, for the records of tables (docs/bucket-format.md section 9): a
 * number is 7 bits a byte, lowest first, the top bit says that more follow; a string is its length
 * and its bytes. Readers take what they read off the front; false: it is not there, or is longer
 * than it needs to be. Any thread. */
#ifndef STOWAGE_MANIFESTS_PACK_H
#define STOWAGE_MANIFESTS_PACK_H

#include "base/buf.h"

#define PACK_NUMBER_MAX 10 /* bytes of a number */

void pack_u64(struct buf *out, uint64_t v);
void pack_str(struct buf *out, struct str s);
size_t pack_u64_bytes(uint64_t v);

bool unpack_u64(struct str *rest, uint64_t *ret);
bool unpack_i64(struct str *rest, int64_t *ret); /* not negative */
bool unpack_str(struct str *rest, struct str *ret);
bool unpack_bytes(struct str *rest, size_t len, struct str *ret);

#endif
