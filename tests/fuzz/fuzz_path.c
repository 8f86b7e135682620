/* Input: one byte that picks the method, then the raw path of a request. */
#include "base/enc.h"
#include "fuzz.h"
#include "manifests/name.h"
#include "registry/route.h"

#define METHODS 7

static bool of_repository(enum resource r)
{
    return r == RESOURCE_REPO_DISCOVER || r == RESOURCE_MANIFEST || r == RESOURCE_BLOB ||
           r == RESOURCE_UPLOADS || r == RESOURCE_UPLOAD || r == RESOURCE_TAGS ||
           r == RESOURCE_REFERRERS || r == RESOURCE_TAG_HISTORY || r == RESOURCE_LOG ||
           r == RESOURCE_DIFF || r == RESOURCE_REVERT || r == RESOURCE_REPOSITORY;
}

static bool has_reference(enum resource r)
{
    return r == RESOURCE_MANIFEST || r == RESOURCE_BLOB || r == RESOURCE_UPLOAD ||
           r == RESOURCE_REFERRERS || r == RESOURCE_TAG_HISTORY;
}

static void check_target(const struct target *t)
{
    assert(of_repository(t->resource) == (t->name.len > 0));
    assert(has_reference(t->resource) == (t->reference.len > 0));
    if (t->name.len) {
        assert(t->shown.at == t->text && name_valid(t->shown) && name_valid(t->name));
        assert(t->past ? str_ends(t->shown, t->name) : str_eq(t->shown, t->name));
        assert(t->past == name_reserved(t->shown));
        assert(t->shown.len + t->reference.len <= ROUTE_TEXT_MAX);
    }
    assert(str_find(t->reference, '/') < 0 && !fuzz_has_nul(t->reference));
    assert(!str_eq(t->reference, STR(".")) && !str_eq(t->reference, STR("..")));
}

/* The path that the target stands for, with everything escaped that can be. */
static void write_path(const struct target *t, struct buf *out)
{
    static const char *const tails[] = {
        [RESOURCE_REPO_DISCOVER] = "/_oci/ext/discover",
        [RESOURCE_MANIFEST] = "/manifests/",
        [RESOURCE_BLOB] = "/blobs/",
        [RESOURCE_UPLOADS] = "/blobs/uploads/",
        [RESOURCE_UPLOAD] = "/blobs/uploads/",
        [RESOURCE_TAGS] = "/tags/list",
        [RESOURCE_REFERRERS] = "/referrers/",
        [RESOURCE_TAG_HISTORY] = "/_oci/tag-history/",
        [RESOURCE_LOG] = "/_stowage/log",
        [RESOURCE_DIFF] = "/_stowage/diff",
        [RESOURCE_REVERT] = "/_stowage/revert",
        [RESOURCE_REPOSITORY] = "/_stowage/repository",
    };

    buf_add(out, STR("/v2/"));
    buf_add(out, t->shown);
    buf_add(out, str_of(tails[t->resource]));
    url_encode(out, t->reference, NULL);
}

static void check_round_trip(const struct target *t, enum method method)
{
    struct buf path auto_buf = BUF_INIT(2 * ROUTE_PATH_MAX);
    static struct target again;

    if (!of_repository(t->resource))
        return;
    write_path(t, &path);
    assert(buf_err(&path) == 0);
    if (path.len > ROUTE_PATH_MAX)
        return;
    assert(route_resolve(buf_str(&path), method, &again, NULL) == 0);
    assert(again.resource == t->resource && again.route == t->route);
    assert(str_eq(again.name, t->name) && again.past == t->past && again.past_ms == t->past_ms &&
           str_eq(again.reference, t->reference));
}

static void check_decoding(struct str raw)
{
    struct buf plain auto_buf = BUF_INIT(FUZZ_INPUT_MAX);
    struct buf escaped auto_buf = BUF_INIT(3 * FUZZ_INPUT_MAX);
    struct buf again auto_buf = BUF_INIT(FUZZ_INPUT_MAX);
    int r = url_decode(&plain, raw, false);

    if (fuzz_has_nul(raw))
        return;
    assert(r == 0 || r == -ERR_INVAL);
    if (r < 0)
        return;
    assert(plain.len <= raw.len && !fuzz_has_nul(buf_str(&plain)));
    url_encode(&escaped, buf_str(&plain), "/");
    assert(url_decode(&again, buf_str(&escaped), true) == 0);
    assert(str_eq(buf_str(&again), buf_str(&plain)));
}

void fuzz_one(struct str input)
{
    enum method method = (enum method)(fuzz_u8(&input) % METHODS);
    struct buf allow auto_buf = BUF_INIT(256);
    struct err_detail detail = {{0}};
    static struct target t;
    int r = route_resolve(input, method, &t, &detail);

    check_decoding(input);
    assert(t.v2 == (str_eq(input, STR("/v2")) || str_starts(input, STR("/v2/"))));
    assert(r == 0 || r == -ERR_NOTFOUND || r == -ERR_INVAL || r == -ERR_UNSUPPORTED ||
           r == -ERR_TIME || r == -ERR_NOREPO);
    assert((r < 0) == (detail.text[0] != '\0'));
    if (r == -ERR_UNSUPPORTED) {
        assert(t.resource != RESOURCE_NONE);
        route_allow(t.resource, &allow);
        assert(allow.len > 0);
    }
    if (r < 0)
        return;
    assert(t.route && t.route->resource == t.resource);
    assert(t.route->method == method || (method == METHOD_HEAD && t.route->method == METHOD_GET));
    assert(method <= METHOD_HEAD || t.name.len == 0 || !name_reserved(t.name));
    check_target(&t);
    check_round_trip(&t, method);
}
