#include "manifests/view.h"

#include <assert.h>

#include "base/thread.h"

struct slot {
    struct catalog *catalog; /* NULL: empty */
    uint64_t seq, used;
    unsigned refs;
};

struct views {
    struct repos *repos; /* borrowed */
    struct mutex mu;     /* guards all below */
    struct slot slots[VIEW_CATALOGS_MAX];
    uint64_t uses;
};

int views_new(struct repos *rs, struct views **ret)
{
    struct views *v = calloc(1, sizeof(*v));

    assert(rs && ret);
    if (!v)
        return -ERR_NOMEM;
    v->repos = rs;
    mutex_init(&v->mu);
    *ret = v;
    return 0;
}

void views_free(struct views *v)
{
    if (!v)
        return;
    for (size_t i = 0; i < VIEW_CATALOGS_MAX; i++) {
        assert(v->slots[i].refs == 0);
        catalog_free(v->slots[i].catalog);
    }
    mutex_done(&v->mu);
    free(v);
}

int views_repo(struct views *v, struct str name, const struct moment *m, struct repo **ret,
               struct err_detail *detail)
{
    struct repo *repo auto_repo = NULL;
    uint64_t seq = m->seq;
    int e = repo_get(v->repos, name, &repo, detail);

    if (e == 0)
        e = repo_refresh(repo, detail);
    if (e == 0 && m->by_time)
        e = repo_seq_at(repo, m->ms, &seq, detail);
    return e < 0 ? e : repo_view(repo, seq, ret, detail);
}

/* ---- the catalog */

/* Locked. */
static struct catalog *find(struct views *v, uint64_t seq)
{
    for (size_t i = 0; i < VIEW_CATALOGS_MAX; i++) {
        struct slot *s = &v->slots[i];

        if (!s->catalog || s->seq != seq)
            continue;
        s->refs++;
        s->used = ++v->uses;
        return s->catalog;
    }
    return NULL;
}

/* Locked. The place of the one that was not used for longest; NULL: all are in use. */
static struct slot *place(struct views *v)
{
    struct slot *oldest = NULL;

    for (size_t i = 0; i < VIEW_CATALOGS_MAX; i++)
        if (v->slots[i].refs == 0 && (!oldest || v->slots[i].used < oldest->used))
            oldest = &v->slots[i];
    return oldest;
}

/* Keeps a catalog just opened. Where another thread was faster, or there is no place, it is not
 * kept and goes with its user. */
static void keep(struct views *v, uint64_t seq, struct catalog *c)
{
    struct catalog *out = NULL;
    struct slot *s;

    mutex_lock(&v->mu);
    s = place(v);
    if (s) {
        out = s->catalog;
        *s = (struct slot){.catalog = c, .seq = seq, .used = ++v->uses, .refs = 1};
    }
    mutex_unlock(&v->mu);
    catalog_free(out);
}

int views_catalog(struct views *v, const struct moment *m, struct catalog **ret,
                  struct err_detail *detail)
{
    struct catalog *live = repos_catalog(v->repos), *c = NULL;
    uint64_t seq = m->seq;
    int e = catalog_refresh(live, detail);

    if (e == 0 && m->by_time)
        e = catalog_seq_at(live, m->ms, &seq, detail);
    if (e == 0 && seq > catalog_seq(live))
        e = err_set(detail, -ERR_NOTFOUND, "the catalog has %llu entries, not %llu",
                    (unsigned long long)catalog_seq(live), (unsigned long long)seq);
    if (e < 0)
        return e;
    mutex_lock(&v->mu);
    *ret = find(v, seq);
    mutex_unlock(&v->mu);
    if (*ret)
        return 0;
    e = catalog_new(repos_blobs(v->repos), repos_tables(v->repos), NULL, &c);
    if (e == 0)
        e = catalog_open_at(c, seq, detail);
    if (e < 0) {
        catalog_free(c);
        return e;
    }
    keep(v, seq, c);
    *ret = c;
    return 0;
}

void views_catalog_done(struct views *v, struct catalog *c)
{
    bool kept = false;

    if (!c)
        return;
    mutex_lock(&v->mu);
    for (size_t i = 0; i < VIEW_CATALOGS_MAX; i++)
        if (v->slots[i].catalog == c) {
            v->slots[i].refs--;
            kept = true;
        }
    mutex_unlock(&v->mu);
    if (!kept)
        catalog_free(c);
}
