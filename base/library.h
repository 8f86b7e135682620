/* Shared libraries that are loaded when they are first needed: what few set-ups or commands use
 * neither slows the start of a node nor takes its memory. */
#ifndef STOWAGE_BASE_LIBRARY_H
#define STOWAGE_BASE_LIBRARY_H

#include "base/err.h"

struct library_function {
    const char *name;
    void *at; /* of a pointer to a function of its type */
};

/* soname: with the number of its ABI. Sets every pointer; the library stays. 0, or
 * -ERR_UNSUPPORTED: it is not there, or lacks a function; pointers may then be set in part. Any
 * thread; the caller sees to it that no pointer is used or set meanwhile. */
int library_load(const char *soname, const struct library_function *functions, size_t count,
                 struct err_detail *detail) must_check;

#endif
