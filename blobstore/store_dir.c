/* Directory backend: objects. Rules D1..D5 and the state are in store_dir_internal.h; folders and
 * syncs in store_dir_path.c, temporary files and the link in store_dir_file.c, listing in
 * store_dir_list.c, streams in store_dir_stream.c. Beside the objects lie .tmp/ (files being
 * written) and .stream/ (unfinished streams). */
#include "blobstore/store_dir_internal.h"

#include <assert.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>

#include "base/clock.h"
#include "base/rand.h"
#include "blobstore/keys.h"

static void dir_free(struct store *s)
{
    struct store_dir *sd = dir_of(s);

    fd_closep(&sd->root);
    fd_closep(&sd->tmp);
    fd_closep(&sd->stream);
    fd_closep(&sd->now_fd);
    dir_syncs_done(&sd->syncs);
    mutex_done(&sd->now_mu);
    free(sd);
}

/* ---- Existence. */

/* A folder is only where longer keys lie. */
static int not_a_file(const struct dir_path *p, const struct stat *st, struct err_detail *detail)
{
    if (S_ISDIR(st->st_mode))
        return -ERR_NOTFOUND;
    return err_set(detail, -ERR_CORRUPT, "%s is not a file", p->at);
}

/* A single bare stat (D1): 0 with st, -ERR_NOTFOUND, other. */
static int look(const struct store_dir *sd, const struct dir_path *p, struct stat *st,
                struct err_detail *detail)
{
    if (fstatat(sd->root, p->at, st, AT_SYMLINK_NOFOLLOW) == 0)
        return S_ISDIR(st->st_mode) ? -ERR_NOTFOUND : 0;
    if (errno == ENOENT || errno == ENOTDIR)
        return -ERR_NOTFOUND;
    return dir_error(detail, errno, "cannot look up", p->at);
}

/* Makes sure that the object which is there is durable (D5). */
static int confirm(struct store_dir *sd, const struct dir_path *p, struct stat *st,
                   struct err_detail *detail)
{
    int folder auto_fd = -1;
    int r = dir_enter(sd, p, false, !sd->read_only, &folder, detail);

    if (r < 0)
        return r;
    if (fstatat(folder, p->at + p->leaf, st, AT_SYMLINK_NOFOLLOW) < 0)
        return errno == ENOENT ? -ERR_NOTFOUND : dir_error(detail, errno, "cannot look up", p->at);
    if (!S_ISREG(st->st_mode))
        return not_a_file(p, st, detail);
    if (sd->read_only)
        return 0;
    dir_sync_entries(folder);
    dir_remember(sd, p, st);
    return 0;
}

static int head_path(struct store_dir *sd, const struct dir_path *p, struct stat *st,
                     struct err_detail *detail)
{
    int r = look(sd, p, st, detail);

    if (r < 0 || (!sd->read_only && dir_known(sd, p, st)))
        return r;
    return confirm(sd, p, st, detail);
}

static int dir_head(struct store *s, struct str key, struct store_info *ret,
                    struct err_detail *detail)
{
    struct dir_path p;
    struct stat st;

    dir_path_init(&p, key);
    int r = head_path(dir_of(s), &p, &st, detail);
    if (r == 0)
        *ret = dir_info(&st);
    return r;
}

static int dir_probe(struct store *s, struct str key, struct store_info *ret)
{
    struct dir_path p;
    struct stat st;

    dir_path_init(&p, key);
    int r = look(dir_of(s), &p, &st, NULL);
    if (r < 0)
        return r;
    if (!dir_known(dir_of(s), &p, &st) || dir_of(s)->read_only)
        return -ERR_AGAIN;
    *ret = dir_info(&st);
    return 0;
}

/* ---- Reading. */

static int open_object(const struct store_dir *sd, const struct dir_path *p, int *ret_fd,
                       struct stat *st, struct err_detail *detail)
{
    int fd auto_fd = dir_openat(sd, p->at, O_RDONLY | O_NONBLOCK);

    if (fd < 0)
        return errno == ENOENT ? -ERR_NOTFOUND : dir_error(detail, errno, "cannot open", p->at);
    if (fstat(fd, st) < 0)
        return dir_error(detail, errno, "cannot look up", p->at);
    if (!S_ISREG(st->st_mode))
        return not_a_file(p, st, detail);
    *ret_fd = fd_steal(&fd);
    return 0;
}

static int dir_get(struct store *s, struct str key, uint64_t offset, uint64_t len, struct buf *out,
                   struct err_detail *detail)
{
    struct store_dir *sd = dir_of(s);
    struct dir_path p;
    struct stat st, now;
    int fd auto_fd = -1;

    dir_path_init(&p, key);
    int r = open_object(sd, &p, &fd, &st, detail);
    if (r < 0)
        return r;
    if (!sd->read_only && !dir_known(sd, &p, &st)) {
        r = confirm(sd, &p, &now, detail);
        if (r < 0)
            return r;
    }
    uint64_t size = (uint64_t)st.st_size;
    uint64_t n = offset < size ? size - offset : 0;
    if (len < n)
        n = len;
    if (n > out->max - out->len)
        return err_set(detail, -ERR_TOOBIG, "%s is larger than %zu bytes", p.at,
                       out->max - out->len);
    if (n == 0)
        return 0;
    r = fd_pread_all(fd, offset, (size_t)n, out);
    return r < 0 ? err_set(detail, r, "cannot read %s: %s", p.at, err_text(r)) : 0;
}

/* Reads data that a durable record names, so durability is not asked about: one wait at most. */
static int dir_open(struct store *s, struct str key, struct store_object *ret,
                    struct err_detail *detail)
{
    struct dir_path p;
    struct stat st;
    int fd auto_fd = -1;

    dir_path_init(&p, key);
    int r = open_object(dir_of(s), &p, &fd, &st, detail);
    if (r == 0)
        *ret = (struct store_object){fd_steal(&fd), dir_info(&st)};
    return r;
}

/* ---- Writing. */

/* settles: with the bytes, everything that was owed before. */
static int fill(struct store_dir *sd, const struct dir_file *f, enum store_class cls,
                struct str bytes, bool settles, const struct dir_path *p, struct err_detail *detail)
{
    int r = fd_write_all(f->fd, bytes);

    if (r == 0 && settles)
        return dir_share_now(sd) ? 0 : -ERR_AGAIN;
    if (r == 0 && cls != STORE_HINT)
        r = dir_share_bytes(sd, cls, f->fd);
    return r < 0 ? err_set(detail, r, "cannot write %s: %s", p->at, err_text(r)) : 0;
}

/* owed: the name may be left to a later create; settles: what others left is this one's. */
static int create(struct store_dir *sd, struct str key, enum store_class cls, struct str bytes,
                  struct store_owed *owed, bool settles, struct err_detail *detail)
{
    struct dir_file f auto_dir_file = DIR_FILE_NONE;
    struct dir_path p;
    struct stat st;

    dir_path_init(&p, key);
    /* What is there already needs no file and mostly no sync. */
    int r = look(sd, &p, &st, detail);
    if (r == 0 && dir_class_durable(cls) && !dir_known(sd, &p, &st))
        r = confirm(sd, &p, &st, detail);
    if (r != -ERR_NOTFOUND)
        return r == 0 ? -ERR_EXISTS : r;
    r = dir_file_temporary(sd, &f, detail);
    if (r < 0)
        return r;
    r = fill(sd, &f, cls, bytes, settles, &p, detail);
    if (r == 0)
        r = dir_file_link(sd, &f, &p, cls, owed, detail);
    if (r == 0)
        dir_file_unname(sd, &f, &p);
    return r;
}

static int dir_create(struct store *s, struct str key, enum store_class cls, struct str bytes,
                      struct err_detail *detail)
{
    return create(dir_of(s), key, cls, bytes, NULL, false, detail);
}

static int dir_create_owing(struct store *s, struct str key, enum store_class cls, struct str bytes,
                            struct store_owed *ret, struct err_detail *detail)
{
    return create(dir_of(s), key, cls, bytes, ret, false, detail);
}

static int dir_create_settling(struct store *s, struct str key, enum store_class cls,
                               struct str bytes, struct err_detail *detail)
{
    return create(dir_of(s), key, cls, bytes, NULL, true, detail);
}

static void dir_settled(struct store *s, struct str key, const struct store_owed *owed)
{
    struct stat st = {.st_dev = owed->mark[0],
                      .st_ino = owed->mark[1],
                      .st_ctim = {(time_t)owed->mark[2], (long)owed->mark[3]}};
    struct dir_path p;

    dir_path_init(&p, key);
    dir_know_ancestors(dir_of(s), &p);
    dir_remember(dir_of(s), &p, &st);
}

static int put_file(struct store_dir *sd, struct dir_file *f, const struct dir_path *p,
                    enum store_class cls, struct err_detail *detail)
{
    for (unsigned i = 0; i < DIR_TRIES; i++) {
        int folder auto_fd = -1;
        struct stat st;
        int r = dir_enter(sd, p, true, dir_class_durable(cls), &folder, detail);

        if (r < 0)
            return r;
        if (renameat(f->folder, f->name, folder, p->at + p->leaf) == 0) {
            f->name[0] = 0;
            if (dir_class_durable(cls))
                dir_sync_entries(folder);
            if (fstat(f->fd, &st) == 0)
                dir_remember(sd, p, &st);
            return 0;
        }
        if (errno != ENOENT)
            return dir_error(detail, errno, "cannot replace", p->at);
    }
    return err_set(detail, -ERR_IO, "cannot replace %s: its folder keeps vanishing", p->at);
}

static int dir_put(struct store *s, struct str key, enum store_class cls, struct str bytes,
                   struct err_detail *detail)
{
    struct store_dir *sd = dir_of(s);
    struct dir_file f auto_dir_file = DIR_FILE_NONE;
    struct dir_path p;

    dir_path_init(&p, key);
    int r = dir_file_named(sd->tmp, NULL, &f, detail);
    if (r == 0)
        r = fill(sd, &f, cls, bytes, false, &p, detail);
    return r < 0 ? r : put_file(sd, &f, &p, cls, detail);
}

/* The folder of a removed upload record goes when it is empty; no other folder ever does. */
static void remove_folder(struct store_dir *sd, const struct dir_path *p)
{
    struct dir_path folder;
    int above auto_fd = -1;

    if (p->folder[0] == 0)
        return;
    dir_path_init(&folder, str_of(p->folder));
    if (dir_enter(sd, &folder, false, false, &above, NULL) < 0)
        return;
    if (unlinkat(above, folder.at + folder.leaf, AT_REMOVEDIR) == 0)
        dir_forget_folder(sd, p->folder);
}

static int dir_remove(struct store *s, struct str key, enum store_class cls,
                      struct err_detail *detail)
{
    struct store_dir *sd = dir_of(s);
    struct dir_path p;
    int folder auto_fd = -1;

    dir_path_init(&p, key);
    int r = dir_enter(sd, &p, false, false, &folder, detail);
    if (r < 0)
        return r == -ERR_NOTFOUND ? 0 : r;
    if (unlinkat(folder, p.at + p.leaf, 0) < 0 && errno != ENOENT)
        return dir_error(detail, errno, "cannot remove", p.at);
    dir_forget(sd, &p);
    /* Also when it was gone: "gone" is answered only when that is durable. */
    if (dir_class_durable(cls))
        dir_sync_entries(folder);
    if (cls == STORE_UPLOAD)
        remove_folder(sd, &p);
    return 0;
}

/* ---- The clock: touches a file and reads its time, at most every STORE_NOW_AGE_MS. */

static int dir_now(struct store *s, int64_t *ret_ms, struct err_detail *detail)
{
    struct store_dir *sd = dir_of(s);
    int64_t boot_ms = clock_boot_ms();
    struct stat st;

    mutex_lock(&sd->now_mu);
    int64_t store_ms = sd->now_store_ms, age_ms = boot_ms - sd->now_boot_ms;
    mutex_unlock(&sd->now_mu);
    if (store_ms != 0 && age_ms < STORE_NOW_AGE_MS) {
        *ret_ms = store_ms + (age_ms > 0 ? age_ms : 0);
        return 0;
    }
    const struct timespec times[2] = {{0, UTIME_OMIT}, {0, UTIME_NOW}};
    if (futimens(sd->now_fd, times) < 0 || fstat(sd->now_fd, &st) < 0)
        return dir_error(detail, errno, "cannot read the time of", "the store");
    store_ms = dir_info(&st).modified_ms;
    mutex_lock(&sd->now_mu);
    if (sd->now_store_ms == 0 || boot_ms > sd->now_boot_ms) {
        sd->now_store_ms = store_ms;
        sd->now_boot_ms = boot_ms;
    }
    mutex_unlock(&sd->now_mu);
    *ret_ms = store_ms;
    return 0;
}

static int dir_sweep_temporary(struct store *s, struct err_detail *detail)
{
    return dir_file_sweep(dir_of(s)->tmp, NULL, NULL, detail);
}

/* ---- Opening the store. */

static const struct store_ops dir_ops = {
    .free = dir_free,
    .get = dir_get,
    .head = dir_head,
    .probe = dir_probe,
    .create = dir_create,
    .create_owing = dir_create_owing,
    .create_settling = dir_create_settling,
    .settled = dir_settled,
    .put = dir_put,
    .remove = dir_remove,
    .list = dir_list,
    .now = dir_now,
    .run = dir_run,
    .open = dir_open,
    .has_files = true,
    .stream_open = dir_stream_open,
    .stream_write = dir_stream_write,
    .stream_size = dir_stream_size,
    .stream_save = dir_stream_save,
    .stream_resume = dir_stream_resume,
    .stream_read = dir_stream_read,
    .stream_commit = dir_stream_commit,
    .stream_close = dir_stream_close,
    .stream_sweep = dir_stream_sweep,
    .stream_list = dir_stream_list,
    .sweep_temporary = dir_sweep_temporary,
};

/* True when the folder is new, empty, or a store of ours: then its mode is ours to set, too. */
static bool root_is_ours(int root)
{
    const struct dirent *e;
    DIR *d = dir_read(root);
    bool ours = true;

    if (d == NULL)
        return false;
    while ((e = readdir(d)) != NULL) {
        if (strcmp(e->d_name, ".tmp") == 0 || strcmp(e->d_name, "format") == 0) {
            ours = true;
            break;
        }
        if (strcmp(e->d_name, ".") != 0 && strcmp(e->d_name, "..") != 0 &&
            strcmp(e->d_name, "lost+found") != 0)
            ours = false;
    }
    closedir(d);
    return ours;
}

static int open_root(struct store_dir *sd, const char *root, struct err_detail *detail)
{
    struct stat st;

    if (mkdir(root, 0700) < 0 && errno != EEXIST)
        return dir_error(detail, errno, "cannot create the folder", root);
    sd->root = open(root, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (sd->root < 0 || fstat(sd->root, &st) < 0)
        return dir_error(detail, errno, "cannot open the folder", root);
    if ((st.st_mode & 07777) != 0700 && root_is_ours(sd->root) && fchmod(sd->root, 0700) < 0 &&
        errno != EPERM)
        return dir_error(detail, errno, "cannot set the mode of the folder", root);
    /* The root's own entry, where the folder above may be read. It was made durable before `format`
     * came to be. */
    if (faccessat(sd->root, "format", F_OK, AT_SYMLINK_NOFOLLOW) == 0)
        return 0;
    int above auto_fd = openat(sd->root, "..", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (above >= 0)
        (void)!fsync(above);
    return 0;
}

static int open_own(struct store_dir *sd, const char *name, int *ret_fd, struct err_detail *detail)
{
    if ((mkdirat(sd->root, name, 0700) < 0 && errno != EEXIST) ||
        fchmodat(sd->root, name, 0700, AT_SYMLINK_NOFOLLOW) < 0)
        return dir_error(detail, errno, "cannot create the folder", name);
    *ret_fd = openat(sd->root, name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
    if (*ret_fd < 0)
        return dir_error(detail, errno, "cannot open the folder", name);
    return 0;
}

/* Decides whether a nameless file can be linked here, and how: by its descriptor since Linux 6.10,
 * or with a capability. */
static bool try_tmpfile(struct store_dir *sd)
{
    struct dir_file scratch auto_dir_file = DIR_FILE_NONE;
    struct stat st;
    char path[64];
    int fd auto_fd = openat(sd->tmp, ".", O_TMPFILE | O_RDWR | O_CLOEXEC, 0600);

    /* A held name of our own, freed again, is a name that nobody else uses. */
    if (fd < 0 || dir_file_named(sd->tmp, NULL, &scratch, NULL) < 0 ||
        unlinkat(sd->tmp, scratch.name, 0) < 0)
        return false;
    sd->mode_kept = fstat(fd, &st) == 0 && (st.st_mode & 07777) == 0600;
    sd->link_fd = linkat(fd, "", sd->tmp, scratch.name, AT_EMPTY_PATH) == 0;
    snprintf(path, sizeof(path), "/proc/self/fd/%d", fd);
    return sd->link_fd || linkat(AT_FDCWD, path, sd->tmp, scratch.name, AT_SYMLINK_FOLLOW) == 0;
}

/* What everything rests on: a second link is refused. That files and folders can be synced shows at
 * the first object, `format`. */
static int check_store(const struct store_dir *sd, const char *root, struct err_detail *detail)
{
    struct dir_file a auto_dir_file = DIR_FILE_NONE, b auto_dir_file = DIR_FILE_NONE;
    int r = dir_file_named(sd->tmp, NULL, &a, detail);

    if (r == 0)
        r = dir_file_named(sd->tmp, NULL, &b, detail);
    if (r < 0)
        return r;
    r = fd_write_all(a.fd, STR("stowage"));
    if (r < 0 && r != -ERR_NOSPACE) /* from a full disk one can still read */
        return err_set(detail, r, "cannot write below %s: %s", root, err_text(r));
    if (linkat(a.folder, a.name, b.folder, b.name, 0) == 0 || errno != EEXIST)
        return err_set(detail, -ERR_UNSUPPORTED,
                       "the file system of %s does not refuse a second link to a name", root);
    if (unlinkat(b.folder, b.name, 0) < 0 || linkat(a.folder, a.name, b.folder, b.name, 0) < 0)
        return dir_error(detail, errno, "cannot make hard links below", root);
    return 0;
}

/* One sync of the root for what every start reads: `format`, and the way to the secrets. What is
 * noted was there before the sync. */
static void settle_root(struct store_dir *sd)
{
    struct dir_path format, secret;
    struct stat st, folder;
    bool has_format, has_secret;

    dir_path_init(&format, STR("format"));
    dir_path_init(&secret, STR(KEYS_SECRET));
    has_format = fstatat(sd->root, format.at, &st, AT_SYMLINK_NOFOLLOW) == 0 && S_ISREG(st.st_mode);
    has_secret =
        fstatat(sd->root, secret.at, &folder, AT_SYMLINK_NOFOLLOW) == 0 && S_ISDIR(folder.st_mode);
    if (!has_format)
        return; /* creating it syncs the root */
    dir_sync_entries(sd->root);
    dir_remember(sd, &format, &st);
    if (has_secret)
        dir_remember_folder(sd, secret.at);
}

static int open_all(struct store_dir *sd, const char *root, const struct dir_options *options,
                    struct err_detail *detail)
{
    int r = open_root(sd, root, detail);

    if (r == 0)
        r = open_own(sd, ".tmp", &sd->tmp, detail);
    if (r == 0)
        r = open_own(sd, ".stream", &sd->stream, detail);
    if (r == 0)
        r = check_store(sd, root, detail);
    if (r < 0)
        return r;

    if (!options->no_syncfs)
        dir_syncs_open(&sd->syncs, sd->root);
    sd->openat2 = true;
    int fd auto_fd = dir_openat(sd, "", O_RDONLY | O_DIRECTORY);
    sd->openat2 = fd >= 0 && !options->no_openat2;
    sd->tmpfile = !options->no_tmpfile && try_tmpfile(sd);
    settle_root(sd);

    struct dir_file clock auto_dir_file = DIR_FILE_NONE;
    r = dir_file_temporary(sd, &clock, detail);
    if (r < 0)
        return r;
    sd->now_fd = fcntl(clock.fd, F_DUPFD_CLOEXEC, 0);
    if (sd->now_fd < 0)
        return dir_error(detail, errno, "cannot open a file below", root);
    return dir_file_sweep(sd->tmp, NULL, NULL, detail);
}

/* ---- For looking only. */

static int refuse(struct err_detail *detail)
{
    return err_set(detail, -ERR_READONLY, "the store was opened for looking only");
}

static int refuse_create(struct store *s, struct str key, enum store_class cls, struct str bytes,
                         struct err_detail *detail)
{
    (void)s, (void)key, (void)cls, (void)bytes;
    return refuse(detail);
}

static int refuse_remove(struct store *s, struct str key, enum store_class cls,
                         struct err_detail *detail)
{
    (void)s, (void)key, (void)cls;
    return refuse(detail);
}

static int refuse_stream(struct store *s, struct str key, struct store_stream **ret,
                         struct err_detail *detail)
{
    (void)s, (void)key, (void)ret;
    return refuse(detail);
}

static int refuse_resume(struct store *s, struct str key, struct str state, uint64_t size,
                         struct store_stream **ret, struct err_detail *detail)
{
    (void)s, (void)key, (void)state, (void)size, (void)ret;
    return refuse(detail);
}

static int refuse_sweep(struct store *s, struct str key, struct err_detail *detail)
{
    (void)s, (void)key;
    return refuse(detail);
}

static int refuse_stream_list(struct store *s, store_list_fn fn, void *arg,
                              struct err_detail *detail)
{
    (void)s, (void)fn, (void)arg;
    return refuse(detail);
}

static int wall_now(struct store *s, int64_t *ret_ms, struct err_detail *detail)
{
    (void)s, (void)detail;
    *ret_ms = clock_wall_ms();
    return 0;
}

/* There are no streams, so their other functions are never called. */
static const struct store_ops readonly_ops = {
    .free = dir_free,
    .get = dir_get,
    .head = dir_head,
    .probe = dir_probe,
    .create = refuse_create,
    .put = refuse_create,
    .remove = refuse_remove,
    .list = dir_list,
    .now = wall_now,
    .open = dir_open,
    .has_files = true,
    .stream_open = refuse_stream,
    .stream_resume = refuse_resume,
    .stream_sweep = refuse_sweep,
    .stream_list = refuse_stream_list,
};

static int open_looking(struct store_dir *sd, const char *root, struct err_detail *detail)
{
    sd->store.ops = &readonly_ops;
    sd->read_only = true;
    sd->root = open(root, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (sd->root < 0)
        return dir_error(detail, errno, "cannot open the folder", root);
    sd->openat2 = true;
    int fd auto_fd = dir_openat(sd, "", O_RDONLY | O_DIRECTORY);
    sd->openat2 = fd >= 0;
    return 0;
}

int store_dir_new_with(const char *root, const struct dir_options *options, struct store **ret,
                       struct err_detail *detail)
{
    struct store_dir *sd = calloc(1, sizeof(*sd));

    assert(root != NULL && options != NULL && ret != NULL);
    if (sd == NULL)
        return -ERR_NOMEM;
    sd->store.ops = &dir_ops;
    sd->root = sd->tmp = sd->stream = sd->now_fd = -1;
    mutex_init(&sd->now_mu);
    dir_syncs_init(&sd->syncs);
    rand_bytes(sd->seed, sizeof(sd->seed));
    int r =
        options->read_only ? open_looking(sd, root, detail) : open_all(sd, root, options, detail);
    if (r < 0) {
        dir_free(&sd->store);
        return r;
    }
    *ret = &sd->store;
    return 0;
}

int store_dir_new(const char *root, struct store **ret, struct err_detail *detail)
{
    return store_dir_new_with(root, &(struct dir_options){.read_only = false}, ret, detail);
}

int store_dir_open_readonly(const char *root, struct store **ret, struct err_detail *detail)
{
    return store_dir_new_with(root, &(struct dir_options){.read_only = true}, ret, detail);
}
