/* Encoding and decoding of checkpoint heads. The text ends with a sum over all bytes before it, and
 * names each part by its digest: a checkpoint is the one object from which state is taken without
 * replaying the chain, so damage must show. */
#include "manifests/checkpoint.h"

#include <assert.h>

#include "base/enc.h"

#define VERSION   1
#define ENCODER   2
#define HASH_HEX  (2 * CHECKPOINT_HASH_BYTES)
#define END_BYTES (sizeof(sum_key) - 1 + HASH_HEX + 2) /* sum, quote, brace */
#define PART_COLS 5

static const char sum_key[] = ",\"sum\":\"";

/* ---- encoding */

static void write_part(struct jw *w, const struct table_part *p)
{
    char key[2 * TABLE_KEY_MAX + 1], sha[DIGEST_TEXT_MAX];

    hex_encode((const uint8_t *)p->last.at, p->last.len, key);
    jw_begin(w, '[');
    jw_str(w, (struct str){key, 2 * p->last.len});
    jw_int(w, (int64_t)p->records);
    jw_int(w, (int64_t)p->bytes);
    jw_int(w, (int64_t)p->index);
    jw_str(w, digest_hex(&p->sha, sha));
    jw_end(w, ']');
}

static void write_head(struct jw *w, const struct checkpoint_head *head, const struct table *t)
{
    char hex[HASH_HEX + 1];

    hex_encode(head->hash, sizeof(head->hash), hex);
    jw_kint(w, "v", VERSION);
    jw_kint(w, "encoder", ENCODER);
    jw_kstr(w, "repo", head->repo);
    jw_kint(w, "seq", (int64_t)head->seq);
    jw_kstr(w, "hash", (struct str){hex, HASH_HEX});
    jw_kint(w, "ts", head->ts);
    jw_kint(w, "previous", (int64_t)head->previous);
    jw_kint(w, "records", (int64_t)table_records(t));
    jw_kint(w, "bytes", (int64_t)head->bytes);
}

int checkpoint_encode(const struct checkpoint_head *head, struct str more, const struct table *t,
                      struct buf *out)
{
    struct jw w = JW_INIT(out);
    size_t start = out->len;
    struct digest sum;
    char hex[DIGEST_TEXT_MAX];

    assert(head->seq > 0);
    jw_begin(&w, '{');
    write_head(&w, head, t);
    if (more.len > 0) {
        buf_addc(out, ',');
        buf_add(out, more);
    }
    jw_key(&w, "inline");
    jw_bool(&w, table_inline(t).len > 0);
    jw_key(&w, "parts");
    jw_begin(&w, '[');
    for (size_t i = 0; i < table_part_count(t); i++)
        write_part(&w, table_part(t, i));
    jw_end(&w, ']');
    if (buf_err(out) < 0)
        return buf_err(out);
    digest_of(DIGEST_SHA256, str_skip(buf_str(out), start), &sum);
    jw_kstr(&w, "sum", digest_hex(&sum, hex));
    jw_end(&w, '}');
    if (table_inline(t).len > 0) {
        buf_addc(out, '\n');
        buf_add(out, table_inline(t));
    }
    return buf_err(out);
}

/* ---- decoding */

static int damaged(struct err_detail *detail, const char *what)
{
    return err_set(detail, -ERR_CORRUPT, "checkpoint: %s", what);
}

static bool sum_holds(struct str text)
{
    struct str end = str_skip(text, text.len - END_BYTES);
    struct digest sum;
    char hex[DIGEST_TEXT_MAX];

    digest_of(DIGEST_SHA256, str_head(text, text.len - END_BYTES), &sum);
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

static bool get_hash(const struct json *node, uint8_t ret[CHECKPOINT_HASH_BYTES])
{
    struct str hex = json_str(node);

    return hex.at && hex_decode(hex, ret, CHECKPOINT_HASH_BYTES);
}

static int read_part(const struct json *row, struct table *t)
{
    uint8_t key[TABLE_KEY_MAX];
    struct str hex = json_str(json_at(row, 0));
    struct table_part p = {.sha = {.alg = DIGEST_SHA256}};

    if (json_len(row) != PART_COLS || !hex.at || hex.len % 2 || hex.len / 2 > sizeof(key) ||
        !hex_decode(hex, key, hex.len / 2) || !get_number(json_at(row, 1), &p.records) ||
        !get_number(json_at(row, 2), &p.bytes) || !get_number(json_at(row, 3), &p.index) ||
        !get_hash(json_at(row, 4), p.sha.bytes))
        return -ERR_CORRUPT;
    p.last = str_make(key, hex.len / 2);
    return table_add_part(t, &p);
}

static int read_table(const struct json *root, struct str inline_bytes, struct table *t,
                      struct err_detail *detail)
{
    const struct json *parts = json_get(root, "parts");
    uint64_t records;
    bool is_inline;
    int e = 0;

    if (json_type(parts) != JSON_ARRAY_T || !json_bool(json_get(root, "inline"), &is_inline) ||
        !get_number(json_get(root, "records"), &records) || is_inline != (inline_bytes.len > 0))
        return damaged(detail, "a key of the head is missing or wrong");
    for (size_t i = 0; e == 0 && i < json_len(parts); i++)
        e = read_part(json_at(parts, i), t);
    if (e == 0 && is_inline)
        e = table_set_inline(t, inline_bytes);
    if (e == -ERR_CORRUPT || (e == 0 && table_records(t) != records))
        return damaged(detail, "a part is malformed");
    return e;
}

static bool read_head(const struct json *root, struct checkpoint_head *head)
{
    return get_number(json_get(root, "seq"), &head->seq) && head->seq > 0 &&
           get_number(json_get(root, "previous"), &head->previous) && head->previous < head->seq &&
           get_number(json_get(root, "bytes"), &head->bytes) &&
           json_get_int(root, "ts", &head->ts) && head->ts >= 0 &&
           get_hash(json_get(root, "hash"), head->hash);
}

int checkpoint_decode(struct str text, struct str repo, const struct table_spec *spec,
                      struct checkpoint_head *ret, struct json_doc **ret_doc,
                      struct table **ret_table, struct err_detail *detail)
{
    struct json_doc *doc auto_json = NULL;
    struct table *t auto_table = NULL;
    struct checkpoint_head head = {.repo = repo};
    ptrdiff_t line = str_find(text, '\n');
    struct str json = line < 0 ? text : str_head(text, (size_t)line), name;
    int64_t version, encoder;
    int r;

    if (json.len <= END_BYTES || !sum_holds(json))
        return damaged(detail, "the sum does not hold");
    r = json_parse(json, &doc, detail);
    if (r < 0)
        return r == -ERR_NOMEM ? r : damaged(detail, "not JSON");
    if (!json_get_int(json_root(doc), "v", &version) ||
        !json_get_int(json_root(doc), "encoder", &encoder))
        return damaged(detail, "no version");
    if (version != VERSION || encoder != ENCODER)
        return err_set(detail, -ERR_VERSION, "checkpoint: of another encoder");
    if (!json_get_str(json_root(doc), "repo", &name) || !str_eq(name, repo))
        return damaged(detail, "of another log");
    if (!read_head(json_root(doc), &head))
        return damaged(detail, "a key of the head is missing or wrong");
    if (spec) {
        r = table_new(spec, &t);
        if (r == 0)
            r = read_table(json_root(doc), line < 0 ? STR_NONE : str_skip(text, (size_t)line + 1),
                           t, detail);
        if (r < 0)
            return r;
        *ret_table = STEAL(t);
    }
    *ret = head;
    *ret_doc = STEAL(doc);
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
