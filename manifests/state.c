/* What operations do to the state of a repository. Invariants, held between two operations:
 *   - every tag's record names a manifest that has one, with its type and size, and has a twin in
 *     the section that leads from manifests to tags;
 *   - users of a blob = refs of any manifest that name it; count = those of kind config, layer,
 *     blob whose manifest's seq is greater than the blob's last unlink or drop; a record stands
 *     while users > 0 or unlinked > 0;
 *   - a manifest with a subject has exactly one record among the referrers;
 *   - the numbers of struct state are what counting gives. */
#include "manifests/state.h"

#include <assert.h>

#include "manifests/state_internal.h"

/* ---- life */

void state_done(struct state *s)
{
    layers_done(&s->layers);
    if (s->owns_settings)
        settings_free(s->settings);
    s->settings = NULL;
}

int state_new(struct state **ret)
{
    struct state *s = calloc(1, sizeof(*s));
    int e = s ? layers_init(&s->layers) : -ERR_NOMEM;

    assert(ret);
    if (e < 0) {
        free(s);
        return e;
    }
    s->owns_settings = true;
    *ret = s;
    return 0;
}

void state_free(struct state *s)
{
    if (!s)
        return;
    state_done(s);
    free(s);
}

void state_freep(struct state **s)
{
    state_free(*s);
    *s = NULL;
}

int state_reset(struct state *s)
{
    int e = layers_reset(&s->layers);
    struct layers layers = s->layers;

    if (e < 0)
        return e;
    settings_free(s->settings);
    *s = (struct state){.layers = layers, .owns_settings = true};
    return 0;
}

size_t state_bytes(const struct state *s)
{
    return sizeof(*s) + layers_memory(&s->layers);
}

/* ---- records read, changed, written */

static int damaged(struct err_detail *detail)
{
    return err_set(detail, -ERR_CORRUPT, "a record of a checkpoint is malformed");
}

/* Old values live in their hits until the new one is written. */
struct edit {
    struct layers *layers;
    struct err_detail *detail;
    struct state_key key;
    struct hit old;
    bool there, blind;
    struct buf value;
};

static void edit_done(struct edit *e)
{
    hit_done(&e->old);
    buf_done(&e->value);
}
#define auto_edit auto_of(edit_done)

#define EDIT(state, why)                                                                           \
    {                                                                                              \
        .layers = &(state)->layers, .detail = (why), .value = BUF_INIT(STATE_ROW_MAX)              \
    }

/* Reads what stands under the key. */
static int edit_begin(struct edit *e)
{
    int r = layers_get(e->layers, state_key_str(&e->key), &e->old, e->detail);

    e->there = r == 0;
    e->blind = e->old.blind;
    return r == -ERR_NOTFOUND ? 0 : r;
}

/* The same, but what only the base knows is not looked at. */
static int edit_begin_blind(struct edit *e)
{
    int r = layers_get_above(e->layers, state_key_str(&e->key), &e->old);

    e->there = r == 0;
    e->blind = r == -ERR_AGAIN || e->old.blind;
    return r == -ERR_NOTFOUND || r == -ERR_AGAIN ? 0 : r;
}

static int edit_put(struct edit *e)
{
    struct str value = buf_str(&e->value), key = state_key_str(&e->key);
    const struct str *old = e->there ? &e->old.value : NULL;

    if (buf_err(&e->value) < 0)
        return buf_err(&e->value);
    return e->blind ? layers_write_blind(e->layers, key, &value, old)
                    : layers_put(e->layers, key, value, old);
}

static int edit_remove(struct edit *e)
{
    const struct str *old = e->there ? &e->old.value : NULL;

    return e->blind ? layers_write_blind(e->layers, state_key_str(&e->key), NULL, old)
                    : layers_remove(e->layers, state_key_str(&e->key), old);
}

/* ---- blobs */

static bool ref_counts(const struct state *s, uint64_t seq, enum ref_kind kind,
                       const struct state_blob *b)
{
    /* A manifest's digest is not readable as a blob (B13). */
    return kind != REF_MANIFEST && seq > state_last_unlink(s, b);
}

enum use { USE_BEGINS, USE_ENDS };

/* A manifest of that seq begins or ceases to refer to the blob. */
static int use_blob(struct state *s, const struct digest *d, enum ref_kind kind, uint64_t seq,
                    enum use use, struct err_detail *detail)
{
    struct edit e auto_edit = EDIT(s, detail);
    struct state_blob b = {.users = 0};
    int r;

    state_key_blob(&e.key, d);
    r = edit_begin(&e);
    if (r < 0)
        return r;
    if (e.there && !state_unpack_blob(e.old.value, &b))
        return damaged(detail);
    if (use == USE_BEGINS) {
        b.users++;
        b.count += ref_counts(s, seq, kind, &b) ? 1 : 0;
    } else {
        if (b.users == 0 || (ref_counts(s, seq, kind, &b) && b.count == 0))
            return damaged(detail);
        b.users--;
        b.count -= ref_counts(s, seq, kind, &b) ? 1 : 0;
    }
    if (b.users == 0 && b.unlinked == 0)
        return edit_remove(&e);
    state_pack_blob(&e.value, &b);
    return edit_put(&e);
}

static int unlink_blob(struct state *s, const struct digest *d, uint64_t seq,
                       struct err_detail *detail)
{
    struct edit e auto_edit = EDIT(s, detail);
    struct state_blob b = {.users = 0};
    int r;

    state_key_blob(&e.key, d);
    r = edit_begin(&e);
    if (r < 0)
        return r;
    if (e.there && !state_unpack_blob(e.old.value, &b))
        return damaged(detail);
    b.count = 0;
    b.unlinked = seq;
    state_pack_blob(&e.value, &b);
    return edit_put(&e);
}

/* ---- tags */

static const struct str nothing = {"", 0};

static int set_on(struct state *s, const struct digest *manifest, struct str tag, bool on)
{
    struct state_key key;

    state_key_on(&key, manifest, tag);
    return on ? layers_put(&s->layers, state_key_str(&key), STR_NONE, NULL)
              : layers_remove(&s->layers, state_key_str(&key), &nothing);
}

/* to NULL: removes it. */
static int set_tag(struct state *s, struct str name, const struct state_tag *to,
                   struct err_detail *detail)
{
    struct edit e auto_edit = EDIT(s, detail);
    struct state_tag old;
    bool moves;
    int r;

    state_key_tag(&e.key, name);
    r = s->blind ? edit_begin_blind(&e) : edit_begin(&e);
    if (r < 0)
        return r;
    if (e.there && !state_unpack_tag(e.old.value, &old))
        return damaged(detail);
    moves = !e.there || !to || !digest_eq(&old.digest, &to->digest);
    if (e.there && moves)
        r = set_on(s, &old.digest, name, false);
    if (r == 0 && to && moves)
        r = set_on(s, &to->digest, name, true);
    if (r < 0)
        return r;
    s->tags += to ? 1 : 0;
    s->tags -= e.there ? 1 : 0;
    if (!to)
        return edit_remove(&e);
    state_pack_tag(&e.value, to);
    return edit_put(&e);
}

/* The first tag on a manifest that is greater than *last, which it becomes. 1, 0: there is none. */
static int next_tag_on(struct state *s, const struct digest *manifest, struct buf *last,
                       struct err_detail *detail)
{
    struct layers_cursor c auto_layers_cursor = {.layers = NULL};
    struct state_key prefix, from;
    int r;

    state_key_on(&prefix, manifest, STR_NONE);
    state_key_on(&from, manifest, buf_str(last));
    if (last->len > 0) /* just behind it: a tag has no zero byte */
        from.at[from.len++] = 0;
    layers_cursor_init(&c, &s->layers);
    c.detail = detail;
    for (r = layers_seek(&c, state_key_str(&from)); r == 1; r = layers_next(&c)) {
        struct str tag;

        if (!str_starts(c.key, state_key_str(&prefix)))
            return 0;
        tag = str_skip(c.key, prefix.len);
        r = state_on_is_past(s, manifest, tag);
        if (r == 1)
            continue;
        buf_clear(last);
        buf_add(last, tag);
        return r < 0 ? r : buf_err(last) < 0 ? buf_err(last) : 1;
    }
    return r;
}

static int remove_tags_on(struct state *s, const struct digest *manifest, struct err_detail *detail)
{
    struct buf tag auto_buf = BUF_INIT(TABLE_KEY_MAX);
    int r;

    while ((r = next_tag_on(s, manifest, &tag, detail)) == 1) {
        r = set_tag(s, buf_str(&tag), NULL, detail);
        if (r < 0)
            return r;
    }
    return r;
}

/* Tags repeat what their manifest's type is, which may change (R85). */
static int retype_tags_on(struct state *s, const struct state_manifest *m,
                          struct err_detail *detail)
{
    struct buf tag auto_buf = BUF_INIT(TABLE_KEY_MAX);
    int r;

    while ((r = next_tag_on(s, &m->digest, &tag, detail)) == 1) {
        struct edit e auto_edit = EDIT(s, detail);
        struct state_tag t;

        state_key_tag(&e.key, buf_str(&tag));
        r = edit_begin(&e);
        if (r < 0)
            return r;
        if (!e.there || !state_unpack_tag(e.old.value, &t))
            return damaged(detail);
        t.media_type = m->media_type;
        t.size = m->size;
        state_pack_tag(&e.value, &t);
        r = edit_put(&e);
        if (r < 0)
            return r;
    }
    return r;
}

/* ---- manifests */

/* Takes everything out of a manifest but its tags and its record. */
static int empty_manifest(struct state *s, const struct state_manifest *m,
                          struct err_detail *detail)
{
    struct str rest = m->refs;
    int r = 0;

    for (uint64_t i = 0; r == 0 && i < m->ref_count; i++) {
        struct state_ref ref;

        if (!state_ref_next(&rest, &ref))
            return damaged(detail);
        r = use_blob(s, &ref.digest, ref.kind, m->seq, USE_ENDS, detail);
    }
    if (r == 0 && m->has_subject) {
        struct edit e auto_edit = EDIT(s, detail);

        state_key_referrer(&e.key, &m->subject, &m->digest);
        r = edit_begin(&e);
        if (r == 0)
            r = edit_remove(&e);
    }
    s->manifests--;
    s->incomplete -= m->incomplete ? 1 : 0;
    return r;
}

static int add_refs(struct state *s, const struct taglog_op *op, uint64_t seq, struct buf *refs,
                    struct err_detail *detail)
{
    int r = 0;

    for (size_t i = 0; r == 0 && i < op->ref_count; i++) {
        const struct taglog_ref *ref = &op->refs[i];

        state_pack_ref(refs, &ref->digest, ref->kind, ref->size);
        r = use_blob(s, &ref->digest, ref->kind, seq, USE_BEGINS, detail);
    }
    return r < 0 ? r : buf_err(refs);
}

static int add_referrer(struct state *s, const struct state_manifest *m,
                        const struct json *annotations, struct err_detail *detail)
{
    struct edit e auto_edit = EDIT(s, detail);
    struct buf text auto_buf = BUF_INIT(STATE_ROW_MAX);
    struct state_referrer row = {
        .media_type = m->media_type, .artifact_type = m->artifact_type, .size = m->size};
    int r;

    if (json_len(annotations) > 0)
        json_dump(&text, annotations);
    if (buf_err(&text) < 0)
        return buf_err(&text);
    row.annotations = buf_str(&text);
    state_key_referrer(&e.key, &m->subject, &m->digest);
    r = edit_begin(&e);
    state_pack_referrer(&e.value, &row);
    return r < 0 ? r : edit_put(&e);
}

static int put_manifest(struct state *s, const struct taglog_op *op, struct state_manifest *m,
                        struct err_detail *detail)
{
    struct edit e auto_edit = EDIT(s, detail);
    struct buf refs auto_buf = BUF_INIT(STATE_ROW_MAX);
    struct state_manifest old = {.digest = op->digest};
    bool retype;
    int r;

    state_key_manifest(&e.key, &op->digest);
    r = edit_begin(&e);
    if (r < 0)
        return r;
    if (e.there && !state_unpack_manifest(e.old.value, &old))
        return damaged(detail);
    if (e.there)
        r = empty_manifest(s, &old, detail);
    if (r == 0)
        r = add_refs(s, op, m->seq, &refs, detail);
    if (r == 0 && m->has_subject)
        r = add_referrer(s, m, op->annotations, detail);
    if (r < 0)
        return r;
    retype = e.there && (old.size != m->size || !str_eq(old.media_type, m->media_type));
    m->ref_count = op->ref_count;
    m->refs = buf_str(&refs);
    state_pack_manifest(&e.value, m);
    m->refs = STR_NONE;
    r = edit_put(&e);
    s->manifests++;
    s->incomplete += m->incomplete ? 1 : 0;
    return r == 0 && retype ? retype_tags_on(s, m, detail) : r;
}

static int remove_manifest(struct state *s, const struct digest *d, struct err_detail *detail)
{
    struct edit e auto_edit = EDIT(s, detail);
    struct state_manifest m = {.digest = *d};
    int r;

    state_key_manifest(&e.key, d);
    r = edit_begin(&e);
    if (r < 0 || !e.there)
        return r;
    if (!state_unpack_manifest(e.old.value, &m))
        return damaged(detail);
    r = remove_tags_on(s, d, detail);
    if (r == 0)
        r = empty_manifest(s, &m, detail);
    return r == 0 ? edit_remove(&e) : r;
}

/* ---- operations */

static struct state_tag tag_on(const struct state_manifest *m, uint64_t seq, int64_t ts)
{
    return (struct state_tag){
        .digest = m->digest, .media_type = m->media_type, .size = m->size, .seq = seq, .ts = ts};
}

static int apply_put(struct state *s, const struct taglog_op *op, bool incomplete, uint64_t seq,
                     int64_t ts, struct err_detail *detail)
{
    struct state_manifest m = {.digest = op->digest,
                               .media_type = op->media_type,
                               .artifact_type = op->artifact_type,
                               .size = op->size,
                               .seq = seq,
                               .ts = ts,
                               .ext = op->ext,
                               .incomplete = incomplete};
    struct state_tag to = tag_on(&m, seq, ts);
    int r;

    /* By any other text nobody can ask for referrers. */
    m.has_subject = op->subject.len > 0 && digest_parse(op->subject, &m.subject) == 0;
    r = put_manifest(s, op, &m, detail);
    for (size_t i = 0; r == 0 && i < op->tag_count; i++)
        r = set_tag(s, op->tags[i], &to, detail);
    return r;
}

static int apply_set(struct state *s, const struct taglog_set *set, uint64_t seq, int64_t ts,
                     struct err_detail *detail)
{
    struct hit hit auto_hit = {.value = STR_NONE};
    struct state_manifest m = {.digest = set->digest};
    struct state_tag to;
    struct state_key key;
    int r;

    if (set->remove)
        return set_tag(s, set->tag, NULL, detail);
    state_key_manifest(&key, &set->digest);
    r = layers_get(&s->layers, state_key_str(&key), &hit, detail);
    /* Validated before it was written: absent means nothing. */
    if (r < 0)
        return r == -ERR_NOTFOUND ? 0 : r;
    if (!state_unpack_manifest(hit.value, &m))
        return damaged(detail);
    to = tag_on(&m, seq, ts);
    return set_tag(s, set->tag, &to, detail);
}

/* What says nothing are the defaults. */
static int set_settings(struct state *s, const struct settings *settings)
{
    struct settings *copy = NULL;
    struct str text = settings_text(settings);
    int r = str_eq(text, settings_text(NULL)) ? 0 : settings_parse(text, &copy, NULL);

    if (r < 0)
        return r;
    if (s->owns_settings)
        settings_free(s->settings);
    s->settings = copy;
    s->owns_settings = true;
    return 0;
}

static int apply_drop(struct state *s, uint64_t seq)
{
    int r = layers_clear(&s->layers);

    s->dropped = s->removed = seq;
    s->tags = s->manifests = s->incomplete = 0;
    return r;
}

int state_change(struct state *s, const struct taglog_op *op, bool incomplete, uint64_t seq,
                 int64_t ts, struct err_detail *detail)
{
    int r = 0;

    assert(s && op && seq > 0 && ts >= 0);
    switch (op->kind) {
    case TAGLOG_PUT:
        return apply_put(s, op, incomplete, seq, ts, detail);
    case TAGLOG_TAGS:
        for (size_t i = 0; r == 0 && i < op->set_count; i++)
            r = apply_set(s, &op->sets[i], seq, ts, detail);
        return r;
    case TAGLOG_DELETE:
        s->removed = seq;
        return remove_manifest(s, &op->digest, detail);
    case TAGLOG_UNLINK:
        s->removed = seq;
        return unlink_blob(s, &op->digest, seq, detail);
    case TAGLOG_DROP:
        return apply_drop(s, seq);
    case TAGLOG_SETTINGS:
        return set_settings(s, op->settings);
    }
    assert(false);
    return -ERR_INVAL;
}

#define FETCH_MAX 1024 /* records of one operation that are asked for together */

void state_fetch(const struct state *s, const struct taglog_op *op, struct pins *pins)
{
    struct state_key *keys auto_free = NULL;
    struct str list[FETCH_MAX];
    size_t n = 0;

    if (!s->layers.base || !table_far(s->layers.base))
        return;
    keys = calloc(FETCH_MAX, sizeof(*keys));
    if (!keys)
        return;
    if (op->kind == TAGLOG_PUT || op->kind == TAGLOG_DELETE)
        state_key_manifest(&keys[n++], &op->digest);
    if (op->kind == TAGLOG_UNLINK)
        state_key_blob(&keys[n++], &op->digest);
    for (size_t i = 0; !s->blind && i < op->tag_count && n < FETCH_MAX; i++)
        state_key_tag(&keys[n++], op->tags[i]);
    for (size_t i = 0; i < op->set_count && n + 1 < FETCH_MAX; i++) {
        if (!s->blind)
            state_key_tag(&keys[n++], op->sets[i].tag);
        if (!op->sets[i].remove)
            state_key_manifest(&keys[n++], &op->sets[i].digest);
    }
    for (size_t i = 0; i < op->ref_count && n < FETCH_MAX; i++)
        state_key_blob(&keys[n++], &op->refs[i].digest);
    for (size_t i = 0; i < n; i++)
        list[i] = state_key_str(&keys[i]);
    (void)!table_pin(s->layers.base, list, n, pins, NULL);
}

/* ---- blind changes */

#define SEE_MAX 256 /* tags whose blocks are held together */

struct see {
    struct state *state;
    struct str keys[SEE_MAX]; /* in the layers */
    size_t count;
    struct err_detail *detail;
};

/* The tag replaces one that the base has. */
static int see_replaced(struct state *s, struct str name, struct str value,
                        struct err_detail *detail)
{
    struct hit now auto_hit = {.value = STR_NONE};
    struct state_tag was, is;
    struct state_key key;
    int r;

    if (!state_unpack_tag(value, &was))
        return damaged(detail);
    s->tags--;
    state_key_tag(&key, name);
    r = layers_get_above(&s->layers, state_key_str(&key), &now);
    if (r == 0 && !state_unpack_tag(now.value, &is))
        return damaged(detail);
    if (r < 0 && r != -ERR_NOTFOUND)
        return r;
    /* Its way from the manifest goes with it; or was counted a second time. */
    state_key_on(&key, &was.digest, name);
    if (set_on(s, &was.digest, name, false) < 0)
        return -ERR_NOMEM;
    return r == 0 && digest_eq(&was.digest, &is.digest)
               ? layers_put(&s->layers, state_key_str(&key), STR_NONE, &nothing)
               : 0;
}

static int see_batch(struct see *see)
{
    struct layers *l = &see->state->layers;
    struct pins pins auto_pins = {.at = NULL};
    int r = 0;

    if (table_far(l->base))
        (void)!table_pin(l->base, see->keys, see->count, &pins, NULL);
    for (size_t i = 0; r == 0 && i < see->count; i++) {
        struct hit was auto_hit = {.value = STR_NONE};

        r = layers_see(l, see->keys[i], &was, see->detail);
        if (r == 0)
            r = see_replaced(see->state, str_skip(see->keys[i], 1), was.value, see->detail);
        if (r == -ERR_NOTFOUND)
            r = 0;
    }
    see->count = 0;
    return r;
}

static int see_tag(struct str key, void *arg)
{
    struct see *see = arg;

    assert(key.at[0] == STATE_TAGS);
    see->keys[see->count++] = key;
    return see->count == SEE_MAX ? see_batch(see) : 0;
}

int state_see(struct state *s, struct err_detail *detail)
{
    struct see see = {.state = s, .detail = detail};
    int r = layers_each_blind(&s->layers, see_tag, &see);

    return r == 0 && see.count > 0 ? see_batch(&see) : r;
}

bool state_sees_soon(const struct state *s)
{
    return s->layers.base && table_far(s->layers.base) && layers_blind(&s->layers) >= SEE_MAX;
}

/* ---- changes */

int state_begin(const struct state *s, struct state *ret)
{
    *ret = *s;
    ret->owns_settings = ret->blind = false;
    return layers_begin(&s->layers, &ret->layers);
}

void state_commit(struct state *s, struct state *change)
{
    layers_commit(&s->layers, &change->layers);
    s->dropped = change->dropped;
    s->removed = change->removed;
    s->tags = change->tags;
    s->manifests = change->manifests;
    s->incomplete = change->incomplete;
    if (!change->owns_settings)
        return;
    settings_free(s->settings);
    s->settings = STEAL(change->settings);
    change->owns_settings = false;
}

int state_apply(struct state *s, const struct taglog_op *op, bool incomplete, uint64_t seq,
                int64_t ts)
{
    struct state change;
    int r = state_begin(s, &change);

    if (r < 0)
        return r;
    r = state_change(&change, op, incomplete, seq, ts, NULL);
    if (r == 0)
        state_commit(s, &change);
    state_done(&change);
    return r;
}

/* ---- the numbers of a checkpoint's head */

void state_write_numbers(const struct state *s, struct jw *w)
{
    jw_kint(w, "dropped", (int64_t)s->dropped);
    jw_kint(w, "tags", (int64_t)s->tags);
    jw_kint(w, "manifests", (int64_t)s->manifests);
    if (s->settings) {
        jw_key(w, "settings");
        jw_raw(w, settings_text(s->settings));
    }
}

static bool read_number(const struct json *head, const char *key, uint64_t *ret)
{
    int64_t v;

    if (!json_get_int(head, key, &v) || v < 0)
        return false;
    *ret = (uint64_t)v;
    return true;
}

int state_read_numbers(struct state *s, const struct json *head, uint64_t seq)
{
    const struct json *node = json_get(head, "settings");
    struct settings *settings auto_settings = NULL;
    int r = node ? settings_read(node, &settings, NULL) : 0;

    if (r < 0)
        return r == -ERR_UNSUPPORTED ? -ERR_VERSION : r == -ERR_NOMEM ? r : -ERR_CORRUPT;
    if (!read_number(head, "dropped", &s->dropped) || !read_number(head, "tags", &s->tags) ||
        !read_number(head, "manifests", &s->manifests))
        return -ERR_CORRUPT;
    /* Deletes are not in the state: take the position itself, which is never too low. */
    s->removed = seq;
    return set_settings(s, settings);
}
