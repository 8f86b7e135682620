/* Rules hold views into one copy of the file's text. */
#include "auth/policy.h"

#include <stdatomic.h>
#include <stdlib.h>

#include "auth/file.h"
#include "auth/glob.h"

struct list {
    struct str *at;
    size_t count;
};

struct rule {
    bool allow;
    struct list who, repos, tags; /* no tags: any */
    unsigned actions;
    unsigned line;
    struct str text;
};

struct group {
    struct str name;
    struct list users;
};

struct policy {
    atomic_uint refs;
    char *text;
    struct rule *rules;
    size_t rule_count;
    struct group *groups;
    size_t group_count;
};

struct policy *policy_ref(struct policy *p)
{
    atomic_fetch_add_explicit(&p->refs, 1, memory_order_relaxed);
    return p;
}

void policy_unref(struct policy *p)
{
    if (!p || atomic_fetch_sub_explicit(&p->refs, 1, memory_order_acq_rel) != 1)
        return;
    for (size_t i = 0; i < p->rule_count; i++) {
        free(p->rules[i].who.at);
        free(p->rules[i].repos.at);
        free(p->rules[i].tags.at);
    }
    for (size_t i = 0; i < p->group_count; i++)
        free(p->groups[i].users.at);
    free(p->rules);
    free(p->groups);
    free(p->text);
    free(p);
}

void policy_unrefp(struct policy **p)
{
    policy_unref(*p);
    *p = NULL;
}

size_t policy_rules(const struct policy *p)
{
    return p->rule_count;
}

/* ---- Reading. */

static int list_add(struct list *l, struct str one)
{
    struct str *more;

    if (l->count == POLICY_LIST_MAX || one.len == 0 || one.len > GLOB_MAX)
        return -ERR_INVAL;
    more = realloc(l->at, (l->count + 1) * sizeof(*more));
    if (!more)
        return -ERR_NOMEM;
    l->at = more;
    l->at[l->count++] = one;
    return 0;
}

static int list_parse(struct str text, struct list *ret)
{
    int e = 0;

    for (;;) {
        ptrdiff_t comma = str_find(text, ',');

        e = list_add(ret, comma < 0 ? text : str_head(text, (size_t)comma));
        if (e < 0 || comma < 0)
            return e;
        text = str_skip(text, (size_t)comma + 1);
    }
}

static bool who_valid(struct str who)
{
    if (str_starts(who, STR("claim:")))
        return str_find(who, '=') > (ptrdiff_t)STR("claim:").len;
    return str_eq(who, STR("everyone")) || str_eq(who, STR("anonymous")) ||
           str_eq(who, STR("authenticated")) ||
           (str_starts(who, STR("user:")) && who.len > STR("user:").len) ||
           (str_starts(who, STR("group:")) && who.len > STR("group:").len);
}

static int parse_who(struct str text, struct rule *rule, struct err_detail *why)
{
    int e = list_parse(text, &rule->who);

    for (size_t i = 0; i < rule->who.count && e == 0; i++)
        if (!who_valid(rule->who.at[i]))
            e = err_set(why, -ERR_INVAL,
                        "\"" STR_FMT "\" is nobody: everyone, anonymous, "
                        "authenticated, user:NAME, group:NAME or claim:NAME=VALUE",
                        STR_ARG(str_head(rule->who.at[i], 64)));
    return e;
}

static int parse_actions(struct str text, struct rule *rule, struct err_detail *why)
{
    struct list words = {.count = 0};
    int e = list_parse(text, &words);

    for (size_t i = 0; i < words.count && e == 0; i++) {
        unsigned bits = action_bits(words.at[i]);

        rule->actions |= bits;
        if (!bits)
            e = err_set(why, -ERR_INVAL, "\"" STR_FMT "\" is no action",
                        STR_ARG(str_head(words.at[i], 64)));
    }
    free(words.at);
    return e;
}

static int parse_rule(struct policy *p, struct str line, struct str rest, unsigned number,
                      bool allow, struct err_detail *why)
{
    struct rule *rules = realloc(p->rules, (p->rule_count + 1) * sizeof(*rules)), *rule;
    struct str who, repos, actions, tags, more;
    int e;

    if (!rules)
        return -ERR_NOMEM;
    p->rules = rules;
    rule = &rules[p->rule_count++];
    *rule = (struct rule){.allow = allow, .line = number, .text = line};
    if (p->rule_count > POLICY_RULES_MAX)
        return err_set(why, -ERR_INVAL, "more than %d rules", POLICY_RULES_MAX);
    if (!file_next_word(&rest, &who) || !file_next_word(&rest, &repos) ||
        !file_next_word(&rest, &actions))
        return err_set(why, -ERR_INVAL, "a rule is: allow|deny WHO REPOSITORIES ACTIONS [TAGS]");
    e = parse_who(who, rule, why);
    if (e == 0)
        e = list_parse(repos, &rule->repos);
    if (e == 0)
        e = parse_actions(actions, rule, why);
    if (e == 0 && file_next_word(&rest, &tags))
        e = list_parse(tags, &rule->tags);
    if (e == 0 && file_next_word(&rest, &more))
        e = err_set(why, -ERR_INVAL, "there is more than a rule's five words");
    return e;
}

static int parse_group(struct policy *p, struct str rest, struct err_detail *why)
{
    struct group *groups = realloc(p->groups, (p->group_count + 1) * sizeof(*groups)), *g;
    struct str user;
    int e = 0;

    if (!groups)
        return -ERR_NOMEM;
    p->groups = groups;
    g = &groups[p->group_count++];
    *g = (struct group){.name = STR_NONE};
    if (p->group_count > POLICY_RULES_MAX || !file_next_word(&rest, &g->name))
        return err_set(why, -ERR_INVAL, "a group is: group NAME USER...");
    while (e == 0 && file_next_word(&rest, &user)) {
        struct str *more = realloc(g->users.at, (g->users.count + 1) * sizeof(*more));

        if (!more)
            return -ERR_NOMEM;
        g->users.at = more;
        g->users.at[g->users.count++] = user;
    }
    return e;
}

static int parse_line(struct policy *p, struct str line, unsigned number, struct err_detail *why)
{
    struct str rest = line, word;

    if (!file_next_word(&rest, &word) || word.at[0] == '#')
        return 0;
    if (!utf8_valid(line) || memchr(line.at, 0, line.len))
        return err_set(why, -ERR_INVAL, "it is no text");
    if (str_eq(word, STR("group")))
        return parse_group(p, rest, why);
    if (!str_eq(word, STR("allow")) && !str_eq(word, STR("deny")))
        return err_set(why, -ERR_INVAL, "a line begins with allow, deny or group");
    return parse_rule(p, line, rest, number, str_eq(word, STR("allow")), why);
}

int policy_parse(struct str text, struct policy **ret, struct err_detail *detail)
{
    struct policy *p auto_policy = calloc(1, sizeof(*p));
    struct err_detail why = {""};
    struct str rest, line;
    unsigned number = 0;
    int e = 0;

    if (!p)
        return -ERR_NOMEM;
    atomic_init(&p->refs, 1);
    p->text = malloc(text.len + 1);
    if (!p->text)
        return -ERR_NOMEM;
    memcpy(p->text, text.len ? text.at : "", text.len);
    rest = str_make(p->text, text.len);
    while (e == 0 && file_next_line(&rest, &line))
        e = parse_line(p, line, ++number, &why);
    if (e == -ERR_NOMEM)
        return e;
    if (e < 0)
        return err_set(detail, e, "line %u: %s", number,
                       why.text[0] ? why.text : "a list is empty, too long, or has an empty entry");
    *ret = STEAL(p);
    return 0;
}

/* ---- Deciding. */

static bool in_group(const struct policy *p, const struct login *l, struct str glob)
{
    struct str name = str_of(login_name(l));

    for (size_t i = 0; i < login_attr_count(l); i++) {
        struct str attr = login_attr(l, i);

        if (str_starts(attr, STR("group:")) && glob_match(glob, str_skip(attr, 6)))
            return true;
    }
    for (size_t i = 0; i < p->group_count; i++)
        for (size_t k = 0; k < p->groups[i].users.count; k++)
            if (str_eq(p->groups[i].users.at[k], name) && glob_match(glob, p->groups[i].name))
                return true;
    return false;
}

static bool has_claim(const struct login *l, struct str who)
{
    for (size_t i = 0; i < login_attr_count(l); i++)
        if (glob_match(who, login_attr(l, i)))
            return true;
    return false;
}

static bool is_who(const struct policy *p, const struct login *l, struct str who)
{
    bool named = l && login_name(l)[0];

    if (str_eq(who, STR("everyone")))
        return true;
    if (str_eq(who, STR("anonymous")))
        return !named;
    if (!named)
        return false;
    if (str_eq(who, STR("authenticated")))
        return true;
    if (str_starts(who, STR("user:")))
        return glob_match(str_skip(who, 5), str_of(login_name(l)));
    if (str_starts(who, STR("group:")))
        return in_group(p, l, str_skip(who, 6));
    return has_claim(l, who);
}

static bool is_anyone(const struct policy *p, const struct rule *rule, const struct login *l)
{
    for (size_t i = 0; i < rule->who.count; i++)
        if (is_who(p, l, rule->who.at[i]))
            return true;
    return false;
}

static bool list_matches(const struct list *l, struct str text)
{
    for (size_t i = 0; i < l->count; i++)
        if (glob_match(l->at[i], text))
            return true;
    return false;
}

static bool tags_match(const struct rule *rule, const struct policy_ask *ask)
{
    bool every; /* may it change every tag there is? */

    if (rule->tags.count == 0)
        return true;
    if (ask->tag.len)
        return list_matches(&rule->tags, ask->tag);
    every = ask->action == ACTION_DELETE || ask->action == ACTION_OVERRIDE;
    return rule->allow ? !every : every;
}

void policy_decide(const struct policy *p, const struct policy_ask *ask, struct policy_answer *ret)
{
    *ret = (struct policy_answer){.allowed = false};
    for (size_t i = 0; i < p->rule_count; i++) {
        const struct rule *rule = &p->rules[i];

        if ((rule->actions & ACTION_BIT(ask->action)) && list_matches(&rule->repos, ask->repo) &&
            tags_match(rule, ask) && is_anyone(p, rule, ask->login)) {
            *ret = (struct policy_answer){rule->allow, rule->line, rule->text};
            return;
        }
    }
}

bool policy_somewhere(const struct policy *p, const struct login *login, enum action action)
{
    for (size_t i = 0; i < p->rule_count; i++)
        if (p->rules[i].allow && (p->rules[i].actions & ACTION_BIT(action)) &&
            is_anyone(p, &p->rules[i], login))
            return true;
    return false;
}

int policy_caller(struct str who, struct login **ret, struct err_detail *detail)
{
    struct login *l auto_login = NULL;
    struct str name = STR_NONE, rest = who;
    int e = 0;

    if (str_eq(who, STR("anonymous"))) {
        *ret = NULL;
        return 0;
    }
    for (bool more = true; more;) {
        ptrdiff_t comma = str_find(rest, ',');
        struct str one = comma < 0 ? rest : str_head(rest, (size_t)comma);

        if (str_starts(one, STR("user:")))
            name = str_skip(one, 5);
        else if (!str_starts(one, STR("group:")) && !str_starts(one, STR("claim:")))
            name = one;
        more = comma >= 0;
        rest = more ? str_skip(rest, (size_t)comma + 1) : STR_NONE;
    }
    e = login_new(LOGIN_PASSWORD, name.len ? name : STR("somebody"), &l);
    for (rest = who; e == 0 && rest.len;) {
        ptrdiff_t comma = str_find(rest, ',');
        struct str one = comma < 0 ? rest : str_head(rest, (size_t)comma);

        if (str_starts(one, STR("group:")) || str_starts(one, STR("claim:")))
            e = login_add_attr(l, "", one);
        rest = comma < 0 ? STR_NONE : str_skip(rest, (size_t)comma + 1);
    }
    if (e < 0)
        return e == -ERR_NOMEM ? e : err_set(detail, -ERR_INVAL, "nobody is described like this");
    *ret = STEAL(l);
    return 0;
}
