/* From the files of a tar to manifests in the repository: children first, then the one that gets
 * the tag. */
#include "registry/archive_internal.h"

#define REF_NAME     "org.opencontainers.image.ref.name"
#define IMAGE_CONFIG "application/vnd.oci.image.config.v1+json"
#define IMAGE_LAYER  "application/vnd.oci.image.layer.v1.tar"

static const struct repo_who importer = {.by = {"", 0}, .req = {"import", 6}};

static int put_manifest(struct archive_import *in, const struct manifest *m, struct str body,
                        const struct digest *d, bool tagged)
{
    struct buf missing auto_buf = BUF_INIT((size_t)REPO_MISSING_MAX * (DIGEST_TEXT_MAX + 1));
    struct repo_put put = {
        .manifest = m, .body = body, .digest = *d, .tags = &in->tag, .tag_count = tagged ? 1 : 0};
    int e = repo_put(in->repo, &put, &importer, &missing, in->detail);
    ptrdiff_t end = missing.len ? str_find(buf_str(&missing), '\n') : -1;

    if (e == -ERR_MISSING_REF && end > 0)
        return err_set(in->detail, e, "%.*s is neither in the tar nor in the repository", (int)end,
                       missing.at);
    return e;
}

static int push_tree(struct archive_import *in, struct archive_file *f, struct str media_type,
                     bool tagged, unsigned depth);

/* What a manifest refers to: manifests of the tar are pushed, held documents that it calls blobs
 * become blobs. */
static int push_children(struct archive_import *in, const struct manifest *m, unsigned depth)
{
    int e = 0;

    for (size_t i = 0; i < m->ref_count && e == 0; i++) {
        const struct descriptor *d = &m->refs[i];
        struct archive_file *f = omap_get(in->by_digest, d->digest_text);

        if (!f)
            continue; /* perhaps in the repository already; the push says so if not */
        if (d->kind == REF_MANIFEST)
            e = push_tree(in, f, d->media_type, false, depth + 1);
        else
            e = archive_store_held(in, f);
    }
    return e;
}

static int push_tree(struct archive_import *in, struct archive_file *f, struct str media_type,
                     bool tagged, unsigned depth)
{
    struct manifest m auto_manifest = {0};
    int e;

    if (depth > ARCHIVE_DEPTH_MAX)
        return err_set(in->detail, -ERR_LIMIT, "indexes are nested deeper than %d",
                       ARCHIVE_DEPTH_MAX);
    if (!f->held)
        return err_set(in->detail, -ERR_INVAL, "a manifest of the tar is no JSON document");
    e = manifest_parse(buf_str(&f->bytes), media_type, &m, in->detail);
    if (e == 0)
        e = push_children(in, &m, depth);
    return e < 0 ? e : put_manifest(in, &m, buf_str(&f->bytes), &f->digest, tagged);
}

/* ---- OCI layout: the one manifest of index.json, or the one whose ref.name is the tag. */
static const struct json *choose(const struct json *manifests, struct str tag)
{
    if (json_len(manifests) == 1)
        return json_at(manifests, 0);
    for (size_t i = 0; i < json_len(manifests); i++) {
        const struct json *one = json_at(manifests, i);

        if (str_eq(json_str(json_get(json_get(one, "annotations"), REF_NAME)), tag))
            return one;
    }
    return NULL;
}

/* Is its subject here by now? */
static bool refers_here(struct archive_import *in, const struct manifest *m)
{
    struct repo_manifest found;

    return m->has_subject && m->subject.supported &&
           repo_manifest(in->repo, &m->subject.digest, &found) == 0;
}

/* One pass over the layout's other manifests; *ret_pushed counts those that were new. */
static int push_referrers_once(struct archive_import *in, const struct json *manifests,
                               size_t *ret_pushed)
{
    int e = 0;

    *ret_pushed = 0;
    for (size_t i = 0; i < json_len(manifests) && e == 0; i++) {
        const struct json *one = json_at(manifests, i);
        struct str media_type = json_str(json_get(one, "mediaType"));
        struct archive_file *f = omap_get(in->by_digest, json_str(json_get(one, "digest")));
        struct manifest m auto_manifest = {0};
        struct repo_manifest known;

        if (!f || !f->held || repo_manifest(in->repo, &f->digest, &known) == 0 ||
            manifest_parse(buf_str(&f->bytes), media_type, &m, NULL) < 0 || !refers_here(in, &m))
            continue;
        e = push_tree(in, f, media_type, false, 0);
        ++*ret_pushed;
    }
    return e;
}

/* Manifests of the layout that refer to what was pushed (signatures, attestations) come with it,
 * and those that refer to them. */
static int push_referrers(struct archive_import *in, const struct json *manifests)
{
    size_t pushed = 1;
    int e = 0;

    for (unsigned pass = 0; pass < ARCHIVE_DEPTH_MAX && pushed > 0 && e == 0; pass++)
        e = push_referrers_once(in, manifests, &pushed);
    return e;
}

int archive_import_layout(struct archive_import *in, struct digest *ret)
{
    struct archive_file *index = archive_find(in, STR("index.json")), *f;
    struct json_doc *doc auto_json = NULL;
    const struct json *manifests, *chosen;
    struct str media_type;
    int e = json_parse(buf_str(&index->bytes), &doc, in->detail);

    if (e < 0)
        return e;
    manifests = json_get(json_root(doc), "manifests");
    chosen = choose(manifests, in->tag);
    if (!chosen)
        return err_set(in->detail, -ERR_INVAL,
                       "the layout holds %zu manifests and none is named " STR_FMT,
                       json_len(manifests), STR_ARG(in->tag));
    f = omap_get(in->by_digest, json_str(json_get(chosen, "digest")));
    if (!f)
        return err_set(in->detail, -ERR_INVAL,
                       "the manifest named by index.json is not in the tar");
    media_type = json_str(json_get(chosen, "mediaType"));
    if (json_len(manifests) > 1) { /* the tag comes last: a failure leaves it alone */
        e = push_tree(in, f, media_type, false, 0);
        if (e == 0)
            e = push_referrers(in, manifests);
    }
    if (e == 0)
        e = push_tree(in, f, media_type, true, 0);
    *ret = f->digest;
    return e;
}

/* ---- docker-archive: an OCI manifest over the layers as they lie. */
static struct str layer_type(const struct archive_file *f)
{
    static const unsigned char gzip[] = {0x1f, 0x8b}, zstd[] = {0x28, 0xb5, 0x2f, 0xfd};

    if (f->size >= 4 && memcmp(f->magic, zstd, sizeof(zstd)) == 0)
        return STR(IMAGE_LAYER "+zstd");
    if (f->size >= 4 && memcmp(f->magic, gzip, sizeof(gzip)) == 0)
        return STR(IMAGE_LAYER "+gzip");
    return STR(IMAGE_LAYER);
}

static void write_descriptor(struct jw *w, const struct archive_file *f, struct str type)
{
    char text[DIGEST_TEXT_MAX];

    jw_begin(w, '{');
    jw_kstr(w, "mediaType", type);
    jw_kstr(w, "digest", digest_text(&f->digest, text));
    jw_kint(w, "size", (int64_t)f->size);
    jw_end(w, '}');
}

static int find_blob(struct archive_import *in, struct str path, struct archive_file **ret)
{
    *ret = path.len ? archive_find(in, path) : NULL;
    if (!*ret)
        return err_set(in->detail, -ERR_INVAL,
                       "manifest.json names " STR_FMT ", which is not in the tar", STR_ARG(path));
    return archive_store_held(in, *ret);
}

static int build_manifest(struct archive_import *in, const struct json *image, struct buf *out)
{
    const struct json *layers = json_get(image, "Layers");
    struct archive_file *f;
    struct jw w = JW_INIT(out);
    int e = find_blob(in, json_str(json_get(image, "Config")), &f);

    if (e < 0)
        return e;
    if (layers && json_type(layers) != JSON_ARRAY_T && json_type(layers) != JSON_NULL_T)
        return err_set(in->detail, -ERR_INVAL, "Layers in manifest.json is no list");
    jw_begin(&w, '{');
    jw_kint(&w, "schemaVersion", 2);
    jw_kstr(&w, "mediaType", STR(MEDIA_OCI_MANIFEST));
    jw_key(&w, "config");
    write_descriptor(&w, f, STR(IMAGE_CONFIG));
    jw_key(&w, "layers");
    jw_begin(&w, '[');
    for (size_t i = 0; i < json_len(layers) && e == 0; i++) {
        e = find_blob(in, json_str(json_at(layers, i)), &f);
        if (e == 0)
            write_descriptor(&w, f, layer_type(f));
    }
    jw_end(&w, ']');
    jw_end(&w, '}');
    return e < 0 ? e : buf_err(out);
}

/* The only image, or the one that has the tag among its RepoTags. */
static const struct json *choose_image(const struct json *images, struct str tag)
{
    if (json_len(images) == 1)
        return json_at(images, 0);
    for (size_t i = 0; i < json_len(images); i++) {
        const struct json *tags = json_get(json_at(images, i), "RepoTags");

        for (size_t t = 0; t < json_len(tags); t++) {
            struct str full = json_str(json_at(tags, t));

            if (full.len > tag.len && str_ends(full, tag) && full.at[full.len - tag.len - 1] == ':')
                return json_at(images, i);
        }
    }
    return NULL;
}

int archive_import_docker(struct archive_import *in, struct digest *ret)
{
    struct archive_file *list = archive_find(in, STR("manifest.json"));
    struct buf body auto_buf = BUF_INIT(BLOB_MANIFEST_MAX);
    struct manifest m auto_manifest = {0};
    struct json_doc *doc auto_json = NULL;
    const struct json *image;
    int e = json_parse(buf_str(&list->bytes), &doc, in->detail);

    if (e < 0)
        return e;
    image = choose_image(json_root(doc), in->tag);
    if (!image)
        return err_set(in->detail, -ERR_INVAL,
                       "the tar holds %zu images and none is tagged " STR_FMT,
                       json_len(json_root(doc)), STR_ARG(in->tag));
    e = build_manifest(in, image, &body);
    if (e == 0)
        e = manifest_parse(buf_str(&body), STR(MEDIA_OCI_MANIFEST), &m, in->detail);
    if (e < 0)
        return e;
    digest_of(DIGEST_SHA256, buf_str(&body), ret);
    return put_manifest(in, &m, buf_str(&body), ret, true);
}
