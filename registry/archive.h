/* Images as tar files, by libarchive, streaming (the only user of it): OCI layouts (digests
 * unchanged) and docker-archive (docker save) files, whose manifest is built from manifest.json
 * with the layers as they lie. Nothing is ever extracted to disk outside the store. May block; any
 * thread. */
#ifndef STOWAGE_REGISTRY_ARCHIVE_H
#define STOWAGE_REGISTRY_ARCHIVE_H

#include "registry/app.h"

#define ARCHIVE_ENTRIES_MAX 100000
#define ARCHIVE_NAME_MAX    1024
#define ARCHIVE_JSON_MAX    BLOB_MANIFEST_MAX /* index.json, manifest.json, oci-layout */
#define ARCHIVE_DEPTH_MAX   8                 /* indexes within indexes */

/* Reads file ("-" is standard input) into name:tag. An OCI layout with one manifest (or one whose
 * org.opencontainers.image.ref.name is the tag) gets the tag; its blobs are verified; everything
 * the manifest refers to must be in the file or already in the repository. *ret is the digest of
 * the tag afterwards. */
int archive_import(struct app *app, const char *file, struct str name, struct str tag,
                   struct digest *ret, struct err_detail *detail) must_check;
/* Writes name:tag and all it refers to as an OCI layout tar ("-" is standard output). Equal content
 * gives equal bytes. What is missing is an error unless may_miss allows it (as at a push, R88-R91);
 * bytes are held to their digests. A file begun before an error is left as it is. */
int archive_export(struct app *app, struct str name, struct str tag, const char *file,
                   enum references may_miss, struct digest *ret,
                   struct err_detail *detail) must_check;

const char *archive_library(void); /* name and version */

#endif
