/* Prints a report: one JSON object, or lines for people. A figure that was not taken is absent. */
#include "load.h"

#include <inttypes.h>
#include <stdio.h>

#define GIB               (1024.0 * 1024.0 * 1024.0)
#define CPU_PER_GIB_BYTES (1.0 * 1024 * 1024) /* operations at least so large have s/GiB */

static bool is_large(const struct result *r)
{
    return r->ops > 0 && (double)r->bytes / (double)r->ops >= CPU_PER_GIB_BYTES;
}

static double ops_per_s(const struct result *r)
{
    return r->ns > 0 ? (double)r->ops / ((double)r->ns / 1e9) : 0;
}

static double mib_per_s(const struct result *r)
{
    return r->ns > 0 ? (double)r->bytes / 1048576.0 / ((double)r->ns / 1e9) : 0;
}

static double us(uint64_t ns)
{
    return (double)ns / 1e3;
}

/* JSON text; what is not plain ASCII becomes '?'. */
static void json_text(const char *name, const char *text)
{
    printf(",\"%s\":\"", name);
    for (; *text; text++) {
        if (*text == '"' || *text == '\\')
            putchar('\\');
        putchar(*text >= ' ' && *text < 127 ? *text : '?');
    }
    putchar('"');
}

static void json_memory(const char *name, const struct proc_memory *m)
{
    printf(",\"%s\":{\"rss_kib\":%ld,\"anon_kib\":%ld,\"peak_kib\":%ld}", name, m->rss_kib,
           m->anon_kib, m->peak_kib);
}

void report_json(const struct report *r)
{
    const struct result *s = &r->result;

    printf("{\"schema\":1");
    json_text("scenario", r->opt->scenario);
    printf(",\"clients\":%u,\"ops\":%" PRIu64 ",\"errors\":%" PRIu64, r->opt->clients, s->ops,
           s->errors);
    if (s->errors > 0)
        json_text("first_error", s->first_error);
    if (r->measured) {
        printf(",\"requests\":%" PRIu64 ",\"connects\":%" PRIu64 ",\"bytes\":%" PRIu64
               ",\"digests_checked\":%" PRIu64 ",\"seconds\":%.6f,\"ops_per_s\":%.3f",
               s->requests, s->connects, s->bytes, s->checked, (double)s->ns / 1e9, ops_per_s(s));
        printf(",\"p50_us\":%.1f,\"p99_us\":%.1f,\"max_us\":%.1f",
               us(hist_quantile(&s->latency, .5)), us(hist_quantile(&s->latency, .99)),
               us(s->latency.max_ns));
        printf(",\"cpu_s\":%.6f,\"cpu_us_per_op\":%.3f", r->cpu_s,
               s->ops > 0 ? r->cpu_s * 1e6 / (double)s->ops : 0.0);
        if (is_large(s))
            printf(",\"mib_per_s\":%.1f,\"cpu_s_per_gib\":%.4f", mib_per_s(s),
                   r->cpu_s / ((double)s->bytes / GIB));
        if (s->gap.total > 0)
            printf(",\"gap_p50_ms\":%.3f,\"gap_max_ms\":%.3f", us(hist_quantile(&s->gap, .5)) / 1e3,
                   us(s->gap.max_ns) / 1e3);
    }
    if (r->entries >= 0)
        printf(",\"page_entries\":%ld", r->entries);
    json_memory("before", &r->before);
    json_memory("after", &r->after);
    printf(",\"anon_peak_kib\":%ld,\"peak_reset\":%s", r->anon_peak_kib,
           r->peak_reset ? "true" : "false");
    if (r->held > 0) {
        json_memory("closed", &r->closed);
        printf(",\"held\":%ld,\"kib_per_connection\":%.2f", r->held,
               (double)(r->after.rss_kib - r->before.rss_kib) / (double)r->held);
    }
    printf("}\n");
}

void report_text(const struct report *r)
{
    const struct result *s = &r->result;

    printf("%s: %u clients, %" PRIu64 " operations, %" PRIu64 " errors%s%s\n", r->opt->scenario,
           r->opt->clients, s->ops, s->errors, s->errors > 0 ? ": " : "",
           s->errors > 0 ? s->first_error : "");
    if (r->measured) {
        printf("  %.3f s, %.1f ops/s, p50 %.1f us, p99 %.1f us\n", (double)s->ns / 1e9,
               ops_per_s(s), us(hist_quantile(&s->latency, .5)),
               us(hist_quantile(&s->latency, .99)));
        printf("  server CPU %.3f s, %.2f us per operation", r->cpu_s,
               s->ops > 0 ? r->cpu_s * 1e6 / (double)s->ops : 0.0);
        if (is_large(s))
            printf(", %.3f s/GiB, %.0f MiB/s", r->cpu_s / ((double)s->bytes / GIB), mib_per_s(s));
        printf("\n  %" PRIu64 " requests, %" PRIu64 " connections, %" PRIu64 " digests verified\n",
               s->requests, s->connects, s->checked);
        if (s->gap.total > 0)
            printf("  last byte to headers: p50 %.1f ms, max %.1f ms\n",
                   us(hist_quantile(&s->gap, .5)) / 1e3, us(s->gap.max_ns) / 1e3);
    }
    if (r->entries >= 0)
        printf("  entries of a page: %ld\n", r->entries);
    printf("  resident %ld KiB before, %ld after (anonymous %ld, at most %ld), peak %ld%s\n",
           r->before.rss_kib, r->after.rss_kib, r->after.anon_kib, r->anon_peak_kib,
           r->after.peak_kib, r->peak_reset ? "" : " (of the whole life)");
    if (r->held > 0)
        printf("  %.2f KiB for each of %ld connections; %ld KiB after they closed\n",
               (double)(r->after.rss_kib - r->before.rss_kib) / (double)r->held, r->held,
               r->closed.rss_kib);
}
