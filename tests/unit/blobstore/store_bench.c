/* One directory store in a folder of its own. */
#include "store_suite.h"

#include <dirent.h>
#include <fcntl.h>
#include <spawn.h>
#include <stdio.h>
#include <sys/wait.h>
#include <unistd.h>

struct store *bench_open(const char *place)
{
    struct err_detail d = {""};
    struct store *s = NULL;
    int r = store_dir_new(place, &s, &d);

    if (r < 0)
        print_error("%s\n", d.text);
    assert_int_equal(r, 0);
    return s;
}

int bench_setup(void **state)
{
    struct bench *t = calloc(1, sizeof(*t));

    assert_non_null(t);
    suite_make_place(t->place);
    t->s = bench_open(t->place);
    *state = t;
    return 0;
}

int bench_teardown(void **state)
{
    struct bench *t = *state;

    store_free(t->s);
    suite_remove_place(t->place);
    free(t);
    return 0;
}

const char *bench_path(const struct bench *t, const char *name)
{
    static char path[2 * SUITE_PLACE_MAX];

    snprintf(path, sizeof(path), "%s/%s", t->place, name);
    return path;
}

int bench_create(struct store *s, const char *key, const char *bytes)
{
    return store_create(s, str_of(key), STORE_LOG, str_of(bytes), NULL);
}

unsigned bench_names(const char *path)
{
    unsigned n = 0;
    DIR *d = opendir(path);

    assert_non_null(d);
    for (const struct dirent *e; (e = readdir(d)) != NULL;)
        n += e->d_name[0] != '.';
    closedir(d);
    return n;
}

int bench_start(const char *const *arguments, int in, int out)
{
    posix_spawn_file_actions_t files;
    char *argv[8] = {NULL};
    pid_t pid = -1;

    for (size_t i = 0; arguments[i] != NULL && i < ARRAY_LEN(argv) - 1; i++)
        argv[i] = (char *)(uintptr_t)arguments[i];
    assert_int_equal(posix_spawn_file_actions_init(&files), 0);
    for (int i = 0; i < 3; i++) {
        int fd = i == STDIN_FILENO ? in : i == STDOUT_FILENO ? out : -1;
        assert_int_equal(fd >= 0
                             ? posix_spawn_file_actions_adddup2(&files, fd, i)
                             : posix_spawn_file_actions_addopen(&files, i, "/dev/null", O_RDWR, 0),
                         0);
    }
    assert_int_equal(posix_spawn(&pid, "/proc/self/exe", &files, NULL, argv, environ), 0);
    posix_spawn_file_actions_destroy(&files);
    return pid;
}

int bench_wait(int pid)
{
    int status;

    assert_int_equal(waitpid(pid, &status, 0), pid);
    return WIFSIGNALED(status) ? 128 + WTERMSIG(status) : WEXITSTATUS(status);
}
