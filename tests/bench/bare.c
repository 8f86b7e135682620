/*
 * bench_bare: baselines the registries are compared with, on a loopback port it prints.
 *
 *   bench_bare mhd [FILE]   libmicrohttpd, epoll thread pool, prebuilt responses: /manifest is
 *                           1 KiB with the headers of a manifest, /blob is FILE by sendfile
 *   bench_bare receive DIR  the receive loop of bare_receive.c
 *
 * For the self-test of the load tool: /spin burns SPIN_NS of CPU, /grow takes GROW_BYTES more
 * memory, /wrong is /manifest with one byte changed, /short lacks its last byte, /close ends the
 * connection, /missing (any other path) is 404. At SIGTERM the counts are printed.
 */
#include "bare.h"

#include <arpa/inet.h>
#include <fcntl.h>
#include <microhttpd.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#define MANIFEST_BYTES  1024
#define SPIN_NS         2000000LL
#define GROW_BYTES      (32U << 20)
#define GROW_MAX        8
#define POOL_BYTES      (32U << 10)
#define CONNECTIONS_MAX 4096

struct bare_counters bare_counters;

static struct {
    struct MHD_Response *manifest;
    struct MHD_Response *blob;
    struct MHD_Response *wrong;
    struct MHD_Response *cut;
    struct MHD_Response *closing;
    struct MHD_Response *missing;
    atomic_uint grown;
} pages;

void bare_wait(void)
{
    sigset_t set;
    int got;

    sigemptyset(&set);
    sigaddset(&set, SIGTERM);
    sigaddset(&set, SIGINT);
    sigwait(&set, &got);
    printf("requests %llu bytes %llu\n", atomic_load(&bare_counters.requests),
           atomic_load(&bare_counters.bytes));
    fflush(stdout);
}

static long long thread_cpu_ns(void)
{
    struct timespec t;

    clock_gettime(CLOCK_THREAD_CPUTIME_ID, &t);
    return (long long)t.tv_sec * 1000000000LL + t.tv_nsec;
}

static void spin(void)
{
    long long end = thread_cpu_ns() + SPIN_NS;

    while (thread_cpu_ns() < end)
        ;
}

static void grow(void)
{
    static char *kept[GROW_MAX];
    unsigned i = atomic_fetch_add(&pages.grown, 1);

    if (i < GROW_MAX && (kept[i] = malloc(GROW_BYTES)))
        memset(kept[i], 1, GROW_BYTES);
}

static struct MHD_Response *page_for(const char *url)
{
    if (strcmp(url, "/manifest") == 0)
        return pages.manifest;
    if (strcmp(url, "/blob") == 0 && pages.blob)
        return pages.blob;
    if (strcmp(url, "/wrong") == 0)
        return pages.wrong;
    if (strcmp(url, "/short") == 0)
        return pages.cut;
    if (strcmp(url, "/close") == 0)
        return pages.closing;
    if (strcmp(url, "/spin") == 0)
        spin();
    else if (strcmp(url, "/grow") == 0)
        grow();
    else
        return pages.missing;
    return pages.manifest;
}

static enum MHD_Result handle(void *cls, struct MHD_Connection *connection, const char *url,
                              const char *method, const char *version, const char *upload,
                              size_t *upload_bytes, void **state)
{
    static int seen;

    (void)cls;
    (void)method;
    (void)version;
    (void)upload;
    if (!*state) { /* answering in the first call would close the connection */
        *state = &seen;
        return MHD_YES;
    }
    *upload_bytes = 0;
    struct MHD_Response *page = page_for(url);
    atomic_fetch_add_explicit(&bare_counters.requests, 1, memory_order_relaxed);
    return MHD_queue_response(connection, page == pages.missing ? 404 : 200, page);
}

/* A response with the headers of a manifest, seven with those of the library. */
static struct MHD_Response *page_of(const char *body, size_t len)
{
    struct MHD_Response *r =
        MHD_create_response_from_buffer(len, (void *)(uintptr_t)body, MHD_RESPMEM_MUST_COPY);

    if (!r)
        abort();
    MHD_add_response_header(r, "Content-Type", "application/vnd.oci.image.manifest.v1+json");
    MHD_add_response_header(r, "Docker-Distribution-API-Version", "registry/2.0");
    MHD_add_response_header(r, "ETag", "\"bare\"");
    MHD_add_response_header(r, "X-Content-Type-Options", "nosniff");
    MHD_add_response_header(r, "Content-Security-Policy", "default-src 'none'");
    return r;
}

static int make_pages(const char *file)
{
    char body[MANIFEST_BYTES];
    struct stat st;

    for (size_t i = 0; i < sizeof(body); i++)
        body[i] = (char)('a' + i % 26);
    pages.manifest = page_of(body, sizeof(body));
    pages.cut = page_of(body, sizeof(body) - 1);
    pages.closing = page_of(body, sizeof(body));
    MHD_add_response_header(pages.closing, "Connection", "close");
    pages.missing = page_of("", 0);
    body[512] ^= 1;
    pages.wrong = page_of(body, sizeof(body));
    if (!file)
        return 0;
    int fd = open(file, O_RDONLY | O_CLOEXEC);
    if (fd < 0 || fstat(fd, &st) < 0)
        return -1;
    pages.blob = MHD_create_response_from_fd64((uint64_t)st.st_size, fd);
    return pages.blob ? 0 : -1;
}

static int bare_mhd(const char *file)
{
    long cores = sysconf(_SC_NPROCESSORS_ONLN);
    struct sockaddr_in in = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};

    if (make_pages(file) < 0) {
        perror(file);
        return 1;
    }
    struct MHD_Daemon *d = MHD_start_daemon(
        MHD_USE_EPOLL_INTERNAL_THREAD, 0, NULL, NULL, handle, NULL, MHD_OPTION_SOCK_ADDR,
        (struct sockaddr *)&in, MHD_OPTION_THREAD_POOL_SIZE, (unsigned)(cores > 1 ? cores : 2),
        MHD_OPTION_CONNECTION_MEMORY_LIMIT, (size_t)POOL_BYTES, MHD_OPTION_CONNECTION_LIMIT,
        (unsigned)CONNECTIONS_MAX, MHD_OPTION_END);
    const union MHD_DaemonInfo *info = d ? MHD_get_daemon_info(d, MHD_DAEMON_INFO_BIND_PORT) : NULL;
    if (!info) {
        fprintf(stderr, "cannot start the daemon\n");
        return 1;
    }
    printf("listening on http://127.0.0.1:%u\n", info->port);
    fflush(stdout);
    bare_wait();
    MHD_stop_daemon(d);
    return 0;
}

int main(int argc, char **argv)
{
    sigset_t set;

    sigemptyset(&set);
    sigaddset(&set, SIGTERM);
    sigaddset(&set, SIGINT);
    pthread_sigmask(SIG_BLOCK, &set, NULL);
    signal(SIGPIPE, SIG_IGN);
    if (argc >= 2 && argc <= 3 && strcmp(argv[1], "mhd") == 0)
        return bare_mhd(argc == 3 ? argv[2] : NULL);
    if (argc == 3 && strcmp(argv[1], "receive") == 0)
        return bare_receive(argv[2]);
    fprintf(stderr, "usage: bench_bare mhd [FILE] | bench_bare receive DIR\n");
    return 2;
}
