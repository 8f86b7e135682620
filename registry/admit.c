/* Identity, right, challenge. */
#include "registry/admit.h"

#include "auth/challenge.h"
#include "auth/credentials.h"
#include "base/log.h"
#include "base/metrics.h"
#include "manifests/name.h"
#include "registry/api_common.h"
#include "registry/forwarded.h"

#define BASIC_REALM    "Stowage"
#define TOKEN_PATH     "/auth/token"
#define TAGS_LOOKED_AT 256

/* ---- The challenge. */

/* What a client shall ask a token for (R111). */
static void add_scope(struct req *r, enum action action, struct str repo, struct buf *out)
{
    struct buf from auto_buf = BUF_INIT(QUERY_VALUE_MAX);
    const struct target *t = req_target(r);

    if (action == ACTION_CATALOG)
        buf_add(out, STR("registry:catalog:*"));
    if (action == ACTION_CATALOG || repo.len == 0)
        return;
    buf_addf(out, "repository:" STR_FMT ":", STR_ARG(repo));
    if (action == ACTION_PUSH || action == ACTION_OVERRIDE)
        buf_add(out, STR("pull,push"));
    else
        buf_add(out, str_of(action_word(action == ACTION_HISTORY ? ACTION_PULL : action)));
    if (t->resource == RESOURCE_UPLOADS && req_query(r, "from", 0, false, &from) == 0 &&
        name_valid(buf_str(&from)))
        buf_addf(out, " repository:" STR_FMT ":pull", STR_ARG(buf_str(&from)));
}

/* Outside /v2/ nobody fetches a token first. */
static void add_challenge(struct req *r, enum challenge_error error, enum action action,
                          struct str repo)
{
    struct app *app = req_app(r);
    struct buf text auto_buf = BUF_INIT(CHALLENGE_MAX), scope auto_buf = BUF_INIT(CHALLENGE_MAX),
                    realm auto_buf = BUF_INIT(FORWARDED_BASE_MAX + sizeof(TOKEN_PATH));
    struct challenge c = {.realm = STR(BASIC_REALM), .error = error};

    if (access_mode(app->access) == ACCESS_BEARER && req_target(r)->v2) {
        c.bearer = true;
        if (app->token_realm && app->token_realm[0]) {
            buf_add(&realm, str_of(app->token_realm));
        } else {
            forwarded_base(r, &realm);
            buf_add(&realm, STR(TOKEN_PATH));
        }
        add_scope(r, action, repo, &scope);
        c.realm = buf_str(&realm);
        c.service = access_service(app->access);
        c.scope = buf_str(&scope);
    }
    challenge_text(&c, &text);
    if (buf_err(&text) == 0 && buf_err(&scope) == 0 && buf_err(&realm) == 0)
        req_add_header(r, "WWW-Authenticate", buf_str(&text));
}

/* ---- Who. */

static int identify(struct req *r, const struct credentials *credentials, bool may_wait,
                    struct login **ret, int64_t *ret_delay_ms)
{
    char address[FORWARDED_ADDRESS_MAX];
    struct access_ask ask = {.credentials = credentials, .may_wait = may_wait};
    const struct target *t = req_target(r);
    int e;

    if (access_seen(req_app(r)->access, credentials, ret))
        return 0;
    ask.address = forwarded_address(r, address);
    e = access_identify(req_app(r)->access, &ask, ret, ret_delay_ms, req_detail(r));

    if (e == -ERR_UNAUTHORIZED)
        add_challenge(r,
                      credentials->kind == CREDENTIALS_BEARER ? CHALLENGE_INVALID_TOKEN
                                                              : CHALLENGE_NO_ERROR,
                      t->route ? t->route->action : ACTION_NONE, t->name);
    if (e == -ERR_THROTTLED)
        req_add_headerf(r, "Retry-After", "%lld", (long long)(*ret_delay_ms + 999) / 1000);
    return e;
}

int admit_identify(struct req *r, bool may_wait, int64_t *ret_delay_ms)
{
    struct credentials credentials auto_credentials = {.kind = CREDENTIALS_NONE};
    struct buf subject auto_buf = BUF_INIT(FORWARDED_SUBJECT_MAX);
    struct login *login = NULL;
    int e;

    *ret_delay_ms = 0;
    if (!access_enabled(req_app(r)->access) || req_target(r)->route->action == ACTION_HEALTH)
        return 0;
    e = credentials_parse(req_header(r, "Authorization"), &credentials);
    if (e == 0 && credentials.kind == CREDENTIALS_NONE) {
        forwarded_subject(r, &subject);
        if (subject.len) {
            credentials_done(&credentials);
            e = credentials_certificate(buf_str(&subject), &credentials);
        }
    }
    if (e == 0)
        e = identify(r, &credentials, may_wait, &login, ret_delay_ms);
    if (e == 0)
        req_set_login(r, login);
    return e;
}

int admit_form(struct req *r, struct str user, struct str password, bool may_wait,
               struct login **ret, int64_t *ret_delay_ms)
{
    struct credentials credentials auto_credentials = {.kind = CREDENTIALS_NONE};
    int e = credentials_basic(user, password, &credentials);

    return e < 0 ? e : identify(r, &credentials, may_wait, ret, ret_delay_ms);
}

/* ---- May he. */

struct str admit_real_name(struct str repo)
{
    return name_reserved(repo) ? str_skip(repo, (size_t)str_find(repo, '/') + 1) : repo;
}

int admit_may(struct req *r, enum action action, struct str repo, struct str tag)
{
    struct access_need need = {action, admit_real_name(repo), repo, tag};
    struct access *a = req_app(r)->access;
    int e = access_check(a, req_identity(r), &need, req_detail(r));

    if (e == 0 && need.repo.len != repo.len) {
        need.action = ACTION_HISTORY;
        e = access_check(a, req_identity(r), &need, req_detail(r));
    }
    return e;
}

int admit_refuse(struct req *r, enum action action, struct str repo, const char *reason)
{
    const struct identity *who = req_identity(r);
    char address[FORWARDED_ADDRESS_MAX];
    bool by_token;

    metric_add(METRIC_auth_denials_total, 1);
    log_at(who->login ? LOG_WARN : LOG_DEBUG, "auth.denied", KV_S("by", who->name),
           KV_V("address", forwarded_address(r, address)), KV_S("action", action_word(action)),
           KV_V("repo", repo), KV_S("why", reason), KV_S("req", req_id(r)));
    by_token = who->login &&
               (login_kind(who->login) == LOGIN_TOKEN || login_kind(who->login) == LOGIN_SERVER);
    if (who->login && !by_token)
        return err_set(req_detail(r), -ERR_DENIED, "%s", reason);
    add_challenge(r, by_token ? CHALLENGE_INSUFFICIENT_SCOPE : CHALLENGE_NO_ERROR, action, repo);
    return err_set(req_detail(r), -ERR_UNAUTHORIZED, "%s", reason);
}

/* Refuses with what access_check said. */
static int refuse_as_said(struct req *r, enum action action, struct str repo)
{
    struct err_detail said = *req_detail(r);

    return admit_refuse(r, action, repo, said.text[0] ? said.text : "denied");
}

int admit_mount(struct req *r, struct str from)
{
    const struct login *l = req_identity(r)->login;
    int e = admit_may(r, ACTION_PULL, from, STR_NONE);

    if (e == 0)
        return 1;
    if (e != -ERR_DENIED)
        return e;
    if (l && (login_kind(l) == LOGIN_TOKEN || login_kind(l) == LOGIN_SERVER) &&
        !scopes_name(login_scopes(l), SCOPE_REPOSITORY, from))
        return refuse_as_said(r, ACTION_PUSH, req_target(r)->name);
    return 0;
}

/* The tags that the request names: the one of its path, those of its query. */
static int check_tags(struct req *r, enum action action)
{
    const struct target *t = req_target(r);
    struct str tag = str_find(t->reference, ':') < 0 ? t->reference : STR_NONE;
    int e = admit_may(r, action, t->name, tag);

    for (unsigned i = 0; e == 0 && action == ACTION_PUSH && i < TAGS_LOOKED_AT; i++) {
        struct buf text auto_buf = BUF_INIT(QUERY_VALUE_MAX);
        int found = req_query(r, "tag", i, false, &text);

        if (found == -ERR_NOTFOUND)
            break;
        if (found == -ERR_NOMEM)
            return found;
        if (found == 0)
            e = admit_may(r, action, t->name, buf_str(&text));
    }
    return e;
}

int admit_check(struct req *r)
{
    const struct target *t = req_target(r);
    enum action action = t->route->action;
    int e;

    if (t->resource == RESOURCE_MANIFEST)
        e = check_tags(r, action);
    else
        e = admit_may(r, action, t->name, STR_NONE);
    return e == -ERR_DENIED ? refuse_as_said(r, action, t->name) : e;
}
