/* AWS Signature Version 4 (sigv4.h). The canonical request is a text of fixed lines; its hash goes
 * into the text that is signed; the key is derived for a day, a region and a service. */
#include "blobstore/sigv4.h"

#include <assert.h>

#include "base/enc.h"

#define SIGV4_ALGORITHM "AWS4-HMAC-SHA256"
#define SIGV4_HEX       (2 * HMAC_BYTES)

struct str sigv4_time(int64_t ms, char out[SIGV4_TIME_LEN + 1])
{
    char text[TIME_TEXT_MAX];
    struct str full = time_format_rfc3339(ms, text);
    size_t n = 0;

    for (size_t i = 0; i < full.len && full.at[i] != '.' && full.at[i] != 'Z'; i++)
        if (full.at[i] != '-' && full.at[i] != ':' && n < SIGV4_TIME_LEN - 1)
            out[n++] = full.at[i];
    out[n++] = 'Z';
    out[n] = '\0';
    return str_make(out, n);
}

int sigv4_day_key(struct str secret, struct str day, struct str region, struct str service,
                  uint8_t out[HMAC_BYTES])
{
    uint8_t first[4 + SIGV4_SECRET_MAX] = "AWS4";
    const struct str steps[] = {region, service, STR("aws4_request")};

    if (secret.len > SIGV4_SECRET_MAX)
        return -ERR_TOOBIG;
    memcpy(first + 4, secret.len > 0 ? secret.at : "", secret.len);
    hmac_sha256(str_make(first, 4 + secret.len), day, out);
    explicit_bzero(first, sizeof(first));
    for (size_t i = 0; i < ARRAY_LEN(steps); i++) {
        uint8_t key[HMAC_BYTES];

        memcpy(key, out, sizeof(key));
        hmac_sha256(str_make(key, sizeof(key)), steps[i], out);
    }
    return 0;
}

void sigv4_query_add(struct buf *query, const char *name, struct str value)
{
    if (query->len > 0)
        buf_addc(query, '&');
    url_encode(query, str_of(name), NULL);
    buf_addc(query, '=');
    url_encode(query, value, NULL);
}

/* Insertion sort: few headers. */
static size_t sort_headers(const struct sigv4_request *q,
                           const struct sigv4_header *out[SIGV4_HEADERS_MAX])
{
    assert(q->header_count <= SIGV4_HEADERS_MAX);
    for (size_t i = 0; i < q->header_count; i++) {
        size_t at = i;

        for (; at > 0 && str_cmp(out[at - 1]->name, q->headers[i].name) > 0; at--)
            out[at] = out[at - 1];
        out[at] = &q->headers[i];
    }
    return q->header_count;
}

static void add_names(struct buf *out, const struct sigv4_header *const *sorted, size_t count)
{
    for (size_t i = 0; i < count; i++) {
        if (i > 0)
            buf_addc(out, ';');
        buf_add(out, sorted[i]->name);
    }
}

static int canonical_hash(const struct sigv4_request *q, char out[SIGV4_HEX + 1])
{
    struct buf text auto_buf = BUF_INIT(SIGV4_TEXT_MAX);
    const struct sigv4_header *sorted[SIGV4_HEADERS_MAX];
    size_t count = sort_headers(q, sorted);
    struct digest d;

    buf_add(&text, q->method);
    buf_addc(&text, '\n');
    buf_add(&text, q->path);
    buf_addc(&text, '\n');
    buf_add(&text, q->query);
    buf_addc(&text, '\n');
    for (size_t i = 0; i < count; i++) {
        buf_add(&text, sorted[i]->name);
        buf_addc(&text, ':');
        buf_add(&text, sorted[i]->value);
        buf_addc(&text, '\n');
    }
    buf_addc(&text, '\n');
    add_names(&text, sorted, count);
    buf_addc(&text, '\n');
    buf_add(&text, q->payload);
    if (buf_err(&text) < 0)
        return buf_err(&text);
    digest_of(DIGEST_SHA256, buf_str(&text), &d);
    hex_encode(d.bytes, HMAC_BYTES, out);
    return 0;
}

static void add_scope(struct buf *out, const struct sigv4_signer *s)
{
    buf_add(out, str_head(s->time, SIGV4_DAY_LEN));
    buf_addc(out, '/');
    buf_add(out, s->region);
    buf_addc(out, '/');
    buf_add(out, s->service);
    buf_add(out, STR("/aws4_request"));
}

static int signature(const struct sigv4_signer *s, const struct sigv4_request *q,
                     char out[SIGV4_HEX + 1])
{
    struct buf text auto_buf = BUF_INIT(SIGV4_TEXT_MAX);
    uint8_t mac[HMAC_BYTES];
    char hash[SIGV4_HEX + 1];
    int r = canonical_hash(q, hash);

    if (r < 0)
        return r;
    assert(s->time.len == SIGV4_TIME_LEN);
    buf_add(&text, STR(SIGV4_ALGORITHM "\n"));
    buf_add(&text, s->time);
    buf_addc(&text, '\n');
    add_scope(&text, s);
    buf_addc(&text, '\n');
    buf_add(&text, str_of(hash));
    if (buf_err(&text) < 0)
        return buf_err(&text);
    hmac_sha256(str_make(s->day_key, HMAC_BYTES), buf_str(&text), mac);
    hex_encode(mac, sizeof(mac), out);
    return 0;
}

int sigv4_authorization(const struct sigv4_signer *s, const struct sigv4_request *q,
                        struct buf *out)
{
    const struct sigv4_header *sorted[SIGV4_HEADERS_MAX];
    size_t count = sort_headers(q, sorted);
    char mac[SIGV4_HEX + 1];
    int r = signature(s, q, mac);

    if (r < 0)
        return r;
    buf_add(out, STR(SIGV4_ALGORITHM " Credential="));
    buf_add(out, s->access);
    buf_addc(out, '/');
    add_scope(out, s);
    buf_add(out, STR(",SignedHeaders="));
    add_names(out, sorted, count);
    buf_add(out, STR(",Signature="));
    buf_add(out, str_of(mac));
    return buf_err(out);
}

int sigv4_presign(const struct sigv4_signer *s, struct str host, struct str path, struct str token,
                  int64_t ttl_s, struct str also, struct buf *out)
{
    struct buf query auto_buf = BUF_INIT(SIGV4_TEXT_MAX);
    struct buf scope auto_buf = BUF_INIT(SIGV4_TEXT_MAX);
    struct buf seconds auto_buf = BUF_INIT(32);
    const struct sigv4_header header = {STR("host"), host};
    struct sigv4_request q = {.method = STR("GET"),
                              .path = path,
                              .headers = &header,
                              .header_count = 1,
                              .payload = STR(SIGV4_UNSIGNED)};
    char mac[SIGV4_HEX + 1];
    int r;

    buf_add(&scope, s->access);
    buf_addc(&scope, '/');
    add_scope(&scope, s);
    buf_add_u64(&seconds, (uint64_t)ttl_s);
    sigv4_query_add(&query, "X-Amz-Algorithm", STR(SIGV4_ALGORITHM));
    sigv4_query_add(&query, "X-Amz-Credential", buf_str(&scope));
    sigv4_query_add(&query, "X-Amz-Date", s->time);
    sigv4_query_add(&query, "X-Amz-Expires", buf_str(&seconds));
    if (token.len > 0)
        sigv4_query_add(&query, "X-Amz-Security-Token", token);
    sigv4_query_add(&query, "X-Amz-SignedHeaders", STR("host"));
    if (also.len > 0) {
        buf_addc(&query, '&');
        buf_add(&query, also);
    }
    if (buf_err(&query) < 0 || buf_err(&scope) < 0)
        return -ERR_NOMEM;
    q.query = buf_str(&query);
    r = signature(s, &q, mac);
    if (r < 0)
        return r;
    buf_add(out, buf_str(&query));
    buf_add(out, STR("&X-Amz-Signature="));
    buf_add(out, str_of(mac));
    return buf_err(out);
}
