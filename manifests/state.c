/* The state of a repository in memory. Four sorted maps that point into each other: tags and refs
 * point at manifests and blobs, which live in their maps until nothing needs them. Invariants, held
 * between calls of state_apply:
 *   - users of a blob = refs of any manifest that point at it; count = those of kind config, layer,
 * blob whose manifest's seq is greater than the blob's last unlink or drop; an entry stays while
 * users > 0 or unlinked > 0;
 *   - a manifest is in referrers exactly once, under its subject, when it has one;
 *   - row_bytes is the sum of the lengths of all checkpoint rows. */
#include "manifests/state.h"

#include <assert.h>

#include "base/mutant.h"

#define ROW_MAX          (32u << 20) /* bytes of one checkpoint row */
#define REFERRER_KEY_MAX 1024

/* ---- life */

static void free_manifest(void *value)
{
    struct state_manifest *m = value;

    free(m->refs);
    free(m->strings);
    free(m);
}

static void free_maps(struct state *s)
{
    omap_freep(&s->referrers);
    omap_freep(&s->tags);
    omap_freep(&s->manifests);
    omap_freep(&s->blobs);
}

static int new_maps(struct state *s)
{
    int r = omap_new(free, &s->tags);

    if (r == 0)
        r = omap_new(free_manifest, &s->manifests);
    if (r == 0)
        r = omap_new(NULL, &s->referrers);
    if (r == 0)
        r = omap_new(free, &s->blobs);
    return r;
}

int state_new(struct state **ret)
{
    struct state *s auto_state = calloc(1, sizeof(*s));
    int r;

    assert(ret);
    if (!s)
        return -ERR_NOMEM;
    r = new_maps(s);
    if (r < 0)
        return r;
    *ret = STEAL(s);
    return 0;
}

void state_free(struct state *s)
{
    if (!s)
        return;
    free_maps(s);
    settings_free(s->settings);
    free(s);
}

void state_freep(struct state **s)
{
    state_free(*s);
    *s = NULL;
}

/* ---- rows of a checkpoint (docs/bucket-format.md section 9) */

void state_write_tag(struct jw *w, const struct state_tag *t)
{
    jw_begin(w, '[');
    jw_str(w, t->name);
    jw_str(w, t->manifest->text);
    jw_int(w, (int64_t)t->seq);
    jw_int(w, t->ts);
    jw_end(w, ']');
}

void state_write_manifest(struct jw *w, const struct state_manifest *m)
{
    jw_begin(w, '[');
    jw_str(w, m->text);
    jw_str(w, m->media_type);
    jw_int(w, m->size);
    jw_int(w, (int64_t)m->seq);
    jw_int(w, m->ts);
    jw_str(w, m->artifact_type);
    jw_str(w, m->subject);
    if (m->annotations.len > 0)
        jw_raw(w, m->annotations);
    else
        jw_null(w);
    jw_bool(w, m->ext);
    jw_begin(w, '[');
    for (size_t i = 0; i < m->ref_count; i++) {
        char kind = (char)m->refs[i].kind;

        jw_begin(w, '[');
        jw_str(w, m->refs[i].blob->digest);
        jw_str(w, (struct str){&kind, 1});
        jw_int(w, m->refs[i].size);
        jw_end(w, ']');
    }
    jw_end(w, ']');
    jw_end(w, ']');
}

void state_write_blob(struct jw *w, const struct state_blob *b)
{
    jw_begin(w, '[');
    jw_str(w, b->digest);
    jw_int(w, (int64_t)b->unlinked);
    jw_end(w, ']');
}

static size_t decimal_len(uint64_t v)
{
    size_t n = 1;

    while (v >= 10) {
        v /= 10;
        n++;
    }
    return n;
}

/* Lengths of the rows above; neither tags nor digests need escapes, times are not negative. */
static size_t tag_row_bytes(const struct state_tag *t)
{
    return strlen("[\"\",\"\",,]") + t->name.len + t->manifest->text.len + decimal_len(t->seq) +
           decimal_len((uint64_t)t->ts);
}

static size_t blob_row_bytes(const struct state_blob *b)
{
    return strlen("[\"\",]") + b->digest.len + decimal_len(b->unlinked);
}

static int manifest_row_bytes(const struct state_manifest *m, size_t *ret)
{
    struct buf row auto_buf = BUF_INIT(ROW_MAX);
    struct jw w = JW_INIT(&row);

    state_write_manifest(&w, m);
    *ret = row.len;
    return buf_err(&row);
}

/* ---- blobs */

static struct str key_of(const struct omap *m, struct str key)
{
    struct omap_node *n = omap_at_least(m, key);

    assert(n && str_eq(omap_key(n), key));
    return omap_key(n);
}

static uint64_t last_unlink(const struct state *s, const struct state_blob *b)
{
    return b->unlinked > s->dropped ? b->unlinked : s->dropped;
}

static int blob_of(struct state *s, struct str digest, struct state_blob **ret)
{
    struct state_blob *b = omap_get(s->blobs, digest);
    int r;

    if (!b) {
        b = calloc(1, sizeof(*b));
        if (!b)
            return -ERR_NOMEM;
        r = omap_put(s->blobs, digest, b);
        if (r < 0) {
            free(b);
            return r;
        }
        b->digest = key_of(s->blobs, digest);
        s->value_bytes += sizeof(*b);
    }
    *ret = b;
    return 0;
}

static bool ref_counts(const struct state *s, const struct state_manifest *m,
                       const struct state_ref *ref)
{
    /* A manifest's digest is not readable as a blob (B13). */
    return ref->kind != REF_MANIFEST && m->seq > last_unlink(s, ref->blob);
}

static int add_ref(struct state *s, struct state_manifest *m, const struct taglog_ref *from)
{
    char text[DIGEST_TEXT_MAX];
    struct state_ref *ref = &m->refs[m->ref_count];
    int r = blob_of(s, digest_text(&from->digest, text), &ref->blob);

    if (r < 0)
        return r;
    ref->kind = from->kind;
    ref->size = from->size;
    ref->blob->users++;
    if (ref_counts(s, m, ref))
        ref->blob->count++;
    m->ref_count++;
    return 0;
}

static void release_blob(struct state *s, struct state_blob *b)
{
    char text[DIGEST_TEXT_MAX];
    struct str key;

    if (b->users > 0 || b->unlinked > 0)
        return;
    assert(b->count == 0 && b->digest.len < sizeof(text));
    memcpy(text, b->digest.at, b->digest.len);
    key = (struct str){text, b->digest.len};
    s->value_bytes -= sizeof(*b);
    omap_remove(s->blobs, key);
}

static void release_refs(struct state *s, struct state_manifest *m)
{
    for (size_t i = 0; i < m->ref_count; i++) {
        struct state_ref *ref = &m->refs[i];

        assert(ref->blob->users > 0);
        if (ref_counts(s, m, ref)) {
            assert(ref->blob->count > 0);
            ref->blob->count--;
        }
        ref->blob->users--;
        release_blob(s, ref->blob);
    }
    s->value_bytes -= m->ref_count * sizeof(*m->refs);
    free(m->refs);
    m->refs = NULL;
    m->ref_count = 0;
}

static int unlink_blob(struct state *s, struct str digest, uint64_t seq)
{
    struct state_blob *b;
    int r = blob_of(s, digest, &b);

    if (r < 0)
        return r;
    if (b->unlinked > 0)
        s->row_bytes -= blob_row_bytes(b);
    else
        s->unlinked_count++;
    b->count = 0;
    b->unlinked = seq;
    s->row_bytes += blob_row_bytes(b);
    return 0;
}

/* ---- tags */

static void detach_tag(struct state *s, struct state_tag *t)
{
    s->row_bytes -= tag_row_bytes(t);
    if (t->previous)
        t->previous->next = t->next;
    else
        t->manifest->tags = t->next;
    if (t->next)
        t->next->previous = t->previous;
    t->manifest = NULL;
    t->next = t->previous = NULL;
}

static void remove_tag(struct state *s, struct state_tag *t)
{
    char name[TAG_MAX_LEN];
    size_t len = t->name.len;

    assert(len <= sizeof(name));
    memcpy(name, t->name.at, len);
    detach_tag(s, t);
    s->value_bytes -= sizeof(*t);
    omap_remove(s->tags, (struct str){name, len});
}

static int set_tag(struct state *s, struct str name, struct state_manifest *m, uint64_t seq,
                   int64_t ts)
{
    struct state_tag *t = omap_get(s->tags, name);
    int r;

    if (t) {
        detach_tag(s, t);
    } else {
        t = calloc(1, sizeof(*t));
        if (!t)
            return -ERR_NOMEM;
        r = omap_put(s->tags, name, t);
        if (r < 0) {
            free(t);
            return r;
        }
        t->name = key_of(s->tags, name);
        s->value_bytes += sizeof(*t);
    }
    t->manifest = m;
    t->seq = seq;
    t->ts = ts;
    t->next = m->tags;
    if (t->next)
        t->next->previous = t;
    m->tags = t;
    s->row_bytes += tag_row_bytes(t);
    return 0;
}

/* ---- manifests */

static void referrer_key(struct buf *out, struct str subject, struct str referrer)
{
    buf_add(out, subject);
    buf_addc(out, '|');
    buf_add(out, referrer);
}

static size_t strings_len(const struct state_manifest *m)
{
    return m->media_type.len + m->artifact_type.len + m->subject.len + m->annotations.len;
}

/* Takes everything out of a manifest but its tags. */
static int empty_manifest(struct state *s, struct state_manifest *m)
{
    struct buf key auto_buf = BUF_INIT(REFERRER_KEY_MAX);

    release_refs(s, m);
    if (m->subject.len > 0) {
        referrer_key(&key, m->subject, m->text);
        if (buf_err(&key) < 0)
            return buf_err(&key);
        omap_remove(s->referrers, buf_str(&key));
    }
    s->row_bytes -= m->row_bytes;
    s->value_bytes -= strings_len(m);
    s->incomplete -= m->incomplete ? 1 : 0;
    free(m->strings);
    m->strings = NULL;
    m->media_type = m->artifact_type = m->subject = m->annotations = STR_NONE;
    m->row_bytes = 0;
    m->incomplete = false;
    return 0;
}

static struct str keep(char **at, struct str s)
{
    struct str kept = {*at, s.len};

    if (s.len > 0)
        memcpy(*at, s.at, s.len);
    *at += s.len;
    return kept;
}

static int fill_strings(struct state *s, struct state_manifest *m, const struct taglog_op *op)
{
    struct buf annotations auto_buf = BUF_INIT(ROW_MAX);
    char *at;

    /* They are asked for with referrers only. */
    if (op->subject.len > 0 && json_len(op->annotations) > 0)
        json_dump(&annotations, op->annotations);
    if (buf_err(&annotations) < 0)
        return buf_err(&annotations);
    at = malloc(op->media_type.len + op->artifact_type.len + op->subject.len + annotations.len + 1);
    if (!at)
        return -ERR_NOMEM;
    m->strings = at;
    m->media_type = keep(&at, op->media_type);
    m->artifact_type = keep(&at, op->artifact_type);
    m->subject = keep(&at, op->subject);
    m->annotations = keep(&at, buf_str(&annotations));
    s->value_bytes += strings_len(m);
    return 0;
}

static int fill_manifest(struct state *s, struct state_manifest *m, const struct taglog_op *op)
{
    struct buf key auto_buf = BUF_INIT(REFERRER_KEY_MAX);
    int r = fill_strings(s, m, op);

    if (r == 0 && op->ref_count > 0) {
        m->refs = calloc(op->ref_count, sizeof(*m->refs));
        r = m->refs ? 0 : -ERR_NOMEM;
    }
    for (size_t i = 0; r == 0 && i < op->ref_count; i++)
        r = add_ref(s, m, &op->refs[i]);
    s->value_bytes += m->ref_count * sizeof(*m->refs);
    if (r == 0 && m->subject.len > 0) {
        referrer_key(&key, m->subject, m->text);
        r = buf_err(&key);
        if (r == 0)
            r = omap_put(s->referrers, buf_str(&key), m);
    }
    if (r == 0)
        r = manifest_row_bytes(m, &m->row_bytes);
    s->row_bytes += m->row_bytes;
    return r;
}

static int new_manifest(struct state *s, const struct digest *d, struct str text,
                        struct state_manifest **ret)
{
    struct state_manifest *m = calloc(1, sizeof(*m));
    int r;

    if (!m)
        return -ERR_NOMEM;
    r = omap_put(s->manifests, text, m);
    if (r < 0) {
        free(m);
        return r;
    }
    m->digest = *d;
    m->text = key_of(s->manifests, text);
    s->value_bytes += sizeof(*m);
    *ret = m;
    return 0;
}

static int put_manifest(struct state *s, const struct taglog_op *op, bool incomplete, uint64_t seq,
                        int64_t ts, struct state_manifest **ret)
{
    char buffer[DIGEST_TEXT_MAX];
    struct str text = digest_text(&op->digest, buffer);
    struct state_manifest *m = omap_get(s->manifests, text);
    int r = m ? empty_manifest(s, m) : new_manifest(s, &op->digest, text, &m);

    if (r < 0)
        return r;
    m->size = op->size;
    m->seq = seq;
    m->ts = ts;
    m->ext = op->ext;
    m->incomplete = incomplete;
    s->incomplete += incomplete ? 1 : 0;
    *ret = m;
    return fill_manifest(s, m, op);
}

static int remove_manifest(struct state *s, const struct digest *d)
{
    char buffer[DIGEST_TEXT_MAX];
    struct str text = digest_text(d, buffer);
    struct state_manifest *m = omap_get(s->manifests, text);
    int r;

    if (!m)
        return 0;
    while (m->tags)
        remove_tag(s, m->tags);
    r = empty_manifest(s, m);
    if (r < 0)
        return r;
    s->value_bytes -= sizeof(*m);
    omap_remove(s->manifests, text);
    return 0;
}

/* ---- operations */

static int apply_put(struct state *s, const struct taglog_op *op, bool incomplete, uint64_t seq,
                     int64_t ts)
{
    struct state_manifest *m;
    int r = put_manifest(s, op, incomplete, seq, ts, &m);

    for (size_t i = 0; r == 0 && i < op->tag_count; i++)
        r = set_tag(s, op->tags[i], m, seq, ts);
    return r;
}

static int apply_tags(struct state *s, const struct taglog_op *op, uint64_t seq, int64_t ts)
{
    int r = 0;

    for (size_t i = 0; r == 0 && i < op->set_count; i++) {
        const struct taglog_set *set = &op->sets[i];
        char text[DIGEST_TEXT_MAX];

        if (set->remove) {
            struct state_tag *t = omap_get(s->tags, set->tag);

            if (t)
                remove_tag(s, t);
        } else {
            struct state_manifest *m = omap_get(s->manifests, digest_text(&set->digest, text));

            /* Validated before it was written: absent means nothing. */
            if (m)
                r = set_tag(s, set->tag, m, seq, ts);
        }
    }
    return r;
}

static int apply_drop(struct state *s, uint64_t seq)
{
    struct state fresh = {.dropped = seq, .removed = seq};
    int r = new_maps(&fresh);

    if (r < 0) {
        free_maps(&fresh);
        return r;
    }
    free_maps(s);
    fresh.settings = s->settings;
    *s = fresh;
    return 0;
}

int state_set_settings(struct state *s, const struct settings *settings)
{
    struct settings *copy = NULL;
    struct str text = settings_text(settings);
    int r = str_eq(text, settings_text(NULL)) ? 0 : settings_parse(text, &copy, NULL);

    if (r < 0)
        return r;
    settings_free(s->settings);
    s->settings = copy;
    return 0;
}

int state_apply(struct state *s, const struct taglog_op *op, bool incomplete, uint64_t seq,
                int64_t ts)
{
    char text[DIGEST_TEXT_MAX];

    assert(s && op && seq > 0 && ts >= 0);
    switch (op->kind) {
    case TAGLOG_PUT:
        return apply_put(s, op, incomplete, seq, ts);
    case TAGLOG_TAGS:
        return apply_tags(s, op, seq, ts);
    case TAGLOG_DELETE:
        s->removed = seq;
        return remove_manifest(s, &op->digest);
    case TAGLOG_UNLINK:
        s->removed = seq;
        return unlink_blob(s, digest_text(&op->digest, text), seq);
    case TAGLOG_DROP:
        return apply_drop(s, seq);
    case TAGLOG_SETTINGS:
        return state_set_settings(s, op->settings);
    }
    assert(false);
    return -ERR_INVAL;
}

/* ---- queries */

const struct state_tag *state_tag(const struct state *s, struct str tag)
{
    return omap_get(s->tags, tag);
}

const struct state_manifest *state_manifest(const struct state *s, const struct digest *d)
{
    char text[DIGEST_TEXT_MAX];

    return omap_get(s->manifests, digest_text(d, text));
}

static const struct state_blob *find_blob(const struct state *s, const struct digest *d)
{
    char text[DIGEST_TEXT_MAX];

    return omap_get(s->blobs, digest_text(d, text));
}

bool state_readable(const struct state *s, const struct digest *d)
{
    const struct state_blob *b = find_blob(s, d);

    return b && b->count > 0;
}

uint64_t state_link_u(const struct state *s, const struct digest *d)
{
    const struct state_blob *b = find_blob(s, d);

    if (mutant("link-u"))
        return 0;
    return b ? last_unlink(s, b) : s->dropped;
}

bool state_ref_stands(const struct state *s, const struct state_manifest *m,
                      const struct state_ref *ref)
{
    if (ref->kind == REF_MANIFEST)
        return omap_get(s->manifests, ref->blob->digest) != NULL;
    return ref_counts(s, m, ref);
}

size_t state_bytes(const struct state *s)
{
    return sizeof(*s) + settings_text(s->settings).len + s->value_bytes + omap_bytes(s->tags) +
           omap_bytes(s->manifests) + omap_bytes(s->referrers) + omap_bytes(s->blobs);
}

int state_referrers(const struct state *s, struct str subject, struct str after,
                    int (*fn)(const struct state_manifest *m, void *arg), void *arg)
{
    struct buf key auto_buf = BUF_INIT(REFERRER_KEY_MAX);
    size_t prefix = subject.len + 1;
    int r = 0;

    referrer_key(&key, subject, after);
    if (buf_err(&key) < 0)
        return buf_err(&key);
    for (struct omap_node *n = omap_after(s->referrers, buf_str(&key)); r == 0 && n;
         n = omap_next(s->referrers, n)) {
        if (!str_starts(omap_key(n), str_head(buf_str(&key), prefix)))
            break;
        r = fn(omap_value(n), arg);
    }
    return r;
}

/* ---- loading */

int state_load_unlinked(struct state *s, struct str digest, uint64_t seq)
{
    if (seq == 0 || omap_get(s->blobs, digest))
        return -ERR_CORRUPT;
    return unlink_blob(s, digest, seq);
}

int state_load_manifest(struct state *s, const struct taglog_op *op, uint64_t seq, int64_t ts)
{
    struct state_manifest *m;

    if (seq == 0 || ts < 0 || state_manifest(s, &op->digest))
        return -ERR_CORRUPT;
    return put_manifest(s, op, false, seq, ts, &m);
}

int state_load_tag(struct state *s, struct str tag, struct str digest, uint64_t seq, int64_t ts)
{
    struct state_manifest *m = omap_get(s->manifests, digest);

    if (!m || seq == 0 || ts < 0 || omap_get(s->tags, tag))
        return -ERR_CORRUPT;
    return set_tag(s, tag, m, seq, ts);
}
