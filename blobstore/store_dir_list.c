/* Directory backend: listing in byte order of the full keys. A folder sorts among its siblings by
 * its name with the '/' that follows it in every key below ("a-b/x" < "a/x"). A folder is read when
 * a wanted key may lie below it, its names in batches of the LIST_BATCH smallest, so memory is
 * bounded whatever it holds. Listed is what is there; that it is durable is answered by get and
 * head alone. */
#include "blobstore/store_dir_internal.h"

#include <errno.h>
#include <fcntl.h>

#define LIST_BATCH 1000

struct lister {
    const struct store_dir *sd;
    struct str prefix, after;
    unsigned left;
    store_list_fn fn;
    void *arg;
    struct err_detail *detail;
    size_t len; /* of path: "" or a folder with its '/' */
    char path[STORE_KEY_MAX + 1];
};

/* Names with a '/' behind folders, so that comparing them gives the order of the keys. */
struct batch {
    size_t count;
    bool more; /* greater names were left out */
    struct str at[2 * LIST_BATCH];
};

static void batch_free(struct batch *b)
{
    for (size_t i = 0; b != NULL && i < b->count; i++)
        free((void *)(uintptr_t)b->at[i].at);
    free(b);
}

static void batch_freep(struct batch **b)
{
    batch_free(*b);
}

static int compare(const void *a, const void *b)
{
    return str_cmp(*(const struct str *)a, *(const struct str *)b);
}

/* Sorts, and keeps the smallest LIST_BATCH. */
static void batch_settle(struct batch *b)
{
    qsort(b->at, b->count, sizeof(b->at[0]), compare);
    while (b->count > LIST_BATCH) {
        free((void *)(uintptr_t)b->at[--b->count].at);
        b->more = true;
    }
}

static int batch_add(struct batch *b, struct str name)
{
    if (b->count == ARRAY_LEN(b->at))
        batch_settle(b);
    /* Once something was left out, what is not smaller than the greatest kept is left out, too. */
    if (b->more && b->count == LIST_BATCH && str_cmp(name, b->at[b->count - 1]) >= 0)
        return 0;
    char *copy = malloc(name.len);
    if (copy == NULL)
        return -ERR_NOMEM;
    memcpy(copy, name.at, name.len);
    b->at[b->count++] = str_make(copy, name.len);
    return 0;
}

/* May the path, a key or (with its '/') the start of keys, be or begin something wanted? */
static bool wanted(const struct lister *l, struct str path, bool folder)
{
    if (!folder)
        return str_starts(path, l->prefix) && str_cmp(path, l->after) > 0;
    if (!str_starts(path, l->prefix) && !str_starts(l->prefix, path))
        return false;
    return str_cmp(path, l->after) > 0 || str_starts(l->after, path);
}

/* What kind the entry is: 1 folder, 0 file, -1 nothing of ours. */
static int kind_of(int folder, const struct dirent *e)
{
    struct stat st;

    if (e->d_type == DT_DIR)
        return 1;
    if (e->d_type == DT_REG)
        return 0;
    if (e->d_type != DT_UNKNOWN || fstatat(folder, e->d_name, &st, AT_SYMLINK_NOFOLLOW) < 0)
        return -1;
    return S_ISDIR(st.st_mode) ? 1 : S_ISREG(st.st_mode) ? 0 : -1;
}

static int add_entry(struct lister *l, int folder, const struct dirent *e, struct str cursor,
                     struct batch *b)
{
    size_t len = strlen(e->d_name);
    int kind;

    if (strcmp(e->d_name, ".") == 0 || strcmp(e->d_name, "..") == 0 ||
        (l->len == 0 && e->d_name[0] == '.') || l->len + len > STORE_KEY_MAX)
        return 0;
    kind = kind_of(folder, e);
    if (kind < 0 || (kind == 1 && l->len + len == STORE_KEY_MAX))
        return 0;
    memcpy(l->path + l->len, e->d_name, len);
    if (kind == 1)
        l->path[l->len + len++] = '/';
    struct str name = str_make(l->path + l->len, len);
    if (!wanted(l, str_make(l->path, l->len + len), kind == 1) || str_cmp(name, cursor) <= 0)
        return 0;
    return batch_add(b, name);
}

/* Reads the folder at l->path: the smallest names behind cursor that are wanted. */
static int read_batch(struct lister *l, struct str cursor, struct batch *b)
{
    const struct dirent *e;
    int r = 0;

    l->path[l->len > 0 ? l->len - 1 : 0] = 0;
    int fd = dir_openat(l->sd, l->path, O_RDONLY | O_DIRECTORY);
    if (fd < 0 && errno != ENOENT && errno != ENOTDIR)
        r = dir_error(l->detail, errno, "cannot read the folder", l->path);
    if (l->len > 0)
        l->path[l->len - 1] = '/';
    if (fd < 0)
        return r;
    DIR *d = fdopendir(fd);
    if (d == NULL) {
        close(fd);
        return -ERR_NOMEM;
    }
    while (r == 0 && (errno = 0, (e = readdir(d)) != NULL))
        r = add_entry(l, fd, e, cursor, b);
    if (r == 0 && errno != 0)
        r = dir_error(l->detail, errno, "cannot read a folder of", "the store");
    closedir(d);
    batch_settle(b);
    return r;
}

static int tell(struct lister *l, size_t len)
{
    struct stat st;

    l->path[len] = 0;
    if (fstatat(l->sd->root, l->path, &st, AT_SYMLINK_NOFOLLOW) < 0)
        return errno == ENOENT || errno == ENOTDIR
                   ? 0 /* removed meanwhile */
                   : dir_error(l->detail, errno, "cannot look up", l->path);
    struct store_info info = dir_info(&st);
    l->left--;
    return l->fn(str_make(l->path, len), &info, l->arg);
}

/* Recursion is bounded by the segments of a key: two bytes each. */
static int walk(struct lister *l)
{
    char last[DIR_NAME_MAX + 1];
    struct str cursor = STR_NONE;
    size_t len = l->len;
    bool more = true;

    while (more && l->left > 0) {
        struct batch *b auto_of(batch_freep) = malloc(sizeof(*b));
        if (b == NULL)
            return -ERR_NOMEM;
        b->count = 0;
        b->more = false;
        int r = read_batch(l, cursor, b);
        for (size_t i = 0; r == 0 && i < b->count && l->left > 0; i++) {
            struct str name = b->at[i];

            memcpy(l->path + len, name.at, name.len);
            if (name.at[name.len - 1] == '/') {
                l->len = len + name.len;
                r = walk(l);
                l->len = len;
            } else {
                r = tell(l, len + name.len);
            }
        }
        if (r != 0)
            return r;
        more = b->more;
        if (more) {
            cursor = str_make(last, b->at[b->count - 1].len);
            memcpy(last, b->at[b->count - 1].at, cursor.len);
        }
    }
    return 0;
}

/* The folder that the prefix names; false when no key can lie in it. */
static bool start_folder(struct lister *l)
{
    size_t start = 0;

    for (size_t i = 0; i < l->prefix.len; i++) {
        struct str segment = str_make(l->prefix.at + start, i - start);

        if (l->prefix.at[i] != '/')
            continue;
        if (i + 1 > STORE_KEY_MAX || segment.len == 0 || segment.len > STORE_SEGMENT_MAX ||
            str_eq(segment, STR(".")) || str_eq(segment, STR("..")) || str_find(segment, 0) >= 0 ||
            (start == 0 && segment.at[0] == '.'))
            return false;
        start = i + 1;
    }
    l->len = start;
    if (start > 0)
        memcpy(l->path, l->prefix.at, start);
    return true;
}

int dir_list(struct store *s, struct str prefix, struct str after, unsigned max, store_list_fn fn,
             void *arg, struct err_detail *detail)
{
    struct lister l = {
        .sd = dir_of(s),
        .prefix = prefix,
        .after = after,
        .left = max,
        .fn = fn,
        .arg = arg,
        .detail = detail,
    };

    return start_folder(&l) ? walk(&l) : 0;
}
