/* What happened to a repository, from its log: entries with who and when and from what to what; and
 * the digests one tag was on (R162). */
#include "manifests/history.h"

#include "base/enc.h"
#include "base/json.h"
#include "registry/api.h"
#include "registry/api_common.h"

#define LOG_PAGE_INITIAL  100
#define LOG_PAGE_MAX      1000
#define TAG_PAGE_INITIAL  100
#define TAG_PAGE_MAX      1000
#define HISTORY_PAGE_FULL (1u << 20)  /* bytes after which a page ends, with a link */
#define HISTORY_BODY_MAX  (64u << 20) /* one entry may have 8 MiB of operations */
#define PAGE_FULL         1

static const char *const kinds[] = {
    [TAGLOG_PUT] = "put",       [TAGLOG_TAGS] = "tags", [TAGLOG_DELETE] = "delete",
    [TAGLOG_UNLINK] = "unlink", [TAGLOG_DROP] = "drop", [TAGLOG_SETTINGS] = "settings"};

static void write_time(struct jw *w, const char *key, int64_t ms)
{
    char text[TIME_TEXT_MAX];

    jw_kstr(w, key, time_format_rfc3339(ms, text));
}

static void write_or_null(struct jw *w, const char *key, struct str s)
{
    jw_key(w, key);
    if (s.len > 0)
        jw_str(w, s);
    else
        jw_null(w);
}

/* A number of the query; *ret stays as it is without one. */
static int query_number(struct req *r, const char *name, uint64_t *ret)
{
    struct buf text auto_buf = BUF_INIT(QUERY_VALUE_MAX);
    int e = req_query(r, name, 0, false, &text);

    if (e == -ERR_NOTFOUND)
        return 0;
    if (e == -ERR_NOMEM)
        return e;
    if (e < 0 || !str_u64(buf_str(&text), ret) || *ret > INT64_MAX)
        return err_set(req_detail(r), -ERR_INVAL, "%s must be a number", name);
    return 0;
}

static int asked(struct req *r, struct repo **ret)
{
    int e = api_fresh_repo(r, req_target(r)->name, MAY_WAIT, ret);

    return e == 0 && !repo_exists(*ret) ? -ERR_NOREPO : e;
}

/* ---- the log */

struct log_page {
    struct jw w;
    uint64_t last;
};

static void begin_op(struct jw *w, const struct taglog_op *op)
{
    char text[DIGEST_TEXT_MAX];

    jw_begin(w, '{');
    jw_kstr(w, "op", str_of(kinds[op->kind]));
    jw_kstr(w, "by", op->by);
    jw_kstr(w, "req", op->req);
    if (op->override) {
        jw_key(w, "override");
        jw_bool(w, true);
    }
    if (op->kind == TAGLOG_PUT || op->kind == TAGLOG_DELETE || op->kind == TAGLOG_UNLINK)
        jw_kstr(w, "digest", digest_text(&op->digest, text));
    if (op->kind == TAGLOG_PUT) {
        jw_kstr(w, "mediaType", op->media_type);
        jw_kint(w, "size", op->size);
        if (op->subject.len > 0)
            jw_kstr(w, "subject", op->subject);
    }
    jw_key(w, "tags");
    jw_begin(w, '[');
}

static int write_event(const struct history_event *e, void *arg)
{
    struct log_page *p = arg;

    switch (e->what) {
    case HISTORY_ENTRY:
        jw_begin(&p->w, '{');
        jw_kint(&p->w, "seq", (int64_t)e->seq);
        write_time(&p->w, "time", e->ts);
        jw_key(&p->w, "operations");
        jw_begin(&p->w, '[');
        break;
    case HISTORY_OP:
        begin_op(&p->w, e->op);
        break;
    case HISTORY_TAG:
        jw_begin(&p->w, '{');
        jw_kstr(&p->w, "tag", e->tag);
        write_or_null(&p->w, "from", e->from);
        write_or_null(&p->w, "to", e->to);
        jw_end(&p->w, '}');
        break;
    case HISTORY_OP_END:
        jw_end(&p->w, ']');
        jw_end(&p->w, '}');
        break;
    case HISTORY_ENTRY_END:
        jw_end(&p->w, ']');
        jw_end(&p->w, '}');
        p->last = e->seq;
        if (buf_err(p->w.out) == 0 && p->w.out->len > HISTORY_PAGE_FULL)
            return PAGE_FULL;
        break;
    }
    return buf_err(p->w.out);
}

int api_log(struct req *r)
{
    struct repo *repo auto_repo = NULL;
    struct buf body auto_buf = BUF_INIT(HISTORY_BODY_MAX);
    struct log_page p = {.w = JW_INIT(&body)};
    struct str name = req_target(r)->name;
    uint64_t after = 0, head = 0;
    size_t n = 0;
    int e = api_page_size(r, LOG_PAGE_INITIAL, LOG_PAGE_MAX, &n);

    if (e == 0)
        e = query_number(r, "after", &after);
    if (e == 0)
        e = asked(r, &repo);
    if (e < 0)
        return e;
    head = repo_seq(repo);
    p.last = after;
    jw_begin(&p.w, '{');
    jw_kstr(&p.w, "name", name);
    jw_kint(&p.w, "head", (int64_t)head);
    jw_key(&p.w, "entries");
    jw_begin(&p.w, '[');
    e = history_walk(repo, after, after + n, write_event, &p, req_detail(r));
    if (e < 0)
        return e;
    jw_end(&p.w, ']');
    jw_end(&p.w, '}');
    if (p.last < head && n > 0)
        req_add_headerf(r, "Link",
                        "<%s/v2/" STR_FMT "/_stowage/log?n=%zu&after=%llu>; rel=\"next\"",
                        req_app(r)->url_base, STR_ARG(name), n, (unsigned long long)p.last);
    return req_reply_body(r, 200, "application/json", &body);
}

/* ---- one tag */

static int write_assignment(const struct history_assignment *a, void *arg)
{
    struct jw *w = arg;
    char text[DIGEST_TEXT_MAX];

    jw_begin(w, '{');
    if (a->manifest.media_type[0])
        jw_kstr(w, "mediaType", str_of(a->manifest.media_type));
    jw_kstr(w, "digest", digest_text(&a->manifest.digest, text));
    jw_kint(w, "size", (int64_t)a->manifest.size);
    write_time(w, "assigned", a->manifest.ts);
    jw_end(w, '}');
    return buf_err(w->out);
}

static int link_history(struct req *r, size_t n, uint64_t before)
{
    const struct target *t = req_target(r);

    req_add_headerf(r, "Link",
                    "<%s/v2/" STR_FMT "/_oci/tag-history/" STR_FMT "?n=%zu&last=%llu>; "
                    "rel=\"next\"",
                    req_app(r)->url_base, STR_ARG(t->name), STR_ARG(t->reference), n,
                    (unsigned long long)before);
    return 0;
}

int api_tag_history(struct req *r)
{
    struct repo *repo auto_repo = NULL;
    struct buf body auto_buf = BUF_INIT(HISTORY_BODY_MAX);
    struct jw w = JW_INIT(&body);
    const struct target *t = req_target(r);
    uint64_t before = 0, next = 0;
    size_t n = 0, empty;
    int e = api_page_size(r, TAG_PAGE_INITIAL, TAG_PAGE_MAX, &n);

    if (!req_app(r)->tag_history)
        return err_set(req_detail(r), -ERR_NOTFOUND,
                       "the history of tags is not switched on (--tag-history)");
    if (e == 0)
        e = query_number(r, "last", &before);
    if (e == 0 && !tag_valid(t->reference))
        e = -ERR_NOTFOUND;
    if (e == 0)
        e = asked(r, &repo);
    if (e < 0)
        return e;
    jw_begin(&w, '{');
    jw_kstr(&w, "name", t->name);
    jw_kstr(&w, "tag", t->reference);
    jw_key(&w, "history");
    jw_begin(&w, '[');
    empty = body.len;
    e = n ? history_of_tag(repo, t->reference, before, n, write_assignment, &w, &next,
                           req_detail(r))
          : 0;
    if (e == 0 && n > 0 && body.len == empty && before == 0 && next == 0)
        e = err_set(req_detail(r), -ERR_NOTFOUND, "the tag has no history");
    if (e < 0)
        return e;
    jw_end(&w, ']');
    jw_end(&w, '}');
    if (next > 0)
        e = link_history(r, n, next);
    return e < 0 ? e : req_reply_body(r, 200, "application/json", &body);
}
