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

    if (e == -ERR_UNAUTHORIZED)
        throttle_failed(a->throttle, c->user, ask->address, clock_boot_ms());
    else if (e == 0)
        throttle_passed(a->throttle, c->user, ask->address, clock_boot_ms());
    return e < 0 ? e : login_new(LOGIN_PASSWORD, c->user, ret);
}

static int verify(struct access *a, const struct access_ask *ask, struct login **ret)
{
    return ask->credentials->kind == CREDENTIALS_BASIC ? verify_password(a, ask, ret)
                                                       : -ERR_UNAUTHORIZED;
}

/* Counts and says a refusal. */
static int refused(const struct access_ask *ask, int e, int64_t ms)
{
    bool throttled = e == -ERR_THROTTLED;

    metric_add(throttled ? METRIC_auth_throttled_total : METRIC_auth_failures_total, 1);
    log_warn(throttled ? "auth.throttled" : "auth.failed", KV_V("user", ask->credentials->user),
             KV_V("address", ask->address), KV_I("wait_ms", ms));
    return e;
}

int access_identify(struct access *a, const struct access_ask *ask, struct login **ret,
                    int64_t *ret_ms, struct err_detail *detail)
{
    const struct credentials *c = ask->credentials;
    int64_t now = clock_boot_ms();
    uint8_t key[HMAC_BYTES];
    struct login *found;
    uint64_t epoch;
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
    if (c->kind == CREDENTIALS_BAD)
        return err_set(detail, refused(ask, -ERR_UNAUTHORIZED, 0), "the credentials are malformed");
    key_of(a, c, key);
    epoch = seen_epoch(a->seen);
    found = seen_get(a->seen, key, now);
    if (found) {
        *ret = found;
        return 0;
    }
    if (c->kind == CREDENTIALS_BASIC) {
        e = throttle_ask(a->throttle, c->user, ask->address, now, ret_ms);
        if (e < 0)
            return err_set(detail, refused(ask, e, *ret_ms), "too many failed log-ins");
    }
    if (!ask->may_wait)
        return -ERR_AGAIN;
    *ret_ms = 0;
    e = verify(a, ask, &found);
    if (e == -ERR_UNAUTHORIZED)
        return err_set(detail, refused(ask, e, 0), "the credentials are wrong");
    if (e < 0)
        return e;
    seen_put(a->seen, key, found, now + ACCESS_SEEN_MS, epoch);
    *ret = found;
    return 0;
}
