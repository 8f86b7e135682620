/* What a request brings to say who it is: the Authorization header taken apart. Pure, any thread.
 */
#ifndef STOWAGE_AUTH_CREDENTIALS_H
#define STOWAGE_AUTH_CREDENTIALS_H

#include "base/buf.h"

#define CREDENTIALS_TEXT_MAX (24u << 10) /* bytes of the header that are looked at (R119) */
#define CREDENTIALS_USER_MAX 255

enum credentials_kind {
    CREDENTIALS_NONE,
    CREDENTIALS_BASIC,
    CREDENTIALS_BEARER,
    CREDENTIALS_CERTIFICATE, /* user: the subject that a trusted proxy verified */
    CREDENTIALS_BAD          /* there is something, but nothing that can be read */
};

/* Views into text. */
struct credentials {
    enum credentials_kind kind;
    struct str user, password; /* BASIC */
    struct str token;          /* BEARER */
    struct buf text;
};
void credentials_done(struct credentials *c); /* wipes */
#define auto_credentials auto_of(credentials_done)

/* An empty header is NONE; so are an empty user and password together (R112: podman's way to ask
 * for an anonymous token). -ERR_NOMEM. */
int credentials_parse(struct str header, struct credentials *ret) must_check;
int credentials_basic(struct str user, struct str password, struct credentials *ret) must_check;
int credentials_certificate(struct str subject, struct credentials *ret) must_check;

#endif
