/* The metrics registry. All state is atomic and relaxed: values are for people, nothing is decided
 * by them. Each value has a cache line of its own, so that busy counters of different threads do
 * not slow each other. */
#include <assert.h>
#include <stdalign.h>
#include <stdatomic.h>

#include "base/metrics.h"

#define CACHE_LINE 64

static const struct {
    int64_t ns;
    const char *seconds;
} bounds[] = {
    {500000, "0.0005"},  {1000000, "0.001"},  {2500000, "0.0025"}, {5000000, "0.005"},
    {10000000, "0.01"},  {25000000, "0.025"}, {50000000, "0.05"},  {100000000, "0.1"},
    {250000000, "0.25"}, {500000000, "0.5"},  {1000000000, "1"},   {2500000000, "2.5"},
    {5000000000, "5"},   {10000000000, "10"}, {30000000000, "30"}, {60000000000, "60"},
};
#define BUCKETS (ARRAY_LEN(bounds) + 1) /* the last one takes what is above all bounds */

struct value {
    alignas(CACHE_LINE) atomic_int_least64_t v;
};

struct histogram {
    struct value sum_ns;
    atomic_int_least64_t bucket[BUCKETS];
};

enum kind { COUNTER, GAUGE, HISTOGRAM };

/* Places of the histograms in their own array. */
enum {
#define NONE(name, help)
#define PLACE(name, help) PLACE_##name,
    METRICS_TABLE(NONE, NONE, PLACE)
#undef PLACE
#undef NONE
        HISTOGRAMS
};

static const struct {
    const char *name, *help;
    enum kind kind;
    int place; /* of a histogram */
} table[METRIC_COUNT] = {
#define C_ROW(name, help) [METRIC_##name] = {"stowage_" #name, help, COUNTER, -1},
#define G_ROW(name, help) [METRIC_##name] = {"stowage_" #name, help, GAUGE, -1},
#define H_ROW(name, help) [METRIC_##name] = {"stowage_" #name, help, HISTOGRAM, PLACE_##name},
    METRICS_TABLE(C_ROW, G_ROW, H_ROW)
#undef C_ROW
#undef G_ROW
#undef H_ROW
};

static struct value values[METRIC_COUNT];
static struct histogram histograms[HISTOGRAMS];

static int64_t load(atomic_int_least64_t *v)
{
    return atomic_load_explicit(v, memory_order_relaxed);
}

void metric_add(enum metric m, int64_t n)
{
    assert(m < METRIC_COUNT && (table[m].kind == GAUGE || (table[m].kind == COUNTER && n >= 0)));
    atomic_fetch_add_explicit(&values[m].v, n, memory_order_relaxed);
}

void metric_set(enum metric m, int64_t v)
{
    assert(m < METRIC_COUNT && table[m].kind == GAUGE);
    atomic_store_explicit(&values[m].v, v, memory_order_relaxed);
}

int64_t metric_value(enum metric m)
{
    assert(m < METRIC_COUNT && table[m].kind != HISTOGRAM);
    return load(&values[m].v);
}

void metric_observe_ns(enum metric m, int64_t ns)
{
    struct histogram *h;
    size_t i = 0;

    assert(m < METRIC_COUNT && table[m].kind == HISTOGRAM);
    h = &histograms[table[m].place];
    if (ns < 0)
        ns = 0;
    while (i < ARRAY_LEN(bounds) && ns > bounds[i].ns)
        i++;
    atomic_fetch_add_explicit(&h->bucket[i], 1, memory_order_relaxed);
    atomic_fetch_add_explicit(&h->sum_ns.v, ns, memory_order_relaxed);
}

static void render_histogram(struct buf *out, const char *name, struct histogram *h)
{
    int64_t count = 0, sum;

    for (size_t i = 0; i < BUCKETS; i++) {
        count += load(&h->bucket[i]);
        buf_addf(out, "%s_bucket{le=\"%s\"} %lld\n", name,
                 i < ARRAY_LEN(bounds) ? bounds[i].seconds : "+Inf", (long long)count);
    }
    sum = load(&h->sum_ns.v);
    buf_addf(out, "%s_sum %lld.%09lld\n", name, (long long)(sum / 1000000000),
             (long long)(sum % 1000000000));
    buf_addf(out, "%s_count %lld\n", name, (long long)count);
}

void metrics_render(struct buf *out)
{
    static const char *const kinds[] = {"counter", "gauge", "histogram"};

    for (int m = 0; m < METRIC_COUNT; m++) {
        buf_addf(out, "# HELP %s %s\n# TYPE %s %s\n", table[m].name, table[m].help, table[m].name,
                 kinds[table[m].kind]);
        if (table[m].kind == HISTOGRAM)
            render_histogram(out, table[m].name, &histograms[table[m].place]);
        else
            buf_addf(out, "%s %lld\n", table[m].name, (long long)load(&values[m].v));
    }
}
