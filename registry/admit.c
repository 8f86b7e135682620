/* Identity, right, challenge. */
#include "registry/admit.h"

#include "auth/challenge.h"
#include "auth/credentials.h"
#include "base/log.h"
#include "base/metrics.h"
#include "registry/api_common.h"

#define BASIC_REALM    "Stowage"
#define TAGS_LOOKED_AT 256

static void add_challenge(struct req *r, enum challenge_error error)
{
    struct buf text auto_buf = BUF_INIT(CHALLENGE_MAX);
    struct challenge c = {.realm = STR(BASIC_REALM), .error = error};

    challenge_text(&c, &text);
    if (buf_err(&text) == 0)
        req_add_header(r, "WWW-Authenticate", buf_str(&text));
}

int admit_identify(struct req *r, bool may_wait, int64_t *ret_delay_ms)
{
    struct access *access = req_app(r)->access;
    struct credentials credentials auto_credentials = {.kind = CREDENTIALS_NONE};
    char address[REQ_ADDRESS_MAX];
    struct access_ask ask = {&credentials, STR_NONE, may_wait};
    struct login *login = NULL;
    int e;

    *ret_delay_ms = 0;
    if (!access_enabled(access))
        return 0;
    e = credentials_parse(req_header(r, "Authorization"), &credentials);
    if (e < 0)
        return e;
    ask.address = req_peer(r, address);
    e = access_identify(access, &ask, &login, ret_delay_ms, req_detail(r));
    if (e == -ERR_UNAUTHORIZED)
        add_challenge(r, CHALLENGE_INVALID_TOKEN);
    if (e == -ERR_THROTTLED)
        req_add_headerf(r, "Retry-After", "%lld", (long long)(*ret_delay_ms + 999) / 1000);
    if (e == 0)
        req_set_login(r, login);
    return e;
}

int admit_may(struct req *r, enum action action, struct str repo, struct str tag)
{
    return access_check(req_app(r)->access, req_identity(r), action, repo, tag, req_detail(r));
}

int admit_refuse(struct req *r, enum action action, struct str repo, const char *reason)
{
    const struct identity *who = req_identity(r);
    char address[REQ_ADDRESS_MAX];

    metric_add(METRIC_auth_denials_total, 1);
    log_at(who->login ? LOG_WARN : LOG_DEBUG, "auth.denied", KV_S("by", who->name),
           KV_V("address", req_peer(r, address)), KV_S("action", action_word(action)),
           KV_V("repo", repo), KV_S("why", reason), KV_S("req", req_id(r)));
    if (who->login)
        return err_set(req_detail(r), -ERR_DENIED, "%s", reason);
    add_challenge(r, CHALLENGE_NO_ERROR);
    return err_set(req_detail(r), -ERR_UNAUTHORIZED, "%s", reason);
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
    if (e == -ERR_DENIED) {
        struct err_detail reason = *req_detail(r);

        e = admit_refuse(r, action, t->name, reason.text[0] ? reason.text : err_text(e));
    }
    return e;
}
