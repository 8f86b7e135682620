/* Whole reads and writes on files and pipes. */
#include <fcntl.h>
#include <sys/mman.h>

#include "base/fd.h"
#include "base/thread.h"
#include "check.h"

#define PIPE_BYTES 1000000 /* far more than a pipe holds, so writes are short */

static int temp_file(void)
{
    int fd = memfd_create("test_fd", MFD_CLOEXEC);

    assert_true(fd >= 0);
    return fd;
}

static void files(void **state)
{
    int fd auto_fd = temp_file();
    struct buf b auto_buf = BUF_INIT(100);

    (void)state;
    assert_int_equal(fd_write_all(fd, STR("hello world")), 0);
    assert_int_equal(fd_pwrite_all(fd, STR("W"), 6), 0);
    assert_int_equal(fd_pwrite_all(fd, STR("!"), 20), 0);
    assert_int_equal(fd_write_all(fd, STR_NONE), 0);
    buf_add(&b, STR("> "));
    assert_int_equal(fd_pread_all(fd, 0, 11, &b), 0);
    assert_str(buf_str(&b), "> hello World");
    assert_int_equal(fd_pread_all(fd, 6, 5, &b), 0);
    assert_str(buf_str(&b), "> hello WorldWorld");
    assert_int_equal(fd_pread_all(fd, 5, 0, &b), 0);
    assert_int_equal(fd_pread_all(fd, 20, 2, &b), -ERR_CORRUPT);
    assert_str(buf_str(&b), "> hello WorldWorld");
    assert_int_equal(buf_err(&b), 0);
    assert_int_equal(fd_pread_all(fd, 0, 100, &b), -ERR_TOOBIG);
}

static void errors(void **state)
{
    int full auto_fd = open("/dev/full", O_WRONLY | O_CLOEXEC);
    struct buf b auto_buf = BUF_INIT(100);

    (void)state;
    assert_true(full >= 0);
    assert_int_equal(fd_write_all(full, STR("x")), -ERR_NOSPACE);
    assert_int_equal(fd_pwrite_all(full, STR("x"), 0), -ERR_NOSPACE);
    assert_int_equal(fd_write_all(-1, STR("x")), -ERR_IO);
    assert_int_equal(fd_pread_all(-1, 0, 1, &b), -ERR_IO);
    assert_int_equal(b.len, 0);
}

static void write_much(void *arg)
{
    int *fd = arg;
    struct buf b auto_buf = BUF_INIT(PIPE_BYTES);
    char *at = buf_reserve(&b, PIPE_BYTES);

    if (at) {
        memset(at, 'p', PIPE_BYTES);
        buf_added(&b, PIPE_BYTES);
    }
    if (fd_write_all(*fd, buf_str(&b)) == 0)
        fd_closep(fd);
}

static void pipes(void **state)
{
    char part[7777];
    struct thread t;
    int ends[2];
    size_t total = 0;
    ssize_t n;

    (void)state;
    assert_int_equal(pipe2(ends, O_CLOEXEC), 0);
    assert_int_equal(thread_start(&t, "writer", write_much, &ends[1]), 0);
    while ((n = read(ends[0], part, sizeof(part))) > 0)
        total += (size_t)n;
    thread_join(&t);
    assert_int_equal(n, 0);
    assert_int_equal(total, PIPE_BYTES);
    assert_int_equal(ends[1], -1);
    close(ends[0]);
}

static void ownership(void **state)
{
    int fd = temp_file(), taken = fd_steal(&fd);

    (void)state;
    assert_int_equal(fd, -1);
    assert_true(fcntl(taken, F_GETFD) >= 0);
    {
        int inner auto_fd = taken;

        assert_true(inner >= 0);
    }
    assert_int_equal(fcntl(taken, F_GETFD), -1);
    fd_closep(&fd);
    assert_int_equal(fd, -1);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(files),
        cmocka_unit_test(errors),
        cmocka_unit_test(pipes),
        cmocka_unit_test(ownership),
    };

    return cmocka_run_group_tests_name("fd", tests, NULL, NULL);
}
