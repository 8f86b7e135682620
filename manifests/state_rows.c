/* Records of a repository's state as bytes (docs/bucket-format.md section 9.2). Pure. */
#include <assert.h>

#include "manifests/media.h"
#include "manifests/state_internal.h"

/* ---- keys */

static void key_byte(struct state_key *k, char c)
{
    assert(k->len < sizeof(k->at));
    k->at[k->len++] = c;
}

static void key_bytes(struct state_key *k, struct str s)
{
    assert(s.len <= sizeof(k->at) - k->len);
    if (s.len > 0)
        memcpy(k->at + k->len, s.at, s.len);
    k->len += s.len;
}

/* The algorithm's number keeps the order of the texts. */
static void key_digest(struct state_key *k, const struct digest *d)
{
    key_byte(k, (char)(d->alg + 1));
    key_bytes(k, str_make(d->bytes, digest_alg_bytes(d->alg)));
}

void state_key_section(struct state_key *k, char section)
{
    k->len = 0;
    key_byte(k, section);
}

void state_key_tag(struct state_key *k, struct str tag)
{
    state_key_section(k, STATE_TAGS);
    /* A place in the order, which may be asked for by any text: one longer than any tag is as good.
     */
    key_bytes(k, str_head(tag, TAG_MAX_LEN + 1));
}

void state_key_manifest(struct state_key *k, const struct digest *d)
{
    state_key_section(k, STATE_MANIFESTS);
    key_digest(k, d);
}

void state_key_blob(struct state_key *k, const struct digest *d)
{
    state_key_section(k, STATE_BLOBS);
    key_digest(k, d);
}

void state_key_referrer(struct state_key *k, const struct digest *subject,
                        const struct digest *after)
{
    state_key_section(k, STATE_REFERRERS);
    key_digest(k, subject);
    if (after)
        key_digest(k, after);
}

void state_key_on(struct state_key *k, const struct digest *manifest, struct str tag)
{
    state_key_section(k, STATE_ON);
    key_digest(k, manifest);
    key_bytes(k, tag);
}

void state_key_end(struct state_key *k)
{
    while (k->len > 0 && (unsigned char)k->at[k->len - 1] == 0xff)
        k->len--;
    assert(k->len > 0);
    k->at[k->len - 1]++;
}

bool state_key_digest(struct str *rest, struct digest *ret)
{
    struct digest d = {.alg = DIGEST_SHA256};
    struct str bytes;

    if (rest->len == 0 || rest->at[0] < 1 || rest->at[0] > DIGEST_ALGS)
        return false;
    d.alg = (enum digest_alg)(rest->at[0] - 1);
    *rest = str_skip(*rest, 1);
    if (!unpack_bytes(rest, digest_alg_bytes(d.alg), &bytes))
        return false;
    memcpy(d.bytes, bytes.at, bytes.len);
    *ret = d;
    return true;
}

static void pack_digest(struct buf *out, const struct digest *d)
{
    buf_addc(out, (char)(d->alg + 1));
    buf_add(out, str_make(d->bytes, digest_alg_bytes(d->alg)));
}

/* ---- media types: the common ones are numbers, 0 is any other as text */

static const char *const types[] = {
    MEDIA_OCI_MANIFEST,
    MEDIA_OCI_INDEX,
    MEDIA_DOCKER_MANIFEST,
    MEDIA_DOCKER_LIST,
    "application/vnd.oci.image.config.v1+json",
    "application/vnd.docker.container.image.v1+json",
    "application/vnd.oci.empty.v1+json",
    "application/vnd.cncf.helm.config.v1+json",
};

static void pack_type(struct buf *out, struct str type)
{
    for (size_t i = 0; i < ARRAY_LEN(types); i++)
        if (str_eq(type, str_of(types[i]))) {
            pack_u64(out, i + 1);
            return;
        }
    pack_u64(out, 0);
    pack_str(out, type);
}

static bool unpack_type(struct str *rest, struct str *ret)
{
    uint64_t n;

    if (!unpack_u64(rest, &n) || n > ARRAY_LEN(types))
        return false;
    if (n == 0)
        return unpack_str(rest, ret);
    *ret = str_of(types[n - 1]);
    return true;
}

/* ---- values */

void state_pack_tag(struct buf *out, const struct state_tag *t)
{
    pack_digest(out, &t->digest);
    pack_type(out, t->media_type);
    pack_u64(out, (uint64_t)t->size);
    pack_u64(out, t->seq);
    pack_u64(out, (uint64_t)t->ts);
}

bool state_unpack_tag(struct str value, struct state_tag *ret)
{
    return state_key_digest(&value, &ret->digest) && unpack_type(&value, &ret->media_type) &&
           unpack_i64(&value, &ret->size) && unpack_u64(&value, &ret->seq) &&
           unpack_i64(&value, &ret->ts) && value.len == 0;
}

enum { FLAG_EXT = 1, FLAG_INCOMPLETE = 2, FLAG_SUBJECT = 4, FLAGS = 7 };

void state_pack_manifest(struct buf *out, const struct state_manifest *m)
{
    pack_type(out, m->media_type);
    pack_u64(out, (uint64_t)m->size);
    pack_u64(out, m->seq);
    pack_u64(out, (uint64_t)m->ts);
    pack_type(out, m->artifact_type);
    pack_u64(out, (m->ext ? FLAG_EXT : 0u) | (m->incomplete ? FLAG_INCOMPLETE : 0u) |
                      (m->has_subject ? FLAG_SUBJECT : 0u));
    if (m->has_subject)
        pack_digest(out, &m->subject);
    pack_u64(out, m->ref_count);
    buf_add(out, m->refs);
}

bool state_unpack_manifest(struct str value, struct state_manifest *ret)
{
    uint64_t flags;

    if (!unpack_type(&value, &ret->media_type) || !unpack_i64(&value, &ret->size) ||
        !unpack_u64(&value, &ret->seq) || !unpack_i64(&value, &ret->ts) ||
        !unpack_type(&value, &ret->artifact_type) || !unpack_u64(&value, &flags) || flags > FLAGS)
        return false;
    ret->ext = flags & FLAG_EXT;
    ret->incomplete = flags & FLAG_INCOMPLETE;
    ret->has_subject = flags & FLAG_SUBJECT;
    if (ret->has_subject && !state_key_digest(&value, &ret->subject))
        return false;
    if (!unpack_u64(&value, &ret->ref_count))
        return false;
    ret->refs = value;
    return true;
}

void state_pack_ref(struct buf *out, const struct digest *d, enum ref_kind kind, int64_t size)
{
    buf_addc(out, (char)kind);
    pack_digest(out, d);
    pack_u64(out, (uint64_t)size);
}

bool state_ref_next(struct str *rest, struct state_ref *ret)
{
    if (rest->len == 0 || !memchr("clmb", rest->at[0], 4))
        return false;
    ret->kind = (enum ref_kind)rest->at[0];
    *rest = str_skip(*rest, 1);
    return state_key_digest(rest, &ret->digest) && unpack_i64(rest, &ret->size);
}

void state_pack_blob(struct buf *out, const struct state_blob *b)
{
    pack_u64(out, b->users);
    pack_u64(out, b->count);
    pack_u64(out, b->unlinked);
}

bool state_unpack_blob(struct str value, struct state_blob *ret)
{
    return unpack_u64(&value, &ret->users) && unpack_u64(&value, &ret->count) &&
           unpack_u64(&value, &ret->unlinked) && ret->count <= ret->users && value.len == 0;
}

void state_pack_referrer(struct buf *out, const struct state_referrer *r)
{
    pack_type(out, r->media_type);
    pack_u64(out, (uint64_t)r->size);
    pack_type(out, r->artifact_type);
    buf_add(out, r->annotations);
}

bool state_unpack_referrer(struct str value, struct state_referrer *ret)
{
    if (!unpack_type(&value, &ret->media_type) || !unpack_i64(&value, &ret->size) ||
        !unpack_type(&value, &ret->artifact_type))
        return false;
    ret->annotations = value;
    return true;
}
