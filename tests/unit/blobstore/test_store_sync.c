/* The directory store: what is synced when, failing syncs (rule D4), full disks. */
#include "store_suite.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <unistd.h>

#include "blobstore/store_dir_internal.h"

/* ---- Syncs, counted. */

static struct {
    unsigned files, folders;
    unsigned fail_after; /* 0: never; the n-th sync fails */
    int fail_errno;
} syncs;

static int failing(void)
{
    if (syncs.fail_after == 0 || --syncs.fail_after > 0)
        return 0;
    errno = syncs.fail_errno;
    return -1;
}

static int count_fdatasync(int fd)
{
    syncs.files++;
    return failing() < 0 ? -1 : fdatasync(fd);
}

static int count_fsync(int fd)
{
    syncs.folders++;
    return failing() < 0 ? -1 : fsync(fd);
}

static int setup_counted(void **state)
{
    store_dir_call_fdatasync = count_fdatasync;
    store_dir_call_fsync = count_fsync;
    return bench_setup(state);
}

static int teardown_counted(void **state)
{
    store_dir_call_fdatasync = fdatasync;
    store_dir_call_fsync = fsync;
    memset(&syncs, 0, sizeof(syncs));
    return bench_teardown(state);
}

static void expect_syncs(unsigned files, unsigned folders)
{
    assert_int_equal(syncs.files, files);
    assert_int_equal(syncs.folders, folders);
    memset(&syncs, 0, sizeof(syncs));
}

static void test_syncs_by_class(void **state)
{
    static const struct {
        enum store_class cls;
        unsigned files, folders;
    } cases[] = {{STORE_LOG, 1, 1},  {STORE_RECORD, 1, 1}, {STORE_DATA, 1, 1},
                 {STORE_LINK, 1, 1}, {STORE_UPLOAD, 1, 0}, {STORE_HINT, 0, 0}};
    struct bench *t = *state;
    struct store_info info;

    assert_int_equal(bench_create(t->s, "a/b/c/0", "x"), 0);
    expect_syncs(1, 4); /* root, a, a/b for the new folders; a/b/c for the entry */
    for (unsigned i = 0; i < ARRAY_LEN(cases); i++) {
        char key[32];
        snprintf(key, sizeof(key), "a/b/c/%u", i + 1);
        struct str k = str_of(key);

        assert_int_equal(store_create(t->s, k, cases[i].cls, STR("x"), NULL), 0);
        expect_syncs(cases[i].files, cases[i].folders);
        /* What this process made, it knows. */
        assert_int_equal(store_head(t->s, k, &info, NULL), 0);
        assert_int_equal(store_probe(t->s, k, &info), 0);
        assert_int_equal(store_create(t->s, k, cases[i].cls, STR("x"), NULL), -ERR_EXISTS);
        expect_syncs(0, 0);
        assert_int_equal(store_remove(t->s, k, cases[i].cls, NULL), 0);
        expect_syncs(0, cases[i].folders);
    }
}

/* While a shared sync is made others wait for the next one; a log's entry, for which a whole batch
 * waits, syncs by itself at once. */
static void test_an_entry_does_not_wait_for_others(void **state)
{
    struct bench *t = *state;
    struct dir_syncs *s = &dir_of(t->s)->syncs;

    if (s->meminfo < 0) {
        print_message("missing: a file system whose syncs can be shared\n");
        skip();
    }
    assert_int_equal(store_create(t->s, STR("a/0"), STORE_LOG, STR("x"), NULL), 0);
    memset(&syncs, 0, sizeof(syncs));
    s->leading = true; /* and never ends */
    assert_int_equal(store_create(t->s, STR("a/1"), STORE_LOG, STR("x"), NULL), 0);
    s->leading = false;
    expect_syncs(1, 1);
}

/* D5: what another made is answered as existing only after a sync, once. */
static void test_foreign_objects_are_synced_first(void **state)
{
    struct bench *t = *state;
    struct buf out auto_buf = BUF_INIT(64);
    struct store *other = bench_open(t->place);
    struct store_info info;

    for (int i = 0; i < 3; i++) {
        char key[32];
        snprintf(key, sizeof(key), "a/b/%d", i);
        assert_int_equal(bench_create(t->s, key, "x"), 0);
    }
    memset(&syncs, 0, sizeof(syncs));
    assert_int_equal(store_head(other, STR("a/b/0"), &info, NULL), 0);
    expect_syncs(0, 3); /* root and a, for the first use of a/b; then a/b */
    assert_int_equal(store_head(other, STR("a/b/0"), &info, NULL), 0);
    expect_syncs(0, 0);
    assert_int_equal(store_get(other, STR("a/b/1"), 0, STORE_WHOLE, &out, NULL), 0);
    expect_syncs(0, 1);
    assert_int_equal(store_get(other, STR("a/b/1"), 0, STORE_WHOLE, &out, NULL), 0);
    expect_syncs(0, 0);
    assert_int_equal(bench_create(other, "a/b/2", "x"), -ERR_EXISTS);
    expect_syncs(0, 1); /* and no file was written for it */
    assert_int_equal(store_probe(other, STR("a/b/2"), &info), 0);
    store_free(other);
}

/* Many questions at once cost no sync of each folder. */
static void test_many_foreign_objects(void **state)
{
    enum { MANY = 100 };
    struct bench *t = *state;
    struct store_op ops[MANY];
    char keys[MANY][32];
    struct store *other = bench_open(t->place);

    /* Which objects share a slot of what is known, and so forget each other, follows from the seed:
     * with this one none of these do. */
    memset(dir_of(other)->seed, 1, sizeof(dir_of(other)->seed));
    for (unsigned i = 0; i < MANY; i++) {
        snprintf(keys[i], sizeof(keys[0]), "a/%u/%u", i % 10, i);
        ops[i] = (struct store_op){.kind = STORE_OP_HEAD, .key = str_of(keys[i]), .result = 1};
        if (i > 0)
            assert_int_equal(store_create(t->s, str_of(keys[i]), STORE_HINT, STR("x"), NULL), 0);
    }
    assert_int_equal(mkdir(bench_path(t, "a/0"), 0700) == 0 || errno == EEXIST, 1);
    assert_int_equal(symlink("../1/1", bench_path(t, keys[0])), 0); /* never answered as there */
    memset(&syncs, 0, sizeof(syncs));
    store_run(other, ops, MANY);
    assert_true(ops[0].result < 0 && ops[0].result != -ERR_AGAIN);
    for (unsigned i = 1; i < MANY; i++) {
        assert_int_equal(ops[i].result, 0);
        assert_int_equal(ops[i].info.size, 1);
    }
    if (dir_of(other)->syncs.meminfo >= 0)
        assert_true(syncs.folders <= 3); /* of the symbolic link */
    else
        print_message("missing: a file system whose syncs can be shared\n");
    memset(&syncs, 0, sizeof(syncs));
    store_run(other, ops + 1, MANY - 1);
    expect_syncs(0, 0);
    store_free(other);
}

/* Objects of one folder that are read together cost one sync of it, not one each. */
static void test_many_foreign_reads(void **state)
{
    enum { MANY = 40, ABSENT = MANY - 1, LINK = MANY - 2 };
    struct bench *t = *state;
    struct store_op ops[MANY];
    struct buf bytes[MANY];
    char keys[MANY][32];
    struct store *other = bench_open(t->place);

    memset(dir_of(other)->seed, 1, sizeof(dir_of(other)->seed)); /* as above */
    for (unsigned i = 0; i < MANY; i++) {
        snprintf(keys[i], sizeof(keys[0]), "a/log/%02u", i);
        bytes[i] = BUF_INIT(16);
        ops[i] = (struct store_op){.kind = STORE_OP_GET, .key = str_of(keys[i]), .out = &bytes[i]};
        if (i < LINK)
            assert_int_equal(store_create(t->s, ops[i].key, STORE_HINT, ops[i].key, NULL), 0);
    }
    assert_int_equal(symlink("00", bench_path(t, keys[LINK])), 0); /* never answered as there */
    memset(&syncs, 0, sizeof(syncs));
    store_run(other, ops, MANY);
    expect_syncs(0, 3); /* root and a, once for the process; a/log */
    for (unsigned i = 0; i < MANY; i++) {
        assert_true(i >= LINK ? ops[i].result < 0 : ops[i].result == 0);
        assert_true(i >= LINK || str_eq(buf_str(&bytes[i]), ops[i].key));
        buf_done(&bytes[i]);
    }
    assert_int_equal(ops[ABSENT].result, -ERR_NOTFOUND);
    store_run(other, ops, 3);
    expect_syncs(0, 0);
    for (unsigned i = 0; i < 3; i++)
        buf_done(&bytes[i]);
    store_free(other);
}

static void test_stream_syncs(void **state)
{
    enum { PIECE = 1 << 20 };
    struct bench *t = *state;
    struct store_stream *st = NULL;
    struct buf saved auto_buf = BUF_INIT(STORE_STREAM_STATE_MAX);
    char *piece = calloc(1, PIECE);

    assert_non_null(piece);
    assert_int_equal(bench_create(t->s, "data/ab/other", "x"), 0);
    memset(&syncs, 0, sizeof(syncs));
    assert_int_equal(store_stream_open(t->s, STR("data/ab/1"), &st, NULL), 0);
    for (unsigned i = 0; i < STORE_SYNC_BYTES / PIECE - 1; i++)
        assert_int_equal(store_stream_write(st, str_make(piece, PIECE), NULL), 0);
    expect_syncs(0, 0);
    assert_int_equal(store_stream_write(st, str_make(piece, PIECE), NULL), 0);
    expect_syncs(1, 0); /* every STORE_SYNC_BYTES */
    assert_int_equal(store_stream_write(st, STR("x"), NULL), 0);
    assert_int_equal(store_stream_save(st, &saved, NULL), 0);
    expect_syncs(1, 1);
    assert_int_equal(store_stream_save(st, &saved, NULL), 0);
    expect_syncs(0, 0);
    assert_int_equal(store_stream_commit(st, NULL), 0);
    expect_syncs(0, 1);
    store_stream_close(st);
    expect_syncs(0, 0);
    free(piece);
}

/* A start on a store that is there asks for one sync, of the root; what stands in it, and the way
 * to the secrets, then needs none of the root again. */
static void test_a_start_syncs_the_root_once(void **state)
{
    struct bench *t = *state;
    struct buf out auto_buf = BUF_INIT(64);

    assert_int_equal(bench_create(t->s, "format", "x"), 0);
    assert_int_equal(bench_create(t->s, "secret/_log/0/1", "x"), 0);
    memset(&syncs, 0, sizeof(syncs));

    struct store *again auto_store = bench_open(t->place);
    expect_syncs(0, 1);
    assert_int_equal(store_get(again, STR("format"), 0, STORE_WHOLE, &out, NULL), 0);
    expect_syncs(0, 0);
    assert_int_equal(store_get(again, STR("secret/_log/0/1"), 0, STORE_WHOLE, &out, NULL), 0);
    expect_syncs(0, 3); /* secret, secret/_log, secret/_log/0 */
}

/* ---- D4: a failed sync ends the process; "no space" before the link does not. */

static int child(const char *place, const char *how, const char *nth)
{
    struct store_stream *st = NULL;
    struct store *s auto_store = NULL;
    uint64_t n = 0;

    if (store_dir_new(place, &s, NULL) < 0 || bench_create(s, "f/2", "x") != 0 ||
        !str_u64(str_of(nth), &n))
        return 1;
    store_dir_call_fdatasync = count_fdatasync;
    store_dir_call_fsync = count_fsync;
    syncs.fail_errno = EIO;
    syncs.fail_after = (unsigned)n;
    if (strcmp(how, "create") == 0)
        return bench_create(s, "f/1", "x") == 0 ? 0 : 2;
    int r = store_stream_open(s, STR("f/1"), &st, NULL);
    if (r == 0)
        r = store_stream_write(st, STR("x"), NULL);
    if (r == 0)
        r = store_stream_commit(st, NULL);
    store_stream_close(st);
    return r == 0 ? 0 : 3;
}

static void test_failed_sync_ends_the_process(void **state)
{
    static const struct {
        const char *how, *nth;
        int ends, there;
    } cases[] = {
        {"create", "1", 128 + SIGABRT, -ERR_NOTFOUND}, /* the file, so nothing was linked */
        {"create", "2", 128 + SIGABRT, 0},             /* the folder: linked, but nobody was told */
        {"create", "3", 0, 0},
        {"stream", "1", 128 + SIGABRT, -ERR_NOTFOUND},
        {"stream", "2", 128 + SIGABRT, 0},
        {"stream", "3", 0, 0},
    };
    struct bench *t = *state;

    assert_int_equal(bench_create(t->s, "f/0", "x"), 0);
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        const char *arguments[] = {"child", t->place, cases[i].how, cases[i].nth, NULL};
        struct store_info info;

        assert_int_equal(bench_wait(bench_start(arguments, -1, -1)), cases[i].ends);
        assert_int_equal(store_head(t->s, STR("f/1"), &info, NULL), cases[i].there);
        assert_int_equal(store_remove(t->s, STR("f/1"), STORE_LOG, NULL), 0);
        assert_int_equal(store_remove(t->s, STR("f/2"), STORE_LOG, NULL), 0);
        assert_int_equal(store_stream_sweep(t->s, STR("f/1"), NULL), 0);
        assert_int_equal(store_sweep_temporary(t->s, NULL), 0);
        assert_int_equal(bench_names(bench_path(t, ".tmp")), 0);
        assert_int_equal(bench_names(bench_path(t, ".stream")), 0);
    }
}

static void test_no_space_at_sync(void **state)
{
    struct bench *t = *state;
    struct store_stream *st = NULL;
    struct store_info info;

    assert_int_equal(bench_create(t->s, "f/0", "x"), 0);
    syncs.fail_after = 1;
    syncs.fail_errno = ENOSPC;
    assert_int_equal(bench_create(t->s, "f/1", "x"), -ERR_NOSPACE);
    assert_int_equal(store_head(t->s, STR("f/1"), &info, NULL), -ERR_NOTFOUND);
    assert_int_equal(bench_create(t->s, "f/1", "x"), 0);

    assert_int_equal(store_stream_open(t->s, STR("f/2"), &st, NULL), 0);
    assert_int_equal(store_stream_write(st, STR("x"), NULL), 0);
    syncs.fail_after = 1;
    syncs.fail_errno = EDQUOT;
    assert_int_equal(store_stream_commit(st, NULL), -ERR_NOSPACE);
    /* Nothing is known about its bytes any more, so it only fails. */
    assert_int_equal(store_stream_write(st, STR("x"), NULL), -ERR_NOSPACE);
    assert_int_equal(store_stream_commit(st, NULL), -ERR_NOSPACE);
    store_stream_close(st);
    assert_int_equal(store_head(t->s, STR("f/2"), &info, NULL), -ERR_NOTFOUND);
    assert_int_equal(bench_names(bench_path(t, ".stream")), 0);
}

/* ---- A full disk. */

static void fill_up(struct store *s)
{
    struct store_stream *st = NULL;
    char piece[65536];
    int r = 0;

    memset(piece, 'f', sizeof(piece));
    assert_int_equal(store_stream_open(s, STR("full/stream"), &st, NULL), 0);
    for (int i = 0; i < 1000 && r == 0; i++)
        r = store_stream_write(st, str_make(piece, sizeof(piece)), NULL);
    assert_int_equal(r, -ERR_NOSPACE);
    assert_int_equal(store_stream_commit(st, NULL), -ERR_NOSPACE);

    /* What is left behind the last whole piece. */
    unsigned i = 0;
    for (r = 0; i < 1000 && r == 0; i++) {
        char key[32];
        snprintf(key, sizeof(key), "full/%u", i);
        r = store_create(s, str_of(key), STORE_LOG, str_make(piece, 4096), NULL);
    }
    assert_int_equal(r, -ERR_NOSPACE);

    char last[32];
    struct store_info info;
    struct buf out auto_buf = BUF_INIT(65536);
    snprintf(last, sizeof(last), "full/%u", i - 1);
    assert_int_equal(store_head(s, str_of(last), &info, NULL), -ERR_NOTFOUND);
    assert_int_equal(store_put(s, STR("here"), STORE_HINT, str_make(piece, 65536), NULL),
                     -ERR_NOSPACE);
    assert_int_equal(store_get(s, STR("here"), 0, STORE_WHOLE, &out, NULL), 0);
    assert_string_equal(buf_c(&out), "still");
    store_stream_close(st); /* frees the space */
    assert_int_equal(store_create(s, str_of(last), STORE_LOG, str_make(piece, 4096), NULL), 0);
}

static void test_full_disk(void **state)
{
    char place[SUITE_PLACE_MAX];

    (void)state;
    suite_make_place(place);
    if (mount("none", place, "tmpfs", MS_NOSUID | MS_NODEV, "size=4m,mode=0700") < 0) {
        print_message("full disk: a small tmpfs cannot be mounted: %s\n", strerror(errno));
        suite_remove_place(place);
        skip();
    }
    struct store *s = bench_open(place);
    assert_int_equal(bench_create(s, "here", "still"), 0);
    fill_up(s);
    store_free(s);
    assert_int_equal(umount(place), 0);
    suite_remove_place(place);
}

int main(int argc, char **argv)
{
    if (argc == 4 && strcmp(argv[0], "child") == 0)
        return child(argv[1], argv[2], argv[3]);

    static const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_syncs_by_class, setup_counted, teardown_counted),
        cmocka_unit_test_setup_teardown(test_a_start_syncs_the_root_once, setup_counted,
                                        teardown_counted),
        cmocka_unit_test_setup_teardown(test_an_entry_does_not_wait_for_others, setup_counted,
                                        teardown_counted),
        cmocka_unit_test_setup_teardown(test_foreign_objects_are_synced_first, setup_counted,
                                        teardown_counted),
        cmocka_unit_test_setup_teardown(test_many_foreign_objects, setup_counted, teardown_counted),
        cmocka_unit_test_setup_teardown(test_many_foreign_reads, setup_counted, teardown_counted),
        cmocka_unit_test_setup_teardown(test_stream_syncs, setup_counted, teardown_counted),
        cmocka_unit_test_setup_teardown(test_failed_sync_ends_the_process, setup_counted,
                                        teardown_counted),
        cmocka_unit_test_setup_teardown(test_no_space_at_sync, setup_counted, teardown_counted),
        cmocka_unit_test(test_full_disk),
    };

    return cmocka_run_group_tests_name("store_sync", tests, NULL, NULL);
}
