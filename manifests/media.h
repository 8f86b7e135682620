/* Media types (R84, R89, R90). Pure, any thread. */
#ifndef STOWAGE_MANIFESTS_MEDIA_H
#define STOWAGE_MANIFESTS_MEDIA_H

#include "base/str.h"

#define MEDIA_OCI_MANIFEST    "application/vnd.oci.image.manifest.v1+json"
#define MEDIA_OCI_INDEX       "application/vnd.oci.image.index.v1+json"
#define MEDIA_DOCKER_MANIFEST "application/vnd.docker.distribution.manifest.v2+json"
#define MEDIA_DOCKER_LIST     "application/vnd.docker.distribution.manifest.list.v2+json"

enum media_kind { MEDIA_OTHER, MEDIA_IMAGE, MEDIA_INDEX };

enum media_kind media_kind(struct str type);     /* of the four manifest types */
struct str media_strip(struct str content_type); /* without parameters and blanks */
bool media_generic(
    struct str type); /* absent or application/json, octet-stream, text/plain (R85) */
bool media_foreign(struct str type); /* nondistributable and foreign layer types (R89) */

#endif
