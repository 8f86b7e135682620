/* Leases and the logs below them, in virtual time: at most one node believes to hold it, whatever
 * is paused, lost or unanswered; a job whose holder is gone goes on in time; an old holder moves
 * nothing. */
#include "fixture.h"

#include "base/clock.h"
#include "base/json.h"
#include "blobstore/keys.h"
#include "blobstore/lastlog.h"
#include "blobstore/lease.h"

#define NODES  3
#define ROUNDS 4000

struct world {
    struct faults f;
    struct store *s;
    struct node *nodes[NODES];
    struct lease *leases[NODES];
    int64_t next_ms[NODES];
};

static int setup(void **state)
{
    (void)state;
    fake_time_install();
    return 0;
}

static void open_lease(struct world *w, unsigned i)
{
    w->nodes[i] = open_node(w->s);
    assert_int_equal(lease_new(w->nodes[i], STR("job"), LEASE_TTL_MS, &w->leases[i]), 0);
    w->next_ms[i] = 0;
}

static void world_open(struct world *w)
{
    w->s = faulty_store(&w->f, mem_store());
    for (unsigned i = 0; i < NODES; i++)
        open_lease(w, i);
    faults_clear(&w->f);
}

static void world_close(struct world *w)
{
    for (unsigned i = 0; i < NODES; i++) {
        lease_free(w->leases[i]);
        node_free(w->nodes[i]);
    }
    store_free(w->s);
}
#define auto_world auto_of(world_close)

static int step(struct world *w, unsigned i)
{
    int64_t wait_ms = 0;
    int e = lease_step(w->leases[i], &wait_ms, NULL);

    assert_true(wait_ms > 0 && wait_ms <= LEASE_TTL_MS / 2);
    w->next_ms[i] = clock_boot_ms() + wait_ms;
    return e;
}

/* The one that holds it now, -1: none. */
static int holder(struct world *w)
{
    int found = -1;

    for (int i = 0; i < NODES; i++) {
        if (!lease_epoch(w->leases[i]))
            continue;
        assert_int_equal(found, -1);
        found = i;
    }
    return found;
}

/* Time passes; all nodes but one do what is due. Returns how long nobody held the lease. */
static int64_t run(struct world *w, int64_t ms, int paused)
{
    int64_t end = clock_boot_ms() + ms, without = 0;

    while (clock_boot_ms() < end) {
        for (int i = 0; i < NODES; i++)
            if (i != paused && clock_boot_ms() >= w->next_ms[i])
                (void)!step(w, (unsigned)i);
        if (holder(w) < 0)
            without += 250;
        fake_time_pass(250);
    }
    return without;
}

static void test_first_takes_and_keeps(void **state)
{
    struct world w auto_world;
    uint64_t epoch;

    (void)state;
    world_open(&w);
    assert_int_equal(step(&w, 0), 0);
    epoch = lease_epoch(w.leases[0]);
    assert_int_equal(epoch, 1);
    assert_int_equal(run(&w, 20 * 60000, -1), 0);
    assert_int_equal(lease_epoch(w.leases[0]), epoch); /* its first, however often renewed */
    /* One create each third of its time. */
    assert_in_range(check_log(w.s, "lease/job", false), 20 * 60000 / (LEASE_TTL_MS / 3) - 3,
                    20 * 60000 / (LEASE_TTL_MS / 3) + 3);
}

static void test_dead_holder_is_followed(void **state)
{
    struct world w auto_world;
    int64_t without;

    (void)state;
    world_open(&w);
    assert_int_equal(step(&w, 0), 0);
    run(&w, 100000, -1);
    assert_int_equal(holder(&w), 0);
    without = run(&w, 120000, 0);
    assert_true(holder(&w) > 0);
    assert_true(without <= LEASE_TTL_MS / 2);
    assert_true(lease_epoch(w.leases[holder(&w)]) > 1);
}

/* A process that starts beside the epochs of one that was killed waits out their time, not more;
 * not even that when they are old. */
static void test_restart(void **state)
{
    struct world w auto_world;
    int64_t begun;

    (void)state;
    world_open(&w);
    assert_int_equal(step(&w, 0), 0);
    for (unsigned i = 0; i < NODES; i++) {
        lease_free(w.leases[i]);
        node_free(w.nodes[i]);
        open_lease(&w, i);
    }
    begun = clock_boot_ms();
    while (holder(&w) < 0)
        run(&w, 1000, -1);
    assert_in_range(clock_boot_ms() - begun, LEASE_TTL_MS - 1000, LEASE_TTL_MS * 5 / 4);
    fake_time_pass(3 * LEASE_TTL_MS);
    lease_free(w.leases[2]);
    node_free(w.nodes[2]);
    open_lease(&w, 2);
    assert_int_equal(step(&w, 2), 0);
    assert_int_equal(holder(&w), 2);
}

static void test_released_is_taken_at_once(void **state)
{
    struct world w auto_world;

    (void)state;
    world_open(&w);
    assert_int_equal(step(&w, 0), 0);
    assert_int_equal(step(&w, 1), 0);
    assert_int_equal(holder(&w), 0);
    lease_release(w.leases[0]);
    assert_int_equal(holder(&w), -1);
    assert_int_equal(step(&w, 1), 0);
    assert_int_equal(holder(&w), 1);
    lease_release(w.leases[0]); /* nothing of it */
    assert_int_equal(step(&w, 2), 0);
    assert_int_equal(holder(&w), 1);
}

/* Who does a job now and then asks how long ago it was done. */
static void test_when_it_was_given_back(void **state)
{
    struct world w auto_world;
    int64_t ms = -1, now;

    (void)state;
    world_open(&w);
    assert_int_equal(lease_released(w.leases[0], &ms, NULL), 0);
    assert_int_equal(ms, 0);
    assert_int_equal(step(&w, 0), 0);
    assert_int_equal(lease_released(w.leases[1], &ms, NULL), 0);
    assert_int_equal(ms, 0);
    assert_int_equal(store_now(w.s, &now, NULL), 0);
    lease_release(w.leases[0]);
    fake_time_pass(3000);
    for (unsigned i = 0; i < NODES; i++) {
        assert_int_equal(lease_released(w.leases[i], &ms, NULL), 0);
        assert_true(ms >= now && ms < now + 3000);
    }
    assert_int_equal(holder(&w), -1); /* looking takes nothing */
}

/* A store that answers nothing: the holder stops before others could begin. */
static void test_cut_off(void **state)
{
    struct world w auto_world;

    (void)state;
    world_open(&w);
    assert_int_equal(step(&w, 0), 0);
    faults_add(&w.f, (struct rule){.op = NULL, .from = 1, .to = 100000});
    w.f.rules[0].fault = FAULT_FAIL_BEFORE;
    run(&w, LEASE_TTL_MS, -1);
    assert_int_equal(holder(&w), -1);
    faults_clear(&w.f);
    run(&w, 2 * LEASE_TTL_MS, -1);
    assert_true(holder(&w) >= 0);
}

/* Pauses, failures, lost replies and late writes, by chance: never two (holder() looks at every
 * moment), and always one again. */
static void test_chance(void **state)
{
    struct world w auto_world;
    uint64_t chance = 12345;
    int paused = -1;

    (void)state;
    world_open(&w);
    for (unsigned n = 0; n < ROUNDS; n++) {
        chance = chance * 6364136223846793005u + 1442695040888963407u;
        unsigned dice = (unsigned)(chance >> 40) % 100;

        if (dice < 2)
            paused = paused < 0 ? (int)((chance >> 33) % NODES) : -1;
        if (dice >= 90) {
            faults_clear(&w.f);
            faults_add(&w.f, (struct rule){.op = dice % 2 ? "create" : NULL,
                                           .key_part = "lease/",
                                           .from = 1,
                                           .to = dice % 3 + 1,
                                           .fault = dice % 5 == 0   ? FAULT_LATE
                                                    : dice % 5 == 1 ? FAULT_DUPLICATE
                                                    : dice % 5 == 2 ? FAULT_REPLY_LOST
                                                    : dice % 5 == 3 ? FAULT_OWN_EXISTS
                                                                    : FAULT_FAIL_BEFORE});
        }
        if (dice == 50)
            store_fault_flush_late(w.s);
        run(&w, 1000 + dice * 20, paused);
    }
    faults_clear(&w.f);
    run(&w, 3 * LEASE_TTL_MS, -1);
    assert_true(holder(&w) >= 0);
}

/* ---- logs of which the newest counts */

struct seen {
    unsigned count;
    uint64_t seq;
};

static int see(const struct objlog_entry *e, void *arg)
{
    struct seen *s = arg;

    s->count++;
    s->seq = e->seq;
    return 0;
}

static int add(struct lastlog *l)
{
    return lastlog_append(l, STR("[{\"op\":\"x\"}]"), clock_boot_ms(), NULL);
}

static void test_old_entries_go(void **state)
{
    struct store *s auto_store = mem_store();
    struct node *n auto_node = open_node(s);
    struct lastlog *l auto_lastlog = NULL, *other auto_lastlog = NULL, *late auto_lastlog = NULL;
    struct seen seen = {0}, again = {0};

    (void)state;
    assert_int_equal(lastlog_new(n, STR("hooks/x"), &l), 0);
    assert_int_equal(lastlog_new(n, STR("hooks/x"), &other), 0);
    assert_int_equal(lastlog_new(n, STR("hooks/x"), &late), 0);
    assert_int_equal(lastlog_read(l, see, &seen, NULL), 0);
    assert_int_equal(seen.count, 0);
    assert_int_equal(add(l), 0);
    assert_int_equal(lastlog_read(other, see, &again, NULL), 0);
    assert_int_equal(again.seq, 1);
    for (unsigned i = 0; i < 3 * 3600; i += 10) {
        fake_time_pass(10000);
        assert_int_equal(add(l), 0);
    }
    assert_in_range(count_objects(s, "hooks/x/"), 360, 480);
    /* Whoever was away, or comes new, finds the end and never a removed number. */
    assert_int_equal(lastlog_read(other, see, &again, NULL), 0);
    assert_int_equal(again.seq, lastlog_seq(l));
    /* What was looked at long ago is not built upon. */
    assert_int_equal(
        lastlog_append(other, STR("[{\"op\":\"x\"}]"), clock_boot_ms() - OBJLOG_VALID_MS - 1, NULL),
        -ERR_NOTCOMMITTED);
    assert_int_equal(lastlog_read(late, see, &again, NULL), 0);
    assert_int_equal(again.seq, lastlog_seq(l));
    assert_int_equal(lastlog_seq(late), lastlog_seq(l));
    assert_int_equal(add(late), 0);
    assert_int_equal(add(l), -ERR_EXISTS);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup(test_first_takes_and_keeps, setup),
        cmocka_unit_test_setup(test_dead_holder_is_followed, setup),
        cmocka_unit_test_setup(test_restart, setup),
        cmocka_unit_test_setup(test_released_is_taken_at_once, setup),
        cmocka_unit_test_setup(test_when_it_was_given_back, setup),
        cmocka_unit_test_setup(test_cut_off, setup),
        cmocka_unit_test_setup(test_chance, setup),
        cmocka_unit_test_setup(test_old_entries_go, setup),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
