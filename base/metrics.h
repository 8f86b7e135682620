/* Metrics registry: one table (metrics.def) makes the enum, the help texts and the exposition
 * (Prometheus text format 0.0.4). Atomics, any thread. */
#ifndef STOWAGE_BASE_METRICS_H
#define STOWAGE_BASE_METRICS_H

#include "base/buf.h"
#include "base/metrics.def"

enum metric {
#define METRIC_ENUM(name, help) METRIC_##name,
    METRICS_TABLE(METRIC_ENUM, METRIC_ENUM, METRIC_ENUM)
#undef METRIC_ENUM
        METRIC_COUNT
};

void metric_add(enum metric m, int64_t n);         /* counters: n >= 0; gauges: any */
void metric_set(enum metric m, int64_t v);         /* gauges */
void metric_observe_ns(enum metric m, int64_t ns); /* histograms */
int64_t metric_value(enum metric m);               /* counter or gauge */
void metrics_render(struct buf *out);

#endif
