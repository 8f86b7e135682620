/* Encoding and decoding of checkpoints. The text ends with a sum over all bytes before it: a
 * checkpoint is the one object from which state is taken without replaying the chain, so damage
 * must show. */
#include "manifests/checkpoint.h"

#include <assert.h>

#include "base/enc.h"

#define VERSION  1
#define ENCODER  1
#define HASH_HEX (2 * CHECKPOINT_HASH_BYTES)

static const char sum_key[] = ",\"sum\":\"";

static_assert(CHECKPOINT_END_BYTES == sizeof(sum_key) - 1 + HASH_HEX + 2, "sum, quote, brace");

/* ---- frame */

void checkpoint_begin(struct jw *w, const struct checkpoint_head *head)
{
    char hex[HASH_HEX + 1];

    hex_encode(head->hash, sizeof(head->hash), hex);
    jw_begin(w, '{');
    jw_kint(w, "v", VERSION);
    jw_kint(w, "encoder", ENCODER);
    jw_kstr(w, "repo", head->repo);
    jw_kint(w, "seq", (int64_t)head->seq);
    jw_kstr(w, "hash", (struct str){hex, HASH_HEX});
    jw_kint(w, "ts", head->ts);
    jw_kint(w, "previous", (int64_t)head->previous);
}

size_t checkpoint_number_bytes(uint64_t v)
{
    size_t n = 1;

    while (v >= 10) {
        v /= 10;
        n++;
    }
    return n;
}

/* Sizes are found without memory: they decide where the next checkpoint is due, and must never
 * differ. Names need no escapes, times are not negative. */
size_t checkpoint_begin_bytes(const struct checkpoint_head *head)
{
    static_assert(VERSION < 10 && ENCODER < 10, "one digit each");
    return strlen("{\"v\":1,\"encoder\":1,\"repo\":\"\",\"seq\":,\"hash\":\"\",\"ts\":,"
                  "\"previous\":") +
           head->repo.len + checkpoint_number_bytes(head->seq) + HASH_HEX +
           checkpoint_number_bytes((uint64_t)head->ts) + checkpoint_number_bytes(head->previous);
}

void checkpoint_end(struct jw *w, size_t start)
{
    struct digest sum;
    char hex[DIGEST_TEXT_MAX];

    if (buf_err(w->out) < 0)
        return;
    digest_of(DIGEST_SHA256, str_skip(buf_str(w->out), start), &sum);
    jw_kstr(w, "sum", digest_hex(&sum, hex));
    jw_end(w, '}');
}

static int damaged(struct err_detail *detail, const char *what)
{
    return err_set(detail, -ERR_CORRUPT, "checkpoint: %s", what);
}

static bool sum_holds(struct str text)
{
    struct str end = str_skip(text, text.len - CHECKPOINT_END_BYTES);
    struct digest sum;
    char hex[DIGEST_TEXT_MAX];

    digest_of(DIGEST_SHA256, str_head(text, text.len - CHECKPOINT_END_BYTES), &sum);
    return str_starts(end, str_of(sum_key)) && str_ends(end, STR("\"}")) &&
           str_eq(str_head(str_skip(end, sizeof(sum_key) - 1), HASH_HEX), digest_hex(&sum, hex));
}

/* An integer >= 0. */
static bool get_number(const struct json *node, uint64_t *ret)
{
    int64_t v;

    if (!json_int(node, &v) || v < 0)
        return false;
    *ret = (uint64_t)v;
    return true;
}

int checkpoint_open(struct str text, struct str repo, struct checkpoint_head *ret,
                    struct json_doc **ret_doc, struct err_detail *detail)
{
    struct json_doc *doc auto_json = NULL;
    struct checkpoint_head head = {.repo = repo};
    const struct json *root;
    int64_t version, encoder;
    struct str name, hash;
    int r;

    if (text.len <= CHECKPOINT_END_BYTES || !sum_holds(text))
        return damaged(detail, "the sum does not hold");
    r = json_parse(text, &doc, detail);
    if (r < 0)
        return r == -ERR_NOMEM ? r : damaged(detail, "not JSON");
    root = json_root(doc);
    if (!json_get_int(root, "v", &version) || !json_get_int(root, "encoder", &encoder))
        return damaged(detail, "no version");
    if (version != VERSION || encoder != ENCODER)
        return err_set(detail, -ERR_VERSION, "checkpoint: of another encoder");
    if (!json_get_str(root, "repo", &name) || !str_eq(name, repo))
        return damaged(detail, "of another log");
    if (!get_number(json_get(root, "seq"), &head.seq) || head.seq == 0 ||
        !get_number(json_get(root, "previous"), &head.previous) || head.previous >= head.seq ||
        !json_get_int(root, "ts", &head.ts) || !json_get_str(root, "hash", &hash) ||
        !hex_decode(hash, head.hash, sizeof(head.hash)))
        return damaged(detail, "a key of the head is missing or wrong");
    *ret = head;
    *ret_doc = STEAL(doc);
    return 0;
}

/* ---- encoding */

static void write_head(struct jw *w, const struct state *s, const struct checkpoint_head *head)
{
    checkpoint_begin(w, head);
    jw_kint(w, "dropped", (int64_t)s->dropped);
    if (s->settings) {
        jw_key(w, "settings");
        jw_raw(w, settings_text(s->settings));
    }
}

static size_t settings_bytes(const struct state *s)
{
    return s->settings ? strlen(",\"settings\":") + settings_text(s->settings).len : 0;
}

static void write_sections(struct jw *w, const struct state *s)
{
    jw_key(w, "t");
    jw_begin(w, '[');
    for (struct omap_node *n = omap_first(s->tags); n; n = omap_next(s->tags, n))
        state_write_tag(w, omap_value(n));
    jw_end(w, ']');
    jw_key(w, "m");
    jw_begin(w, '[');
    for (struct omap_node *n = omap_first(s->manifests); n; n = omap_next(s->manifests, n))
        state_write_manifest(w, omap_value(n));
    jw_end(w, ']');
    jw_key(w, "b");
    jw_begin(w, '[');
    for (struct omap_node *n = omap_first(s->blobs); n; n = omap_next(s->blobs, n)) {
        const struct state_blob *b = omap_value(n);

        if (b->unlinked > 0)
            state_write_blob(w, b);
    }
    jw_end(w, ']');
}

int checkpoint_encode(const struct state *s, const struct checkpoint_head *head, struct buf *out)
{
    struct jw w = JW_INIT(out);
    size_t start = out->len;

    assert(s->incomplete == 0 && head->seq > 0);
    write_head(&w, s, head);
    write_sections(&w, s);
    checkpoint_end(&w, start);
    return buf_err(out);
}

static size_t commas(size_t rows)
{
    return rows > 0 ? rows - 1 : 0;
}

size_t checkpoint_bytes(const struct state *s, const struct checkpoint_head *head)
{
    return checkpoint_begin_bytes(head) + strlen(",\"dropped\":") +
           checkpoint_number_bytes(s->dropped) + settings_bytes(s) +
           strlen(",\"t\":[],\"m\":[],\"b\":[]") + s->row_bytes + commas(omap_count(s->tags)) +
           commas(omap_count(s->manifests)) + commas(s->unlinked_count) + CHECKPOINT_END_BYTES;
}

/* ---- decoding */

static int load_blob(struct state *s, const struct json *row)
{
    struct digest d;
    struct str text = json_str(json_at(row, 0));
    uint64_t seq;

    if (!text.at || digest_parse(text, &d) < 0 || !get_number(json_at(row, 1), &seq))
        return -ERR_CORRUPT;
    return state_load_unlinked(s, text, seq);
}

static bool read_ref(const struct json *row, struct taglog_ref *ret)
{
    struct str text = json_str(json_at(row, 0)), kind = json_str(json_at(row, 1));

    if (!text.at || digest_parse(text, &ret->digest) < 0 || kind.len != 1 ||
        !memchr("clmb", kind.at[0], 4) || !json_int(json_at(row, 2), &ret->size) || ret->size < 0)
        return false;
    ret->kind = (enum ref_kind)kind.at[0];
    return true;
}

static int read_refs(const struct json *list, struct taglog_op *op)
{
    size_t n = json_len(list);

    if (json_type(list) != JSON_ARRAY_T)
        return -ERR_CORRUPT;
    op->refs = calloc(n ? n : 1, sizeof(*op->refs));
    if (!op->refs)
        return -ERR_NOMEM;
    for (size_t i = 0; i < n; i++)
        if (!read_ref(json_at(list, i), &op->refs[i]))
            return -ERR_CORRUPT;
    op->ref_count = n;
    return 0;
}

static int load_manifest(struct state *s, const struct json *row)
{
    struct taglog_op op auto_taglog_op = {.kind = TAGLOG_PUT};
    struct str text = json_str(json_at(row, 0));
    const struct json *annotations = json_at(row, 7);
    uint64_t seq;
    int64_t ts;
    int r;

    op.media_type = json_str(json_at(row, 1));
    op.artifact_type = json_str(json_at(row, 5));
    op.subject = json_str(json_at(row, 6));
    if (!text.at || digest_parse(text, &op.digest) < 0 || !op.media_type.at ||
        !json_int(json_at(row, 2), &op.size) || op.size < 0 || !get_number(json_at(row, 3), &seq) ||
        !json_int(json_at(row, 4), &ts) || !op.artifact_type.at || !op.subject.at ||
        !json_bool(json_at(row, 8), &op.ext))
        return -ERR_CORRUPT;
    if (json_type(annotations) == JSON_OBJECT_T)
        op.annotations = annotations;
    else if (json_type(annotations) != JSON_NULL_T)
        return -ERR_CORRUPT;
    r = read_refs(json_at(row, 9), &op);
    return r < 0 ? r : state_load_manifest(s, &op, seq, ts);
}

static int load_tag(struct state *s, const struct json *row)
{
    struct str tag = json_str(json_at(row, 0)), digest = json_str(json_at(row, 1));
    uint64_t seq;
    int64_t ts;

    if (!tag.at || !tag_valid(tag) || !digest.at || !get_number(json_at(row, 2), &seq) ||
        !json_int(json_at(row, 3), &ts))
        return -ERR_CORRUPT;
    return state_load_tag(s, tag, digest, seq, ts);
}

static int load_settings(struct state *s, const struct json *node, struct err_detail *detail)
{
    struct settings *settings auto_settings = NULL;
    int r = node ? settings_read(node, &settings, NULL) : 0;

    if (r == 0)
        return state_set_settings(s, settings);
    if (r == -ERR_UNSUPPORTED)
        return err_set(detail, -ERR_VERSION, "checkpoint: a setting of a newer version");
    return r == -ERR_INVAL ? damaged(detail, "settings are malformed") : r;
}

static int load_section(struct state *s, const struct json *list,
                        int (*load)(struct state *s, const struct json *row))
{
    int r = json_type(list) == JSON_ARRAY_T ? 0 : -ERR_CORRUPT;

    for (size_t i = 0; r == 0 && i < json_len(list); i++)
        r = load(s, json_at(list, i));
    return r;
}

int checkpoint_decode(struct str text, struct str repo, struct state **ret,
                      struct checkpoint_head *ret_head, struct err_detail *detail)
{
    struct json_doc *doc auto_json = NULL;
    struct state *s auto_state = NULL;
    struct checkpoint_head head;
    const struct json *root;
    int r = checkpoint_open(text, repo, &head, &doc, detail);

    if (r == 0)
        r = state_new(&s);
    if (r < 0)
        return r;
    root = json_root(doc);
    if (!get_number(json_get(root, "dropped"), &s->dropped))
        return damaged(detail, "no dropped");
    r = load_settings(s, json_get(root, "settings"), detail);
    if (r < 0)
        return r;
    /* Counts follow from last unlinks and manifests, tags need manifests. */
    r = load_section(s, json_get(root, "b"), load_blob);
    if (r == 0)
        r = load_section(s, json_get(root, "m"), load_manifest);
    if (r == 0)
        r = load_section(s, json_get(root, "t"), load_tag);
    if (r == -ERR_CORRUPT)
        return damaged(detail, "a row is malformed");
    if (r < 0)
        return r;
    /* Deletes are not in the state: take the position itself, which is never too low. */
    s->removed = head.seq;
    *ret = STEAL(s);
    *ret_head = head;
    return 0;
}

/* ---- due positions */

bool due_add(struct due *d, uint64_t entry_bytes)
{
    uint64_t part = d->table / CHECKPOINT_DUE_PART;

    d->since += entry_bytes;
    return d->since > (part > CHECKPOINT_DUE_MIN ? part : CHECKPOINT_DUE_MIN);
}

void due_pass(struct due *d, uint64_t seq, uint64_t table_bytes)
{
    assert(seq > d->last);
    *d = (struct due){.last = seq, .since = 0, .table = table_bytes};
}
