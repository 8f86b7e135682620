/* The shared suite. Names of tests say which sentence of store.h they hold. */
#include "store_suite_internal.h"

#include <assert.h>
#include <fcntl.h>
#include <ftw.h>
#include <stdio.h>
#include <unistd.h>

#include "base/thread.h"

#define RACE_THREADS 8
#define RACE_ROUNDS  50

void suite_make_place(char out[SUITE_PLACE_MAX])
{
    const char *tmp = getenv("TMPDIR");

    snprintf(out, SUITE_PLACE_MAX, "%s/stowage-store-XXXXXX", tmp != NULL ? tmp : "/tmp");
    assert_non_null(mkdtemp(out));
}

static int remove_one(const char *path, const struct stat *st, int type, struct FTW *ftw)
{
    (void)st;
    (void)type;
    (void)ftw;
    return remove(path);
}

void suite_remove_place(const char *place)
{
    assert_int_equal(nftw(place, remove_one, 16, FTW_DEPTH | FTW_PHYS), 0);
}

bool suite_remote;

enum store_fault suite_no_fault(const struct store_fault_call *call, int *ret_err, void *arg)
{
    (void)ret_err;
    (void)arg;
    assert(call->number > 0);
    return FAULT_NONE;
}

struct store *suite_open_again(struct suite *t)
{
    struct err_detail d = {""};
    struct store *s = NULL;
    int r = t->backend->open(t->place, &s, &d);

    if (r < 0)
        print_error("open: %s %s\n", err_name(r), d.text);
    assert_int_equal(r, 0);
    return s;
}

static int setup(void **state)
{
    struct suite *t = calloc(1, sizeof(*t));

    assert_non_null(t);
    t->backend = *state;
    suite_remote = t->backend->remote;
    if (t->backend->needs_place)
        suite_make_place(t->place);
    t->s = suite_open_again(t);
    *state = t;
    return 0;
}

static int teardown(void **state)
{
    struct suite *t = *state;

    store_free(t->s);
    if (t->backend->needs_place)
        suite_remove_place(t->place);
    free(t);
    return 0;
}

/* ---- Short forms. */

int suite_create(struct store *s, const char *key, const char *bytes)
{
    return store_create(s, str_of(key), STORE_LOG, str_of(bytes), NULL);
}

void suite_holds(struct store *s, const char *key, const char *bytes)
{
    struct buf out auto_buf = BUF_INIT(1 << 20);
    struct store_info info;

    assert_int_equal(store_get(s, str_of(key), 0, STORE_WHOLE, &out, NULL), 0);
    assert_true(str_eq(buf_str(&out), str_of(bytes)));
    assert_int_equal(store_head(s, str_of(key), &info, NULL), 0);
    assert_int_equal(info.size, strlen(bytes));
}

void suite_absent(struct store *s, const char *key)
{
    struct buf out auto_buf = BUF_INIT(64);
    struct store_object o;
    struct store_info info;

    assert_int_equal(store_get(s, str_of(key), 0, 64, &out, NULL), -ERR_NOTFOUND);
    assert_int_equal(store_head(s, str_of(key), &info, NULL), -ERR_NOTFOUND);
    assert_int_equal(store_probe(s, str_of(key), &info), suite_remote ? -ERR_AGAIN : -ERR_NOTFOUND);
    assert_int_equal(store_open(s, str_of(key), &o, NULL), -ERR_NOTFOUND);
}

/* ---- Objects. */

static void test_create_once(void **state)
{
    static const struct {
        enum store_class cls;
        const char *key;
    } cases[] = {
        {STORE_LOG, "repos/a/_log/0000000000000000/00000000000000000001"},
        {STORE_RECORD, "blobs/sha256/ab/abcd.0"},
        {STORE_DATA, "data/ab/abcd"},
        {STORE_LINK, "links/sha256/ab/abcd.0/a!b/0"},
        {STORE_UPLOAD, "uploads/abcd/00000000000000000001"},
        {STORE_HINT, "changes/202611220750/a/_"},
        {STORE_RECORD, "format"},
    };
    struct suite *t = *state;

    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        struct str key = str_of(cases[i].key);

        suite_absent(t->s, cases[i].key);
        assert_int_equal(store_create(t->s, key, cases[i].cls, STR("first"), NULL), 0);
        suite_holds(t->s, cases[i].key, "first");
        assert_int_equal(store_create(t->s, key, cases[i].cls, STR("second"), NULL), -ERR_EXISTS);
        assert_int_equal(store_create(t->s, key, cases[i].cls, STR("first"), NULL), -ERR_EXISTS);
        suite_holds(t->s, cases[i].key, "first");
    }
    assert_int_equal(suite_create(t->s, "empty", ""), 0);
    suite_holds(t->s, "empty", "");
    assert_int_equal(suite_create(t->s, "empty", "x"), -ERR_EXISTS);
    suite_absent(t->s, "repos/a");
}

static void test_ranges(void **state)
{
    static const struct {
        uint64_t offset, len;
        const char *want;
    } cases[] = {
        {0, STORE_WHOLE, "0123456789"},
        {0, 10, "0123456789"},
        {0, 11, "0123456789"},
        {0, 0, ""},
        {3, 4, "3456"},
        {3, STORE_WHOLE, "3456789"},
        {9, 5, "9"},
        {10, 5, ""},
        {11, 5, ""},
        {UINT64_MAX, 5, ""},
        {UINT64_MAX, STORE_WHOLE, ""},
    };
    struct suite *t = *state;

    assert_int_equal(suite_create(t->s, "a/b", "0123456789"), 0);
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        struct buf out auto_buf = BUF_INIT(12);

        buf_add(&out, STR("=>"));
        assert_int_equal(store_get(t->s, STR("a/b"), cases[i].offset, cases[i].len, &out, NULL), 0);
        assert_string_equal(buf_c(&out) + 2, cases[i].want);
    }
}

static void test_get_refuses_what_does_not_fit(void **state)
{
    struct suite *t = *state;
    struct buf out auto_buf = BUF_INIT(9);

    assert_int_equal(suite_create(t->s, "k", "0123456789"), 0);
    assert_int_equal(store_get(t->s, STR("k"), 0, STORE_WHOLE, &out, NULL), -ERR_TOOBIG);
    assert_int_equal(out.len, 0);
    assert_int_equal(buf_err(&out), 0);
    assert_int_equal(store_get(t->s, STR("k"), 1, STORE_WHOLE, &out, NULL), 0);
    assert_string_equal(buf_c(&out), "123456789");
}

static void test_put_overwrites(void **state)
{
    struct suite *t = *state;

    assert_int_equal(store_put(t->s, STR("r/_hint"), STORE_HINT, STR("one"), NULL), 0);
    suite_holds(t->s, "r/_hint", "one");
    assert_int_equal(store_put(t->s, STR("r/_hint"), STORE_HINT, STR("two!"), NULL), 0);
    suite_holds(t->s, "r/_hint", "two!");
    assert_int_equal(store_put(t->s, STR("r/_hint"), STORE_RECORD, STR(""), NULL), 0);
    suite_holds(t->s, "r/_hint", "");
    assert_int_equal(suite_create(t->s, "r/_hint", "no"), -ERR_EXISTS);
}

static void test_remove(void **state)
{
    struct suite *t = *state;

    for (int cls = STORE_LOG; cls <= STORE_HINT; cls++) {
        for (int i = 0; i < 3; i++) {
            assert_int_equal(
                store_create(t->s, STR("u/id/1"), (enum store_class)cls, STR("x"), NULL), 0);
            suite_holds(t->s, "u/id/1", "x");
            assert_int_equal(store_remove(t->s, STR("u/id/1"), (enum store_class)cls, NULL), 0);
            suite_absent(t->s, "u/id/1");
            assert_int_equal(store_remove(t->s, STR("u/id/1"), (enum store_class)cls, NULL), 0);
        }
    }
    assert_int_equal(store_remove(t->s, STR("no/such/folder"), STORE_LOG, NULL), 0);
    assert_int_equal(suite_create(t->s, "u/id/1", "x"), 0);
    assert_int_equal(suite_create(t->s, "u/id/2", "y"), 0);
    assert_int_equal(store_remove(t->s, STR("u/id/1"), STORE_UPLOAD, NULL), 0);
    suite_holds(t->s, "u/id/2", "y");
}

static void test_limits_of_keys(void **state)
{
    struct suite *t = *state;
    char key[STORE_KEY_MAX + 1], segment[STORE_SEGMENT_MAX + 1];

    memset(segment, 's', STORE_SEGMENT_MAX);
    segment[STORE_SEGMENT_MAX] = 0;
    memset(key, 'k', STORE_KEY_MAX);
    key[STORE_KEY_MAX] = 0;
    for (size_t i = 99; i < STORE_KEY_MAX - 1; i += 100)
        key[i] = '/';
    assert_int_equal(suite_create(t->s, segment, "segment"), 0);
    assert_int_equal(suite_create(t->s, key, "key"), 0);
    suite_holds(t->s, segment, "segment");
    suite_holds(t->s, key, "key");
    const char *odd =
        suite_remote ? "odd/ \"%2f~!*?+&'()\xc3\xa4/..." : "odd/\x01 \"\\%2f~!*?\xff/...";
    assert_int_equal(suite_create(t->s, odd, "odd"), 0);
    suite_holds(t->s, odd, "odd");
    key[STORE_KEY_MAX - 1] = 'x';
    suite_absent(t->s, key);
}

static void test_open_reads(void **state)
{
    struct suite *t = *state;
    struct store_object o;
    char bytes[8];

    assert_int_equal(suite_create(t->s, "data/ab/1", "bytes"), 0);
    assert_int_equal(store_open(t->s, STR("data/ab/1"), &o, NULL), 0);
    assert_int_equal(o.info.size, 5);
    assert_int_equal(o.fd >= 0, store_has_files(t->s));
    if (o.fd < 0)
        return;
    assert_int_equal(read(o.fd, bytes, sizeof(bytes)), 5);
    assert_memory_equal(bytes, "bytes", 5);
    assert_int_not_equal(fcntl(o.fd, F_GETFD) & FD_CLOEXEC, 0);
    close(o.fd);
}

static void test_now(void **state)
{
    struct suite *t = *state;
    struct store_info info;
    int64_t before, after;

    assert_int_equal(store_now(t->s, &before, NULL), 0);
    assert_int_equal(suite_create(t->s, "k", "x"), 0);
    assert_int_equal(store_head(t->s, STR("k"), &info, NULL), 0);
    assert_int_equal(store_now(t->s, &after, NULL), 0);
    assert_true(before > INT64_C(1700000000000));
    assert_true(before <= after && after < before + 60000);
    /* The clock is read off a file: a tick of the kernel apart. */
    assert_in_range(info.modified_ms, before - (suite_remote ? 2050 : 50),
                    after + (suite_remote ? 1050 : 50));
}

static void test_many_at_once(void **state)
{
    struct suite *t = *state;
    struct buf two auto_buf = BUF_INIT(16), none auto_buf = BUF_INIT(16),
                   small auto_buf = BUF_INIT(3);
    struct store_op ops[] = {
        {.kind = STORE_OP_CREATE, .key = STR("m/1"), .cls = STORE_LINK, .bytes = STR("one")},
        {.kind = STORE_OP_CREATE, .key = STR("m/2"), .cls = STORE_RECORD, .bytes = STR("two!")},
        {.kind = STORE_OP_CREATE, .key = STR("m/1"), .cls = STORE_LINK, .bytes = STR("again")},
        {.kind = STORE_OP_HEAD, .key = STR("m/2")},
        {.kind = STORE_OP_HEAD, .key = STR("m/3")},
        {.kind = STORE_OP_REMOVE, .key = STR("m/4"), .cls = STORE_LINK},
        {.kind = STORE_OP_GET, .key = STR("m/2"), .out = &two},
        {.kind = STORE_OP_GET, .key = STR("m/3"), .out = &none},
        {.kind = STORE_OP_GET, .key = STR("m/2"), .out = &small},
    };
    static const int want[] = {0, 0, -ERR_EXISTS,   0,          -ERR_NOTFOUND,
                               0, 0, -ERR_NOTFOUND, -ERR_TOOBIG};

    for (size_t i = 0; i < ARRAY_LEN(ops); i++)
        ops[i].result = 1;
    store_run(t->s, ops, 2);
    store_run(t->s, ops + 2, ARRAY_LEN(ops) - 2);
    store_run(t->s, ops, 0);
    for (size_t i = 0; i < ARRAY_LEN(ops); i++)
        assert_int_equal(ops[i].result, want[i]);
    assert_string_equal(buf_c(&two), "two!");
    assert_int_equal(none.len + small.len, 0);
    assert_int_equal(ops[3].info.size, 4);
}

/* ---- S1, S2 under threads. */

struct racer {
    struct thread thread;
    struct store *s;
    unsigned number;
    unsigned won[RACE_ROUNDS];
    bool wrong;
};

static void race(void *arg)
{
    struct racer *me = arg;

    for (unsigned round = 0; round < RACE_ROUNDS; round++) {
        struct buf out auto_buf = BUF_INIT(64);
        char key[64], bytes[64];

        snprintf(key, sizeof(key), "race/%u/%u", round % 5, round);
        snprintf(bytes, sizeof(bytes), "by %u", me->number);
        int r = suite_create(me->s, key, bytes);
        me->won[round] = r == 0;
        if (r != 0 && r != -ERR_EXISTS)
            me->wrong = true;
        /* Whoever knows of it reads the winner's bytes. */
        if (store_get(me->s, str_of(key), 0, STORE_WHOLE, &out, NULL) != 0 ||
            (r == 0) != str_eq(buf_str(&out), str_of(bytes)))
            me->wrong = true;
    }
}

static void test_one_winner(void **state)
{
    struct suite *t = *state;
    struct racer racers[RACE_THREADS] = {0};
    struct store *second = t->backend->shared ? suite_open_again(t) : NULL;

    for (unsigned i = 0; i < RACE_THREADS; i++) {
        racers[i].s = second != NULL && i % 2 == 1 ? second : t->s;
        racers[i].number = i;
        assert_int_equal(thread_start(&racers[i].thread, "racer", race, &racers[i]), 0);
    }
    for (unsigned i = 0; i < RACE_THREADS; i++)
        thread_join(&racers[i].thread);
    for (unsigned round = 0; round < RACE_ROUNDS; round++) {
        unsigned winners = 0;
        for (unsigned i = 0; i < RACE_THREADS; i++)
            winners += racers[i].won[round];
        assert_int_equal(winners, 1);
    }
    for (unsigned i = 0; i < RACE_THREADS; i++)
        assert_false(racers[i].wrong);
    store_free(second);
}

/* S4 as far as a living system can show it: another store of the same place knows nothing by
 * itself. */
static void test_seen_by_another(void **state)
{
    struct suite *t = *state;
    struct store_info info;

    if (!t->backend->shared)
        return;
    struct store *second = suite_open_again(t);
    assert_int_equal(suite_create(t->s, "s/1", "x"), 0);
    assert_int_equal(store_probe(t->s, STR("s/1"), &info), suite_remote ? -ERR_AGAIN : 0);
    assert_int_equal(store_probe(second, STR("s/1"), &info), -ERR_AGAIN);
    assert_int_equal(store_head(second, STR("s/1"), &info, NULL), 0);
    assert_int_equal(store_probe(second, STR("s/1"), &info), suite_remote ? -ERR_AGAIN : 0);
    assert_int_equal(info.size, 1);
    assert_int_equal(suite_create(second, "s/1", "y"), -ERR_EXISTS);

    /* Removed and made again by the other: what was known of the old object says nothing of the
     * new. */
    assert_int_equal(store_remove(second, STR("s/1"), STORE_LOG, NULL), 0);
    suite_absent(t->s, "s/1");
    assert_int_equal(suite_create(second, "s/1", "new"), 0);
    assert_int_equal(store_probe(t->s, STR("s/1"), &info), -ERR_AGAIN);
    suite_holds(t->s, "s/1", "new");
    store_free(second);
}

/* ---- Listing (S5). */

static const char *const list_keys[] = {
    "a-b/x",  "a/x",      "a/y/1", "a/y/2", "a/y-1", "a/y0",    "a0",     "a0b/c",   "aa/1",
    "b",      "b!/z",     "b0",    "c/d/e", "c/d/f", "c/d/g/h", "c/d-/a", "c/d.e",   "c/da",
    "z/\xff", "z/\xfe/a", "z/~",   "z/z",   "_/_",   "B/upper", "~",      "c/d/...", "c.d/e",
};

/* Of those that begin with 'z', as UTF-8; four in a row. */
static const char *const remote_keys[4] = {"z/~", "z/\xc3\xa4", "z/\xc3\xa5/a", "z/z"};

int suite_collect(struct str key, const struct store_info *info, void *arg)
{
    struct listed *l = arg;

    if (key.len >= sizeof(l->keys[0]) || l->count >= ARRAY_LEN(l->keys) || info->size != 1 ||
        info->modified_ms <= 0)
        return 99;
    memcpy(l->keys[l->count], key.at, key.len);
    l->keys[l->count++][key.len] = 0;
    return l->count == l->stop_after ? l->stop_with : 0;
}

static int by_bytes(const void *a, const void *b)
{
    return strcmp(*(const char *const *)a, *(const char *const *)b);
}

static void expect_list(struct store *s, const char *const *sorted, size_t count,
                        const char *prefix, const char *after, unsigned max)
{
    struct listed got = {0};
    unsigned n = 0;

    assert_int_equal(store_list(s, str_of(prefix), str_of(after), max, suite_collect, &got, NULL),
                     0);
    for (size_t i = 0; i < count && n < max; i++) {
        if (strncmp(sorted[i], prefix, strlen(prefix)) != 0 || strcmp(sorted[i], after) <= 0)
            continue;
        if (n >= got.count || strcmp(got.keys[n], sorted[i]) != 0)
            fail_msg("prefix '%s' after '%s' max %u: %u is '%s', not '%s'", prefix, after, max, n,
                     n < got.count ? got.keys[n] : "(end)", sorted[i]);
        n++;
    }
    if (got.count != n)
        fail_msg("prefix '%s' after '%s' max %u: '%s' is too many", prefix, after, max,
                 got.keys[n]);
}

static void test_list_order(void **state)
{
    static const char *const prefixes[] = {
        "",       "a",       "a/", "a/y", "a/y/", "c/d",   "c/d/", "c/d/e", "c/d/x", "b",
        "z/\xfe", "nothing", "a-", "/",   "a//",  "a/../", ".",    "../",   "./a",   "c/d/g/h/i"};
    static const char *const afters[] = {"",      "a",     "a-b/x", "a/",       "a/x", "a/y",
                                         "a/y/",  "a/y/1", "a/y0",  "b",        "b!",  "c/d",
                                         "c/d/e", "c/d0",  "z",     "z/\xfe/a", "~~",  "\xff"};
    static const unsigned maxima[] = {1, 2, 3, 7, STORE_LIST_MAX};
    const char *sorted[ARRAY_LEN(list_keys)];
    struct suite *t = *state;

    for (size_t i = 0; i < ARRAY_LEN(list_keys); i++) {
        sorted[i] = suite_remote && list_keys[i][0] == 'z' ? remote_keys[i % 4] : list_keys[i];
        assert_int_equal(store_create(t->s, str_of(sorted[i]), STORE_HINT, STR("x"), NULL), 0);
    }
    qsort(sorted, ARRAY_LEN(sorted), sizeof(sorted[0]), by_bytes);
    for (size_t p = 0; p < ARRAY_LEN(prefixes); p++)
        for (size_t a = 0; a < ARRAY_LEN(afters); a++)
            for (size_t m = 0; m < ARRAY_LEN(maxima); m++)
                expect_list(t->s, sorted, ARRAY_LEN(sorted), prefixes[p], afters[a], maxima[m]);
    for (size_t p = 0; p < ARRAY_LEN(sorted); p++) {
        expect_list(t->s, sorted, ARRAY_LEN(sorted), sorted[p], "", STORE_LIST_MAX);
        expect_list(t->s, sorted, ARRAY_LEN(sorted), "", sorted[p], 2);
    }
}

static void test_list_stops(void **state)
{
    static const int results[] = {7, -ERR_CANCELLED};
    struct suite *t = *state;

    for (int i = 0; i < 9; i++) {
        char key[16];
        snprintf(key, sizeof(key), "k/%d/%d", i / 3, i);
        assert_int_equal(suite_create(t->s, key, "x"), 0);
    }
    for (size_t i = 0; i < ARRAY_LEN(results); i++) {
        struct listed got = {.stop_after = 5, .stop_with = results[i]};

        assert_int_equal(store_list(t->s, STR("k/"), STR_NONE, 9, suite_collect, &got, NULL),
                         results[i]);
        assert_int_equal(got.count, 5);
        assert_string_equal(got.keys[4], "k/1/4");
    }
    /* What a callback does to the store it lists is its own affair, but must not lock up. */
    struct listed got = {.stop_after = 1, .stop_with = 3};
    assert_int_equal(store_list(t->s, STR("k/2/"), STR("k/2/7"), 1, suite_collect, &got, NULL), 3);
    assert_string_equal(got.keys[0], "k/2/8");
}

static int remove_listed(struct str key, const struct store_info *info, void *arg)
{
    char copy[64];

    (void)info;
    memcpy(copy, key.at, key.len);
    return store_remove(arg, str_make(copy, key.len), STORE_HINT, NULL);
}

int suite_count(struct str key, const struct store_info *info, void *arg)
{
    (void)key;
    (void)info;
    ++*(unsigned *)arg;
    return 0;
}

static void test_list_pages_and_removes(void **state)
{
    struct suite *t = *state;
    unsigned left = 0;

    for (int i = 0; i < 60; i++) {
        char key[32];
        snprintf(key, sizeof(key), "p/%c/%d", 'a' + i % 4, i);
        assert_int_equal(store_create(t->s, str_of(key), STORE_HINT, STR("x"), NULL), 0);
    }
    for (int i = 0; i < 6; i++)
        assert_int_equal(store_list(t->s, STR("p/"), STR_NONE, 10, remove_listed, t->s, NULL), 0);
    assert_int_equal(store_list(t->s, STR_NONE, STR_NONE, 10, suite_count, &left, NULL), 0);
    assert_int_equal(left, 0);
}

struct churn {
    struct thread thread;
    struct store *s;
    bool wrong;
};

static void churn(void *arg)
{
    struct churn *c = arg;

    for (int i = 0; i < 300; i++) {
        char key[32];
        snprintf(key, sizeof(key), "l/%d/m%d", i % 4, i % 20);
        if (store_create(c->s, str_of(key), STORE_HINT, STR("x"), NULL) != 0 ||
            store_remove(c->s, str_of(key), STORE_UPLOAD, NULL) != 0)
            c->wrong = true;
    }
}

static int count_stable(struct str key, const struct store_info *info, void *arg)
{
    (void)info;
    if (str_find(key, 's') >= 0)
        ++*(unsigned *)arg;
    return 0;
}

static void test_list_complete_while_others_change(void **state)
{
    struct suite *t = *state;
    struct churn c = {.s = t->s};

    for (int i = 0; i < 40; i++) {
        char key[32];
        snprintf(key, sizeof(key), "l/%d/s%d", i % 5, i);
        assert_int_equal(store_create(t->s, str_of(key), STORE_HINT, STR("x"), NULL), 0);
    }
    assert_int_equal(thread_start(&c.thread, "churn", churn, &c), 0);
    bool complete = true;
    for (int i = 0; i < 50; i++) {
        unsigned stable = 0;
        int r = store_list(t->s, STR("l/"), STR_NONE, STORE_LIST_MAX, count_stable, &stable, NULL);
        complete = complete && r == 0 && stable == 40;
    }
    thread_join(&c.thread);
    assert_true(complete);
    assert_false(c.wrong);
}

static void test_presign(void **state)
{
    struct suite *t = *state;
    struct buf url auto_buf = BUF_INIT(4096);

    assert_int_equal(store_presign_get(t->s, STR("k"), 1000, &url),
                     suite_remote ? 0 : -ERR_UNSUPPORTED);
    assert_int_equal(url.len > 0, suite_remote);
    assert_int_equal(store_sweep_temporary(t->s, NULL), 0);
}

size_t suite_tests(const struct suite_backend *backend, struct CMUnitTest *out, size_t max)
{
    static const struct suite_test tests[] = {
        {"S1 S2 create once", test_create_once},
        {"S1 S2 race of threads has one winner", test_one_winner},
        {"S4 seen by another store", test_seen_by_another},
        {"S5 list order", test_list_order},
        {"S5 list stops", test_list_stops},
        {"S5 list pages", test_list_pages_and_removes},
        {"S5 list complete while others change", test_list_complete_while_others_change},
        {"ranges", test_ranges},
        {"get refuses what does not fit", test_get_refuses_what_does_not_fit},
        {"put overwrites", test_put_overwrites},
        {"remove", test_remove},
        {"limits of keys", test_limits_of_keys},
        {"open", test_open_reads},
        {"now", test_now},
        {"many at once", test_many_at_once},
        {"presign and sweep", test_presign},
    };
    static char names[512][80];
    static size_t used;

    const size_t count = ARRAY_LEN(tests) + SUITE_STREAM_TESTS;

    assert(count <= max);
    for (size_t i = 0; i < count; i++) {
        const struct suite_test *test =
            i < ARRAY_LEN(tests) ? &tests[i] : &suite_stream_tests[i - ARRAY_LEN(tests)];

        assert(used < ARRAY_LEN(names));
        snprintf(names[used], sizeof(names[0]), "%s: %s", backend->name, test->name);
        out[i] = (struct CMUnitTest){names[used++], test->fn, setup, teardown,
                                     (void *)(uintptr_t)backend};
    }
    return count;
}
