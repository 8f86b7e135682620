#include "state_check.h"

#define TABLE_MAX (64u << 20)

static void check_tags(const struct state *s)
{
    for (struct omap_node *n = omap_first(s->tags); n; n = omap_next(s->tags, n)) {
        const struct state_tag *t = omap_value(n), *at;

        assert(str_eq(omap_key(n), t->name) && tag_valid(t->name));
        assert(t->manifest && omap_get(s->manifests, t->manifest->text) == t->manifest);
        for (at = t->manifest->tags; at && at != t; at = at->next)
            ;
        assert(at == t && (!t->next || t->next->previous == t));
    }
}

static size_t check_manifests(const struct state *s)
{
    size_t subjects = 0;

    for (struct omap_node *n = omap_first(s->manifests); n; n = omap_next(s->manifests, n)) {
        const struct state_manifest *m = omap_value(n);

        assert(str_eq(omap_key(n), m->text) && state_manifest(s, &m->digest) == m);
        subjects += m->subject.len > 0;
        for (const struct state_tag *t = m->tags; t; t = t->next)
            assert(t->manifest == m && omap_get(s->tags, t->name) == t);
        for (size_t i = 0; i < m->ref_count; i++)
            assert(omap_get(s->blobs, m->refs[i].blob->digest) == m->refs[i].blob);
    }
    return subjects;
}

/* Refs that point to a blob, and those that make it readable, counted anew. */
static void check_blob(const struct state *s, const struct state_blob *b)
{
    uint32_t users = 0, count = 0;

    for (struct omap_node *n = omap_first(s->manifests); n; n = omap_next(s->manifests, n)) {
        const struct state_manifest *m = omap_value(n);

        for (size_t i = 0; i < m->ref_count; i++) {
            if (m->refs[i].blob != b)
                continue;
            users++;
            count += m->refs[i].kind != REF_MANIFEST && m->seq > b->unlinked && m->seq > s->dropped;
        }
    }
    assert(users == b->users && count == b->count);
    assert(users > 0 || b->unlinked > 0);
}

void state_check(const struct state *s)
{
    size_t unlinked = 0;

    check_tags(s);
    assert(check_manifests(s) == omap_count(s->referrers));
    for (struct omap_node *n = omap_first(s->blobs); n; n = omap_next(s->blobs, n)) {
        const struct state_blob *b = omap_value(n);

        check_blob(s, b);
        unlinked += b->unlinked > 0;
    }
    assert(unlinked == s->unlinked_count);
    for (struct omap_node *n = omap_first(s->referrers); n; n = omap_next(s->referrers, n)) {
        const struct state_manifest *m = omap_value(n);

        assert(omap_get(s->manifests, m->text) == m);
    }
}

void state_check_table(const struct state *s, const struct checkpoint_head *head)
{
    struct buf table auto_buf = BUF_INIT(TABLE_MAX), again auto_buf = BUF_INIT(TABLE_MAX);
    struct state *loaded auto_state = NULL;
    struct checkpoint_head head_back;

    if (s->incomplete > 0)
        return;
    assert(checkpoint_encode(s, head, &table) == 0);
    assert(checkpoint_bytes(s, head) == table.len);
    assert(checkpoint_decode(buf_str(&table), head->repo, &loaded, &head_back, NULL) == 0);
    assert(head_back.seq == head->seq && head_back.ts == head->ts);
    state_check(loaded);
    assert(checkpoint_encode(loaded, &head_back, &again) == 0);
    assert(str_eq(buf_str(&table), buf_str(&again)));
}
