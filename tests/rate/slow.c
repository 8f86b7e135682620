/* Preloaded into a server: each create in the store takes RATE_SLOW_MS longer, as on a disk or a
 * network that answers late. A create is one link. */
#include <dlfcn.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

typedef int (*linkat_fn)(int from, const char *old, int to, const char *new, int flags);

int linkat(int from, const char *old, int to, const char *new, int flags)
{
    static linkat_fn next;
    const char *ms = getenv("RATE_SLOW_MS");
    long slow = ms != NULL ? strtol(ms, NULL, 10) : 0;
    struct timespec left = {slow / 1000, slow % 1000 * 1000000};

    if (next == NULL) {
        void *found = dlsym(RTLD_NEXT, "linkat");

        if (found == NULL)
            abort();
        memcpy(&next, &found, sizeof(next));
    }
    while (nanosleep(&left, &left) < 0)
        ;
    return next(from, old, to, new, flags);
}
