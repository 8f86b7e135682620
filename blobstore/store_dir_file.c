/* Directory backend: files on their way to a name. A named one is held by flock for as long as its
 * writer lives (a lock of an open file description: two holders in one process exclude each other
 * too), so what nobody holds is left over from a process that died. Rules D1..D5 are in
 * store_dir_internal.h. */
#include "blobstore/store_dir_internal.h"

#include <assert.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <sys/file.h>

#include "base/enc.h"
#include "base/rand.h"

#define SUFFIX_BYTES 8

void dir_file_drop(struct dir_file *f)
{
    if (f->fd >= 0 && f->name[0] != 0)
        (void)!unlinkat(f->folder, f->name, 0);
    fd_closep(&f->fd);
}

/* Gets the lock and makes sure that the name still stands for the file: a sweep may have taken it
 * between its creation and its lock. -ERR_BUSY when held, -ERR_NOTFOUND when gone. */
static int hold(int folder, const char *name, int fd)
{
    struct stat mine, there;
    int r;

    do
        r = flock(fd, LOCK_EX | LOCK_NB);
    while (r < 0 && errno == EINTR);
    if (r < 0)
        return errno == EWOULDBLOCK ? -ERR_BUSY : err_from_errno(errno);
    if (fstat(fd, &mine) < 0)
        return err_from_errno(errno);
    if (fstatat(folder, name, &there, AT_SYMLINK_NOFOLLOW) < 0)
        return err_from_errno(errno);
    return mine.st_ino == there.st_ino && mine.st_dev == there.st_dev ? 0 : -ERR_NOTFOUND;
}

static void random_suffix(char out[2 * SUFFIX_BYTES + 1])
{
    uint8_t bytes[SUFFIX_BYTES];

    rand_bytes(bytes, sizeof(bytes));
    hex_encode(bytes, sizeof(bytes), out);
}

int dir_file_named(int folder, const char *name, struct dir_file *ret, struct err_detail *detail)
{
    struct dir_file f = DIR_FILE_NONE;
    char suffix[2 * SUFFIX_BYTES + 1];
    int n, r;

    for (unsigned i = 0; i < DIR_TRIES; i++) {
        random_suffix(suffix);
        if (name == NULL)
            n = snprintf(f.name, sizeof(f.name), "%s", suffix);
        else
            n = snprintf(f.name, sizeof(f.name), i == 0 ? "%s" : "%s~%s", name, suffix);
        assert(n > 0 && (size_t)n < sizeof(f.name));
        int fd auto_fd =
            openat(folder, f.name, O_CREAT | O_EXCL | O_RDWR | O_NOFOLLOW | O_CLOEXEC, 0600);
        if (fd < 0 && (errno == EEXIST || errno == EINTR))
            continue;
        if (fd < 0 || fchmod(fd, 0600) < 0)
            return dir_error(detail, errno, "cannot create the temporary file", f.name);
        r = hold(folder, f.name, fd);
        if (r == 0) {
            f.fd = fd_steal(&fd);
            f.folder = folder;
            *ret = f;
            return 0;
        }
        if (r != -ERR_BUSY && r != -ERR_NOTFOUND)
            return err_set(detail, r, "cannot lock the temporary file %s", f.name);
    }
    return err_set(detail, -ERR_IO, "cannot create a temporary file: every name is taken");
}

int dir_file_temporary(struct store_dir *sd, struct dir_file *ret, struct err_detail *detail)
{
    if (!sd->tmpfile)
        return dir_file_named(sd->tmp, NULL, ret, detail);

    int fd auto_fd = openat(sd->tmp, ".", O_TMPFILE | O_RDWR | O_CLOEXEC, 0600);
    if (fd < 0 || (!sd->mode_kept && fchmod(fd, 0600) < 0))
        return dir_error(detail, errno, "cannot create a file in", ".tmp");
    *ret = (struct dir_file){fd_steal(&fd), sd->tmp, ""};
    return 0;
}

int dir_file_take(int folder, const char *name, struct dir_file *ret, struct err_detail *detail)
{
    struct dir_file f = DIR_FILE_NONE;
    struct stat st;

    assert(strlen(name) < sizeof(f.name));
    int fd auto_fd = openat(folder, name, O_RDWR | O_NOFOLLOW | O_NONBLOCK | O_CLOEXEC);
    if (fd < 0)
        return dir_error(detail, errno, "cannot open", name);
    if (fstat(fd, &st) < 0 || !S_ISREG(st.st_mode))
        return err_set(detail, -ERR_CORRUPT, "%s is not a file", name);
    int r = hold(folder, name, fd);
    if (r < 0)
        return r;
    memcpy(f.name, name, strlen(name) + 1);
    f.folder = folder;
    f.fd = fd_steal(&fd);
    *ret = f;
    return 0;
}

DIR *dir_read(int folder)
{
    int fd auto_fd = openat(folder, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    DIR *d = fd < 0 ? NULL : fdopendir(fd);

    if (d != NULL)
        fd = -1; /* the stream owns it */
    return d;
}

int dir_file_sweep(int folder, bool (*wanted)(const char *name, const void *arg), const void *arg,
                   struct err_detail *detail)
{
    const struct dirent *e;
    DIR *d = dir_read(folder);
    int r = 0;

    if (d == NULL)
        return dir_error(detail, errno, "cannot read", "the folder of temporary files");
    while (errno = 0, (e = readdir(d)) != NULL) {
        struct dir_file f auto_dir_file = DIR_FILE_NONE;

        if (e->d_name[0] == '.' || (wanted != NULL && !wanted(e->d_name, arg)))
            continue;
        /* Taking it is enough: dropping removes it. What is held, gone or no file stays. */
        (void)!dir_file_take(folder, e->d_name, &f, NULL);
    }
    if (errno != 0)
        r = dir_error(detail, errno, "cannot read", "the folder of temporary files");
    closedir(d);
    return r;
}

/* ---- The link (D2). */

static int link_once(const struct store_dir *sd, const struct dir_file *f, int folder,
                     const char *leaf)
{
    char path[64];

    if (f->name[0] != 0)
        return linkat(f->folder, f->name, folder, leaf, 0);
    if (sd->link_fd)
        return linkat(f->fd, "", folder, leaf, AT_EMPTY_PATH);
    snprintf(path, sizeof(path), "/proc/self/fd/%d", f->fd);
    return linkat(AT_FDCWD, path, folder, leaf, AT_SYMLINK_FOLLOW);
}

void dir_file_unname(struct store_dir *sd, struct dir_file *f, const struct dir_path *p)
{
    struct stat before, after;

    if (f->name[0] == 0)
        return;
    bool known = fstat(f->fd, &before) == 0 && dir_known(sd, p, &before);
    if (unlinkat(f->folder, f->name, 0) == 0 && known && fstat(f->fd, &after) == 0)
        dir_remember(sd, p, &after);
    f->name[0] = 0;
}

static int link_failed(int errno_value, const struct dir_path *p, struct err_detail *detail)
{
    int r = dir_error(detail, errno_value, "cannot link", p->at);

    /* Errors that may come after the work was done (S3). */
    return errno_value == EIO || errno_value == EINTR || r == -ERR_UNAVAIL ? -ERR_UNKNOWN : r;
}

int dir_link_make(struct store_dir *sd, struct dir_file *f, const struct dir_path *p,
                  struct dir_link *ret, struct err_detail *detail)
{
    const char *leaf = p->at + p->leaf;

    for (unsigned i = 0; i < DIR_TRIES; i++) {
        int folder auto_fd = -1;
        int r = dir_enter(sd, p, true, false, &folder, detail);

        if (r < 0)
            return r;
        *ret = DIR_LINK_NONE;
        if (link_once(sd, f, folder, leaf) == 0) {
            /* Not knowing the inode only costs a sync later. */
            ret->seen = fstat(f->fd, &ret->st) == 0;
            ret->folder = fd_steal(&folder);
            return 0;
        }
        if (errno == EEXIST) {
            ret->seen = fstatat(folder, leaf, &ret->st, AT_SYMLINK_NOFOLLOW) == 0;
            ret->folder = fd_steal(&folder);
            return -ERR_EXISTS;
        }
        if (errno != ENOENT) /* the folder was emptied and removed meanwhile */
            return link_failed(errno, p, detail);
    }
    return err_set(detail, -ERR_IO, "cannot link %s: its folder keeps vanishing", p->at);
}

bool dir_link_unsynced(const struct store_dir *sd, const struct dir_path *p, enum store_class cls,
                       const struct dir_link *l)
{
    return dir_class_durable(cls) && !(l->seen && dir_known(sd, p, &l->st));
}

int dir_link_settled(struct store_dir *sd, const struct dir_path *p, enum store_class cls,
                     struct dir_link *l, bool shared, struct err_detail *detail)
{
    fd_closep(&l->folder);
    if (shared && dir_link_unsynced(sd, p, cls, l))
        dir_know_ancestors(sd, p);
    else if (dir_link_unsynced(sd, p, cls, l) && dir_sync_ancestors(sd, p, detail) < 0)
        return -ERR_UNKNOWN;
    if (l->seen)
        dir_remember(sd, p, &l->st);
    return 0;
}

int dir_link_settle(struct store_dir *sd, const struct dir_path *p, enum store_class cls,
                    struct dir_link *l, struct err_detail *detail)
{
    /* Its own folder first: that is mostly the one wait, and what is above went with it. */
    bool shared = dir_link_unsynced(sd, p, cls, l) && dir_share_entries(sd, cls, l->folder);

    return dir_link_settled(sd, p, cls, l, shared, detail);
}

int dir_file_link(struct store_dir *sd, struct dir_file *f, const struct dir_path *p,
                  enum store_class cls, struct store_owed *owed, struct err_detail *detail)
{
    struct dir_link l;
    int settled, r = dir_link_make(sd, f, p, &l, detail);

    if (owed && r == 0 && f->name[0] == 0 && l.seen && dir_shares(sd)) {
        fd_closep(&l.folder);
        *owed =
            (struct store_owed){.owed = true,
                                .mark = {l.st.st_dev, l.st.st_ino, (uint64_t)l.st.st_ctim.tv_sec,
                                         (uint64_t)l.st.st_ctim.tv_nsec}};
        return 0;
    }
    settled = r == 0 || r == -ERR_EXISTS ? dir_link_settle(sd, p, cls, &l, detail) : 0;
    return settled < 0 ? settled : r;
}
