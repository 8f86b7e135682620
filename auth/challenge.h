/* The WWW-Authenticate header, exactly as R110-R114 want it: one challenge, every value quoted, no
 * blank after a comma. Pure, any thread. */
#ifndef STOWAGE_AUTH_CHALLENGE_H
#define STOWAGE_AUTH_CHALLENGE_H

#include "base/buf.h"

#define CHALLENGE_MAX 4096

enum challenge_error { CHALLENGE_NO_ERROR, CHALLENGE_INVALID_TOKEN, CHALLENGE_INSUFFICIENT_SCOPE };

struct challenge {
    bool bearer;
    struct str realm; /* bearer: absolute URL of the token endpoint */
    struct str service;
    struct str scope; /* empty: none */
    enum challenge_error error;
};

/* Appends. Bytes that do not belong into a quoted value are left out. */
void challenge_text(const struct challenge *c, struct buf *out);

#endif
