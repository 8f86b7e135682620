/* Preloaded into a program where tracing is refused: writes the calls that decide on durability to
 * the file named by STOWAGE_RECORD, in the words of "strace -f -y". */
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#define PATH_BYTES 4096

static void *next_of(const char *name)
{
    void *f = dlsym(RTLD_NEXT, name);

    if (f == NULL)
        abort();
    return f;
}

/* `next` is the function that this one stands before. Function pointers come out of dlsym by their
 * bits. */
#define NEXT(name)                                                                                 \
    static __typeof__(&name) next;                                                                 \
    if (next == NULL) {                                                                            \
        void *found = next_of(#name);                                                              \
        memcpy(&next, &found, sizeof(next));                                                       \
    }

static void record(const char *format, ...) __attribute__((format(printf, 1, 2)));
static void record(const char *format, ...)
{
    const char *path = getenv("STOWAGE_RECORD");
    char line[3 * PATH_BYTES];
    int saved = errno;
    va_list args;

    int n = snprintf(line, sizeof(line), "%ld ", syscall(SYS_gettid));
    va_start(args, format);
    int m = vsnprintf(line + n, sizeof(line) - (size_t)n, format, args);
    va_end(args);
    if (path != NULL && m > 0 && (size_t)(n + m) < sizeof(line)) {
        long fd =
            syscall(SYS_openat, AT_FDCWD, path, O_WRONLY | O_APPEND | O_CREAT | O_CLOEXEC, 0600);
        if (fd >= 0) {
            (void)!syscall(SYS_write, fd, line, (size_t)(n + m));
            (void)!syscall(SYS_close, fd);
        }
    }
    errno = saved;
}

static const char *path_of(int fd, char out[PATH_BYTES])
{
    char name[64];
    ssize_t n;

    snprintf(name, sizeof(name), "/proc/self/fd/%d", fd == AT_FDCWD ? -1 : fd);
    n = readlink(fd == AT_FDCWD ? "/proc/self/cwd" : name, out, PATH_BYTES - 1);
    out[n > 0 ? n : 0] = 0;
    return out;
}

static const char *number_of(int fd, char out[16])
{
    snprintf(out, 16, "%d", fd);
    return fd == AT_FDCWD ? "AT_FDCWD" : out;
}

ssize_t write(int fd, const void *bytes, size_t len);
ssize_t write(int fd, const void *bytes, size_t len)
{
    char path[PATH_BYTES];
    NEXT(write)
    ssize_t r = next(fd, bytes, len);

    /* Only what is said on standard output is of interest, a line at a time. */
    int said = fd == STDOUT_FILENO && len > 0 && len < 64 ? (int)len - 1 : 0;
    record("write(%d<%s>, \"%.*s\", %zu) = %zd\n", fd, path_of(fd, path), said, (const char *)bytes,
           len, r);
    return r;
}

ssize_t pwrite(int fd, const void *bytes, size_t len, off_t at);
ssize_t pwrite(int fd, const void *bytes, size_t len, off_t at)
{
    char path[PATH_BYTES];
    NEXT(pwrite)
    ssize_t r = next(fd, bytes, len, at);

    record("pwrite64(%d<%s>, \"...\", %zu, %jd) = %zd\n", fd, path_of(fd, path), len, (intmax_t)at,
           r);
    return r;
}

int fdatasync(int fd);
int fdatasync(int fd)
{
    char path[PATH_BYTES];
    NEXT(fdatasync)
    int r = next(fd);

    record("fdatasync(%d<%s>) = %d\n", fd, path_of(fd, path), r);
    return r;
}

int fsync(int fd);
int fsync(int fd)
{
    char path[PATH_BYTES];
    NEXT(fsync)
    int r = next(fd);

    record("fsync(%d<%s>) = %d\n", fd, path_of(fd, path), r);
    return r;
}

int mkdirat(int at, const char *name, mode_t mode);
int mkdirat(int at, const char *name, mode_t mode)
{
    char path[PATH_BYTES], number[16];
    NEXT(mkdirat)
    int r = next(at, name, mode);

    record("mkdirat(%s<%s>, \"%s\", %o) = %d\n", number_of(at, number), path_of(at, path), name,
           (unsigned)mode, r);
    return r;
}

int linkat(int from, const char *old, int to, const char *new, int flags);
int linkat(int from, const char *old, int to, const char *new, int flags)
{
    char source[PATH_BYTES], target[PATH_BYTES], a[16], b[16];
    NEXT(linkat)

    path_of(from, source);
    path_of(to, target);
    int r = next(from, old, to, new, flags);
    record("linkat(%s<%s>, \"%s\", %s<%s>, \"%s\", %d) = %d\n", number_of(from, a), source, old,
           number_of(to, b), target, new, flags, r);
    return r;
}
