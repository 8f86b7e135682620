/* Baselines: the least a server with these libraries can do. Shared by the two modes. */
#ifndef BENCH_BARE_H
#define BENCH_BARE_H

#include <stdatomic.h>
#include <stdint.h>

struct bare_counters {
    atomic_ullong requests;
    atomic_ullong bytes; /* of bodies received */
};

extern struct bare_counters bare_counters;

/* Blocks until SIGTERM or SIGINT, which the caller has blocked in all threads. */
void bare_wait(void);

/* Receive loop on a loopback port of the kernel's choice; returns an exit status. */
int bare_receive(const char *dir);

#endif
