/* Media types: fixed tables, compared byte by byte (the manifest types) or without case (generic
 * ones, which clients write as they like). */
#include "manifests/media.h"

#include "base/attr.h"

#define OCI_NONDISTRIBUTABLE "application/vnd.oci.image.layer.nondistributable.v1.tar"
#define DOCKER_FOREIGN       "application/vnd.docker.image.rootfs.foreign.diff.tar"

enum media_kind media_kind(struct str type)
{
    if (str_eq(type, STR(MEDIA_OCI_MANIFEST)) || str_eq(type, STR(MEDIA_DOCKER_MANIFEST)))
        return MEDIA_IMAGE;
    if (str_eq(type, STR(MEDIA_OCI_INDEX)) || str_eq(type, STR(MEDIA_DOCKER_LIST)))
        return MEDIA_INDEX;
    return MEDIA_OTHER;
}

static bool blank(char c)
{
    return c == ' ' || c == '\t';
}

struct str media_strip(struct str content_type)
{
    ptrdiff_t parameters = str_find(content_type, ';');
    struct str s = parameters < 0 ? content_type : str_head(content_type, (size_t)parameters);

    while (s.len > 0 && blank(s.at[0]))
        s = str_skip(s, 1);
    while (s.len > 0 && blank(s.at[s.len - 1]))
        s.len--;
    return s;
}

bool media_generic(struct str type)
{
    return type.len == 0 || str_eq_nocase(type, STR("application/json")) ||
           str_eq_nocase(type, STR("application/octet-stream")) ||
           str_eq_nocase(type, STR("text/plain"));
}

bool media_foreign(struct str type)
{
    static const char *const types[] = {
        OCI_NONDISTRIBUTABLE, OCI_NONDISTRIBUTABLE "+gzip", OCI_NONDISTRIBUTABLE "+zstd",
        DOCKER_FOREIGN,       DOCKER_FOREIGN ".gzip",
    };

    for (size_t i = 0; i < ARRAY_LEN(types); i++)
        if (str_eq(type, str_of(types[i])))
            return true;
    return false;
}
