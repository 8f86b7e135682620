/* The object store interface (design: section 4). Keys are opaque paths of '/'-separated segments
 * made by keys.c alone; no key is a path prefix of another. Backends: store_dir (a directory),
 * store_mem (memory, for tests), store_fault (wraps another and injects faults), store_s3
 * (store_s3.h).
 *
 * What callers rest on, in every backend:
 *   S1  create() stores all bytes or none, and of any number of creates of one key exactly one
 *       ever succeeds (until the key is removed).
 *   S2  After create() answered 0 or -ERR_EXISTS, get() by anyone returns the winner's bytes.
 *   S3  -ERR_UNKNOWN means the write may have landed, now or later; every other error means it did
 *       not and will not.
 *   S4  What was answered as created, or as existing, survives a power failure (by class, below).
 *   S5  list() returns keys in byte order, complete as of its start.
 *
 * Nobody calls create() for a commit directly: objlog does, with read-after-failure. Any thread
 * unless said; all calls may block except store_probe. Returns 0 or negative enum err; detail may
 * be NULL.
 *
 * Thread rule: a struct store may be used by any number of threads at once; a stream or object by
 * one at a time. */
#ifndef STOWAGE_BLOBSTORE_STORE_H
#define STOWAGE_BLOBSTORE_STORE_H

#include "base/buf.h"
#include "base/err.h"

#define STORE_KEY_MAX     1024 /* bytes of a key */
#define STORE_SEGMENT_MAX 255  /* bytes of one segment */
#define STORE_LIST_MAX    1000 /* keys of one list answer */

struct store;

/* How durable a write is when it is answered (matters on a directory; an object store is always
 * durable): LOG, RECORD, DATA, LINK: file and directory (with new parents) synced. UPLOAD: file
 * only. HINT: not synced. */
enum store_class { STORE_LOG, STORE_RECORD, STORE_DATA, STORE_LINK, STORE_UPLOAD, STORE_HINT };

struct store_info {
    uint64_t size;
    int64_t modified_ms; /* the store's own date */
};

void store_free(struct store *s);
void store_freep(struct store **s);
#define auto_store auto_of(store_freep)

/* Appends the bytes [offset, offset + len_max) that exist (fewer at the end). -ERR_NOTFOUND;
 * -ERR_TOOBIG when the object is larger than len_max and offset is 0 and whole is wanted: pass
 * STORE_WHOLE as len to demand all of it within out's maximum. */
#define STORE_WHOLE UINT64_MAX
int store_get(struct store *s, struct str key, uint64_t offset, uint64_t len, struct buf *out,
              struct err_detail *detail) must_check;

/* Existence and size. "Exists" is answered only when the object is durable (S4). */
int store_head(struct store *s, struct str key, struct store_info *ret,
               struct err_detail *detail) must_check;

/* store_head without waiting, for event threads: also returns -ERR_AGAIN when the answer would need
 * a wait (always on a remote store; on a directory when the found object's durability is not known
 * to this process yet). */
int store_probe(struct store *s, struct str key, struct store_info *ret) must_check;

/* Creates the object if absent: 0, -ERR_EXISTS, -ERR_UNKNOWN, ... */
int store_create(struct store *s, struct str key, enum store_class cls, struct str bytes,
                 struct err_detail *detail) must_check;

/* For an object that nothing depends on but one that is created after it. The first is created like
 * any other, but its name may be left for the next to settle: then ret->owed, and it is not durable
 * yet. The next is created after everything that was owed when the call began is durable;
 * -ERR_AGAIN: that cannot be had together, nothing was created, and who owes settles by store_head.
 * Where nothing is ever owed both are store_create. Another who asks for the first meanwhile is
 * answered as always: durable first. */
struct store_owed {
    bool owed;
    uint64_t mark[4]; /* the store's */
};
int store_create_owing(struct store *s, struct str key, enum store_class cls, struct str bytes,
                       struct store_owed *ret, struct err_detail *detail) must_check;
int store_create_settling(struct store *s, struct str key, enum store_class cls, struct str bytes,
                          struct err_detail *detail) must_check;
/* It was settled by a create that succeeded: the store need not look again. */
void store_settled(struct store *s, struct str key, struct store_owed *owed);

/* Overwrites; atomic for readers; for advice (hints) only, never a commit. */
int store_put(struct store *s, struct str key, enum store_class cls, struct str bytes,
              struct err_detail *detail) must_check;

/* 0 also when absent. */
int store_remove(struct store *s, struct str key, enum store_class cls,
                 struct err_detail *detail) must_check;

/* Calls fn for at most max keys (<= STORE_LIST_MAX) that start with prefix (any byte string, also
 * in the middle of a segment) and are > after, in byte order, until it returns non-zero, which is
 * then returned. */
typedef int (*store_list_fn)(struct str key, const struct store_info *info, void *arg);
int store_list(struct store *s, struct str prefix, struct str after, unsigned max, store_list_fn fn,
               void *arg, struct err_detail *detail) must_check;

/* The store's clock: milliseconds since 1970 (Date of answers; on a directory the mtime of a file
 * just written, at most STORE_NOW_AGE_MS old by CLOCK_BOOTTIME and carried on by it). */
#define STORE_NOW_AGE_MS 1000
int store_now(struct store *s, int64_t *ret_ms, struct err_detail *detail) must_check;

/* Many at once: submits all, waits for all; each result is in its op. */
struct store_op {
    enum { STORE_OP_HEAD, STORE_OP_GET, STORE_OP_CREATE, STORE_OP_REMOVE } kind;
    struct str key;
    enum store_class cls;
    struct str bytes;       /* create */
    uint64_t offset, len;   /* get: as of store_get; len 0 = STORE_WHOLE */
    struct buf *out;        /* get */
    struct store_info info; /* head: result */
    int result;
};
void store_run(struct store *s, struct store_op *ops, size_t count);

/* Reading large objects. On a directory the object has a file descriptor for sendfile; elsewhere fd
 * is -1 and store_get by ranges serves. open does not wait longer than one system call on a
 * directory. */
struct store_object {
    int fd; /* owned by the caller, -1 when the store has no files */
    struct store_info info;
};
int store_open(struct store *s, struct str key, struct store_object *ret,
               struct err_detail *detail) must_check;
bool store_has_files(const struct store *s);
/* Each question is a request over a network: worth remembering an answer for. */
bool store_is_remote(const struct store *s);

/* URL by which anyone may GET the object until it expires; -ERR_UNSUPPORTED where the store cannot.
 */
int store_presign_get(struct store *s, struct str key, int64_t ttl_ms,
                      struct buf *ret_url) must_check;

/* ---- Streams: large objects written piece by piece (a multipart upload, or a temporary file).
 * The object does not exist until commit. Between open and commit the stream can be saved and
 * resumed by another process: save() makes everything written durable and appends an opaque text
 * (<= STORE_STREAM_STATE_MAX bytes, JSON) that, together with the store, is enough for resume(). A
 * stream is held by one holder; resuming one that is still held elsewhere yields a private copy of
 * the saved prefix. Memory per stream is bounded by the backend (directory: none; data is synced
 * every STORE_SYNC_BYTES as it streams, so that commit costs the same whatever the size). The
 * stream's id is the last segment of its key, unique for ever (the upload session's id). */
#define STORE_STREAM_STATE_MAX 65536
#define STORE_SYNC_BYTES       (32u << 20)
struct store_stream;
int store_stream_open(struct store *s, struct str key, struct store_stream **ret,
                      struct err_detail *detail) must_check;
int store_stream_write(struct store_stream *st, struct str bytes,
                       struct err_detail *detail) must_check;
uint64_t store_stream_size(const struct store_stream *st);
int store_stream_save(struct store_stream *st, struct buf *ret_state,
                      struct err_detail *detail) must_check;
/* Bytes before this are held by the last saved state; the caller keeps the rest, which it gets by
 * store_stream_read (a store whose pieces have a least size; on a directory nothing is left over).
 */
uint64_t store_stream_safe(const struct store_stream *st);
/* size: the acknowledged prefix; more that may lie behind it is dropped. The stream holds what the
 * state did: the caller writes the rest of the prefix from what it kept. -ERR_NOTFOUND when nothing
 * is left of it. */
int store_stream_resume(struct store *s, struct str key, struct str state, uint64_t size,
                        struct store_stream **ret, struct err_detail *detail) must_check;
/* Reads back written bytes (a digest named only at the end, R62), fewer than asked where a piece
 * ends; -ERR_INVAL for bytes that the store holds but cannot give back before the commit. */
int store_stream_read(struct store_stream *st, uint64_t offset, size_t len, struct buf *out,
                      struct err_detail *detail) must_check;
/* The object comes into being, durable (class DATA), create-once like create(): 0, -ERR_EXISTS,
 * -ERR_UNKNOWN, other. The stream is closed only by store_stream_close. */
int store_stream_commit(struct store_stream *st, struct err_detail *detail) must_check;
/* Gives up the hold without removing what was saved; what was not is dropped. NULL is fine. */
void store_stream_close(struct store_stream *st);
/* Removes what a stream of this key left (parts, temporary files of any holder that is gone); 0
 * when nothing. */
int store_stream_sweep(struct store *s, struct str key, struct err_detail *detail) must_check;
/* Lists keys of streams that have leftovers, with the date of the last write, order free; a
 * key may come more than once. */
int store_stream_list(struct store *s, store_list_fn fn, void *arg,
                      struct err_detail *detail) must_check;

/* ---- Backends. */

/* A directory (created 0700 when absent). -ERR_DENIED, -ERR_IO, ... with a sentence. Sweeps
 * temporary files that no living process holds. Checks link and EEXIST once. */
int store_dir_new(const char *root, struct store **ret, struct err_detail *detail) must_check;
/* The same for looking only: nothing is made, changed or synced, writes answer -ERR_READONLY, the
 * clock is the machine's. -ERR_NOTFOUND when there is no directory. */
int store_dir_open_readonly(const char *root, struct store **ret,
                            struct err_detail *detail) must_check;
/* Removes temporary files whose holders are gone; also run at open. */
int store_sweep_temporary(struct store *s, struct err_detail *detail) must_check;

int store_mem_new(struct store **ret) must_check;

/* Faults. The wrapper owns inner. Each call is passed to decide(), which picks its fate. */
enum store_fault {
    FAULT_NONE,
    FAULT_FAIL_BEFORE, /* not applied, error `err` */
    FAULT_REPLY_LOST,  /* applied, then -ERR_UNKNOWN (writes) or `err` (reads) */
    FAULT_LATE,        /* a write: answered -ERR_UNKNOWN, applied by store_fault_flush_late() */
    FAULT_DUPLICATE,   /* a write: applied, and the same bytes are sent again at flush_late */
    FAULT_OWN_EXISTS   /* a create: applied, answered -ERR_EXISTS (412 to one's own write) */
};
struct store_fault_call {
    const char *op; /* "get", "head", "create", "put", "remove", "list", "stream.write", ... */
    struct str key;
    uint64_t number; /* of this call since the start, from 1 */
};
typedef enum store_fault (*store_fault_fn)(const struct store_fault_call *call, int *ret_err,
                                           void *arg);
int store_fault_new(struct store *inner, store_fault_fn decide, void *arg,
                    struct store **ret) must_check;
void store_fault_flush_late(struct store *s);

#endif
