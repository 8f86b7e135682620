/* Inside of the HTTP front, shared by http.c (connections and phases), http_body.c (bodies and
 * workers), http_shell.c (framing), http_reply.c (answers), http_source.c (answers that wait) and
 * http_stream.c (answers that go on). These are the only users of libmicrohttpd.
 *
 * Ownership of a struct req: made at the request line, owned by the connection until the completion
 * callback; a worker job on it keeps it alive
 * (`running`): whoever of the two ends last frees it. Fields of "stream" are guarded by mu;
 * everything else belongs to whoever handles the request just then: the event thread, or the one
 * job while the connection is suspended. */
#ifndef STOWAGE_REGISTRY_HTTP_INTERNAL_H
#define STOWAGE_REGISTRY_HTTP_INTERNAL_H

#include <microhttpd.h>
#include <stdatomic.h>

#include "base/thread.h"
#include "base/work.h"
#include "registry/http.h"

#define REQ_HEADER_TEXT_MAX (16u << 10) /* all values of an answer's headers together */

enum phase {
    PHASE_HEADERS,  /* headers complete, nothing decided */
    PHASE_IDENTIFY, /* suspended in the first call, the credentials are verified */
    PHASE_BEGIN,    /* suspended in the first call, begin() runs */
    PHASE_DISCARD,  /* body is dropped; then the answer that stands, or fast()/run() */
    PHASE_GATHER,   /* body goes to memory */
    PHASE_STREAM,   /* body goes through buffers to data() */
    PHASE_ANSWER    /* the answer is ready when the connection resumes */
};

enum job { JOB_BEGIN, JOB_DATA, JOB_RUN, JOB_GONE };

struct reply_header {
    const char *name;
    size_t offset; /* of the value in header_text */
};

struct req {
    struct work_item item; /* first: jobs get it back */
    struct gate_item identify;
    int64_t delay_ms; /* before a job on the gate */
    int admitted;     /* what identifying gave: 0 or the error to answer */
    struct http *http;
    struct MHD_Connection *conn;
    enum phase phase;
    enum method method;
    enum job job;
    int64_t content_length;
    int64_t start_ns;
    uint64_t discarded;
    char *uri;
    struct str path, query;
    bool expects_continue, has_body, close_after, counted, watched;

    struct MHD_Response *response;
    struct answer *answer;
    unsigned status;
    size_t header_count;
    struct buf header_text;

    struct req *watch_next,
        **watch_at; /* while its body is awaited; guarded by the watch's mutex */

    struct buf body; /* PHASE_GATHER */
    void *state;

    struct mutex mu;
    struct buf fill, drain; /* stream: filled by the event thread, drained by the job */
    bool running, suspended, gone, begun, ended;
    int stream_err;
    size_t flush_at;
    int64_t flushed_ns;

    /* Not cleared when the request is made. */
    struct err_detail detail;
    struct identity identity;
    char id[17];
    struct reply_header headers[HTTP_REPLY_HEADERS_MAX];
    struct target target;
};

#define HTTP_LISTEN_MAX 16

/* One connection, as the watch knows it; owned by the connection. */
struct watched_conn {
    struct watched_conn *next, **at; /* guarded by the watch's mutex */
    int fd;
    bool asked;              /* a request came; event thread */
    atomic_llong waiting_ms; /* clock_boot_ms since when it owes a request; 0: it is in one */
};

/* All connections, and requests whose body is awaited (http_watch.c). */
struct http_watch {
    struct mutex mu;
    struct cond stopped;
    struct thread thread;
    struct req *first; /* guarded by mu, like conns and stop */
    struct watched_conn *conns;
    bool started, stop;
};

/* All answers that are streams (http_stream.c). */
struct stream;
struct http_streams {
    struct mutex mu; /* guards everything below; taken before a stream's own */
    struct cond changed;
    struct thread thread;
    struct stream *first;
    bool started, stop;
};

struct http {
    struct app *app;
    struct http_watch watch;
    struct http_streams streams;
    struct work *workers;
    struct MHD_Daemon *daemons[HTTP_LISTEN_MAX];
    char *unlink_paths[HTTP_LISTEN_MAX];
    size_t daemon_count;
    unsigned connections_max;
    atomic_int active;     /* requests between headers and completion */
    atomic_int jobs;       /* worker jobs on requests */
    atomic_llong gathered; /* bytes of bodies in memory */
    atomic_llong sourced;  /* bytes of windows of answers out of a remote store */
    atomic_llong grown;    /* bytes that stream buffers may hold above the least size */
};

/* http_shell.c: the strict framing shell. 0 or -ERR_INVAL with a sentence; fills content_length,
 * has_body, expects_continue. */
int shell_check(struct req *r, const char *version);
/* A connection without any request ends. Was something sent all the same and left unanswered, the
 * peer is told 400: the library closes silently where the first line has no blank, as with one
 * hello of TLS in eight, and clients that try TLS first go on only after an answer. */
void shell_last_word(int fd);

/* http_reply.c */
enum MHD_Result reply_queue(struct req *r); /* queues what stands; event thread */
bool reply_ready(const struct req *r);
void reply_error(struct req *r, int err); /* makes the error answer */
void reply_drop(struct req *r);           /* frees an answer that was never queued */

int reply_callback(struct req *r, unsigned status, uint64_t size, size_t block,
                   MHD_ContentReaderCallback read, MHD_ContentReaderFreeCallback drop, void *arg);
/* What a reader returns whose answer cannot go on: the connection ends at once. The library would
 * let one that was resumed just before stay open until its idle time is up, with the client
 * waiting. */
ssize_t reply_break_off(struct MHD_Connection *conn);
/* Takes the response over. */
int reply_set(struct req *r, unsigned status, struct MHD_Response *response);

/* http_stream.c */
void streams_init(struct http_streams *all);
void streams_end(struct http_streams *all);  /* none begins, those there are come to their end */
void streams_done(struct http_streams *all); /* after the daemons */

/* http_body.c */
enum MHD_Result body_discard(struct req *r, size_t *size);
enum MHD_Result body_gather(struct req *r, const char *data, size_t *size);
enum MHD_Result body_stream(struct req *r, const char *data, size_t *size);
void body_start(struct req *r);             /* begin() of a stream, in the first call */
void body_run(struct req *r, enum job job); /* suspends and hands to a worker */
/* Suspends and verifies the credentials on a thread of the gate, after delay_ms. */
void body_identify(struct req *r, int64_t delay_ms);
bool body_abandon(struct req *r); /* at completion: true when a job will free the request */
void req_free(struct req *r);

/* http_watch.c: ends what the library (0.9.75) would hold: clients that vanish in the middle of a
 * header or body (it can miss the end of a connection that arrives together with data), and those
 * that send a request byte by byte (its idle limit begins anew with each). */
int watch_start(struct http_watch *w) must_check;
void watch_stop(struct http_watch *w);
void watch_add(struct req *r); /* event thread: a body is awaited */
void watch_remove(
    struct req *r); /* event thread: it is complete, or the request ends; any number of times */
void watch_conn_add(struct http_watch *w, int fd, struct watched_conn **ret);
void watch_conn_remove(struct http_watch *w, struct watched_conn *c);
void watch_conn_waits(struct MHD_Connection *conn, bool waits); /* for the next request */
/* A request came, even if there is no memory for it: no last word. */
void watch_conn_asked(struct MHD_Connection *conn);

#endif
