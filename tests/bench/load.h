/*
 * Load tool: shared declarations.
 *
 * The tool drives any registry by URL over plain HTTP/1.1 on loopback and watches the server
 * process by its id. One thread and one epoll set drive all connections, so counters need no
 * lock. An "operation" is what the scenario counts (a GET, or a whole push); it is a list of
 * requests on one connection, produced by a flow function.
 *
 * Bounds: clients, operations, seconds, head sizes and samples each have a maximum below.
 */
#ifndef BENCH_LOAD_H
#define BENCH_LOAD_H

#include <netinet/in.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/socket.h>
#include <sys/types.h>

#define CLIENTS_MAX       4096
#define OPS_MAX           10000000
#define SECONDS_MAX       600
#define TAGS_MAX          1000000
#define OBJECT_BYTES_MAX  (8ULL << 30)
#define ERRORS_MAX        10  /* a run stops after so many failed operations */
#define STALL_SECONDS     120 /* a run whose operations do not end in this time fails */
#define REQUEST_HEAD_MAX  4096
#define RESPONSE_HEAD_MAX 16384
#define LOCATION_MAX      1024
#define PATH_MAX_BYTES    512
#define DIGEST_TEXT_MAX   72   /* "sha256:" + 64 hex digits + NUL */
#define SCRATCH_MAX       4096 /* a manifest, or the last bytes of a body */
#define SEGMENTS_MAX      3
#define LAYERS_MAX        3
#define TEXT_MAX          256

struct target {
    struct sockaddr_storage addr;
    socklen_t addr_bytes;
    unsigned port;
    char host[64]; /* for the Host header */
};

/* ---- hist.c: latency counts in logarithmic buckets, about 1% wide. */
#define HIST_BUCKETS 8192

struct hist {
    uint64_t count[HIST_BUCKETS];
    uint64_t total;
    uint64_t max_ns;
};

void hist_add(struct hist *h, uint64_t ns);
/* Value below which the given share (0..1) of the samples lies; 0 without samples. */
uint64_t hist_quantile(const struct hist *h, double share);

/* ---- proc.c: what the kernel says about the server process. */
struct proc_memory {
    long rss_kib;
    long anon_kib;
    long peak_kib; /* VmHWM since proc_reset_peak() */
};

uint64_t clock_ns(void);
/* CPU time of all threads of the process, ended ones included. Negative errno on failure. */
int proc_cpu_ns(pid_t pid, uint64_t *ret_ns);
int proc_memory(pid_t pid, struct proc_memory *ret);
/* False if the kernel does not allow it: the peak is then that of the whole life. */
bool proc_reset_peak(pid_t pid);
/* Whether the process has the socket that listens on this TCP port: figures of another process
   would look like those of a very good server. */
bool proc_listens(pid_t pid, unsigned port);

/* ---- engine.c, response.c */
struct segment {
    const void *at;
    size_t len;
    uint64_t times;
};

struct request {
    char head[REQUEST_HEAD_MAX];
    size_t head_len;
    struct segment body[SEGMENTS_MAX];
    unsigned segments;
    bool bodiless; /* the answer has no body (HEAD) */
    bool hash;     /* the sha256 of the answer's body is wanted */
    bool count;    /* the quotes in the body are counted */
};

struct response {
    int status;
    int64_t content_length; /* -1: not given */
    bool chunked;
    bool close;
    bool hashed;
    uint64_t head_ns; /* when the head was complete */
    uint64_t body_bytes;
    uint64_t quotes; /* '"' seen in the body: counts the entries of a list */
    char location[LOCATION_MAX];
    char digest[DIGEST_TEXT_MAX];      /* Docker-Content-Digest */
    char body_digest[DIGEST_TEXT_MAX]; /* computed, if asked for */
};

/* One operation in progress on one connection. */
struct op {
    uint64_t index;
    unsigned step;
    bool sample;      /* this operation verifies digests */
    uint64_t bytes;   /* payload moved, set by the flow */
    uint64_t sent_ns; /* when the last byte of the last request went to the kernel */
    uint64_t mark_ns; /* free for the flow */
    uint64_t gap_ns;  /* last body byte to final response headers, if the flow measures it */
    uint64_t checked; /* digests verified */
    char location[LOCATION_MAX];
    char digest[DIGEST_TEXT_MAX];
    char scratch[SCRATCH_MAX];
    char error[TEXT_MAX];
};

enum flow_next { FLOW_SEND, FLOW_DONE, FLOW_FAIL };

/* Called with last == NULL at the start, then with each complete response. */
typedef enum flow_next flow_fn(const void *arg, struct op *op, const struct response *last,
                               struct request *out);

struct run {
    flow_fn *flow;
    const void *arg;
    uint64_t ops;          /* stop after so many */
    double seconds;        /* and start none after this time; 0: no time limit */
    unsigned sample_every; /* verify digests in each n-th operation; 0: never */
    void (*tick)(void *);  /* called about ten times a second, may be NULL */
    void *tick_arg;
};

struct result {
    uint64_t ops;
    uint64_t errors;
    uint64_t requests;
    uint64_t bytes;
    uint64_t checked;
    uint64_t connects;
    uint64_t ns;
    uint64_t quotes; /* of the last response */
    struct hist latency;
    struct hist gap;
    char first_error[TEXT_MAX];
};

struct engine;

/* NULL on failure, with the reason on stderr. */
struct engine *engine_new(const struct target *target, unsigned clients);
void engine_free(struct engine *e);
/* Connections stay open between runs. Adds nothing to *ret: it is set whole. */
void engine_run(struct engine *e, const struct run *run, struct result *ret);

/* Incremental parser of one response. */
enum parse_state {
    PARSE_HEAD,
    PARSE_BODY,
    PARSE_CHUNK_SIZE,
    PARSE_CHUNK,
    PARSE_CHUNK_END,
    PARSE_TRAILER,
    PARSE_DONE
};

struct parser {
    enum parse_state state;
    bool bodiless;
    bool hash;
    bool count;
    size_t head_len;
    uint64_t left; /* of the body or of the chunk */
    char head[RESPONSE_HEAD_MAX];
    struct response rs;
    void *sha; /* EVP_MD_CTX, made at first use */
};

void parser_reset(struct parser *p, bool bodiless, bool hash, bool count);
/* Takes bytes; the number used is less than len only when the response is complete.
   Negative for a malformed response. */
ssize_t parser_feed(struct parser *p, const char *at, size_t len);
void parser_done(struct parser *p);

/* ---- content.c: bodies. Content number n of a family differs from all others in its last
   CONTENT_TAIL bytes only, so a digest costs one hash block. */
#define CONTENT_TAIL  32
#define CONTENT_BLOCK (1U << 20)
#define CONTENT_CHUNK (1U << 15) /* HTTP chunks as docker sends them */

struct content;

struct content *content_new(uint64_t bytes, uint64_t salt);
void content_free(struct content *c);
uint64_t content_bytes(const struct content *c);
void content_digest(const struct content *c, uint64_t index, char ret[DIGEST_TEXT_MAX]);
/* Appends the body to a request; scratch holds its last bytes until the request is sent. */
void content_body(const struct content *c, uint64_t index, bool chunked, char *scratch,
                  struct request *rq);
void sha256_text(const void *at, size_t len, char ret[DIGEST_TEXT_MAX]);

struct described {
    char digest[DIGEST_TEXT_MAX];
    uint64_t bytes;
};

/* Image manifest of about 1 KiB; returns its length. Label makes it distinct. */
size_t manifest_text(char *ret, size_t max, const struct described *config,
                     const struct described *layers, unsigned layer_count, const char *label);

/* ---- flows.c */
struct get_flow {
    const struct target *target;
    bool head;
    const char *path;
    const char *accept;
    int64_t length;     /* expected, -1: any */
    const char *digest; /* expected of header and body; NULL: any */
};

struct push_flow {
    const struct target *target;
    const char *repo;
    const struct content *content;
    bool monolithic; /* POST, PUT with the body; else HEAD, POST, PATCH chunked, PUT */
    bool may_exist;  /* an existing blob ends the operation (set-up) */
    uint64_t first;  /* content number of operation 0 */
};

struct raw_flow {
    const struct target *target;
    const char *path;
    const struct content *content;
};

struct commit_flow {
    const struct target *target;
    const char *repo;
    const char *prefix; /* of the tag */
    uint64_t salt;      /* in the label */
    uint64_t first;
    const struct described *config;
    const struct described *layers;
    unsigned layer_count;
};

struct page_flow {
    const struct target *target;
    const char *list; /* path of the list: "/v2/NAME/tags/list" */
    const char *prefix;
    uint64_t tags;
    unsigned page;
};

struct pull_flow {
    const struct target *target;
    const char *repo;
    const char *tag;
    const char *manifest_digest;
    uint64_t manifest_bytes;
    const struct described *blobs;
    unsigned blob_count;
};

enum flow_next flow_get(const void *arg, struct op *, const struct response *, struct request *);
enum flow_next flow_push(const void *arg, struct op *, const struct response *, struct request *);
enum flow_next flow_raw(const void *arg, struct op *, const struct response *, struct request *);
enum flow_next flow_commit(const void *arg, struct op *, const struct response *, struct request *);
enum flow_next flow_page(const void *arg, struct op *, const struct response *, struct request *);
enum flow_next flow_pull(const void *arg, struct op *, const struct response *, struct request *);

/* ---- scenarios.c */
struct options {
    struct target target;
    const char *url;
    pid_t pid;
    const char *scenario;
    unsigned clients;
    uint64_t ops;
    double seconds;
    uint64_t bytes; /* object size of large, storm and last-byte scenarios */
    uint64_t tags;
    double settle; /* seconds of rest before memory is read */
    const char *repo;
    const char *path;   /* of get-path and put-raw */
    int64_t length;     /* expected by get-path, -1: any */
    const char *digest; /* expected by get-path, NULL: any */
    bool warm;
    bool json;
};

struct report {
    const struct options *opt;
    struct result result;
    double cpu_s;
    struct proc_memory before;
    struct proc_memory after;
    long anon_peak_kib;
    bool peak_reset;
    bool measured; /* a load ran; false: memory only */
    long held;     /* connections held open; 0: not that scenario */
    struct proc_memory closed;
    long entries; /* of a tags page, -1: not that scenario */
};

struct scenario {
    const char *name;
    const char *about;
    unsigned clients; /* defaults */
    double seconds;
    uint64_t ops;
    int (*run)(const struct options *opt, struct report *ret);
};

extern const struct scenario scenarios[];
extern const size_t scenario_count;

/* ---- report.c */
void report_json(const struct report *r);
void report_text(const struct report *r);

#endif
