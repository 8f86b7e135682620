/* The directory store: syncs that many creates share (rule D6). The system calls are replaced by
 * slow ones that keep a record, so the file system below does not matter. */
#include "store_suite.h"

#include <errno.h>
#include <fcntl.h>
#include <stdatomic.h>
#include <stdio.h>
#include <unistd.h>

#include "base/clock.h"
#include "blobstore/store_dir_internal.h"

#define WRITERS   48
#define ROUNDS    4
#define SYNC_MS   25
#define CALLS_MAX 4096
#define SELDOM    5 /* times in one case: the machine may take long over it */

/* ---- A record of syncs: when each began and ended, by one counter for all. */

struct call {
    unsigned begun, ended;
    bool shared;
};

static struct call calls[CALLS_MAX];
static atomic_uint call_count, moment, of_all, of_one;
static int syncfs_errno, syncfs_ms;

static int record(bool shared)
{
    unsigned i = atomic_fetch_add(&call_count, 1);

    assert_true(i < CALLS_MAX);
    calls[i].shared = shared;
    calls[i].begun = atomic_fetch_add(&moment, 1);
    clock_sleep_ms(shared ? syncfs_ms : SYNC_MS);
    errno = syncfs_errno;
    if (shared && syncfs_errno != 0)
        return -1; /* never counted as ended */
    calls[i].ended = atomic_fetch_add(&moment, 1);
    atomic_fetch_add(shared ? &of_all : &of_one, 1);
    return 0;
}

static int sync_one(int fd)
{
    (void)fd;
    return record(false);
}

static int sync_all(int fd)
{
    (void)fd;
    return record(true);
}

static void forget(void)
{
    memset(calls, 0, sizeof(calls));
    atomic_store(&call_count, 0);
    atomic_store(&of_all, 0);
    atomic_store(&of_one, 0);
    syncfs_errno = 0;
    syncfs_ms = SYNC_MS;
}

static int setup(void **state)
{
    int r = bench_setup(state);
    struct bench *t = *state;
    struct dir_syncs *s = &dir_of(t->s)->syncs;

    /* Offered, whatever lies below; and little is unwritten, for ever. */
    if (s->meminfo < 0)
        s->meminfo = open("/dev/null", O_RDONLY | O_CLOEXEC);
    s->little = true;
    s->looked_ms = INT64_MAX / 2;
    s->slow_ms = 60000;                      /* the machine may be busy */
    for (unsigned i = 0; i < WRITERS; i++) { /* folders that are known */
        char key[32];
        snprintf(key, sizeof(key), "a/%u/0", i);
        assert_int_equal(bench_create(t->s, key, "x"), 0);
    }
    forget();
    store_dir_call_fdatasync = store_dir_call_fsync = sync_one;
    store_dir_call_syncfs = sync_all;
    return r;
}

static int teardown(void **state)
{
    store_dir_call_fdatasync = fdatasync;
    store_dir_call_fsync = fsync;
    store_dir_call_syncfs = syncfs;
    return bench_teardown(state);
}

/* ---- Writers. */

struct writer {
    struct store *store;
    unsigned name;
    unsigned first; /* number of its first object */
    bool two;       /* two objects in one call */
    int failed;
    struct {
        unsigned begun, ended;
    } made[ROUNDS];
};

static int create_two(struct store *s, struct str a, struct str b)
{
    struct store_op ops[2] = {
        {.kind = STORE_OP_CREATE, .key = a, .cls = STORE_RECORD, .bytes = STR("x")},
        {.kind = STORE_OP_CREATE, .key = b, .cls = STORE_LINK, .bytes = STR_NONE}};

    store_run(s, ops, 2);
    return ops[0].result < 0 ? ops[0].result : ops[1].result;
}

static void write_objects(void *arg)
{
    struct writer *w = arg;
    char key[32], other[32];

    for (unsigned i = 0; i < ROUNDS; i++) {
        snprintf(key, sizeof(key), "a/%u/%u", w->name, w->first + i);
        snprintf(other, sizeof(other), "a/%u/%u", (w->name + 1) % WRITERS, w->first + ROUNDS + i);
        w->made[i].begun = atomic_fetch_add(&moment, 1);
        w->failed +=
            (w->two ? create_two(w->store, str_of(key), str_of(other))
                    : store_create(w->store, str_of(key), STORE_RECORD, STR("x"), NULL)) < 0;
        w->made[i].ended = atomic_fetch_add(&moment, 1);
    }
}

/* A create has waited for two syncs, one for its bytes and after that one for its folder: each
 * began in its time, and the second when the first was over. Nobody may count on a sync that had
 * begun before he asked. */
static bool two_in_turn(unsigned begun, unsigned ended)
{
    unsigned first = UINT32_MAX;

    for (unsigned i = 0; i < atomic_load(&call_count); i++)
        if (calls[i].begun > begun && calls[i].ended > 0 && calls[i].ended < first)
            first = calls[i].ended;
    for (unsigned i = 0; i < atomic_load(&call_count); i++)
        if (calls[i].begun > first && calls[i].ended > 0 && calls[i].ended < ended)
            return true;
    return false;
}

static void write_together(struct store *s, unsigned count, bool two)
{
    static unsigned first = 1; /* each call makes objects of its own */
    struct writer writers[WRITERS];
    struct thread threads[WRITERS];

    for (unsigned i = 0; i < count; i++) {
        writers[i] = (struct writer){.store = s, .name = i, .first = first, .two = two};
        assert_int_equal(thread_start(&threads[i], "writer", write_objects, &writers[i]), 0);
    }
    for (unsigned i = 0; i < count; i++)
        thread_join(&threads[i]);
    first += 2 * ROUNDS;
    for (unsigned i = 0; i < count; i++) {
        assert_int_equal(writers[i].failed, 0);
        for (unsigned k = 0; k < ROUNDS; k++)
            assert_true(two_in_turn(writers[i].made[k].begun, writers[i].made[k].ended));
    }
}

static unsigned syncs_of_many(struct store *s, bool two)
{
    forget();
    write_together(s, WRITERS, two);
    return atomic_load(&of_all) + atomic_load(&of_one);
}

static void many_share(void **state)
{
    struct bench *t = *state;

    /* One by one it would be two for each object. */
    assert_true(syncs_of_many(t->s, false) < WRITERS * ROUNDS);
    assert_true(atomic_load(&of_all) > 0);
    assert_true(syncs_of_many(t->s, true) < 2 * WRITERS * ROUNDS);
}

static void one_does_not(void **state)
{
    struct bench *t = *state;

    write_together(t->s, 1, false);
    assert_int_equal(atomic_load(&of_all), 0);
    assert_true(atomic_load(&of_one) >= 2 * ROUNDS);
}

/* Another's failure: everybody syncs by himself, and for a while it is not tried again. */
static void a_failure_decides_nothing(void **state)
{
    struct bench *t = *state;
    unsigned tried = 0;

    syncfs_errno = EIO;
    write_together(t->s, WRITERS, false);
    for (unsigned i = 0; i < atomic_load(&call_count); i++)
        tried += calls[i].shared;
    assert_in_range(tried, 1, SELDOM);
    assert_true(atomic_load(&of_one) >= 2 * WRITERS * ROUNDS);
}

static void a_slow_one_is_not_repeated(void **state)
{
    struct bench *t = *state;

    dir_of(t->s)->syncs.slow_ms = 100;
    syncfs_ms = 300;
    write_together(t->s, WRITERS, false);
    assert_in_range(atomic_load(&of_all), 1, SELDOM);
}

static void not_while_much_is_unwritten(void **state)
{
    struct bench *t = *state;

    dir_of(t->s)->syncs.little = false;
    write_together(t->s, WRITERS, false);
    assert_int_equal(atomic_load(&of_all), 0);
    assert_true(atomic_load(&of_one) >= 2 * WRITERS * ROUNDS);
}

static void not_where_it_is_not_known_to_be_as_good(void **state)
{
    struct bench *t = *state;

    fd_closep(&dir_of(t->s)->syncs.meminfo);
    write_together(t->s, WRITERS, false);
    assert_int_equal(atomic_load(&of_all), 0);
    assert_true(atomic_load(&of_one) >= 2 * WRITERS * ROUNDS);
}

/* ---- Names that are owed. */

/* One sync of everything, as a whole within that time. */
static bool shared_within(unsigned begun, unsigned ended)
{
    for (unsigned i = 0; i < atomic_load(&call_count); i++)
        if (calls[i].shared && calls[i].begun > begun && calls[i].ended > 0 &&
            calls[i].ended < ended)
            return true;
    return false;
}

/* As if many were syncing just now. */
static void make_busy(struct store *s, unsigned alone)
{
    dir_of(s)->syncs.alone = alone;
}

static void owed_until_settled(void **state)
{
    struct bench *t = *state;
    struct store_owed owed = {.owed = false};
    struct store_info info;
    unsigned linked;

    make_busy(t->s, 1000);
    assert_int_equal(
        store_create_owing(t->s, STR("new/folder/r"), STORE_RECORD, STR("x"), &owed, NULL), 0);
    linked = atomic_fetch_add(&moment, 1);
    assert_true(owed.owed);
    assert_int_equal(atomic_load(&call_count), 1); /* its bytes */
    assert_int_equal(store_probe(t->s, STR("new/folder/r"), &info), -ERR_AGAIN);
    assert_int_equal(store_create_settling(t->s, STR("log/1"), STORE_LOG, STR("e"), NULL), 0);
    assert_true(shared_within(linked, atomic_fetch_add(&moment, 1)));
    assert_true(two_in_turn(linked, atomic_fetch_add(&moment, 1))); /* the entry's own folder */
    store_settled(t->s, STR("new/folder/r"), &owed);
    assert_false(owed.owed);
    forget();
    assert_int_equal(store_probe(t->s, STR("new/folder/r"), &info), 0);
    make_busy(t->s, 0);
    assert_int_equal(store_create(t->s, STR("new/folder/s"), STORE_RECORD, STR("x"), NULL), 0);
    assert_int_equal(atomic_load(&call_count), 2); /* nothing above it is asked for again */
}

/* Who asks for it meanwhile, by reading or creating it, makes it durable. */
static void owed_is_not_told_to_others(void **state)
{
    struct bench *t = *state;
    struct store_owed owed;
    struct store_info info;

    make_busy(t->s, 1000);
    for (int by_create = 0; by_create < 2; by_create++) {
        struct str key = by_create ? STR("a/1/by-create") : STR("a/1/by-head");

        assert_int_equal(store_create_owing(t->s, key, STORE_RECORD, STR("x"), &owed, NULL), 0);
        assert_true(owed.owed);
        forget();
        if (by_create)
            assert_int_equal(store_create(t->s, key, STORE_RECORD, STR("x"), NULL), -ERR_EXISTS);
        else
            assert_int_equal(store_head(t->s, key, &info, NULL), 0);
        assert_true(atomic_load(&call_count) >= 1);
        assert_int_equal(store_probe(t->s, key, &info), 0);
    }
    make_busy(t->s, 0);
}

static void what_cannot_be_settled_is_not_created(void **state)
{
    struct bench *t = *state;
    struct store_owed owed;
    struct store_info info;

    make_busy(t->s, 1000);
    assert_int_equal(store_create_owing(t->s, STR("a/2/r"), STORE_RECORD, STR("x"), &owed, NULL),
                     0);
    assert_true(owed.owed);
    syncfs_errno = EIO;
    assert_int_equal(store_create_settling(t->s, STR("log/2"), STORE_LOG, STR("e"), NULL),
                     -ERR_AGAIN);
    assert_int_equal(store_probe(t->s, STR("log/2"), &info), -ERR_NOTFOUND);
    assert_int_equal(store_head(t->s, STR("a/2/r"), &info, NULL), 0);
    assert_int_equal(store_probe(t->s, STR("a/2/r"), &info), 0);
    make_busy(t->s, 0);
}

static void few_owe_nothing(void **state)
{
    struct bench *t = *state;
    struct store_owed owed;
    struct store_info info;

    assert_int_equal(store_create_owing(t->s, STR("a/3/r"), STORE_RECORD, STR("x"), &owed, NULL),
                     0);
    assert_false(owed.owed);
    assert_int_equal(atomic_load(&call_count), 2);
    make_busy(t->s, 1000);
    dir_of(t->s)->syncs.little = false;
    assert_int_equal(store_create_owing(t->s, STR("a/3/s"), STORE_RECORD, STR("x"), &owed, NULL),
                     0);
    assert_false(owed.owed);
    assert_int_equal(store_probe(t->s, STR("a/3/s"), &info), 0);
    make_busy(t->s, 0);
}

int main(void)
{
    static const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(many_share, setup, teardown),
        cmocka_unit_test_setup_teardown(one_does_not, setup, teardown),
        cmocka_unit_test_setup_teardown(a_failure_decides_nothing, setup, teardown),
        cmocka_unit_test_setup_teardown(a_slow_one_is_not_repeated, setup, teardown),
        cmocka_unit_test_setup_teardown(not_while_much_is_unwritten, setup, teardown),
        cmocka_unit_test_setup_teardown(not_where_it_is_not_known_to_be_as_good, setup, teardown),
        cmocka_unit_test_setup_teardown(owed_until_settled, setup, teardown),
        cmocka_unit_test_setup_teardown(owed_is_not_told_to_others, setup, teardown),
        cmocka_unit_test_setup_teardown(what_cannot_be_settled_is_not_created, setup, teardown),
        cmocka_unit_test_setup_teardown(few_owe_nothing, setup, teardown),
    };

    return cmocka_run_group_tests_name("store_share", tests, NULL, NULL);
}
