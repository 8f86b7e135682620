/*
 * bench_load: drives one registry through one scenario and prints what it measured.
 * Exit status: 0 all operations succeeded, 1 some failed, 2 wrong usage.
 */
#include "load.h"

#include <arpa/inet.h>
#include <getopt.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>

static void usage(FILE *to)
{
    fprintf(to, "usage: bench_load --url http://127.0.0.1:PORT --pid PID --scenario NAME\n"
                "  [--clients N] [--ops N] [--seconds S] [--bytes N] [--tags N] [--settle S]\n"
                "  [--repo NAME] [--path P] [--length N] [--digest D] [--cold] [--json]\n"
                "scenarios (clients, seconds or operations by default):\n");
    for (size_t i = 0; i < scenario_count; i++) {
        const struct scenario *s = &scenarios[i];
        fprintf(to, "  %-17s %s (%u, ", s->name, s->about, s->clients);
        if (s->seconds > 0)
            fprintf(to, "%g s)\n", s->seconds);
        else
            fprintf(to, "%llu)\n", (unsigned long long)s->ops);
    }
}

/* http://127.x.y.z:PORT or http://[::1]:PORT, nothing else. */
static int parse_url(const char *url, struct target *ret)
{
    char host[64];
    char *end = NULL;

    if (strncmp(url, "http://", 7) != 0)
        return -1;
    const char *at = url + 7;
    size_t len = strcspn(at, "/");
    if (len >= sizeof(host) || (at[len] == '/' && at[len + 1] != '\0'))
        return -1;
    memcpy(host, at, len);
    host[len] = '\0';
    snprintf(ret->host, sizeof(ret->host), "%s", host);
    char *colon = strrchr(host, ':');
    if (!colon)
        return -1;
    *colon = '\0';
    unsigned long port = strtoul(colon + 1, &end, 10);
    if (port == 0 || port > 65535 || *end != '\0')
        return -1;
    ret->port = (unsigned)port;
    struct in_addr v4;
    if (inet_pton(AF_INET, host, &v4) == 1 && ntohl(v4.s_addr) >> 24 == 127) {
        struct sockaddr_in in = {
            .sin_family = AF_INET, .sin_port = htons((uint16_t)port), .sin_addr = v4};
        memcpy(&ret->addr, &in, sizeof(in));
        ret->addr_bytes = sizeof(in);
        return 0;
    }
    if (strcmp(host, "[::1]") == 0) {
        struct sockaddr_in6 in = {.sin6_family = AF_INET6,
                                  .sin6_port = htons((uint16_t)port),
                                  .sin6_addr = IN6ADDR_LOOPBACK_INIT};
        memcpy(&ret->addr, &in, sizeof(in));
        ret->addr_bytes = sizeof(in);
        return 0;
    }
    return -1;
}

/* A number between the bounds, or the program ends. */
static double number(const char *name, const char *text, double min, double max)
{
    char *end = NULL;
    double v = strtod(text, &end);

    if (end == text || *end != '\0' || !(v >= min && v <= max)) {
        fprintf(stderr, "--%s takes a number from %g to %g\n", name, min, max);
        exit(2);
    }
    return v;
}

static const struct option long_options[] = {
    {"url", required_argument, NULL, 'u'},
    {"pid", required_argument, NULL, 'p'},
    {"scenario", required_argument, NULL, 's'},
    {"clients", required_argument, NULL, 'c'},
    {"ops", required_argument, NULL, 'o'},
    {"seconds", required_argument, NULL, 't'},
    {"bytes", required_argument, NULL, 'b'},
    {"tags", required_argument, NULL, 'g'},
    {"settle", required_argument, NULL, 'e'},
    {"repo", required_argument, NULL, 'r'},
    {"path", required_argument, NULL, 'a'},
    {"length", required_argument, NULL, 'l'},
    {"digest", required_argument, NULL, 'd'},
    {"cold", no_argument, NULL, 'w'},
    {"json", no_argument, NULL, 'j'},
    {"help", no_argument, NULL, 'h'},
    {NULL, 0, NULL, 0},
};

/* Sets one option; false for an unknown one. */
static bool take_option(int c, const char *arg, struct options *opt)
{
    switch (c) {
    case 'u':
        opt->url = arg;
        break;
    case 'p':
        opt->pid = (pid_t)number("pid", arg, 1, 1 << 30);
        break;
    case 's':
        opt->scenario = arg;
        break;
    case 'c':
        opt->clients = (unsigned)number("clients", arg, 1, CLIENTS_MAX);
        break;
    case 'o':
        opt->ops = (uint64_t)number("ops", arg, 1, OPS_MAX);
        break;
    case 't':
        opt->seconds = number("seconds", arg, 0.01, SECONDS_MAX);
        break;
    case 'b':
        opt->bytes = (uint64_t)number("bytes", arg, CONTENT_TAIL, (double)OBJECT_BYTES_MAX);
        break;
    case 'g':
        opt->tags = (uint64_t)number("tags", arg, 1, TAGS_MAX);
        break;
    case 'e':
        opt->settle = number("settle", arg, 0, 60);
        break;
    case 'r':
        opt->repo = arg;
        break;
    case 'a':
        opt->path = arg;
        break;
    case 'l':
        opt->length = (int64_t)number("length", arg, 0, (double)OBJECT_BYTES_MAX);
        break;
    case 'd':
        opt->digest = arg;
        break;
    case 'w':
        opt->warm = false;
        break;
    case 'j':
        opt->json = true;
        break;
    default:
        return false;
    }
    return true;
}

static const struct scenario *find_scenario(struct options *opt)
{
    for (size_t i = 0; opt->scenario && i < scenario_count; i++) {
        const struct scenario *s = &scenarios[i];
        if (strcmp(s->name, opt->scenario) != 0)
            continue;
        if (opt->clients == 0)
            opt->clients = s->clients;
        /* Given operations alone, there is no time limit; given time alone, no count. */
        if (opt->ops == 0 && opt->seconds == 0) {
            opt->ops = s->ops;
            opt->seconds = s->seconds;
        } else if (opt->ops == 0) {
            opt->ops = OPS_MAX;
        }
        return s;
    }
    return NULL;
}

static void raise_descriptors(void)
{
    struct rlimit limit;

    if (getrlimit(RLIMIT_NOFILE, &limit) == 0) {
        limit.rlim_cur = limit.rlim_max;
        setrlimit(RLIMIT_NOFILE, &limit);
    }
}

int main(int argc, char **argv)
{
    struct options opt = {
        .settle = 0.5, .repo = "bench/load", .length = -1, .path = "/", .warm = true};
    int c;

    while ((c = getopt_long(argc, argv, "", long_options, NULL)) != -1) {
        if (c == 'h') {
            usage(stdout);
            return 0;
        }
        if (!take_option(c, optarg, &opt)) {
            usage(stderr);
            return 2;
        }
    }
    const struct scenario *s = find_scenario(&opt);
    if (!s || !opt.url || opt.pid == 0 || optind != argc || strlen(opt.repo) > 128 ||
        strlen(opt.path) > 256) {
        usage(stderr);
        return 2;
    }
    if (parse_url(opt.url, &opt.target) < 0) {
        fprintf(stderr, "--url takes http://127.0.0.1:PORT or http://[::1]:PORT, loopback only\n");
        return 2;
    }
    if (!proc_listens(opt.pid, opt.target.port)) {
        fprintf(stderr, "process %d does not listen on port %u\n", (int)opt.pid, opt.target.port);
        return 2;
    }
    raise_descriptors();
    struct report *report = calloc(1, sizeof(*report));
    if (!report)
        return 1;
    report->opt = &opt;
    report->entries = -1;
    int r = s->run(&opt, report);
    if (opt.json)
        report_json(report);
    else
        report_text(report);
    free(report);
    return r < 0 ? 1 : 0;
}
