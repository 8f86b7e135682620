/* The policy: who may do what with which repositories and tags. A file of lines, read from the
 * first to the last; the first rule that matches decides, and what no rule matches is denied.
 *
 *   allow|deny WHO REPOSITORIES ACTIONS [TAGS]
 *   group NAME USER...
 *
 * WHO is a list (commas) of: everyone, anonymous, authenticated, user:GLOB, group:GLOB,
 * claim:NAME=GLOB. REPOSITORIES and TAGS are lists of globs (auth/glob.h), ACTIONS of words
 * (auth/action.h) or `*`. Grammar and examples: docs/authentication.md.
 *
 * Tags: a request that names a tag needs a rule whose globs match it. One that names none (a blob,
 * a digest) is matched by a rule with tags only where nothing more is given than what such a rule's
 * tags need: an allow of anything but delete and override-immutable, a deny of these two alone.
 *
 * A struct policy is one content of the file: immutable, shared, any thread, never waits. */
#ifndef STOWAGE_AUTH_POLICY_H
#define STOWAGE_AUTH_POLICY_H

#include "auth/login.h"

#define POLICY_RULES_MAX 4096
#define POLICY_LIST_MAX  64 /* entries of one list of a rule */

struct policy;
/* -ERR_INVAL with a sentence that names the line. */
int policy_parse(struct str text, struct policy **ret, struct err_detail *detail) must_check;
struct policy *policy_ref(struct policy *p);
void policy_unref(struct policy *p);
void policy_unrefp(struct policy **p);
#define auto_policy auto_of(policy_unrefp)
size_t policy_rules(const struct policy *p);

struct policy_ask {
    const struct login *login; /* NULL: nobody */
    enum action action;
    struct str repo; /* empty: the registry itself; only `**` matches that */
    struct str tag;  /* empty: none is named */
};
struct policy_answer {
    bool allowed;
    unsigned line;   /* of the rule; 0: none matched */
    struct str rule; /* its text; lives as long as the policy */
};
void policy_decide(const struct policy *p, const struct policy_ask *ask, struct policy_answer *ret);
/* Is there any repository on which the caller may do this? (May be true where a later look finds
 * none.) */
bool policy_somewhere(const struct policy *p, const struct login *login, enum action action);

/* A caller by description, for questions to a policy: a list of NAME, user:NAME, group:NAME,
 * claim:NAME=VALUE, or anonymous alone, which is *ret NULL. -ERR_INVAL. */
int policy_caller(struct str who, struct login **ret, struct err_detail *detail) must_check;

#endif
