/* API keys by HTTP: list, make, revoke. */
#include "base/clock.h"
#include "base/json.h"
#include "base/log.h"
#include "registry/api.h"
#include "registry/api_common.h"
#include "registry/robots.h"

#define LIST_MAX  (4u << 20)
#define REPLY_MAX 8192

static int the_log(struct req *r, struct robots_log **ret)
{
    *ret = req_app(r)->robots;
    return *ret ? 0 : err_set(req_detail(r), -ERR_NOTFOUND, "this registry authenticates nobody");
}

int api_robots_get(struct req *r)
{
    struct buf body auto_buf = BUF_INIT(LIST_MAX);
    struct robots_log *l;
    int e = the_log(r, &l);

    if (e == 0)
        e = robots_log_list(l, &body, req_detail(r));
    return e < 0 ? e : req_reply_body(r, 200, "application/json", &body);
}

static int read_order(struct req *r, const struct json *root, struct robot_order *ret)
{
    int64_t seconds = 0;

    ret->name = json_str(json_get(root, "name"));
    ret->scopes = json_str(json_get(root, "scopes"));
    ret->by = str_of(req_identity(r)->name);
    ret->req = str_of(req_id(r));
    if (json_get(root, "expires_in") &&
        (!json_get_int(root, "expires_in", &seconds) || seconds <= 0 || seconds > ROBOT_LIFE_MAX_S))
        return err_set(req_detail(r), -ERR_INVAL, "expires_in is seconds, from 1 on");
    ret->expires_ms = seconds ? clock_wall_ms() + seconds * 1000 : 0;
    return 0;
}

int api_robots_post(struct req *r)
{
    struct buf body auto_buf = BUF_INIT(REPLY_MAX);
    struct json_doc *doc auto_json = NULL;
    struct robot_order order = {.name = STR_NONE};
    char id[ROBOT_ID_LEN + 1], key[ROBOT_KEY_MAX];
    struct jw w = JW_INIT(&body);
    struct robots_log *l;
    int e = the_log(r, &l);

    if (e == 0)
        e = json_parse(req_body(r), &doc, req_detail(r));
    if (e == 0)
        e = read_order(r, json_root(doc), &order);
    if (e == 0)
        e = robots_log_create(l, &order, id, key, req_detail(r));
    if (e < 0)
        return e;
    log_info("robot.created", KV_S("by", req_identity(r)->name), KV_S("id", id),
             KV_V("name", order.name));
    jw_begin(&w, '{');
    jw_kstr(&w, "id", str_of(id));
    jw_kstr(&w, "name", order.name);
    jw_kstr(&w, "key", str_of(key));
    jw_end(&w, '}');
    explicit_bzero(key, sizeof(key));
    req_add_header(r, "Cache-Control", STR("no-store"));
    return req_reply_body(r, 201, "application/json", &body);
}

int api_robot_delete(struct req *r)
{
    struct buf name auto_buf = BUF_INIT(LOGIN_NAME_MAX);
    struct robots_log *l;
    int e = the_log(r, &l);

    buf_add(&name, STR("robot:"));
    if (e == 0)
        e = robots_log_revoke(l, req_target(r)->reference, str_of(req_identity(r)->name),
                              str_of(req_id(r)), &name, req_detail(r));
    if (e < 0)
        return e;
    access_forget(req_app(r)->access, buf_c(&name));
    log_info("robot.revoked", KV_S("by", req_identity(r)->name),
             KV_V("id", req_target(r)->reference), KV_S("name", buf_c(&name)));
    return req_reply_empty(r, 204);
}
