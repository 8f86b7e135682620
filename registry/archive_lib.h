/* libarchive, loaded when a tar is read or written (base/library.h): it brings a dozen libraries
 * along, which a node never needs. */
#ifndef STOWAGE_REGISTRY_ARCHIVE_LIB_H
#define STOWAGE_REGISTRY_ARCHIVE_LIB_H

#include <archive.h>
#include <archive_entry.h>

#include "base/err.h"

#define ARCHIVE_FUNCTIONS(X)                                                                       \
    X(entry_filetype)                                                                              \
    X(entry_free)                                                                                  \
    X(entry_hardlink)                                                                              \
    X(entry_new)                                                                                   \
    X(entry_pathname)                                                                              \
    X(entry_set_filetype)                                                                          \
    X(entry_set_mtime)                                                                             \
    X(entry_set_pathname)                                                                          \
    X(entry_set_perm)                                                                              \
    X(entry_set_size)                                                                              \
    X(entry_size)                                                                                  \
    X(entry_symlink)                                                                               \
    X(error_string)                                                                                \
    X(read_data)                                                                                   \
    X(read_free)                                                                                   \
    X(read_new)                                                                                    \
    X(read_next_header)                                                                            \
    X(read_open_filename)                                                                          \
    X(read_support_filter_gzip)                                                                    \
    X(read_support_filter_zstd)                                                                    \
    X(read_support_format_tar)                                                                     \
    X(version_string)                                                                              \
    X(write_add_filter_none)                                                                       \
    X(write_close)                                                                                 \
    X(write_data)                                                                                  \
    X(write_free)                                                                                  \
    X(write_header)                                                                                \
    X(write_new)                                                                                   \
    X(write_open_filename)                                                                         \
    X(write_set_bytes_in_last_block)                                                               \
    X(write_set_format_pax_restricted)

#define ARCHIVE_MEMBER(name) __typeof__(&archive_##name) name;
extern struct archive_lib {
    ARCHIVE_FUNCTIONS(ARCHIVE_MEMBER)
} archive_lib;
#undef ARCHIVE_MEMBER

/* Before anything else; by one thread. */
int archive_lib_load(struct err_detail *detail) must_check;

#endif
