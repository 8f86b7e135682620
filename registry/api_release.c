/* Several tags in one step (docs/http-api.md): what belongs together is released together. */
#include <stdlib.h>

#include "base/json.h"
#include "registry/api.h"
#include "registry/api_common.h"

/* The request, in the log's terms; texts are borrowed from the document. */
struct release {
    struct json_doc *doc;
    struct taglog_set *sets;
    struct str *tags;             /* of the sets */
    struct taglog_if *conditions; /* one for each set; match points into match */
    struct str *match;
    size_t count;
    bool removes;
    size_t at; /* the set that is being read */
    struct req *req;
};

static void release_done(struct release *l)
{
    free(l->sets);
    free(l->tags);
    free(l->conditions);
    free(l->match);
    json_doc_free(l->doc);
}

static int malformed(struct release *l, const char *what)
{
    return err_set(req_detail(l->req), -ERR_INVAL, "tags[%zu]: %s", l->at, what);
}

/* "if": the digest that the tag is on, "*" for any, null for none. */
static int read_condition(struct release *l, const struct json *value)
{
    struct taglog_if *c = &l->conditions[l->at];
    struct str text = json_str(value);
    struct digest d;

    l->sets[l->at].condition = c;
    if (json_type(value) == JSON_NULL_T) {
        c->absent = true;
    } else if (str_eq(text, STR("*"))) {
        c->present = true;
    } else if (text.at && digest_parse(text, &d) == 0) {
        l->match[l->at] = text;
        c->one_of = true;
        c->match = &l->match[l->at];
        c->match_count = 1;
    } else {
        return malformed(l, "\"if\" must be a digest, \"*\" or null");
    }
    return 0;
}

static int read_key(struct str key, const struct json *value, void *arg)
{
    struct release *l = arg;
    struct taglog_set *set = &l->sets[l->at];

    if (str_eq(key, STR("tag"))) {
        set->tag = l->tags[l->at] = json_str(value);
        return set->tag.at && tag_valid(set->tag) ? 0 : malformed(l, "the tag is malformed");
    }
    if (str_eq(key, STR("digest"))) {
        set->remove = json_type(value) == JSON_NULL_T;
        l->removes |= set->remove;
        if (set->remove || digest_parse(json_str(value), &set->digest) == 0)
            return 0;
        return err_set(req_detail(l->req), -ERR_DIGEST,
                       "tags[%zu]: the digest is malformed or of an algorithm not served", l->at);
    }
    if (str_eq(key, STR("if")))
        return read_condition(l, value);
    return err_set(req_detail(l->req), -ERR_INVAL, "tags[%zu]: there is no key \"" STR_FMT "\"",
                   l->at, STR_ARG(str_head(key, 100)));
}

static int read_sets(struct release *l, const struct json *list)
{
    int e = 0;

    for (l->at = 0; e == 0 && l->at < l->count; l->at++) {
        const struct json *row = json_at(list, l->at);

        e = json_type(row) == JSON_OBJECT_T ? json_each(row, read_key, l)
                                            : malformed(l, "not an object");
        if (e == 0 && (!l->sets[l->at].tag.at || !json_get(row, "digest")))
            e = malformed(l, "\"tag\" and \"digest\" (null: remove) must be there");
    }
    return e;
}

static int only_tags(struct str key, const struct json *value, void *arg)
{
    (void)value;
    if (str_eq(key, STR("tags")))
        return 0;
    return err_set(arg, -ERR_INVAL, "there is no key \"" STR_FMT "\"", STR_ARG(str_head(key, 100)));
}

static int read_release(struct req *r, struct release *l)
{
    const struct json *root, *list;
    int e = json_parse(req_body(r), &l->doc, req_detail(r));

    l->req = r;
    if (e < 0)
        return e;
    root = json_root(l->doc);
    list = json_get(root, "tags");
    e = json_each(root, only_tags, req_detail(r));
    if (e < 0)
        return e;
    l->count = json_len(list);
    if (json_type(list) != JSON_ARRAY_T || l->count == 0)
        return err_set(req_detail(r), -ERR_INVAL, "\"tags\" must be a list that is not empty");
    if (l->count > REPO_SETS_MAX)
        return err_set(req_detail(r), -ERR_TOOBIG, "more than %d tags in one step", REPO_SETS_MAX);
    l->sets = calloc(l->count, sizeof(*l->sets));
    l->tags = calloc(l->count, sizeof(*l->tags));
    l->conditions = calloc(l->count, sizeof(*l->conditions));
    l->match = calloc(l->count, sizeof(*l->match));
    return l->sets && l->tags && l->conditions && l->match ? read_sets(l, list) : -ERR_NOMEM;
}

/* Each tag by itself: who sets it needs the right to push it, who takes it away that to delete. */
static int may_set(struct req *r, const struct release *l)
{
    const struct app *app = req_app(r);
    struct str name = req_target(r)->name;
    int e = 0;

    if (l->removes && app->refuse.tag_delete)
        return err_set(req_detail(r), -ERR_UNSUPPORTED, "this registry does not delete tags");
    for (size_t i = 0; e == 0 && i < l->count; i++) {
        enum action action = l->sets[i].remove ? ACTION_DELETE : ACTION_PUSH;

        e = api_may(r, action, name, l->sets[i].tag);
    }
    return e;
}

int api_release(struct req *r)
{
    struct release l auto_of(release_done) = {.doc = NULL};
    struct repo *repo auto_repo = NULL;
    struct repo_refusal refusal = {.present = false};
    struct repo_who who = api_who(r);
    int e = read_release(r, &l);

    if (e == 0)
        e = may_set(r, &l);
    if (e == 0)
        e = api_override(r, l.tags, l.count, &who);
    if (e == 0)
        e = api_fresh_repo(r, req_target(r)->name, MAY_WAIT, &repo);
    if (e == 0 && !repo_exists(repo))
        e = -ERR_NOREPO;
    if (e < 0)
        return e;
    e = repo_set_tags(repo, l.sets, l.count, &who, &refusal, req_detail(r));
    if (e == -ERR_MISSING_REF) { /* named by the refusal: the tag and what it should be on */
        refusal.present = true;
        return api_reply_refused(r, -ERR_NOTFOUND, &refusal);
    }
    if (api_is_refusal(e, &refusal))
        return api_reply_refused(r, e, &refusal);
    return e < 0 ? e : req_reply_empty(r, 204);
}
