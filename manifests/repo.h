/* A repository: its tag log, the state that follows from it, strict reads and commits (design
 * section 6). The state is a cache of the log.
 *
 * Strict read: repo_refresh() makes the state at least as new as the moment of the call, by a probe
 * begun after it; then queries answer from it. Queries alone (without refresh in the same request)
 * promise nothing. Of a large repository most lies in the bucket (layers.h): queries may have to
 * read a block of its table; their nowait forms answer -ERR_AGAIN instead.
 *
 * Thread rule: everything here from any thread; functions marked nowait never block (event
 * threads); all others may. Values returned by queries are copies or are passed to a callback that
 * runs under the repository's lock and must not block or call back. */
#ifndef STOWAGE_MANIFESTS_REPO_H
#define STOWAGE_MANIFESTS_REPO_H

#include "base/work.h"
#include "blobstore/blob.h"
#include "blobstore/objlog.h"
#include "manifests/manifest.h"
#include "manifests/name.h"
#include "manifests/taglog.h"

#define REPO_MEDIA_TYPE_MAX 255
#define REPO_TAGS_PUT_MAX   64   /* R83 */
#define REPO_SETS_MAX       256  /* tags in one repo_set_tags */
#define REPOS_CACHED_MAX    4096 /* open repositories in memory, least recently used go first */
#define REPOS_CACHED_BYTES                                                                         \
    (64u << 20) /* and their states together (a single larger one stays alone) */

#define REPOS_VIEWS_MAX   64          /* views of the past in memory */
#define REPOS_VIEWS_BYTES (16u << 20) /* and their states together, as above */

enum references { REFERENCES_STRICT, REFERENCES_INDEX_SPARSE, REFERENCES_NONE }; /* R88, R91 */

struct repos; /* per node */
struct repo;

struct repos_settings {
    enum references references;
    struct work *background; /* where checkpoints are written; NULL: none are */
    /* An entry of this node was committed, and its marker is there; must not wait. May be NULL. */
    void (*committed)(void *arg, struct str name, uint64_t seq);
    void *committed_arg;
};
int repos_new(struct blobs *b, const struct repos_settings *settings,
              struct repos **ret) must_check;
void repos_free(struct repos *rs);
struct blobs *repos_blobs(const struct repos *rs);
struct table_cache;
struct table_cache *repos_tables(const struct repos *rs);

/* A repository by valid name, opened from the store when not cached. A name never written to is an
 * empty repository (repo_exists false). */
int repo_get(struct repos *rs, struct str name, struct repo **ret,
             struct err_detail *detail) must_check;
struct repo *repo_cached(struct repos *rs, struct str name); /* nowait; NULL when not in memory */
void repo_unref(struct repo *r);
void repo_unrefp(struct repo **r);
#define auto_repo auto_of(repo_unrefp)

/* The repository as it was just after entry seq (0: before the first), read-only: all queries below
 * answer from that state for ever, refreshing is free. A blob is readable in a view only by refs of
 * manifests (B11): links are not dated. Cached, few at a time. -ERR_NOTFOUND: there is no such
 * entry in the state of r. */
#define REPO_CONTENT_REMOVED "content removed" /* detail of -ERR_NOTFOUND: its bytes are gone */
int repo_view(struct repo *r, uint64_t seq, struct repo **ret,
              struct err_detail *detail) must_check;
/* The position of a time: the last entry stamped up to ms; see manifests/view.h. -ERR_TIME. */
int repo_seq_at(struct repo *r, int64_t ms, uint64_t *ret, struct err_detail *detail) must_check;
/* One entry of the log, from the store. -ERR_NOTFOUND. */
int repo_read(struct repo *r, uint64_t seq, objlog_apply_fn fn, void *arg,
              struct err_detail *detail) must_check;
bool repo_is_view(const struct repo *r);

int repo_refresh(struct repo *r, struct err_detail *detail) must_check;
int repo_refresh_nowait(struct repo *r) must_check; /* 0, or -ERR_AGAIN: on a worker please */

/* Was the state found to be the head at a moment not longer ago than this? nowait. For reads that
 * may be so old (--staleness); changes never ask. */
bool repo_recent(struct repo *r, int64_t ms);
/* Was it found to be the head by a look that began after this moment (clock_boot_ns)? Then that is
 * as good as a refresh begun there: so the repository that a call of repo_get has just opened. */
bool repo_newer(struct repo *r, int64_t ns);

/* ---- Queries. Besides the errors named: those of the store; of the nowait forms -ERR_AGAIN. */
bool repo_exists(struct repo *r);  /* its log has an entry; nowait */
uint64_t repo_seq(struct repo *r); /* number of the last entry in the state; nowait */
struct str repo_name(const struct repo *r);
struct blobs *repo_blobs(const struct repo *r);

struct repo_manifest {
    struct digest digest;
    uint64_t size;
    uint64_t seq; /* of the put, or of the tag's change */
    int64_t ts;
    char media_type[REPO_MEDIA_TYPE_MAX + 1];
};
int repo_tag(struct repo *r, struct str tag,
             struct repo_manifest *ret) must_check; /* -ERR_NOTFOUND */
int repo_tag_nowait(struct repo *r, struct str tag, struct repo_manifest *ret) must_check;
int repo_manifest(struct repo *r, const struct digest *d,
                  struct repo_manifest *ret) must_check; /* -ERR_NOTFOUND */
int repo_manifest_nowait(struct repo *r, const struct digest *d,
                         struct repo_manifest *ret) must_check;
/* Tags > last in byte order, at most n; *ret_more: others follow. */
int repo_tags(struct repo *r, struct str last, size_t n, int (*fn)(struct str tag, void *arg),
              void *arg, bool *ret_more) must_check;
int repo_tags_nowait(struct repo *r, struct str last, size_t n,
                     int (*fn)(struct str tag, void *arg), void *arg, bool *ret_more) must_check;
/* The tags on a manifest, in no order. */
int repo_tags_on(struct repo *r, const struct digest *d, int (*fn)(struct str tag, void *arg),
                 void *arg) must_check;
/* The refs of a manifest; stands: is what it refers to still a member by this very ref?
 * -ERR_NOTFOUND.
 */
struct repo_ref {
    struct digest digest;
    enum ref_kind kind;
    bool stands;
};
int repo_refs(struct repo *r, const struct digest *d,
              int (*fn)(const struct repo_ref *ref, void *arg), void *arg) must_check;
/* Number of the last entry that deleted a manifest, unlinked a blob or emptied the repository, or a
 * later one. */
uint64_t repo_removed(struct repo *r);
uint64_t repo_dropped(struct repo *r); /* that last emptied it, 0 none */
/* Manifests with digest text > last, in order of digest text, at most n. */
int repo_manifests(struct repo *r, struct str last, size_t n,
                   int (*fn)(struct str digest, void *arg), void *arg, bool *ret_more) must_check;
/* Referrers of subject with digest text > after, in order of digest text; fn gets the descriptor
 * (media type, digest, size, artifact type, annotations as JSON text or empty); non-zero stops and
 * is returned. All that is told by one call is of one moment, up to REPO_REFERRERS_AT_ONCE bytes.
 */
#define REPO_REFERRERS_AT_ONCE (6u << 20)
struct repo_referrer {
    struct str digest, media_type, artifact_type, annotations;
    uint64_t size;
};
int repo_referrers(struct repo *r, const struct digest *subject, struct str after,
                   int (*fn)(const struct repo_referrer *ref, void *arg), void *arg) must_check;
int repo_referrers_nowait(struct repo *r, const struct digest *subject, struct str after,
                          int (*fn)(const struct repo_referrer *ref, void *arg),
                          void *arg) must_check;

/* A copy of the settings, NULL for the defaults. */
int repo_settings(struct repo *r, struct settings **ret) must_check;

/* ---- Membership of blobs (B11). */
/* Number of the last unlink or drop, 0 none. */
int repo_link_u(struct repo *r, const struct digest *d, uint64_t *ret) must_check;
/* Is the digest readable as a blob here? 0 with its record, -ERR_NOTFOUND. Call repo_refresh
 * before. nowait: also -ERR_AGAIN. */
int repo_blob(struct repo *r, const struct digest *d, struct blob_info *ret,
              struct err_detail *detail) must_check;
/* On a remote store, before and instead of all else: true when the digest certainly is not readable
 * in that repository, whatever its log says, since its first link is not there (B44). Asked only
 * when this node knows nothing of it; false: ask as above. */
bool repo_blob_never(struct repos *rs, struct str name, const struct digest *d);
int repo_blob_nowait(struct repo *r, const struct digest *d, struct blob_info *ret) must_check;

/* ---- Commits. by: identity, req: request id; both go into the entry. Each validates on a state
 * probed after the call began; refusals are reads of such a state. Errors besides the ones named:
 * -ERR_NOTCOMMITTED, -ERR_UNKNOWN, -ERR_NOSPACE, -ERR_UNAVAIL, -ERR_READONLY. */
struct repo_who {
    struct str by, req;
    bool override; /* immutable tags do not hold it back; the entry says so (B23) */
};

/* What a refused change met: -ERR_CONDITION; -ERR_DENIED, a tag that the settings keep as it is
 * (R96), which is found before conditions are looked at; -ERR_MISSING_REF of repo_set_tags. */
struct repo_refusal {
    char tag[TAG_MAX_LEN + 1]; /* empty: the manifest itself */
    bool present;              /* is digest what is there? */
    struct digest digest;
};

/* Stores the manifest's bytes and commits `put` with tags (none: by digest alone).
 * -ERR_MISSING_REF: *ret_missing (buf) gets the digest texts that are missing, each followed by a
 * line feed (at most REPO_MISSING_MAX). A push that changes nothing commits nothing and answers 0.
 * -ERR_CONDITION: a tag (without tags: the manifest) is not what condition asks for at the position
 * of the entry; the manifest's bytes may have been stored.
 */
#define REPO_MISSING_MAX 1000
struct repo_put {
    const struct manifest *manifest;
    struct str body;
    struct digest digest;
    const struct str *tags;
    size_t tag_count;
    const struct taglog_if *condition; /* NULL: none */
    struct repo_refusal *refusal;      /* NULL: not asked for */
};
int repo_put(struct repo *r, const struct repo_put *put, const struct repo_who *who,
             struct buf *ret_missing, struct err_detail *detail) must_check;
int repo_delete_tag(struct repo *r, struct str tag, const struct repo_who *who,
                    struct err_detail *detail) must_check; /* -ERR_NOTFOUND */
/* -ERR_NOTFOUND comes before -ERR_DENIED and -ERR_CONDITION. */
int repo_delete_tag_if(struct repo *r, struct str tag, const struct taglog_if *condition,
                       const struct repo_who *who, struct repo_refusal *refusal,
                       struct err_detail *detail) must_check;
/* Sets and removes tags in one step, all or none; no tag twice (-ERR_INVAL). Removing what is not
 * there is no error. -ERR_MISSING_REF: a manifest is not present; -ERR_DENIED, -ERR_CONDITION. What
 * changes nothing commits nothing. */
int repo_set_tags(struct repo *r, const struct taglog_set *sets, size_t count,
                  const struct repo_who *who, struct repo_refusal *refusal,
                  struct err_detail *detail) must_check;
int repo_delete_manifest(struct repo *r, const struct digest *d, const struct repo_who *who,
                         struct err_detail *detail) must_check; /* -ERR_NOTFOUND */
/* The same with what was met: -ERR_DENIED, an immutable tag on it. */
int repo_delete_manifest_for(struct repo *r, const struct digest *d, const struct repo_who *who,
                             struct repo_refusal *refusal, struct err_detail *detail) must_check;
int repo_unlink_blob(struct repo *r, const struct digest *d, const struct repo_who *who,
                     struct err_detail *detail) must_check; /* -ERR_NOTFOUND */

/* Replaces the settings; what changes nothing commits nothing. */
int repo_set_settings(struct repo *r, const struct settings *settings, const struct repo_who *who,
                      struct err_detail *detail) must_check;
/* Operations made by someone who knows what they say (revert.h), as the one entry after `seen`, all
 * or none; ops: their texts, joined by commas. validated_ms: clock_boot_ms before the look at the
 * state they were made on. -ERR_AGAIN: another entry stands there. */
#define REPO_ANYWHERE UINT64_MAX /* instead of a position: they fit every state */
int repo_commit_whole(struct repo *r, uint64_t seen, struct str ops, int64_t validated_ms,
                      struct err_detail *detail) must_check;

#endif
