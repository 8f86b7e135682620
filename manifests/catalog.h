/* The catalog: which repositories exist and which hold something (docs/bucket-format.md section 10;
 * R125). A log like any other; its state is a cache. Any thread; calls may block except *_nowait.
 * Owned by struct repos (manifests/repo.h). */
#ifndef STOWAGE_MANIFESTS_CATALOG_H
#define STOWAGE_MANIFESTS_CATALOG_H

#include "manifests/repo.h"

struct catalog;
struct table_cache;
/* cache: borrowed, for blocks of its checkpoint. */
int catalog_new(struct blobs *b, struct table_cache *cache, struct work *background,
                struct catalog **ret) must_check;
void catalog_free(struct catalog *c);
struct catalog *repos_catalog(const struct repos *rs);

/* Acknowledged before the first entry of a repository (B20). 0 also when it stands there already.
 */
int catalog_add(struct catalog *c, struct str name, bool filled,
                struct err_detail *detail) must_check;
/* The same, with an answer by clock_boot_ms; *ret_was (or NULL): it stood there already. */
int catalog_add_until(struct catalog *c, struct str name, bool filled, int64_t deadline_ms,
                      bool *ret_was, struct err_detail *detail) must_check;
/* nowait: has it, as far as this node knows, never heard of the name? */
bool catalog_unheard(struct catalog *c, struct str name);
/* The repository became empty or filled with its entry seq; the greatest seq wins. */
int catalog_mark(struct catalog *c, struct str name, bool filled, uint64_t seq,
                 struct err_detail *detail) must_check;

struct catalog_state {
    bool filled;
    uint64_t seq;   /* of the repository's log where it is so */
    uint64_t since; /* the entry that made it so, as far as that is known; else 0 */
};
/* Makes the catalog say of a repository what its log says. It says so with an entry's number if
 * `since` is known, even when it seems to agree already: a word about an older entry, whose writer
 * never learned its outcome, may come to stand minutes later, and the greatest number wins. A
 * failure is a warning, too, repaired when the repository is next opened or changed. One lookup
 * when it says so already. */
int catalog_agree(struct catalog *c, struct str name, const struct catalog_state *is,
                  int64_t deadline_ms) must_check;

/* Of one just made: the catalog as it was after that entry of its log, for good (replica.h). */
int catalog_open_at(struct catalog *c, uint64_t seq, struct err_detail *detail) must_check;
/* After a refresh: the last entry of its log; the last one stamped up to ms (-ERR_TIME). */
uint64_t catalog_seq(struct catalog *c);
int catalog_seq_at(struct catalog *c, int64_t ms, uint64_t *ret,
                   struct err_detail *detail) must_check;

int catalog_refresh(struct catalog *c, struct err_detail *detail) must_check;
int catalog_refresh_nowait(struct catalog *c) must_check;
/* Filled repositories > last in byte order, at most n; *ret_more: others follow. */
int catalog_page(struct catalog *c, struct str last, size_t n,
                 int (*fn)(struct str name, void *arg), void *arg, bool *ret_more) must_check;
int catalog_page_nowait(struct catalog *c, struct str last, size_t n,
                        int (*fn)(struct str name, void *arg), void *arg,
                        bool *ret_more) must_check;

#endif
