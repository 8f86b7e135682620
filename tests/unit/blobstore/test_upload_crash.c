/* Processes that die, pause or meet each other between any two store calls of a push. After each of
 * them: what was acknowledged is there, no record lacks its data, and the sweep finds everything
 * that is left over. */
#include "upload_fixture.h"

#include "base/clock.h"

#define CALLS_MAX 400 /* of one push; a plan that needs more is a test that never ends */

struct plan {
    const char *name;
    size_t patches[3]; /* offsets saved before the closing request; 0: none */
    size_t size;
    enum digest_alg alg;
};

static const struct plan plans[] = {
    {"small, at once", {0}, SMALL, DIGEST_SHA256},
    {"small, as docker sends it", {SMALL}, SMALL, DIGEST_SHA256},
    {"small, chunks", {100, 200}, SMALL, DIGEST_SHA256},
    {"large, at once", {0}, LARGE, DIGEST_SHA256},
    {"large, as docker sends it", {LARGE}, LARGE, DIGEST_SHA256},
    {"large, chunks", {100000, 150000}, LARGE, DIGEST_SHA256},
    {"grows", {100, 60000, 100000}, LARGE, DIGEST_SHA256},
    {"large, other algorithm", {100000}, LARGE, DIGEST_SHA512},
};

struct world {
    struct faults f;
    struct store *s;
    struct peer a, b;
    char id[KEYS_SESSION_LEN + 1];
    const struct plan *plan;
    struct digest d;
    int hook_result;
};

static void world_open(struct world *w, const struct plan *plan)
{
    w->s = faulty_store(&w->f, mem_store());
    peer_open(&w->a, w->s);
    peer_open(&w->b, w->s);
    start(&w->a, w->id);
    w->plan = plan;
    w->hook_result = 0;
    w->d = content_digest(plan->size, plan->alg);
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

/* The whole push by a; *acked is the last offset that was answered. */
static int push(struct world *w, size_t *acked)
{
    *acked = 0;
    for (size_t i = 0; i < ARRAY_LEN(w->plan->patches) && w->plan->patches[i] > 0; i++) {
        int r = patch(&w->a, w->id, w->plan->patches[i]);

        if (r < 0)
            return r;
        *acked = w->plan->patches[i];
    }
    return put(&w->a, w->id, w->plan->size, &w->d);
}

/* Another process takes over: the blob is whole already, or the session goes on where it was
 * acknowledged. */
static void goes_on(struct world *w, struct peer *p, int result, size_t acked)
{
    int64_t offset;

    check_records(p, w->s);
    if (result == 0) {
        blob_is_whole(p, w->plan->size, &w->d);
        return;
    }
    offset = offset_of(p, w->id);
    assert_true(offset >= (int64_t)acked);
    assert_int_equal(put(p, w->id, w->plan->size, &w->d), 0);
    blob_is_whole(p, w->plan->size, &w->d);
    check_records(p, w->s);
}

static void ends_clean(struct world *w, struct peer *p)
{
    assert_int_equal(sweep_all(p, w->s), w->plan->size > BLOB_INLINE_MAX ? 1 : 0);
    assert_int_equal(offset_of(p, w->id), -ERR_NOTFOUND);
    blob_is_whole(p, w->plan->size, &w->d);
}

/* The process dies before its n-th call, or between that call's effect and its answer. */
static void dies_at(const struct plan *plan, unsigned at, bool applied, bool *ret_done)
{
    struct world w auto_world;
    size_t acked;
    int r;

    world_open(&w, plan);
    w.f.dead_after = applied ? at : at - 1;
    w.f.lost_at = applied ? at : 0;
    if (w.f.dead_after == 0)
        w.f.fail_at = 1, w.f.dead_after = 1;
    r = push(&w, &acked);
    *ret_done = w.f.calls < at;
    faults_clear(&w.f);
    peer_close(&w.a);
    peer_open(&w.a, w.s);
    goes_on(&w, &w.b, r, acked);
    ends_clean(&w, &w.b);
}

static void test_death_at_any_call(void **state)
{
    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(plans); i++) {
        for (int applied = 0; applied < 2; applied++) {
            bool done = false;

            for (unsigned at = 1; !done; at++) {
                assert_true(at < CALLS_MAX);
                dies_at(&plans[i], at, applied, &done);
            }
        }
    }
}

/* One call fails or loses its answer, and the same process, or another, goes on. */
static void stumbles_at(const struct plan *plan, unsigned at, int how, bool *ret_done)
{
    static const enum store_fault faults[] = {FAULT_FAIL_BEFORE, FAULT_REPLY_LOST, FAULT_LATE,
                                              FAULT_DUPLICATE, FAULT_OWN_EXISTS};
    struct world w auto_world;
    struct peer *next;
    size_t acked;
    int r;

    world_open(&w, plan);
    faults_add(&w.f, (struct rule){.from = at, .fault = faults[how / 2]});
    r = push(&w, &acked);
    *ret_done = w.f.calls < at;
    faults_clear(&w.f);
    next = how % 2 ? &w.b : &w.a;
    goes_on(&w, next, r, acked);
    store_fault_flush_late(w.s);
    check_records(next, w.s);
    uploads_trim(w.a.uploads);
    fake_time_pass(UPLOAD_CACHED_IDLE_MS + 1);
    uploads_trim(w.a.uploads);
    ends_clean(&w, &w.b);
}

static void test_one_fault_at_any_call(void **state)
{
    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(plans); i++) {
        for (int how = 0; how < 10; how++) {
            bool done = false;

            for (unsigned at = 1; !done; at++) {
                assert_true(at < CALLS_MAX);
                stumbles_at(&plans[i], at, how, &done);
            }
        }
    }
}

/* ---- two at once: the other's whole request runs between two calls of the first */

static void hook_put(const struct store_fault_call *call, void *arg)
{
    struct world *w = arg;

    (void)call;
    w->hook_result = put(&w->b, w->id, w->plan->size, &w->d);
}

/* Two nodes close one session: both are told 0, there is one blob, and nobody removed its data. */
static void test_two_nodes_close_one_session(void **state)
{
    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(plans); i++) {
        bool done = false;

        for (unsigned at = 1; !done; at++) {
            struct world w auto_world;
            size_t acked = 0;
            int r;

            assert_true(at < CALLS_MAX);
            world_open(&w, &plans[i]);
            for (size_t k = 0; k < ARRAY_LEN(plans[i].patches) && plans[i].patches[k] > 0; k++) {
                acked = plans[i].patches[k];
                assert_int_equal(patch(&w.a, w.id, acked), 0);
            }
            faults_clear(&w.f);
            w.f.hook_at = at;
            w.f.hook = hook_put;
            w.f.hook_arg = &w;
            w.hook_result = 0;
            r = put(&w.a, w.id, w.plan->size, &w.d);
            done = w.f.calls < at;
            faults_clear(&w.f);
            assert_int_equal(w.hook_result, 0);
            assert_int_equal(r, 0);
            blob_is_whole(&w.a, w.plan->size, &w.d);
            assert_int_equal(check_records(&w.a, w.s), 1);
            ends_clean(&w, &w.a);
        }
    }
}

static void hook_other_session(const struct store_fault_call *call, void *arg)
{
    struct world *w = arg;
    char id[KEYS_SESSION_LEN + 1];

    (void)call;
    start(&w->b, id);
    w->hook_result = put(&w->b, id, w->plan->size, &w->d);
}

/* R67: two sessions bring one digest at the same time. */
static void test_two_sessions_of_one_digest(void **state)
{
    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(plans); i++) {
        bool done = false;

        for (unsigned at = 1; !done; at++) {
            struct world w auto_world;
            size_t acked;

            assert_true(at < CALLS_MAX);
            world_open(&w, &plans[i]);
            w.f.hook_at = at;
            w.f.hook = hook_other_session;
            w.f.hook_arg = &w;
            assert_int_equal(push(&w, &acked), 0);
            done = w.f.calls < at;
            faults_clear(&w.f);
            assert_int_equal(w.hook_result, 0);
            assert_int_equal(check_records(&w.a, w.s), 1);
            ends_clean(&w, &w.a);
        }
    }
}

static void hook_cancel(const struct store_fault_call *call, void *arg)
{
    struct world *w = arg;
    struct upload *u;

    (void)call;
    w->hook_result = upload_hold(w->b.uploads, REPO, IDENTITY, str_of(w->id), &u, NULL);
    if (w->hook_result < 0)
        return;
    w->hook_result = upload_cancel(u, NULL);
    upload_release(u);
}

/* close and cancel compete for one number: of a session with data exactly one of them wins. */
static void test_cancel_beside_close(void **state)
{
    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(plans); i++) {
        bool done = false;

        for (unsigned at = 1; !done; at++) {
            struct world w auto_world;
            size_t acked;
            int r;

            assert_true(at < CALLS_MAX);
            world_open(&w, &plans[i]);
            w.f.hook_at = at;
            w.f.hook = hook_cancel;
            w.f.hook_arg = &w;
            w.hook_result = -ERR_AGAIN;
            r = push(&w, &acked);
            done = w.f.calls < at;
            faults_clear(&w.f);
            check_records(&w.a, w.s);
            if (r == 0)
                blob_is_whole(&w.a, w.plan->size, &w.d);
            else
                assert_int_equal(r, -ERR_NOTFOUND);
            if (!done && w.plan->size > BLOB_INLINE_MAX)
                assert_true((r == 0) != (w.hook_result == 0));
            uploads_trim(w.b.uploads);
            sweep_all(&w.a, w.s);
        }
    }
}

/* ---- a process that sleeps for two days between two calls, while others sweep */

static void hook_sleep(const struct store_fault_call *call, void *arg)
{
    struct world *w = arg;

    /* Inside of the call that creates the record no rule can help: a create on its way for half a
     * day is refused by an object store for its signature, and a directory has no way between. */
    if (str_eq(str_of(call->op), STR("create")) && str_starts(call->key, STR("blobs/")))
        return;
    w->hook_result = count_objects(w->s, "blobs/") == 0 ? -1 : 1;
    for (int i = 0; i < 3; i++) {
        fake_time_pass(27 * HOUR_MS);
        assert_int_equal(uploads_sweep(w->b.uploads, NULL, NULL, NULL), 0);
    }
}

static void test_sleep_at_any_call(void **state)
{
    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(plans); i++) {
        bool done = false;

        for (unsigned at = 1; !done; at++) {
            struct world w auto_world;
            size_t acked;
            int r;

            assert_true(at < CALLS_MAX);
            world_open(&w, &plans[i]);
            w.f.hook_at = at;
            w.f.hook = hook_sleep;
            w.f.hook_arg = &w;
            r = push(&w, &acked);
            done = w.f.calls < at;
            faults_clear(&w.f);
            check_records(&w.b, w.s);
            if (r == 0)
                blob_is_whole(&w.b, w.plan->size, &w.d);
            if (w.plan->size > BLOB_INLINE_MAX && w.hook_result < 0)
                assert_true(r == -ERR_NOTFOUND || r == -ERR_NOTCOMMITTED); /* B18 */
            fake_time_pass(UPLOAD_CACHED_IDLE_MS + 1);
            uploads_trim(w.a.uploads);
            sweep_all(&w.b, w.s);
            assert_int_equal(offset_of(&w.a, w.id), -ERR_NOTFOUND);
        }
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_death_at_any_call),
        cmocka_unit_test(test_one_fault_at_any_call),
        cmocka_unit_test(test_two_nodes_close_one_session),
        cmocka_unit_test(test_two_sessions_of_one_digest),
        cmocka_unit_test(test_cancel_beside_close),
        cmocka_unit_test(test_sleep_at_any_call),
    };

    return cmocka_run_group_tests_name("upload_crash", tests, setup, NULL);
}
