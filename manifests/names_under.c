#include "manifests/names_under.h"

#include "manifests/name.h"

bool prefix_parse(struct str text, struct str *ret)
{
    *ret = str_eq(text, STR("/")) ? STR_NONE : text;
    return str_ends(text, STR("/")) && (text.len == 1 || name_valid(str_head(text, text.len - 1)));
}

struct names {
    struct omap *set;
    struct str prefix;
};

static int add_name(struct str name, void *arg)
{
    static char mark; /* values are never NULL and never read */
    struct names *n = arg;

    return str_starts(name, n->prefix) ? omap_put(n->set, name, &mark) : 1; /* no more of them */
}

int names_under(struct repos *rs, struct views *v, struct str prefix, int64_t time_ms,
                struct str last, size_t n, struct omap *set, struct err_detail *detail)
{
    struct catalog *now = repos_catalog(rs), *then = NULL;
    const struct moment m = {.by_time = true, .ms = time_ms};
    struct names names = {set, prefix};
    bool more;
    int e = catalog_refresh(now, detail);

    if (str_cmp(last, prefix) < 0) /* no name is a prefix, so nothing lies between */
        last = prefix;
    if (e == 0)
        e = catalog_page(now, last, n, add_name, &names, &more);
    if (e < 0)
        return e;
    e = views_catalog(v, &m, &then, detail);
    if (e == -ERR_TIME)
        return 0;
    if (e == 0)
        e = catalog_page(then, last, n, add_name, &names, &more);
    views_catalog_done(v, then);
    return e < 0 ? e : 0;
}
