/* The worker pool under load, at its limit, and while it is being freed. */
#include <dirent.h>
#include <stdatomic.h>

#include "base/clock.h"
#include "base/metrics.h"
#include "base/thread.h"
#include "base/work.h"
#include "check.h"

#define PRODUCERS 4
#define ITEMS     5000

struct task {
    struct work_item item; /* first: the pool gives it back */
    struct work *pool;
    int continuations;
};

static atomic_uint ran;

static struct task *task_of(struct work_item *item)
{
    return (struct task *)(void *)item;
}

/* Frees itself after its continuations. */
static void run_task(struct work_item *item)
{
    struct task *t = task_of(item);

    atomic_fetch_add(&ran, 1);
    if (t->continuations-- > 0)
        work_continue(t->pool, item);
    else
        free(t);
}

static struct task *task_new(struct work *pool, int continuations)
{
    struct task *t = calloc(1, sizeof(*t));

    if (t)
        *t = (struct task){{run_task, NULL}, pool, continuations};
    return t;
}

static void produce(void *arg)
{
    struct work *w = arg;

    for (int i = 0; i < ITEMS; i++) {
        struct task *t = task_new(w, i % 3);

        while (t && work_submit(w, &t->item) == -ERR_BUSY)
            clock_sleep_ms(1);
    }
}

static void load(void **state)
{
    struct thread producers[PRODUCERS];
    struct work *w = NULL;
    unsigned runs = 0;

    (void)state;
    atomic_store(&ran, 0);
    for (unsigned i = 0; i < ITEMS; i++)
        runs += PRODUCERS * (1 + i % 3);
    assert_int_equal(work_new("load", 4, 64, &w), 0);
    for (size_t i = 0; i < PRODUCERS; i++)
        assert_int_equal(thread_start(&producers[i], "producer", produce, w), 0);
    for (size_t i = 0; i < PRODUCERS; i++)
        thread_join(&producers[i]);
    work_free(w); /* with tasks still queued and continuing */
    assert_int_equal(atomic_load(&ran), runs);
    assert_int_equal(metric_value(METRIC_worker_queue), 0);
}

/* ---- A gate that holds the workers. */
static struct mutex gate_mu;
static struct cond gate_changed;
static bool gate_open;
static unsigned gate_waiting;

static void wait_at_gate(struct work_item *item)
{
    (void)item;
    mutex_lock(&gate_mu);
    gate_waiting++;
    cond_broadcast(&gate_changed);
    while (!gate_open)
        cond_wait(&gate_changed, &gate_mu);
    mutex_unlock(&gate_mu);
    atomic_fetch_add(&ran, 1);
}

static void open_gate(void)
{
    mutex_lock(&gate_mu);
    gate_open = true;
    cond_broadcast(&gate_changed);
    mutex_unlock(&gate_mu);
}

static void await_workers(unsigned n)
{
    mutex_lock(&gate_mu);
    while (gate_waiting < n)
        cond_wait(&gate_changed, &gate_mu);
    mutex_unlock(&gate_mu);
}

static void close_gate(void)
{
    mutex_init(&gate_mu);
    cond_init(&gate_changed);
    gate_open = false;
    gate_waiting = 0;
    atomic_store(&ran, 0);
}

static void remove_gate(void)
{
    cond_done(&gate_changed);
    mutex_done(&gate_mu);
}

static void full_queue_refuses_but_continues(void **state)
{
    struct work_item items[8];
    struct work *w = NULL;

    (void)state;
    close_gate();
    for (size_t i = 0; i < ARRAY_LEN(items); i++)
        items[i].fn = wait_at_gate;
    assert_int_equal(work_new("full", 2, 3, &w), 0);
    assert_int_equal(work_submit(w, &items[0]), 0);
    assert_int_equal(work_submit(w, &items[1]), 0);
    await_workers(2);
    for (size_t i = 2; i < 5; i++)
        assert_int_equal(work_submit(w, &items[i]), 0);
    assert_int_equal(work_submit(w, &items[5]), -ERR_BUSY);
    assert_int_equal(work_queued(w), 3);
    assert_int_equal(metric_value(METRIC_worker_queue), 3);
    work_continue(w, &items[6]);
    assert_int_equal(work_queued(w), 4);
    assert_int_equal(work_submit(w, &items[5]), -ERR_BUSY);
    open_gate();
    work_free(w);
    assert_int_equal(atomic_load(&ran), 6);
    remove_gate();
}

static unsigned order[16];

static void note_order(struct work_item *item)
{
    order[atomic_fetch_add(&ran, 1)] = (unsigned)task_of(item)->continuations;
}

static void first_in_first_out(void **state)
{
    struct work_item gate = {wait_at_gate, NULL};
    struct task tasks[10];
    struct work *w = NULL;

    (void)state;
    close_gate();
    assert_int_equal(work_new("order", 1, 32, &w), 0);
    assert_int_equal(work_submit(w, &gate), 0);
    await_workers(1);
    for (int i = 0; i < 10; i++) {
        tasks[i] = (struct task){{note_order, NULL}, w, i};
        assert_int_equal(work_submit(w, &tasks[i].item), 0);
    }
    open_gate();
    work_free(w);
    assert_int_equal(atomic_load(&ran), 11);
    for (unsigned i = 0; i < 10; i++)
        assert_int_equal(order[i + 1], i);
    remove_gate();
}

static atomic_int refused;

/* Tries to submit a new task while the pool is being freed, then continues itself. */
static void submit_late(struct work_item *item)
{
    struct task *t = task_of(item);
    struct work_item other = {run_task, NULL};

    clock_sleep_ms(1);
    if (t->continuations-- > 0)
        work_continue(t->pool, item);
    else if (work_submit(t->pool, &other) == -ERR_BUSY)
        atomic_fetch_add(&refused, 1);
}

static void freeing_finishes_continuations(void **state)
{
    struct task tasks[4];
    struct work *w = NULL;

    (void)state;
    atomic_store(&refused, 0);
    assert_int_equal(work_new("freeing", 3, 8, &w), 0);
    for (size_t i = 0; i < ARRAY_LEN(tasks); i++) {
        tasks[i] = (struct task){{submit_late, NULL}, w, 30};
        assert_int_equal(work_submit(w, &tasks[i].item), 0);
    }
    work_free(w);
    assert_int_equal(atomic_load(&refused), 4);
    for (size_t i = 0; i < ARRAY_LEN(tasks); i++)
        assert_int_equal(tasks[i].continuations, -1);
    work_free(NULL);
}

/* As many threads as tasks that wait, up to the number asked for. */
static void grows_as_needed(void **state)
{
    struct work_item items[8];
    struct work *w = NULL;

    (void)state;
    close_gate();
    assert_int_equal(work_new("growing", 6, ARRAY_LEN(items), &w), 0);
    for (size_t i = 0; i < ARRAY_LEN(items); i++) {
        items[i].fn = wait_at_gate;
        assert_int_equal(work_submit(w, &items[i]), 0);
    }
    await_workers(6);
    assert_int_equal(work_queued(w), 2);
    open_gate();
    work_free(w);
    assert_int_equal(atomic_load(&ran), ARRAY_LEN(items));
    remove_gate();
}

static unsigned threads_now(void)
{
    DIR *d = opendir("/proc/self/task");
    unsigned n = 0;

    assert_non_null(d);
    while (readdir(d))
        n++;
    closedir(d);
    return n;
}

/* A thread that was joined is on that list for a moment. */
static void expect_threads(unsigned n)
{
    for (int i = 0; i < 2000 && threads_now() != n; i++)
        clock_sleep_ms(1);
    assert_int_equal(threads_now(), n);
}

/* What a load brought goes when it was not needed for a while, and comes again. */
static void trimmed_when_idle(void **state)
{
    struct work_item items[6];
    struct work *w = NULL;

    (void)state;
    assert_int_equal(work_new("trimmed", 6, ARRAY_LEN(items), &w), 0);
    for (int round = 0; round < 3; round++) {
        unsigned threads = threads_now();

        close_gate();
        for (size_t i = 0; i < ARRAY_LEN(items); i++) {
            items[i].fn = wait_at_gate;
            assert_int_equal(work_submit(w, &items[i]), 0);
        }
        await_workers(6);
        expect_threads(threads + 4);
        work_trim(w); /* all are needed */
        expect_threads(threads + 4);
        open_gate();
        while (atomic_load(&ran) < ARRAY_LEN(items))
            clock_sleep_ms(1);
        clock_sleep_ms(20); /* they wait again */
        work_trim(w);       /* not idle since the call before */
        expect_threads(threads + 4);
        work_trim(w);
        expect_threads(threads);
        work_trim(w);
        expect_threads(threads);
        remove_gate();
    }
    work_free(w);
}

static void submit_and_sleep(void *arg)
{
    struct work *w = arg;

    for (int i = 0; i < 300; i++) {
        struct task *t = task_new(w, i % 2);

        while (t && work_submit(w, &t->item) == -ERR_BUSY)
            clock_sleep_ms(1);
        if (i % 10 == 0)
            clock_sleep_ms(1);
    }
}

static void trimmed_under_load(void **state)
{
    struct thread producers[PRODUCERS];
    struct work *w = NULL;

    (void)state;
    atomic_store(&ran, 0);
    assert_int_equal(work_new("trimmed", 16, 64, &w), 0);
    for (size_t i = 0; i < PRODUCERS; i++)
        assert_int_equal(thread_start(&producers[i], "producer", submit_and_sleep, w), 0);
    for (int i = 0; i < 50; i++) {
        work_trim(w);
        clock_sleep_ms(1);
    }
    for (size_t i = 0; i < PRODUCERS; i++)
        thread_join(&producers[i]);
    work_free(w);
    assert_int_equal(atomic_load(&ran), PRODUCERS * 450);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(load),
        cmocka_unit_test(full_queue_refuses_but_continues),
        cmocka_unit_test(first_in_first_out),
        cmocka_unit_test(freeing_finishes_continuations),
        cmocka_unit_test(grows_as_needed),
        cmocka_unit_test(trimmed_when_idle),
        cmocka_unit_test(trimmed_under_load),
    };

    return cmocka_run_group_tests_name("work", tests, NULL, NULL);
}
