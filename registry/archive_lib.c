#include "registry/archive_lib.h"

#include "base/library.h"
#include "registry/archive.h"

#define SONAME "libarchive.so.13"

struct archive_lib archive_lib;

int archive_lib_load(struct err_detail *detail)
{
#define FUNCTION(name) {"archive_" #name, &archive_lib.name},
    static const struct library_function functions[] = {ARCHIVE_FUNCTIONS(FUNCTION)};
#undef FUNCTION

    return library_load(SONAME, functions, ARRAY_LEN(functions), detail);
}

const char *archive_library(void)
{
    return archive_lib_load(NULL) < 0 ? "" : archive_lib.version_string();
}
