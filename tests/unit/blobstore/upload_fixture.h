/* What the tests of upload sessions share: processes on one store, content, pushes, and the
 * invariants that hold after anything. */
#ifndef STOWAGE_TESTS_BLOBSTORE_UPLOAD_FIXTURE_H
#define STOWAGE_TESTS_BLOBSTORE_UPLOAD_FIXTURE_H

#include "fixture.h"

#include "blobstore/upload.h"

#define REPO     STR("library/app")
#define IDENTITY STR("alice")
#define HOUR_MS  (3600 * 1000LL)
#define LARGE    200000u /* bytes; past BLOB_INLINE_MAX */
#define SMALL    1000u

/* One process. */
struct peer {
    struct node *node;
    struct blobs *blobs;
    struct uploads *uploads;
};
void peer_open(struct peer *p, struct store *s);
void peer_close(struct peer *p);
#define auto_peer auto_of(peer_close)

/* len bytes that differ from place to place; at most 1 MiB. */
struct str content(size_t from, size_t len);
struct digest content_digest(size_t len, enum digest_alg alg);

void start(struct peer *p, char id[KEYS_SESSION_LEN + 1]);
/* A request: holds, writes content up to `to`, saves, releases. */
int patch(struct peer *p, const char *id, size_t to);
/* Holds, writes content up to size, closes. */
int put(struct peer *p, const char *id, size_t size, const struct digest *d);
/* The offset a new hold finds, or its error. */
int64_t offset_of(struct peer *p, const char *id);

/* The blob has these bytes and its link is there. */
void blob_is_whole(struct peer *p, size_t size, const struct digest *d);
/* Every record names data that exists and has its size (I5). Returns how many records there are. */
unsigned check_records(struct peer *p, struct store *s);
/* Sweeps until everything of ended sessions must be gone, and checks that it is: no session, no
 * stream, no data without a record. Returns the number of data objects. */
unsigned sweep_all(struct peer *p, struct store *s);

#endif
