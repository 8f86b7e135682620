/* Readers: old entries by their markers, then notices (manifests/events_hub.c).
 *
 * A reader of all that reaches the window (what is not sealed) notes the index of the next notice,
 * and reads the rest of the old entries up to the heads that the hub knows. From that index on
 * notices bring what comes; those of entries already told are left out. */
#include "manifests/events_internal.h"

#include <assert.h>

#include "base/clock.h"
#include "base/log.h"
#include "blobstore/keys.h"
#include "manifests/event.h"

#define NOTICES_STEP 256
#define TOLD_KEEP    (64u << 10)

/* ---- life */

int events_new(struct node *n, struct events **ret)
{
    struct events *ev = calloc(1, sizeof(*ev));
    int e;

    if (!ev)
        return -ERR_NOMEM;
    mutex_init(&ev->mu);
    cond_init(&ev->wake);
    ev->node = n;
    ev->notices = calloc(EVENTS_NOTICES_MAX, sizeof(*ev->notices));
    ev->dirty = calloc(DIRTY_MAX, sizeof(*ev->dirty));
    e = ev->notices && ev->dirty ? omap_new(free, &ev->active) : -ERR_NOMEM;
    if (e < 0) {
        events_free(ev);
        return e;
    }
    *ret = ev;
    return 0;
}

void events_free(struct events *ev)
{
    if (!ev)
        return;
    assert(!ev->readers);
    if (ev->started) {
        mutex_lock(&ev->mu);
        ev->stop = true;
        cond_broadcast(&ev->wake);
        mutex_unlock(&ev->mu);
        thread_join(&ev->thread);
    }
    omap_free(ev->active);
    free(ev->notices);
    free(ev->dirty);
    cond_done(&ev->wake);
    mutex_done(&ev->mu);
    free(ev);
}

static void free_reader(struct events_reader *r)
{
    omap_free(r->delivered);
    buf_done(&r->list_after);
    buf_done(&r->target_cursor);
    buf_done(&r->cursor);
    free(r);
}

static int register_reader(struct events_reader *r, struct err_detail *detail)
{
    struct events *ev = r->events;
    int e = 0;

    mutex_lock(&ev->mu);
    if (ev->reader_count >= EVENTS_READERS_MAX)
        e = err_set(detail, -ERR_BUSY, "%u readers of events are all that one node has",
                    EVENTS_READERS_MAX);
    if (e == 0) {
        r->next = ev->readers;
        r->at = &ev->readers;
        if (ev->readers)
            ev->readers->at = &r->next;
        ev->readers = r;
        ev->reader_count++;
        e = hub_start(ev);
        if (e < 0) {
            ev->readers = r->next;
            ev->reader_count--;
        }
    }
    mutex_unlock(&ev->mu);
    return e;
}

void events_close(struct events_reader *r)
{
    struct events *ev;

    if (!r)
        return;
    ev = r->events;
    mutex_lock(&ev->mu);
    *r->at = r->next;
    if (r->next)
        r->next->at = r->at;
    ev->reader_count--;
    mutex_unlock(&ev->mu);
    free_reader(r);
}

struct str events_cursor(const struct events_reader *r)
{
    return buf_str(&r->cursor);
}

bool events_caught_up(const struct events_reader *r)
{
    return r->reading != READ_OLD;
}

static int keep_cursor(struct events_reader *r, struct buf *to)
{
    buf_clear(to);
    return event_cursor_encode(r->events->node, r->repo, &r->place, to);
}

static int parse_after(struct events_reader *r, struct str after, struct err_detail *detail)
{
    uint64_t seq;

    if (!after.len)
        return 0;
    if (str_eq(after, STR("now"))) {
        r->from_now = true;
        return r->repo.len ? events_find_head(r->events, r->repo, 0, &r->place.seq, detail) : 0;
    }
    if (r->repo.len && after.len < 20 && str_u64(after, &seq)) {
        r->place.seq = seq;
        return 0;
    }
    return event_cursor_decode(r->events->node, r->repo, after, &r->place, detail);
}

int events_open(struct events *ev, const struct events_spec *spec, struct events_reader **ret,
                struct err_detail *detail)
{
    struct events_reader *r = calloc(1, sizeof(*r));
    int e;

    assert(spec->wake && spec->repo.len <= NAME_MAX_LEN);
    if (!r)
        return -ERR_NOMEM;
    r->events = ev;
    r->wake = spec->wake;
    r->allowed = spec->allowed;
    r->arg = spec->arg;
    r->target_cursor = r->cursor = BUF_INIT(EVENT_CURSOR_MAX + 2);
    r->list_after = BUF_INIT(STORE_KEY_MAX);
    memcpy(r->name, spec->repo.len ? spec->repo.at : "", spec->repo.len);
    r->repo = str_make(r->name, spec->repo.len);
    r->reading = r->repo.len ? READ_ONE : READ_OLD;
    e = omap_new(free, &r->delivered);
    if (e == 0)
        e = parse_after(r, spec->after, detail);
    if (e == 0 && !(r->from_now && !r->repo.len))
        e = keep_cursor(r, &r->cursor);
    if (e == 0)
        e = register_reader(r, detail);
    if (e < 0) {
        free_reader(r);
        return e;
    }
    *ret = r;
    return 0;
}

/* ---- one entry */

struct loaded {
    struct buf raw;
    struct json_doc *doc;
    struct objlog_entry entry;
    bool damaged;
};

static void loaded_done(struct loaded *l)
{
    buf_done(&l->raw);
    json_doc_freep(&l->doc);
}

#define LOADED_INIT ((struct loaded){.raw = BUF_INIT(OBJLOG_ENTRY_MAX)})

/* -ERR_NOTFOUND; a damaged entry is one, too. */
static int load(struct events *ev, struct str name, uint64_t seq, struct loaded *l,
                struct err_detail *detail)
{
    struct buf key auto_buf = BUF_INIT(STORE_KEY_MAX), prefix auto_buf = BUF_INIT(STORE_KEY_MAX);
    int e;

    json_doc_freep(&l->doc);
    if (l->raw.cap > TOLD_KEEP)
        buf_done(&l->raw);
    buf_clear(&l->raw);
    l->damaged = false;
    keys_repo(&prefix, name);
    keys_log_entry(&key, buf_str(&prefix), true, seq);
    e = buf_err(&key);
    if (e == 0)
        e = store_get(node_store(ev->node), buf_str(&key), 0, STORE_WHOLE, &l->raw, detail);
    if (e == 0)
        e = objlog_parse(buf_str(&l->raw), name, seq, &l->entry, &l->doc, detail);
    if (e != -ERR_CORRUPT && e != -ERR_TOOBIG && e != -ERR_IO)
        return e;
    log_warn("events.unreadable", KV_V("key", buf_str(&key)), KV_S("why", detail->text));
    l->damaged = true;
    l->entry = (struct objlog_entry){.seq = seq};
    return 0;
}

struct teller {
    events_fn fn;
    void *arg;
};

static int tell_damaged(struct events_reader *r, struct str name, const struct loaded *l,
                        const struct teller *t)
{
    struct buf text auto_buf = BUF_INIT(EVENT_TEXT_MAX);
    int e = event_render_unreadable(node_registry(r->events->node), name, l->entry.seq, &text);

    if (e == 0 && t->fn(&(struct event){buf_str(&text), STR("unreadable"), name, STR_NONE}, t->arg))
        r->told = EVENTS_STEP_BYTES;
    r->told += text.len;
    return e;
}

/* All events of an entry, then the place is behind it; cursor: how that is written, empty when it
 * is not known. */
static int tell(struct events_reader *r, struct str name, const struct loaded *l, struct str cursor,
                const struct teller *t)
{
    size_t count = l->damaged ? 0 : json_len(l->entry.ops);
    int e = 0, stop = 0;

    if (r->allowed && !r->allowed(r->arg, name))
        return 0;
    if (l->damaged)
        return tell_damaged(r, name, l, t);
    for (size_t i = 0; e == 0 && i < count; i++) {
        struct buf text auto_buf = BUF_INIT(EVENT_TEXT_MAX);
        struct event event = {.repo = name, .action = event_action(json_at(l->entry.ops, i))};

        e = event_render(node_registry(r->events->node), name, &l->entry, i, &text);
        if (e < 0)
            break;
        event.text = buf_str(&text);
        event.cursor = i + 1 == count ? cursor : STR_NONE;
        r->told += text.len;
        stop |= t->fn(&event, t->arg) != 0;
    }
    if (stop)
        r->told = EVENTS_STEP_BYTES;
    return e < 0 ? e : stop;
}

/* ---- one repository */

static int step_one(struct events_reader *r, const struct teller *t, struct err_detail *detail)
{
    struct loaded l auto_of(loaded_done) = LOADED_INIT;
    int e = 0;

    while (e == 0 && r->told < EVENTS_STEP_BYTES) {
        e = load(r->events, r->repo, r->place.seq + 1, &l, detail);
        if (e == -ERR_NOTFOUND)
            return 0;
        if (e < 0)
            return e;
        r->place.seq++;
        e = keep_cursor(r, &r->cursor);
        if (e == 0)
            e = tell(r, r->repo, &l, buf_str(&r->cursor), t);
    }
    return e < 0 ? e : 1;
}

/* ---- old entries of all */

static bool delivered(const struct events_reader *r, struct str name, const uint8_t *id,
                      uint64_t *ret)
{
    const uint64_t *seq = omap_get(r->delivered, name);

    if (seq) {
        *ret = *seq;
        return true;
    }
    for (size_t i = 0; i < r->place.pair_count; i++)
        if (memcmp(r->place.pairs[i].repo, id, EVENT_REPO_BYTES) == 0) {
            *ret = r->place.pairs[i].seq;
            return true;
        }
    return false;
}

/* In the window, where a repository was delivered up to is kept: all of it here, the newest of it
 * in the cursor. */
static int set_delivered(struct events_reader *r, struct str name, const uint8_t *id, uint64_t seq)
{
    struct event_cursor *c = &r->place;
    uint64_t *have = omap_get(r->delivered, name);
    size_t i = 0;

    if (!have) {
        have = malloc(sizeof(*have));
        if (!have || omap_put(r->delivered, name, have) < 0) {
            free(have);
            return -ERR_NOMEM;
        }
    }
    *have = seq;
    while (i < c->pair_count && memcmp(c->pairs[i].repo, id, EVENT_REPO_BYTES) != 0)
        i++;
    if (i == EVENT_PAIRS_MAX)
        i--;
    if (i == c->pair_count)
        c->pair_count++;
    memmove(c->pairs + 1, c->pairs, i * sizeof(c->pairs[0]));
    memcpy(c->pairs[0].repo, id, EVENT_REPO_BYTES);
    c->pairs[0].seq = seq;
    return 0;
}

/* An entry comes in the ten minutes of its time; one that came to light when these were sealed has
 * a marker of later ones. In the window one may come to light after its ten minutes were read here:
 * then a later marker, made ahead of the time, leads to it, and to leave it out there would lose
 * it, since its notice counts as told. */
static bool belongs(const struct events_reader *r, int64_t bucket, int64_t ts)
{
    int64_t start = events_bucket_start(bucket);
    int64_t from = r->in_window ? events_bucket_start(r->place.bucket) : start;

    return ts >= from ? ts < start + BUCKET_MS : ts < start - EVENTS_SEAL_MS;
}

struct marker {
    struct str name;
    int64_t bucket;
    uint64_t next, limit; /* entries to read */
    uint8_t id[EVENT_REPO_BYTES];
};

/* What lies between `before` and the marker's entry is of markers before it. In the window these
 * may have been read when the hub had not seen that yet; so there a repository goes on where it
 * was. */
static int read_window_marker(struct events_reader *r, struct marker *m)
{
    struct events *ev = r->events;
    const uint64_t *seq = omap_get(r->delivered, m->name);
    const struct active *a;

    if (seq)
        m->next = *seq + 1;
    mutex_lock(&ev->mu);
    a = omap_get(ev->active, m->name);
    if (a)
        m->limit = a->head;
    else if (m->bucket >= ev->window) /* the hub will come to it, and give notice */
        m->limit = 0;
    mutex_unlock(&ev->mu);
    return seq ? 0 : set_delivered(r, m->name, m->id, m->next - 1);
}

static int read_marker(struct events_reader *r, struct str key, struct marker *m,
                       struct err_detail *detail)
{
    struct events *ev = r->events;
    uint64_t before;
    int e = events_marker_seq(ev, key, &m->next, detail);

    if (e == -ERR_CORRUPT) {
        m->next = 1;
        e = 0;
    }
    if (e < 0)
        return e;
    m->limit = UINT64_MAX;
    event_repo(ev->node, m->name, m->id);
    if (delivered(r, m->name, m->id, &before) && before >= m->next)
        m->next = before + 1;
    if (r->in_window)
        return read_window_marker(r, m);
    if (m->bucket == r->place.bucket && r->place.seq >= m->next &&
        str_eq(m->name, str_of(r->place.name)))
        m->next = r->place.seq + 1;
    return 0;
}

static int advance(struct events_reader *r, const struct marker *m, uint64_t seq)
{
    if (r->in_window)
        return set_delivered(r, m->name, m->id, seq);
    r->place.bucket = m->bucket;
    memcpy(r->place.name, m->name.at, m->name.len);
    r->place.name[m->name.len] = '\0';
    r->place.seq = seq;
    return 0;
}

/* 0: all of it was told; 1: the step ends before. */
static int read_repo(struct events_reader *r, struct marker *m, const struct teller *t,
                     struct err_detail *detail)
{
    int64_t end = events_bucket_start(m->bucket) + BUCKET_MS;
    struct loaded l auto_of(loaded_done) = LOADED_INIT;
    int e = 0;

    while (e == 0 && m->next <= m->limit) {
        if (r->told >= EVENTS_STEP_BYTES)
            return 1;
        e = load(r->events, m->name, m->next, &l, detail);
        if (e == -ERR_NOTFOUND || (e == 0 && !l.damaged && l.entry.ts >= end))
            return 0;
        if (e == 0)
            e = advance(r, m, m->next++);
        if (e == 0)
            e = keep_cursor(r, &r->cursor);
        if (e == 0 && (l.damaged || belongs(r, m->bucket, l.entry.ts)))
            e = tell(r, m->name, &l, buf_str(&r->cursor), t);
    }
    return e;
}

struct page {
    struct buf keys; /* each behind its length */
    unsigned count;
};

static int add_key(struct str key, const struct store_info *info, void *arg)
{
    struct page *p = arg;

    (void)info;
    buf_add(&p->keys, str_make(&key.len, sizeof(key.len)));
    buf_add(&p->keys, key);
    p->count++;
    return buf_err(&p->keys);
}

/* From here on it is the hub that knows what there is. False: not yet. */
static bool enter_window(struct events_reader *r, int64_t window)
{
    struct events *ev = r->events;
    bool ready;

    mutex_lock(&ev->mu);
    ready = ev->ready;
    r->notice = ev->tail;
    mutex_unlock(&ev->mu);
    if (!ready)
        return false;
    r->in_window = true;
    r->place.bucket = window;
    r->place.name[0] = '\0';
    r->place.seq = 0;
    buf_clear(&r->list_after);
    events_marker_key(&r->list_after, window, STR_NONE);
    return true;
}

static void go_live(struct events_reader *r)
{
    struct events *ev = r->events;

    mutex_lock(&ev->mu);
    r->doubtful = ev->tail;
    mutex_unlock(&ev->mu);
    r->reading = READ_LIVE;
    r->target = 0;
}

/* One listing of markers and what they lead to. 1: go on, 0: wait for the hub, 2: live. */
static int step_page(struct events_reader *r, int64_t window, const struct teller *t,
                     struct err_detail *detail)
{
    struct page p = {.keys = BUF_INIT(STORE_LIST_MAX * (STORE_KEY_MAX + sizeof(size_t)))};
    struct str rest, key;
    bool stop = false;
    int e = store_list(node_store(r->events->node), STR(CHANGES), buf_str(&r->list_after),
                       STORE_LIST_MAX, add_key, &p, detail);

    for (rest = buf_str(&p.keys); e == 0 && rest.len && !stop; rest = str_skip(rest, key.len)) {
        struct marker m;

        memcpy(&key.len, rest.at, sizeof(key.len));
        rest = str_skip(rest, sizeof(key.len));
        key.at = rest.at;
        if (events_marker_parse(key, &m.bucket, &m.name)) {
            if (!r->in_window && m.bucket >= window) {
                stop = true;
                break;
            }
            e = read_marker(r, key, &m, detail);
            if (e == 0)
                e = read_repo(r, &m, t, detail);
        }
        if (e == 0) {
            buf_clear(&r->list_after);
            buf_add(&r->list_after, key);
            e = buf_err(&r->list_after);
        }
    }
    stop |= p.count < STORE_LIST_MAX;
    buf_done(&p.keys);
    if (e != 0 || !stop)
        return e < 0 ? e : 1;
    if (!r->in_window)
        return enter_window(r, window) ? 1 : 0;
    go_live(r);
    return 2;
}

/* Markers before the place are done with; that of the place itself may have more entries. No name
 * holds a '^', so nothing lies between the two keys. */
static void begin_listing(struct events_reader *r)
{
    struct str name = str_of(r->place.name);

    events_marker_key(&r->list_after, r->place.bucket, name);
    if (name.len && buf_err(&r->list_after) == 0) {
        buf_truncate(&r->list_after, r->list_after.len - 1);
        buf_addc(&r->list_after, '_' - 1);
    }
}

static int live_from_now(struct events_reader *r)
{
    struct events *ev = r->events;
    bool ready;

    mutex_lock(&ev->mu);
    ready = ev->ready;
    if (ready) {
        r->notice = r->doubtful = ev->tail;
        hub_cursor(ev, &r->place);
    }
    mutex_unlock(&ev->mu);
    if (!ready)
        return 0;
    r->from_now = false;
    r->reading = READ_LIVE;
    return keep_cursor(r, &r->cursor) < 0 ? -ERR_NOMEM : 2;
}

static int step_old(struct events_reader *r, const struct teller *t, struct err_detail *detail)
{
    int64_t now;
    int e;

    if (r->from_now)
        return live_from_now(r);
    e = store_now(node_store(r->events->node), &now, detail);
    if (e == 0 && !r->list_after.len)
        begin_listing(r);
    if (e == 0)
        e = buf_err(&r->list_after);
    if (e < 0)
        return e;
    do {
        e = step_page(r, (now - EVENTS_SEAL_MS) / BUCKET_MS, t, detail);
    } while (e == 1 && r->told < EVENTS_STEP_BYTES);
    return e;
}

/* ---- what comes */

struct news {
    struct {
        uint64_t seq;
        size_t len;
        char name[NAME_MAX_LEN];
        uint8_t id[EVENT_REPO_BYTES];
    } at[NOTICES_STEP];
    size_t count;
    uint64_t first; /* index */
    bool missed;
};

/* The target is the end of the notices as it was at some moment, for which the hub's cursor holds;
 * it stays until it was reached. */
static int take_news(struct events_reader *r, struct news *n)
{
    struct events *ev = r->events;
    struct event_cursor *c = NULL;
    bool fresh;
    int e = 0;

    mutex_lock(&ev->mu);
    n->missed = !ev->ready || ev->tail - r->notice > EVENTS_NOTICES_MAX;
    n->first = r->notice;
    n->count = 0;
    for (uint64_t i = r->notice; !n->missed && i < ev->tail && n->count < NOTICES_STEP; i++) {
        const struct notice *x = &ev->notices[i % EVENTS_NOTICES_MAX];

        n->at[n->count].seq = x->seq;
        n->at[n->count].len = x->repo->len;
        memcpy(n->at[n->count].id, x->repo->id, EVENT_REPO_BYTES);
        memcpy(n->at[n->count++].name, x->repo->name, x->repo->len);
    }
    fresh = n->count > 0 && r->target <= r->notice;
    if (fresh) {
        c = malloc(sizeof(*c));
        r->target = ev->tail;
        if (c)
            hub_cursor(ev, c);
    }
    mutex_unlock(&ev->mu);
    if (!fresh)
        return 0;
    buf_clear(&r->target_cursor);
    if (c)
        e = event_cursor_encode(ev->node, r->repo, c, &r->target_cursor);
    free(c);
    return c ? e : -ERR_NOMEM;
}

/* Too far behind: from the newest cursor as if it came anew. */
static int rewind_reader(struct events_reader *r, struct err_detail *detail)
{
    struct str cursor = buf_str(&r->cursor);
    int e =
        cursor.len ? event_cursor_decode(r->events->node, r->repo, cursor, &r->place, detail) : 0;

    if (e < 0)
        return e;
    log_info("events.reader_behind", KV_I("bucket", r->place.bucket));
    omap_free(r->delivered);
    r->delivered = NULL;
    e = omap_new(free, &r->delivered);
    r->reading = READ_OLD;
    r->in_window = false;
    buf_clear(&r->list_after);
    return e < 0 ? e : 1;
}

static int tell_notice(struct events_reader *r, const struct news *n, size_t i, struct loaded *l,
                       const struct teller *t, struct err_detail *detail)
{
    struct str name = str_make(n->at[i].name, n->at[i].len);
    bool last = n->first + i + 1 == r->target;
    uint64_t before;
    int e = 0;

    if (n->first + i >= r->doubtful || !delivered(r, name, n->at[i].id, &before) ||
        before < n->at[i].seq) {
        e = load(r->events, name, n->at[i].seq, l, detail);
        if (e < 0)
            return e == -ERR_NOTFOUND ? -ERR_UNAVAIL : e;
        e = tell(r, name, l, last ? buf_str(&r->target_cursor) : STR_NONE, t);
    }
    if (e >= 0)
        r->notice = n->first + i + 1;
    if (e >= 0 && last) {
        buf_clear(&r->cursor);
        buf_add(&r->cursor, buf_str(&r->target_cursor));
    }
    return e;
}

static int step_live(struct events_reader *r, const struct teller *t, struct err_detail *detail)
{
    struct news *n auto_free = malloc(sizeof(*n));
    struct loaded l auto_of(loaded_done) = LOADED_INIT;
    int e = n ? take_news(r, n) : -ERR_NOMEM;

    if (e < 0)
        return e;
    if (n->missed)
        return rewind_reader(r, detail);
    for (size_t i = 0; e == 0 && i < n->count && r->told < EVENTS_STEP_BYTES; i++)
        e = tell_notice(r, n, i, &l, t, detail);
    if (e >= 0 && r->notice >= r->doubtful && omap_count(r->delivered) > 0) {
        omap_free(r->delivered); /* all that may come twice has come */
        r->delivered = NULL;
        e = omap_new(free, &r->delivered) < 0 ? -ERR_NOMEM : e;
    }
    return e < 0 ? e : n->count > 0;
}

int events_step(struct events_reader *r, events_fn fn, void *arg, struct err_detail *detail)
{
    struct teller t = {fn, arg};
    struct err_detail why = {""};
    int e;

    r->told = 0;
    if (r->reading == READ_ONE) {
        e = step_one(r, &t, &why);
    } else {
        e = r->reading == READ_OLD ? step_old(r, &t, &why) : 2;
        if (e == 2)
            e = step_live(r, &t, &why);
    }
    return e < 0 ? err_set(detail, e, "%s", why.text[0] ? why.text : err_text(e)) : e;
}
