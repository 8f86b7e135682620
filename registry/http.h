/* The HTTP/1.1 front (libmicrohttpd behind it): turns connections into requests, refuses malformed
 * framing, streams bodies with back-pressure, hands waiting work to workers, and sends answers
 * (design section 3; R23, R150-R157).
 *
 * Event threads never block. A request goes: headers -> route_resolve -> by the route's body kind
 *   BODY_NONE    fast() on the event thread; when it answers -ERR_AGAIN, run() on a worker
 *   BODY_MEM     the body is gathered up to the route's maximum, then run() on a worker
 *   BODY_STREAM  begin() on a worker before the first byte (and before 100 Continue), data() on a
 * worker for each whole buffer, run() at the end; gone() on a worker instead, when the client
 * vanished or the body broke off Handlers answer by one reply function and return 0, or return a
 * negative enum err, for which the error answer is made (oci_error.h).
 *
 * Thread rule: a struct req is used by one handler at a time; headers may be read in fast(),
 * begin() and run() (not in data() and gone(), while bytes arrive). Everything a reply function
 * takes is copied or taken over as said. */
#ifndef STOWAGE_REGISTRY_HTTP_H
#define STOWAGE_REGISTRY_HTTP_H

#include "auth/access.h"
#include "base/buf.h"
#include "registry/route.h"

#define HTTP_CONNECTION_MEMORY                                                                     \
    (32u << 10)               /* the pool of one connection; carries 16 KiB of headers (R119) */
#define HTTP_IDLE_SECONDS 120 /* R150: above the 90 s that Go clients keep idle connections */
#define HTTP_HEADERS_SECONDS                                                                       \
    (HTTP_IDLE_SECONDS + 30) /* from the end of a request, or accept, to the next one's headers */
#define HTTP_DISCARD_MAX (64u << 20) /* body bytes read and dropped after an early error (R152) */
#define HTTP_STREAM_BUFFER_MIN                                                                     \
    (8u << 10) /* an upload hands over buffers of this size when it is slow ... */
#define HTTP_STREAM_BUFFER_MAX (256u << 10) /* ... up to this when it is fast; two per upload */
#define HTTP_STREAM_MEMORY_MAX                                                                     \
    (32u << 20) /* what buffers above the minimum take together; then no more grow */
#define HTTP_BODY_MEMORY_MAX                                                                       \
    (96u << 20) /* gathered bodies of all requests together; above: 503                            \
                 */
#define HTTP_LARGE             (512u << 10) /* buffers from this on have pages of their own, which go back */
#define HTTP_WINDOW_MIN        (1u << 20) /* bytes fetched at once for an answer out of a remote store */
#define HTTP_WINDOW_MAX        (8u << 20)  /* for a client that waits, while there is memory */
#define HTTP_SOURCE_MEMORY_MAX (32u << 20) /* of windows above the least; four times this: 503 */
#define HTTP_REPLY_HEADERS_MAX 16
#define HTTP_RANGES_MAX        1024  /* R36 */
#define HTTP_FDS_RESERVED      256   /* descriptors kept for the store and workers */
#define HTTP_CONNECTIONS_LIMIT 16384 /* never more connections than this */
#define HTTP_WORKER_QUEUE_MAX  4096
#define HTTP_DRAIN_SECONDS     30

struct http;
struct req;
struct app;

struct http_settings {
    const char *const *listen; /* HOST:PORT, [IPv6]:PORT, unix:PATH */
    size_t listen_count;
    unsigned workers;
    unsigned event_threads; /* 0: one per core */
};

/* Opens all addresses and starts. on_listening is called for each with what clients use
 * ("http://127.0.0.1:5000", "unix:/path"). */
int http_start(struct app *app, const struct http_settings *settings,
               void (*on_listening)(const char *url, void *arg), void *arg, struct http **ret,
               struct err_detail *detail) must_check;
/* Stops accepting, lets requests in progress end (at most HTTP_DRAIN_SECONDS for those that still
 * receive), closes. */
void http_stop(struct http *h); /* or NULL */
void http_trim(struct http *h); /* now and then: gives up threads that were not needed lately */
unsigned http_connections_max(const struct http *h);
const char *http_library(void); /* version of the library */

/* ---- The request. */
struct app *req_app(struct req *r);
const struct target *req_target(struct req *r); /* route, name, reference */
const struct identity *req_identity(struct req *r);
/* Before a handler of the gate says -ERR_AGAIN: run() comes not before this has passed. */
void req_set_delay(struct req *r, int64_t delay_ms);
void req_set_login(struct req *r, struct login *login); /* takes it over; once */
#define REQ_ADDRESS_MAX 64
/* Address of the other end of the connection, "unix" of a socket file. */
struct str req_peer(struct req *r, char out[REQ_ADDRESS_MAX]);
const char *req_id(struct req *r); /* 16 hex digits */
/* Value of the header, empty when absent; index for repeated ones. */
struct str req_header(struct req *r, const char *name);
struct str req_header_at(struct req *r, const char *name, unsigned index);
/* The index-th value of a query parameter, percent-decoded, appended to out: 0, -ERR_NOTFOUND,
 * -ERR_INVAL. restore_plus: for values that hold no blanks, where a raw '+' means itself (R12). */
int req_query(struct req *r, const char *name, unsigned index, bool restore_plus,
              struct buf *out) must_check;
/* Declared body length, or -1 (chunked, or none). */
int64_t req_content_length(struct req *r);
bool req_is_head(struct req *r);
struct str req_body(struct req *r); /* BODY_MEM, in run() */
struct err_detail *
req_detail(struct req *r); /* for the cause of an error that the handler returns */
/* Handler's own state over begin/data/run/gone. */
void req_set_state(struct req *r, void *state);
void *req_state(struct req *r);

/* ---- The answer. Headers first, then one reply. */
void req_add_header(struct req *r, const char *name, struct str value);
void req_add_headerf(struct req *r, const char *name, const char *format, ...) printf_like(3, 4);
int req_reply_empty(struct req *r, unsigned status);
/* Takes the bytes out of body. */
int req_reply_body(struct req *r, unsigned status, const char *content_type, struct buf *body);
/* Headers of a body of that size, without the body (HEAD). */
int req_reply_sized(struct req *r, unsigned status, uint64_t size);
/* A range of a file by sendfile; takes fd over. */
int req_reply_file(struct req *r, unsigned status, int fd, uint64_t offset, uint64_t size);
/* A body of size > 0 bytes whose windows are fetched on workers, ahead of what is sent. fetch
 * appends exactly len bytes from offset, several at once; the first is fetched by this call, whose
 * error it then is. arg is taken over: done is called once, also on error. */
typedef int (*reply_fetch_fn)(void *arg, uint64_t offset, size_t len, struct buf *out,
                              struct err_detail *detail);
int req_reply_source(struct req *r, unsigned status, uint64_t size, reply_fetch_fn fetch,
                     void (*done)(void *arg), void *arg);
/* multipart/byteranges of a file region (R36); takes fd over; copies ranges. */
struct byte_range {
    uint64_t first, last; /* inclusive, within size */
};
int req_reply_ranges(struct req *r, int fd, uint64_t offset, uint64_t size,
                     const struct byte_range *ranges, size_t count);

/* A prepared answer that many requests may share: body, headers, status. Refcounted; any thread. */
struct answer;
int answer_new(unsigned status, struct str body, struct answer **ret) must_check;
int answer_add_header(struct answer *a, const char *name,
                      struct str value) must_check; /* before the first reply */
void answer_unref(struct answer *a);
struct answer *answer_ref(struct answer *a);
int req_reply_answer(struct req *r, struct answer *a);

#endif
