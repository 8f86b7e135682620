#include "registry/cmd_past.h"

#include <string.h>

#include "base/omap.h"
#include "registry/store_open.h"

#define PAGE 1000

bool past_target_parse(const char *text, struct past_target *ret)
{
    struct str s = str_of(text);
    ptrdiff_t colon = str_find(s, ':');

    *ret = (struct past_target){.name = s};
    if (str_ends(s, STR("/"))) {
        ret->prefix = true;
        ret->name = str_eq(s, STR("/")) ? STR_NONE : s;
        return s.len == 1 || name_valid(str_head(s, s.len - 1));
    }
    if (colon >= 0) {
        ret->name = str_head(s, (size_t)colon);
        ret->tag = str_skip(s, (size_t)colon + 1);
        if (!tag_valid(ret->tag))
            return false;
    }
    return name_valid(ret->name);
}

int past_open(struct past *p, const struct config *config)
{
    const struct access_settings access = {.allow_anonymous_network = false};
    int e;

    *p = (struct past){.config = config};
    e = store_open_config(config, STORE_EDIT, &p->store, &p->why);
    if (e == 0)
        e = app_open(&p->app, p->store, (enum references)config->references, &access, &p->why);
    if (e < 0)
        cmd_complain("%s", p->why.text[0] ? p->why.text : err_text(e));
    return e;
}

void past_close(struct past *p)
{
    app_close(&p->app);
    store_free(p->store);
}

void past_complain(struct past *p, struct str name, int e)
{
    cmd_complain(STR_FMT ": %s", STR_ARG(name), p->why.text[0] ? p->why.text : err_text(e));
    p->failed = true;
}

int past_position(struct past *p, struct repo *r, const char *text, uint64_t *ret)
{
    struct moment m;
    int e = moment_parse(str_of(text), &m, &p->why);

    if (e == 0 && m.by_time)
        return repo_seq_at(r, m.ms, ret, &p->why);
    *ret = m.seq;
    return e;
}

/* ---- all under a prefix */

struct names {
    struct omap *set;
    struct str prefix;
    struct buf last;
};

static int add_name(struct str name, void *arg)
{
    static char mark; /* values are never NULL and never read */
    struct names *n = arg;

    buf_clear(&n->last);
    buf_add(&n->last, name);
    if (buf_err(&n->last) < 0)
        return buf_err(&n->last);
    return str_starts(name, n->prefix) ? omap_put(n->set, name, &mark) : 0;
}

static int add_names(struct catalog *c, struct names *n)
{
    bool more = true;
    int e = 0;

    buf_clear(&n->last);
    while (e == 0 && more) {
        struct buf after auto_buf = BUF_INIT(NAME_MAX_LEN + 1);

        buf_add(&after, buf_str(&n->last));
        e = catalog_page(c, buf_str(&after), PAGE, add_name, n, &more);
    }
    return e;
}

/* Names of now and of then. A time that is not final in the catalog is one since which nothing
 * changed there. */
static int find_names(struct past *p, const char *text, struct names *n)
{
    struct catalog *now = repos_catalog(p->app.repos), *then = NULL;
    struct moment m;
    int e = moment_parse(str_of(text), &m, &p->why);

    if (e == 0 && !m.by_time)
        e = err_set(&p->why, -ERR_INVAL,
                    "numbers are of one repository: give a time for all under a prefix");
    if (e == 0)
        e = catalog_refresh(now, &p->why);
    if (e == 0)
        e = add_names(now, n);
    if (e < 0)
        return e;
    e = views_catalog(p->app.views, &m, &then, &p->why);
    if (e == 0)
        e = add_names(then, n);
    views_catalog_done(p->app.views, then);
    return e == -ERR_TIME ? 0 : e;
}

static int visit(struct past *p, struct str name, past_fn fn, void *arg)
{
    struct repo *r auto_repo = NULL;
    int e;

    p->why.text[0] = '\0';
    e = repo_get(p->app.repos, name, &r, &p->why);
    if (e == 0)
        e = repo_refresh(r, &p->why);
    if (e == 0 && !repo_exists(r))
        e = -ERR_NOREPO;
    if (e == 0)
        e = fn(p, r, arg);
    if (e < 0)
        past_complain(p, name, e);
    return e == -ERR_NOMEM ? e : 0;
}

int past_each(struct past *p, const struct past_target *t, const char *moment, past_fn fn,
              void *arg)
{
    struct omap *set auto_omap = NULL;
    struct names n = {.prefix = t->name, .last = BUF_INIT(NAME_MAX_LEN + 1)};
    int e;

    if (!t->prefix)
        return visit(p, t->name, fn, arg);
    e = omap_new(NULL, &set);
    n.set = set;
    if (e == 0)
        e = find_names(p, moment, &n);
    buf_done(&n.last);
    if (e < 0)
        past_complain(p, t->name.len > 0 ? t->name : STR("/"), e);
    for (struct omap_node *node = set ? omap_first(set) : NULL; e == 0 && node;
         node = omap_next(set, node))
        e = visit(p, omap_key(node), fn, arg);
    return e;
}
