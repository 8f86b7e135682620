/* Paths are split on '/' first and decoded after (R11), and read from the right end, since
 * components of a name may themselves be called manifests, blobs or tags (R9). */
#include "registry/route.h"

#include <assert.h>

#include "base/enc.h"
#include "manifests/manifest.h"
#include "manifests/moment.h"
#include "manifests/name.h"
#include "manifests/settings.h"
#include "registry/api.h"
#include "registry/routes.def"

#define SEGMENTS_MAX 256
#define ROBOTS_PATH  "/auth/robots"

static const struct route routes[] = {
#define ROUTE_ROW(res, meth, act, kind, max, fast, run, begin, data, gone)                         \
    {RESOURCE_##res, METHOD_##meth, ACTION_##act, BODY_##kind, max, fast, run, begin, data, gone},
    ROUTES(ROUTE_ROW)
#undef ROUTE_ROW
};

static const char *const method_names[] = {"GET", "HEAD", "POST", "PUT", "PATCH", "DELETE"};

struct path {
    struct str at[SEGMENTS_MAX];
    size_t count;
};

static bool path_split(struct str raw, struct path *p)
{
    p->count = 0;
    raw = str_skip(raw, 1);
    for (;;) {
        ptrdiff_t slash = str_find(raw, '/');

        if (p->count == SEGMENTS_MAX)
            return false;
        p->at[p->count++] = slash < 0 ? raw : str_head(raw, (size_t)slash);
        if (slash < 0)
            return true;
        raw = str_skip(raw, (size_t)slash + 1);
    }
}

static bool seg_is(const struct path *p, size_t from_right, const char *word)
{
    return p->count > from_right && str_eq(p->at[p->count - 1 - from_right], str_of(word));
}

/* What other registries do not have lies below _stowage/. */
static enum resource own_resource(const struct path *p)
{
    if (seg_is(p, 0, "settings"))
        return RESOURCE_SETTINGS;
    if (seg_is(p, 0, "tags"))
        return RESOURCE_RELEASE;
    if (seg_is(p, 0, "log"))
        return RESOURCE_LOG;
    if (seg_is(p, 0, "diff"))
        return RESOURCE_DIFF;
    if (seg_is(p, 0, "revert"))
        return RESOURCE_REVERT;
    if (seg_is(p, 0, "repository"))
        return RESOURCE_REPOSITORY;
    return RESOURCE_NONE;
}

/* Resource of a path below /v2/, and how many segments at its right end are not the name. */
static enum resource resource_of(const struct path *p, size_t *ret_tail)
{
    size_t n = p->count; /* at[0] is "v2" */

    *ret_tail = n - 1;
    if (n == 1 || (n == 2 && p->at[1].len == 0))
        return RESOURCE_PING;
    if ((n == 2 || (n == 3 && name_reserved(p->at[1]))) && seg_is(p, 0, "_catalog")) {
        *ret_tail = 1;
        return RESOURCE_CATALOG;
    }
    if (n == 3 && seg_is(p, 0, "events") && seg_is(p, 1, "_stowage"))
        return RESOURCE_EVENTS;
    if (n == 3 && seg_is(p, 0, "revert") && seg_is(p, 1, "_stowage"))
        return RESOURCE_REVERT_UNDER;
    if (n >= 4 && seg_is(p, 0, "discover") && seg_is(p, 1, "ext") && seg_is(p, 2, "_oci")) {
        *ret_tail = 3;
        return n == 4 ? RESOURCE_DISCOVER : RESOURCE_REPO_DISCOVER;
    }
    if (n >= 5 && seg_is(p, 1, "tag-history") && seg_is(p, 2, "_oci")) {
        *ret_tail = 3;
        return RESOURCE_TAG_HISTORY;
    }
    *ret_tail = 2;
    if (n >= 4 && seg_is(p, 1, "_stowage"))
        return own_resource(p);
    if (n >= 4 && seg_is(p, 1, "manifests"))
        return RESOURCE_MANIFEST;
    if (n >= 5 && seg_is(p, 1, "uploads") && seg_is(p, 2, "blobs")) {
        *ret_tail = 3;
        return p->at[n - 1].len == 0 ? RESOURCE_UPLOADS : RESOURCE_UPLOAD;
    }
    if (n >= 4 && seg_is(p, 1, "blobs"))
        return seg_is(p, 0, "uploads") ? RESOURCE_UPLOADS : RESOURCE_BLOB;
    if (n >= 4 && seg_is(p, 1, "referrers"))
        return RESOURCE_REFERRERS;
    if (n >= 4 && seg_is(p, 1, "tags") && seg_is(p, 0, "list"))
        return RESOURCE_TAGS;
    if (n >= 4 && seg_is(p, 1, "_stowage"))
        return own_resource(p);
    return RESOURCE_NONE;
}

/* Appends the decoded segment; escapes may hide neither a separator nor an end nor a way out. */
static int add_segment(struct buf *out, struct str raw)
{
    size_t start = out->len;
    struct str plain;
    int r;

    if (raw.len == 0)
        return -ERR_INVAL;
    if (str_find(raw, '%') < 0) {
        buf_add(out, raw);
    } else {
        r = url_decode(out, raw, false);
        if (r < 0)
            return r;
    }
    if (buf_err(out))
        return buf_err(out);
    plain = str_skip(buf_str(out), start);
    if (str_find(plain, '/') >= 0 || (plain.len && memchr(plain.at, 0, plain.len)) ||
        str_eq(plain, STR(".")) || str_eq(plain, STR("..")))
        return -ERR_INVAL;
    return 0;
}

/* Decodes name and reference into ret->text. */
static int fill_target(const struct path *p, size_t tail, struct target *ret,
                       struct err_detail *detail)
{
    struct buf text auto_buf = BUF_INIT(ROUTE_TEXT_MAX);
    size_t name_len, first = 1, last = p->count - tail;
    bool has_reference = ret->resource == RESOURCE_MANIFEST || ret->resource == RESOURCE_BLOB ||
                         ret->resource == RESOURCE_UPLOAD || ret->resource == RESOURCE_REFERRERS ||
                         ret->resource == RESOURCE_TAG_HISTORY;
    int r = 0;

    for (size_t i = first; i < last && r == 0; i++) {
        if (i > first)
            buf_addc(&text, '/');
        r = add_segment(&text, p->at[i]);
    }
    name_len = text.len;
    if (buf_err(&text) == -ERR_NOMEM)
        return -ERR_NOMEM;
    if (r < 0 || !name_valid(buf_str(&text))) {
        ret->resource = RESOURCE_NONE; /* NAME_INVALID, whatever the resource */
        return err_set(detail, -ERR_INVAL,
                       "the repository name must be lower-case letters and digits with single "
                       "separators between them, at most %d bytes",
                       NAME_MAX_LEN);
    }
    if (has_reference)
        r = add_segment(&text, p->at[p->count - 1]);
    if (buf_err(&text) == -ERR_NOMEM)
        return -ERR_NOMEM;
    if (r < 0) {
        ret->resource = RESOURCE_NONE;
        return err_set(detail, -ERR_INVAL,
                       "the last part of the path is empty, too long, or holds an escape that may "
                       "not be there");
    }
    memcpy(ret->text, text.at, text.len);
    ret->name = ret->shown = str_make(ret->text, name_len);
    ret->reference = str_make(ret->text + name_len, text.len - name_len);
    return 0;
}

static int find_route(struct target *t, enum method method, struct err_detail *detail)
{
    enum method wanted = method == METHOD_HEAD ? METHOD_GET : method;

    for (size_t i = 0; i < ARRAY_LEN(routes); i++)
        if (routes[i].resource == t->resource && routes[i].method == wanted) {
            t->route = &routes[i];
            return 0;
        }
    return err_set(detail, -ERR_UNSUPPORTED, "the method is not supported on this path");
}

static enum resource resource_outside(struct str path)
{
    if (str_eq(path, STR("/livez")))
        return RESOURCE_LIVEZ;
    if (str_eq(path, STR("/readyz")))
        return RESOURCE_READYZ;
    if (str_eq(path, STR("/metrics")))
        return RESOURCE_METRICS;
    if (str_eq(path, STR("/auth/token")))
        return RESOURCE_TOKEN;
    if (str_eq(path, STR("/auth/jwks")))
        return RESOURCE_TOKEN_KEYS;
    if (str_eq(path, STR(ROBOTS_PATH)))
        return RESOURCE_ROBOTS;
    if (str_starts(path, STR(ROBOTS_PATH "/")))
        return RESOURCE_ROBOT;
    return RESOURCE_NONE;
}

/* A name of a view: what is asked about is the rest of it, at that time. */
static int take_view(struct target *t, struct err_detail *detail)
{
    ptrdiff_t slash = str_find(t->shown, '/');
    struct str component = slash < 0 ? t->shown : str_head(t->shown, (size_t)slash);
    bool of_catalog = t->resource == RESOURCE_CATALOG;

    if (t->route->method != METHOD_GET || t->resource == RESOURCE_UPLOAD)
        return err_set(detail, -ERR_UNSUPPORTED,
                       "names that start with a point in time are read-only views");
    if (!moment_of_component(component, &t->past_ms))
        return err_set(detail, -ERR_TIME, "there is no such time as " STR_FMT, STR_ARG(component));
    if ((slash < 0) != of_catalog)
        return err_set(detail, -ERR_NOREPO, "a view of the past goes before a repository's name");
    if (!of_catalog && t->resource != RESOURCE_MANIFEST && t->resource != RESOURCE_BLOB &&
        t->resource != RESOURCE_TAGS && t->resource != RESOURCE_REFERRERS &&
        t->resource != RESOURCE_REPO_DISCOVER)
        return err_set(detail, -ERR_NOTFOUND, "views of the past do not have this");
    t->name = of_catalog ? STR_NONE : str_skip(t->shown, (size_t)slash + 1);
    t->past = true;
    return 0;
}

int route_resolve(struct str raw, enum method method, struct target *ret, struct err_detail *detail)
{
    struct path p;
    size_t tail;
    int r;

    target_init(ret);
    ret->v2 = str_eq(raw, STR("/v2")) || str_starts(raw, STR("/v2/"));
    if (!ret->v2) {
        ret->resource = resource_outside(raw);
        if (ret->resource == RESOURCE_NONE)
            return err_set(detail, -ERR_NOTFOUND, "there is nothing at this path");
        if (ret->resource == RESOURCE_ROBOT) {
            struct str id = str_skip(raw, sizeof(ROBOTS_PATH));

            if (id.len > ROUTE_TEXT_MAX || str_find(id, '/') >= 0)
                return err_set(detail, -ERR_NOTFOUND, "there is nothing at this path");
            memcpy(ret->text, id.len ? id.at : "", id.len);
            ret->reference = str_make(ret->text, id.len);
        }
        return find_route(ret, method, detail);
    }
    if (raw.len > ROUTE_PATH_MAX || !path_split(raw, &p))
        return err_set(detail, -ERR_INVAL, "the path is too long");
    ret->resource = resource_of(&p, &tail);
    if (ret->resource == RESOURCE_NONE)
        return err_set(detail, -ERR_NOTFOUND, "there is nothing at this path");
    if (p.count > 1 + tail) {
        r = fill_target(&p, tail, ret, detail);
        if (r < 0)
            return r;
    }
    r = find_route(ret, method, detail);
    if (r < 0)
        return r;
    return ret->name.len && name_reserved(ret->name) ? take_view(ret, detail) : 0;
}

void route_allow(enum resource resource, struct buf *out)
{
    bool first = true;

    for (size_t i = 0; i < ARRAY_LEN(routes); i++) {
        if (routes[i].resource != resource)
            continue;
        buf_addf(out, "%s%s", first ? "" : ", ", method_names[routes[i].method]);
        if (routes[i].method == METHOD_GET)
            buf_add(out, STR(", HEAD"));
        first = false;
    }
}
