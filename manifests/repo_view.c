/* Where times lie in a repository's log, what only those ask who look back, and how they bring back
 * what they saw. */
#include <assert.h>

#include "base/clock.h"
#include "manifests/repo_internal.h"

#define ASK_TAGS_MAX 64 /* tries of one question */

int repo_seq_at(struct repo *r, int64_t ms, uint64_t *ret, struct err_detail *detail)
{
    bool known;
    int e;

    replica_lock(r->replica);
    known = r->time.known && r->time.ms == ms;
    if (known)
        *ret = r->time.seq;
    replica_unlock(r->replica);
    if (known)
        return 0;
    e = replica_seq_at(r->replica, ms, ret, detail);
    if (e < 0)
        return e;
    replica_lock(r->replica);
    r->time.known = true;
    r->time.ms = ms;
    r->time.seq = *ret;
    replica_unlock(r->replica);
    return 0;
}

int repo_read(struct repo *r, uint64_t seq, objlog_apply_fn fn, void *arg,
              struct err_detail *detail)
{
    return replica_read(r->replica, seq, fn, arg, detail);
}

/* ---- queries; see repo_query.c for how they are asked */

#define NAMES_BYTES (64u << 20) /* gathered under the lock, told without it */
#define RANGE_MORE  256

static int take_name(struct str name, void *arg)
{
    struct buf *names = arg;

    buf_add(names, name);
    buf_addc(names, '\n');
    return buf_err(names);
}

static int tell_names(struct str rest, int (*fn)(struct str name, void *arg), void *arg)
{
    int e = 0;

    while (e == 0 && rest.len > 0) {
        size_t len = (size_t)str_find(rest, '\n');

        e = fn(str_head(rest, len), arg);
        rest = str_skip(rest, len + 1);
    }
    return e;
}

int repo_tags_on(struct repo *r, const struct digest *d, int (*fn)(struct str tag, void *arg),
                 void *arg)
{
    struct repo_asking a auto_asking = {.tries = 0};
    struct buf names auto_buf = BUF_INIT(NAMES_BYTES);
    struct state_key key;
    int e;

    state_key_manifest(&key, d);
    for (;;) {
        buf_clear(&names);
        replica_lock(r->replica);
        e = state_tags_of(r->state, d, take_name, &names);
        replica_unlock(r->replica);
        if (e >= 0)
            break;
        if (e == -ERR_AGAIN && repo_hold_tags_on(r, &a, d) == 0 && ++a.tries < ASK_TAGS_MAX)
            continue;
        e = repo_ask_again(r, &a, e, &key, 1, NULL);
        if (e < 0)
            return e;
    }
    return tell_names(buf_str(&names), fn, arg);
}

struct manifest_page {
    struct buf names;
    size_t n, count;
    bool more;
};

static int take_manifest(const struct state_manifest *m, void *arg)
{
    struct manifest_page *p = arg;
    char text[DIGEST_TEXT_MAX];

    if (p->count == p->n) {
        p->more = true;
        return 1;
    }
    p->count++;
    return take_name(digest_text(&m->digest, text), &p->names);
}

static int try_manifests(struct repo *r, const struct digest *after, struct manifest_page *p)
{
    int e;

    buf_clear(&p->names);
    p->count = 0;
    p->more = false;
    replica_lock(r->replica);
    e = state_each_manifest(r->state, after, take_manifest, p);
    replica_unlock(r->replica);
    return e < 0 ? e : 0;
}

int repo_manifests(struct repo *r, struct str last, size_t n,
                   int (*fn)(struct str digest, void *arg), void *arg, bool *ret_more)
{
    struct repo_asking a auto_asking = {.tries = 0};
    struct manifest_page p = {.names = BUF_INIT(NAMES_BYTES), .n = n};
    struct digest after;
    size_t records = n + 1;
    int e = last.len > 0 ? digest_parse(last, &after) : 0;

    while (e == 0 && (e = try_manifests(r, last.len > 0 ? &after : NULL, &p)) < 0) {
        e = repo_ask_again_manifests(r, &a, e, last.len > 0 ? &after : NULL, records);
        records += records / 2 + RANGE_MORE; /* some of them may be gone since */
    }
    if (e == 0) {
        *ret_more = p.more;
        e = tell_names(buf_str(&p.names), fn, arg);
    }
    buf_done(&p.names);
    return e;
}

/* The refs of a manifest, gathered under the lock, and the keys of what they stand on. */
struct refs {
    struct repo_ref *at;
    struct state_key *keys; /* of the manifest, then two for each ref */
    size_t count;
};

static void refs_done(struct refs *refs)
{
    free(refs->at);
    free(refs->keys);
}

static int gather_refs(struct repo *r, const struct state_manifest *m, struct refs *refs)
{
    size_t n = (size_t)m->ref_count;
    struct str rest = m->refs;
    struct state_ref ref;

    refs_done(refs);
    refs->count = 0;
    refs->at = calloc(n ? n : 1, sizeof(*refs->at));
    refs->keys = calloc(1 + 2 * n, sizeof(*refs->keys));
    if (!refs->at || !refs->keys)
        return -ERR_NOMEM;
    state_key_manifest(&refs->keys[0], &m->digest);
    while (refs->count < n && state_ref_next(&rest, &ref)) {
        size_t i = refs->count++;

        refs->at[i] = (struct repo_ref){.digest = ref.digest, .kind = ref.kind};
        state_key_manifest(&refs->keys[1 + 2 * i], &ref.digest);
        state_key_blob(&refs->keys[2 + 2 * i], &ref.digest);
    }
    rest = m->refs;
    for (size_t i = 0; i < refs->count && state_ref_next(&rest, &ref); i++) {
        int stands = state_ref_stands(r->state, m, &ref);

        if (stands < 0)
            return stands;
        refs->at[i].stands = stands == 1;
    }
    return 0;
}

static int try_refs(struct repo *r, const struct digest *d, struct refs *refs)
{
    struct hit hit auto_hit = {.value = STR_NONE};
    struct state_manifest m;
    int e;

    replica_lock(r->replica);
    e = state_manifest(r->state, d, &hit, &m);
    if (e == 0)
        e = gather_refs(r, &m, refs);
    replica_unlock(r->replica);
    return e;
}

int repo_refs(struct repo *r, const struct digest *d,
              int (*fn)(const struct repo_ref *ref, void *arg), void *arg)
{
    struct repo_asking a auto_asking = {.tries = 0};
    struct refs refs auto_of(refs_done) = {.count = 0};
    struct state_key key;
    int e;

    state_key_manifest(&key, d);
    while ((e = try_refs(r, d, &refs)) < 0) {
        bool all = refs.keys != NULL;

        e = repo_ask_again(r, &a, e, all ? refs.keys : &key, all ? 1 + 2 * refs.count : 1, NULL);
        if (e < 0)
            return e;
    }
    for (size_t i = 0; e == 0 && i < refs.count; i++)
        e = fn(&refs.at[i], arg);
    return e;
}

uint64_t repo_removed(struct repo *r)
{
    uint64_t removed;

    replica_lock(r->replica);
    removed = r->state->removed;
    replica_unlock(r->replica);
    return removed;
}

uint64_t repo_dropped(struct repo *r)
{
    uint64_t dropped;

    replica_lock(r->replica);
    dropped = r->state->dropped;
    replica_unlock(r->replica);
    return dropped;
}

struct blobs *repo_blobs(const struct repo *r)
{
    return repos_blobs(r->owner);
}

int repo_commit_whole(struct repo *r, uint64_t seen, struct str ops, int64_t validated_ms,
                      struct err_detail *detail)
{
    struct repo_change c = {.kind = CHANGE_WHOLE, .seen = seen};
    int e;

    assert(!r->past && ops.len > 0 && ops.len <= OBJLOG_OP_MAX);
    c.op.text = ops;
    c.op.validated_ms = validated_ms;
    c.op.deadline_ms = clock_boot_ms() + OBJLOG_DECIDE_MS;
    e = replica_commit(r->replica, &c.op);
    return e < 0 ? err_set(detail, e, "%s", c.op.detail.text) : e;
}

uint64_t repo_seq(struct repo *r)
{
    uint64_t seq;

    replica_lock(r->replica);
    seq = replica_seq(r->replica);
    replica_unlock(r->replica);
    return seq;
}

bool repo_is_view(const struct repo *r)
{
    return r->past;
}
