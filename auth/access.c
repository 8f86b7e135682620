/* The access decision. Today's policy is one rule: without authentication everyone may do
 * everything, so only loopback is listened on. */
#include "auth/access.h"

#include <assert.h>
#include <stdlib.h>

struct access {
    struct access_settings settings;
};

const char *action_word(enum action a)
{
    static const char *const words[] = {
#define ACTION_WORD(name, word) word,
        ACTION_TABLE(ACTION_WORD)
#undef ACTION_WORD
    };
    assert((size_t)a < ARRAY_LEN(words));
    return words[a];
}

int access_new(const struct access_settings *settings, struct access **ret)
{
    struct access *a = calloc(1, sizeof(*a));

    if (!a)
        return -ERR_NOMEM;
    a->settings = *settings;
    *ret = a;
    return 0;
}

void access_free(struct access *a)
{
    free(a);
}

int access_check(const struct access *a, const struct identity *who, enum action action,
                 struct str repo)
{
    assert(a && who);
    (void)action;
    (void)repo;
    /* The only identity that exists without authentication is the anonymous one. */
    return who->name[0] == '\0' ? 0 : -ERR_DENIED;
}

int access_check_listen(const struct access *a, struct str address, bool loopback,
                        struct err_detail *detail)
{
    if (loopback || a->settings.allow_anonymous_network)
        return 0;
    return err_set(detail, -ERR_DENIED,
                   "will not listen on " STR_FMT " without authentication: anyone who reaches it "
                   "could push and delete; listen on a loopback address, or pass "
                   "--allow-anonymous-network",
                   STR_ARG(address));
}
