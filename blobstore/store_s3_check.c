/* What a server must do beside single objects (store_check.h): uploads in parts, presigned URLs,
 * refusing old and wrong signatures; and what the bucket must not be told to do. */
#include "blobstore/store_s3_internal.h"

#include "base/clock.h"

#define OLD_MS         3600000 /* far outside of every server's window of 15 minutes */
#define ANSWER_MAX     4096
#define CHECK_TEXT     "0123456789"
#define LIFECYCLE_MAX  (64u << 10)
#define PRESIGN_TTL_MS 60000

/* An upload of one small part, completed on condition: the second time it must be refused or be the
 * same object. */
static int check_upload(struct store_s3 *s, struct str key, struct err_detail *detail)
{
    struct store_stream *st = NULL;
    struct buf got auto_buf = BUF_INIT(64);
    int r = s3_stream_open(&s->store, key, &st, detail);

    if (r == 0)
        r = s3_stream_write(st, STR(CHECK_TEXT), detail);
    if (r == 0)
        r = s3_stream_upload_now(st, detail);
    if (r == 0)
        r = s3_stream_commit(st, detail);
    if (st)
        s3_stream_close(st);
    if (r == 0)
        r = s->store.ops->get(&s->store, key, 0, STORE_WHOLE, &got, detail);
    if (r < 0)
        return err_set(detail, r, "an upload in parts does not work: %s", err_text(r));
    return str_eq(buf_str(&got), STR(CHECK_TEXT))
               ? 0
               : err_set(detail, -ERR_UNSUPPORTED, "an upload in parts gives other bytes");
}

/* A GET as a client sends it: nothing but the URL, and a range. */
static int get_url(struct store_s3 *s, const char *url, struct buf *out, unsigned *ret_status)
{
    const struct httpc_header range = {STR("Range"), STR("bytes=2-4")};
    struct httpc_request q = {.method = "GET",
                              .url = url,
                              .headers = &range,
                              .header_count = 1,
                              .answer = out,
                              .deadline_ms = clock_boot_ms() + S3_TRY_MS};
    int r = httpc_run(s->http, &q);

    if (r == 0 && q.result != HTTPC_ANSWERED)
        r = -ERR_UNAVAIL;
    *ret_status = q.status;
    httpc_request_done(&q);
    return r;
}

/* Signed for the endpoint that this node itself reaches; clients' may be another. */
static int check_presigned(struct store_s3 *s, struct str key, struct err_detail *detail)
{
    struct buf url auto_buf = BUF_INIT(S3_URL_MAX), got auto_buf = BUF_INIT(ANSWER_MAX);
    unsigned status = 0;
    int r = s3_presign_at(s, &s->place, key, PRESIGN_TTL_MS, 0, &url);

    if (r == 0)
        r = get_url(s, buf_c(&url), &got, &status);
    if (r < 0)
        return err_set(detail, r, "a presigned URL cannot be tried: %s", err_text(r));
    if (status != 206 || !str_eq(buf_str(&got), STR("234")))
        return err_set(detail, -ERR_UNSUPPORTED,
                       "a presigned URL with a range is answered by %u instead of 206", status);
    buf_clear(&url);
    buf_clear(&got);
    r = s3_presign_at(s, &s->place, key, PRESIGN_TTL_MS, OLD_MS, &url);
    if (r == 0)
        r = get_url(s, buf_c(&url), &got, &status);
    if (r < 0)
        return err_set(detail, r, "an expired URL cannot be tried: %s", err_text(r));
    return status == 403 || status == 400
               ? 0
               : err_set(detail, -ERR_AGAIN,
                         "an expired presigned URL is still answered (%u): the "
                         "server does not check signatures",
                         status);
}

/* A late PUT must die: GC waits for as long as a signature lives (design section 10). */
static int check_old_signature(struct store_s3 *s, struct str key, struct err_detail *detail)
{
    struct s3_call c;
    int r;

    s3_call_init(&c, S3_READ, "HEAD", key);
    c.age_ms = OLD_MS;
    c.refused = c.quiet = true; /* expected */
    r = s3_run_one(s, &c, NULL);
    s3_call_done(&c);
    if (r == 0)
        return err_set(detail, -ERR_AGAIN,
                       "a signature of an hour ago is accepted: a request that was held up can "
                       "change the store much later");
    return r == -ERR_UNAVAIL ? 0 : r;
}

/* Lifecycle rules that expire objects would eat the registry. */
static int check_lifecycle(struct store_s3 *s, struct err_detail *detail)
{
    struct buf text auto_buf = BUF_INIT(LIFECYCLE_MAX);
    struct s3_call c;
    int r;

    s3_call_init(&c, S3_READ, "GET", STR_NONE);
    sigv4_query_add(&c.query, "lifecycle", STR_NONE);
    c.answer = &text;
    c.refused = c.quiet = true; /* the right may be missing, the call unknown */
    c.deadline_ms = clock_boot_ms() + S3_CREATE_MS;
    r = s3_run_one(s, &c, NULL);
    s3_call_done(&c);
    if (r == 0 && (strstr(buf_c(&text), "<Expiration>") ||
                   strstr(buf_c(&text), "<NoncurrentVersionExpiration>")))
        return err_set(detail, -ERR_UNSUPPORTED,
                       "a lifecycle rule of the bucket expires objects: the registry would lose "
                       "them");
    return 0;
}

int s3_check(struct store *store, struct str key, struct err_detail *detail)
{
    struct store_s3 *s = s3_of(store);
    int r = check_upload(s, key, detail), warned;

    if (r == 0)
        r = check_lifecycle(s, detail);
    if (r == 0)
        r = check_presigned(s, key, detail);
    if (r < 0 && r != -ERR_AGAIN)
        return r;
    warned = r;
    r = check_old_signature(s, key, warned < 0 ? NULL : detail);
    return r < 0 ? r : warned;
}
