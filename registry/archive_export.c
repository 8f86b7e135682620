/* Writes a tag and all that it refers to as an OCI layout tar. Names are sorted and times are zero,
 * so that equal content gives equal bytes. */
#include <stdio.h>

#include "base/fd.h"
#include "base/omap.h"
#include "registry/archive.h"
#include "registry/archive_lib.h"

#define COPY_BLOCK  (256u << 10)
#define FILE_MODE   0644
#define LAYOUT_TEXT "{\"imageLayoutVersion\":\"1.0.0\"}"

struct export
{
    struct app *app;
    struct repo *repo;
    struct omap *found; /* digest text -> a mark: 'm' manifest, 'b' blob */
    struct archive *tar;
    enum references may_miss;
    struct err_detail *detail;
};

static char mark_manifest = 'm', mark_blob = 'b';

static int collect(struct export *x, const struct digest *d, struct str media_type, unsigned depth);

/* What is not here: a foreign layer lies elsewhere; all else must be here unless the policy of
 * references lets it be missing. */
static int missing_ref(struct export *x, const struct descriptor *d)
{
    if (d->optional || x->may_miss == REFERENCES_NONE ||
        (x->may_miss == REFERENCES_INDEX_SPARSE && d->kind == REF_MANIFEST))
        return 0;
    return err_set(x->detail, -ERR_MISSING_REF,
                   STR_FMT " is not in the repository; to export without it see --references",
                   STR_ARG(d->digest_text));
}

static int collect_ref(struct export *x, const struct descriptor *d, unsigned depth)
{
    struct repo_manifest m;
    struct blob_info info;
    int e;

    if (!d->supported)
        return missing_ref(x, d);
    if (omap_get(x->found, d->digest_text))
        return 0;
    if (d->kind == REF_MANIFEST) {
        e = repo_manifest(x->repo, &d->digest, &m);
        if (e == 0)
            return collect(x, &d->digest, str_of(m.media_type), depth + 1);
    } else {
        e = repo_blob(x->repo, &d->digest, &info, x->detail);
        if (e == 0)
            return omap_put(x->found, d->digest_text, &mark_blob);
    }
    return e == -ERR_NOTFOUND ? missing_ref(x, d) : e;
}

static int collect(struct export *x, const struct digest *d, struct str media_type, unsigned depth)
{
    struct buf body auto_buf = BUF_INIT(BLOB_MANIFEST_MAX);
    struct manifest m auto_manifest = {0};
    char text[DIGEST_TEXT_MAX];
    int e;

    if (depth > ARCHIVE_DEPTH_MAX)
        return err_set(x->detail, -ERR_LIMIT, "indexes are nested deeper than %d",
                       ARCHIVE_DEPTH_MAX);
    e = blob_read(x->app->blobs, d, BLOB_MANIFEST_MAX, &body, x->detail);
    if (e == 0)
        e = manifest_parse(buf_str(&body), media_type, &m, x->detail);
    for (size_t i = 0; i < m.ref_count && e == 0; i++)
        e = collect_ref(x, &m.refs[i], depth);
    return e < 0 ? e : omap_put(x->found, digest_text(d, text), &mark_manifest);
}

/* ---- Writing. */
static int tar_failed(struct export *x)
{
    const char *why = archive_lib.error_string(x->tar);

    return err_set(x->detail, -ERR_IO, "cannot write the tar: %.150s", why ? why : "unknown error");
}

static int begin_entry(struct export *x, const char *path, uint64_t size)
{
    struct archive_entry *entry = archive_lib.entry_new();
    int a;

    if (!entry)
        return -ERR_NOMEM;
    archive_lib.entry_set_pathname(entry, path);
    archive_lib.entry_set_size(entry, (la_int64_t)size);
    archive_lib.entry_set_filetype(entry, AE_IFREG);
    archive_lib.entry_set_perm(entry, FILE_MODE);
    archive_lib.entry_set_mtime(entry, 0, 0);
    a = archive_lib.write_header(x->tar, entry);
    archive_lib.entry_free(entry);
    return a < ARCHIVE_WARN ? tar_failed(x) : 0;
}

static int write_bytes(struct export *x, struct str bytes)
{
    return archive_lib.write_data(x->tar, bytes.at, bytes.len) == (la_ssize_t)bytes.len
               ? 0
               : tar_failed(x);
}

static int write_small(struct export *x, const char *path, struct str bytes)
{
    int e = begin_entry(x, path, bytes.len);

    return e < 0 ? e : write_bytes(x, bytes);
}

/* Copies the bytes and holds them to their digest: damage in the store is not passed on. */
static int copy_bytes(struct export *x, const struct digest *d, const struct blob_info *info,
                      int fd, uint64_t offset)
{
    struct buf block auto_buf = BUF_INIT(COPY_BLOCK);
    struct hasher hasher;
    struct digest actual;
    char text[DIGEST_TEXT_MAX];
    struct blob_pace pace = {0};
    uint64_t done = 0, size = info->size;
    int e = 0;

    hasher_init(&hasher, d->alg);
    while (e == 0 && done < size) {
        size_t n = size - done < COPY_BLOCK ? (size_t)(size - done) : COPY_BLOCK;

        buf_clear(&block);
        e = fd >= 0 ? fd_pread_all(fd, offset + done, n, &block)
                    : blob_read_at(x->app->blobs, d, info, done, n, &pace, &block, x->detail);
        hasher_add(&hasher, buf_str(&block));
        if (e == 0)
            e = write_bytes(x, buf_str(&block));
        done += block.len;
    }
    hasher_final(&hasher, &actual);
    if (e == 0 && !digest_eq(&actual, d))
        e = err_set(x->detail, -ERR_CORRUPT, "the stored bytes of %s are damaged",
                    digest_text(d, text).at);
    return e;
}

static int write_blob(struct export *x, struct str text, const char *path)
{
    struct blob_info info;
    struct blob_body body = {.fd = -1};
    int fd auto_fd = -1;
    struct digest d;
    int e = digest_parse(text, &d);

    if (e == 0)
        e = blob_info(x->app->blobs, &d, &info, x->detail);
    if (e == 0 && store_has_files(x->app->store))
        e = blob_open(x->app->blobs, &d, &info, &body, x->detail);
    fd = body.fd;
    if (e == 0)
        e = begin_entry(x, path, info.size);
    return e < 0 ? e : copy_bytes(x, &d, &info, fd, body.offset);
}

static int write_blobs(struct export *x)
{
    int e = 0;

    for (struct omap_node *n = omap_first(x->found); n && e == 0; n = omap_next(x->found, n)) {
        struct str text = omap_key(n);
        size_t colon = (size_t)str_find(text, ':');
        char path[DIGEST_TEXT_MAX + 8];

        snprintf(path, sizeof(path), "blobs/" STR_FMT "/" STR_FMT, STR_ARG(str_head(text, colon)),
                 STR_ARG(str_skip(text, colon + 1)));
        e = write_blob(x, text, path);
    }
    return e;
}

static int write_index(struct export *x, const struct repo_manifest *m, struct str tag)
{
    struct buf text auto_buf = BUF_INIT(4096);
    char digest[DIGEST_TEXT_MAX];
    struct jw w = JW_INIT(&text);

    jw_begin(&w, '{');
    jw_kint(&w, "schemaVersion", 2);
    jw_kstr(&w, "mediaType", STR(MEDIA_OCI_INDEX));
    jw_key(&w, "manifests");
    jw_begin(&w, '[');
    jw_begin(&w, '{');
    jw_kstr(&w, "mediaType", str_of(m->media_type));
    jw_kstr(&w, "digest", digest_text(&m->digest, digest));
    jw_kint(&w, "size", (int64_t)m->size);
    jw_key(&w, "annotations");
    jw_begin(&w, '{');
    jw_kstr(&w, "org.opencontainers.image.ref.name", tag);
    jw_end(&w, '}');
    jw_end(&w, '}');
    jw_end(&w, ']');
    jw_end(&w, '}');
    return write_small(x, "index.json", buf_str(&text));
}

static int write_tar(struct export *x, const struct repo_manifest *m, struct str tag,
                     const char *file)
{
    int e = 0;

    x->tar = archive_lib.write_new();
    if (!x->tar)
        return -ERR_NOMEM;
    archive_lib.write_set_format_pax_restricted(x->tar);
    archive_lib.write_add_filter_none(x->tar);
    archive_lib.write_set_bytes_in_last_block(x->tar, 1); /* a pipe gets the bytes of a file */
    if (archive_lib.write_open_filename(x->tar, strcmp(file, "-") == 0 ? NULL : file) != ARCHIVE_OK)
        e = tar_failed(x);
    if (e == 0)
        e = write_small(x, "oci-layout", STR(LAYOUT_TEXT));
    if (e == 0)
        e = write_blobs(x);
    if (e == 0)
        e = write_index(x, m, tag);
    if (e == 0 && archive_lib.write_close(x->tar) != ARCHIVE_OK)
        e = tar_failed(x);
    archive_lib.write_free(x->tar);
    return e;
}

int archive_export(struct app *app, struct str name, struct str tag, const char *file,
                   enum references may_miss, struct digest *ret, struct err_detail *detail)
{
    struct export x = {.app = app, .may_miss = may_miss, .detail = detail};
    struct repo_manifest m;
    int e = archive_lib_load(detail);

    if (e == 0)
        e = omap_new(NULL, &x.found);
    if (e == 0)
        e = repo_get(app->repos, name, &x.repo, detail);
    if (e == 0)
        e = repo_refresh(x.repo, detail);
    if (e == 0) {
        e = repo_tag(x.repo, tag, &m);
        if (e == -ERR_NOTFOUND)
            e = err_set(detail, e, "there is no tag " STR_FMT " in " STR_FMT, STR_ARG(tag),
                        STR_ARG(name));
    }
    if (e == 0)
        e = collect(&x, &m.digest, str_of(m.media_type), 0);
    if (e == 0)
        e = write_tar(&x, &m, tag, file);
    if (e == 0)
        *ret = m.digest;
    omap_free(x.found);
    repo_unref(x.repo);
    return e;
}
