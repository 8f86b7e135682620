/* The state of a repository: against a naive model over random histories, and the cases of B11-B14
 * one by one. */
#include "history.h"

#define HISTORIES 200
#define ENTRIES   120

static void apply_text(struct state *s, struct model *m, const struct history *h, struct str text,
                       uint64_t seq)
{
    struct json_doc *doc auto_json = NULL;
    struct taglog_op op auto_taglog_op = {.kind = TAGLOG_PUT};

    assert_int_equal(json_parse(text, &doc, NULL), 0);
    assert_int_equal(taglog_decode(json_root(doc), &op, NULL), 0);
    assert_int_equal(state_apply(s, &op, false, seq, (int64_t)seq * 1000), 0);
    if (m)
        model_apply(m, h, &op, seq);
}

static void test_model(void **state)
{
    (void)state;
    for (uint64_t seed = 1; seed <= HISTORIES; seed++) {
        struct state *s auto_state = NULL;
        struct history h;
        struct model m;

        history_init(&h, seed);
        model_init(&m);
        assert_int_equal(state_new(&s), 0);
        for (uint64_t seq = 1; seq <= ENTRIES; seq++) {
            /* Several operations of one entry have one number. */
            for (unsigned n = 1 + history_below(&h, 3); n > 0; n--) {
                struct buf text auto_buf = BUF_INIT(1 << 20);

                history_op(&h, &text);
                apply_text(s, &m, &h, buf_str(&text), seq);
            }
            model_compare(&m, &h, s);
        }
    }
}

/* Memory is given back: an emptied repository is as small as a new one. */
static void test_bytes(void **state)
{
    struct state *s auto_state = NULL;
    struct history h;
    size_t start;
    uint64_t seq = 1;

    (void)state;
    history_init(&h, 7);
    assert_int_equal(state_new(&s), 0);
    start = state_bytes(s);
    for (; seq < 300; seq++) {
        struct buf text auto_buf = BUF_INIT(1 << 20);

        history_op(&h, &text);
        apply_text(s, NULL, &h, buf_str(&text), seq);
    }
    apply_text(s, NULL, &h, STR("{\"op\":\"drop\"}"), seq);
    assert_int_equal(state_bytes(s), start);
    assert_int_equal(s->layers.bytes, 0);
}

/* ---- one by one */

struct one {
    struct state *s;
    uint64_t seq;
};

static void put(struct one *o, const char *manifest, const char *layer, enum ref_kind kind,
                const char *tag)
{
    struct taglog_ref ref = {
        .digest = layer ? digest_named(layer) : digest_named(""), .kind = kind, .size = 1};
    struct str tags[1] = {str_of(tag)};
    struct taglog_op op = {.kind = TAGLOG_PUT,
                           .digest = digest_named(manifest),
                           .media_type = STR(MEDIA_OCI_MANIFEST),
                           .refs = &ref,
                           .ref_count = layer ? 1 : 0,
                           .tags = tags,
                           .tag_count = tag ? 1 : 0};

    assert_int_equal(state_apply(o->s, &op, false, ++o->seq, 1), 0);
}

static void simple(struct one *o, enum taglog_kind kind, const char *name)
{
    struct taglog_op op = {.kind = kind, .digest = digest_named(name)};

    assert_int_equal(state_apply(o->s, &op, false, ++o->seq, 1), 0);
}

static bool readable(struct one *o, const char *name)
{
    struct digest d = digest_named(name);

    return state_readable(o->s, &d);
}

static uint64_t link_u(struct one *o, const char *name)
{
    struct digest d = digest_named(name);
    uint64_t u = 0;

    assert_int_equal(state_link_u(o->s, &d, &u), 0);
    return u;
}

/* What a tag is on; false: it is not there. */
static bool tag_of(struct one *o, const char *tag, struct digest *ret)
{
    struct hit hit auto_hit = {.value = STR_NONE};
    struct state_tag t;
    int e = state_tag(o->s, str_of(tag), &hit, &t);

    assert_true(e == 0 || e == -ERR_NOTFOUND);
    if (e == 0)
        *ret = t.digest;
    return e == 0;
}

static void test_unlink_and_again(void **state)
{
    struct one o = {NULL, 0};

    (void)state;
    assert_int_equal(state_new(&o.s), 0);
    put(&o, "m", "b", REF_LAYER, "t");
    assert_true(readable(&o, "b"));
    assert_int_equal(link_u(&o, "b"), 0);
    simple(&o, TAGLOG_UNLINK, "b"); /* 2 */
    assert_false(readable(&o, "b"));
    assert_int_equal(link_u(&o, "b"), 2);
    put(&o, "other", "b", REF_LAYER, NULL); /* 3: from a put after the unlink */
    assert_true(readable(&o, "b"));
    simple(&o, TAGLOG_DELETE, "m"); /* 4: that one's ref counted no more */
    assert_true(readable(&o, "b"));
    put(&o, "m", "b", REF_LAYER, "t"); /* 5: the same digest again, its ref counts now */
    simple(&o, TAGLOG_DELETE, "other");
    assert_true(readable(&o, "b"));
    simple(&o, TAGLOG_DELETE, "m");
    assert_false(readable(&o, "b"));
    assert_int_equal(link_u(&o, "b"), 2);
    state_free(o.s);
}

static void test_drop(void **state)
{
    struct one o = {NULL, 0};
    struct digest d;

    (void)state;
    assert_int_equal(state_new(&o.s), 0);
    put(&o, "m", "b", REF_LAYER, "t");
    simple(&o, TAGLOG_UNLINK, "c"); /* 2 */
    simple(&o, TAGLOG_DROP, "");    /* 3 */
    assert_false(readable(&o, "b"));
    assert_false(tag_of(&o, "t", &d));
    assert_int_equal(link_u(&o, "b"), 3);
    assert_int_equal(link_u(&o, "c"), 3);
    assert_int_equal(link_u(&o, "never seen"), 3);
    put(&o, "m", "b", REF_LAYER, "t");
    assert_true(readable(&o, "b"));
    simple(&o, TAGLOG_UNLINK, "b"); /* 5 */
    assert_int_equal(link_u(&o, "b"), 5);
    state_free(o.s);
}

/* B13, I13: neither presence nor an index's entry makes a manifest's digest a blob. */
static void test_manifest_is_no_blob(void **state)
{
    struct one o = {NULL, 0};

    (void)state;
    assert_int_equal(state_new(&o.s), 0);
    put(&o, "m", NULL, REF_LAYER, "t");
    put(&o, "index", "m", REF_MANIFEST, NULL);
    assert_false(readable(&o, "m"));
    put(&o, "odd", "m", REF_BLOB, NULL); /* recorded: it was a member as a blob */
    assert_true(readable(&o, "m"));
    state_free(o.s);
}

/* Deleting a manifest takes its tags, moved ones stay. */
static void test_tags_go_with_manifest(void **state)
{
    struct one o = {NULL, 0};
    struct digest other = digest_named("other"), on;

    (void)state;
    assert_int_equal(state_new(&o.s), 0);
    put(&o, "m", NULL, REF_LAYER, "t");
    put(&o, "m", NULL, REF_LAYER, "u");
    put(&o, "other", NULL, REF_LAYER, "u");
    simple(&o, TAGLOG_DELETE, "m");
    assert_false(tag_of(&o, "t", &on));
    assert_true(tag_of(&o, "u", &on));
    assert_true(digest_eq(&on, &other));
    simple(&o, TAGLOG_DELETE, "m"); /* absent: nothing */
    assert_int_equal(o.s->manifests, 1);
    state_free(o.s);
}

/* 30,000 layers stay affordable. */
static void test_memory_of_layers(void **state)
{
    struct one o = {NULL, 0};
    enum { COUNT = 30000 };
    struct taglog_ref *refs = calloc(COUNT, sizeof(*refs));
    struct taglog_op op = {.kind = TAGLOG_PUT,
                           .digest = digest_named("m"),
                           .media_type = STR(MEDIA_OCI_MANIFEST),
                           .refs = refs,
                           .ref_count = COUNT,
                           .ext = true};

    (void)state;
    assert_non_null(refs);
    assert_int_equal(state_new(&o.s), 0);
    for (unsigned i = 0; i < COUNT; i++) {
        digest_of(DIGEST_SHA256, str_make(&i, sizeof(i)), &refs[i].digest);
        refs[i].kind = REF_LAYER;
    }
    assert_int_equal(state_apply(o.s, &op, false, 1, 1), 0);
    check(state_bytes(o.s) < 12u << 20, "%zu bytes", state_bytes(o.s));
    free(refs);
    state_free(o.s);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_model),
        cmocka_unit_test(test_bytes),
        cmocka_unit_test(test_unlink_and_again),
        cmocka_unit_test(test_drop),
        cmocka_unit_test(test_manifest_is_no_blob),
        cmocka_unit_test(test_tags_go_with_manifest),
        cmocka_unit_test(test_memory_of_layers),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
