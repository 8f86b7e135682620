/* Finds the store that a name means: the one place that knows the kinds of stores.
 *
 *   dir:PATH, or a path alone     a directory
 *
 * Any thread. */
#ifndef STOWAGE_REGISTRY_STORE_OPEN_H
#define STOWAGE_REGISTRY_STORE_OPEN_H

#include "blobstore/store.h"

enum store_use {
    STORE_SERVE, /* made when it is not there */
    STORE_LOOK   /* reading only: nothing is made or changed; -ERR_NOTFOUND when it is not there */
};

/* -ERR_INVAL: the name is of no kind; others as the kind says, with a sentence. */
int store_open_name(const char *name, enum store_use use, struct store **ret,
                    struct err_detail *detail) must_check;

#endif
