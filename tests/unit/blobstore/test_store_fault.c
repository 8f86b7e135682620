/* The fault wrapper: each fault does to a call what store.h says. */
#include "store_suite.h"

#include <stdio.h>

#include "base/thread.h"

struct script {
    struct store *s;
    const char *op; /* the call that gets the fault; NULL: each */
    enum store_fault fault;
    int err;
    uint64_t calls, last_number;
    struct str key; /* of the last call */
    char last_op[32];
};

static enum store_fault decide(const struct store_fault_call *call, int *ret_err, void *arg)
{
    struct script *f = arg;

    f->calls++;
    f->last_number = call->number;
    f->key = call->key;
    snprintf(f->last_op, sizeof(f->last_op), "%s", call->op);
    if (f->op != NULL && strcmp(f->op, call->op) != 0)
        return FAULT_NONE;
    *ret_err = f->err;
    return f->fault;
}

static int setup(void **state)
{
    struct script *f = calloc(1, sizeof(*f));
    struct store *inner = NULL;

    assert_non_null(f);
    assert_int_equal(store_mem_new(&inner), 0);
    assert_int_equal(store_fault_new(inner, decide, f, &f->s), 0);
    *state = f;
    return 0;
}

static int teardown(void **state)
{
    struct script *f = *state;

    store_free(f->s);
    free(f);
    return 0;
}

static void inject(struct script *f, const char *op, enum store_fault fault, int err)
{
    f->op = op;
    f->fault = fault;
    f->err = err;
}

static void heal(struct script *f)
{
    inject(f, NULL, FAULT_NONE, 0);
}

static int create(struct script *f, const char *bytes)
{
    return store_create(f->s, STR("k"), STORE_LOG, str_of(bytes), NULL);
}

/* What is there without faults; NULL when nothing. */
static void expect(struct script *f, const char *want)
{
    struct buf out auto_buf = BUF_INIT(64);
    enum store_fault fault = f->fault;

    f->fault = FAULT_NONE;
    int r = store_get(f->s, STR("k"), 0, STORE_WHOLE, &out, NULL);
    f->fault = fault;
    assert_int_equal(r, want == NULL ? -ERR_NOTFOUND : 0);
    if (want != NULL)
        assert_string_equal(buf_c(&out), want);
}

static void test_calls_are_told(void **state)
{
    struct script *f = *state;
    struct store_info info;

    assert_int_equal(create(f, "x"), 0);
    assert_string_equal(f->last_op, "create");
    assert_true(str_eq(f->key, STR("k")));
    assert_int_equal(f->last_number, 1);
    assert_int_equal(store_head(f->s, STR("other"), &info, NULL), -ERR_NOTFOUND);
    assert_string_equal(f->last_op, "head");
    assert_int_equal(f->last_number, 2);
    assert_int_equal(f->calls, 2);
}

static void test_fail_before(void **state)
{
    struct script *f = *state;
    struct err_detail d = {""};

    inject(f, "create", FAULT_FAIL_BEFORE, -ERR_NOSPACE);
    assert_int_equal(store_create(f->s, STR("k"), STORE_LOG, STR("x"), &d), -ERR_NOSPACE);
    assert_string_not_equal(d.text, "");
    expect(f, NULL);
    inject(f, "create", FAULT_FAIL_BEFORE, 0); /* unset */
    assert_int_equal(create(f, "x"), -ERR_UNAVAIL);
    heal(f);
    assert_int_equal(create(f, "x"), 0);
    inject(f, "remove", FAULT_FAIL_BEFORE, -ERR_IO);
    assert_int_equal(store_remove(f->s, STR("k"), STORE_LOG, NULL), -ERR_IO);
    expect(f, "x");
    inject(f, "put", FAULT_FAIL_BEFORE, -ERR_IO);
    assert_int_equal(store_put(f->s, STR("k"), STORE_HINT, STR("y"), NULL), -ERR_IO);
    expect(f, "x");
}

/* S3: -ERR_UNKNOWN may have landed at once. */
static void test_reply_lost(void **state)
{
    struct script *f = *state;

    inject(f, NULL, FAULT_REPLY_LOST, -ERR_IO);
    assert_int_equal(create(f, "first"), -ERR_UNKNOWN);
    expect(f, "first");
    assert_int_equal(create(f, "second"), -ERR_UNKNOWN);
    expect(f, "first");
    assert_int_equal(store_put(f->s, STR("k"), STORE_HINT, STR("put"), NULL), -ERR_UNKNOWN);
    expect(f, "put");
    assert_int_equal(store_remove(f->s, STR("k"), STORE_LOG, NULL), -ERR_UNKNOWN);
    expect(f, NULL);
}

/* S3: ... or later, after the caller went on. */
static void test_late(void **state)
{
    struct script *f = *state;

    inject(f, "create", FAULT_LATE, 0);
    assert_int_equal(create(f, "late"), -ERR_UNKNOWN);
    expect(f, NULL);
    store_fault_flush_late(f->s);
    expect(f, "late");
    store_fault_flush_late(f->s);

    inject(f, "remove", FAULT_LATE, 0);
    assert_int_equal(store_remove(f->s, STR("k"), STORE_LOG, NULL), -ERR_UNKNOWN);
    inject(f, "put", FAULT_LATE, 0);
    assert_int_equal(store_put(f->s, STR("k"), STORE_HINT, STR("put"), NULL), -ERR_UNKNOWN);
    expect(f, "late");
    store_fault_flush_late(f->s); /* in the order of the calls */
    expect(f, "put");

    /* A late create meets the winner. */
    heal(f);
    assert_int_equal(store_remove(f->s, STR("k"), STORE_LOG, NULL), 0);
    inject(f, "create", FAULT_LATE, 0);
    assert_int_equal(create(f, "loser"), -ERR_UNKNOWN);
    heal(f);
    assert_int_equal(create(f, "winner"), 0);
    store_fault_flush_late(f->s);
    expect(f, "winner");

    /* What is never flushed is dropped with the store (teardown, under the leak checker). */
    inject(f, "create", FAULT_LATE, 0);
    assert_int_equal(store_create(f->s, STR("never"), STORE_LOG, STR("x"), NULL), -ERR_UNKNOWN);
}

static void test_duplicate(void **state)
{
    struct script *f = *state;

    inject(f, "create", FAULT_DUPLICATE, 0);
    assert_int_equal(create(f, "x"), 0);
    heal(f);
    assert_int_equal(store_remove(f->s, STR("k"), STORE_LOG, NULL), 0);
    expect(f, NULL);
    store_fault_flush_late(f->s);
    expect(f, "x");
    inject(f, "put", FAULT_DUPLICATE, 0);
    assert_int_equal(store_put(f->s, STR("k"), STORE_HINT, STR("one"), NULL), 0);
    heal(f);
    assert_int_equal(store_put(f->s, STR("k"), STORE_HINT, STR("two"), NULL), 0);
    store_fault_flush_late(f->s);
    expect(f, "one");
}

static void test_own_exists(void **state)
{
    struct script *f = *state;

    inject(f, NULL, FAULT_OWN_EXISTS, 0);
    assert_int_equal(create(f, "mine"), -ERR_EXISTS);
    expect(f, "mine");
    assert_int_equal(store_put(f->s, STR("k"), STORE_HINT, STR("put"), NULL), 0);
    assert_int_equal(store_remove(f->s, STR("k"), STORE_LOG, NULL), 0);
    expect(f, NULL);
}

static int ignore(struct str key, const struct store_info *info, void *arg)
{
    (void)key;
    (void)info;
    (void)arg;
    return 0;
}

static void test_reads_fail(void **state)
{
    static const enum store_fault faults[] = {FAULT_FAIL_BEFORE, FAULT_REPLY_LOST};
    struct script *f = *state;
    struct buf out auto_buf = BUF_INIT(64);
    struct store_object o = {-1, {7, 7}};
    struct store_info info = {7, 7};
    int64_t now = 7;

    assert_int_equal(create(f, "x"), 0);
    buf_add(&out, STR("kept"));
    for (size_t i = 0; i < ARRAY_LEN(faults); i++) {
        inject(f, NULL, faults[i], -ERR_BUSY);
        assert_int_equal(store_get(f->s, STR("k"), 0, 9, &out, NULL), -ERR_BUSY);
        assert_int_equal(store_head(f->s, STR("k"), &info, NULL), -ERR_BUSY);
        assert_int_equal(store_probe(f->s, STR("k"), &info), -ERR_BUSY);
        assert_int_equal(store_open(f->s, STR("k"), &o, NULL), -ERR_BUSY);
        assert_int_equal(store_now(f->s, &now, NULL), -ERR_BUSY);
        assert_int_equal(store_list(f->s, STR("k"), STR_NONE, 9, ignore, NULL, NULL), -ERR_BUSY);
        assert_int_equal(store_stream_list(f->s, ignore, NULL, NULL), -ERR_BUSY);
    }
    assert_string_equal(buf_c(&out), "kept");
    assert_int_equal(info.size, 7);
    assert_int_equal(now, 7);
    assert_int_equal(o.info.size, 7);
}

static void test_streams(void **state)
{
    struct script *f = *state;
    struct buf saved auto_buf = BUF_INIT(STORE_STREAM_STATE_MAX);
    struct store_stream *st = NULL;

    inject(f, "stream.open", FAULT_FAIL_BEFORE, -ERR_IO);
    assert_int_equal(store_stream_open(f->s, STR("k"), &st, NULL), -ERR_IO);
    assert_null(st);
    heal(f);
    assert_int_equal(store_stream_open(f->s, STR("k"), &st, NULL), 0);
    inject(f, "stream.write", FAULT_FAIL_BEFORE, -ERR_NOSPACE);
    assert_int_equal(store_stream_write(st, STR("no"), NULL), -ERR_NOSPACE);
    heal(f);
    assert_int_equal(store_stream_write(st, STR("yes"), NULL), 0);
    assert_int_equal(store_stream_size(st), 3);
    inject(f, "stream.save", FAULT_REPLY_LOST, 0);
    assert_int_equal(store_stream_save(st, &saved, NULL), -ERR_UNKNOWN);
    assert_int_equal(saved.len, 0);
    inject(f, "stream.commit", FAULT_FAIL_BEFORE, -ERR_UNAVAIL);
    assert_int_equal(store_stream_commit(st, NULL), -ERR_UNAVAIL);
    expect(f, NULL);
    inject(f, "stream.commit", FAULT_LATE, 0);
    assert_int_equal(store_stream_commit(st, NULL), -ERR_UNKNOWN);
    store_stream_close(st);
    expect(f, NULL);
    store_fault_flush_late(f->s); /* though the holder closed it */
    expect(f, "yes");

    heal(f);
    assert_int_equal(store_remove(f->s, STR("k"), STORE_DATA, NULL), 0);
    assert_int_equal(store_stream_open(f->s, STR("k"), &st, NULL), 0);
    assert_int_equal(store_stream_write(st, STR("own"), NULL), 0);
    inject(f, "stream.commit", FAULT_OWN_EXISTS, 0);
    assert_int_equal(store_stream_commit(st, NULL), -ERR_EXISTS);
    store_stream_close(st);
    expect(f, "own");

    heal(f);
    assert_int_equal(store_stream_open(f->s, STR("never"), &st, NULL), 0);
    inject(f, "stream.commit", FAULT_LATE, 0);
    assert_int_equal(store_stream_commit(st, NULL), -ERR_UNKNOWN);
    store_stream_close(st); /* dropped with the store */
}

/* decide() may call the store's other threads' way: it is asked outside any lock. */
static enum store_fault decide_and_read(const struct store_fault_call *call, int *ret_err,
                                        void *arg)
{
    struct store **s = arg;
    struct store_info info;

    (void)ret_err;
    if (strcmp(call->op, "create") == 0)
        assert_int_equal(store_head(*s, STR("unlocked"), &info, NULL), -ERR_NOTFOUND);
    return FAULT_NONE;
}

static void test_decide_holds_no_lock(void **state)
{
    struct store *inner = NULL, *s = NULL;

    (void)state;
    assert_int_equal(store_mem_new(&inner), 0);
    assert_int_equal(store_fault_new(inner, decide_and_read, &s, &s), 0);
    assert_int_equal(store_create(s, STR("k"), STORE_LOG, STR("x"), NULL), 0);
    store_free(s);
}

int main(void)
{
    static const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_calls_are_told, setup, teardown),
        cmocka_unit_test_setup_teardown(test_fail_before, setup, teardown),
        cmocka_unit_test_setup_teardown(test_reply_lost, setup, teardown),
        cmocka_unit_test_setup_teardown(test_late, setup, teardown),
        cmocka_unit_test_setup_teardown(test_duplicate, setup, teardown),
        cmocka_unit_test_setup_teardown(test_own_exists, setup, teardown),
        cmocka_unit_test_setup_teardown(test_reads_fail, setup, teardown),
        cmocka_unit_test_setup_teardown(test_streams, setup, teardown),
        cmocka_unit_test(test_decide_holds_no_lock),
    };

    return cmocka_run_group_tests_name("store_fault", tests, NULL, NULL);
}
