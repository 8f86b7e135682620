/* What differs between two states of a repository, going back to one, and emptying it. */
#include "manifests/compare.h"
#include "manifests/moment.h"
#include "manifests/revert.h"

#include "base/clock.h"
#include "base/json.h"
#include "base/log.h"
#include "manifests/names_under.h"
#include "registry/admit.h"
#include "registry/api.h"
#include "registry/api_common.h"
#include "registry/oci_error.h"

#define CHANGES_BODY_MAX  (64u << 20)
#define UNDER_MAX         1000        /* repositories of one request ... */
#define UNDER_MS          20000       /* ... that are begun within this ... */
#define UNDER_BODY_ENOUGH (16u << 20) /* ... and before the answer has so many bytes */

/* ---- writing changes: an object whose lists come one after the other */

struct lists {
    struct jw w;
    const char *const *names; /* of the lists, in order */
    size_t open;              /* the list that is open */
    bool told;                /* something is to be done */
};

static void open_lists(struct lists *l)
{
    jw_key(&l->w, l->names[0]);
    jw_begin(&l->w, '[');
}

static void go_to_list(struct lists *l, size_t i)
{
    while (l->open < i) {
        jw_end(&l->w, ']');
        jw_key(&l->w, l->names[++l->open]);
        jw_begin(&l->w, '[');
    }
}

#define LISTS 3
static const char *const diff_lists[LISTS] = {"tags", "added", "removed"};
static const char *const revert_lists[LISTS] = {"tags", "restored", "deleted"};

static void close_lists(struct lists *l)
{
    go_to_list(l, LISTS - 1);
    jw_end(&l->w, ']');
}

static void write_digest(struct jw *w, const struct digest *d)
{
    char text[DIGEST_TEXT_MAX];

    if (d)
        jw_str(w, digest_text(d, text));
    else
        jw_null(w);
}

static int write_tag(struct lists *l, struct str tag, const struct digest *from,
                     const struct digest *to)
{
    jw_begin(&l->w, '{');
    jw_kstr(&l->w, "tag", tag);
    jw_key(&l->w, "from");
    write_digest(&l->w, from);
    jw_key(&l->w, "to");
    write_digest(&l->w, to);
    jw_end(&l->w, '}');
    return buf_err(l->w.out);
}

/* ---- moments */

/* The position that a query parameter names, -ERR_NOTFOUND without one. */
static int query_position(struct req *r, const char *name, struct repo *repo, uint64_t *ret)
{
    struct buf text auto_buf = BUF_INIT(QUERY_VALUE_MAX);
    struct moment m;
    int e = req_query(r, name, 0, true, &text);

    if (e == -ERR_NOTFOUND || e == -ERR_NOMEM)
        return e;
    if (e == 0)
        e = moment_parse(buf_str(&text), &m, req_detail(r));
    if (e < 0)
        return e == -ERR_TIME ? e : err_set(req_detail(r), -ERR_TIME, "%s is malformed", name);
    if (m.by_time)
        return repo_seq_at(repo, m.ms, ret, req_detail(r));
    *ret = m.seq;
    return 0;
}

static int required(struct req *r, const char *name, int e)
{
    return e == -ERR_NOTFOUND
               ? err_set(req_detail(r), -ERR_TIME, "the query lacks a point in time: %s", name)
               : e;
}

static int asked(struct req *r, struct repo **ret)
{
    int e = api_fresh_repo(r, req_target(r)->name, MAY_WAIT, ret);

    return e == 0 && !repo_exists(*ret) ? -ERR_NOREPO : e;
}

/* ---- diff */

static int diff_tag(struct str tag, const struct digest *from, const struct digest *to, void *arg)
{
    return write_tag(arg, tag, from, to);
}

struct diff_manifests {
    struct lists *lists;
    size_t list; /* 1: added, 2: removed */
};

static int diff_manifest(const struct digest *d, const struct repo_manifest *from,
                         const struct repo_manifest *to, void *arg)
{
    struct diff_manifests *m = arg;

    if (m->list == 1 ? !from && to : from && !to)
        write_digest(&m->lists->w, d);
    return buf_err(m->lists->w.out);
}

static int write_diff(struct repo *from, struct repo *to, struct lists *l)
{
    struct diff_manifests m = {.lists = l};
    int e = compare_tags(from, to, diff_tag, l);

    for (m.list = 1; e == 0 && m.list < LISTS; m.list++) {
        go_to_list(l, m.list);
        e = compare_manifests(from, to, diff_manifest, &m);
    }
    return e;
}

int api_diff(struct req *r)
{
    struct repo *repo auto_repo = NULL, *from auto_repo = NULL, *to auto_repo = NULL;
    struct buf body auto_buf = BUF_INIT(CHANGES_BODY_MAX);
    struct lists l = {.w = JW_INIT(&body), .names = diff_lists};
    uint64_t first = 0, last = 0;
    int e = asked(r, &repo);

    if (e == 0)
        e = required(r, "from", query_position(r, "from", repo, &first));
    if (e == 0) {
        last = repo_seq(repo);
        e = query_position(r, "to", repo, &last);
        e = e == -ERR_NOTFOUND ? 0 : e;
    }
    if (e == 0)
        e = repo_view(repo, first, &from, req_detail(r));
    if (e == 0)
        e = repo_view(repo, last, &to, req_detail(r));
    if (e < 0)
        return e;
    jw_begin(&l.w, '{');
    jw_kstr(&l.w, "name", req_target(r)->name);
    jw_kint(&l.w, "from", (int64_t)first);
    jw_kint(&l.w, "to", (int64_t)last);
    open_lists(&l);
    e = write_diff(from, to, &l);
    if (e < 0)
        return e == -ERR_TOOBIG ? err_set(req_detail(r), -ERR_TIME, "too much differs") : e;
    close_lists(&l);
    jw_end(&l.w, '}');
    return req_reply_body(r, 200, "application/json", &body);
}

/* ---- revert */

static int told(const struct revert_change *c, void *arg)
{
    struct lists *l = arg;

    l->told = true;
    if (c->what == REVERT_TAG)
        return write_tag(l, c->tag, c->from, c->to);
    go_to_list(l, c->what == REVERT_PUT ? 1 : 2);
    write_digest(&l->w, c->what == REVERT_PUT ? c->to : c->from);
    return buf_err(l->w.out);
}

static bool query_flag(struct req *r, const char *name)
{
    struct buf text auto_buf = BUF_INIT(QUERY_VALUE_MAX);

    return req_query(r, name, 0, false, &text) == 0 && !str_eq(buf_str(&text), STR("false"));
}

/* A tag is moved, or removed if it was not there; a whole repository also loses what was pushed
 * since. */
static const enum action revert_needs[] = {ACTION_HISTORY, ACTION_PUSH, ACTION_DELETE};

static int check_rights(struct req *r, struct str tag)
{
    const struct app *app = req_app(r);
    struct str name = req_target(r)->name;

    for (size_t i = 0; i < ARRAY_LEN(revert_needs); i++) {
        struct str on = revert_needs[i] == ACTION_HISTORY ? STR_NONE : tag;
        int e = api_may(r, revert_needs[i], name, on);

        if (e < 0)
            return e;
    }
    if (app->refuse.tag_delete)
        return err_set(req_detail(r), -ERR_UNSUPPORTED, "this registry does not delete tags");
    if (tag.len == 0 && app->refuse.manifest_delete)
        return err_set(req_detail(r), -ERR_UNSUPPORTED, "this registry does not delete manifests");
    return 0;
}

static int query_tag(struct req *r, struct buf *out)
{
    int e = req_query(r, "tag", 0, false, out);

    if (e == -ERR_NOTFOUND)
        return 0;
    if (e == 0 && !tag_valid(buf_str(out)))
        e = err_set(req_detail(r), -ERR_INVAL, "the tag is malformed");
    return e;
}

static int reply_missing(struct req *r, const struct buf *missing)
{
    struct buf body auto_buf = BUF_INIT(OCI_ERROR_BODY_MAX);

    oci_error_missing(buf_str(missing), &body);
    return req_reply_body(r, 400, "application/json", &body);
}

/* The answer about one repository. */
static int revert_and_write(struct str name, struct repo *repo, uint64_t to,
                            const struct revert *how, struct lists *l, struct buf *missing,
                            struct err_detail *detail)
{
    uint64_t entry = 0;
    int e;

    jw_begin(&l->w, '{');
    jw_kstr(&l->w, "name", name);
    jw_kint(&l->w, "at", (int64_t)to);
    open_lists(l);
    e = revert_repo(repo, to, how, &entry, missing, detail);
    if (e < 0)
        return e;
    close_lists(l);
    jw_key(&l->w, "entry");
    if (entry > 0)
        jw_int(&l->w, (int64_t)entry);
    else
        jw_null(&l->w);
    jw_end(&l->w, '}');
    return buf_err(l->w.out);
}

int api_revert(struct req *r)
{
    struct repo *repo auto_repo = NULL;
    struct buf body auto_buf = BUF_INIT(CHANGES_BODY_MAX), tag auto_buf = BUF_INIT(TAG_MAX_LEN + 1);
    struct buf missing auto_buf = BUF_INIT((size_t)REPO_MISSING_MAX * (DIGEST_TEXT_MAX + 1));
    struct lists l = {.w = JW_INIT(&body), .names = revert_lists};
    struct revert how = {
        .dry_run = query_flag(r, "dry-run"), .who = api_who(r), .told = told, .arg = &l};
    uint64_t to = 0;
    int e = query_tag(r, &tag);

    how.tag = buf_str(&tag);
    if (e == 0)
        e = check_rights(r, buf_str(&tag));
    if (e == 0)
        e = api_override(r, &how.tag, how.tag.len > 0 ? 1 : 0, &how.who);
    if (e == 0)
        e = asked(r, &repo);
    if (e == 0)
        e = required(r, "at", query_position(r, "at", repo, &to));
    if (e < 0)
        return e;
    e = revert_and_write(req_target(r)->name, repo, to, &how, &l, &missing, req_detail(r));
    if (e == -ERR_MISSING_REF && missing.len > 0)
        return reply_missing(r, &missing);
    return e < 0 ? e : req_reply_body(r, 200, "application/json", &body);
}

int api_repository_delete(struct req *r)
{
    struct repo *repo auto_repo = NULL;
    struct repo_who who = api_who(r);
    uint64_t entry = 0;
    int e = repo_get(req_app(r)->repos, req_target(r)->name, &repo, req_detail(r));

    if (e == 0 && (req_app(r)->refuse.manifest_delete || req_app(r)->refuse.tag_delete))
        e = err_set(req_detail(r), -ERR_UNSUPPORTED, "this registry does not delete manifests");
    if (e == 0)
        e = api_override(r, NULL, 0, &who);
    if (e == 0)
        e = revert_drop(repo, &who, &entry, req_detail(r));
    return e < 0 ? e : req_reply_empty(r, 202);
}

/* ---- revert of all under a prefix */

struct under {
    struct req *r;
    struct str prefix;
    int64_t at_ms;
    bool dry_run;
    size_t n;
    struct buf last;
    struct jw w;
    size_t failed;
    bool more;
};

static int may_revert(struct req *r, struct str name, struct err_detail *why)
{
    int e = 0;

    for (size_t i = 0; e == 0 && i < ARRAY_LEN(revert_needs); i++)
        e = admit_may(r, revert_needs[i], name, STR_NONE);
    if (e < 0)
        *why = *req_detail(r);
    req_detail(r)->text[0] = '\0';
    return e;
}

/* What went wrong with one, in its place: its name and errors as a whole answer has them. */
static void write_failed(struct under *u, struct str name, int e, struct str missing,
                         const struct err_detail *why)
{
    struct buf text auto_buf = BUF_INIT(OCI_ERROR_BODY_MAX);
    struct buf errors auto_buf = BUF_INIT(OCI_ERROR_BODY_MAX);
    struct jw w = JW_INIT(&text);

    if (e == -ERR_MISSING_REF && missing.len > 0)
        oci_error_missing(missing, &errors);
    else
        (void)oci_error_body(e, RESOURCE_REVERT, err_status(e) < 500 ? why->text : "", &errors);
    jw_begin(&w, '{');
    jw_kstr(&w, "name", name);
    jw_key(&w, "errors");
    jw_raw(&w, str_head(str_skip(buf_str(&errors), strlen("{\"errors\":")),
                        errors.len - strlen("{\"errors\":") - 1));
    jw_end(&w, '}');
    jw_raw(&u->w, buf_str(&text));
    u->failed++;
    log_info("revert.failed", KV_S("req", req_id(u->r)), KV_V("name", name),
             KV_S("error", err_name(e)), KV_S("why", why->text));
}

static int revert_one(struct under *u, struct str name, struct buf *text, struct buf *missing,
                      struct err_detail *why)
{
    struct repo *repo auto_repo = NULL;
    struct lists l = {.w = JW_INIT(text), .names = revert_lists};
    const struct revert how = {
        .dry_run = u->dry_run, .who = api_who(u->r), .told = told, .arg = &l};
    uint64_t to = 0;
    int e = may_revert(u->r, name, why);

    if (e == 0)
        e = repo_get(req_app(u->r)->repos, name, &repo, why);
    if (e == 0)
        e = repo_refresh(repo, why);
    if (e == 0 && !repo_exists(repo))
        return 0;
    if (e == 0)
        e = repo_seq_at(repo, u->at_ms, &to, why);
    if (e == -ERR_TIME) { /* nothing was written there since */
        buf_clear(text);
        return 0;
    }
    if (e == 0)
        e = revert_and_write(name, repo, to, &how, &l, missing, why);
    if (e == 0 && !l.told)
        buf_clear(text);
    return e;
}

/* 0, or what ends all of it. */
static int visit(struct under *u, struct str name)
{
    struct buf text auto_buf = BUF_INIT(CHANGES_BODY_MAX);
    struct buf missing auto_buf = BUF_INIT((size_t)REPO_MISSING_MAX * (DIGEST_TEXT_MAX + 1));
    struct err_detail why = {""};
    int e;

    if (admit_may(u->r, ACTION_CATALOG, name, STR_NONE) < 0) { /* none of the caller's */
        req_detail(u->r)->text[0] = '\0';
        return 0;
    }
    e = revert_one(u, name, &text, &missing, &why);
    if (e == -ERR_NOMEM)
        return e;
    if (e < 0)
        write_failed(u, name, e, buf_str(&missing), &why);
    else if (text.len > 0)
        jw_raw(&u->w, buf_str(&text));
    return buf_err(u->w.out);
}

static int visit_all(struct under *u)
{
    struct app *app = req_app(u->r);
    struct omap *set auto_omap = NULL;
    struct omap_node *node;
    int64_t end_ms = clock_boot_ms() + UNDER_MS;
    int e = omap_new(NULL, &set);

    if (e == 0)
        e = names_under(app->repos, app->views, u->prefix, u->at_ms, buf_str(&u->last), u->n, set,
                        req_detail(u->r));
    if (e < 0)
        return e;
    node = omap_first(set);
    u->more = omap_count(set) >= u->n;
    for (size_t i = 0; e == 0 && node && i < u->n; i++, node = omap_next(set, node)) {
        if (i > 0 && (clock_boot_ms() >= end_ms || u->w.out->len >= UNDER_BODY_ENOUGH)) {
            u->more = true;
            break;
        }
        buf_clear(&u->last);
        buf_add(&u->last, omap_key(node));
        e = visit(u, omap_key(node));
    }
    return e < 0 ? e : buf_err(&u->last);
}

static int query_text(struct req *r, const char *name, struct buf *out)
{
    int e = req_query(r, name, 0, false, out);

    if (e == -ERR_NOTFOUND)
        return 0;
    return e == -ERR_INVAL ? err_set(req_detail(r), e, "%s is malformed", name) : e;
}

static int query_past_time(struct req *r, int64_t *ret)
{
    struct moment m = {.by_time = false};
    int64_t now;
    int e = api_moment(r, &m);

    if (e < 0)
        return e;
    if (e == 0)
        return err_set(req_detail(r), -ERR_TIME, "the query lacks a point in time: at");
    if (!m.by_time)
        return err_set(req_detail(r), -ERR_TIME, "numbers are of one repository: give a time");
    e = store_now(node_store(blobs_node(repos_blobs(req_app(r)->repos))), &now, req_detail(r));
    if (e == 0 && m.ms > now)
        e = err_set(req_detail(r), -ERR_TIME, "this time has not come yet");
    *ret = m.ms;
    return e;
}

static int ask_under(struct under *u, struct buf *prefix)
{
    struct req *r = u->r;
    const struct app *app = req_app(r);
    struct buf override auto_buf = BUF_INIT(QUERY_VALUE_MAX);
    int e = query_text(r, "prefix", prefix);

    if (e == 0 && !prefix_parse(buf_str(prefix), &u->prefix))
        e = err_set(req_detail(r), -ERR_INVAL,
                    "prefix must be the beginning of names up to a slash, or a slash for all");
    if (e == 0 && (app->refuse.tag_delete || app->refuse.manifest_delete))
        e = err_set(req_detail(r), -ERR_UNSUPPORTED, "this registry does not delete %s",
                    app->refuse.tag_delete ? "tags" : "manifests");
    if (e == 0)
        e = query_text(r, "override", &override);
    if (e == 0 && override.len > 0 && !str_eq(buf_str(&override), STR("false")))
        e = err_set(req_detail(r), -ERR_INVAL, "override is for one repository at a time");
    if (e == 0)
        e = query_past_time(r, &u->at_ms);
    if (e == 0)
        e = api_page_size(r, UNDER_MAX, UNDER_MAX, &u->n);
    if (e == 0 && u->n == 0)
        e = err_set(req_detail(r), -ERR_INVAL, "n must be a number above 0");
    if (e == 0)
        e = query_text(r, "last", &u->last);
    u->dry_run = query_flag(r, "dry-run");
    return e;
}

int api_revert_under(struct req *r)
{
    struct buf body auto_buf = BUF_INIT(2 * CHANGES_BODY_MAX);
    struct buf prefix auto_buf = BUF_INIT(QUERY_VALUE_MAX);
    struct under u = {.r = r, .last = BUF_INIT(QUERY_VALUE_MAX), .w = JW_INIT(&body)};
    int e = ask_under(&u, &prefix);

    jw_begin(&u.w, '{');
    jw_kstr(&u.w, "prefix", buf_str(&prefix));
    jw_key(&u.w, "repositories");
    jw_begin(&u.w, '[');
    if (e == 0)
        e = visit_all(&u);
    jw_end(&u.w, ']');
    jw_kint(&u.w, "failed", (int64_t)u.failed);
    jw_key(&u.w, "next");
    if (u.more)
        jw_str(&u.w, buf_str(&u.last));
    else
        jw_null(&u.w);
    jw_end(&u.w, '}');
    buf_done(&u.last);
    return e < 0 ? e : req_reply_body(r, 200, "application/json", &body);
}
