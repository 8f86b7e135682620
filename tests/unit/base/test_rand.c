/* Random bytes and uniform numbers. */
#include "base/rand.h"
#include "check.h"

static void fills_exactly(void **state)
{
    unsigned char bytes[300], seen[256] = {0};
    size_t different = 0;

    (void)state;
    memset(bytes, 0, sizeof(bytes));
    rand_bytes(bytes, 0);
    assert_int_equal(bytes[0], 0);
    for (int round = 0; round < 20; round++) {
        rand_bytes(bytes, 299);
        assert_int_equal(bytes[299], 0);
        for (size_t i = 0; i < 299; i++) {
            different += !seen[bytes[i]];
            seen[bytes[i]] = 1;
        }
    }
    assert_int_equal(different, 256);
}

static void below_is_uniform(void **state)
{
    static const uint64_t limits[] = {1, 2, 3, 10, UINT64_C(1) << 63, UINT64_MAX};
    unsigned count[7] = {0};

    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(limits); i++) {
        for (int n = 0; n < 200; n++)
            assert_true(rand_below(limits[i]) < limits[i]);
    }
    for (int n = 0; n < 70000; n++)
        count[rand_below(7)]++;
    for (size_t i = 0; i < ARRAY_LEN(count); i++)
        check(count[i] > 9000 && count[i] < 11000, "%zu: %u", i, count[i]);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(fills_exactly),
        cmocka_unit_test(below_is_uniform),
    };

    return cmocka_run_group_tests_name("rand", tests, NULL, NULL);
}
