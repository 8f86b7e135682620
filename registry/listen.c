/* Opens listening sockets. Host names are numbers or "localhost": nothing is looked up. */
#include "registry/listen.h"

#include <arpa/inet.h>
#include <errno.h>
#include <netinet/in.h>
#include <stdio.h>
#include <sys/stat.h>
#include <sys/un.h>

#include "base/fd.h"

#define LISTEN_BACKLOG     1024
#define LISTEN_SOCKET_MODE 0660 /* the owner, and a proxy of its group */

static int parse_port(struct str text, uint16_t *ret)
{
    uint64_t port;

    if (!str_u64(text, &port) || port > 65535)
        return -ERR_INVAL;
    *ret = (uint16_t)port;
    return 0;
}

static int parse_ip(struct str host, uint16_t port, bool bracketed, struct listen_address *ret)
{
    char text[INET6_ADDRSTRLEN + 1];
    struct sockaddr_in v4 = {.sin_family = AF_INET, .sin_port = htons(port)};
    struct sockaddr_in6 v6 = {.sin6_family = AF_INET6, .sin6_port = htons(port)};

    if (str_eq(host, STR("localhost")))
        host = STR("127.0.0.1");
    if (host.len == 0 || host.len >= sizeof(text))
        return -ERR_INVAL;
    memcpy(text, host.at, host.len);
    text[host.len] = '\0';
    if (!bracketed && inet_pton(AF_INET, text, &v4.sin_addr) == 1) {
        memcpy(&ret->storage, &v4, sizeof(v4));
        ret->len = sizeof(v4);
        ret->loopback = (ntohl(v4.sin_addr.s_addr) >> 24) == 127;
        return 0;
    }
    if (bracketed && inet_pton(AF_INET6, text, &v6.sin6_addr) == 1) {
        memcpy(&ret->storage, &v6, sizeof(v6));
        ret->len = sizeof(v6);
        ret->loopback = IN6_IS_ADDR_LOOPBACK(&v6.sin6_addr);
        return 0;
    }
    return -ERR_INVAL;
}

static int parse_inet(struct str text, struct listen_address *ret)
{
    bool bracketed = text.len > 0 && text.at[0] == '[';
    size_t colon = text.len;
    struct str host;
    uint16_t port;

    while (colon > 0 && text.at[colon - 1] != ':')
        colon--;
    if (colon == 0)
        return -ERR_INVAL;
    host = str_head(text, colon - 1);
    if (bracketed) {
        if (host.len < 2 || host.at[host.len - 1] != ']')
            return -ERR_INVAL;
        host = str_make(host.at + 1, host.len - 2);
    }
    if (parse_port(str_skip(text, colon), &port) < 0)
        return -ERR_INVAL;
    return parse_ip(host, port, bracketed, ret);
}

static int parse_unix(struct str path, struct listen_address *ret)
{
    struct sockaddr_un un = {.sun_family = AF_UNIX};

    if (path.len == 0 || path.len >= sizeof(un.sun_path))
        return -ERR_INVAL;
    memcpy(un.sun_path, path.at, path.len);
    memcpy(&ret->storage, &un, sizeof(un));
    ret->len = sizeof(un);
    ret->loopback = true;
    return 0;
}

static void write_url(struct listen_socket *s, struct str address)
{
    struct sockaddr_storage bound;
    socklen_t len = sizeof(bound);
    char host[INET6_ADDRSTRLEN];
    struct sockaddr_in v4;
    struct sockaddr_in6 v6;

    if (getsockname(s->fd, (struct sockaddr *)&bound, &len) == 0 && bound.ss_family == AF_INET) {
        memcpy(&v4, &bound, sizeof(v4));
        inet_ntop(AF_INET, &v4.sin_addr, host, sizeof(host));
        snprintf(s->url, sizeof(s->url), "http://%s:%u", host, (unsigned)ntohs(v4.sin_port));
    } else if (bound.ss_family == AF_INET6) {
        memcpy(&v6, &bound, sizeof(v6));
        inet_ntop(AF_INET6, &v6.sin6_addr, host, sizeof(host));
        snprintf(s->url, sizeof(s->url), "http://[%s]:%u", host, (unsigned)ntohs(v6.sin6_port));
    } else {
        snprintf(s->url, sizeof(s->url), STR_FMT, STR_ARG(address));
    }
}

/* A socket file that nobody answers on is left over from a process that was killed. Any other file
 * refuses the connection just so, and is not ours to remove. */
static void remove_stale(const struct listen_address *a, const char *path)
{
    int fd auto_fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
    struct stat st;

    if (fd >= 0 && lstat(path, &st) == 0 && S_ISSOCK(st.st_mode) &&
        connect(fd, (const struct sockaddr *)&a->storage, a->len) < 0 && errno == ECONNREFUSED)
        unlink(path);
}

static int bind_and_listen(int fd, const struct listen_address *a, struct str text,
                           struct err_detail *detail)
{
    int on = 1, e;

    if (a->storage.ss_family != AF_UNIX)
        (void)setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof(on));
    if (a->storage.ss_family == AF_INET6)
        (void)setsockopt(fd, IPPROTO_IPV6, IPV6_V6ONLY, &on, sizeof(on));
    if (bind(fd, (const struct sockaddr *)&a->storage, a->len) < 0 ||
        listen(fd, LISTEN_BACKLOG) < 0) {
        e = errno;
        return err_set(detail, e == EADDRINUSE ? -ERR_EXISTS : err_from_errno(e),
                       "cannot listen on " STR_FMT ": %s", STR_ARG(text),
                       e == EADDRINUSE ? "the address is taken" : strerrordesc_np(e));
    }
    return 0;
}

int listen_parse(struct str text, struct listen_address *ret)
{
    struct listen_address a = {0};
    int e;

    if (text.len && memchr(text.at, 0, text.len))
        return -ERR_INVAL;
    e = str_starts(text, STR("unix:")) ? parse_unix(str_skip(text, 5), &a) : parse_inet(text, &a);
    if (e == 0)
        *ret = a;
    return e;
}

int listen_open(struct str text, const struct access *access, struct listen_socket *ret,
                struct err_detail *detail)
{
    bool is_unix = str_starts(text, STR("unix:"));
    struct str path = is_unix ? str_skip(text, 5) : STR_NONE;
    struct listen_address a = {0};
    char *unlink_path auto_free = NULL;
    int fd auto_fd = -1;
    int e = listen_parse(text, &a);

    if (e < 0)
        return err_set(detail, e,
                       "\"" STR_FMT
                       "\" is no address: HOST:PORT with a numeric host, [IPv6]:PORT or unix:PATH",
                       STR_ARG(text));
    e = access_check_listen(access, text, a.loopback, detail);
    if (e < 0)
        return e;
    if (is_unix) {
        unlink_path = str_dup(path);
        if (!unlink_path)
            return -ERR_NOMEM;
        remove_stale(&a, unlink_path);
    }
    fd = socket(a.storage.ss_family, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    if (fd < 0)
        return err_set(detail, err_from_errno(errno), "cannot make a socket: %s",
                       strerrordesc_np(errno));
    e = bind_and_listen(fd, &a, text, detail);
    if (e < 0)
        return e;
    if (unlink_path && chmod(unlink_path, LISTEN_SOCKET_MODE) < 0)
        return err_set(detail, err_from_errno(errno), "cannot set the mode of " STR_FMT,
                       STR_ARG(path));
    ret->fd = fd_steal(&fd);
    write_url(ret, text);
    ret->unlink_path = STEAL(unlink_path);
    return 0;
}
