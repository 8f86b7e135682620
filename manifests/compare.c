/* Two sorted lists walked side by side. The present repository may move while it is read: a name
 * that went meanwhile counts as absent. */
#include "manifests/compare.h"

#include <assert.h>

#define PAGE       1000
#define PAGE_BYTES (PAGE * (TAG_MAX_LEN + DIGEST_TEXT_MAX))

typedef int (*page_fn)(struct repo *r, struct str last, size_t n,
                       int (*fn)(struct str name, void *arg), void *arg, bool *ret_more);

/* The names of one side. */
struct side {
    struct repo *repo;
    page_fn page;
    struct buf names; /* of a page, each followed by a line feed */
    struct buf last;
    struct str rest; /* of names */
    bool more;
};

static int add_name(struct str name, void *arg)
{
    struct buf *names = arg;

    buf_add(names, name);
    buf_addc(names, '\n');
    return buf_err(names);
}

/* The name that is next, empty at the end. */
static int peek(struct side *s, struct str *ret)
{
    while (s->rest.len == 0 && s->more) {
        int e;

        buf_clear(&s->names);
        e = s->page(s->repo, buf_str(&s->last), PAGE, add_name, &s->names, &s->more);
        if (e < 0)
            return e;
        s->rest = buf_str(&s->names);
    }
    *ret = s->rest.len > 0 ? str_head(s->rest, (size_t)str_find(s->rest, '\n')) : STR_NONE;
    return 0;
}

static int step(struct side *s, struct str name)
{
    buf_clear(&s->last);
    buf_add(&s->last, name);
    s->rest = str_skip(s->rest, name.len + 1);
    return buf_err(&s->last);
}

static void side_init(struct side *s, struct repo *r, page_fn page)
{
    *s = (struct side){.repo = r,
                       .page = page,
                       .names = BUF_INIT(PAGE_BYTES),
                       .last = BUF_INIT(DIGEST_TEXT_MAX + TAG_MAX_LEN),
                       .more = true};
}

static void side_done(struct side *s)
{
    buf_done(&s->names);
    buf_done(&s->last);
}
#define auto_side auto_of(side_done)

/* Calls fn with each name of either side, once. */
static int merge(struct repo *from, struct repo *to, page_fn page,
                 int (*fn)(struct str name, bool in_from, bool in_to, void *arg), void *arg)
{
    struct side a auto_side, b auto_side;
    int e = 0;

    side_init(&a, from, page);
    side_init(&b, to, page);
    while (e == 0) {
        struct str x, y, name;
        bool in_a, in_b;

        e = peek(&a, &x);
        if (e == 0)
            e = peek(&b, &y);
        if (e < 0 || (x.len == 0 && y.len == 0))
            break;
        in_a = x.len > 0 && (y.len == 0 || str_cmp(x, y) <= 0);
        in_b = y.len > 0 && (x.len == 0 || str_cmp(y, x) <= 0);
        name = in_a ? x : y;
        e = fn(name, in_a, in_b, arg);
        if (e == 0 && in_b)
            e = step(&b, y);
        if (e == 0 && in_a)
            e = step(&a, x);
    }
    return e;
}

struct tags {
    struct repo *from, *to;
    compare_tag_fn fn;
    void *arg;
};

/* 1 and what the tag is on, or 0. */
static int look_up(struct repo *r, struct str tag, bool present, struct repo_manifest *ret)
{
    int e = present ? repo_tag(r, tag, ret) : -ERR_NOTFOUND;

    return e == 0 ? 1 : e == -ERR_NOTFOUND ? 0 : e;
}

static int compare_tag(struct str tag, bool in_from, bool in_to, void *arg)
{
    const struct tags *t = arg;
    struct repo_manifest from, to;
    int a = look_up(t->from, tag, in_from, &from), b = a < 0 ? a : look_up(t->to, tag, in_to, &to);

    if (b < 0)
        return b;
    if (a == b && (a == 0 || digest_eq(&from.digest, &to.digest)))
        return 0;
    return t->fn(tag, a ? &from.digest : NULL, b ? &to.digest : NULL, t->arg);
}

int compare_tags(struct repo *from, struct repo *to, compare_tag_fn fn, void *arg)
{
    struct tags t = {from, to, fn, arg};

    return merge(from, to, repo_tags, compare_tag, &t);
}

struct manifests {
    struct repo *from, *to;
    compare_manifest_fn fn;
    void *arg;
};

static int look_up_manifest(struct repo *r, const struct digest *d, bool present,
                            struct repo_manifest *ret)
{
    int e = present ? repo_manifest(r, d, ret) : -ERR_NOTFOUND;

    return e == 0 ? 1 : e == -ERR_NOTFOUND ? 0 : e;
}

static int compare_manifest(struct str text, bool in_from, bool in_to, void *arg)
{
    const struct manifests *m = arg;
    struct repo_manifest from, to;
    struct digest d;
    int a, b;

    if (digest_parse(text, &d) < 0)
        return -ERR_CORRUPT;
    a = look_up_manifest(m->from, &d, in_from, &from);
    b = a < 0 ? a : look_up_manifest(m->to, &d, in_to, &to);
    if (b < 0)
        return b;
    return a || b ? m->fn(&d, a ? &from : NULL, b ? &to : NULL, m->arg) : 0;
}

int compare_manifests(struct repo *from, struct repo *to, compare_manifest_fn fn, void *arg)
{
    struct manifests m = {from, to, fn, arg};

    return merge(from, to, repo_manifests, compare_manifest, &m);
}
