/* Answers whose body is made piece by piece for as long as the client listens: event streams and
 * long polls. A stream holds a connection, and a worker only while it makes a piece; while it
 * waits, the connection is suspended.
 *
 * Life: stream_new, then whatever feeds it, then req_reply_stream, which takes it over; without a
 * reply stream_drop. From then on it lives until the client is gone, its source ends it, or the
 * server stops; then its source is freed. */
#ifndef STOWAGE_REGISTRY_HTTP_STREAM_H
#define STOWAGE_REGISTRY_HTTP_STREAM_H

#include "registry/http.h"

#define STREAM_PIECE_MAX (8u << 20) /* bytes of one piece; the next is made when it was sent */

struct stream;

enum stream_state {
    STREAM_MORE, /* call again when the piece was sent */
    STREAM_WAIT, /* when woken, or at *ret_wake_ms */
    STREAM_END   /* the piece is the last one */
};

struct stream_source {
    /* On a worker, one call at a time: appends a piece, maybe nothing. Negative: the answer breaks
     * off. */
    int (*next)(void *self, struct buf *out, int64_t *ret_wake_ms);
    void (*free)(void *self); /* any thread; no other call runs or follows; must not wait long */
};

/* self is freed with the stream, also when this fails. */
int stream_new(struct req *r, const struct stream_source *source, void *self,
               struct stream **ret) must_check;
void stream_drop(struct stream *s);
int req_reply_stream(struct req *r, unsigned status, const char *content_type,
                     struct stream *s) must_check;

/* Something may be there: next will be called. Any thread, never waits; not after source->free. */
void stream_wake(struct stream *s);

#endif
