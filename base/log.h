/* Logging: one line = one event, logfmt on stderr: ts=... level=... event=... k=v. Library code
 * logs nothing above debug except alarms. Never: secrets, credentials, query strings of sessions or
 * presigned URLs. Any thread. Example: log_info("blob.put", KV_S("digest", text), KV_I("bytes",
 * n)); */
#ifndef STOWAGE_BASE_LOG_H
#define STOWAGE_BASE_LOG_H

#include "base/attr.h"
#include "base/str.h"

enum log_level { LOG_DEBUG, LOG_INFO, LOG_WARN, LOG_ERROR };

struct log_kv {
    const char *key;
    struct str text;
    int64_t number;
    bool is_number;
};

#define KV_S(k, cstr) ((struct log_kv){(k), str_of(cstr), 0, false})
#define KV_V(k, str)  ((struct log_kv){(k), (str), 0, false})
#define KV_I(k, n)    ((struct log_kv){(k), STR_NONE, (int64_t)(n), true})
#define KV_END        ((struct log_kv){NULL, STR_NONE, 0, false})

#define log_at(level, event, ...)                                                                  \
    log_event((level), (event), (const struct log_kv[]){__VA_ARGS__, KV_END})
#define log_debug(event, ...) log_at(LOG_DEBUG, event, __VA_ARGS__)
#define log_info(event, ...)  log_at(LOG_INFO, event, __VA_ARGS__)
#define log_warn(event, ...)  log_at(LOG_WARN, event, __VA_ARGS__)
#define log_error(event, ...) log_at(LOG_ERROR, event, __VA_ARGS__)

void log_event(enum log_level level, const char *event, const struct log_kv *kv);
void log_set_level(enum log_level level); /* default LOG_INFO */
bool log_level_parse(struct str name, enum log_level *ret);
/* Alarms are kept for /readyz and counted: something is wrong that an operator must see. The event
 * is a literal; kv may be NULL. */
void log_alarm(const char *event, const struct log_kv *kv);
/* The different alarm events raised since the start, in order; returns their number. */
#define LOG_ALARMS_MAX 16
size_t log_alarms(const char *ret[LOG_ALARMS_MAX]);

#endif
