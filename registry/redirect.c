#include "registry/redirect.h"

#include <arpa/inet.h>
#include <stdio.h>
#include <stdlib.h>

#include "base/log.h"
#include "blobstore/keys.h"
#include "registry/http.h"

#define REDIRECT_URL_MAX 8192
#define ADDRESS_BYTES    16

struct redirect {
    struct redirect_settings settings;
    struct store *store;
    char host[REDIRECT_HOST_MAX]; /* of the store as clients reach it, without port */
    bool able, https;             /* can sign; the registry's own URL is https */
};

/* ---- networks */

/* IPv4 as the IPv6 address that stands for it, so that there is one length. */
static bool address_parse(struct str text, uint8_t out[ADDRESS_BYTES], bool *ret_v4)
{
    static const uint8_t mapped[12] = {[10] = 0xff, [11] = 0xff};
    char copy[INET6_ADDRSTRLEN];

    if (text.len == 0 || text.len >= sizeof(copy))
        return false;
    memcpy(copy, text.at, text.len);
    copy[text.len] = '\0';
    memcpy(out, mapped, sizeof(mapped));
    *ret_v4 = inet_pton(AF_INET, copy, out + sizeof(mapped)) == 1;
    return *ret_v4 || inet_pton(AF_INET6, copy, out) == 1;
}

static bool same_bits(const uint8_t *a, const uint8_t *b, unsigned bits)
{
    if (memcmp(a, b, bits / 8) != 0)
        return false;
    return bits % 8 == 0 || (a[bits / 8] ^ b[bits / 8]) >> (8 - bits % 8) == 0;
}

int redirect_network_parse(const char *text, struct str address, bool *ret_inside)
{
    struct str s = str_of(text), number;
    ptrdiff_t slash = str_find(s, '/');
    uint8_t net[ADDRESS_BYTES], ip[ADDRESS_BYTES];
    uint64_t bits = 0;
    bool v4, any;

    if (!address_parse(slash < 0 ? s : str_head(s, (size_t)slash), net, &v4))
        return -ERR_INVAL;
    number = slash < 0 ? (v4 ? STR("32") : STR("128")) : str_skip(s, (size_t)slash + 1);
    if (!str_u64(number, &bits) || bits > (v4 ? 32u : 128u))
        return -ERR_INVAL;
    *ret_inside =
        address_parse(address, ip, &any) && same_bits(net, ip, (unsigned)bits + (v4 ? 96 : 0));
    return 0;
}

/* ---- hosts */

static struct str without_port(struct str host)
{
    ptrdiff_t end;

    if (host.len > 0 && host.at[0] == '[') {
        end = str_find(host, ']');
        return end < 0 ? host : str_head(host, (size_t)end + 1);
    }
    end = str_find(host, ':');
    return end < 0 ? host : str_head(host, (size_t)end);
}

bool redirect_same_site(struct str registry, struct str host)
{
    struct str tail;

    if (str_eq_nocase(registry, host))
        return true;
    if (registry.len == 0 || host.len <= registry.len + 1)
        return false;
    tail = str_skip(host, host.len - registry.len);
    return str_eq_nocase(tail, registry) && host.at[host.len - registry.len - 1] == '.';
}

static struct str host_of_url(struct str url)
{
    struct str rest = str_skip(url, str_starts(url, STR("https://")) ? 8 : 7);
    ptrdiff_t slash = str_find(rest, '/');

    return without_port(slash < 0 ? rest : str_head(rest, (size_t)slash));
}

/* ---- life */

static int check_networks(const struct opt_list *networks, struct err_detail *detail)
{
    bool inside;

    for (size_t i = 0; i < networks->count; i++)
        if (redirect_network_parse(networks->at[i], STR("127.0.0.1"), &inside) < 0)
            return err_set(detail, -ERR_INVAL,
                           "\"%.60s\" is no network: use 10.0.0.0/8 or fd00::/8", networks->at[i]);
    return 0;
}

/* The host that a presigned URL names. */
static void learn_host(struct redirect *x)
{
    struct buf url auto_buf = BUF_INIT(REDIRECT_URL_MAX);
    struct str host;

    if (store_presign_get(x->store, STR("format"), x->settings.ttl_s * 1000, &url) < 0)
        return;
    host = host_of_url(buf_str(&url));
    x->able = host.len < sizeof(x->host);
    if (x->able)
        snprintf(x->host, sizeof(x->host), STR_FMT, STR_ARG(host));
    x->https = !str_starts(buf_str(&url), STR("https://")) && x->https;
}

int redirect_new(const struct redirect_settings *settings, struct store *store,
                 const char *external_url, struct redirect **ret, struct err_detail *detail)
{
    struct str url = str_of(external_url ? external_url : "");
    struct redirect *x;
    int e = check_networks(&settings->networks, detail);

    if (e < 0)
        return e;
    x = calloc(1, sizeof(*x));
    if (!x)
        return -ERR_NOMEM;
    x->settings = *settings;
    x->store = store;
    x->https = str_starts(url, STR("https://"));
    if (!settings->off)
        learn_host(x);
    if (x->able && str_starts(url, STR("http")) &&
        (x->https || redirect_same_site(host_of_url(url), str_of(x->host)))) {
        log_warn("serve.no_redirect", KV_S("store", x->host),
                 KV_S("why", x->https ? "the registry is https, the store is not"
                                      : "clients would send it the registry's credentials"));
        x->able = false;
    }
    *ret = x;
    return 0;
}

void redirect_free(struct redirect *x)
{
    free(x);
}

/* ---- requests */

static bool holds(struct str text, const char *part)
{
    struct str wanted = str_of(part);

    for (size_t i = 0; i + wanted.len <= text.len; i++)
        if (str_eq_nocase(str_make(text.at + i, wanted.len), wanted))
            return true;
    return false;
}

/* Behind a proxy the client is who it says: nothing but the way of the bytes depends on it. */
static struct str client_address(struct req *r, char out[REQ_ADDRESS_MAX])
{
    struct str forwarded = req_header(r, "X-Forwarded-For");
    ptrdiff_t comma = str_find(forwarded, ',');

    if (forwarded.len == 0)
        return req_peer(r, out);
    if (comma >= 0)
        forwarded = str_head(forwarded, (size_t)comma);
    while (forwarded.len > 0 && forwarded.at[forwarded.len - 1] == ' ')
        forwarded.len--;
    return forwarded;
}

static bool excepted(const struct redirect *x, struct req *r)
{
    char text[REQ_ADDRESS_MAX];
    struct str agent = req_header(r, "User-Agent"), address;

    for (size_t i = 0; i < x->settings.agents.count; i++)
        if (holds(agent, x->settings.agents.at[i]))
            return true;
    if (x->settings.networks.count == 0)
        return false;
    address = client_address(r, text);
    for (size_t i = 0; i < x->settings.networks.count; i++) {
        bool inside = false;

        if (redirect_network_parse(x->settings.networks.at[i], address, &inside) == 0 && inside)
            return true;
    }
    return false;
}

static bool wanted(const struct redirect *x, struct req *r, uint64_t size)
{
    return x->able && size >= (uint64_t)x->settings.min_bytes && !excepted(x, r) &&
           !redirect_same_site(without_port(req_header(r, "Host")), str_of(x->host));
}

int redirect_reply(const struct redirect *x, struct req *r, struct str key, struct str digest,
                   uint64_t size, bool *ret_done)
{
    struct buf url auto_buf = BUF_INIT(REDIRECT_URL_MAX);
    int e;

    *ret_done = wanted(x, r, size);
    if (!*ret_done)
        return 0;
    e = store_presign_get(x->store, key, x->settings.ttl_s * 1000, &url);
    if (e == 0 && str_starts(buf_str(&url), STR("http://")) &&
        str_eq_nocase(req_header(r, "X-Forwarded-Proto"), STR("https")))
        *ret_done = false; /* R47 */
    if (e < 0 || !*ret_done)
        return e;
    req_add_header(r, "Location", buf_str(&url));
    req_add_header(r, "Docker-Content-Digest", digest);
    req_add_header(r, "Cache-Control", STR("no-store"));
    return req_reply_empty(r, 307);
}
