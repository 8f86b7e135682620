/* What differs between two states of a repository: its tags, and the manifests that are present.
 * Reads both from end to end, in order, a page at a time. Any thread; may block. */
#ifndef STOWAGE_MANIFESTS_COMPARE_H
#define STOWAGE_MANIFESTS_COMPARE_H

#include "manifests/repo.h"

/* name: a tag, in the order of tags; from and to: digests it is on, NULL: it does not exist.
 * Non-zero stops and is returned. */
typedef int (*compare_tag_fn)(struct str tag, const struct digest *from, const struct digest *to,
                              void *arg);
int compare_tags(struct repo *from, struct repo *to, compare_tag_fn fn, void *arg) must_check;

/* Each manifest of either, in order of digest text; NULL where it is not present. */
typedef int (*compare_manifest_fn)(const struct digest *d, const struct repo_manifest *from,
                                   const struct repo_manifest *to, void *arg);
int compare_manifests(struct repo *from, struct repo *to, compare_manifest_fn fn,
                      void *arg) must_check;

#endif
