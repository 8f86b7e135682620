/* Scripts of web pages elsewhere (R28): which origins may use the registry, and the headers that
 * tell the browser. Event thread. */
#ifndef STOWAGE_REGISTRY_CORS_H
#define STOWAGE_REGISTRY_CORS_H

#include "base/str.h"

#define CORS_METHODS "HEAD, GET, POST, PATCH, PUT, DELETE"
#define CORS_HEADERS                                                                               \
    "Authorization, Accept, Content-Type, Content-Range, Range, If-Match, If-None-Match, If-Range"
#define CORS_EXPOSED                                                                               \
    "Docker-Content-Digest, Link, Location, WWW-Authenticate, ETag, Range, Content-Range, "        \
    "OCI-Subject, OCI-Filters-Applied, OCI-Tag, OCI-Chunk-Min-Length, Docker-Upload-UUID, "        \
    "Retry-After"

#define CORS_ORIGIN_MAX 512

struct req;

struct cors {
    bool configured;   /* answers differ by origin */
    struct str origin; /* what to allow; empty: nothing */
    bool explicit;     /* named itself, not by "*": credentials may be used */
};
struct cors cors_of(struct req *r);
/* Answers a preflight of an allowed origin; false: it is none. */
bool cors_preflight(struct req *r, const char *method);

#endif
