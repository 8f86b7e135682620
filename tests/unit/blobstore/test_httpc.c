/* The HTTP client against a small server of this test, which answers by what the path says. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <arpa/inet.h>
#include <cmocka.h>
#include <netinet/in.h>
#include <poll.h>
#include <stdatomic.h>
#include <stdio.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/fd.h"
#include "blobstore/httpc.h"

#define CONNS_MAX 64
#define HEAD_MAX  16384

struct peer {
    int listening;
    unsigned port;
    struct thread thread, conns[CONNS_MAX];
    int fds[CONNS_MAX];
    atomic_uint count, requests;
    atomic_bool stop;
    struct httpc *h;
};
struct one {
    struct peer *p;
    int fd;
};
static struct one ones[CONNS_MAX];

/* ---- the server */

static bool say(int fd, const char *text)
{
    return fd_write_all(fd, str_of(text)) == 0;
}

/* Answers one request; false: the connection ends. */
static bool answer(int fd, const char *path, unsigned long body)
{
    char text[512];

    if (strcmp(path, "/drop") == 0)
        return false;
    if (strcmp(path, "/silent") == 0) {
        struct pollfd gone = {fd, POLLIN, 0};

        poll(&gone, 1, 5000);
        return false;
    }
    if (strcmp(path, "/half") == 0) {
        say(fd, "HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nhalf");
        return false;
    }
    if (strcmp(path, "/busy") == 0)
        return say(fd, "HTTP/1.1 503 Slow Down\r\nContent-Length: 9\r\nRetry-After: 1\r\n\r\ngo "
                       "slower");
    if (strcmp(path, "/head") == 0)
        return say(fd, "HTTP/1.1 200 OK\r\nContent-Length: 12345\r\nETag: \"e\"\r\n\r\n");
    if (strcmp(path, "/once") == 0) { /* says nothing of it, then closes */
        say(fd, "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok");
        return false;
    }
    snprintf(text, sizeof(text),
             "HTTP/1.1 200 OK\r\nX-Thing:  a b \r\nContent-Length: 20\r\n\r\n%020lu", body);
    return say(fd, text);
}

/* Reads one request: its path, and how many bytes followed. False at the end. */
static bool request(int fd, char path[64], unsigned long *ret_body)
{
    char head[HEAD_MAX + 1];
    size_t len = 0;
    char *end = NULL, *length;
    unsigned long body = 0, got;

    while (end == NULL) {
        ssize_t n = len < HEAD_MAX ? read(fd, head + len, HEAD_MAX - len) : 0;

        if (n <= 0)
            return false;
        len += (size_t)n;
        head[len] = '\0';
        end = strstr(head, "\r\n\r\n");
    }
    got = len - (size_t)(end + 4 - head);
    length = strstr(head, "Content-Length: ");
    if (length != NULL && length < end)
        body = strtoul(length + 16, NULL, 10);
    if (strstr(head, "Expect: 100-continue") != NULL)
        say(fd, "HTTP/1.1 100 Continue\r\n\r\n");
    while (got < body) {
        ssize_t n = read(fd, head, body - got < HEAD_MAX ? body - got : HEAD_MAX);

        if (n <= 0)
            return false;
        got += (unsigned long)n;
    }
    sscanf(head, "%*s %63s", path);
    *ret_body = body;
    return true;
}

static void serve_one(void *arg)
{
    struct one *o = arg;
    char path[64] = "";
    unsigned long body;

    while (request(o->fd, path, &body)) {
        atomic_fetch_add(&o->p->requests, 1);
        if (!answer(o->fd, path, body))
            break;
    }
    shutdown(o->fd, SHUT_RDWR);
}

static void serve(void *arg)
{
    struct peer *p = arg;

    for (;;) {
        int fd = accept(p->listening, NULL, NULL);
        unsigned i = atomic_load(&p->count);

        if (fd < 0 || atomic_load(&p->stop) || i == CONNS_MAX) {
            if (fd >= 0)
                close(fd);
            return;
        }
        ones[i] = (struct one){p, fd};
        p->fds[i] = fd;
        if (thread_start(&p->conns[i], "conn", serve_one, &ones[i]) < 0)
            abort();
        atomic_store(&p->count, i + 1);
    }
}

static int setup(void **state)
{
    struct peer *p = calloc(1, sizeof(*p));
    struct sockaddr_in at = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    socklen_t len = sizeof(at);
    const struct httpc_settings settings = {.connections_max = 32};

    assert_non_null(p);
    p->listening = socket(AF_INET, SOCK_STREAM, 0);
    assert_int_equal(bind(p->listening, (struct sockaddr *)&at, sizeof(at)), 0);
    assert_int_equal(listen(p->listening, CONNS_MAX), 0);
    assert_int_equal(getsockname(p->listening, (struct sockaddr *)&at, &len), 0);
    p->port = ntohs(at.sin_port);
    assert_int_equal(thread_start(&p->thread, "peer", serve, p), 0);
    assert_int_equal(httpc_new(&settings, &p->h, NULL), 0);
    *state = p;
    return 0;
}

static int teardown(void **state)
{
    struct peer *p = *state;

    httpc_free(p->h);
    atomic_store(&p->stop, true);
    shutdown(p->listening, SHUT_RDWR);
    thread_join(&p->thread);
    close(p->listening);
    for (unsigned i = 0; i < atomic_load(&p->count); i++) {
        shutdown(p->fds[i], SHUT_RDWR);
        thread_join(&p->conns[i]);
        close(p->fds[i]);
    }
    free(p);
    return 0;
}

/* ---- requests */

struct call {
    struct httpc_request r;
    char url[128];
    struct buf out;
};

static void call_init(struct peer *p, struct call *c, const char *method, const char *path)
{
    *c = (struct call){.out = BUF_INIT(64)};
    snprintf(c->url, sizeof(c->url), "http://127.0.0.1:%u%s", p->port, path);
    c->r.method = method;
    c->r.url = c->url;
    c->r.deadline_ms = clock_boot_ms() + 5000;
    c->r.answer = &c->out;
}

static void call_done(struct call *c)
{
    httpc_request_done(&c->r);
    buf_done(&c->out);
}

static void run(struct peer *p, struct call *c, enum httpc_result result, unsigned status)
{
    assert_int_equal(httpc_run(p->h, &c->r), 0);
    assert_int_equal(c->r.result, result);
    assert_int_equal(c->r.status, status);
}

static void test_get(void **state)
{
    struct peer *p = *state;
    struct call c;

    call_init(p, &c, "GET", "/x");
    run(p, &c, HTTPC_ANSWERED, 200);
    assert_string_equal(buf_c(&c.out), "00000000000000000000");
    assert_int_equal(c.r.length, 20);
    assert_true(str_eq(httpc_answer_header(&c.r, "x-thing"), STR("a b")));
    assert_true(str_eq(httpc_answer_header(&c.r, "x-thin"), STR_NONE));
    assert_true(c.r.sent_ms <= c.r.received_ms);
    call_done(&c);
    call_init(p, &c, "HEAD", "/head");
    run(p, &c, HTTPC_ANSWERED, 200);
    assert_int_equal(c.r.length, 12345);
    assert_int_equal(c.out.len, 0);
    assert_true(str_eq(httpc_answer_header(&c.r, "etag"), STR("\"e\"")));
    call_done(&c);
    call_init(p, &c, "GET", "/busy");
    run(p, &c, HTTPC_ANSWERED, 503);
    assert_string_equal(buf_c(&c.r.error), "go slower");
    assert_int_equal(c.out.len, 0);
    call_done(&c);
    assert_int_equal(atomic_load(&p->count), 1); /* one connection for all */
}

static int64_t fill(uint64_t offset, char *at, size_t max, void *arg)
{
    *(uint64_t *)arg += max;
    memset(at, 'x', max);
    return offset < 3000000 ? (int64_t)max : -1;
}

static int64_t refuse(uint64_t offset, char *at, size_t max, void *arg)
{
    (void)at;
    (void)max;
    (void)arg;
    return offset == 0 ? 1 : -1;
}

static int take_all(struct str bytes, void *arg)
{
    buf_add(arg, bytes);
    return 0;
}

static int take_none(struct str bytes, void *arg)
{
    (void)bytes;
    (void)arg;
    return -1;
}

static void test_bodies(void **state)
{
    const struct httpc_header header = {STR("Content-Type"), STR("text/plain")};
    struct peer *p = *state;
    struct buf sunk auto_buf = BUF_INIT(64);
    uint64_t given = 0;
    struct call c;

    call_init(p, &c, "PUT", "/x");
    c.r.body = STR("hello");
    c.r.headers = &header;
    c.r.header_count = 1;
    run(p, &c, HTTPC_ANSWERED, 200);
    assert_string_equal(buf_c(&c.out), "00000000000000000005");
    call_done(&c);
    call_init(p, &c, "POST", "/x");
    run(p, &c, HTTPC_ANSWERED, 200);
    assert_string_equal(buf_c(&c.out), "00000000000000000000");
    call_done(&c);
    call_init(p, &c, "PUT", "/x");
    c.r.source = fill;
    c.r.arg = &given;
    c.r.body_len = 3000000;
    c.r.expect_continue = true;
    run(p, &c, HTTPC_ANSWERED, 200);
    assert_string_equal(buf_c(&c.out), "00000000000003000000");
    assert_int_equal(given, 3000000);
    call_done(&c);
    call_init(p, &c, "PUT", "/x");
    c.r.source = refuse;
    c.r.body_len = 10;
    run(p, &c, HTTPC_STOPPED, 0);
    call_done(&c);
    call_init(p, &c, "DELETE", "/x");
    c.r.sink = take_all;
    c.r.arg = &sunk;
    run(p, &c, HTTPC_ANSWERED, 200);
    assert_int_equal(sunk.len, 20);
    call_done(&c);
    call_init(p, &c, "GET", "/x");
    c.r.sink = take_none;
    run(p, &c, HTTPC_STOPPED, 200);
    call_done(&c);
}

static void test_failures(void **state)
{
    struct peer *p = *state;
    int64_t before;
    struct call c;

    call_init(p, &c, "GET", "/drop");
    run(p, &c, HTTPC_UNKNOWN, 0);
    call_done(&c);
    call_init(p, &c, "GET", "/half");
    run(p, &c, HTTPC_UNKNOWN, 200);
    call_done(&c);
    call_init(p, &c, "GET", "/x");
    c.out.max = 19;
    run(p, &c, HTTPC_TOO_LARGE, 200);
    call_done(&c);
    call_init(p, &c, "GET", "/silent");
    before = clock_boot_ms();
    c.r.deadline_ms = before + 200;
    run(p, &c, HTTPC_UNKNOWN, 0);
    assert_in_range(clock_boot_ms() - before, 150, 4000);
    call_done(&c);
    call_init(p, &c, "GET", "/x");
    c.r.deadline_ms = clock_boot_ms() - 1;
    run(p, &c, HTTPC_NOT_SENT, 0);
    call_done(&c);
    call_init(p, &c, "GET", "/x");
    snprintf(c.url, sizeof(c.url), "http://127.0.0.1:1/");
    run(p, &c, HTTPC_NOT_SENT, 0);
    call_done(&c);
    call_init(p, &c, "GET", "/x");
    snprintf(c.url, sizeof(c.url), "file:///etc/hostname");
    run(p, &c, HTTPC_NOT_SENT, 0);
    call_done(&c);
}

/* A kept connection that the server closed meanwhile is no failure. */
static void test_dead_connection(void **state)
{
    struct peer *p = *state;

    for (int i = 0; i < 10; i++) {
        struct call c;

        call_init(p, &c, "PUT", "/once");
        c.r.body = STR("x");
        run(p, &c, HTTPC_ANSWERED, 200);
        call_done(&c);
        clock_sleep_ms(2);
    }
}

static void test_many(void **state)
{
    enum { MANY = 200 };
    struct peer *p = *state;
    struct call *calls = calloc(MANY, sizeof(*calls));
    struct httpc_wait wait;

    assert_non_null(calls);
    httpc_wait_init(&wait);
    for (int i = 0; i < MANY; i++) {
        call_init(p, &calls[i], "GET", "/x");
        assert_int_equal(httpc_submit(p->h, &calls[i].r, &wait), 0);
    }
    httpc_await(&calls[MANY / 2].r);
    assert_true(httpc_finished(&calls[MANY / 2].r));
    httpc_await_all(&wait);
    for (int i = 0; i < MANY; i++) {
        assert_int_equal(calls[i].r.result, HTTPC_ANSWERED);
        assert_int_equal(calls[i].out.len, 20);
        call_done(&calls[i]);
    }
    httpc_wait_done(&wait);
    free(calls);
    assert_int_equal(atomic_load(&p->requests), MANY);
    assert_true(atomic_load(&p->count) <= 32); /* connections_max */
}

static void test_freed_in_progress(void **state)
{
    struct peer *p = *state;
    const struct httpc_settings settings = {0};
    struct httpc_wait wait;
    struct httpc *h;
    struct call c;

    assert_int_equal(httpc_new(&settings, &h, NULL), 0);
    httpc_wait_init(&wait);
    call_init(p, &c, "GET", "/silent");
    assert_int_equal(httpc_submit(h, &c.r, &wait), 0);
    while (atomic_load(&p->requests) == 0)
        clock_sleep_ms(1);
    httpc_free(h);
    assert_true(httpc_finished(&c.r));
    assert_int_equal(c.r.result, HTTPC_UNKNOWN);
    call_done(&c);
    httpc_wait_done(&wait);
    assert_string_not_equal(httpc_library(), "");
}

int main(void)
{
    static const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_get, setup, teardown),
        cmocka_unit_test_setup_teardown(test_bodies, setup, teardown),
        cmocka_unit_test_setup_teardown(test_failures, setup, teardown),
        cmocka_unit_test_setup_teardown(test_dead_connection, setup, teardown),
        cmocka_unit_test_setup_teardown(test_many, setup, teardown),
        cmocka_unit_test_setup_teardown(test_freed_in_progress, setup, teardown),
    };

    return cmocka_run_group_tests_name("httpc", tests, NULL, NULL);
}
