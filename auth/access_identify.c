/* From credentials to a login. First what was verified lately, which costs a keyed hash; then, on a
 * thread of the gate, the verification itself. */
#include "auth/access_internal.h"
#include "base/clock.h"
#include "base/log.h"
#include "base/metrics.h"

/* The name of a credential in the table of those seen. */
static void key_of(struct access *a, const struct credentials *c, uint8_t key[HMAC_BYTES])
{
    if (c->kind == CREDENTIALS_BASIC)
        seen_key(a->seen, 'p', c->user, c->password, key);
    else
        seen_key(a->seen, 't', c->token, STR_NONE, key);
}

static int verify_password(struct access *a, const struct access_ask *ask, struct login **ret)
{
    const struct credentials *c = ask->credentials;
    struct htpasswd *users auto_htpasswd = access_htpasswd(a);
    int e = users ? htpasswd_verify(users, c->user, c->password) : -ERR_UNAUTHORIZED;

    return e < 0 ? e : login_new(LOGIN_PASSWORD, c->user, ret);
}

static int verify_robot(struct access *a, struct str user, struct str key, struct login **ret)
{
    int e = a->outside.robots ? a->outside.refresh_robots(a->outside.arg) : -ERR_UNAUTHORIZED;

    return e < 0 ? e : robots_check(a->outside.robots, user, key, clock_wall_ms(), ret);
}

static int verify_own(struct access *a, const struct jwt *j, struct login **ret,
                      struct err_detail *reason)
{
    struct login *l auto_login = NULL;
    int e = token_verify(a->mint, j, clock_wall_ms(), &l, reason);

    if (e < 0)
        return e;
    if (!access_still_there(a, l))
        return err_set(reason, -ERR_UNAUTHORIZED, "the token's bearer is no more");
    *ret = STEAL(l);
    return 0;
}

/* A token of ours, or of an issuer outside. */
static int verify_token(struct access *a, struct str text, bool ours_too, struct login **ret,
                        struct err_detail *reason)
{
    struct issuers *issuers auto_issuers = access_issuers(a);
    struct jwt jwt auto_jwt = {.header = NULL};
    int e = jwt_read(text, &jwt, reason);

    if (e < 0)
        return e == -ERR_INVAL ? -ERR_UNAUTHORIZED : e;
    if (ours_too && a->mint &&
        str_eq(json_str(json_get(json_root(jwt.payload), "iss")), token_issuer(a->mint)))
        return verify_own(a, &jwt, ret, reason);
    if (issuers && issuers_know(issuers, &jwt))
        return issuers_verify(issuers, &jwt, a->service, clock_wall_ms(), &a->outside.fetch, ret,
                              reason);
    return err_set(reason, -ERR_UNAUTHORIZED, "the token's issuer is not known");
}

/* Has it the form of a token? A password may be one: workloads log in like that. */
static bool looks_like_token(struct access *a, struct str text)
{
    return a->files[ACCESS_ISSUERS].path && str_starts(text, STR("eyJ")) && str_find(text, '.') > 0;
}

static int verify(struct access *a, const struct access_ask *ask, struct login **ret,
                  struct err_detail *reason)
{
    const struct credentials *c = ask->credentials;
    struct str secret = c->kind == CREDENTIALS_BASIC ? c->password : c->token;

    if (robot_is_key(secret))
        return verify_robot(a, c->user, secret, ret);
    if (c->kind == CREDENTIALS_BEARER)
        return verify_token(a, secret, true, ret, reason);
    if (looks_like_token(a, secret))
        return verify_token(a, secret, false, ret, reason);
    return verify_password(a, ask, ret);
}

/* Counts and says a refusal. */
static int refused(const struct access_ask *ask, int e, int64_t ms, const char *why)
{
    bool throttled = e == -ERR_THROTTLED;

    metric_add(throttled ? METRIC_auth_throttled_total : METRIC_auth_failures_total, 1);
    log_warn(throttled ? "auth.throttled" : "auth.failed", KV_V("user", ask->credentials->user),
             KV_V("address", ask->address), KV_I("wait_ms", ms), KV_S("why", why));
    return e;
}

/* Until when (clock_boot_ms) a login need not be verified again. */
static int64_t seen_until(const struct login *l, int64_t now)
{
    int64_t ms = login_kind(l) == LOGIN_ROBOT ? ACCESS_SEEN_ROBOT_MS : ACCESS_SEEN_MS;
    int64_t left = login_expiry(l) ? login_expiry(l) - clock_wall_ms() : ms;

    return now + (left < ms ? left : ms);
}

/* On the gate's thread. */
static int verify_and_keep(struct access *a, const struct access_ask *ask,
                           const uint8_t key[HMAC_BYTES], struct login **ret,
                           struct err_detail *detail)
{
    const struct credentials *c = ask->credentials;
    struct err_detail reason = {"the credentials are wrong"};
    uint64_t epoch = seen_epoch(a->seen), guess;
    int64_t now;
    int e = verify(a, ask, ret, &reason);

    now = clock_boot_ms();
    memcpy(&guess, key, sizeof(guess));
    if (e == -ERR_UNAUTHORIZED && c->kind == CREDENTIALS_BASIC)
        throttle_failed(a->throttle, c->user, ask->address, guess, now);
    if (e == -ERR_UNAUTHORIZED)
        return err_set(detail, refused(ask, e, 0, reason.text), "%s", reason.text);
    if (e < 0)
        return err_set(detail, e, "%s", reason.text);
    if (c->kind == CREDENTIALS_BASIC)
        throttle_passed(a->throttle, c->user, ask->address, now);
    seen_put(a->seen, key, *ret, seen_until(*ret, now), epoch);
    return 0;
}

/* Vouched for by a proxy that is trusted; nothing is left to verify. */
static int take_certificate(const struct credentials *c, struct login **ret)
{
    struct buf name auto_buf = BUF_INIT(LOGIN_NAME_MAX);

    buf_add(&name, STR("cert:"));
    buf_add(&name, c->user);
    return buf_err(&name) < 0 ? -ERR_UNAUTHORIZED : login_new(LOGIN_PROXY, buf_str(&name), ret);
}

bool access_seen(struct access *a, const struct credentials *c, struct login **ret)
{
    int64_t now = clock_boot_ms();
    uint8_t key[HMAC_BYTES];
    struct login *found;

    if ((c->kind != CREDENTIALS_BASIC && c->kind != CREDENTIALS_BEARER) || access_look(a, now))
        return false;
    key_of(a, c, key);
    found = seen_get(a->seen, key, now);
    if (found)
        *ret = found;
    return found != NULL;
}

int access_identify(struct access *a, const struct access_ask *ask, struct login **ret,
                    int64_t *ret_ms, struct err_detail *detail)
{
    const struct credentials *c = ask->credentials;
    int64_t now = clock_boot_ms();
    uint8_t key[HMAC_BYTES];
    struct login *found;
    int e;

    *ret_ms = 0;
    if (!a->enabled) {
        *ret = NULL;
        return 0;
    }
    if (access_look(a, now)) {
        if (!ask->may_wait)
            return -ERR_AGAIN;
        access_reload(a);
    }
    if (c->kind == CREDENTIALS_NONE) {
        *ret = NULL;
        return 0;
    }
    if (c->kind == CREDENTIALS_CERTIFICATE)
        return take_certificate(c, ret);
    if (c->kind == CREDENTIALS_BAD)
        return err_set(detail, refused(ask, -ERR_UNAUTHORIZED, 0, "malformed"),
                       "the credentials are malformed");
    key_of(a, c, key);
    found = seen_get(a->seen, key, now);
    if (found) {
        *ret = found;
        return 0;
    }
    if (c->kind == CREDENTIALS_BASIC) {
        e = throttle_ask(a->throttle, c->user, ask->address, now, ret_ms);
        if (e < 0)
            return err_set(detail, refused(ask, e, *ret_ms, "too many failures"),
                           "too many failed log-ins");
    }
    if (!ask->may_wait)
        return -ERR_AGAIN;
    *ret_ms = 0;
    return verify_and_keep(a, ask, key, ret, detail);
}
