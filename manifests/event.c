#include "manifests/event.h"

#include <inttypes.h>
#include <stdio.h>

#include "base/enc.h"

#define ID_MAX      64
#define SUBJECT_MAX 1024
#define TYPE_PREFIX "stowage."

struct str event_action(const struct json *op)
{
    struct str word = json_str(json_get(op, "op"));

    return str_eq(word, STR("put")) ? STR("push") : word;
}

/* What a log keeps for itself: references and annotations may be large, and are in the manifest. */
static bool is_told(struct str key)
{
    static const char *const kept[] = {"op", "refs", "annotations", "ext", "foreign", "if", "set"};

    for (size_t i = 0; i < ARRAY_LEN(kept); i++)
        if (str_eq(key, str_of(kept[i])))
            return false;
    return key.len < EVENT_TYPE_MAX;
}

static int tell_member(struct str key, const struct json *value, void *arg)
{
    struct jw *w = arg;
    char name[EVENT_TYPE_MAX];

    if (!is_told(key))
        return 0;
    memcpy(name, key.at, key.len);
    name[key.len] = '\0';
    jw_key(w, name);
    if (json_type(value) == JSON_STRING_T) {
        jw_str(w, json_str(value));
    } else {
        json_dump(w->out, value);
        w->need_comma = true;
    }
    return buf_err(w->out);
}

static void tell_sets(struct jw *w, const struct json *sets)
{
    jw_key(w, "set");
    jw_begin(w, '[');
    for (size_t i = 0; i < json_len(sets); i++) {
        const struct json *one = json_at(sets, i), *digest = json_get(one, "digest");

        jw_begin(w, '{');
        jw_kstr(w, "tag", json_str(json_get(one, "tag")));
        jw_key(w, "digest");
        if (json_type(digest) == JSON_STRING_T)
            jw_str(w, json_str(digest));
        else
            jw_null(w);
        jw_end(w, '}');
    }
    jw_end(w, ']');
}

static void begin(struct jw *w, struct str registry, struct str repo, uint64_t seq, size_t i)
{
    struct buf source auto_buf = BUF_INIT(SUBJECT_MAX);
    char text[ID_MAX];

    buf_addf(&source, "urn:stowage:" STR_FMT ":" STR_FMT, STR_ARG(registry), STR_ARG(repo));
    jw_begin(w, '{');
    jw_kstr(w, "specversion", STR("1.0"));
    snprintf(text, sizeof(text), "%" PRIu64 ".%zu", seq, i);
    jw_kstr(w, "id", str_of(text));
    jw_kstr(w, "source", buf_str(&source));
}

/* The tag or digest that the operation is about, where it is one. */
static void tell_subject(struct jw *w, struct str repo, const struct json *op)
{
    struct buf subject auto_buf = BUF_INIT(SUBJECT_MAX);
    const struct json *tags = json_get(op, "tags"), *sets = json_get(op, "set");
    struct str digest = json_str(json_get(op, "digest")), tag = STR_NONE;

    if (json_len(tags) == 1)
        tag = json_str(json_at(tags, 0));
    else if (json_len(sets) == 1)
        tag = json_str(json_get(json_at(sets, 0), "tag"));
    buf_add(&subject, repo);
    if (tag.len || digest.len)
        buf_addf(&subject, "%c" STR_FMT, tag.len ? ':' : '@', STR_ARG(tag.len ? tag : digest));
    jw_kstr(w, "subject", buf_str(&subject));
}

static void middle(struct jw *w, struct str repo, uint64_t seq, size_t i)
{
    char text[ID_MAX];

    jw_kstr(w, "datacontenttype", STR("application/json"));
    snprintf(text, sizeof(text), "%020" PRIu64 ".%03zu", seq, i);
    jw_kstr(w, "sequence", str_of(text));
    jw_key(w, "data");
    jw_begin(w, '{');
    jw_kstr(w, "repository", repo);
    jw_kint(w, "seq", (int64_t)seq);
}

int event_render(struct str registry, struct str repo, const struct objlog_entry *e, size_t i,
                 struct buf *out)
{
    const struct json *op = json_at(e->ops, i);
    struct buf type auto_buf = BUF_INIT(EVENT_TYPE_MAX + sizeof(TYPE_PREFIX));
    struct jw w = JW_INIT(out);
    char time[TIME_TEXT_MAX];

    buf_add(&type, STR(TYPE_PREFIX));
    buf_add(&type, str_head(event_action(op), EVENT_TYPE_MAX));
    begin(&w, registry, repo, e->seq, i);
    jw_kstr(&w, "type", buf_str(&type));
    tell_subject(&w, repo, op);
    jw_kstr(&w, "time", time_format_rfc3339(e->ts, time));
    middle(&w, repo, e->seq, i);
    jw_kstr(&w, "action", event_action(op));
    if (json_each(op, tell_member, &w) < 0)
        return buf_err(out);
    if (json_type(json_get(op, "set")) == JSON_ARRAY_T)
        tell_sets(&w, json_get(op, "set"));
    jw_end(&w, '}');
    jw_end(&w, '}');
    return buf_err(out);
}

int event_render_unreadable(struct str registry, struct str repo, uint64_t seq, struct buf *out)
{
    struct jw w = JW_INIT(out);

    begin(&w, registry, repo, seq, 0);
    jw_kstr(&w, "type", STR(TYPE_PREFIX "unreadable"));
    jw_kstr(&w, "subject", repo);
    middle(&w, repo, seq, 0);
    jw_kstr(&w, "action", STR("unreadable"));
    jw_end(&w, '}');
    jw_end(&w, '}');
    return buf_err(out);
}
