/* OCI error answers (R100-R104): {"errors":[{"code","message","detail"}]}. The one place that maps
 * an error and the resource it happened on to a code of R101. Pure, any thread. */
#ifndef STOWAGE_REGISTRY_OCI_ERROR_H
#define STOWAGE_REGISTRY_OCI_ERROR_H

#include "base/buf.h"
#include "registry/route.h"

#define OCI_ERROR_BODY_MAX (512u << 10)

/* Appends the body and returns the HTTP status. message: what is known beyond the error's own text;
 * may be empty. */
unsigned oci_error_body(int err, enum resource resource, const char *message, struct buf *out);
/* Starts and ends a body of several errors; each entry has the code and a detail {"digest": ...}.
 */
void oci_error_missing(struct str digests_by_line, struct buf *out);
/* A change that was refused because of what is there: the detail is {"tag": the tag or null,
 * "digest": what it is on, or null}. Appends the body and returns the HTTP status. */
struct oci_refusal {
    struct str tag, digest;
};
unsigned oci_error_refused(int err, const char *message, const struct oci_refusal *refusal,
                           struct buf *out);

#endif
