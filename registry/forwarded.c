#include "registry/forwarded.h"

#include <arpa/inet.h>

#include "registry/api_common.h"

#define MAPPED_BITS 96 /* of ::ffff:0:0/96 */

/* ---- Ranges. */

static bool parse_address(struct str text, uint8_t out[16], bool *ret_v4)
{
    char c[INET6_ADDRSTRLEN];
    struct in_addr v4;

    if (text.len == 0 || text.len >= sizeof(c))
        return false;
    memcpy(c, text.at, text.len);
    c[text.len] = '\0';
    *ret_v4 = inet_pton(AF_INET, c, &v4) == 1;
    if (!*ret_v4)
        return inet_pton(AF_INET6, c, out) == 1;
    memset(out, 0, 10);
    out[10] = out[11] = 0xff;
    memcpy(out + 12, &v4, sizeof(v4));
    return true;
}

static bool parse_range(struct str text, struct proxy_range *ret)
{
    ptrdiff_t slash = str_find(text, '/');
    uint64_t bits = 0;
    bool v4;

    if (str_eq(text, STR("unix"))) {
        *ret = (struct proxy_range){.unix_socket = true};
        return true;
    }
    if (!parse_address(slash < 0 ? text : str_head(text, (size_t)slash), ret->bytes, &v4))
        return false;
    if (slash < 0)
        bits = v4 ? 32 : 128;
    else if (!str_u64(str_skip(text, (size_t)slash + 1), &bits) || bits > (v4 ? 32 : 128))
        return false;
    ret->bits = (unsigned)bits + (v4 ? MAPPED_BITS : 0);
    ret->unix_socket = false;
    return true;
}

int proxies_parse(const struct opt_list *list, struct proxies *ret, struct err_detail *detail)
{
    ret->count = 0;
    for (size_t i = 0; i < list->count; i++)
        if (!parse_range(str_of(list->at[i]), &ret->at[ret->count++]))
            return err_set(detail, -ERR_INVAL,
                           "\"%s\" is no proxy: an address, a range like 192.0.2.0/24, or unix",
                           list->at[i]);
    return 0;
}

static bool in_range(const struct proxy_range *p, const uint8_t bytes[16])
{
    unsigned whole = p->bits / 8, rest = p->bits % 8;

    if (p->unix_socket || memcmp(p->bytes, bytes, whole) != 0)
        return false;
    return rest == 0 || (p->bytes[whole] ^ bytes[whole]) >> (8 - rest) == 0;
}

bool proxies_trust(const struct proxies *p, struct str address)
{
    uint8_t bytes[16];
    bool v4;

    if (str_eq(address, STR("unix"))) {
        for (size_t i = 0; i < p->count; i++)
            if (p->at[i].unix_socket)
                return true;
        return false;
    }
    if (!parse_address(address, bytes, &v4))
        return false;
    for (size_t i = 0; i < p->count; i++)
        if (in_range(&p->at[i], bytes))
            return true;
    return false;
}

/* ---- Headers. */

static struct str trimmed(struct str s)
{
    while (s.len && (s.at[0] == ' ' || s.at[0] == '\t' || s.at[0] == '"'))
        s = str_skip(s, 1);
    while (s.len && (s.at[s.len - 1] == ' ' || s.at[s.len - 1] == '\t' || s.at[s.len - 1] == '"'))
        s.len--;
    return s;
}

static bool peer_trusted(struct req *r)
{
    const struct proxies *p = &req_app(r)->proxies;
    char peer[REQ_ADDRESS_MAX];

    return p->count && proxies_trust(p, req_peer(r, peer));
}

/* The last entry of a list, cut off. */
static struct str last_entry(struct str *list)
{
    size_t at = list->len;
    struct str one;

    while (at > 0 && list->at[at - 1] != ',')
        at--;
    one = trimmed(str_skip(*list, at));
    *list = str_head(*list, at ? at - 1 : 0);
    return one;
}

struct str forwarded_address(struct req *r, char out[FORWARDED_ADDRESS_MAX])
{
    struct str peer = req_peer(r, out), list, one;
    uint8_t bytes[16];
    bool v4;

    if (!peer_trusted(r))
        return peer;
    list = STR_NONE;
    for (unsigned i = 0; (one = req_header_at(r, "X-Forwarded-For", i)).at; i++)
        list = one; /* the last line is the nearest proxy's */
    for (int i = 0; list.len && i < FORWARDED_HOPS_MAX; i++) {
        one = last_entry(&list);
        if (!parse_address(one, bytes, &v4))
            break;
        if (proxies_trust(&req_app(r)->proxies, one))
            continue;
        memcpy(out, one.at, one.len);
        return str_make(out, one.len);
    }
    return peer;
}

static bool host_valid(struct str host)
{
    for (size_t i = 0; i < host.len; i++) {
        char c = host.at[i];

        if (!((c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') ||
              (c && strchr(".-_:[]", c))))
            return false;
    }
    return host.len > 0 && host.len <= 255;
}

static bool prefix_valid(struct str prefix)
{
    for (size_t i = 0; i < prefix.len; i++) {
        char c = prefix.at[i];

        if (!((c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') ||
              (c && strchr(".-_/~", c))))
            return false;
    }
    return prefix.len <= 128 && (prefix.len == 0 || prefix.at[0] == '/');
}

/* A parameter of the first element of Forwarded (RFC 7239). */
static struct str forwarded_param(struct str header, struct str name)
{
    ptrdiff_t comma = str_find(header, ',');
    struct str rest = comma < 0 ? header : str_head(header, (size_t)comma);

    while (rest.len) {
        ptrdiff_t semicolon = str_find(rest, ';');
        struct str pair = trimmed(semicolon < 0 ? rest : str_head(rest, (size_t)semicolon));
        ptrdiff_t eq = str_find(pair, '=');

        if (eq > 0 && str_eq_nocase(str_head(pair, (size_t)eq), name))
            return trimmed(str_skip(pair, (size_t)eq + 1));
        rest = semicolon < 0 ? STR_NONE : str_skip(rest, (size_t)semicolon + 1);
    }
    return STR_NONE;
}

static struct str first_entry(struct str list)
{
    ptrdiff_t comma = str_find(list, ',');

    return trimmed(comma < 0 ? list : str_head(list, (size_t)comma));
}

static bool any_scheme(struct str s)
{
    return str_eq_nocase(s, STR("http")) || str_eq_nocase(s, STR("https"));
}

void forwarded_base(struct req *r, struct buf *out)
{
    struct str configured = str_of(req_app(r)->url_base), prefix = configured;
    struct str host = req_header(r, "Host"), scheme = STR("http"), forwarded, said;

    if (configured.len && configured.at[0] != '/') {
        buf_add(out, configured);
        return;
    }
    if (peer_trusted(r)) {
        forwarded = req_header(r, "Forwarded");
        said = forwarded.len ? forwarded_param(forwarded, STR("proto"))
                             : first_entry(req_header(r, "X-Forwarded-Proto"));
        if (any_scheme(said))
            scheme = said;
        said = forwarded.len ? forwarded_param(forwarded, STR("host"))
                             : first_entry(req_header(r, "X-Forwarded-Host"));
        if (host_valid(said))
            host = said;
        said = first_entry(req_header(r, "X-Forwarded-Prefix"));
        if (!configured.len && prefix_valid(said))
            prefix = said;
    }
    while (prefix.len && prefix.at[prefix.len - 1] == '/')
        prefix.len--;
    buf_addf(out, STR_FMT "://" STR_FMT, STR_ARG(scheme),
             STR_ARG(host_valid(host) ? host : STR("localhost")));
    buf_add(out, prefix);
}

/* ---- Certificates. */

/* The common name of a distinguished name ("CN=build,O=x" or "/O=x/CN=build"); without one the
 * whole text. */
static struct str common_name(struct str subject)
{
    for (size_t i = 0; i + 3 < subject.len; i++)
        if ((i == 0 || strchr(",/ ", subject.at[i - 1])) &&
            str_eq_nocase(str_make(subject.at + i, 3), STR("CN="))) {
            size_t end = i + 3;

            while (end < subject.len && subject.at[end] != ',' && subject.at[end] != '/')
                end++;
            return trimmed(str_make(subject.at + i + 3, end - (i + 3)));
        }
    return subject;
}

void forwarded_subject(struct req *r, struct buf *out)
{
    const char *name = req_app(r)->certificate_header;
    struct str value;

    if (!name || !name[0] || !peer_trusted(r))
        return;
    value = trimmed(req_header(r, name));
    if (value.len && !req_header_at(r, name, 1).at) /* twice: one of them is not the proxy's */
        buf_add(out, common_name(value));
}
