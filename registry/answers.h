/* Cache of prepared manifest answers, by digest, media type and whether asked by tag (R72, R77
 * differ in Cache-Control). It holds bytes, never membership: who may see a manifest is asked of
 * the repository first. Bounded by bytes, least recently used go first. Any thread, never waits. */
#ifndef STOWAGE_REGISTRY_ANSWERS_H
#define STOWAGE_REGISTRY_ANSWERS_H

#include "base/digest.h"
#include "registry/http.h"

#define ANSWERS_BYTES_MAX (8u << 20)
#define ANSWERS_ONE_MAX   (256u << 10) /* larger manifests are not kept */

struct answers;

int answers_new(struct answers **ret) must_check;
void answers_free(struct answers *a);
/* A reference for the caller, or NULL. */
struct answer *answers_get(struct answers *a, const struct digest *d, struct str media_type,
                           bool by_tag);
/* Keeps a reference of its own when it fits; bytes is the size of the body. */
void answers_put(struct answers *a, const struct digest *d, struct str media_type, bool by_tag,
                 struct answer *answer, size_t bytes);

#endif
