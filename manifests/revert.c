/* Committing what was planned: at the very state it was planned on, or planned anew. */
#include "manifests/revert.h"

#include <assert.h>
#include <stdio.h>

#include "base/clock.h"
#include "manifests/revert_internal.h"

#define TRY_MS    OBJLOG_DECIDE_MS /* so long a repository that changes all the time is tried */
#define REQ_MAX   256
#define PAGE_TAGS 1000

/* ---- telling */

static int tell_digests(const struct plan *p, const struct omap *set, enum revert_what what)
{
    int e = 0;

    for (struct omap_node *n = omap_first(set); e == 0 && n; n = omap_next(set, n)) {
        struct revert_change c = {.what = what};
        struct digest d;

        e = digest_parse(omap_key(n), &d);
        *(what == REVERT_PUT ? &c.to : &c.from) = &d;
        if (e == 0)
            e = p->how->told(&c, p->how->arg);
    }
    return e;
}

static int tell(const struct plan *p)
{
    int e = 0;

    if (!p->how->told)
        return 0;
    for (struct omap_node *n = omap_first(p->tags); e == 0 && n; n = omap_next(p->tags, n)) {
        const struct plan_tag *t = omap_value(n);
        struct revert_change c = {.what = REVERT_TAG,
                                  .tag = omap_key(n),
                                  .from = t->from_any ? &t->from : NULL,
                                  .to = t->to_any ? &t->to : NULL};

        e = p->how->told(&c, p->how->arg);
    }
    if (e == 0)
        e = tell_digests(p, p->puts, REVERT_PUT);
    return e < 0 ? e : tell_digests(p, p->deletes, REVERT_DELETE);
}

/* ---- reverting */

/* One plan, committed: 0 done, -ERR_AGAIN: the state moved, or more is to be put back. */
static int try_revert(struct repo *r, struct repo *past, const struct revert *how,
                      uint64_t *ret_seq, struct buf *ret_missing, struct err_detail *detail)
{
    struct plan p auto_plan;
    int64_t begun = clock_boot_ms();
    uint64_t seen;
    int e = repo_refresh(r, detail);

    plan_init(&p);
    if (e < 0)
        return e;
    seen = repo_seq(r);
    p.now = r;
    p.past = past;
    p.how = how;
    p.ret_missing = ret_missing;
    p.detail = detail;
    buf_clear(ret_missing);
    e = plan_make(&p);
    /* What was read while the state moved is no plan, nor is its refusal one. */
    if (repo_seq(r) != seen)
        return e == -ERR_NOMEM ? e : -ERR_AGAIN;
    if (e < 0)
        return e;
    *ret_seq = 0;
    if (p.ops.len > 0 && !how->dry_run) {
        e = repo_commit_whole(r, seen, buf_str(&p.ops), begun, detail);
        if (e == 0 && p.partial)
            return -ERR_AGAIN;
        *ret_seq = seen + 1;
    }
    return e < 0 ? e : tell(&p);
}

int revert_repo(struct repo *r, uint64_t to, const struct revert *how, uint64_t *ret_seq,
                struct buf *ret_missing, struct err_detail *detail)
{
    struct repo *past auto_repo = NULL;
    char text[REQ_MAX];
    struct revert mine = *how;
    int64_t until = clock_boot_ms() + TRY_MS;
    uint64_t before;
    int e = repo_refresh(r, detail);

    assert(r && how && ret_seq && ret_missing && how->who.req.len < sizeof(text) - 16);
    if (e == 0)
        e = repo_view(r, to, &past, detail);
    if (e < 0)
        return e;
    for (unsigned turn = 1;; turn++) {
        before = repo_seq(r);
        e = try_revert(r, past, &mine, ret_seq, ret_missing, detail);
        if (e != -ERR_AGAIN)
            return e;
        if (clock_boot_ms() >= until)
            return err_set(detail, -ERR_NOTCOMMITTED, "the repository changed too often meanwhile");
        /* A request is one change in the log: a further entry has a name of its own. */
        if (repo_seq(r) != before) {
            snprintf(text, sizeof(text), STR_FMT ".%u", STR_ARG(how->who.req), turn);
            mine.who.req = str_of(text);
        }
    }
}

/* ---- emptying */

struct immutables {
    const struct settings *settings;
    struct buf last;
    struct err_detail *detail;
};

static int refuse_immutable(struct str tag, void *arg)
{
    struct immutables *i = arg;

    buf_clear(&i->last);
    buf_add(&i->last, tag);
    if (settings_immutable(i->settings, tag))
        return err_set(i->detail, -ERR_DENIED, "the tag \"" STR_FMT "\" is immutable",
                       STR_ARG(tag));
    return buf_err(&i->last);
}

static int check_tags(struct repo *r, struct err_detail *detail)
{
    struct settings *settings auto_settings = NULL;
    struct immutables i = {.last = BUF_INIT(TAG_MAX_LEN + 1), .detail = detail};
    bool more = true;
    int e = repo_settings(r, &settings);

    i.settings = settings;
    while (e == 0 && more && settings_any_immutable(settings)) {
        struct buf from auto_buf = BUF_INIT(TAG_MAX_LEN + 1);

        buf_add(&from, buf_str(&i.last));
        e = repo_tags(r, buf_str(&from), PAGE_TAGS, refuse_immutable, &i, &more);
    }
    buf_done(&i.last);
    return e;
}

static int try_drop(struct repo *r, struct str op, bool override, uint64_t *ret_seq,
                    struct err_detail *detail)
{
    int64_t begun = clock_boot_ms();
    uint64_t seen;
    int e = repo_refresh(r, detail);

    if (e == 0 && !repo_exists(r))
        e = -ERR_NOREPO;
    if (e == 0 && repo_dropped(r) == repo_seq(r))
        e = err_set(detail, -ERR_NOTFOUND, "the repository is empty already");
    seen = repo_seq(r);
    if (e == 0 && !override)
        e = check_tags(r, detail);
    if (e == 0)
        e = repo_commit_whole(r, seen, op, begun, detail);
    *ret_seq = seen + 1;
    return e;
}

int revert_drop(struct repo *r, const struct repo_who *who, uint64_t *ret_seq,
                struct err_detail *detail)
{
    struct taglog_op op = {
        .kind = TAGLOG_DROP, .override = who->override, .by = who->by, .req = who->req};
    struct buf text auto_buf = BUF_INIT(OBJLOG_OP_MAX);
    int64_t until = clock_boot_ms() + TRY_MS;
    int e = taglog_encode(&op, &text);

    if (e < 0)
        return e;
    do {
        e = try_drop(r, buf_str(&text), who->override, ret_seq, detail);
    } while (e == -ERR_AGAIN && clock_boot_ms() < until);
    return e == -ERR_AGAIN
               ? err_set(detail, -ERR_NOTCOMMITTED, "the repository changed too often meanwhile")
               : e;
}
