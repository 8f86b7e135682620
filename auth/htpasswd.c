#include "auth/htpasswd.h"

#include <crypt.h>
#include <stdatomic.h>
#include <stdlib.h>

#include "auth/file.h"
#include "base/metrics.h"
#include "base/omap.h"

#define BCRYPT_LEN     60
#define BCRYPT_COST_AT 4 /* "$2y$10$..." */
#define BCRYPT_ABC     "./ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789"
#define USER_MAX       255
#define PASSWORD_MAX   512
/* What an unknown user's password is compared with; the salt is nothing secret, and the digest is
 * none that any password gives but by chance. */
#define NOBODY_FORMAT "$2b$%02u$....................../.............................."

struct htpasswd {
    atomic_uint refs;
    struct omap *users; /* name -> hash, a string */
    unsigned cost;      /* the greatest */
};

static void free_value(void *value)
{
    free(value);
}

struct htpasswd *htpasswd_ref(struct htpasswd *h)
{
    atomic_fetch_add_explicit(&h->refs, 1, memory_order_relaxed);
    return h;
}

void htpasswd_unref(struct htpasswd *h)
{
    if (!h || atomic_fetch_sub_explicit(&h->refs, 1, memory_order_acq_rel) != 1)
        return;
    omap_free(h->users);
    free(h);
}

void htpasswd_unrefp(struct htpasswd **h)
{
    htpasswd_unref(*h);
    *h = NULL;
}

size_t htpasswd_count(const struct htpasswd *h)
{
    return omap_count(h->users);
}

/* The cost of a bcrypt hash, 0 when it is none. */
static unsigned bcrypt_cost(struct str hash)
{
    uint64_t cost;

    if (hash.len != BCRYPT_LEN || hash.at[0] != '$' || hash.at[1] != '2' ||
        !strchr("yba", hash.at[2]) || hash.at[3] != '$' || hash.at[6] != '$' ||
        !str_u64(str_make(hash.at + BCRYPT_COST_AT, 2), &cost) || cost < 4 || cost > 31)
        return 0;
    for (size_t i = BCRYPT_COST_AT + 3; i < hash.len; i++)
        if (!strchr(BCRYPT_ABC, hash.at[i]) || hash.at[i] == '\0')
            return 0;
    return (unsigned)cost;
}

static int add_line(struct htpasswd *h, struct str line, unsigned number, struct err_detail *detail)
{
    ptrdiff_t colon = str_find(line, ':');
    struct str user = str_head(line, colon < 0 ? 0 : (size_t)colon), hash;
    unsigned cost;
    char *copy;
    int e;

    if (colon <= 0 || user.len > USER_MAX || !utf8_valid(line) || memchr(line.at, 0, line.len))
        return err_set(detail, -ERR_INVAL, "line %u is not \"user:hash\"", number);
    hash = str_skip(line, (size_t)colon + 1);
    cost = bcrypt_cost(hash);
    if (cost == 0)
        return err_set(detail, -ERR_INVAL,
                       "line %u: the hash is not bcrypt; make it by \"htpasswd -B\"", number);
    if (cost > HTPASSWD_COST_MAX)
        return err_set(detail, -ERR_INVAL, "line %u: cost %u is above %d", number, cost,
                       HTPASSWD_COST_MAX);
    if (omap_get(h->users, user))
        return err_set(detail, -ERR_INVAL, "line %u names a user for the second time", number);
    if (omap_count(h->users) == HTPASSWD_USERS_MAX)
        return err_set(detail, -ERR_LIMIT, "there are more than %d users", HTPASSWD_USERS_MAX);
    copy = str_dup(hash);
    e = copy ? omap_put(h->users, user, copy) : -ERR_NOMEM;
    if (e < 0)
        free(copy);
    if (cost > h->cost)
        h->cost = cost;
    return e;
}

int htpasswd_parse(struct str text, struct htpasswd **ret, struct err_detail *detail)
{
    struct htpasswd *h auto_htpasswd = calloc(1, sizeof(*h));
    struct str line;
    unsigned number = 0;
    int e;

    if (!h)
        return -ERR_NOMEM;
    atomic_init(&h->refs, 1);
    e = omap_new(free_value, &h->users);
    while (e == 0 && file_next_line(&text, &line)) {
        number++;
        if (line.len && line.at[0] != '#')
            e = add_line(h, line, number, detail);
    }
    if (e < 0)
        return e;
    if (h->cost == 0)
        h->cost = 10;
    *ret = STEAL(h);
    return 0;
}

int htpasswd_verify(const struct htpasswd *h, struct str user, struct str password)
{
    const char *hash = omap_get(h->users, user);
    char nobody[BCRYPT_LEN + 1], phrase[PASSWORD_MAX + 1];
    struct buf scratch auto_buf = BUF_INIT(sizeof(struct crypt_data));
    struct crypt_data *data = (void *)buf_reserve(&scratch, sizeof(*data));
    bool known = hash != NULL && password.len <= PASSWORD_MAX, same;
    const char *got;

    if (!data)
        return -ERR_NOMEM;
    memset(data, 0, sizeof(*data));
    password = str_head(password, PASSWORD_MAX);
    memcpy(phrase, password.len ? password.at : "", password.len);
    phrase[password.len] = '\0';
    if (!hash) {
        struct buf text auto_buf = BUF_INIT(sizeof(nobody));

        buf_addf(&text, NOBODY_FORMAT, h->cost);
        memcpy(nobody, buf_c(&text), text.len < sizeof(nobody) ? text.len + 1 : 1);
        nobody[BCRYPT_LEN] = '\0';
        hash = nobody;
    }
    metric_add(METRIC_auth_hashes_total, 1);
    got = crypt_r(phrase, hash, data);
    same = got && strlen(got) == BCRYPT_LEN && bytes_eq_constant_time(got, hash, BCRYPT_LEN);
    explicit_bzero(data, sizeof(*data));
    explicit_bzero(phrase, sizeof(phrase));
    return known && same ? 0 : -ERR_UNAUTHORIZED;
}

bool htpasswd_proof(const struct htpasswd *h, struct str user, uint8_t out[HMAC_BYTES])
{
    const char *hash = omap_get(h->users, user);
    struct digest d;

    if (!hash)
        return false;
    digest_of(DIGEST_SHA256, str_of(hash), &d);
    memcpy(out, d.bytes, HMAC_BYTES);
    return true;
}
