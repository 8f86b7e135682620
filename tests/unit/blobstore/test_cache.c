/* The disk cache: rules C1 to C4 of blobstore/cache.h. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <ftw.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/thread.h"
#include "blobstore/cache.h"

#define SIZE   (5u * CACHE_BLOCK + 12345)
#define ID     "00112233445566778899aabbccddeeff"
#define HEADER 16

/* ---- a store of one object: byte i is a function of i */

struct origin {
    struct digest digest;
    char *bytes;
    uint64_t size;
    atomic_uint fetches, fetched_bytes;
    int fail;
    int64_t slow_ms;
};

struct bench {
    char dir[64];
    struct origin origin;
    struct cache *cache;
};

static int fetch(void *arg, uint64_t offset, size_t len, struct buf *out, struct err_detail *detail)
{
    struct origin *o = arg;

    atomic_fetch_add(&o->fetches, 1);
    atomic_fetch_add(&o->fetched_bytes, (unsigned)len);
    if (o->slow_ms > 0)
        clock_sleep_ms(o->slow_ms);
    if (o->fail < 0)
        return err_set(detail, o->fail, "planned");
    buf_add(out, str_make(o->bytes + offset, len));
    return buf_err(out);
}

static int remove_one(const char *path, const struct stat *st, int type, struct FTW *at)
{
    (void)st, (void)type, (void)at;
    return remove(path);
}

static int setup(void **state)
{
    struct bench *t = calloc(1, sizeof(*t));

    assert_non_null(t);
    snprintf(t->dir, sizeof(t->dir), "/tmp/cache-XXXXXX");
    assert_non_null(mkdtemp(t->dir));
    t->origin.size = SIZE;
    t->origin.bytes = malloc(SIZE);
    assert_non_null(t->origin.bytes);
    for (size_t i = 0; i < SIZE; i++)
        t->origin.bytes[i] = (char)(i * 2654435761u >> 13);
    digest_of(DIGEST_SHA256, str_make(t->origin.bytes, SIZE), &t->origin.digest);
    assert_int_equal(cache_open(t->dir, CACHE_BYTES_MIN, &t->cache, NULL), 0);
    *state = t;
    return 0;
}

static int teardown(void **state)
{
    struct bench *t = *state;

    cache_free(t->cache);
    nftw(t->dir, remove_one, 16, FTW_DEPTH | FTW_PHYS);
    free(t->origin.bytes);
    free(t);
    return 0;
}

static int try_read(struct bench *t, const char *id, uint64_t offset, size_t len, struct buf *out)
{
    struct cache_object o = {str_of(id), t->origin.size, &t->origin.digest};

    return cache_read(t->cache, &o, offset, len, fetch, &t->origin, out, NULL);
}

/* Reads and compares. */
static void expect(struct bench *t, const char *id, uint64_t offset, size_t len)
{
    struct buf out auto_buf = BUF_INIT(CACHE_READ_MAX);

    assert_int_equal(try_read(t, id, offset, len, &out), 0);
    assert_int_equal(out.len, len);
    assert_memory_equal(out.at, t->origin.bytes + offset, len);
}

static void forget_counts(struct bench *t)
{
    atomic_store(&t->origin.fetches, 0);
    atomic_store(&t->origin.fetched_bytes, 0);
}

static void expect_fetches(struct bench *t, unsigned fetches, unsigned bytes)
{
    assert_int_equal(atomic_load(&t->origin.fetches), fetches);
    assert_int_equal(atomic_load(&t->origin.fetched_bytes), bytes);
    forget_counts(t);
}

static void path_of(const struct bench *t, const char *id, unsigned block, char out[256])
{
    snprintf(out, 256, "%s/%s/%s.%08x", t->dir, id + strlen(id) - 2, id, block);
}

/* ---- tests */

static void test_second_read_is_free(void **state)
{
    struct bench *t = *state;

    expect(t, ID, 0, SIZE);
    expect_fetches(t, 1, SIZE);
    expect(t, ID, 0, SIZE);
    expect(t, ID, CACHE_BLOCK - 1, 2);
    expect(t, ID, SIZE - 1, 1);
    expect_fetches(t, 0, 0);
    assert_int_equal(cache_bytes(t->cache), SIZE + 6 * HEADER);
}

/* A range fetches its own blocks, in runs around what is here. */
static void test_ranges(void **state)
{
    struct bench *t = *state;

    expect(t, ID, 2 * CACHE_BLOCK + 7, 10);
    expect_fetches(t, 1, CACHE_BLOCK);
    expect(t, ID, CACHE_BLOCK, 3 * CACHE_BLOCK);
    expect_fetches(t, 2, 2 * CACHE_BLOCK);
    expect(t, ID, SIZE - 10, 10);
    expect_fetches(t, 1, 12345);
    expect(t, ID, 0, SIZE);
    expect_fetches(t, 2, 2 * CACHE_BLOCK);
}

static void test_after_a_restart(void **state)
{
    struct bench *t = *state;
    struct cache *second = NULL;
    struct err_detail why = {""};
    char path[256];

    expect(t, ID, 0, SIZE);
    forget_counts(t);
    assert_int_equal(cache_open(t->dir, CACHE_BYTES_MIN, &second, &why), -ERR_BUSY);
    assert_non_null(strstr(why.text, t->dir));
    cache_free(t->cache);
    snprintf(path, sizeof(path), "%s/.fill-0123456789abcdef", t->dir);
    fclose(fopen(path, "w"));
    snprintf(path, sizeof(path), "%s/ff/readme", t->dir);
    assert_int_equal(cache_open(t->dir, CACHE_BYTES_MIN, &t->cache, NULL), 0);
    snprintf(path, sizeof(path), "%s/.fill-0123456789abcdef", t->dir);
    assert_int_not_equal(access(path, F_OK), 0);
    expect(t, ID, 0, SIZE);
    expect_fetches(t, 0, 0);
}

/* C1: one bit anywhere in a file, also of its header, or a file that was cut. */
static void test_damage(void **state)
{
    struct bench *t = *state;
    char path[256];
    static const long places[] = {0, 9, 13, HEADER, HEADER + 5000, HEADER + CACHE_BLOCK - 1};

    expect(t, ID, 0, SIZE);
    forget_counts(t);
    path_of(t, ID, 1, path);
    for (size_t i = 0; i < ARRAY_LEN(places); i++) {
        FILE *f = fopen(path, "r+");
        int c;

        assert_non_null(f);
        assert_int_equal(fseek(f, places[i], SEEK_SET), 0);
        c = fgetc(f);
        assert_int_equal(fseek(f, places[i], SEEK_SET), 0);
        assert_int_equal(fputc(c ^ 4, f), c ^ 4);
        fclose(f);
        expect(t, ID, 0, 3 * CACHE_BLOCK);
        expect_fetches(t, 1, CACHE_BLOCK);
        expect(t, ID, CACHE_BLOCK, 10);
        expect_fetches(t, 0, 0);
    }
    assert_int_equal(truncate(path, 100), 0);
    expect(t, ID, CACHE_BLOCK, 100);
    expect_fetches(t, 1, CACHE_BLOCK);
}

static void test_removed_while_running(void **state)
{
    struct bench *t = *state;

    expect(t, ID, 0, SIZE);
    forget_counts(t);
    nftw(t->dir, remove_one, 16, FTW_DEPTH | FTW_PHYS);
    expect(t, ID, 0, SIZE);
    expect_fetches(t, 1, SIZE);
    expect(t, ID, 0, SIZE); /* the directory itself is gone: nothing is kept, everything served */
}

/* C3, and who was used last stays. */
static void test_room(void **state)
{
    struct bench *t = *state;
    char id[40];

    for (unsigned i = 0; i < 8; i++) {
        snprintf(id, sizeof(id), "%032x", i);
        expect(t, id, 0, SIZE);
        assert_true(cache_bytes(t->cache) <= CACHE_BYTES_MIN);
        if (i == 2) /* a second use */
            expect(t, "00000000000000000000000000000000", 0, 1);
    }
    assert_true(cache_bytes(t->cache) > CACHE_BYTES_MIN - 2 * CACHE_BLOCK);
    forget_counts(t);
    expect(t, id, 0, SIZE);
    expect_fetches(t, 0, 0);
    expect(t, "00000000000000000000000000000001", 0, 1);
    expect_fetches(t, 1, CACHE_BLOCK);
}

static void test_a_smaller_limit(void **state)
{
    struct bench *t = *state;
    char id[40];

    cache_free(t->cache);
    assert_int_equal(cache_open(t->dir, 4 * CACHE_BYTES_MIN, &t->cache, NULL), 0);
    for (unsigned i = 0; i < 8; i++) {
        snprintf(id, sizeof(id), "%032x", i);
        expect(t, id, 0, SIZE);
    }
    assert_true(cache_bytes(t->cache) > 2 * CACHE_BYTES_MIN);
    cache_free(t->cache);
    assert_int_equal(cache_open(t->dir, CACHE_BYTES_MIN, &t->cache, NULL), 0);
    assert_true(cache_bytes(t->cache) <= CACHE_BYTES_MIN);
}

/* C2. */
static void test_wrong_bytes_of_the_store(void **state)
{
    struct bench *t = *state;
    struct buf out auto_buf = BUF_INIT(CACHE_READ_MAX);

    t->origin.digest.bytes[0] ^= 1;
    assert_int_equal(try_read(t, ID, 0, 2 * CACHE_BLOCK, &out), 0); /* nobody can tell yet */
    buf_clear(&out);
    assert_int_equal(try_read(t, ID, 0, SIZE, &out), -ERR_CORRUPT);
    assert_int_equal(cache_bytes(t->cache), 0);
}

static void test_failing_store(void **state)
{
    struct bench *t = *state;
    struct buf out auto_buf = BUF_INIT(CACHE_READ_MAX);

    expect(t, ID, 2 * CACHE_BLOCK, 1);
    t->origin.fail = -ERR_UNAVAIL;
    assert_int_equal(try_read(t, ID, 0, SIZE, &out), -ERR_UNAVAIL);
    expect(t, ID, 2 * CACHE_BLOCK, CACHE_BLOCK);
    t->origin.fail = 0;
    expect(t, ID, 0, SIZE);
    assert_int_equal(cache_bytes(t->cache), SIZE + 6 * HEADER);
}

/* ---- C4 */

static void reader(void *arg)
{
    struct bench *t = arg;
    struct buf out auto_buf = BUF_INIT(CACHE_READ_MAX);

    if (try_read(t, ID, 0, SIZE, &out) < 0 || out.len != SIZE ||
        memcmp(out.at, t->origin.bytes, SIZE) != 0)
        abort();
}

static void test_one_fetch_for_all(void **state)
{
    struct bench *t = *state;
    struct thread threads[8];

    t->origin.slow_ms = 300;
    for (size_t i = 0; i < ARRAY_LEN(threads); i++)
        assert_int_equal(thread_start(&threads[i], "reader", reader, t), 0);
    for (size_t i = 0; i < ARRAY_LEN(threads); i++)
        thread_join(&threads[i]);
    /* Two readers may have claimed blocks in turns; no block was fetched twice. */
    assert_int_equal(atomic_load(&t->origin.fetched_bytes), SIZE);
}

/* Reads across each other, each waiting for blocks of the other's. */
static void random_reader(void *arg)
{
    struct bench *t = arg;
    unsigned seed = (unsigned)(uintptr_t)&seed;

    for (unsigned i = 0; i < 25; i++) {
        struct buf out auto_buf = BUF_INIT(CACHE_READ_MAX);
        char id[40];
        size_t offset, len;

        seed = seed * 1664525 + 1013904223;
        snprintf(id, sizeof(id), "%032x", (seed >> 8) % 5);
        offset = (seed >> 12) % SIZE;
        len = 1 + (seed >> 4) % (SIZE - offset);
        if (try_read(t, id, offset, len, &out) < 0 || out.len != len ||
            memcmp(out.at, t->origin.bytes + offset, len) != 0 ||
            cache_bytes(t->cache) > CACHE_BYTES_MIN)
            abort();
    }
}

static void test_many_readers(void **state)
{
    struct bench *t = *state;
    struct thread threads[6];

    for (size_t i = 0; i < ARRAY_LEN(threads); i++)
        assert_int_equal(thread_start(&threads[i], "reader", random_reader, t), 0);
    for (size_t i = 0; i < ARRAY_LEN(threads); i++)
        thread_join(&threads[i]);
}

#define TEST(fn) cmocka_unit_test_setup_teardown(fn, setup, teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(test_second_read_is_free),   TEST(test_ranges),
        TEST(test_after_a_restart),       TEST(test_damage),
        TEST(test_removed_while_running), TEST(test_room),
        TEST(test_a_smaller_limit),       TEST(test_wrong_bytes_of_the_store),
        TEST(test_failing_store),         TEST(test_one_fetch_for_all),
        TEST(test_many_readers),
    };

    digest_setup();
    return cmocka_run_group_tests(tests, NULL, NULL);
}
