/* How sessions end by age, and what is removed of ended ones (docs/bucket-format.md section 7,
 * B17-B19). One node sweeps (registry/maint.c), but any number may at once: ends are log entries,
 * and what is removed is removed by a number that never comes again.
 *
 * Order of removal: leftovers of the stream, the data object no record names, then the entries from
 * the first to the last. Who reads in between finds no first entry of a session born more than a
 * day ago, so it is unknown, and the next sweep still finds the last entry, which says how the
 * session ended. */
#include <assert.h>

#include "base/clock.h"
#include "base/log.h"
#include "base/metrics.h"
#include "base/mutant.h"
#include "blobstore/upload_internal.h"

#define SWEEP_PAGE_KEYS   500u
#define SWEEP_STREAMS_MAX 1024u /* of one run; the next one goes on */

/* The entries of one session as a listing shows them. */
struct group {
    char id[KEYS_SESSION_LEN + 1];
    uint64_t first, last;
    int64_t modified_ms; /* of the last */
};

struct sweep {
    struct uploads *us;
    uploads_go_on_fn *go_on;
    void *arg;
};

static bool may_go_on(const struct sweep *s)
{
    return !s->go_on || s->go_on(s->arg);
}

struct page {
    struct group at[SWEEP_PAGE_KEYS + 1]; /* the first may be carried over from the page before */
    unsigned count, keys;
    struct buf last_key;
};

static void page_freep(struct page **page)
{
    if (*page)
        buf_done(&(*page)->last_key);
    free(*page);
}

static int page_add(struct str key, const struct store_info *info, void *arg)
{
    struct page *page = arg;
    struct group *g = page->count > 0 ? &page->at[page->count - 1] : NULL;
    struct str id;
    uint64_t seq;

    page->keys++;
    buf_clear(&page->last_key);
    buf_add(&page->last_key, key);
    if (buf_err(&page->last_key) < 0)
        return buf_err(&page->last_key);
    if (!keys_session_parse(key, &id, &seq))
        return 0;
    if (!g || !str_eq(str_of(g->id), id)) {
        assert(page->count < SWEEP_PAGE_KEYS + 1);
        g = &page->at[page->count++];
        *g = (struct group){.first = seq};
        memcpy(g->id, id.at, id.len);
    }
    g->last = seq;
    g->modified_ms = info->modified_ms;
    return 0;
}

/* ---- one session */

static int expire(struct uploads *us, struct objlog *log, struct upload_last *last, struct str id,
                  int64_t validated_ms)
{
    int r;

    if (upload_table_held(us, id)) /* a request of this node is writing */
        return 0;
    r = objlog_append(log, &last->pos, STR("[{\"op\":\"expire\"}]"), STR_NONE, validated_ms, NULL,
                      NULL);
    if (r == 0)
        metric_add(METRIC_upload_sessions_expired_total, 1);
    return r == -ERR_EXISTS ? 0 : r; /* it goes on, or another node ended it */
}

int upload_sweep_data(struct uploads *us, struct str id, const struct digest *d, unsigned g)
{
    struct buf key auto_buf = BUF_INIT(STORE_KEY_MAX);
    struct blob_info info;
    int r = blob_info_at(us->blobs, d, g, &info, NULL);

    if (r == 0 && str_eq(str_of(info.data_id), id) && !mutant("sweep-unlooked"))
        return 0;
    if (r < 0 && r != -ERR_NOTFOUND)
        return r;
    keys_data(&key, id);
    return buf_err(&key) < 0 ? buf_err(&key)
                             : store_remove(us->store, buf_str(&key), STORE_DATA, NULL);
}

static int sweep_stream(struct uploads *us, struct str id)
{
    struct buf key auto_buf = BUF_INIT(STORE_KEY_MAX);

    keys_data(&key, id);
    return buf_err(&key) < 0 ? buf_err(&key) : store_stream_sweep(us->store, buf_str(&key), NULL);
}

static int remove_ended(struct uploads *us, const struct group *g, const struct upload_last *last)
{
    struct buf prefix auto_buf = BUF_INIT(STORE_KEY_MAX);
    struct buf key auto_buf = BUF_INIT(STORE_KEY_MAX);
    int r = sweep_stream(us, str_of(g->id));

    if (r == 0 && last->end == UPLOAD_END_CLOSE)
        r = upload_sweep_data(us, str_of(g->id), &last->close.digest, last->close.g);
    keys_session(&prefix, str_of(g->id));
    for (uint64_t seq = g->first; r == 0 && seq <= g->last; seq++) {
        buf_clear(&key);
        keys_log_entry(&key, buf_str(&prefix), false, seq);
        r = buf_err(&key);
        if (r == 0)
            r = store_remove(us->store, buf_str(&key), STORE_UPLOAD, NULL);
    }
    return r;
}

static int sweep_session(struct uploads *us, const struct group *g)
{
    struct objlog *log auto_objlog = NULL;
    struct upload_last last = {.end = UPLOAD_END_NONE};
    int64_t validated_ms = clock_boot_ms(), now;
    int r = uploads_now(us, &now, NULL);

    if (r < 0 || now - g->modified_ms <= UPLOAD_IDLE_MS)
        return r;
    r = upload_log_new(us, str_of(g->id), &log);
    if (r == 0)
        r = upload_log_read_last(log, g->last, &last, NULL);
    if (r == -ERR_NOTFOUND) /* another node was faster */
        return 0;
    if (r < 0)
        return r;
    if (last.end == UPLOAD_END_NONE)
        return expire(us, log, &last, str_of(g->id), validated_ms);
    return now - g->modified_ms > UPLOAD_SWEEP_MS ? remove_ended(us, g, &last) : 0;
}

/* ---- all sessions, a page at a time */

/* One session that cannot be swept does not keep the others; the first error is told at the end.
 * -ERR_AGAIN: the sweep ends early. */
static int sweep_page(const struct sweep *s, const struct page *page, unsigned count, int *ret_err)
{
    for (unsigned i = 0; i < count; i++) {
        int r;

        if (!may_go_on(s))
            return -ERR_AGAIN;
        r = sweep_session(s->us, &page->at[i]);
        if (r < 0) {
            log_debug("upload.sweep", KV_S("error", err_name(r)));
            *ret_err = *ret_err < 0 ? *ret_err : r;
        }
    }
    return 0;
}

static int sweep_sessions(const struct sweep *s, struct err_detail *detail)
{
    struct page *page auto_of(page_freep) = calloc(1, sizeof(*page));
    struct buf after auto_buf = BUF_INIT(STORE_KEY_MAX);
    bool more = true;
    int err = 0;

    if (!page)
        return -ERR_NOMEM;
    page->last_key = BUF_INIT(STORE_KEY_MAX);
    while (more) {
        int r;

        page->keys = 0;
        r = store_list(s->us->store, STR(KEYS_UPLOADS), buf_str(&after), SWEEP_PAGE_KEYS, page_add,
                       page, detail);
        if (r < 0)
            return r;
        more = page->keys == SWEEP_PAGE_KEYS;
        buf_clear(&after);
        buf_add(&after, buf_str(&page->last_key));
        if (more && page->count > 0) { /* the last session's entries may go on */
            r = sweep_page(s, page, page->count - 1, &err);
            page->at[0] = page->at[page->count - 1];
            page->count = 1;
        } else {
            r = sweep_page(s, page, page->count, &err);
            page->count = 0;
        }
        if (r < 0 || buf_err(&after) < 0)
            return r < 0 ? r : buf_err(&after);
    }
    return err < 0 ? err_set(detail, err, "an upload session could not be swept") : 0;
}

/* ---- streams of sessions that never had an entry */

struct streams {
    char (*ids)[KEYS_SESSION_LEN + 1];
    unsigned count;
    int64_t before_ms;
};

static void streams_done(struct streams *s)
{
    free(s->ids);
}

static int streams_add(struct str key, const struct store_info *info, void *arg)
{
    struct streams *s = arg;
    struct str id;

    if (s->count < SWEEP_STREAMS_MAX && info->modified_ms < s->before_ms &&
        keys_data_parse(key, &id)) {
        memcpy(s->ids[s->count], id.at, id.len);
        s->count++;
    }
    return 0;
}

static int count_one(struct str key, const struct store_info *info, void *arg)
{
    (void)key;
    (void)info;
    *(bool *)arg = true;
    return 0;
}

/* A session with entries is swept with them. */
static int sweep_orphan(struct uploads *us, struct str id)
{
    struct buf prefix auto_buf = BUF_INIT(STORE_KEY_MAX);
    bool found = false;
    int r;

    keys_session(&prefix, id);
    buf_addc(&prefix, '/');
    if (buf_err(&prefix) < 0)
        return buf_err(&prefix);
    r = store_list(us->store, buf_str(&prefix), STR_NONE, 1, count_one, &found, NULL);
    if (r < 0 || found || upload_table_held(us, id))
        return r;
    return sweep_stream(us, id);
}

static int sweep_streams(const struct sweep *sweep, struct err_detail *detail)
{
    struct uploads *us = sweep->us;
    struct streams s auto_of(streams_done) = {.ids = calloc(SWEEP_STREAMS_MAX, sizeof(*s.ids))};
    int64_t now;
    int r = s.ids ? uploads_now(us, &now, detail) : -ERR_NOMEM;

    if (r < 0)
        return r;
    s.before_ms = now - UPLOAD_SWEEP_MS;
    r = store_stream_list(us->store, streams_add, &s, detail);
    for (unsigned i = 0; r == 0 && i < s.count; i++)
        r = may_go_on(sweep) ? sweep_orphan(us, str_of(s.ids[i])) : -ERR_AGAIN;
    return r;
}

int uploads_sweep(struct uploads *us, uploads_go_on_fn *go_on, void *arg, struct err_detail *detail)
{
    const struct sweep s = {us, go_on, arg};
    int sessions, streams;

    assert(us);
    uploads_trim(us);
    sessions = sweep_sessions(&s, detail);
    if (sessions == -ERR_AGAIN)
        return sessions;
    streams = sweep_streams(&s, sessions < 0 ? NULL : detail);
    return sessions < 0 ? sessions : streams;
}
