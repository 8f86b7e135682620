#include "registry/store_open.h"

#include "base/str.h"
#include "blobstore/keys.h"
#include "blobstore/store_s3.h"

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

/* A wrong path or bucket must not become a registry by being asked about one. */
static int check_registry(struct store *s, const char *name, struct err_detail *detail)
{
    struct buf key auto_buf = BUF_INIT(STORE_KEY_MAX);
    struct store_info info;
    int e;

    keys_format(&key);
    e = buf_err(&key) < 0 ? buf_err(&key) : store_head(s, buf_str(&key), &info, detail);
    return e == -ERR_NOTFOUND ? err_set(detail, e, "there is no registry in %s", name) : e;
}

static int open_s3(const struct config *config, const char *name, enum store_use use,
                   struct store **ret, struct err_detail *detail)
{
    struct store_s3_settings settings = {
        .endpoint = config->s3_endpoint,
        .public_endpoint = config->s3_public_endpoint,
        .region = config->s3_region,
        .ca_file = config->s3_ca_file,
        .create_header = config->s3_create_header,
        .addressing = (enum s3_addressing)config->s3_addressing,
    };
    struct store *s auto_store = NULL;
    int e = store_s3_parse_url(str_of(name), &settings.bucket, &settings.prefix, detail);

    if (e == 0)
        e = store_s3_new(&settings, &s, detail);
    if (e == 0 && use == STORE_EDIT)
        e = check_registry(s, name, detail);
    if (e < 0)
        return e;
    *ret = s;
    s = NULL;
    return 0;
}

static int open_dir(const char *path, enum store_use use, struct store **ret,
                    struct err_detail *detail)
{
    struct store *look auto_store = NULL;
    int e = 0;

    if (use == STORE_LOOK)
        return store_dir_open_readonly(path, ret, detail);
    if (use == STORE_EDIT)
        e = store_dir_open_readonly(path, &look, detail);
    if (e == 0 && look)
        e = check_registry(look, path, detail);
    return e < 0 ? e : store_dir_new(path, ret, detail);
}

int store_open_name(const struct config *config, const char *name, enum store_use use,
                    struct store **ret, struct err_detail *detail)
{
    struct str scheme = scheme_of(str_of(name));
    const char *path = name;

    if (str_eq(scheme, STR("s3")))
        return open_s3(config, name, use, ret, detail);
    if (scheme.len && !str_eq(scheme, STR("dir")))
        return err_set(detail, -ERR_INVAL,
                       "there is no kind of store called " STR_FMT ": use dir: or s3:",
                       STR_ARG(str_head(scheme, 40)));
    if (scheme.len)
        path += scheme.len + 1;
    if (!path[0])
        return err_set(detail, -ERR_INVAL, "the store's path is empty");
    return open_dir(path, use, ret, detail);
}

const char *store_open_text(const struct config *config)
{
    return config->store && config->store[0] ? config->store : config->root;
}

int store_open_config(const struct config *config, enum store_use use, struct store **ret,
                      struct err_detail *detail)
{
    if (config->store && config->store[0])
        return store_open_name(config, config->store, use, ret, detail);
    return open_dir(config->root, use, ret, detail);
}
