/* A deterministic scheduler in virtual time (design section 12). Threads are coroutines of one
 * kernel thread: exactly one runs at a time, and at every scheduling point (lock, unlock, wait,
 * wake, sleep, start, join, and wherever sched_point is called) a seeded generator picks the next.
 * Time stands still while anyone can run, then jumps to the next deadline. It is installed under
 * base/thread.h, so the code under test knows nothing of it.
 *
 * A process is what a node runs in: it can be paused, has clocks of its own, and may be marked
 * dead. The threads of a dead one run on (their owner lets all their store calls fail and discards
 * what they do) until they end by themselves.
 *
 * Same seed and same program: same schedule (another compiler may draw numbers in another order).
 * One simulation at a time; nothing here is thread-safe. */
#ifndef STOWAGE_TESTS_SIM_TASKS_H
#define STOWAGE_TESTS_SIM_TASKS_H

#include "base/buf.h"

#define SCHED_TASKS_MAX 512
#define SCHED_NAME_MAX  16
#define SCHED_STEPS_MAX (40u * 1000 * 1000)            /* switches of one simulation */
#define SCHED_TIME_MAX  (90LL * 24 * 3600 * 1000000LL) /* virtual microseconds of one */
#define SCHED_EPOCH_MS  1790000000000LL                /* the true wall clock at time 0 */

#define MS   1000LL
#define SEC  (1000LL * MS)
#define HOUR (3600LL * SEC)

/* ---- random numbers; streams are apart, so that one more use of one leaves the others alone */

struct rng {
    uint64_t state;
};
void rng_seed(struct rng *r, uint64_t seed, uint64_t stream);
uint64_t rng_next(struct rng *r);
uint64_t rng_below(struct rng *r, uint64_t n);                 /* [0, n) */
int64_t rng_between(struct rng *r, int64_t low, int64_t high); /* [low, high] */
bool rng_chance(struct rng *r, unsigned in_10000);

/* ---- processes and threads */

struct proc {
    char name[SCHED_NAME_MAX];
    bool dead;
    int64_t paused_from_us, paused_until_us;
    int64_t boot_offset_us; /* its boot clock at time 0 */
    int64_t wall_skew_ms;   /* of its wall clock */
};

/* Runs fn as the first thread until it returns. Any failure of the schedule itself (deadlock,
 * endless run) is told by sched_failed and ends the run; what the threads held is then lost. */
void sched_run(uint64_t seed, void (*fn)(void *arg), void *arg);

struct proc *sched_proc(void);
/* A thread of a process; nobody joins it. */
void sched_spawn(struct proc *p, const char *name, void (*fn)(void *arg), void *arg);
/* Threads that this one starts from now on are of that process; NULL: of its own. */
void sched_start_for(struct proc *p);
unsigned sched_live(const struct proc *p); /* threads that have not ended */
void sched_point(void);
void sched_sleep_us(int64_t us);
int64_t sched_now_us(void);
/* Between true and false nobody else runs; the thread must not wait. */
void sched_hold(bool on);
/* While on, a pause of its process does not stop this thread: what it sent arrives. */
void sched_in_flight(bool on);
/* While on, the wall clock of this thread is the store's. */
void sched_at_store(bool on);
extern int64_t sched_store_skew_ms;
uint64_t sched_steps(void);

/* ---- what is told */

/* The first failure of a run is kept; the run goes on. */
void sim_fail(const char *format, ...) printf_like(1, 2);
const char *sim_failure(void); /* NULL: none */
/* A line of the event trace, when one is wanted. */
void sim_trace(const char *format, ...) printf_like(1, 2);
extern struct buf *sim_trace_to; /* NULL: none */
extern bool sim_trace_live;      /* also on stdout at once */

#endif
