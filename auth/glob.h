/* Globs of policies and scopes: `*` stands for any bytes but '/', `**` for any bytes at all,
 * everything else for itself. Linear memory, time at most pattern times text. Pure, any thread. */
#ifndef STOWAGE_AUTH_GLOB_H
#define STOWAGE_AUTH_GLOB_H

#include "base/str.h"

#define GLOB_MAX 512 /* bytes of a pattern */

bool glob_match(struct str pattern, struct str text);

#endif
