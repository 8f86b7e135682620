/* What differs between two states of a repository, going back to one, and emptying it. */
#include "manifests/compare.h"
#include "manifests/moment.h"
#include "manifests/revert.h"

#include "base/json.h"
#include "registry/api.h"
#include "registry/api_common.h"
#include "registry/oci_error.h"

#define CHANGES_BODY_MAX (64u << 20)

/* ---- writing changes: an object whose lists come one after the other */

struct lists {
    struct jw w;
    const char *const *names; /* of the lists, in order */
    size_t open;              /* the list that is open */
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
static int check_rights(struct req *r, struct str tag)
{
    static const enum action needed[] = {ACTION_HISTORY, ACTION_PUSH, ACTION_DELETE};
    const struct app *app = req_app(r);
    struct str name = req_target(r)->name;

    for (size_t i = 0; i < ARRAY_LEN(needed); i++) {
        struct str on = needed[i] == ACTION_HISTORY ? STR_NONE : tag;
        int e = api_may(r, needed[i], name, on);

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

int api_revert(struct req *r)
{
    struct repo *repo auto_repo = NULL;
    struct buf body auto_buf = BUF_INIT(CHANGES_BODY_MAX), tag auto_buf = BUF_INIT(TAG_MAX_LEN + 1);
    struct buf missing auto_buf = BUF_INIT((size_t)REPO_MISSING_MAX * (DIGEST_TEXT_MAX + 1));
    struct lists l = {.w = JW_INIT(&body), .names = revert_lists};
    struct revert how = {
        .dry_run = query_flag(r, "dry-run"), .who = api_who(r), .told = told, .arg = &l};
    uint64_t to = 0, entry = 0;
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
    jw_begin(&l.w, '{');
    jw_kstr(&l.w, "name", req_target(r)->name);
    jw_kint(&l.w, "at", (int64_t)to);
    open_lists(&l);
    e = revert_repo(repo, to, &how, &entry, &missing, req_detail(r));
    if (e == -ERR_MISSING_REF && missing.len > 0)
        return reply_missing(r, &missing);
    if (e < 0)
        return e;
    close_lists(&l);
    jw_key(&l.w, "entry");
    if (entry > 0)
        jw_int(&l.w, (int64_t)entry);
    else
        jw_null(&l.w);
    jw_end(&l.w, '}');
    return req_reply_body(r, 200, "application/json", &body);
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
