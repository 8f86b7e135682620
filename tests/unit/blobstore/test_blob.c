/* Records, data objects, links. */
#include "fixture.h"

#include "blobstore/store_ops.h"

#include "base/clock.h"
#include "base/fd.h"
#include "blobstore/blob.h"

#define ID_A                                                                                       \
    "0192f0aabbcc"                                                                                 \
    "7f00112233445566778899aabbccddee"                                                             \
    "ffeeddccbbaa99887766554433221100"
#define ID_B                                                                                       \
    "0192f0aabbcd"                                                                                 \
    "8f00112233445566778899aabbccddee"                                                             \
    "ffeeddccbbaa99887766554433221100"
#define MANY 200

struct world {
    struct faults f;
    struct store *s;
    struct node *node;
    struct blobs *b;
};

static void world_open_on(struct world *w, struct store *inner)
{
    w->s = faulty_store(&w->f, inner);
    w->node = open_node(w->s);
    assert_int_equal(blobs_new(w->node, &w->b), 0);
    faults_clear(&w->f);
}

static void world_open(struct world *w)
{
    world_open_on(w, mem_store());
}

static void world_close(struct world *w)
{
    blobs_free(w->b);
    node_free(w->node);
    store_free(w->s);
}
#define auto_world auto_of(world_close)

static int setup(void **state)
{
    (void)state;
    fake_time_install();
    return 0;
}

static struct digest digest_for(struct str bytes)
{
    struct digest d;

    digest_of(DIGEST_SHA256, bytes, &d);
    return d;
}

static void record_name(const struct digest *d, struct buf *key)
{
    keys_record(key, d, 0);
}

static void make_data(struct world *w, const char *id, struct str bytes)
{
    struct buf key auto_buf = BUF_INIT(STORE_KEY_MAX);

    keys_data(&key, str_of(id));
    assert_int_equal(store_put(w->s, buf_str(&key), STORE_DATA, bytes, NULL), 0);
}

static bool has_data(struct world *w, const char *id)
{
    struct buf key auto_buf = BUF_INIT(STORE_KEY_MAX);

    keys_data(&key, str_of(id));
    return has_object(w->s, buf_c(&key));
}

static void reads_as(struct world *w, const struct digest *d, struct str want)
{
    struct buf out auto_buf = BUF_INIT(1u << 20);

    assert_int_equal(blob_read(w->b, d, 1u << 20, &out, NULL), 0);
    assert_true(str_eq(buf_str(&out), want));
}

static void test_inline_record_as_documented(void **state)
{
    struct world w auto_world;
    struct digest d = digest_for(STR("hello"));
    struct buf key auto_buf = BUF_INIT(STORE_KEY_MAX), raw auto_buf = BUF_INIT(4096);
    struct blob_info info;

    (void)state;
    world_open(&w);
    assert_int_equal(blob_info_nowait(w.b, &d, &info), -ERR_AGAIN);
    assert_int_equal(blob_info(w.b, &d, &info, NULL), -ERR_NOTFOUND);
    assert_int_equal(blob_create_inline(w.b, &d, STR("hello"), NULL), 0);
    record_name(&d, &key);
    read_object(w.s, buf_c(&key), &raw);
    assert_string_equal(buf_c(&raw), "{\"v\":1,\"size\":5,\"data\":null}\nhello");
    assert_int_equal(blob_create_inline(w.b, &d, STR("hello"), NULL), 0);
    assert_int_equal(blob_info_nowait(w.b, &d, &info), 0);
    assert_int_equal(info.size, 5);
    assert_int_equal(info.header_len, raw.len - 5);
    assert_string_equal(info.data_id, "");
    reads_as(&w, &d, STR("hello"));
}

static void test_empty_blob(void **state)
{
    struct world w auto_world;
    struct digest d = digest_for(STR_NONE);

    (void)state;
    world_open(&w);
    assert_int_equal(blob_create_inline(w.b, &d, STR_NONE, NULL), 0);
    reads_as(&w, &d, STR_NONE);
}

static void test_data_record_as_documented(void **state)
{
    struct world w auto_world;
    struct digest d = digest_for(STR("large"));
    struct buf key auto_buf = BUF_INIT(STORE_KEY_MAX), raw auto_buf = BUF_INIT(4096);

    (void)state;
    world_open(&w);
    make_data(&w, ID_A, STR("large"));
    assert_int_equal(blob_create_record(w.b, &d, 5, STR(ID_A), 0, NULL), 0);
    record_name(&d, &key);
    read_object(w.s, buf_c(&key), &raw);
    assert_string_equal(buf_c(&raw), "{\"v\":1,\"size\":5,\"data\":\"" ID_A "\"}\n");
    reads_as(&w, &d, STR("large"));
}

/* B9: two sessions bring one digest; the loser's data goes. One session closed twice keeps its
 * data. */
static void test_loser_of_the_record_race(void **state)
{
    struct world w auto_world;
    struct digest d = digest_for(STR("large"));

    (void)state;
    world_open(&w);
    make_data(&w, ID_A, STR("large"));
    make_data(&w, ID_B, STR("large"));
    assert_int_equal(blob_create_record(w.b, &d, 5, STR(ID_A), 0, NULL), 0);
    assert_int_equal(blob_create_record(w.b, &d, 5, STR(ID_A), 0, NULL), 0);
    assert_true(has_data(&w, ID_A));
    assert_int_equal(blob_create_record(w.b, &d, 5, STR(ID_B), 0, NULL), 0);
    assert_true(has_data(&w, ID_A));
    assert_false(has_data(&w, ID_B));
    reads_as(&w, &d, STR("large"));
}

/* B10 */
static void test_algorithms_do_not_share(void **state)
{
    struct world w auto_world;
    struct digest a = digest_for(STR("x")), b;

    (void)state;
    world_open(&w);
    digest_of(DIGEST_SHA512, STR("x"), &b);
    assert_int_equal(blob_create_inline(w.b, &a, STR("x"), NULL), 0);
    assert_int_equal(blob_create_inline(w.b, &b, STR("x"), NULL), 0);
    assert_int_equal(count_objects(w.s, "blobs/sha256/"), 1);
    assert_int_equal(count_objects(w.s, "blobs/sha512/"), 1);
    reads_as(&w, &b, STR("x"));
}

/* ---- damage: an error with the key in the log, never wrong bytes */

static const struct {
    const char *record, *data; /* data NULL: none */
    int err;
} damages[] = {
    {"{\"v\":1,\"size\":5,\"data\":null}\nhello", NULL, 0},
    {"{\"v\":1,\"size\":5,\"data\":null,\"more\":[]}\nhello", NULL, 0},
    {"{\"v\":1,\"size\":5,\"data\":null}\nhellx", NULL, -ERR_CORRUPT},
    {"{\"v\":1,\"size\":5,\"data\":null}\nhell", NULL, -ERR_CORRUPT},
    {"{\"v\":1,\"size\":5,\"data\":null}\nhello!", NULL, -ERR_CORRUPT},
    {"{\"v\":1,\"size\":4,\"data\":null}\nhello", NULL, -ERR_CORRUPT},
    {"{\"v\":1,\"size\":5,\"data\":null}hello", NULL, -ERR_CORRUPT},
    {"{\"v\":1,\"size\":-1,\"data\":null}\nhello", NULL, -ERR_CORRUPT},
    {"{\"v\":1,\"size\":5}\nhello", NULL, -ERR_CORRUPT},
    {"{\"v\":1,\"size\":5,\"data\":7}\nhello", NULL, -ERR_CORRUPT},
    {"{\"v\":1,\"size\":5,\"data\":\"../../etc\"}\n", NULL, -ERR_CORRUPT},
    {"{\"v\":2,\"size\":5,\"data\":null}\nhello", NULL, -ERR_VERSION},
    {"{\"size\":5,\"data\":null}\nhello", NULL, -ERR_CORRUPT},
    {"hello", NULL, -ERR_CORRUPT},
    {"", NULL, -ERR_CORRUPT},
    {"{\"v\":1,\"size\":5,\"data\":\"" ID_A "\"}\n", "hello", 0},
    {"{\"v\":1,\"size\":5,\"data\":\"" ID_A "\"}\n", "hellx", -ERR_CORRUPT},
    {"{\"v\":1,\"size\":5,\"data\":\"" ID_A "\"}\n", "hell", -ERR_CORRUPT},
    {"{\"v\":1,\"size\":5,\"data\":\"" ID_A "\"}\n", "hello!", -ERR_CORRUPT},
    {"{\"v\":1,\"size\":5,\"data\":\"" ID_A "\"}\n", NULL, -ERR_CORRUPT},
};

static void test_damage_is_never_served(void **state)
{
    struct digest d = digest_for(STR("hello"));

    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(damages); i++) {
        struct world w auto_world;
        struct buf key auto_buf = BUF_INIT(STORE_KEY_MAX), out auto_buf = BUF_INIT(100);
        struct blob_info info;

        world_open(&w);
        record_name(&d, &key);
        assert_int_equal(
            store_put(w.s, buf_str(&key), STORE_RECORD, str_of(damages[i].record), NULL), 0);
        if (damages[i].data)
            make_data(&w, ID_A, str_of(damages[i].data));
        assert_int_equal(blob_read(w.b, &d, 100, &out, NULL), damages[i].err);
        assert_int_equal(out.len, damages[i].err == 0 ? 5 : 0);
        (void)!blob_info(w.b, &d, &info, NULL); /* now the header may be cached */
        buf_clear(&out);
        assert_int_equal(blob_read(w.b, &d, 100, &out, NULL), damages[i].err);
        assert_int_equal(out.len, damages[i].err == 0 ? 5 : 0);
    }
}

static void test_push_onto_a_damaged_record_says_so(void **state)
{
    struct world w auto_world;
    struct digest d = digest_for(STR("hello"));
    struct buf key auto_buf = BUF_INIT(STORE_KEY_MAX);

    (void)state;
    world_open(&w);
    record_name(&d, &key);
    assert_int_equal(store_put(w.s, buf_str(&key), STORE_RECORD, STR("rot"), NULL), 0);
    assert_int_equal(blob_create_inline(w.b, &d, STR("hello"), NULL), -ERR_CORRUPT);
}

static void test_size_limit_of_a_read(void **state)
{
    struct world w auto_world;
    struct digest d = digest_for(STR("hello"));
    struct buf out auto_buf = BUF_INIT(100);

    (void)state;
    world_open(&w);
    assert_int_equal(blob_create_inline(w.b, &d, STR("hello"), NULL), 0);
    assert_int_equal(blob_read(w.b, &d, 4, &out, NULL), -ERR_TOOBIG);
    assert_int_equal(blob_read(w.b, &d, 5, &out, NULL), 0);
}

/* ---- faults: records and links are idempotent, so one fault changes nothing */

static const struct {
    enum store_fault fault;
    unsigned times;
    int err, result;
} faults[] = {
    {FAULT_REPLY_LOST, 1, 0, 0},
    {FAULT_FAIL_BEFORE, 1, 0, 0},
    {FAULT_LATE, 1, 0, 0},
    {FAULT_DUPLICATE, 1, 0, 0},
    {FAULT_OWN_EXISTS, 1, 0, 0},
    {FAULT_FAIL_BEFORE, 1, -ERR_NOSPACE, -ERR_NOSPACE},
    {FAULT_FAIL_BEFORE, 1, -ERR_IO, -ERR_IO},
    {FAULT_FAIL_BEFORE, 100, 0, -ERR_UNAVAIL},
    {FAULT_LATE, 100, 0, -ERR_UNKNOWN},
};

static void test_faults_of_creates(void **state)
{
    struct digest d = digest_for(STR("hello"));

    (void)state;
    for (size_t i = 0; i < 3 * ARRAY_LEN(faults); i++) {
        struct world w auto_world;
        size_t at = i / 3;
        int r;

        world_open(&w);
        make_data(&w, ID_A, STR("hello"));
        faults_add(&w.f, (struct rule){.op = "create",
                                       .to = faults[at].times,
                                       .fault = faults[at].fault,
                                       .err = faults[at].err});
        if (i % 3 == 0)
            r = blob_create_inline(w.b, &d, STR("hello"), NULL);
        else if (i % 3 == 1)
            r = blob_create_record(w.b, &d, 5, STR(ID_A), 0, NULL);
        else
            r = blob_link_create(w.b, STR("a/b"), &d, 3, NULL);
        assert_int_equal(r, faults[at].result);
        store_fault_flush_late(w.s);
        faults_clear(&w.f);
        if (r < 0)
            continue;
        assert_true(has_data(&w, ID_A));
        if (i % 3 < 2)
            reads_as(&w, &d, STR("hello"));
        else
            assert_int_equal(blob_link_exists(w.b, STR("a/b"), &d, 3, NULL), 0);
    }
}

/* ---- cache */

static void test_headers_are_cached(void **state)
{
    struct world w auto_world;
    struct digest d = digest_for(STR("hello")), absent = digest_for(STR("absent"));
    struct blob_info info;

    (void)state;
    world_open(&w);
    assert_int_equal(blob_create_inline(w.b, &d, STR("hello"), NULL), 0);
    faults_clear(&w.f);
    assert_int_equal(blob_info(w.b, &d, &info, NULL), 0);
    assert_int_equal(w.f.calls, 0);
    assert_int_equal(blob_info(w.b, &absent, &info, NULL), -ERR_NOTFOUND); /* never cached */
    assert_int_equal(blob_create_inline(w.b, &absent, STR("absent"), NULL), 0);
    assert_int_equal(blob_info(w.b, &absent, &info, NULL), 0);
}

/* Far more blobs than the cache has room for. */
static void test_cache_is_bounded_and_right(void **state)
{
    struct world w auto_world;

    (void)state;
    world_open(&w);
    for (int round = 0; round < 2; round++) {
        for (unsigned i = 0; i < 10000; i++) {
            struct buf text auto_buf = BUF_INIT(100);
            struct digest d;
            struct blob_info info;

            buf_addf(&text, "%0*u", (int)(i % 50) + 1, i);
            d = digest_for(buf_str(&text));
            if (round == 0)
                assert_int_equal(blob_create_inline(w.b, &d, buf_str(&text), NULL), 0);
            assert_int_equal(blob_info(w.b, &d, &info, NULL), 0);
            assert_int_equal(info.size, text.len);
        }
    }
}

/* ---- links */

static void test_links(void **state)
{
    struct world w auto_world;
    struct digest d = digest_for(STR("hello"));

    (void)state;
    world_open(&w);
    assert_int_equal(blob_link_exists(w.b, STR("a/b"), &d, 0, NULL), -ERR_NOTFOUND);
    assert_int_equal(blob_link_exists_nowait(w.b, STR("a/b"), &d, 0), -ERR_NOTFOUND);
    assert_int_equal(blob_link_create(w.b, STR("a/b"), &d, 0, NULL), 0);
    assert_int_equal(blob_link_create(w.b, STR("a/b"), &d, 0, NULL), 0);
    assert_int_equal(blob_link_exists(w.b, STR("a/b"), &d, 0, NULL), 0);
    assert_int_equal(blob_link_exists_nowait(w.b, STR("a/b"), &d, 0), 0);
    assert_int_equal(blob_link_exists(w.b, STR("a/b"), &d, 1, NULL), -ERR_NOTFOUND);
    assert_int_equal(blob_link_exists(w.b, STR("a"), &d, 0, NULL), -ERR_NOTFOUND);
    assert_int_equal(blob_link_remove(w.b, STR("a/b"), &d, 0, NULL), 0);
    assert_int_equal(blob_link_exists(w.b, STR("a/b"), &d, 0, NULL), -ERR_NOTFOUND);
    assert_int_equal(blob_link_remove(w.b, STR("a/b"), &d, 0, NULL), 0);
}

/* Every third blob lacks its link, every fifth its record; records known and unknown to the cache.
 */
static void test_many_links_at_once(void **state)
{
    static struct digest digests[MANY];
    static uint64_t u[MANY];
    struct world w auto_world;
    struct blobs *fresh;
    bool found[MANY];

    (void)state;
    world_open(&w);
    for (unsigned i = 0; i < MANY; i++) {
        struct buf text auto_buf = BUF_INIT(100);

        buf_addf(&text, "blob %u", i);
        digests[i] = digest_for(buf_str(&text));
        u[i] = i % 7;
        if (i % 5 != 0)
            assert_int_equal(blob_create_inline(w.b, &digests[i], buf_str(&text), NULL), 0);
        if (i % 3 != 0)
            assert_int_equal(blob_link_create(w.b, STR("r"), &digests[i], u[i], NULL), 0);
    }
    assert_int_equal(blobs_new(w.node, &fresh), 0);
    for (int cached = 0; cached < 2; cached++) {
        assert_int_equal(
            blob_links_exist(cached ? w.b : fresh, STR("r"), digests, u, MANY, found, NULL), 0);
        for (unsigned i = 0; i < MANY; i++)
            assert_int_equal(found[i], i % 5 != 0 && i % 3 != 0);
    }
    faults_add(&w.f, (struct rule){.op = "head", .from = 100, .fault = FAULT_FAIL_BEFORE});
    assert_int_equal(blob_links_exist(fresh, STR("r"), digests, u, MANY, found, NULL),
                     -ERR_UNAVAIL);
    assert_int_equal(blob_links_exist(fresh, STR("r"), digests, u, 0, found, NULL), 0);
    blobs_free(fresh);
}

struct visit {
    unsigned count, stop_at;
    uint64_t sum;
    struct blobs *b;
    struct digest d;
};

static int visit_link(struct str repo, uint64_t u, void *arg)
{
    struct visit *v = arg;

    assert_int_equal(blob_link_exists(v->b, repo, &v->d, u, NULL), 0); /* may use the store */
    v->count++;
    v->sum += u;
    return v->count == v->stop_at ? 9 : 0;
}

static void test_links_of_a_digest(void **state)
{
    struct world w auto_world;
    struct digest d = digest_for(STR("hello"));
    struct visit v;

    (void)state;
    world_open(&w);
    v = (struct visit){.b = w.b, .d = d};
    assert_int_equal(blob_each_link(w.b, &d, visit_link, &v, NULL), 0);
    assert_int_equal(v.count, 0);
    for (unsigned i = 0; i < MANY; i++) {
        struct buf repo auto_buf = BUF_INIT(100);

        buf_addf(&repo, "team/app%u", i);
        assert_int_equal(blob_link_create(w.b, buf_str(&repo), &d, i, NULL), 0);
    }
    assert_int_equal(blob_each_link(w.b, &d, visit_link, &v, NULL), 0);
    assert_int_equal(v.count, 2 * MANY - 1); /* all but the first have one of number 0, too (B44) */
    assert_int_equal(v.sum, MANY * (MANY - 1) / 2);
    v = (struct visit){.b = w.b, .d = d, .stop_at = 70};
    assert_int_equal(blob_each_link(w.b, &d, visit_link, &v, NULL), 9);
    assert_int_equal(v.count, 70);
}

/* ---- files */

static void open_reads(struct world *w, const struct digest *d, struct str want)
{
    struct blob_info info;
    struct blob_body body;
    struct buf out auto_buf = BUF_INIT(100);

    assert_int_equal(blob_info(w->b, d, &info, NULL), 0);
    assert_int_equal(blob_open(w->b, d, &info, &body, NULL), 0);
    assert_int_equal(body.size, want.len);
    assert_int_equal(fd_pread_all(body.fd, body.offset, (size_t)body.size, &out), 0);
    assert_true(str_eq(buf_str(&out), want));
    close(body.fd);
}

/* The files lie in real time, the test in its own: the store's clock is taken to be the test's. */
static int now_of_test(struct store *s, int64_t *ret_ms, struct err_detail *detail)
{
    (void)s, (void)detail;
    *ret_ms = clock_wall_ms();
    return 0;
}

static void test_files_for_sendfile(void **state)
{
    char place[PLACE_MAX];
    struct digest small = digest_for(STR("small")), large = digest_for(STR("large"));
    struct blob_info info;
    struct blob_body body;

    (void)state;
    make_place(place);
    {
        struct world w auto_world;
        struct store *dir;
        struct store_ops ops;

        assert_int_equal(store_dir_new(place, &dir, NULL), 0);
        ops = *dir->ops;
        ops.now = now_of_test;
        dir->ops = &ops;
        world_open_on(&w, dir);
        make_data(&w, ID_A, STR("large"));
        assert_int_equal(blob_create_inline(w.b, &small, STR("small"), NULL), 0);
        assert_int_equal(blob_create_record(w.b, &large, 5, STR(ID_A), 0, NULL), 0);
        open_reads(&w, &small, STR("small"));
        open_reads(&w, &large, STR("large"));
        reads_as(&w, &large, STR("large"));
        make_data(&w, ID_A, STR("larger"));
        assert_int_equal(blob_info(w.b, &large, &info, NULL), 0);
        assert_int_equal(blob_open(w.b, &large, &info, &body, NULL), -ERR_CORRUPT);
        make_data(&w, ID_A, STR("larg"));
        assert_int_equal(blob_open(w.b, &large, &info, &body, NULL), -ERR_CORRUPT);
        info.data_id[0] = '1';
        assert_int_equal(blob_open(w.b, &large, &info, &body, NULL), -ERR_CORRUPT);
    }
    remove_place(place);
}

static void test_no_files_in_memory(void **state)
{
    struct world w auto_world;
    struct digest d = digest_for(STR("hello"));
    struct blob_info info;
    struct blob_body body;

    (void)state;
    world_open(&w);
    assert_int_equal(blob_create_inline(w.b, &d, STR("hello"), NULL), 0);
    assert_int_equal(blob_info(w.b, &d, &info, NULL), 0);
    assert_int_equal(blob_open(w.b, &d, &info, &body, NULL), -ERR_UNSUPPORTED);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_inline_record_as_documented),
        cmocka_unit_test(test_empty_blob),
        cmocka_unit_test(test_data_record_as_documented),
        cmocka_unit_test(test_loser_of_the_record_race),
        cmocka_unit_test(test_algorithms_do_not_share),
        cmocka_unit_test(test_damage_is_never_served),
        cmocka_unit_test(test_push_onto_a_damaged_record_says_so),
        cmocka_unit_test(test_size_limit_of_a_read),
        cmocka_unit_test(test_faults_of_creates),
        cmocka_unit_test(test_headers_are_cached),
        cmocka_unit_test(test_cache_is_bounded_and_right),
        cmocka_unit_test(test_links),
        cmocka_unit_test(test_many_links_at_once),
        cmocka_unit_test(test_links_of_a_digest),
        cmocka_unit_test(test_files_for_sendfile),
        cmocka_unit_test(test_no_files_in_memory),
    };

    return cmocka_run_group_tests_name("blob", tests, setup, NULL);
}
