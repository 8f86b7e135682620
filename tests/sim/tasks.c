/* See tasks.h. Owns all threads of a simulation and the virtual clock.
 *
 * Invariants: `current` is the thread that runs; a thread is READY, or waits for time, for a mutex,
 * a condition or another thread's end. The word `sched` of a struct mutex is the thread that holds
 * it; those of conditions and threads are unused and the thread. */
#include "tasks.h"

#include <assert.h>
#include <stdarg.h>
#include <stdio.h>
#include <sys/mman.h>
#include <ucontext.h>

#include "base/thread.h"

#if defined(__SANITIZE_ADDRESS__)
#include <sanitizer/common_interface_defs.h>
#define FIBERS      1
#define STACK_BYTES (1024u * 1024)
#else
#define FIBERS      0
#define STACK_BYTES (256u * 1024)
#endif
#define GUARD_BYTES 4096u
#define FAILURE_MAX 1024
#define TRACE_LINE  512
#define SPURIOUS    20 /* in 10000: a wait that ends for no reason */

enum state { FREE, READY, SLEEPING, LOCKING, WAITING, JOINING };

struct task {
    ucontext_t context;
    char *stack; /* kept when free */
    char name[SCHED_NAME_MAX];
    struct proc *proc, *starts_for; /* NULL: threads are of its own process */
    void (*fn)(void *arg);
    void *arg;
    enum state state;
    bool timed, timed_out, at_store, in_flight, ended;
    int64_t until_us;
    const void *on; /* mutex, condition or thread it waits for */
    unsigned id;
#if FIBERS
    void *fake_stack;
#endif
};

int64_t sched_store_skew_ms;
struct buf *sim_trace_to;
bool sim_trace_live;

static struct task tasks[SCHED_TASKS_MAX];
static unsigned task_count, next_id;
static struct task *current;
static ucontext_t outside;
static int64_t now_us;
static uint64_t steps;
static unsigned stay; /* of 256: at a point, go on with the same thread */
static bool held, stopped;
static struct rng picks, randoms;
static char failure[FAILURE_MAX];
static struct proc first_proc = {.name = "outside"};

/* ---- random numbers: splitmix64 */

void rng_seed(struct rng *r, uint64_t seed, uint64_t stream)
{
    r->state = seed * 0x9e3779b97f4a7c15u + stream * 0xd1b54a32d192ed03u;
    (void)rng_next(r);
}

uint64_t rng_next(struct rng *r)
{
    uint64_t z = r->state += 0x9e3779b97f4a7c15u;

    z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9u;
    z = (z ^ (z >> 27)) * 0x94d049bb133111ebu;
    return z ^ (z >> 31);
}

uint64_t rng_below(struct rng *r, uint64_t n)
{
    assert(n > 0);
    return rng_next(r) % n;
}

int64_t rng_between(struct rng *r, int64_t low, int64_t high)
{
    assert(low <= high);
    return low + (int64_t)rng_below(r, (uint64_t)(high - low) + 1);
}

bool rng_chance(struct rng *r, unsigned in_10000)
{
    return rng_below(r, 10000) < in_10000;
}

/* ---- what is told */

void sim_trace(const char *format, ...)
{
    char line[TRACE_LINE];
    va_list args;
    int n, m;

    if (!sim_trace_to && !sim_trace_live)
        return;
    n = snprintf(line, sizeof(line), "%lld.%06lld %s/%s#%u ", (long long)(now_us / SEC),
                 (long long)(now_us % SEC), current ? current->proc->name : "-",
                 current ? current->name : "-", current ? current->id : 0);
    va_start(args, format);
    m = vsnprintf(line + n, sizeof(line) - (size_t)n - 1, format, args);
    va_end(args);
    n = m < (int)sizeof(line) - n - 2 ? n + m : (int)sizeof(line) - 2;
    line[n++] = '\n';
    if (sim_trace_to)
        buf_add(sim_trace_to, str_make(line, (size_t)n));
    if (sim_trace_live)
        fwrite(line, 1, (size_t)n, stdout);
}

void sim_fail(const char *format, ...)
{
    char text[FAILURE_MAX];
    va_list args;

    va_start(args, format);
    vsnprintf(text, sizeof(text), format, args);
    va_end(args);
    sim_trace("FAIL %s", text);
    if (!failure[0])
        memcpy(failure, text, sizeof(failure));
}

const char *sim_failure(void)
{
    return failure[0] ? failure : NULL;
}

/* ---- switching */

static void entry(void);

static void switch_context(struct task *from, struct task *to)
{
#if FIBERS
    const void *bottom = to ? to->stack + GUARD_BYTES : NULL;

    __sanitizer_start_switch_fiber(from && !from->ended ? &from->fake_stack : NULL, bottom,
                                   STACK_BYTES);
#endif
    if (!to)
        swapcontext(&from->context, &outside);
    else
        swapcontext(from ? &from->context : &outside, &to->context);
#if FIBERS
    __sanitizer_finish_switch_fiber(from ? from->fake_stack : NULL, NULL, NULL);
#endif
}

static bool paused(const struct task *t)
{
    const struct proc *p = t->proc;

    return !p->dead && !t->in_flight && p->paused_from_us <= now_us && p->paused_until_us > now_us;
}

/* Ends of waits by time. */
static void wake_due(void)
{
    for (unsigned i = 0; i < task_count; i++) {
        struct task *t = &tasks[i];

        if (!t->timed || t->until_us > now_us)
            continue;
        t->timed = false;
        t->timed_out = true;
        t->state = READY;
    }
}

/* Moves time to the next thing that happens; false: nothing ever will. */
static bool advance(void)
{
    int64_t next = INT64_MAX;

    for (unsigned i = 0; i < task_count; i++) {
        const struct task *t = &tasks[i];
        int64_t at = INT64_MAX;

        if (t->state == READY)
            at = t->proc->paused_until_us;
        else if (t->state != FREE && t->timed)
            at = t->until_us;
        if (at < next)
            next = at;
    }
    if (next == INT64_MAX)
        return false;
    assert(next > now_us);
    now_us = next;
    wake_due();
    return true;
}

static struct task *pick(void)
{
    for (;;) {
        struct task *ready[SCHED_TASKS_MAX];
        unsigned count = 0;

        for (unsigned i = 0; i < task_count; i++)
            if (tasks[i].state == READY && !paused(&tasks[i]))
                ready[count++] = &tasks[i];
        if (count > 0)
            return ready[count == 1 ? 0 : rng_below(&picks, count)];
        if (!advance())
            return NULL;
    }
}

static void tell_waits(const char *what)
{
    char text[FAILURE_MAX];
    size_t n =
        (size_t)snprintf(text, sizeof(text), "%s at %lld s:", what, (long long)(now_us / SEC));

    for (unsigned i = 0; i < task_count && n < sizeof(text) - 64; i++)
        if (tasks[i].state != FREE)
            n += (size_t)snprintf(text + n, sizeof(text) - n, " %s/%s:%d", tasks[i].proc->name,
                                  tasks[i].name, (int)tasks[i].state);
    sim_fail("%s", text);
}

/* Gives the processor to whoever is picked, perhaps the same again. */
static void reschedule(void)
{
    struct task *from = current, *to;

    if (held) {
        sim_fail("a thread waits where it must not");
        held = false;
    }
    to = pick();
    if (++steps > SCHED_STEPS_MAX || now_us > SCHED_TIME_MAX) {
        tell_waits("no end");
        to = NULL;
    } else if (!to) {
        tell_waits("deadlock");
    }
    if (to == from)
        return;
    current = to;
    if (!to)
        stopped = true;
    else
        sim_trace("runs");
    switch_context(from, to);
}

void sched_point(void)
{
    if (held || stopped || !current)
        return;
    if (rng_next(&picks) % 256 < stay)
        return;
    reschedule();
}

/* Waits in a state until it is READY again. */
static void wait_in(enum state state, const void *on, int64_t until_us)
{
    current->state = state;
    current->on = on;
    current->timed = until_us != INT64_MAX;
    current->timed_out = false;
    current->until_us = until_us;
    reschedule();
}

static void make_ready(struct task *t)
{
    t->state = READY;
    t->timed = false;
}

/* ---- threads */

/* In a function of its own: getcontext returns twice in the compiler's eyes. */
static void prepare_context(struct task *t)
{
    getcontext(&t->context);
    t->context.uc_stack.ss_sp = t->stack + GUARD_BYTES;
    t->context.uc_stack.ss_size = STACK_BYTES;
    t->context.uc_link = NULL;
    makecontext(&t->context, entry, 0);
}

static struct task *task_new(struct proc *p, const char *name, void (*fn)(void *), void *arg)
{
    struct task *t = tasks;

    while (t < tasks + task_count && (t->state != FREE || t == current))
        t++;
    assert(t < tasks + SCHED_TASKS_MAX);
    if (t == tasks + task_count)
        task_count++;
    if (!t->stack) {
        t->stack = mmap(NULL, STACK_BYTES + GUARD_BYTES, PROT_READ | PROT_WRITE,
                        MAP_PRIVATE | MAP_ANONYMOUS | MAP_STACK, -1, 0);
        assert(t->stack != MAP_FAILED);
        (void)!mprotect(t->stack, GUARD_BYTES, PROT_NONE);
    }
    *t = (struct task){
        .stack = t->stack, .proc = p, .fn = fn, .arg = arg, .state = READY, .id = ++next_id};
    snprintf(t->name, sizeof(t->name), "%s", name);
    prepare_context(t);
    return t;
}

static void entry(void)
{
    struct task *self = current;

#if FIBERS
    __sanitizer_finish_switch_fiber(NULL, NULL, NULL);
#endif
    self->fn(self->arg);
    sim_trace("ends");
    self->state = FREE;
    self->ended = true;
    for (unsigned i = 0; i < task_count; i++)
        if (tasks[i].state == JOINING && tasks[i].on == (const void *)(uintptr_t)self->id)
            make_ready(&tasks[i]);
    if (self == &tasks[0]) { /* the first thread: all is over */
        current = NULL;
        stopped = true;
        switch_context(self, NULL);
    }
    reschedule();
    abort(); /* nobody runs an ended thread */
}

void sched_spawn(struct proc *p, const char *name, void (*fn)(void *arg), void *arg)
{
    (void)task_new(p, name, fn, arg);
    sched_point();
}

void sched_start_for(struct proc *p)
{
    current->starts_for = p;
}

static int op_start(struct thread *t, const char *name, void (*fn)(void *), void *arg)
{
    struct proc *p = current->starts_for ? current->starts_for : current->proc;

    t->sched = (void *)(uintptr_t)task_new(p, name, fn, arg)->id;
    sched_point();
    return 0;
}

static bool lives(unsigned id)
{
    for (unsigned i = 0; i < task_count; i++)
        if (tasks[i].state != FREE && tasks[i].id == id)
            return true;
    return false;
}

static void op_join(struct thread *t)
{
    unsigned id = (unsigned)(uintptr_t)t->sched;

    sched_point();
    while (lives(id))
        wait_in(JOINING, t->sched, INT64_MAX);
}

struct proc *sched_proc(void)
{
    return current ? current->proc : &first_proc;
}

unsigned sched_live(const struct proc *p)
{
    unsigned n = 0;

    for (unsigned i = 0; i < task_count; i++)
        n += tasks[i].state != FREE && tasks[i].proc == p;
    return n;
}

/* ---- mutexes and conditions */

/* Before and after a run there is one thread, too. */
static void *self(void)
{
    return current ? (void *)current : (void *)&outside;
}

static void take(struct mutex *m)
{
    while (m->sched)
        wait_in(LOCKING, m, INT64_MAX);
    m->sched = self();
}

static void give(struct mutex *m)
{
    assert(m->sched == self());
    m->sched = NULL;
    for (unsigned i = 0; i < task_count; i++)
        if (tasks[i].state == LOCKING && tasks[i].on == m)
            make_ready(&tasks[i]);
}

static void op_lock(struct mutex *m)
{
    sched_point();
    assert(m->sched != self());
    take(m);
}

static void op_unlock(struct mutex *m)
{
    give(m);
    sched_point();
}

static bool wait_for(struct cond *c, struct mutex *m, int64_t until_us)
{
    bool timed_out = false;

    give(m);
    if (rng_chance(&picks, SPURIOUS)) {
        reschedule();
    } else {
        wait_in(WAITING, c, until_us);
        timed_out = current->timed_out;
    }
    take(m);
    return !timed_out;
}

static void op_wait(struct cond *c, struct mutex *m)
{
    (void)wait_for(c, m, INT64_MAX);
}

static int64_t boot_us(void)
{
    return now_us + sched_proc()->boot_offset_us;
}

static bool op_wait_until(struct cond *c, struct mutex *m, int64_t deadline_ms)
{
    int64_t until_us = deadline_ms * MS - sched_proc()->boot_offset_us;

    if (deadline_ms <= boot_us() / MS)
        return false;
    return wait_for(c, m, until_us);
}

static void op_wake(struct cond *c, bool all)
{
    struct task *waiting[SCHED_TASKS_MAX];
    unsigned count = 0;

    for (unsigned i = 0; i < task_count; i++)
        if (tasks[i].state == WAITING && tasks[i].on == c)
            waiting[count++] = &tasks[i];
    if (!all && count > 1) {
        waiting[0] = waiting[rng_below(&picks, count)];
        count = 1;
    }
    for (unsigned i = 0; i < count; i++)
        make_ready(waiting[i]);
    sched_point();
}

/* ---- time and random numbers */

static int64_t op_boot_ns(void)
{
    return boot_us() * 1000;
}

static int64_t op_wall_ms(void)
{
    int64_t skew = current && current->at_store ? sched_store_skew_ms : sched_proc()->wall_skew_ms;

    return SCHED_EPOCH_MS + now_us / MS + skew;
}

void sched_sleep_us(int64_t us)
{
    if (stopped)
        return;
    wait_in(SLEEPING, NULL, now_us + (us > 0 ? us : 1));
}

static void op_sleep_ms(int64_t ms)
{
    sched_sleep_us(ms * MS);
}

static void op_random(void *out, size_t len)
{
    unsigned char *at = out;

    for (size_t i = 0; i < len; i++)
        at[i] = (unsigned char)(rng_next(&randoms) >> 32);
}

int64_t sched_now_us(void)
{
    return now_us;
}

void sched_hold(bool on)
{
    held = on;
}

void sched_in_flight(bool on)
{
    current->in_flight = on;
}

void sched_at_store(bool on)
{
    current->at_store = on;
}

uint64_t sched_steps(void)
{
    return steps;
}

/* ---- life */

void sched_run(uint64_t seed, void (*fn)(void *arg), void *arg)
{
    static const struct sched_ops ops = {.lock = op_lock,
                                         .unlock = op_unlock,
                                         .wait = op_wait,
                                         .wait_until = op_wait_until,
                                         .wake = op_wake,
                                         .start = op_start,
                                         .join = op_join,
                                         .boot_ns = op_boot_ns,
                                         .wall_ms = op_wall_ms,
                                         .sleep_ms = op_sleep_ms,
                                         .random = op_random};
    static const unsigned stays[] = {0, 128, 192, 240};

    sched_install(&ops);
    rng_seed(&picks, seed, 1);
    rng_seed(&randoms, seed, 2);
    stay = stays[rng_below(&picks, ARRAY_LEN(stays))];
    for (unsigned i = 0; i < task_count; i++)
        tasks[i].state = FREE;
    task_count = next_id = 0;
    now_us = 0;
    steps = 0;
    held = stopped = false;
    failure[0] = 0;
    sched_store_skew_ms = 0;
    first_proc = (struct proc){.name = "outside"};
    current = NULL;
    current = task_new(&first_proc, "director", fn, arg);
    switch_context(NULL, current);
    current = NULL;
}
