/* Path grammar -> resource, name, reference -> route (R1-R15). 404 and 405 are decided here only.
 * Pure but for the table; any thread. */
#ifndef STOWAGE_REGISTRY_ROUTE_H
#define STOWAGE_REGISTRY_ROUTE_H

#include "auth/access.h"
#include "base/buf.h"

struct req;

enum method {
    METHOD_GET,
    METHOD_HEAD,
    METHOD_POST,
    METHOD_PUT,
    METHOD_PATCH,
    METHOD_DELETE,
    METHOD_OTHER
};

enum resource {
    RESOURCE_NONE,
    RESOURCE_PING,
    RESOURCE_CATALOG,
    RESOURCE_DISCOVER,
    RESOURCE_REPO_DISCOVER,
    RESOURCE_MANIFEST,
    RESOURCE_BLOB,
    RESOURCE_UPLOADS,
    RESOURCE_UPLOAD,
    RESOURCE_TAGS,
    RESOURCE_REFERRERS,
    RESOURCE_SETTINGS,
    RESOURCE_RELEASE,
    RESOURCE_EVENTS,
    RESOURCE_TAG_HISTORY,
    RESOURCE_LOG,
    RESOURCE_DIFF,
    RESOURCE_REVERT,
    RESOURCE_REVERT_UNDER,
    RESOURCE_REPOSITORY,
    RESOURCE_LIVEZ,
    RESOURCE_READYZ,
    RESOURCE_METRICS,
    RESOURCE_TOKEN,
    RESOURCE_TOKEN_KEYS,
    RESOURCE_ROBOTS,
    RESOURCE_ROBOT
};

enum body_kind { BODY_NONE, BODY_MEM, BODY_STREAM };

struct route {
    enum resource resource;
    enum method method;
    enum action action;
    enum body_kind body;
    size_t body_max; /* BODY_MEM */
    int (*fast)(struct req *r);
    int (*run)(struct req *r);
    int (*begin)(struct req *r);
    int (*data)(struct req *r, struct str bytes);
    void (*gone)(struct req *r);
};

#define ROUTE_PATH_MAX 4096 /* raw path bytes that are looked at; longer is NAME_INVALID (R2) */
#define ROUTE_TEXT_MAX 1536 /* decoded name and reference together */

/* What a path means. name and reference point into text. */
struct target {
    enum resource resource;
    const struct route *route;
    struct str name;  /* valid by R1, R2 when the resource belongs to a repository; the real
                         one, also where the path names a view of the past */
    struct str shown; /* the name as the path has it, at-... included */
    bool past;        /* a view: as it was at past_ms */
    int64_t past_ms;
    struct str reference; /* tag, digest or session id as given, not yet checked */
    bool v2;              /* the path is below /v2/ */
    char text[ROUTE_TEXT_MAX];
};

/* Nothing resolved yet; leaves text as it is. */
static inline void target_init(struct target *t)
{
    t->resource = RESOURCE_NONE;
    t->route = NULL;
    t->name = t->shown = t->reference = STR_NONE;
    t->past = false;
    t->past_ms = 0;
    t->v2 = false;
}

/* 0; -ERR_NOTFOUND (no such path), -ERR_INVAL (name or escape malformed: NAME_INVALID),
 * -ERR_UNSUPPORTED (405: ret->resource is set, Allow by route_allow). ret->v2 is right in every
 * case. Names of views of the past (at-20261122t075000z/<name>, and that alone before _catalog) are
 * taken apart; they refuse writes with -ERR_UNSUPPORTED, too, and other resources than manifests,
 * blobs, tags, referrers and the catalog with -ERR_NOTFOUND. -ERR_TIME: there is no such time. */
int route_resolve(struct str raw_path, enum method method, struct target *ret,
                  struct err_detail *detail) must_check;
/* "GET, HEAD, PUT" of the resource. */
void route_allow(enum resource resource, struct buf *out);

#endif
