/* Reads a tar once, in order, and stores what it holds. */
#include <assert.h>
#include <stdlib.h>

#include "registry/archive_internal.h"
#include "registry/archive_lib.h"

#define READ_BLOCK (256u << 10)
#define LINKS_MAX  8

static void file_free(void *value)
{
    struct archive_file *f = value;

    buf_done(&f->bytes);
    free(f->link_to);
    free(f);
}

/* "./a", "/a" and "a" are one name. */
static struct str clean_path(struct str path)
{
    while (str_starts(path, STR("./")) || str_starts(path, STR("/")))
        path = str_skip(path, path.at[0] == '/' ? 1 : 2);
    return path;
}

struct archive_file *archive_find(struct archive_import *in, struct str path)
{
    struct archive_file *f = omap_get(in->files, clean_path(path));

    for (unsigned i = 0; f && f->link_to && i < LINKS_MAX; i++)
        f = omap_get(in->files, clean_path(str_of(f->link_to)));
    return f && !f->link_to ? f : NULL;
}

/* ---- Storing bytes through an upload session of our own. */
struct sink {
    struct upload *upload; /* opened when the content turns out not to be a held document */
    struct hasher hasher;
    enum digest_alg alg;
};

static int sink_open(struct archive_import *in, struct sink *s)
{
    char id[KEYS_SESSION_LEN + 1];

    upload_start(in->app->uploads, in->name, STR_NONE, s->alg, id);
    return upload_hold(in->app->uploads, in->name, STR_NONE, str_of(id), &s->upload, in->detail);
}

static int sink_close(struct archive_import *in, struct sink *s, const struct digest *d)
{
    uint64_t u;
    int e = repo_refresh(in->repo, in->detail);

    if (e == 0)
        e = repo_link_u(in->repo, d, &u);
    return e < 0 ? e : upload_close(s->upload, d, u, in->detail);
}

int archive_store_held(struct archive_import *in, struct archive_file *f)
{
    struct sink s = {.alg = f->digest.alg};
    int e = f->stored ? 0 : sink_open(in, &s);

    if (f->stored || e < 0)
        return e;
    e = upload_write(s.upload, buf_str(&f->bytes), in->detail);
    if (e == 0)
        e = sink_close(in, &s, &f->digest);
    upload_release(s.upload);
    f->stored = e == 0;
    return e;
}

/* A document that may be a manifest, an index or a list of images: JSON by its first byte (blanks
 * before it are allowed), and small enough. */
static bool may_be_document(const struct archive_file *f, uint64_t declared)
{
    return declared <= ARCHIVE_JSON_MAX && f->magic[0] && strchr("{[ \t\r\n", f->magic[0]);
}

static int tar_failed(struct archive *tar, struct err_detail *detail)
{
    const char *why = archive_lib.error_string(tar);

    return err_set(detail, -ERR_INVAL, "the file cannot be read as a tar: %.150s",
                   why ? why : "unknown error");
}

/* Reads the entry's content into memory or an upload. */
static int read_content(struct archive_import *in, struct archive *tar, uint64_t declared,
                        struct archive_file *f, struct sink *s)
{
    char *block auto_free = malloc(READ_BLOCK);
    la_ssize_t n;
    int e = 0;

    if (!block)
        return -ERR_NOMEM;
    while (e == 0 && (n = archive_lib.read_data(tar, block, READ_BLOCK)) != 0) {
        struct str bytes = str_make(block, (size_t)n);

        if (n < 0)
            return tar_failed(tar, in->detail);
        if (f->size == 0) {
            memcpy(f->magic, block, bytes.len < sizeof(f->magic) ? bytes.len : sizeof(f->magic));
            f->held = may_be_document(f, declared);
            e = f->held ? 0 : sink_open(in, s);
        }
        hasher_add(&s->hasher, bytes);
        f->size += bytes.len;
        if (e == 0 && f->held) {
            in->held_bytes += bytes.len;
            buf_add(&f->bytes, bytes);
            e = buf_err(&f->bytes);
        } else if (e == 0) {
            e = upload_write(s->upload, bytes, in->detail);
        }
        if (in->held_bytes > ARCHIVE_HELD_MAX)
            e = err_set(in->detail, -ERR_TOOBIG,
                        "the tar holds more than %u bytes of JSON documents", ARCHIVE_HELD_MAX);
    }
    if (e == 0 && f->size == 0)
        e = sink_open(in, s);
    return e;
}

/* blobs/<alg>/<hex>: the content must have that digest. */
static bool digest_of_path(struct str path, struct digest *ret)
{
    struct buf text auto_buf = BUF_INIT(DIGEST_TEXT_MAX);
    ptrdiff_t slash;

    if (!str_starts(path, STR("blobs/")))
        return false;
    path = str_skip(path, 6);
    slash = str_find(path, '/');
    if (slash < 0)
        return false;
    buf_add(&text, str_head(path, (size_t)slash));
    buf_addc(&text, ':');
    buf_add(&text, str_skip(path, (size_t)slash + 1));
    return buf_err(&text) == 0 && digest_parse(buf_str(&text), ret) == 0;
}

static int read_file(struct archive_import *in, struct archive *tar, struct str path,
                     uint64_t declared, struct archive_file *f)
{
    struct sink s = {.alg = DIGEST_SHA256};
    struct digest named;
    bool has_name = digest_of_path(path, &named);
    int e;

    if (has_name)
        s.alg = named.alg;
    hasher_init(&s.hasher, s.alg);
    e = read_content(in, tar, declared, f, &s);
    hasher_final(&s.hasher, &f->digest);
    if (e == 0 && has_name && !digest_eq(&f->digest, &named))
        e = err_set(in->detail, -ERR_DIGEST,
                    "the content of " STR_FMT " does not have the digest of its name",
                    STR_ARG(path));
    if (e == 0 && s.upload) {
        e = sink_close(in, &s, &f->digest);
        f->stored = e == 0;
    }
    if (s.upload)
        upload_release(s.upload);
    return e;
}

/* Takes f over, also when it fails. */
static int remember(struct archive_import *in, struct str path, struct archive_file *f)
{
    char text[DIGEST_TEXT_MAX];
    int e = omap_put(in->files, path, f);

    if (e < 0) {
        file_free(f);
        return e;
    }
    if (f->link_to || omap_get(in->by_digest, digest_text(&f->digest, text)))
        return 0;
    return omap_put(in->by_digest, str_of(text), f);
}

/* What a docker-archive holds beside layers and configs says nothing that manifest.json does not.
 */
static bool is_noise(struct str path)
{
    return str_ends(path, STR("/VERSION")) || str_ends(path, STR("/json")) ||
           str_eq(path, STR("repositories"));
}

static int link_target(struct archive_import *in, struct archive_entry *entry, struct str path,
                       char **ret)
{
    const char *hard = archive_lib.entry_hardlink(entry), *soft = archive_lib.entry_symlink(entry);
    struct buf target auto_buf = BUF_INIT(2 * ARCHIVE_NAME_MAX);
    size_t dir = hard ? 0 : path.len;
    struct str to = str_of(hard ? hard : soft);

    /* docker save links <id>/layer.tar to ../<other id>/layer.tar */
    while (dir > 0 && path.at[dir - 1] != '/')
        dir--;
    while (!hard && str_starts(to, STR("../")) && dir > 0) {
        to = str_skip(to, 3);
        for (dir--; dir > 0 && path.at[dir - 1] != '/';)
            dir--;
    }
    buf_add(&target, str_head(path, dir));
    buf_add(&target, to);
    if (buf_err(&target) || to.len == 0)
        return err_set(in->detail, -ERR_INVAL, "the tar holds a link that is empty or too long");
    *ret = strdup(buf_c(&target));
    return *ret ? 0 : -ERR_NOMEM;
}

/* Nothing is extracted, so no name can do harm; but a tar with names that lead elsewhere was not
 * made by a tool that writes images. */
static bool leads_out(struct str path)
{
    if (str_starts(path, STR("/")))
        return true;
    while (path.len) {
        ptrdiff_t slash = str_find(path, '/');

        if (str_eq(slash < 0 ? path : str_head(path, (size_t)slash), STR("..")))
            return true;
        path = slash < 0 ? STR_NONE : str_skip(path, (size_t)slash + 1);
    }
    return false;
}

/* The name of an entry; empty: the folder of the tar itself. */
static int entry_path(struct archive_import *in, struct archive_entry *entry, struct str *ret)
{
    struct str name = str_of(archive_lib.entry_pathname(entry)), path = clean_path(name);

    if (leads_out(name))
        return err_set(in->detail, -ERR_INVAL, "the tar holds a name that leads out of it");
    if (path.len > ARCHIVE_NAME_MAX ||
        (path.len == 0 && archive_lib.entry_filetype(entry) != AE_IFDIR))
        return err_set(in->detail, -ERR_INVAL, "the tar holds a name that is empty or too long");
    *ret = path;
    return 0;
}

static int read_entry(struct archive_import *in, struct archive *tar, struct archive_entry *entry)
{
    bool is_link =
        archive_lib.entry_hardlink(entry) || archive_lib.entry_filetype(entry) == AE_IFLNK;
    struct archive_file *f;
    struct str path;
    int e = entry_path(in, entry, &path);

    if (e < 0 || (!is_link && archive_lib.entry_filetype(entry) != AE_IFREG) || is_noise(path) ||
        omap_get(in->files, path))
        return e;
    f = calloc(1, sizeof(*f));
    if (!f)
        return -ERR_NOMEM;
    f->bytes = BUF_INIT(ARCHIVE_JSON_MAX);
    if (is_link)
        e = link_target(in, entry, path, &f->link_to);
    else
        e = read_file(in, tar, path, (uint64_t)archive_lib.entry_size(entry), f);
    if (e == 0)
        return remember(in, path, f);
    file_free(f);
    return e;
}

static int read_tar(struct archive_import *in, struct archive *tar)
{
    struct archive_entry *entry;
    unsigned count = 0;
    int e = 0, a;

    while (e == 0 && (a = archive_lib.read_next_header(tar, &entry)) != ARCHIVE_EOF) {
        if (a < ARCHIVE_WARN)
            return tar_failed(tar, in->detail);
        if (++count > ARCHIVE_ENTRIES_MAX)
            return err_set(in->detail, -ERR_TOOBIG, "the tar holds more than %d entries",
                           ARCHIVE_ENTRIES_MAX);
        e = read_entry(in, tar, entry);
    }
    return e;
}

static int open_and_read(struct archive_import *in, const char *file)
{
    struct archive *tar = archive_lib.read_new();
    int e;

    if (!tar)
        return -ERR_NOMEM;
    archive_lib.read_support_format_tar(tar);
    archive_lib.read_support_filter_gzip(tar);
    archive_lib.read_support_filter_zstd(tar);
    if (archive_lib.read_open_filename(tar, strcmp(file, "-") == 0 ? NULL : file, READ_BLOCK) !=
        ARCHIVE_OK)
        e = err_set(in->detail, -ERR_IO, "cannot open %.120s: %.100s", file,
                    archive_lib.error_string(tar));
    else
        e = read_tar(in, tar);
    archive_lib.read_free(tar);
    return e;
}

int archive_import(struct app *app, const char *file, struct str name, struct str tag,
                   struct digest *ret, struct err_detail *detail)
{
    struct archive_import in = {.app = app, .name = name, .tag = tag, .detail = detail};
    int e = archive_lib_load(detail);

    if (e == 0)
        e = omap_new(file_free, &in.files);
    if (e == 0)
        e = omap_new(NULL, &in.by_digest);
    if (e == 0)
        e = repo_get(app->repos, name, &in.repo, detail);
    if (e == 0)
        e = open_and_read(&in, file);
    if (e == 0 && archive_find(&in, STR("index.json")))
        e = archive_import_layout(&in, ret);
    else if (e == 0 && archive_find(&in, STR("manifest.json")))
        e = archive_import_docker(&in, ret);
    else if (e == 0)
        e = err_set(detail, -ERR_INVAL,
                    "the tar is neither an OCI layout (no index.json) nor a docker-archive (no "
                    "manifest.json)");
    omap_free(in.by_digest);
    omap_free(in.files);
    repo_unref(in.repo);
    return e;
}
