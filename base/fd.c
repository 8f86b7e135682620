/* Whole reads and writes. Owns no state. */
#include <assert.h>
#include <errno.h>
#include <limits.h>
#include <sys/types.h>

#include "base/fd.h"

static ssize_t checked(ssize_t n)
{
    return n >= 0 ? n : errno == EINTR ? 0 : err_from_errno(errno);
}

int fd_write_all(int fd, struct str bytes)
{
    while (bytes.len > 0) {
        ssize_t n = checked(write(fd, bytes.at, bytes.len));

        if (n < 0)
            return (int)n;
        bytes = str_skip(bytes, (size_t)n);
    }
    return 0;
}

int fd_pwrite_all(int fd, struct str bytes, uint64_t offset)
{
    assert(offset <= INT64_MAX - bytes.len);
    while (bytes.len > 0) {
        ssize_t n = checked(pwrite(fd, bytes.at, bytes.len, (off_t)offset));

        if (n < 0)
            return (int)n;
        bytes = str_skip(bytes, (size_t)n);
        offset += (uint64_t)n;
    }
    return 0;
}

int fd_pread_all(int fd, uint64_t offset, size_t len, struct buf *out)
{
    char *at = buf_reserve(out, len);
    size_t done = 0;

    if (!at)
        return buf_err(out);
    assert(offset <= INT64_MAX - len);
    while (done < len) {
        ssize_t n = pread(fd, at + done, len - done, (off_t)(offset + done));

        if (n == 0)
            return -ERR_CORRUPT;
        n = checked(n);
        if (n < 0)
            return (int)n;
        done += (size_t)n;
    }
    buf_added(out, len);
    return 0;
}
