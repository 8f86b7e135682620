/* A repository most of which lies in the bucket: reading and changing it, damage of its parts,
 * memory, pruning. */
#include "fixture.h"

#include <stdio.h>

#include "base/clock.h"
#include "base/metrics.h"
#include "manifests/replica_internal.h"
#include "manifests/repo_internal.h"

#define REPO      "library/app"
#define MANIFESTS 40
#define TAGS      24000
#define WAIT_MS   60000

#define MOVING_MAX 100000

static const struct repo_who who = {.by = {"tester", 6}, .req = {"r", 1}};
static struct digest digests[MANIFESTS];

static struct str tag_name(unsigned i, char out[32])
{
    return (struct str){out, (size_t)snprintf(out, 32, "tag-%05u", i)};
}

static unsigned on(unsigned tag)
{
    return (tag * 7u) % MANIFESTS;
}

static bool has_checkpoint(struct store *store, uint64_t seq)
{
    struct buf hint auto_buf = BUF_INIT(4096);
    struct json_doc *doc auto_json = NULL;
    int64_t have;

    return store_get(store, STR("repos/" REPO "/_hint"), 0, STORE_WHOLE, &hint, NULL) == 0 &&
           json_parse(buf_str(&hint), &doc, NULL) == 0 &&
           json_get_int(json_root(doc), "checkpoint", &have) && (uint64_t)have >= seq;
}

static void await_checkpoint(struct store *store, uint64_t seq)
{
    int i = 0;

    for (; i < WAIT_MS && !has_checkpoint(store, seq); i++)
        clock_sleep_ms(1);
    check(i < WAIT_MS, "no checkpoint");
}

static void put_manifests(struct site *s)
{
    add_blob(s, REPO, "config");
    for (unsigned i = 0; i < MANIFESTS; i++) {
        char salt[16], layer[16];
        struct image image = {.config = "config", .layers = {layer}, .salt = salt};

        snprintf(salt, sizeof(salt), "%u", i);
        snprintf(layer, sizeof(layer), "layer %u", i);
        add_blob(s, REPO, layer);
        assert_int_equal(put_image(s, REPO, &image, NULL), 0);
        image_digest(&image, &digests[i]);
    }
}

static void set_tags(struct repo *r, unsigned from, unsigned to)
{
    struct taglog_set sets[REPO_SETS_MAX];
    char names[REPO_SETS_MAX][32];
    unsigned n = 0;

    for (unsigned i = from; i < to; i++, n++)
        sets[n] = (struct taglog_set){.tag = tag_name(i, names[n]), .digest = digests[on(i)]};
    assert_int_equal(repo_set_tags(r, sets, n, &who, NULL, NULL), 0);
}

/* The repository, whole in a checkpoint but for its last entries. */
static struct store *filled(void)
{
    struct store *store = mem_store();
    struct work *background = NULL;
    struct site s;
    struct repo *r;

    assert_int_equal(work_new("test", 1, 16, &background), 0);
    site_open(&s, store, REFERENCES_STRICT, background);
    put_manifests(&s);
    r = repo_of(&s, REPO);
    for (unsigned i = 0; i < TAGS; i += REPO_SETS_MAX) {
        set_tags(r, i, i + REPO_SETS_MAX < TAGS ? i + REPO_SETS_MAX : TAGS);
        replica_table_wait(r->replica); /* so every one that is due is made */
    }
    await_checkpoint(store, MANIFESTS + TAGS / REPO_SETS_MAX / 2);
    repo_unref(r);
    site_close(&s);
    work_free(background);
    assert_true(count_objects(store, "repos/" REPO "/_part/") >= 2);
    return store;
}

static void check_tags(struct repo *r, unsigned step)
{
    for (unsigned i = 0; i < TAGS; i += step) {
        struct repo_manifest m;
        char name[32];

        assert_int_equal(repo_tag(r, tag_name(i, name), &m), 0);
        check(digest_eq(&m.digest, &digests[on(i)]), "%s", name);
    }
}

struct listing {
    unsigned next;
};

static int next_tag(struct str tag, void *arg)
{
    struct listing *l = arg;
    char name[32];

    assert_true(str_eq(tag, tag_name(l->next, name)));
    l->next++;
    return 0;
}

static void check_pages(struct repo *r, size_t n)
{
    struct listing l = {0};
    bool more = true;

    while (more) {
        char name[32];
        struct str last = l.next > 0 ? tag_name(l.next - 1, name) : STR_NONE;
        unsigned before = l.next;

        assert_int_equal(repo_tags(r, last, n, next_tag, &l, &more), 0);
        check(l.next - before == n || !more, "a page of %u", l.next - before);
    }
    assert_int_equal(l.next, TAGS);
}

static void test_reading(void **state)
{
    struct watch w;
    struct store *store = watched_store(&w, filled());
    struct site s;
    struct repo *r;
    struct repo_manifest m;

    (void)state;
    site_open(&s, store, REFERENCES_STRICT, NULL);
    watch_clear(&w);
    r = repo_of(&s, REPO);
    check(w.gets < 64, "%u gets to open", w.gets);
    /* Nothing is at hand yet, and an event thread does not wait. */
    assert_int_equal(repo_tag_nowait(r, STR("tag-06000"), &m), -ERR_AGAIN);
    assert_int_equal(repo_tag(r, STR("tag-06000"), &m), 0);
    assert_int_equal(repo_tag_nowait(r, STR("tag-06000"), &m), 0);
    assert_int_equal(repo_tag(r, STR("tag-0000"), &m), -ERR_NOTFOUND);
    assert_int_equal(repo_tag(r, STR("zzz"), &m), -ERR_NOTFOUND);
    check_tags(r, 1);
    check_pages(r, 100);
    check_pages(r, 10000);
    for (unsigned i = 0; i < MANIFESTS; i++)
        assert_int_equal(repo_manifest(r, &digests[i], &m), 0);
    assert_true(blob_readable(&s, REPO, "layer 3"));
    assert_false(blob_readable(&s, REPO, "nothing"));
    check(replica_bytes(r->replica) < 1 << 20, "%zu bytes", replica_bytes(r->replica));
    repo_unref(r);
    site_close(&s);
    store_free(store);
}

/* Changes need what lies in the bucket: old tags, the tags of a manifest, counts of its blobs. */
static void test_changing(void **state)
{
    struct store *store = filled();
    struct work *background = NULL;
    struct site s;
    struct repo *r;
    struct repo_manifest m;
    struct taglog_if absent = {.absent = true};
    struct taglog_set set = {.tag = STR("tag-00007"), .digest = digests[0], .condition = &absent};
    struct repo_refusal refusal;

    (void)state;
    assert_int_equal(work_new("test", 1, 16, &background), 0);
    site_open(&s, store, REFERENCES_STRICT, background);
    r = repo_of(&s, REPO);
    assert_int_equal(repo_set_tags(r, &set, 1, &who, &refusal, NULL), -ERR_CONDITION);
    assert_true(digest_eq(&refusal.digest, &digests[on(7)]));
    set.condition = NULL;
    assert_int_equal(repo_set_tags(r, &set, 1, &who, &refusal, NULL), 0);
    assert_int_equal(repo_tag(r, STR("tag-00007"), &m), 0);
    assert_true(digest_eq(&m.digest, &digests[0]));
    /* With a manifest go all its tags, 600 of them, and what only it refers to. */
    assert_true(blob_readable(&s, REPO, "layer 1"));
    assert_int_equal(repo_delete_manifest(r, &digests[1], &who, NULL), 0);
    assert_int_equal(repo_delete_manifest(r, &digests[1], &who, NULL), -ERR_NOTFOUND);
    for (unsigned i = 0; i < TAGS; i++) {
        char name[32];

        assert_int_equal(repo_tag(r, tag_name(i, name), &m),
                         on(i) == 1 && i != 7 ? -ERR_NOTFOUND : 0);
    }
    assert_int_equal(repo_delete_tag(r, STR("tag-00003"), &who, NULL), 0);
    assert_int_equal(repo_delete_tag(r, STR("tag-00003"), &who, NULL), -ERR_NOTFOUND);
    repo_unref(r);
    site_close(&s);
    work_free(background);
    store_free(store);
}

struct keys {
    char at[512][STORE_SEGMENT_MAX];
    unsigned count;
};

static int add_key(struct str key, const struct store_info *info, void *arg)
{
    struct keys *k = arg;

    (void)info;
    assert_true(k->count < ARRAY_LEN(k->at));
    snprintf(k->at[k->count++], sizeof(k->at[0]), STR_FMT, STR_ARG(key));
    return 0;
}

static void list(struct store *store, const char *prefix, struct keys *ret)
{
    ret->count = 0;
    assert_int_equal(
        store_list(store, str_of(prefix), STR_NONE, STORE_LIST_MAX, add_key, ret, NULL), 0);
}

/* Parts that the newest head names. */
static void named_parts(struct store *store, struct keys *ret)
{
    static struct keys tables;
    struct buf text auto_buf = BUF_INIT(CHECKPOINT_HEAD_MAX);
    struct json_doc *doc auto_json = NULL;
    const struct json *parts;
    struct str line;

    list(store, "repos/" REPO "/_table/", &tables);
    read_object(store, tables.at[tables.count - 1], &text);
    line = buf_str(&text);
    assert_int_equal(json_parse(line, &doc, NULL), 0);
    parts = json_get(json_root(doc), "parts");
    ret->count = 0;
    for (size_t i = 0; i < json_len(parts); i++)
        snprintf(ret->at[ret->count++], sizeof(ret->at[0]), "repos/" REPO "/_part/" STR_FMT,
                 STR_ARG(json_str(json_at(json_at(parts, i), 4))));
}

static void spoil(struct store *store, const char *key, bool gone)
{
    struct buf bytes auto_buf = BUF_INIT(TABLE_PART_BYTES);

    read_object(store, key, &bytes);
    for (size_t i = 100; i < bytes.len; i += 1000)
        bytes.at[i] ^= 1;
    assert_int_equal(gone ? store_remove(store, str_of(key), STORE_HINT, NULL)
                          : store_put(store, str_of(key), STORE_HINT, buf_str(&bytes), NULL),
                     0);
}

/* A part that is damaged or gone, before the repository is opened or while it is: an alarm, and the
 * same answers. */
static void damaged_part(bool gone, bool open)
{
    static struct keys parts;
    struct store *store = filled();
    int64_t alarms = metric_value(METRIC_alarms_total);
    struct site s;
    struct repo *r = NULL;

    named_parts(store, &parts);
    site_open(&s, store, REFERENCES_STRICT, NULL);
    if (open) {
        r = repo_of(&s, REPO);
        check_tags(r, 1000);
    }
    for (unsigned i = 0; i < parts.count; i++)
        spoil(store, parts.at[i], gone);
    if (!open)
        r = repo_of(&s, REPO);
    assert_int_equal(repo_refresh(r, NULL), 0);
    check_tags(r, 1);
    check_pages(r, 1000);
    check(metric_value(METRIC_alarms_total) > alarms, "no alarm");
    assert_int_equal(repo_delete_tag(r, STR("tag-00003"), &who, NULL), 0);
    repo_unref(r);
    site_close(&s);
    store_free(store);
}

static void test_damaged_parts(void **state)
{
    (void)state;
    damaged_part(false, false);
    damaged_part(true, false);
    damaged_part(false, true);
    damaged_part(true, true);
}

/* The next checkpoint makes a damaged part good that it needs itself. */
static void test_mended(void **state)
{
    static struct keys parts;
    struct store *store = filled();
    struct work *background = NULL;
    struct site s;
    struct repo *r;
    uint64_t seq;

    (void)state;
    named_parts(store, &parts);
    spoil(store, parts.at[0], false);
    assert_int_equal(work_new("test", 1, 16, &background), 0);
    site_open(&s, store, REFERENCES_STRICT, background);
    r = repo_of(&s, REPO);
    check_tags(r, 100);
    for (unsigned round = 0; round < 8; round++)
        for (unsigned i = 0; i < 512; i += REPO_SETS_MAX) {
            struct taglog_set set = {.tag = STR("moving"), .digest = digests[round]};

            set_tags(r, i, i + REPO_SETS_MAX);
            assert_int_equal(repo_set_tags(r, &set, 1, &who, NULL, NULL), 0);
        }
    replica_lock(r->replica);
    seq = replica_seq(r->replica);
    replica_unlock(r->replica);
    /* Those that are due while one is written are left out. */
    for (unsigned i = 0; !has_checkpoint(store, seq); i++) {
        struct taglog_set set = {.tag = STR("moving"), .digest = digests[i % MANIFESTS]};

        assert_true(i < MOVING_MAX);
        assert_int_equal(repo_set_tags(r, &set, 1, &who, NULL, NULL), 0);
    }
    repo_unref(r);
    site_close(&s);
    work_free(background);
    {
        int64_t alarms = metric_value(METRIC_alarms_total);

        site_open(&s, store, REFERENCES_STRICT, NULL);
        r = repo_of(&s, REPO);
        check_tags(r, 1);
        assert_int_equal(metric_value(METRIC_alarms_total), alarms);
        repo_unref(r);
        site_close(&s);
    }
    store_free(store);
}

/* I11: another node makes the same parts of the same log. */
static void test_equal_parts(void **state)
{
    static struct keys before, after, tables;
    struct store *store = filled();
    struct work *background = NULL;
    struct site s;
    struct buf head auto_buf = BUF_INIT(CHECKPOINT_HEAD_MAX);
    struct buf again auto_buf = BUF_INIT(CHECKPOINT_HEAD_MAX);
    unsigned equal = 0;

    (void)state;
    list(store, "repos/" REPO "/_table/", &tables);
    list(store, "repos/" REPO "/_part/", &before);
    for (unsigned i = 0; i < before.count; i++)
        assert_int_equal(store_remove(store, str_of(before.at[i]), STORE_HINT, NULL), 0);
    for (unsigned i = 0; i < tables.count; i++) {
        char aside[STORE_SEGMENT_MAX + 8];
        struct buf text auto_buf = BUF_INIT(CHECKPOINT_HEAD_MAX);

        read_object(store, tables.at[i], &text);
        snprintf(aside, sizeof(aside), "aside/%u", i);
        assert_int_equal(store_create(store, str_of(aside), STORE_HINT, buf_str(&text), NULL), 0);
        assert_int_equal(store_remove(store, str_of(tables.at[i]), STORE_HINT, NULL), 0);
    }
    assert_int_equal(store_remove(store, STR("repos/" REPO "/_hint"), STORE_HINT, NULL), 0);
    assert_int_equal(work_new("test", 1, 16, &background), 0);
    site_open(&s, store, REFERENCES_STRICT, background);
    repo_unref(repo_of(&s, REPO));
    site_close(&s);
    work_free(background);
    for (unsigned i = 0; i < tables.count; i++) {
        char aside[STORE_SEGMENT_MAX + 8];

        snprintf(aside, sizeof(aside), "aside/%u", i);
        buf_clear(&head);
        buf_clear(&again);
        read_object(store, aside, &head);
        if (store_get(store, str_of(tables.at[i]), 0, STORE_WHOLE, &again, NULL) < 0)
            continue;
        check(str_eq(buf_str(&head), buf_str(&again)), "%s", tables.at[i]);
        equal++;
    }
    list(store, "repos/" REPO "/_part/", &after);
    print_message("%u checkpoints, %u made again, of %u parts\n", tables.count, equal, after.count);
    assert_true(equal >= 1);
    store_free(store);
}

/* ---- the tail */

#define MOVED      200 /* tags, by entries of a few */
#define MOVED_STEP 8
#define MOVED_ON   ((REPO_SETS_MAX)*4) /* more of them: enough for the next checkpoint */

/* Tags all over the table move to the next manifest. */
static void move_tags(struct repo *r, unsigned from, unsigned to, unsigned step)
{
    struct taglog_set sets[REPO_SETS_MAX];
    char names[REPO_SETS_MAX][32];

    for (unsigned i = from; i < to; i += step) {
        unsigned n = 0;

        for (; n < step && i + n < to; n++) {
            unsigned tag = (i + n) * 37 % TAGS;

            sets[n] = (struct taglog_set){.tag = tag_name(tag, names[n]),
                                          .digest = digests[(on(tag) + 1) % MANIFESTS]};
        }
        assert_int_equal(repo_set_tags(r, sets, n, &who, NULL, NULL), 0);
    }
}

static void check_moved(struct repo *r, unsigned moved)
{
    for (unsigned i = 0; i < 2 * moved; i++) {
        unsigned tag = i * 37 % TAGS;
        struct repo_manifest m;
        char name[32];

        assert_int_equal(repo_tag(r, tag_name(tag, name), &m), 0);
        check(digest_eq(&m.digest, &digests[(on(tag) + (i < moved ? 1u : 0u)) % MANIFESTS]), "%s",
              name);
    }
}

static int count_tag(struct str tag, void *arg)
{
    (void)tag;
    ++*(unsigned *)arg;
    return 0;
}

/* The way from manifests to tags, before what the tags were has been looked up. */
static void check_tags_on(struct repo *r, unsigned moved)
{
    unsigned want[MANIFESTS] = {0};

    for (unsigned i = 0; i < TAGS; i++) {
        unsigned tag = i * 37 % TAGS;

        want[(on(tag) + (i < moved ? 1u : 0u)) % MANIFESTS]++;
    }
    for (unsigned i = 0; i < MANIFESTS; i++) {
        unsigned count = 0;

        assert_int_equal(repo_tags_on(r, &digests[i], count_tag, &count), 0);
        check(count == want[i], "%u tags on %u, not %u", count, i, want[i]);
    }
}

static void newest_head(struct store *store, struct buf *ret)
{
    static struct keys tables;

    list(store, "repos/" REPO "/_table/", &tables);
    buf_clear(ret);
    read_object(store, tables.at[tables.count - 1], ret);
}

static int apply_entry(const struct objlog_entry *e, void *arg)
{
    for (size_t i = 0; i < json_len(e->ops); i++) {
        struct taglog_op op auto_taglog_op = {.kind = TAGLOG_PUT};

        assert_int_equal(taglog_decode(json_at(e->ops, i), &op, NULL), 0);
        assert_int_equal(state_apply(arg, &op, false, e->seq, e->ts), 0);
    }
    return 0;
}

/* The same checkpoint from the log alone, where there is no base. */
static void check_head(struct repo *r, struct store *store, struct str text)
{
    struct state *s auto_state = NULL;
    struct json_doc *doc auto_json = NULL;
    struct table_spec spec = {.store = store, .prefix = STR("repos/" REPO)};
    struct buf made auto_buf = BUF_INIT(CHECKPOINT_HEAD_MAX);
    struct checkpoint_head head;

    assert_int_equal(checkpoint_decode(text, STR(REPO), NULL, &head, &doc, NULL, NULL), 0);
    assert_int_equal(table_cache_new(1 << 20, &spec.cache), 0);
    assert_int_equal(state_new(&s), 0);
    for (uint64_t seq = 1; seq <= head.seq; seq++)
        assert_int_equal(repo_read(r, seq, apply_entry, s, NULL), 0);
    assert_int_equal(state_encode(s, &head, &spec, NULL, NULL, &made, NULL, NULL), 0);
    check(str_eq(text, buf_str(&made)), STR_FMT "\n%s", STR_ARG(text), buf_c(&made));
    table_cache_free(spec.cache);
}

/* Replaying the entries behind a checkpoint asks nothing of the base about the tags they set; all
 * answers are right all the same, and so is the next checkpoint, byte for byte. */
static void test_tail(void **state)
{
    struct buf head auto_buf = BUF_INIT(CHECKPOINT_HEAD_MAX);
    struct buf again auto_buf = BUF_INIT(CHECKPOINT_HEAD_MAX);
    struct work *background = NULL;
    struct watch w;
    struct store *store = watched_store(&w, filled());
    struct site s;
    struct repo *r;

    (void)state;
    site_open(&s, store, REFERENCES_STRICT, NULL);
    r = repo_of(&s, REPO);
    move_tags(r, 0, MOVED, MOVED_STEP);
    repo_unref(r);
    site_close(&s);
    site_open(&s, store, REFERENCES_STRICT, NULL);
    watch_clear(&w);
    r = repo_of(&s, REPO);
    check(w.gets < MOVED / MOVED_STEP + 64, "%u gets", w.gets);
    assert_true(layers_blind(&r->state->layers) >= MOVED_STEP);
    check_moved(r, MOVED);
    check_tags_on(r, MOVED);
    repo_unref(r);
    site_close(&s);
    newest_head(store, &head);
    assert_int_equal(work_new("test", 1, 16, &background), 0);
    site_open(&s, store, REFERENCES_STRICT, background);
    r = repo_of(&s, REPO);
    move_tags(r, MOVED, MOVED_ON, REPO_SETS_MAX);
    replica_table_wait(r->replica);
    newest_head(store, &again);
    assert_false(str_eq(buf_str(&head), buf_str(&again)));
    check_head(r, store, buf_str(&again));
    repo_unref(r);
    site_close(&s);
    work_free(background);
    store_free(store);
}

/* ---- pruning */

static void create(struct store *store, const char *key, struct str bytes)
{
    assert_int_equal(store_create(store, str_of(key), STORE_RECORD, bytes, NULL), 0);
}

#define SHA(digit)                                                                                 \
    digit digit digit digit digit digit digit digit digit digit digit digit digit digit digit      \
        digit digit digit digit digit digit digit digit digit digit digit digit digit digit digit  \
            digit digit digit digit digit digit digit digit digit digit digit digit digit digit    \
                digit digit digit digit digit digit digit digit digit digit digit digit digit      \
                    digit digit digit digit digit digit digit

static void create_head(struct store *store, uint64_t seq, const char *sha_hex)
{
    struct table_spec spec = {.store = store, .prefix = STR("repos/a")};
    struct checkpoint_head head = {.repo = STR("a"), .seq = seq, .ts = 1};
    struct table_part part = {
        .last = STR("k"), .records = 1, .bytes = 100, .index = 50, .sha = {.alg = DIGEST_SHA256}};
    struct buf text auto_buf = BUF_INIT(4096), key auto_buf = BUF_INIT(STORE_KEY_MAX);
    struct table *t auto_table = NULL;

    memset(part.sha.bytes,
           sha_hex[0] <= '9' ? (sha_hex[0] - '0') * 17 : (sha_hex[0] - 'a' + 10) * 17, 32);
    assert_int_equal(table_new(&spec, &t), 0);
    assert_int_equal(table_add_part(t, &part), 0);
    assert_int_equal(checkpoint_encode(&head, STR_NONE, t, &text), 0);
    keys_table(&key, STR("repos/a"), seq);
    create(store, buf_c(&key), buf_str(&text));
}

static bool head_there(struct store *store, uint64_t seq)
{
    struct buf key auto_buf = BUF_INIT(STORE_KEY_MAX);

    keys_table(&key, STR("repos/a"), seq);
    return has_object(store, buf_c(&key));
}

static void test_pruning(void **state)
{
    struct store *store = mem_store();
    struct prune prune = {.store = store, .prefix = STR("repos/a"), .name = STR("a")};
    const int64_t hour = 3600 * 1000;

    (void)state;
    fake_time_install();
    create(store, "repos/a/_part/" SHA("1"), STR("one"));
    create_head(store, 1, "1");
    create(store, "repos/a/_part/" SHA("2"), STR("two"));
    create_head(store, 2, "2"); /* the last of its day */
    fake_time_pass(26 * hour);
    create(store, "repos/a/_part/" SHA("3"), STR("three"));
    create_head(store, 3, "3");
    create_head(store, 4, "2");
    create(store, "repos/a/_part/" SHA("5"), STR("five"));
    create_head(store, 5, "5");
    create(store, "repos/a/_part/" SHA("6"), STR("about to be named"));
    replica_prune(&prune);
    assert_false(head_there(store, 1));
    assert_true(head_there(store, 2));
    assert_false(head_there(store, 3));
    assert_true(head_there(store, 4) && head_there(store, 5));
    /* What they alone named goes a round later, and not while it is young. */
    assert_true(has_object(store, "repos/a/_part/" SHA("1")));
    replica_prune(&prune);
    assert_false(has_object(store, "repos/a/_part/" SHA("1")));
    assert_true(has_object(store, "repos/a/_part/" SHA("3")));
    assert_true(has_object(store, "repos/a/_part/" SHA("6")));
    fake_time_pass(hour);
    replica_prune(&prune);
    assert_false(has_object(store, "repos/a/_part/" SHA("3")));
    assert_false(has_object(store, "repos/a/_part/" SHA("6")));
    assert_true(has_object(store, "repos/a/_part/" SHA("2")));
    assert_true(has_object(store, "repos/a/_part/" SHA("5")));
    /* A head that cannot be read may name anything. */
    fake_time_pass(hour);
    create(store, "repos/a/_part/" SHA("7"), STR("seven"));
    create(store, "repos/a/_table/00000000000000000006", STR("torn"));
    fake_time_pass(hour);
    replica_prune(&prune);
    assert_true(has_object(store, "repos/a/_part/" SHA("7")));
    store_free(store);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_reading),       cmocka_unit_test(test_changing),
        cmocka_unit_test(test_damaged_parts), cmocka_unit_test(test_mended),
        cmocka_unit_test(test_equal_parts),   cmocka_unit_test(test_tail),
        cmocka_unit_test(test_pruning), /* the last: fake time */
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
