/* Where new entries come to light. One thread looks while somebody reads: it keeps a table of the
 * repositories with a marker of the last half hour, and says of each new entry, in the order it
 * sees them, which it is (a notice). What it has seen of a repository is dense: a head. */
#include "manifests/events_internal.h"

#include <assert.h>

#include "base/clock.h"
#include "base/log.h"
#include "blobstore/keys.h"

#define LOOK_ALL_MS  30000  /* repositories that are not written to now are looked at, too */
#define OVERLAP_MS   120000 /* from the end of ten minutes, entries of their markers still come */
#define BATCH        64
#define NAMES_MAX    (64u << 20) /* bytes of names found by one listing */
#define RETRY_LOG_MS 60000

struct look {
    struct events *ev;
    int64_t bucket;
    struct buf names; /* found and not in the table, each behind its length and 0 end */
    struct buf after;
    unsigned count;
};

/* ---- the table */

static void unlink_active(struct events *ev, struct active *a)
{
    *(a->newer ? &a->newer->older : &ev->newest) = a->older;
    *(a->older ? &a->older->newer : &ev->oldest) = a->newer;
}

static void push_active(struct events *ev, struct active *a)
{
    a->newer = NULL;
    a->older = ev->newest;
    *(ev->newest ? &ev->newest->newer : &ev->oldest) = a;
    ev->newest = a;
}

static struct active *find(struct events *ev, struct str name)
{
    return omap_get(ev->active, name);
}

static int add(struct events *ev, struct str name, uint64_t head, int64_t bucket,
               struct active **ret)
{
    struct active *a = calloc(1, sizeof(*a) + name.len);
    int e = a ? 0 : -ERR_NOMEM;

    if (e == 0) {
        a->head = head;
        a->bucket = bucket;
        a->len = name.len;
        memcpy(a->name, name.at, name.len);
        event_repo(ev->node, name, a->id);
        mutex_lock(&ev->mu);
        e = omap_count(ev->active) < EVENTS_ACTIVE_MAX ? omap_put(ev->active, name, a) : -ERR_LIMIT;
        if (e == 0)
            push_active(ev, a);
        mutex_unlock(&ev->mu);
    }
    if (e < 0) {
        free(a);
        return e;
    }
    *ret = a;
    return 0;
}

/* Locked. Everything after the head, up to seq. */
static void notice(struct events *ev, struct active *a, uint64_t from, uint64_t to)
{
    for (uint64_t seq = from; seq <= to; seq++) {
        ev->notices[ev->tail % EVENTS_NOTICES_MAX] = (struct notice){a, seq};
        a->noticed = ++ev->tail;
    }
    if (to > a->head)
        a->head = to;
    unlink_active(ev, a);
    push_active(ev, a);
    hub_wake_readers(ev, str_make(a->name, a->len));
}

static void see_head(struct events *ev, struct active *a, uint64_t head)
{
    mutex_lock(&ev->mu);
    if (head > a->head) {
        if (ev->ready)
            notice(ev, a, a->head + 1, head);
        a->head = head;
    }
    mutex_unlock(&ev->mu);
}

/* Those that nothing is expected of any more, and no notice names. */
static void drop_old(struct events *ev)
{
    struct active *a, *newer;

    mutex_lock(&ev->mu);
    for (a = ev->oldest; a; a = newer) {
        newer = a->newer;
        if (a->bucket >= ev->window || a->pins > 0 ||
            (a->noticed && a->noticed + EVENTS_NOTICES_MAX > ev->tail))
            continue;
        unlink_active(ev, a);
        omap_remove(ev->active, str_make(a->name, a->len));
    }
    mutex_unlock(&ev->mu);
}

/* ---- markers */

static int see_marker(struct str key, const struct store_info *info, void *arg)
{
    struct look *l = arg;
    struct active *a;
    struct str name;
    int64_t bucket;

    (void)info;
    l->count++;
    buf_clear(&l->after);
    buf_add(&l->after, key);
    if (!events_marker_parse(key, &bucket, &name) || bucket != l->bucket)
        return buf_err(&l->after);
    a = find(l->ev, name);
    if (a && a->bucket >= l->ev->window) {
        mutex_lock(&l->ev->mu);
        a->bucket = bucket > a->bucket ? bucket : a->bucket;
        mutex_unlock(&l->ev->mu);
    } else {
        buf_add(&l->names, str_make(&name.len, sizeof(name.len)));
        buf_add(&l->names, name);
    }
    return buf_err(&l->after) < 0 ? buf_err(&l->after) : buf_err(&l->names);
}

static int marker_seq(struct events *ev, struct str name, int64_t bucket, uint64_t *ret,
                      struct err_detail *detail)
{
    struct buf key auto_buf = BUF_INIT(STORE_KEY_MAX);
    int e;

    events_marker_key(&key, bucket, name);
    e = events_marker_seq(ev, buf_str(&key), ret, detail);
    if (e == -ERR_CORRUPT) { /* told by fsck; the entries are read all the same */
        log_warn("events.marker", KV_V("key", buf_str(&key)));
        *ret = 1;
        e = 0;
    }
    return e;
}

/* A repository comes into the table by its marker: entries from there on are new to readers. It may
 * have got the one before, too, after that was looked for. */
static int discover(struct events *ev, struct str name, int64_t bucket, struct err_detail *detail)
{
    struct active *a = find(ev, name);
    uint64_t seq, head;
    int e = -ERR_NOTFOUND;

    if (ev->ready && bucket > ev->window)
        e = marker_seq(ev, name, bucket - 1, &seq, detail);
    if (e == -ERR_NOTFOUND)
        e = marker_seq(ev, name, bucket, &seq, detail);
    if (e == 0 && !a)
        e = add(ev, name, seq - 1, bucket, &a);
    if (e == 0)
        e = events_find_head(ev, name, a->head, &head, detail);
    if (e < 0)
        return e;
    mutex_lock(&ev->mu);
    /* One that was kept for other reasons may have moved on unnoticed. */
    if (ev->ready && a->bucket < ev->window && seq <= a->head)
        notice(ev, a, seq, a->head);
    a->bucket = bucket;
    mutex_unlock(&ev->mu);
    see_head(ev, a, head);
    return 0;
}

static int list_bucket(struct events *ev, int64_t bucket, struct err_detail *detail)
{
    struct look l = {
        .ev = ev, .bucket = bucket, .names = BUF_INIT(NAMES_MAX), .after = BUF_INIT(STORE_KEY_MAX)};
    struct buf prefix auto_buf = BUF_INIT(STORE_KEY_MAX);
    struct str rest, name;
    int e;

    events_marker_key(&prefix, bucket, STR_NONE);
    do {
        l.count = 0;
        e = store_list(node_store(ev->node), buf_str(&prefix), buf_str(&l.after), STORE_LIST_MAX,
                       see_marker, &l, detail);
    } while (e == 0 && l.count == STORE_LIST_MAX);
    for (rest = buf_str(&l.names); e == 0 && rest.len; rest = str_skip(rest, name.len)) {
        memcpy(&name.len, rest.at, sizeof(name.len));
        rest = str_skip(rest, sizeof(name.len));
        name.at = rest.at;
        e = discover(ev, name, bucket, detail);
    }
    buf_done(&l.names);
    buf_done(&l.after);
    return e;
}

/* ---- entries */

struct probes {
    struct active *repos[BATCH];
    struct buf keys[BATCH];
    struct store_op ops[BATCH];
    size_t count;
};

static int run_probes(struct events *ev, struct probes *p, struct err_detail *detail)
{
    int e = 0;

    store_run(node_store(ev->node), p->ops, p->count);
    for (size_t i = 0; i < p->count; i++) {
        struct active *a = p->repos[i];
        uint64_t head = a->head;

        if (p->ops[i].result < 0 && p->ops[i].result != -ERR_NOTFOUND)
            e = err_set(detail, p->ops[i].result, "cannot look for an entry: %s",
                        err_text(p->ops[i].result));
        else if (p->ops[i].result == 0 && (e = events_find_head(ev, str_make(a->name, a->len),
                                                                head + 1, &head, detail)) == 0)
            see_head(ev, a, head);
    }
    p->count = 0;
    return e;
}

static int probe(struct events *ev, struct probes *p, struct active *a, struct err_detail *detail)
{
    struct buf prefix auto_buf = BUF_INIT(STORE_KEY_MAX);
    struct buf *key = &p->keys[p->count];

    keys_repo(&prefix, str_make(a->name, a->len));
    buf_clear(key);
    keys_log_entry(key, buf_str(&prefix), true, a->head + 1);
    if (buf_err(key) < 0)
        return buf_err(key);
    p->repos[p->count] = a;
    p->ops[p->count++] = (struct store_op){.kind = STORE_OP_HEAD, .key = buf_str(key)};
    return p->count == BATCH ? run_probes(ev, p, detail) : 0;
}

/* Those with markers from the bucket on, and those with readers of their own. */
static int probe_from(struct events *ev, int64_t bucket, struct err_detail *detail)
{
    struct probes *p = calloc(1, sizeof(*p));
    int e = p ? 0 : -ERR_NOMEM;

    for (size_t i = 0; p && i < BATCH; i++)
        p->keys[i] = BUF_INIT(STORE_KEY_MAX);
    for (struct omap_node *n = omap_first(ev->active); e == 0 && n; n = omap_next(ev->active, n)) {
        struct active *a = omap_value(n);

        if (a->bucket >= bucket || a->pins > 0)
            e = probe(ev, p, a, detail);
    }
    if (e == 0)
        e = run_probes(ev, p, detail);
    for (size_t i = 0; p && i < BATCH; i++)
        buf_done(&p->keys[i]);
    free(p);
    return e;
}

/* ---- what is told */

/* Locked: whom readers of one repository wait for. */
static size_t gather_pins(struct events *ev, struct str names[EVENTS_READERS_MAX],
                          char text[EVENTS_READERS_MAX][NAME_MAX_LEN])
{
    size_t count = 0;

    for (struct active *a = ev->newest; a; a = a->older)
        a->pins = 0;
    for (struct events_reader *r = ev->readers; r; r = r->next) {
        struct active *a = r->repo.len ? find(ev, r->repo) : NULL;

        if (a)
            a->pins++;
        if (a || !r->repo.len)
            continue;
        memcpy(text[count], r->name, r->repo.len);
        names[count] = str_make(text[count], r->repo.len);
        count++;
    }
    return count;
}

static int look_at_pins(struct events *ev, struct err_detail *detail)
{
    struct str names[EVENTS_READERS_MAX];
    char(*text)[NAME_MAX_LEN] auto_free = calloc(EVENTS_READERS_MAX, sizeof(*text));
    size_t count;
    int e = 0;

    if (!text)
        return -ERR_NOMEM;
    mutex_lock(&ev->mu);
    count = gather_pins(ev, names, text);
    mutex_unlock(&ev->mu);
    for (size_t i = 0; e == 0 && i < count; i++) {
        struct active *a = find(ev, names[i]);
        uint64_t head;

        if (a) /* of another reader in this list */
            continue;
        e = events_find_head(ev, names[i], 0, &head, detail);
        if (e == 0)
            e = add(ev, names[i], head, 0, &a);
        if (e < 0)
            break;
        mutex_lock(&ev->mu);
        a->pins = 1;
        hub_wake_readers(ev, names[i]); /* may have read to an end that is not it any more */
        mutex_unlock(&ev->mu);
    }
    return e;
}

static int see_dirty(struct events *ev, const struct dirty *d, int64_t now,
                     struct err_detail *detail)
{
    struct str name = str_make(d->name, d->len);
    struct active *a = find(ev, name);
    int e = 0;

    if (a && a->bucket >= ev->window) {
        see_head(ev, a, d->seq);
        return 0;
    }
    /* Its marker was made just before. The oldest one says where what is new begins. */
    for (int64_t b = now / BUCKET_MS - 1; b <= now / BUCKET_MS + 1; b++) {
        e = discover(ev, name, b, detail);
        if (e != -ERR_NOTFOUND)
            return e;
    }
    return 0; /* the next listing will find it */
}

/* ---- the thread */

static int look_all(struct events *ev, int64_t window, int64_t now, struct err_detail *detail)
{
    int e = 0;

    for (int64_t b = window; e == 0 && b <= now / BUCKET_MS + 1; b++)
        e = list_bucket(ev, b, detail);
    if (e == 0)
        e = look_at_pins(ev, detail);
    return e < 0 ? e : probe_from(ev, window, detail);
}

static int look_now(struct events *ev, int64_t now, struct err_detail *detail)
{
    int64_t first = (now - OVERLAP_MS) / BUCKET_MS, last = (now + OVERLAP_MS) / BUCKET_MS;
    int e = 0;

    for (int64_t b = first; e == 0 && b <= last; b++)
        e = list_bucket(ev, b, detail);
    if (e == 0)
        e = look_at_pins(ev, detail);
    return e < 0 ? e : probe_from(ev, first, detail);
}

static void set_window(struct events *ev, int64_t window)
{
    bool was;

    mutex_lock(&ev->mu);
    was = ev->ready;
    ev->window = window;
    ev->ready = true;
    if (!was)
        hub_wake_readers(ev, STR_NONE);
    mutex_unlock(&ev->mu);
}

/* What was sealed since the last look is looked at once more before it counts as such. */
static int poll(struct events *ev, bool all, struct err_detail *detail)
{
    int64_t now, window;
    int e = store_now(node_store(ev->node), &now, detail);

    if (e < 0)
        return e;
    window = (now - EVENTS_SEAL_MS) / BUCKET_MS;
    if (!ev->ready || window > ev->window || all)
        e = look_all(ev, ev->ready ? ev->window : window, now, detail);
    else
        e = look_now(ev, now, detail);
    if (e < 0)
        return e;
    set_window(ev, window);
    drop_old(ev);
    return 0;
}

static int take_dirty(struct events *ev, struct dirty *mine, struct err_detail *detail)
{
    struct dirty *swap;
    size_t count;
    int64_t now;
    int e;

    mutex_lock(&ev->mu);
    swap = ev->dirty;
    count = ev->dirty_count;
    memcpy(mine, swap, count * sizeof(*mine));
    ev->dirty_count = 0;
    mutex_unlock(&ev->mu);
    if (count == 0 || !ev->ready)
        return 0;
    e = store_now(node_store(ev->node), &now, detail);
    for (size_t i = 0; e == 0 && i < count; i++)
        e = see_dirty(ev, &mine[i], now, detail);
    return e;
}

static void say_failed(int e, const struct err_detail *why, int64_t *said_ms)
{
    if (*said_ms && clock_boot_ms() - *said_ms < RETRY_LOG_MS)
        return;
    *said_ms = clock_boot_ms();
    if (e == -ERR_LIMIT)
        log_alarm("events.too_many",
                  (const struct log_kv[]){KV_I("repositories", EVENTS_ACTIVE_MAX), KV_END});
    else
        log_warn("events.failed", KV_S("error", err_name(e)), KV_S("why", why->text));
}

/* Locked. Nobody reads any more: what was known grows old. */
static void forget(struct events *ev)
{
    omap_free(ev->active);
    ev->newest = ev->oldest = NULL;
    ev->ready = false;
    ev->dirty_count = 0;
    ev->tail = 0;
    atomic_store(&ev->watching, false);
    if (omap_new(free, &ev->active) < 0)
        ev->active = NULL;
}

void hub_cycle(struct events *ev, struct hub_pace *pace)
{
    struct err_detail why = {""};
    int64_t now = clock_boot_ms();
    bool lost, all = now >= pace->all_ms;
    int e;

    atomic_store(&ev->watching, true);
    e = take_dirty(ev, pace->mine, &why);

    mutex_lock(&ev->mu);
    lost = ev->dirty_lost;
    ev->dirty_lost = false;
    mutex_unlock(&ev->mu);
    if (e == 0 && (now >= pace->next_ms || lost)) {
        e = poll(ev, all, &why);
        now = clock_boot_ms();
        pace->next_ms = now + EVENTS_POLL_MS;
        if (e == 0 && all)
            pace->all_ms = now + LOOK_ALL_MS;
    }
    if (e < 0) {
        say_failed(e, &why, &pace->said_ms);
        pace->next_ms = clock_boot_ms() + EVENTS_POLL_MS;
        pace->all_ms = 0; /* what was told meanwhile is looked for */
    }
}

static void hub_main(void *arg)
{
    struct events *ev = arg;
    struct hub_pace pace = {.next_ms = 0};
    int64_t read_ms = clock_boot_ms(); /* when there was a reader */

    mutex_lock(&ev->mu);
    while (!ev->stop) {
        if (ev->reader_count > 0)
            read_ms = clock_boot_ms();
        if (!ev->active || clock_boot_ms() - read_ms > EVENTS_IDLE_MS) {
            forget(ev);
            while (ev->reader_count == 0 && !ev->stop)
                cond_wait(&ev->wake, &ev->mu);
            if (!ev->active)
                cond_wait_until(&ev->wake, &ev->mu, clock_boot_ms() + EVENTS_POLL_MS);
            read_ms = clock_boot_ms();
            pace.next_ms = pace.all_ms = 0;
            continue;
        }
        mutex_unlock(&ev->mu);
        hub_cycle(ev, &pace);
        mutex_lock(&ev->mu);
        if (ev->dirty_count == 0 && !ev->stop && clock_boot_ms() < pace.next_ms)
            cond_wait_until(&ev->wake, &ev->mu, pace.next_ms);
    }
    mutex_unlock(&ev->mu);
}

int hub_start(struct events *ev)
{
    int e;

    if (ev->started) {
        cond_signal(&ev->wake);
        return 0;
    }
    e = thread_start(&ev->thread, "events", hub_main, ev);
    ev->started = e == 0;
    return e;
}

/* ---- for readers; locked */

void hub_cursor(struct events *ev, struct event_cursor *ret)
{
    ret->bucket = ev->window;
    ret->name[0] = '\0';
    ret->seq = 0;
    ret->pair_count = 0;
    for (struct active *a = ev->newest; a && ret->pair_count < EVENT_PAIRS_MAX; a = a->older) {
        if (a->bucket < ev->window || a->head == 0)
            continue;
        memcpy(ret->pairs[ret->pair_count].repo, a->id, EVENT_REPO_BYTES);
        ret->pairs[ret->pair_count++].seq = a->head;
    }
}

void hub_wake_readers(struct events *ev, struct str repo)
{
    for (struct events_reader *r = ev->readers; r; r = r->next)
        if (!repo.len || !r->repo.len || str_eq(repo, r->repo))
            r->wake(r->arg);
}

void events_committed(struct events *ev, struct str repo, uint64_t seq)
{
    struct dirty *d;

    assert(repo.len > 0 && repo.len <= NAME_MAX_LEN);
    if (!atomic_load(&ev->watching))
        return;
    mutex_lock(&ev->mu);
    if (ev->dirty_count < DIRTY_MAX) {
        d = &ev->dirty[ev->dirty_count++];
        d->len = repo.len;
        d->seq = seq;
        memcpy(d->name, repo.at, repo.len);
    } else {
        ev->dirty_lost = true;
    }
    cond_signal(&ev->wake);
    mutex_unlock(&ev->mu);
}
