/* What the disk gives: synced creates of small files over 256 folders by a number of threads, each
 * written, synced, linked, and its folder synced, without anything around it. Arguments: FOLDER
 * THREADS CREATES; prints creates per second. The folder is left to the caller. */
#include <fcntl.h>
#include <inttypes.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#define FOLDERS     256
#define THREADS_MAX 256
#define BYTES       1100

static int root, folders[FOLDERS];
static unsigned long total;
static atomic_ulong next;

static void must(int ok, const char *what)
{
    if (ok)
        return;
    perror(what);
    exit(1);
}

static void create(unsigned long n)
{
    static const char bytes[BYTES];
    char path[64], name[32];
    int folder = folders[n * 2654435761u % FOLDERS];
    int fd = openat(root, ".", O_TMPFILE | O_RDWR | O_CLOEXEC, 0600);

    must(fd >= 0 && write(fd, bytes, sizeof(bytes)) == BYTES && fdatasync(fd) == 0, "file");
    snprintf(path, sizeof(path), "/proc/self/fd/%d", fd);
    snprintf(name, sizeof(name), "%lu", n);
    must(linkat(AT_FDCWD, path, folder, name, AT_SYMLINK_FOLLOW) == 0, "linkat");
    must(fsync(folder) == 0, "fsync");
    close(fd);
}

static void *run(void *arg)
{
    for (unsigned long n; (n = atomic_fetch_add(&next, 1)) < total;)
        create(n);
    return arg;
}

int main(int argc, char **argv)
{
    pthread_t threads[THREADS_MAX];
    struct timespec begin, end;
    unsigned long count = argc == 4 ? strtoul(argv[2], NULL, 10) : 0;

    must(count > 0 && count <= THREADS_MAX, "creates FOLDER THREADS CREATES");
    total = strtoul(argv[3], NULL, 10);
    root = open(argv[1], O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    must(root >= 0, argv[1]);
    for (int i = 0; i < FOLDERS; i++) {
        char name[8];

        snprintf(name, sizeof(name), "%02x", (unsigned)i);
        must(mkdirat(root, name, 0700) == 0, name);
        folders[i] = openat(root, name, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
        must(folders[i] >= 0, name);
    }
    must(fsync(root) == 0, "fsync");
    clock_gettime(CLOCK_MONOTONIC, &begin);
    for (unsigned long i = 0; i < count; i++)
        must(pthread_create(&threads[i], NULL, run, NULL) == 0, "thread");
    for (unsigned long i = 0; i < count; i++)
        pthread_join(threads[i], NULL);
    clock_gettime(CLOCK_MONOTONIC, &end);
    printf("%.0f\n", (double)total / ((double)(end.tv_sec - begin.tv_sec) +
                                      (double)(end.tv_nsec - begin.tv_nsec) / 1e9));
    return 0;
}
