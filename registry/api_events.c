/* GET /v2/_stowage/events: what changed, as a stream of server-sent events or by long polls
 * (docs/http-api.md, events). Both are streams of one source: a reader of events. */
#include "base/clock.h"
#include "base/json.h"
#include "base/log.h"
#include "registry/admit.h"
#include "registry/api.h"
#include "registry/api_common.h"
#include "registry/http_stream.h"

#define BEAT_MS      15000           /* something is sent at least as often */
#define STREAM_MS    (3600 * 1000LL) /* then the client comes again, with its rights of then */
#define WAIT_MAX_S   60              /* of a poll */
#define READY_MS     20000           /* a poll that has to find its place first may take so long */
#define POLL_MAX     1000            /* events of one poll */
#define POLL_INITIAL 100
#define RETRY_MS     1000

struct watcher {
    struct events_reader *reader;
    struct stream *stream;
    struct access *access;
    struct identity identity; /* with a reference of its own */
    bool sse, begun;
    size_t max; /* events of a poll */
    int64_t deadline_ms, hard_ms, beat_ms;

    struct buf list, cursor; /* poll: events so far; sse: last cursor that was sent */
    size_t count;
};

static void watcher_free(void *self)
{
    struct watcher *w = self;

    events_close(w->reader);
    login_unref(w->identity.login);
    buf_done(&w->list);
    buf_done(&w->cursor);
    free(w);
}

static bool allowed(void *arg, struct str repo)
{
    const struct watcher *w = arg;
    const struct access_need need = {.action = ACTION_PULL, .repo = repo};

    return access_check(w->access, &w->identity, &need, NULL) == 0;
}

static void wake(void *arg)
{
    const struct watcher *w = arg;

    stream_wake(w->stream);
}

static void say_failed(int e, const struct err_detail *why)
{
    log_warn("events.step", KV_S("error", err_name(e)), KV_S("why", why->text));
}

/* ---- server-sent events */

struct sse {
    struct watcher *watcher;
    struct buf *out;
};

static void add_id(struct watcher *w, struct str cursor, struct buf *out)
{
    buf_add(out, STR("id: "));
    buf_add(out, cursor);
    buf_addc(out, '\n');
    buf_clear(&w->cursor);
    buf_add(&w->cursor, cursor);
}

static int add_sse(const struct event *e, void *arg)
{
    struct sse *s = arg;

    if (e->cursor.len)
        add_id(s->watcher, e->cursor, s->out);
    buf_add(s->out, STR("data: "));
    buf_add(s->out, e->text);
    buf_add(s->out, STR("\n\n"));
    return 0;
}

static int next_sse(struct watcher *w, struct buf *out, int64_t *ret_wake_ms)
{
    struct sse s = {w, out};
    struct err_detail why = {""};
    int64_t now = clock_boot_ms();
    struct str cursor;
    int e;

    if (!w->begun)
        buf_addf(out, "retry: %d\n\n", RETRY_MS);
    w->begun = true;
    e = events_step(w->reader, add_sse, &s, &why);
    if (e < 0)
        say_failed(e, &why);
    cursor = events_cursor(w->reader);
    if (cursor.len && !str_eq(cursor, buf_str(&w->cursor))) {
        add_id(w, cursor, out);
        buf_addc(out, '\n');
    }
    if (out->len == 0 && now >= w->beat_ms)
        buf_add(out, STR(":\n\n"));
    if (out->len > 0)
        w->beat_ms = now + BEAT_MS;
    *ret_wake_ms = e < 0 ? now + RETRY_MS : w->beat_ms;
    if (now >= w->deadline_ms)
        return STREAM_END;
    return e > 0 ? STREAM_MORE : STREAM_WAIT;
}

/* ---- long polls */

static int add_json(const struct event *e, void *arg)
{
    struct watcher *w = arg;

    if (w->count++ > 0)
        buf_addc(&w->list, ',');
    buf_add(&w->list, e->text);
    return w->count >= w->max;
}

static int next_poll(struct watcher *w, struct buf *out, int64_t *ret_wake_ms)
{
    struct jw jw = JW_INIT(out);
    struct err_detail why = {""};
    int64_t now = clock_boot_ms();
    int e = events_step(w->reader, add_json, w, &why);

    if (e < 0) {
        say_failed(e, &why);
        if (now >= w->deadline_ms)
            return e;
    } else if (w->count == 0 && now < w->hard_ms) {
        if (e > 0)
            return STREAM_MORE;
        if (now < w->deadline_ms || !events_caught_up(w->reader)) {
            *ret_wake_ms = now < w->deadline_ms ? w->deadline_ms : w->hard_ms;
            return STREAM_WAIT;
        }
    }
    if (e < 0 && w->count == 0) {
        *ret_wake_ms = now + RETRY_MS;
        return STREAM_WAIT;
    }
    if (!events_cursor(w->reader).len)
        return -ERR_UNAVAIL;
    jw_begin(&jw, '{');
    jw_key(&jw, "events");
    jw_begin(&jw, '[');
    buf_add(out, buf_str(&w->list));
    jw_end(&jw, ']');
    jw_kstr(&jw, "cursor", events_cursor(w->reader));
    jw_end(&jw, '}');
    return STREAM_END;
}

static int next(void *self, struct buf *out, int64_t *ret_wake_ms)
{
    struct watcher *w = self;

    return w->sse ? next_sse(w, out, ret_wake_ms) : next_poll(w, out, ret_wake_ms);
}

/* ---- the request */

static int query(struct req *r, const char *name, struct buf *out)
{
    int e = req_query(r, name, 0, false, out);

    if (e == -ERR_INVAL || e == -ERR_TOOBIG)
        return err_set(req_detail(r), -ERR_INVAL, "%s is malformed", name);
    return e == -ERR_NOTFOUND ? 0 : e;
}

static int query_number(struct req *r, const char *name, uint64_t max, uint64_t *ret)
{
    struct buf text auto_buf = BUF_INIT(QUERY_VALUE_MAX);
    uint64_t n;
    int e = query(r, name, &text);

    if (e < 0 || text.len == 0)
        return e;
    if (!str_u64(buf_str(&text), &n))
        return err_set(req_detail(r), -ERR_INVAL, "%s must be a number", name);
    *ret = n < max ? n : max;
    return 0;
}

static bool is_sse(struct str item)
{
    ptrdiff_t end = str_find(item, ';');

    item = end < 0 ? item : str_head(item, (size_t)end);
    while (item.len && (item.at[0] == ' ' || item.at[0] == '\t'))
        item = str_skip(item, 1);
    while (item.len && (item.at[item.len - 1] == ' ' || item.at[item.len - 1] == '\t'))
        item.len--;
    return str_eq_nocase(item, STR("text/event-stream"));
}

static bool wants_sse(struct req *r)
{
    struct str line;

    for (unsigned i = 0; (line = req_header_at(r, "Accept", i)).at; i++)
        for (ptrdiff_t comma = 0; comma >= 0; line = str_skip(line, (size_t)comma + 1)) {
            comma = str_find(line, ',');
            if (is_sse(comma < 0 ? line : str_head(line, (size_t)comma)))
                return true;
            if (comma < 0)
                break;
        }
    return false;
}

static int make_watcher(struct req *r, struct watcher **ret)
{
    struct watcher *w = calloc(1, sizeof(*w));
    uint64_t wait_s = 0, max = POLL_INITIAL;
    int64_t now = clock_boot_ms(), left_ms = INT64_MAX; /* until who asks is nobody any more */
    int e = w ? query_number(r, "wait", WAIT_MAX_S, &wait_s) : -ERR_NOMEM;

    if (e == 0)
        e = query_number(r, "n", POLL_MAX, &max);
    if (e < 0) {
        free(w);
        return e;
    }
    w->access = req_app(r)->access;
    w->identity = *req_identity(r);
    w->identity.login = login_ref(w->identity.login);
    w->sse = wants_sse(r);
    w->max = max ? (size_t)max : 1;
    w->list = BUF_INIT(STREAM_PIECE_MAX - (64u << 10));
    w->cursor = BUF_INIT(EVENT_CURSOR_MAX + 1);
    w->beat_ms = now + BEAT_MS;
    w->deadline_ms = now + (w->sse ? STREAM_MS : (int64_t)wait_s * 1000);
    if (w->identity.login && login_expiry(w->identity.login))
        left_ms = login_expiry(w->identity.login) - clock_wall_ms();
    if (left_ms < w->deadline_ms - now)
        w->deadline_ms = now + left_ms;
    w->hard_ms = w->deadline_ms > now + READY_MS ? w->deadline_ms : now + READY_MS;
    *ret = w;
    return 0;
}

static int refuse(struct req *r, struct str repo)
{
    struct err_detail why = *req_detail(r);

    return admit_refuse(r, ACTION_PULL, repo, why.text);
}

/* What a client asks for; a client that reconnects by itself names its cursor in a header. */
static int open_reader(struct req *r, struct watcher *w)
{
    struct buf repo auto_buf = BUF_INIT(QUERY_VALUE_MAX),
                    after auto_buf = BUF_INIT(QUERY_VALUE_MAX);
    struct events_spec spec = {.allowed = allowed, .wake = wake, .arg = w};
    struct str last = req_header(r, "Last-Event-ID");
    int e = query(r, "repository", &repo);

    if (e == 0)
        e = query(r, "after", &after);
    if (e < 0)
        return e;
    if (repo.len && !name_valid(buf_str(&repo)))
        return err_set(req_detail(r), -ERR_INVAL, "repository is no name of one");
    if (repo.len && admit_may(r, ACTION_PULL, buf_str(&repo), STR_NONE) < 0)
        return refuse(r, buf_str(&repo));
    spec.repo = buf_str(&repo);
    spec.after = last.len && w->sse ? last : buf_str(&after);
    return events_open(req_app(r)->events, &spec, &w->reader, req_detail(r));
}

int api_events(struct req *r)
{
    static const struct stream_source source = {.next = next, .free = watcher_free};
    struct watcher *w;
    struct stream *s;
    int e = make_watcher(r, &w);

    if (e < 0)
        return e;
    if (req_is_head(r)) {
        watcher_free(w);
        return req_reply_empty(r, 200);
    }
    e = stream_new(r, &source, w, &s);
    if (e < 0)
        return e;
    w->stream = s;
    e = open_reader(r, w);
    if (e < 0) {
        stream_drop(s);
        return e;
    }
    req_add_header(r, "Cache-Control", STR("no-store"));
    req_add_header(r, "X-Accel-Buffering", STR("no"));
    return req_reply_stream(r, 200, w->sse ? "text/event-stream" : "application/json", s);
}
