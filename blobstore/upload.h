/* Upload sessions (docs/bucket-format.md section 7; R50-R70). A session is a log; any node
 * continues any session, also after a restart. What this process holds in memory about one (hash
 * state, open stream) is a cache of that log, bounded and dropped when idle.
 *
 * A session is held by one request at a time (upload_hold .. upload_release); within a hold, calls
 * come from one thread at a time. Calls may block except upload_start. A start costs no store
 * request; docker's flow for a small blob costs one entry, one record, one link. */
#ifndef STOWAGE_BLOBSTORE_UPLOAD_H
#define STOWAGE_BLOBSTORE_UPLOAD_H

#include "blobstore/blob.h"

#define UPLOAD_IDLE_MS        (24 * 3600 * 1000LL) /* R68: idle sessions expire */
#define UPLOAD_WAIT_MS        (2 * 3600 * 1000LL)  /* W: entries stay this much longer */
#define UPLOAD_ROLL_MS        (12 * 3600 * 1000LL) /* a close is rolled forward only while younger */
#define UPLOAD_CACHED_MAX     1024                 /* sessions kept in memory between requests */
#define UPLOAD_CACHED_IDLE_MS (40 * 1000LL)        /* then their descriptors are given up */
#define UPLOAD_IDENTITY_MAX   1024 /* bytes of an identity; longer ones are a programmer's error */

struct uploads; /* per node */
struct upload;  /* a held session */

/* Asks the store for its clock: fails when it does not answer. */
int uploads_new(struct blobs *b, struct uploads **ret) must_check;
void uploads_free(struct uploads *u);

/* Makes an id bound to repository and identity. The algorithm announced by digest-algorithm is a
 * hint (R63) and lives in this process only. */
void upload_start(struct uploads *us, struct str repo, struct str identity, enum digest_alg alg,
                  char ret_id[KEYS_SESSION_LEN + 1]);

/* Is the id one of ours for this repository and identity (MAC only)? Any thread, never waits (but
 * for a refresh of secrets on a foreign one). */
bool upload_id_valid(struct uploads *us, struct str repo, struct str identity, struct str id);

/* Takes the session for this request. -ERR_NOTFOUND: unknown, expired, cancelled, spent, foreign
 * (R8). -ERR_BUSY: another request of this node holds it (the API answers 416, R68). A session
 * whose close was won but perhaps not finished (its node died on the way, or another node finished
 * it) is given, too, while the close is young enough to be rolled forward, and upload_closed() says
 * so. The API then answers 404 to all but a closing PUT: that one may read past its body
 * (upload_write drops it) and call upload_close, which finishes what was begun and answers 0 when
 * the digest is the one that was closed, -ERR_NOTFOUND otherwise. So a retried PUT gets its 201. */
int upload_hold(struct uploads *us, struct str repo, struct str identity, struct str id,
                struct upload **ret, struct err_detail *detail) must_check;
/* The same for a request that brings no bytes and calls upload_close: on a remote store what this
 * node knew of the session 10 s ago is taken for its state, and looked at again only when that does
 * not fit the digest or the entry of the end finds its number taken. (The end of a small session
 * has no entry: one that was cancelled at another node within these seconds may still become its
 * blob.) */
int upload_hold_to_end(struct uploads *us, struct str repo, struct str identity, struct str id,
                       struct upload **ret, struct err_detail *detail) must_check;
void upload_release(struct upload *u); /* bytes written but not saved are dropped */

/* The same for a request whose URL is the one that upload_start's id gave, so that its client has
 * written nothing yet as far as it knows. On a remote store the session is then taken for empty
 * unless this node knows better, and not looked at: its first entry is a conditional create, which
 * tells whether anybody wrote to it meanwhile (upload_save: -ERR_RANGE or -ERR_NOTFOUND;
 * upload_append goes on behind), and a digest that does not fit makes upload_close look. */
int upload_hold_new(struct uploads *us, struct str repo, struct str identity, struct str id,
                    struct upload **ret, struct err_detail *detail) must_check;

bool upload_closed(const struct upload *u);
uint64_t
upload_offset(const struct upload *u); /* acknowledged bytes plus those written in this hold */
struct str upload_id(const struct upload *u);

/* Hashes and writes bytes at the end. Worker. */
int upload_write(struct upload *u, struct str bytes, struct err_detail *detail) must_check;
/* Makes everything written so far safe and acknowledged: one session entry. Nothing written = no
 * entry. -ERR_RANGE: another node went on with this session meanwhile (416). */
int upload_save(struct upload *u, struct err_detail *detail) must_check;
/* The same for bytes that go to the end wherever that is (R57): a session that was taken for empty
 * and is not gets them behind what it holds. -ERR_RANGE then only where they are not at hand any
 * more, because parts of them were sent (a part or more, store_s3.h), and nothing has changed; and
 * where another node went on with a session that this one had looked at. */
int upload_append(struct upload *u, struct err_detail *detail) must_check;
/* Forgets what was written since the hold or the last save (body did not fit its Content-Range). */
int upload_rollback(struct upload *u, struct err_detail *detail) must_check;

/* The session becomes the blob: verifies the digest (-ERR_DIGEST: nothing stored, session dropped),
 * saves and wins `close` if there is data, then makes data object, record, link with link_u. 0 also
 * when the blob existed (R67). After 0 the session is spent. -ERR_NOTFOUND: it ended meanwhile.
 * -ERR_RANGE: another node went on with it. After any other error the session stays: the request
 * may be repeated. */
int upload_close(struct upload *u, const struct digest *d, uint64_t link_u,
                 struct err_detail *detail) must_check;
/* Ends the session for all nodes, by an entry. */
int upload_cancel(struct upload *u, struct err_detail *detail) must_check;

/* Asked before each session; false ends a sweep early. */
typedef bool uploads_go_on_fn(void *arg);
/* Hourly, by one node: expires idle sessions, removes what ended ones left, sweeps streams without
 * a living session. Harmless when several do it at once. -ERR_AGAIN: go_on said no; NULL never
 * does. Also gives up descriptors of sessions idle in this process. */
int uploads_sweep(struct uploads *us, uploads_go_on_fn *go_on, void *arg,
                  struct err_detail *detail) must_check;
void uploads_trim(struct uploads *us); /* only the descriptors; every minute */

#endif
