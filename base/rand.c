/* Random bytes. Owns no state: every call asks the kernel, or the installed scheduler. */
#include <assert.h>
#include <errno.h>
#include <stdlib.h>
#include <sys/random.h>

#include "base/rand.h"
#include "base/thread.h"

void rand_bytes(void *out, size_t len)
{
    const struct sched_ops *s = sched_installed();
    char *at = out;

    if (s) {
        s->random(out, len);
        return;
    }
    while (len > 0) {
        ssize_t n = getrandom(at, len, 0);

        if (n < 0 && errno == EINTR)
            continue;
        if (n <= 0)
            abort();
        at += n;
        len -= (size_t)n;
    }
}

uint64_t rand_below(uint64_t n)
{
    uint64_t skip, v;

    assert(n > 0);
    skip = (UINT64_MAX - n + 1) % n; /* 2^64 mod n: that many low values would be too frequent */
    do {
        rand_bytes(&v, sizeof(v));
    } while (v < skip);
    return v % n;
}
