/* The check of stores: a good one passes and keeps nothing, careless ones are refused with a
 * sentence that says what they did. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "blobstore/store_check.h"
#include "blobstore/store_ops.h"
#include "blobstore/store_s3.h"

/* The memory store with one operation done wrong. */
static const struct store_ops *good;
static unsigned lists;

static int overwrite(struct store *s, struct str key, enum store_class cls, struct str bytes,
                     struct err_detail *d)
{
    return good->put(s, key, cls, bytes, d);
}

/* Refuses, but stores the bytes. */
static int refuse_and_store(struct store *s, struct str key, enum store_class cls, struct str bytes,
                            struct err_detail *d)
{
    int r = good->create(s, key, cls, bytes, d);

    return r == -ERR_EXISTS && good->put(s, key, cls, bytes, d) < 0 ? -ERR_IO : r;
}

/* All that run at once see that nothing is there, then all write. */
static void look_then_write(struct store *s, struct store_op *ops, size_t count)
{
    struct store_info info;
    bool free_[STORE_CHECK_RACERS];

    for (size_t i = 0; i < count; i++)
        free_[i] = store_head(s, ops[i].key, &info, NULL) == -ERR_NOTFOUND;
    for (size_t i = 0; i < count; i++)
        ops[i].result =
            free_[i] ? store_put(s, ops[i].key, ops[i].cls, ops[i].bytes, NULL) : -ERR_EXISTS;
}

static int list_nothing(struct store *s, struct str prefix, struct str after, unsigned max,
                        store_list_fn fn, void *arg, struct err_detail *d)
{
    (void)s;
    (void)prefix;
    (void)after;
    (void)max;
    (void)fn;
    (void)arg;
    (void)d;
    lists++;
    return 0;
}

static int warn(struct store *s, struct str key, struct err_detail *d)
{
    (void)s;
    (void)key;
    return err_set(d, -ERR_AGAIN, "a warning");
}

static int count(struct str key, const struct store_info *info, void *arg)
{
    (void)key;
    (void)info;
    ++*(unsigned *)arg;
    return 0;
}

struct heard {
    unsigned good, warnings, unsafe;
};

static void hear(const struct store_finding *f, void *arg)
{
    struct heard *h = arg;

    h->good += f->verdict == STORE_CHECK_GOOD;
    h->warnings += f->verdict == STORE_CHECK_WARNING;
    h->unsafe += f->verdict == STORE_CHECK_UNSAFE;
}

static void expect(const struct store_ops *ops, int want, const char *word, struct heard *heard)
{
    struct store *s = NULL;
    struct err_detail why = {""};
    unsigned left = 0;

    assert_int_equal(store_mem_new(&s), 0);
    good = s->ops;
    s->ops = ops != NULL ? ops : good;
    assert_int_equal(store_check(s, hear, heard, &why), want);
    assert_true(word == NULL ? why.text[0] == '\0' : strstr(why.text, word) != NULL);
    s->ops = good;
    assert_int_equal(store_list(s, STR_NONE, STR_NONE, STORE_LIST_MAX, count, &left, NULL), 0);
    assert_int_equal(left, 0);
    store_free(s);
}

static struct store_ops with(void)
{
    struct store *s = NULL;
    struct store_ops copy;

    assert_int_equal(store_mem_new(&s), 0);
    copy = *s->ops;
    store_free(s);
    return copy;
}

static void test_good(void **state)
{
    struct store_ops warns = with();
    struct heard heard = {0}, warned = {0};

    (void)state;
    expect(NULL, 0, NULL, &heard);
    assert_int_equal(heard.good, 5);
    warns.check = warn;
    expect(&warns, 0, NULL, &warned);
    assert_int_equal(warned.good, 4);
    assert_int_equal(warned.warnings, 1);
}

static void test_careless(void **state)
{
    struct store_ops ignores = with(), stores = with(), looks = with(), forgets = with();
    struct heard heard = {0};

    (void)state;
    ignores.create = overwrite;
    expect(&ignores, -ERR_UNSUPPORTED, "ignores the condition", &heard);
    stores.create = refuse_and_store;
    expect(&stores, -ERR_UNSUPPORTED, "changed the object", &heard);
    looks.run = look_then_write;
    expect(&looks, -ERR_UNSUPPORTED, "looks first", &heard);
    forgets.list = list_nothing;
    expect(&forgets, -ERR_UNSUPPORTED, "misses objects", &heard);
    assert_int_equal(heard.unsafe, 4);
    assert_int_equal(lists, 1);
}

static void test_urls(void **state)
{
    static const struct {
        const char *url, *bucket, *prefix;
    } cases[] = {
        {"s3://bucket", "bucket", ""},
        {"s3://bucket/", "bucket", ""},
        {"s3://my-bucket.x/a/b/", "my-bucket.x", "a/b"},
        {"s3://bucket/v2x/av2", "bucket", "v2x/av2"},
        {"s3://ab", NULL, NULL},
        {"s3://", NULL, NULL},
        {"s3:/bucket", NULL, NULL},
        {"s3://buck?et", NULL, NULL},
        {"s3://bucket//a", NULL, NULL},
        {"s3://bucket/a//b", NULL, NULL},
        {"s3://bucket/v2", NULL, NULL},
        {"s3://bucket/a/v1/b", NULL, NULL},
    };

    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        struct err_detail why = {""};
        struct str bucket, prefix;
        int r = store_s3_parse_url(str_of(cases[i].url), &bucket, &prefix, &why);

        assert_int_equal(r, cases[i].bucket != NULL ? 0 : -ERR_INVAL);
        assert_int_equal(why.text[0] != '\0', r < 0);
        if (r == 0) {
            assert_true(str_eq(bucket, str_of(cases[i].bucket)));
            assert_true(str_eq(prefix, str_of(cases[i].prefix)));
        }
    }
}

int main(void)
{
    static const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_good),
        cmocka_unit_test(test_careless),
        cmocka_unit_test(test_urls),
    };

    return cmocka_run_group_tests_name("check", tests, NULL, NULL);
}
