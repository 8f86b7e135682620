/* Inside of access*.c: access.c (settings, files, decision), access_identify.c (credentials). */
#ifndef STOWAGE_AUTH_ACCESS_INTERNAL_H
#define STOWAGE_AUTH_ACCESS_INTERNAL_H

#include <stdatomic.h>

#include "auth/access.h"
#include "auth/file.h"
#include "auth/htpasswd.h"
#include "auth/seen.h"
#include "auth/throttle.h"
#include "base/thread.h"

struct access {
    struct access_settings settings;
    bool enabled;
    struct gate *gate;
    struct seen *seen;
    struct throttle *throttle;
    atomic_llong looked_ms;
    atomic_bool changed; /* a file is another than the one that was read */
    struct mutex reload; /* one reloads at a time */
    struct mutex mu;     /* guards what follows: pointers to shared contents */
    struct htpasswd *htpasswd;
    struct file_stamp htpasswd_stamp;
};

/* A reference to the users, NULL: there is no such file. */
struct htpasswd *access_htpasswd(struct access *a);
/* Has a file changed? One system call a file, at most once in ACCESS_LOOK_MS. */
bool access_look(struct access *a, int64_t now_ms);
/* Reads what has changed. What cannot be read is said in the log, and the old content stays. */
void access_reload(struct access *a);

#endif
