/* Tables: any way that leads to the same records gives the same parts (I11), parts without changes
 * are neither read nor written, every record is found, and no damage is taken for data. */
#include "fixture.h"

#include <stdio.h>

#include "manifests/table.h"

static const struct table_limits small = {
    .block = 64, .part_min = 200, .part_mean = 600, .part_max = 2000, .inline_max = 300};

struct bench {
    struct watch watch;
    struct store *store;
    struct table_cache *cache;
    struct table_spec spec;
    struct omap *model; /* key -> struct row, none gone */
    uint64_t random;
    unsigned written;
};

static unsigned below(struct bench *b, unsigned n)
{
    b->random ^= b->random >> 12;
    b->random ^= b->random << 25;
    b->random ^= b->random >> 27;
    return (unsigned)((b->random * 2685821657736338717u) >> 33) % n;
}

static void bench_init(struct bench *b, uint64_t seed)
{
    *b = (struct bench){.random = seed * 2654435761u + 88172645463325252u};
    b->store = watched_store(&b->watch, mem_store());
    assert_int_equal(table_cache_new(1 << 20, &b->cache), 0);
    assert_int_equal(omap_new(free, &b->model), 0);
    b->spec = (struct table_spec){.store = b->store, .cache = b->cache, .prefix = STR("repos/a/b")};
}

static void bench_done(struct bench *b)
{
    table_cache_free(b->cache);
    omap_free(b->model);
    store_free(b->store);
}

static void put(struct omap *m, struct str key, struct row *row)
{
    assert_non_null(row);
    assert_int_equal(omap_put(m, key, row), 0);
}

static int emit(void *arg, const struct table_part *part, struct str bytes)
{
    struct bench *b = arg;
    struct buf key auto_buf = BUF_INIT(STORE_KEY_MAX);
    char hex[DIGEST_TEXT_MAX];
    int e;

    keys_part(&key, b->spec.prefix, digest_hex(&part->sha, hex));
    e = store_create(b->store, buf_str(&key), STORE_RECORD, bytes, NULL);
    b->written++;
    return e == -ERR_EXISTS ? 0 : e;
}

static struct table *merge(struct bench *b, struct table *base, const struct omap *changes)
{
    struct table *t = NULL;

    assert_int_equal(table_merge(&b->spec, &small, base, changes, emit, b, &t, NULL), 0);
    return t;
}

/* Changes the model and says how. */
static struct omap *change(struct bench *b, unsigned count, unsigned keys)
{
    struct omap *changes = NULL;

    assert_int_equal(omap_new(free, &changes), 0);
    for (unsigned i = 0; i < count; i++) {
        char key[32], value[400];
        struct str k = {key, (size_t)snprintf(key, sizeof(key), "t%06u", below(b, keys))};
        struct str v = {value, below(b, 20) ? below(b, 40) : below(b, 400)};

        memset(value, 'a' + (int)below(b, 26), sizeof(value));
        if (below(b, 3) == 0) {
            omap_remove(b->model, k);
            put(changes, k, row_gone());
        } else {
            put(b->model, k, row_new(v));
            put(changes, k, row_new(v));
        }
    }
    return changes;
}

static bool same_tables(const struct table *a, const struct table *b)
{
    if (table_part_count(a) != table_part_count(b) || table_records(a) != table_records(b) ||
        !str_eq(table_inline(a), table_inline(b)))
        return false;
    for (size_t i = 0; i < table_part_count(a); i++)
        if (!digest_eq(&table_part(a, i)->sha, &table_part(b, i)->sha) ||
            !str_eq(table_part(a, i)->last, table_part(b, i)->last) ||
            table_part(a, i)->index != table_part(b, i)->index)
            return false;
    return true;
}

/* Every record, in order; and a few seeks. */
static void check_records(struct bench *b, struct table *t)
{
    struct table_cursor c auto_table_cursor = {.table = NULL};
    struct omap_node *n = omap_first(b->model);
    int e;

    table_cursor_init(&c, t, true);
    for (e = table_seek(&c, STR("a")); e == 1; e = table_next(&c)) {
        assert_non_null(n);
        assert_true(str_eq(c.key, omap_key(n)));
        assert_true(str_eq(c.value, row_value(omap_value(n))));
        n = omap_next(b->model, n);
    }
    assert_int_equal(e, 0);
    assert_null(n);
    for (unsigned i = 0; i < 20; i++) {
        char key[32];
        struct str k = {key, (size_t)snprintf(key, sizeof(key), "t%06u", below(b, 3000))};

        n = omap_at_least(b->model, k);
        e = table_seek(&c, k);
        assert_int_equal(e, n ? 1 : 0);
        if (n)
            assert_true(str_eq(c.key, omap_key(n)));
    }
}

static void test_any_way(void **state)
{
    (void)state;
    for (uint64_t seed = 1; seed <= 40; seed++) {
        struct bench b;
        struct table *t = NULL;
        unsigned keys;

        bench_init(&b, seed);
        keys = 20 + below(&b, 3000);
        for (unsigned step = 0; step < 12; step++) {
            struct omap *changes = change(&b, 1 + below(&b, below(&b, 3) ? 30 : 1500), keys);
            struct table *next = merge(&b, t, changes), *scratch = merge(&b, NULL, b.model);

            check(same_tables(next, scratch), "seed %llu, step %u: %zu and %zu parts",
                  (unsigned long long)seed, step, table_part_count(next),
                  table_part_count(scratch));
            assert_int_equal(table_records(next), omap_count(b.model));
            table_unref(t);
            table_unref(scratch);
            omap_free(changes);
            t = next;
            check_records(&b, t);
        }
        table_unref(t);
        bench_done(&b);
    }
}

/* One change in a thousand parts costs a few of them. */
static void test_locality(void **state)
{
    struct bench b;
    struct omap *changes;
    struct table *t, *next;
    unsigned written = 0, read = 0, parts;

    (void)state;
    bench_init(&b, 5);
    changes = change(&b, 60000, 40000);
    t = merge(&b, NULL, changes);
    omap_free(changes);
    parts = (unsigned)table_part_count(t);
    check(parts > 500, "%u parts", parts);
    for (unsigned i = 0; i < 100; i++) {
        changes = change(&b, 1, 40000);
        b.written = 0;
        watch_clear(&b.watch);
        next = merge(&b, t, changes);
        written += b.written;
        read += b.watch.gets;
        omap_free(changes);
        table_unref(t);
        t = next;
    }
    print_message("%u parts, %u written and %u read by 100 single changes\n", parts, written, read);
    assert_true(written < 250 && read < 250);
    check_records(&b, t);
    table_unref(t);
    bench_done(&b);
}

/* Nothing waits where it must not; what is pinned is at hand however small the cache. */
static void test_pins(void **state)
{
    struct bench b;
    struct omap *changes;
    struct table *t;

    (void)state;
    bench_init(&b, 9);
    table_cache_free(b.cache);
    assert_int_equal(table_cache_new(0, &b.cache), 0);
    b.spec.cache = b.cache;
    changes = change(&b, 4000, 3000);
    t = merge(&b, NULL, changes);
    omap_free(changes);
    for (struct omap_node *n = omap_first(b.model); n; n = omap_next(b.model, n)) {
        struct table_cursor c auto_table_cursor = {.table = t};
        struct pins pins auto_pins = {.at = NULL};
        struct str key = omap_key(n);

        if (n == omap_first(b.model))
            assert_int_equal(table_seek(&c, key), -ERR_AGAIN);
        assert_int_equal(table_pin(t, &key, 1, &pins, NULL), 0);
        assert_int_equal(table_seek(&c, key), 1);
        assert_true(str_eq(c.key, key) && str_eq(c.value, row_value(omap_value(n))));
    }
    {
        struct table_cursor c auto_table_cursor = {.table = t};
        struct pins pins auto_pins = {.at = NULL};
        unsigned n = 0;
        int e;

        assert_int_equal(table_pin_range(t, STR("t001000"), STR_NONE, 500, &pins, NULL), 0);
        watch_clear(&b.watch);
        for (e = table_seek(&c, STR("t001000")); e == 1 && n < 500; n++)
            e = table_next(&c);
        assert_int_equal(e, 1);
        assert_int_equal(b.watch.gets, 0);
    }
    table_unref(t);
    bench_done(&b);
}

static struct table *remade(struct bench *b, const struct table *from)
{
    struct table *t = NULL;

    assert_int_equal(table_new(&b->spec, &t), 0);
    for (size_t i = 0; i < table_part_count(from); i++)
        assert_int_equal(table_add_part(t, table_part(from, i)), 0);
    return t;
}

static void store_part(struct bench *b, const struct table_part *p, struct str bytes)
{
    struct buf key auto_buf = BUF_INIT(STORE_KEY_MAX);
    char hex[DIGEST_TEXT_MAX];

    keys_part(&key, b->spec.prefix, digest_hex(&p->sha, hex));
    assert_int_equal(store_put(b->store, buf_str(&key), STORE_HINT, bytes, NULL), 0);
}

/* The state of a damaged table is found or refused, never another. */
static void read_damaged(struct bench *b, struct table *t, bool *ret_refused)
{
    struct omap_node *n = omap_first(b->model);
    struct table_cursor c auto_table_cursor = {.table = t, .wait = true};
    int e;

    for (e = table_seek(&c, STR("a")); e == 1; e = table_next(&c)) {
        assert_true(n && str_eq(c.key, omap_key(n)) && str_eq(c.value, row_value(omap_value(n))));
        n = omap_next(b->model, n);
    }
    assert_true(e == 0 || e == -ERR_CORRUPT);
    assert_true(e == 0 ? !n && !table_bad(t) : table_bad(t));
    *ret_refused = e < 0;
}

static void test_damage(void **state)
{
    struct bench b;
    struct omap *changes;
    struct table *t;
    const struct table_part *p;
    struct buf key auto_buf = BUF_INIT(STORE_KEY_MAX), bytes auto_buf = BUF_INIT(1 << 20);
    char hex[DIGEST_TEXT_MAX];
    bool refused;

    (void)state;
    bench_init(&b, 11);
    table_cache_free(b.cache);
    assert_int_equal(table_cache_new(0, &b.cache), 0);
    b.spec.cache = b.cache;
    changes = change(&b, 400, 200);
    t = merge(&b, NULL, changes);
    assert_true(table_part_count(t) > 3);
    p = table_part(t, 1);
    keys_part(&key, b.spec.prefix, digest_hex(&p->sha, hex));
    read_object(b.store, buf_c(&key), &bytes);
    for (size_t i = 0; i < bytes.len; i++) {
        struct table *again auto_table = remade(&b, t);

        bytes.at[i] ^= 1;
        store_part(&b, p, buf_str(&bytes));
        read_damaged(&b, again, &refused);
        check(refused, "byte %zu", i);
        assert_true(table_known_bad(again));
        assert_int_equal(table_check_part(again, 1, NULL), -ERR_CORRUPT);
        bytes.at[i] ^= 1;
    }
    for (size_t len = 1; len < bytes.len; len += 7) {
        struct table *again auto_table = remade(&b, t);

        store_part(&b, p, str_head(buf_str(&bytes), len));
        read_damaged(&b, again, &refused);
        assert_true(refused);
    }
    {
        struct table *again auto_table = remade(&b, t);

        assert_int_equal(store_remove(b.store, buf_str(&key), STORE_HINT, NULL), 0);
        read_damaged(&b, again, &refused);
        assert_true(refused);
        store_part(&b, p, buf_str(&bytes));
        assert_int_equal(table_check_part(again, 1, NULL), 0);
        assert_false(table_known_bad(again));
    }
    omap_free(changes);
    table_unref(t);
    bench_done(&b);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_any_way),
        cmocka_unit_test(test_locality),
        cmocka_unit_test(test_pins),
        cmocka_unit_test(test_damage),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
