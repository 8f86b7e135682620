/* The node itself: ping (R20), extension discovery (R160), liveness, readiness, metrics. */
#include "base/json.h"
#include "base/log.h"
#include "base/metrics.h"
#include "registry/api.h"
#include "registry/api_common.h"

#define METRICS_BODY_MAX (256u << 10)

int api_ping(struct req *r)
{
    struct buf body auto_buf = BUF_INIT(8);

    buf_add(&body, STR("{}"));
    return req_reply_body(r, 200, "application/json", &body);
}

int api_discover(struct req *r)
{
    struct buf body auto_buf = BUF_INIT(4096);
    bool tag_history = req_app(r)->tag_history;

    buf_addf(&body,
             "{\"extensions\":[{\"name\":\"_oci\",\"url\":\"https://github.com/opencontainers/"
             "distribution-spec/blob/main/extensions/_oci.md\","
             "\"description\":\"Extension discovery%s\",\"endpoints\":[\"_oci/ext/discover\"%s]},"
             "{\"name\":\"_stowage\",\"url\":\"urn:stowage:http-api\","
             "\"description\":\"History of repositories\","
             "\"endpoints\":[\"_stowage/log\",\"_stowage/diff\",\"_stowage/revert\","
             "\"_stowage/repository\"]}]}",
             tag_history ? ", history of tags" : "",
             tag_history ? ",\"_oci/tag-history/<tag>\"" : "");
    return req_reply_body(r, 200, "application/json", &body);
}

int api_livez(struct req *r)
{
    struct buf body auto_buf = BUF_INIT(8);

    buf_add(&body, STR("ok\n"));
    return req_reply_body(r, 200, "text/plain; charset=utf-8", &body);
}

/* Ready means: the store answers and holds this registry, and its clock and ours agree. Alarms are
 * told but do not take the node out of service: what is damaged is read-only by itself. */
static int check_store(struct req *r, struct err_detail *why)
{
    struct buf key auto_buf = BUF_INIT(STORE_KEY_MAX);
    struct store_info info;
    int64_t now;
    int e;

    keys_format(&key);
    e = store_head(req_app(r)->store, buf_str(&key), &info, why);
    if (e == -ERR_NOTFOUND)
        return err_set(why, e, "the store holds no registry any more");
    return e < 0 ? e : node_now(req_app(r)->node, &now, why);
}

int api_readyz(struct req *r)
{
    struct buf body auto_buf = BUF_INIT(1024);
    struct err_detail why = {""};
    const char *alarms[LOG_ALARMS_MAX];
    size_t alarm_count = log_alarms(alarms);
    int e = check_store(r, &why);

    if (e < 0) {
        buf_addf(&body, "not ready: %s\n", why.text[0] ? why.text : err_text(e));
        req_add_header(r, "Retry-After", STR("1"));
        return req_reply_body(r, 503, "text/plain; charset=utf-8", &body);
    }
    buf_add(&body, STR("ok\n"));
    for (size_t i = 0; i < alarm_count; i++)
        buf_addf(&body, "alarm: %s (see the log)\n", alarms[i]);
    return req_reply_body(r, 200, "text/plain; charset=utf-8", &body);
}

int api_metrics(struct req *r)
{
    struct buf body auto_buf = BUF_INIT(METRICS_BODY_MAX);

    metrics_render(&body);
    return req_reply_body(r, 200, "text/plain; version=0.0.4; charset=utf-8", &body);
}
