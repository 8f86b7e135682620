/* Issuing and verifying. The ring of keys is rebuilt when a secret is added. */
#include "auth/token.h"

#include <stdlib.h>

#include "base/clock.h"
#include "base/enc.h"
#include "base/rand.h"
#include "base/thread.h"

#define PAYLOAD_MAX   (12u << 10)
#define ID_BYTES      16
#define ACTION_MAX    64
#define REFRESH_MS    1000 /* an unknown key is looked for in the store at most so often */
#define LOOK_GRACE_MS (TOKEN_LOOK_MS + TOKEN_LEEWAY_SECONDS * 1000)
#define USE_REFRESH   "refresh"

struct ring_key {
    struct jwt_signer *signer;
    int64_t end_ms; /* 0: the newest */
};

struct token_mint {
    struct token_source source;
    char *issuer, *service;
    struct mutex mu;
    struct ring_key ring[TOKEN_KEYS_MAX]; /* guarded by mu; keys are never freed before the mint */
    size_t count;
    int64_t refreshed_ms;
};

/* ---- Keys. */

int token_mint_new(const struct token_source *source, struct str issuer, struct str service,
                   struct token_mint **ret)
{
    struct token_mint *m = calloc(1, sizeof(*m));

    if (!m)
        return -ERR_NOMEM;
    mutex_init(&m->mu);
    m->source = *source;
    m->issuer = str_dup(issuer);
    m->service = str_dup(service);
    if (!m->issuer || !m->service) {
        token_mint_free(m);
        return -ERR_NOMEM;
    }
    *ret = m;
    return 0;
}

void token_mint_free(struct token_mint *m)
{
    if (!m)
        return;
    for (size_t i = 0; i < m->count; i++)
        jwt_signer_free(m->ring[i].signer);
    mutex_done(&m->mu);
    free(m->issuer);
    free(m->service);
    free(m);
}

struct str token_issuer(const struct token_mint *m)
{
    return str_of(m->issuer);
}

struct str token_service(const struct token_mint *m)
{
    return str_of(m->service);
}

/* One seed in 2^32 gives no key; its digest is taken instead, by every node alike. */
static int signer_of(const uint8_t seed[HMAC_BYTES], struct jwt_signer **ret)
{
    struct digest d;
    int e = jwt_signer_new(seed, ret);

    if (e != -ERR_INVAL)
        return e;
    digest_of(DIGEST_SHA256, str_make(seed, HMAC_BYTES), &d);
    return jwt_signer_new(d.bytes, ret);
}

/* With mu held. Takes over what is known already; what is new is made. */
static int build_ring(struct token_mint *m)
{
    struct ring_key fresh[TOKEN_KEYS_MAX] = {{NULL, 0}};
    size_t count = 0;
    int e = 0;

    for (; count < TOKEN_KEYS_MAX && e == 0; count++) {
        uint8_t seed[HMAC_BYTES];

        if (!m->source.seed(m->source.arg, (unsigned)count, seed, &fresh[count].end_ms))
            break;
        e = signer_of(seed, &fresh[count].signer);
        explicit_bzero(seed, sizeof(seed));
    }
    if (e == 0 && count == 0)
        e = -ERR_UNAVAIL;
    for (size_t i = 0; i < (e < 0 ? count : m->count); i++)
        jwt_signer_free(e < 0 ? fresh[i].signer : m->ring[i].signer);
    if (e < 0)
        return e;
    memcpy(m->ring, fresh, sizeof(fresh));
    m->count = count;
    return 0;
}

/* With mu held: the ring, as new as max_age_ms. Nothing is asked of the store under the lock: it is
 * given up meanwhile. */
static int open_ring(struct token_mint *m, int64_t max_age_ms)
{
    int64_t now = clock_boot_ms();

    if (m->count == 0) {
        m->refreshed_ms = now - REFRESH_MS; /* the first unknown key is looked for at once */
        return build_ring(m);
    }
    if (now - m->refreshed_ms < max_age_ms)
        return 0;
    m->refreshed_ms = now;
    mutex_unlock(&m->mu);
    (void)!m->source.refresh(m->source.arg);
    mutex_lock(&m->mu);
    return build_ring(m);
}

/* ---- Issuing. */

static void add_access(struct jw *w, const struct scopes *access)
{
    jw_key(w, "access");
    jw_begin(w, '[');
    for (size_t i = 0; i < access->count; i++) {
        const struct scope *s = &access->at[i];

        jw_begin(w, '{');
        jw_kstr(w, "type", str_of(scope_type_word(s->type)));
        jw_kstr(w, "name", str_of(s->name));
        jw_key(w, "actions");
        jw_begin(w, '[');
        if ((s->actions & ACTIONS_GRANTED) == ACTIONS_GRANTED)
            jw_str(w, STR("*"));
        for (unsigned a = 0; a < ACTION_COUNT; a++)
            if ((s->actions & ACTIONS_GRANTED) != ACTIONS_GRANTED && (s->actions & ACTION_BIT(a)))
                jw_str(w, str_of(action_word((enum action)a)));
        jw_end(w, ']');
        jw_end(w, '}');
    }
    jw_end(w, ']');
}

static void add_payload(const struct token_mint *m, const struct token_grant *g, struct buf *out)
{
    struct jw w = JW_INIT(out);
    int64_t now = g->now_ms / 1000;
    uint8_t id[ID_BYTES];
    char hex[2 * ID_BYTES + 1];

    rand_bytes(id, sizeof(id));
    hex_encode(id, sizeof(id), hex);
    jw_begin(&w, '{');
    jw_kstr(&w, "iss", str_of(m->issuer));
    jw_kstr(&w, "sub", str_of(g->login ? login_name(g->login) : ""));
    jw_kstr(&w, "aud", str_of(m->service));
    jw_kint(&w, "exp", now + (g->refresh ? TOKEN_REFRESH_SECONDS : TOKEN_SECONDS));
    jw_kint(&w, "nbf", now);
    jw_kint(&w, "iat", now);
    jw_kstr(&w, "jti", str_of(hex));
    if (g->refresh) {
        jw_kstr(&w, "use", STR(USE_REFRESH));
        jw_kstr(&w, "proof", g->proof);
    } else {
        add_access(&w, g->access);
    }
    jw_key(&w, "attrs");
    jw_begin(&w, '[');
    for (size_t i = 0; g->login && i < login_attr_count(g->login); i++)
        jw_str(&w, login_attr(g->login, i));
    jw_end(&w, ']');
    jw_end(&w, '}');
}

int token_issue(struct token_mint *m, const struct token_grant *g, struct buf *out)
{
    struct buf payload auto_buf = BUF_INIT(PAYLOAD_MAX);
    int e;

    add_payload(m, g, &payload);
    if (buf_err(&payload) < 0)
        return buf_err(&payload) == -ERR_NOMEM ? -ERR_NOMEM : -ERR_LIMIT;
    mutex_lock(&m->mu);
    e = open_ring(m, TOKEN_LOOK_MS);
    if (e == 0)
        e = jwt_sign(m->ring[0].signer, buf_str(&payload), out);
    mutex_unlock(&m->mu);
    return e;
}

int token_jwks(struct token_mint *m, struct buf *out)
{
    int e;

    mutex_lock(&m->mu);
    e = open_ring(m, TOKEN_LOOK_MS);
    buf_add(out, STR("{\"keys\":["));
    for (size_t i = 0; i < m->count && e == 0; i++) {
        if (i)
            buf_addc(out, ',');
        jwt_signer_public(m->ring[i].signer, out);
    }
    buf_add(out, STR("]}"));
    mutex_unlock(&m->mu);
    return e < 0 ? e : buf_err(out);
}

/* ---- Verifying. */

/* With mu held: the place of the token's key in the ring. */
static ptrdiff_t find_key(const struct token_mint *m, const struct jwt *j)
{
    for (size_t i = 0; i < m->count; i++)
        if (j->kid.len && str_eq(j->kid, str_of(jwt_signer_kid(m->ring[i].signer))))
            return (ptrdiff_t)i;
    return -1;
}

/* Signed by a key of ours, while that key signed. */
static int verify_signature(struct token_mint *m, const struct jwt *j, struct err_detail *reason)
{
    int64_t iat = 0, end;
    ptrdiff_t at;
    int e;

    mutex_lock(&m->mu);
    e = open_ring(m, INT64_MAX);
    at = e == 0 ? find_key(m, j) : -1;
    if (e == 0 && at < 0) {
        e = open_ring(m, REFRESH_MS);
        at = e == 0 ? find_key(m, j) : -1;
    }
    if (e == 0)
        e = at < 0 ? -ERR_UNAUTHORIZED : jwt_signer_verify(m->ring[at].signer, j);
    end = e == 0 ? m->ring[at].end_ms : 0;
    mutex_unlock(&m->mu);
    if (e == -ERR_UNAUTHORIZED)
        return err_set(reason, e, "the token is not signed by a key of this registry");
    if (e < 0)
        return e;
    if (!json_get_int(json_root(j->payload), "iat", &iat) ||
        (end && iat > (end + LOOK_GRACE_MS) / 1000))
        return err_set(reason, -ERR_UNAUTHORIZED, "the token's key has been replaced");
    return 0;
}

int token_check_times(const struct json *claims, int64_t now_s, int64_t *ret_exp_s,
                      struct err_detail *reason)
{
    int64_t exp, nbf = INT64_MIN, iat = INT64_MIN;
    const int64_t far = INT64_C(1) << 40; /* sums stay far from the ends */

    if (!json_get_int(claims, "exp", &exp) || exp < -far || exp > far ||
        (json_get(claims, "nbf") && !json_get_int(claims, "nbf", &nbf)) ||
        (json_get(claims, "iat") && !json_get_int(claims, "iat", &iat)))
        return err_set(reason, -ERR_UNAUTHORIZED, "the token's times cannot be read");
    if (now_s >= exp + TOKEN_LEEWAY_SECONDS)
        return err_set(reason, -ERR_UNAUTHORIZED, "the token has expired");
    if (nbf > now_s + TOKEN_LEEWAY_SECONDS || iat > now_s + TOKEN_LEEWAY_SECONDS)
        return err_set(reason, -ERR_UNAUTHORIZED, "the token is not valid yet");
    *ret_exp_s = exp;
    return 0;
}

bool token_has_audience(const struct json *claims, struct str audience)
{
    const struct json *aud = json_get(claims, "aud");

    if (json_type(aud) != JSON_ARRAY_T)
        return aud && str_eq(json_str(aud), audience) && audience.len > 0;
    for (size_t i = 0; i < json_len(aud); i++)
        if (str_eq(json_str(json_at(aud, i)), audience))
            return audience.len > 0;
    return false;
}

int token_read_access(const struct json *claims, struct scopes *ret)
{
    const struct json *list = json_get(claims, "access");
    int e = 0;

    if (list && json_type(list) != JSON_ARRAY_T && json_type(list) != JSON_NULL_T)
        return -ERR_INVAL;
    for (size_t i = 0; i < json_len(list) && e == 0; i++) {
        const struct json *one = json_at(list, i), *actions = json_get(one, "actions");
        struct str name = json_str(json_get(one, "name"));
        enum scope_type type;
        unsigned bits = 0;

        for (size_t k = 0; k < json_len(actions) && k < ACTION_MAX; k++)
            bits |= action_bits(json_str(json_at(actions, k)));
        if (scope_type_parse(json_str(json_get(one, "type")), &type) && name.len &&
            name.len <= SCOPE_NAME_MAX)
            e = scopes_add(ret, type, name, bits);
    }
    return e;
}

static int read_login(const struct json *claims, int64_t exp_s, struct login **ret)
{
    struct login *l auto_login = NULL;
    const struct json *attrs = json_get(claims, "attrs");
    struct str sub = json_str(json_get(claims, "sub"));
    int e = sub.at ? login_new(LOGIN_TOKEN, sub, &l) : -ERR_INVAL;

    for (size_t i = 0; i < json_len(attrs) && e == 0; i++)
        e = login_add_attr(l, "", json_str(json_at(attrs, i)));
    if (e < 0)
        return e;
    login_set_expiry(l, (exp_s + TOKEN_LEEWAY_SECONDS) * 1000);
    *ret = STEAL(l);
    return 0;
}

/* What both kinds of token share. */
static int verify(struct token_mint *m, const struct jwt *j, int64_t now_ms, bool refresh,
                  struct login **ret, struct err_detail *reason)
{
    const struct json *claims = json_root(j->payload);
    int64_t exp;
    int e = verify_signature(m, j, reason);

    if (e < 0)
        return e;
    if (!str_eq(json_str(json_get(claims, "iss")), str_of(m->issuer)) ||
        !token_has_audience(claims, str_of(m->service)))
        return err_set(reason, -ERR_UNAUTHORIZED, "the token is for another service");
    if ((json_get(claims, "use") != NULL) != refresh ||
        (refresh && !str_eq(json_str(json_get(claims, "use")), STR(USE_REFRESH))))
        return err_set(reason, -ERR_UNAUTHORIZED, "the token is for another use");
    e = token_check_times(claims, now_ms / 1000, &exp, reason);
    if (e == 0)
        e = read_login(claims, exp, ret);
    return e == -ERR_INVAL || e == -ERR_LIMIT
               ? err_set(reason, -ERR_UNAUTHORIZED, "the token's claims cannot be read")
               : e;
}

int token_verify(struct token_mint *m, const struct jwt *j, int64_t now_ms, struct login **ret,
                 struct err_detail *reason)
{
    struct login *l auto_login = NULL;
    struct scopes access auto_scopes = {.count = 0};
    int e = verify(m, j, now_ms, false, &l, reason);

    if (e == 0)
        e = token_read_access(json_root(j->payload), &access);
    if (e < 0)
        return e == -ERR_INVAL ? -ERR_UNAUTHORIZED : e;
    login_limit(l, &access);
    *ret = STEAL(l);
    return 0;
}

int token_verify_refresh(struct token_mint *m, const struct jwt *j, int64_t now_ms,
                         struct login **ret, struct buf *ret_proof, struct err_detail *reason)
{
    int e = verify(m, j, now_ms, true, ret, reason);

    if (e == 0)
        buf_add(ret_proof, json_str(json_get(json_root(j->payload), "proof")));
    return e;
}
