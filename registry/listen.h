/* Listening addresses: HOST:PORT, [IPv6]:PORT, unix:PATH; port 0 takes a free one. */
#ifndef STOWAGE_REGISTRY_LISTEN_H
#define STOWAGE_REGISTRY_LISTEN_H

#include <sys/socket.h>

#include "auth/access.h"

#define LISTEN_URL_MAX 256

struct listen_address {
    struct sockaddr_storage storage;
    socklen_t len;
    bool loopback; /* or a local socket */
};
/* Pure. -ERR_INVAL. */
int listen_parse(struct str text, struct listen_address *ret) must_check;

struct listen_socket {
    int fd;                   /* the caller's, listening, non-blocking */
    char url[LISTEN_URL_MAX]; /* what clients use: http://127.0.0.1:5000, unix:/path */
    char *unlink_path;        /* of a local socket, to be removed and freed at the end; else NULL */
};

/* Refuses what access forbids (-ERR_DENIED), malformed text (-ERR_INVAL), a taken port
 * (-ERR_EXISTS), each with one sentence. */
int listen_open(struct str address, const struct access *access, struct listen_socket *ret,
                struct err_detail *detail) must_check;

#endif
