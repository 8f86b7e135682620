/* Ends by age: what expires and when, what is removed and in which order, and what never comes
 * back. */
#include "upload_fixture.h"

#include "base/clock.h"
#include "base/metrics.h"

struct world {
    struct faults f;
    struct store *s;
    struct peer a, b;
    char id[KEYS_SESSION_LEN + 1];
};

static void world_open(struct world *w)
{
    w->s = faulty_store(&w->f, mem_store());
    peer_open(&w->a, w->s);
    peer_open(&w->b, w->s);
    start(&w->a, w->id);
    faults_clear(&w->f);
}

static void world_close(struct world *w)
{
    peer_close(&w->a);
    peer_close(&w->b);
    store_free(w->s);
}
#define auto_world auto_of(world_close)

static int setup(void **state)
{
    (void)state;
    fake_time_install();
    return 0;
}

static unsigned entries_of(struct world *w)
{
    struct buf prefix auto_buf = BUF_INIT(STORE_KEY_MAX);

    keys_session(&prefix, str_of(w->id));
    return count_objects(w->s, buf_c(&prefix));
}

static void sweep(struct world *w)
{
    assert_int_equal(uploads_sweep(w->b.uploads, NULL, NULL, NULL), 0);
}

/* ---- what expires */

static void test_id_without_entries_lives_a_day(void **state)
{
    struct world w auto_world;

    (void)state;
    world_open(&w);
    fake_time_pass(24 * HOUR_MS - 1000);
    assert_int_equal(offset_of(&w.b, w.id), 0);
    fake_time_pass(2000);
    assert_int_equal(offset_of(&w.b, w.id), -ERR_NOTFOUND);
    assert_int_equal(patch(&w.a, w.id, 10), -ERR_NOTFOUND);
}

static void test_idle_session_expires(void **state)
{
    static const size_t saved[] = {SMALL, LARGE};

    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(saved); i++) {
        struct world w auto_world;
        int64_t expired = metric_value(METRIC_upload_sessions_expired_total);

        world_open(&w);
        assert_int_equal(patch(&w.a, w.id, saved[i]), 0);
        fake_time_pass(23 * HOUR_MS);
        sweep(&w);
        assert_int_equal(offset_of(&w.b, w.id), saved[i]);
        fake_time_pass(2 * HOUR_MS);
        assert_int_equal(offset_of(&w.a, w.id), -ERR_NOTFOUND); /* also before any sweep */
        sweep(&w);
        assert_int_equal(entries_of(&w), 2);
        sweep(&w); /* once is enough */
        assert_int_equal(entries_of(&w), 2);
        assert_int_equal(metric_value(METRIC_upload_sessions_expired_total), expired + 1);
        fake_time_pass(25 * HOUR_MS); /* the end itself stays for a day and W */
        sweep(&w);
        assert_int_equal(entries_of(&w), 2);
        fake_time_pass(2 * HOUR_MS);
        uploads_trim(w.a.uploads);
        sweep(&w);
        assert_int_equal(entries_of(&w), 0);
        assert_int_equal(offset_of(&w.a, w.id), -ERR_NOTFOUND);
        assert_int_equal(patch(&w.b, w.id, saved[i] + 1), -ERR_NOTFOUND);
        assert_int_equal(entries_of(&w), 0); /* no number is filled again */
        assert_int_equal(sweep_all(&w.b, w.s), 0);
    }
}

static void test_session_in_use_outlives_its_first_day(void **state)
{
    struct world w auto_world;
    struct digest d = content_digest(LARGE, DIGEST_SHA256);

    (void)state;
    world_open(&w);
    for (size_t i = 1; i <= 5; i++) {
        assert_int_equal(patch(i % 2 ? &w.a : &w.b, w.id, i * 30000), 0);
        fake_time_pass(20 * HOUR_MS);
        sweep(&w);
    }
    assert_int_equal(put(&w.a, w.id, LARGE, &d), 0);
    sweep(&w);
    blob_is_whole(&w.b, LARGE, &d);
    assert_int_equal(sweep_all(&w.b, w.s), 1);
    blob_is_whole(&w.b, LARGE, &d);
}

static void test_held_session_is_not_expired_by_its_own_node(void **state)
{
    struct world w auto_world;
    struct upload *u;

    (void)state;
    world_open(&w);
    assert_int_equal(patch(&w.b, w.id, 100000), 0);
    assert_int_equal(upload_hold(w.b.uploads, REPO, IDENTITY, str_of(w.id), &u, NULL), 0);
    assert_int_equal(upload_write(u, content(100000, 1000), NULL), 0);
    fake_time_pass(25 * HOUR_MS);
    sweep(&w);
    assert_int_equal(entries_of(&w), 1);
    assert_int_equal(upload_save(u, NULL), -ERR_NOTFOUND); /* but it is too late for it */
    upload_release(u);
    assert_int_equal(sweep_all(&w.b, w.s), 0);
}

/* ---- a close that was won and not finished */

/* A close is won and the process dies before (stage 0), or behind (1) the data object; then hours
 * pass. */
static void unfinished(struct world *w, int stage, const struct digest *d)
{
    assert_int_equal(patch(&w->a, w->id, LARGE), 0);
    if (stage == 0)
        faults_add(&w->f, (struct rule){.op = "stream.commit",
                                        .to = 99,
                                        .err = -ERR_IO,
                                        .fault = FAULT_FAIL_BEFORE});
    faults_add(&w->f, (struct rule){.op = "create",
                                    .key_part = "blobs/",
                                    .to = 99,
                                    .err = -ERR_IO,
                                    .fault = FAULT_FAIL_BEFORE});
    assert_int_equal(put(&w->a, w->id, LARGE, d), -ERR_IO);
    faults_clear(&w->f);
    peer_close(&w->a);
    peer_open(&w->a, w->s);
    assert_int_equal(entries_of(w), 2);
    assert_int_equal(count_objects(w->s, "data/"), stage);
    assert_int_equal(count_objects(w->s, "blobs/"), 0);
}

static void test_young_close_is_rolled_forward(void **state)
{
    struct digest d = content_digest(LARGE, DIGEST_SHA256);
    struct digest other = content_digest(LARGE - 1, DIGEST_SHA256);

    (void)state;
    for (int i = 0; i < 4; i++) {
        struct world w auto_world;
        struct peer *p = i % 2 ? &w.a : &w.b;
        struct upload *u;

        world_open(&w);
        unfinished(&w, i / 2, &d);
        fake_time_pass(11 * HOUR_MS);
        sweep(&w);
        assert_int_equal(upload_hold(p->uploads, REPO, IDENTITY, str_of(w.id), &u, NULL), 0);
        assert_true(upload_closed(u));
        assert_int_equal(upload_offset(u), LARGE);
        assert_int_equal(upload_write(u, content(0, 10), NULL), 0); /* the body of a retried PUT */
        assert_int_equal(upload_save(u, NULL), -ERR_NOTFOUND);
        assert_int_equal(upload_cancel(u, NULL), -ERR_NOTFOUND);
        assert_int_equal(upload_close(u, &other, 0, NULL), -ERR_NOTFOUND);
        assert_int_equal(upload_close(u, &d, 0, NULL), 0);
        upload_release(u);
        blob_is_whole(&w.a, LARGE, &d);
        assert_int_equal(sweep_all(&w.a, w.s), 1);
        blob_is_whole(&w.b, LARGE, &d);
    }
}

/* B18, B19: past twelve hours nobody makes the record, so the sweep may take the data. */
static void test_old_close_is_spent(void **state)
{
    struct digest d = content_digest(LARGE, DIGEST_SHA256);

    (void)state;
    for (int stage = 0; stage < 2; stage++) {
        struct world w auto_world;

        world_open(&w);
        unfinished(&w, stage, &d);
        fake_time_pass(13 * HOUR_MS);
        assert_int_equal(put(&w.b, w.id, LARGE, &d), -ERR_NOTFOUND);
        sweep(&w);
        assert_int_equal(count_objects(w.s, "data/"), stage);
        fake_time_pass(14 * HOUR_MS);
        sweep(&w);
        assert_int_equal(count_objects(w.s, "data/"), 0);
        assert_int_equal(entries_of(&w), 0);
        assert_int_equal(sweep_all(&w.b, w.s), 0);
    }
}

/* The sweep leaves data alone that a record names, and takes that of a session that lost the record
 * race. */
static void test_data_of_finished_sessions_stays(void **state)
{
    struct world w auto_world;
    struct digest d = content_digest(LARGE, DIGEST_SHA256);
    char second[KEYS_SESSION_LEN + 1];

    (void)state;
    world_open(&w);
    unfinished(&w, 1, &d);
    start(&w.b, second);
    assert_int_equal(put(&w.b, second, LARGE, &d), 0); /* another session brings the blob */
    assert_int_equal(count_objects(w.s, "data/"), 2);
    assert_int_equal(sweep_all(&w.b, w.s), 1);
    blob_is_whole(&w.b, LARGE, &d);
}

/* ---- crashes and company while sweeping */

/* The sweep dies at any of its calls: the session stays dead, and the next sweep finishes. */
static void test_sweep_dies_at_any_call(void **state)
{
    (void)state;
    for (int kind = 0; kind < 3; kind++) {
        bool done = false;

        for (unsigned at = 1; !done; at++) {
            struct world w auto_world;
            struct digest d = content_digest(LARGE, DIGEST_SHA256);

            world_open(&w);
            for (size_t to = 20000; to <= LARGE; to += 20000)
                assert_int_equal(patch(&w.a, w.id, to), 0);
            if (kind == 1)
                assert_int_equal(put(&w.a, w.id, LARGE, &d), 0);
            if (kind == 2) { /* expired, and its end has aged */
                fake_time_pass(25 * HOUR_MS);
                sweep(&w);
            }
            peer_close(&w.a);
            peer_open(&w.a, w.s);
            fake_time_pass(27 * HOUR_MS);
            faults_clear(&w.f);
            w.f.dead_after = at;
            (void)!uploads_sweep(w.b.uploads, NULL, NULL, NULL);
            done = w.f.calls <= at;
            faults_clear(&w.f);
            assert_int_equal(offset_of(&w.a, w.id), -ERR_NOTFOUND);
            assert_int_equal(sweep_all(&w.a, w.s), kind == 1 ? 1 : 0);
            assert_int_equal(offset_of(&w.a, w.id), -ERR_NOTFOUND);
            if (kind == 1)
                blob_is_whole(&w.a, LARGE, &d);
            assert_true(at < 200);
        }
    }
}

static void hook_sweep(const struct store_fault_call *call, void *arg)
{
    struct world *w = arg;

    (void)call;
    assert_int_equal(uploads_sweep(w->a.uploads, NULL, NULL, NULL), 0);
}

static void test_two_sweeps_at_once(void **state)
{
    for (int age = 25; age <= 53; age += 28) {
        bool done = false;

        (void)state;
        for (unsigned at = 1; !done; at++) {
            struct world w auto_world;

            world_open(&w);
            assert_int_equal(patch(&w.a, w.id, 10), 0);
            assert_int_equal(patch(&w.a, w.id, 20), 0);
            if (age > 25) {
                fake_time_pass(25 * HOUR_MS);
                sweep(&w);
            }
            fake_time_pass(27 * HOUR_MS);
            faults_clear(&w.f);
            w.f.hook_at = at;
            w.f.hook = hook_sweep;
            w.f.hook_arg = &w;
            sweep(&w);
            done = w.f.calls < at;
            faults_clear(&w.f);
            assert_int_equal(entries_of(&w), age > 25 ? 0 : 3); /* one end, not two */
            assert_int_equal(sweep_all(&w.a, w.s), 0);
            assert_true(at < 100);
        }
    }
}

/* More sessions than one listing holds, one of them with more entries than that. */
static void test_many_sessions_and_entries(void **state)
{
    static char ids[700][KEYS_SESSION_LEN + 1];
    struct world w auto_world;

    (void)state;
    world_open(&w);
    for (size_t i = 0; i < ARRAY_LEN(ids); i++) {
        start(&w.a, ids[i]);
        assert_int_equal(patch(&w.a, ids[i], 1 + i % 3), 0);
        if (i == 350)
            for (size_t to = 10; to < 1250; to++)
                assert_int_equal(patch(&w.a, ids[i], to), 0);
    }
    fake_time_pass(25 * HOUR_MS);
    sweep(&w);
    for (size_t i = 0; i < ARRAY_LEN(ids); i++)
        assert_int_equal(offset_of(&w.a, ids[i]), -ERR_NOTFOUND);
    fake_time_pass(27 * HOUR_MS);
    sweep(&w);
    assert_int_equal(count_objects(w.s, "uploads/"), 0);
}

static bool some(void *arg)
{
    return (*(unsigned *)arg)-- > 0;
}

/* Who may not go on leaves the rest to the next one, the middle of a page or not. */
static void test_left_early(void **state)
{
    static char ids[10][KEYS_SESSION_LEN + 1];
    struct world w auto_world;
    unsigned left = 3, ended = 0;

    (void)state;
    world_open(&w);
    for (size_t i = 0; i < ARRAY_LEN(ids); i++) {
        start(&w.a, ids[i]);
        assert_int_equal(patch(&w.a, ids[i], 1), 0);
    }
    fake_time_pass(25 * HOUR_MS);
    assert_int_equal(uploads_sweep(w.b.uploads, some, &left, NULL), -ERR_AGAIN);
    assert_int_equal(count_objects(w.s, "uploads/"), ARRAY_LEN(ids) + 3);
    sweep(&w);
    for (size_t i = 0; i < ARRAY_LEN(ids); i++)
        ended += offset_of(&w.a, ids[i]) == -ERR_NOTFOUND;
    assert_int_equal(ended, ARRAY_LEN(ids));
    assert_int_equal(count_objects(w.s, "uploads/"), 2 * ARRAY_LEN(ids));
}

/* One session that cannot be read keeps nothing else from being swept. */
static void test_damaged_session_does_not_stop_the_sweep(void **state)
{
    struct world w auto_world;
    struct buf key auto_buf = BUF_INIT(STORE_KEY_MAX);
    char first[KEYS_SESSION_LEN + 1];

    (void)state;
    world_open(&w);
    memcpy(first, w.id, sizeof(first));
    assert_int_equal(patch(&w.a, first, 10), 0);
    fake_time_pass(1000);
    start(&w.a, w.id); /* born later, so listed later */
    assert_int_equal(patch(&w.a, w.id, 10), 0);
    keys_session(&key, str_of(first));
    buf_add(&key, STR("/00000000000000000001"));
    assert_int_equal(store_put(w.s, buf_str(&key), STORE_UPLOAD, STR("rot"), NULL), 0);
    fake_time_pass(25 * HOUR_MS);
    assert_int_equal(uploads_sweep(w.b.uploads, NULL, NULL, NULL), -ERR_CORRUPT);
    assert_int_equal(entries_of(&w), 2); /* expired all the same */
}

/* A stream that was saved although its entry never came: nobody knows it but the listing of
 * streams. */
static void test_stream_without_a_session(void **state)
{
    struct world w auto_world;

    (void)state;
    world_open(&w);
    faults_add(&w.f,
               (struct rule){.op = "create", .to = 99, .err = -ERR_IO, .fault = FAULT_FAIL_BEFORE});
    assert_int_equal(patch(&w.a, w.id, LARGE), -ERR_IO);
    faults_clear(&w.f);
    assert_int_equal(entries_of(&w), 0);
    fake_time_pass(25 * HOUR_MS);
    sweep(&w);
    fake_time_pass(2 * HOUR_MS);
    assert_int_equal(sweep_all(&w.b, w.s), 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_id_without_entries_lives_a_day),
        cmocka_unit_test(test_idle_session_expires),
        cmocka_unit_test(test_session_in_use_outlives_its_first_day),
        cmocka_unit_test(test_held_session_is_not_expired_by_its_own_node),
        cmocka_unit_test(test_young_close_is_rolled_forward),
        cmocka_unit_test(test_old_close_is_spent),
        cmocka_unit_test(test_data_of_finished_sessions_stays),
        cmocka_unit_test(test_sweep_dies_at_any_call),
        cmocka_unit_test(test_two_sweeps_at_once),
        cmocka_unit_test(test_many_sessions_and_entries),
        cmocka_unit_test(test_left_early),
        cmocka_unit_test(test_damaged_session_does_not_stop_the_sweep),
        cmocka_unit_test(test_stream_without_a_session),
    };

    return cmocka_run_group_tests_name("upload_sweep", tests, setup, NULL);
}
