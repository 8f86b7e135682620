/* Threads, mutexes, conditions; and the hook by which a deterministic scheduler takes over all of
 * them together with clocks, sleep and random numbers (design: simulation). In production the hook
 * is NULL and each call is a thin cover over pthreads. No lock is held over I/O anywhere. */
#ifndef STOWAGE_BASE_THREAD_H
#define STOWAGE_BASE_THREAD_H

#include <pthread.h>
#include <stdbool.h>
#include <stdint.h>

#include "base/attr.h"

struct mutex {
    pthread_mutex_t os;
    void *sched; /* of the installed scheduler */
};
struct cond {
    pthread_cond_t os;
    void *sched;
};
struct thread {
    pthread_t os;
    void *sched;
};

void mutex_init(struct mutex *m);
void mutex_done(struct mutex *m);
void mutex_lock(struct mutex *m);
void mutex_unlock(struct mutex *m);

void cond_init(struct cond *c);
void cond_done(struct cond *c);
void cond_wait(struct cond *c, struct mutex *m);
/* false when deadline (clock_boot_ms) passed without a signal. May wake early: loop on the
 * condition. */
bool cond_wait_until(struct cond *c, struct mutex *m, int64_t deadline_ms);
void cond_signal(struct cond *c);
void cond_broadcast(struct cond *c);

/* name: at most 15 characters, shown by the system. 0 or -ERR_NOMEM. All signals but faults are
 * blocked in it. */
int thread_start(struct thread *t, const char *name, void (*fn)(void *arg), void *arg) must_check;
void thread_join(struct thread *t);
/* The calling thread's work is done when others leave a core to it (nice 15). */
void thread_lower_priority(void);

/* Scheduler hook. All members set. Installed before the first thread, mutex or clock use of a test;
 * never in production. */
struct sched_ops {
    void (*lock)(struct mutex *m);
    void (*unlock)(struct mutex *m);
    void (*wait)(struct cond *c, struct mutex *m);
    bool (*wait_until)(struct cond *c, struct mutex *m, int64_t deadline_ms);
    void (*wake)(struct cond *c, bool all);
    int (*start)(struct thread *t, const char *name, void (*fn)(void *), void *arg);
    void (*join)(struct thread *t);
    int64_t (*boot_ns)(void);
    int64_t (*wall_ms)(void);
    void (*sleep_ms)(int64_t ms);
    void (*random)(void *out, size_t len);
};
void sched_install(const struct sched_ops *ops);
const struct sched_ops *sched_installed(void); /* NULL in production */

#endif
