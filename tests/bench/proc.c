/*
 * The server process as the kernel accounts it. CPU time is the process CPU clock: the same sum
 * as utime + stime of /proc/PID/stat over all threads, in nanoseconds instead of ticks; where
 * that clock is refused, /proc/PID/stat is read.
 */
#include "load.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#define PROC_TEXT_MAX    8192
#define LISTENERS_MAX    64
#define TCP_LISTEN_STATE 0x0A

uint64_t clock_ns(void)
{
    struct timespec t;

    clock_gettime(CLOCK_MONOTONIC, &t);
    return (uint64_t)t.tv_sec * 1000000000U + (uint64_t)t.tv_nsec;
}

static int read_file(pid_t pid, const char *name, char *ret, size_t max)
{
    char path[64];

    snprintf(path, sizeof(path), "/proc/%d/%s", (int)pid, name);
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    if (fd < 0)
        return -errno;
    ssize_t n = read(fd, ret, max - 1);
    int err = errno;
    close(fd);
    if (n < 0)
        return -err;
    ret[n] = '\0';
    return 0;
}

static int cpu_from_stat(pid_t pid, uint64_t *ret_ns)
{
    char text[PROC_TEXT_MAX];
    int r = read_file(pid, "stat", text, sizeof(text));
    if (r < 0)
        return r;
    /* The name, in parentheses, may hold blanks; utime and stime are fields 14 and 15. */
    char *at = strrchr(text, ')');
    for (int field = 2; at && field < 14; field++)
        at = strchr(at + 1, ' ');
    if (!at)
        return -EPROTO;
    char *end = NULL;
    uint64_t utime = strtoull(at, &end, 10);
    uint64_t stime = strtoull(end, NULL, 10);
    long hz = sysconf(_SC_CLK_TCK);
    *ret_ns = (utime + stime) * (1000000000U / (uint64_t)(hz > 0 ? hz : 100));
    return 0;
}

int proc_cpu_ns(pid_t pid, uint64_t *ret_ns)
{
    clockid_t id;
    struct timespec t;

    if (clock_getcpuclockid(pid, &id) == 0 && clock_gettime(id, &t) == 0) {
        *ret_ns = (uint64_t)t.tv_sec * 1000000000U + (uint64_t)t.tv_nsec;
        return 0;
    }
    return cpu_from_stat(pid, ret_ns);
}

static long status_field(const char *text, const char *name)
{
    const char *at = strstr(text, name);

    return at ? strtol(at + strlen(name), NULL, 10) : 0;
}

int proc_memory(pid_t pid, struct proc_memory *ret)
{
    char text[PROC_TEXT_MAX];
    int r = read_file(pid, "status", text, sizeof(text));
    if (r < 0)
        return r;
    ret->rss_kib = status_field(text, "\nVmRSS:");
    ret->anon_kib = status_field(text, "\nRssAnon:");
    ret->peak_kib = status_field(text, "\nVmHWM:");
    return 0;
}

bool proc_reset_peak(pid_t pid)
{
    char path[64];

    snprintf(path, sizeof(path), "/proc/%d/clear_refs", (int)pid);
    int fd = open(path, O_WRONLY | O_CLOEXEC);
    if (fd < 0)
        return false;
    ssize_t n = write(fd, "5", 1);
    close(fd);
    return n == 1;
}

/* Inodes of the sockets that listen on the port, from a table of /proc/net. */
static unsigned add_listeners(const char *table, unsigned port, unsigned long *inodes,
                              unsigned count)
{
    char line[512];
    FILE *f = fopen(table, "re");

    while (f && count < LISTENERS_MAX && fgets(line, sizeof(line), f)) {
        unsigned local_port = 0;
        unsigned state = 0;
        unsigned long inode = 0;
        int n = sscanf(line,
                       " %*[0-9]: %*[0-9A-F]:%x %*[0-9A-F]:%*x %x %*x:%*x %*x:%*x %*x %*u %*u %lu",
                       &local_port, &state, &inode);
        if (n == 3 && local_port == port && state == TCP_LISTEN_STATE)
            inodes[count++] = inode;
    }
    if (f)
        fclose(f);
    return count;
}

bool proc_listens(pid_t pid, unsigned port)
{
    unsigned long inodes[LISTENERS_MAX];
    char path[64];
    bool found = false;
    unsigned count = add_listeners("/proc/net/tcp", port, inodes, 0);

    count = add_listeners("/proc/net/tcp6", port, inodes, count);
    snprintf(path, sizeof(path), "/proc/%d/fd", (int)pid);
    DIR *dir = opendir(path);
    for (struct dirent *d; dir && !found && (d = readdir(dir));) {
        char link[64];
        unsigned long inode = 0;
        ssize_t n = readlinkat(dirfd(dir), d->d_name, link, sizeof(link) - 1);
        link[n > 0 ? n : 0] = '\0';
        if (sscanf(link, "socket:[%lu]", &inode) != 1)
            continue;
        for (unsigned i = 0; i < count; i++)
            found = found || inodes[i] == inode;
    }
    if (dir)
        closedir(dir);
    return found;
}
