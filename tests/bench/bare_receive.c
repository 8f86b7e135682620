/*
 * The bare receive loop: one PUT with a Content-Length for each connection, a thread for each
 * connection. 64 KiB reads, sha256, write to a file, fdatasync every 32 MiB and at the end, then
 * 201 with the digest. The file is removed after the answer.
 */
#include "bare.h"

#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <openssl/evp.h>
#include <pthread.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <sys/socket.h>
#include <unistd.h>

#define READ_BYTES      (64U << 10)
#define SYNC_BYTES      (32U << 20)
#define HEAD_MAX        8192
#define CONNECTIONS_MAX 64

struct upload {
    int fd;
    int file;
    uint64_t left;
    uint64_t unsynced;
    EVP_MD_CTX *sha;
    char buffer[READ_BYTES + 1];
};

static atomic_int connections;
static const char *store_dir;

static bool write_all(int fd, const char *at, size_t len)
{
    while (len > 0) {
        ssize_t n = write(fd, at, len);
        if (n < 0 && errno == EINTR)
            continue;
        if (n <= 0)
            return false;
        at += n;
        len -= (size_t)n;
    }
    return true;
}

static bool take(struct upload *u, const char *at, size_t len)
{
    if (len > u->left || EVP_DigestUpdate(u->sha, at, len) != 1 || !write_all(u->file, at, len))
        return false;
    u->left -= len;
    u->unsynced += len;
    atomic_fetch_add(&bare_counters.bytes, len);
    if (u->unsynced < SYNC_BYTES && u->left > 0)
        return true;
    u->unsynced = 0;
    return fdatasync(u->file) == 0;
}

/* Reads the head; what follows it in the buffer is the begin of the body. */
static bool take_head(struct upload *u)
{
    size_t len = 0;
    char *end = NULL;

    while (!end) {
        ssize_t n = len < HEAD_MAX ? recv(u->fd, u->buffer + len, HEAD_MAX - len, 0) : -1;
        if (n <= 0)
            return false;
        len += (size_t)n;
        u->buffer[len] = '\0';
        end = strstr(u->buffer, "\r\n\r\n");
    }
    const char *field = strcasestr(u->buffer, "\r\ncontent-length:");
    if (!field || field > end || strncmp(u->buffer, "PUT ", 4) != 0)
        return false;
    u->left = strtoull(field + 17, NULL, 10);
    size_t head = (size_t)(end - u->buffer) + 4;
    return len == head || take(u, u->buffer + head, len - head);
}

static bool answer(struct upload *u)
{
    unsigned char sum[EVP_MAX_MD_SIZE];
    char digest[65];
    char head[256];

    if (EVP_DigestFinal_ex(u->sha, sum, NULL) != 1)
        return false;
    for (unsigned i = 0; i < 32; i++)
        snprintf(digest + (size_t)i * 2, 3, "%02x", sum[i]);
    int n = snprintf(head, sizeof(head),
                     "HTTP/1.1 201 Created\r\nDocker-Content-Digest: sha256:%s\r\n"
                     "Content-Length: 0\r\nConnection: close\r\n\r\n",
                     digest);
    atomic_fetch_add(&bare_counters.requests, 1);
    return send(u->fd, head, (size_t)n, MSG_NOSIGNAL) == n;
}

static void *serve(void *arg)
{
    struct upload *u = arg;
    char path[512];

    snprintf(path, sizeof(path), "%s/upload-%d", store_dir, u->fd);
    u->file = open(path, O_CREAT | O_TRUNC | O_WRONLY | O_CLOEXEC, 0600);
    u->sha = EVP_MD_CTX_new();
    bool good = u->file >= 0 && u->sha && EVP_DigestInit_ex(u->sha, EVP_sha256(), NULL) == 1 &&
                take_head(u);
    while (good && u->left > 0) {
        ssize_t n = recv(u->fd, u->buffer, READ_BYTES, 0);
        good = n > 0 && take(u, u->buffer, (size_t)n);
    }
    if (good)
        answer(u);
    unlink(path);
    if (u->file >= 0)
        close(u->file);
    close(u->fd);
    EVP_MD_CTX_free(u->sha);
    free(u);
    atomic_fetch_sub(&connections, 1);
    return NULL;
}

static void *accept_loop(void *arg)
{
    int listener = *(const int *)arg;

    for (;;) {
        int fd = accept4(listener, NULL, NULL, SOCK_CLOEXEC);
        if (fd < 0)
            continue;
        struct upload *u = NULL;
        pthread_t thread;
        if (atomic_fetch_add(&connections, 1) < CONNECTIONS_MAX)
            u = calloc(1, sizeof(*u));
        if (u) {
            u->fd = fd;
            if (pthread_create(&thread, NULL, serve, u) == 0) {
                pthread_detach(thread);
                continue;
            }
        }
        free(u);
        close(fd);
        atomic_fetch_sub(&connections, 1);
    }
    return NULL;
}

int bare_receive(const char *dir)
{
    struct sockaddr_in in = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    socklen_t in_bytes = sizeof(in);
    pthread_t thread;
    static int listener;

    store_dir = dir;
    listener = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    if (listener < 0 || bind(listener, (struct sockaddr *)&in, sizeof(in)) < 0 ||
        listen(listener, 128) < 0 || getsockname(listener, (struct sockaddr *)&in, &in_bytes) < 0 ||
        pthread_create(&thread, NULL, accept_loop, &listener) != 0) {
        perror("receive");
        return 1;
    }
    printf("listening on http://127.0.0.1:%u\n", ntohs(in.sin_port));
    fflush(stdout);
    bare_wait();
    return 0;
}
