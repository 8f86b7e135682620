/* Threads and conditions of the kernel, and the hook of the scheduler: with it installed, every
 * thread, lock, clock, sleep and random number goes through it, and nothing reaches the kernel. */
#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>

#include "base/clock.h"
#include "base/rand.h"
#include "base/thread.h"
#include "base/work.h"
#include "check.h"

#define ROUNDS 20000

struct shared {
    struct mutex mu;
    struct cond changed;
    int64_t counter;
    int turn, turns_done;
};

static void count(void *arg)
{
    struct shared *s = arg;

    for (int i = 0; i < ROUNDS; i++) {
        mutex_lock(&s->mu);
        s->counter++;
        mutex_unlock(&s->mu);
    }
}

static void mutex_excludes(void **state)
{
    struct shared s = {.counter = 0};
    struct thread t[4];

    (void)state;
    mutex_init(&s.mu);
    for (size_t i = 0; i < ARRAY_LEN(t); i++)
        assert_int_equal(thread_start(&t[i], "count", count, &s), 0);
    for (size_t i = 0; i < ARRAY_LEN(t); i++)
        thread_join(&t[i]);
    assert_int_equal(s.counter, ROUNDS * (int64_t)ARRAY_LEN(t));
    mutex_done(&s.mu);
}

static void pong(void *arg)
{
    struct shared *s = arg;

    mutex_lock(&s->mu);
    for (int i = 0; i < 500; i++) {
        while (s->turn != 1)
            cond_wait(&s->changed, &s->mu);
        s->turn = 0;
        s->turns_done++;
        cond_broadcast(&s->changed);
    }
    mutex_unlock(&s->mu);
}

static void conditions_wake(void **state)
{
    struct shared s = {.turn = 0};
    struct thread t;

    (void)state;
    mutex_init(&s.mu);
    cond_init(&s.changed);
    assert_int_equal(thread_start(&t, "pong", pong, &s), 0);
    mutex_lock(&s.mu);
    for (int i = 0; i < 500; i++) {
        s.turn = 1;
        cond_signal(&s.changed);
        while (s.turn != 0)
            assert_true(cond_wait_until(&s.changed, &s.mu, clock_boot_ms() + 60000));
    }
    mutex_unlock(&s.mu);
    thread_join(&t);
    assert_int_equal(s.turns_done, 500);
    cond_done(&s.changed);
    mutex_done(&s.mu);
}

static void waits_end_at_the_deadline(void **state)
{
    struct shared s = {.turn = 0};
    int64_t start = clock_boot_ms(), deadline = start + 40;

    (void)state;
    mutex_init(&s.mu);
    cond_init(&s.changed);
    mutex_lock(&s.mu);
    while (cond_wait_until(&s.changed, &s.mu, deadline))
        continue;
    assert_true(clock_boot_ms() >= deadline);
    assert_false(cond_wait_until(&s.changed, &s.mu, start));
    assert_false(cond_wait_until(&s.changed, &s.mu, INT64_MIN));
    mutex_unlock(&s.mu);
    cond_done(&s.changed);
    mutex_done(&s.mu);
}

struct seen {
    sigset_t mask;
    char name[16];
    size_t stack;
};

static void look(void *arg)
{
    struct seen *s = arg;
    pthread_attr_t attr;

    pthread_sigmask(SIG_SETMASK, NULL, &s->mask);
    pthread_getname_np(pthread_self(), s->name, sizeof(s->name));
    if (pthread_getattr_np(pthread_self(), &attr) == 0) {
        pthread_attr_getstacksize(&attr, &s->stack);
        pthread_attr_destroy(&attr);
    }
}

static void threads_block_signals_but_faults(void **state)
{
    static const int faults[] = {SIGSEGV, SIGBUS, SIGFPE, SIGILL};
    static const int others[] = {SIGTERM, SIGINT, SIGHUP, SIGPIPE, SIGALRM, SIGCHLD, SIGUSR1};
    sigset_t mine;
    struct seen s = {.stack = 0};
    struct thread t;

    (void)state;
    assert_int_equal(thread_start(&t, "fifteen-letters", look, &s), 0);
    thread_join(&t);
    pthread_sigmask(SIG_SETMASK, NULL, &mine);
    for (size_t i = 0; i < ARRAY_LEN(faults); i++)
        assert_false(sigismember(&s.mask, faults[i]));
    for (size_t i = 0; i < ARRAY_LEN(others); i++) {
        assert_true(sigismember(&s.mask, others[i]));
        assert_false(sigismember(&mine, others[i]));
    }
    assert_string_equal(s.name, "fifteen-letters");
    assert_true(s.stack >= 256 * 1024 && s.stack <= 2 * 1024 * 1024);
}

/* ---- A scheduler of one thread in virtual time: threads run when they are joined. */
enum call {
    LOCK,
    UNLOCK,
    WAIT,
    WAIT_UNTIL,
    WAKE_ONE,
    WAKE_ALL,
    START,
    JOIN,
    BOOT,
    WALL,
    SLEEP,
    RANDOM,
    CALLS
};

static unsigned calls[CALLS];
static int held;
static int64_t virtual_ns;
static struct {
    void (*fn)(void *);
    void *arg;
} started[8];

static void v_lock(struct mutex *m)
{
    calls[LOCK]++;
    m->sched = m;
    held++;
}

static void v_unlock(struct mutex *m)
{
    calls[UNLOCK]++;
    m->sched = NULL;
    held--;
}

static void v_wait(struct cond *c, struct mutex *m)
{
    (void)c;
    (void)m;
    calls[WAIT]++;
}

static bool v_wait_until(struct cond *c, struct mutex *m, int64_t deadline_ms)
{
    (void)c;
    (void)m;
    calls[WAIT_UNTIL]++;
    virtual_ns = deadline_ms * 1000000;
    return false;
}

static void v_wake(struct cond *c, bool all)
{
    (void)c;
    calls[all ? WAKE_ALL : WAKE_ONE]++;
}

static size_t start_max;

static int v_start(struct thread *t, const char *name, void (*fn)(void *), void *arg)
{
    size_t n = calls[START]++;

    if (n >= start_max || !name[0])
        return -ERR_NOMEM;
    started[n].fn = fn;
    started[n].arg = arg;
    t->sched = &started[n];
    return 0;
}

static void v_join(struct thread *t)
{
    size_t n = calls[JOIN]++;

    if (t->sched == &started[n])
        started[n].fn(started[n].arg);
}

static int64_t v_boot_ns(void)
{
    calls[BOOT]++;
    return virtual_ns;
}

static int64_t v_wall_ms(void)
{
    calls[WALL]++;
    return 1234567890123;
}

static void v_sleep_ms(int64_t ms)
{
    calls[SLEEP]++;
    virtual_ns += ms * 1000000;
}

static void v_random(void *out, size_t len)
{
    calls[RANDOM]++;
    memset(out, 0x2a, len);
}

static const struct sched_ops virtual_ops = {
    v_lock, v_unlock,  v_wait,    v_wait_until, v_wake,   v_start,
    v_join, v_boot_ns, v_wall_ms, v_sleep_ms,   v_random,
};

static int install(void **state)
{
    (void)state;
    memset(calls, 0, sizeof(calls));
    virtual_ns = 0;
    start_max = ARRAY_LEN(started);
    sched_install(&virtual_ops);
    return 0;
}

static int uninstall(void **state)
{
    (void)state;
    sched_install(NULL);
    return 0;
}

static void time_and_chance_are_virtual(void **state)
{
    unsigned char bytes[5] = {0};

    (void)state;
    assert_ptr_equal(sched_installed(), &virtual_ops);
    assert_int_equal(clock_boot_ns(), 0);
    clock_sleep_ms(INT64_C(3600000)); /* an hour passes at once */
    assert_int_equal(clock_boot_ms(), 3600000);
    assert_int_equal(clock_wall_ms(), 1234567890123);
    rand_bytes(bytes, sizeof(bytes));
    assert_memory_equal(bytes, "*****", 5);
    assert_int_equal(rand_below(16), 0x2a % 16);
    assert_int_equal(calls[BOOT], 2);
    assert_int_equal(calls[SLEEP], 1);
    assert_int_equal(calls[WALL], 1);
    assert_int_equal(calls[RANDOM], 2);
}

static void locks_and_threads_are_scheduled(void **state)
{
    struct shared s = {.counter = 0};
    struct thread t;

    (void)state;
    mutex_init(&s.mu);
    cond_init(&s.changed);
    mutex_lock(&s.mu);
    assert_int_equal(held, 1);
    cond_wait(&s.changed, &s.mu);
    assert_false(cond_wait_until(&s.changed, &s.mu, 5000));
    assert_int_equal(clock_boot_ms(), 5000);
    cond_signal(&s.changed);
    cond_broadcast(&s.changed);
    mutex_unlock(&s.mu);
    assert_int_equal(thread_start(&t, "later", count, &s), 0);
    assert_int_equal(s.counter, 0); /* no thread of the kernel runs it */
    thread_join(&t);
    assert_int_equal(s.counter, ROUNDS);
    assert_int_equal(held, 0);
    assert_int_equal(calls[LOCK], 1 + ROUNDS);
    assert_int_equal(calls[UNLOCK], 1 + ROUNDS);
    assert_int_equal(calls[WAIT], 1);
    assert_int_equal(calls[WAIT_UNTIL], 1);
    assert_int_equal(calls[WAKE_ONE], 1);
    assert_int_equal(calls[WAKE_ALL], 1);
    assert_int_equal(calls[START], 1);
    assert_int_equal(calls[JOIN], 1);
    cond_done(&s.changed);
    mutex_done(&s.mu);
}

static unsigned ran;

static void run_item(struct work_item *item)
{
    (void)item;
    ran++;
}

static void pools_are_scheduled(void **state)
{
    struct work_item items[10];
    struct work *w = NULL;

    (void)state;
    ran = 0;
    assert_int_equal(work_new("pool", 2, 10, &w), 0);
    assert_int_equal(calls[START], 2);
    for (size_t i = 0; i < ARRAY_LEN(items); i++) {
        items[i].fn = run_item;
        assert_int_equal(work_submit(w, &items[i]), 0);
    }
    assert_int_equal(ran, 0);
    work_free(w);
    assert_int_equal(ran, 10);
    assert_int_equal(calls[JOIN], 2);
    assert_int_equal(calls[WAKE_ONE], 10);
    assert_int_equal(held, 0);
}

static void a_pool_that_cannot_start_is_no_pool(void **state)
{
    struct work *w = NULL;

    (void)state;
    start_max = 1;
    assert_int_equal(work_new("pool", 9, 1, &w), -ERR_NOMEM);
    assert_null(w);
    assert_int_equal(calls[JOIN], 1);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(mutex_excludes),
        cmocka_unit_test(conditions_wake),
        cmocka_unit_test(waits_end_at_the_deadline),
        cmocka_unit_test(threads_block_signals_but_faults),
        cmocka_unit_test_setup_teardown(time_and_chance_are_virtual, install, uninstall),
        cmocka_unit_test_setup_teardown(locks_and_threads_are_scheduled, install, uninstall),
        cmocka_unit_test_setup_teardown(pools_are_scheduled, install, uninstall),
        cmocka_unit_test_setup_teardown(a_pool_that_cannot_start_is_no_pool, install, uninstall),
    };

    return cmocka_run_group_tests_name("thread", tests, NULL, NULL);
}
