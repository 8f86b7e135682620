/* Input: the bytes that a client sends over one connection to a server of this process, on a local
 * socket; $SESSION stands for the id of an open upload of the repository a/b. A blob and a manifest
 * are there. The server must answer each certain request once, in order, with one whole response;
 * a request whose end can be read in two ways gets one refusal, and nothing behind it is answered.
 */
#include <errno.h>
#include <ftw.h>
#include <linux/sockios.h>
#include <stdio.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <sys/time.h>
#include <sys/un.h>

#include "base/clock.h"
#include "base/fd.h"
#include "base/metrics.h"
#include "fuzz.h"
#include "http_oracle.h"
#include "registry/app.h"
#include "registry/http.h"

#define INPUT_MAX   (16u << 10)
#define ANSWERS_MAX (8u << 20)
#define RUNS_MAX                                                                                   \
    5000 /* then a server on an empty root, so that what is pushed does not pile up                \
          */
#define WAIT_SECONDS 20
#define SPINS        50
#define SESSION      "$SESSION"

static struct {
    char root[64], address[96];
    struct store *store;
    struct app app;
    struct http *http;
    unsigned runs;
} server;

/* ---- The server. */
static void ignore_url(const char *url, void *arg)
{
    (void)url, (void)arg;
}

static int remove_one(const char *path, const struct stat *st, int type, struct FTW *at)
{
    (void)st, (void)type, (void)at;
    return remove(path);
}

static void stop(void)
{
    if (!server.http)
        return;
    http_stop(server.http);
    app_close(&server.app);
    store_freep(&server.store);
    (void)nftw(server.root, remove_one, 8, FTW_DEPTH | FTW_PHYS);
    server.http = NULL;
}

static void start(void)
{
    const char *folder = getenv("TMPDIR"), *listen[1];
    struct http_settings settings = {
        .listen = listen, .listen_count = 1, .workers = 2, .event_threads = 2};
    static const struct access_settings access = {.allow_anonymous_network = false};
    static bool registered;

    snprintf(server.root, sizeof(server.root), "%.40s/fuzz-XXXXXX", folder ? folder : "/tmp");
    assert(mkdtemp(server.root));
    snprintf(server.address, sizeof(server.address), "unix:%s/.socket", server.root);
    listen[0] = server.address;
    fuzz_need(store_dir_new(server.root, &server.store, NULL), "store_dir_new");
    fuzz_need(app_open(&server.app, server.store, REFERENCES_STRICT, &access, NULL), "app_open");
    fuzz_need(http_start(&server.app, &settings, ignore_url, NULL, &server.http, NULL),
              "http_start");
    if (!registered)
        atexit(stop);
    registered = true;
    server.runs = 0;
}

/* ---- One connection. */
static int connect_server(void)
{
    struct sockaddr_un un = {.sun_family = AF_UNIX};
    struct timeval wait = {.tv_sec = WAIT_SECONDS};
    int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);

    snprintf(un.sun_path, sizeof(un.sun_path), "%s/.socket", server.root);
    assert(fd >= 0 && connect(fd, (const struct sockaddr *)&un, sizeof(un)) == 0);
    assert(setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &wait, sizeof(wait)) == 0);
    return fd;
}

/* Waits until the server has read all that was sent (or dropped it): an end that it finds together
 * with the last bytes it notices only when the connection has been idle for long, for its event
 * loop is told of changes alone. */
static void wait_taken(int fd)
{
    for (int tries = 0; tries < WAIT_SECONDS * 1000; tries++) {
        int left = 0;

        if (ioctl(fd, SIOCOUTQ, &left) < 0 || left == 0)
            return;
        if (tries >= SPINS)
            clock_sleep_ms(1);
    }
}

/* Sends all, says that nothing follows, and gathers what comes until the server closes. */
static void exchange(struct str sent, struct buf *out)
{
    int fd auto_fd = connect_server();
    ssize_t n = 1;

    while (sent.len && n > 0) {
        n = send(fd, sent.at, sent.len, MSG_NOSIGNAL);
        sent = str_skip(sent, n > 0 ? (size_t)n : 0);
    }
    wait_taken(fd);
    (void)shutdown(fd, SHUT_WR);
    for (;;) {
        char *at = buf_reserve(out, 64u << 10);

        assert(at);
        n = recv(fd, at, 64u << 10, 0);
        if (n < 0 && errno == EINTR) /* libFuzzer's alarm */
            continue;
        if (n <= 0)
            break;
        buf_added(out, (size_t)n);
    }
    if (n < 0 && errno != ECONNRESET) {
        fprintf(stderr, "silence: %lld requests active, answered so far:\n" STR_FMT "\n",
                (long long)metric_value(METRIC_http_requests_active), STR_ARG(buf_str(out)));
        abort();
    }
}

/* ---- What was answered. */

static void skip_interim(struct str *rest)
{
    struct response r;

    while (response_read(*rest, true, &r) && r.status < 200)
        *rest = str_skip(*rest, r.bytes.len);
}

/* Takes the next answer, past interim ones. */
static bool next_answer(struct str *rest, bool headed, struct response *ret)
{
    skip_interim(rest);
    if (!response_read(*rest, headed, ret))
        return false;
    *rest = str_skip(*rest, ret->bytes.len);
    return true;
}

/* libmicrohttpd 0.9.75 writes the head of some refusals of its own twice (no Host, a malformed
 * Content-Length), then closes: the second is taken away. */
static struct str without_second_head(struct str answers)
{
    char *end = answers.len ? memmem(answers.at, answers.len, "\r\n\r\n", 4) : NULL;
    size_t len = end ? (size_t)(end - answers.at) + 4 : 0;

    if (len && str_starts(answers, STR("HTTP/1.1 4")) &&
        str_starts(str_skip(answers, len), str_head(answers, len)))
        return str_skip(answers, len);
    return answers;
}

/* What may follow the last certain request. */
static void check_tail(const struct request *last, struct str answers)
{
    struct response r;

    skip_interim(&answers);
    if (last->kind == REQUEST_OTHER || answers.len == 0)
        return;
    answers = without_second_head(answers);
    if (!next_answer(&answers, false, &r))
        assert(last->head && next_answer(&answers, true, &r));
    assert(r.status >= 400);
    assert(last->kind != REQUEST_SMUGGLE || r.status == 400 || r.status >= 500 || r.status == 413 ||
           r.status == 431);
    assert(answers.len == 0 || last->head);
}

static void check(struct str sent, struct str answers)
{
    struct request q;
    struct response r;

    for (request_read(sent, &q); q.kind == REQUEST_GOOD; request_read(sent, &q)) {
        if (!next_answer(&answers, q.head, &r)) {
            assert(q.mute);
            return;
        }
        sent = str_skip(sent, q.bytes.len);
        if (r.closes || q.closes) {
            assert(answers.len == 0 || !r.closes);
            return;
        }
        if (sent.len == 0) {
            assert(answers.len == 0);
            return;
        }
    }
    check_tail(&q, answers);
}

/* ---- What is there to be asked for. */
static void expand(struct str input, struct buf *out)
{
    char id[KEYS_SESSION_LEN + 1];

    upload_start(server.app.uploads, STR("a/b"), STR_NONE, DIGEST_SHA256, id);
    while (input.len) {
        bool session = str_starts(input, STR(SESSION));

        buf_add(out, session ? str_of(id) : str_head(input, 1));
        input = str_skip(input, session ? strlen(SESSION) : 1);
    }
}

static void fill(void)
{
    static const char blob[] = "0123456789";
    static const char manifest[] =
        "{\"schemaVersion\":2,\"mediaType\":\"application/vnd.oci.image.index.v1+json\","
        "\"manifests\":[]}";
    struct buf out auto_buf = BUF_INIT(ANSWERS_MAX), sent auto_buf = BUF_INIT(INPUT_MAX);
    char text[DIGEST_TEXT_MAX];
    struct digest d;

    digest_of(DIGEST_SHA256, str_of(blob), &d);
    digest_text(&d, text);
    buf_addf(&sent,
             "POST /v2/a/b/blobs/uploads/?digest=%s HTTP/1.1\r\nHost: x\r\nContent-Length: "
             "%zu\r\n\r\n%s",
             text, strlen(blob), blob);
    buf_addf(&sent,
             "PUT /v2/a/b/manifests/v1 HTTP/1.1\r\nHost: x\r\nContent-Type: "
             "application/vnd.oci.image.index.v1+json\r\nContent-Length: %zu\r\n\r\n%s",
             strlen(manifest), manifest);
    exchange(buf_str(&sent), &out);
    check(buf_str(&sent), buf_str(&out));
}

void fuzz_one(struct str input)
{
    struct buf sent auto_buf = BUF_INIT(INPUT_MAX), out auto_buf = BUF_INIT(ANSWERS_MAX);

    if (server.runs++ >= RUNS_MAX)
        stop();
    if (!server.http) {
        start();
        fill();
    }
    expand(input, &sent);
    if (buf_err(&sent))
        return;
    exchange(buf_str(&sent), &out);
    check(buf_str(&sent), buf_str(&out));
}
