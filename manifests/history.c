/* Walking a log with the tags as they stood: a view gives what they were before the first entry, a
 * map on top of it what the entries made of them since. */
#include "manifests/history.h"

#include <assert.h>

#include "base/omap.h"

/* ---- tags as they stand */

struct now {
    char digest[DIGEST_TEXT_MAX]; /* empty: there is none */
};

struct tags {
    struct repo *view;
    bool dropped;        /* nothing of the view is left */
    struct omap *change; /* tag -> struct now: what differs from the view */
};

static void tags_done(struct tags *t)
{
    repo_unref(t->view);
    omap_free(t->change);
}

/* The digest a tag is on, in out; empty: none. */
static int tag_now(const struct tags *t, struct str tag, char out[DIGEST_TEXT_MAX])
{
    const struct now *now = omap_get(t->change, tag);
    struct repo_manifest m;
    int e;

    out[0] = '\0';
    if (now)
        memcpy(out, now->digest, sizeof(now->digest));
    if (now || t->dropped)
        return 0;
    e = repo_tag(t->view, tag, &m);
    if (e == 0)
        digest_text(&m.digest, out);
    return e == -ERR_NOTFOUND ? 0 : e;
}

static int tag_set(struct tags *t, struct str tag, struct str digest)
{
    struct now *now = calloc(1, sizeof(*now));
    int e;

    if (!now)
        return -ERR_NOMEM;
    assert(digest.len < sizeof(now->digest));
    memcpy(now->digest, digest.len > 0 ? digest.at : "", digest.len);
    e = omap_put(t->change, tag, now);
    if (e < 0)
        free(now);
    return e;
}

struct names {
    const struct tags *tags;
    struct omap *set;
};

static int add_unchanged(struct str tag, void *arg)
{
    static char mark; /* values are never NULL and never read */
    struct names *n = arg;

    return omap_get(n->tags->change, tag) ? 0 : omap_put(n->set, tag, &mark);
}

/* The tags on a digest, into ret->set. */
static int tags_on(const struct tags *t, const struct digest *d, struct names *ret)
{
    static char mark;
    char text[DIGEST_TEXT_MAX];
    struct str digest = digest_text(d, text);
    int e = 0;

    for (struct omap_node *n = omap_first(t->change); e == 0 && n; n = omap_next(t->change, n)) {
        const struct now *now = omap_value(n);

        if (str_eq(str_of(now->digest), digest))
            e = omap_put(ret->set, omap_key(n), &mark);
    }
    if (e == 0 && !t->dropped)
        e = repo_tags_on(t->view, d, add_unchanged, ret);
    return e;
}

/* ---- walking */

struct walk {
    struct repo *repo;
    struct tags tags;
    history_fn fn;
    void *arg;
    struct err_detail *detail;
};

static int tell(struct walk *w, struct history_event *e, enum history_what what)
{
    e->what = what;
    return w->fn(e, w->arg);
}

static int change_tag(struct walk *w, struct history_event *e, struct str tag, struct str to)
{
    char from[DIGEST_TEXT_MAX];
    int r = tag_now(&w->tags, tag, from);

    e->tag = tag;
    e->from = str_of(from);
    e->to = to;
    if (r == 0)
        r = tell(w, e, HISTORY_TAG);
    return r != 0 ? r : tag_set(&w->tags, tag, to);
}

static int change_deleted(struct walk *w, struct history_event *e, const struct digest *d)
{
    struct omap *set auto_omap = NULL;
    struct names names = {.tags = &w->tags};
    int r = omap_new(NULL, &set);

    names.set = set;
    if (r == 0)
        r = tags_on(&w->tags, d, &names);
    for (struct omap_node *n = set ? omap_first(set) : NULL; r == 0 && n; n = omap_next(set, n))
        r = change_tag(w, e, omap_key(n), STR_NONE);
    return r;
}

static int change_dropped(struct walk *w)
{
    omap_freep(&w->tags.change);
    w->tags.dropped = true;
    return omap_new(free, &w->tags.change);
}

static int walk_op(struct walk *w, struct history_event *e)
{
    const struct taglog_op *op = e->op;
    char text[DIGEST_TEXT_MAX];
    int r = tell(w, e, HISTORY_OP);

    for (size_t i = 0; r == 0 && i < op->tag_count; i++)
        r = change_tag(w, e, op->tags[i], digest_text(&op->digest, text));
    for (size_t i = 0; r == 0 && i < op->set_count; i++)
        r = change_tag(w, e, op->sets[i].tag,
                       op->sets[i].remove ? STR_NONE : digest_text(&op->sets[i].digest, text));
    if (r == 0 && op->kind == TAGLOG_DELETE)
        r = change_deleted(w, e, &op->digest);
    if (r == 0 && op->kind == TAGLOG_DROP)
        r = change_dropped(w);
    e->tag = e->from = e->to = STR_NONE;
    return r != 0 ? r : tell(w, e, HISTORY_OP_END);
}

static int walk_entry(const struct objlog_entry *entry, void *arg)
{
    struct walk *w = arg;
    struct history_event e = {.seq = entry->seq, .ts = entry->ts};
    int r = tell(w, &e, HISTORY_ENTRY);

    for (size_t i = 0; r == 0 && i < json_len(entry->ops); i++) {
        struct taglog_op op auto_taglog_op = {.kind = TAGLOG_PUT};

        r = taglog_decode(json_at(entry->ops, i), &op, w->detail);
        e.op = &op;
        if (r == 0)
            r = walk_op(w, &e);
        e.op = NULL;
    }
    return r != 0 ? r : tell(w, &e, HISTORY_ENTRY_END);
}

/* Entries up to the head exist. */
static int read_entry(struct repo *r, uint64_t seq, objlog_apply_fn fn, void *arg,
                      struct err_detail *detail)
{
    int e = repo_read(r, seq, fn, arg, detail);

    if (e == -ERR_NOTFOUND)
        return err_set(detail, -ERR_CORRUPT, "entry %llu of this repository is missing",
                       (unsigned long long)seq);
    return e;
}

int history_walk(struct repo *r, uint64_t after, uint64_t up_to, history_fn fn, void *arg,
                 struct err_detail *detail)
{
    struct walk w = {.repo = r, .fn = fn, .arg = arg, .detail = detail};
    uint64_t head = repo_seq(r);
    int e = repo_view(r, after, &w.tags.view, detail);

    if (e == 0)
        e = omap_new(free, &w.tags.change);
    for (uint64_t seq = after + 1; e == 0 && seq <= up_to && seq <= head; seq++)
        e = read_entry(r, seq, walk_entry, &w, detail);
    tags_done(&w.tags);
    return e;
}

/* ---- one tag, backwards */

#define IN_ENTRY_MAX OBJLOG_BATCH_OPS_MAX /* assignments of one tag in one entry that are told */

struct found {
    struct str tag;
    struct err_detail *detail;
    struct history_assignment at[IN_ENTRY_MAX];
    size_t count;
};

static void add_found(struct found *f, const struct digest *d, const struct objlog_entry *e)
{
    struct history_assignment *a;

    if (f->count == IN_ENTRY_MAX) /* the oldest of them is forgotten */
        memmove(f->at, f->at + 1, --f->count * sizeof(f->at[0]));
    a = &f->at[f->count++];
    *a = (struct history_assignment){.manifest = {.digest = *d, .seq = e->seq, .ts = e->ts}};
}

static int find_in_op(struct found *f, const struct taglog_op *op, const struct objlog_entry *e)
{
    for (size_t i = 0; i < op->tag_count; i++)
        if (str_eq(op->tags[i], f->tag)) {
            struct repo_manifest *m;
            size_t len =
                op->media_type.len < REPO_MEDIA_TYPE_MAX ? op->media_type.len : REPO_MEDIA_TYPE_MAX;

            add_found(f, &op->digest, e);
            m = &f->at[f->count - 1].manifest;
            m->size = (uint64_t)op->size;
            memcpy(m->media_type, op->media_type.at, len);
        }
    for (size_t i = 0; i < op->set_count; i++)
        if (!op->sets[i].remove && str_eq(op->sets[i].tag, f->tag))
            add_found(f, &op->sets[i].digest, e);
    return 0;
}

static int find_in_entry(const struct objlog_entry *entry, void *arg)
{
    struct found *f = arg;
    int e = 0;

    f->count = 0;
    for (size_t i = 0; e == 0 && i < json_len(entry->ops); i++) {
        struct taglog_op op auto_taglog_op = {.kind = TAGLOG_PUT};

        e = taglog_decode(json_at(entry->ops, i), &op, f->detail);
        if (e == 0)
            e = find_in_op(f, &op, entry);
    }
    return e;
}

/* What an operation that only names a digest does not say. */
static int describe(struct repo *r, struct repo_manifest *m, struct err_detail *detail)
{
    struct repo *view auto_repo = NULL;
    struct repo_manifest known;
    int e = m->media_type[0] ? 0 : repo_manifest(r, &m->digest, &known);

    if (m->media_type[0])
        return 0;
    if (e == -ERR_NOTFOUND) {
        e = repo_view(r, m->seq, &view, detail);
        if (e == 0)
            e = repo_manifest(view, &m->digest, &known);
    }
    if (e == 0) {
        m->size = known.size;
        memcpy(m->media_type, known.media_type, sizeof(m->media_type));
    }
    return e == -ERR_NOTFOUND ? 0 : e;
}

int history_of_tag(struct repo *r, struct str tag, uint64_t before, size_t n,
                   int (*fn)(const struct history_assignment *a, void *arg), void *arg,
                   uint64_t *ret_before, struct err_detail *detail)
{
    struct found *f auto_free = calloc(1, sizeof(*f));
    uint64_t seq = before > 0 ? before - 1 : repo_seq(r), read = 0;
    struct repo_manifest m;
    size_t told = 0;
    int e = f ? 0 : -ERR_NOMEM, now;

    if (e < 0)
        return e;
    f->tag = tag;
    f->detail = detail;
    now = before == 0 ? repo_tag(r, tag, &m) : -ERR_NOTFOUND;
    if (now == 0)
        seq = m.seq; /* since then nothing was put on it */
    else if (now != -ERR_NOTFOUND)
        return now;
    for (; e == 0 && seq > 0 && told < n && read < HISTORY_SCAN_MAX; seq--, read++) {
        e = read_entry(r, seq, find_in_entry, f, detail);
        for (size_t i = f->count; e == 0 && i > 0; i--) {
            e = describe(r, &f->at[i - 1].manifest, detail);
            if (e == 0)
                e = fn(&f->at[i - 1], arg);
            told++;
        }
    }
    *ret_before = seq > 0 ? seq + 1 : 0;
    return e;
}
