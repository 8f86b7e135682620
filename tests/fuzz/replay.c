/* Runs a target over files, without libFuzzer: each argument is a file or a folder whose files are
 * taken in order of their names. Says how many there were; a property that does not hold ends the
 * program right after the name of the file was written. */
#include "fuzz.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <sys/stat.h>

#include "base/fd.h"

#define FILES_MAX 1000

static unsigned replayed;

static int replay_file(const char *path)
{
    struct buf text auto_buf = BUF_INIT(FUZZ_INPUT_MAX);
    int fd auto_fd = open(path, O_RDONLY | O_CLOEXEC);
    struct stat st;
    uint8_t *exact;

    if (fd < 0 || fstat(fd, &st) < 0 || st.st_size > FUZZ_INPUT_MAX ||
        fd_pread_all(fd, 0, (size_t)st.st_size, &text) < 0) {
        fprintf(stderr, "%s: cannot be read\n", path);
        return 1;
    }
    fprintf(stderr, "%s\n", path);
    /* Memory of just that length: a sanitizer sees a read behind it. */
    exact = malloc(text.len);
    assert(exact || text.len == 0);
    if (text.len)
        memcpy(exact, text.at, text.len);
    (void)LLVMFuzzerTestOneInput(exact, text.len);
    free(exact);
    replayed++;
    return 0;
}

static int no_dots(const struct dirent *e)
{
    return e->d_name[0] != '.';
}

static int replay_folder(const char *path)
{
    struct dirent **names;
    int n = scandir(path, &names, no_dots, alphasort), r = 0;

    if (n < 0 || n > FILES_MAX) {
        fprintf(stderr, "%s: %s\n", path, n < 0 ? strerrordesc_np(errno) : "too many files");
        return 1;
    }
    for (int i = 0; i < n; i++) {
        struct buf file auto_buf = BUF_INIT(4096);

        buf_addf(&file, "%s/%s", path, names[i]->d_name);
        r |= replay_file(buf_c(&file));
        free(names[i]);
    }
    free(names);
    return r;
}

int main(int argc, char **argv)
{
    int r = 0;

    for (int i = 1; i < argc; i++) {
        struct stat st;

        if (stat(argv[i], &st) == 0 && S_ISDIR(st.st_mode))
            r |= replay_folder(argv[i]);
        else
            r |= replay_file(argv[i]);
    }
    fprintf(stderr, "%u inputs\n", replayed);
    return r || replayed == 0;
}
