/* Events: said once, waited for once, ended by the waiter at once. */
#include "base/event.h"

#include "base/clock.h"
#include "check.h"

#define TIMES 2000

struct exchange {
    struct event there, back;
    unsigned said, heard;
};

static void answer(void *arg)
{
    struct exchange *x = arg;

    for (unsigned i = 0; i < TIMES; i++) {
        event_wait(&x->there);
        x->heard += x->said == i + 1;
        event_set(&x->back, 1);
    }
}

static void what_was_written_before_is_seen(void **state)
{
    struct exchange x = {.said = 0};
    struct thread t;

    (void)state;
    event_init(&x.there);
    event_init(&x.back);
    assert_int_equal(thread_start(&t, "answer", answer, &x), 0);
    for (unsigned i = 0; i < TIMES; i++) {
        x.said = i + 1;
        event_set(&x.there, 1);
        event_wait(&x.back);
    }
    thread_join(&t);
    assert_int_equal(x.heard, TIMES);
    event_done(&x.there);
    event_done(&x.back);
}

static void set(void *arg)
{
    event_set(*(struct event **)arg, 1);
}

/* Where the sanitizers look: the waiter ends what the setter has only just left. */
static void the_waiter_may_end_it(void **state)
{
    (void)state;
    for (unsigned i = 0; i < 200; i++) {
        struct event *e = malloc(sizeof(*e));
        struct thread t;

        assert_non_null(e);
        event_init(e);
        assert_int_equal(thread_start(&t, "set", set, &e), 0);
        event_wait(e);
        event_done(e);
        free(e);
        thread_join(&t);
    }
}

static void deadlines(void **state)
{
    struct event e;
    int64_t begun = clock_boot_ms();

    (void)state;
    event_init(&e);
    assert_int_equal(event_wait_until(&e, begun + 20), 0);
    assert_true(clock_boot_ms() >= begun + 20);
    assert_int_equal(event_wait_until(&e, begun), 0);
    event_set(&e, 1);
    event_set(&e, 4);
    assert_int_equal(event_wait_until(&e, begun), 5); /* it was said: late is not too late */
    event_done(&e);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(what_was_written_before_is_seen),
        cmocka_unit_test(the_waiter_may_end_it),
        cmocka_unit_test(deadlines),
    };

    return cmocka_run_group_tests_name("event", tests, NULL, NULL);
}
