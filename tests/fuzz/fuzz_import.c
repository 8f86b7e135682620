/* Input: an odd first byte: the bytes of a tar follow. An even one: a description of a tar, whose
 * entries are divided by the byte 0x1e: a letter (F file, S symbolic link, H hard link, D folder),
 * the path up to a line feed, then the content, or where a link leads. In both, @ and a digit stand
 * for the hex sha256 of the content of the entry of that number, # and a digit for its size; in a
 * path
 * @@ is that of its own content. So manifests can name what is in the tar. */
#include <stdio.h>
#include <sys/mman.h>

#include "base/enc.h"
#include "base/fd.h"
#include "fuzz.h"
#include "registry/archive.h"

#define ENTRIES_MAX 10
#define BLOCK       512
#define TAR_MAX     (1u << 20)
#define SEPARATOR   0x1e
#define NAME        STR("team/app")
#define TAG         STR("v1")

struct entry {
    char hex[65];
    size_t size;
};

/* ---- From the description to a tar. */
static size_t digit_of(struct str text, size_t i, size_t count)
{
    char c = i + 1 < text.len ? text.at[i + 1] : 'x';

    return c >= '0' && c <= '9' && (size_t)(c - '0') < count ? (size_t)(c - '0') : SIZE_MAX;
}

static void expand(struct str text, const struct entry *entries, size_t count, const char *own,
                   struct buf *out)
{
    for (size_t i = 0; i < text.len; i++) {
        size_t at = digit_of(text, i, count);

        if (text.at[i] == '@' && at != SIZE_MAX)
            buf_add(out, str_of(entries[at].hex));
        else if (text.at[i] == '#' && at != SIZE_MAX)
            buf_add_u64(out, entries[at].size);
        else if (own && str_starts(str_skip(text, i), STR("@@")))
            buf_add(out, str_of(own));
        else {
            buf_addc(out, text.at[i]);
            continue;
        }
        i++;
    }
}

static void put_field(char *at, size_t width, struct str s)
{
    memcpy(at, s.len ? s.at : "", s.len < width ? s.len : width);
}

static void add_header(struct buf *out, struct str path, char type, struct str link, size_t size)
{
    char h[BLOCK] = {0}, text[16];
    unsigned sum = 0;

    put_field(h, 100, path);
    put_field(h + 100, 8, STR("0000644"));
    put_field(h + 108, 8, STR("0000000"));
    put_field(h + 116, 8, STR("0000000"));
    snprintf(text, sizeof(text), "%011zo", size);
    put_field(h + 124, 12, str_of(text));
    put_field(h + 136, 12, STR("00000000000"));
    put_field(h + 148, 8, STR("        "));
    h[156] = type;
    put_field(h + 157, 100, link);
    put_field(h + 257, 8, str_make("ustar\00000", 8));
    for (size_t i = 0; i < BLOCK; i++)
        sum += (uint8_t)h[i];
    snprintf(text, sizeof(text), "%06o", sum);
    put_field(h + 148, 7, str_make(text, 7));
    buf_add(out, str_make(h, BLOCK));
}

static void add_entry(struct buf *out, struct str raw, struct entry *entries, size_t count)
{
    struct buf path auto_buf = BUF_INIT(TAR_MAX), content auto_buf = BUF_INIT(TAR_MAX);
    static const char zeros[BLOCK];
    char type = (char)fuzz_u8(&raw);
    struct str raw_path = fuzz_line(&raw);
    struct entry *e = &entries[count];
    struct digest d;

    expand(raw, entries, count, NULL, &content);
    digest_of(DIGEST_SHA256, buf_str(&content), &d);
    hex_encode(d.bytes, 32, e->hex);
    e->size = content.len;
    expand(raw_path, entries, count, e->hex, &path);
    if (type == 'S' || type == 'H' || type == 'D') {
        add_header(out, buf_str(&path),
                   type == 'S'   ? '2'
                   : type == 'H' ? '1'
                                 : '5',
                   buf_str(&content), 0);
        return;
    }
    add_header(out, buf_str(&path), '0', STR_NONE, content.len);
    buf_add(out, buf_str(&content));
    buf_add(out, str_make(zeros, (BLOCK - content.len % BLOCK) % BLOCK));
}

static void make_tar(struct str description, struct buf *out)
{
    struct entry entries[ENTRIES_MAX];
    static const char end[2 * BLOCK];

    for (size_t count = 0; description.len && count < ENTRIES_MAX; count++) {
        ptrdiff_t at = str_find(description, SEPARATOR);
        struct str one = at < 0 ? description : str_head(description, (size_t)at);

        add_entry(out, one, entries, count);
        description = str_skip(description, one.len + 1);
    }
    buf_add(out, str_make(end, sizeof(end)));
}

/* ---- What an import must have done. */
static void check_ref(struct repo *repo, const struct descriptor *d)
{
    struct repo_manifest m;
    struct blob_info info;

    assert(d->supported || d->optional);
    if (d->optional)
        return;
    if (d->kind == REF_MANIFEST)
        assert(repo_manifest(repo, &d->digest, &m) == 0);
    else
        assert(repo_blob(repo, &d->digest, &info, NULL) == 0);
}

static void check_imported(struct app *app, struct repo *repo, const struct digest *d)
{
    struct buf body auto_buf = BUF_INIT(BLOB_MANIFEST_MAX);
    struct manifest m auto_manifest = {.doc = NULL};
    struct repo_manifest tag;

    assert(repo_tag(repo, TAG, &tag) == 0 && digest_eq(&tag.digest, d));
    assert(blob_read(app->blobs, d, BLOB_MANIFEST_MAX, &body, NULL) == 0);
    assert(body.len == tag.size);
    assert(manifest_parse(buf_str(&body), str_of(tag.media_type), &m, NULL) == 0);
    for (size_t i = 0; i < m.ref_count; i++)
        check_ref(repo, &m.refs[i]);
}

static void import(struct app *app, struct str tar)
{
    struct repo *repo auto_repo = NULL;
    int fd auto_fd = memfd_create("tar", MFD_CLOEXEC);
    struct err_detail detail = {{0}};
    struct repo_manifest tag;
    struct digest d;
    char path[64];
    int r;

    assert(fd >= 0);
    fuzz_need(fd_write_all(fd, tar), "write");
    snprintf(path, sizeof(path), "/proc/self/fd/%d", fd);
    r = archive_import(app, path, NAME, TAG, &d, &detail);
    fuzz_need(repo_get(app->repos, NAME, &repo, NULL), "repo_get");
    fuzz_need(repo_refresh(repo, NULL), "repo_refresh");
    if (r == 0) {
        check_imported(app, repo, &d);
        return;
    }
    assert(r == -ERR_INVAL || r == -ERR_DIGEST || r == -ERR_SIZE || r == -ERR_TOOBIG ||
           r == -ERR_LIMIT || r == -ERR_MISSING_REF || r == -ERR_IO);
    assert(repo_tag(repo, TAG, &tag) == -ERR_NOTFOUND);
}

void fuzz_one(struct str input)
{
    struct buf tar auto_buf = BUF_INIT(TAR_MAX);
    static const struct access_settings access = {.allow_anonymous_network = false};
    struct store *store auto_store = NULL;
    struct app app;

    if (fuzz_u8(&input) % 2)
        buf_add(&tar, input);
    else
        make_tar(input, &tar);
    if (buf_err(&tar))
        return;
    fuzz_need(store_mem_new(&store), "store_mem_new");
    fuzz_need(app_open(&app, store, REFERENCES_STRICT, &access, NULL), "app_open");
    import(&app, buf_str(&tar));
    app_close(&app);
}
