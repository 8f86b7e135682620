/* Directory backend: many operations at once. Questions for existence whose answers need a sync
 * (D5) are gathered: from BULK_SYNCS on, one sync of the whole file system costs less than one of
 * each folder, as when a manifest of thousands of layers is checked by a process that has just been
 * started. Everything else is one system call after the other. */
#include "blobstore/store_dir_internal.h"

#include <fcntl.h>

#define BULK_SYNCS 32

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

    if (seen == NULL)
        return;
    for (size_t i = 0; i < count; i++) {
        if (!is_open_question(&ops[i]))
            continue;
        dir_path_init(&p, ops[i].key);
        if (look_safely(sd, &p, &seen[i]) < 0)
            seen[i].st_nlink = 0;
    }
    /* Its failure may be another's, so it decides nothing: each folder is then synced by itself. */
    if (syncfs(sd->root) < 0)
        return;
    for (size_t i = 0; i < count; i++) {
        if (!is_open_question(&ops[i]) || seen[i].st_nlink == 0)
            continue;
        dir_path_init(&p, ops[i].key);
        dir_remember(sd, &p, &seen[i]);
        ops[i].info = dir_info(&seen[i]);
        ops[i].result = 0;
    }
}

void dir_run(struct store *s, struct store_op *ops, size_t count)
{
    size_t questions = 0;

    for (size_t i = 0; i < count; i++) {
        ops[i].result = ops[i].kind == STORE_OP_HEAD ? store_probe(s, ops[i].key, &ops[i].info) : 0;
        questions += is_open_question(&ops[i]);
    }
    if (questions >= BULK_SYNCS)
        ask_in_bulk(dir_of(s), ops, count);
    for (size_t i = 0; i < count; i++) {
        struct store_op *op = &ops[i];

        if (is_open_question(op))
            op->result = store_head(s, op->key, &op->info, NULL);
        else if (op->kind == STORE_OP_CREATE)
            op->result = store_create(s, op->key, op->cls, op->bytes, NULL);
        else if (op->kind == STORE_OP_REMOVE)
            op->result = store_remove(s, op->key, op->cls, NULL);
    }
}
