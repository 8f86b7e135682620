/* Input: the Content-Type of a push in the first line, then the manifest. What is accepted becomes
 * an operation of a tag log, which must come back from its text. */
#include "fuzz.h"
#include "manifests/manifest.h"
#include "manifests/taglog.h"

static void check_descriptor(const struct descriptor *d, bool image, size_t i)
{
    char text[DIGEST_TEXT_MAX];

    assert(d->digest_text.len > 0 && d->size >= 0 && d->media_type.at);
    if (d->supported)
        assert(str_eq(digest_text(&d->digest, text), d->digest_text));
    assert(!media_foreign(d->media_type) || d->optional);
    if (image)
        assert(d->kind == (i == 0 ? REF_CONFIG : REF_LAYER));
    else
        assert(d->kind == (media_kind(d->media_type) == MEDIA_OTHER ? REF_BLOB : REF_MANIFEST));
}

static void check_manifest(const struct manifest *m, struct str content_type)
{
    bool image = m->kind == MEDIA_IMAGE;
    struct str type = media_strip(content_type);

    assert(m->kind != MEDIA_OTHER && media_kind(m->media_type) == m->kind);
    assert(media_generic(type) || str_eq(type, m->media_type));
    assert(!image || m->ref_count > 0);
    for (size_t i = 0; i < m->ref_count; i++)
        check_descriptor(&m->refs[i], image, i);
    assert(!m->annotations || json_type(m->annotations) == JSON_OBJECT_T);
    if (image)
        assert(m->artifact_type.len > 0 || m->refs[0].media_type.len == 0);
    if (m->has_subject)
        assert(m->subject.kind == REF_MANIFEST && m->subject.digest_text.len > 0);
}

/* Asked for by its own type, it is the same. */
static void check_again(const struct manifest *m, struct str body)
{
    struct manifest again auto_manifest = {.doc = NULL};

    assert(manifest_parse(body, m->media_type, &again, NULL) == 0);
    assert(again.kind == m->kind && again.ref_count == m->ref_count);
    assert(str_eq(again.media_type, m->media_type));
    assert(str_eq(again.artifact_type, m->artifact_type));
    for (size_t i = 0; i < m->ref_count; i++)
        assert(str_eq(again.refs[i].digest_text, m->refs[i].digest_text));
}

static void fill_op(const struct manifest *m, struct str body, struct taglog_op *op)
{
    digest_of(DIGEST_SHA256, body, &op->digest);
    op->size = (int64_t)body.len;
    op->media_type = m->media_type;
    op->artifact_type = m->artifact_type;
    if (m->has_subject)
        op->subject = m->subject.digest_text;
    op->annotations = m->annotations;
    op->refs = calloc(m->ref_count + 1, sizeof(*op->refs));
    assert(op->refs);
    for (size_t i = 0; i < m->ref_count; i++)
        if (m->refs[i].supported)
            op->refs[op->ref_count++] =
                (struct taglog_ref){m->refs[i].digest, m->refs[i].kind, m->refs[i].size};
}

static void check_op(const struct manifest *m, struct str body)
{
    struct taglog_op op auto_taglog_op = {.kind = TAGLOG_PUT};
    struct taglog_op back auto_taglog_op = {.kind = TAGLOG_DROP};
    struct buf text auto_buf = BUF_INIT(64u << 20);
    struct json_doc *doc auto_json = NULL;

    fill_op(m, body, &op);
    assert(taglog_encode(&op, &text) == 0);
    assert(json_parse(buf_str(&text), &doc, NULL) == 0);
    assert(taglog_decode(json_root(doc), &back, NULL) == 0);
    assert(back.kind == TAGLOG_PUT && digest_eq(&back.digest, &op.digest));
    assert(str_eq(back.media_type, op.media_type) && str_eq(back.subject, op.subject));
    assert(str_eq(back.artifact_type, op.artifact_type) && back.size == op.size);
    if (back.ext)
        assert(taglog_extend(&back, m) == 0);
    assert(back.ref_count == op.ref_count);
    for (size_t i = 0; i < op.ref_count; i++)
        assert(digest_eq(&back.refs[i].digest, &op.refs[i].digest) &&
               back.refs[i].kind == op.refs[i].kind && back.refs[i].size == op.refs[i].size);
    assert(json_len(back.annotations) == json_len(op.annotations));
}

void fuzz_one(struct str input)
{
    struct manifest m auto_manifest = {.doc = NULL};
    struct str content_type = fuzz_line(&input);
    struct err_detail detail = {{0}};
    int r = manifest_parse(input, content_type, &m, &detail);

    assert(r == 0 || (r == -ERR_INVAL && detail.text[0]));
    if (r < 0) {
        assert(!m.doc && !m.refs);
        return;
    }
    check_manifest(&m, content_type);
    check_again(&m, input);
    check_op(&m, input);
}
