/* Input: one line with the hint of a repository; then a byte of flags: 1 its checkpoint is there, 2
 * that is damaged, 4 an entry of its log is damaged; then places and values of the damage. Whatever
 * hint and checkpoint say, what the log says is answered; a log that is shorter than they say, or
 * broken, takes no more commits (docs/bucket-format.md section 9). */
#include <stdio.h>

#include "base/enc.h"
#include "base/json.h"
#include "blobstore/objlog.h"
#include "fuzz.h"
#include "manifests/checkpoint.h"
#include "manifests/repo.h"
#include "manifests/state.h"

#define NAME      STR("team/app")
#define ENTRIES   6
#define TABLE_AT  3
#define DAMAGE_AT 4
#define START_MS  INT64_C(1700000000000)
#define HEX32     "0123456789abcdef0123456789abcdef"
#define KEYS_MAX  64
#define TABLE_MAX (1u << 20)

#define SET(tag, digest)                                                                           \
    "{\"op\":\"tags\",\"set\":[{\"tag\":\"" tag "\",\"digest\":" digest "}]" END
#define END    ",\"by\":\"\",\"req\":\"\"}"
#define DIGEST "\"sha256:" HEX32 HEX32 "\""
#define PUT    "{\"op\":\"put\",\"digest\":" DIGEST ",\"mediaType\":\"application/x\",\"size\":2"

static const char *const operations[ENTRIES] = {
    PUT ",\"tags\":[\"a\",\"b\"]" END,           SET("c", DIGEST), SET("b", "null"),
    "{\"op\":\"unlink\",\"digest\":" DIGEST END, SET("d", DIGEST), SET("e", DIGEST),
};
static const char tags_wanted[] = "acde";

static struct store *store;
static struct node *node;
static struct blobs *blobs;
static struct buf entries[ENTRIES], table;

/* ---- The repository. */
static void make_entry(size_t i, const char *prev)
{
    entries[i] = BUF_INIT(4096);
    buf_addf(&entries[i],
             "{\"v\":1,\"repo\":\"team/app\",\"seq\":%zu,\"prev\":\"%s\",\"node\":\"" HEX32
             "\",\"nonce\":\"" HEX32 "\",\"ts\":%lld,\"gc\":0,\"ops\":[",
             i + 1, prev, (long long)START_MS + (long long)i);
    buf_add(&entries[i], str_of(operations[i]));
    buf_add(&entries[i], STR("]}"));
    assert(buf_err(&entries[i]) == 0);
}

static void make_table(void)
{
    struct state *s auto_state = NULL;
    struct checkpoint_head head = {.repo = NAME, .seq = TABLE_AT, .ts = START_MS + TABLE_AT - 1};
    struct table_cache *cache;
    struct table_spec spec = {.prefix = STR("repos/team/app")};
    struct digest d;

    fuzz_need(state_new(&s), "state_new");
    for (size_t i = 0; i < TABLE_AT; i++) {
        struct taglog_op op auto_taglog_op = {.kind = TAGLOG_DROP};
        struct json_doc *doc auto_json = NULL;
        struct objlog_entry e;

        fuzz_need(objlog_parse(buf_str(&entries[i]), NAME, i + 1, &e, &doc, NULL), "entry");
        fuzz_need(taglog_decode(json_at(e.ops, 0), &op, NULL), "operation");
        fuzz_need(state_apply(s, &op, false, i + 1, e.ts), "state_apply");
    }
    digest_of(DIGEST_SHA256, buf_str(&entries[TABLE_AT - 1]), &d);
    memcpy(head.hash, d.bytes, sizeof(head.hash));
    table = BUF_INIT(TABLE_MAX);
    fuzz_need(table_cache_new(1 << 16, &cache), "table_cache_new");
    spec.cache = cache;
    fuzz_need(state_encode(s, &head, &spec, NULL, NULL, &table, NULL, NULL), "state_encode");
    state_freep(&s);
    table_cache_free(cache);
}

static void setup(void)
{
    char prev[DIGEST_TEXT_MAX];
    struct digest d = {.alg = DIGEST_SHA256};

    if (store)
        return;
    digest_hex(&d, prev);
    for (size_t i = 0; i < ENTRIES; i++) {
        make_entry(i, prev);
        digest_of(DIGEST_SHA256, buf_str(&entries[i]), &d);
        digest_hex(&d, prev);
    }
    make_table();
    fuzz_need(store_mem_new(&store), "store_mem_new");
    fuzz_need(node_open(store, &node, NULL), "node_open");
    fuzz_need(blobs_new(node, &blobs), "blobs_new");
}

/* ---- Objects of one run. */
struct keys {
    struct buf at[KEYS_MAX];
    size_t count;
};

static int note_key(struct str key, const struct store_info *info, void *arg)
{
    struct keys *k = arg;

    (void)info;
    assert(k->count < KEYS_MAX);
    k->at[k->count] = BUF_INIT(STORE_KEY_MAX);
    buf_add(&k->at[k->count++], key);
    return 0;
}

static void remove_below(struct str prefix)
{
    struct keys k = {.count = 0};

    fuzz_need(store_list(store, prefix, STR_NONE, KEYS_MAX, note_key, &k, NULL), "list");
    for (size_t i = 0; i < k.count; i++) {
        fuzz_need(store_remove(store, buf_str(&k.at[i]), STORE_LOG, NULL), "remove");
        buf_done(&k.at[i]);
    }
}

static void create_entry(size_t i, struct str bytes)
{
    struct buf prefix auto_buf = BUF_INIT(STORE_KEY_MAX), key auto_buf = BUF_INIT(STORE_KEY_MAX);

    keys_repo(&prefix, NAME);
    keys_log_entry(&key, buf_str(&prefix), true, i + 1);
    fuzz_need(store_create(store, buf_str(&key), STORE_LOG, bytes, NULL), "create");
}

/* True when the log is damaged. */
static bool create_log(bool damage, struct str edits)
{
    struct buf changed auto_buf = BUF_INIT(4096);
    bool damaged = false;

    for (size_t i = 0; i < ENTRIES; i++) {
        buf_clear(&changed);
        buf_add(&changed, buf_str(&entries[i]));
        if (damage && i == DAMAGE_AT) {
            (void)fuzz_edit(&changed, edits);
            damaged = !str_eq(buf_str(&changed), buf_str(&entries[i]));
        }
        create_entry(i, buf_str(&changed));
    }
    return damaged;
}

static void create_hint(struct str hint)
{
    struct buf prefix auto_buf = BUF_INIT(STORE_KEY_MAX), key auto_buf = BUF_INIT(STORE_KEY_MAX);

    keys_repo(&prefix, NAME);
    keys_hint(&key, buf_str(&prefix));
    fuzz_need(store_put(store, buf_str(&key), STORE_HINT, hint, NULL), "put");
}

static void create_table(bool damage, struct str edits)
{
    struct buf prefix auto_buf = BUF_INIT(STORE_KEY_MAX), key auto_buf = BUF_INIT(STORE_KEY_MAX);
    struct buf changed auto_buf = BUF_INIT(TABLE_MAX);

    keys_repo(&prefix, NAME);
    keys_table(&key, buf_str(&prefix), TABLE_AT);
    buf_add(&changed, buf_str(&table));
    if (damage)
        (void)fuzz_edit(&changed, edits);
    fuzz_need(store_create(store, buf_str(&key), STORE_LOG, buf_str(&changed), NULL), "create");
}

/* ---- What is answered. */

/* The greatest entry that a hint speaks of, 0 when it says nothing. */
static uint64_t hint_head(struct str hint)
{
    struct json_doc *doc auto_json = NULL;
    int64_t checkpoint, head;

    if (json_parse(hint, &doc, NULL) < 0 ||
        !json_get_int(json_root(doc), "checkpoint", &checkpoint) ||
        !json_get_int(json_root(doc), "head", &head) || checkpoint < 0 || head < 0)
        return 0;
    return (uint64_t)(checkpoint > head ? checkpoint : head);
}

static int add_tag(struct str tag, void *arg)
{
    buf_add(arg, tag);
    return 0;
}

static void check_repo(struct repo *repo, bool writable)
{
    struct buf tags auto_buf = BUF_INIT(64);
    struct repo_who who = {.by = STR_NONE, .req = STR_NONE};
    bool more;
    int r;

    assert(repo_tags(repo, STR_NONE, 10, add_tag, &tags, &more) == 0 && !more);
    assert(str_eq(buf_str(&tags), str_of(tags_wanted)));
    r = repo_delete_tag(repo, STR("a"), &who, NULL);
    assert(r == (writable ? 0 : -ERR_READONLY));
}

static void check_open(bool damaged, bool writable)
{
    struct repos_settings settings = {.references = REFERENCES_STRICT};
    struct repos *repos;
    struct repo *repo = NULL;
    struct repo_who who = {.by = STR_NONE, .req = STR_NONE};
    int r;

    fuzz_need(repos_new(blobs, &settings, &repos), "repos_new");
    r = repo_get(repos, NAME, &repo, NULL);
    if (r == 0)
        r = repo_refresh(repo, NULL);
    if (!damaged) {
        assert(r == 0);
        check_repo(repo, writable);
    } else if (r == 0) {
        assert(repo_delete_tag(repo, STR("a"), &who, NULL) < 0);
    } else {
        assert(r == -ERR_CORRUPT || r == -ERR_VERSION);
    }
    if (repo)
        repo_unref(repo);
    repos_free(repos);
}

void fuzz_one(struct str input)
{
    struct str hint = fuzz_line(&input);
    uint8_t flags = fuzz_u8(&input);
    bool damaged;

    setup();
    if (hint.len)
        create_hint(hint);
    if (flags & 1)
        create_table(flags & 2, input);
    damaged = create_log(flags & 4, input);
    check_open(damaged, hint_head(hint) <= ENTRIES);
    remove_below(STR("repos/"));
    remove_below(STR("catalog/"));
}
