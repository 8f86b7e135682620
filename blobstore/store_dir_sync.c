/* Directory backend: syncs. Some at a time are made one by one, each by the thread that wants it.
 * When more come together they share (D6): whoever waits first leads, and one syncfs stands for all
 * that had asked before it began; who comes meanwhile waits for the next. For 64 writers
 * on ext4 that takes less of the processor, and on an idle machine a fraction of the waits. An
 * entry of a log has a whole batch waiting for it: it does not wait for a sync that began before
 * it, unless there are many of its kind.
 *
 * What it rests on, and is not done without:
 *   - the kernel waits in syncfs until all that was written before is on the disk ("the same
 *     guarantees as fsync called on every file in the file system", syncfs(2)), and since 5.8 says
 *     when that failed;
 *   - the kind of file system is one that is known to do so. FUSE may not pass it on, btrfs and
 *     f2fs make more of it than of many single syncs;
 *   - what is shared lies on the root's own file system: a new file does, being made there, and so
 *     does a folder into which it was linked (a link never crosses file systems).
 * It writes out what others left unwritten, too; so it is not used while there is much of that, nor
 * for a while after it took long. Its failure may be another's and decides nothing: everybody then
 * syncs by himself, and the kernel still tells each file's own failure there. */
#include "blobstore/store_dir_internal.h"

#include <assert.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/magic.h>
#include <stdio.h>
#include <sys/utsname.h>
#include <sys/vfs.h>

#include "base/clock.h"
#include "base/metrics.h"

#define ALONE_MAX    16   /* syncs at a time that do not share: so many are as fast by themselves */
#define SLOW_MS      500  /* a shared sync that takes longer */
#define SLOW_REST_MS 3000 /* is not tried again for so long */
#define UNWRITTEN_KB (128 * 1024)
#define LOOK_MS      50 /* how often to look how much is unwritten */
#define MEMINFO_MAX  4096

struct dir_sync_wait {
    struct dir_sync_wait *next;
    struct event told;
    enum { WAITING, LEADS, SHARED, BY_ITSELF } what; /* written before told */
};

int (*store_dir_call_syncfs)(int fd) = syncfs;

/* ---- May it be shared? */

static bool kernel_tells_failures(void)
{
    struct utsname u;
    unsigned major, minor;

    return uname(&u) == 0 && sscanf(u.release, "%u.%u", &major, &minor) == 2 &&
           (major > 5 || (major == 5 && minor >= 8));
}

static bool kind_is_known(int root)
{
    struct statfs fs;

    if (fstatfs(root, &fs) < 0)
        return false;
    return fs.f_type == EXT4_SUPER_MAGIC || fs.f_type == XFS_SUPER_MAGIC ||
           fs.f_type == TMPFS_MAGIC;
}

void dir_syncs_init(struct dir_syncs *s)
{
    mutex_init(&s->mu);
    s->queue_end = &s->queue;
    s->meminfo = -1;
    s->slow_ms = SLOW_MS;
}

void dir_syncs_open(struct dir_syncs *s, int root)
{
    if (kernel_tells_failures() && kind_is_known(root))
        s->meminfo = open("/proc/meminfo", O_RDONLY | O_CLOEXEC);
}

void dir_syncs_done(struct dir_syncs *s)
{
    assert(!s->queue && !s->leading);
    fd_closep(&s->meminfo);
    mutex_done(&s->mu);
}

static unsigned long kb_after(const char *text, const char *name)
{
    const char *at = strstr(text, name);

    return at == NULL ? UNWRITTEN_KB + 1 : strtoul(at + strlen(name), NULL, 10);
}

/* Of the whole machine: more is not to be had for one file system. */
static bool little_is_unwritten(struct dir_syncs *s, int64_t now)
{
    char text[MEMINFO_MAX];
    ssize_t n;

    if (now - s->looked_ms < LOOK_MS)
        return s->little;
    n = pread(s->meminfo, text, sizeof(text) - 1, 0);
    text[n > 0 ? n : 0] = 0;
    s->little = kb_after(text, "\nDirty:") + kb_after(text, "\nWriteback:") <= UNWRITTEN_KB;
    s->looked_ms = now;
    return s->little;
}

bool dir_sync_all(struct store_dir *sd)
{
    if (sd->syncs.meminfo < 0 || store_dir_call_syncfs(sd->root) < 0)
        return false;
    metric_add(METRIC_store_shared_syncs_total, 1);
    return true;
}

static bool may_share(struct dir_syncs *s, int64_t now)
{
    return now >= s->rest_until_ms && little_is_unwritten(s, now);
}

/* The leader's. */
static bool sync_all_soon(struct store_dir *sd)
{
    struct dir_syncs *s = &sd->syncs;
    int64_t begun = clock_boot_ms(), took;
    bool done;

    if (!may_share(s, begun))
        return false;
    done = dir_sync_all(sd);
    took = clock_boot_ms() - begun;
    if (!done || took > s->slow_ms)
        s->rest_until_ms = begun + took + SLOW_REST_MS;
    return done;
}

/* ---- Sharing. */

/* With mu held on entry and return. One shared sync, for all that wait and for the caller; the lead
 * goes to the first who came meanwhile. */
static bool lead(struct store_dir *sd)
{
    struct dir_syncs *s = &sd->syncs;
    struct dir_sync_wait *group = s->queue, *next_leader, *next;
    bool shared;

    s->queue = NULL;
    s->queue_end = &s->queue;
    mutex_unlock(&s->mu);
    shared = sync_all_soon(sd);
    mutex_lock(&s->mu);
    next_leader = s->queue;
    if (next_leader) {
        s->queue = next_leader->next;
        if (!s->queue)
            s->queue_end = &s->queue;
        next_leader->what = LEADS;
    }
    s->leading = next_leader != NULL;
    mutex_unlock(&s->mu);
    if (next_leader)
        event_set(&next_leader->told, 1);
    for (; group; group = next) {
        next = group->next; /* it may be gone once it is told */
        group->what = shared ? SHARED : BY_ITSELF;
        event_set(&group->told, 1);
    }
    mutex_lock(&s->mu);
    return shared;
}

/* With mu held on entry and return. True: synced by another, or by this one for all. */
static bool share(struct store_dir *sd)
{
    struct dir_syncs *s = &sd->syncs;
    struct dir_sync_wait w = {.next = NULL, .what = WAITING};
    bool shared;

    if (!s->leading) {
        s->leading = true;
        return lead(sd);
    }
    event_init(&w.told);
    *s->queue_end = &w;
    s->queue_end = &w.next;
    mutex_unlock(&s->mu);
    (void)event_wait(&w.told);
    mutex_lock(&s->mu);
    shared = w.what == LEADS ? lead(sd) : w.what == SHARED;
    event_done(&w.told);
    return shared;
}

bool dir_shares(struct store_dir *sd)
{
    struct dir_syncs *s = &sd->syncs;
    bool shares;

    if (s->meminfo < 0)
        return false;
    mutex_lock(&s->mu);
    shares = s->leading || s->alone >= ALONE_MAX;
    mutex_unlock(&s->mu);
    return shares && may_share(s, clock_boot_ms());
}

bool dir_share_now(struct store_dir *sd)
{
    struct dir_syncs *s = &sd->syncs;
    bool shared = false;

    if (s->meminfo < 0)
        return false;
    mutex_lock(&s->mu);
    if (!s->leading) {
        s->leading = true;
        shared = lead(sd);
    }
    mutex_unlock(&s->mu);
    return shared || dir_sync_all(sd);
}

bool dir_share_begin(struct store_dir *sd, enum store_class cls)
{
    struct dir_syncs *s = &sd->syncs;
    bool shared = false;

    if (s->meminfo < 0)
        return false;
    mutex_lock(&s->mu);
    if ((s->leading && cls != STORE_LOG) || s->alone >= ALONE_MAX)
        shared = share(sd);
    if (!shared)
        s->alone++;
    mutex_unlock(&s->mu);
    return shared;
}

void dir_share_end(struct store_dir *sd)
{
    struct dir_syncs *s = &sd->syncs;

    if (s->meminfo < 0)
        return;
    mutex_lock(&s->mu);
    assert(s->alone > 0);
    s->alone--;
    mutex_unlock(&s->mu);
}

int dir_share_bytes(struct store_dir *sd, enum store_class cls, int fd)
{
    int r;

    if (dir_share_begin(sd, cls))
        return 0;
    r = dir_sync_bytes(fd);
    dir_share_end(sd);
    return r;
}

bool dir_share_entries(struct store_dir *sd, enum store_class cls, int fd)
{
    if (dir_share_begin(sd, cls))
        return true;
    dir_sync_entries(fd);
    dir_share_end(sd);
    return false;
}
