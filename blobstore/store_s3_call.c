/* Requests of the S3 store: how one is signed and sent, what its answer means, when it is sent
 * again (store_s3.h).
 *
 * A read or a write that may be repeated goes on until its time is up. A create is sent again only
 * after an answer that says it was not applied; what broke off on the way is -ERR_UNKNOWN (S3 of
 * store.h), because only reading the key back can tell. */
#include <assert.h>
#include <stdatomic.h>
#include <stdio.h>

#include "base/clock.h"
#include "base/enc.h"
#include "base/log.h"
#include "base/rand.h"
#include "blobstore/store_s3_internal.h"

#define SAY_EVERY_MS    10000 /* refusals are logged at most so often */
#define CLOCK_STEP_MS   5000
#define CLOCK_WIDEN_PPM 200 /* how fast what is known of the store's clock grows old */

static atomic_ullong requests;

uint64_t store_s3_requests(void)
{
    return atomic_load(&requests);
}

/* ---- the store's clock: Date has whole seconds, so one answer bounds the difference of the clocks
 * to a second and the exchange's length; answers at different fractions narrow that down. */

static void learn_clock(struct store_s3 *s, const struct httpc_request *r)
{
    int64_t date, min, max, age;

    if (!s3_time_http(httpc_answer_header(r, "date"), &date))
        return;
    min = date - r->received_ms;
    max = date + 999 - r->sent_ms;
    mutex_lock(&s->mu);
    age = s->dated_ms > 0 ? r->received_ms - s->dated_ms : 0;
    if (s->dated_ms > 0) {
        int64_t widen = age > 0 ? 1 + age * CLOCK_WIDEN_PPM / 1000000 : 0;
        int64_t low = s->offset_min_ms - widen, high = s->offset_max_ms + widen;

        if (low <= max && min <= high) { /* else a clock was set: begin anew */
            min = low > min ? low : min;
            max = high < max ? high : max;
        }
    }
    s->offset_min_ms = min;
    s->offset_max_ms = max;
    if (r->received_ms > s->dated_ms)
        s->dated_ms = r->received_ms;
    mutex_unlock(&s->mu);
}

int64_t s3_clock(struct store_s3 *s, bool *ret_known)
{
    int64_t now = clock_boot_ms(), offset;
    bool known;

    mutex_lock(&s->mu);
    known = s->dated_ms > 0 && now - s->dated_ms < S3_CLOCK_AGE_MS;
    offset = s->dated_ms > 0 ? s->offset_min_ms + (s->offset_max_ms - s->offset_min_ms) / 2
                             : clock_wall_ms() - now;
    /* A better estimate may be an earlier one; only a clock that was set goes back. */
    if (s->told_ms > now + offset && s->told_ms - now - offset < CLOCK_STEP_MS)
        offset = s->told_ms - now;
    s->told_ms = now + offset;
    mutex_unlock(&s->mu);
    *ret_known = known;
    return now + offset;
}

/* ---- calls */

void s3_call_init(struct s3_call *c, enum s3_kind kind, const char *method, struct str key)
{
    *c = (struct s3_call){.kind = kind,
                          .method = method,
                          .key = key,
                          .query = BUF_INIT(S3_QUERY_MAX),
                          .url = BUF_INIT(S3_URL_MAX),
                          .authorization = BUF_INIT(S3_URL_MAX)};
}

static void forget_answer(struct s3_call *c)
{
    httpc_request_done(&c->http);
    c->http = (struct httpc_request){.status = 0};
}

void s3_call_done(struct s3_call *c)
{
    forget_answer(c);
    buf_done(&c->query);
    buf_done(&c->url);
    buf_done(&c->authorization);
    explicit_bzero(&c->signer, sizeof(c->signer));
}

static int64_t kind_ms(const struct s3_call *c)
{
    return c->kind == S3_READ ? S3_READ_MS : c->kind == S3_CREATE ? S3_CREATE_MS : S3_WRITE_MS;
}

/* Over TLS large bodies need no hash of their own. */
static struct str payload_of(const struct store_s3 *s, struct s3_call *c)
{
    struct digest d;

    if (c->payload.len > 0)
        return c->payload;
    if (c->source) {
        assert(s->place.tls);
        return STR(SIGV4_UNSIGNED);
    }
    digest_of(DIGEST_SHA256, c->body, &d);
    hex_encode(d.bytes, HMAC_BYTES, c->payload_hex);
    return str_of(c->payload_hex);
}

static int make_url(const struct store_s3 *s, struct s3_call *c, struct str *ret_path)
{
    size_t at;

    buf_clear(&c->url);
    buf_addf(&c->url, "%s://%s", s->place.scheme, s->place.host);
    at = c->url.len;
    s3_path(s, &s->place, c->key, &c->url);
    *ret_path = str_make(c->url.at + at, c->url.len - at);
    if (c->query.len > 0) {
        buf_addc(&c->url, '?');
        buf_add(&c->url, buf_str(&c->query));
    }
    *ret_path = str_make(c->url.at + at, ret_path->len); /* it may have moved */
    return buf_err(&c->url);
}

struct header_list {
    struct s3_call *c;
    struct sigv4_header signed_[SIGV4_HEADERS_MAX];
    size_t count;
};

static void add_header(struct header_list *l, const char *name, struct str value)
{
    l->signed_[l->count++] = (struct sigv4_header){str_of(name), value};
    l->c->headers[l->c->http.header_count++] = (struct httpc_header){str_of(name), value};
}

static int sign(struct store_s3 *s, struct s3_call *c, struct str path, struct err_detail *detail)
{
    struct header_list l = {.c = c};
    struct str payload = payload_of(s, c);
    struct str time;
    bool known;
    int r;

    time = sigv4_time(s3_clock(s, &known) - c->age_ms, c->time);
    r = s3_creds_key(s->creds, str_head(time, SIGV4_DAY_LEN), str_of(s->region), &c->signer,
                     detail);
    if (r < 0)
        return r;
    c->http.header_count = 0;
    l.signed_[l.count++] = (struct sigv4_header){STR("host"), str_of(s->place.host)};
    add_header(&l, "x-amz-content-sha256", payload);
    add_header(&l, "x-amz-date", time);
    if (c->signer.token[0])
        add_header(&l, "x-amz-security-token", str_of(c->signer.token));
    if (c->kind == S3_CREATE)
        add_header(&l, s->create_name, str_of(s->create_value));
    if (c->range[0])
        add_header(&l, "range", str_of(c->range));
    const struct sigv4_signer signer = {str_of(c->signer.access), str_of(s->region), STR("s3"),
                                        c->signer.day_key, time};
    const struct sigv4_request q = {str_of(c->method), path,    buf_str(&c->query),
                                    l.signed_,         l.count, payload};
    buf_clear(&c->authorization);
    r = sigv4_authorization(&signer, &q, &c->authorization);
    c->headers[c->http.header_count++] =
        (struct httpc_header){STR("authorization"), buf_str(&c->authorization)};
    return r;
}

static int prepare(struct store_s3 *s, struct s3_call *c, struct err_detail *detail)
{
    int64_t now = clock_boot_ms(), more = s3_slow_ms(c->body.len);
    int64_t limit = c->try_ms > 0 ? c->try_ms : S3_TRY_MS + more;
    struct str path;
    int r;

    forget_answer(c);
    c->error = (struct s3_error){"", ""};
    if (buf_err(&c->query) < 0)
        return buf_err(&c->query);
    r = make_url(s, c, &path);
    if (r == 0)
        r = sign(s, c, path, detail);
    if (r < 0)
        return r;
    if (c->deadline_ms == 0)
        c->deadline_ms = now + kind_ms(c) + more;
    if (c->answer && c->tries++ == 0)
        c->answer_at = c->answer->len;
    c->http.method = c->method;
    c->http.url = buf_c(&c->url);
    c->http.headers = c->headers;
    c->http.body = c->body;
    c->http.source = c->source;
    c->http.arg = c->source_arg;
    c->http.body_len = c->source_len;
    c->http.answer = c->answer;
    c->http.deadline_ms = now + limit < c->deadline_ms ? now + limit : c->deadline_ms;
    return 0;
}

static int submit(struct store_s3 *s, struct s3_call *c, struct httpc_wait *wait,
                  struct err_detail *detail)
{
    int r = prepare(s, c, detail);

    if (r == 0)
        r = httpc_submit(s->http, &c->http, wait);
    if (r == 0)
        atomic_fetch_add(&requests, 1);
    c->result = r;
    return r;
}

/* ---- what an answer means */

/* Whether the answer was one of trying again. */
static int refused(struct store_s3 *s, struct s3_call *c, bool *ret_again)
{
    int64_t now = clock_boot_ms();
    bool say;

    *ret_again = !c->refused && s3_creds_refused(s->creds);
    c->refused = true;
    mutex_lock(&s->mu);
    say = !*ret_again && !c->quiet && (s->said_ms == 0 || now - s->said_ms > SAY_EVERY_MS);
    if (say)
        s->said_ms = now;
    mutex_unlock(&s->mu);
    if (say)
        log_error("store.refused", KV_S("method", c->method), KV_I("status", c->http.status),
                  KV_S("code", c->error.code), KV_S("message", c->error.message));
    return -ERR_UNAVAIL;
}

static bool code_is(const struct s3_call *c, const char *code)
{
    return strcmp(c->error.code, code) == 0;
}

/* A server or something before it failed: a create may have been applied. */
static int failed(const struct s3_call *c, bool *ret_again)
{
    *ret_again = c->kind != S3_CREATE;
    return c->kind == S3_READ ? -ERR_UNAVAIL : -ERR_UNKNOWN;
}

static int meaning_of_status(struct store_s3 *s, struct s3_call *c, bool *ret_again)
{
    unsigned status = c->http.status;

    if (c->http.error.len > 0)
        (void)!s3xml_error(buf_str(&c->http.error), &c->error);
    switch (status) {
    case 404:
        if (code_is(c, "NoSuchBucket"))
            return refused(s, c, ret_again);
        return -ERR_NOTFOUND;
    case 409: /* ConditionalRequestConflict: neither won nor lost; some tell losers so, too */
        *ret_again = c->kind != S3_CREATE;
        return c->kind == S3_CREATE ? -ERR_AGAIN : -ERR_UNAVAIL;
    case 429:
        *ret_again = true;
        return -ERR_UNAVAIL;
    case 412:
        return -ERR_EXISTS;
    case 416:
        return -ERR_RANGE;
    case 507:
        return -ERR_NOSPACE;
    case 501:
        return -ERR_UNSUPPORTED;
    case 503:
        *ret_again = true;
        return -ERR_UNAVAIL;
    case 400:
        if (code_is(c, "RequestTimeout"))
            return failed(c, ret_again);
        return refused(s, c, ret_again);
    default:
        return status >= 500 ? failed(c, ret_again) : refused(s, c, ret_again);
    }
}

static int meaning(struct store_s3 *s, struct s3_call *c, bool *ret_again)
{
    *ret_again = false;
    switch (c->http.result) {
    case HTTPC_NOT_SENT:
        *ret_again = true;
        return -ERR_UNAVAIL;
    case HTTPC_UNKNOWN:
        return failed(c, ret_again);
    case HTTPC_TOO_LARGE:
        return -ERR_TOOBIG;
    case HTTPC_STOPPED:
        return -ERR_IO;
    case HTTPC_ANSWERED:
        learn_clock(s, &c->http);
        return c->http.status >= 200 && c->http.status < 300 ? 0
                                                             : meaning_of_status(s, c, ret_again);
    }
    return -ERR_IO;
}

/* ---- running */

static int64_t next_pause(int64_t pause)
{
    return pause * 2 < S3_PAUSE_MAX_MS ? pause * 2 : S3_PAUSE_MAX_MS;
}

/* Judges what was answered; true: to be sent again after a pause. */
static bool judge(struct store_s3 *s, struct s3_call *c, int64_t pause)
{
    bool again = false;

    c->result = meaning(s, c, &again);
    c->pending = again && clock_boot_ms() + pause < c->deadline_ms;
    if (c->result < 0 && c->answer)
        buf_truncate(c->answer, c->answer_at);
    return c->pending;
}

void s3_run(struct store_s3 *s, struct s3_call *const *calls, size_t count)
{
    int64_t pause = S3_PAUSE_FIRST_MS;
    struct httpc_wait wait;
    bool again = count > 0;

    for (size_t i = 0; i < count; i++)
        calls[i]->pending = true;
    httpc_wait_init(&wait);
    while (again) {
        again = false;
        for (size_t i = 0; i < count; i++)
            if (calls[i]->pending && submit(s, calls[i], &wait, NULL) < 0)
                calls[i]->pending = false;
        httpc_await_all(&wait);
        for (size_t i = 0; i < count; i++)
            if (calls[i]->pending)
                again = judge(s, calls[i], pause) || again;
        if (again) {
            clock_sleep_ms(pause / 2 + (int64_t)rand_below((uint64_t)pause));
            pause = next_pause(pause);
        }
    }
    httpc_wait_done(&wait);
}

static int told(const struct s3_call *c, struct err_detail *detail)
{
    int r = c->result;

    if (r == -ERR_UNAVAIL && c->error.code[0])
        return err_set(detail, r, "the object store answers %u %s: %s", c->http.status,
                       c->error.code, c->error.message);
    if (r == -ERR_UNAVAIL && c->http.result == HTTPC_ANSWERED && c->http.status > 0)
        return err_set(detail, r, "the object store answers %u", c->http.status);
    if (r == -ERR_UNAVAIL)
        return err_set(detail, r, "the object store cannot be reached");
    return r;
}

int s3_run_one(struct store_s3 *s, struct s3_call *c, struct err_detail *detail)
{
    s3_run(s, &c, 1);
    return told(c, detail);
}

int s3_start(struct store_s3 *s, struct s3_call *c, struct httpc_wait *wait)
{
    c->pending = submit(s, c, wait, NULL) == 0;
    return c->result;
}

int s3_finish(struct store_s3 *s, struct s3_call *c, struct err_detail *detail)
{
    if (!c->pending)
        return told(c, detail);
    httpc_await(&c->http);
    if (!judge(s, c, S3_PAUSE_FIRST_MS))
        return told(c, detail);
    clock_sleep_ms(S3_PAUSE_FIRST_MS);
    return s3_run_one(s, c, detail);
}
