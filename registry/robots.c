/* One reader or writer of the log at a time; the others wait for it, without a lock held. */
#include "registry/robots.h"

#include <stdlib.h>

#include "base/clock.h"
#include "base/enc.h"
#include "base/thread.h"
#include "blobstore/keys.h"
#include "blobstore/objlog.h"

#define TRIES_MAX 8
#define OPS_MAX   (16u << 10)

struct robots_log {
    struct objlog *log;
    struct robots *table;
    struct mutex mu;
    struct cond free;
    bool busy;             /* guarded by mu */
    struct objlog_pos pos; /* of whoever is busy */
};

int robots_log_new(struct node *node, struct robots_log **ret)
{
    struct objlog_spec spec = {STR(KEYS_ROBOTS), STR(KEYS_ROBOTS), true, STORE_LOG};
    struct robots_log *l = calloc(1, sizeof(*l));
    int e;

    if (!l)
        return -ERR_NOMEM;
    mutex_init(&l->mu);
    cond_init(&l->free);
    e = objlog_new(node, &spec, &l->log);
    if (e == 0)
        e = robots_new(&l->table);
    if (e < 0) {
        robots_log_free(l);
        return e;
    }
    *ret = l;
    return 0;
}

void robots_log_free(struct robots_log *l)
{
    if (!l)
        return;
    objlog_free(l->log);
    robots_free(l->table);
    cond_done(&l->free);
    mutex_done(&l->mu);
    free(l);
}

struct robots *robots_log_table(struct robots_log *l)
{
    return l->table;
}

static void take(struct robots_log *l)
{
    mutex_lock(&l->mu);
    while (l->busy)
        cond_wait(&l->free, &l->mu);
    l->busy = true;
    mutex_unlock(&l->mu);
}

static void give(struct robots_log *l)
{
    mutex_lock(&l->mu);
    l->busy = false;
    cond_signal(&l->free);
    mutex_unlock(&l->mu);
}

static int apply(const struct objlog_entry *e, void *arg)
{
    struct robots_log *l = arg;
    int r = 0;

    for (size_t i = 0; i < json_len(e->ops) && r == 0; i++)
        r = robots_apply(l->table, json_at(e->ops, i), e->ts);
    return r;
}

static int follow(struct robots_log *l, struct err_detail *detail)
{
    return objlog_probe(l->log, l->pos.seq) == 0 ? 0
                                                 : objlog_follow(l->log, &l->pos, apply, l, detail);
}

int robots_log_refresh(struct robots_log *l, struct err_detail *detail)
{
    int e;

    take(l);
    e = follow(l, detail);
    give(l);
    return e;
}

/* Commits one operation. check, on the newest table, may refuse. */
static int commit(struct robots_log *l, struct str ops,
                  int (*check)(struct robots_log *l, void *arg, struct err_detail *detail),
                  void *arg, struct err_detail *detail)
{
    int e = -ERR_EXISTS;

    take(l);
    for (int i = 0; e == -ERR_EXISTS && i < TRIES_MAX; i++) {
        int64_t validated_ms = clock_boot_ms();

        e = objlog_follow(l->log, &l->pos, apply, l, detail);
        if (e == 0)
            e = check(l, arg, detail);
        if (e == 0) {
            struct objlog_pos before = l->pos;

            e = objlog_append(l->log, &l->pos, ops, STR_NONE, validated_ms, NULL, detail);
            l->pos = before; /* the entry is read like anybody's */
        }
    }
    if (e == 0)
        e = objlog_follow(l->log, &l->pos, apply, l, detail);
    give(l);
    return e == -ERR_EXISTS ? -ERR_UNAVAIL : e;
}

static int check_room(struct robots_log *l, void *arg, struct err_detail *detail)
{
    (void)arg;
    return robots_count(l->table) < ROBOTS_MAX
               ? 0
               : err_set(detail, -ERR_LIMIT, "there are %d API keys; revoke some", ROBOTS_MAX);
}

int robots_log_create(struct robots_log *l, const struct robot_order *order, char ret_id[],
                      char ret_key[ROBOT_KEY_MAX], struct err_detail *detail)
{
    struct buf ops auto_buf = BUF_INIT(OPS_MAX);
    struct jw w = JW_INIT(&ops);
    struct robot robot;
    char *scopes auto_free = NULL;
    int e;

    if (!robot_name_valid(order->name))
        return err_set(detail, -ERR_INVAL,
                       "a key's name is lower-case letters, digits and \"-\", at most %d",
                       ROBOT_NAME_MAX);
    e = robot_scopes_check(order->scopes, detail);
    if (e < 0)
        return e;
    scopes = str_dup(order->scopes);
    if (!scopes)
        return -ERR_NOMEM;
    robot_make(&robot, ret_key);
    memcpy(robot.name, order->name.at, order->name.len);
    robot.name[order->name.len] = '\0';
    robot.scopes = scopes;
    robot.expires_ms = order->expires_ms;
    jw_begin(&w, '[');
    robot_add_create(&w, &robot, order->by, order->req);
    jw_end(&w, ']');
    e = buf_err(&ops);
    if (e == 0)
        e = commit(l, buf_str(&ops), check_room, NULL, detail);
    if (e == 0)
        memcpy(ret_id, robot.id, sizeof(robot.id));
    return e;
}

struct revoked {
    struct str id;
    struct buf *name;
    size_t before;
};

static int check_there(struct robots_log *l, void *arg, struct err_detail *detail)
{
    struct revoked *r = arg;

    buf_truncate(r->name, r->before);
    if (robots_has_id(l->table, r->id, r->name))
        return 0;
    return err_set(detail, -ERR_NOTFOUND, "there is no API key of this id");
}

int robots_log_revoke(struct robots_log *l, struct str id, struct str by, struct str req,
                      struct buf *ret_name, struct err_detail *detail)
{
    struct buf ops auto_buf = BUF_INIT(OPS_MAX);
    struct jw w = JW_INIT(&ops);
    struct revoked revoked = {id, ret_name, ret_name->len};

    if (id.len != ROBOT_ID_LEN || !utf8_valid(id))
        return err_set(detail, -ERR_NOTFOUND, "there is no API key of this id");
    jw_begin(&w, '[');
    robot_add_revoke(&w, id, by, req);
    jw_end(&w, ']');
    if (buf_err(&ops) < 0)
        return -ERR_NOMEM;
    return commit(l, buf_str(&ops), check_there, &revoked, detail);
}

static int add_robot(const struct robot *r, void *arg)
{
    struct jw *w = arg;
    char time[TIME_TEXT_MAX];

    jw_begin(w, '{');
    jw_kstr(w, "id", str_of(r->id));
    jw_kstr(w, "name", str_of(r->name));
    jw_kstr(w, "scopes", str_of(r->scopes));
    jw_kstr(w, "created", time_format_rfc3339(r->created_ms, time));
    jw_key(w, "expires");
    if (r->expires_ms)
        jw_str(w, time_format_rfc3339(r->expires_ms, time));
    else
        jw_null(w);
    jw_end(w, '}');
    return 0;
}

int robots_log_list(struct robots_log *l, struct buf *out, struct err_detail *detail)
{
    struct jw w = JW_INIT(out);
    int e = robots_log_refresh(l, detail);

    if (e < 0)
        return e;
    jw_begin(&w, '{');
    jw_key(&w, "robots");
    jw_begin(&w, '[');
    (void)robots_each(l->table, add_robot, &w);
    jw_end(&w, ']');
    jw_end(&w, '}');
    return buf_err(out);
}
