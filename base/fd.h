/* File descriptor ownership and whole reads and writes. Any thread. */
#ifndef STOWAGE_BASE_FD_H
#define STOWAGE_BASE_FD_H

#include <unistd.h>

#include "base/buf.h"

static inline void fd_closep(int *fd)
{
    if (*fd >= 0)
        close(*fd);
    *fd = -1;
}
#define auto_fd auto_of(fd_closep)

static inline int fd_steal(int *fd)
{
    int taken = *fd;
    *fd = -1;
    return taken;
}

/* All bytes or an error (EINTR and short counts handled). */
int fd_write_all(int fd, struct str bytes) must_check;
int fd_pwrite_all(int fd, struct str bytes, uint64_t offset) must_check;
/* Appends exactly len bytes from offset; -ERR_CORRUPT when the file is shorter. */
int fd_pread_all(int fd, uint64_t offset, size_t len, struct buf *out) must_check;

#endif
