/* An HTTP/1.1 client for many requests at once (the only user of libcurl). One thread per client
 * runs all transfers on kept connections; callers hand it requests and wait for them, or go on and
 * wait later. Redirects are not followed; proxies are those of the usual environment variables.
 *
 * libcurl is loaded at the first httpc_new of the process, so that a process that needs none pays
 * neither its start-up time nor its memory.
 *
 * A request ends in one of the ways of enum httpc_result. What matters for writes is whether any
 * byte of it left: HTTPC_NOT_SENT certainly changed nothing at the other end, HTTPC_UNKNOWN may
 * have. One trap stays: when a kept connection turns out dead before any byte of the answer came,
 * libcurl sends the request once more on a new one by itself; so every request must be one that may
 * arrive twice.
 *
 * Thread rule: any thread, but a request belongs to one caller; source and sink are called on the
 * client's thread and must not block. */
#ifndef STOWAGE_BLOBSTORE_HTTPC_H
#define STOWAGE_BLOBSTORE_HTTPC_H

#include "base/buf.h"
#include "base/thread.h"

#define HTTPC_HEADERS_MAX        16
#define HTTPC_QUEUE_MAX          4096        /* requests waiting for the thread */
#define HTTPC_CONNECTIONS_MAX    256         /* in use or kept */
#define HTTPC_ANSWER_HEADERS_MAX (16u << 10) /* bytes */
#define HTTPC_ERROR_BODY_MAX     (16u << 10) /* bytes kept of a body that comes with status >= 300 */
#define HTTPC_CONNECT_MS         3000

struct httpc;

struct httpc_settings {
    const char *ca_file;      /* PEM, borrowed for the life of the client; NULL: the system's */
    unsigned connections_max; /* 0: HTTPC_CONNECTIONS_MAX */
    int64_t connect_ms;       /* 0: HTTPC_CONNECT_MS */
};

struct httpc_header {
    struct str name, value; /* as sent; an empty value removes a header the library would add */
};

enum httpc_result {
    HTTPC_ANSWERED,  /* status, headers and body are whole */
    HTTPC_NOT_SENT,  /* no connection, or not one byte of the request left */
    HTTPC_UNKNOWN,   /* broke off or timed out later */
    HTTPC_TOO_LARGE, /* the body of a good answer does not fit into `answer` */
    HTTPC_STOPPED    /* source or sink said so */
};

/* Fills at most max bytes of the body from offset; returns how many (> 0), or negative to stop. */
typedef int64_t (*httpc_source_fn)(uint64_t offset, char *at, size_t max, void *arg);
/* Takes bytes of the body of a good answer (status < 300); negative to stop. */
typedef int (*httpc_sink_fn)(struct str bytes, void *arg);

/* Those that wait for a group of requests; lives as long as any of them is not finished. */
struct httpc_wait {
    struct mutex mu;
    struct cond changed;
    unsigned left; /* guarded by mu */
};
void httpc_wait_init(struct httpc_wait *w);
void httpc_wait_done(struct httpc_wait *w);

struct httpc_request {
    /* Set by the caller, borrowed until the request is finished. */
    const char *method;
    const char *url;
    const struct httpc_header *headers;
    size_t header_count;
    struct str body;        /* or: */
    httpc_source_fn source; /* body_len bytes, read again from any place when needed */
    uint64_t body_len;
    bool expect_continue; /* let the other end refuse before the body is sent */
    int64_t deadline_ms;  /* clock_boot_ms */
    struct buf *answer; /* body of a good answer is appended; its room is the limit; may be NULL */
    httpc_sink_fn sink; /* instead of answer */
    void *arg;          /* of source and sink */

    /* The answer, valid when finished. */
    enum httpc_result result;
    unsigned status;
    int64_t length;               /* Content-Length, also of HEAD; -1 when not told */
    struct buf received;          /* header lines; see httpc_answer_header */
    struct buf error;             /* body of an answer with status >= 300, cut at its maximum */
    int64_t sent_ms, received_ms; /* clock_boot_ms around the exchange */

    /* Of the client. */
    struct httpc_wait *wait;
    struct httpc_request *next;
    void *easy, *list;
    uint64_t offset;
    bool finished; /* guarded by wait->mu */
    bool stopped, too_large;
};
/* Frees what the answer holds; the request may then be used again. */
void httpc_request_done(struct httpc_request *r);

int httpc_new(const struct httpc_settings *settings, struct httpc **ret,
              struct err_detail *detail) must_check;
/* Ends requests in progress (HTTPC_UNKNOWN), then frees. */
void httpc_free(struct httpc *h);

/* Hands a request over; -ERR_BUSY when too many wait. */
int httpc_submit(struct httpc *h, struct httpc_request *r, struct httpc_wait *wait) must_check;
/* Until the request is finished / all of the group are. */
void httpc_await(struct httpc_request *r);
void httpc_await_all(struct httpc_wait *wait);
bool httpc_finished(struct httpc_request *r);
/* Submits and waits. */
int httpc_run(struct httpc *h, struct httpc_request *r) must_check;

/* Value of a header of the answer (name lower-case), empty when absent. */
struct str httpc_answer_header(const struct httpc_request *r, const char *name);
const char *httpc_library(void); /* version; loads the library */

#endif
