/* Clocks and sleep of the kernel. */
#include <time.h>

#include "base/clock.h"
#include "check.h"

static void clocks_tell_the_time(void **state)
{
    int64_t before = (int64_t)time(NULL), boot = clock_boot_ns();
    int64_t wall = clock_wall_ms();

    (void)state;
    assert_true(wall >= (before - 1) * 1000 && wall <= (before + 60) * 1000);
    for (int i = 0; i < 1000; i++) {
        int64_t next = clock_boot_ns();

        assert_true(next >= boot);
        boot = next;
    }
    assert_true(clock_boot_ms() - boot / 1000000 < 60000);
    assert_true(clock_boot_ms() >= boot / 1000000);
}

static void sleeps_at_least(void **state)
{
    int64_t start = clock_boot_ns();

    (void)state;
    clock_sleep_ms(30);
    assert_true(clock_boot_ns() - start >= 30 * 1000000);
    clock_sleep_ms(0);
    clock_sleep_ms(-5);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(clocks_tell_the_time),
        cmocka_unit_test(sleeps_at_least),
    };

    return cmocka_run_group_tests_name("clock", tests, NULL, NULL);
}
