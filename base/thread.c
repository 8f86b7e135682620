/* Threads, mutexes, conditions. The only state is the pointer to the installed scheduler, written
 * before any thread starts and read by all. */
#include <assert.h>
#include <errno.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <time.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/err.h"
#include "base/thread.h"

#define THREAD_NAME_MAX 15
#define THREAD_LOW_NICE 15

/* Frames of instrumented code are several times larger. */
#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
#define THREAD_STACK_BYTES (1024 * 1024)
#elif defined(__clang__)
#if __has_feature(address_sanitizer) || __has_feature(thread_sanitizer)
#define THREAD_STACK_BYTES (1024 * 1024)
#endif
#endif
#ifndef THREAD_STACK_BYTES
#define THREAD_STACK_BYTES (256 * 1024)
#endif

/* The kernel's wait does not count time suspended: a wait longer than this wakes to look at the
 * clock. */
#define COND_SLICE_MS 10000

static const struct sched_ops *sched;

void sched_install(const struct sched_ops *ops)
{
    assert(!ops ||
           (ops->lock && ops->unlock && ops->wait && ops->wait_until && ops->wake && ops->start &&
            ops->join && ops->boot_ns && ops->wall_ms && ops->sleep_ms && ops->random));
    sched = ops;
}

const struct sched_ops *sched_installed(void)
{
    return sched;
}

/* For calls that fail only when the caller or this file is wrong. */
static void must(int r)
{
    if (r != 0)
        abort();
}

void mutex_init(struct mutex *m)
{
    m->sched = NULL;
    must(pthread_mutex_init(&m->os, NULL));
}

void mutex_done(struct mutex *m)
{
    must(pthread_mutex_destroy(&m->os));
}

void mutex_lock(struct mutex *m)
{
    if (sched)
        sched->lock(m);
    else
        must(pthread_mutex_lock(&m->os));
}

void mutex_unlock(struct mutex *m)
{
    if (sched)
        sched->unlock(m);
    else
        must(pthread_mutex_unlock(&m->os));
}

void cond_init(struct cond *c)
{
    pthread_condattr_t attr;

    c->sched = NULL;
    must(pthread_condattr_init(&attr));
    must(pthread_condattr_setclock(&attr, CLOCK_MONOTONIC));
    must(pthread_cond_init(&c->os, &attr));
    must(pthread_condattr_destroy(&attr));
}

void cond_done(struct cond *c)
{
    must(pthread_cond_destroy(&c->os));
}

void cond_wait(struct cond *c, struct mutex *m)
{
    if (sched)
        sched->wait(c, m);
    else
        must(pthread_cond_wait(&c->os, &m->os));
}

bool cond_wait_until(struct cond *c, struct mutex *m, int64_t deadline_ms)
{
    struct timespec until;
    int64_t now, left;
    int r;

    if (sched)
        return sched->wait_until(c, m, deadline_ms);
    now = clock_boot_ms();
    if (deadline_ms <= now)
        return false;
    left = deadline_ms > now + COND_SLICE_MS ? COND_SLICE_MS : deadline_ms - now;
    must(clock_gettime(CLOCK_MONOTONIC, &until));
    until.tv_sec += left / 1000;
    until.tv_nsec += left % 1000 * 1000000;
    if (until.tv_nsec >= 1000000000) {
        until.tv_nsec -= 1000000000;
        until.tv_sec++;
    }
    r = pthread_cond_timedwait(&c->os, &m->os, &until);
    if (r == ETIMEDOUT)
        return clock_boot_ms() < deadline_ms;
    must(r);
    return true;
}

void cond_signal(struct cond *c)
{
    if (sched)
        sched->wake(c, false);
    else
        must(pthread_cond_signal(&c->os));
}

void cond_broadcast(struct cond *c)
{
    if (sched)
        sched->wake(c, true);
    else
        must(pthread_cond_broadcast(&c->os));
}

struct start {
    void (*fn)(void *arg);
    void *arg;
    char name[THREAD_NAME_MAX + 1];
};

static void *run(void *arg)
{
    struct start s = *(struct start *)arg;

    free(arg);
    (void)pthread_setname_np(pthread_self(), s.name);
    s.fn(s.arg);
    return NULL;
}

/* The new thread inherits the mask of its creator, so it never runs with another one. */
static int create(pthread_t *t, struct start *s)
{
    sigset_t most, before;
    pthread_attr_t attr;
    int r;

    must(sigfillset(&most));
    must(sigdelset(&most, SIGSEGV));
    must(sigdelset(&most, SIGBUS));
    must(sigdelset(&most, SIGFPE));
    must(sigdelset(&most, SIGILL));
    if (pthread_attr_init(&attr) != 0)
        return -ERR_NOMEM;
    must(pthread_attr_setstacksize(&attr, THREAD_STACK_BYTES));
    must(pthread_sigmask(SIG_SETMASK, &most, &before));
    r = pthread_create(t, &attr, run, s);
    must(pthread_sigmask(SIG_SETMASK, &before, NULL));
    must(pthread_attr_destroy(&attr));
    return r == 0 ? 0 : -ERR_NOMEM;
}

int thread_start(struct thread *t, const char *name, void (*fn)(void *arg), void *arg)
{
    struct start *s;
    int r;

    assert(t && name && fn && strlen(name) <= THREAD_NAME_MAX);
    t->sched = NULL;
    if (sched)
        return sched->start(t, name, fn, arg);
    s = malloc(sizeof(*s));
    if (!s)
        return -ERR_NOMEM;
    *s = (struct start){.fn = fn, .arg = arg};
    memcpy(s->name, name, strlen(name));
    r = create(&t->os, s);
    if (r < 0)
        free(s);
    return r;
}

void thread_lower_priority(void)
{
    if (!sched)
        (void)setpriority(PRIO_PROCESS, (id_t)gettid(), THREAD_LOW_NICE);
}

void thread_join(struct thread *t)
{
    if (sched)
        sched->join(t);
    else
        must(pthread_join(t->os, NULL));
}
