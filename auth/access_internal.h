/* Inside of access*.c: access.c (life, decision), access_files.c (users, policy, issuers by their
 * files), access_identify.c (credentials), access_token.c (tokens of our own). */
#ifndef STOWAGE_AUTH_ACCESS_INTERNAL_H
#define STOWAGE_AUTH_ACCESS_INTERNAL_H

#include <stdatomic.h>

#include "auth/access.h"
#include "auth/file.h"
#include "auth/htpasswd.h"
#include "auth/policy.h"
#include "auth/seen.h"
#include "auth/throttle.h"
#include "base/thread.h"

enum access_file { ACCESS_HTPASSWD, ACCESS_POLICY, ACCESS_ISSUERS, ACCESS_FILES };

struct access_content {
    const char *path; /* NULL: there is no such file */
    struct file_stamp stamp;
    void *value; /* a reference */
};

struct access {
    struct access_settings settings;
    struct str service;
    bool enabled;
    struct gate *gate;
    struct seen *seen;
    struct throttle *throttle;
    struct token_mint *mint; /* NULL until connected */
    struct access_outside outside;
    atomic_llong looked_ms;
    atomic_bool changed; /* a file is another than the one that was read */
    struct mutex reload; /* one reloads at a time */
    struct mutex mu;
    struct access_content files[ACCESS_FILES]; /* guarded by mu, paths apart */
};

/* Reads all files. */
int access_files_open(struct access *a, struct err_detail *detail) must_check;
void access_files_close(struct access *a);
/* References; NULL: there is no such file. */
struct htpasswd *access_htpasswd(struct access *a);
struct policy *access_policy(struct access *a);
struct issuers *access_issuers(struct access *a);
/* Has a file changed? One system call a file, at most once in ACCESS_LOOK_MS. */
bool access_look(struct access *a, int64_t now_ms);
/* Reads what has changed. What cannot be read is said in the log, and the old content stays. */
void access_reload(struct access *a);

/* Is there still somebody of this name? Of a token's login. May wait. */
bool access_still_there(struct access *a, const struct login *l);

#endif
