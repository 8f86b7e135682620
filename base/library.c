#include "base/library.h"

#include <dlfcn.h>
#include <string.h>

int library_load(const char *soname, const struct library_function *functions, size_t count,
                 struct err_detail *detail)
{
    void *library = dlopen(soname, RTLD_NOW | RTLD_LOCAL);

    for (size_t i = 0; library && i < count; i++) {
        void *function = dlsym(library, functions[i].name);

        if (!function)
            return err_set(detail, -ERR_UNSUPPORTED, "the library %s has no %s", soname,
                           functions[i].name);
        memcpy(functions[i].at, &function, sizeof(function));
    }
    return library ? 0
                   : err_set(detail, -ERR_UNSUPPORTED, "the library %s cannot be loaded", soname);
}
