/* Finds the store that a name means: the one place that knows the kinds of stores.
 *
 *   dir:PATH, or a path alone     a directory
 *   s3://BUCKET[/PREFIX]          S3; endpoint, credentials and the rest from settings and the
 * usual environment variables (blobstore/store_s3.h)
 *
 * Any thread. */
#ifndef STOWAGE_REGISTRY_STORE_OPEN_H
#define STOWAGE_REGISTRY_STORE_OPEN_H

#include "blobstore/store.h"
#include "registry/config.h"

enum store_use {
    STORE_SERVE, /* made when it is not there (a directory; never a bucket) */
    STORE_EDIT,  /* a registry must be there already; -ERR_NOTFOUND, and nothing is made */
    STORE_LOOK   /* reading only: nothing is made or changed; -ERR_NOTFOUND when it is not there */
};

/* -ERR_INVAL: the name is of no kind; others as the kind says, with a sentence. */
int store_open_name(const struct config *config, const char *name, enum store_use use,
                    struct store **ret, struct err_detail *detail) must_check;
/* The store that --store names, else the directory --root. */
int store_open_config(const struct config *config, enum store_use use, struct store **ret,
                      struct err_detail *detail) must_check;
/* What --store or --root says, for the log. */
const char *store_open_text(const struct config *config);

#endif
