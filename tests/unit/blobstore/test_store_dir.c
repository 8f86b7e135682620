/* The directory store: the shared suite in its variants, modes, symbolic links, several processes,
 * leftovers, big folders, errors. */
#include "store_suite.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <unistd.h>

#include "blobstore/store_dir_internal.h"

/* ---- Backends of the suite. */

static int open_dir(const char *place, struct store **ret, struct err_detail *detail)
{
    return store_dir_new(place, ret, detail);
}

static int open_old(const char *place, struct store **ret, struct err_detail *detail)
{
    return store_dir_new_with(place, &(struct dir_options){.no_openat2 = true, .no_tmpfile = true},
                              ret, detail);
}

static int open_fault(const char *place, struct store **ret, struct err_detail *detail)
{
    struct store *inner = NULL;
    int r = open_dir(place, &inner, detail);

    return r < 0 ? r : store_fault_new(inner, suite_no_fault, NULL, ret);
}

/* ---- Modes. */

static void expect_mode(const struct bench *t, const char *name, mode_t want)
{
    struct stat st;

    assert_int_equal(lstat(bench_path(t, name), &st), 0);
    if ((st.st_mode & 07777) != want)
        fail_msg("%s has mode %o", name, (unsigned)st.st_mode);
}

static void test_modes_under_any_umask(void **state)
{
    static const mode_t masks[] = {0, 022, 077, 0277, 0777};
    struct bench *t = *state;

    for (size_t i = 0; i < ARRAY_LEN(masks); i++) {
        struct buf saved auto_buf = BUF_INIT(STORE_STREAM_STATE_MAX);
        struct store_stream *st = NULL;
        mode_t before = umask(masks[i]);
        char place[2 * SUITE_PLACE_MAX];

        snprintf(place, sizeof(place), "%s/new", t->place);
        struct store *s = bench_open(place);
        assert_int_equal(bench_create(s, "a/b/c", "x"), 0);
        assert_int_equal(store_put(s, STR("a/hint"), STORE_HINT, STR("x"), NULL), 0);
        assert_int_equal(store_stream_open(s, STR("data/ab/1"), &st, NULL), 0);
        assert_int_equal(store_stream_save(st, &saved, NULL), 0);
        umask(before);
        expect_mode(t, "new/.stream/data!ab!1", 0600);
        assert_int_equal(store_stream_commit(st, NULL), 0);
        store_stream_close(st);
        store_free(s);
        expect_mode(t, "new", 0700);
        expect_mode(t, "new/.tmp", 0700);
        expect_mode(t, "new/.stream", 0700);
        expect_mode(t, "new/a", 0700);
        expect_mode(t, "new/a/b", 0700);
        expect_mode(t, "new/a/b/c", 0600);
        expect_mode(t, "new/a/hint", 0600);
        expect_mode(t, "new/data/ab/1", 0600);
        suite_remove_place(place);
    }
    /* An empty folder becomes a root of ours; one that holds something else keeps its mode. */
    assert_int_equal(mkdir(bench_path(t, "empty"), 0755), 0);
    store_free(bench_open(bench_path(t, "empty")));
    expect_mode(t, "empty", 0700);
    assert_int_equal(mkdir(bench_path(t, "other"), 0755), 0);
    assert_int_equal(mkdir(bench_path(t, "other/thing"), 0755), 0);
    store_free(bench_open(bench_path(t, "other")));
    expect_mode(t, "other", 0755);
}

static int count(struct str key, const struct store_info *info, void *arg)
{
    (void)key;
    (void)info;
    ++*(unsigned *)arg;
    return 0;
}

/* ---- D1: symbolic links below the root. */

static void test_symlinks_are_not_followed(void **state)
{
    struct bench *t = *state;
    struct buf out auto_buf = BUF_INIT(64);
    struct store_object o;
    struct store_info info;
    struct store *variants[2] = {bench_open(t->place), NULL};
    char outside[SUITE_PLACE_MAX], target[2 * SUITE_PLACE_MAX];

    assert_int_equal(open_old(t->place, &variants[1], NULL), 0);
    suite_make_place(outside);
    snprintf(target, sizeof(target), "%s/secret", outside);
    int fd = open(target, O_CREAT | O_WRONLY, 0600);
    assert_int_equal(write(fd, "secret", 6), 6);
    close(fd);
    assert_int_equal(mkdir(bench_path(t, "d"), 0700), 0);
    assert_int_equal(symlink(target, bench_path(t, "d/file")), 0);
    assert_int_equal(symlink(outside, bench_path(t, "folder")), 0);
    assert_int_equal(symlink("d", bench_path(t, "inside")), 0);

    for (size_t i = 0; i < ARRAY_LEN(variants); i++) {
        struct store *s = variants[i];
        static const char *const keys[] = {"d/file", "folder/secret", "inside/file"};

        for (size_t k = 0; k < ARRAY_LEN(keys); k++) {
            struct str key = str_of(keys[k]);
            assert_true(store_get(s, key, 0, STORE_WHOLE, &out, NULL) < 0);
            assert_true(store_head(s, key, &info, NULL) < 0);
            assert_true(store_probe(s, key, &info) < 0);
            assert_true(store_open(s, key, &o, NULL) < 0);
        }
        assert_int_equal(out.len, 0);
        assert_true(bench_create(s, "folder/new", "x") < 0);
        assert_true(bench_create(s, "folder/sub/new", "x") < 0);
        assert_true(store_put(s, STR("folder/secret"), STORE_HINT, STR("x"), NULL) < 0);
        (void)!store_remove(s, STR("folder/secret"), STORE_LOG, NULL);
        assert_int_equal(bench_names(outside), 1);
        unsigned n = 0;
        assert_int_equal(store_list(s, STR_NONE, STR_NONE, 9, count, &n, NULL), 0);
        assert_int_equal(n, 0);
    }
    suite_remove_place(outside);
    store_free(variants[0]);
    store_free(variants[1]);
}
/* ---- Several processes on one root. */

#define RACE_PROCESSES 4
#define RACE_KEYS      200

/* Every process creates every key: waits for the end of its input, then writes which keys it won.
 */
static int race_child(const char *place, const char *me)
{
    struct store *s = NULL;
    char won[RACE_KEYS], byte;

    if (store_dir_new(place, &s, NULL) < 0 || read(STDIN_FILENO, &byte, 1) != 0)
        return 1;
    for (unsigned i = 0; i < RACE_KEYS; i++) {
        struct buf found auto_buf = BUF_INIT(64);
        char key[64], bytes[64];

        snprintf(key, sizeof(key), "race/%u/%u", i % 7, i);
        snprintf(bytes, sizeof(bytes), "process %s", me);
        int r = bench_create(s, key, bytes);
        won[i] = r == 0;
        if ((r != 0 && r != -ERR_EXISTS) ||
            store_get(s, str_of(key), 0, STORE_WHOLE, &found, NULL) < 0 ||
            (r == 0) != str_eq(buf_str(&found), str_of(bytes)))
            return 2;
    }
    store_free(s);
    return write(STDOUT_FILENO, won, sizeof(won)) == (ssize_t)sizeof(won) ? 0 : 3;
}

static void test_processes_race(void **state)
{
    struct bench *t = *state;
    int go[2], results[RACE_PROCESSES][2], pids[RACE_PROCESSES];
    char won[RACE_PROCESSES][RACE_KEYS];

    assert_int_equal(pipe2(go, O_CLOEXEC), 0);
    for (unsigned i = 0; i < RACE_PROCESSES; i++) {
        const char me[] = {(char)('0' + i), 0};

        assert_int_equal(pipe2(results[i], O_CLOEXEC), 0);
        pids[i] = bench_start((const char *[]){"race", t->place, me, NULL}, go[0], results[i][1]);
    }
    close(go[0]);
    close(go[1]); /* go */
    for (unsigned i = 0; i < RACE_PROCESSES; i++) {
        assert_int_equal(bench_wait(pids[i]), 0);
        assert_int_equal(read(results[i][0], won[i], RACE_KEYS), RACE_KEYS);
        close(results[i][0]);
        close(results[i][1]);
    }
    for (unsigned key = 0; key < RACE_KEYS; key++) {
        struct buf found auto_buf = BUF_INIT(64);
        char name[64], bytes[64];
        unsigned winners = 0, winner = 0;

        for (unsigned i = 0; i < RACE_PROCESSES; i++) {
            winners += (unsigned)won[i][key];
            winner = won[i][key] ? i : winner;
        }
        assert_int_equal(winners, 1);
        snprintf(name, sizeof(name), "race/%u/%u", key % 7, key);
        snprintf(bytes, sizeof(bytes), "process %u", winner);
        assert_int_equal(store_get(t->s, str_of(name), 0, STORE_WHOLE, &found, NULL), 0);
        assert_string_equal(buf_c(&found), bytes);
    }
    assert_int_equal(bench_names(bench_path(t, ".tmp")), 0);
}

/* ---- Leftovers. */

static void test_temporary_files_are_swept(void **state)
{
    struct bench *t = *state;
    struct store_dir *sd = dir_of(t->s);
    struct dir_file held auto_dir_file = DIR_FILE_NONE, dead = DIR_FILE_NONE;

    assert_int_equal(dir_file_named(sd->tmp, NULL, &held, NULL), 0);
    assert_int_equal(dir_file_named(sd->tmp, NULL, &dead, NULL), 0);
    close(dead.fd); /* its process is gone */
    assert_int_equal(mkdir(bench_path(t, ".tmp/folder"), 0700), 0);
    assert_int_equal(bench_names(bench_path(t, ".tmp")), 3);
    struct store *second = bench_open(t->place); /* sweeps */
    assert_int_equal(bench_names(bench_path(t, ".tmp")), 2);
    assert_int_equal(access(bench_path(t, ".tmp"), F_OK), 0);
    assert_int_equal(faccessat(sd->tmp, held.name, F_OK, 0), 0);
    dir_file_drop(&held);
    assert_int_equal(store_sweep_temporary(second, NULL), 0);
    assert_int_equal(bench_names(bench_path(t, ".tmp")), 1);
    store_free(second);
}

static int killed_child(const char *place)
{
    struct buf saved auto_buf = BUF_INIT(STORE_STREAM_STATE_MAX);
    struct store_stream *st = NULL;
    struct store *s = NULL;

    if (store_dir_new(place, &s, NULL) == 0 &&
        store_stream_open(s, STR("data/ab/1"), &st, NULL) == 0 &&
        store_stream_write(st, STR("saved"), NULL) == 0 &&
        store_stream_save(st, &saved, NULL) == 0 &&
        store_stream_write(st, STR(" and not"), NULL) == 0 &&
        write(STDOUT_FILENO, saved.at, saved.len) == (ssize_t)saved.len)
        raise(SIGKILL);
    return 1;
}

/* A stream whose process was killed: resumed from its saved state although more lies behind it. */
static void test_stream_of_a_killed_process(void **state)
{
    struct bench *t = *state;
    struct buf out auto_buf = BUF_INIT(64);
    struct store_stream *st = NULL;
    char bytes[1024];
    int pipes[2];

    assert_int_equal(pipe2(pipes, O_CLOEXEC), 0);
    int pid = bench_start((const char *[]){"killed", t->place, NULL}, -1, pipes[1]);
    assert_int_equal(bench_wait(pid), 128 + SIGKILL);
    ssize_t n = read(pipes[0], bytes, sizeof(bytes));
    assert_true(n > 0);
    close(pipes[0]);
    close(pipes[1]);
    assert_int_equal(
        store_stream_resume(t->s, STR("data/ab/1"), str_make(bytes, (size_t)n), 5, &st, NULL), 0);
    assert_int_equal(store_stream_write(st, STR("!"), NULL), 0);
    assert_int_equal(store_stream_commit(st, NULL), 0);
    store_stream_close(st);
    assert_int_equal(store_get(t->s, STR("data/ab/1"), 0, STORE_WHOLE, &out, NULL), 0);
    assert_string_equal(buf_c(&out), "saved!");
    assert_int_equal(store_stream_sweep(t->s, STR("data/ab/1"), NULL), 0);
    assert_int_equal(bench_names(bench_path(t, ".stream")), 0);
}

/* The committer died between the link and the close: the file is an object and must not change. */
static void test_stream_linked_but_not_closed(void **state)
{
    struct bench *t = *state;
    struct buf saved auto_buf = BUF_INIT(STORE_STREAM_STATE_MAX);
    struct buf out auto_buf = BUF_INIT(64);
    struct store_stream *st = NULL;
    char from[2 * SUITE_PLACE_MAX];

    assert_int_equal(store_stream_open(t->s, STR("data/ab/1"), &st, NULL), 0);
    assert_int_equal(store_stream_write(st, STR("complete"), NULL), 0);
    assert_int_equal(store_stream_save(st, &saved, NULL), 0);
    store_stream_close(st);
    assert_int_equal(bench_create(t->s, "data/ab/0", "x"), 0);
    snprintf(from, sizeof(from), "%s", bench_path(t, ".stream/data!ab!1"));
    assert_int_equal(link(from, bench_path(t, "data/ab/1")), 0);

    assert_int_equal(store_stream_resume(t->s, STR("data/ab/1"), buf_str(&saved), 8, &st, NULL), 0);
    assert_int_equal(store_stream_write(st, STR("more"), NULL), -ERR_EXISTS);
    assert_int_equal(store_stream_commit(st, NULL), -ERR_EXISTS);
    store_stream_close(st);
    assert_int_equal(store_stream_resume(t->s, STR("data/ab/1"), buf_str(&saved), 4, &st, NULL), 0);
    assert_int_equal(store_stream_write(st, STR("arison"), NULL), 0); /* a copy */
    store_stream_close(st);
    assert_int_equal(store_stream_sweep(t->s, STR("data/ab/1"), NULL), 0);
    assert_int_equal(store_get(t->s, STR("data/ab/1"), 0, STORE_WHOLE, &out, NULL), 0);
    assert_string_equal(buf_c(&out), "complete");
    assert_int_equal(bench_names(bench_path(t, ".stream")), 0);
}

/* ---- Folders. */

static void test_upload_folders_go_when_empty(void **state)
{
    struct bench *t = *state;
    struct stat st;

    assert_int_equal(store_create(t->s, STR("uploads/id/1"), STORE_UPLOAD, STR("x"), NULL), 0);
    assert_int_equal(store_create(t->s, STR("uploads/id/2"), STORE_UPLOAD, STR("x"), NULL), 0);
    assert_int_equal(store_remove(t->s, STR("uploads/id/1"), STORE_UPLOAD, NULL), 0);
    assert_int_equal(stat(bench_path(t, "uploads/id"), &st), 0);
    assert_int_equal(store_remove(t->s, STR("uploads/id/2"), STORE_UPLOAD, NULL), 0);
    assert_int_equal(stat(bench_path(t, "uploads/id"), &st), -1);
    assert_int_equal(stat(bench_path(t, "uploads"), &st), 0);
    assert_int_equal(bench_create(t->s, "blobs/1", "x"), 0);
    assert_int_equal(store_remove(t->s, STR("blobs/1"), STORE_LOG, NULL), 0);
    assert_int_equal(stat(bench_path(t, "blobs"), &st), 0); /* others stay */
}

static void test_folders_removed_under_our_feet(void **state)
{
    struct bench *t = *state;

    assert_int_equal(bench_create(t->s, "a/b/1", "x"), 0);
    suite_remove_place(bench_path(t, "a"));
    assert_int_equal(bench_create(t->s, "a/b/1", "x"), 0);
    assert_int_equal(store_put(t->s, STR("c/d/hint"), STORE_HINT, STR("x"), NULL), 0);
    suite_remove_place(bench_path(t, "c"));
    assert_int_equal(store_put(t->s, STR("c/d/hint"), STORE_HINT, STR("x"), NULL), 0);
}

/* More names in one folder than a batch holds. */
static int check_next(struct str key, const struct store_info *info, void *arg)
{
    unsigned *next = arg;
    char want[32];

    (void)info;
    snprintf(want, sizeof(want), "big/%05u", *next);
    ++*next;
    return str_eq(key, str_of(want)) ? 0 : -ERR_CORRUPT;
}

static void test_list_of_a_big_folder(void **state)
{
    enum { NAMES = 2500 };
    struct bench *t = *state;
    unsigned next = 0;

    for (unsigned i = 0; i < NAMES; i++) {
        char key[32];
        snprintf(key, sizeof(key), "big/%05u",
                 (i * 1117) % NAMES); /* 1117 and 2500 have no factor */
        assert_int_equal(store_create(t->s, str_of(key), STORE_HINT, STR(""), NULL), 0);
    }
    while (next < NAMES) {
        char after[32];
        unsigned before = next;

        snprintf(after, sizeof(after), "big/%05u", next - 1);
        assert_int_equal(store_list(t->s, STR("big/"), next == 0 ? STR_NONE : str_of(after), 700,
                                    check_next, &next, NULL),
                         0);
        assert_int_equal(next, before + 700 < NAMES ? before + 700 : NAMES);
    }
    /* Folders full of nothing: more than a batch of them before the one that counts. */
    for (unsigned i = 0; i < 1300; i++) {
        char key[64];
        snprintf(key, sizeof(key), "f/%05u", i);
        if (i == 0)
            assert_int_equal(mkdir(bench_path(t, "f"), 0700), 0);
        assert_int_equal(mkdir(bench_path(t, key), 0700), 0);
    }
    assert_int_equal(bench_create(t->s, "f/01299/x", "x"), 0);
    unsigned n = 0;
    assert_int_equal(store_list(t->s, STR("f/"), STR_NONE, 10, count, &n, NULL), 0);
    assert_int_equal(n, 1);
}

/* ---- Errors say what is wrong. */

static void test_bad_roots(void **state)
{
    struct bench *t = *state;
    static const struct {
        const char *name;
        int want;
    } cases[] = {{"no/such/parent", -ERR_NOTFOUND}, {"file", -ERR_NOTFOUND}};

    close(open(bench_path(t, "file"), O_CREAT | O_WRONLY, 0600));
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        struct err_detail d = {""};
        struct store *s = NULL;

        assert_int_equal(store_dir_new(bench_path(t, cases[i].name), &s, &d), cases[i].want);
        assert_non_null(strstr(d.text, cases[i].name));
        assert_null(s);
    }
}

static void test_what_is_no_file(void **state)
{
    struct bench *t = *state;
    struct err_detail d = {""};
    struct buf out auto_buf = BUF_INIT(64);
    struct store_info info;

    assert_int_equal(bench_create(t->s, "a/b", "x"), 0);
    assert_int_equal(store_get(t->s, STR("a"), 0, 9, &out, NULL), -ERR_NOTFOUND);

    assert_int_equal(store_probe(t->s, STR("a"), &info), -ERR_NOTFOUND);
    assert_int_equal(store_get(t->s, STR("a/b/c"), 0, 9, &out, NULL), -ERR_NOTFOUND);
    assert_int_equal(mkfifo(bench_path(t, "a/fifo"), 0600), 0);
    assert_int_equal(store_get(t->s, STR("a/fifo"), 0, 9, &out, &d), -ERR_CORRUPT);
    assert_string_equal(d.text, "a/fifo is not a file");
    assert_int_equal(store_head(t->s, STR("a/fifo"), &info, NULL), -ERR_CORRUPT);
}

/* A probe is one system call: it opens nothing. */
static void test_probe_opens_nothing(void **state)
{
    struct bench *t = *state;
    struct rlimit old, none;
    struct store_info info;

    assert_int_equal(bench_create(t->s, "a/b", "x"), 0);
    assert_int_equal(getrlimit(RLIMIT_NOFILE, &old), 0);
    none = old;
    none.rlim_cur = 0;
    assert_int_equal(setrlimit(RLIMIT_NOFILE, &none), 0);
    int there = store_probe(t->s, STR("a/b"), &info);
    int absent = store_probe(t->s, STR("a/c"), &info);
    struct err_detail d = {""};
    int made = store_create(t->s, STR("a/c"), STORE_LOG, STR("x"), &d);
    assert_int_equal(setrlimit(RLIMIT_NOFILE, &old), 0);
    assert_int_equal(there, 0);
    assert_int_equal(absent, -ERR_NOTFOUND);
    assert_int_equal(made, -ERR_BUSY);
    assert_string_not_equal(d.text, "");
    assert_int_equal(bench_create(t->s, "a/c", "x"), 0);
}

/* ---- Looking only. */

static void test_looking_changes_nothing(void **state)
{
    struct bench *t = *state;
    struct store_info info;
    struct store *s = NULL;
    char place[2 * SUITE_PLACE_MAX];
    struct stat st;

    snprintf(place, sizeof(place), "%s/new", t->place);
    assert_int_equal(store_dir_open_readonly(place, &s, NULL), -ERR_NOTFOUND);
    assert_int_equal(mkdir(place, 0755), 0);
    assert_int_equal(store_dir_open_readonly(place, &s, NULL), 0);
    assert_int_equal(store_create(s, STR("a/b"), STORE_LOG, STR("x"), NULL), -ERR_READONLY);
    assert_int_equal(store_put(s, STR("a/b"), STORE_HINT, STR("x"), NULL), -ERR_READONLY);
    assert_int_equal(store_remove(s, STR("a/b"), STORE_LOG, NULL), -ERR_READONLY);
    assert_int_equal(store_head(s, STR("a/b"), &info, NULL), -ERR_NOTFOUND);
    assert_int_equal(rmdir(place), 0); /* it is empty */
    store_free(s);
    struct store *writer = bench_open(place);
    assert_int_equal(bench_create(writer, "a/b", "x"), 0);
    assert_int_equal(store_dir_open_readonly(place, &s, NULL), 0);
    assert_int_equal(store_head(s, STR("a/b"), &info, NULL), 0);
    assert_int_equal(info.size, 1);
    assert_int_equal(symlink("a", bench_path(t, "new/l")), 0);
    assert_int_equal(store_head(s, STR("l/b"), &info, NULL), -ERR_IO);
    assert_int_equal(lstat(bench_path(t, "new/a/b"), &st), 0);
    store_free(s);
    store_free(writer);
}

int main(int argc, char **argv)
{
    if (argc == 3 && strcmp(argv[0], "race") == 0)
        return race_child(argv[1], argv[2]);
    if (argc == 2 && strcmp(argv[0], "killed") == 0)
        return killed_child(argv[1]);

    static const struct suite_backend backends[] = {
        {"dir", open_dir, true, true, false},
        {"dir of an old system", open_old, true, true, false},
        {"dir behind fault", open_fault, true, true, false},
    };
    static const struct CMUnitTest own[] = {
        cmocka_unit_test_setup_teardown(test_modes_under_any_umask, bench_setup, bench_teardown),
        cmocka_unit_test_setup_teardown(test_looking_changes_nothing, bench_setup, bench_teardown),
        cmocka_unit_test_setup_teardown(test_symlinks_are_not_followed, bench_setup,
                                        bench_teardown),
        cmocka_unit_test_setup_teardown(test_processes_race, bench_setup, bench_teardown),
        cmocka_unit_test_setup_teardown(test_temporary_files_are_swept, bench_setup,
                                        bench_teardown),
        cmocka_unit_test_setup_teardown(test_stream_of_a_killed_process, bench_setup,
                                        bench_teardown),
        cmocka_unit_test_setup_teardown(test_stream_linked_but_not_closed, bench_setup,
                                        bench_teardown),
        cmocka_unit_test_setup_teardown(test_upload_folders_go_when_empty, bench_setup,
                                        bench_teardown),
        cmocka_unit_test_setup_teardown(test_folders_removed_under_our_feet, bench_setup,
                                        bench_teardown),
        cmocka_unit_test_setup_teardown(test_list_of_a_big_folder, bench_setup, bench_teardown),
        cmocka_unit_test_setup_teardown(test_bad_roots, bench_setup, bench_teardown),
        cmocka_unit_test_setup_teardown(test_what_is_no_file, bench_setup, bench_teardown),
        cmocka_unit_test_setup_teardown(test_probe_opens_nothing, bench_setup, bench_teardown),
    };
    struct CMUnitTest tests[128];
    size_t n = ARRAY_LEN(own);

    memcpy(tests, own, sizeof(own));
    for (size_t i = 0; i < ARRAY_LEN(backends); i++)
        n += suite_tests(&backends[i], tests + n, ARRAY_LEN(tests) - n);
    return _cmocka_run_group_tests("store_dir", tests, n, NULL, NULL);
}
