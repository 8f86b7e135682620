/* The object store on S3: settings, single objects, many at once (store_s3.h). */
#include "blobstore/store_s3.h"

#include <assert.h>
#include <stdio.h>

#include "base/clock.h"
#include "base/enc.h"
#include "blobstore/store_s3_internal.h"

#define RUN_AT_ONCE       64 /* requests of one store_run in flight */
#define CONFLICT_PAUSE_MS 50

struct store_s3 *s3_of(struct store *s)
{
    return (struct store_s3 *)(void *)s;
}

void s3_path(const struct store_s3 *s, const struct s3_place *p, struct str key, struct buf *out)
{
    buf_addc(out, '/');
    if (p->bucket_in_path) {
        url_encode(out, buf_str(&s->bucket), NULL);
        if (key.len > 0)
            buf_addc(out, '/');
    }
    if (key.len > 0) {
        url_encode(out, buf_str(&s->root), "/");
        url_encode(out, key, "/");
    }
}

static void s3_free(struct store *store)
{
    struct store_s3 *s = s3_of(store);

    httpc_free(s->http);
    s3_creds_free(s->creds);
    buf_done(&s->bucket);
    buf_done(&s->root);
    mutex_done(&s->mu);
    free(s);
}

/* ---- reading */

static int info_of(const struct s3_call *c, struct store_info *ret)
{
    struct store_info info = {.size = 0};

    if (c->http.length < 0)
        return -ERR_UNAVAIL;
    info.size = (uint64_t)c->http.length;
    (void)!s3_time_http(httpc_answer_header(&c->http, "last-modified"), &info.modified_ms);
    *ret = info;
    return 0;
}

static int s3_head(struct store *store, struct str key, struct store_info *ret,
                   struct err_detail *detail)
{
    struct s3_call c;
    int r;

    s3_call_init(&c, S3_READ, "HEAD", key);
    r = s3_run_one(s3_of(store), &c, detail);
    if (r == 0)
        r = info_of(&c, ret);
    s3_call_done(&c);
    return r;
}

/* Nothing is known of a remote store without asking it. */
static int s3_probe(struct store *store, struct str key, struct store_info *ret)
{
    (void)store;
    (void)key;
    (void)ret;
    return -ERR_AGAIN;
}

static void get_init(struct s3_call *c, struct str key, uint64_t offset, uint64_t len,
                     struct buf *out)
{
    s3_call_init(c, S3_READ, "GET", key);
    c->answer = out;
    if (len != STORE_WHOLE) {
        c->try_ms = S3_TRY_MS + s3_slow_ms(len);
        c->deadline_ms = clock_boot_ms() + S3_READ_MS + s3_slow_ms(len);
    }
    if (len != STORE_WHOLE && offset + len <= INT64_MAX)
        snprintf(c->range, sizeof(c->range), "bytes=%llu-%llu", (unsigned long long)offset,
                 (unsigned long long)(offset + len - 1));
    else if (offset > 0)
        snprintf(c->range, sizeof(c->range), "bytes=%llu-", (unsigned long long)offset);
}

/* A server may ignore Range; then it answers 200 with everything. */
static int check_range(const struct s3_call *c, uint64_t offset)
{
    return offset > 0 && c->http.status == 200 ? -ERR_UNAVAIL : 0;
}

static int s3_get(struct store *store, struct str key, uint64_t offset, uint64_t len,
                  struct buf *out, struct err_detail *detail)
{
    struct store_info info;
    struct s3_call c;
    size_t at = out->len;
    int r;

    if (len == 0 || offset > INT64_MAX)
        return s3_head(store, key, &info, detail); /* no byte, but does it exist? */
    get_init(&c, key, offset, len, out);
    r = s3_run_one(s3_of(store), &c, detail);
    if (r == 0)
        r = check_range(&c, offset);
    s3_call_done(&c);
    if (r == -ERR_RANGE) /* it begins behind the end */
        return 0;
    if (r < 0)
        buf_truncate(out, at);
    return r;
}

static int s3_open(struct store *store, struct str key, struct store_object *ret,
                   struct err_detail *detail)
{
    struct store_info info;
    int r = s3_head(store, key, &info, detail);

    if (r == 0)
        *ret = (struct store_object){-1, info};
    return r;
}

/* ---- writing */

/* A create that met another one: what stands at the key decides, else it is sent again. */
static void settle(struct store *store, struct s3_call *c)
{
    struct store_info info;
    int64_t until = clock_boot_ms() + S3_CREATE_MS;

    while (c->result == -ERR_AGAIN) {
        int seen = s3_head(store, c->key, &info, NULL);

        if (seen == 0)
            c->result = -ERR_EXISTS;
        else if (seen != -ERR_NOTFOUND || clock_boot_ms() > until)
            c->result = -ERR_UNAVAIL;
        if (c->result != -ERR_AGAIN)
            return;
        clock_sleep_ms(CONFLICT_PAUSE_MS);
        s3_run(s3_of(store), &c, 1);
    }
}

static int s3_create(struct store *store, struct str key, enum store_class cls, struct str bytes,
                     struct err_detail *detail)
{
    struct s3_call c;
    int r;

    (void)cls;
    s3_call_init(&c, S3_CREATE, "PUT", key);
    c.body = bytes;
    r = s3_run_one(s3_of(store), &c, detail);
    if (r == -ERR_AGAIN) {
        settle(store, &c);
        r = c.result;
    }
    s3_call_done(&c);
    return r;
}

static int s3_put(struct store *store, struct str key, enum store_class cls, struct str bytes,
                  struct err_detail *detail)
{
    struct s3_call c;
    int r;

    (void)cls;
    s3_call_init(&c, S3_WRITE, "PUT", key);
    c.body = bytes;
    r = s3_run_one(s3_of(store), &c, detail);
    s3_call_done(&c);
    return r;
}

static int s3_remove(struct store *store, struct str key, enum store_class cls,
                     struct err_detail *detail)
{
    struct s3_call c;
    int r;

    (void)cls;
    s3_call_init(&c, S3_WRITE, "DELETE", key);
    r = s3_run_one(s3_of(store), &c, detail);
    s3_call_done(&c);
    return r == -ERR_NOTFOUND ? 0 : r;
}

/* ---- many at once */

static void op_init(struct s3_call *c, const struct store_op *op)
{
    switch (op->kind) {
    case STORE_OP_HEAD:
        s3_call_init(c, S3_READ, "HEAD", op->key);
        break;
    case STORE_OP_GET:
        get_init(c, op->key, op->offset, op->len > 0 ? op->len : STORE_WHOLE, op->out);
        break;
    case STORE_OP_CREATE:
        s3_call_init(c, S3_CREATE, "PUT", op->key);
        c->body = op->bytes;
        break;
    case STORE_OP_REMOVE:
        s3_call_init(c, S3_WRITE, "DELETE", op->key);
        break;
    }
}

static void op_end(struct store *store, struct s3_call *c, struct store_op *op)
{
    if (c->result == -ERR_AGAIN)
        settle(store, c);
    op->result = c->result;
    if (op->kind == STORE_OP_HEAD && c->result == 0)
        op->result = info_of(c, &op->info);
    if (op->kind == STORE_OP_GET && c->result == 0)
        op->result = check_range(c, op->offset);
    if (op->kind == STORE_OP_GET && c->result == -ERR_RANGE)
        op->result = 0;
    if (op->kind == STORE_OP_REMOVE && c->result == -ERR_NOTFOUND)
        op->result = 0;
    s3_call_done(c);
}

static void s3_run_ops(struct store *store, struct store_op *ops, size_t count)
{
    struct s3_call *calls auto_free = NULL, *at[RUN_AT_ONCE];
    size_t most = count < RUN_AT_ONCE ? count : RUN_AT_ONCE;

    calls = count > 0 ? calloc(most, sizeof(*calls)) : NULL;
    for (size_t i = 0; i < count; i += most) {
        size_t n = count - i < most ? count - i : most;

        for (size_t k = 0; k < n && calls; k++) {
            op_init(&calls[k], &ops[i + k]);
            at[k] = &calls[k];
        }
        if (calls)
            s3_run(s3_of(store), at, n);
        for (size_t k = 0; k < n; k++) {
            if (calls)
                op_end(store, &calls[k], &ops[i + k]);
            else
                ops[i + k].result = -ERR_NOMEM;
        }
    }
}

/* ---- clock, presigning */

static int s3_now(struct store *store, int64_t *ret_ms, struct err_detail *detail)
{
    struct store_info info;
    bool known;
    int64_t now = s3_clock(s3_of(store), &known);
    int r;

    if (!known) {
        r = s3_head(store, STR("format"), &info, detail); /* any answer has a Date */
        if (r < 0 && r != -ERR_NOTFOUND)
            return r;
        now = s3_clock(s3_of(store), &known);
        if (!known)
            return err_set(detail, -ERR_UNAVAIL, "the object store's answers have no Date");
    }
    *ret_ms = now;
    return 0;
}

int s3_presign_at(struct store_s3 *s, const struct s3_place *p, struct str key, int64_t ttl_ms,
                  int64_t age_ms, struct buf *ret_url)
{
    struct buf path auto_buf = BUF_INIT(S3_URL_MAX);
    char text[SIGV4_TIME_LEN + 1];
    struct s3_key signer;
    bool known;
    struct str time = sigv4_time(s3_clock(s, &known) - age_ms, text);
    int r = s3_creds_key(s->creds, str_head(time, SIGV4_DAY_LEN), str_of(s->region), &signer, NULL);

    if (r < 0)
        return r;
    s3_path(s, p, key, &path);
    buf_addf(ret_url, "%s://%s", p->scheme, p->host);
    buf_add(ret_url, buf_str(&path));
    buf_addc(ret_url, '?');
    const struct sigv4_signer who = {str_of(signer.access), str_of(s->region), STR("s3"),
                                     signer.day_key, time};
    r = sigv4_presign(&who, str_of(p->host), buf_str(&path), str_of(signer.token), ttl_ms / 1000,
                      STR("response-content-type=application%2Foctet-stream"), ret_url);
    explicit_bzero(&signer, sizeof(signer));
    return r;
}

static int s3_presign_get(struct store *store, struct str key, int64_t ttl_ms, struct buf *ret_url)
{
    return s3_presign_at(s3_of(store), &s3_of(store)->public, key, ttl_ms, 0, ret_url);
}

/* ---- settings */

int store_s3_parse_url(struct str url, struct str *ret_bucket, struct str *ret_prefix,
                       struct err_detail *detail)
{
    struct str rest = str_skip(url, 5), bucket, prefix = STR_NONE;
    ptrdiff_t slash;

    if (!str_starts(url, STR("s3://")))
        return err_set(detail, -ERR_INVAL,
                       "a store on S3 is named s3://BUCKET or "
                       "s3://BUCKET/PREFIX");
    slash = str_find(rest, '/');
    bucket = slash < 0 ? rest : str_head(rest, (size_t)slash);
    if (slash >= 0)
        prefix = str_skip(rest, (size_t)slash + 1);
    while (prefix.len > 0 && prefix.at[prefix.len - 1] == '/')
        prefix.len--;
    if (bucket.len < 3 || bucket.len > 63)
        return err_set(detail, -ERR_INVAL, "the name of a bucket has 3 to 63 characters");
    for (size_t i = 0; i < bucket.len; i++)
        if (!strchr("abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789.-_",
                    bucket.at[i]))
            return err_set(detail, -ERR_INVAL,
                           "the name of a bucket holds letters, digits, '.', "
                           "'-' and '_' only");
    /* Some clients take paths with these for a registry's and send credentials along (R43). */
    for (size_t i = 0; i + 2 <= prefix.len; i++) {
        struct str at = str_skip(prefix, i);
        bool first = i == 0 || prefix.at[i - 1] == '/';
        bool last = at.len == 2 || at.at[2] == '/';

        if (first && last && (str_starts(at, STR("v1")) || str_starts(at, STR("v2"))))
            return err_set(detail, -ERR_INVAL, "the prefix may have no part \"v1\" or \"v2\"");
        if (at.at[0] == '/' && (i == 0 || at.at[1] == '/'))
            return err_set(detail, -ERR_INVAL, "the prefix has an empty part");
    }
    if (prefix.len > S3_PREFIX_MAX)
        return err_set(detail, -ERR_INVAL, "the prefix is longer than %d bytes", S3_PREFIX_MAX);
    *ret_bucket = bucket;
    *ret_prefix = prefix;
    return 0;
}

static const char *env_first(const char *const *names, size_t count)
{
    for (size_t i = 0; i < count; i++) {
        const char *value = getenv(names[i]);

        if (value && value[0])
            return value;
    }
    return NULL;
}

/* "https://host[:port]" into a place. */
static int place_parse(const char *url, struct str bucket, bool host_style, struct s3_place *ret,
                       struct err_detail *detail)
{
    struct str s = str_of(url), host;
    struct s3_place p = {.bucket_in_path = !host_style};
    ptrdiff_t colon;

    p.tls = str_starts(s, STR("https://"));
    if (!p.tls && !str_starts(s, STR("http://")))
        return err_set(detail, -ERR_INVAL, "an S3 endpoint is http://HOST[:PORT] or https://...");
    snprintf(p.scheme, sizeof(p.scheme), "%s", p.tls ? "https" : "http");
    host = str_skip(s, p.tls ? 8 : 7);
    while (host.len > 0 && host.at[host.len - 1] == '/')
        host.len--;
    if (host.len == 0 || host.len + bucket.len + 2 > S3_HOST_MAX)
        return err_set(detail, -ERR_INVAL, "an S3 endpoint names a host");
    for (size_t i = 0; i < host.len; i++)
        if (host.at[i] <= ' ' || host.at[i] > '~' || strchr("/?#@\"\\<>", host.at[i]))
            return err_set(detail, -ERR_INVAL, "an S3 endpoint is a host and a port, no more");
    colon = str_find(host, ':'); /* a default port is not in the Host that is signed */
    if (colon > 0 && str_eq(str_skip(host, (size_t)colon), p.tls ? STR(":443") : STR(":80")))
        host.len = (size_t)colon;
    snprintf(p.host, sizeof(p.host), STR_FMT "%s" STR_FMT, STR_ARG(host_style ? bucket : STR_NONE),
             host_style ? "." : "", STR_ARG(host));
    *ret = p;
    return 0;
}

static int set_region(struct store_s3 *s, const char *given, struct err_detail *detail)
{
    static const char *const names[] = {"AWS_REGION", "AWS_DEFAULT_REGION"};
    struct buf profile auto_buf = BUF_INIT(sizeof(s->region) - 1);
    const char *region = given && given[0] ? given : env_first(names, ARRAY_LEN(names));

    if (!region) {
        s3_creds_region(&profile);
        region = profile.len > 0 && buf_err(&profile) == 0 ? buf_c(&profile) : "us-east-1";
    }
    if (strlen(region) >= sizeof(s->region))
        return err_set(detail, -ERR_INVAL, "the name of the region is too long");
    memcpy(s->region, region, strlen(region) + 1);
    return 0;
}

static int set_places(struct store_s3 *s, const struct store_s3_settings *settings,
                      struct err_detail *detail)
{
    static const char *const names[] = {"AWS_ENDPOINT_URL_S3", "AWS_ENDPOINT_URL"};
    const char *endpoint = settings->endpoint && settings->endpoint[0]
                               ? settings->endpoint
                               : env_first(names, ARRAY_LEN(names));
    const char *public = settings->public_endpoint && settings->public_endpoint[0]
                             ? settings->public_endpoint
                             : NULL;
    bool host_style = settings->addressing == S3_ADDRESS_HOST ||
                      (settings->addressing == S3_ADDRESS_AUTO && !endpoint);
    char aws[128];
    int r;

    snprintf(aws, sizeof(aws), "https://s3.%s.amazonaws.com", s->region);
    r = place_parse(endpoint ? endpoint : aws, settings->bucket, host_style, &s->place, detail);
    if (r == 0)
        r = place_parse(public     ? public
                        : endpoint ? endpoint
                                   : aws,
                        settings->bucket, host_style, &s->public, detail);
    return r;
}

static int set_create_header(struct store_s3 *s, const char *header, struct err_detail *detail)
{
    struct str text = str_of(header && header[0] ? header : S3_CREATE_HEADER);
    ptrdiff_t colon = str_find(text, ':');
    struct str value = colon < 0 ? STR_NONE : str_skip(text, (size_t)colon + 1);

    while (value.len > 0 && value.at[0] == ' ')
        value = str_skip(value, 1);
    if (colon <= 0 || (size_t)colon >= sizeof(s->create_name) || value.len == 0 ||
        value.len >= sizeof(s->create_value))
        return err_set(detail, -ERR_INVAL, "the header of a create is NAME: VALUE");
    for (size_t i = 0; i < (size_t)colon; i++)
        s->create_name[i] =
            (char)(text.at[i] >= 'A' && text.at[i] <= 'Z' ? text.at[i] + 32 : text.at[i]);
    memcpy(s->create_value, value.at, value.len);
    return 0;
}

static int set_all(struct store_s3 *s, const struct store_s3_settings *settings,
                   struct err_detail *detail)
{
    static const char *const names[] = {"AWS_CA_BUNDLE"};
    const char *ca = settings->ca_file && settings->ca_file[0] ? settings->ca_file
                                                               : env_first(names, ARRAY_LEN(names));
    int r;

    buf_add(&s->bucket, settings->bucket);
    buf_add(&s->root, settings->prefix);
    if (settings->prefix.len > 0)
        buf_addc(&s->root, '/');
    if (buf_err(&s->bucket) < 0 || buf_err(&s->root) < 0)
        return -ERR_NOMEM;
    if (ca && strlen(ca) >= sizeof(s->ca_file))
        return err_set(detail, -ERR_INVAL, "the path of the CA file is too long");
    if (ca)
        memcpy(s->ca_file, ca, strlen(ca) + 1);
    s->part_bytes = settings->part_bytes > 0 ? settings->part_bytes : S3_PART_BYTES;
    r = set_region(s, settings->region, detail);
    if (r == 0)
        r = set_places(s, settings, detail);
    if (r == 0)
        r = set_create_header(s, settings->create_header, detail);
    return r;
}

static const struct store_ops s3_ops = {
    .free = s3_free,
    .get = s3_get,
    .head = s3_head,
    .probe = s3_probe,
    .create = s3_create,
    .put = s3_put,
    .remove = s3_remove,
    .list = s3_list,
    .now = s3_now,
    .run = s3_run_ops,
    .open = s3_open,
    .has_files = false,
    .remote = true,
    .presign_get = s3_presign_get,
    .stream_open = s3_stream_open,
    .stream_write = s3_stream_write,
    .stream_size = s3_stream_size,
    .stream_safe = s3_stream_safe,
    .stream_save = s3_stream_save,
    .stream_resume = s3_stream_resume,
    .stream_read = s3_stream_read,
    .stream_commit = s3_stream_commit,
    .stream_close = s3_stream_close,
    .stream_sweep = s3_stream_sweep,
    .stream_list = s3_stream_list,
    .check = s3_check,
};

int store_s3_new(const struct store_s3_settings *settings, struct store **ret,
                 struct err_detail *detail)
{
    struct store_s3 *s = calloc(1, sizeof(*s));
    struct httpc_settings http = {.ca_file = NULL};
    int r;

    assert(settings && ret && settings->bucket.len > 0);
    if (!s)
        return -ERR_NOMEM;
    s->store.ops = &s3_ops;
    s->bucket = BUF_INIT(64);
    s->root = BUF_INIT(S3_PREFIX_MAX + 1);
    mutex_init(&s->mu);
    r = set_all(s, settings, detail);
    if (r == 0)
        r = s3_creds_new(&s->creds);
    http.ca_file = s->ca_file[0] ? s->ca_file : NULL;
    if (r == 0)
        r = httpc_new(&http, &s->http, detail);
    if (r < 0) {
        s3_free(&s->store);
        return r;
    }
    *ret = &s->store;
    return 0;
}
