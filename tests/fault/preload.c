/* Preloaded into a server under test. Makes one call in a row of equal ones fail, and records what
 * a power cut would leave. The product has no hook for this; what is here stands between the
 * program and its libraries.
 *
 * STOWAGE_FAULT_CONTROL names a file of CONTROL_BYTES that the test maps, too: while `kind` is k,
 * calls of that kind are counted in `calls`, and those numbered first..last fail with `error`,
 * before or after they were made, or shortened. `fired` counts them; `frames` tells who called.
 *
 * STOWAGE_FAULT_RECORD names a file that gets a line for each finished call that changes what is
 * durable ("number" is a clock that all processes with one control file share):
 *   C number inode              a file without a name was made
 *   L number folder inode name  a name was made: file, link or folder
 *   U number folder name        a name went
 *   W number inode end          bytes were written up to end
 *   T number inode size         the size was set
 *   S number inode              file or folder was synced; number is of the call's begin
 *   A number                    everything was synced */
#include <dirent.h>
#include <dlfcn.h>
#include <errno.h>
#include <execinfo.h>
#include <fcntl.h>
#include <linux/fs.h>
#include <poll.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/sendfile.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#define CONTROL_BYTES 4096
#define FRAMES_MAX    32
#define EARLY_BYTES   (1 << 20) /* of allocations made before `begin` */

/* The order is that of KINDS in preload.py. */
enum kind {
    NONE,
    ALLOC,
    FSYNC,
    FDATASYNC,
    WRITE,
    PWRITE,
    LINKAT,
    OPENAT,
    MKDIRAT,
    RENAMEAT,
    FTRUNCATE,
    COPY_FILE_RANGE,
    UNLINKAT,
    FSTAT,
    FSTATAT,
    FLOCK,
    FCHMOD,
    FUTIMENS,
    PREAD,
    SYNCFS,
    READDIR,
    SENDFILE,
    SEND,
    RECV,
    ACCEPT
};

enum mode { BEFORE, AFTER, SHORT };

struct control {
    _Atomic uint64_t kind, first, last, error, mode;
    _Atomic uint64_t calls, fired, clock;
    _Atomic uint64_t frame_count;
    uint64_t frames[FRAMES_MAX];
};

static struct control *control;
static int record_fd = -1;
static _Atomic uint64_t own_clock;
static _Thread_local bool inside;

static void *next_of(const char *name)
{
    bool was = inside;

    inside = true;
    void *f = dlsym(RTLD_NEXT, name);
    inside = was;
    if (f == NULL)
        abort();
    return f;
}

/* `next` is the function that this one stands before, by its name in the library. */
#define NEXT(function, name)                                                                       \
    static __typeof__(&function) next;                                                             \
    if (next == NULL) {                                                                            \
        void *found = next_of(name);                                                               \
        memcpy(&next, &found, sizeof(next));                                                       \
    }

/* ---- Deciding. */

static bool hit(enum kind kind)
{
    if (control == NULL || inside || atomic_load(&control->kind) != kind)
        return false;
    uint64_t n = atomic_fetch_add(&control->calls, 1) + 1;
    if (n < atomic_load(&control->first) || n > atomic_load(&control->last))
        return false;
    if (atomic_fetch_add(&control->fired, 1) == 0) {
        void *frames[FRAMES_MAX];
        int saved = errno;

        inside = true;
        int count = backtrace(frames, FRAMES_MAX);
        inside = false;
        for (int i = 0; i < count; i++)
            control->frames[i] = (uint64_t)(uintptr_t)frames[i];
        atomic_store(&control->frame_count, (uint64_t)count);
        errno = saved;
    }
    return true;
}

/* What happens to the call: 0 it is made; 1 it fails; 2 it is made and then fails; 3 it is made for
 * fewer bytes. */
static int fate(enum kind kind)
{
    if (!hit(kind))
        return 0;
    uint64_t mode = atomic_load(&control->mode);
    return mode == BEFORE ? 1 : mode == AFTER ? 2 : 3;
}

static int failed(void)
{
    errno = (int)atomic_load(&control->error);
    return -1;
}

/* ---- Recording. */

static uint64_t tick(void)
{
    return atomic_fetch_add(control != NULL ? &control->clock : &own_clock, 1) + 1;
}

static void record(const char *format, ...) __attribute__((format(printf, 1, 2)));
static void record(const char *format, ...)
{
    char line[1024];
    int saved = errno;
    va_list args;

    if (record_fd < 0)
        return;
    va_start(args, format);
    int n = vsnprintf(line, sizeof(line), format, args);
    va_end(args);
    if (n > 0 && (size_t)n < sizeof(line))
        (void)!syscall(SYS_write, record_fd, line, (size_t)n);
    errno = saved;
}

static bool look_at(int fd, struct stat *st)
{
    return syscall(SYS_newfstatat, fd, "", st, AT_EMPTY_PATH) == 0;
}

static uint64_t inode_of(int fd)
{
    struct stat st;

    return look_at(fd, &st) ? st.st_ino : 0;
}

static bool is_file(int fd)
{
    struct stat st;

    return look_at(fd, &st) && S_ISREG(st.st_mode);
}

static uint64_t folder_inode(int at)
{
    struct stat st;

    if (at != AT_FDCWD)
        return inode_of(at);
    return syscall(SYS_newfstatat, AT_FDCWD, ".", &st, 0) == 0 ? st.st_ino : 0;
}

/* Names with a slash are not made by the store but at its start. */
static void record_name(int at, const char *name)
{
    struct stat st;

    if (record_fd >= 0 && strchr(name, '/') == NULL &&
        syscall(SYS_newfstatat, at, name, &st, AT_SYMLINK_NOFOLLOW) == 0)
        record("L %ju %ju %ju %s\n", (uintmax_t)tick(), (uintmax_t)folder_inode(at),
               (uintmax_t)st.st_ino, name);
}

static void record_gone(int at, const char *name)
{
    if (record_fd >= 0)
        record("U %ju %ju %s\n", (uintmax_t)tick(), (uintmax_t)folder_inode(at), name);
}

static void record_write(int fd, off_t end)
{
    if (record_fd >= 0)
        record("W %ju %ju %jd\n", (uintmax_t)tick(), (uintmax_t)inode_of(fd), (intmax_t)end);
}

/* ---- Memory. */

static _Alignas(16) char early[EARLY_BYTES];
static _Atomic size_t early_used;

static bool is_early(const void *p)
{
    return (const char *)p >= early && (const char *)p < early + EARLY_BYTES;
}

static void *early_alloc(size_t n)
{
    size_t at = atomic_fetch_add(&early_used, (n + 15) & ~(size_t)15);

    if (at + n > EARLY_BYTES)
        abort();
    return early + at; /* zeroed and given out once */
}

static void *no_memory(void)
{
    errno = ENOMEM;
    return NULL;
}

/* A sanitizer's allocator works only after its own begin, which allocates; so what comes before
 * ours is served from here. */
static bool begun;

void *malloc(size_t n)
{
    if (!begun)
        return early_alloc(n);
    NEXT(malloc, "malloc")
    return hit(ALLOC) ? no_memory() : next(n);
}

void *calloc(size_t count, size_t n)
{
    if (!begun)
        return early_alloc(count * n);
    NEXT(calloc, "calloc")
    return hit(ALLOC) ? no_memory() : next(count, n);
}

void *realloc(void *p, size_t n)
{
    if (!begun && p == NULL)
        return early_alloc(n);
    if (is_early(p)) {
        char *moved = malloc(n);
        size_t most = (size_t)(early + EARLY_BYTES - (char *)p);

        if (moved != NULL)
            memcpy(moved, p, n < most ? n : most);
        return moved;
    }
    NEXT(realloc, "realloc")
    return hit(ALLOC) ? no_memory() : next(p, n);
}

void free(void *p)
{
    static void (*next)(void *p);

    if (p == NULL || is_early(p))
        return;
    if (next == NULL) {
        void *found = next_of("free");
        memcpy(&next, &found, sizeof(next));
    }
    next(p);
}

char *strndup(const char *s, size_t n)
{
    size_t len = strnlen(s, n);
    char *copy = malloc(len + 1);

    if (copy == NULL)
        return NULL;
    memcpy(copy, s, len);
    copy[len] = 0;
    return copy;
}

char *strdup(const char *s)
{
    return strndup(s, SIZE_MAX);
}

/* ---- Syncs. Each may take some time more, as on a disk that is slow: then many wait together. */

static int sync_takes_ms;

#define SYNC(function, kind, letter)                                                               \
    int function(int fd)                                                                           \
    {                                                                                              \
        NEXT(function, #function)                                                                  \
        int how = fate(kind);                                                                      \
        uint64_t begin = tick();                                                                   \
                                                                                                   \
        if (sync_takes_ms > 0)                                                                     \
            (void)poll(NULL, 0, sync_takes_ms);                                                    \
        if (how == 1)                                                                              \
            return failed();                                                                       \
        int r = next(fd);                                                                          \
        if (r == 0 && how == 0)                                                                    \
            record(letter " %ju %ju\n", (uintmax_t)begin, (uintmax_t)inode_of(fd));                \
        return how != 0 ? failed() : r;                                                            \
    }

SYNC(fsync, FSYNC, "S")
SYNC(fdatasync, FDATASYNC, "S")
SYNC(syncfs, SYNCFS, "A")

/* ---- Bytes. */

ssize_t write(int fd, const void *bytes, size_t len)
{
    NEXT(write, "write")
    if (inside || fd == record_fd || (control == NULL && record_fd < 0) || !is_file(fd))
        return next(fd, bytes, len);
    int how = fate(WRITE);
    if (how == 1)
        return failed();
    ssize_t r = next(fd, bytes, how == 3 && len > 1 ? len / 2 : len);
    if (r > 0)
        record_write(fd, lseek(fd, 0, SEEK_CUR));
    return how == 2 ? failed() : r;
}

ssize_t pwrite(int fd, const void *bytes, size_t len, off_t at)
{
    NEXT(pwrite, "pwrite64")
    int how = fate(PWRITE);
    if (how == 1)
        return failed();
    ssize_t r = next(fd, bytes, how == 3 && len > 1 ? len / 2 : len, at);
    if (r > 0)
        record_write(fd, at + r);
    return how == 2 ? failed() : r;
}

ssize_t pread(int fd, void *bytes, size_t len, off_t at)
{
    NEXT(pread, "pread64")
    int how = fate(PREAD);
    if (how == 1)
        return failed();
    return next(fd, bytes, how == 3 && len > 1 ? len / 2 : len, at);
}

ssize_t copy_file_range(int from, off_t *in, int to, off_t *out, size_t len, unsigned flags)
{
    NEXT(copy_file_range, "copy_file_range")
    int how = fate(COPY_FILE_RANGE);
    if (how == 1)
        return failed();
    ssize_t r = next(from, in, to, out, how == 3 && len > 1 ? len / 2 : len, flags);
    if (r > 0)
        record_write(to, out != NULL ? *out : lseek(to, 0, SEEK_CUR));
    return how == 2 ? failed() : r;
}

int ftruncate(int fd, off_t size)
{
    NEXT(ftruncate, "ftruncate64")
    int how = fate(FTRUNCATE);
    if (how == 1)
        return failed();
    int r = next(fd, size);
    if (r == 0)
        record("T %ju %ju %jd\n", (uintmax_t)tick(), (uintmax_t)inode_of(fd), (intmax_t)size);
    return how == 2 ? failed() : r;
}

/* ---- Names. */

int linkat(int from, const char *old, int to, const char *new, int flags)
{
    NEXT(linkat, "linkat")
    int how = fate(LINKAT);
    if (how == 1)
        return failed();
    int r = next(from, old, to, new, flags);
    if (r == 0)
        record_name(to, new);
    return how == 2 ? failed() : r;
}

int mkdirat(int at, const char *name, mode_t mode)
{
    NEXT(mkdirat, "mkdirat")
    int how = fate(MKDIRAT);
    if (how == 1)
        return failed();
    int r = next(at, name, mode);
    if (r == 0)
        record_name(at, name);
    return how == 2 ? failed() : r;
}

int renameat(int from, const char *old, int to, const char *new)
{
    NEXT(renameat, "renameat")
    int how = fate(RENAMEAT);
    if (how == 1)
        return failed();
    int r = next(from, old, to, new);
    if (r == 0) {
        record_gone(from, old);
        record_name(to, new);
    }
    return how == 2 ? failed() : r;
}

int unlinkat(int at, const char *name, int flags)
{
    NEXT(unlinkat, "unlinkat")
    int how = fate(UNLINKAT);
    if (how == 1)
        return failed();
    int r = next(at, name, flags);
    if (r == 0)
        record_gone(at, name);
    return how == 2 ? failed() : r;
}

static int opened(int how, int at, const char *name, int flags, int fd)
{
    if (fd >= 0 && (flags & O_TMPFILE) == O_TMPFILE)
        record("C %ju %ju\n", (uintmax_t)tick(), (uintmax_t)inode_of(fd));
    else if (fd >= 0 && (flags & O_CREAT) != 0 && record_fd >= 0) {
        record("C %ju %ju\n", (uintmax_t)tick(), (uintmax_t)inode_of(fd));
        record_name(at, name);
    }
    if (how != 2)
        return fd;
    if (fd >= 0)
        (void)syscall(SYS_close, fd);
    return failed();
}

int openat(int at, const char *name, int flags, ...)
{
    NEXT(openat, "openat64")
    mode_t mode = 0;
    va_list args;

    va_start(args, flags);
    if ((flags & O_CREAT) != 0 || (flags & O_TMPFILE) == O_TMPFILE)
        mode = va_arg(args, mode_t);
    va_end(args);
    int how = fate(OPENAT);
    return how == 1 ? failed() : opened(how, at, name, flags, next(at, name, flags, mode));
}

/* What a call without mode becomes where the C library checks. */
int open_checked(int at, const char *name, int flags) __asm__("__openat64_2");
int open_checked(int at, const char *name, int flags)
{
    return openat(at, name, flags);
}

/* Only openat2 is called this way by the store. */
long syscall(long number, ...)
{
    static long (*next)(long number, ...);
    long a[6];
    va_list args;

    if (next == NULL) {
        void *found = next_of("syscall");
        memcpy(&next, &found, sizeof(next));
    }
    va_start(args, number);
    for (int i = 0; i < 6; i++)
        a[i] = va_arg(args, long);
    va_end(args);
    int how = number == SYS_openat2 ? fate(OPENAT) : 0;
    if (how == 1)
        return failed();
    long r = next(number, a[0], a[1], a[2], a[3], a[4], a[5]);
    if (how == 2 && r >= 0)
        (void)next(SYS_close, r);
    return how == 2 ? failed() : r;
}

/* ---- The rest. */

int fstat(int fd, struct stat *st)
{
    NEXT(fstat, "fstat64")
    return fate(FSTAT) != 0 ? failed() : next(fd, st);
}

int fstatat(int at, const char *restrict name, struct stat *restrict st, int flags)
{
    NEXT(fstatat, "fstatat64")
    return fate(FSTATAT) != 0 ? failed() : next(at, name, st, flags);
}

int flock(int fd, int operation);
int flock(int fd, int operation)
{
    NEXT(flock, "flock")
    int how = fate(FLOCK);
    if (how == 1)
        return failed();
    int r = next(fd, operation);
    return how == 2 ? failed() : r;
}

int fchmod(int fd, mode_t mode)
{
    NEXT(fchmod, "fchmod")
    return fate(FCHMOD) != 0 ? failed() : next(fd, mode);
}

int futimens(int fd, const struct timespec times[2])
{
    NEXT(futimens, "futimens")
    return fate(FUTIMENS) != 0 ? failed() : next(fd, times);
}

struct dirent *readdir(DIR *d)
{
    NEXT(readdir, "readdir64")
    if (fate(READDIR) == 0)
        return next(d);
    (void)failed();
    return NULL;
}

ssize_t sendfile(int to, int from, off_t *at, size_t len)
{
    NEXT(sendfile, "sendfile64")
    int how = fate(SENDFILE);
    if (how == 1)
        return failed();
    return next(to, from, at, how == 3 && len > 1 ? len / 2 : len);
}

ssize_t send(int fd, const void *bytes, size_t len, int flags)
{
    NEXT(send, "send")
    int how = fate(SEND);
    if (how == 1)
        return failed();
    return next(fd, bytes, how == 3 && len > 1 ? len / 2 : len, flags);
}

ssize_t sendmsg(int fd, const struct msghdr *message, int flags)
{
    NEXT(sendmsg, "sendmsg")
    return fate(SEND) == 1 ? failed() : next(fd, message, flags);
}

ssize_t recv(int fd, void *bytes, size_t len, int flags)
{
    NEXT(recv, "recv")
    int how = fate(RECV);
    if (how == 1)
        return failed();
    return next(fd, bytes, how == 3 && len > 1 ? len / 2 : len, flags);
}

int accept4(int fd, struct sockaddr *restrict from, socklen_t *restrict len, int flags)
{
    NEXT(accept4, "accept4")
    return fate(ACCEPT) != 0 ? failed() : next(fd, from, len, flags);
}

/* ---- Begin. */

/* Where a leak checker is linked. */
extern void leaks_off(void) __asm__("__lsan_disable") __attribute__((weak));
extern void leaks_on(void) __asm__("__lsan_enable") __attribute__((weak));

__attribute__((constructor)) static void begin(void)
{
    const char *path = getenv("STOWAGE_FAULT_CONTROL");
    void *frames[2];

    begun = true;
    inside = true;
    if (leaks_off != NULL)
        leaks_off();            /* the loader's own memory would look lost from here */
    (void)backtrace(frames, 2); /* loads what it needs, so that it does not allocate later */
    if (leaks_on != NULL)
        leaks_on();
    path = path != NULL ? path : "";
    int fd = (int)syscall(SYS_openat, AT_FDCWD, path, O_RDWR | O_CLOEXEC, 0);
    if (fd >= 0) {
        void *at = mmap(NULL, CONTROL_BYTES, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);

        (void)syscall(SYS_close, fd);
        if (at == MAP_FAILED)
            abort();
        control = at;
    }
    path = getenv("STOWAGE_FAULT_SYNC_MS");
    sync_takes_ms = path == NULL ? 0 : (int)strtoul(path, NULL, 10);
    path = getenv("STOWAGE_FAULT_RECORD");
    if (path != NULL) {
        fd = (int)syscall(SYS_openat, AT_FDCWD, path, O_WRONLY | O_APPEND | O_CREAT | O_CLOEXEC,
                          0600);
        if (fd >= 0) {
            record_fd = fcntl(fd, F_DUPFD_CLOEXEC, 900); /* low ones are the program's */
            (void)syscall(SYS_close, fd);
        }
    }
    inside = false;
}
