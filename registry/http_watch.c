/* A thread that looks, twice a second, whether the peer of a request in the middle of its body has
 * closed, and every few seconds, whether that of a connection that owes a request has, or is
 * overdue with it. What it finds it does not end itself: it shuts down the reading side, which
 * wakes the connection's event thread, and that one ends the request as always. Requests and
 * connections are taken off their lists before the connection closes, so the descriptor is never
 * one of somebody else. */
#include <errno.h>
#include <stdlib.h>
#include <sys/socket.h>

#include "base/clock.h"
#include "registry/http_internal.h"

#define WATCH_PERIOD_MS       500
#define WATCH_CONNS_PERIOD_MS 5000
#define WATCH_CONNS_YOUNG_MS  1000 /* waiting for less, a connection is left alone */

static bool peer_closed(int fd)
{
    char byte;
    ssize_t n = recv(fd, &byte, 1, MSG_PEEK | MSG_DONTWAIT);

    return n == 0 || (n < 0 && errno != EAGAIN && errno != EINTR);
}

static void look(struct req *r)
{
    const union MHD_ConnectionInfo *info =
        MHD_get_connection_info(r->conn, MHD_CONNECTION_INFO_CONNECTION_FD);

    if (info && peer_closed(info->connect_fd))
        shutdown(info->connect_fd, SHUT_RD);
}

/* With mu held. */
static void look_at_waiting(struct http_watch *w)
{
    long long now = clock_boot_ms();
    long long latest = now - HTTP_HEADERS_SECONDS * 1000LL;

    for (struct watched_conn *c = w->conns; c; c = c->next) {
        long long since = atomic_load_explicit(&c->waiting_ms, memory_order_relaxed);

        if (since && since < now - WATCH_CONNS_YOUNG_MS && (since < latest || peer_closed(c->fd)))
            shutdown(c->fd, SHUT_RD);
    }
}

static void watch_main(void *arg)
{
    struct http_watch *w = arg;
    int64_t next_conns = clock_boot_ms() + WATCH_CONNS_PERIOD_MS;

    mutex_lock(&w->mu);
    while (!w->stop) {
        for (struct req *r = w->first; r; r = r->watch_next)
            look(r);
        if (clock_boot_ms() >= next_conns) {
            look_at_waiting(w);
            next_conns = clock_boot_ms() + WATCH_CONNS_PERIOD_MS;
        }
        cond_wait_until(&w->stopped, &w->mu, clock_boot_ms() + WATCH_PERIOD_MS);
    }
    mutex_unlock(&w->mu);
}

int watch_start(struct http_watch *w)
{
    int e;

    mutex_init(&w->mu);
    cond_init(&w->stopped);
    e = thread_start(&w->thread, "watch", watch_main, w);
    w->started = e == 0;
    return e;
}

void watch_stop(struct http_watch *w)
{
    if (w->started) {
        mutex_lock(&w->mu);
        w->stop = true;
        cond_broadcast(&w->stopped);
        mutex_unlock(&w->mu);
        thread_join(&w->thread);
    }
    cond_done(&w->stopped);
    mutex_done(&w->mu);
}

void watch_add(struct req *r)
{
    struct http_watch *w = &r->http->watch;

    r->watched = true;
    mutex_lock(&w->mu);
    r->watch_next = w->first;
    r->watch_at = &w->first;
    if (w->first)
        w->first->watch_at = &r->watch_next;
    w->first = r;
    mutex_unlock(&w->mu);
}

void watch_remove(struct req *r)
{
    struct http_watch *w = &r->http->watch;

    if (!r->watched)
        return;
    r->watched = false;
    mutex_lock(&w->mu);
    *r->watch_at = r->watch_next;
    if (r->watch_next)
        r->watch_next->watch_at = r->watch_at;
    mutex_unlock(&w->mu);
}

void watch_conn_add(struct http_watch *w, int fd, struct watched_conn **ret)
{
    struct watched_conn *c = malloc(sizeof(*c));

    *ret = c;
    if (!c)
        return; /* the library's idle limit is left */
    c->fd = fd;
    c->asked = false;
    atomic_init(&c->waiting_ms, clock_boot_ms());
    mutex_lock(&w->mu);
    c->next = w->conns;
    c->at = &w->conns;
    if (w->conns)
        w->conns->at = &c->next;
    w->conns = c;
    mutex_unlock(&w->mu);
}

void watch_conn_remove(struct http_watch *w, struct watched_conn *c)
{
    mutex_lock(&w->mu);
    *c->at = c->next;
    if (c->next)
        c->next->at = c->at;
    mutex_unlock(&w->mu);
    free(c);
}

static struct watched_conn *watched(struct MHD_Connection *conn)
{
    const union MHD_ConnectionInfo *info =
        MHD_get_connection_info(conn, MHD_CONNECTION_INFO_SOCKET_CONTEXT);

    return info ? info->socket_context : NULL;
}

void watch_conn_asked(struct MHD_Connection *conn)
{
    struct watched_conn *c = watched(conn);

    if (c)
        c->asked = true;
}

void watch_conn_waits(struct MHD_Connection *conn, bool waits)
{
    struct watched_conn *c = watched(conn);

    if (!c)
        return;
    if (!waits)
        c->asked = true;
    atomic_store_explicit(&c->waiting_ms, waits ? clock_boot_ms() : 0, memory_order_relaxed);
}
