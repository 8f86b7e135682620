/* The strict framing shell (style facts of libmicrohttpd 0.9.75; RFC 9112 section 6, R153): what
 * would let two parsers disagree about where a request ends is refused with 400 and the connection
 * is closed. */
#include <linux/tcp.h> /* the C library's struct tcp_info ends before the counts of bytes */
#include <netinet/in.h>
#include <stdio.h>
#include <sys/socket.h>

#include "base/enc.h"
#include "registry/http_internal.h"

struct shell {
    unsigned lengths, encodings, hosts, authorizations;
    const char *bad;
    struct str encoding;
    struct str length;
};

/* Headers on which framing or identity rests: anything that begins like one must be exactly it (an
 * obs-folded line is glued to the name). */
static const char *const framing_names[] = {"content-length", "transfer-encoding", "host",
                                            "authorization"};

static bool starts_nocase(struct str s, struct str prefix)
{
    return s.len >= prefix.len && str_eq_nocase(str_head(s, prefix.len), prefix);
}

static void count_header(struct shell *s, size_t which, struct str value)
{
    switch (which) {
    case 0:
        s->lengths++;
        s->length = value;
        break;
    case 1:
        s->encodings++;
        s->encoding = value;
        break;
    case 2:
        s->hosts++;
        break;
    default:
        s->authorizations++;
    }
}

static enum MHD_Result look(void *arg, enum MHD_ValueKind kind, const char *name, const char *value)
{
    struct shell *s = arg;
    struct str n = str_of(name);

    (void)kind;
    if (n.len == 0 || n.at[n.len - 1] == ' ' || n.at[n.len - 1] == '\t' || str_find(n, ' ') >= 0 ||
        str_find(n, '\t') >= 0)
        s->bad = "a header name holds a blank";
    for (size_t i = 0; i < ARRAY_LEN(framing_names); i++) {
        struct str want = str_of(framing_names[i]);

        if (!starts_nocase(n, want))
            continue;
        if (n.len == want.len)
            count_header(s, i, str_of(value));
        else if (n.at[want.len] != '-')
            s->bad = "a framing header is folded or misspelt";
    }
    return MHD_YES;
}

static const char *framing_fault(const struct shell *s, bool http11)
{
    if (s->bad)
        return s->bad;
    if (s->lengths > 1)
        return "more than one Content-Length";
    if (s->encodings > 1 || (s->encodings && !str_eq_nocase(s->encoding, STR("chunked"))))
        return "only Transfer-Encoding: chunked is understood";
    if (s->lengths && s->encodings)
        return "Content-Length beside Transfer-Encoding";
    if (s->hosts > 1)
        return "more than one Host";
    if (http11 && s->hosts == 0)
        return "Host is missing";
    if (s->authorizations > 1)
        return "more than one Authorization";
    return NULL;
}

int shell_check(struct req *r, const char *version)
{
    struct shell s = {0};
    const char *fault, *expect;
    uint64_t length = 0;

    MHD_get_connection_values(r->conn, MHD_HEADER_KIND, look, &s);
    fault = framing_fault(&s, str_eq(str_of(version), STR(MHD_HTTP_VERSION_1_1)));
    if (!fault && s.lengths && (!str_u64(s.length, &length) || length > INT64_MAX))
        fault = "Content-Length is not a number";
    if (fault)
        return err_set(&r->detail, -ERR_INVAL, "malformed request: %s", fault);
    r->content_length = s.lengths ? (int64_t)length : -1;
    r->has_body = s.encodings > 0 || length > 0;
    expect = MHD_lookup_connection_value(r->conn, MHD_HEADER_KIND, MHD_HTTP_HEADER_EXPECT);
    r->expects_continue = expect && str_eq_nocase(str_of(expect), STR("100-continue"));
    return 0;
}

/* ---- The last word. */
static const char last_word[] = "{\"errors\":[{\"code\":\"UNSUPPORTED\",\"message\":"
                                "\"no HTTP request came: this port speaks plain HTTP\"}]}";

/* Was anything read from the peer, and nothing said to it? Its end alone counts as one byte. What
 * is still unread was never looked at: the connection ends for a reason of ours. */
static bool unanswered(int fd)
{
    struct tcp_info info = {0};
    socklen_t len = sizeof(info);
    char byte;

    if (recv(fd, &byte, 1, MSG_PEEK | MSG_DONTWAIT) > 0)
        return false;
    return getsockopt(fd, IPPROTO_TCP, TCP_INFO, &info, &len) == 0 &&
           info.tcpi_bytes_received > 1 && info.tcpi_bytes_sent == 0;
}

void shell_last_word(int fd)
{
    char text[512];
    int n = snprintf(text, sizeof(text),
                     "HTTP/1.1 400 Bad Request\r\nContent-Type: application/json\r\n"
                     "Content-Length: %zu\r\nConnection: close\r\n\r\n%s",
                     sizeof(last_word) - 1, last_word);

    if (!unanswered(fd))
        return;
    (void)send(fd, text, (size_t)n, MSG_NOSIGNAL | MSG_DONTWAIT);
    (void)shutdown(fd, SHUT_WR);
}
