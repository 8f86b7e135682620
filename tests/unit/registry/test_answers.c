/* The cache of prepared manifest answers: what is found, what goes, that it stays bounded. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "base/thread.h"
#include "registry/answers.h"

#define TYPE     STR("application/vnd.oci.image.manifest.v1+json")
#define THREADS  4
#define ROUNDS   2000
#define CAPACITY (ANSWERS_BYTES_MAX / ANSWERS_ONE_MAX) /* of the largest answers */

static struct digest digest_no(unsigned n)
{
    struct digest d;

    digest_of(DIGEST_SHA256, str_make(&n, sizeof(n)), &d);
    return d;
}

static struct answers *cache(void)
{
    struct answers *a;

    assert_int_equal(answers_new(&a), 0);
    return a;
}

static struct answer *body(const char *text)
{
    struct answer *a;

    assert_int_equal(answer_new(200, str_of(text), &a), 0);
    return a;
}

/* Puts an answer and gives up the caller's reference; returns its address for comparison only. */
static struct answer *put(struct answers *a, const struct digest *d, bool by_tag, size_t bytes)
{
    struct answer *one = body("x");

    answers_put(a, d, TYPE, by_tag, one, bytes);
    answer_unref(one);
    return one;
}

static bool has(struct answers *a, const struct digest *d, bool by_tag)
{
    struct answer *one = answers_get(a, d, TYPE, by_tag);

    if (one)
        answer_unref(one);
    return one != NULL;
}

/* Digest, media type and the way of asking all belong to the key. */
static void test_key(void **state)
{
    struct answers *a = cache();
    struct digest one = digest_no(1), two = digest_no(2), same_bytes = one;
    struct answer *stored, *got;

    (void)state;
    same_bytes.alg = DIGEST_SHA512;
    assert_null(answers_get(a, &one, TYPE, false));
    stored = put(a, &one, false, 1);
    got = answers_get(a, &one, TYPE, false);
    assert_ptr_equal(got, stored);
    answer_unref(got);
    assert_false(has(a, &one, true));
    assert_false(has(a, &two, false));
    assert_false(has(a, &same_bytes, false));
    assert_null(answers_get(a, &one, STR("application/json"), false));
    assert_null(answers_get(a, &one, STR_NONE, false));
    answers_free(a);
}

static void test_empty_media_type(void **state)
{
    struct answers *a = cache();
    struct digest d = digest_no(1);
    struct answer *one = body("x"), *got;

    (void)state;
    answers_put(a, &d, STR_NONE, false, one, 1);
    got = answers_get(a, &d, STR_NONE, false);
    assert_ptr_equal(got, one);
    answer_unref(got);
    answer_unref(one);
    answers_free(a);
}

/* The first of two puts stays; the second answer is not leaked. */
static void test_put_twice(void **state)
{
    struct answers *a = cache();
    struct digest d = digest_no(1);
    struct answer *first = put(a, &d, false, 1), *got;

    (void)state;
    put(a, &d, false, 1);
    got = answers_get(a, &d, TYPE, false);
    assert_ptr_equal(got, first);
    answer_unref(got);
    answers_free(a);
}

/* A reference outlives its entry and the cache. */
static void test_reference_outlives(void **state)
{
    struct answers *a = cache();
    struct digest d = digest_no(1);
    struct answer *got;

    (void)state;
    put(a, &d, false, 1);
    got = answers_get(a, &d, TYPE, false);
    assert_non_null(got);
    answers_free(a);
    answer_unref(got);
}

static void test_too_large_is_not_kept(void **state)
{
    static char long_type[300];
    struct answers *a = cache();
    struct digest d = digest_no(1);
    struct answer *one = body("x");

    (void)state;
    put(a, &d, false, ANSWERS_ONE_MAX + 1);
    assert_false(has(a, &d, false));
    put(a, &d, false, ANSWERS_ONE_MAX);
    assert_true(has(a, &d, false));
    memset(long_type, 'x', sizeof(long_type));
    answers_put(a, &d, str_make(long_type, sizeof(long_type)), false, one, 1);
    assert_null(answers_get(a, &d, str_make(long_type, sizeof(long_type)), false));
    answer_unref(one);
    answers_free(a);
}

/* Least recently used goes first; being asked for counts as use. */
static void test_eviction(void **state)
{
    struct answers *a = cache();
    struct digest kept = digest_no(0), old = digest_no(1);
    unsigned left = 0;

    (void)state;
    put(a, &kept, false, ANSWERS_ONE_MAX);
    put(a, &old, false, ANSWERS_ONE_MAX);
    for (unsigned i = 2; i < CAPACITY + 2; i++) {
        struct digest d = digest_no(i);

        put(a, &d, false, ANSWERS_ONE_MAX);
        assert_true(has(a, &kept, false));
        assert_true(has(a, &d, false));
    }
    assert_false(has(a, &old, false));
    for (unsigned i = 0; i < CAPACITY + 2; i++) {
        struct digest d = digest_no(i);

        left += has(a, &d, false);
    }
    assert_in_range(left, CAPACITY - 2, CAPACITY);
    answers_free(a);
}

/* Small answers are bounded as well: an entry costs more than its body. */
static void test_many_small(void **state)
{
    struct answers *a = cache();
    unsigned left = 0;

    (void)state;
    for (unsigned i = 0; i < 20000; i++) {
        struct digest d = digest_no(i);

        put(a, &d, i % 2, 0);
    }
    for (unsigned i = 0; i < 20000; i++) {
        struct digest d = digest_no(i);

        left += has(a, &d, i % 2);
    }
    assert_in_range(left, 1000, ANSWERS_BYTES_MAX / 512);
    answers_free(a);
}

static void hammer(void *arg)
{
    struct answers *a = arg;

    for (unsigned i = 0; i < ROUNDS; i++) {
        struct digest d = digest_no(i % 97);
        struct answer *one;

        if (i % 3 == 0) {
            if (answer_new(200, STR("x"), &one) < 0)
                continue;
            answers_put(a, &d, TYPE, false, one, ANSWERS_ONE_MAX);
        } else {
            one = answers_get(a, &d, TYPE, false);
        }
        if (one)
            answer_unref(one);
    }
}

static void test_threads(void **state)
{
    struct answers *a = cache();
    struct thread threads[THREADS];

    (void)state;
    for (unsigned i = 0; i < THREADS; i++)
        assert_int_equal(thread_start(&threads[i], "hammer", hammer, a), 0);
    for (unsigned i = 0; i < THREADS; i++)
        thread_join(&threads[i]);
    answers_free(a);
}

static void test_free_of_nothing(void **state)
{
    (void)state;
    answers_free(NULL);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_key),
        cmocka_unit_test(test_empty_media_type),
        cmocka_unit_test(test_put_twice),
        cmocka_unit_test(test_reference_outlives),
        cmocka_unit_test(test_too_large_is_not_kept),
        cmocka_unit_test(test_eviction),
        cmocka_unit_test(test_many_small),
        cmocka_unit_test(test_threads),
        cmocka_unit_test(test_free_of_nothing),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
