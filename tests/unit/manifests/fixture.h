/* What tests of manifests share: nodes on one store, manifests and blobs with names, and a model of
 * a repository's state that is written down from docs/bucket-format.md sections 5 and 6, knowing
 * nothing of state.c. */
#ifndef STOWAGE_TESTS_MANIFESTS_FIXTURE_H
#define STOWAGE_TESTS_MANIFESTS_FIXTURE_H

#include "../blobstore/fixture.h"

#include "base/thread.h"
#include "manifests/catalog.h"
#include "manifests/manifest.h"
#include "manifests/repo.h"
#include "manifests/state.h"

#define check(ok, ...)                                                                             \
    do {                                                                                           \
        if (!(ok)) {                                                                               \
            print_error(__VA_ARGS__);                                                              \
            print_error(": %s\n", #ok);                                                            \
            fail();                                                                                \
        }                                                                                          \
    } while (0)

/* ---- content */

/* The digest of a text, by name: any text will do. */
struct digest digest_named(const char *name);
struct str text_of(const struct digest *d); /* a few at a time: the storage is used in turn */

/* A manifest of kind image: config and layers by name; subject may be NULL. */
#define IMAGE_LAYERS_MAX 16
struct image {
    const char *config;
    const char *layers[IMAGE_LAYERS_MAX]; /* up to the first NULL */
    const char *layer_type;               /* NULL: the usual one */
    const char *subject;
    const char *annotation; /* value of one annotation */
    const char *salt;       /* tells manifests of equal content apart */
};
void image_body(const struct image *image, struct buf *out);
/* An index of manifests whose digests are given as text, NULL-ended; media_type NULL: image
 * manifests. */
void index_body(const char *const *digests, const char *media_type, struct buf *out);

/* ---- nodes */

struct site {
    struct node *node;
    struct blobs *blobs;
    struct repos *repos;
};
void site_open(struct site *s, struct store *store, enum references references,
               struct work *background);
void site_close(struct site *s);

struct repo *repo_of(struct site *s, const char *name);
/* An upload as it ends: record and link. */
void add_blob(struct site *s, const char *repo, const char *name);
uint64_t link_u_of(struct repo *r, const struct digest *d); /* repo_link_u, which must not fail */
bool blob_readable(struct site *s, const char *repo, const char *name);
/* repo_put of a body under tags (NULL-ended, may be NULL); ret_missing may be NULL. */
int put_body(struct site *s, const char *repo, struct str body, const char *const *tags,
             struct buf *ret_missing);
int put_image(struct site *s, const char *repo, const struct image *image, const char *tag);
void body_digest(struct str body, struct digest *ret);
void image_digest(const struct image *image, struct digest *ret);

/* ---- a store that is watched: all creates are noted, and at one call something else may happen
 * first */

#define WATCH_KEYS_MAX 256
struct watch {
    struct mutex mu;
    unsigned creates, gets, probes; /* since watch_clear */
    char keys[WATCH_KEYS_MAX][256]; /* of the first creates */
    unsigned log_delay_ms;          /* each create of a log entry takes this long */
    const char *hook_op, *hook_key; /* before the next call of this kind on a key that holds this */
    void (*hook)(void *arg);
    void *hook_arg;
    int fail_err; /* non-zero: such a call fails instead */
    unsigned fail_count;
};
struct store *watched_store(struct watch *w, struct store *inner);
void watch_clear(struct watch *w);
void watch_hook(struct watch *w, const char *op, const char *key, void (*fn)(void *arg), void *arg);
void watch_fail(struct watch *w, const char *op, const char *key, int err, unsigned count);

/* ---- a number of threads that run fn(index, arg) */
void run_threads(unsigned count, void (*fn)(unsigned index, void *arg), void *arg);

#endif
