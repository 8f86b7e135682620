/* Tokens of our own: issued to whom was identified, and renewed. */
#include "auth/access_internal.h"
#include "base/clock.h"
#include "base/enc.h"

int access_issue(struct access *a, const struct login *login, const struct scopes *granted,
                 struct buf *out)
{
    struct token_grant g = {.login = login, .access = granted, .now_ms = clock_wall_ms()};

    return a->mint ? token_issue(a->mint, &g, out) : -ERR_UNSUPPORTED;
}

int access_issue_refresh(struct access *a, const struct login *login, struct buf *out)
{
    struct htpasswd *users auto_htpasswd = access_htpasswd(a);
    struct token_grant g = {.login = login, .refresh = true, .now_ms = clock_wall_ms()};
    uint8_t proof[HMAC_BYTES];
    char hex[2 * HMAC_BYTES + 1];

    if (!a->mint || !login || login_kind(login) != LOGIN_PASSWORD || !users ||
        !htpasswd_proof(users, str_of(login_name(login)), proof))
        return -ERR_UNSUPPORTED;
    hex_encode(proof, sizeof(proof), hex);
    g.proof = str_of(hex);
    return token_issue(a->mint, &g, out);
}

int access_refresh(struct access *a, struct str token, struct login **ret,
                   struct err_detail *reason)
{
    struct htpasswd *users auto_htpasswd = access_htpasswd(a);
    struct login *of_token auto_login = NULL;
    struct jwt jwt auto_jwt = {.header = NULL};
    struct buf was auto_buf = BUF_INIT(4 * HMAC_BYTES);
    uint8_t proof[HMAC_BYTES];
    char hex[2 * HMAC_BYTES + 1];
    int e = a->mint ? jwt_read(token, &jwt, reason) : -ERR_UNSUPPORTED;

    if (e == 0)
        e = token_verify_refresh(a->mint, &jwt, clock_wall_ms(), &of_token, &was, reason);
    if (e < 0)
        return e == -ERR_INVAL ? -ERR_UNAUTHORIZED : e;
    if (users && htpasswd_proof(users, str_of(login_name(of_token)), proof)) {
        hex_encode(proof, sizeof(proof), hex);
        if (was.len == strlen(hex) && bytes_eq_constant_time(was.at, hex, was.len))
            return login_new(LOGIN_PASSWORD, str_of(login_name(of_token)), ret);
    }
    return err_set(reason, -ERR_UNAUTHORIZED, "the user or the password is another by now");
}

int access_jwks(struct access *a, struct buf *out)
{
    return a->mint ? token_jwks(a->mint, out) : -ERR_UNSUPPORTED;
}

static bool is_named(const struct login *l, void *arg)
{
    return strcmp(login_name(l), arg) == 0;
}

void access_forget(struct access *a, const char *name)
{
    char copy[LOGIN_NAME_MAX + 1];
    struct buf text auto_buf = BUF_INIT(sizeof(copy));

    buf_add(&text, str_of(name));
    if (!a->seen || buf_err(&text) < 0)
        return;
    memcpy(copy, buf_c(&text), text.len + 1);
    seen_drop(a->seen, is_named, copy);
}

bool access_still_there(struct access *a, const struct login *l)
{
    struct str name = str_of(login_name(l));
    struct htpasswd *users auto_htpasswd = NULL;
    uint8_t proof[HMAC_BYTES];

    if (name.len == 0)
        return true;
    if (str_starts(name, STR("robot:")))
        return a->outside.robots && a->outside.refresh_robots(a->outside.arg) == 0 &&
               robots_has(a->outside.robots, str_skip(name, 6), clock_wall_ms());
    if (str_find(name, ':') >= 0)
        return true; /* an issuer's: lives as long as the token */
    users = access_htpasswd(a);
    return users && htpasswd_proof(users, name, proof);
}
