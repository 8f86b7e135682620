/* Bringing a repository, or one tag, back to what it was at a position of its log; and emptying a
 * repository. Each is one entry: all of it is seen, or nothing (docs/bucket-format.md section 6).
 * Nothing is taken back: the log goes on, so that a revert is itself undone by a revert to the
 * position before it.
 *
 * After a revert of a repository its tags, manifests and referrers are those of the position. What
 * was deleted since is put back, what was pushed since is deleted. A blob that was unlinked since
 * is readable again where a manifest that is put back, or had it, refers to it by a ref that stood
 * there; nothing becomes unreadable but by the deletion of manifests. Blobs that no manifest refers
 * to, and settings, stay as they are. Everything is checked like a push: bytes that are gone are
 * -ERR_MISSING_REF, immutable tags -ERR_DENIED unless who overrides them.
 *
 * Thread rule: any thread; everything blocks. */
#ifndef STOWAGE_MANIFESTS_REVERT_H
#define STOWAGE_MANIFESTS_REVERT_H

#include "manifests/repo.h"

#define REVERT_PUTS_MAX                                                                            \
    (4u << 20) /* bytes of puts in one entry; the rest of it is for tags (B8)                      \
                */

/* What a revert does; each tag or digest once. */
enum revert_what {
    REVERT_TAG,   /* tag goes from .. to (NULL: none) */
    REVERT_PUT,   /* the manifest `to` is put back */
    REVERT_DELETE /* the manifest `from` is deleted */
};
struct revert_change {
    enum revert_what what;
    struct str tag;
    const struct digest *from, *to;
};

struct revert {
    struct str tag; /* empty: the whole repository */
    bool dry_run;
    struct repo_who who;
    /* Told what was or would be done; NULL: nobody. Called once the entry stands. */
    int (*told)(const struct revert_change *c, void *arg);
    void *arg;
};

/* r becomes what it was just after entry `to`. *ret_seq: the entry's number; 0: nothing is to be
 * done, or dry_run. *ret_missing (buf) gets the digests of -ERR_MISSING_REF, each followed by a
 * line feed, at most REPO_MISSING_MAX. -ERR_NOTFOUND: no such position. -ERR_LIMIT: too many tags
 * for one entry. More manifests than fit into one entry are put back in entries before it, without
 * tags. */
int revert_repo(struct repo *r, uint64_t to, const struct revert *how, uint64_t *ret_seq,
                struct buf *ret_missing, struct err_detail *detail) must_check;

/* Empties the repository: no tag, no manifest, no blob is left; its log goes on. -ERR_NOREPO: it
 * has no entry; -ERR_NOTFOUND: it is empty already. -ERR_DENIED: a tag is immutable, and
 * who does not override that. */
int revert_drop(struct repo *r, const struct repo_who *who, uint64_t *ret_seq,
                struct err_detail *detail) must_check;

#endif
