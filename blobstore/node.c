/* Identity of a running process, the `format` object, the registry's secrets (docs/bucket-format.md
 * sections 2 and 8).
 *
 * Owner of: struct node. Immutable after node_open but for the secrets, which a mutex guards; the
 * store is never asked under it. The secret log only grows, so a longer list replaces a shorter one
 * and nothing else does. */
#include "blobstore/node.h"

#include <assert.h>
#include <stdatomic.h>

#include "base/clock.h"
#include "base/enc.h"
#include "base/json.h"
#include "base/log.h"
#include "base/rand.h"
#include "base/thread.h"
#include "blobstore/keys.h"
#include "blobstore/objlog.h"

#define NODE_ID_BYTES       (NODE_ID_LEN / 2)
#define NODE_SECRET_BYTES   32
#define NODE_SECRETS_MAX    64 /* older ones no longer verify */
#define NODE_FORMAT_VERSION 1
#define NODE_FORMAT_MAX     4096
#define NODE_TRIES_MAX      8 /* of creating what another process may create at the same time */

struct secrets {
    uint8_t at[NODE_SECRETS_MAX][NODE_SECRET_BYTES]; /* oldest first */
    int64_t ts[NODE_SECRETS_MAX];                    /* of their entries */
    size_t count;
    struct objlog_pos pos;
};

struct node {
    struct store *store; /* borrowed */
    char id[NODE_ID_LEN + 1];
    char registry[NODE_ID_LEN + 1];
    atomic_int clock_said;         /* enum clock_state that the log was told of */
    const char *const *ahead_logs; /* borrowed: operator's override */
    size_t ahead_count;
    struct mutex mu;
    struct secrets secrets; /* guarded by mu */
};

static void random_hex(char out[NODE_ID_LEN + 1])
{
    uint8_t bytes[NODE_ID_BYTES];

    rand_bytes(bytes, sizeof(bytes));
    hex_encode(bytes, sizeof(bytes), out);
}

/* ---- clock */

enum clock_state { CLOCK_RIGHT, CLOCK_OFF, CLOCK_WRONG };

static void say_clock(struct node *n, enum clock_state state, int64_t ahead_ms)
{
    enum clock_state said = (enum clock_state)atomic_exchange(&n->clock_said, (int)state);

    if (said == state)
        return;
    if (state == CLOCK_RIGHT)
        log_info("clock.right", KV_I("ahead_ms", ahead_ms));
    else if (state == CLOCK_OFF)
        log_warn("clock.off", KV_I("ahead_ms", ahead_ms));
    else
        log_error("clock.wrong", KV_I("ahead_ms", ahead_ms),
                  KV_S("effect", "this node commits nothing until its clock is right"));
}

int node_now(struct node *n, int64_t *ret_ms, struct err_detail *detail)
{
    struct err_detail why = {{0}};
    int64_t now, ahead, off;
    int r = store_now(n->store, &now, &why);

    if (r < 0)
        return err_set(detail, -ERR_NOTCOMMITTED, "the store's clock is not known: %s",
                       err_text(r));
    ahead = clock_wall_ms() - now;
    off = ahead < 0 ? -ahead : ahead;
    say_clock(n,
              off > NODE_CLOCK_MAX_MS    ? CLOCK_WRONG
              : off > NODE_CLOCK_WARN_MS ? CLOCK_OFF
                                         : CLOCK_RIGHT,
              ahead);
    if (off > NODE_CLOCK_MAX_MS)
        return err_set(detail, -ERR_NOTCOMMITTED,
                       "the clock of this node is %lld s %s the store's: it commits nothing",
                       (long long)(off / 1000), ahead > 0 ? "ahead of" : "behind");
    *ret_ms = now;
    return 0;
}

void node_override_ahead(struct node *n, const char *const *logs, size_t count)
{
    n->ahead_logs = logs;
    n->ahead_count = count;
}

bool node_overrides_ahead(const struct node *n, struct str log)
{
    for (size_t i = 0; i < n->ahead_count; i++)
        if (str_eq(log, str_of(n->ahead_logs[i])))
            return true;
    return false;
}

/* ---- format */

static int format_parse(struct node *n, struct str text, struct err_detail *detail)
{
    struct json_doc *doc auto_json = NULL;
    const struct json *root;
    uint8_t id[NODE_ID_BYTES];
    int64_t version;
    struct str registry;

    if (json_parse(text, &doc, NULL) < 0)
        return err_set(detail, -ERR_CORRUPT, "the object `format` is not JSON");
    root = json_root(doc);
    if (!json_get_int(root, "v", &version) || version < 1)
        return err_set(detail, -ERR_CORRUPT, "the object `format` names no version");
    if (version > NODE_FORMAT_VERSION)
        return err_set(detail, -ERR_VERSION, "the store needs bucket format version %lld",
                       (long long)version);
    if (!json_get_str(root, "registry", &registry) || !hex_decode(registry, id, sizeof(id)))
        return err_set(detail, -ERR_CORRUPT, "the object `format` names no registry");
    hex_encode(id, sizeof(id), n->registry);
    return 0;
}

static int format_read(struct node *n, struct err_detail *detail)
{
    struct buf key auto_buf = BUF_INIT(STORE_KEY_MAX);
    struct buf text auto_buf = BUF_INIT(NODE_FORMAT_MAX);
    int r;

    keys_format(&key);
    r = buf_err(&key);
    if (r == 0)
        r = store_get(n->store, buf_str(&key), 0, STORE_WHOLE, &text, detail);
    if (r < 0)
        return r;
    return format_parse(n, buf_str(&text), detail);
}

static int format_create(struct node *n, struct err_detail *detail)
{
    struct buf key auto_buf = BUF_INIT(STORE_KEY_MAX);
    struct buf text auto_buf = BUF_INIT(NODE_FORMAT_MAX);
    struct jw w = JW_INIT(&text);
    char registry[NODE_ID_LEN + 1];

    random_hex(registry);
    jw_begin(&w, '{');
    jw_kint(&w, "v", NODE_FORMAT_VERSION);
    jw_kstr(&w, "registry", str_of(registry));
    jw_end(&w, '}');
    keys_format(&key);
    if (buf_err(&text) < 0 || buf_err(&key) < 0)
        return -ERR_NOMEM;
    return store_create(n->store, buf_str(&key), STORE_LOG, buf_str(&text), detail);
}

/* Whatever a create answers, what stands there counts: the winner's object is read. */
static int format_open(struct node *n, struct err_detail *detail)
{
    int r = -ERR_UNAVAIL;

    for (int i = 0; i < NODE_TRIES_MAX; i++) {
        r = format_read(n, detail);
        if (r != -ERR_NOTFOUND)
            return r;
        r = format_create(n, detail);
        if (r < 0 && r != -ERR_EXISTS && r != -ERR_UNKNOWN)
            return r;
    }
    return err_set(detail, r < 0 ? r : -ERR_IO, "the object `format` cannot be created");
}

/* ---- secrets */

static void secrets_add(struct secrets *s, const uint8_t key[NODE_SECRET_BYTES], int64_t ts)
{
    if (s->count == NODE_SECRETS_MAX) {
        memmove(s->at[0], s->at[1], sizeof(s->at) - sizeof(s->at[0]));
        memmove(&s->ts[0], &s->ts[1], sizeof(s->ts) - sizeof(s->ts[0]));
        s->count--;
    }
    s->ts[s->count] = ts;
    memcpy(s->at[s->count++], key, NODE_SECRET_BYTES);
}

static int secrets_apply(const struct objlog_entry *e, void *arg)
{
    struct secrets *s = arg;

    for (size_t i = 0; i < json_len(e->ops); i++) {
        const struct json *op = json_at(e->ops, i);
        uint8_t key[NODE_SECRET_BYTES];

        if (!str_eq(json_str(json_get(op, "op")), STR("secret")))
            return -ERR_VERSION; /* B2 */
        if (!hex_decode(json_str(json_get(op, "key")), key, sizeof(key)))
            return -ERR_CORRUPT;
        secrets_add(s, key, e->ts);
    }
    return 0;
}

static int secrets_log(struct node *n, struct objlog **ret)
{
    struct objlog_spec spec = {STR(KEYS_SECRET), STR(KEYS_SECRET), true, STORE_LOG};

    return objlog_new(n, &spec, ret);
}

static int secrets_append(struct objlog *log, struct secrets *s, int64_t validated_ms,
                          struct err_detail *detail)
{
    struct buf ops auto_buf = BUF_INIT(NODE_FORMAT_MAX);
    struct jw w = JW_INIT(&ops);
    uint8_t key[NODE_SECRET_BYTES];
    char hex[2 * NODE_SECRET_BYTES + 1];
    int r;

    rand_bytes(key, sizeof(key));
    hex_encode(key, sizeof(key), hex);
    jw_begin(&w, '[');
    jw_begin(&w, '{');
    jw_kstr(&w, "op", STR("secret"));
    jw_kstr(&w, "key", str_of(hex));
    jw_end(&w, '}');
    jw_end(&w, ']');
    if (buf_err(&ops) < 0)
        return -ERR_NOMEM;
    r = objlog_append(log, &s->pos, buf_str(&ops), STR_NONE, validated_ms, NULL, detail);
    if (r == 0)
        secrets_add(s, key, s->pos.ts);
    return r;
}

/* Reads the secrets, and makes the first one where there is none. Of several processes that start
 * at once one makes it; the others read it. */
static int secrets_open(struct node *n, struct err_detail *detail)
{
    struct objlog *log auto_objlog = NULL;
    int r = secrets_log(n, &log);

    for (int i = 0; r == 0 && i < NODE_TRIES_MAX; i++) {
        int64_t now_ms = clock_boot_ms();

        r = objlog_follow(log, &n->secrets.pos, secrets_apply, &n->secrets, detail);
        if (r < 0 || n->secrets.count > 0)
            return r;
        r = secrets_append(log, &n->secrets, now_ms, detail);
        if (r == 0)
            return 0;
        if (r == -ERR_EXISTS)
            r = 0;
    }
    return r < 0 ? r : err_set(detail, -ERR_UNAVAIL, "the first secret cannot be created");
}

int node_refresh_secrets(struct node *n, struct err_detail *detail)
{
    struct objlog *log auto_objlog = NULL;
    struct secrets *fresh auto_free = malloc(sizeof(*fresh));
    int r;

    assert(n);
    if (!fresh)
        return -ERR_NOMEM;
    mutex_lock(&n->mu);
    *fresh = n->secrets;
    mutex_unlock(&n->mu);
    r = secrets_log(n, &log);
    if (r < 0)
        return r;
    if (objlog_probe(log, fresh->pos.seq) == 0)
        return 0;
    r = objlog_follow(log, &fresh->pos, secrets_apply, fresh, detail);
    if (r < 0)
        return r;
    mutex_lock(&n->mu);
    if (fresh->pos.seq > n->secrets.pos.seq)
        n->secrets = *fresh;
    mutex_unlock(&n->mu);
    return 0;
}

int node_add_secret(struct node *n, struct err_detail *detail)
{
    struct objlog *log auto_objlog = NULL;
    struct secrets *fresh auto_free = malloc(sizeof(*fresh));
    int r = fresh ? secrets_log(n, &log) : -ERR_NOMEM;

    if (r < 0)
        return r;
    mutex_lock(&n->mu);
    *fresh = n->secrets;
    mutex_unlock(&n->mu);
    r = -ERR_EXISTS;
    for (int i = 0; r == -ERR_EXISTS && i < NODE_TRIES_MAX; i++) {
        int64_t now_ms = clock_boot_ms();

        r = objlog_follow(log, &fresh->pos, secrets_apply, fresh, detail);
        if (r == 0)
            r = secrets_append(log, fresh, now_ms, detail);
    }
    if (r == 0) {
        mutex_lock(&n->mu);
        if (fresh->pos.seq > n->secrets.pos.seq)
            n->secrets = *fresh;
        mutex_unlock(&n->mu);
    }
    explicit_bzero(fresh, sizeof(*fresh));
    return r;
}

bool node_key(struct node *n, struct str label, unsigned index, uint8_t out[HMAC_BYTES])
{
    int64_t until_ms;

    return node_key_until(n, label, index, out, &until_ms);
}

bool node_key_until(struct node *n, struct str label, unsigned index, uint8_t out[HMAC_BYTES],
                    int64_t *ret_until_ms)
{
    uint8_t secret[NODE_SECRET_BYTES];
    bool found = false;

    assert(n && label.len > 0);
    mutex_lock(&n->mu);
    if (index < n->secrets.count) {
        memcpy(secret, n->secrets.at[n->secrets.count - 1 - index], sizeof(secret));
        *ret_until_ms = index == 0 ? 0 : n->secrets.ts[n->secrets.count - index];
        found = true;
    }
    mutex_unlock(&n->mu);
    if (found)
        hkdf_sha256(str_make(secret, sizeof(secret)), label, out);
    return found;
}

/* ---- life */

int node_open(struct store *store, struct node **ret, struct err_detail *detail)
{
    struct node *n auto_node = NULL;
    int r;

    assert(store && ret);
    n = calloc(1, sizeof(*n));
    if (!n)
        return -ERR_NOMEM;
    mutex_init(&n->mu);
    n->store = store;
    random_hex(n->id);
    r = format_open(n, detail);
    if (r < 0)
        return r;
    r = secrets_open(n, detail);
    if (r < 0)
        return r;
    *ret = STEAL(n);
    return 0;
}

void node_free(struct node *n)
{
    if (!n)
        return;
    mutex_done(&n->mu);
    explicit_bzero(&n->secrets, sizeof(n->secrets));
    free(n);
}

void node_freep(struct node **n)
{
    node_free(*n);
    *n = NULL;
}

struct store *node_store(const struct node *n)
{
    return n->store;
}

struct str node_id(const struct node *n)
{
    return str_make(n->id, NODE_ID_LEN);
}

struct str node_registry(const struct node *n)
{
    return str_make(n->registry, NODE_ID_LEN);
}
