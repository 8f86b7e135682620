/* The document is kept as it was parsed; an issuer holds views into it. */
#include "auth/issuer.h"

#include <stdatomic.h>
#include <stdlib.h>

#include "auth/file.h"
#include "auth/glob.h"
#include "auth/token.h"
#include "base/clock.h"
#include "base/log.h"
#include "base/thread.h"

struct issuer {
    struct str name, issuer, audience, subject, groups_claim;
    const char *jwks, *ca_file;
    bool is_url, tokens;
    const struct json *require, *groups, *claims;
    struct mutex mu;
    struct cond fetched;
    struct jwt_keys *keys; /* guarded by mu, like all below; used under it */
    int64_t keys_ms, tried_ms;
    bool fetching, tried;
};

struct issuers {
    atomic_uint refs;
    struct json_doc *doc;
    struct issuer at[ISSUERS_MAX];
    size_t count;
};

struct issuers *issuers_ref(struct issuers *is)
{
    atomic_fetch_add_explicit(&is->refs, 1, memory_order_relaxed);
    return is;
}

void issuers_unref(struct issuers *is)
{
    if (!is || atomic_fetch_sub_explicit(&is->refs, 1, memory_order_acq_rel) != 1)
        return;
    for (size_t i = 0; i < is->count; i++) {
        jwt_keys_free(is->at[i].keys);
        cond_done(&is->at[i].fetched);
        mutex_done(&is->at[i].mu);
    }
    json_doc_free(is->doc);
    free(is);
}

void issuers_unrefp(struct issuers **is)
{
    issuers_unref(*is);
    *is = NULL;
}

size_t issuers_count(const struct issuers *is)
{
    return is->count;
}

/* ---- Reading the file. */

static int known_key(struct str key, const struct json *value, void *arg)
{
    static const char *const known[] = {"name",   "issuer", "audience",    "jwks",
                                        "ca",     "kind",   "subject",     "require",
                                        "groups", "claims", "groups_claim"};

    (void)value;
    for (size_t i = 0; i < ARRAY_LEN(known); i++)
        if (str_eq(key, str_of(known[i])))
            return 0;
    return err_set(arg, -ERR_INVAL, "\"" STR_FMT "\" is no setting of an issuer",
                   STR_ARG(str_head(key, 64)));
}

static int text_value(struct str key, const struct json *value, void *arg)
{
    (void)key, (void)arg;
    return json_type(value) == JSON_STRING_T ? 0 : -ERR_INVAL;
}

static bool list_of_text(const struct json *list)
{
    if (list && (json_type(list) != JSON_ARRAY_T || json_len(list) > ISSUER_RULES_MAX))
        return false;
    for (size_t i = 0; i < json_len(list); i++)
        if (json_type(json_at(list, i)) != JSON_STRING_T)
            return false;
    return true;
}

/* Plain http only to this machine; no user and password, which would come into the log, or lead
 * "http://127.0.0.1:1@elsewhere" to another host. */
static bool url_allowed(struct str url)
{
    if (str_find(url, '@') >= 0)
        return false;
    return str_starts(url, STR("https://")) || str_starts(url, STR("http://127.0.0.1:")) ||
           str_starts(url, STR("http://localhost:"));
}

static bool name_allowed(struct str name)
{
    for (size_t i = 0; i < name.len; i++)
        if (!((name.at[i] >= 'a' && name.at[i] <= 'z') ||
              (name.at[i] >= '0' && name.at[i] <= '9') || name.at[i] == '-'))
            return false;
    return name.len > 0 && name.len <= 32 && !str_eq(name, STR("robot")) &&
           !str_eq(name, STR("cert"));
}

static int read_issuer(const struct json *json, struct issuer *is, struct err_detail *why)
{
    struct str kind = json_str(json_get(json, "kind")), jwks = json_str(json_get(json, "jwks"));
    int e = json_type(json) == JSON_OBJECT_T ? json_each(json, known_key, why)
                                             : err_set(why, -ERR_INVAL, "an issuer is an object");

    is->name = json_str(json_get(json, "name"));
    is->issuer = json_str(json_get(json, "issuer"));
    is->audience = json_str(json_get(json, "audience"));
    is->subject = json_get(json, "subject") ? json_str(json_get(json, "subject")) : STR("sub");
    is->groups_claim = json_str(json_get(json, "groups_claim"));
    is->require = json_get(json, "require");
    is->groups = json_get(json, "groups");
    is->claims = json_get(json, "claims");
    is->jwks = jwks.at;
    is->ca_file = json_str(json_get(json, "ca")).at;
    is->is_url = jwks.len && !str_starts(jwks, STR("/"));
    is->tokens = str_eq(kind, STR("tokens"));
    if (e < 0)
        return e;
    if (!name_allowed(is->name))
        return err_set(why, -ERR_INVAL, "an issuer's name is lower-case letters, digits and \"-\"");
    if (!is->issuer.len || !is->subject.len || !jwks.len || (is->is_url && !url_allowed(jwks)))
        return err_set(why, -ERR_INVAL,
                       "issuer " STR_FMT " needs \"issuer\" and \"jwks\", an absolute path or an "
                       "https URL",
                       STR_ARG(is->name));
    if (kind.at && !is->tokens && !str_eq(kind, STR("identity")))
        return err_set(why, -ERR_INVAL, "the kind of an issuer is \"identity\" or \"tokens\"");
    if (!list_of_text(is->groups) || !list_of_text(is->claims) ||
        (is->require &&
         (json_type(is->require) != JSON_OBJECT_T || json_len(is->require) > ISSUER_RULES_MAX ||
          json_each(is->require, text_value, NULL) != 0)))
        return err_set(why, -ERR_INVAL,
                       "issuer " STR_FMT ": require is an object of texts, groups "
                       "and claims are lists of texts",
                       STR_ARG(is->name));
    return 0;
}

int issuers_parse(struct str text, struct issuers **ret, struct err_detail *detail)
{
    struct issuers *is auto_issuers = calloc(1, sizeof(*is));
    const struct json *list;
    int e;

    if (!is)
        return -ERR_NOMEM;
    atomic_init(&is->refs, 1);
    e = json_parse(text, &is->doc, detail);
    if (e < 0)
        return e;
    list = json_get(json_root(is->doc), "issuers");
    if (json_type(list) != JSON_ARRAY_T || json_len(list) > ISSUERS_MAX)
        return err_set(detail, -ERR_INVAL, "it is not {\"issuers\":[...]} of at most %d",
                       ISSUERS_MAX);
    for (size_t i = 0; i < json_len(list); i++) {
        e = read_issuer(json_at(list, i), &is->at[i], detail);
        if (e < 0)
            return e;
        mutex_init(&is->at[i].mu);
        cond_init(&is->at[i].fetched);
        is->count++;
    }
    *ret = STEAL(is);
    return 0;
}

/* ---- Keys. */

static int load_keys(const struct issuer *is, const struct issuer_fetch *fetch,
                     struct jwt_keys **ret, struct err_detail *why)
{
    struct buf text auto_buf = BUF_INIT(JWT_KEYS_TEXT);
    struct file_stamp stamp;
    int e;

    if (!is->is_url)
        e = file_read(is->jwks, &text, &stamp, why);
    else if (fetch && fetch->fn)
        e = fetch->fn(fetch->arg, is->jwks, is->ca_file, &text, why);
    else
        e = err_set(why, -ERR_UNAVAIL, "nothing can be fetched here");
    return e < 0 ? e : jwt_keys_read(buf_str(&text), ret, why);
}

/* With mu held. Fetches, without the lock, if the keys are older than max_age_ms and the last try
 * is longer ago than wait_ms; of several that want to one does, the others wait for it. */
static void refresh_keys(struct issuer *is, int64_t max_age_ms, int64_t wait_ms,
                         const struct issuer_fetch *fetch)
{
    struct jwt_keys *fresh = NULL;
    struct err_detail why = {""};
    int64_t now = clock_boot_ms();
    int e;

    while (is->fetching)
        cond_wait(&is->fetched, &is->mu);
    if ((is->keys && now - is->keys_ms < max_age_ms) || (is->tried && now - is->tried_ms < wait_ms))
        return;
    is->fetching = is->tried = true;
    is->tried_ms = now;
    mutex_unlock(&is->mu);
    e = load_keys(is, fetch, &fresh, &why);
    if (e < 0)
        log_warn("auth.keys_not_loaded", KV_V("issuer", is->name), KV_S("why", why.text));
    mutex_lock(&is->mu);
    if (e == 0) {
        jwt_keys_free(is->keys);
        is->keys = fresh;
        is->keys_ms = now;
    }
    is->fetching = false;
    cond_broadcast(&is->fetched);
}

static int verify_signature(struct issuer *is, const struct jwt *j,
                            const struct issuer_fetch *fetch, struct err_detail *reason)
{
    int e = -ERR_UNAVAIL;

    mutex_lock(&is->mu);
    refresh_keys(is, ISSUER_KEYS_OLD_MS, ISSUER_RETRY_MS, fetch);
    if (is->keys && clock_boot_ms() - is->keys_ms < ISSUER_KEYS_DEAD_MS)
        e = jwt_verify(j, is->keys);
    if (e == -ERR_NOTFOUND) {
        refresh_keys(is, 0, ISSUER_UNKNOWN_KEY_MS, fetch);
        e = jwt_verify(j, is->keys);
    }
    mutex_unlock(&is->mu);
    if (e == -ERR_UNAVAIL)
        return err_set(reason, e, "the keys of issuer " STR_FMT " cannot be had",
                       STR_ARG(is->name));
    return e < 0 ? err_set(reason, -ERR_UNAUTHORIZED,
                           "the token is not signed by a key of issuer " STR_FMT, STR_ARG(is->name))
                 : 0;
}

/* ---- Claims. */

/* A claim by its name, or by a path with '/' between (kubernetes.io/namespace). */
static const struct json *claim_at(const struct json *claims, struct str path)
{
    for (;;) {
        ptrdiff_t slash = str_find(path, '/');
        struct buf name auto_buf = BUF_INIT(LOGIN_ATTR_MAX);
        const struct json *whole;

        buf_add(&name, path);
        whole = buf_err(&name) == 0 ? json_get(claims, buf_c(&name)) : NULL;
        if (whole || slash < 0)
            return whole;
        buf_clear(&name);
        buf_add(&name, str_head(path, (size_t)slash));
        claims = buf_err(&name) == 0 ? json_get(claims, buf_c(&name)) : NULL;
        path = str_skip(path, (size_t)slash + 1);
    }
}

/* Text, numbers and truth values as text. */
static bool claim_text(const struct json *value, struct buf *out)
{
    int64_t number;
    bool truth;

    if (json_type(value) == JSON_STRING_T)
        buf_add(out, json_str(value));
    else if (json_int(value, &number))
        buf_addf(out, "%lld", (long long)number);
    else if (json_bool(value, &truth))
        buf_add(out, truth ? STR("true") : STR("false"));
    else
        return false;
    return buf_err(out) == 0;
}

struct requirement {
    const struct json *claims;
    struct err_detail *reason;
};

static int check_requirement(struct str key, const struct json *value, void *arg)
{
    struct requirement *r = arg;
    struct buf text auto_buf = BUF_INIT(LOGIN_ATTR_MAX);

    if (claim_text(claim_at(r->claims, key), &text) && glob_match(json_str(value), buf_str(&text)))
        return 0;
    return err_set(r->reason, -ERR_UNAUTHORIZED, "the claim " STR_FMT " is not what is required",
                   STR_ARG(str_head(key, 64)));
}

static int add_claims(const struct issuer *is, const struct json *claims, struct login *l)
{
    const struct json *groups = is->groups_claim.len ? claim_at(claims, is->groups_claim) : NULL;
    int e = 0;

    for (size_t i = 0; i < json_len(is->groups) && e == 0; i++)
        e = login_add_attr(l, "group:", json_str(json_at(is->groups, i)));
    for (size_t i = 0; json_type(groups) == JSON_ARRAY_T && i < json_len(groups) && e == 0; i++)
        if (json_type(json_at(groups, i)) == JSON_STRING_T)
            e = login_add_attr(l, "group:", json_str(json_at(groups, i)));
    for (size_t i = 0; i < json_len(is->claims) && e == 0; i++) {
        struct str name = json_str(json_at(is->claims, i));
        struct buf text auto_buf = BUF_INIT(LOGIN_ATTR_MAX);

        buf_add(&text, name);
        buf_addc(&text, '=');
        if (claim_text(claim_at(claims, name), &text))
            e = login_add_attr(l, "claim:", buf_str(&text));
    }
    return e;
}

static int make_login(const struct issuer *is, const struct json *claims, int64_t exp_s,
                      struct login **ret, struct err_detail *reason)
{
    struct login *l auto_login = NULL;
    struct scopes access auto_scopes = {.count = 0};
    struct buf name auto_buf = BUF_INIT(LOGIN_NAME_MAX),
                    subject auto_buf = BUF_INIT(LOGIN_NAME_MAX);
    bool named = claim_text(claim_at(claims, is->subject), &subject) && subject.len;
    int e;

    if (!named && !is->tokens)
        return err_set(reason, -ERR_UNAUTHORIZED, "the token names nobody");
    if (named) {
        buf_addf(&name, STR_FMT ":", STR_ARG(is->name));
        buf_add(&name, buf_str(&subject));
    }
    e = buf_err(&name);
    if (e == 0)
        e = login_new(is->tokens ? LOGIN_SERVER : LOGIN_ISSUER, buf_str(&name), &l);
    if (e == 0)
        e = add_claims(is, claims, l);
    if (e == 0 && is->tokens)
        e = token_read_access(claims, &access);
    if (e < 0)
        return e == -ERR_NOMEM ? e
                               : err_set(reason, -ERR_UNAUTHORIZED,
                                         "the token's claims cannot be read, or are too long");
    if (is->tokens)
        login_limit(l, &access);
    login_set_expiry(l, (exp_s + TOKEN_LEEWAY_SECONDS) * 1000);
    *ret = STEAL(l);
    return 0;
}

static struct issuer *find(const struct issuers *is, const struct jwt *j, size_t from)
{
    struct str iss = json_str(json_get(json_root(j->payload), "iss"));
    union {
        const struct issuer *in;
        struct issuer *out;
    } found;

    for (size_t i = from; i < is->count; i++)
        if (iss.len && str_eq(is->at[i].issuer, iss)) {
            found.in = &is->at[i];
            return found.out;
        }
    return NULL;
}

bool issuers_know(const struct issuers *is, const struct jwt *j)
{
    return find(is, j, 0) != NULL;
}

static int verify_by(struct issuer *is, const struct jwt *j, struct str service, int64_t now_ms,
                     const struct issuer_fetch *fetch, struct login **ret,
                     struct err_detail *reason)
{
    const struct json *claims = json_root(j->payload);
    struct requirement requirement = {claims, reason};
    int64_t exp;
    int e = token_check_times(claims, now_ms / 1000, &exp, reason);

    if (e < 0)
        return e;
    if (!token_has_audience(claims, is->audience.len ? is->audience : service))
        return err_set(reason, -ERR_UNAUTHORIZED, "the token is for another audience");
    e = verify_signature(is, j, fetch, reason);
    if (e == 0 && is->require)
        e = json_each(is->require, check_requirement, &requirement);
    return e < 0 ? e : make_login(is, claims, exp, ret, reason);
}

int issuers_verify(struct issuers *is, const struct jwt *j, struct str service, int64_t now_ms,
                   const struct issuer_fetch *fetch, struct login **ret, struct err_detail *reason)
{
    struct issuer *one;
    size_t from = 0;
    int e = err_set(reason, -ERR_UNAUTHORIZED, "the token's issuer is not known");

    /* One issuer may stand several times, with other audiences or requirements. */
    while ((one = find(is, j, from)) && e == -ERR_UNAUTHORIZED) {
        e = verify_by(one, j, service, now_ms, fetch, ret, reason);
        from = (size_t)(one - is->at) + 1;
    }
    return e;
}
