/* Life, and the decision. */
#include "auth/access_internal.h"

#include <assert.h>
#include <stdlib.h>

#include "base/clock.h"

static const char *given(const char *path)
{
    return path && path[0] ? path : NULL;
}

static int start(struct access *a)
{
    int e = seen_new(&a->seen);

    if (e == 0)
        e = throttle_new(&a->throttle);
    if (e == 0)
        e = gate_new(0, &a->gate);
    atomic_init(&a->looked_ms, clock_boot_ms());
    return e;
}

int access_new(const struct access_settings *settings, struct access **ret,
               struct err_detail *detail)
{
    struct access *a = calloc(1, sizeof(*a));
    int e;

    if (!a)
        return -ERR_NOMEM;
    a->settings = *settings;
    a->service = str_of(given(settings->service) ? settings->service : "stowage");
    a->files[ACCESS_HTPASSWD].path = given(settings->htpasswd);
    a->files[ACCESS_POLICY].path = given(settings->policy);
    a->files[ACCESS_ISSUERS].path = given(settings->issuers);
    for (int i = 0; i < ACCESS_FILES; i++)
        a->enabled = a->enabled || a->files[i].path;
    mutex_init(&a->reload);
    mutex_init(&a->mu);
    e = access_files_open(a, detail);
    if (e == 0 && a->enabled)
        e = start(a);
    if (e < 0) {
        access_free(a);
        return e;
    }
    *ret = a;
    return 0;
}

int access_connect(struct access *a, const struct access_outside *outside)
{
    if (!a->enabled)
        return 0;
    a->outside = *outside;
    return token_mint_new(&outside->secrets, outside->token_issuer, a->service, &a->mint);
}

void access_free(struct access *a)
{
    if (!a)
        return;
    gate_free(a->gate);
    throttle_free(a->throttle);
    seen_free(a->seen);
    token_mint_free(a->mint);
    access_files_close(a);
    mutex_done(&a->reload);
    mutex_done(&a->mu);
    free(a);
}

bool access_enabled(const struct access *a)
{
    return a->enabled;
}

enum access_mode access_mode(const struct access *a)
{
    return (enum access_mode)a->settings.mode;
}

struct str access_service(const struct access *a)
{
    return a->service;
}

struct gate *access_gate(struct access *a)
{
    return a->gate;
}

/* ---- The decision. */

/* What a token's or key's scopes say of repositories and the catalog. */
static unsigned limit_bits(const struct login *l, const struct access_need *need)
{
    const struct scopes *limit = login_scopes(l);
    bool globs = login_kind(l) == LOGIN_ROBOT;
    struct str name = need->asked.len ? need->asked : need->repo;
    unsigned bits = 0;

    if (need->action == ACTION_CATALOG)
        bits = scopes_actions(limit, SCOPE_REGISTRY, STR("catalog"), false);
    if (name.len)
        bits |= scopes_actions(limit, SCOPE_REPOSITORY, name, globs);
    for (size_t i = 0; globs && !name.len && i < limit->count; i++)
        bits |= limit->at[i].actions & ACTION_BIT(ACTION_CATALOG); /* of some repository */
    return bits;
}

/* Clients know of pull, push and delete only and ask for nothing else. So a token of our own is
 * limited in the finer rights by what they come with, and the policy says the rest. */
static bool within_limit(const struct login *l, const struct access_need *need)
{
    unsigned bits = limit_bits(l, need);

    if (bits & ACTION_BIT(need->action))
        return true;
    if (login_kind(l) != LOGIN_TOKEN)
        return false;
    if (need->action == ACTION_HISTORY)
        return bits & ACTION_BIT(ACTION_PULL);
    if (need->action == ACTION_OVERRIDE)
        return bits & (ACTION_BIT(ACTION_PUSH) | ACTION_BIT(ACTION_DELETE));
    return false;
}

static int ask_policy(const struct policy *p, const struct login *l, const struct access_need *need,
                      struct err_detail *reason)
{
    struct policy_ask ask = {l, need->action, need->repo, need->tag};
    struct policy_answer answer;

    if (need->action == ACTION_CATALOG && need->repo.len == 0)
        return policy_somewhere(p, l, ACTION_CATALOG)
                   ? 0
                   : err_set(reason, -ERR_DENIED, "the policy lists nothing for this caller");
    policy_decide(p, &ask, &answer);
    if (answer.allowed)
        return 0;
    if (answer.line)
        return err_set(reason, -ERR_DENIED, "the policy denies %s in its line %u",
                       action_word(need->action), answer.line);
    return err_set(reason, -ERR_DENIED, "no rule of the policy allows %s",
                   action_word(need->action));
}

int access_check(struct access *a, const struct identity *who, const struct access_need *need,
                 struct err_detail *reason)
{
    struct policy *policy auto_policy = NULL;
    const struct login *l;

    assert(a && who && need);
    l = who->login;
    if (need->action == ACTION_HEALTH || need->action == ACTION_TOKEN)
        return 0;
    if (!a->enabled)
        return who->name[0] == '\0' ? 0 : -ERR_DENIED; /* there are no other identities */
    if (need->action == ACTION_NONE) /* R22: whoever says nothing of himself is asked */
        return l ? 0 : err_set(reason, -ERR_DENIED, "say who you are");
    if (l && login_scopes(l) && !within_limit(l, need))
        return err_set(reason, -ERR_DENIED, "the token or key was not given for this");
    if (l && login_kind(l) == LOGIN_SERVER)
        return 0; /* its server has decided */
    policy = access_policy(a);
    if (policy)
        return ask_policy(policy, l, need, reason);
    return who->name[0] ? 0
                        : err_set(reason, -ERR_DENIED,
                                  "nobody may do this without saying who he "
                                  "is");
}

int access_check_listen(const struct access *a, struct str address, bool loopback,
                        struct err_detail *detail)
{
    if (loopback || a->enabled || a->settings.allow_anonymous_network)
        return 0;
    return err_set(detail, -ERR_DENIED,
                   "will not listen on " STR_FMT " without authentication: anyone who reaches it "
                   "could push and delete; give users (--htpasswd), listen on a loopback address, "
                   "or pass --allow-anonymous-network",
                   STR_ARG(address));
}
