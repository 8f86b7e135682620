/* Inside of the tar import, shared by archive_import.c (reading the tar, storing bytes) and
 * archive_layout.c (from the files to manifests). */
#ifndef STOWAGE_REGISTRY_ARCHIVE_INTERNAL_H
#define STOWAGE_REGISTRY_ARCHIVE_INTERNAL_H

#include "base/omap.h"
#include "registry/archive.h"

#define ARCHIVE_HELD_MAX (256u << 20) /* documents kept in memory until the tar is read */

/* A file of the tar. Small JSON documents are held, since only the end tells whether they are
 * manifests or blobs; everything else is a blob in the repository by then. */
struct archive_file {
    struct digest digest; /* of the content, in the algorithm of its name when that is
                             blobs/<alg>/<hex>, else sha256 */
    uint64_t size;
    bool stored; /* is a blob of the repository */
    bool held;
    struct buf bytes; /* held */
    char magic[4];    /* first bytes */
    char *link_to;    /* another name in the tar, or NULL */
};

struct archive_import {
    struct app *app;
    struct repo *repo;
    struct str name, tag;
    struct omap *files;     /* by path in the tar -> struct archive_file */
    struct omap *by_digest; /* digest text -> struct archive_file, borrowed */
    size_t held_bytes;
    struct err_detail *detail;
};

/* Files are looked up by path, links followed (a bounded number of times). NULL when absent. */
struct archive_file *archive_find(struct archive_import *in, struct str path);
/* Makes a held document a blob of the repository. */
int archive_store_held(struct archive_import *in, struct archive_file *f) must_check;
/* After the tar is read: pushes the manifests and sets the tag. */
int archive_import_layout(struct archive_import *in, struct digest *ret) must_check;
int archive_import_docker(struct archive_import *in, struct digest *ret) must_check;

#endif
