/* Files of settings that change while the server runs (users, policy, issuers): read whole, and
 * looked at by one system call whether they are still the same. Any thread. */
#ifndef STOWAGE_AUTH_FILE_H
#define STOWAGE_AUTH_FILE_H

#include <stdint.h>

#include "base/buf.h"

#define FILE_BYTES_MAX (4u << 20)

/* Which file, and which content of it; all zero: none. */
struct file_stamp {
    uint64_t device, inode, size;
    int64_t changed_ns, modified_ns;
};

/* Zero when the file cannot be looked at. */
struct file_stamp file_stamp(const char *path);
bool file_stamp_eq(const struct file_stamp *a, const struct file_stamp *b);
/* Appends the content and says which it was. Errors name the path. */
int file_read(const char *path, struct buf *out, struct file_stamp *ret,
              struct err_detail *detail) must_check;

/* Cuts the next line off *text, without its end; false when there is none. */
bool file_next_line(struct str *text, struct str *ret_line);
/* Cuts the next word (blanks and tabs between) off *line; false when there is none. */
bool file_next_word(struct str *line, struct str *ret_word);

#endif
