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
int catalog_add_until(struct catalog *c, struct str name, bool filled, int64_t deadline_ms,
                      struct err_detail *detail) must_check; /* answers by clock_boot_ms */
/* The repository became empty or filled with its entry seq; the greatest seq wins. */
int catalog_mark(struct catalog *c, struct str name, bool filled, uint64_t seq,
                 struct err_detail *detail) must_check;

/* Makes the catalog say of a repository what its log says at seq. Best effort: a failure is a
 * warning, repaired when the repository is next opened or changed. One lookup when it says so
 * already. */
void catalog_agree(struct catalog *c, struct str name, bool filled, uint64_t seq);
void catalog_agree_until(struct catalog *c, struct str name, bool filled, uint64_t seq,
                         int64_t deadline_ms);

int catalog_refresh(struct catalog *c, struct err_detail *detail) must_check;
int catalog_refresh_nowait(struct catalog *c) must_check;
/* Filled repositories > last in byte order, at most n; *ret_more: others follow. */
int catalog_page(struct catalog *c, struct str last, size_t n,
                 int (*fn)(struct str name, void *arg), void *arg, bool *ret_more) must_check;
int catalog_page_nowait(struct catalog *c, struct str last, size_t n,
                        int (*fn)(struct str name, void *arg), void *arg,
                        bool *ret_more) must_check;

#endif
