/* The simulator (design section 12): whole nodes below HTTP on a faulty store, in virtual time, one
 * thread at a time, everything decided by a seed.
 *
 *   sim [--seeds FROM..TO] [--seed N] [--trace] [--hours H] [--mutant NAME] [--keep-going]
 *   sim --selftest | --list-mutants
 *
 * A seed that fails is printed with what failed, and fails the same way again. Exit: 0 all passed,
 * 1 a seed failed, 2 wrong use. */
#include <assert.h>
#include <signal.h>
#include <stdio.h>
#include <unistd.h>

#include "audit.h"
#include "base/clock.h"
#include "base/log.h"
#include "base/metrics.h"
#include "base/mutant.h"
#include "base/thread.h"
#include "job.h"
#include "mutants.def"
#include "world.h"

#define SEEDS_DEFAULT 100
#define TRACE_MAX     (512u << 20)
#define CALM_ROUNDS   200 /* then hours pass, with sweeps, until all nodes are awake */

static const char *chosen; /* mutant */
static uint64_t running;   /* seed */

bool mutant_chosen(const char *name)
{
    return chosen && strcmp(chosen, name) == 0;
}

static const struct {
    const char *name, *what;
} mutants[] = {
#define MUTANT_ROW(name, what) {name, what},
    MUTANTS(MUTANT_ROW)
#undef MUTANT_ROW
};

/* ---- what a seed decides */

static void plan_faults(struct rng *rng, struct plan *p)
{
    static const unsigned levels[] = {10, 50, 150, 300};
    unsigned level = levels[rng_below(rng, ARRAY_LEN(levels))];
    unsigned *all[] = {&p->net.faults.fail, &p->net.faults.fail_hard,  &p->net.faults.lost,
                       &p->net.faults.late, &p->net.faults.own_exists, &p->net.faults.twice};

    for (size_t i = 0; i < ARRAY_LEN(all); i++)
        if (rng_chance(rng, 6000))
            *all[i] = (unsigned)rng_below(rng, level + 1);
    if (rng_chance(rng, 5000))
        p->net.faults.crash = (unsigned)rng_below(rng, 12);
    if (rng_chance(rng, 3000))
        p->net.faults.slow = (unsigned)rng_below(rng, 100);
    if (rng_chance(rng, 4000))
        p->net.faults.cut = 50 + (unsigned)rng_below(rng, 1500);
    p->crashes = (unsigned)rng_below(rng, 4);
    p->pauses = (unsigned)rng_below(rng, 4);
    p->outages = (unsigned)rng_below(rng, 3);
    p->steps = rng_chance(rng, 2000) ? (unsigned)rng_below(rng, 4) : 0;
    p->long_pauses = rng_chance(rng, 2500);
    if (p->long_pauses || rng_chance(rng, 3000)) {
        p->net.faults.pause = (unsigned)rng_below(rng, p->long_pauses ? 12 : 60);
        p->net.faults.pause_max_us = p->long_pauses ? 60 * HOUR : 100 * SEC;
    }
}

static void plan_weights(struct rng *rng, struct plan *p)
{
    /* put push go-on mount del-tag del-man unlink get-tag get-man get-blob list swap set
     * settings */
    static const unsigned mixes[][14] = {
        {20, 4, 2, 2, 8, 5, 3, 14, 4, 4, 5, 8, 4, 3},    /* all */
        {30, 1, 0, 0, 12, 6, 0, 25, 3, 1, 8, 25, 10, 8}, /* tags */
        {6, 18, 22, 8, 2, 3, 12, 3, 2, 20, 1, 1, 1, 0},  /* blobs */
        {4, 22, 40, 3, 1, 1, 4, 2, 1, 14, 1, 1, 0, 0},   /* sessions */
    };
    const unsigned *mix = mixes[rng_below(rng, ARRAY_LEN(mixes))];

    memcpy(p->weights, mix, sizeof(mixes[0]));
}

/* Many writers of one log, a slow store: large batches. */
static void plan_crowd(struct plan *p)
{
    static const unsigned mix[] = {40, 1, 0, 0, 15, 3, 1, 8, 2, 1, 3, 20, 8, 6};

    p->nodes = 2;
    p->clients = CLIENTS_MAX;
    p->repos = 1;
    p->workers = 6;
    p->contents = 2;
    p->think_max_us = MS;
    p->net.latency_max_us = 100 * MS;
    memcpy(p->weights, mix, sizeof(mix));
}

void plan_make(uint64_t seed, struct plan *p)
{
    static const unsigned annotations[] = {40, 400, 9000, 30000, 70000};
    static const int64_t thinks[] = {MS, 20 * MS, 300 * MS, 2 * SEC};
    struct rng rng;

    rng_seed(&rng, seed, 6);
    *p = (struct plan){.seed = seed};
    p->nodes = 2 + (unsigned)rng_below(&rng, NODES_MAX - 1);
    p->clients = 3 + (unsigned)rng_below(&rng, CLIENTS_MAX - 2);
    p->repos = 1 + (unsigned)rng_below(&rng, REPOS_MAX);
    p->tags = 1 + (unsigned)rng_below(&rng, TAGS_MAX);
    p->manifests = 2 + (unsigned)rng_below(&rng, MANIFESTS_MAX - 1);
    p->contents = 2 + (unsigned)rng_below(&rng, CONTENTS_MAX - 1);
    p->ops = 10 + (unsigned)rng_below(&rng, 31);
    p->workers = 1 + (unsigned)rng_below(&rng, 6);
    p->think_max_us = thinks[rng_below(&rng, ARRAY_LEN(thinks))];
    p->annotation = annotations[rng_below(&rng, ARRAY_LEN(annotations))];
    p->net.latency_max_us = rng_chance(&rng, 5000) ? 2 * MS : 60 * MS;
    p->net.remote = rng_chance(&rng, 3000);
    p->jumps = rng_chance(&rng, 4000) ? 1 + (unsigned)rng_below(&rng, 3) : 0;
    p->faulty = rng_chance(&rng, 8500);
    if (p->faulty)
        plan_faults(&rng, p);
    plan_weights(&rng, p);
    if (rng_chance(&rng, 2500))
        plan_crowd(p);
    p->overrides = seed % 4 == 2;
}

/* ---- the director: things that happen to the world */

static unsigned any_node(struct rng *rng)
{
    return (unsigned)rng_below(rng, world->plan.nodes);
}

static void pause_node(struct rng *rng)
{
    struct site *s = world->sites[any_node(rng)];
    int64_t for_us = rng_between(rng, 5 * SEC, 60 * SEC);

    if (!s)
        return;
    if (world->plan.long_pauses && rng_chance(rng, 5000))
        for_us = rng_between(rng, HOUR, 60 * HOUR);
    else if (rng_chance(rng, 2000))
        for_us = rng_between(rng, 60 * SEC, 200 * SEC);
    sim_trace("pause of %s for %lld s", s->proc.name, (long long)(for_us / SEC));
    s->proc.paused_from_us = sched_now_us();
    s->proc.paused_until_us = sched_now_us() + for_us;
    world->counts[1]++;
}

static void sweep(struct rng *rng)
{
    struct request *rq = request_new(request_sweep);

    (void)request_call(rq, any_node(rng), 100 * SEC);
    request_unref(rq);
    world->counts[5]++;
}

/* Clients rest, nodes idle, time passes; sweeps run by several nodes at once or in turn. */
static void jump(struct rng *rng)
{
    static const int64_t spans[] = {HOUR, 11 * HOUR, 13 * HOUR, 25 * HOUR, 27 * HOUR, 60 * HOUR};
    int64_t span = spans[rng_below(rng, ARRAY_LEN(spans))] + rng_between(rng, 0, HOUR);

    sim_trace("rest of %lld s", (long long)(span / SEC));
    world->quiet_until_us = sched_now_us() + span;
    while (sched_now_us() < world->quiet_until_us - 4 * HOUR) {
        sched_sleep_us(rng_between(rng, HOUR, 30 * HOUR));
        sweep(rng);
    }
    if (sched_now_us() < world->quiet_until_us)
        sched_sleep_us(world->quiet_until_us - sched_now_us());
    sweep(rng);
    world->counts[3]++;
}

static void cut_off(struct rng *rng)
{
    const struct site *s = rng_chance(rng, 5000) ? world->sites[any_node(rng)] : NULL;

    net_outage(s ? &s->proc : NULL, sched_now_us() + rng_between(rng, SEC, 60 * SEC),
               rng_chance(rng, 5000) ? 0 : 1500);
}

static void event(struct rng *rng, unsigned which)
{
    switch (which) {
    case 0:
        world_crash(any_node(rng));
        break;
    case 1:
        pause_node(rng);
        break;
    case 2:
        cut_off(rng);
        world->counts[2]++;
        break;
    case 3:
        jump(rng);
        break;
    default:
        sched_store_skew_ms = rng_between(rng, -120000, 120000);
        world->counts[4]++;
        break;
    }
}

/* Events of all kinds, spread over the clients' work. */
static void mischief(struct rng *rng)
{
    const struct plan *p = &world->plan;
    unsigned left[5] = {p->crashes, p->pauses, p->outages, p->jumps, p->steps};
    int64_t ops = p->clients * p->ops;

    while (world->clients_left > 0) {
        unsigned sum = left[0] + left[1] + left[2] + left[3] + left[4], dice;

        sched_sleep_us(
            rng_between(rng, MS, 200 * MS + p->think_max_us * (ops / 4 / (sum + 1) + 2)));
        if (sum == 0)
            continue;
        dice = (unsigned)rng_below(rng, sum);
        for (unsigned i = 0; i < 5; i++) {
            if (dice < left[i]) {
                left[i]--;
                event(rng, i);
                break;
            }
            dice -= left[i];
        }
        if (rng_chance(rng, 2000))
            sweep(rng);
    }
}

/* Ends of all pauses, and nodes that all answer. */
static void calm(struct rng *rng)
{
    bool all;
    unsigned rounds = 0;

    net_set_faults(NULL);
    world->calm = true;
    do {
        all = true;
        for (unsigned i = 0; i < world->plan.nodes; i++)
            all = all && world->sites[i] && world->sites[i]->proc.paused_until_us <= sched_now_us();
        sched_sleep_us(++rounds < CALM_ROUNDS ? SEC : HOUR);
        if (rounds >= CALM_ROUNDS)
            sweep(rng);
    } while (!all);
    for (unsigned i = 0; i < world->plan.nodes; i++)
        world->sites[i]->proc.wall_skew_ms = 0; /* its clock is set right */
    net_settle();
    sched_sleep_us(30 * SEC);
}

static void direct(void *arg)
{
    const struct plan *p = arg;
    struct rng rng;

    rng_seed(&rng, p->seed, 7);
    hist_begin();
    audit_begin();
    net_begin(p->seed, &p->net);
    world_begin(p);
    world_start_nodes();
    world->clients_left = p->clients;
    for (unsigned i = 0; i < p->clients; i++)
        sched_spawn(sched_proc(), "client", client_run, (void *)(uintptr_t)i);
    mischief(&rng);
    calm(&rng);
    client_verify();
    sweep(&rng);
    world_stop_nodes();
    net_settle();
    if (!sim_failure()) {
        audit_store();
        audit_history();
    }
}

struct totals {
    uint64_t seeds, failed, ops, calls, steps, counts[16];
};

/* Runs a seed; its failure or NULL. */
static const char *run_seed(uint64_t seed, struct totals *t)
{
    int64_t alarms = metric_value(METRIC_alarms_total);
    struct plan plan;

    running = seed;
    plan_make(seed, &plan);
    sched_run(seed, direct, &plan);
    if (!sim_failure() && metric_value(METRIC_alarms_total) != alarms)
        sim_fail("an alarm was raised");
    t->seeds++;
    t->failed += sim_failure() != NULL;
    t->ops += hist_count();
    t->calls += net_calls();
    t->steps += sched_steps();
    for (unsigned i = 0; i < ARRAY_LEN(t->counts); i++)
        t->counts[i] += world->counts[i];
    world_end();
    net_end();
    audit_end();
    if (!sim_failure()) {
        t->counts[10] += job_run(seed, plan.faulty, &plan.net);
        t->failed += sim_failure() != NULL;
    }
    return sim_failure();
}

/* ---- self-test */

static int planted_history(void)
{
    /* Two writes one after the other, then a read of the first. */
    static const struct lin_op bad[] = {
        {1, 2, UINT32_MAX, 1, -1, 0}, {3, 4, UINT32_MAX, 2, -1, 0}, {5, 6, 1u << 1, -1, -1, 0}};
    /* The same, but the second write overlaps the read. */
    static const struct lin_op good[] = {
        {1, 2, UINT32_MAX, 1, -1, 0}, {3, 6, UINT32_MAX, 2, -1, 0}, {4, 5, 1u << 1, -1, -1, 0}};
    /* A write without an answer takes effect between two reads, or after both, not before and gone
     * again. */
    static const struct lin_op late[] = {{1, HIST_NEVER, UINT32_MAX, 1, -1, 0},
                                         {2, 3, 1u << 0, -1, -1, 0},
                                         {4, 5, 1u << 1, -1, -1, 0}};
    static const struct lin_op gone[] = {{1, HIST_NEVER, UINT32_MAX, 1, -1, 0},
                                         {2, 3, 1u << 1, -1, -1, 0},
                                         {4, 5, 1u << 0, -1, -1, 0}};
    /* Both of two deletes were told that they removed the one thing there was. */
    static const struct lin_op twice[] = {
        {1, 2, UINT32_MAX, 1, -1, 0}, {3, 6, 2u, 0, -1, 0}, {4, 5, 2u, 0, -1, 0}};

    return lin_check(bad, 3) == LIN_NO && lin_check(good, 3) == LIN_YES &&
                   lin_check(late, 3) == LIN_YES && lin_check(gone, 3) == LIN_NO &&
                   lin_check(twice, 3) == LIN_NO
               ? 0
               : 1;
}

/* The same seed twice: the same bytes. */
static int replays(uint64_t seed)
{
    struct buf first auto_buf = BUF_INIT(TRACE_MAX), second auto_buf = BUF_INIT(TRACE_MAX);
    struct totals t = {.seeds = 0};
    bool same;

    sim_trace_to = &first;
    (void)run_seed(seed, &t);
    sim_trace_to = &second;
    (void)run_seed(seed, &t);
    sim_trace_to = NULL;
    same = first.len > 0 && buf_err(&first) == 0 && str_eq(buf_str(&first), buf_str(&second));
    printf("seed %llu twice: %zu bytes of trace, %s\n", (unsigned long long)seed, first.len,
           same ? "equal" : "DIFFERENT");
    return same ? 0 : 1;
}

static int selftest(void)
{
    int failed = planted_history();

    printf("planted histories: %s\n", failed ? "NOT judged rightly" : "judged rightly");
    for (uint64_t seed = 1; seed <= 6; seed++)
        failed |= replays(seed);
    return failed;
}

/* ---- command line */

struct options {
    uint64_t from, to;
    double hours;
    bool trace, keep_going, selftest;
};

static int usage(void)
{
    fprintf(stderr, "sim [--seeds FROM..TO] [--seed N] [--trace] [--hours H] [--mutant NAME] "
                    "[--keep-going] | --selftest | --list-mutants\n");
    return 2;
}

static bool parse_seeds(const char *text, struct options *o)
{
    const char *dots = strstr(text, "..");

    if (!dots)
        return str_u64(str_of(text), &o->from) && str_u64(str_of(text), &o->to);
    return str_u64(str_make(text, (size_t)(dots - text)), &o->from) &&
           str_u64(str_of(dots + 2), &o->to) && o->from <= o->to;
}

static bool choose_mutant(const char *name)
{
    for (size_t i = 0; i < ARRAY_LEN(mutants); i++)
        if (strcmp(mutants[i].name, name) == 0)
            chosen = mutants[i].name;
    return chosen != NULL;
}

static bool parse_options(int argc, char **argv, struct options *o)
{
    *o = (struct options){.from = 1, .to = SEEDS_DEFAULT};
    for (int i = 1; i < argc; i++) {
        const char *value = i + 1 < argc ? argv[i + 1] : NULL;

        if (strcmp(argv[i], "--trace") == 0) {
            o->trace = true;
        } else if (strcmp(argv[i], "--keep-going") == 0) {
            o->keep_going = true;
        } else if (strcmp(argv[i], "--selftest") == 0) {
            o->selftest = true;
        } else if (!value) {
            return false;
        } else if (strcmp(argv[i], "--seeds") == 0 || strcmp(argv[i], "--seed") == 0) {
            if (!parse_seeds(argv[++i], o))
                return false;
        } else if (strcmp(argv[i], "--hours") == 0) {
            o->hours = strtod(argv[++i], NULL);
            o->to = UINT64_MAX;
        } else if (strcmp(argv[i], "--mutant") == 0) {
            if (!choose_mutant(argv[++i]))
                return false;
        } else {
            return false;
        }
    }
    return true;
}

/* An assertion of the code under test. */
static void aborted(int signal_number)
{
    char text[64];
    int n = snprintf(text, sizeof(text), "seed %llu: aborted\n", (unsigned long long)running);

    (void)!write(STDOUT_FILENO, text, (size_t)n);
    signal(signal_number, SIG_DFL);
    raise(signal_number);
}

static int64_t real_ms(void)
{
    sched_install(NULL);
    return clock_boot_ms();
}

static int run_all(const struct options *o)
{
    struct totals t = {.seeds = 0};
    int64_t start = real_ms();

    for (uint64_t seed = o->from; seed <= o->to; seed++) {
        const char *failure = run_seed(seed, &t);

        if (failure)
            printf("seed %llu: %s\n", (unsigned long long)seed, failure);
        fflush(stdout);
        if (failure && !o->keep_going)
            break;
        if (o->hours > 0 && (double)(real_ms() - start) > o->hours * 3600000)
            break;
        if (seed == UINT64_MAX)
            break;
    }
    printf("%llu seeds, %llu failed, %.1f s; %llu operations of clients, %llu store calls, %llu "
           "switches; %u histories judged, %u too complex\n",
           (unsigned long long)t.seeds, (unsigned long long)t.failed,
           (double)(real_ms() - start) / 1000, (unsigned long long)t.ops,
           (unsigned long long)t.calls, (unsigned long long)t.steps, audit_judged(),
           audit_too_complex());
    printf("crashes %llu, pauses %llu, outages %llu, rests %llu, clock steps %llu, sweeps %llu; "
           "late steps of a job %llu; checkpoints %llu, entries %llu, of these empty %llu, of "
           "several operations %llu\n",
           (unsigned long long)t.counts[0], (unsigned long long)t.counts[1],
           (unsigned long long)t.counts[2], (unsigned long long)t.counts[3],
           (unsigned long long)t.counts[4], (unsigned long long)t.counts[5],
           (unsigned long long)t.counts[10], (unsigned long long)t.counts[6],
           (unsigned long long)t.counts[7], (unsigned long long)t.counts[8],
           (unsigned long long)t.counts[9]);
    return t.failed > 0 ? 1 : 0;
}

int main(int argc, char **argv)
{
    struct options o;

    if (argc == 2 && strcmp(argv[1], "--list-mutants") == 0) {
        for (size_t i = 0; i < ARRAY_LEN(mutants); i++)
            printf("%s\t%s\n", mutants[i].name, mutants[i].what);
        return 0;
    }
    if (!parse_options(argc, argv, &o))
        return usage();
    signal(SIGABRT, aborted);
    signal(SIGSEGV, aborted);
    sim_trace_live = o.trace;
    log_set_level(LOG_ERROR);
    return o.selftest ? selftest() : run_all(&o);
}
