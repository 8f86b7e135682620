/* Questions to a repository. Each is asked under the lock, where nothing waits; when a block of the
 * table is not at hand (-ERR_AGAIN), whoever may wait reads and holds it without the lock and asks
 * again, so that an answer is always of one moment. Answers that call back are gathered first and
 * told without the lock. */
#include <assert.h>

#include "manifests/repo_internal.h"

#define ASK_MAX       64 /* tries of one question */
#define RANGE_INITIAL 256
#define TAGS_BYTES    (16u << 20)

/* ---- asking */

void repo_asking_done(struct repo_asking *a)
{
    pins_done(&a->pins);
}

/* Of -ERR_CORRUPT the replica learns by its table, and opens anew under a refresh. */
static int recover(struct repo *r, struct repo_asking *a, int e, struct err_detail *detail)
{
    if (e != -ERR_CORRUPT && e != -ERR_UNAVAIL)
        return e;
    if (e == -ERR_CORRUPT)
        replica_note_bad(r->replica);
    pins_done(&a->pins);
    return replica_refresh(r->replica, detail);
}

/* count 0: range_of records from the one key on. */
static int hold(struct repo *r, struct repo_asking *a, const struct state_key *keys, size_t count,
                size_t range_of, struct err_detail *detail)
{
    struct table *base auto_table = replica_base(r->replica);
    struct str *list auto_free = calloc(count ? count : 1, sizeof(*list));

    if (!base)
        return 0; /* it changed meanwhile */
    if (!list)
        return -ERR_NOMEM;
    if (count == 0)
        return table_pin_range(base, state_key_str(&keys[0]), state_key_str(&keys[1]), range_of,
                               &a->pins, detail);
    for (size_t i = 0; i < count; i++)
        list[i] = state_key_str(&keys[i]);
    return table_pin(base, list, count, &a->pins, detail);
}

static int ask_again(struct repo *r, struct repo_asking *a, int e, const struct state_key *keys,
                     size_t count, size_t range_of, struct err_detail *detail)
{
    if (e != -ERR_AGAIN && e != -ERR_CORRUPT && e != -ERR_UNAVAIL)
        return e;
    if (++a->tries > ASK_MAX)
        return -ERR_UNAVAIL;
    if (e == -ERR_AGAIN)
        e = hold(r, a, keys, count, range_of, detail);
    /* What was asked under the lock and could not be read, and what could not be read for it. */
    return e < 0 ? recover(r, a, e, detail) : 0;
}

int repo_ask_again(struct repo *r, struct repo_asking *a, int e, const struct state_key *keys,
                   size_t count, struct err_detail *detail)
{
    assert(e < 0 && count > 0);
    return ask_again(r, a, e, keys, count, 0, detail);
}

int repo_hold_tags_on(struct repo *r, struct repo_asking *a, const struct digest *manifest)
{
    struct state_key range[2];

    state_key_on(&range[0], manifest, STR_NONE);
    range[1] = range[0];
    state_key_end(&range[1]);
    return hold(r, a, range, 0, SIZE_MAX, NULL);
}

int repo_ask_again_manifests(struct repo *r, struct repo_asking *a, int e,
                             const struct digest *after, size_t records)
{
    static const struct digest least = {.alg = DIGEST_SHA256};
    struct state_key range[2];

    state_key_manifest(&range[0], after ? after : &least);
    if (!after)
        range[0].len = 1; /* the section */
    state_key_manifest(&range[1], &least);
    range[1].len = 1;
    state_key_end(&range[1]);
    return ask_again(r, a, e, range, 0, records, NULL);
}

/* Who may not wait lets a worker ask. */
static int nowait(int e)
{
    return e == -ERR_CORRUPT || e == -ERR_UNAVAIL ? -ERR_AGAIN : e;
}

/* ---- one record */

int repo_refresh(struct repo *r, struct err_detail *detail)
{
    return replica_refresh(r->replica, detail);
}

int repo_refresh_nowait(struct repo *r)
{
    return replica_refresh_nowait(r->replica);
}

bool repo_recent(struct repo *r, int64_t ms)
{
    return replica_recent(r->replica, ms);
}

bool repo_newer(struct repo *r, int64_t ns)
{
    return replica_newer(r->replica, ns);
}

bool repo_exists(struct repo *r)
{
    bool exists;

    replica_lock(r->replica);
    exists = replica_seq(r->replica) > 0 || r->state->layers.closed;
    replica_unlock(r->replica);
    return exists;
}

struct str repo_name(const struct repo *r)
{
    return r->name_str;
}

bool repo_filled(const struct repo *r)
{
    return r->state->manifests > 0;
}

static void describe(const struct digest *d, struct str type, struct repo_manifest *ret)
{
    size_t len = type.len < REPO_MEDIA_TYPE_MAX ? type.len : REPO_MEDIA_TYPE_MAX;

    ret->digest = *d;
    if (len > 0)
        memcpy(ret->media_type, type.at, len);
    ret->media_type[len] = 0;
}

static int try_tag(struct repo *r, struct str tag, struct repo_manifest *ret)
{
    struct hit hit auto_hit = {.value = STR_NONE};
    struct state_tag t;
    int e;

    replica_lock(r->replica);
    e = state_tag(r->state, tag, &hit, &t);
    if (e == 0) {
        describe(&t.digest, t.media_type, ret);
        ret->size = (uint64_t)t.size;
        ret->seq = t.seq;
        ret->ts = t.ts;
    }
    replica_unlock(r->replica);
    return e;
}

int repo_tag_nowait(struct repo *r, struct str tag, struct repo_manifest *ret)
{
    return nowait(try_tag(r, tag, ret));
}

int repo_tag(struct repo *r, struct str tag, struct repo_manifest *ret)
{
    struct repo_asking a auto_asking = {.tries = 0};
    struct state_key key;
    int e;

    state_key_tag(&key, tag);
    while ((e = try_tag(r, tag, ret)) < 0) {
        e = repo_ask_again(r, &a, e, &key, 1, NULL);
        if (e < 0)
            return e;
    }
    return e;
}

static int try_manifest(struct repo *r, const struct digest *d, struct repo_manifest *ret)
{
    struct hit hit auto_hit = {.value = STR_NONE};
    struct state_manifest m;
    int e;

    replica_lock(r->replica);
    e = state_manifest(r->state, d, &hit, &m);
    if (e == 0) {
        describe(d, m.media_type, ret);
        ret->size = (uint64_t)m.size;
        ret->seq = m.seq;
        ret->ts = m.ts;
    }
    replica_unlock(r->replica);
    return e;
}

int repo_manifest_nowait(struct repo *r, const struct digest *d, struct repo_manifest *ret)
{
    return nowait(try_manifest(r, d, ret));
}

int repo_manifest(struct repo *r, const struct digest *d, struct repo_manifest *ret)
{
    struct repo_asking a auto_asking = {.tries = 0};
    struct state_key key;
    int e;

    state_key_manifest(&key, d);
    while ((e = try_manifest(r, d, ret)) < 0) {
        e = repo_ask_again(r, &a, e, &key, 1, NULL);
        if (e < 0)
            return e;
    }
    return e;
}

int repo_settings(struct repo *r, struct settings **ret)
{
    int e = 0;

    *ret = NULL;
    replica_lock(r->replica);
    if (r->state->layers.closed)
        e = -ERR_UNAVAIL;
    else if (r->state->settings)
        e = settings_parse(settings_text(r->state->settings), ret, NULL);
    replica_unlock(r->replica);
    return e;
}

/* ---- tags in order */

struct tag_page {
    struct buf names; /* each with a zero byte behind */
    size_t n, count;
    bool more;
};

static int take_tag(const struct state_tag *t, void *arg)
{
    struct tag_page *p = arg;

    if (p->count == p->n) {
        p->more = true;
        return 1;
    }
    buf_add(&p->names, t->name);
    buf_addc(&p->names, 0);
    p->count++;
    return buf_err(&p->names);
}

static int try_tags(struct repo *r, struct str last, struct tag_page *p)
{
    int e;

    buf_clear(&p->names);
    p->count = 0;
    p->more = false;
    replica_lock(r->replica);
    e = state_each_tag(r->state, last, take_tag, p);
    replica_unlock(r->replica);
    return e < 0 ? e : 0;
}

static int tell_tags(const struct tag_page *p, int (*fn)(struct str tag, void *arg), void *arg,
                     bool *ret_more)
{
    struct str rest = buf_str(&p->names);
    int e = 0;

    for (size_t i = 0; e == 0 && i < p->count; i++) {
        struct str tag = str_head(rest, (size_t)str_find(rest, 0));

        rest = str_skip(rest, tag.len + 1);
        e = fn(tag, arg);
    }
    *ret_more = p->more || rest.len > 0;
    return e;
}

int repo_tags_nowait(struct repo *r, struct str last, size_t n,
                     int (*fn)(struct str tag, void *arg), void *arg, bool *ret_more)
{
    struct tag_page p = {.names = BUF_INIT(TAGS_BYTES), .n = n};
    int e = try_tags(r, last, &p);

    if (e == 0)
        e = tell_tags(&p, fn, arg, ret_more);
    buf_done(&p.names);
    return nowait(e);
}

int repo_tags(struct repo *r, struct str last, size_t n, int (*fn)(struct str tag, void *arg),
              void *arg, bool *ret_more)
{
    struct repo_asking a auto_asking = {.tries = 0};
    struct tag_page p = {.names = BUF_INIT(TAGS_BYTES), .n = n};
    struct state_key range[2];
    size_t records = n + 1;
    int e;

    state_key_tag(&range[0], last);
    state_key_tag(&range[1], STR_NONE);
    state_key_end(&range[1]);
    while ((e = try_tags(r, last, &p)) < 0) {
        e = ask_again(r, &a, e, range, 0, records, NULL);
        if (e < 0)
            break;
        records += records / 2 + RANGE_INITIAL; /* some of them may be gone since */
    }
    if (e == 0)
        e = tell_tags(&p, fn, arg, ret_more);
    buf_done(&p.names);
    return e;
}

/* ---- referrers in order */

struct referrer_page {
    struct buf bytes; /* packed: digest, then lengths and strings */
    struct str after; /* only what is greater, as text; empty: all */
    struct digest last;
    bool any, full;
};

struct referrer_row {
    struct digest digest;
    size_t media_type, artifact_type, annotations; /* lengths of what follows */
    int64_t size;
};

static int take_referrer(const struct state_referrer *from, void *arg)
{
    struct referrer_page *p = arg;
    struct referrer_row row = {.digest = from->digest,
                               .media_type = from->media_type.len,
                               .artifact_type = from->artifact_type.len,
                               .annotations = from->annotations.len,
                               .size = from->size};

    char text[DIGEST_TEXT_MAX];

    if (p->after.len > 0 && str_cmp(digest_text(&from->digest, text), p->after) <= 0)
        return 0;
    if (p->any && p->bytes.len + from->annotations.len > REPO_REFERRERS_AT_ONCE) {
        p->full = true;
        return 1;
    }
    buf_add(&p->bytes, str_make(&row, sizeof(row)));
    buf_add(&p->bytes, from->media_type);
    buf_add(&p->bytes, from->artifact_type);
    buf_add(&p->bytes, from->annotations);
    p->last = from->digest;
    p->any = true;
    return buf_err(&p->bytes);
}

static int try_referrers(struct repo *r, const struct digest *subject, const struct digest *after,
                         struct referrer_page *p)
{
    int e;

    buf_clear(&p->bytes);
    p->any = p->full = false;
    replica_lock(r->replica);
    e = state_referrers(r->state, subject, after, take_referrer, p);
    replica_unlock(r->replica);
    return e < 0 ? e : 0;
}

static struct str cut(struct str *rest, size_t len)
{
    struct str s = str_head(*rest, len);

    *rest = str_skip(*rest, len);
    return s;
}

static int tell_referrers(const struct referrer_page *p,
                          int (*fn)(const struct repo_referrer *ref, void *arg), void *arg)
{
    struct str rest = buf_str(&p->bytes);
    int e = 0;

    while (e == 0 && rest.len > 0) {
        struct referrer_row row;
        struct repo_referrer ref;
        char text[DIGEST_TEXT_MAX];

        memcpy(&row, cut(&rest, sizeof(row)).at, sizeof(row));
        ref = (struct repo_referrer){.digest = digest_text(&row.digest, text),
                                     .size = (uint64_t)row.size};
        ref.media_type = cut(&rest, row.media_type);
        ref.artifact_type = cut(&rest, row.artifact_type);
        ref.annotations = cut(&rest, row.annotations);
        e = fn(&ref, arg);
    }
    return e;
}

/* Where to go on. What is no digest counts by its bytes alone. */
static const struct digest *after_of(struct str text, struct digest *ret, struct referrer_page *p)
{
    if (text.len == 0)
        return NULL;
    if (digest_parse(text, ret) == 0)
        return ret;
    p->after = text;
    return NULL;
}

int repo_referrers_nowait(struct repo *r, const struct digest *subject, struct str after,
                          int (*fn)(const struct repo_referrer *ref, void *arg), void *arg)
{
    struct referrer_page p = {.bytes = BUF_INIT(2 * REPO_REFERRERS_AT_ONCE)};
    struct digest buffer;
    const struct digest *from = after_of(after, &buffer, &p);
    int e = try_referrers(r, subject, from, &p);

    if (e == 0 && p.full)
        e = -ERR_AGAIN;
    if (e == 0)
        e = tell_referrers(&p, fn, arg);
    buf_done(&p.bytes);
    return nowait(e);
}

static int ask_referrers(struct repo *r, const struct digest *subject, const struct digest *after,
                         struct referrer_page *p)
{
    struct repo_asking a auto_asking = {.tries = 0};
    struct state_key range[2];
    size_t records = RANGE_INITIAL;
    int e;

    state_key_referrer(&range[0], subject, after);
    state_key_referrer(&range[1], subject, NULL);
    state_key_end(&range[1]);
    while ((e = try_referrers(r, subject, after, p)) < 0) {
        e = ask_again(r, &a, e, range, 0, records, NULL);
        if (e < 0)
            return e;
        records *= 2;
    }
    return e;
}

int repo_referrers(struct repo *r, const struct digest *subject, struct str after,
                   int (*fn)(const struct repo_referrer *ref, void *arg), void *arg)
{
    struct referrer_page p = {.bytes = BUF_INIT(2 * REPO_REFERRERS_AT_ONCE)};
    struct digest last;
    const struct digest *from = after_of(after, &last, &p);
    int e = 0;

    do {
        e = ask_referrers(r, subject, from, &p);
        if (e == 0)
            e = tell_referrers(&p, fn, arg);
        last = p.last;
        from = &last;
    } while (e == 0 && p.full);
    buf_done(&p.bytes);
    return e;
}

/* ---- membership (B11) */

static int try_blob(struct repo *r, const struct digest *d, bool *ret_readable, uint64_t *ret_u)
{
    int e;

    replica_lock(r->replica);
    e = state_readable(r->state, d);
    if (e >= 0) {
        *ret_readable = e == 1;
        e = state_link_u(r->state, d, ret_u);
    }
    replica_unlock(r->replica);
    return e;
}

int repo_readable(struct repo *r, const struct digest *d, bool *ret_readable, uint64_t *ret_u,
                  struct err_detail *detail)
{
    struct repo_asking a auto_asking = {.tries = 0};
    struct state_key key;
    int e;

    state_key_blob(&key, d);
    while ((e = try_blob(r, d, ret_readable, ret_u)) < 0) {
        e = repo_ask_again(r, &a, e, &key, 1, detail);
        if (e < 0)
            return e;
    }
    return e;
}

int repo_link_u(struct repo *r, const struct digest *d, uint64_t *ret)
{
    bool readable;

    return repo_readable(r, d, &readable, ret, NULL);
}

static struct link_seen *link_slot(struct repo *r, const struct digest *d)
{
    return &r->links[d->bytes[0] % REPO_LINKS_SEEN];
}

static bool link_was_seen(struct repo *r, const struct digest *d, uint64_t u)
{
    bool was = false;

    replica_lock(r->replica);
    if (r->links) {
        const struct link_seen *seen = link_slot(r, d);

        was = seen->used && seen->u == u && digest_eq(&seen->digest, d);
    }
    replica_unlock(r->replica);
    return was;
}

static void remember_link(struct repo *r, const struct digest *d, uint64_t u)
{
    replica_lock(r->replica);
    if (!r->links)
        r->links = calloc(REPO_LINKS_SEEN, sizeof(*r->links));
    if (r->links) /* else it is asked for again */
        *link_slot(r, d) = (struct link_seen){*d, u, true};
    replica_unlock(r->replica);
}

int repo_blob(struct repo *r, const struct digest *d, struct blob_info *ret,
              struct err_detail *detail)
{
    struct blobs *b = repos_blobs(r->owner);
    bool readable;
    uint64_t u;
    int e = repo_readable(r, d, &readable, &u, detail);

    if (e == 0 && !readable && r->past)
        return -ERR_NOTFOUND; /* links are of the present */
    if (e == 0 && !readable && !link_was_seen(r, d, u)) {
        e = blob_link_exists(b, r->name_str, d, u, detail);
        if (e == 0)
            remember_link(r, d, u);
    }
    if (e < 0)
        return e;
    e = blob_info(b, d, ret, detail);
    return e == -ERR_NOTFOUND && r->past ? err_set(detail, e, REPO_CONTENT_REMOVED) : e;
}

int repo_blob_nowait(struct repo *r, const struct digest *d, struct blob_info *ret)
{
    struct blobs *b = repos_blobs(r->owner);
    bool readable;
    uint64_t u;
    int e = nowait(try_blob(r, d, &readable, &u));

    if (e == 0 && !readable && r->past)
        return -ERR_NOTFOUND;
    if (e == 0 && !readable && !link_was_seen(r, d, u)) {
        e = blob_link_exists_nowait(b, r->name_str, d, u);
        if (e == 0)
            remember_link(r, d, u);
    }
    return e < 0 ? e : blob_info_nowait(b, d, ret);
}

/* What makes a digest a member is a link, or a ref of a manifest that was put while it was one: so
 * the first link stands before all of that. */
bool repo_blob_never(struct repos *rs, struct str name, const struct digest *d)
{
    struct blobs *b = repos_blobs(rs);
    struct repo *r auto_repo = NULL;
    bool readable;
    uint64_t u;

    if (!repos_remote(rs))
        return false;
    r = repo_cached(rs, name);
    if (r && (try_blob(r, d, &readable, &u) < 0 || readable || u > 0))
        return false;
    return blob_link_exists(b, name, d, 0, NULL) == -ERR_NOTFOUND;
}
