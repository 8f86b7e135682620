/* Log lines and alarms. State: the level, and the table of alarm names raised since the start; both
 * atomic. A line is built on the stack and leaves by one write, so lines of different threads do
 * not mix. */
#include <assert.h>
#include <errno.h>
#include <stdatomic.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/enc.h"
#include "base/log.h"
#include "base/metrics.h"

#define LOG_LINE_MAX  4096
#define LOG_VALUE_MAX 1024 /* bytes of a value that are shown */
#define LOG_FD        2

/* Digests have 64 or 128 hexadecimal digits. What is longer than the first and not the second lets
 * its owner do something: the id of an upload session, a key, a cursor. It is shown without its
 * end, so that lines about one thing can still be found. */
#define LOG_DIGEST_SHORT 64
#define LOG_DIGEST_LONG  128
#define LOG_RUN_SHOWN    44

static const char *const level_names[] = {"debug", "info", "warn", "error"};

static atomic_int level_min = LOG_INFO;
static _Atomic(const char *) alarms[LOG_ALARMS_MAX];

/* The line under construction. Its end is kept free for the line feed. */
struct line {
    char at[LOG_LINE_MAX];
    size_t len;
};

static void put(struct line *l, struct str s)
{
    size_t room = sizeof(l->at) - 1 - l->len;
    size_t n = s.len < room ? s.len : room;

    if (n > 0)
        memcpy(l->at + l->len, s.at, n);
    l->len += n;
}

static bool needs_quotes(struct str s)
{
    size_t n;

    if (s.len == 0)
        return true;
    for (; s.len > 0; s = str_skip(s, n)) {
        unsigned char c = (unsigned char)s.at[0];

        n = utf8_step(s);
        if (n == 0 || c <= ' ' || c == '"' || c == '=' || c == '\\' || c == 0x7f)
            return true;
    }
    return false;
}

static void put_quoted(struct line *l, struct str s)
{
    size_t n;

    put(l, STR("\""));
    for (; s.len > 0; s = str_skip(s, n)) {
        unsigned char c = (unsigned char)s.at[0];

        n = utf8_step(s);
        if (c == '"' || c == '\\') {
            put(l, STR("\\"));
            put(l, str_head(s, 1));
        } else if (c == '\n') {
            put(l, STR("\\n"));
        } else if (n == 0 || c < ' ' || c == 0x7f) {
            char hex[3];

            n = 1;
            hex_encode(&c, 1, hex);
            put(l, STR("\\x"));
            put(l, str_of(hex));
        } else {
            put(l, str_head(s, n));
        }
    }
    put(l, STR("\""));
}

static size_t hex_run(struct str s)
{
    size_t n = 0;

    while (n < s.len && ((s.at[n] >= '0' && s.at[n] <= '9') || (s.at[n] >= 'a' && s.at[n] <= 'f')))
        n++;
    return n;
}

/* s without the ends of such runs; out is used where there are any. */
static struct str without_secrets(struct str s, char out[LOG_VALUE_MAX])
{
    struct str rest = s;
    size_t len = 0;

    if (s.len <= LOG_DIGEST_SHORT)
        return s;
    while (rest.len > 0) {
        size_t run = hex_run(rest), shown = run;

        if (run > LOG_DIGEST_SHORT && run != LOG_DIGEST_LONG)
            shown = LOG_RUN_SHOWN;
        memcpy(out + len, rest.at, shown);
        len += shown;
        if (shown < run) {
            memcpy(out + len, "...", 3);
            len += 3;
        }
        rest = str_skip(rest, run);
        if (rest.len > 0) {
            out[len++] = rest.at[0];
            rest = str_skip(rest, 1);
        }
    }
    return str_make(out, len);
}

static void put_value(struct line *l, struct str s)
{
    char clean[LOG_VALUE_MAX];
    bool cut = s.len > LOG_VALUE_MAX;

    s = without_secrets(str_head(s, LOG_VALUE_MAX), clean);
    if (needs_quotes(s))
        put_quoted(l, s);
    else
        put(l, s);
    if (cut)
        put(l, STR("..."));
}

static void put_number(struct line *l, int64_t v)
{
    char digits[20];
    size_t at = sizeof(digits);
    uint64_t rest = v < 0 ? (uint64_t)0 - (uint64_t)v : (uint64_t)v;

    do {
        digits[--at] = (char)('0' + rest % 10);
        rest /= 10;
    } while (rest);
    if (v < 0)
        put(l, STR("-"));
    put(l, str_make(digits + at, sizeof(digits) - at));
}

void log_event(enum log_level level, const char *event, const struct log_kv *kv)
{
    struct line l = {.len = 0};
    char time[TIME_TEXT_MAX];
    ssize_t n;

    assert(level >= LOG_DEBUG && level <= LOG_ERROR && event);
    if ((int)level < atomic_load_explicit(&level_min, memory_order_relaxed))
        return;
    put(&l, STR("ts="));
    put(&l, time_format_rfc3339(clock_wall_ms(), time));
    put(&l, STR(" level="));
    put(&l, str_of(level_names[level]));
    put(&l, STR(" event="));
    put_value(&l, str_of(event));
    for (; kv && kv->key; kv++) {
        put(&l, STR(" "));
        put(&l, str_of(kv->key));
        put(&l, STR("="));
        if (kv->is_number)
            put_number(&l, kv->number);
        else
            put_value(&l, kv->text);
    }
    l.at[l.len++] = '\n';
    do {
        n = write(LOG_FD, l.at, l.len);
    } while (n < 0 && errno == EINTR); /* nowhere to tell of any other failure */
}

void log_set_level(enum log_level level)
{
    assert(level >= LOG_DEBUG && level <= LOG_ERROR);
    atomic_store_explicit(&level_min, (int)level, memory_order_relaxed);
}

bool log_level_parse(struct str name, enum log_level *ret)
{
    for (size_t i = 0; i < ARRAY_LEN(level_names); i++) {
        if (str_eq(name, str_of(level_names[i]))) {
            *ret = (enum log_level)i;
            return true;
        }
    }
    return false;
}

/* Takes the first free place unless the name is there already. */
static void remember(const char *event)
{
    for (size_t i = 0; i < LOG_ALARMS_MAX; i++) {
        const char *there = atomic_load(&alarms[i]);

        if (!there && atomic_compare_exchange_strong(&alarms[i], &there, event))
            return;
        if (strcmp(there, event) == 0)
            return;
    }
}

void log_alarm(const char *event, const struct log_kv *kv)
{
    assert(event);
    metric_add(METRIC_alarms_total, 1);
    remember(event);
    log_event(LOG_ERROR, event, kv);
}

size_t log_alarms(const char *ret[LOG_ALARMS_MAX])
{
    size_t n = 0;

    for (; n < LOG_ALARMS_MAX; n++) {
        ret[n] = atomic_load(&alarms[n]);
        if (!ret[n])
            break;
    }
    return n;
}
