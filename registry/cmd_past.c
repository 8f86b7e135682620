#include "registry/cmd_past.h"

#include <string.h>

#include "manifests/names_under.h"
#include "registry/store_open.h"

#define PAGE 1000

bool past_target_parse(const char *text, struct past_target *ret)
{
    struct str s = str_of(text);
    ptrdiff_t colon = str_find(s, ':');

    *ret = (struct past_target){.name = s};
    if (str_ends(s, STR("/"))) {
        ret->prefix = true;
        return prefix_parse(s, &ret->name);
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

static int parse_time(struct past *p, const char *text, int64_t *ret)
{
    struct moment m;
    int e = moment_parse(str_of(text), &m, &p->why);

    if (e == 0 && !m.by_time)
        e = err_set(&p->why, -ERR_INVAL,
                    "numbers are of one repository: give a time for all under a prefix");
    *ret = m.ms;
    return e;
}

/* One page of names; *ret_more: others follow. */
static int visit_page(struct past *p, struct str prefix, int64_t ms, struct buf *last, past_fn fn,
                      void *arg, bool *ret_more)
{
    struct omap *set auto_omap = NULL;
    struct omap_node *node;
    int e = omap_new(NULL, &set);

    if (e == 0)
        e = names_under(p->app.repos, p->app.views, prefix, ms, buf_str(last), PAGE, set, &p->why);
    if (e < 0) {
        past_complain(p, prefix.len > 0 ? prefix : STR("/"), e);
        return e;
    }
    node = omap_first(set);
    for (size_t i = 0; e == 0 && node && i < PAGE; i++, node = omap_next(set, node)) {
        buf_clear(last);
        buf_add(last, omap_key(node));
        e = visit(p, omap_key(node), fn, arg);
    }
    *ret_more = omap_count(set) >= PAGE;
    return e < 0 ? e : buf_err(last);
}

int past_each(struct past *p, const struct past_target *t, const char *moment, past_fn fn,
              void *arg)
{
    struct buf last auto_buf = BUF_INIT(NAME_MAX_LEN + 1);
    bool more = true;
    int64_t ms;
    int e;

    if (!t->prefix)
        return visit(p, t->name, fn, arg);
    e = parse_time(p, moment, &ms);
    if (e < 0)
        past_complain(p, t->name.len > 0 ? t->name : STR("/"), e);
    while (e == 0 && more)
        e = visit_page(p, t->name, ms, &last, fn, arg, &more);
    return e;
}
