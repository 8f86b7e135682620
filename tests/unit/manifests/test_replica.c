/* A commit under faults of the store, in time that is not real: answered means once in the history,
 * refused means never, unknown means at most once and settled before anything else (I2, B7). */
#include "fixture.h"

#include "base/log.h"

#define REPO "library/app"

struct bench {
    struct faults faults;
    struct store *inner, *store;
    struct site s;
};

static void bench_open(struct bench *b)
{
    b->inner = mem_store();
    b->store = faulty_store(&b->faults, b->inner);
    site_open(&b->s, b->store, REFERENCES_NONE, NULL);
}

static void bench_close(struct bench *b)
{
    site_close(&b->s);
    store_free(b->store);
}

static int put_tag(struct site *s, const char *tag)
{
    struct image image = {.config = "config", .salt = tag};

    return put_image(s, REPO, &image, tag);
}

static bool has_tag(struct site *s, const char *tag)
{
    struct repo *r auto_repo = repo_of(s, REPO);
    struct repo_manifest m;

    assert_int_equal(repo_refresh(r, NULL), 0);
    return repo_tag(r, str_of(tag), &m) == 0;
}

static unsigned entries(struct bench *b)
{
    return check_log(b->inner, "repos/" REPO, true);
}

static void fault_entry(struct bench *b, enum store_fault fault, int err, unsigned to)
{
    faults_clear(&b->faults);
    faults_add(&b->faults,
               (struct rule){
                   .op = "create", .key_part = "/app/_log/", .to = to, .fault = fault, .err = err});
}

/* The store's answer was lost, or wrong: read back, it is mine. */
static void test_mine_after_all(void **state)
{
    static const enum store_fault faults[] = {FAULT_REPLY_LOST, FAULT_OWN_EXISTS, FAULT_DUPLICATE,
                                              FAULT_FAIL_BEFORE};

    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(faults); i++) {
        struct bench b;

        bench_open(&b);
        assert_int_equal(put_tag(&b.s, "first"), 0);
        fault_entry(&b, faults[i], -ERR_UNAVAIL, 1);
        check(put_tag(&b.s, "second") == 0, "fault %zu", i);
        store_fault_flush_late(b.store);
        check(entries(&b) == 2, "fault %zu: %u entries", i, entries(&b));
        assert_true(has_tag(&b.s, "first") && has_tag(&b.s, "second"));
        bench_close(&b);
    }
}

/* Nothing was taken: not committed, by the deadline, and reads go on. */
static void test_not_committed(void **state)
{
    struct bench b;
    int64_t slept;

    (void)state;
    bench_open(&b);
    assert_int_equal(put_tag(&b.s, "first"), 0);
    fault_entry(&b, FAULT_FAIL_BEFORE, -ERR_UNAVAIL, 1000000);
    slept = fake_time_slept();
    assert_int_equal(put_tag(&b.s, "second"), -ERR_NOTCOMMITTED);
    assert_true(fake_time_slept() - slept <= OBJLOG_DECIDE_MS + 1000);
    assert_true(has_tag(&b.s, "first"));
    assert_false(has_tag(&b.s, "second"));
    faults_clear(&b.faults);
    assert_int_equal(put_tag(&b.s, "second"), 0);
    assert_int_equal(entries(&b), 2);
    bench_close(&b);
}

/* Sent, and never seen again: unknown. The next commit settles the number first. */
static void test_unknown_never_lands(void **state)
{
    struct bench b;

    (void)state;
    bench_open(&b);
    assert_int_equal(put_tag(&b.s, "first"), 0);
    fault_entry(&b, FAULT_LATE, 0, 1000000);
    assert_int_equal(put_tag(&b.s, "second"), -ERR_UNKNOWN);
    assert_true(has_tag(&b.s, "first"));
    assert_false(has_tag(&b.s, "second"));
    faults_clear(&b.faults);
    assert_int_equal(put_tag(&b.s, "third"), 0);
    store_fault_flush_late(b.store); /* too late now */
    assert_false(has_tag(&b.s, "second"));
    assert_true(has_tag(&b.s, "third"));
    assert_int_equal(entries(&b), 3); /* the second is empty (B7) */
    bench_close(&b);
}

/* Sent, and it lands after the answer: read by the next, not written twice. */
static void test_unknown_lands(void **state)
{
    struct bench b;

    (void)state;
    bench_open(&b);
    assert_int_equal(put_tag(&b.s, "first"), 0);
    fault_entry(&b, FAULT_LATE, 0, 1000000);
    assert_int_equal(put_tag(&b.s, "second"), -ERR_UNKNOWN);
    faults_clear(&b.faults);
    store_fault_flush_late(b.store);
    assert_true(has_tag(&b.s, "second"));
    assert_int_equal(put_tag(&b.s, "second"), 0); /* the client tries again: nothing to do */
    assert_int_equal(entries(&b), 2);
    assert_int_equal(put_tag(&b.s, "third"), 0);
    assert_int_equal(entries(&b), 3);
    bench_close(&b);
}

/* While the number stays open nothing else is committed here, but reads go on; another node is not
 * held up. */
static void test_unsettled_blocks_commits_only(void **state)
{
    struct bench b;
    struct site other;

    (void)state;
    bench_open(&b);
    assert_int_equal(put_tag(&b.s, "first"), 0);
    fault_entry(&b, FAULT_LATE, 0, 1000000);
    assert_int_equal(put_tag(&b.s, "second"), -ERR_UNKNOWN);
    assert_int_equal(put_tag(&b.s, "third"), -ERR_NOTCOMMITTED);
    assert_true(has_tag(&b.s, "first"));
    site_open(&other, b.inner, REFERENCES_NONE, NULL);
    assert_int_equal(put_tag(&other, "theirs"), 0);
    faults_clear(&b.faults);
    assert_int_equal(put_tag(&b.s, "fourth"), 0);
    store_fault_flush_late(b.store);
    assert_true(has_tag(&b.s, "theirs") && has_tag(&b.s, "fourth"));
    assert_false(has_tag(&b.s, "second") || has_tag(&b.s, "third"));
    assert_int_equal(entries(&b), 3);
    site_close(&other);
    bench_close(&b);
}

/* Any one store call fails, or its answer is lost: the push is answered truly, and pushing again
 * ends well. */
static void test_each_call(void **state)
{
    (void)state;
    log_set_level(LOG_ERROR);
    for (int lost = 0; lost < 2; lost++)
        for (uint64_t at = 1; at < 100; at++) {
            struct bench b;
            uint64_t calls;
            int e;

            bench_open(&b);
            faults_clear(&b.faults);
            *(lost ? &b.faults.lost_at : &b.faults.fail_at) = at;
            e = put_tag(&b.s, "t");
            calls = b.faults.calls;
            faults_clear(&b.faults);
            check(e != 0 || has_tag(&b.s, "t"), "call %d", (int)at);
            check(e == 0 || e == -ERR_UNKNOWN || !has_tag(&b.s, "t"), "call %d: %s", (int)at,
                  err_name(e));
            assert_int_equal(put_tag(&b.s, "t"), 0);
            assert_true(has_tag(&b.s, "t"));
            check(entries(&b) == 1, "call %d: %u entries", (int)at, entries(&b));
            bench_close(&b);
            if (calls < at)
                break;
        }
    log_set_level(LOG_INFO);
}

/* A read that cannot ask the store is an error, not an old answer. */
static void test_probe_fails(void **state)
{
    struct bench b;
    struct site other;
    struct repo *r;

    (void)state;
    bench_open(&b);
    assert_int_equal(put_tag(&b.s, "first"), 0);
    site_open(&other, b.inner, REFERENCES_NONE, NULL);
    assert_int_equal(put_tag(&other, "second"), 0);
    r = repo_of(&b.s, REPO);
    faults_clear(&b.faults);
    faults_add(&b.faults, (struct rule){.op = "get", .to = 1000000, .fault = FAULT_FAIL_BEFORE});
    assert_int_equal(repo_refresh_nowait(r), -ERR_AGAIN);
    assert_int_equal(repo_refresh(r, NULL), -ERR_UNAVAIL);
    faults_clear(&b.faults);
    assert_int_equal(repo_refresh(r, NULL), 0);
    repo_unref(r);
    assert_true(has_tag(&b.s, "second"));
    site_close(&other);
    bench_close(&b);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_mine_after_all),
        cmocka_unit_test(test_not_committed),
        cmocka_unit_test(test_unknown_never_lands),
        cmocka_unit_test(test_unknown_lands),
        cmocka_unit_test(test_unsettled_blocks_commits_only),
        cmocka_unit_test(test_each_call),
        cmocka_unit_test(test_probe_fails),
    };

    fake_time_install();
    return cmocka_run_group_tests(tests, NULL, NULL);
}
