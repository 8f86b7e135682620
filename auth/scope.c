/* A scope's type ends at the first ':', its actions begin after the last: a name may hold a port.
 */
#include "auth/scope.h"

#include <stdlib.h>

#include "auth/glob.h"

void scopes_done(struct scopes *s)
{
    for (size_t i = 0; i < s->count; i++)
        free(s->at[i].name);
    free(s->at);
    *s = (struct scopes){.count = 0};
}

const char *scope_type_word(enum scope_type t)
{
    return t == SCOPE_REPOSITORY ? "repository" : "registry";
}

int scopes_add(struct scopes *s, enum scope_type type, struct str name, unsigned actions)
{
    struct scope *more;
    char *copy;

    for (size_t i = 0; i < s->count; i++)
        if (s->at[i].type == type && str_eq(str_of(s->at[i].name), name)) {
            s->at[i].actions |= actions;
            return 0;
        }
    if (s->count == SCOPES_MAX)
        return 0;
    copy = str_dup(name);
    more = copy ? realloc(s->at, (s->count + 1) * sizeof(*more)) : NULL;
    if (!more) {
        free(copy);
        return -ERR_NOMEM;
    }
    s->at = more;
    s->at[s->count++] = (struct scope){type, copy, actions};
    return 0;
}

static unsigned parse_actions(struct str list)
{
    unsigned actions = 0;

    for (;;) {
        ptrdiff_t comma = str_find(list, ',');

        actions |= action_bits(comma < 0 ? list : str_head(list, (size_t)comma));
        if (comma < 0)
            return actions;
        list = str_skip(list, (size_t)comma + 1);
    }
}

bool scope_type_parse(struct str word, enum scope_type *ret)
{
    ptrdiff_t bracket = str_find(word, '(');

    if (bracket > 0 && word.at[word.len - 1] == ')')
        word = str_head(word, (size_t)bracket);
    *ret = str_eq(word, STR("registry")) ? SCOPE_REGISTRY : SCOPE_REPOSITORY;
    return *ret == SCOPE_REGISTRY || str_eq(word, STR("repository"));
}

static int parse_one(struct str one, struct scopes *add)
{
    ptrdiff_t colon = str_find(one, ':');
    enum scope_type type;
    size_t last = one.len;
    struct str name;
    unsigned actions;

    while (last > 0 && one.at[last - 1] != ':')
        last--;
    if (colon < 0 || (size_t)colon + 1 >= last ||
        !scope_type_parse(str_head(one, (size_t)colon), &type))
        return 0;
    name = str_make(one.at + colon + 1, last - 1 - ((size_t)colon + 1));
    actions = parse_actions(str_skip(one, last));
    if (name.len == 0 || name.len > SCOPE_NAME_MAX || memchr(name.at, 0, name.len) || !actions)
        return 0;
    if (type == SCOPE_REGISTRY && !str_eq(name, STR("catalog")))
        return 0;
    return scopes_add(add, type, name, actions);
}

int scopes_parse(struct str text, struct scopes *add)
{
    int e = 0;

    while (text.len && e == 0) {
        ptrdiff_t blank = str_find(text, ' ');

        e = parse_one(blank < 0 ? text : str_head(text, (size_t)blank), add);
        text = blank < 0 ? STR_NONE : str_skip(text, (size_t)blank + 1);
    }
    return e;
}

unsigned scopes_actions(const struct scopes *s, enum scope_type type, struct str name, bool globs)
{
    unsigned actions = 0;

    for (size_t i = 0; i < s->count; i++) {
        struct str have = str_of(s->at[i].name);

        if (s->at[i].type == type && (globs ? glob_match(have, name) : str_eq(have, name)))
            actions |= s->at[i].actions;
    }
    return actions;
}

bool scopes_name(const struct scopes *s, enum scope_type type, struct str name)
{
    for (size_t i = 0; i < s->count; i++)
        if (s->at[i].type == type && str_eq(str_of(s->at[i].name), name))
            return true;
    return false;
}

void scope_actions_text(unsigned actions, struct buf *out)
{
    bool first = true;

    if ((actions & ACTIONS_GRANTED) == ACTIONS_GRANTED) {
        buf_addc(out, '*');
        return;
    }
    for (unsigned a = 0; a < ACTION_COUNT; a++)
        if (actions & ACTIONS_GRANTED & ACTION_BIT(a)) {
            buf_addf(out, "%s%s", first ? "" : ",", action_word((enum action)a));
            first = false;
        }
}

void scope_text(const struct scope *s, struct buf *out)
{
    buf_addf(out, "%s:%s:", scope_type_word(s->type), s->name);
    scope_actions_text(s->actions, out);
}

void scopes_text(const struct scopes *s, struct buf *out)
{
    for (size_t i = 0; i < s->count; i++) {
        if (i)
            buf_addc(out, ' ');
        scope_text(&s->at[i], out);
    }
}
