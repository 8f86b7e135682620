/* Input: a listening address as --listen takes it. Only parsed: nothing is bound. */
#include "fuzz.h"
#include "registry/listen.h"

#include <arpa/inet.h>
#include <netinet/in.h>
#include <sys/un.h>

/* What was understood, written as an address again. */
static void write_address(const struct listen_address *a, struct buf *out)
{
    char host[INET6_ADDRSTRLEN];
    struct sockaddr_in v4;
    struct sockaddr_in6 v6;
    struct sockaddr_un un;

    switch (a->storage.ss_family) {
    case AF_INET:
        memcpy(&v4, &a->storage, sizeof(v4));
        assert(inet_ntop(AF_INET, &v4.sin_addr, host, sizeof(host)));
        assert(a->loopback == (str_starts(str_of(host), STR("127."))));
        buf_addf(out, "%s:%u", host, (unsigned)ntohs(v4.sin_port));
        break;
    case AF_INET6:
        memcpy(&v6, &a->storage, sizeof(v6));
        assert(inet_ntop(AF_INET6, &v6.sin6_addr, host, sizeof(host)));
        assert(a->loopback == str_eq(str_of(host), STR("::1")));
        buf_addf(out, "[%s]:%u", host, (unsigned)ntohs(v6.sin6_port));
        break;
    default:
        assert(a->storage.ss_family == AF_UNIX && a->loopback);
        memcpy(&un, &a->storage, sizeof(un));
        assert(un.sun_path[0] && memchr(un.sun_path, 0, sizeof(un.sun_path)));
        buf_addf(out, "unix:%s", un.sun_path);
    }
}

void fuzz_one(struct str input)
{
    struct buf text auto_buf = BUF_INIT(512);
    struct listen_address a, again;
    int r = listen_parse(input, &a);

    assert(r == 0 || r == -ERR_INVAL);
    if (r < 0)
        return;
    assert(!fuzz_has_nul(input) && a.len > 0 && a.len <= sizeof(a.storage));
    write_address(&a, &text);
    assert(buf_err(&text) == 0 && listen_parse(buf_str(&text), &again) == 0);
    assert(again.len == a.len && again.loopback == a.loopback);
    assert(memcmp(&a.storage, &again.storage, a.len) == 0);
    assert(a.storage.ss_family != AF_UNIX || str_eq(buf_str(&text), input));
}
