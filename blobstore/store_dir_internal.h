/* Parts of the directory backend that its files share; nobody else includes this but its tests.
 *
 * Rules (design: section 4), by number in the code:
 *   D1  Nothing is opened, made, linked or removed but relative to the root's descriptor with no
 *       symbolic link followed. Only a bare stat may pass one: its answer is used for nothing but
 *       "absent", or for an inode that this process reached before without a link.
 *   D2  An object appears by one linkat of a file whose bytes are synced.
 *   D3  Whatever can fail is done before the link; after it only syncs remain: the object's folder,
 *       then what is above it. They come after the link because one journal commit then mostly
 *       serves them all.
 *   D4  A failed sync stops the process: the kernel may have dropped the pages, so nothing that
 *       this process believes can be trusted. Only "no space" on a file that has no name yet is an
 *       error like others.
 *   D5  "Exists" is answered after a sync of the directory and its ancestors, unless this process
 *       knows that very inode durable under that key.
 *   D6  Where one sync of everything that was written before it began is known to be no less than
 *       the single ones, it stands for those of all who wait (store_dir_sync.c).
 *   D7  A name that is owed (store.h) is not remembered as durable until the sync that settles it
 *       is over; that one begins after the link, and ends before the link of what refers to it. */
#ifndef STOWAGE_BLOBSTORE_STORE_DIR_INTERNAL_H
#define STOWAGE_BLOBSTORE_STORE_DIR_INTERNAL_H

#include <dirent.h>
#include <stdatomic.h>
#include <sys/stat.h>

#include "base/event.h"
#include "base/fd.h"
#include "blobstore/store_ops.h"

#define DIR_KNOWN_OBJECTS 65536 /* slots, 8 bytes each */
#define DIR_KNOWN_FOLDERS 16384
#define DIR_TRIES         16  /* of a link whose folder keeps vanishing, of a name that is taken */
#define DIR_NAME_MAX      256 /* a file name and its NUL */

/* What a test may leave out, to run the ways of older kernels and other file systems. */
struct dir_options {
    bool no_openat2, no_tmpfile, no_syncfs;
    bool read_only; /* nothing is made, changed, swept or synced; writes are refused */
};

struct dir_sync_wait;

/* Who waits for a sync that is shared. */
struct dir_syncs {
    struct mutex mu;
    struct dir_sync_wait *queue, **queue_end; /* of the next; guarded by mu, with the next two */
    bool leading;                             /* one is being made */
    unsigned alone;                           /* syncs that are being made by themselves */
    int meminfo;                              /* -1: nothing is shared here */
    int64_t slow_ms;                          /* one that takes longer is not repeated soon */
    _Atomic int64_t rest_until_ms, looked_ms; /* advice, like the next */
    atomic_bool little;                       /* was unwritten at the last look */
};

struct store_dir {
    struct store store;
    int root, tmp, stream; /* folders: the root, .tmp and .stream in it */
    bool openat2;          /* the kernel has it */
    bool tmpfile;          /* O_TMPFILE and linking it through /proc work here */
    bool link_fd;          /* it can be linked by its descriptor alone, which costs less */
    bool mode_kept;        /* the umask leaves a new file its mode */
    bool read_only;        /* no .tmp, no .stream, durability is nobody's question */
    uint64_t seed[2];      /* of the hashes below */
    struct dir_syncs syncs;
    struct mutex now_mu;
    int now_fd;           /* a nameless file whose mtime is the store's clock */
    int64_t now_store_ms; /* guarded by now_mu, with the next; 0 = never asked */
    int64_t now_boot_ms;
    /* Objects and folders known durable to this process, direct-mapped by a keyed hash of the key;
     * the value is another hash, of key and inode. Each slot stands alone, so plain atomics serve
     * (no order is needed between slots, and losing a slot only costs the sync again). */
    _Atomic uint64_t objects[DIR_KNOWN_OBJECTS];
    _Atomic uint64_t folders[DIR_KNOWN_FOLDERS];
};

/* A key or folder as a C string. */
struct dir_path {
    size_t len;
    size_t leaf; /* where the last segment starts */
    char at[STORE_KEY_MAX + 1];
    char folder[STORE_KEY_MAX + 1]; /* all before the last segment, "" for the root */
};

int store_dir_new_with(const char *root, const struct dir_options *options, struct store **ret,
                       struct err_detail *detail) must_check;

static inline struct store_dir *dir_of(struct store *s)
{
    return (struct store_dir *)(void *)s;
}
static inline bool dir_class_durable(enum store_class cls)
{
    return cls != STORE_UPLOAD && cls != STORE_HINT;
}

/* ---- store_dir_path.c: names, folders, what is known durable, syncs. */

/* The system calls that sync; tests replace them. */
extern int (*store_dir_call_fdatasync)(int fd);
extern int (*store_dir_call_fsync)(int fd);
/* Logs and ends the process (D4). */
void store_dir_fatal(const char *call, int errno_value) __attribute__((noreturn));

int dir_sync_bytes(int fd) must_check; /* 0 or -ERR_NOSPACE */
void dir_sync_entries(int fd);         /* of a folder */

/* ---- store_dir_sync.c: the same, shared with others (D6). */

extern int (*store_dir_call_syncfs)(int fd);
void dir_syncs_init(struct dir_syncs *s); /* nothing is shared */
void dir_syncs_open(struct dir_syncs *s, int root);
void dir_syncs_done(struct dir_syncs *s);
/* Of a small new file; cls is that of the object it becomes. */
int dir_share_bytes(struct store_dir *sd, enum store_class cls, int fd) must_check;
/* Of a folder that one was linked into; true: and of all above it. */
bool dir_share_entries(struct store_dir *sd, enum store_class cls, int fd);
/* For several at once: true when they are synced. False: the caller syncs them, then says that it
 * has. */
bool dir_share_begin(struct store_dir *sd, enum store_class cls) must_check;
void dir_share_end(struct store_dir *sd);
/* Would a sync be shared now? Then one may be left to the next dir_share_now: of everything that
 * was written before it began. It waits for none that is under way, and false means what it does
 * below. */
bool dir_shares(struct store_dir *sd);
bool dir_share_now(struct store_dir *sd) must_check;
/* One sync of everything on the file system, however long that takes; false when that is not as
 * good here, or failed. */
bool dir_sync_all(struct store_dir *sd) must_check;

/* Says what failed and returns the error of errno_value. */
int dir_error(struct err_detail *detail, int errno_value, const char *what, const char *path);

void dir_path_init(struct dir_path *p, struct str key);
/* open(2) below the root (D1): a descriptor, or -1 and errno. "" is the root. */
int dir_openat(const struct store_dir *sd, const char *path, int flags);
/* Opens the folder of a key: made when absent and `make`, all its ancestors known durable when
 * `durable`. */
int dir_enter(struct store_dir *sd, const struct dir_path *p, bool make, bool durable, int *ret_fd,
              struct err_detail *detail) must_check;
/* Makes every entry on the way to the key's folder durable, once for each process. */
int dir_sync_ancestors(struct store_dir *sd, const struct dir_path *p,
                       struct err_detail *detail) must_check;
void dir_remember_folder(struct store_dir *sd, const char *folder); /* its entry above it */
/* The same without a sync: one of everything has begun after the folders were made, and ended. */
void dir_know_ancestors(struct store_dir *sd, const struct dir_path *p);
void dir_forget_folder(struct store_dir *sd, const char *folder);

bool dir_known(const struct store_dir *sd, const struct dir_path *p, const struct stat *st);
void dir_remember(struct store_dir *sd, const struct dir_path *p, const struct stat *st);
void dir_forget(struct store_dir *sd, const struct dir_path *p);

/* ---- store_dir_file.c: files on their way to a name, and the link that gives it to them. */

struct dir_file {
    int fd;                  /* -1: none */
    int folder;              /* where the name is; borrowed */
    char name[DIR_NAME_MAX]; /* empty: it has none */
};
#define DIR_FILE_NONE ((struct dir_file){-1, -1, {0}})
/* A new file with a name in folder, held by flock: `name`, or when that is NULL or taken, `name` or
 * nothing and a random suffix. */
int dir_file_named(int folder, const char *name, struct dir_file *ret,
                   struct err_detail *detail) must_check;
/* A file in .tmp, nameless where the system has that. */
int dir_file_temporary(struct store_dir *sd, struct dir_file *ret,
                       struct err_detail *detail) must_check;
/* Removes the name, if it has one, and closes. */
void dir_file_drop(struct dir_file *f);
#define auto_dir_file auto_of(dir_file_drop)
/* Takes a file that nobody holds: 0; -ERR_BUSY when held; -ERR_NOTFOUND. */
int dir_file_take(int folder, const char *name, struct dir_file *ret,
                  struct err_detail *detail) must_check;
/* Removes files of the folder that nobody holds and whose name `wanted` (NULL: all) accepts. */
int dir_file_sweep(int folder, bool (*wanted)(const char *name, const void *arg), const void *arg,
                   struct err_detail *detail) must_check;
/* The link in two steps, so that many creates can share their waits: make gives the file, whose
 * bytes are synced, the name of the key: 0, -ERR_EXISTS, or another error; after the first two,
 * settle makes what stands there durable by class (0, or -ERR_UNKNOWN when a folder above cannot
 * even be opened). The file keeps the name it had. */
struct dir_link {
    int folder;     /* open between the two steps */
    struct stat st; /* of the object, when seen */
    bool seen;
};
#define DIR_LINK_NONE ((struct dir_link){.folder = -1})
int dir_link_make(struct store_dir *sd, struct dir_file *f, const struct dir_path *p,
                  struct dir_link *ret, struct err_detail *detail) must_check;
int dir_link_settle(struct store_dir *sd, const struct dir_path *p, enum store_class cls,
                    struct dir_link *l, struct err_detail *detail) must_check;
/* Whether that takes a sync of its folder; and the rest, after that was made, or a shared one. */
bool dir_link_unsynced(const struct store_dir *sd, const struct dir_path *p, enum store_class cls,
                       const struct dir_link *l);
int dir_link_settled(struct store_dir *sd, const struct dir_path *p, enum store_class cls,
                     struct dir_link *l, bool shared, struct err_detail *detail) must_check;
/* Both at once. owed: NULL, or what is told when the name may be left to another's sync (D7). */
int dir_file_link(struct store_dir *sd, struct dir_file *f, const struct dir_path *p,
                  enum store_class cls, struct store_owed *owed,
                  struct err_detail *detail) must_check;
/* Removes the other name of a linked file. That changes the inode, by which the object is known
 * durable. */
void dir_file_unname(struct store_dir *sd, struct dir_file *f, const struct dir_path *p);
/* Opens a folder for reading its names; fdopendir of a descriptor of its own. NULL and errno. */
DIR *dir_read(int folder);

/* ---- The rest, for the table in store_dir.c. */

void dir_run(struct store *s, struct store_op *ops, size_t count);
int dir_list(struct store *s, struct str prefix, struct str after, unsigned max, store_list_fn fn,
             void *arg, struct err_detail *detail) must_check;
int dir_stream_open(struct store *s, struct str key, struct store_stream **ret,
                    struct err_detail *d) must_check;
int dir_stream_write(struct store_stream *st, struct str bytes, struct err_detail *d) must_check;
uint64_t dir_stream_size(const struct store_stream *st);
int dir_stream_save(struct store_stream *st, struct buf *ret_state,
                    struct err_detail *d) must_check;
int dir_stream_resume(struct store *s, struct str key, struct str state, uint64_t size,
                      struct store_stream **ret, struct err_detail *d) must_check;
int dir_stream_read(struct store_stream *st, uint64_t offset, size_t len, struct buf *out,
                    struct err_detail *d) must_check;
int dir_stream_commit(struct store_stream *st, struct err_detail *d) must_check;
void dir_stream_close(struct store_stream *st);
int dir_stream_sweep(struct store *s, struct str key, struct err_detail *d) must_check;
int dir_stream_list(struct store *s, store_list_fn fn, void *arg, struct err_detail *d) must_check;

static inline struct store_info dir_info(const struct stat *st)
{
    return (struct store_info){(uint64_t)st->st_size,
                               (int64_t)st->st_mtim.tv_sec * 1000 + st->st_mtim.tv_nsec / 1000000};
}

#endif
