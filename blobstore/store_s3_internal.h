/* Inside of the S3 store: store_s3.c (settings, objects), store_s3_call.c (requests),
 * store_s3_creds.c (who signs), store_s3_list.c (listings), store_s3_stream.c (multipart). */
#ifndef STOWAGE_BLOBSTORE_STORE_S3_INTERNAL_H
#define STOWAGE_BLOBSTORE_STORE_S3_INTERNAL_H

#include <stdatomic.h>

#include "base/thread.h"
#include "blobstore/httpc.h"
#include "blobstore/s3xml.h"
#include "blobstore/sigv4.h"
#include "blobstore/store_ops.h"
#include "blobstore/store_s3.h"

#define S3_HOST_MAX  512
#define S3_URL_MAX   8192
#define S3_QUERY_MAX 4096
#define S3_TOKEN_MAX 4096 /* of a session */
#define S3_ETAG_MAX  128

/* Time for one exchange and for all of an operation's. */
#define S3_TRY_MS      8000
#define S3_READ_MS     10000
#define S3_WRITE_MS    8000
#define S3_CREATE_MS   5000
#define S3_PART_TRY_MS 60000
#define S3_PART_MS     120000
/* What is added for so many bytes: a store is expected to move 512 KiB a second. */
static inline int64_t s3_slow_ms(uint64_t bytes)
{
    return (int64_t)(bytes >> 9);
}
#define S3_CLOCK_AGE_MS   600000 /* no Date for so long: the clock is asked for */
#define S3_PAUSE_FIRST_MS 20
#define S3_PAUSE_MAX_MS   500

/* ---- store_s3_creds.c */

struct s3_creds; /* finds and renews credentials; any thread */

struct s3_key { /* who signs today */
    char access[SIGV4_SECRET_MAX + 1];
    char token[S3_TOKEN_MAX + 1];
    uint8_t day_key[HMAC_BYTES];
};
int s3_creds_new(struct s3_creds **ret) must_check;
void s3_creds_free(struct s3_creds *c);
/* The key for a day ("20130524") and region. -ERR_UNAVAIL with a sentence when there are none. */
int s3_creds_key(struct s3_creds *c, struct str day, struct str region, struct s3_key *ret,
                 struct err_detail *detail) must_check;
/* A request was refused: look again before the next one, at most every few seconds. True when it
 * makes sense to try once more. */
bool s3_creds_refused(struct s3_creds *c);
/* The region that the AWS profile names, appended; nothing when it names none. */
void s3_creds_region(struct buf *out);

/* ---- store_s3.c */

struct s3_place {
    bool tls;
    char scheme[8];
    char host[S3_HOST_MAX]; /* with port unless the default, with bucket in host style */
    bool bucket_in_path;
};

struct store_s3 {
    struct store store;
    struct httpc *http;
    struct s3_creds *creds;
    struct s3_place place, public;
    struct buf bucket, root; /* root: "" or "prefix/" */
    char region[64];
    char create_name[64], create_value[64];
    char ca_file[4096];
    uint64_t part_bytes;
    atomic_uint extra_parts; /* S3_PARTS_EXTRA */
    struct mutex mu;
    int64_t offset_min_ms, offset_max_ms; /* guarded by mu: store's clock - clock_boot_ms */
    int64_t told_ms;                      /* guarded by mu: newest time that was told */
    int64_t dated_ms;                     /* guarded by mu: last Date; 0: never */
    int64_t said_ms;                      /* guarded by mu: a refusal was last logged */
};
struct store_s3 *s3_of(struct store *s);
/* Appends a URL for a GET at a place, signed as if age_ms ago. */
int s3_presign_at(struct store_s3 *s, const struct s3_place *p, struct str key, int64_t ttl_ms,
                  int64_t age_ms, struct buf *ret_url) must_check;
/* Appends "/bucket/root-key" as it goes over the wire. */
void s3_path(const struct store_s3 *s, const struct s3_place *p, struct str key, struct buf *out);

/* ---- store_s3_call.c */

enum s3_kind { S3_READ, S3_WRITE, S3_CREATE };

struct s3_call {
    enum s3_kind kind;
    const char *method;
    struct str key;   /* empty: the bucket */
    struct buf query; /* by sigv4_query_add, in order */
    char range[64];   /* empty: none */
    struct str body;
    httpc_source_fn source; /* instead of body; payload must then be set */
    void *source_arg;
    uint64_t source_len;
    struct str payload; /* hex of the body's sha256, or empty: computed */
    struct buf *answer;
    int64_t try_ms, deadline_ms; /* 0: by kind */
    int64_t age_ms;              /* signed as if so long ago; mostly 0 */
    bool quiet;                  /* a refusal is not told to the log */

    int result; /* 0 or negative enum err; -ERR_AGAIN: a create met another, look and decide */
    struct s3_error error;
    struct httpc_request http;

    /* Of the run. */
    bool pending, refused;
    unsigned tries;
    size_t answer_at; /* length of answer before the first try */
    struct buf url, authorization;
    char payload_hex[2 * HMAC_BYTES + 1];
    char time[SIGV4_TIME_LEN + 1];
    struct httpc_header headers[HTTPC_HEADERS_MAX];
    struct s3_key signer;
};
void s3_call_init(struct s3_call *c, enum s3_kind kind, const char *method, struct str key);
void s3_call_done(struct s3_call *c);
/* Runs all at once and waits; each result is in its call. */
void s3_run(struct store_s3 *s, struct s3_call *const *calls, size_t count);
/* One; the result, with a sentence when it is not an ordinary one. */
int s3_run_one(struct store_s3 *s, struct s3_call *c, struct err_detail *detail) must_check;
/* One that goes on by itself: prepared and submitted once; s3_finish waits, and sends it again
 * where that is needed. */
int s3_start(struct store_s3 *s, struct s3_call *c, struct httpc_wait *wait) must_check;
int s3_finish(struct store_s3 *s, struct s3_call *c, struct err_detail *detail) must_check;
/* The store's clock as far as it is known; the machine's before the first answer. */
int64_t s3_clock(struct store_s3 *s, bool *ret_known);

/* ---- store_s3_list.c */
int s3_list(struct store *s, struct str prefix, struct str after, unsigned max, store_list_fn fn,
            void *arg, struct err_detail *detail) must_check;
int s3_stream_sweep(struct store *s, struct str key, struct err_detail *detail) must_check;
int s3_stream_list(struct store *s, store_list_fn fn, void *arg,
                   struct err_detail *detail) must_check;
int s3_abort(struct store_s3 *s, struct str key, struct str upload,
             struct err_detail *detail) must_check;

/* ---- store_s3_check.c */
int s3_check(struct store *s, struct str key, struct err_detail *detail) must_check;

/* ---- store_s3_stream.c */
/* What fills is sent as a part, however small: only before a commit. */
int s3_stream_upload_now(struct store_stream *st, struct err_detail *d) must_check;
int s3_stream_open(struct store *s, struct str key, struct store_stream **ret,
                   struct err_detail *d) must_check;
int s3_stream_write(struct store_stream *st, struct str bytes, struct err_detail *d) must_check;
uint64_t s3_stream_size(const struct store_stream *st);
uint64_t s3_stream_safe(const struct store_stream *st);
int s3_stream_save(struct store_stream *st, struct buf *ret_state, struct err_detail *d) must_check;
int s3_stream_resume(struct store *s, struct str key, struct str state, uint64_t size,
                     struct store_stream **ret, struct err_detail *d) must_check;
int s3_stream_read(struct store_stream *st, uint64_t offset, size_t len, struct buf *out,
                   struct err_detail *d) must_check;
int s3_stream_commit(struct store_stream *st, struct err_detail *d) must_check;
void s3_stream_close(struct store_stream *st);

#endif
