/* The table of API keys, by id. */
#include "auth/robot.h"

#include <stdlib.h>

#include "auth/glob.h"
#include "base/enc.h"
#include "base/omap.h"
#include "base/rand.h"
#include "base/thread.h"

#define KEY_PREFIX   "stw_"
#define SECRET_BYTES 32
#define KEY_LEN      (4 + ROBOT_ID_LEN + 1 + 2 * SECRET_BYTES)

struct robots {
    struct mutex mu;
    struct omap *by_id; /* guarded by mu */
};

static void robot_free(void *value)
{
    struct robot *r = value;

    if (r)
        free(r->scopes);
    free(r);
}

int robots_new(struct robots **ret)
{
    struct robots *rs = calloc(1, sizeof(*rs));

    if (!rs)
        return -ERR_NOMEM;
    if (omap_new(robot_free, &rs->by_id) < 0) {
        free(rs);
        return -ERR_NOMEM;
    }
    mutex_init(&rs->mu);
    *ret = rs;
    return 0;
}

void robots_free(struct robots *rs)
{
    if (!rs)
        return;
    omap_free(rs->by_id);
    mutex_done(&rs->mu);
    free(rs);
}

static void hash_of(struct str key, char out[2 * HMAC_BYTES + 1])
{
    struct digest d;

    digest_of(DIGEST_SHA256, key, &d);
    hex_encode(d.bytes, HMAC_BYTES, out);
}

void robot_make(struct robot *ret, char ret_key[ROBOT_KEY_MAX])
{
    uint8_t id[ROBOT_ID_LEN / 2], secret[SECRET_BYTES];
    char hex[2 * SECRET_BYTES + 1];

    *ret = (struct robot){.scopes = NULL};
    rand_bytes(id, sizeof(id));
    rand_bytes(secret, sizeof(secret));
    hex_encode(id, sizeof(id), ret->id);
    hex_encode(secret, sizeof(secret), hex);
    memcpy(ret_key, KEY_PREFIX, 4);
    memcpy(ret_key + 4, ret->id, ROBOT_ID_LEN);
    ret_key[4 + ROBOT_ID_LEN] = '_';
    memcpy(ret_key + 5 + ROBOT_ID_LEN, hex, sizeof(hex));
    hash_of(str_of(ret_key), ret->hash);
    explicit_bzero(secret, sizeof(secret));
    explicit_bzero(hex, sizeof(hex));
}

bool robot_name_valid(struct str name)
{
    for (size_t i = 0; i < name.len; i++)
        if (!((name.at[i] >= 'a' && name.at[i] <= 'z') ||
              (name.at[i] >= '0' && name.at[i] <= '9') || name.at[i] == '-'))
            return false;
    return name.len > 0 && name.len <= ROBOT_NAME_MAX;
}

int robot_scopes_check(struct str text, struct err_detail *detail)
{
    struct scopes s auto_scopes = {.count = 0};
    size_t words = text.len ? 1 : 0;
    int e = scopes_parse(text, &s);

    for (size_t i = 0; i < text.len; i++)
        words += text.at[i] == ' ';
    if (e == 0 &&
        (s.count == 0 || s.count != words || text.len > ROBOT_SCOPE_MAX || !utf8_valid(text)))
        e = err_set(detail, -ERR_INVAL,
                    "a key's scopes are repository:GLOB:ACTIONS or registry:catalog:*, one blank "
                    "between them, none twice");
    return e;
}

/* ---- Operations. */

void robot_add_create(struct jw *w, const struct robot *r, struct str by, struct str req)
{
    jw_begin(w, '{');
    jw_kstr(w, "op", STR("create"));
    jw_kstr(w, "id", str_of(r->id));
    jw_kstr(w, "name", str_of(r->name));
    jw_kstr(w, "hash", str_of(r->hash));
    jw_kstr(w, "scopes", str_of(r->scopes));
    jw_kint(w, "expires", r->expires_ms);
    jw_kstr(w, "by", by);
    jw_kstr(w, "req", req);
    jw_end(w, '}');
}

void robot_add_revoke(struct jw *w, struct str id, struct str by, struct str req)
{
    jw_begin(w, '{');
    jw_kstr(w, "op", STR("revoke"));
    jw_kstr(w, "id", id);
    jw_kstr(w, "by", by);
    jw_kstr(w, "req", req);
    jw_end(w, '}');
}

static bool copy(char *out, size_t room, struct str s)
{
    if (s.len >= room || !s.at)
        return false;
    memcpy(out, s.at, s.len);
    out[s.len] = '\0';
    return true;
}

static int apply_create(struct robots *rs, const struct json *op, int64_t ts)
{
    struct robot *r = calloc(1, sizeof(*r));
    struct str scopes = json_str(json_get(op, "scopes"));
    int e = -ERR_CORRUPT;

    if (!r)
        return -ERR_NOMEM;
    r->created_ms = ts;
    if (copy(r->id, sizeof(r->id), json_str(json_get(op, "id"))) &&
        copy(r->name, sizeof(r->name), json_str(json_get(op, "name"))) &&
        copy(r->hash, sizeof(r->hash), json_str(json_get(op, "hash"))) && scopes.at &&
        json_get_int(op, "expires", &r->expires_ms)) {
        r->scopes = str_dup(scopes);
        e = r->scopes ? omap_put(rs->by_id, str_of(r->id), r) : -ERR_NOMEM;
    }
    if (e < 0)
        robot_free(r);
    return e;
}

int robots_apply(struct robots *rs, const struct json *op, int64_t ts)
{
    struct str what = json_str(json_get(op, "op"));
    int e = 0;

    mutex_lock(&rs->mu);
    if (str_eq(what, STR("create")))
        e = apply_create(rs, op, ts);
    else if (str_eq(what, STR("revoke")))
        (void)omap_remove(rs->by_id, json_str(json_get(op, "id")));
    else
        e = -ERR_VERSION;
    mutex_unlock(&rs->mu);
    return e;
}

/* ---- Checking. */

bool robot_is_key(struct str text)
{
    uint8_t bytes[SECRET_BYTES];

    return text.len == KEY_LEN && str_starts(text, STR(KEY_PREFIX)) &&
           text.at[4 + ROBOT_ID_LEN] == '_' &&
           hex_decode(str_make(text.at + 4, ROBOT_ID_LEN), bytes, ROBOT_ID_LEN / 2) &&
           hex_decode(str_skip(text, 5 + ROBOT_ID_LEN), bytes, SECRET_BYTES);
}

static bool is_over(const struct robot *r, int64_t now_ms)
{
    return r->expires_ms && now_ms >= r->expires_ms;
}

static int make_login(const struct robot *r, struct login **ret)
{
    struct login *l auto_login = NULL;
    struct scopes limit auto_scopes = {.count = 0};
    char name[ROBOT_NAME_MAX + sizeof("robot:")] = "robot:";
    int e;

    memcpy(name + 6, r->name, strlen(r->name) + 1);
    e = login_new(LOGIN_ROBOT, str_of(name), &l);
    if (e == 0)
        e = login_add_attr(l, "group:", STR("robots"));
    if (e == 0)
        e = scopes_parse(str_of(r->scopes), &limit);
    if (e < 0)
        return e;
    login_limit(l, &limit);
    login_set_expiry(l, r->expires_ms);
    *ret = STEAL(l);
    return 0;
}

int robots_check(struct robots *rs, struct str user, struct str key, int64_t now_ms,
                 struct login **ret)
{
    char hash[2 * HMAC_BYTES + 1];
    const struct robot *r;
    int e = -ERR_UNAUTHORIZED;

    if (!robot_is_key(key))
        return e;
    hash_of(key, hash);
    mutex_lock(&rs->mu);
    r = omap_get(rs->by_id, str_make(key.at + 4, ROBOT_ID_LEN));
    if (r && strlen(r->hash) == 2 * HMAC_BYTES &&
        bytes_eq_constant_time(hash, r->hash, 2 * HMAC_BYTES) && !is_over(r, now_ms) &&
        (user.len == 0 || str_eq(user, str_of(r->name))))
        e = make_login(r, ret);
    mutex_unlock(&rs->mu);
    return e;
}

bool robots_has(struct robots *rs, struct str name, int64_t now_ms)
{
    bool found = false;

    mutex_lock(&rs->mu);
    for (struct omap_node *n = omap_first(rs->by_id); n && !found; n = omap_next(rs->by_id, n)) {
        const struct robot *r = omap_value(n);

        found = str_eq(name, str_of(r->name)) && !is_over(r, now_ms);
    }
    mutex_unlock(&rs->mu);
    return found;
}

bool robots_has_id(struct robots *rs, struct str id, struct buf *ret_name)
{
    const struct robot *r;

    mutex_lock(&rs->mu);
    r = omap_get(rs->by_id, id);
    if (r)
        buf_add(ret_name, str_of(r->name));
    mutex_unlock(&rs->mu);
    return r != NULL;
}

size_t robots_count(struct robots *rs)
{
    size_t n;

    mutex_lock(&rs->mu);
    n = omap_count(rs->by_id);
    mutex_unlock(&rs->mu);
    return n;
}

int robots_each(struct robots *rs, int (*fn)(const struct robot *r, void *arg), void *arg)
{
    int e = 0;

    mutex_lock(&rs->mu);
    for (struct omap_node *n = omap_first(rs->by_id); n && e == 0; n = omap_next(rs->by_id, n))
        e = fn(omap_value(n), arg);
    mutex_unlock(&rs->mu);
    return e;
}
