/* The simulated world: nodes (all below HTTP, with their work pools) that crash, sleep and come
 * back, and the content that clients push. */
#ifndef STOWAGE_TESTS_SIM_WORLD_H
#define STOWAGE_TESTS_SIM_WORLD_H

#include "base/thread.h"
#include "base/work.h"
#include "blobstore/upload.h"
#include "hist.h"
#include "manifests/catalog.h"
#include "net.h"

#define NODES_MAX      4
#define CLIENTS_MAX    8
#define REPOS_MAX      3
#define TAGS_MAX       4
#define MANIFESTS_MAX  6
#define CONTENTS_MAX   6                  /* different bytes of blobs */
#define BLOBS_MAX      (2 * CONTENTS_MAX) /* 2i: by sha256, 2i + 1: the same bytes by sha512 */
#define MAN_REFS_MAX   4
#define SESSIONS_MAX   256
#define BLOB_BIG_BYTES (160u << 10)

/* ---- what a seed decides */
struct plan {
    uint64_t seed;
    unsigned nodes, clients, repos, tags, manifests, contents;
    unsigned ops;     /* of each client */
    unsigned workers; /* of each node */
    bool overrides;   /* some changes ask to pass immutable tags */
    bool faulty;      /* else nothing ever goes wrong, and no answer may say so */
    struct net_settings net;
    unsigned crashes, pauses, outages, jumps, steps; /* how many of each */
    bool long_pauses;                                /* a node may sleep for more than a day */
    int64_t think_max_us;
    unsigned weights[16]; /* of what clients do */
    unsigned annotation;  /* bytes of a manifest's, at most */
};

struct content {
    struct buf bytes;
    struct digest digests[2];
};

struct man {
    struct buf body;
    struct digest digest;
    uint32_t blobs, manifests; /* masks of what it refers to */
};

struct session {
    char id[KEYS_SESSION_LEN + 1];
    unsigned repo, content;
    uint64_t acked;    /* bytes that were acknowledged */
    uint32_t acked_at; /* tick of that answer */
    uint32_t dead_at;  /* tick of the first answer that it is gone, 0 none */
    bool used, closed_small;
};

/* An incarnation of a node. */
struct site {
    struct proc proc; /* first: the process is the site */
    unsigned index;
    struct store *store;
    struct node *node;
    struct blobs *blobs;
    struct uploads *uploads;
    struct repos *repos;
    struct work *pool, *background;
    struct request *asked; /* not answered yet */
    unsigned pins;         /* requests on their way in */
    bool opening, up;
};

struct request {
    struct work_item item; /* first */
    struct site *site;
    struct request *next;
    void (*run)(struct request *rq);
    unsigned refs;
    bool finished, lost;

    /* arguments and results, by kind */
    struct op *op;
    unsigned repo, from, manifest, tag, content, alg;
    uint32_t tags, gone;
    struct session *session;
    uint64_t upto; /* bytes of the content to write */
    char number[24];
    int result;
    bool reached; /* the step that may have an effect was begun */
    uint64_t offset;
    uint32_t tick; /* when it was known */
};

struct world {
    struct plan plan;
    struct rng rng; /* of clients */
    struct mutex mu;
    struct cond changed;           /* anything below, or a request's end */
    struct site *sites[NODES_MAX]; /* NULL: down */
    unsigned clients_left, keepers_left, dying;
    bool calm; /* nothing goes wrong any more */
    bool stop; /* nodes end */
    int64_t quiet_until_us;
    struct content contents[CONTENTS_MAX];
    struct man mans[MANIFESTS_MAX];
    char repo_names[REPOS_MAX][24];
    struct session sessions[SESSIONS_MAX];
    unsigned session_count;
    unsigned counts[16]; /* of crashes, ... for the report */
};
extern struct world *world;

struct str world_repo(unsigned i);
struct str world_tag(unsigned i);
const struct digest *world_blob(unsigned i);
uint64_t world_blob_size(unsigned i);
int world_blob_of(struct str digest_text);     /* index, -1 */
int world_manifest_of(struct str digest_text); /* index, -1 */
int world_repo_of(struct str name);            /* index, -1 */

void plan_make(uint64_t seed, struct plan *ret);
void world_begin(const struct plan *plan);
void world_end(void);

/* Nodes. */
void world_start_nodes(void);
void world_stop_nodes(void); /* and waits for their ends */
void world_crash(unsigned node);
/* Runs rq on a node: false when it was refused (surely without effect). Else it waits for the end:
 * rq->finished, or rq->lost. Consumes nothing: request_unref. */
struct request *request_new(void (*run)(struct request *rq));
bool request_call(struct request *rq, unsigned node, int64_t patience_us);
void request_unref(struct request *rq);

/* The clients' part (client.c). */
void client_run(void *arg); /* a thread; arg is its number */
void client_verify(void);   /* at the end: reads and changes everything by every node */

/* What a node does of a request (request.c). */
void request_put(struct request *rq);
void request_set_tags(struct request *rq);
void request_settings(struct request *rq);
void request_remove(struct request *rq); /* a tag, a manifest, a blob: by the operation's kind */
void request_read(struct request *rq);
void request_start(struct request *rq);
void request_patch(struct request *rq);
void request_close(struct request *rq);
void request_cancel(struct request *rq);
void request_find(struct request *rq); /* in rq->from, for a mount */
void request_mount(struct request *rq);
void request_sweep(struct request *rq);

#endif
