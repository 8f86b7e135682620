/* Logarithmic histogram: 128 steps for each power of two, so a quantile is right within 1%. */
#include "load.h"

#define SUB_BITS 7U
#define SUB      (1U << SUB_BITS)

static size_t bucket_of(uint64_t ns)
{
    if (ns < SUB)
        return (size_t)ns;
    unsigned top = 63U - (unsigned)__builtin_clzll(ns);
    unsigned shift = top - SUB_BITS;
    return ((size_t)(shift + 1) << SUB_BITS) + (size_t)((ns >> shift) - SUB);
}

static uint64_t value_of(size_t bucket)
{
    if (bucket < SUB)
        return bucket;
    unsigned shift = (unsigned)(bucket >> SUB_BITS) - 1;
    uint64_t low = ((uint64_t)(bucket & (SUB - 1)) + SUB) << shift;
    return low + ((UINT64_C(1) << shift) >> 1);
}

void hist_add(struct hist *h, uint64_t ns)
{
    h->count[bucket_of(ns)]++;
    h->total++;
    if (ns > h->max_ns)
        h->max_ns = ns;
}

uint64_t hist_quantile(const struct hist *h, double share)
{
    uint64_t seen = 0;
    uint64_t want = (uint64_t)(share * (double)h->total);

    for (size_t i = 0; i < HIST_BUCKETS; i++) {
        seen += h->count[i];
        if (h->count[i] > 0 && seen > want) {
            uint64_t v = value_of(i);
            return v < h->max_ns ? v : h->max_ns;
        }
    }
    return h->max_ns;
}
