#include "http_oracle.h"

#include "fuzz.h"

#define HEADERS_MAX 64
#define LINE_MAX    4096

struct headers {
    struct str name[HEADERS_MAX], value[HEADERS_MAX];
    size_t count;
    bool odd; /* something that a lenient parser may take for something else */
    bool smuggle;
};

/* Takes a line that ends with CR LF, without other controls; false when there is none whole. */
static bool take_line(struct str *rest, struct str *ret, bool *ret_odd)
{
    ptrdiff_t feed = str_find(*rest, '\n');

    if (feed < 0)
        return false;
    *ret = str_head(*rest, (size_t)feed);
    *rest = str_skip(*rest, (size_t)feed + 1);
    if (ret->len == 0 || ret->at[ret->len - 1] != '\r')
        *ret_odd = true;
    else
        ret->len--;
    for (size_t i = 0; i < ret->len; i++) {
        unsigned char c = (unsigned char)ret->at[i];

        if ((c < ' ' && c != '\t') || c >= 0x7f)
            *ret_odd = true;
    }
    *ret_odd = *ret_odd || ret->len > LINE_MAX;
    return true;
}

static bool token(struct str s)
{
    static const char others[] = "!#$%&'*+-.^_`|~";

    for (size_t i = 0; i < s.len; i++) {
        char c = s.at[i];

        if (!(c >= 'a' && c <= 'z') && !(c >= 'A' && c <= 'Z') && !(c >= '0' && c <= '9') &&
            (c == '\0' || !strchr(others, c)))
            return false;
    }
    return s.len > 0;
}

static struct str trim(struct str s)
{
    while (s.len && (s.at[0] == ' ' || s.at[0] == '\t'))
        s = str_skip(s, 1);
    while (s.len && (s.at[s.len - 1] == ' ' || s.at[s.len - 1] == '\t'))
        s.len--;
    return s;
}

/* A header line; one that begins with a blank, or has one before the colon, may be a framing header
 * to somebody. */
static void read_header(struct headers *h, struct str line)
{
    ptrdiff_t colon = str_find(line, ':');
    struct str name;

    if (colon <= 0 || h->count == HEADERS_MAX) {
        h->odd = true;
        return;
    }
    name = str_head(line, (size_t)colon);
    if (!token(name)) {
        h->odd = true;
        return;
    }
    /* libmicrohttpd 0.9.75 takes blanks behind a value for part of it. */
    if (line.at[line.len - 1] == ' ' || line.at[line.len - 1] == '\t')
        h->odd = true;
    h->name[h->count] = name;
    h->value[h->count++] = trim(str_skip(line, (size_t)colon + 1));
}

/* Lines up to the empty one; false when it does not come. */
static bool read_headers(struct str *rest, struct headers *h)
{
    struct str line;

    while (take_line(rest, &line, &h->odd)) {
        if (line.len == 0)
            return true;
        read_header(h, line);
    }
    return false;
}

/* Number of headers of that name; *ret the last value. */
static unsigned find(const struct headers *h, const char *name, struct str *ret)
{
    unsigned n = 0;

    for (size_t i = 0; i < h->count; i++)
        if (str_eq_nocase(h->name[i], str_of(name))) {
            *ret = h->value[i];
            n++;
        }
    return n;
}

static bool request_line(struct str line, struct request *r)
{
    ptrdiff_t one = str_find(line, ' ');
    struct str method = one < 0 ? STR_NONE : str_head(line, (size_t)one);
    struct str rest = one < 0 ? STR_NONE : str_skip(line, (size_t)one + 1);
    ptrdiff_t two = str_find(rest, ' ');

    if (!token(method) || two < 1 || rest.at[0] != '/' ||
        !str_eq(str_skip(rest, (size_t)two + 1), STR("HTTP/1.1")))
        return false;
    for (size_t i = 0; i < method.len; i++)
        if (method.at[i] < 'A' || method.at[i] > 'Z')
            return false;
    r->head = str_eq(method, STR("HEAD"));
    return str_find(str_head(rest, (size_t)two), '\t') < 0;
}

enum body { BODY_WHOLE, BODY_CUT, BODY_ODD };

static enum body chunked(struct str *rest)
{
    for (;;) {
        struct str line;
        bool odd = false;
        uint64_t size = 0;

        if (!take_line(rest, &line, &odd))
            return BODY_CUT;
        if (odd || line.len == 0 || line.len > 6)
            return BODY_ODD;
        for (size_t i = 0; i < line.len; i++) {
            const char *digits = "0123456789abcdef", *at = strchr(digits, line.at[i] | 0x20);

            if (!at || line.at[i] < '0')
                return BODY_ODD;
            size = size * 16 + (uint64_t)(at - digits);
        }
        if (rest->len < size + 2)
            return BODY_CUT;
        *rest = str_skip(*rest, size);
        if (!str_starts(*rest, STR("\r\n")))
            return BODY_ODD; /* a trailer, behind the last one */
        *rest = str_skip(*rest, 2);
        if (size == 0)
            return BODY_WHOLE;
    }
}

static bool ambiguous(const struct headers *h)
{
    struct str length = STR_NONE, coding = STR_NONE, x;
    unsigned lengths = find(h, "Content-Length", &length);
    unsigned codings = find(h, "Transfer-Encoding", &coding);
    uint64_t n;

    return lengths > 1 || codings > 1 || (lengths && codings) || find(h, "Host", &x) != 1 ||
           find(h, "Authorization", &x) > 1 ||
           (codings && !str_eq_nocase(coding, STR("chunked"))) ||
           (lengths && (!str_u64(length, &n) || n > INT64_MAX));
}

static enum body read_body(const struct headers *h, struct str *rest)
{
    struct str length = STR_NONE, coding = STR_NONE;
    uint64_t n = 0;

    if (find(h, "Transfer-Encoding", &coding))
        return chunked(rest);
    if (find(h, "Content-Length", &length))
        (void)str_u64(length, &n);
    if (rest->len < n)
        return BODY_CUT;
    *rest = str_skip(*rest, n);
    return BODY_WHOLE;
}

void request_read(struct str bytes, struct request *ret)
{
    static struct headers h;
    struct str rest = bytes, line = STR_NONE, x = STR_NONE;
    bool odd = false, good;
    size_t left;
    enum body body;

    h.count = 0;
    h.odd = false;
    *ret = (struct request){.kind = REQUEST_PART};
    if (!take_line(&rest, &line, &odd))
        return;
    good = request_line(line, ret) && !odd;
    if (!good)
        ret->kind = REQUEST_OTHER;
    if (!good)
        return;
    good = read_headers(&rest, &h);
    if (!good && !h.odd)
        return;
    ret->kind = REQUEST_OTHER;
    if (h.odd || find(&h, "Upgrade", &x) || find(&h, "Cookie", &x))
        return;
    if (find(&h, "Connection", &x) && !str_eq_nocase(x, STR("keep-alive")))
        ret->closes = true;
    if (find(&h, "Expect", &x))
        ret->closes = true;
    if (ambiguous(&h)) {
        ret->kind = REQUEST_SMUGGLE;
        return;
    }
    left = rest.len;
    body = read_body(&h, &rest);
    ret->mute = find(&h, "Expect", &x) && left > 0 && rest.len == left;
    if (body == BODY_ODD)
        return;
    ret->kind = body == BODY_CUT ? REQUEST_PART : REQUEST_GOOD;
    ret->bytes = str_head(bytes, bytes.len - rest.len);
}

bool response_read(struct str bytes, bool headed, struct response *ret)
{
    static struct headers h;
    struct str rest = bytes, line, x = STR_NONE;
    uint64_t status;
    bool odd = false;

    h.count = 0;
    h.odd = false;
    if (!take_line(&rest, &line, &odd) || odd || !str_starts(line, STR("HTTP/1.1 ")) ||
        !str_u64(str_head(str_skip(line, 9), 3), &status) || status < 100 || status > 599)
        return false;
    if (!read_headers(&rest, &h) || h.odd)
        return false;
    *ret = (struct response){.status = (unsigned)status};
    ret->closes = find(&h, "Connection", &x) && str_eq_nocase(x, STR("close"));
    if (status >= 200 && status != 204 && status != 304 && !headed) {
        if (find(&h, "Content-Length", &x) + find(&h, "Transfer-Encoding", &x) != 1)
            return false; /* never by the end of the connection */
        if (read_body(&h, &rest) != BODY_WHOLE)
            return false;
    }
    ret->bytes = str_head(bytes, bytes.len - rest.len);
    return true;
}
