#include "state_check.h"

#define HEAD_MAX (64u << 20)

const struct table_spec *state_check_spec(void)
{
    static struct table_cache *cache;
    static struct store *store;
    static struct table_spec spec = {.prefix = {"repos/team/app", 14}};

    if (!store) {
        fuzz_need(table_cache_new(1 << 20, &cache), "table_cache_new");
        fuzz_need(store_mem_new(&store), "store_mem_new");
        spec.cache = cache;
        spec.store = store;
    }
    return &spec;
}

struct count {
    const struct state *s;
    const struct digest *of; /* a blob, or a manifest */
    uint64_t dropped, unlinked, users, counted, found;
};

static int count_on(struct str tag, void *arg)
{
    struct count *c = arg;
    struct hit hit auto_hit = {.value = STR_NONE};
    struct state_tag t;

    assert(tag_valid(tag) && state_tag(c->s, tag, &hit, &t) == 0 && digest_eq(&t.digest, c->of));
    c->found++;
    return 0;
}

static int check_tag(const struct state_tag *t, void *arg)
{
    struct count *c = arg;
    struct hit hit auto_hit = {.value = STR_NONE};
    struct state_manifest m;

    assert(tag_valid(t->name) && state_manifest(c->s, &t->digest, &hit, &m) == 0);
    assert(str_eq(m.media_type, t->media_type) && m.size == t->size);
    c->found++;
    return 0;
}

static int count_referrer(const struct state_referrer *r, void *arg)
{
    struct count *c = arg;

    c->found += digest_eq(&r->digest, c->of);
    return 0;
}

static int check_manifest(const struct state_manifest *m, void *arg)
{
    struct count *all = arg, on = {.s = all->s, .of = &m->digest};
    struct str rest = m->refs;
    struct state_ref ref;
    uint64_t refs = 0;

    for (; state_ref_next(&rest, &ref); refs++) {
        struct state_blob b;

        assert(state_blob(all->s, &ref.digest, &b) == 0 && b.users > 0);
    }
    assert(rest.len == 0 && refs == m->ref_count);
    assert(state_tags_of(all->s, &m->digest, count_on, &on) == 0);
    all->users += on.found; /* tags on any manifest */
    on.found = 0;
    if (m->has_subject) {
        assert(state_referrers(all->s, &m->subject, NULL, count_referrer, &on) == 0);
        assert(on.found == 1);
    }
    all->found++;
    all->counted += m->incomplete;
    return 0;
}

static int count_users(const struct state_manifest *m, void *arg)
{
    struct count *c = arg;
    struct str rest = m->refs;
    struct state_ref ref;

    while (state_ref_next(&rest, &ref)) {
        if (!digest_eq(&ref.digest, c->of))
            continue;
        c->users++;
        c->counted += ref.kind != REF_MANIFEST && m->seq > c->unlinked && m->seq > c->dropped;
    }
    return 0;
}

/* Refs that point to a blob, and those that make it readable, counted anew. */
static int check_blob(const struct digest *d, const struct state_blob *b, void *arg)
{
    const struct count *all = arg;
    struct count c = {.s = all->s, .of = d, .dropped = all->s->dropped, .unlinked = b->unlinked};

    assert(state_each_manifest(all->s, count_users, &c) == 0);
    assert(c.users == b->users && c.counted == b->count);
    assert(b->users > 0 || b->unlinked > 0);
    return 0;
}

static uint64_t bytes_of(const struct state *s)
{
    struct layers_cursor c auto_layers_cursor = {.layers = NULL};
    uint64_t bytes = 0;
    int e;

    layers_cursor_init(&c, &s->layers);
    for (e = layers_seek(&c, STR("a")); e == 1; e = layers_next(&c))
        bytes += c.key.len + c.value.len;
    assert(e == 0);
    return bytes;
}

void state_check(const struct state *s)
{
    struct count tags = {.s = s}, manifests = {.s = s}, blobs = {.s = s};

    assert(state_each_tag(s, STR_NONE, check_tag, &tags) == 0 && tags.found == s->tags);
    assert(state_each_manifest(s, check_manifest, &manifests) == 0);
    assert(manifests.found == s->manifests && manifests.users == s->tags);
    assert(manifests.counted == s->incomplete);
    assert(state_each_blob(s, check_blob, &blobs) == 0);
    assert(bytes_of(s) == s->layers.bytes);
}

void state_check_table(const struct state *s, const struct checkpoint_head *head)
{
    const struct table_spec *spec = state_check_spec();
    struct buf table auto_buf = BUF_INIT(HEAD_MAX), again auto_buf = BUF_INIT(HEAD_MAX);
    struct state *loaded auto_state = NULL;
    struct checkpoint_head head_back;

    if (s->incomplete > 0)
        return;
    assert(state_encode(s, head, spec, NULL, NULL, &table, NULL, NULL) == 0);
    assert(state_decode(buf_str(&table), head->repo, spec, &loaded, &head_back, NULL) == 0);
    assert(head_back.seq == head->seq && head_back.ts == head->ts);
    assert(head_back.bytes == s->layers.bytes);
    if (table_inline(loaded->layers.base).len == 0 && table_part_count(loaded->layers.base) > 0)
        return; /* its parts were not stored */
    state_check(loaded);
    assert(state_encode(loaded, &head_back, spec, NULL, NULL, &again, NULL, NULL) == 0);
    assert(str_eq(buf_str(&table), buf_str(&again)));
}
