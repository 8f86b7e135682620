#include "registry/store_open.h"

#include "base/str.h"

/* "word:" in front, as in a URL; a path that holds a colon starts with '/' or '.'. */
static struct str scheme_of(struct str name)
{
    for (size_t i = 0; i < name.len; i++) {
        char c = name.at[i];

        if (c == ':')
            return str_head(name, i);
        if (!((c >= 'a' && c <= 'z') || (c >= '0' && c <= '9')))
            break;
    }
    return STR_NONE;
}

int store_open_name(const char *name, enum store_use use, struct store **ret,
                    struct err_detail *detail)
{
    struct str scheme = scheme_of(str_of(name));
    const char *path = name;

    if (scheme.len && !str_eq(scheme, STR("dir")))
        return err_set(detail, -ERR_INVAL, "there is no kind of store called " STR_FMT ": use dir:",
                       STR_ARG(str_head(scheme, 40)));
    if (scheme.len)
        path += scheme.len + 1;
    if (!path[0])
        return err_set(detail, -ERR_INVAL, "the store's path is empty");
    return use == STORE_LOOK ? store_dir_open_readonly(path, ret, detail)
                             : store_dir_new(path, ret, detail);
}
