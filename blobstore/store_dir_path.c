/* Directory backend: paths below the root, folders, what this process knows durable, and syncs.
 * Rules D1..D5 are in store_dir_internal.h. */
#include "blobstore/store_dir_internal.h"

#include <assert.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/openat2.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/syscall.h>

#include "base/log.h"

int (*store_dir_call_fdatasync)(int fd) = fdatasync;
int (*store_dir_call_fsync)(int fd) = fsync;

void store_dir_fatal(const char *call, int errno_value)
{
    const char *cause = strerrordesc_np(errno_value);

    log_error("store.sync_failed", KV_S("call", call), KV_I("errno", errno_value),
              KV_S("cause", cause != NULL ? cause : "unknown"));
    abort();
}

int dir_sync_bytes(int fd)
{
    int r;

    do
        r = store_dir_call_fdatasync(fd);
    while (r < 0 && errno == EINTR);
    if (r == 0)
        return 0;
    if (errno == ENOSPC || errno == EDQUOT)
        return -ERR_NOSPACE;
    store_dir_fatal("fdatasync", errno);
}

void dir_sync_entries(int fd)
{
    int r;

    do
        r = store_dir_call_fsync(fd);
    while (r < 0 && errno == EINTR);
    if (r < 0)
        store_dir_fatal("fsync", errno);
}

/* A refused right or a symbolic link in the way (D1) is damage of the store, never the client's
 * matter: it must not look like a denied request. */
int dir_error(struct err_detail *detail, int errno_value, const char *what, const char *path)
{
    const char *cause = strerrordesc_np(errno_value);
    int err = err_from_errno(errno_value);

    if (err == -ERR_DENIED || errno_value == ELOOP || errno_value == EXDEV)
        err = -ERR_IO;
    return err_set(detail, err, "%s %s: %s", what, path, cause != NULL ? cause : "unknown error");
}

void dir_path_init(struct dir_path *p, struct str key)
{
    assert(key.len > 0 && key.len <= STORE_KEY_MAX);
    memcpy(p->at, key.at, key.len);
    p->at[key.len] = 0;
    p->len = key.len;
    p->leaf = 0;
    for (size_t i = key.len; i > 0 && p->leaf == 0; i--)
        p->leaf = key.at[i - 1] == '/' ? i : 0;
    size_t folder = p->leaf > 0 ? p->leaf - 1 : 0;
    memcpy(p->folder, key.at, folder);
    p->folder[folder] = 0;
}

/* ---- Opening. */

/* The way of kernels without openat2: one component after the other. */
static int open_by_steps(int root, const char *path, int flags)
{
    int at auto_fd = -1;
    char name[DIR_NAME_MAX];

    for (;;) {
        const char *slash = strchr(path, '/');
        size_t len = slash != NULL ? (size_t)(slash - path) : strlen(path);

        assert(len < sizeof(name));
        memcpy(name, path, len);
        name[len] = 0;
        int from = at >= 0 ? at : root;
        if (slash == NULL)
            return openat(from, name, flags | O_NOFOLLOW | O_CLOEXEC);
        int next = openat(from, name, O_PATH | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
        if (next < 0)
            return -1;
        if (at >= 0)
            close(at);
        at = next;
        path = slash + 1;
    }
}

int dir_openat(const struct store_dir *sd, const char *path, int flags)
{
    if (path[0] == 0)
        path = ".";
    if (!sd->openat2)
        return open_by_steps(sd->root, path, flags);

    struct open_how how = {
        .flags = (uint64_t)(unsigned)(flags | O_CLOEXEC),
        .resolve = RESOLVE_NO_SYMLINKS | RESOLVE_BENEATH,
    };
    long r;
    do
        r = syscall(SYS_openat2, sd->root, path, &how, sizeof(how));
    while (r < 0 && (errno == EINTR || errno == EAGAIN));
    return (int)r;
}

/* ---- What is known durable. */

static uint64_t mix(uint64_t h, uint64_t v)
{
    h = (h ^ v) * UINT64_C(0x9e3779b97f4a7c15);
    h ^= h >> 29;
    h *= UINT64_C(0xbf58476d1ce4e5b9);
    return h ^ (h >> 32);
}

struct hash2 {
    uint64_t slot, tag;
};

static struct hash2 hash_name(const struct store_dir *sd, const char *at, size_t len)
{
    uint64_t a = sd->seed[0] ^ len, b = sd->seed[1];

    while (len > 0) {
        uint64_t word = 0;
        size_t n = len < sizeof(word) ? len : sizeof(word);
        memcpy(&word, at, n);
        a = mix(a, word);
        b = mix(b + UINT64_C(0x94d049bb133111eb), word);
        at += n;
        len -= n;
    }
    return (struct hash2){a, b};
}

/* A hash of 0 would look like an empty slot. The time of change tells an object from a later one of
 * the same key and inode number, made by another process. */
static struct hash2 hash_object(const struct store_dir *sd, const struct dir_path *p,
                                const struct stat *st)
{
    struct hash2 h = hash_name(sd, p->at, p->len);

    h.slot %= DIR_KNOWN_OBJECTS;
    h.tag = mix(mix(h.tag, (uint64_t)st->st_ino), (uint64_t)st->st_dev);
    h.tag = mix(mix(h.tag, (uint64_t)st->st_ctim.tv_sec), (uint64_t)st->st_ctim.tv_nsec) | 1;
    return h;
}

bool dir_known(const struct store_dir *sd, const struct dir_path *p, const struct stat *st)
{
    struct hash2 h = hash_object(sd, p, st);

    return atomic_load_explicit(&sd->objects[h.slot], memory_order_relaxed) == h.tag;
}

void dir_remember(struct store_dir *sd, const struct dir_path *p, const struct stat *st)
{
    struct hash2 h = hash_object(sd, p, st);

    atomic_store_explicit(&sd->objects[h.slot], h.tag, memory_order_relaxed);
}

void dir_forget(struct store_dir *sd, const struct dir_path *p)
{
    size_t slot = hash_name(sd, p->at, p->len).slot % DIR_KNOWN_OBJECTS;

    atomic_store_explicit(&sd->objects[slot], 0, memory_order_relaxed);
}

static _Atomic uint64_t *folder_slot(struct store_dir *sd, const char *at, size_t len,
                                     uint64_t *ret_tag)
{
    struct hash2 h = hash_name(sd, at, len);

    *ret_tag = h.tag | 1;
    return &sd->folders[h.slot % DIR_KNOWN_FOLDERS];
}

void dir_remember_folder(struct store_dir *sd, const char *folder)
{
    uint64_t tag;
    _Atomic uint64_t *slot = folder_slot(sd, folder, strlen(folder), &tag);

    atomic_store_explicit(slot, tag, memory_order_relaxed);
}

void dir_forget_folder(struct store_dir *sd, const char *folder)
{
    uint64_t tag;
    _Atomic uint64_t *slot = folder_slot(sd, folder, strlen(folder), &tag);

    atomic_store_explicit(slot, 0, memory_order_relaxed);
}

/* ---- Folders. */

/* Length of the prefix of folder that ends before the slash at or after from, or of all of it. */
static size_t segment_end(const char *folder, size_t from)
{
    return from + strcspn(folder + from, "/");
}

/* Makes every entry on the way to the folder durable, once for each process. */
static int sync_ancestors(struct store_dir *sd, const char *folder, struct err_detail *detail)
{
    uint64_t tag;
    _Atomic uint64_t *slot = folder_slot(sd, folder, strlen(folder), &tag);
    char parent[STORE_KEY_MAX + 1] = "";

    if (folder[0] == 0 || atomic_load_explicit(slot, memory_order_relaxed) == tag)
        return 0;
    for (size_t end = segment_end(folder, 0);; end = segment_end(folder, end + 1)) {
        slot = folder_slot(sd, folder, end, &tag);
        if (atomic_load_explicit(slot, memory_order_relaxed) != tag) {
            int fd auto_fd = dir_openat(sd, parent, O_RDONLY | O_DIRECTORY);
            if (fd < 0)
                return dir_error(detail, errno, "cannot open the folder of", folder);
            dir_sync_entries(fd);
            atomic_store_explicit(slot, tag, memory_order_relaxed);
        }
        if (folder[end] == 0)
            return 0;
        memcpy(parent, folder, end);
        parent[end] = 0;
    }
}

/* mkdir with mode 0700 under any umask: 1 when made, 0 when it was there, -1. */
static int make_one(int at, const char *name)
{
    struct stat st;

    if (mkdirat(at, name, 0700) < 0)
        return errno == EEXIST ? 0 : -1;
    if (fstatat(at, name, &st, AT_SYMLINK_NOFOLLOW) < 0)
        return -1;
    if ((st.st_mode & 0777) != 0700 && fchmodat(at, name, 0700, AT_SYMLINK_NOFOLLOW) < 0)
        return -1;
    return 1;
}

/* The deepest folder on the way to the last that is there: its descriptor, and in *ret_end where
 * its name ends (0: the root). -1 and errno. */
static int open_deepest(const struct store_dir *sd, char *path, size_t *ret_end)
{
    size_t end = strlen(path);
    int fd;

    do {
        while (end > 0 && path[end] != '/')
            end--;
        char kept = path[end];

        path[end] = 0;
        fd = dir_openat(sd, path, O_PATH | O_DIRECTORY);
        path[end] = kept;
    } while (fd < 0 && errno == ENOENT && end-- > 0);
    *ret_end = end;
    return fd;
}

/* Makes the folder and what is missing above it. Syncing is left to sync_ancestors: what is new is
 * not known durable, even if a folder of this name once was. */
static int make_folders(struct store_dir *sd, const char *folder)
{
    char path[STORE_KEY_MAX + 1], *name;
    size_t end;

    memcpy(path, folder, strlen(folder) + 1);
    int at auto_fd = open_deepest(sd, path, &end);
    if (at < 0)
        return -1;
    for (;;) {
        name = path + end + (end > 0 ? 1 : 0);
        end = segment_end(path, (size_t)(name - path));
        bool last = path[end] == 0;

        path[end] = 0;
        int made = make_one(at, name);
        if (made < 0)
            return -1;
        if (made == 1)
            dir_forget_folder(sd, path);
        if (last)
            return 0;
        int next = openat(at, name, O_PATH | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
        if (next < 0)
            return -1;
        close(at);
        at = next;
        path[end] = '/';
    }
}

int dir_sync_ancestors(struct store_dir *sd, const struct dir_path *p, struct err_detail *detail)
{
    return sync_ancestors(sd, p->folder, detail);
}

void dir_know_ancestors(struct store_dir *sd, const struct dir_path *p)
{
    uint64_t tag;

    if (p->folder[0] == 0)
        return;
    for (size_t end = segment_end(p->folder, 0);; end = segment_end(p->folder, end + 1)) {
        _Atomic uint64_t *slot = folder_slot(sd, p->folder, end, &tag);

        atomic_store_explicit(slot, tag, memory_order_relaxed);
        if (p->folder[end] == 0)
            return;
    }
}

int dir_enter(struct store_dir *sd, const struct dir_path *p, bool make, bool durable, int *ret_fd,
              struct err_detail *detail)
{
    int fd auto_fd = -1;

    for (unsigned i = 0; i < DIR_TRIES; i++) {
        fd = dir_openat(sd, p->folder, O_RDONLY | O_DIRECTORY);
        if (fd >= 0 || errno != ENOENT || !make)
            break;
        /* Another process may remove what this one has just made, so an absence counts as a try. */
        if (make_folders(sd, p->folder) < 0 && errno != ENOENT)
            return dir_error(detail, errno, "cannot make the folder of", p->at);
    }
    if (fd < 0)
        return dir_error(detail, errno, "cannot open the folder of", p->at);
    int r = durable ? sync_ancestors(sd, p->folder, detail) : 0;
    if (r < 0)
        return r;
    *ret_fd = fd_steal(&fd);
    return 0;
}
