/* Directory backend: many operations at once. Questions for existence whose answers need a sync
 * (D5) are gathered: from BULK_SYNCS on, one sync of the whole file system (D6) costs less than one
 * of each folder, as when a manifest of thousands of layers is checked by a process that has just
 * been started. Objects of one folder that are read are made sure of by one sync of it: a log that
 * is followed. Creates go together in steps (files written, files synced, links, folders synced),
 * so that one sync, or one journal commit, mostly serves all of a step. */
#include "blobstore/store_dir_internal.h"

#include <fcntl.h>

#define BULK_SYNCS       32
#define CREATES_TOGETHER 16 /* at most; two descriptors each */
#define GETS_TOGETHER    64

static bool is_open_question(const struct store_op *op)
{
    return op->kind == STORE_OP_HEAD && op->result == -ERR_AGAIN;
}

/* What is there by a way without symbolic links (D1). */
static int look_safely(const struct store_dir *sd, const struct dir_path *p, struct stat *st)
{
    int fd auto_fd = dir_openat(sd, p->at, O_PATH | O_NOFOLLOW);

    return fd >= 0 && fstat(fd, st) == 0 && S_ISREG(st->st_mode) ? 0 : -1;
}

/* Answers open questions by one sync; those that it cannot answer stay open. */
static void ask_in_bulk(struct store_dir *sd, struct store_op *ops, size_t count)
{
    struct stat *seen auto_free = calloc(count, sizeof(*seen));
    struct dir_path p;
    struct stat root;

    if (seen == NULL || fstat(sd->root, &root) < 0)
        return;
    for (size_t i = 0; i < count; i++) {
        if (!is_open_question(&ops[i]))
            continue;
        dir_path_init(&p, ops[i].key);
        /* What lies on another file system was not linked there by us, nor synced by this. */
        if (look_safely(sd, &p, &seen[i]) < 0 || seen[i].st_dev != root.st_dev)
            seen[i].st_nlink = 0;
    }
    if (!dir_sync_all(sd))
        return; /* each folder is then synced by itself */
    for (size_t i = 0; i < count; i++) {
        if (!is_open_question(&ops[i]) || seen[i].st_nlink == 0)
            continue;
        dir_path_init(&p, ops[i].key);
        dir_remember(sd, &p, &seen[i]);
        ops[i].info = dir_info(&seen[i]);
        ops[i].result = 0;
    }
}

/* ---- Creates together. */

struct create {
    struct store_op *op;
    struct dir_path path;
    struct dir_file file;
    struct dir_link link;
};

/* Writes the bytes into a file without the key's name; what is there already is answered by itself.
 */
static void create_write(struct store *s, struct create *c)
{
    struct store_op *op = c->op;
    struct store_info info;
    int r = store_probe(s, op->key, &info);

    c->file = DIR_FILE_NONE;
    c->link = DIR_LINK_NONE;
    dir_path_init(&c->path, op->key);
    if (r == 0 || r == -ERR_AGAIN)
        r = store_create(s, op->key, op->cls, op->bytes, NULL); /* mostly -ERR_EXISTS, durable */
    else if (r == -ERR_NOTFOUND)
        r = dir_file_temporary(dir_of(s), &c->file, NULL);
    if (c->file.fd >= 0)
        r = fd_write_all(c->file.fd, op->bytes);
    op->result = r;
}

static bool goes_on(const struct create *c)
{
    return c->file.fd >= 0 && c->op->result == 0;
}

static bool file_unsynced(const struct create *c)
{
    return goes_on(c) && c->op->cls != STORE_HINT;
}

static void sync_files(struct store_dir *sd, struct create *group, size_t count)
{
    size_t files = 0;

    for (size_t i = 0; i < count; i++)
        files += file_unsynced(&group[i]);
    if (files == 0 || dir_share_begin(sd, group->op->cls))
        return;
    for (size_t i = 0; i < count; i++)
        if (file_unsynced(&group[i]))
            group[i].op->result = dir_sync_bytes(group[i].file.fd);
    dir_share_end(sd);
}

static bool folder_unsynced(const struct store_dir *sd, const struct create *c)
{
    return c->link.folder >= 0 && dir_link_unsynced(sd, &c->path, c->op->cls, &c->link);
}

/* True: by one sync of everything. */
static bool sync_folders(struct store_dir *sd, struct create *group, size_t count)
{
    size_t folders = 0;

    for (size_t i = 0; i < count; i++)
        folders += folder_unsynced(sd, &group[i]);
    if (folders == 0)
        return false;
    if (dir_share_begin(sd, group->op->cls))
        return true;
    for (size_t i = 0; i < count; i++)
        if (folder_unsynced(sd, &group[i]))
            dir_sync_entries(group[i].link.folder);
    dir_share_end(sd);
    return false;
}

static void create_group(struct store *s, struct create *group, size_t count)
{
    struct store_dir *sd = dir_of(s);
    bool shared;

    for (size_t i = 0; i < count; i++)
        create_write(s, &group[i]);
    sync_files(sd, group, count);
    for (struct create *c = group; c < group + count; c++)
        if (goes_on(c))
            c->op->result = dir_link_make(sd, &c->file, &c->path, &c->link, NULL);
    shared = sync_folders(sd, group, count);
    for (struct create *c = group; c < group + count; c++) {
        if (c->link.folder >= 0 &&
            dir_link_settled(sd, &c->path, c->op->cls, &c->link, shared, NULL) < 0)
            c->op->result = -ERR_UNKNOWN;
        dir_file_drop(&c->file);
    }
}

/* Runs the creates that stand first together; returns how many, 0 when there is no company. */
static size_t run_creates(struct store *s, struct store_op *ops, size_t count)
{
    struct create *group;
    size_t n = 0;

    while (n < count && n < CREATES_TOGETHER && ops[n].kind == STORE_OP_CREATE)
        n++;
    group = n > 1 ? calloc(n, sizeof(*group)) : NULL;
    if (group == NULL)
        return 0;
    for (size_t i = 0; i < n; i++)
        group[i].op = &ops[i];
    create_group(s, group, n);
    free(group);
    return n;
}

/* ---- Reads together. */

/* Reads that stand first and are of one folder. */
static size_t neighbours(const struct store_op *ops, size_t count)
{
    struct dir_path first, p;
    size_t n = 0;

    dir_path_init(&first, ops[0].key);
    for (; n < count && n < GETS_TOGETHER && ops[n].kind == STORE_OP_GET; n++) {
        dir_path_init(&p, ops[n].key);
        if (p.leaf != first.leaf || memcmp(p.at, first.at, p.leaf) != 0)
            break;
    }
    return n;
}

/* What is there and not known to be durable is so by one sync of the folder (D5), and read without
 * another. On a failure each is made sure of by itself. */
static void confirm_together(struct store_dir *sd, const struct store_op *ops, size_t count)
{
    struct stat seen[GETS_TOGETHER];
    int folder auto_fd = -1;
    struct dir_path p;
    size_t unknown = 0;

    dir_path_init(&p, ops[0].key);
    if (dir_enter(sd, &p, false, true, &folder, NULL) < 0)
        return;
    for (size_t i = 0; i < count; i++) {
        dir_path_init(&p, ops[i].key);
        if (fstatat(folder, p.at + p.leaf, &seen[i], AT_SYMLINK_NOFOLLOW) < 0 ||
            !S_ISREG(seen[i].st_mode) || dir_known(sd, &p, &seen[i]))
            seen[i].st_nlink = 0;
        else
            unknown++;
    }
    if (unknown < 2)
        return;
    dir_sync_entries(folder);
    for (size_t i = 0; i < count; i++) {
        dir_path_init(&p, ops[i].key);
        if (seen[i].st_nlink > 0)
            dir_remember(sd, &p, &seen[i]);
    }
}

void dir_run(struct store *s, struct store_op *ops, size_t count)
{
    size_t questions = 0, together, confirmed = 0;

    for (size_t i = 0; i < count; i++) {
        ops[i].result = ops[i].kind == STORE_OP_HEAD ? store_probe(s, ops[i].key, &ops[i].info) : 0;
        questions += is_open_question(&ops[i]);
    }
    if (questions >= BULK_SYNCS)
        ask_in_bulk(dir_of(s), ops, count);
    for (size_t i = 0; i<count; i += together> 0 ? together : 1) {
        struct store_op *op = &ops[i];

        if (i >= confirmed && op->kind == STORE_OP_GET && !dir_of(s)->read_only) {
            confirmed = i + neighbours(op, count - i);
            if (confirmed - i > 1)
                confirm_together(dir_of(s), op, confirmed - i);
        }
        together = run_creates(s, op, count - i);
        if (is_open_question(op))
            op->result = store_head(s, op->key, &op->info, NULL);
        else if (together == 0 && op->kind == STORE_OP_CREATE)
            op->result = store_create(s, op->key, op->cls, op->bytes, NULL);
        else if (op->kind == STORE_OP_GET)
            op->result = store_get(s, op->key, op->offset, op->len > 0 ? op->len : STORE_WHOLE,
                                   op->out, NULL);
        else if (op->kind == STORE_OP_REMOVE)
            op->result = store_remove(s, op->key, op->cls, NULL);
    }
}
