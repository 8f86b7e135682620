/* The HTTP client (httpc.h): one thread, one libcurl multi handle, a queue in front of it.
 *
 * Owner of: struct httpc. Callers touch the queue and `stop` under mu; everything of libcurl
 * belongs to the thread, but for the wake-up, which is made for other threads. */
#include "blobstore/httpc.h"

#include <assert.h>
#include <curl/curl.h>
#include <stdatomic.h>
#include <stdio.h>

#include "base/clock.h"
#include "base/library.h"

#define HTTPC_LIBRARY     "libcurl.so.4"
#define HTTPC_BUFFER      (256L << 10) /* of a transfer, each way */
#define HTTPC_POLL_MS     1000
#define HTTPC_SPARE_MAX   64  /* handles kept for the next requests */
#define HTTPC_IDLE_S      20L /* a kept connection is not used later: below what servers keep */
#define HTTPC_LIST_MAX    (HTTPC_HEADERS_MAX + 4)
#define HTTPC_HEADER_LINE 8192

/* ---- the library, loaded when first needed */

#define LIBRARY_FUNCTIONS(X)                                                                       \
    X(global_init)                                                                                 \
    X(version)                                                                                     \
    X(easy_init)                                                                                   \
    X(easy_cleanup)                                                                                \
    X(easy_reset)                                                                                  \
    X(easy_setopt)                                                                                 \
    X(easy_getinfo)                                                                                \
    X(slist_append)                                                                                \
    X(slist_free_all)                                                                              \
    X(multi_init)                                                                                  \
    X(multi_cleanup)                                                                               \
    X(multi_setopt)                                                                                \
    X(multi_add_handle)                                                                            \
    X(multi_remove_handle)                                                                         \
    X(multi_perform)                                                                               \
    X(multi_info_read)                                                                             \
    X(multi_poll)                                                                                  \
    X(multi_wakeup)

#undef curl_easy_setopt
#undef curl_easy_getinfo
#undef curl_multi_setopt
static struct {
#define LIBRARY_MEMBER(name) __typeof__(&curl_##name) name;
    LIBRARY_FUNCTIONS(LIBRARY_MEMBER)
#undef LIBRARY_MEMBER
} lib; /* written once, by whoever holds `loading` */

static atomic_flag loading = ATOMIC_FLAG_INIT;
static atomic_bool loaded;

static int load_library(struct err_detail *detail)
{
#define LIBRARY_FUNCTION(name) {"curl_" #name, &lib.name},
    static const struct library_function functions[] = {LIBRARY_FUNCTIONS(LIBRARY_FUNCTION)};
#undef LIBRARY_FUNCTION
    int r = atomic_load(&loaded)
                ? 1
                : library_load(HTTPC_LIBRARY, functions, ARRAY_LEN(functions), detail);

    if (r != 0)
        return r < 0 ? r : 0;
    if (lib.global_init(CURL_GLOBAL_DEFAULT) != CURLE_OK)
        return err_set(detail, -ERR_NOMEM, "%s does not start", HTTPC_LIBRARY);
    atomic_store(&loaded, true);
    return 0;
}

static int load(struct err_detail *detail)
{
    int r;

    while (atomic_flag_test_and_set(&loading))
        clock_sleep_ms(1);
    r = load_library(detail);
    atomic_flag_clear(&loading);
    return r;
}

const char *httpc_library(void)
{
    return load(NULL) < 0 ? "" : lib.version();
}

/* ---- life */

struct httpc {
    struct httpc_settings settings;
    struct thread thread;
    CURLM *multi;
    CURL *spare[HTTPC_SPARE_MAX]; /* of the thread */
    size_t spare_count;
    struct httpc_request *active; /* of the thread */
    struct mutex mu;
    struct httpc_request *first, **last; /* guarded by mu */
    unsigned queued;                     /* guarded by mu */
    bool stop;                           /* guarded by mu */
};

void httpc_wait_init(struct httpc_wait *w)
{
    *w = (struct httpc_wait){.left = 0};
    mutex_init(&w->mu);
    cond_init(&w->changed);
}

void httpc_wait_done(struct httpc_wait *w)
{
    assert(w->left == 0);
    cond_done(&w->changed);
    mutex_done(&w->mu);
}

void httpc_request_done(struct httpc_request *r)
{
    buf_done(&r->received);
    buf_done(&r->error);
}

struct str httpc_answer_header(const struct httpc_request *r, const char *name)
{
    struct str rest = buf_str(&r->received), wanted = str_of(name);

    while (rest.len > 0) {
        ptrdiff_t end = str_find(rest, '\n');
        struct str line = end < 0 ? rest : str_head(rest, (size_t)end);

        if (line.len > wanted.len && line.at[wanted.len] == ':' &&
            str_eq_nocase(str_head(line, wanted.len), wanted))
            return str_skip(line, wanted.len + 1);
        rest = end < 0 ? STR_NONE : str_skip(rest, (size_t)end + 1);
    }
    return STR_NONE;
}

/* ---- callbacks of the library */

static size_t on_source(char *at, size_t size, size_t count, void *arg)
{
    struct httpc_request *r = arg;
    uint64_t left = r->body_len - r->offset;
    size_t max = size * count;
    int64_t n;

    if (max > left)
        max = (size_t)left;
    if (max == 0)
        return 0;
    if (r->source) {
        n = r->source(r->offset, at, max, r->arg);
    } else {
        memcpy(at, r->body.at + r->offset, max);
        n = (int64_t)max;
    }
    if (n <= 0 || (uint64_t)n > max) {
        r->stopped = true;
        return CURL_READFUNC_ABORT;
    }
    r->offset += (uint64_t)n;
    return (size_t)n;
}

static int on_seek(void *arg, curl_off_t offset, int origin)
{
    struct httpc_request *r = arg;

    if (origin != SEEK_SET || offset < 0 || (uint64_t)offset > r->body_len)
        return CURL_SEEKFUNC_FAIL;
    r->offset = (uint64_t)offset;
    return CURL_SEEKFUNC_OK;
}

static struct str trimmed(struct str s)
{
    while (s.len > 0 && (s.at[0] == ' ' || s.at[0] == '\t'))
        s = str_skip(s, 1);
    while (s.len > 0 && strchr(" \t\r\n", s.at[s.len - 1]))
        s.len--;
    return s;
}

/* Lines are kept as "name:value\n"; a new status line (after 100 Continue) begins anew. */
static size_t on_header(char *at, size_t size, size_t count, void *arg)
{
    struct httpc_request *r = arg;
    struct str line = str_make(at, size * count);
    ptrdiff_t colon = str_find(line, ':');

    if (str_starts(line, STR("HTTP/"))) {
        buf_clear(&r->received);
        return line.len;
    }
    if (colon <= 0)
        return line.len;
    buf_add(&r->received, str_head(line, (size_t)colon));
    buf_addc(&r->received, ':');
    buf_add(&r->received, trimmed(str_skip(line, (size_t)colon + 1)));
    buf_addc(&r->received, '\n');
    return buf_err(&r->received) < 0 ? 0 : line.len;
}

static size_t on_body(char *at, size_t size, size_t count, void *arg)
{
    struct httpc_request *r = arg;
    struct str bytes = str_make(at, size * count);
    long status = 0;

    lib.easy_getinfo(r->easy, CURLINFO_RESPONSE_CODE, &status);
    if (status >= 300) {
        buf_add(&r->error, str_head(bytes, HTTPC_ERROR_BODY_MAX - r->error.len));
        return bytes.len;
    }
    if (r->sink) {
        r->stopped = r->sink(bytes, r->arg) < 0;
        return r->stopped ? 0 : bytes.len;
    }
    if (!r->answer)
        return bytes.len;
    if (bytes.len > r->answer->max - r->answer->len) {
        r->too_large = true;
        return 0;
    }
    buf_add(r->answer, bytes);
    r->too_large = buf_err(r->answer) < 0;
    return r->too_large ? 0 : bytes.len;
}

/* ---- one transfer */

static int add_list(struct curl_slist **list, const char *line)
{
    struct curl_slist *grown = lib.slist_append(*list, line);

    if (!grown)
        return -ERR_NOMEM;
    *list = grown;
    return 0;
}

static int make_list(struct httpc_request *r)
{
    struct curl_slist *list = NULL;
    struct buf line auto_buf = BUF_INIT(HTTPC_HEADER_LINE);
    int e = add_list(&list, r->expect_continue ? "Expect: 100-continue" : "Expect:");

    assert(r->header_count <= HTTPC_HEADERS_MAX);
    for (size_t i = 0; i < r->header_count && e == 0; i++) {
        buf_clear(&line);
        buf_add(&line, r->headers[i].name);
        buf_add(&line, r->headers[i].value.len > 0 ? STR(": ") : STR(":"));
        buf_add(&line, r->headers[i].value);
        e = buf_err(&line) < 0 ? buf_err(&line) : add_list(&list, buf_c(&line));
    }
    r->list = list;
    return e;
}

static void set_body(CURL *c, struct httpc_request *r)
{
    lib.easy_setopt(c, CURLOPT_UPLOAD, 1L);
    lib.easy_setopt(c, CURLOPT_INFILESIZE_LARGE, (curl_off_t)r->body_len);
    lib.easy_setopt(c, CURLOPT_READFUNCTION, on_source);
    lib.easy_setopt(c, CURLOPT_READDATA, r);
    lib.easy_setopt(c, CURLOPT_SEEKFUNCTION, on_seek);
    lib.easy_setopt(c, CURLOPT_SEEKDATA, r);
    lib.easy_setopt(c, CURLOPT_UPLOAD_BUFFERSIZE, HTTPC_BUFFER);
}

static void set_options(const struct httpc *h, CURL *c, struct httpc_request *r)
{
    int64_t left = r->deadline_ms - clock_boot_ms();
    bool head = strcmp(r->method, "HEAD") == 0, get = strcmp(r->method, "GET") == 0;

    lib.easy_setopt(c, CURLOPT_URL, r->url);
    lib.easy_setopt(c, CURLOPT_PATH_AS_IS, 1L); /* what was signed */
    lib.easy_setopt(c, CURLOPT_PROTOCOLS_STR, "http,https");
    lib.easy_setopt(c, CURLOPT_HTTP_VERSION, (long)CURL_HTTP_VERSION_1_1);
    lib.easy_setopt(c, CURLOPT_FOLLOWLOCATION, 0L);
    lib.easy_setopt(c, CURLOPT_NOSIGNAL, 1L);
    lib.easy_setopt(c, CURLOPT_TCP_NODELAY, 1L);
    lib.easy_setopt(c, CURLOPT_BUFFERSIZE, HTTPC_BUFFER);
    lib.easy_setopt(c, CURLOPT_MAXAGE_CONN, HTTPC_IDLE_S);
    lib.easy_setopt(c, CURLOPT_CONNECTTIMEOUT_MS,
                    (long)(h->settings.connect_ms > 0 ? h->settings.connect_ms : HTTPC_CONNECT_MS));
    lib.easy_setopt(c, CURLOPT_TIMEOUT_MS, (long)(left > 0 ? left : 1));
    if (h->settings.ca_file)
        lib.easy_setopt(c, CURLOPT_CAINFO, h->settings.ca_file);
    lib.easy_setopt(c, CURLOPT_PRIVATE, r);
    lib.easy_setopt(c, CURLOPT_HTTPHEADER, r->list);
    lib.easy_setopt(c, CURLOPT_HEADERFUNCTION, on_header);
    lib.easy_setopt(c, CURLOPT_HEADERDATA, r);
    lib.easy_setopt(c, CURLOPT_WRITEFUNCTION, on_body);
    lib.easy_setopt(c, CURLOPT_WRITEDATA, r);
    if (head)
        lib.easy_setopt(c, CURLOPT_NOBODY, 1L);
    else if (strcmp(r->method, "PUT") == 0 || strcmp(r->method, "POST") == 0)
        set_body(c, r);
    if (!head && !get)
        lib.easy_setopt(c, CURLOPT_CUSTOMREQUEST, r->method);
}

static void finish(struct httpc_request *r, enum httpc_result result)
{
    struct httpc_wait *w = r->wait;

    r->received_ms = clock_boot_ms();
    r->result = result;
    mutex_lock(&w->mu);
    r->finished = true;
    w->left--;
    cond_broadcast(&w->changed);
    mutex_unlock(&w->mu);
}

static void give_back(struct httpc *h, struct httpc_request *r)
{
    lib.slist_free_all(r->list);
    r->list = NULL;
    if (!r->easy)
        return;
    if (h->spare_count < HTTPC_SPARE_MAX) {
        lib.easy_reset(r->easy);
        h->spare[h->spare_count++] = r->easy;
    } else {
        lib.easy_cleanup(r->easy);
    }
    r->easy = NULL;
}

static void start(struct httpc *h, struct httpc_request *r)
{
    r->sent_ms = clock_boot_ms();
    if (!r->source)
        r->body_len = r->body.len;
    r->easy = h->spare_count > 0 ? h->spare[--h->spare_count] : lib.easy_init();
    if (r->sent_ms >= r->deadline_ms || !r->easy || make_list(r) < 0) {
        give_back(h, r);
        finish(r, HTTPC_NOT_SENT);
        return;
    }
    set_options(h, r->easy, r);
    if (lib.multi_add_handle(h->multi, r->easy) != CURLM_OK) {
        give_back(h, r);
        finish(r, HTTPC_NOT_SENT);
        return;
    }
    r->next = h->active;
    h->active = r;
}

static enum httpc_result classify(struct httpc_request *r, CURLcode code)
{
    long request_bytes = 0;

    if (code == CURLE_OK)
        return HTTPC_ANSWERED;
    if (r->too_large)
        return HTTPC_TOO_LARGE;
    if (r->stopped)
        return HTTPC_STOPPED;
    lib.easy_getinfo(r->easy, CURLINFO_REQUEST_SIZE, &request_bytes);
    return request_bytes > 0 ? HTTPC_UNKNOWN : HTTPC_NOT_SENT;
}

static void end(struct httpc *h, struct httpc_request *r, CURLcode code)
{
    enum httpc_result result = classify(r, code);
    curl_off_t length = -1;
    long status = 0;

    lib.easy_getinfo(r->easy, CURLINFO_RESPONSE_CODE, &status);
    lib.easy_getinfo(r->easy, CURLINFO_CONTENT_LENGTH_DOWNLOAD_T, &length);
    r->status = (unsigned)status;
    r->length = length;
    lib.multi_remove_handle(h->multi, r->easy);
    for (struct httpc_request **at = &h->active; *at; at = &(*at)->next)
        if (*at == r) {
            *at = r->next;
            break;
        }
    give_back(h, r);
    finish(r, result);
}

/* ---- the thread */

static bool take(struct httpc *h, struct httpc_request **ret)
{
    bool go_on;

    mutex_lock(&h->mu);
    *ret = h->first;
    h->first = NULL;
    h->last = &h->first;
    h->queued = 0;
    go_on = !h->stop;
    mutex_unlock(&h->mu);
    return go_on;
}

static void start_all(struct httpc *h, struct httpc_request *queue)
{
    while (queue) {
        struct httpc_request *r = queue;

        queue = r->next;
        start(h, r);
    }
}

static void end_those_done(struct httpc *h)
{
    CURLMsg *message;
    int left;

    while ((message = lib.multi_info_read(h->multi, &left)) != NULL) {
        char *private = NULL;

        if (message->msg != CURLMSG_DONE)
            continue;
        lib.easy_getinfo(message->easy_handle, CURLINFO_PRIVATE, &private);
        end(h, (struct httpc_request *)(void *)private, message->data.result);
    }
}

static void thread_main(void *arg)
{
    struct httpc *h = arg;
    struct httpc_request *queue;
    int running;

    while (take(h, &queue)) {
        start_all(h, queue);
        lib.multi_perform(h->multi, &running);
        end_those_done(h);
        lib.multi_poll(h->multi, NULL, 0, HTTPC_POLL_MS, NULL);
    }
    start_all(h, queue);
    while (h->active)
        end(h, h->active, CURLE_ABORTED_BY_CALLBACK);
}

/* ---- for callers */

int httpc_submit(struct httpc *h, struct httpc_request *r, struct httpc_wait *wait)
{
    assert(h && r && wait && r->method && r->url);
    r->received = BUF_INIT(HTTPC_ANSWER_HEADERS_MAX);
    r->error = BUF_INIT(HTTPC_ERROR_BODY_MAX);
    r->offset = 0;
    r->status = 0;
    r->length = -1;
    r->stopped = r->too_large = r->finished = false;
    r->wait = wait;
    r->next = NULL;
    mutex_lock(&h->mu);
    if (h->queued >= HTTPC_QUEUE_MAX || h->stop) {
        mutex_unlock(&h->mu);
        return -ERR_BUSY;
    }
    mutex_lock(&wait->mu);
    wait->left++;
    mutex_unlock(&wait->mu);
    *h->last = r;
    h->last = &r->next;
    h->queued++;
    mutex_unlock(&h->mu);
    lib.multi_wakeup(h->multi);
    return 0;
}

void httpc_await(struct httpc_request *r)
{
    mutex_lock(&r->wait->mu);
    while (!r->finished)
        cond_wait(&r->wait->changed, &r->wait->mu);
    mutex_unlock(&r->wait->mu);
}

void httpc_await_all(struct httpc_wait *wait)
{
    mutex_lock(&wait->mu);
    while (wait->left > 0)
        cond_wait(&wait->changed, &wait->mu);
    mutex_unlock(&wait->mu);
}

bool httpc_finished(struct httpc_request *r)
{
    bool finished;

    mutex_lock(&r->wait->mu);
    finished = r->finished;
    mutex_unlock(&r->wait->mu);
    return finished;
}

int httpc_run(struct httpc *h, struct httpc_request *r)
{
    struct httpc_wait wait;
    int e;

    httpc_wait_init(&wait);
    e = httpc_submit(h, r, &wait);
    httpc_await_all(&wait);
    httpc_wait_done(&wait);
    return e;
}

int httpc_new(const struct httpc_settings *settings, struct httpc **ret, struct err_detail *detail)
{
    struct httpc *h auto_free = NULL;
    long most;
    int e = load(detail);

    if (e < 0)
        return e;
    h = calloc(1, sizeof(*h));
    if (!h)
        return -ERR_NOMEM;
    h->settings = *settings;
    h->last = &h->first;
    h->multi = lib.multi_init();
    if (!h->multi)
        return -ERR_NOMEM;
    most = settings->connections_max > 0 ? (long)settings->connections_max : HTTPC_CONNECTIONS_MAX;
    lib.multi_setopt(h->multi, CURLMOPT_MAX_TOTAL_CONNECTIONS, most);
    lib.multi_setopt(h->multi, CURLMOPT_MAXCONNECTS, most);
    lib.multi_setopt(h->multi, CURLMOPT_PIPELINING, (long)CURLPIPE_NOTHING);
    mutex_init(&h->mu);
    e = thread_start(&h->thread, "httpc", thread_main, h);
    if (e < 0) {
        lib.multi_cleanup(h->multi);
        mutex_done(&h->mu);
        return e;
    }
    *ret = STEAL(h);
    return 0;
}

void httpc_free(struct httpc *h)
{
    if (!h)
        return;
    mutex_lock(&h->mu);
    h->stop = true;
    mutex_unlock(&h->mu);
    lib.multi_wakeup(h->multi);
    thread_join(&h->thread);
    for (size_t i = 0; i < h->spare_count; i++)
        lib.easy_cleanup(h->spare[i]);
    lib.multi_cleanup(h->multi);
    mutex_done(&h->mu);
    free(h);
}
