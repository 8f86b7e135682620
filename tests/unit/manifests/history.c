/* Random histories and their naive model: see history.h. */
#include "history.h"

#include <stdio.h>

#define AS_MANIFEST 100

void history_init(struct history *h, uint64_t seed)
{
    char name[32];

    h->random = seed * 2654435761u + 88172645463325252u;
    for (int i = 0; i < HISTORY_BLOBS; i++) {
        snprintf(name, sizeof(name), "blob %d", i);
        h->blobs[i] = digest_named(name);
    }
    for (int i = 0; i < HISTORY_MANIFESTS; i++) {
        snprintf(name, sizeof(name), "manifest %d", i);
        digest_of(i % 2 ? DIGEST_SHA512 : DIGEST_SHA256, str_of(name), &h->manifests[i]);
    }
    for (int i = 0; i < HISTORY_TAGS; i++)
        snprintf(h->tags[i], sizeof(h->tags[i]), "tag%d", i);
}

/* xorshift64* */
unsigned history_below(struct history *h, unsigned n)
{
    h->random ^= h->random >> 12;
    h->random ^= h->random << 25;
    h->random ^= h->random >> 27;
    return (unsigned)((h->random * 2685821657736338717u) >> 33) % n;
}

static void random_put(struct history *h, struct taglog_op *op, struct taglog_ref *refs,
                       struct str *tags)
{
    op->digest = h->manifests[history_below(h, HISTORY_MANIFESTS)];
    op->media_type = STR(MEDIA_OCI_MANIFEST);
    op->size = history_below(h, 1000);
    op->artifact_type = history_below(h, 2) ? STR("a/b \"quoted\"") : STR_NONE;
    op->refs = refs;
    op->tags = tags;
    for (unsigned n = history_below(h, HISTORY_REFS_MAX + 1); n > 0; n--) {
        struct taglog_ref *ref = &refs[op->ref_count++];

        *ref = (struct taglog_ref){.size = history_below(h, 9)};
        if (history_below(h, 5) == 0) {
            ref->kind = REF_MANIFEST;
            ref->digest = h->manifests[history_below(h, HISTORY_MANIFESTS)];
        } else {
            ref->kind = (enum ref_kind) "clb"[history_below(h, 3)];
            ref->digest = h->blobs[history_below(h, HISTORY_BLOBS)];
        }
    }
    for (unsigned n = history_below(h, 3); n > 0; n--)
        tags[op->tag_count++] = str_of(h->tags[history_below(h, HISTORY_TAGS)]);
}

static void random_tags(struct history *h, struct taglog_op *op, struct taglog_set *sets)
{
    op->sets = sets;
    for (unsigned n = 1 + history_below(h, 2); n > 0; n--) {
        struct taglog_set *set = &sets[op->set_count++];

        *set = (struct taglog_set){.tag = str_of(h->tags[history_below(h, HISTORY_TAGS)]),
                                   .remove = history_below(h, 2) == 0,
                                   .digest = h->manifests[history_below(h, HISTORY_MANIFESTS)]};
    }
}

void history_op(struct history *h, struct buf *out)
{
    static const char note[] = "{\"note\":\"x\\\"y\"}";
    static const char *const choices[] = {"{}", "{\"immutable\":[\"tag1\"]}",
                                          "{\"immutable\":[\"*\",\"!tag?\"]}"};
    struct settings *settings auto_settings = NULL;
    struct taglog_op op = {.by = STR("someone"), .req = STR("r")};
    struct taglog_ref refs[HISTORY_REFS_MAX];
    struct taglog_set sets[2];
    struct str tags[3];
    struct json_doc *doc auto_json = NULL;
    unsigned dice = history_below(h, 100);

    if (dice < 50) {
        op.kind = TAGLOG_PUT;
        random_put(h, &op, refs, tags);
        if (history_below(h, 2)) {
            op.subject = text_of(&h->manifests[history_below(h, HISTORY_MANIFESTS)]);
            assert_int_equal(json_parse(str_of(note), &doc, NULL), 0);
            op.annotations = history_below(h, 2) ? json_root(doc) : NULL;
        }
    } else if (dice < 65) {
        op.kind = TAGLOG_TAGS;
        random_tags(h, &op, sets);
    } else if (dice < 80) {
        op.kind = TAGLOG_DELETE;
        op.digest = h->manifests[history_below(h, HISTORY_MANIFESTS)];
    } else if (dice < 94) {
        op.kind = TAGLOG_UNLINK;
        op.digest = h->blobs[history_below(h, HISTORY_BLOBS)];
    } else {
        op.kind = dice < 96 ? TAGLOG_DROP : TAGLOG_SETTINGS;
        assert_int_equal(settings_parse(str_of(choices[history_below(h, 3)]), &settings, NULL), 0);
        op.settings = settings;
    }
    assert_int_equal(taglog_encode(&op, out), 0);
}

/* ---- the model */

static int index_of(const struct digest *list, int count, const struct digest *d)
{
    for (int i = 0; i < count; i++)
        if (digest_eq(&list[i], d))
            return i;
    return -1;
}

static int manifest_index(const struct history *h, const struct digest *d)
{
    int i = index_of(h->manifests, HISTORY_MANIFESTS, d);

    assert_true(i >= 0);
    return i;
}

static int tag_index(const struct history *h, struct str tag)
{
    for (int i = 0; i < HISTORY_TAGS; i++)
        if (str_eq(tag, str_of(h->tags[i])))
            return i;
    fail();
    return -1;
}

static void empty(struct model *m)
{
    struct model fresh = {.dropped = 0};

    memcpy(fresh.settings, m->settings, sizeof(fresh.settings));
    for (int i = 0; i < HISTORY_TAGS; i++)
        fresh.tags[i] = -1;
    *m = fresh;
}

void model_init(struct model *m)
{
    snprintf(m->settings, sizeof(m->settings), "{}");
    empty(m);
}

static void apply_put(struct model *m, const struct history *h, const struct taglog_op *op,
                      uint64_t seq)
{
    int index = manifest_index(h, &op->digest);
    struct model_manifest *to = &m->manifests[index];
    struct digest subject;

    *to = (struct model_manifest){.present = true, .seq = seq, .subject = -1};
    if (op->subject.len > 0) {
        assert_int_equal(digest_parse(op->subject, &subject), 0);
        to->subject = manifest_index(h, &subject);
        if (op->annotations)
            snprintf(to->note, sizeof(to->note), STR_FMT,
                     STR_ARG(json_str(json_get(op->annotations, "note"))));
    }
    for (size_t i = 0; i < op->ref_count; i++)
        to->refs[to->ref_count++] = op->refs[i].kind == REF_MANIFEST
                                        ? AS_MANIFEST + manifest_index(h, &op->refs[i].digest)
                                        : index_of(h->blobs, HISTORY_BLOBS, &op->refs[i].digest);
    for (size_t i = 0; i < op->tag_count; i++) {
        m->tags[tag_index(h, op->tags[i])] = index;
        m->tag_seq[tag_index(h, op->tags[i])] = seq;
    }
}

static void remove_tags_of(struct model *m, int manifest)
{
    for (int i = 0; i < HISTORY_TAGS; i++)
        if (m->tags[i] == manifest)
            m->tags[i] = -1;
}

static void apply_sets(struct model *m, const struct history *h, const struct taglog_op *op,
                       uint64_t seq)
{
    for (size_t i = 0; i < op->set_count; i++) {
        int tag = tag_index(h, op->sets[i].tag);

        if (op->sets[i].remove) {
            m->tags[tag] = -1;
        } else {
            int to = manifest_index(h, &op->sets[i].digest);

            if (m->manifests[to].present) {
                m->tags[tag] = to;
                m->tag_seq[tag] = seq;
            }
        }
    }
}

void model_apply(struct model *m, const struct history *h, const struct taglog_op *op, uint64_t seq)
{
    int i;

    switch (op->kind) {
    case TAGLOG_PUT:
        apply_put(m, h, op, seq);
        break;
    case TAGLOG_TAGS:
        apply_sets(m, h, op, seq);
        break;
    case TAGLOG_DELETE:
        i = manifest_index(h, &op->digest);
        m->manifests[i].present = false;
        remove_tags_of(m, i);
        break;
    case TAGLOG_UNLINK:
        m->unlinked[index_of(h->blobs, HISTORY_BLOBS, &op->digest)] = seq;
        break;
    case TAGLOG_DROP:
        empty(m);
        m->dropped = seq;
        break;
    case TAGLOG_SETTINGS:
        snprintf(m->settings, sizeof(m->settings), STR_FMT, STR_ARG(settings_text(op->settings)));
        break;
    }
}

static uint64_t last_unlink(const struct model *m, int blob)
{
    return m->unlinked[blob] > m->dropped ? m->unlinked[blob] : m->dropped;
}

bool model_readable(const struct model *m, int blob)
{
    for (int i = 0; i < HISTORY_MANIFESTS; i++)
        for (int j = 0; m->manifests[i].present && j < m->manifests[i].ref_count; j++)
            if (m->manifests[i].refs[j] == blob && m->manifests[i].seq > last_unlink(m, blob))
                return true;
    return false;
}

struct expected {
    const struct model *model;
    const struct history *history;
    int subject;
    struct digest last;
    unsigned count;
};

static int each_referrer(const struct state_referrer *m, void *arg)
{
    struct expected *want = arg;
    int i = manifest_index(want->history, &m->digest);
    const struct model_manifest *model = &want->model->manifests[i];
    char annotations[64] = "";

    check(model->present && model->subject == want->subject, "referrer %d of %d", i, want->subject);
    check(want->count == 0 || digest_cmp(&want->last, &m->digest) < 0, "order of referrers");
    if (model->note[0])
        snprintf(annotations, sizeof(annotations), "{\"note\":\"x\\\"y\"}");
    check(str_eq(m->annotations, str_of(annotations)), "annotations " STR_FMT,
          STR_ARG(m->annotations));
    want->last = m->digest;
    want->count++;
    return 0;
}

static void compare_referrers(const struct model *m, const struct history *h, const struct state *s)
{
    for (int i = 0; i < HISTORY_MANIFESTS; i++) {
        struct expected want = {.model = m, .history = h, .subject = i};
        unsigned count = 0;

        for (int j = 0; j < HISTORY_MANIFESTS; j++)
            count += m->manifests[j].present && m->manifests[j].subject == i;
        assert_int_equal(state_referrers(s, &h->manifests[i], NULL, each_referrer, &want), 0);
        check(want.count == count, "referrers of %d: %u, not %u", i, want.count, count);
    }
}

static void compare_one(const struct model *m, const struct history *h, const struct state *s)
{
    for (int i = 0; i < HISTORY_MANIFESTS; i++) {
        struct hit hit auto_hit = {.value = STR_NONE};
        struct state_manifest have;
        int e = state_manifest(s, &h->manifests[i], &hit, &have);

        assert_true(e == 0 || e == -ERR_NOTFOUND);
        check((e == 0) == m->manifests[i].present, "presence of %d", i);
        check(e < 0 || have.seq == m->manifests[i].seq, "seq of %d", i);
        check(e < 0 || have.ref_count == (size_t)m->manifests[i].ref_count, "refs of %d", i);
    }
    for (int i = 0; i < HISTORY_TAGS; i++) {
        struct hit hit auto_hit = {.value = STR_NONE};
        struct state_tag t;
        int e = state_tag(s, str_of(h->tags[i]), &hit, &t);

        check((e == 0) == (m->tags[i] >= 0), "presence of tag %d", i);
        check(e < 0 || (digest_eq(&t.digest, &h->manifests[m->tags[i]]) && t.seq == m->tag_seq[i]),
              "tag %d", i);
    }
}

static int count_tag(struct str tag, void *arg)
{
    unsigned *count = arg;

    check(tag.len > 0, "a tag");
    ++*count;
    return 0;
}

static void compare_tags_on(const struct model *m, const struct history *h, const struct state *s)
{
    unsigned tags = 0, manifests = 0;

    for (int i = 0; i < HISTORY_MANIFESTS; i++) {
        unsigned count = 0, want = 0;

        for (int j = 0; j < HISTORY_TAGS; j++)
            want += m->tags[j] == i;
        assert_int_equal(state_tags_of(s, &h->manifests[i], count_tag, &count), 0);
        check(count == want, "tags on %d: %u, not %u", i, count, want);
        tags += want;
        manifests += m->manifests[i].present;
    }
    if (layers_blind(&s->layers) == 0) /* else it counts for nothing yet */
        assert_int_equal(s->tags, tags);
    assert_int_equal(s->manifests, manifests);
}

void model_compare(const struct model *m, const struct history *h, const struct state *s)
{
    uint64_t u;

    compare_one(m, h, s);
    compare_tags_on(m, h, s);
    for (int i = 0; i < HISTORY_BLOBS; i++) {
        check(state_readable(s, &h->blobs[i]) == model_readable(m, i), "blob %d", i);
        assert_int_equal(state_link_u(s, &h->blobs[i], &u), 0);
        check(u == last_unlink(m, i), "u of blob %d", i);
    }
    for (int i = 0; i < HISTORY_MANIFESTS; i++) /* B13 */
        check(!state_readable(s, &h->manifests[i]), "manifest %d as a blob", i);
    check(str_eq(settings_text(s->settings), str_of(m->settings)), "settings");
    compare_referrers(m, h, s);
}
