/* Manifests: parse and validate an immutable byte string (R84-R93). Stored bytes are never
 * re-serialised. A struct manifest borrows from the body it was parsed from and from its own
 * document; one thread at a time. */
#ifndef STOWAGE_MANIFESTS_MANIFEST_H
#define STOWAGE_MANIFESTS_MANIFEST_H

#include "base/digest.h"
#include "base/json.h"
#include "manifests/media.h"

#define MANIFEST_BYTES_MAX (4u << 20)

enum ref_kind { REF_CONFIG = 'c', REF_LAYER = 'l', REF_MANIFEST = 'm', REF_BLOB = 'b' };

struct descriptor {
    struct digest digest;
    bool supported; /* digest algorithm is served; else digest is unset and it can be no member */
    struct str digest_text;
    struct str media_type, artifact_type;
    int64_t size;
    enum ref_kind kind;
    bool optional; /* absence never refuses: foreign media type or non-empty http(s) urls (R89) */
};

struct manifest {
    struct json_doc *doc;
    enum media_kind kind;
    struct str media_type; /* effective: header, or body's (R85) */
    struct str
        artifact_type; /* effective by R133: own, else image's config media type, else empty */
    const struct json *annotations; /* object or NULL */
    bool has_subject;
    struct descriptor subject;
    struct descriptor *refs; /* config, layers, manifests in document order */
    size_t ref_count;
};

/* content_type: of the request, may be empty. -ERR_INVAL (MANIFEST_INVALID, R84-R86, R93) with a
 * sentence; -ERR_TOOBIG. Extra accepted manifest types may come by configuration later. */
int manifest_parse(struct str body, struct str content_type, struct manifest *ret,
                   struct err_detail *detail) must_check;
void manifest_done(struct manifest *m);
#define auto_manifest auto_of(manifest_done)

#endif
