/* Connections and the phases of a request. One daemon for each listening address, each with a pool
 * of epoll threads. */
#include "registry/http.h"

#include <arpa/inet.h>
#include <assert.h>
#include <errno.h>
#include <netdb.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/un.h>

#include "base/clock.h"
#include "base/enc.h"
#include "base/fd.h"
#include "base/log.h"
#include "base/metrics.h"
#include "base/rand.h"
#include "registry/admit.h"
#include "registry/app.h"
#include "registry/cors.h"
#include "registry/http_internal.h"
#include "registry/listen.h"

/* ---- What handlers read. */
struct app *req_app(struct req *r)
{
    return r->http->app;
}

const struct target *req_target(struct req *r)
{
    return &r->target;
}

const struct identity *req_identity(struct req *r)
{
    return &r->identity;
}

void req_set_delay(struct req *r, int64_t delay_ms)
{
    r->delay_ms = delay_ms;
}

void req_set_login(struct req *r, struct login *login)
{
    assert(!r->identity.login);
    if (login)
        r->identity = (struct identity){login_name(login), login};
}

struct str req_peer(struct req *r, char out[REQ_ADDRESS_MAX])
{
    const union MHD_ConnectionInfo *info =
        MHD_get_connection_info(r->conn, MHD_CONNECTION_INFO_CLIENT_ADDRESS);
    struct sockaddr_in v4;
    struct sockaddr_in6 v6;

    snprintf(out, REQ_ADDRESS_MAX, "unix");
    if (info && info->client_addr && info->client_addr->sa_family == AF_INET) {
        memcpy(&v4, info->client_addr, sizeof(v4));
        inet_ntop(AF_INET, &v4.sin_addr, out, REQ_ADDRESS_MAX);
    } else if (info && info->client_addr && info->client_addr->sa_family == AF_INET6) {
        memcpy(&v6, info->client_addr, sizeof(v6));
        inet_ntop(AF_INET6, &v6.sin6_addr, out, REQ_ADDRESS_MAX);
    }
    return str_of(out);
}

const char *req_id(struct req *r)
{
    uint64_t id;

    if (r->id[0] == '\0') { /* most requests need none */
        rand_bytes(&id, sizeof(id));
        hex_encode((const uint8_t *)&id, sizeof(id), r->id);
    }
    return r->id;
}

struct lookup {
    const char *name;
    unsigned skip;
    struct str found;
};

static enum MHD_Result look_header(void *arg, enum MHD_ValueKind kind, const char *name,
                                   const char *value)
{
    struct lookup *l = arg;

    (void)kind;
    if (!str_eq_nocase(str_of(name), str_of(l->name)) || l->skip-- > 0)
        return MHD_YES;
    l->found = str_make(value ? value : "", value ? strlen(value) : 0);
    return MHD_NO;
}

struct str req_header_at(struct req *r, const char *name, unsigned index)
{
    struct lookup l = {.name = name, .skip = index};

    MHD_get_connection_values(r->conn, MHD_HEADER_KIND, look_header, &l);
    return l.found;
}

struct str req_header(struct req *r, const char *name)
{
    const char *value = MHD_lookup_connection_value(r->conn, MHD_HEADER_KIND, name);

    return str_of(value);
}

int req_query(struct req *r, const char *name, unsigned index, bool restore_plus, struct buf *out)
{
    struct str rest = r->query;

    while (rest.len) {
        ptrdiff_t amp = str_find(rest, '&');
        struct str pair = amp < 0 ? rest : str_head(rest, (size_t)amp);
        ptrdiff_t eq = str_find(pair, '=');
        struct str key = eq < 0 ? pair : str_head(pair, (size_t)eq);
        size_t start = out->len;
        int e;

        rest = amp < 0 ? STR_NONE : str_skip(rest, (size_t)amp + 1);
        if (!str_eq(key, str_of(name)) || index-- > 0)
            continue;
        e = eq < 0 ? 0 : url_decode(out, str_skip(pair, (size_t)eq + 1), true);
        if (e < 0)
            return e;
        for (size_t i = start; restore_plus && i < out->len; i++)
            if (out->at[i] == ' ')
                out->at[i] = '+';
        return buf_err(out);
    }
    return -ERR_NOTFOUND;
}

int64_t req_content_length(struct req *r)
{
    return r->content_length;
}

bool req_is_head(struct req *r)
{
    return r->method == METHOD_HEAD;
}

struct str req_body(struct req *r)
{
    return buf_str(&r->body);
}

struct err_detail *req_detail(struct req *r)
{
    return &r->detail;
}

void req_set_state(struct req *r, void *state)
{
    r->state = state;
}

void *req_state(struct req *r)
{
    return r->state;
}

/* ---- Phases. */
static enum method method_of(const char *name)
{
    static const char *const names[] = {"GET", "HEAD", "POST", "PUT", "PATCH", "DELETE"};

    for (size_t i = 0; i < ARRAY_LEN(names); i++)
        if (strcmp(name, names[i]) == 0)
            return (enum method)i;
    return METHOD_OTHER;
}

/* Called at the request line: makes the request and keeps the target as it was sent. */
static void *on_uri(void *arg, const char *uri, struct MHD_Connection *conn)
{
    struct http *h = arg;
    struct req *r = malloc(sizeof(*r));

    if (!r) {
        watch_conn_asked(conn);
        return NULL;
    }
    memset(r, 0, offsetof(struct req, detail));
    r->detail.text[0] = r->id[0] = '\0';
    r->identity = IDENTITY_NOBODY;
    target_init(&r->target);
    r->target.v2 = true;
    r->http = h;
    r->conn = conn;
    r->start_ns = clock_boot_ns();
    r->uri = strdup(uri);
    mutex_init(&r->mu);
    metric_add(METRIC_http_requests_active, 1);
    return r;
}

/* Splits the raw target into path and query; an absolute form loses scheme and authority. */
static void split_uri(struct req *r)
{
    struct str uri = str_of(r->uri);
    ptrdiff_t at;

    if (str_starts(uri, STR("http://")) || str_starts(uri, STR("https://"))) {
        uri = str_skip(uri, (size_t)str_find(uri, ':') + 3);
        at = str_find(uri, '/');
        uri = at < 0 ? STR("/") : str_skip(uri, (size_t)at);
    }
    at = str_find(uri, '?');
    r->path = at < 0 ? uri : str_head(uri, (size_t)at);
    r->query = at < 0 ? STR_NONE : str_skip(uri, (size_t)at + 1);
}

/* An error that is known at the headers. With a body on the way the answer is given after dropping
 * it, so that the client reads it rather than a reset (R152); a client that waits for 100 Continue,
 * or announces more than is worth dropping, gets it at once and the connection closes. */
static enum MHD_Result refuse(struct req *r, int err)
{
    if (!reply_ready(r))
        reply_error(r, err);
    r->phase = PHASE_DISCARD;
    if (r->close_after ||
        (r->has_body && (r->expects_continue || r->content_length > HTTP_DISCARD_MAX))) {
        r->close_after = true;
        return reply_queue(r);
    }
    return MHD_YES;
}

/* Who calls is known, or that he cannot be (err). */
static enum MHD_Result on_identified(struct req *r, int err)
{
    const struct route *route = r->target.route;

    if (err == 0)
        err = admit_check(r);
    if (err < 0)
        return refuse(r, err);
    if (route->body == BODY_MEM && r->content_length > (int64_t)route->body_max)
        return refuse(r, err_set(&r->detail, -ERR_TOOBIG, "the body is larger than %zu bytes",
                                 route->body_max));
    if (route->body == BODY_MEM && r->has_body) {
        r->body = BUF_INIT(route->body_max);
        r->phase = PHASE_GATHER;
        return MHD_YES;
    }
    if (route->body == BODY_STREAM && r->has_body) {
        body_start(r);
        return MHD_YES;
    }
    r->phase = PHASE_DISCARD;
    return MHD_YES;
}

static enum MHD_Result on_headers(struct req *r, const char *method, const char *version)
{
    int64_t delay_ms = 0;
    int e;

    watch_conn_waits(r->conn, false);
    atomic_fetch_add(&r->http->active, 1);
    r->counted = true;
    r->method = method_of(method);
    if (!r->uri)
        return MHD_NO;
    e = shell_check(r, version);
    if (e < 0) {
        r->close_after = true;
        return refuse(r, e);
    }
    if (r->has_body)
        watch_add(r);
    split_uri(r);
    if (cors_preflight(r, method))
        return refuse(r, 0);
    e = route_resolve(r->path, r->method, &r->target, &r->detail);
    if (e == 0)
        e = admit_identify(r, false, &delay_ms);
    if (e == -ERR_AGAIN) {
        body_identify(r, delay_ms);
        return MHD_YES;
    }
    return on_identified(r, e);
}
/* The body is complete (or there was none). */
static enum MHD_Result on_end(struct req *r)
{
    const struct route *route = r->target.route;
    bool running;

    watch_remove(r);
    if (reply_ready(r))
        return reply_queue(r);
    if (r->phase == PHASE_STREAM) {
        mutex_lock(&r->mu);
        running = r->running;
        if (running) {
            r->suspended = true;
            MHD_suspend_connection(r->conn);
        }
        mutex_unlock(&r->mu);
        if (!running)
            body_run(r, JOB_RUN);
        return MHD_YES;
    }
    if ((r->phase == PHASE_DISCARD || r->phase == PHASE_GATHER) && route->fast) {
        int e = route->fast(r);

        if (e < 0 && e != -ERR_AGAIN && !reply_ready(r))
            reply_error(r, e);
        if (reply_ready(r))
            return reply_queue(r);
        if (!route->run) {
            reply_error(r, -ERR_NOMEM);
            return reply_queue(r);
        }
    }
    body_run(r, JOB_RUN);
    return MHD_YES;
}

static enum MHD_Result on_request(void *arg, struct MHD_Connection *conn, const char *url,
                                  const char *method, const char *version, const char *data,
                                  size_t *size, void **state)
{
    struct req *r = *state;

    (void)arg, (void)conn, (void)url;
    if (!r)
        return MHD_NO;
    switch (r->phase) {
    case PHASE_HEADERS:
        return on_headers(r, method, version);
    case PHASE_IDENTIFY:
        return on_identified(r, r->admitted);
    case PHASE_BEGIN:
        if (reply_ready(r))
            return refuse(r, 0);
        r->phase = PHASE_STREAM;
        return MHD_YES;
    case PHASE_ANSWER:
        return reply_queue(r);
    default:
        break;
    }
    if (*size == 0)
        return on_end(r);
    if (r->phase == PHASE_GATHER)
        return body_gather(r, data, size);
    if (r->phase == PHASE_STREAM)
        return body_stream(r, data, size);
    return body_discard(r, size);
}

static void on_completed(void *arg, struct MHD_Connection *conn, void **state,
                         enum MHD_RequestTerminationCode why)
{
    struct req *r = *state;

    (void)arg, (void)why;
    *state = NULL;
    watch_conn_waits(conn, true);
    if (r)
        watch_remove(r);
    if (r && !body_abandon(r))
        req_free(r);
}

static void on_connection(void *arg, struct MHD_Connection *conn, void **state,
                          enum MHD_ConnectionNotificationCode what)
{
    const union MHD_ConnectionInfo *info;
    struct watched_conn *c = *state;
    struct http *h = arg;

    if (what == MHD_CONNECTION_NOTIFY_STARTED) {
        metric_add(METRIC_http_connections, 1);
        info = MHD_get_connection_info(conn, MHD_CONNECTION_INFO_CONNECTION_FD);
        if (info)
            watch_conn_add(&h->watch, info->connect_fd, &c);
        *state = c;
        return;
    }
    metric_add(METRIC_http_connections, -1);
    if (!c)
        return;
    if (!c->asked)
        shell_last_word(c->fd);
    watch_conn_remove(&h->watch, c);
}

/* The path arrives as it was sent; decoding is route.c's. */
static size_t keep_escapes(void *arg, struct MHD_Connection *conn, char *s)
{
    (void)arg, (void)conn;
    return strlen(s);
}

printf_like(2, 0) static void on_library_log(void *arg, const char *format, va_list args)
{
    char text[256];
    int n;

    (void)arg;
    n = vsnprintf(text, sizeof(text), format, args);
    if (n > 0)
        log_debug("http.library", KV_S("text", text));
}

/* ---- Start and stop. */
static unsigned derive_connections(void)
{
    struct rlimit limit = {0};

    if (getrlimit(RLIMIT_NOFILE, &limit) < 0)
        return 256;
    if (limit.rlim_cur < limit.rlim_max) {
        limit.rlim_cur = limit.rlim_max;
        (void)setrlimit(RLIMIT_NOFILE, &limit);
        (void)getrlimit(RLIMIT_NOFILE, &limit);
    }
    /* A connection may hold a file beside its socket. */
    if (limit.rlim_cur > 2 * (rlim_t)HTTP_CONNECTIONS_LIMIT + HTTP_FDS_RESERVED)
        return HTTP_CONNECTIONS_LIMIT;
    return limit.rlim_cur > 2 * HTTP_FDS_RESERVED
               ? (unsigned)(limit.rlim_cur - HTTP_FDS_RESERVED) / 2
               : 64;
}

static int start_daemon(struct http *h, const struct http_settings *settings, int fd,
                        struct err_detail *detail)
{
    unsigned threads =
        settings->event_threads ? settings->event_threads : (unsigned)sysconf(_SC_NPROCESSORS_ONLN);
    unsigned flags = MHD_USE_EPOLL_INTERNAL_THREAD | MHD_ALLOW_SUSPEND_RESUME | MHD_USE_ERROR_LOG |
                     MHD_USE_TURBO;
    unsigned limit = h->connections_max / (unsigned)settings->listen_count;
    struct MHD_Daemon *d;

    if (threads < 2)
        threads = 2; /* a pool begins at two */
    d = MHD_start_daemon(
        flags, 0, NULL, NULL, on_request, h, MHD_OPTION_EXTERNAL_LOGGER, on_library_log, NULL,
        MHD_OPTION_LISTEN_SOCKET, fd, MHD_OPTION_THREAD_POOL_SIZE, threads,
        MHD_OPTION_CONNECTION_LIMIT, limit < threads ? threads : limit,
        MHD_OPTION_CONNECTION_MEMORY_LIMIT, (size_t)HTTP_CONNECTION_MEMORY,
        MHD_OPTION_CONNECTION_TIMEOUT, (unsigned)HTTP_IDLE_SECONDS, MHD_OPTION_UNESCAPE_CALLBACK,
        keep_escapes, NULL, MHD_OPTION_URI_LOG_CALLBACK, on_uri, h, MHD_OPTION_NOTIFY_COMPLETED,
        on_completed, h, MHD_OPTION_NOTIFY_CONNECTION, on_connection, h, MHD_OPTION_END);
    if (!d) {
        close(fd);
        return err_set(detail, -ERR_IO, "cannot start the HTTP server");
    }
    h->daemons[h->daemon_count++] = d;
    return 0;
}

static int start_one(struct http *h, const struct http_settings *settings, const char *address,
                     void (*on_listening)(const char *url, void *arg), void *arg,
                     struct err_detail *detail)
{
    struct listen_socket s;
    int e = listen_open(str_of(address), h->app->access, &s, detail);

    if (e < 0)
        return e;
    h->unlink_paths[h->daemon_count] = s.unlink_path;
    e = start_daemon(h, settings, s.fd, detail);
    if (e == 0)
        on_listening(s.url, arg);
    return e;
}

int http_start(struct app *app, const struct http_settings *settings,
               void (*on_listening)(const char *url, void *arg), void *arg, struct http **ret,
               struct err_detail *detail)
{
    struct http *h = calloc(1, sizeof(*h));
    int e;

    assert(settings->listen_count > 0 && settings->listen_count <= HTTP_LISTEN_MAX);
    if (!h)
        return -ERR_NOMEM;
    h->app = app;
    h->connections_max = derive_connections();
    streams_init(&h->streams);
    e = watch_start(&h->watch);
    if (e == 0)
        e = work_new("worker", settings->workers, HTTP_WORKER_QUEUE_MAX, &h->workers);
    for (size_t i = 0; i < settings->listen_count && e == 0; i++)
        e = start_one(h, settings, settings->listen[i], on_listening, arg, detail);
    if (e < 0) {
        http_stop(h);
        return e;
    }
    *ret = h;
    return 0;
}

const char *http_library(void)
{
    return MHD_get_version();
}

unsigned http_connections_max(const struct http *h)
{
    return h->connections_max;
}

void http_trim(struct http *h)
{
    work_trim(h->workers);
}

void http_stop(struct http *h)
{
    int64_t deadline = clock_boot_ms() + HTTP_DRAIN_SECONDS * 1000;

    if (!h)
        return;
    for (size_t i = 0; i < h->daemon_count; i++) {
        MHD_socket s = MHD_quiesce_daemon(h->daemons[i]);

        if (s != MHD_INVALID_SOCKET)
            close(s);
    }
    streams_end(&h->streams);
    while (atomic_load(&h->active) > 0 && clock_boot_ms() < deadline)
        clock_sleep_ms(10);
    while (atomic_load(&h->jobs) >
           0) /* a suspended connection must be resumed before its daemon stops */
        clock_sleep_ms(1);
    for (size_t i = 0; i < h->daemon_count; i++) {
        MHD_stop_daemon(h->daemons[i]);
        if (h->unlink_paths[i])
            unlink(h->unlink_paths[i]);
        free(h->unlink_paths[i]);
    }
    watch_stop(&h->watch);
    streams_done(&h->streams);
    if (h->workers)
        work_free(h->workers);
    free(h);
}
