/* Records kept for a moment. */
#include "blobstore/recent.h"
#include "fixture.h"

static struct digest digest_with(uint8_t first, uint8_t last)
{
    struct digest d = {.alg = DIGEST_SHA256};

    d.bytes[0] = first;
    d.bytes[31] = last;
    return d;
}

static void put(struct recent *r, const struct digest *d, const char *text)
{
    struct buf b = BUF_INIT(RECENT_RECORD_MAX);

    buf_add(&b, str_of(text));
    recent_put(r, d, &b);
    assert_int_equal(b.len, 0);
    assert_null(b.at);
}

static void each_is_given_once(void **state)
{
    struct digest a = digest_with(1, 1), same_slot = digest_with(1, 2), b = digest_with(2, 1);
    struct buf got auto_buf = BUF_INIT(0);
    struct recent *r;

    (void)state;
    assert_int_equal(recent_new(&r), 0);
    assert_false(recent_take(r, &a, &got));
    put(r, &a, "one");
    put(r, &b, "two");
    assert_false(recent_take(r, &same_slot, &got));
    assert_true(recent_take(r, &a, &got));
    assert_true(str_eq(buf_str(&got), STR("one")));
    buf_done(&got);
    assert_false(recent_take(r, &a, &got));
    put(r, &a, "three");
    put(r, &same_slot, "four");
    assert_false(recent_take(r, &a, &got));
    assert_true(recent_take(r, &same_slot, &got));
    assert_true(str_eq(buf_str(&got), STR("four")));
    recent_free(r); /* with "two" in it */
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(each_is_given_once),
    };

    return cmocka_run_group_tests_name("recent", tests, NULL, NULL);
}
