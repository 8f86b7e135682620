/* Fetches the keys of issuers (auth/issuer.h): one GET, no redirect followed, a few seconds at
 * most. Any thread that may wait. */
#ifndef STOWAGE_REGISTRY_FETCH_H
#define STOWAGE_REGISTRY_FETCH_H

#include "base/buf.h"

#define FETCH_MS 5000

/* Appends the body of a 200. ca_file: NULL, the system's. -ERR_UNAVAIL with a sentence. */
int fetch_url(void *arg, const char *url, const char *ca_file, struct buf *out,
              struct err_detail *detail) must_check;

#endif
