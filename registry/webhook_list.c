/* The file of webhook targets. */
#include <stdlib.h>
#include <string.h>

#include "auth/glob.h"
#include "auth/policy.h"
#include "base/json.h"
#include "registry/webhooks.h"

static char *copy(struct str s)
{
    char *c = malloc(s.len + 1);

    if (c) {
        memcpy(c, s.len ? s.at : "", s.len);
        c[s.len] = '\0';
    }
    return c;
}

static int wrong(struct err_detail *detail, size_t i, const char *what)
{
    return err_set(detail, -ERR_INVAL, "webhook %zu: %s", i + 1, what);
}

static int parse_words(const struct json *list, size_t max, size_t len_max, char **ret,
                       size_t *ret_count)
{
    if (json_type(list) == JSON_NONE)
        return 0;
    if (json_type(list) != JSON_ARRAY_T || json_len(list) == 0 || json_len(list) > max)
        return -ERR_INVAL;
    for (size_t i = 0; i < json_len(list); i++) {
        struct str word = json_str(json_at(list, i));

        if (word.len == 0 || word.len > len_max)
            return -ERR_INVAL;
        ret[i] = copy(word);
        if (!ret[i])
            return -ERR_NOMEM;
        *ret_count = i + 1;
    }
    return 0;
}

static bool url_ok(struct str url)
{
    if (!str_starts(url, STR("http://")) && !str_starts(url, STR("https://")))
        return false;
    for (size_t i = 0; i < url.len; i++)
        if (url.at[i] <= ' ' || url.at[i] > '~')
            return false;
    return url.len <= WEBHOOK_URL_MAX;
}

static int known_key(struct str key, const struct json *value, void *arg)
{
    static const char *const keys[] = {"name",    "url",  "secret", "repositories",
                                       "actions", "from", "as"};

    (void)value, (void)arg;
    for (size_t i = 0; i < ARRAY_LEN(keys); i++)
        if (str_eq(key, str_of(keys[i])))
            return 0;
    return -ERR_INVAL;
}

static int parse_lists(const struct json *node, size_t i, struct webhook *w,
                       struct err_detail *detail)
{
    int e = parse_words(json_get(node, "repositories"), WEBHOOK_GLOBS_MAX, GLOB_MAX,
                        w->repositories, &w->repository_count);

    if (e == -ERR_INVAL)
        return wrong(detail, i, "repositories must be a list of globs");
    if (e == 0)
        e = parse_words(json_get(node, "actions"), WEBHOOK_ACTIONS_MAX, KEYS_WORD_MAX, w->actions,
                        &w->action_count);
    return e == -ERR_INVAL ? wrong(detail, i, "actions must be a list of words") : e;
}

/* In whose place it listens, described as to `stowage policy explain`. */
static int parse_as(const struct json *node, size_t i, struct webhook *w, struct err_detail *detail)
{
    const struct json *as = json_get(node, "as");
    struct str who = json_str(as);
    int e;

    w->judged = as != NULL;
    if (!as)
        return 0;
    e = who.len == 0 ? -ERR_INVAL : policy_caller(who, &w->caller, NULL);
    return e == -ERR_INVAL ? wrong(detail, i, "as must describe a caller") : e;
}

static int parse_one(const struct json *node, size_t i, struct webhook *w,
                     struct err_detail *detail)
{
    struct str name = json_str(json_get(node, "name")), url = json_str(json_get(node, "url"));
    struct str secret = json_str(json_get(node, "secret")), from = json_str(json_get(node, "from"));
    int e;

    if (json_type(node) != JSON_OBJECT_T || json_each(node, known_key, NULL) < 0)
        return wrong(detail, i, "it has a key that means nothing");
    if (!keys_word_valid(name))
        return wrong(detail, i, "name must be lower-case letters, digits and '-', at most 64");
    if (!url_ok(url))
        return wrong(detail, i, "url must be http://... or https://...");
    if (secret.len > WEBHOOK_SECRET_MAX || (json_get(node, "secret") && secret.len == 0))
        return wrong(detail, i, "secret must be a text of at most 1,024 bytes");
    if (json_get(node, "from") && !str_eq(from, STR("start")) && !str_eq(from, STR("now")))
        return wrong(detail, i, "from must be \"start\" or \"now\"");
    memcpy(w->name, name.at, name.len);
    w->url = copy(url);
    w->secret = copy(secret);
    w->from_start = str_eq(from, STR("start"));
    if (!w->url || !w->secret)
        return -ERR_NOMEM;
    e = parse_as(node, i, w, detail);
    return e < 0 ? e : parse_lists(node, i, w, detail);
}

int webhooks_parse(struct str text, struct webhook_list *ret, struct err_detail *detail)
{
    struct json_doc *doc auto_json = NULL;
    const struct json *list;
    int e = json_parse(text, &doc, detail);

    if (e < 0)
        return e;
    list = json_get(json_root(doc), "targets");
    if (json_type(list) != JSON_ARRAY_T || json_len(json_root(doc)) != 1)
        return err_set(detail, -ERR_INVAL, "webhooks: {\"targets\":[...]} is wanted");
    if (json_len(list) > WEBHOOKS_MAX)
        return err_set(detail, -ERR_INVAL, "webhooks: at most %d targets", WEBHOOKS_MAX);
    for (size_t i = 0; e == 0 && i < json_len(list); i++) {
        ret->count = i + 1;
        e = parse_one(json_at(list, i), i, &ret->at[i], detail);
        for (size_t k = 0; e == 0 && k < i; k++)
            if (strcmp(ret->at[k].name, ret->at[i].name) == 0)
                e = wrong(detail, i, "another one has this name");
    }
    return e;
}

void webhook_list_done(struct webhook_list *l)
{
    for (size_t i = 0; i < l->count; i++) {
        struct webhook *w = &l->at[i];

        login_unref(w->caller);
        free(w->url);
        if (w->secret)
            explicit_bzero(w->secret, strlen(w->secret));
        free(w->secret);
        for (size_t k = 0; k < w->repository_count; k++)
            free(w->repositories[k]);
        for (size_t k = 0; k < w->action_count; k++)
            free(w->actions[k]);
    }
    *l = (struct webhook_list){.count = 0};
}

bool webhook_wants(const struct webhook *w, struct str repo, struct str action)
{
    bool repo_ok = w->repository_count == 0, action_ok = w->action_count == 0 || action.len == 0;

    for (size_t i = 0; i < w->repository_count && !repo_ok; i++)
        repo_ok = glob_match(str_of(w->repositories[i]), repo);
    for (size_t i = 0; i < w->action_count && !action_ok; i++)
        action_ok = str_eq(str_of(w->actions[i]), action);
    return repo_ok && action_ok;
}
