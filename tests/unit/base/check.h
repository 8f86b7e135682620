/* What every test of base needs: cmocka with its own needs, and comparison of views. */
#ifndef STOWAGE_TESTS_UNIT_BASE_CHECK_H
#define STOWAGE_TESTS_UNIT_BASE_CHECK_H

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#include "base/err.h"
#include "base/str.h"

#define assert_str(s, text) assert_view((s), str_of(text), __FILE__, __LINE__)

static inline void assert_view(struct str got, struct str want, const char *file, int line)
{
    if (str_eq(got, want))
        return;
    print_error("got \"" STR_FMT "\", not \"" STR_FMT "\"\n", STR_ARG(got), STR_ARG(want));
    _fail(file, line);
}

/* For the cases of a table: says which one failed. */
#define check(ok, ...)                                                                             \
    do {                                                                                           \
        if (!(ok)) {                                                                               \
            print_error(__VA_ARGS__);                                                              \
            print_error(": %s\n", #ok);                                                            \
            fail();                                                                                \
        }                                                                                          \
    } while (0)

#endif
