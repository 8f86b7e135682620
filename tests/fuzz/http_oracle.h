/* A second opinion on bytes of HTTP/1.1 (RFC 9112), written only for the fuzz target of the server:
 * strict, so that what it takes for requests must be taken for the same requests by any parser. */
#ifndef STOWAGE_TESTS_HTTP_ORACLE_H
#define STOWAGE_TESTS_HTTP_ORACLE_H

#include "base/str.h"

enum request_kind {
    REQUEST_GOOD,    /* certainly one request; exactly one answer */
    REQUEST_SMUGGLE, /* its length can be read in two ways: one 400 at most, then nothing */
    REQUEST_PART,    /* ends too early: at most one answer, and no success */
    REQUEST_OTHER    /* lenient parsers may differ: anything but a crash */
};

struct request {
    enum request_kind kind;
    struct str bytes; /* of a good one */
    bool head;        /* method is HEAD */
    bool closes;      /* asks for the end of the connection, or may get it (Expect) */
    bool mute;        /* expects 100 Continue without a body, and more follows: libmicrohttpd 0.9.75
                         closes after that 100 */
};
/* The request at the start of bytes. */
void request_read(struct str bytes, struct request *ret);

struct response {
    unsigned status;
    bool closes;
    struct str bytes; /* with the body */
};
/* The answer at the start of bytes: false when there is no whole one. headed: it answers HEAD. */
bool response_read(struct str bytes, bool headed, struct response *ret);

#endif
