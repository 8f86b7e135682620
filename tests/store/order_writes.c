/* Makes one create of each class and a stream's commit, for the test of the order in which they
 * reach the disk. Writes "done <what>" to standard output when a call has returned. Argument: a
 * folder. */
#include <stdio.h>
#include <unistd.h>

#include "blobstore/store.h"

static const struct {
    const char *what, *key;
    enum store_class cls;
} creates[] = {
    {"log", "repos/a/b/_log/0000000000000000/00000000000000000001", STORE_LOG},
    {"log again", "repos/a/b/_log/0000000000000000/00000000000000000002", STORE_LOG},
    {"record", "blobs/sha256/ab/abcd.0", STORE_RECORD},
    {"data", "data/ab/abcd", STORE_DATA},
    {"link", "links/sha256/ab/abcd.0/a!b/0", STORE_LINK},
    {"upload", "uploads/abcd/00000000000000000001", STORE_UPLOAD},
    {"hint", "changes/202611220750/a/_", STORE_HINT},
};

static void done(const char *what)
{
    char line[64];
    int n = snprintf(line, sizeof(line), "done %s\n", what);

    (void)!write(STDOUT_FILENO, line, (size_t)n);
}

static int check(int r, const char *what, const struct err_detail *detail)
{
    if (r < 0)
        (void)fprintf(stderr, "%s: %s: %s\n", what, err_name(r), detail->text);
    else
        done(what);
    return r;
}

static int write_stream(struct store *s, struct err_detail *d)
{
    static const char piece[1 << 20];
    struct buf state auto_buf = BUF_INIT(STORE_STREAM_STATE_MAX);
    struct store_stream *st = NULL;
    int r = store_stream_open(s, STR("data/cd/cdef"), &st, d);

    for (int i = 0; i < 3 && r == 0; i++)
        r = store_stream_write(st, str_make(piece, sizeof(piece)), d);
    if (r == 0)
        r = check(store_stream_save(st, &state, d), "save", d);
    if (r == 0)
        r = store_stream_write(st, STR("the end"), d);
    if (r == 0)
        r = check(store_stream_commit(st, d), "commit", d);
    store_stream_close(st);
    return r;
}

int main(int argc, char **argv)
{
    struct err_detail d = {""};
    struct store *s auto_store = NULL;

    if (argc != 2 || check(store_dir_new(argv[1], &s, &d), "open", &d) < 0)
        return 2;
    for (size_t i = 0; i < ARRAY_LEN(creates); i++) {
        struct str bytes = creates[i].cls == STORE_LINK ? STR("") : STR("some bytes");
        int r = store_create(s, str_of(creates[i].key), creates[i].cls, bytes, &d);
        if (check(r, creates[i].what, &d) < 0)
            return 1;
    }
    return write_stream(s, &d) < 0;
}
