/* Directory backend: streams. A stream is a file in .stream/, named "<key, '/' as '!'>" or that and
 * a random suffix, because it must be found again after a restart; its holder has it by flock.
 *
 *   T1  A file that some saved state names is never written but behind that state's size. Another
 *       state may name more of the same file, so a resumed file is only taken over when it ends
 *       exactly there; else the prefix is copied (design: section 13, "two processes writing one
 *       upload file").
 *   T2  Closing cuts what was written after the last save, so that T1 finds the end it expects.
 *   T3  What is written goes to the disk as it comes: its way is begun every PACE_BYTES and synced
 *       every STORE_SYNC_BYTES; a commit has at most that much left to sync.
 *   T4  A file that has become an object (its committer died before the close, or did not learn
 *       the outcome) is not written any more.
 *   T5  After a failed write or sync the stream only fails: nothing is known about its bytes. */
#include "blobstore/store_dir_internal.h"

#include <assert.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/fs.h>
#include <sys/ioctl.h>

#include "base/json.h"

#define PACE_BYTES (4u << 20)
#define COPY_BYTES (256u << 10) /* where the kernel cannot copy */

struct dir_stream {
    struct store_stream stream;
    struct store_dir *sd;
    struct dir_file file;
    struct dir_path key;
    uint64_t size;
    uint64_t started, synced; /* bytes whose way to the disk was begun, is done */
    uint64_t saved;           /* where the last saved state ends */
    bool kept;                /* some saved state names the file */
    bool named;               /* its name is durable */
    bool linked;              /* committed */
    bool sealed;              /* T4: was linked by another */
    int broken;               /* T5: the error, else 0 */
};

static struct dir_stream *stream_of(struct store_stream *st)
{
    return (struct dir_stream *)(void *)st;
}

static void escape(struct str key, char out[DIR_NAME_MAX])
{
    assert(key.len <= STORE_STREAM_KEY_MAX);
    for (size_t i = 0; i < key.len; i++) {
        char c = key.at[i];
        out[i] = (char)(c == '/' ? '!' : c);
    }
    out[key.len] = 0;
}

/* Is it a file name of this escaped key? */
static bool name_of(const char *name, const void *escaped)
{
    struct str n = str_of(name), e = str_of(escaped);

    return str_starts(n, e) && (n.len == e.len || n.at[e.len] == '~');
}

static int broken(struct dir_stream *st, int err, const char *what, struct err_detail *detail)
{
    st->broken = err;
    return err_set(detail, err, "cannot %s the upload of %s: %s", what, st->key.at, err_text(err));
}

static struct dir_stream *stream_new(struct store_dir *sd, const struct store_ops *ops,
                                     struct str key)
{
    struct dir_stream *st = calloc(1, sizeof(*st));

    if (st == NULL)
        return NULL;
    st->stream.ops = ops;
    st->sd = sd;
    st->file = DIR_FILE_NONE;
    dir_path_init(&st->key, key);
    return st;
}

/* A file of its own, nothing in it. */
static int own_file(struct dir_stream *st, struct err_detail *detail)
{
    char name[DIR_NAME_MAX];

    escape(str_of(st->key.at), name);
    return dir_file_named(st->sd->stream, name, &st->file, detail);
}

int dir_stream_open(struct store *s, struct str key, struct store_stream **ret,
                    struct err_detail *detail)
{
    struct dir_stream *st = stream_new(dir_of(s), s->ops, key);

    if (st == NULL)
        return -ERR_NOMEM;
    int r = own_file(st, detail);
    if (r < 0) {
        free(st);
        return r;
    }
    *ret = &st->stream;
    return 0;
}

/* ---- Writing (T3). */

static int sync_all(struct dir_stream *st)
{
    if (st->synced == st->size)
        return 0;
    int r = dir_sync_bytes(st->file.fd);
    if (r == 0)
        st->started = st->synced = st->size;
    return r;
}

static int pace(struct dir_stream *st)
{
    if (st->size - st->synced >= STORE_SYNC_BYTES)
        return sync_all(st);
    if (st->size - st->started >= PACE_BYTES) {
        /* Only a hint; errors show at the sync. */
        (void)!sync_file_range(st->file.fd, (off_t)st->started, (off_t)(st->size - st->started),
                               SYNC_FILE_RANGE_WRITE);
        st->started = st->size;
    }
    return 0;
}

int dir_stream_write(struct store_stream *stream, struct str bytes, struct err_detail *detail)
{
    struct dir_stream *st = stream_of(stream);

    assert(!st->linked);
    if (st->sealed)
        return err_set(detail, -ERR_EXISTS, "the upload of %s is complete", st->key.at);
    while (bytes.len > 0 && st->broken == 0) {
        struct str piece = str_head(bytes, PACE_BYTES);
        int r = fd_pwrite_all(st->file.fd, piece, st->size);

        if (r == 0) {
            st->size += piece.len;
            r = pace(st);
        }
        if (r < 0)
            return broken(st, r, "write", detail);
        bytes = str_skip(bytes, piece.len);
    }
    return st->broken;
}

uint64_t dir_stream_size(const struct store_stream *stream)
{
    return ((const struct dir_stream *)(const void *)stream)->size;
}

int dir_stream_read(struct store_stream *stream, uint64_t offset, size_t len, struct buf *out,
                    struct err_detail *detail)
{
    struct dir_stream *st = stream_of(stream);
    uint64_t n = offset < st->size ? st->size - offset : 0;

    if (len < n)
        n = len;
    if (n > out->max - out->len)
        return -ERR_TOOBIG;
    if (n == 0)
        return 0;
    int r = fd_pread_all(st->file.fd, offset, (size_t)n, out);
    return r < 0 ? err_set(detail, r, "cannot read the upload of %s", st->key.at) : 0;
}

int dir_stream_save(struct store_stream *stream, struct buf *ret_state, struct err_detail *detail)
{
    struct dir_stream *st = stream_of(stream);
    struct jw w = JW_INIT(ret_state);
    size_t len = ret_state->len;

    if (st->broken < 0)
        return st->broken;
    int r = sync_all(st);
    if (r < 0)
        return broken(st, r, "save", detail);
    if (!st->named) {
        dir_sync_entries(st->sd->stream);
        st->named = true;
    }
    jw_begin(&w, '{');
    jw_kstr(&w, "file", str_of(st->file.name));
    jw_kint(&w, "size", (int64_t)st->size);
    jw_end(&w, '}');
    r = buf_err(ret_state);
    if (r < 0) {
        buf_truncate(ret_state, len);
        return r;
    }
    st->saved = st->size;
    st->kept = true;
    return 0;
}

/* ---- Commit and close. */

int dir_stream_commit(struct store_stream *stream, struct err_detail *detail)
{
    struct dir_stream *st = stream_of(stream);

    if (st->broken < 0)
        return st->broken;
    int r = sync_all(st);
    if (r < 0)
        return broken(st, r, "finish", detail);
    r = dir_file_link(st->sd, &st->file, &st->key, STORE_DATA, NULL, detail);
    if (r == 0)
        st->linked = true;
    return r;
}

void dir_stream_close(struct store_stream *stream)
{
    struct dir_stream *st = stream_of(stream);
    struct stat now;

    if (st->linked) {
        dir_file_unname(st->sd, &st->file, &st->key);
    } else if (st->kept) {
        /* T2, T4; failing costs a copy later. */
        if (st->size != st->saved && fstat(st->file.fd, &now) == 0 && now.st_nlink == 1)
            (void)!ftruncate(st->file.fd, (off_t)st->saved);
        st->file.name[0] = 0; /* not removed by the drop */
    }
    dir_file_drop(&st->file);
    free(st);
}

/* ---- Resuming (T1). */

/* One piece from offset on, by the kernel where it can: bytes copied, 0 at the end, or negative. */
static int64_t copy_piece(int from, int to, uint64_t offset, size_t len)
{
    off_t in = (off_t)offset, out = (off_t)offset;
    ssize_t n = copy_file_range(from, &in, to, &out, len, 0);

    if (n >= 0 || (errno != EXDEV && errno != ENOSYS && errno != EINVAL && errno != EOPNOTSUPP))
        return n < 0 ? err_from_errno(errno) : n;

    struct buf bytes auto_buf = BUF_INIT(COPY_BYTES);
    len = len < COPY_BYTES ? len : COPY_BYTES;
    int r = fd_pread_all(from, offset, len, &bytes);
    if (r == 0)
        r = fd_pwrite_all(to, buf_str(&bytes), offset);
    return r < 0 ? r : (int64_t)len;
}

static int copy_prefix(struct dir_stream *st, int from, uint64_t size)
{
    if (ioctl(st->file.fd, FICLONE, from) == 0) {
        if (ftruncate(st->file.fd, (off_t)size) < 0)
            return err_from_errno(errno);
        st->size = size;
        return 0;
    }
    while (st->size < size) {
        uint64_t left = size - st->size;
        int64_t n =
            copy_piece(from, st->file.fd, st->size, left < PACE_BYTES ? (size_t)left : PACE_BYTES);
        if (n == 0)
            return -ERR_NOTFOUND;
        if (n < 0)
            return (int)n;
        st->size += (uint64_t)n;
        int r = pace(st);
        if (r < 0)
            return r;
    }
    return 0;
}

/* Fills st from the named file: by taking it, or by a copy of its prefix. */
static int take(struct dir_stream *st, const char *name, uint64_t size, struct err_detail *detail)
{
    struct dir_file file = DIR_FILE_NONE;
    struct stat stat;
    int from auto_fd = openat(st->sd->stream, name, O_RDONLY | O_NOFOLLOW | O_NONBLOCK | O_CLOEXEC);

    if (from < 0)
        return dir_error(detail, errno, "cannot open", name);
    int r = dir_file_take(st->sd->stream, name, &file, detail);
    if (r < 0 && r != -ERR_BUSY)
        return r;
    int fd = file.fd >= 0 ? file.fd : from;
    if (fstat(fd, &stat) < 0)
        r = dir_error(detail, errno, "cannot look up", name);
    else if (!S_ISREG(stat.st_mode) || (uint64_t)stat.st_size < size)
        r = err_set(detail, -ERR_NOTFOUND, "%s holds less than what was acknowledged", name);
    else if (file.fd >= 0 && (uint64_t)stat.st_size == size) {
        st->file = file;
        st->size = st->started = st->synced = st->saved = size;
        st->kept = st->named = true;
        st->sealed = stat.st_nlink > 1;
        return 0;
    } else {
        r = own_file(st, detail);
        if (r == 0) {
            r = copy_prefix(st, fd, size);
            if (r < 0) {
                err_set(detail, r, "cannot copy %s: %s", name, err_text(r));
                dir_file_drop(&st->file);
            }
        }
    }
    file.name[0] = 0; /* it stays: another state may name it */
    dir_file_drop(&file);
    return r;
}

int dir_stream_resume(struct store *s, struct str key, struct str state, uint64_t size,
                      struct store_stream **ret, struct err_detail *detail)
{
    struct json_doc *doc auto_json = NULL;
    char escaped[DIR_NAME_MAX], name[DIR_NAME_MAX];
    struct str file;
    int r = json_parse(state, &doc, detail);

    if (r < 0)
        return r == -ERR_NOMEM ? r : -ERR_CORRUPT;
    escape(key, escaped);
    if (!json_get_str(json_root(doc), "file", &file) || file.len == 0 || file.len >= sizeof(name) ||
        str_find(file, '/') >= 0 || size > INT64_MAX)
        return err_set(detail, -ERR_CORRUPT, "the saved state of an upload names no file");
    memcpy(name, file.at, file.len);
    name[file.len] = 0;
    if (!name_of(name, escaped))
        return err_set(detail, -ERR_CORRUPT, "the saved state of an upload names another's file");
    struct dir_stream *st = stream_new(dir_of(s), s->ops, key);
    r = st == NULL ? -ERR_NOMEM : take(st, name, size, detail);
    if (r < 0) {
        free(st);
        return r;
    }
    *ret = &st->stream;
    return 0;
}

/* ---- Leftovers. */

int dir_stream_sweep(struct store *s, struct str key, struct err_detail *detail)
{
    char escaped[DIR_NAME_MAX];

    escape(key, escaped);
    return dir_file_sweep(dir_of(s)->stream, name_of, escaped, detail);
}

/* Tells one file; the key is told once for each file of it. */
static int tell(const struct store_dir *sd, const char *name, store_list_fn fn, void *arg)
{
    struct stat st;
    struct str file = str_of(name);
    ptrdiff_t suffix = str_find(file, '~');
    char key[DIR_NAME_MAX];

    if (suffix >= 0)
        file = str_head(file, (size_t)suffix);
    if (file.len == 0 || file.len > STORE_STREAM_KEY_MAX ||
        fstatat(sd->stream, name, &st, AT_SYMLINK_NOFOLLOW) < 0 || !S_ISREG(st.st_mode))
        return 0;
    for (size_t i = 0; i < file.len; i++)
        key[i] = (char)(file.at[i] == '!' ? '/' : file.at[i]);
    struct store_info info = dir_info(&st);
    return fn(str_make(key, file.len), &info, arg);
}

int dir_stream_list(struct store *s, store_list_fn fn, void *arg, struct err_detail *detail)
{
    struct store_dir *sd = dir_of(s);
    const struct dirent *e;
    DIR *d = dir_read(sd->stream);
    int r = 0;

    if (d == NULL)
        return dir_error(detail, errno, "cannot read", ".stream");
    while (r == 0 && (errno = 0, (e = readdir(d)) != NULL))
        if (e->d_name[0] != '.')
            r = tell(sd, e->d_name, fn, arg);
    if (r == 0 && errno != 0)
        r = dir_error(detail, errno, "cannot read", ".stream");
    closedir(d);
    return r;
}
