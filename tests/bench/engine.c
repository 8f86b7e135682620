/*
 * The engine: one epoll set, blocking connects on loopback, then non-blocking I/O. A connection
 * has at most one request in flight and one operation in progress. Requests are sent at once;
 * EPOLLOUT is watched only while the kernel's buffer is full.
 *
 * An operation that fails closes its connection; after ERRORS_MAX failures the run ends.
 */
#include "load.h"

#include <errno.h>
#include <fcntl.h>
#include <netinet/tcp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/uio.h>
#include <unistd.h>

#define RECV_BYTES (256U << 10)
#define EVENTS_MAX 256
#define TICK_NS    100000000ULL

struct conn {
    int fd;
    bool busy; /* an operation is in progress */
    bool sending;
    bool want_out; /* EPOLLOUT is watched */
    uint64_t start_ns;
    size_t head_off;
    unsigned seg;
    uint64_t seg_times;
    size_t seg_off;
    struct request rq;
    struct parser parser;
    struct op op;
};

struct engine {
    const struct target *target;
    int epoll;
    unsigned clients;
    struct conn *conns;
    const struct run *run;
    struct result *result;
    uint64_t issued;
    uint64_t deadline_ns;
    unsigned busy;
    char *buffer;
};

struct engine *engine_new(const struct target *target, unsigned clients)
{
    struct engine *e = calloc(1, sizeof(*e));
    if (!e)
        return NULL;
    e->target = target;
    e->clients = clients;
    e->conns = calloc(clients, sizeof(*e->conns));
    e->buffer = malloc(RECV_BYTES);
    e->epoll = epoll_create1(EPOLL_CLOEXEC);
    for (unsigned i = 0; e->conns && i < clients; i++)
        e->conns[i].fd = -1;
    if (!e->conns || !e->buffer || e->epoll < 0) {
        perror("engine");
        engine_free(e);
        return NULL;
    }
    return e;
}

void engine_free(struct engine *e)
{
    if (!e)
        return;
    for (unsigned i = 0; e->conns && i < e->clients; i++) {
        if (e->conns[i].fd >= 0)
            close(e->conns[i].fd);
        parser_done(&e->conns[i].parser);
    }
    if (e->epoll >= 0)
        close(e->epoll);
    free(e->conns);
    free(e->buffer);
    free(e);
}

static void conn_close(struct conn *c)
{
    if (c->fd >= 0)
        close(c->fd);
    c->fd = -1;
    c->want_out = false;
}

static int conn_open(struct engine *e, struct conn *c)
{
    int one = 1;
    int fd = socket(e->target->addr.ss_family, SOCK_STREAM | SOCK_CLOEXEC, 0);
    if (fd < 0)
        return -errno;
    setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof(one));
    struct epoll_event ev = {.events = EPOLLIN, .data.ptr = c};
    if (connect(fd, (const struct sockaddr *)&e->target->addr, e->target->addr_bytes) < 0 ||
        fcntl(fd, F_SETFL, O_NONBLOCK) < 0 || epoll_ctl(e->epoll, EPOLL_CTL_ADD, fd, &ev) < 0) {
        int err = errno;
        close(fd);
        return -err;
    }
    c->fd = fd;
    c->want_out = false;
    e->result->connects++;
    return 0;
}

static void op_fail(struct engine *e, struct conn *c, const char *why)
{
    struct result *r = e->result;

    if (r->errors++ == 0)
        snprintf(r->first_error, sizeof(r->first_error), "operation %llu, step %u: %.200s",
                 (unsigned long long)c->op.index, c->op.step, why);
    conn_close(c);
    c->busy = false;
    e->busy--;
}

static void op_done(struct engine *e, struct conn *c)
{
    struct result *r = e->result;

    r->ops++;
    r->bytes += c->op.bytes;
    r->checked += c->op.checked;
    hist_add(&r->latency, clock_ns() - c->start_ns);
    if (c->op.gap_ns > 0)
        hist_add(&r->gap, c->op.gap_ns);
    c->busy = false;
    e->busy--;
}

static void watch_out(struct engine *e, struct conn *c, bool on)
{
    if (c->want_out == on)
        return;
    struct epoll_event ev = {.events = EPOLLIN | (on ? EPOLLOUT : 0U), .data.ptr = c};
    if (epoll_ctl(e->epoll, EPOLL_CTL_MOD, c->fd, &ev) == 0)
        c->want_out = on;
}

/* Accounts for n sent bytes; false when all of the request is sent. */
static bool advance(struct conn *c, size_t n)
{
    size_t head = c->rq.head_len - c->head_off;
    if (n < head) {
        c->head_off += n;
        return true;
    }
    c->head_off = c->rq.head_len;
    n -= head;
    while (c->seg < c->rq.segments) {
        const struct segment *s = &c->rq.body[c->seg];
        size_t rest = s->len - c->seg_off;
        if (c->seg_times >= s->times || s->len == 0) {
            c->seg++;
            c->seg_times = 0;
            c->seg_off = 0;
        } else if (n < rest) {
            c->seg_off += n;
            return true;
        } else {
            n -= rest;
            c->seg_times++;
            c->seg_off = 0;
        }
    }
    return false;
}

static int fill_vector(const struct conn *c, struct iovec *v)
{
    int n = 0;

    if (c->head_off < c->rq.head_len)
        v[n++] = (struct iovec){(void *)(uintptr_t)(c->rq.head + c->head_off),
                                c->rq.head_len - c->head_off};
    for (unsigned i = c->seg; i < c->rq.segments; i++) {
        const struct segment *s = &c->rq.body[i];
        size_t off = i == c->seg ? c->seg_off : 0;
        if ((i == c->seg ? c->seg_times : 0) >= s->times || s->len == 0)
            continue;
        v[n++] = (struct iovec){(void *)((uintptr_t)s->at + off), s->len - off};
        if (s->times > 1)
            break; /* repeated: the next round continues */
    }
    return n;
}

/* Sends what the kernel takes. */
static int conn_send(struct engine *e, struct conn *c)
{
    struct iovec v[SEGMENTS_MAX + 1];

    while (c->sending) {
        int count = fill_vector(c, v);
        struct msghdr m = {.msg_iov = v, .msg_iovlen = (size_t)count};
        ssize_t n = count > 0 ? sendmsg(c->fd, &m, MSG_NOSIGNAL) : 0;
        if (n < 0 && errno == EINTR)
            continue;
        if (n < 0 && errno == EAGAIN) {
            watch_out(e, c, true);
            return 0;
        }
        if (n < 0)
            return -errno;
        c->sending = advance(c, (size_t)n);
    }
    c->op.sent_ns = clock_ns();
    watch_out(e, c, false);
    return 0;
}

/* Asks the flow for what comes next and starts it. */
static void conn_step(struct engine *e, struct conn *c, const struct response *last)
{
    c->rq.head_len = 0;
    c->rq.segments = 0;
    c->rq.bodiless = false;
    c->rq.hash = false;
    c->rq.count = false;
    enum flow_next next = e->run->flow(e->run->arg, &c->op, last, &c->rq);
    if (next == FLOW_DONE) {
        op_done(e, c);
        return;
    }
    if (next == FLOW_FAIL) {
        op_fail(e, c, c->op.error);
        return;
    }
    c->op.step++;
    c->head_off = 0;
    c->seg = 0;
    c->seg_times = 0;
    c->seg_off = 0;
    c->sending = true;
    parser_reset(&c->parser, c->rq.bodiless, c->rq.hash, c->rq.count);
    e->result->requests++;
    int r = c->fd < 0 ? conn_open(e, c) : 0;
    if (r == 0)
        r = conn_send(e, c);
    if (r < 0)
        op_fail(e, c, strerror(-r));
}

static void begin_op(struct engine *e, struct conn *c)
{
    const struct run *run = e->run;

    while (!c->busy && e->issued < run->ops && e->result->errors < ERRORS_MAX) {
        uint64_t now = clock_ns();
        if (run->seconds > 0 && now >= e->deadline_ns)
            return;
        c->op.index = e->issued++;
        c->op.step = 0;
        c->op.sample = run->sample_every > 0 && c->op.index % run->sample_every == 0;
        c->op.bytes = c->op.sent_ns = c->op.mark_ns = c->op.gap_ns = c->op.checked = 0;
        c->op.location[0] = c->op.digest[0] = c->op.error[0] = '\0';
        c->start_ns = now;
        c->busy = true;
        e->busy++;
        conn_step(e, c, NULL);
    }
}

static void response_complete(struct engine *e, struct conn *c)
{
    if (c->sending) {
        char why[64];
        snprintf(why, sizeof(why), "status %d before the request was sent", c->parser.rs.status);
        op_fail(e, c, why);
    } else {
        if (c->parser.rs.close)
            conn_close(c);
        if (c->rq.count)
            e->result->quotes = c->parser.rs.quotes;
        conn_step(e, c, &c->parser.rs);
    }
    begin_op(e, c);
}

static void conn_readable(struct engine *e, struct conn *c)
{
    ssize_t n = recv(c->fd, e->buffer, RECV_BYTES, 0);

    if (n < 0 && (errno == EAGAIN || errno == EINTR))
        return;
    if (!c->busy) { /* idle connection closed by the server, or stray bytes */
        conn_close(c);
        return;
    }
    if (n <= 0) {
        op_fail(e, c, n < 0 ? strerror(errno) : "connection closed by the server");
        begin_op(e, c);
        return;
    }
    ssize_t used = parser_feed(&c->parser, e->buffer, (size_t)n);
    if (used < 0 || (c->parser.state == PARSE_DONE && used < n)) {
        op_fail(e, c, used < 0 ? "malformed response" : "bytes after the response");
        begin_op(e, c);
    } else if (c->parser.state == PARSE_DONE) {
        response_complete(e, c);
    }
}

static void conn_event(struct engine *e, struct conn *c, uint32_t events)
{
    if (c->fd < 0)
        return; /* closed earlier in this batch */
    if (c->busy && c->sending && (events & EPOLLOUT)) {
        int r = conn_send(e, c);
        if (r < 0 && r != -EPIPE && r != -ECONNRESET) {
            op_fail(e, c, strerror(-r));
            begin_op(e, c);
            return;
        }
        if (r < 0) /* an early answer may still lie in the buffer */
            events |= EPOLLIN;
    }
    if (events & (EPOLLIN | EPOLLHUP | EPOLLERR))
        conn_readable(e, c);
}

static void engine_loop(struct engine *e)
{
    struct epoll_event events[EVENTS_MAX];
    uint64_t next_tick = 0;
    uint64_t stall_ns = e->deadline_ns + STALL_SECONDS * 1000000000ULL;

    while (e->busy > 0) {
        int n = epoll_wait(e->epoll, events, EVENTS_MAX, 100);
        for (int i = 0; i < n; i++)
            conn_event(e, events[i].data.ptr, events[i].events);
        uint64_t now = clock_ns();
        if (e->run->tick && now >= next_tick) {
            e->run->tick(e->run->tick_arg);
            next_tick = now + TICK_NS;
        }
        if (now > stall_ns) {
            e->issued = e->run->ops;
            for (unsigned i = 0; i < e->clients; i++)
                if (e->conns[i].busy)
                    op_fail(e, &e->conns[i], "no answer in time");
        }
    }
}

void engine_run(struct engine *e, const struct run *run, struct result *ret)
{
    memset(ret, 0, sizeof(*ret));
    e->run = run;
    e->result = ret;
    e->issued = 0;
    e->busy = 0;
    uint64_t start = clock_ns();
    double limit = run->seconds > 0 ? run->seconds : SECONDS_MAX;
    e->deadline_ns = start + (uint64_t)(limit * 1e9);
    for (unsigned i = 0; i < e->clients; i++)
        begin_op(e, &e->conns[i]);
    engine_loop(e);
    ret->ns = clock_ns() - start;
    e->run = NULL;
    e->result = NULL;
}
