/* Cold open with and without hint and checkpoint, equal checkpoints of two nodes (I11), and what
 * damage does: never a silent step back. */
#include "fixture.h"

#include <stdio.h>
#include <stdlib.h>

#include "base/clock.h"
#include "base/metrics.h"
#include "manifests/checkpoint.h"

#define REPO    "library/app"
#define WAIT_MS 30000
#define ENTRIES 320 /* some due positions: an entry is about half a KiB */

static const struct repo_who who = {.by = {"tester", 6}, .req = {"r", 1}};

static int put_number(struct site *s, unsigned i)
{
    char salt[16], tag[16];
    struct image image = {.config = "config", .layers = {"one", "two"}, .salt = salt};

    snprintf(salt, sizeof(salt), "%u", i);
    snprintf(tag, sizeof(tag), "tag-%u", i);
    return put_image(s, REPO, &image, tag);
}

static void entry_key(unsigned seq, char out[256])
{
    snprintf(out, 256, "repos/" REPO "/_log/%016u/%020u", seq / 10000, seq);
}

/* One that comes while the one before is being written is left out: here all are wanted. */
static void await_checkpoint(struct store *store, unsigned seq)
{
    char want[64];

    snprintf(want, sizeof(want), "\"checkpoint\":%u,", seq);
    for (int i = 0; i < WAIT_MS; i++) {
        struct buf hint auto_buf = BUF_INIT(4096);
        int e = store_get(store, STR("repos/" REPO "/_hint"), 0, STORE_WHOLE, &hint, NULL);

        if (e == 0 && strstr(buf_c(&hint), want))
            return;
        clock_sleep_ms(1);
    }
    fail_msg("no checkpoint at %u", seq);
}

static void fill_repo(struct store *store, struct work *background)
{
    struct due due = {.last = 0};
    struct site s;

    site_open(&s, store, REFERENCES_STRICT, background);
    add_blob(&s, REPO, "config");
    add_blob(&s, REPO, "one");
    add_blob(&s, REPO, "two");
    for (unsigned i = 1; i <= ENTRIES; i++) {
        struct buf entry auto_buf = BUF_INIT(OBJLOG_ENTRY_MAX);
        char key[256];

        assert_int_equal(put_number(&s, i), 0);
        entry_key(i, key);
        read_object(store, key, &entry);
        if (due_add(&due, entry.len)) {
            await_checkpoint(store, i);
            due_pass(&due, i, 0);
        }
    }
    site_close(&s);
}

/* A store with a log and its checkpoints. */
static struct store *filled(void)
{
    struct store *store = mem_store();
    struct work *background = NULL;

    assert_int_equal(work_new("test", 1, 16, &background), 0);
    fill_repo(store, background);
    work_free(background); /* runs what is queued */
    return store;
}

struct keys {
    char at[64][STORE_SEGMENT_MAX];
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

static void tables_of(struct store *store, struct keys *ret)
{
    ret->count = 0;
    assert_int_equal(store_list(store, STR("repos/" REPO "/_table/"), STR_NONE, STORE_LIST_MAX,
                                add_key, ret, NULL),
                     0);
}

static void remove_key(struct store *store, const char *key)
{
    assert_int_equal(store_remove(store, str_of(key), STORE_LOG, NULL), 0);
}

static void replace(struct store *store, const char *key, struct str bytes)
{
    remove_key(store, key);
    assert_int_equal(store_create(store, str_of(key), STORE_LOG, bytes, NULL), 0);
}

/* Flips one bit in the middle. */
static void damage(struct store *store, const char *key)
{
    struct buf bytes auto_buf = BUF_INIT(CHECKPOINT_HEAD_MAX);

    read_object(store, key, &bytes);
    bytes.at[bytes.len / 2] ^= 1;
    replace(store, key, buf_str(&bytes));
}

static void set_hint(struct store *store, const char *text)
{
    assert_int_equal(store_put(store, STR("repos/" REPO "/_hint"), STORE_HINT, str_of(text), NULL),
                     0);
}

/* How many of the tags 1..ENTRIES a fresh node sees, and whether it may write; then the store is
 * freed. */
struct seen {
    unsigned tags, gets;
    int64_t alarms;
    int commit;
    uint64_t seq;
};

static void look(struct store *inner, struct seen *ret)
{
    struct watch w;
    struct store *store = watched_store(&w, inner);
    struct site s;
    struct repo *r;
    int64_t alarms = metric_value(METRIC_alarms_total);
    struct repo_manifest m;

    *ret = (struct seen){.tags = 0};
    site_open(&s, store, REFERENCES_STRICT, NULL);
    watch_clear(&w);
    r = repo_of(&s, REPO);
    ret->gets = w.gets;
    assert_int_equal(repo_refresh(r, NULL), 0);
    for (unsigned i = 1; i <= ENTRIES; i++) {
        char tag[16];
        struct str name = {tag, (size_t)snprintf(tag, sizeof(tag), "tag-%u", i)};

        if (repo_tag(r, name, &m) == 0) {
            ret->tags++;
            assert_int_equal(m.seq, i);
            ret->seq = i;
        }
    }
    ret->commit = repo_delete_tag(r, STR("tag-1"), &who, NULL);
    repo_unref(r);
    site_close(&s);
    store_free(store);
    ret->alarms = metric_value(METRIC_alarms_total) - alarms;
}

static void test_checkpoint_is_used(void **state)
{
    struct store *store = filled();
    struct keys tables;
    struct seen seen;

    (void)state;
    tables_of(store, &tables);
    check(tables.count >= 2, "%u checkpoints", tables.count);
    assert_true(has_object(store, "repos/" REPO "/_hint"));
    look(store, &seen);
    assert_int_equal(seen.tags, ENTRIES);
    check(seen.gets < ENTRIES * 2 / 3, "%u gets", seen.gets);
    assert_int_equal(seen.alarms, 0);
    assert_int_equal(seen.commit, 0);
    print_message("%u entries, %u checkpoints, opened by %u gets\n", ENTRIES, tables.count,
                  seen.gets);
}

/* Advice may be missing, wrong or nonsense. */
static void test_hints(void **state)
{
    static const char *const hints[] = {
        NULL,
        "",
        "{",
        "[]",
        "{\"v\":1}",
        "{\"v\":1,\"checkpoint\":\"x\",\"head\":5}",
        "{\"v\":1,\"checkpoint\":0,\"head\":0}",
        "{\"v\":1,\"checkpoint\":3,\"head\":3}",
    };

    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(hints); i++) {
        struct store *store = filled();
        struct seen seen;

        if (hints[i])
            set_hint(store, hints[i]);
        else
            remove_key(store, "repos/" REPO "/_hint");
        look(store, &seen);
        check(seen.tags == ENTRIES && seen.commit == 0 && seen.alarms == 0,
              "hint %zu: %u tags, %s, %lld alarms", i, seen.tags, err_name(seen.commit),
              (long long)seen.alarms);
        /* Without advice the checkpoints are found by listing. */
        check(seen.gets < ENTRIES * 2 / 3, "hint %zu: %u gets", i, seen.gets);
    }
}

/* A damaged checkpoint: the one before it, then the log; always an alarm, never a wrong answer. */
static void test_bad_checkpoints(void **state)
{
    struct store *store = filled();
    struct keys tables;
    struct seen seen;

    (void)state;
    tables_of(store, &tables);
    damage(store, tables.at[tables.count - 1]);
    look(store, &seen);
    assert_int_equal(seen.tags, ENTRIES);
    assert_int_equal(seen.commit, 0);
    assert_int_equal(seen.alarms, 1);
    check(seen.gets < ENTRIES, "%u gets", seen.gets);

    store = filled();
    for (unsigned i = 0; i < tables.count; i++)
        damage(store, tables.at[i]);
    look(store, &seen);
    assert_int_equal(seen.tags, ENTRIES);
    assert_int_equal(seen.commit, 0);
    assert_true(seen.alarms >= 1);

    store = filled(); /* gone altogether */
    for (unsigned i = 0; i < tables.count; i++)
        remove_key(store, tables.at[i]);
    look(store, &seen);
    assert_int_equal(seen.tags, ENTRIES);
    assert_int_equal(seen.commit, 0);
}

/* An entry that cannot be read just now says nothing of the checkpoint that stands at it. */
static void test_unreadable_entry(void **state)
{
    struct watch w;
    struct store *store = filled();
    struct keys tables;
    struct site s;
    struct repo *r;
    int64_t alarms = metric_value(METRIC_alarms_total);
    char key[256];

    (void)state;
    tables_of(store, &tables);
    entry_key((unsigned)strtoul(strrchr(tables.at[tables.count - 1], '/') + 1, NULL, 10), key);
    store = watched_store(&w, store);
    site_open(&s, store, REFERENCES_STRICT, NULL);
    watch_fail(&w, "get", key, -ERR_IO, 1);
    assert_int_equal(repo_get(s.repos, STR(REPO), &r, NULL), -ERR_IO);
    assert_int_equal(repo_get(s.repos, STR(REPO), &r, NULL), 0);
    assert_int_equal(repo_seq(r), ENTRIES);
    assert_int_equal(metric_value(METRIC_alarms_total), alarms);
    repo_unref(r);
    site_close(&s);
    store_free(store);
}

/* A checkpoint of another history of this name does not hold. */
static void test_foreign_checkpoint(void **state)
{
    struct store *store = filled(), *other = filled();
    struct keys tables, theirs;
    struct seen seen;

    (void)state;
    tables_of(store, &tables);
    tables_of(other, &theirs);
    for (unsigned i = 0; i < tables.count; i++) {
        struct buf bytes auto_buf = BUF_INIT(CHECKPOINT_HEAD_MAX);

        assert_string_equal(tables.at[i], theirs.at[i]);
        read_object(other, theirs.at[i], &bytes);
        replace(store, tables.at[i], buf_str(&bytes));
    }
    look(store, &seen);
    assert_int_equal(seen.tags, ENTRIES);
    assert_int_equal(seen.commit, 0);
    assert_true(seen.alarms >= 1);
    store_free(other);
}

/* The log ends before what was known of it: read-only, with what the checkpoint knows. */
static void test_lost_tail(void **state)
{
    struct store *store = filled();
    struct keys tables;
    struct seen seen;
    char key[256];
    unsigned last;

    (void)state;
    tables_of(store, &tables);
    last = (unsigned)strtoul(strrchr(tables.at[tables.count - 1], '/') + 1, NULL, 10);
    assert_true(last > 100 && last < ENTRIES);
    for (unsigned i = last - 10; i <= ENTRIES; i++) {
        entry_key(i, key);
        remove_key(store, key);
    }
    look(store, &seen);
    assert_int_equal(seen.tags, last);
    assert_int_equal(seen.commit, -ERR_READONLY);
    assert_int_equal(seen.alarms, 1);

    store = filled(); /* after the checkpoint, known from the hint alone */
    {
        char hint[128];

        snprintf(hint, sizeof(hint), "{\"v\":1,\"checkpoint\":%u,\"head\":%u}", last, ENTRIES);
        set_hint(store, hint);
    }
    entry_key(ENTRIES, key);
    remove_key(store, key);
    look(store, &seen);
    assert_int_equal(seen.tags, ENTRIES - 1);
    assert_int_equal(seen.commit, -ERR_READONLY);
    assert_int_equal(seen.alarms, 1);
}

/* An entry that is damaged, after or before the checkpoint. */
static void test_damaged_entry(void **state)
{
    struct store *store = filled();
    struct seen seen;
    char key[256];

    (void)state;
    entry_key(ENTRIES - 1, key);
    damage(store, key);
    look(store, &seen);
    assert_true(seen.tags >= ENTRIES - 2 && seen.tags <= ENTRIES - 1);
    assert_int_equal(seen.commit, -ERR_READONLY);
    assert_true(seen.alarms >= 1);

    store = filled(); /* long before: nobody needs it to serve */
    entry_key(5, key);
    damage(store, key);
    look(store, &seen);
    assert_int_equal(seen.tags, ENTRIES);
    assert_int_equal(seen.commit, 0);
}

/* An entry that goes missing while the log is open is no head. */
static void test_damage_while_open(void **state)
{
    struct store *store = mem_store();
    struct site a, b;
    struct repo *r;
    struct repo_manifest m;
    char key[256];

    (void)state;
    site_open(&a, store, REFERENCES_NONE, NULL);
    site_open(&b, store, REFERENCES_NONE, NULL);
    assert_int_equal(put_number(&a, 1), 0);
    r = repo_of(&b, REPO);
    assert_int_equal(put_number(&a, 2), 0);
    assert_int_equal(put_number(&a, 3), 0);
    entry_key(2, key);
    damage(store, key);
    assert_int_equal(repo_refresh(r, NULL), 0);
    assert_int_equal(repo_tag(r, STR("tag-1"), &m), 0);
    assert_int_equal(repo_tag(r, STR("tag-3"), &m), -ERR_NOTFOUND);
    assert_int_equal(repo_delete_tag(r, STR("tag-1"), &who, NULL), -ERR_READONLY);
    assert_int_equal(repo_refresh_nowait(r), 0);
    repo_unref(r);
    site_close(&a);
    site_close(&b);
    store_free(store);
}

/* I11: another node, from the log alone, writes the same bytes at the same positions. */
static void test_equal_bytes(void **state)
{
    struct store *store = filled();
    struct work *background = NULL;
    struct keys first, again;
    struct buf bytes[64];
    struct site s;
    unsigned equal = 0;

    (void)state;
    tables_of(store, &first);
    for (unsigned i = 0; i < first.count; i++) {
        bytes[i] = BUF_INIT(CHECKPOINT_HEAD_MAX);
        read_object(store, first.at[i], &bytes[i]);
        remove_key(store, first.at[i]);
    }
    remove_key(store, "repos/" REPO "/_hint");
    assert_int_equal(work_new("test", 1, 16, &background), 0);
    site_open(&s, store, REFERENCES_STRICT, background);
    repo_unref(repo_of(&s, REPO));
    site_close(&s);
    work_free(background);
    tables_of(store, &again);
    assert_true(again.count >= 1);
    for (unsigned i = 0; i < first.count; i++) {
        for (unsigned j = 0; j < again.count; j++) {
            struct buf now auto_buf = BUF_INIT(CHECKPOINT_HEAD_MAX);

            if (strcmp(first.at[i], again.at[j]) != 0)
                continue;
            read_object(store, again.at[j], &now);
            check(str_eq(buf_str(&now), buf_str(&bytes[i])), "%s", again.at[j]);
            equal++;
        }
        buf_done(&bytes[i]);
    }
    assert_int_equal(equal, again.count); /* no other positions */
    store_free(store);
}

/* The catalog has checkpoints, too. */
static void test_catalog(void **state)
{
    struct store *store = mem_store();
    struct work *background = NULL;
    struct watch w;
    struct site s;
    struct catalog *c;
    bool more;

    (void)state;
    assert_int_equal(work_new("test", 1, 16, &background), 0);
    site_open(&s, store, REFERENCES_STRICT, background);
    c = repos_catalog(s.repos);
    for (int i = 0; i < 400; i++) {
        char name[32];
        struct str text = {name, (size_t)snprintf(name, sizeof(name), "repository/%d", i)};

        assert_int_equal(catalog_add(c, text, true, NULL), 0);
    }
    site_close(&s);
    work_free(background);
    assert_true(count_objects(store, "catalog/_table/") >= 1);
    store = watched_store(&w, store);
    site_open(&s, store, REFERENCES_STRICT, NULL);
    watch_clear(&w);
    c = repos_catalog(s.repos);
    assert_int_equal(catalog_refresh(c, NULL), 0);
    check(w.gets < 300, "%u gets", w.gets);
    more = true;
    assert_int_equal(catalog_page(c, STR("repository/99"), 5, NULL, NULL, &more), 0);
    assert_false(more);
    assert_int_equal(catalog_add(c, STR("repository/7"), true, NULL), 0);
    site_close(&s);
    store_free(store);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_checkpoint_is_used), cmocka_unit_test(test_hints),
        cmocka_unit_test(test_bad_checkpoints),    cmocka_unit_test(test_unreadable_entry),
        cmocka_unit_test(test_foreign_checkpoint), cmocka_unit_test(test_lost_tail),
        cmocka_unit_test(test_damaged_entry),      cmocka_unit_test(test_damage_while_open),
        cmocka_unit_test(test_equal_bytes),        cmocka_unit_test(test_catalog),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
