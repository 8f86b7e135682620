/* Copies a whole registry from one store to another, of whatever kinds, while servers use the
 * source (docs/bucket-format.md section 11). At every moment the destination is a state that the
 * source had, or could have been left in by a power failure: blobs before what refers to them, the
 * catalog's word about a repository after the entries it speaks of, checkpoints after their
 * entries.
 *
 * What it goes on from is the destination itself, so a copy that was cut off, or one of last week,
 * is completed by copying again. The destination must be empty or hold the same registry, and must
 * not be written to by anybody else meanwhile.
 *
 * Everything that has a digest is held to it before it gets its name: data and records by their
 * names, entries by the chain, checkpoint parts by their names. What the source holds damaged is
 * told and left out; all else is copied.
 *
 * One thread calls; the copying is done by several. */
#ifndef STOWAGE_MANIFESTS_COPY_H
#define STOWAGE_MANIFESTS_COPY_H

#include "base/str.h"
#include "blobstore/store.h"

#define COPY_THREADS_MAX 16         /* each holds one object of up to 5 MiB in memory */
#define COPY_CHUNK       (4u << 20) /* large data is read by so many bytes */

struct copy_settings {
    unsigned threads; /* up to COPY_THREADS_MAX; 0: the calling one alone */
    /* Damage of the source: one call at a time, from any thread. */
    void (*report)(struct str key, struct str what, void *arg);
    void *arg;
};

struct copy_counts {
    uint64_t objects, bytes; /* copied now */
    uint64_t present;        /* were there already */
    uint64_t damaged;        /* reported */
    uint64_t repositories, entries;
};

/* 0: everything up to the moment of the call was copied, or was there, but for what was reported.
 * -ERR_NOTFOUND: no registry in the source. -ERR_EXISTS: the destination holds something else, or
 * has gone its own way since. Others: a store did not answer, no space; counts tell how far it
 * came. */
int copy_run(struct store *from, struct store *to, const struct copy_settings *settings,
             struct copy_counts *ret, struct err_detail *detail) must_check;

#endif
