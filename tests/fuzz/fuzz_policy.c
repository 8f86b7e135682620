/* Input: WHO, a repository and a tag, a line each, then a policy. An answer names a line that is
 * there and says what stands at its beginning; a glob agrees with a slow and simple one. */
#include <assert.h>

#include "auth/glob.h"
#include "auth/policy.h"
#include "fuzz.h"

#define SLOW_MAX 24

static bool slow_glob(struct str p, struct str t)
{
    if (p.len == 0)
        return t.len == 0;
    if (p.at[0] == '*') {
        bool all = p.len > 1 && p.at[1] == '*';
        struct str rest = str_skip(p, all ? 2 : 1);

        for (size_t i = 0;; i++) {
            if (slow_glob(rest, str_skip(t, i)))
                return true;
            if (i >= t.len || (!all && t.at[i] == '/'))
                return false;
        }
    }
    return t.len && p.at[0] == t.at[0] && slow_glob(str_skip(p, 1), str_skip(t, 1));
}

void fuzz_one(struct str input)
{
    struct str who = fuzz_line(&input), repo = fuzz_line(&input), tag = fuzz_line(&input);
    struct policy *p auto_policy = NULL;
    struct login *l auto_login = NULL;
    struct err_detail why = {""};

    if (who.len <= SLOW_MAX / 2 && repo.len <= SLOW_MAX)
        assert(glob_match(who, repo) == slow_glob(who, repo));
    if (policy_caller(who, &l, NULL) < 0)
        return;
    if (policy_parse(input, &p, &why) < 0) {
        assert(why.text[0]);
        return;
    }
    for (unsigned a = ACTION_PULL; a <= ACTION_ADMIN; a++) {
        struct policy_ask ask = {l, (enum action)a, repo, tag};
        struct policy_answer got;

        policy_decide(p, &ask, &got);
        assert(got.line || !got.allowed);
        if (got.line)
            assert(str_find(got.rule, got.allowed ? 'a' : 'd') >= 0);
        if (got.allowed)
            assert(policy_somewhere(p, l, (enum action)a));
    }
}
