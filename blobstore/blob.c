/* Blob records, their data, links (docs/bucket-format.md sections 4 and 5).
 *
 * Owner of: struct blobs, a cache of record headers: direct-mapped by digest, so of fixed size;
 * pages of it that were never used cost no memory. Records never change, so what is cached is true
 * for as long as the record exists. Creating a record or a link is idempotent (the key says what it
 * means), so an unknown outcome is looked up and the same object sent again, a bounded number of
 * times. */
#include "blobstore/blob.h"

#include "base/clock.h"
#include "base/fd.h"
#include "base/json.h"
#include "base/log.h"
#include "base/mutant.h"
#include "base/thread.h"
#include "blobstore/recent.h"
#include <assert.h>

#define BLOB_CACHE_SLOTS 4096u
#define BLOB_VERSION     1
#define BLOB_TRIES_MAX   5     /* of one idempotent create */
#define BLOB_SEND_MS     20000 /* after its first try nothing is sent later than this */
#define BLOB_PAUSE_MS    20    /* before the second try; then four times as long each */
#define BLOB_DATA_ID_MIN (KEYS_SESSION_BIRTH + 2)
#define BLOB_LINKS_BATCH 64u /* links asked for at once */
#define BLOB_LINK_SLOTS  4096
#define BLOB_LINK_MS     600000

struct cache_slot {
    struct digest digest;
    struct blob_info info;
    bool used;
};

struct link_slot {    /* of a link that was seen */
    uint8_t hash[32]; /* sha256 of its key */
    int64_t seen_ms;
};

struct blobs {
    struct node *node;   /* borrowed */
    struct cache *cache; /* borrowed; NULL: none */
    struct mutex mu;
    struct cache_slot *slots; /* guarded by mu */
    struct link_slot *links;  /* guarded by mu; NULL where looking costs nothing */
    struct recent *recent;    /* the same */
};

int blobs_new(struct node *n, struct blobs **ret)
{
    struct blobs *b = calloc(1, sizeof(*b));
    int e = 0;

    assert(n && ret);
    if (!b)
        return -ERR_NOMEM;
    b->slots = calloc(BLOB_CACHE_SLOTS, sizeof(*b->slots));
    if (store_is_remote(node_store(n))) {
        b->links = calloc(BLOB_LINK_SLOTS, sizeof(*b->links));
        e = b->links ? recent_new(&b->recent) : -ERR_NOMEM;
    }
    b->node = n;
    mutex_init(&b->mu);
    if (!b->slots || e < 0) {
        blobs_free(b);
        return -ERR_NOMEM;
    }
    *ret = b;
    return 0;
}

void blobs_set_cache(struct blobs *b, struct cache *c)
{
    b->cache = c;
}

struct cache *blobs_cache(const struct blobs *b)
{
    return b->cache;
}

void blobs_free(struct blobs *b)
{
    if (!b)
        return;
    mutex_done(&b->mu);
    free(b->slots);
    free(b->links);
    recent_free(b->recent);
    free(b);
}

struct node *blobs_node(const struct blobs *b)
{
    return b->node;
}

static struct store *store_of(const struct blobs *b)
{
    return node_store(b->node);
}

/* ---- cache */

static struct cache_slot *slot_of(struct blobs *b, const struct digest *d)
{
    unsigned index = (unsigned)d->bytes[0] << 8 | d->bytes[1];

    return &b->slots[index % BLOB_CACHE_SLOTS];
}

static bool cache_get(struct blobs *b, const struct digest *d, struct blob_info *ret)
{
    const struct cache_slot *slot;
    bool found;

    mutex_lock(&b->mu);
    slot = slot_of(b, d);
    found = slot->used && digest_eq(&slot->digest, d);
    if (found)
        *ret = slot->info;
    mutex_unlock(&b->mu);
    return found;
}

static void cache_put(struct blobs *b, const struct digest *d, const struct blob_info *info)
{
    mutex_lock(&b->mu);
    *slot_of(b, d) = (struct cache_slot){*d, *info, true};
    mutex_unlock(&b->mu);
}

/* ---- records */

static bool is_data_id(struct str id)
{
    if (id.len < BLOB_DATA_ID_MIN || id.len > BLOB_DATA_ID_MAX)
        return false;
    for (size_t i = 0; i < id.len; i++)
        if (!((id.at[i] >= '0' && id.at[i] <= '9') || (id.at[i] >= 'a' && id.at[i] <= 'f')))
            return false;
    return true;
}

int blob_header_parse(struct str bytes, struct blob_info *ret, struct err_detail *detail)
{
    struct str head = str_head(bytes, BLOB_HEADER_MAX);
    struct json_doc *doc auto_json = NULL;
    struct blob_info info = {0};
    ptrdiff_t feed = str_find(head, '\n');
    const struct json *root, *data;
    int64_t version, size;
    int r;

    if (feed < 0)
        return err_set(detail, -ERR_CORRUPT, "the record has no header line");
    r = json_parse(str_head(head, (size_t)feed), &doc, NULL);
    if (r < 0)
        return r == -ERR_NOMEM ? r
                               : err_set(detail, -ERR_CORRUPT, "the record's header is no JSON");
    root = json_root(doc);
    if (!json_get_int(root, "v", &version) || version < 1)
        return err_set(detail, -ERR_CORRUPT, "the record's header has no version");
    if (version > BLOB_VERSION)
        return err_set(detail, -ERR_VERSION, "the record needs version %lld", (long long)version);
    if (!json_get_int(root, "size", &size) || size < 0)
        return err_set(detail, -ERR_CORRUPT, "the record's header has no size");
    data = json_get(root, "data");
    if (json_type(data) == JSON_STRING_T && is_data_id(json_str(data)))
        memcpy(info.data_id, json_str(data).at, json_str(data).len);
    else if (json_type(data) != JSON_NULL_T)
        return err_set(detail, -ERR_CORRUPT,
                       "the record's header does not say where the bytes are");
    info.size = (uint64_t)size;
    info.header_len = (uint32_t)feed + 1;
    *ret = info;
    return 0;
}

/* Damage is told with its key and answered without bytes. */
static int corrupt(struct str key, const char *what, struct err_detail *detail)
{
    log_error("blob.corrupt", KV_V("key", key), KV_S("why", what));
    return err_set(detail, -ERR_CORRUPT, "object " STR_FMT ": %s", STR_ARG(str_head(key, 180)),
                   what);
}

static int record_key(const struct digest *d, unsigned g, struct buf *out)
{
    keys_record(out, d, g);
    return buf_err(out);
}

static bool is_inline(const struct blob_info *info)
{
    return info->data_id[0] == 0;
}

/* A small blob's record is kept whole for a moment: the bytes are mostly asked for next. */
static void keep_recent(struct blobs *b, const struct digest *d, const struct blob_info *info,
                        struct buf *record)
{
    if (b->recent && is_inline(info) && record->len == info->header_len + info->size)
        recent_put(b->recent, d, record);
}

int blob_info_at(struct blobs *b, const struct digest *d, unsigned g, struct blob_info *ret,
                 struct err_detail *detail)
{
    size_t most = b->recent ? RECENT_RECORD_MAX : BLOB_HEADER_MAX;
    struct buf key auto_buf = BUF_INIT(STORE_KEY_MAX);
    struct buf head auto_buf = BUF_INIT(most);
    struct err_detail why = {{0}};
    struct blob_info info;
    int r = record_key(d, g, &key);

    if (r == 0)
        r = store_get(store_of(b), buf_str(&key), 0, most, &head, detail);
    if (r < 0)
        return r;
    r = blob_header_parse(buf_str(&head), &info, &why);
    if (r == -ERR_CORRUPT)
        return corrupt(buf_str(&key), why.text, detail);
    if (r < 0)
        return err_set(detail, r, "%s", why.text);
    info.g = g;
    if (g == BLOB_GENERATION)
        keep_recent(b, d, &info, &head);
    *ret = info;
    return 0;
}

int blob_info(struct blobs *b, const struct digest *d, struct blob_info *ret,
              struct err_detail *detail)
{
    int r;

    assert(b && d && ret);
    if (cache_get(b, d, ret))
        return 0;
    r = blob_info_at(b, d, BLOB_GENERATION, ret, detail);
    if (r == 0)
        cache_put(b, d, ret);
    return r;
}

int blob_info_nowait(struct blobs *b, const struct digest *d, struct blob_info *ret)
{
    assert(b && d && ret);
    return cache_get(b, d, ret) ? 0 : -ERR_AGAIN;
}

/* Creates an object whose key says all that matters about it: 0 = made by this call, -ERR_EXISTS =
 * it is there (perhaps by this call: the caller reads it where that matters). */
static int create_same(struct store *s, struct str key, enum store_class cls, struct str bytes,
                       struct store_owed *owed, struct err_detail *detail)
{
    int64_t pause_ms = BLOB_PAUSE_MS, start_ms = clock_boot_ms();
    int r = 0;

    for (int i = 0; i < BLOB_TRIES_MAX; i++) {
        struct store_info info;
        int seen;

        if (i > 0) {
            clock_sleep_ms(pause_ms);
            pause_ms *= 4;
            if (clock_boot_ms() - start_ms > BLOB_SEND_MS)
                break;
        }
        r = owed ? store_create_owing(s, key, cls, bytes, owed, detail)
                 : store_create(s, key, cls, bytes, detail);
        if (r == 0 || r == -ERR_EXISTS)
            return r;
        if (r != -ERR_UNKNOWN && (r == -ERR_NOSPACE || !err_retryable(r)))
            return r;
        seen = store_head(s, key, &info, NULL);
        if (seen == 0)
            return -ERR_EXISTS;
    }
    return r;
}

static void add_header(struct buf *out, uint64_t size, struct str data_id)
{
    struct jw w = JW_INIT(out);

    jw_begin(&w, '{');
    jw_kint(&w, "v", BLOB_VERSION);
    jw_kint(&w, "size", (int64_t)size);
    jw_key(&w, "data");
    if (data_id.len > 0)
        jw_str(&w, data_id);
    else
        jw_null(&w);
    jw_end(&w, '}');
    buf_addc(out, '\n');
}

static struct blob_info info_of(uint64_t size, unsigned g, size_t header_len, struct str data_id)
{
    struct blob_info info = {.size = size, .g = g, .header_len = (uint32_t)header_len};

    if (data_id.len > 0)
        memcpy(info.data_id, data_id.at, data_id.len);
    return info;
}

/* A record that exists already must be readable, else the caller would be told of a blob nobody can
 * have. */
static int found_record(struct blobs *b, const struct digest *d, uint64_t size,
                        struct blob_info *ret, struct err_detail *detail)
{
    struct buf key auto_buf = BUF_INIT(STORE_KEY_MAX);
    int r = blob_info(b, d, ret, detail);

    if (r < 0 || ret->size == size)
        return r;
    r = record_key(d, ret->g, &key);
    return r < 0 ? r : corrupt(buf_str(&key), "has another size than these bytes", detail);
}

static int create_inline(struct blobs *b, const struct digest *d, struct str bytes,
                         struct store_owed *owed, struct err_detail *detail)
{
    struct buf key auto_buf = BUF_INIT(STORE_KEY_MAX);
    struct buf record auto_buf = BUF_INIT(BLOB_HEADER_MAX + BLOB_MANIFEST_MAX);
    struct blob_info info;
    size_t header_len;
    int r;

    assert(b && d);
    if (bytes.len > BLOB_MANIFEST_MAX)
        return err_set(detail, -ERR_TOOBIG, "a record holds at most %u bytes", BLOB_MANIFEST_MAX);
    add_header(&record, bytes.len, STR_NONE);
    header_len = record.len;
    buf_add(&record, bytes);
    r = buf_err(&record) < 0 ? buf_err(&record) : record_key(d, BLOB_GENERATION, &key);
    if (r < 0)
        return r;
    r = create_same(store_of(b), buf_str(&key), STORE_RECORD, buf_str(&record), owed, detail);
    if (r == -ERR_EXISTS)
        return found_record(b, d, bytes.len, &info, detail);
    if (r < 0)
        return r;
    info = info_of(bytes.len, BLOB_GENERATION, header_len, STR_NONE);
    if (!owed || !owed->owed)
        cache_put(b, d, &info);
    return 0;
}

int blob_create_inline(struct blobs *b, const struct digest *d, struct str bytes,
                       struct err_detail *detail)
{
    return create_inline(b, d, bytes, NULL, detail);
}

int blob_create_owing(struct blobs *b, const struct digest *d, struct str bytes,
                      struct store_owed *ret, struct err_detail *detail)
{
    *ret = (struct store_owed){.owed = false};
    return create_inline(b, d, bytes, ret, detail);
}

void blob_settled(struct blobs *b, const struct digest *d, struct store_owed *owed)
{
    struct buf key auto_buf = BUF_INIT(STORE_KEY_MAX);

    if (owed->owed && record_key(d, BLOB_GENERATION, &key) == 0)
        store_settled(store_of(b), buf_str(&key), owed);
    owed->owed = false;
}

int blob_settle(struct blobs *b, const struct digest *d, struct store_owed *owed,
                struct err_detail *detail)
{
    struct buf key auto_buf = BUF_INIT(STORE_KEY_MAX);
    struct store_info info;
    int r;

    if (!owed->owed)
        return 0;
    r = record_key(d, BLOB_GENERATION, &key);
    if (r == 0)
        r = store_head(store_of(b), buf_str(&key), &info, detail);
    if (r == 0)
        owed->owed = false;
    return r;
}

/* B9: the loser removes its own data, and only when the record that stands names another id: two
 * nodes that close one session are both right. Data that stays behind (removal failed) goes with
 * its session's sweep (B19). */
static void drop_own_data(struct blobs *b, const struct blob_info *winner, struct str data_id)
{
    struct buf key auto_buf = BUF_INIT(STORE_KEY_MAX);

    if (str_eq(str_of(winner->data_id), data_id) && !mutant("loser-removes"))
        return;
    keys_data(&key, data_id);
    if (buf_err(&key) == 0 && store_remove(store_of(b), buf_str(&key), STORE_DATA, NULL) < 0)
        log_debug("blob.data_left", KV_V("key", buf_str(&key)));
}

int blob_create_record(struct blobs *b, const struct digest *d, uint64_t size, struct str data_id,
                       unsigned g, struct err_detail *detail)
{
    struct buf key auto_buf = BUF_INIT(STORE_KEY_MAX);
    struct buf record auto_buf = BUF_INIT(BLOB_HEADER_MAX);
    struct blob_info info;
    int r;

    assert(b && d && is_data_id(data_id));
    add_header(&record, size, data_id);
    r = buf_err(&record) < 0 ? buf_err(&record) : record_key(d, g, &key);
    if (r < 0)
        return r;
    r = create_same(store_of(b), buf_str(&key), STORE_RECORD, buf_str(&record), NULL, detail);
    if (r == 0) {
        info = info_of(size, g, record.len, data_id);
        if (g == BLOB_GENERATION)
            cache_put(b, d, &info);
        return 0;
    }
    if (r != -ERR_EXISTS)
        return r;
    r = g == BLOB_GENERATION ? found_record(b, d, size, &info, detail)
                             : blob_info_at(b, d, g, &info, detail);
    if (r == 0)
        drop_own_data(b, &info, data_id);
    return r;
}

/* ---- reading */

static int data_key(const struct blob_info *info, struct buf *out)
{
    keys_data(out, str_of(info->data_id));
    return buf_err(out);
}

/* Appends bytes when they are those of the digest. */
static int verify(const struct digest *d, uint64_t size, struct str bytes, struct str key,
                  struct buf *out, struct err_detail *detail)
{
    struct digest actual;

    if (bytes.len == size)
        digest_of(d->alg, bytes, &actual);
    if (bytes.len != size || !digest_eq(&actual, d))
        return corrupt(key, "does not hold the bytes of its digest", detail);
    buf_add(out, bytes);
    return buf_err(out);
}

static int read_data(struct blobs *b, const struct digest *d, const struct blob_info *info,
                     size_t max, struct buf *out, struct err_detail *detail)
{
    struct buf key auto_buf = BUF_INIT(STORE_KEY_MAX);
    struct buf bytes auto_buf = BUF_INIT(0);
    int r;

    if (info->size > max)
        return err_set(detail, -ERR_TOOBIG, "the blob has more than %zu bytes", max);
    bytes.max = (size_t)info->size;
    r = data_key(info, &key);
    if (r == 0)
        r = store_get(store_of(b), buf_str(&key), 0, STORE_WHOLE, &bytes, detail);
    if (r == -ERR_NOTFOUND)
        return corrupt(buf_str(&key), "is missing", detail);
    if (r == -ERR_TOOBIG)
        return corrupt(buf_str(&key), "is longer than its record says", detail);
    return r < 0 ? r : verify(d, info->size, buf_str(&bytes), buf_str(&key), out, detail);
}

/* One request for what lies in its record, as manifests do. */
int blob_read(struct blobs *b, const struct digest *d, size_t max, struct buf *out,
              struct err_detail *detail)
{
    struct buf key auto_buf = BUF_INIT(STORE_KEY_MAX);
    struct buf record auto_buf = BUF_INIT(BLOB_HEADER_MAX + BLOB_MANIFEST_MAX);
    struct err_detail why = {{0}};
    struct blob_info info;
    int r;

    assert(b && d && out);
    if (cache_get(b, d, &info) && !is_inline(&info))
        return read_data(b, d, &info, max, out, detail);
    r = record_key(d, BLOB_GENERATION, &key);
    if (r == 0 && !(b->recent && recent_take(b->recent, d, &record)))
        r = store_get(store_of(b), buf_str(&key), 0, STORE_WHOLE, &record, detail);
    if (r == -ERR_TOOBIG)
        return corrupt(buf_str(&key), "is too long for a record", detail);
    if (r < 0)
        return r;
    r = blob_header_parse(buf_str(&record), &info, &why);
    if (r == -ERR_CORRUPT)
        return corrupt(buf_str(&key), why.text, detail);
    if (r < 0)
        return err_set(detail, r, "%s", why.text);
    info.g = BLOB_GENERATION;
    cache_put(b, d, &info);
    if (!is_inline(&info))
        return read_data(b, d, &info, max, out, detail);
    if (info.size > max)
        return err_set(detail, -ERR_TOOBIG, "the blob has more than %zu bytes", max);
    return verify(d, info.size, str_skip(buf_str(&record), info.header_len), buf_str(&key), out,
                  detail);
}

int blob_open(struct blobs *b, const struct digest *d, const struct blob_info *info,
              struct blob_body *ret, struct err_detail *detail)
{
    struct buf key auto_buf = BUF_INIT(STORE_KEY_MAX);
    struct store_object object = {.fd = -1};
    uint64_t offset = is_inline(info) ? info->header_len : 0;
    int r;

    assert(b && d && info && ret);
    if (!store_has_files(store_of(b)))
        return -ERR_UNSUPPORTED;
    r = is_inline(info) ? record_key(d, info->g, &key) : data_key(info, &key);
    if (r == 0)
        r = store_open(store_of(b), buf_str(&key), &object, detail);
    if (r == -ERR_NOTFOUND && !is_inline(info))
        return corrupt(buf_str(&key), "is missing", detail);
    if (r < 0)
        return r;
    if (object.info.size != offset + info->size) {
        fd_closep(&object.fd);
        return corrupt(buf_str(&key), "has another size than its record says", detail);
    }
    *ret = (struct blob_body){object.fd, offset, info->size};
    return 0;
}

/* ---- links */

static int link_key(struct str repo, const struct digest *d, uint64_t u, struct buf *out)
{
    keys_link(out, d, BLOB_GENERATION, repo, u);
    return buf_err(out);
}

/* ---- links that were seen, on stores where each look is a request: one that counts (its u is the
 * current one, which the caller knows from a probe) is removed by nothing but GC, which waits for
 * hours after it has announced that; so what was seen holds for BLOB_LINK_MS. */

static struct link_slot *link_slot_of(struct blobs *b, struct str key, struct digest *ret_hash)
{
    digest_of(DIGEST_SHA256, key, ret_hash);
    return &b->links[((unsigned)ret_hash->bytes[0] << 8 | ret_hash->bytes[1]) % BLOB_LINK_SLOTS];
}

static bool link_known(struct blobs *b, struct str key)
{
    struct digest hash;
    struct link_slot *slot;
    bool known;

    if (!b->links)
        return false;
    slot = link_slot_of(b, key, &hash);
    mutex_lock(&b->mu);
    known = memcmp(slot->hash, hash.bytes, sizeof(slot->hash)) == 0 &&
            clock_boot_ms() - slot->seen_ms < BLOB_LINK_MS;
    mutex_unlock(&b->mu);
    return known;
}

static void remember_link(struct blobs *b, struct str repo, const struct digest *d, uint64_t u)
{
    struct buf key auto_buf = BUF_INIT(STORE_KEY_MAX);
    struct link_slot *slot;
    struct digest hash;

    if (!b->links || link_key(repo, d, u, &key) < 0)
        return;
    slot = link_slot_of(b, buf_str(&key), &hash);
    mutex_lock(&b->mu);
    memcpy(slot->hash, hash.bytes, sizeof(slot->hash));
    slot->seen_ms = clock_boot_ms();
    mutex_unlock(&b->mu);
}

static void forget_link(struct blobs *b, struct str key)
{
    struct digest hash;
    struct link_slot *slot;

    if (!b->links)
        return;
    slot = link_slot_of(b, key, &hash);
    mutex_lock(&b->mu);
    if (memcmp(slot->hash, hash.bytes, sizeof(slot->hash)) == 0)
        slot->seen_ms = INT64_MIN / 2;
    mutex_unlock(&b->mu);
}

int blob_link_create(struct blobs *b, struct str repo, const struct digest *d, uint64_t u,
                     struct err_detail *detail)
{
    struct buf key auto_buf = BUF_INIT(STORE_KEY_MAX);
    int r = u > 0 && !mutant("first-link") ? blob_link_create(b, repo, d, 0, detail) : 0;

    if (r == 0)
        r = link_key(repo, d, u, &key);
    if (r == 0)
        r = create_same(store_of(b), buf_str(&key), STORE_LINK, STR_NONE, NULL, detail);
    if (r == 0 || r == -ERR_EXISTS)
        remember_link(b, repo, d, u);
    return r == -ERR_EXISTS ? 0 : r;
}

/* Record and the link of number 0, both at once: on a directory they share their waits. A link
 * whose record is not there yet grants nothing (B11), so their order does not matter. What did not
 * go through is left to the single functions, which read back and send again. */
static bool create_both(struct blobs *b, struct str repo, const struct digest *d, struct str record,
                        bool *ret_linked)
{
    struct buf keys[2] = {BUF_INIT(STORE_KEY_MAX), BUF_INIT(STORE_KEY_MAX)};
    struct store_op ops[2] = {
        {.kind = STORE_OP_CREATE, .cls = STORE_RECORD, .bytes = record},
        {.kind = STORE_OP_CREATE, .cls = STORE_LINK},
    };
    bool made = false;

    *ret_linked = false;
    if (record_key(d, BLOB_GENERATION, &keys[0]) == 0 && link_key(repo, d, 0, &keys[1]) == 0) {
        ops[0].key = buf_str(&keys[0]);
        ops[1].key = buf_str(&keys[1]);
        store_run(store_of(b), ops, ARRAY_LEN(ops));
        made = ops[0].result == 0;
        *ret_linked = ops[1].result == 0 || ops[1].result == -ERR_EXISTS;
    }
    buf_done(&keys[0]);
    buf_done(&keys[1]);
    return made;
}

int blob_create_linked(struct blobs *b, struct str repo, const struct digest *d, uint64_t u,
                       struct str bytes, struct err_detail *detail)
{
    struct buf record auto_buf = BUF_INIT(BLOB_HEADER_MAX + BLOB_INLINE_MAX);
    struct blob_info info;
    bool linked = false;
    int r = 0;

    assert(b && d && bytes.len <= BLOB_INLINE_MAX);
    add_header(&record, bytes.len, STR_NONE);
    info = info_of(bytes.len, BLOB_GENERATION, record.len, STR_NONE);
    buf_add(&record, bytes);
    if (buf_err(&record) == 0 && u == 0 && create_both(b, repo, d, buf_str(&record), &linked))
        cache_put(b, d, &info);
    else
        r = blob_create_inline(b, d, bytes, detail);
    if (r == 0 && linked)
        remember_link(b, repo, d, u);
    return r < 0 || linked ? r : blob_link_create(b, repo, d, u, detail);
}

int blob_link_exists(struct blobs *b, struct str repo, const struct digest *d, uint64_t u,
                     struct err_detail *detail)
{
    struct buf key auto_buf = BUF_INIT(STORE_KEY_MAX);
    struct store_info info;
    int r = link_key(repo, d, u, &key);

    if (r < 0 || link_known(b, buf_str(&key)))
        return r;
    r = store_head(store_of(b), buf_str(&key), &info, detail);
    if (r == 0)
        remember_link(b, repo, d, u);
    return r;
}

int blob_link_exists_nowait(struct blobs *b, struct str repo, const struct digest *d, uint64_t u)
{
    struct buf key auto_buf = BUF_INIT(STORE_KEY_MAX);
    struct store_info info;
    int r = link_key(repo, d, u, &key);

    if (r < 0 || link_known(b, buf_str(&key)))
        return r;
    return store_probe(store_of(b), buf_str(&key), &info);
}

int blob_link_remove(struct blobs *b, struct str repo, const struct digest *d, uint64_t u,
                     struct err_detail *detail)
{
    struct buf key auto_buf = BUF_INIT(STORE_KEY_MAX);
    int r = link_key(repo, d, u, &key);

    if (r == 0)
        forget_link(b, buf_str(&key));
    return r < 0 ? r : store_remove(store_of(b), buf_str(&key), STORE_LINK, detail);
}

/* Existence checks of a batch: a link each, and a record each whose header is not cached. */
struct link_batch {
    struct store_op ops[2 * BLOB_LINKS_BATCH];
    struct buf keys[2 * BLOB_LINKS_BATCH];
    size_t count;
    size_t record_op[BLOB_LINKS_BATCH]; /* SIZE_MAX: known to exist */
    size_t link_op[BLOB_LINKS_BATCH];   /* the same */
};

static void link_batch_done(struct link_batch **batch)
{
    if (!*batch)
        return;
    for (size_t i = 0; i < (*batch)->count; i++)
        buf_done(&(*batch)->keys[i]);
    free(*batch);
}

/* The next key to ask for, to be filled by the caller. */
static struct buf *batch_key(struct link_batch *batch)
{
    batch->keys[batch->count] = BUF_INIT(STORE_KEY_MAX);
    return &batch->keys[batch->count++];
}

static int run_batch(struct blobs *b, struct link_batch *batch, struct err_detail *detail)
{
    for (size_t i = 0; i < batch->count; i++) {
        if (buf_err(&batch->keys[i]) < 0)
            return buf_err(&batch->keys[i]);
        batch->ops[i] = (struct store_op){.kind = STORE_OP_HEAD, .key = buf_str(&batch->keys[i])};
    }
    store_run(store_of(b), batch->ops, batch->count);
    for (size_t i = 0; i < batch->count; i++)
        if (batch->ops[i].result < 0 && batch->ops[i].result != -ERR_NOTFOUND)
            return err_set(detail, batch->ops[i].result, "the store did not answer for a link: %s",
                           err_text(batch->ops[i].result));
    return 0;
}

static int exist_batch(struct blobs *b, struct str repo, const struct digest *digests,
                       const uint64_t *u, size_t count, bool *ret_found, struct err_detail *detail)
{
    struct link_batch *batch auto_of(link_batch_done) = calloc(1, sizeof(*batch));
    int r;

    assert(count <= BLOB_LINKS_BATCH);
    if (!batch)
        return -ERR_NOMEM;
    for (size_t i = 0; i < count; i++) {
        struct buf key auto_buf = BUF_INIT(STORE_KEY_MAX);

        batch->link_op[i] = SIZE_MAX;
        if (link_key(repo, &digests[i], u[i], &key) == 0 && link_known(b, buf_str(&key)))
            continue;
        batch->link_op[i] = batch->count;
        keys_link(batch_key(batch), &digests[i], BLOB_GENERATION, repo, u[i]);
    }
    for (size_t i = 0; i < count; i++) {
        struct blob_info info;

        batch->record_op[i] = SIZE_MAX;
        if (cache_get(b, &digests[i], &info))
            continue;
        batch->record_op[i] = batch->count;
        keys_record(batch_key(batch), &digests[i], BLOB_GENERATION);
    }
    r = run_batch(b, batch, detail);
    if (r < 0)
        return r;
    for (size_t i = 0; i < count; i++) {
        size_t record = batch->record_op[i], link = batch->link_op[i];

        ret_found[i] = (link == SIZE_MAX || batch->ops[link].result == 0) &&
                       (record == SIZE_MAX || batch->ops[record].result == 0);
        if (ret_found[i])
            remember_link(b, repo, &digests[i], u[i]);
    }
    return 0;
}

int blob_links_exist(struct blobs *b, struct str repo, const struct digest *digests,
                     const uint64_t *u, size_t count, bool *ret_found, struct err_detail *detail)
{
    int r = 0;

    assert(b && (count == 0 || (digests && u && ret_found)));
    for (size_t at = 0; r == 0 && at < count; at += BLOB_LINKS_BATCH) {
        size_t n = count - at < BLOB_LINKS_BATCH ? count - at : BLOB_LINKS_BATCH;

        r = exist_batch(b, repo, digests + at, u + at, n, ret_found + at, detail);
    }
    return r;
}
