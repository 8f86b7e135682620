/* Upload sessions: ids, appending, closing, ending; one process and several. */
#include "upload_fixture.h"

#include "base/clock.h"
#include "base/json.h"
#include "base/metrics.h"

struct world {
    struct faults f;
    struct store *s;
    struct peer a, b;
};

static void world_open(struct world *w)
{
    w->s = faulty_store(&w->f, mem_store());
    peer_open(&w->a, w->s);
    peer_open(&w->b, w->s);
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

static struct upload *hold(struct peer *p, const char *id)
{
    struct upload *u = NULL;

    assert_int_equal(upload_hold(p->uploads, REPO, IDENTITY, str_of(id), &u, NULL), 0);
    return u;
}

/* ---- ids */

static void test_ids_prove_themselves(void **state)
{
    struct world w auto_world;
    char id[KEYS_SESSION_LEN + 1], other[KEYS_SESSION_LEN + 1];
    struct upload *u;

    (void)state;
    world_open(&w);
    start(&w.a, id);
    start(&w.a, other);
    assert_int_equal(w.f.calls, 0); /* a start costs no request */
    assert_int_equal(strlen(id), KEYS_SESSION_LEN);
    assert_string_not_equal(id, other);
    assert_true(upload_id_valid(w.a.uploads, REPO, IDENTITY, str_of(id)));
    assert_true(upload_id_valid(w.b.uploads, REPO, IDENTITY, str_of(id)));
    assert_false(upload_id_valid(w.a.uploads, STR("library/ap"), IDENTITY, str_of(id)));
    assert_false(upload_id_valid(w.a.uploads, REPO, STR("bob"), str_of(id)));
    assert_false(upload_id_valid(w.a.uploads, STR("library/appal"), STR("ice"), str_of(id)));
    assert_false(upload_id_valid(w.a.uploads, REPO, IDENTITY, str_head(str_of(id), 75)));
    assert_false(upload_id_valid(w.a.uploads, REPO, IDENTITY, STR("../../etc/passwd")));
    assert_int_equal(upload_hold(w.a.uploads, STR("x"), IDENTITY, str_of(id), &u, NULL),
                     -ERR_NOTFOUND);
    for (size_t i = 0; i < KEYS_SESSION_LEN; i++) {
        char bad[KEYS_SESSION_LEN + 1];

        memcpy(bad, id, sizeof(bad));
        bad[i] = bad[i] == '0' ? '1' : '0';
        assert_false(upload_id_valid(w.a.uploads, REPO, IDENTITY, str_of(bad)));
        bad[i] = 'A';
        assert_false(upload_id_valid(w.a.uploads, REPO, IDENTITY, str_of(bad)));
    }
}

static void test_one_request_at_a_time(void **state)
{
    struct world w auto_world;
    char id[KEYS_SESSION_LEN + 1];
    struct upload *u, *second;

    (void)state;
    world_open(&w);
    start(&w.a, id);
    u = hold(&w.a, id);
    assert_int_equal(upload_hold(w.a.uploads, REPO, IDENTITY, str_of(id), &second, NULL),
                     -ERR_BUSY);
    upload_release(u);
    u = hold(&w.a, id);
    upload_release(u);
}

/* ---- every way of bringing bytes, every size around the border of small */

static const size_t sizes[] = {
    0, 1, SMALL, 30000, BLOB_INLINE_MAX - 1, BLOB_INLINE_MAX, BLOB_INLINE_MAX + 1, LARGE};

static void test_put_alone(void **state)
{
    (void)state;
    for (size_t i = 0; i < 2 * ARRAY_LEN(sizes); i++) {
        struct world w auto_world;
        char id[KEYS_SESSION_LEN + 1];
        size_t size = sizes[i / 2];
        struct digest d = content_digest(size, i % 2 ? DIGEST_SHA512 : DIGEST_SHA256);

        world_open(&w);
        start(&w.a, id);
        assert_int_equal(put(&w.a, id, size, &d), 0);
        blob_is_whole(&w.b, size, &d);
        assert_int_equal(offset_of(&w.a, id), -ERR_NOTFOUND); /* spent */
        assert_int_equal(check_records(&w.a, w.s), 1);
        assert_int_equal(sweep_all(&w.a, w.s), size > BLOB_INLINE_MAX ? 1 : 0);
        blob_is_whole(&w.b, size, &d);
    }
}

/* Chunks of every kind; a third of the requests go to the other node, every process forgets in
 * between. */
static void test_chunks_on_any_node(void **state)
{
    static const size_t steps[] = {1, 1000, 30000, 40000, BLOB_INLINE_MAX, 100000};

    (void)state;
    for (size_t k = 0; k < 2 * ARRAY_LEN(steps); k++) {
        struct world w auto_world;
        char id[KEYS_SESSION_LEN + 1];
        size_t step = steps[k / 2], size = step * 4 + 7;
        struct digest d = content_digest(size, k % 2 ? DIGEST_SHA512 : DIGEST_SHA256);

        world_open(&w);
        start(&w.a, id);
        for (size_t at = step, i = 0; at < size; at += step, i++) {
            struct peer *p = i % 3 == 1 ? &w.b : &w.a;

            assert_int_equal(patch(p, id, at), 0);
            assert_int_equal(offset_of(&w.a, id), at);
            assert_int_equal(offset_of(&w.b, id), at);
            if (i == 2) { /* restart */
                peer_close(&w.a);
                peer_open(&w.a, w.s);
            }
        }
        assert_int_equal(put(&w.b, id, size, &d), 0);
        blob_is_whole(&w.a, size, &d);
        assert_int_equal(sweep_all(&w.a, w.s), size > BLOB_INLINE_MAX ? 1 : 0);
        blob_is_whole(&w.a, size, &d);
    }
}

/* docker: POST, PATCH with everything, PUT: one entry, one record, one link for a small blob. */
static void test_price_of_a_small_blob(void **state)
{
    struct world w auto_world;
    char id[KEYS_SESSION_LEN + 1];
    struct digest d = content_digest(SMALL, DIGEST_SHA256);

    (void)state;
    world_open(&w);
    start(&w.a, id);
    assert_int_equal(patch(&w.a, id, SMALL), 0);
    assert_int_equal(put(&w.a, id, SMALL, &d), 0);
    assert_int_equal(count_objects(w.s, "uploads/"), 1);
    assert_int_equal(count_objects(w.s, "data/"), 0);
    assert_int_equal(count_objects(w.s, "blobs/"), 1);
    assert_int_equal(count_objects(w.s, "links/"), 1);
}

static void test_entries_as_documented(void **state)
{
    struct world w auto_world;
    char id[KEYS_SESSION_LEN + 1];
    struct buf prefix auto_buf = BUF_INIT(STORE_KEY_MAX), key auto_buf = BUF_INIT(STORE_KEY_MAX);
    struct buf raw auto_buf = BUF_INIT(1u << 20);
    struct digest d = content_digest(LARGE, DIGEST_SHA256);
    char text[DIGEST_TEXT_MAX];

    (void)state;
    world_open(&w);
    start(&w.a, id);
    assert_int_equal(patch(&w.a, id, 5), 0);
    assert_int_equal(patch(&w.a, id, 8), 0);
    assert_int_equal(patch(&w.a, id, 100000), 0);
    assert_int_equal(put(&w.a, id, LARGE, &d), 0);
    keys_session(&prefix, str_of(id));
    assert_int_equal(check_log(w.s, buf_c(&prefix), false), 5);
    buf_addf(&key, "%s/00000000000000000002", buf_c(&prefix));
    read_object(w.s, buf_c(&key), &raw);
    assert_non_null(
        memmem(raw.at, raw.len, STR("\"op\":\"append\",\"offset\":8,\"hash\":\"sha256:").at, 40));
    assert_true(str_ends(buf_str(&raw), content(5, 3))); /* only the new bytes */
    assert_non_null(strstr(buf_c(&raw), "\"stream\":null}],\"bytes\":3}\n"));
    buf_clear(&key);
    buf_clear(&raw);
    buf_addf(&key, "%s/00000000000000000003", buf_c(&prefix));
    read_object(w.s, buf_c(&key), &raw);
    assert_non_null(strstr(buf_c(&raw), "\"offset\":100000,"));
    assert_null(strstr(buf_c(&raw), "\"stream\":null"));
    buf_clear(&key);
    buf_clear(&raw);
    buf_addf(&key, "%s/00000000000000000005", buf_c(&prefix));
    read_object(w.s, buf_c(&key), &raw);
    buf_clear(&key);
    buf_addf(&key, "\"ops\":[{\"op\":\"close\",\"digest\":\"%s\",\"size\":%u,\"g\":0}]}",
             digest_text(&d, text).at, LARGE);
    assert_true(str_ends(buf_str(&raw), buf_str(&key)));
}

static void test_nothing_written_is_no_entry(void **state)
{
    struct world w auto_world;
    char id[KEYS_SESSION_LEN + 1];

    (void)state;
    world_open(&w);
    start(&w.a, id);
    assert_int_equal(patch(&w.a, id, 0), 0);
    assert_int_equal(offset_of(&w.b, id), 0);
    assert_int_equal(count_objects(w.s, "uploads/"), 0);
}

/* ---- what was not saved is worth nothing */

static void test_rollback_and_release(void **state)
{
    static const struct {
        size_t saved, written;
    } cases[] = {{0, 10}, {0, LARGE}, {10, 20}, {10, LARGE}, {100000, 100001}, {100000, LARGE}};

    (void)state;
    for (size_t i = 0; i < 2 * ARRAY_LEN(cases); i++) {
        struct world w auto_world;
        char id[KEYS_SESSION_LEN + 1];
        size_t saved = cases[i / 2].saved, written = cases[i / 2].written;
        struct digest d = content_digest(LARGE, DIGEST_SHA256);
        struct upload *u;

        world_open(&w);
        start(&w.a, id);
        assert_int_equal(patch(&w.a, id, saved), 0);
        u = hold(&w.a, id);
        assert_int_equal(upload_write(u, content(500, written - saved), NULL), 0); /* wrong bytes */
        assert_int_equal(upload_offset(u), written);
        if (i % 2 == 0) {
            assert_int_equal(upload_rollback(u, NULL), 0);
            assert_int_equal(upload_offset(u), saved);
        }
        upload_release(u);
        assert_int_equal(offset_of(&w.a, id), saved);
        assert_int_equal(put(&w.a, id, LARGE, &d), 0);
        blob_is_whole(&w.b, LARGE, &d);
        assert_int_equal(sweep_all(&w.a, w.s), 1);
    }
}

static void test_failed_write_is_forgotten(void **state)
{
    (void)state;
    for (int i = 0; i < 2; i++) {
        struct world w auto_world;
        char id[KEYS_SESSION_LEN + 1];
        struct digest d = content_digest(LARGE, DIGEST_SHA256);

        world_open(&w);
        start(&w.a, id);
        assert_int_equal(patch(&w.a, id, 70000), 0);
        faults_add(&w.f, (struct rule){.op = "stream.write",
                                       .from = 2,
                                       .fault = i ? FAULT_REPLY_LOST : FAULT_FAIL_BEFORE,
                                       .err = -ERR_NOSPACE});
        assert_int_equal(patch(&w.a, id, LARGE), i ? -ERR_UNKNOWN : -ERR_NOSPACE);
        faults_clear(&w.f);
        assert_int_equal(offset_of(&w.a, id), 70000);
        assert_int_equal(put(&w.a, id, LARGE, &d), 0);
        blob_is_whole(&w.b, LARGE, &d);
    }
}

/* ---- digests */

static void test_wrong_digest_drops_the_session(void **state)
{
    (void)state;
    for (size_t i = 0; i < 4 * ARRAY_LEN(sizes); i++) {
        struct world w auto_world;
        char id[KEYS_SESSION_LEN + 1];
        size_t size = sizes[i / 4];
        struct digest wrong = content_digest(size + 1, i % 2 ? DIGEST_SHA512 : DIGEST_SHA256);

        world_open(&w);
        start(&w.a, id);
        if (i % 4 >= 2)
            assert_int_equal(patch(&w.a, id, size / 2), 0);
        assert_int_equal(put(&w.a, id, size, &wrong), -ERR_DIGEST);
        assert_int_equal(offset_of(&w.a, id), -ERR_NOTFOUND);
        if (i % 4 >= 2 && size > 1)
            assert_int_equal(offset_of(&w.b, id), -ERR_NOTFOUND); /* its log says so */
        assert_int_equal(count_objects(w.s, "blobs/"), 0);
        assert_int_equal(count_objects(w.s, "data/"), 0);
        assert_int_equal(count_objects(w.s, "links/"), 0);
        assert_int_equal(sweep_all(&w.a, w.s), 0);
    }
}

/* R63: the hint makes the hash of the hint's algorithm; R62: any other works, too, by reading
 * again. */
static void test_announced_algorithm(void **state)
{
    (void)state;
    for (int i = 0; i < 2; i++) {
        struct world w auto_world;
        char id[KEYS_SESSION_LEN + 1];
        struct digest d = content_digest(LARGE, i ? DIGEST_SHA512 : DIGEST_SHA256);

        world_open(&w);
        upload_start(w.a.uploads, REPO, IDENTITY, DIGEST_SHA512, id);
        assert_int_equal(patch(&w.a, id, 100000), 0);
        faults_add(&w.f, (struct rule){.op = "stream.read", .to = 100, .fault = FAULT_FAIL_BEFORE});
        assert_int_equal(put(&w.b, id, LARGE, &d), i ? 0 : -ERR_UNAVAIL);
        faults_clear(&w.f);
        if (i == 0)
            assert_int_equal(put(&w.b, id, LARGE, &d), 0);
        blob_is_whole(&w.a, LARGE, &d);
    }
}

/* R67: at most one stored copy; both sessions get their answer. */
static void test_same_blob_twice(void **state)
{
    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(sizes); i++) {
        struct world w auto_world;
        char first[KEYS_SESSION_LEN + 1], second[KEYS_SESSION_LEN + 1];
        struct digest d = content_digest(sizes[i], DIGEST_SHA256);

        world_open(&w);
        start(&w.a, first);
        start(&w.b, second);
        assert_int_equal(patch(&w.b, second, sizes[i]), 0);
        assert_int_equal(put(&w.a, first, sizes[i], &d), 0);
        assert_int_equal(put(&w.b, second, sizes[i], &d), 0);
        blob_is_whole(&w.a, sizes[i], &d);
        assert_int_equal(count_objects(w.s, "data/"), sizes[i] > BLOB_INLINE_MAX ? 1 : 0);
        assert_int_equal(sweep_all(&w.a, w.s), sizes[i] > BLOB_INLINE_MAX ? 1 : 0);
    }
}

/* ---- ends */

static void test_cancel_is_known_everywhere(void **state)
{
    static const size_t saved[] = {0, 10, LARGE};

    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(saved); i++) {
        struct world w auto_world;
        char id[KEYS_SESSION_LEN + 1];
        struct upload *u;

        world_open(&w);
        start(&w.a, id);
        assert_int_equal(patch(&w.a, id, saved[i]), 0);
        u = hold(&w.b, id);
        assert_int_equal(upload_cancel(u, NULL), 0);
        upload_release(u);
        assert_int_equal(offset_of(&w.a, id), -ERR_NOTFOUND);
        assert_int_equal(offset_of(&w.b, id), -ERR_NOTFOUND);
        peer_close(&w.a);
        peer_open(&w.a, w.s);
        assert_int_equal(offset_of(&w.a, id), -ERR_NOTFOUND);
        assert_int_equal(sweep_all(&w.a, w.s), 0);
        assert_int_equal(offset_of(&w.a, id), -ERR_NOTFOUND); /* never lives again */
    }
}

static void test_ends_while_another_holds_it(void **state)
{
    static const size_t saved[] = {10, 100000};

    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(saved); i++) {
        struct world w auto_world;
        char id[KEYS_SESSION_LEN + 1];
        struct upload *a, *b;
        struct digest d = content_digest(LARGE, DIGEST_SHA256);

        world_open(&w);
        start(&w.a, id);
        assert_int_equal(patch(&w.a, id, saved[i]), 0);
        a = hold(&w.a, id);
        b = hold(&w.b, id);
        assert_int_equal(upload_write(a, content(saved[i], LARGE - saved[i]), NULL), 0);
        assert_int_equal(upload_cancel(b, NULL), 0);
        upload_release(b);
        assert_int_equal(upload_close(a, &d, 0, NULL), -ERR_NOTFOUND);
        upload_release(a);
        assert_int_equal(count_objects(w.s, "blobs/"), 0);
        assert_int_equal(sweep_all(&w.a, w.s), 0);
    }
}

/* R68: two requests at one offset on two nodes: one wins, the other learns where the session
 * stands. */
static void test_concurrent_appends(void **state)
{
    static const size_t saved[] = {0, 10, 100000};

    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(saved); i++) {
        struct world w auto_world;
        char id[KEYS_SESSION_LEN + 1];
        struct upload *a, *b;
        struct digest d = content_digest(LARGE, DIGEST_SHA256);
        size_t to = saved[i] + 50;

        world_open(&w);
        start(&w.a, id);
        assert_int_equal(patch(&w.a, id, saved[i]), 0);
        a = hold(&w.a, id);
        b = hold(&w.b, id);
        assert_int_equal(upload_write(a, content(9, LARGE), NULL), 0); /* other bytes */
        assert_int_equal(upload_write(b, content(saved[i], 50), NULL), 0);
        assert_int_equal(upload_save(b, NULL), 0);
        assert_int_equal(upload_save(a, NULL), -ERR_RANGE);
        assert_int_equal(upload_offset(a), to);
        upload_release(a);
        upload_release(b);
        assert_int_equal(put(&w.a, id, LARGE, &d), 0);
        blob_is_whole(&w.b, LARGE, &d);
        fake_time_pass(UPLOAD_CACHED_IDLE_MS + 1);
        uploads_trim(w.b.uploads); /* it kept its own stream between requests */
        assert_int_equal(sweep_all(&w.a, w.s), 1);
    }
}

/* The close of a session that went on elsewhere meanwhile. */
static void test_close_beside_an_append(void **state)
{
    struct world w auto_world;
    char id[KEYS_SESSION_LEN + 1];
    struct upload *a, *b;
    struct digest d = content_digest(100000, DIGEST_SHA256);
    struct digest all = content_digest(LARGE, DIGEST_SHA256);

    (void)state;
    world_open(&w);
    start(&w.a, id);
    assert_int_equal(patch(&w.a, id, 100000), 0);
    a = hold(&w.a, id);
    b = hold(&w.b, id);
    assert_int_equal(upload_write(b, content(100000, LARGE - 100000), NULL), 0);
    assert_int_equal(upload_save(b, NULL), 0);
    upload_release(b);
    assert_int_equal(upload_close(a, &d, 0, NULL), -ERR_RANGE);
    upload_release(a);
    assert_int_equal(put(&w.a, id, LARGE, &all), 0);
    blob_is_whole(&w.b, LARGE, &all);
    assert_int_equal(count_objects(w.s, "blobs/"), 1);
}

/* An entry nobody knows the fate of: landed or not, the next request agrees with the log. */
static void test_undecided_save(void **state)
{
    static const size_t first[] = {10, 100000};

    (void)state;
    for (size_t i = 0; i < 4; i++) {
        struct world w auto_world;
        char id[KEYS_SESSION_LEN + 1];
        size_t saved = first[i / 2];
        bool lands = i % 2;
        struct digest d = content_digest(LARGE, DIGEST_SHA256);

        world_open(&w);
        start(&w.a, id);
        assert_int_equal(patch(&w.a, id, saved), 0);
        faults_add(&w.f, (struct rule){.op = "create",
                                       .to = 1000,
                                       .fault = lands ? FAULT_REPLY_LOST : FAULT_LATE});
        faults_add(&w.f, (struct rule){.op = "get", .to = 1000, .fault = FAULT_FAIL_BEFORE});
        assert_int_equal(patch(&w.a, id, saved + 20), -ERR_UNKNOWN);
        faults_clear(&w.f);
        assert_int_equal(offset_of(&w.a, id), lands ? saved + 20 : saved);
        assert_int_equal(patch(&w.a, id, saved + 30), 0);
        store_fault_flush_late(w.s);
        assert_int_equal(offset_of(&w.b, id), saved + 30);
        assert_int_equal(put(&w.b, id, LARGE, &d), 0);
        blob_is_whole(&w.a, LARGE, &d);
        assert_int_equal(sweep_all(&w.a, w.s), 1);
    }
}

/* ---- memory */

static void test_many_sessions_in_memory(void **state)
{
    static char ids[UPLOAD_CACHED_MAX + 50][KEYS_SESSION_LEN + 1];
    struct world w auto_world;

    (void)state;
    world_open(&w);
    for (size_t i = 0; i < ARRAY_LEN(ids); i++) {
        start(&w.a, ids[i]);
        assert_int_equal(patch(&w.a, ids[i], 30000), 0);
    }
    for (size_t i = 0; i < ARRAY_LEN(ids); i++)
        assert_int_equal(offset_of(&w.a, ids[i]), 30000);
}

static void test_trim_gives_streams_up(void **state)
{
    struct world w auto_world;
    char id[KEYS_SESSION_LEN + 1];
    struct digest d = content_digest(LARGE, DIGEST_SHA256);

    (void)state;
    world_open(&w);
    start(&w.a, id);
    assert_int_equal(patch(&w.a, id, 100000), 0);
    fake_time_pass(UPLOAD_CACHED_IDLE_MS + 1);
    uploads_trim(w.a.uploads);
    faults_add(&w.f, (struct rule){.op = "stream.resume", .fault = FAULT_FAIL_BEFORE});
    assert_int_equal(patch(&w.a, id, 100001), -ERR_UNAVAIL); /* it had to be resumed */
    faults_clear(&w.f);
    assert_int_equal(put(&w.a, id, LARGE, &d), 0);
    blob_is_whole(&w.b, LARGE, &d);
}

/* ---- damage */

static void test_damaged_session_is_refused(void **state)
{
    static const char *const ops[] = {
        "[{\"op\":\"append\",\"offset\":1,\"hash\":\"x\",\"stream\":null}]",
        "[{\"op\":\"append\",\"hash\":\"x\",\"stream\":null}]",
        "[{\"op\":\"close\",\"digest\":\"sha256:0\",\"size\":1,\"g\":0}]",
        "[{\"op\":\"new\"}]",
        "[1]",
    };

    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(ops); i++) {
        struct world w auto_world;
        char id[KEYS_SESSION_LEN + 1];
        struct buf prefix auto_buf = BUF_INIT(STORE_KEY_MAX);
        struct objlog *l auto_objlog = NULL;
        struct objlog_pos pos = {0};
        struct objlog_spec spec = {.cls = STORE_UPLOAD};
        int64_t r;

        world_open(&w);
        start(&w.a, id);
        keys_session(&prefix, str_of(id));
        spec.prefix = spec.name = buf_str(&prefix);
        assert_int_equal(objlog_new(w.a.node, &spec, &l), 0);
        assert_int_equal(
            objlog_append(l, &pos, str_of(ops[i]), STR_NONE, clock_boot_ms(), NULL, NULL), 0);
        r = offset_of(&w.a, id);
        assert_true(r == -ERR_CORRUPT || r == -ERR_VERSION);
    }
}

/* ---- many small ones at once: beyond the bound of their memory they stream, and are whole */

static void test_many_small_share_memory(void **state)
{
    enum { COUNT = 300, HALF = 30000 };
    static struct upload *held[COUNT];
    struct world w auto_world;
    char id[KEYS_SESSION_LEN + 1];
    int64_t before = metric_value(METRIC_upload_streams_open);

    (void)state;
    world_open(&w);
    for (size_t i = 0; i < COUNT; i++) {
        start(&w.a, id);
        held[i] = hold(&w.a, id);
        assert_int_equal(upload_write(held[i], content(0, HALF), NULL), 0);
        assert_int_equal(upload_write(held[i], content(HALF, HALF - i), NULL), 0);
    }
    assert_true(metric_value(METRIC_upload_streams_open) - before > COUNT / 4);
    assert_true(metric_value(METRIC_upload_streams_open) - before < COUNT * 3 / 4);
    for (size_t i = 0; i < COUNT; i++) {
        struct digest d = content_digest(2 * HALF - i, DIGEST_SHA256);

        assert_int_equal(upload_close(held[i], &d, 0, NULL), 0);
        upload_release(held[i]);
        blob_is_whole(&w.b, 2 * HALF - i, &d);
    }
    assert_int_equal(metric_value(METRIC_upload_streams_open), before);
    start(&w.a, id); /* their memory counts no longer */
    held[0] = hold(&w.a, id);
    assert_int_equal(upload_write(held[0], content(0, HALF), NULL), 0);
    assert_int_equal(upload_write(held[0], content(HALF, HALF), NULL), 0);
    assert_int_equal(metric_value(METRIC_upload_streams_open), before);
    upload_release(held[0]);
}

/* An id is born by the store's clock, never by this machine's: without it there are no uploads. */
static void test_births_need_the_stores_clock(void **state)
{
    struct faults faults;
    struct store *s = faulty_store(&faults, mem_store());
    struct node *node = open_node(s);
    struct uploads *uploads = NULL;
    struct blobs *blobs;

    (void)state;
    assert_int_equal(blobs_new(node, &blobs), 0);
    faults_clear(&faults);
    faults_add(&faults, (struct rule){.op = "now", .from = 1, .fault = FAULT_FAIL_BEFORE});
    assert_int_equal(uploads_new(blobs, &uploads), -ERR_UNAVAIL);
    assert_int_equal(uploads_new(blobs, &uploads), 0);
    uploads_free(uploads);
    blobs_free(blobs);
    node_free(node);
    store_free(s);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_ids_prove_themselves),
        cmocka_unit_test(test_one_request_at_a_time),
        cmocka_unit_test(test_put_alone),
        cmocka_unit_test(test_chunks_on_any_node),
        cmocka_unit_test(test_price_of_a_small_blob),
        cmocka_unit_test(test_entries_as_documented),
        cmocka_unit_test(test_nothing_written_is_no_entry),
        cmocka_unit_test(test_rollback_and_release),
        cmocka_unit_test(test_failed_write_is_forgotten),
        cmocka_unit_test(test_wrong_digest_drops_the_session),
        cmocka_unit_test(test_announced_algorithm),
        cmocka_unit_test(test_same_blob_twice),
        cmocka_unit_test(test_cancel_is_known_everywhere),
        cmocka_unit_test(test_ends_while_another_holds_it),
        cmocka_unit_test(test_concurrent_appends),
        cmocka_unit_test(test_close_beside_an_append),
        cmocka_unit_test(test_undecided_save),
        cmocka_unit_test(test_many_sessions_in_memory),
        cmocka_unit_test(test_trim_gives_streams_up),
        cmocka_unit_test(test_damaged_session_is_refused),
        cmocka_unit_test(test_births_need_the_stores_clock),
        cmocka_unit_test(test_many_small_share_memory),
    };

    return cmocka_run_group_tests_name("upload", tests, setup, NULL);
}
