/* Checkpoints: I4 (checkpoint and tail equal the whole log), I11 (equal bytes), damage, due
 * positions. docs/bucket-format.md section 9. */
#include "history.h"

#include "manifests/checkpoint.h"

#define HISTORIES 100
#define ENTRIES   80

static struct checkpoint_head head_at(uint64_t seq)
{
    struct checkpoint_head head = {
        .repo = STR("library/app"), .seq = seq, .ts = (int64_t)seq * 7, .previous = seq / 2};

    memset(head.hash, (int)(seq & 0xff), sizeof(head.hash));
    return head;
}

static void apply_text(struct state *s, struct str text, uint64_t seq)
{
    struct json_doc *doc auto_json = NULL;
    struct taglog_op op auto_taglog_op = {.kind = TAGLOG_PUT};

    assert_int_equal(json_parse(text, &doc, NULL), 0);
    assert_int_equal(taglog_decode(json_root(doc), &op, NULL), 0);
    assert_int_equal(state_apply(s, &op, false, seq, (int64_t)seq * 7), 0);
}

static void model_apply_text(struct model *m, const struct history *h, struct str text,
                             uint64_t seq)
{
    struct json_doc *doc auto_json = NULL;
    struct taglog_op op auto_taglog_op = {.kind = TAGLOG_PUT};

    assert_int_equal(json_parse(text, &doc, NULL), 0);
    assert_int_equal(taglog_decode(json_root(doc), &op, NULL), 0);
    model_apply(m, h, &op, seq);
}

/* As a replay does it: what a tag was in the base is looked up later, for all of them. */
static void apply_blind(struct state *s, struct str text, uint64_t seq, bool see)
{
    struct json_doc *doc auto_json = NULL;
    struct taglog_op op auto_taglog_op = {.kind = TAGLOG_PUT};
    struct state change;

    assert_int_equal(json_parse(text, &doc, NULL), 0);
    assert_int_equal(taglog_decode(json_root(doc), &op, NULL), 0);
    assert_int_equal(state_begin(s, &change), 0);
    change.blind = true;
    assert_int_equal(state_change(&change, &op, false, seq, (int64_t)seq * 7, NULL), 0);
    if (see)
        assert_int_equal(state_see(&change, NULL), 0);
    state_commit(s, &change);
    state_done(&change);
}

static struct table_cache *cache;
static struct store *store;

static const struct table_spec *spec(void)
{
    static struct table_spec made = {.prefix = {"repos/library/app", 17}};

    if (!store) {
        store = mem_store();
        assert_int_equal(table_cache_new(1 << 20, &cache), 0);
        made.store = store;
        made.cache = cache;
    }
    return &made;
}

static int put_part(void *arg, const struct table_part *part, struct str bytes)
{
    struct buf key auto_buf = BUF_INIT(STORE_KEY_MAX);
    char hex[DIGEST_TEXT_MAX];
    int e;

    (void)arg;
    keys_part(&key, spec()->prefix, digest_hex(&part->sha, hex));
    e = store_create(store, buf_str(&key), STORE_RECORD, bytes, NULL);
    return e == -ERR_EXISTS ? 0 : e;
}

static void encode_at(const struct state *s, uint64_t seq, struct buf *out)
{
    struct checkpoint_head head = head_at(seq);

    buf_clear(out);
    assert_int_equal(state_encode(s, &head, spec(), put_part, NULL, out, NULL, NULL), 0);
}

static void check_equal(const struct state *s, struct str want, uint64_t seed, uint64_t seq)
{
    struct buf text auto_buf = BUF_INIT(CHECKPOINT_HEAD_MAX);

    encode_at(s, seq, &text);
    check(str_eq(want, buf_str(&text)), "seed %llu seq %llu\n" STR_FMT "\n%s",
          (unsigned long long)seed, (unsigned long long)seq, STR_ARG(want), buf_c(&text));
}

static int decode(struct str text, struct str repo, struct state **ret,
                  struct checkpoint_head *head)
{
    return state_decode(text, repo, spec(), ret, head, NULL);
}

static void test_replay(void **state)
{
    (void)state;
    for (uint64_t seed = 1; seed <= HISTORIES; seed++) {
        struct state *whole auto_state = NULL;
        struct state *cut auto_state = NULL;
        struct buf a auto_buf = BUF_INIT(CHECKPOINT_HEAD_MAX);
        struct buf b auto_buf = BUF_INIT(CHECKPOINT_HEAD_MAX);
        struct history h;
        struct model m;
        uint64_t at;

        history_init(&h, seed);
        model_init(&m);
        at = 1 + history_below(&h, ENTRIES);
        assert_int_equal(state_new(&whole), 0);
        for (uint64_t seq = 1; seq <= ENTRIES; seq++) {
            struct buf text auto_buf = BUF_INIT(1 << 20);

            history_op(&h, &text);
            apply_text(whole, buf_str(&text), seq);
            model_apply_text(&m, &h, buf_str(&text), seq);
            if (cut)
                apply_text(cut, buf_str(&text), seq);
            if (seq == at || (cut && history_below(&h, 20) == 0)) {
                struct checkpoint_head head;
                struct state *again = NULL;

                /* From here on, and again and again, only what changed lies in memory. */
                encode_at(cut ? cut : whole, seq, &a);
                assert_int_equal(decode(buf_str(&a), STR("library/app"), &again, &head), 0);
                state_free(cut);
                cut = again;
                assert_int_equal(head.seq, seq);
                assert_int_equal(head.previous, seq / 2);
                assert_int_equal(head.ts, seq * 7);
                assert_int_equal(head.hash[5], seq & 0xff);
            }
            if (!cut)
                continue;
            encode_at(whole, seq, &a);
            encode_at(cut, seq, &b);
            check(str_eq(buf_str(&a), buf_str(&b)), "seed %llu seq %llu\n%s\n%s",
                  (unsigned long long)seed, (unsigned long long)seq, buf_c(&a), buf_c(&b));
            model_compare(&m, &h, cut);
        }
    }
}

/* The same with changes that do not look at the base, whatever lies over it, and whenever what they
 * replaced is looked up. */
static void test_blind(void **state)
{
    size_t most = 0;

    (void)state;
    for (uint64_t seed = 1; seed <= HISTORIES; seed++) {
        struct state *whole auto_state = NULL;
        struct state *blind auto_state = NULL;
        struct buf text auto_buf = BUF_INIT(CHECKPOINT_HEAD_MAX);
        struct checkpoint_head head;
        struct history h;
        struct model m;

        history_init(&h, 1000 + seed);
        model_init(&m);
        assert_int_equal(state_new(&whole), 0);
        for (uint64_t seq = 1; seq <= ENTRIES; seq++) {
            struct buf op auto_buf = BUF_INIT(1 << 20);
            bool see = seq % 3 == 0 && history_below(&h, 5) == 0;

            history_op(&h, &op);
            apply_text(whole, buf_str(&op), seq);
            model_apply_text(&m, &h, buf_str(&op), seq);
            encode_at(whole, seq, &text);
            if (!blind) {
                assert_int_equal(decode(buf_str(&text), STR("library/app"), &blind, &head), 0);
                continue;
            }
            apply_blind(blind, buf_str(&op), seq, see);
            most = layers_blind(&blind->layers) > most ? layers_blind(&blind->layers) : most;
            model_compare(&m, &h, blind);
            if (layers_blind(&blind->layers) == 0)
                check_equal(blind, buf_str(&text), seed, seq);
            if (see && history_below(&h, 2) == 0)
                state_free(STEAL(blind)); /* on from the next checkpoint */
        }
    }
    assert_int_equal(most, HISTORY_TAGS);
}

/* The shape that the format page promises, byte for byte. */
static void test_text(void **state)
{
    static const char want[] =
        "{\"v\":1,\"encoder\":2,\"repo\":\"library/app\",\"seq\":3,\"hash\":\""
        "0303030303030303030303030303030303030303030303030303030303030303\",\"ts\":21,"
        "\"previous\":1,\"records\":4,\"bytes\":%zu,\"dropped\":0,\"tags\":1,\"manifests\":1,"
        "\"inline\":true,\"parts\":[[\"7801%s74\",4,";
    struct digest m = digest_named("m"), b = digest_named("b");
    struct state *s auto_state = NULL;
    struct buf text auto_buf = BUF_INIT(1 << 16);
    struct buf got auto_buf = BUF_INIT(1 << 16);
    struct taglog_ref ref = {b, REF_LAYER, 4};
    struct str tag = STR("t");
    struct taglog_op put = {.kind = TAGLOG_PUT,
                            .digest = m,
                            .media_type = STR("a/b"),
                            .size = 9,
                            .tags = &tag,
                            .tag_count = 1,
                            .refs = &ref,
                            .ref_count = 1};
    struct taglog_op unlink = {.kind = TAGLOG_UNLINK, .digest = b};
    char hex[DIGEST_TEXT_MAX];
    /* b: users, count, unlinked. m: type, size, seq, ts, no artifact type, flags, one ref.
     * t: digest, type, size, seq, ts. x: nothing. */
    size_t bytes = (34 + 3) + (34 + 5 + 3 + 2 + 1 + 1 + (1 + 33 + 1)) + (2 + 33 + 5 + 3) + 35;

    (void)state;
    assert_int_equal(state_new(&s), 0);
    assert_int_equal(state_apply(s, &put, false, 1, 7), 0);
    assert_int_equal(state_apply(s, &unlink, false, 3, 21), 0);
    encode_at(s, 3, &got);
    digest_hex(&m, hex);
    buf_addf(&text, want, bytes, hex);
    check(str_starts(buf_str(&got), buf_str(&text)), "%s\n%s", buf_c(&got), buf_c(&text));
    assert_non_null(strstr(buf_c(&got), "]],\"sum\":\""));
}

static void test_settings(void **state)
{
    static const char want[] =
        "\"manifests\":0,\"settings\":{\"immutable\":[\"v*\"]},\"inline\":false,"
        "\"parts\":[],";
    struct state *s auto_state = NULL, *read auto_state = NULL;
    struct buf text auto_buf = BUF_INIT(1 << 16);
    struct checkpoint_head head;

    (void)state;
    assert_int_equal(state_new(&s), 0);
    apply_text(s, STR("{\"op\":\"settings\",\"settings\":{\"immutable\":[\"v*\"]}}"), 1);
    apply_text(s, STR("{\"op\":\"drop\"}"), 2);
    encode_at(s, 2, &text);
    check(strstr(buf_c(&text), want), "%s", buf_c(&text));
    assert_int_equal(decode(buf_str(&text), STR("library/app"), &read, &head), 0);
    assert_true(settings_immutable(read->settings, STR("v1")));
    apply_text(read, STR("{\"op\":\"settings\",\"settings\":{}}"), 3);
    assert_null(read->settings);
    encode_at(read, 3, &text);
    assert_null(strstr(buf_c(&text), "settings"));
}

/* Each flipped byte is noticed; so is another repository's table. */
static void test_damage(void **state)
{
    struct state *s auto_state = NULL, *other = NULL;
    struct buf text auto_buf = BUF_INIT(1 << 16);
    struct checkpoint_head head;
    struct history h;

    (void)state;
    history_init(&h, 3);
    assert_int_equal(state_new(&s), 0);
    for (uint64_t seq = 1; seq <= 20; seq++) {
        struct buf op auto_buf = BUF_INIT(1 << 20);

        history_op(&h, &op);
        apply_text(s, buf_str(&op), seq);
    }
    encode_at(s, 20, &text);
    for (size_t i = 0; i < text.len; i++) {
        struct state *read = NULL;

        text.at[i] ^= 1;
        check(decode(buf_str(&text), STR("library/app"), &read, &head) == -ERR_CORRUPT, "byte %zu",
              i);
        text.at[i] ^= 1;
    }
    for (size_t cut = 0; cut < text.len; cut++) {
        struct state *read = NULL;

        assert_int_equal(decode(str_head(buf_str(&text), cut), STR("library/app"), &read, &head),
                         -ERR_CORRUPT);
    }
    assert_int_equal(decode(buf_str(&text), STR("library/other"), &other, &head), -ERR_CORRUPT);
}

/* The encoder before this one, and one to come. */
static void test_other_encoders(void **state)
{
    static const char *const heads[] = {
        "{\"v\":1,\"encoder\":1,\"repo\":\"library/app\",\"seq\":1",
        "{\"v\":1,\"encoder\":3,\"repo\":\"library/app\"",
        "{\"v\":2,\"encoder\":2,\"repo\":\"library/app\"",
    };

    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(heads); i++) {
        struct buf text auto_buf = BUF_INIT(1 << 16);
        struct state *s = NULL;
        struct checkpoint_head head;
        struct digest sum;
        char hex[DIGEST_TEXT_MAX];

        buf_add(&text, str_of(heads[i]));
        digest_of(DIGEST_SHA256, buf_str(&text), &sum);
        digest_hex(&sum, hex);
        buf_addf(&text, ",\"sum\":\"%s\"}", hex);
        assert_int_equal(decode(buf_str(&text), STR("library/app"), &s, &head), -ERR_VERSION);
    }
}

/* Where they are due follows from the entries alone, from a checkpoint as from the start. */
static void test_due(void **state)
{
    struct due d = {.last = 0};
    uint64_t seq = 0;

    (void)state;
    for (int i = 0; i < 64; i++) {
        seq++;
        assert_false(due_add(&d, 1024));
    }
    seq++;
    assert_true(due_add(&d, 1)); /* more than 64 KiB */
    due_pass(&d, seq, 10u << 20);
    assert_int_equal(d.last, 65);
    assert_false(due_add(&d, (10u << 20) / 50)); /* 2 % of that table, not more */
    assert_true(due_add(&d, 1));
    due_pass(&d, seq + 2, 1000);
    assert_false(due_add(&d, 64u << 10));
    assert_true(due_add(&d, 1));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_replay), cmocka_unit_test(test_blind),
        cmocka_unit_test(test_text),   cmocka_unit_test(test_settings),
        cmocka_unit_test(test_damage), cmocka_unit_test(test_other_encoders),
        cmocka_unit_test(test_due),
    };

    int failed = cmocka_run_group_tests(tests, NULL, NULL);

    table_cache_free(cache);
    store_free(store);
    return failed;
}
