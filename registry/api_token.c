/* The token endpoint (R115, R116) and the keys that verify its tokens. Both run on the gate's
 * threads: the one checks passwords, both sign or make keys. */
#include <stdlib.h>

#include "base/clock.h"
#include "base/enc.h"
#include "base/json.h"
#include "manifests/name.h"
#include "registry/admit.h"
#include "registry/api.h"
#include "registry/api_common.h"

#define FORM_VALUE_MAX (20u << 10)
#define REPLY_MAX      (64u << 10)

static int check_offered(struct req *r)
{
    struct app *app = req_app(r);
    bool elsewhere = app->token_realm && app->token_realm[0];

    if (access_enabled(app->access) && access_mode(app->access) == ACCESS_BEARER && !elsewhere)
        return 0;
    return err_set(req_detail(r), -ERR_NOTFOUND, "this registry gives no tokens");
}

/* ---- What is granted: what is asked, as far as it is allowed. */

static unsigned allowed_actions(struct req *r, const struct identity *who, struct str asked)
{
    struct access *a = req_app(r)->access;
    struct access_need need = {.repo = admit_real_name(asked), .asked = asked};
    bool past = need.repo.len != asked.len;
    unsigned bits = 0;

    need.action = ACTION_HISTORY;
    if (past && access_check(a, who, &need, NULL) < 0)
        return 0;
    for (unsigned i = 0; i < ACTION_COUNT; i++) {
        need.action = (enum action)i;
        if ((ACTIONS_GRANTED & ACTION_BIT(i)) && access_check(a, who, &need, NULL) == 0)
            bits |= ACTION_BIT(i);
    }
    return past ? bits & ACTION_BIT(ACTION_PULL) : bits;
}

static int grant(struct req *r, const struct login *login, const struct scopes *asked,
                 struct scopes *ret)
{
    union {
        const struct login *in;
        struct login *out;
    } borrowed = {login};
    struct identity who = {login ? login_name(login) : "", borrowed.out};
    struct access_need catalog = {.action = ACTION_CATALOG};
    int e = 0;

    for (size_t i = 0; i < asked->count && e == 0; i++) {
        const struct scope *s = &asked->at[i];
        struct str name = str_of(s->name);
        unsigned bits = 0;

        if (s->type == SCOPE_REPOSITORY && name_valid(name))
            bits = allowed_actions(r, &who, name) & s->actions;
        else if (s->type == SCOPE_REGISTRY &&
                 access_check(req_app(r)->access, &who, &catalog, NULL) == 0)
            bits = ACTIONS_GRANTED;
        if (s->type == SCOPE_REGISTRY || name_valid(name))
            e = scopes_add(ret, s->type, name, bits); /* also with nothing: it was asked for */
    }
    return e;
}

static int reply_token(struct req *r, const struct login *login, const struct scopes *asked,
                       bool offline, bool with_scope)
{
    struct scopes granted auto_scopes = {.count = 0};
    struct buf token auto_buf = BUF_INIT(REPLY_MAX), refresh auto_buf = BUF_INIT(REPLY_MAX),
                     scope auto_buf = BUF_INIT(REPLY_MAX), body auto_buf = BUF_INIT(3 * REPLY_MAX);
    struct jw w = JW_INIT(&body);
    char time[TIME_TEXT_MAX];
    int e = grant(r, login, asked, &granted);

    if (e == 0)
        e = access_issue(req_app(r)->access, login, &granted, &token);
    if (e == 0 && offline)
        e = access_issue_refresh(req_app(r)->access, login, &refresh);
    if (e < 0 && e != -ERR_UNSUPPORTED)
        return e;
    jw_begin(&w, '{');
    jw_kstr(&w, "token", buf_str(&token));
    jw_kstr(&w, "access_token", buf_str(&token));
    jw_kint(&w, "expires_in", TOKEN_SECONDS);
    jw_kstr(&w, "issued_at", time_format_rfc3339(clock_wall_ms(), time));
    if (with_scope) {
        scopes_text(&granted, &scope);
        jw_kstr(&w, "token_type", STR("Bearer"));
        jw_kstr(&w, "scope", buf_str(&scope));
    }
    if (refresh.len)
        jw_kstr(&w, "refresh_token", buf_str(&refresh));
    jw_end(&w, '}');
    req_add_header(r, "Cache-Control", STR("no-store"));
    return req_reply_body(r, 200, "application/json", &body);
}

/* ---- GET. */

int api_token_get(struct req *r)
{
    struct scopes asked auto_scopes = {.count = 0};
    struct buf value auto_buf = BUF_INIT(SCOPE_TEXT_MAX);
    const struct login *login = req_identity(r)->login;
    bool offline;
    int e = check_offered(r);

    if (e < 0)
        return e;
    if (login && login_kind(login) == LOGIN_TOKEN) /* or it would never end */
        return err_set(req_detail(r), -ERR_DENIED, "a token gives no other token");
    for (unsigned i = 0; i < SCOPES_MAX; i++) {
        buf_clear(&value);
        e = req_query(r, "scope", i, false, &value);
        if (e == -ERR_NOTFOUND)
            break;
        if (e == 0)
            e = scopes_parse(buf_str(&value), &asked);
        if (e < 0)
            return err_set(req_detail(r), e, "a scope cannot be read");
    }
    buf_clear(&value);
    offline = req_query(r, "offline_token", 0, false, &value) == 0 &&
              str_eq(buf_str(&value), STR("true"));
    return reply_token(r, login, &asked, offline, false);
}

/* ---- POST: a form (R116). */

struct form {
    struct buf grant, user, password, refresh, scope, access;
};

static void form_done(struct form *f)
{
    struct buf *all[] = {&f->grant, &f->user, &f->password, &f->refresh, &f->scope, &f->access};

    for (size_t i = 0; i < ARRAY_LEN(all); i++) {
        if (all[i]->at)
            explicit_bzero(all[i]->at, all[i]->cap);
        buf_done(all[i]);
    }
}

static int form_field(struct str form, const char *name, struct buf *out)
{
    while (form.len) {
        ptrdiff_t amp = str_find(form, '&');
        struct str pair = amp < 0 ? form : str_head(form, (size_t)amp);
        ptrdiff_t eq = str_find(pair, '=');

        if (eq > 0 && str_eq(str_head(pair, (size_t)eq), str_of(name)))
            return url_decode(out, str_skip(pair, (size_t)eq + 1), true);
        form = amp < 0 ? STR_NONE : str_skip(form, (size_t)amp + 1);
    }
    return 0;
}

static int form_read(struct req *r, struct form *f)
{
    struct str body = req_body(r);
    int e;

    *f = (struct form){BUF_INIT(64),
                       BUF_INIT(CREDENTIALS_USER_MAX),
                       BUF_INIT(FORM_VALUE_MAX),
                       BUF_INIT(FORM_VALUE_MAX),
                       BUF_INIT(SCOPE_TEXT_MAX),
                       BUF_INIT(64)};
    e = form_field(body, "grant_type", &f->grant);
    if (e == 0)
        e = form_field(body, "username", &f->user);
    if (e == 0)
        e = form_field(body, "password", &f->password);
    if (e == 0)
        e = form_field(body, "refresh_token", &f->refresh);
    if (e == 0)
        e = form_field(body, "scope", &f->scope);
    if (e == 0)
        e = form_field(body, "access_type", &f->access);
    return e == 0 || e == -ERR_NOMEM
               ? e
               : err_set(req_detail(r), -ERR_INVAL, "the form cannot be read");
}

static int login_of_form(struct req *r, const struct form *f, bool may_wait, struct login **ret)
{
    int64_t delay_ms = 0;
    int e;

    if (str_eq(buf_str(&f->grant), STR("refresh_token"))) {
        if (!may_wait)
            return -ERR_AGAIN;
        e = access_refresh(req_app(r)->access, buf_str(&f->refresh), ret, req_detail(r));
        return e;
    }
    if (!str_eq(buf_str(&f->grant), STR("password")))
        return err_set(req_detail(r), -ERR_INVAL, "grant_type is password or refresh_token");
    e = admit_form(r, buf_str(&f->user), buf_str(&f->password), may_wait, ret, &delay_ms);
    if (e == -ERR_AGAIN)
        req_set_delay(r, delay_ms);
    return e;
}

static int token_post(struct req *r, bool may_wait)
{
    struct scopes asked auto_scopes = {.count = 0};
    struct form form auto_of(form_done) = {.grant = BUF_INIT(1)};
    struct login *login auto_login = NULL;
    int e = check_offered(r);

    if (e == 0)
        e = form_read(r, &form);
    if (e == 0)
        e = login_of_form(r, &form, may_wait, &login);
    if (e == 0 && !may_wait)
        e = -ERR_AGAIN; /* signing is the gate's work */
    if (e == 0)
        e = scopes_parse(buf_str(&form.scope), &asked);
    return e < 0
               ? e
               : reply_token(r, login, &asked, str_eq(buf_str(&form.access), STR("offline")), true);
}

int api_token_post_fast(struct req *r)
{
    return token_post(r, false);
}

int api_token_post(struct req *r)
{
    return token_post(r, true);
}

int api_token_keys(struct req *r)
{
    struct buf body auto_buf = BUF_INIT(REPLY_MAX);
    int e = check_offered(r);

    if (e == 0)
        e = access_jwks(req_app(r)->access, &body);
    if (e < 0)
        return e;
    req_add_header(r, "Cache-Control", STR("max-age=300"));
    return req_reply_body(r, 200, "application/json", &body);
}
