/* The shared suite: streams. */
#include "store_suite_internal.h"

#include <stdio.h>

/* ---- Streams. */

#define STREAM_KEY "data/ab/0123456789ab"

static struct store_stream *stream(struct store *s)
{
    struct store_stream *st = NULL;

    assert_int_equal(store_stream_open(s, STR(STREAM_KEY), &st, NULL), 0);
    return st;
}

static void add(struct store_stream *st, const char *bytes)
{
    assert_int_equal(store_stream_write(st, str_of(bytes), NULL), 0);
}

/* What the state does not hold is kept behind it, after a line feed. */
static void save(struct store_stream *st, struct buf *state)
{
    uint64_t safe;

    buf_clear(state);
    assert_int_equal(store_stream_save(st, state, NULL), 0);
    assert_true(state->len > 0 && state->len <= STORE_STREAM_STATE_MAX);
    assert_int_equal(state->at[0], '{');
    safe = store_stream_safe(st);
    assert_true(safe <= store_stream_size(st) && (suite_remote || safe == store_stream_size(st)));
    buf_addc(state, '\n');
    assert_int_equal(
        store_stream_read(st, safe, (size_t)(store_stream_size(st) - safe), state, NULL), 0);
}

static struct str state_of(const struct buf *saved)
{
    return str_head(buf_str(saved), (size_t)str_find(buf_str(saved), '\n'));
}

static struct store_stream *resume(struct store *s, const struct buf *saved, uint64_t size)
{
    struct str state = state_of(saved), tail = str_skip(buf_str(saved), state.len + 1);
    struct store_stream *st = NULL;

    assert_int_equal(store_stream_resume(s, STR(STREAM_KEY), state, size, &st, NULL), 0);
    assert_int_equal(store_stream_size(st) + tail.len, size);
    assert_int_equal(store_stream_write(st, tail, NULL), 0);
    assert_int_equal(store_stream_size(st), size);
    return st;
}

static unsigned leftovers(struct store *s)
{
    unsigned n = 0;

    assert_int_equal(store_stream_list(s, suite_count, &n, NULL), 0);
    return n;
}

static void test_stream_commit(void **state)
{
    struct suite *t = *state;
    struct store_stream *st = stream(t->s);
    struct buf out auto_buf = BUF_INIT(64);

    assert_int_equal(store_stream_size(st), 0);
    add(st, "hello, ");
    add(st, "");
    add(st, "world");
    assert_int_equal(store_stream_size(st), 12);
    suite_absent(t->s, STREAM_KEY);
    assert_int_equal(store_stream_read(st, 7, 3, &out, NULL), 0);
    assert_int_equal(store_stream_read(st, 10, 100, &out, NULL), 0);
    assert_int_equal(store_stream_read(st, 12, 100, &out, NULL), 0);
    assert_string_equal(buf_c(&out), "world");
    assert_int_equal(store_stream_commit(st, NULL), 0);
    suite_holds(t->s, STREAM_KEY, "hello, world");
    assert_int_equal(store_stream_commit(st, NULL), -ERR_EXISTS);
    store_stream_close(st);
    suite_holds(t->s, STREAM_KEY, "hello, world");
    assert_int_equal(leftovers(t->s), 0);
    assert_int_equal(store_stream_sweep(t->s, STR(STREAM_KEY), NULL), 0);
    suite_holds(t->s, STREAM_KEY, "hello, world");

    struct store_info info; /* still known durable, though the stream's own name went */
    assert_int_equal(store_probe(t->s, STR(STREAM_KEY), &info), suite_remote ? -ERR_AGAIN : 0);

    st = stream(t->s);
    add(st, "another");
    assert_int_equal(store_stream_commit(st, NULL), -ERR_EXISTS);
    store_stream_close(st);
    suite_holds(t->s, STREAM_KEY, "hello, world");
    assert_int_equal(leftovers(t->s), 0);
}

static void test_stream_empty(void **state)
{
    struct suite *t = *state;
    struct store_stream *st = stream(t->s);

    assert_int_equal(store_stream_commit(st, NULL), 0);
    store_stream_close(st);
    suite_holds(t->s, STREAM_KEY, "");
}

static void test_stream_saved_and_resumed(void **state)
{
    struct suite *t = *state;
    struct buf saved auto_buf = BUF_INIT(STORE_STREAM_STATE_MAX);
    struct store *second = t->backend->shared ? suite_open_again(t) : t->s;
    struct store_stream *st = stream(t->s);

    add(st, "0123456789");
    save(st, &saved);
    add(st, "dropped: never acknowledged");
    store_stream_close(st);
    suite_absent(second, STREAM_KEY);
    assert_int_equal(leftovers(second), suite_remote ? 0 : 1);

    st = resume(second, &saved, 10);
    add(st, "abc");
    save(st, &saved);
    store_stream_close(st);
    st = resume(t->s, &saved, 13);
    add(st, "def");
    assert_int_equal(store_stream_commit(st, NULL), 0);
    store_stream_close(st);
    suite_holds(second, STREAM_KEY, "0123456789abcdef");
    assert_int_equal(store_stream_sweep(second, STR(STREAM_KEY), NULL), 0);
    assert_int_equal(leftovers(second), 0);
    if (second != t->s)
        store_free(second);
}

static void test_stream_unsaved_leaves_nothing(void **state)
{
    struct suite *t = *state;
    struct store_stream *st = stream(t->s);

    add(st, "bytes");
    assert_int_equal(leftovers(t->s), suite_remote ? 0 : 1);
    store_stream_close(st);
    assert_int_equal(leftovers(t->s), 0);
    store_stream_close(NULL);
}

static void test_stream_bad_states(void **state)
{
    static const struct {
        const char *state;
        uint64_t size;
        int want;
    } cases[] = {
        {"", 1, -ERR_CORRUPT},
        {"{}", 1, -ERR_CORRUPT},
        {"[1]", 1, -ERR_CORRUPT},
        {"{\"file\":\"\",\"size\":1}", 1, -ERR_CORRUPT},
        {"{\"file\":\"data!ab!0123456789ac\",\"size\":1}", 1, -ERR_CORRUPT},
        {"{\"file\":\"data!ab!0123456789abc\",\"size\":1}", 1, -ERR_CORRUPT},
        {"{\"file\":\"../data!ab!0123456789ab\",\"size\":1}", 1, -ERR_CORRUPT},
        {"{\"file\":\"data!ab!0123456789ab~/../x\",\"size\":1}", 1, -ERR_CORRUPT},
        {"{\"file\":\"data!ab!0123456789ab\",\"size\":1}", 1, -ERR_NOTFOUND},
        {"{\"file\":\"data!ab!0123456789ab~0011223344556677\",\"size\":1}", 1, -ERR_NOTFOUND},
    };
    struct suite *t = *state;
    struct store_stream *st = NULL;

    for (size_t i = 0; i < ARRAY_LEN(cases) - (suite_remote ? 2 : 0); i++) {
        int r = store_stream_resume(t->s, STR(STREAM_KEY), str_of(cases[i].state), cases[i].size,
                                    &st, NULL);
        assert_int_equal(r, cases[i].want);
        assert_null(st);
    }
    /* Less there than what was acknowledged. */
    struct buf saved auto_buf = BUF_INIT(STORE_STREAM_STATE_MAX);
    st = stream(t->s);
    add(st, "0123");
    save(st, &saved);
    store_stream_close(st);
    st = NULL;
    if (suite_remote) /* the state holds no bytes yet: nothing to miss */
        return;
    assert_int_equal(store_stream_resume(t->s, STR(STREAM_KEY), state_of(&saved), 5, &st, NULL),
                     -ERR_NOTFOUND);
    assert_null(st);
    assert_int_equal(store_stream_sweep(t->s, STR(STREAM_KEY), NULL), 0);
    assert_int_equal(store_stream_resume(t->s, STR(STREAM_KEY), state_of(&saved), 4, &st, NULL),
                     -ERR_NOTFOUND);
}

/* Design section 13, "two processes writing one upload file". */
static void test_stream_held_elsewhere_is_copied(void **state)
{
    struct suite *t = *state;
    struct buf saved auto_buf = BUF_INIT(STORE_STREAM_STATE_MAX);
    struct buf other auto_buf = BUF_INIT(STORE_STREAM_STATE_MAX);
    struct buf out auto_buf = BUF_INIT(64);
    struct store *second = t->backend->shared ? suite_open_again(t) : t->s;
    struct store_stream *a = stream(t->s);

    add(a, "0123456789");
    save(a, &saved);
    struct store_stream *b = resume(second, &saved, 10);
    struct store_stream *c = resume(t->s, &saved, 10);
    add(a, "aaa");
    add(b, "bbbb");
    add(c, "ccccc");
    save(b, &other);
    assert_int_equal(store_stream_sweep(t->s, STR(STREAM_KEY), NULL), 0); /* held: they stay */
    assert_int_equal(leftovers(t->s), suite_remote ? 0 : 3);
    assert_int_equal(store_stream_read(a, 0, 64, &out, NULL), 0);
    assert_int_equal(store_stream_read(c, 0, 64, &out, NULL), 0);
    assert_string_equal(buf_c(&out), "0123456789aaa0123456789ccccc");
    store_stream_close(c);
    store_stream_close(b);
    b = resume(t->s, &other, 14);
    assert_int_equal(store_stream_commit(b, NULL), 0);
    assert_int_equal(store_stream_commit(a, NULL), -ERR_EXISTS);
    store_stream_close(a);
    store_stream_close(b);
    suite_holds(t->s, STREAM_KEY, "0123456789bbbb");
    assert_int_equal(store_stream_sweep(second, STR(STREAM_KEY), NULL), 0);
    assert_int_equal(leftovers(second), 0);
    if (second != t->s)
        store_free(second);
}

/* One who resumes by an old state must not harm what a newer state names. */
static void test_stream_stale_resume_is_harmless(void **state)
{
    struct suite *t = *state;
    struct buf old auto_buf = BUF_INIT(STORE_STREAM_STATE_MAX);
    struct buf new auto_buf = BUF_INIT(STORE_STREAM_STATE_MAX);
    struct buf out auto_buf = BUF_INIT(64);
    struct store_stream *st = stream(t->s);

    add(st, "01234");
    save(st, &old);
    add(st, "56789");
    save(st, &new);
    store_stream_close(st);

    st = resume(t->s, &old, 5);
    add(st, "wrong");
    store_stream_close(st);
    st = resume(t->s, &old, 5);
    add(st, "other wrong");
    struct store_stream *right = resume(t->s, &new, 10);
    assert_int_equal(store_stream_read(right, 0, 64, &out, NULL), 0);
    assert_string_equal(buf_c(&out), "0123456789");
    store_stream_close(st);
    store_stream_close(right);
    assert_int_equal(store_stream_sweep(t->s, STR(STREAM_KEY), NULL), 0);
    assert_int_equal(leftovers(t->s), 0);
}

/* Ids one of which begins another: each sweep takes its own. */
static void test_stream_sweep_is_exact(void **state)
{
    static const char *const keys[] = {"data/ab/abcd", "data/ab/abcde", "data/abc/abcd"};
    enum { FULL_PART = 5 << 20 }; /* what a remote store makes one of */
    struct suite *t = *state;
    struct buf saved auto_buf = BUF_INIT(STORE_STREAM_STATE_MAX);
    char *part = calloc(1, FULL_PART);

    assert_non_null(part);
    for (size_t i = 0; i < ARRAY_LEN(keys); i++) {
        struct store_stream *st = NULL;

        assert_int_equal(store_stream_open(t->s, str_of(keys[i]), &st, NULL), 0);
        assert_int_equal(store_stream_write(st, str_make(part, suite_remote ? FULL_PART : 1), NULL),
                         0);
        save(st, &saved);
        store_stream_close(st);
    }
    free(part);
    struct listed got = {0};
    assert_int_equal(store_stream_list(t->s, suite_collect, &got, NULL), 0);
    assert_int_equal(got.count, 3);
    assert_int_equal(store_stream_sweep(t->s, STR("data/ab/abcd"), NULL), 0);
    got.count = 0;
    assert_int_equal(store_stream_list(t->s, suite_collect, &got, NULL), 0);
    assert_int_equal(got.count, 2);
    for (unsigned i = 0; i < got.count; i++)
        assert_string_not_equal(got.keys[i], "data/ab/abcd");
}

/* More than is synced or copied in one piece. */
static void test_stream_large(void **state)
{
    enum { PIECE = 1 << 20, PIECES = 35 };
    struct suite *t = *state;
    struct buf saved auto_buf = BUF_INIT(STORE_STREAM_STATE_MAX);
    struct store_stream *st = stream(t->s), *copy;
    char *piece = malloc(PIECE);
    struct store_info info;

    assert_non_null(piece);
    for (int i = 0; i < PIECES; i++) {
        memset(piece, 'a' + i % 26, PIECE);
        assert_int_equal(store_stream_write(st, str_make(piece, PIECE), NULL), 0);
    }
    save(st, &saved);
    copy = resume(t->s, &saved, (uint64_t)PIECES * PIECE); /* held: a copy */
    store_stream_close(st);
    assert_int_equal(store_stream_write(copy, STR("end"), NULL), 0);
    assert_int_equal(store_stream_commit(copy, NULL), 0);
    store_stream_close(copy);
    assert_int_equal(store_head(t->s, STR(STREAM_KEY), &info, NULL), 0);
    assert_int_equal(info.size, (uint64_t)PIECES * PIECE + 3);
    for (int i = 0; i < PIECES; i++) {
        struct buf out auto_buf = BUF_INIT(PIECE);

        memset(piece, 'a' + i % 26, PIECE);
        assert_int_equal(store_get(t->s, STR(STREAM_KEY), (uint64_t)i * PIECE, PIECE, &out, NULL),
                         0);
        assert_true(str_eq(buf_str(&out), str_make(piece, PIECE)));
    }
    free(piece);
}

const struct suite_test suite_stream_tests[SUITE_STREAM_TESTS] = {
    {"S1 S2 stream commit", test_stream_commit},
    {"stream empty", test_stream_empty},
    {"stream saved and resumed", test_stream_saved_and_resumed},
    {"stream unsaved leaves nothing", test_stream_unsaved_leaves_nothing},
    {"stream bad states", test_stream_bad_states},
    {"stream held elsewhere is copied", test_stream_held_elsewhere_is_copied},
    {"stream stale resume is harmless", test_stream_stale_resume_is_harmless},
    {"stream sweep is exact", test_stream_sweep_is_exact},
    {"stream large", test_stream_large},
};
