/* Views of the past: a repository, or the catalog, as it was at a moment (design section 9 and 11).
 *
 * A moment by number is a position of that one log. A moment by time is the last entry stamped up
 * to then; it is answered once it is final, that is, once no entry stamped up to then can still be
 * written: a later entry stands there, or 20 minutes (REPLICA_FINAL_MS) have passed by the store's
 * clock. Until then -ERR_TIME. So an answer about the past never changes. Of several logs each is
 * seen at its own position: a moment is no cut through all of them.
 *
 * Costs: a moment by time reads about log2(entries) entries, once for repeated requests; a view
 * reads the newest checkpoint before its position and the entries between. Both are cached.
 *
 * Thread rule: any thread; everything may block. */
#ifndef STOWAGE_MANIFESTS_VIEW_H
#define STOWAGE_MANIFESTS_VIEW_H

#include "manifests/catalog.h"
#include "manifests/moment.h"
#include "manifests/repo.h"

#define VIEW_CATALOGS_MAX 4 /* catalogs of the past in memory */

struct views; /* per node */

int views_new(struct repos *rs, struct views **ret) must_check;
void views_free(struct views *v);

/* The repository at the moment, judged on a state as new as the call; release by repo_unref.
 * -ERR_NOTFOUND: no entry of that number; -ERR_TIME: not final. Before the first entry the view is
 * of a repository that does not exist (repo_exists). */
int views_repo(struct views *v, struct str name, const struct moment *m, struct repo **ret,
               struct err_detail *detail) must_check;

/* The catalog at the moment, for catalog_page; the same errors. Numbers are those of the catalog's
 * log. */
int views_catalog(struct views *v, const struct moment *m, struct catalog **ret,
                  struct err_detail *detail) must_check;
void views_catalog_done(struct views *v, struct catalog *c);

#endif
