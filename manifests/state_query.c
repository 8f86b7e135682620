/* Questions to the state of a repository. */
#include <assert.h>

#include "base/mutant.h"
#include "manifests/state_internal.h"

static int damaged(void)
{
    return -ERR_CORRUPT;
}

static int get(const struct state *s, const struct state_key *key, struct hit *hit)
{
    return layers_get(&s->layers, state_key_str(key), hit, NULL);
}

int state_tag(const struct state *s, struct str tag, struct hit *hit, struct state_tag *ret)
{
    struct state_key key;
    int r;

    state_key_tag(&key, tag);
    r = get(s, &key, hit);
    if (r < 0)
        return r;
    ret->name = tag;
    return state_unpack_tag(hit->value, ret) ? 0 : damaged();
}

int state_manifest(const struct state *s, const struct digest *d, struct hit *hit,
                   struct state_manifest *ret)
{
    struct state_key key;
    int r;

    state_key_manifest(&key, d);
    r = get(s, &key, hit);
    if (r < 0)
        return r;
    ret->digest = *d;
    return state_unpack_manifest(hit->value, ret) ? 0 : damaged();
}

static int yes_or_no(int r)
{
    return r == 0 ? 1 : r == -ERR_NOTFOUND ? 0 : r;
}

int state_has_manifest(const struct state *s, const struct digest *d)
{
    struct hit hit auto_hit = {.value = STR_NONE};
    struct state_key key;

    state_key_manifest(&key, d);
    return yes_or_no(get(s, &key, &hit));
}

int state_blob(const struct state *s, const struct digest *d, struct state_blob *ret)
{
    struct hit hit auto_hit = {.value = STR_NONE};
    struct state_key key;
    int r;

    state_key_blob(&key, d);
    r = get(s, &key, &hit);
    *ret = (struct state_blob){.users = 0};
    if (r < 0)
        return r == -ERR_NOTFOUND ? 0 : r;
    return state_unpack_blob(hit.value, ret) ? 0 : damaged();
}

int state_readable(const struct state *s, const struct digest *d)
{
    struct state_blob b;
    int r = state_blob(s, d, &b);

    return r < 0 ? r : b.count > 0;
}

int state_link_u(const struct state *s, const struct digest *d, uint64_t *ret)
{
    struct state_blob b;
    int r = state_blob(s, d, &b);

    if (r < 0)
        return r;
    *ret = mutant("link-u") ? 0 : state_last_unlink(s, &b);
    return 0;
}

int state_ref_stands(const struct state *s, const struct state_manifest *m,
                     const struct state_ref *ref)
{
    struct state_blob b;
    int r;

    if (ref->kind == REF_MANIFEST)
        return state_has_manifest(s, &ref->digest);
    r = state_blob(s, &ref->digest, &b);
    return r < 0 ? r : m->seq > state_last_unlink(s, &b);
}

/* ---- in order */

/* Records from a key on that begin with a prefix. one() is given the rest of the key. */
struct walk {
    struct state_key prefix, from;
    int (*one)(struct str rest, struct str value, void *arg);
    void *arg;
};

static int walk(const struct state *s, const struct walk *w)
{
    struct layers_cursor c auto_layers_cursor = {.layers = NULL};
    struct str prefix = state_key_str(&w->prefix);
    int r;

    layers_cursor_init(&c, &s->layers);
    for (r = layers_seek(&c, state_key_str(&w->from)); r == 1; r = layers_next(&c)) {
        if (!str_starts(c.key, prefix))
            return 0;
        r = w->one(str_skip(c.key, prefix.len), c.value, w->arg);
        if (r != 0)
            return r;
    }
    return r;
}

/* Just behind a key: the smallest that is greater. */
static void behind(struct state_key *k)
{
    assert(k->len < sizeof(k->at));
    k->at[k->len++] = 0;
}

int state_on_is_past(const struct state *s, const struct digest *manifest, struct str tag)
{
    struct hit hit auto_hit = {.value = STR_NONE};
    struct state_tag t;
    struct state_key key;
    int r;

    if (layers_blind(&s->layers) == 0)
        return 0;
    state_key_tag(&key, tag);
    r = layers_get_above(&s->layers, state_key_str(&key), &hit);
    if (r == -ERR_AGAIN || r == -ERR_NOTFOUND) /* as the base says; it is gone */
        return r == -ERR_NOTFOUND;
    if (r < 0)
        return r;
    return state_unpack_tag(hit.value, &t) ? !digest_eq(&t.digest, manifest) : damaged();
}

struct tags_of {
    const struct state *state;
    const struct digest *manifest;
    state_tag_fn fn;
    void *arg;
};

static int one_tag_of(struct str rest, struct str value, void *arg)
{
    const struct tags_of *to = arg;
    int r = state_on_is_past(to->state, to->manifest, rest);

    (void)value;
    return r == 0 ? to->fn(rest, to->arg) : r == 1 ? 0 : r;
}

int state_tags_of(const struct state *s, const struct digest *manifest, state_tag_fn fn, void *arg)
{
    struct tags_of to = {s, manifest, fn, arg};
    struct walk w = {.one = one_tag_of, .arg = &to};

    state_key_on(&w.prefix, manifest, STR_NONE);
    w.from = w.prefix;
    return walk(s, &w);
}

struct each_tag {
    int (*fn)(const struct state_tag *t, void *arg);
    void *arg;
};

static int one_tag(struct str rest, struct str value, void *arg)
{
    const struct each_tag *to = arg;
    struct state_tag t = {.name = rest};

    return state_unpack_tag(value, &t) ? to->fn(&t, to->arg) : damaged();
}

int state_each_tag(const struct state *s, struct str after,
                   int (*fn)(const struct state_tag *t, void *arg), void *arg)
{
    struct each_tag to = {fn, arg};
    struct walk w = {.one = one_tag, .arg = &to};

    state_key_section(&w.prefix, STATE_TAGS);
    state_key_tag(&w.from, after);
    behind(&w.from);
    return walk(s, &w);
}

struct each_manifest {
    int (*fn)(const struct state_manifest *m, void *arg);
    void *arg;
};

static int one_manifest(struct str rest, struct str value, void *arg)
{
    const struct each_manifest *to = arg;
    struct state_manifest m = {.size = 0};

    if (!state_key_digest(&rest, &m.digest) || rest.len > 0 || !state_unpack_manifest(value, &m))
        return damaged();
    return to->fn(&m, to->arg);
}

int state_each_manifest(const struct state *s, const struct digest *after,
                        int (*fn)(const struct state_manifest *m, void *arg), void *arg)
{
    struct each_manifest to = {fn, arg};
    struct walk w = {.one = one_manifest, .arg = &to};

    state_key_section(&w.prefix, STATE_MANIFESTS);
    w.from = w.prefix;
    if (after) {
        state_key_manifest(&w.from, after);
        behind(&w.from);
    }
    return walk(s, &w);
}

struct each_blob {
    int (*fn)(const struct digest *d, const struct state_blob *b, void *arg);
    void *arg;
};

static int one_blob(struct str rest, struct str value, void *arg)
{
    const struct each_blob *to = arg;
    struct state_blob b;
    struct digest d;

    if (!state_key_digest(&rest, &d) || rest.len > 0 || !state_unpack_blob(value, &b))
        return damaged();
    return to->fn(&d, &b, to->arg);
}

int state_each_blob(const struct state *s,
                    int (*fn)(const struct digest *d, const struct state_blob *b, void *arg),
                    void *arg)
{
    struct each_blob to = {fn, arg};
    struct walk w = {.one = one_blob, .arg = &to};

    state_key_section(&w.prefix, STATE_BLOBS);
    w.from = w.prefix;
    return walk(s, &w);
}

struct referrers {
    int (*fn)(const struct state_referrer *r, void *arg);
    void *arg;
};

static int one_referrer(struct str rest, struct str value, void *arg)
{
    const struct referrers *to = arg;
    struct state_referrer row;

    if (!state_key_digest(&rest, &row.digest) || rest.len > 0 ||
        !state_unpack_referrer(value, &row))
        return damaged();
    return to->fn(&row, to->arg);
}

int state_referrers(const struct state *s, const struct digest *subject, const struct digest *after,
                    int (*fn)(const struct state_referrer *r, void *arg), void *arg)
{
    struct referrers to = {fn, arg};
    struct walk w = {.one = one_referrer, .arg = &to};

    state_key_referrer(&w.prefix, subject, NULL);
    state_key_referrer(&w.from, subject, after);
    if (after)
        behind(&w.from);
    return walk(s, &w);
}
