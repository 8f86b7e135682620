/* Credentials seen before, delays, and the threads where log-ins are verified. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>

#include "auth/gate.h"
#include "auth/seen.h"
#include "auth/throttle.h"
#include "base/clock.h"

static struct login *named(const char *name)
{
    struct login *l;

    assert_int_equal(login_new(LOGIN_PASSWORD, str_of(name), &l), 0);
    return l;
}

static bool is_named(const struct login *l, void *arg)
{
    return strcmp(login_name(l), arg) == 0;
}

static void put(struct seen *s, const char *name, int64_t until, uint64_t epoch)
{
    uint8_t key[HMAC_BYTES];
    struct login *l = named(name);

    seen_key(s, 'p', str_of(name), STR("pw"), key);
    seen_put(s, key, l, until, epoch);
    login_unref(l);
}

static bool has(struct seen *s, const char *name, const char *password, int64_t now)
{
    uint8_t key[HMAC_BYTES];
    struct login *l;

    seen_key(s, 'p', str_of(name), str_of(password), key);
    l = seen_get(s, key, now);
    login_unref(l);
    return l != NULL;
}

static void test_seen(void **state)
{
    struct seen *s;
    uint64_t epoch;

    (void)state;
    assert_int_equal(seen_new(&s), 0);
    put(s, "a", 100, seen_epoch(s));
    put(s, "b", 100, seen_epoch(s));
    assert_true(has(s, "a", "pw", 99));
    assert_false(has(s, "a", "pW", 99));
    assert_false(has(s, "ap", "w", 99));
    epoch = seen_epoch(s);
    seen_drop(s, is_named, (void *)(uintptr_t) "a");
    assert_false(has(s, "a", "pw", 99));
    assert_true(has(s, "b", "pw", 99));
    put(s, "a", 100, epoch); /* verified before the drop: does not count */
    assert_false(has(s, "a", "pw", 99));
    assert_false(has(s, "b", "pw", 100));
    assert_int_equal(seen_count(s), 0);
    seen_free(s);
}

static void test_seen_is_bounded(void **state)
{
    struct seen *s;
    char name[16];

    (void)state;
    assert_int_equal(seen_new(&s), 0);
    for (int i = 0; i < SEEN_MAX + 10; i++) {
        snprintf(name, sizeof(name), "u%d", i);
        put(s, name, 100, seen_epoch(s));
    }
    assert_int_equal(seen_count(s), SEEN_MAX);
    assert_false(has(s, "u0", "pw", 1));
    assert_true(has(s, name, "pw", 1));
    seen_free(s);
}

static void test_pair_is_refused_user_only_slowed(void **state)
{
    struct throttle *t;
    int64_t ms, now = 1000000;
    char address[32];

    (void)state;
    assert_int_equal(throttle_new(&t), 0);
    for (uint64_t i = 0; i < THROTTLE_FREE; i++)
        throttle_failed(t, STR("alice"), STR("a1"), 1 + i, now);
    for (int i = 0; i < 100; i++) /* the same once more is no guess */
        throttle_failed(t, STR("alice"), STR("a1"), THROTTLE_FREE, now);
    assert_int_equal(throttle_ask(t, STR("alice"), STR("a1"), now, &ms), 0);
    assert_int_equal(ms, 0);
    throttle_failed(t, STR("alice"), STR("a1"), 90, now);
    assert_int_equal(throttle_ask(t, STR("alice"), STR("a1"), now, &ms), -ERR_THROTTLED);
    assert_int_equal(ms, THROTTLE_REFUSE_MS);
    assert_int_equal(throttle_ask(t, STR("alice"), STR("a2"), now, &ms), 0);
    assert_int_equal(throttle_ask(t, STR("bob"), STR("a1"), now, &ms), 0);
    assert_int_equal(throttle_ask(t, STR("alice"), STR("a1"), now + THROTTLE_REFUSE_MS, &ms), 0);
    throttle_failed(t, STR("alice"), STR("a1"), 91, now);
    assert_int_equal(throttle_ask(t, STR("alice"), STR("a1"), now, &ms), -ERR_THROTTLED);
    assert_int_equal(ms, 2 * THROTTLE_REFUSE_MS);
    throttle_passed(t, STR("alice"), STR("a1"), now);
    assert_int_equal(throttle_ask(t, STR("alice"), STR("a1"), now, &ms), 0);
    for (int i = 0; i < 1000; i++) { /* from everywhere: slow, and never refused */
        snprintf(address, sizeof(address), "many%d", i);
        throttle_failed(t, STR("alice"), str_of(address), 1, now);
    }
    assert_int_equal(throttle_ask(t, STR("alice"), STR("fresh"), now, &ms), 0);
    assert_int_equal(ms, THROTTLE_SLOW_MAX);
    assert_int_equal(throttle_ask(t, STR("alice"), STR("fresh"), now + THROTTLE_FORGET_MS, &ms), 0);
    assert_int_equal(ms, 0);
    throttle_free(t);
}

/* However many names fail, the table stays as it is, and the newest failures are in it. */
static void test_throttle_is_bounded(void **state)
{
    struct throttle *t;
    char user[32];
    int64_t ms;

    (void)state;
    assert_int_equal(throttle_new(&t), 0);
    for (int i = 0; i < 3 * THROTTLE_ENTRIES; i++) {
        snprintf(user, sizeof(user), "u%d", i);
        throttle_failed(t, str_of(user), STR("a"), 1, i);
    }
    for (uint64_t i = 0; i <= THROTTLE_FREE; i++)
        throttle_failed(t, STR("last"), STR("a"), 1 + i, 100000);
    assert_int_equal(throttle_ask(t, STR("last"), STR("a"), 100000, &ms), -ERR_THROTTLED);
    throttle_free(t);
}

struct job {
    struct gate_item item;
    int number;
};
static atomic_int ran[8];
static atomic_int ran_count;

static void run(struct gate_item *item)
{
    struct job *j = (struct job *)item;

    atomic_store(&ran[atomic_fetch_add(&ran_count, 1)], j->number);
}

static void test_gate_runs_in_order_of_time(void **state)
{
    struct job jobs[3] = {{{run, NULL, 0}, 1}, {{run, NULL, 0}, 2}, {{run, NULL, 0}, 3}};
    struct gate *g;

    (void)state;
    assert_int_equal(gate_new(1, &g), 0);
    assert_int_equal(gate_submit(g, &jobs[0].item, 300), 0);
    assert_int_equal(gate_submit(g, &jobs[1].item, 60), 0);
    assert_int_equal(gate_submit(g, &jobs[2].item, 0), 0);
    for (int i = 0; i < 500 && atomic_load(&ran_count) < 2; i++)
        clock_sleep_ms(10);
    assert_int_equal(atomic_load(&ran[0]), 3);
    assert_int_equal(atomic_load(&ran[1]), 2);
    gate_free(g); /* what still waits runs now */
    assert_int_equal(atomic_load(&ran_count), 3);
}

static atomic_int counted;

static void count(struct gate_item *item)
{
    (void)item;
    atomic_fetch_add(&counted, 1);
}

static void test_gate_is_bounded(void **state)
{
    struct gate_item *items = calloc(GATE_QUEUE_MAX + 1, sizeof(*items));
    struct gate *g;

    (void)state;
    assert_non_null(items);
    assert_int_equal(gate_new(1, &g), 0);
    for (int i = 0; i <= GATE_QUEUE_MAX; i++) {
        items[i].fn = count;
        assert_int_equal(gate_submit(g, &items[i], 60000), i < GATE_QUEUE_MAX ? 0 : -ERR_BUSY);
    }
    gate_free(g);
    assert_int_equal(atomic_load(&counted), GATE_QUEUE_MAX);
    free(items);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_seen),
        cmocka_unit_test(test_seen_is_bounded),
        cmocka_unit_test(test_pair_is_refused_user_only_slowed),
        cmocka_unit_test(test_throttle_is_bounded),
        cmocka_unit_test(test_gate_runs_in_order_of_time),
        cmocka_unit_test(test_gate_is_bounded),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
