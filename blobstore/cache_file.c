/* Block files of the cache: a header with the CRC, then the bytes. A file gets its name by a rename
 * when it is whole; nothing is synced, since a damaged file is a missing one (C1). */
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/file.h>
#include <sys/stat.h>

#include "base/crc.h"
#include "base/fd.h"
#include "base/rand.h"
#include "blobstore/cache_internal.h"

#define MAGIC       "STWC0001"
#define FILL_PREFIX ".fill-"
#define PATH_MAX_   (3 + CACHE_NAME_MAX)

void cache_file_name(struct str id, uint64_t block, char out[CACHE_NAME_MAX])
{
    snprintf(out, CACHE_NAME_MAX, STR_FMT ".%08llx", STR_ARG(id), (unsigned long long)block);
}

/* The last two digits of the id: the first are a time and a store's own choice. */
static void path_of(const char *name, char out[PATH_MAX_])
{
    size_t id = strcspn(name, ".");

    snprintf(out, PATH_MAX_, "%.2s/%s", id >= 2 ? name + id - 2 : "00", name);
}

/* ---- reading and writing */

static void put32(char *at, uint32_t v)
{
    for (unsigned i = 0; i < 4; i++)
        at[i] = (char)(v >> (8 * i) & 0xff);
}

static void header_of(struct str bytes, char out[CACHE_HEADER_BYTES])
{
    memcpy(out, MAGIC, 8);
    put32(out + 8, crc32c(bytes));
    put32(out + 12, (uint32_t)bytes.len);
}

int cache_file_read(int dir, const char *name, size_t len, struct buf *out)
{
    struct buf header auto_buf = BUF_INIT(CACHE_HEADER_BYTES);
    char path[PATH_MAX_], wanted[CACHE_HEADER_BYTES];
    size_t before = out->len;
    int fd auto_fd = -1;
    int e;

    path_of(name, path);
    fd = openat(dir, path, O_RDONLY | O_NOFOLLOW | O_CLOEXEC);
    if (fd < 0)
        return err_from_errno(errno);
    e = fd_pread_all(fd, 0, CACHE_HEADER_BYTES, &header);
    if (e == 0)
        e = fd_pread_all(fd, CACHE_HEADER_BYTES, len, out);
    if (e < 0)
        return e;
    header_of(str_skip(buf_str(out), before), wanted);
    if (memcmp(header.at, wanted, sizeof(wanted)) == 0)
        return 0;
    buf_truncate(out, before);
    return -ERR_CORRUPT;
}

static int write_as(int dir, const char *fill, struct str bytes)
{
    char header[CACHE_HEADER_BYTES];
    int fd auto_fd = openat(dir, fill, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
    int e;

    if (fd < 0)
        return err_from_errno(errno);
    header_of(bytes, header);
    e = fd_write_all(fd, str_make(header, sizeof(header)));
    return e < 0 ? e : fd_write_all(fd, bytes);
}

int cache_file_write(int dir, const char *name, struct str bytes)
{
    char path[PATH_MAX_], folder[3] = "", fill[32];
    uint64_t random;
    int e;

    rand_bytes(&random, sizeof(random));
    snprintf(fill, sizeof(fill), FILL_PREFIX "%016llx", (unsigned long long)random);
    path_of(name, path);
    memcpy(folder, path, 2);
    e = write_as(dir, fill, bytes);
    if (e == 0 && renameat(dir, fill, dir, path) < 0) {
        e = mkdirat(dir, folder, 0700) < 0 && errno != EEXIST ? err_from_errno(errno) : 0;
        if (e == 0 && renameat(dir, fill, dir, path) < 0)
            e = err_from_errno(errno);
    }
    if (e < 0)
        (void)!unlinkat(dir, fill, 0);
    return e;
}

void cache_file_remove(int dir, const char *name)
{
    char path[PATH_MAX_];

    path_of(name, path);
    (void)!unlinkat(dir, path, 0);
}

/* ---- the directory */

static int open_failed(const char *dir, struct err_detail *detail)
{
    const char *cause = strerrordesc_np(errno);

    return err_set(detail, err_from_errno(errno), "cannot use %s as a cache: %s", dir,
                   cause ? cause : "unknown error");
}

int cache_dir_open(const char *dir, int *ret_dir, int *ret_lock, struct err_detail *detail)
{
    int at auto_fd = -1, lock auto_fd = -1;

    if (mkdir(dir, 0700) < 0 && errno != EEXIST)
        return open_failed(dir, detail);
    at = open(dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (at < 0)
        return open_failed(dir, detail);
    lock = openat(at, "lock", O_RDWR | O_CREAT | O_NOFOLLOW | O_CLOEXEC, 0600);
    if (lock < 0)
        return open_failed(dir, detail);
    if (flock(lock, LOCK_EX | LOCK_NB) < 0)
        return err_set(detail, -ERR_BUSY, "another process uses %s as its cache", dir);
    *ret_dir = fd_steal(&at);
    *ret_lock = fd_steal(&lock);
    return 0;
}

static int list_folder(int dir, const char *folder,
                       int (*fn)(const char *name, uint64_t bytes, void *arg), void *arg)
{
    int at = openat(dir, folder, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC), e = 0;
    DIR *d = at < 0 ? NULL : fdopendir(at);

    if (!d) {
        if (at >= 0)
            close(at);
        return at < 0 ? 0 : -ERR_NOMEM;
    }
    for (struct dirent *entry; e == 0 && (entry = readdir(d));) {
        struct stat st;

        if (entry->d_name[0] != '.' && fstatat(at, entry->d_name, &st, AT_SYMLINK_NOFOLLOW) == 0 &&
            S_ISREG(st.st_mode))
            e = fn(entry->d_name, (uint64_t)st.st_size, arg);
    }
    closedir(d);
    return e;
}

static void remove_fills(int dir)
{
    int at = openat(dir, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    DIR *d = at < 0 ? NULL : fdopendir(at);

    if (!d) {
        if (at >= 0)
            close(at);
        return;
    }
    for (struct dirent *entry; (entry = readdir(d));)
        if (strncmp(entry->d_name, FILL_PREFIX, strlen(FILL_PREFIX)) == 0)
            (void)!unlinkat(at, entry->d_name, 0);
    closedir(d);
}

int cache_dir_list(int dir, int (*fn)(const char *name, uint64_t bytes, void *arg), void *arg)
{
    int e = 0;

    remove_fills(dir);
    for (unsigned i = 0; e == 0 && i < 256; i++) {
        char folder[3];

        snprintf(folder, sizeof(folder), "%02x", i);
        e = list_folder(dir, folder, fn, arg);
    }
    return e;
}
