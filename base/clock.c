/* Clocks and sleep over the kernel or the installed scheduler. Owns no state. */
#include <assert.h>
#include <errno.h>
#include <time.h>

#include "base/clock.h"
#include "base/thread.h"

static int64_t read_ns(clockid_t id)
{
    struct timespec t;
    int r = clock_gettime(id, &t);

    assert(r == 0);
    (void)r;
    return (int64_t)t.tv_sec * 1000000000 + t.tv_nsec;
}

int64_t clock_boot_ns(void)
{
    const struct sched_ops *s = sched_installed();

    return s ? s->boot_ns() : read_ns(CLOCK_BOOTTIME);
}

int64_t clock_boot_ms(void)
{
    return clock_boot_ns() / 1000000;
}

int64_t clock_wall_ms(void)
{
    const struct sched_ops *s = sched_installed();

    return s ? s->wall_ms() : read_ns(CLOCK_REALTIME) / 1000000;
}

void clock_sleep_ms(int64_t ms)
{
    const struct sched_ops *s = sched_installed();
    struct timespec left;

    if (s) {
        s->sleep_ms(ms);
        return;
    }
    if (ms <= 0)
        return;
    left = (struct timespec){.tv_sec = ms / 1000, .tv_nsec = ms % 1000 * 1000000};
    while (clock_nanosleep(CLOCK_MONOTONIC, 0, &left, &left) == EINTR)
        continue;
}
