/* What the store holds at the end: logs, checkpoints, records, the catalog. */
#include <assert.h>
#include <stdio.h>

#include "audit.h"
#include "audit_internal.h"
#include "base/omap.h"
#include "manifests/checkpoint.h"
#include "manifests/state.h"

/* ---- the plain model */

/* value: manifest + 1, 0 none. What is immutable stays where it is (R96), but for operations that
 * say they override that (B23). */
static void set_tag(struct view *v, bool override, unsigned t, unsigned value)
{
    if (!override && (v->immutable & (1u << t)) && v->tags[t] && v->tags[t] != value)
        sim_fail("an immutable tag was changed: %u from %u to %u", t, v->tags[t], value);
    v->tags[t] = (uint8_t)value;
}

static void put_tags(struct view *v, bool override, const struct json *tags, unsigned manifest)
{
    for (size_t i = 0; i < json_len(tags); i++)
        for (unsigned t = 0; t < TAGS_MAX; t++)
            if (str_eq(json_str(json_at(tags, i)), world_tag(t)))
                set_tag(v, override, t, manifest + 1);
}

static void set_tags(struct view *v, bool override, const struct json *sets)
{
    for (size_t i = 0; i < json_len(sets); i++) {
        const struct json *set = json_at(sets, i);
        struct str digest = json_str(json_get(set, "digest"));
        int manifest = digest.at ? world_manifest_of(digest) : -1;

        for (unsigned t = 0; t < TAGS_MAX; t++)
            if (str_eq(json_str(json_get(set, "tag")), world_tag(t)))
                set_tag(v, override, t, (unsigned)(manifest + 1));
    }
}

/* Clients name each tag. */
static void settle(struct view *v, const struct json *patterns)
{
    v->immutable = 0;
    for (size_t i = 0; i < json_len(patterns); i++)
        for (unsigned t = 0; t < TAGS_MAX; t++)
            if (str_eq(json_str(json_at(patterns, i)), world_tag(t)))
                v->immutable |= 1u << t;
}

static void apply_op(struct view *v, const struct json *op)
{
    struct str name = json_str(json_get(op, "op"));
    int manifest = world_manifest_of(json_str(json_get(op, "digest")));
    bool override = json_get(op, "override") != NULL;

    if (str_eq(name, STR("tags"))) {
        set_tags(v, override, json_get(op, "set"));
    } else if (str_eq(name, STR("put")) && manifest >= 0) {
        v->manifests |= 1u << manifest;
        put_tags(v, override, json_get(op, "tags"), (unsigned)manifest);
    } else if (str_eq(name, STR("delete")) && manifest >= 0) {
        v->manifests &= ~(1u << manifest);
        for (unsigned t = 0; t < TAGS_MAX; t++)
            if (v->tags[t] == manifest + 1)
                set_tag(v, override, t, 0);
    } else if (str_eq(name, STR("settings"))) {
        settle(v, json_get(json_get(op, "settings"), "immutable"));
    }
}

static void count_req(struct replay *r, const struct json *op, unsigned entry)
{
    uint64_t index;

    if (!str_u64(json_str(json_get(op, "req")), &index) || index >= hist_count()) {
        sim_fail("an operation nobody asked for in repository %u, entry %u", r->repo, entry);
        return;
    }
    if (++r->times[index] > 1)
        sim_fail("operation %u is twice in the log of repository %u: entries %u and %u",
                 (unsigned)index, r->repo, r->at[index], entry);
    r->at[index] = entry;
    if (hist_at((unsigned)index)->repo != r->repo)
        sim_fail("operation %u is in the log of another repository", (unsigned)index);
    if (json_get(op, "override") && !hist_at((unsigned)index)->override)
        sim_fail("operation %u overrides immutable tags, and did not ask to", (unsigned)index);
}

/* ---- checkpoints: the state of the entries before must encode to them (I4, I11) */

static void extend(struct taglog_op *op, struct manifest *m, struct buf *body)
{
    struct buf key auto_buf = BUF_INIT(STORE_KEY_MAX);
    struct buf raw auto_buf = BUF_INIT(BLOB_MANIFEST_MAX + BLOB_HEADER_MAX);
    struct blob_info info;
    int e;

    keys_record(&key, &op->digest, 0);
    if (!audit_get(buf_str(&key), &raw) || blob_header_parse(buf_str(&raw), &info, NULL) < 0) {
        sim_fail("a manifest of the log has no record");
        return;
    }
    buf_add(body, str_skip(buf_str(&raw), info.header_len));
    e = manifest_parse(buf_str(body), op->media_type, m, NULL);
    if (e == 0)
        e = taglog_extend(op, m);
    if (e < 0)
        sim_fail("a manifest of the log cannot be read: %s", err_name(e));
}

static void apply_state(struct state *s, const struct objlog_entry *e)
{
    for (size_t i = 0; i < json_len(e->ops); i++) {
        struct buf body auto_buf = BUF_INIT(MANIFEST_BYTES_MAX);
        struct manifest m auto_manifest = {.doc = NULL};
        struct taglog_op op auto_taglog_op = {.kind = TAGLOG_DROP};
        int r = taglog_decode(json_at(e->ops, i), &op, NULL);

        if (r == 0 && op.ext)
            extend(&op, &m, &body);
        if (r == 0)
            r = state_apply(s, &op, false, e->seq, e->ts);
        if (r < 0)
            sim_fail("an operation of entry %llu cannot be applied: %s", (unsigned long long)e->seq,
                     err_name(r));
    }
}

struct parts {
    struct str prefix;
    unsigned count;
};

/* Each part that the log's state has is in the store, with its bytes (I4, I11). */
static int check_part(void *arg, const struct table_part *part, struct str bytes)
{
    struct parts *p = arg;
    struct buf key auto_buf = BUF_INIT(STORE_KEY_MAX);
    struct buf found auto_buf = BUF_INIT(TABLE_PART_BYTES);
    char hex[DIGEST_TEXT_MAX];

    keys_part(&key, p->prefix, digest_hex(&part->sha, hex));
    if (!audit_get(buf_str(&key), &found) || !str_eq(buf_str(&found), bytes))
        sim_fail("a part of a checkpoint is not what the log says: " STR_FMT,
                 STR_ARG(buf_str(&key)));
    p->count++;
    return 0;
}

static void check_table(struct str prefix, const struct state *s, const struct objlog_entry *e)
{
    struct buf key auto_buf = BUF_INIT(STORE_KEY_MAX);
    struct buf found auto_buf = BUF_INIT(CHECKPOINT_HEAD_MAX);
    struct buf want auto_buf = BUF_INIT(CHECKPOINT_HEAD_MAX);
    struct json_doc *doc auto_json = NULL;
    struct checkpoint_head head = {.repo = audit_log_name(prefix), .seq = e->seq, .ts = e->ts};
    struct table_cache *cache = NULL;
    struct table_spec spec = {.store = net_store(), .prefix = prefix};
    struct parts parts = {.prefix = prefix};
    ptrdiff_t line;
    int64_t previous;

    keys_table(&key, prefix, e->seq);
    if (!audit_get(buf_str(&key), &found))
        return;
    world->counts[6]++;
    memcpy(head.hash, e->hash, sizeof(head.hash));
    line = str_find(buf_str(&found), '\n');
    if (json_parse(line < 0 ? buf_str(&found) : str_head(buf_str(&found), (size_t)line), &doc,
                   NULL) < 0 ||
        !json_get_int(json_root(doc), "previous", &previous)) {
        sim_fail("a checkpoint does not parse: " STR_FMT, STR_ARG(buf_str(&key)));
        return;
    }
    head.previous = (uint64_t)previous;
    if (table_cache_new(0, &cache) < 0)
        abort();
    spec.cache = cache;
    if (state_encode(s, &head, &spec, check_part, &parts, &want, NULL, NULL) < 0 ||
        !str_eq(buf_str(&want), buf_str(&found)))
        sim_fail("a checkpoint is not what the log says: " STR_FMT, STR_ARG(buf_str(&key)));
    table_cache_free(cache);
}

/* ---- records (I5) */

static void check_bytes(struct str repo, struct str digest_of_it)
{
    struct buf key auto_buf = BUF_INIT(STORE_KEY_MAX);
    struct buf raw auto_buf = BUF_INIT(BLOB_MANIFEST_MAX + BLOB_HEADER_MAX);
    struct digest want, have;
    struct blob_info info;
    struct str bytes;

    if (digest_parse(digest_of_it, &want) < 0)
        return;
    keys_record(&key, &want, 0);
    if (!audit_get(buf_str(&key), &raw) || blob_header_parse(buf_str(&raw), &info, NULL) < 0) {
        sim_fail("a ref in " STR_FMT " has no record: " STR_FMT, STR_ARG(repo),
                 STR_ARG(digest_of_it));
        return;
    }
    bytes = str_skip(buf_str(&raw), info.header_len);
    if (info.data_id[0]) {
        buf_clear(&key);
        keys_data(&key, str_of(info.data_id));
        if (!audit_get(buf_str(&key), &raw)) {
            sim_fail("a ref in " STR_FMT " has no data: " STR_FMT, STR_ARG(repo),
                     STR_ARG(digest_of_it));
            return;
        }
        bytes = buf_str(&raw);
    }
    digest_of(want.alg, bytes, &have);
    if (bytes.len != info.size || !digest_eq(&have, &want))
        sim_fail("a ref in " STR_FMT " has other bytes: " STR_FMT, STR_ARG(repo),
                 STR_ARG(digest_of_it));
}

static int check_refs_of(const struct state_manifest *m, void *arg)
{
    const struct str *repo = arg;
    char text[DIGEST_TEXT_MAX];
    struct str rest = m->refs;
    struct state_ref ref;

    check_bytes(*repo, digest_text(&m->digest, text));
    while (state_ref_next(&rest, &ref))
        check_bytes(*repo, digest_text(&ref.digest, text));
    return 0;
}

static void check_refs(struct str repo, const struct state *s)
{
    if (state_each_manifest(s, NULL, check_refs_of, &repo) < 0)
        sim_fail("the state of " STR_FMT " cannot be read", STR_ARG(repo));
}

/* ---- a repository */

static void compare(const struct view *v, const struct state *s, struct str repo)
{
    if (s->manifests != (uint64_t)__builtin_popcount(v->manifests))
        sim_fail("the state of " STR_FMT " has other manifests than its log", STR_ARG(repo));
    for (unsigned t = 0; t < TAGS_MAX; t++) {
        struct hit hit auto_hit = {.value = STR_NONE};
        char text[DIGEST_TEXT_MAX];
        struct state_tag tag;
        int have = 0;

        if (state_tag(s, world_tag(t), &hit, &tag) == 0)
            have = world_manifest_of(digest_text(&tag.digest, text)) + 1;

        if (have != v->tags[t])
            sim_fail("tag %u in the state of " STR_FMT " is not what its log says", t,
                     STR_ARG(repo));
    }
}

static bool next_entry(struct replay *r, struct str prefix, struct state *s, struct omap *nonces)
{
    struct buf raw auto_buf = BUF_INIT(OBJLOG_ENTRY_MAX);
    struct json_doc *doc auto_json = NULL;
    uint64_t seq = r->count;
    struct view *v = &r->views[r->count];
    struct objlog_entry e;

    if (!audit_entry(prefix, true, seq, &raw))
        return false;
    if (objlog_parse(buf_str(&raw), audit_log_name(prefix), seq, &e, &doc, NULL) < 0)
        return false;
    if (omap_get(nonces, e.nonce) || omap_put(nonces, e.nonce, s) < 0)
        sim_fail("a nonce is used twice in " STR_FMT, STR_ARG(prefix));
    *v = v[-1];
    v->tick = audit_tick(prefix, seq);
    for (size_t i = 0; i < json_len(e.ops); i++) {
        apply_op(v, json_at(e.ops, i));
        count_req(r, json_at(e.ops, i), (unsigned)seq);
    }
    apply_state(s, &e);
    check_table(prefix, s, &e);
    world->counts[7]++;
    world->counts[8] += json_len(e.ops) == 0;
    world->counts[9] += json_len(e.ops) > 1;
    return ++r->count < VIEWS_MAX;
}

static bool in_page(unsigned repo)
{
    struct buf raw auto_buf = BUF_INIT(OBJLOG_ENTRY_MAX);
    bool filled = false;
    int64_t newest = -1, seq;

    for (uint64_t n = 1; audit_entry(STR(KEYS_CATALOG), true, n, &raw); n++) {
        struct json_doc *doc auto_json = NULL;
        struct objlog_entry e;

        if (objlog_parse(buf_str(&raw), STR(KEYS_CATALOG), n, &e, &doc, NULL) < 0)
            return false;
        for (size_t i = 0; i < json_len(e.ops); i++) {
            const struct json *op = json_at(e.ops, i);
            struct str word = json_str(json_get(op, "op"));

            if (!str_eq(json_str(json_get(op, "name")), world_repo(repo)))
                continue;
            if (str_eq(word, STR("add")) && newest < 0) {
                newest = 0;
                json_bool(json_get(op, "filled"), &filled);
            } else if (json_get_int(op, "seq", &seq) && seq >= newest) {
                newest = seq;
                filled = str_eq(word, STR("filled"));
            }
        }
    }
    return filled;
}

static void check_repo(unsigned repo)
{
    struct buf prefix auto_buf = BUF_INIT(STORE_KEY_MAX);
    struct replay *r auto_free = calloc(1, sizeof(*r));
    struct state *s auto_state = NULL;
    struct omap *nonces auto_omap = NULL;
    bool filled;
    int e = state_new(&s);

    assert(r && e == 0);
    e = omap_new(NULL, &nonces);
    assert(e == 0);
    keys_repo(&prefix, world_repo(repo));
    r->repo = repo;
    r->count = 1;
    while (next_entry(r, buf_str(&prefix), s, nonces))
        continue;
    compare(&r->views[r->count - 1], s, world_repo(repo));
    check_refs(world_repo(repo), s);
    filled = r->views[r->count - 1].manifests != 0;
    if (in_page(repo) != filled)
        sim_fail("the catalog says of " STR_FMT " that it is %s", STR_ARG(world_repo(repo)),
                 filled ? "empty" : "filled");
    audit_witness(r);
}

void audit_store(void)
{
    for (unsigned i = 0; i < world->plan.repos; i++)
        check_repo(i);
}
