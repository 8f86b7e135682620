/* Preloaded into a process under test: its wall clock is off by STOWAGE_CLOCK_OFF_MS milliseconds,
 * and nothing else is. */
#include <dlfcn.h>
#include <stdint.h>
#include <stdlib.h>
#include <time.h>

int clock_gettime(clockid_t id, struct timespec *t)
{
    static int (*real)(clockid_t, struct timespec *);
    const char *text = getenv("STOWAGE_CLOCK_OFF_MS");
    int64_t ns;
    int r;

    if (!real)
        *(void **)&real = dlsym(RTLD_NEXT, "clock_gettime");
    r = real(id, t);
    if (r == 0 && id == CLOCK_REALTIME && text) {
        ns = (int64_t)t->tv_nsec + strtoll(text, NULL, 10) % 1000 * 1000000;
        t->tv_sec += strtoll(text, NULL, 10) / 1000 + ns / 1000000000;
        t->tv_nsec = ns % 1000000000;
        if (t->tv_nsec < 0) {
            t->tv_nsec += 1000000000;
            t->tv_sec--;
        }
    }
    return r;
}
