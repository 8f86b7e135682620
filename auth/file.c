#include "auth/file.h"

#include <errno.h>
#include <fcntl.h>
#include <sys/stat.h>

#include "base/fd.h"

static int64_t ns_of(struct timespec t)
{
    return (int64_t)t.tv_sec * 1000000000 + t.tv_nsec;
}

static struct file_stamp stamp_of(const struct stat *st)
{
    return (struct file_stamp){st->st_dev, st->st_ino, (uint64_t)st->st_size, ns_of(st->st_ctim),
                               ns_of(st->st_mtim)};
}

struct file_stamp file_stamp(const char *path)
{
    struct stat st;

    return stat(path, &st) == 0 ? stamp_of(&st) : (struct file_stamp){0};
}

bool file_stamp_eq(const struct file_stamp *a, const struct file_stamp *b)
{
    return a->device == b->device && a->inode == b->inode && a->size == b->size &&
           a->changed_ns == b->changed_ns && a->modified_ns == b->modified_ns;
}

int file_read(const char *path, struct buf *out, struct file_stamp *ret, struct err_detail *detail)
{
    int fd auto_fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK);
    struct stat st;
    int e;

    if (fd < 0 || fstat(fd, &st) < 0)
        return err_set(detail, err_from_errno(errno), "cannot read %s: %s", path,
                       strerrordesc_np(errno));
    if (!S_ISREG(st.st_mode))
        return err_set(detail, -ERR_INVAL, "%s is no file", path);
    if (st.st_size > FILE_BYTES_MAX)
        return err_set(detail, -ERR_TOOBIG, "%s is larger than %u bytes", path, FILE_BYTES_MAX);
    e = fd_pread_all(fd, 0, (size_t)st.st_size, out);
    if (e < 0)
        return err_set(detail, e, "cannot read %s", path);
    *ret = stamp_of(&st);
    return 0;
}

bool file_next_line(struct str *text, struct str *ret_line)
{
    ptrdiff_t end = str_find(*text, '\n');

    if (text->len == 0)
        return false;
    *ret_line = end < 0 ? *text : str_head(*text, (size_t)end);
    *text = end < 0 ? STR_NONE : str_skip(*text, (size_t)end + 1);
    if (ret_line->len && ret_line->at[ret_line->len - 1] == '\r')
        ret_line->len--;
    return true;
}

static bool blank(char c)
{
    return c == ' ' || c == '\t';
}

bool file_next_word(struct str *line, struct str *ret_word)
{
    size_t n = 0;

    while (line->len && blank(line->at[0]))
        *line = str_skip(*line, 1);
    while (n < line->len && !blank(line->at[n]))
        n++;
    *ret_word = str_head(*line, n);
    *line = str_skip(*line, n);
    return n > 0;
}
