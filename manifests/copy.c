/* The order of a copy, and what its parts share.
 *
 * The heads of all logs are looked up first. Whatever an entry up to there needs was in the source
 * before the entry was, so what is listed afterwards holds all of it. The catalog's head comes
 * before those of the repositories: what it says about one is in that one's log by then. */
#include "manifests/copy_internal.h"

#include <assert.h>
#include <stdarg.h>
#include <stdio.h>

#include "base/clock.h"
#include "base/json.h"
#include "blobstore/objlog.h"
#include "manifests/name.h"

#define TRIES_MAX  5
#define PAUSE_MS   200
#define SMALL_MAX  4096
#define WHAT_MAX   400
#define LATEST_MAX 65536 /* cursors of webhooks */
#define CURSOR_MAX (64u << 10)

/* ---- telling and counting */

int copy_damaged(struct copier *c, struct str key, const char *format, ...)
{
    char what[WHAT_MAX];
    va_list args;

    va_start(args, format);
    vsnprintf(what, sizeof(what), format, args);
    va_end(args);
    mutex_lock(&c->mu);
    c->counts->damaged++;
    c->settings->report(key, str_of(what), c->settings->arg);
    mutex_unlock(&c->mu);
    return 0;
}

void copy_count(struct copier *c, uint64_t bytes)
{
    mutex_lock(&c->mu);
    c->counts->objects++;
    c->counts->bytes += bytes;
    mutex_unlock(&c->mu);
}

void copy_present(struct copier *c)
{
    mutex_lock(&c->mu);
    c->counts->present++;
    mutex_unlock(&c->mu);
}

/* ---- the stores */

bool copy_again(int e, int tries)
{
    if (e == 0 || e == -ERR_NOMEM || e == -ERR_NOSPACE || !err_retryable(e) || tries >= TRIES_MAX)
        return false;
    clock_sleep_ms(PAUSE_MS << tries);
    return true;
}

int copy_get(struct store *s, struct str key, uint64_t offset, uint64_t len, struct buf *out,
             struct err_detail *detail)
{
    size_t start = out->len;
    int e, tries = 0;

    do {
        buf_truncate(out, start);
        e = store_get(s, key, offset, len, out, detail);
    } while (copy_again(e, ++tries));
    return e;
}

int copy_head(struct store *s, struct str key, struct store_info *ret, struct err_detail *detail)
{
    int e, tries = 0;

    do {
        e = store_head(s, key, ret, detail);
    } while (copy_again(e, ++tries));
    return e;
}

static int compare_there(struct copier *c, struct str key, struct str bytes,
                         struct err_detail *detail)
{
    struct buf there auto_buf = BUF_INIT(bytes.len + 1);
    int e = copy_get(c->to, key, 0, STORE_WHOLE, &there, detail);

    if (e == -ERR_TOOBIG || (e == 0 && !str_eq(buf_str(&there), bytes)))
        return err_set(detail, -ERR_EXISTS,
                       "the destination holds other bytes at " STR_FMT
                       ": it has gone its own way, or is damaged",
                       STR_ARG(str_head(key, 150)));
    return e;
}

int copy_create(struct copier *c, struct str key, enum store_class cls, struct str bytes,
                struct err_detail *detail)
{
    int e, tries = 0;

    do {
        e = store_create(c->to, key, cls, bytes, detail);
        if (e == -ERR_EXISTS)
            return compare_there(c, key, bytes, detail);
    } while (copy_again(e, ++tries));
    if (e == 0)
        copy_count(c, bytes.len);
    return e;
}

/* ---- threads */

struct copy_job {
    struct work_item item; /* first */
    struct copier *copier;
    copy_fn fn;
    size_t len;
    char key[];
};

/* A job that met a store which does not answer is done again: what it made is seen to be there. */
static int run_fn(struct copier *c, copy_fn fn, struct str key, struct err_detail *detail)
{
    int e, tries = 0;

    do {
        detail->text[0] = '\0';
        e = fn(c, key, detail);
    } while (copy_again(e, ++tries));
    return e;
}

static void fail(struct copier *c, int e, const struct err_detail *detail)
{
    mutex_lock(&c->mu);
    if (c->err == 0) {
        c->err = e;
        c->detail = *detail;
    }
    mutex_unlock(&c->mu);
}

static void run_job(struct work_item *item)
{
    struct copy_job *job = (struct copy_job *)item;
    struct copier *c = job->copier;
    struct err_detail detail = {""};
    int e = run_fn(c, job->fn, str_make(job->key, job->len), &detail);

    if (e < 0)
        fail(c, e, &detail);
    free(job);
    mutex_lock(&c->mu);
    c->running--;
    cond_signal(&c->room);
    mutex_unlock(&c->mu);
}

int copy_submit(struct copier *c, copy_fn fn, struct str key)
{
    struct err_detail detail = {""};
    struct copy_job *job;
    int e;

    if (!c->work) {
        e = run_fn(c, fn, key, &detail);
        if (e < 0)
            fail(c, e, &detail);
        return e;
    }
    job = calloc(1, sizeof(*job) + key.len);
    if (!job)
        return -ERR_NOMEM;
    job->item.fn = run_job;
    job->copier = c;
    job->fn = fn;
    job->len = key.len;
    memcpy(job->key, key.at, key.len);
    mutex_lock(&c->mu);
    while (c->running >= 2 * c->settings->threads && c->err == 0)
        cond_wait(&c->room, &c->mu);
    e = c->err;
    if (e == 0)
        c->running++;
    mutex_unlock(&c->mu);
    if (e < 0) {
        free(job);
        return e;
    }
    work_continue(c->work, &job->item);
    return 0;
}

int copy_wait(struct copier *c)
{
    int e;

    mutex_lock(&c->mu);
    while (c->running > 0)
        cond_wait(&c->room, &c->mu);
    e = c->err;
    mutex_unlock(&c->mu);
    return e;
}

/* ---- listing */

void copy_lister_init(struct copy_lister *l, struct store *s, struct str prefix)
{
    *l = (struct copy_lister){.store = s,
                              .prefix = prefix,
                              .keys = BUF_INIT(STORE_LIST_MAX * (STORE_KEY_MAX + sizeof(size_t))),
                              .after = BUF_INIT(STORE_KEY_MAX)};
}

void copy_lister_done(struct copy_lister *l)
{
    buf_done(&l->keys);
    buf_done(&l->after);
}

static int keep_key(struct str key, const struct store_info *info, void *arg)
{
    struct copy_lister *l = arg;

    (void)info;
    buf_add(&l->keys, str_make(&key.len, sizeof(key.len)));
    buf_add(&l->keys, key);
    l->page++;
    return buf_err(&l->keys);
}

static int read_page(struct copy_lister *l, struct err_detail *detail)
{
    int e, tries = 0;

    do {
        buf_clear(&l->keys);
        l->at = l->page = 0;
        e = store_list(l->store, l->prefix, buf_str(&l->after), STORE_LIST_MAX, keep_key, l,
                       detail);
    } while (copy_again(e, ++tries));
    l->done = l->page < STORE_LIST_MAX;
    return e;
}

int copy_lister_next(struct copy_lister *l, struct str *ret, struct err_detail *detail)
{
    if (l->at == l->keys.len) {
        int e = l->done ? 0 : read_page(l, detail);

        if (e < 0 || l->keys.len == 0 || l->at == l->keys.len)
            return e;
    }
    memcpy(&ret->len, l->keys.at + l->at, sizeof(ret->len));
    ret->at = l->keys.at + l->at + sizeof(ret->len);
    l->at += sizeof(ret->len) + ret->len;
    if (l->at == l->keys.len) {
        buf_clear(&l->after);
        buf_add(&l->after, *ret);
        return buf_err(&l->after) < 0 ? buf_err(&l->after) : 1;
    }
    return 1;
}

static int merge(struct copier *c, struct copy_lister *from, struct copy_lister *to, copy_fn fn,
                 struct err_detail *detail)
{
    struct str key, have;
    int e = 0, there = copy_lister_next(to, &have, detail);

    while (e == 0 && there >= 0) {
        int more = copy_lister_next(from, &key, detail);

        if (more <= 0)
            return more;
        while (there > 0 && str_cmp(have, key) < 0)
            there = copy_lister_next(to, &have, detail);
        if (there > 0 && str_eq(have, key))
            copy_present(c);
        else if (there >= 0)
            e = fn(c, key, detail);
    }
    return e < 0 ? e : there;
}

int copy_each_missing(struct copier *c, struct str prefix, copy_fn fn, struct err_detail *detail)
{
    struct copy_lister from auto_of(copy_lister_done), to auto_of(copy_lister_done);

    copy_lister_init(&from, c->from, prefix);
    copy_lister_init(&to, c->to, prefix);
    return merge(c, &from, &to, fn, detail);
}

/* ---- which registry */

static int copy_format(struct copier *c, struct err_detail *detail)
{
    struct buf key auto_buf = BUF_INIT(STORE_KEY_MAX);
    struct buf text auto_buf = BUF_INIT(SMALL_MAX), there auto_buf = BUF_INIT(SMALL_MAX);
    struct copy_lister any auto_of(copy_lister_done);
    struct str first;
    int e;

    copy_lister_init(&any, c->to, STR_NONE);
    keys_format(&key);
    e = copy_get(c->from, buf_str(&key), 0, STORE_WHOLE, &text, detail);
    if (e == -ERR_NOTFOUND)
        return err_set(detail, e, "there is no registry in the source");
    if (e < 0)
        return e;
    e = copy_get(c->to, buf_str(&key), 0, STORE_WHOLE, &there, detail);
    if (e == 0 && str_eq(buf_str(&text), buf_str(&there)))
        return 0;
    if (e == 0)
        return err_set(detail, -ERR_EXISTS, "the destination is another registry");
    if (e != -ERR_NOTFOUND)
        return e;
    e = copy_lister_next(&any, &first, detail);
    if (e > 0)
        return err_set(detail, -ERR_EXISTS,
                       "the destination is not empty, and no registry: it holds " STR_FMT,
                       STR_ARG(str_head(first, 100)));
    return e < 0 ? e : copy_create(c, buf_str(&key), STORE_LOG, buf_str(&text), detail);
}

/* Logs that stand for themselves: all of what is there. */
static int copy_whole_log(struct copier *c, const char *name, struct err_detail *detail)
{
    struct copy_log log = {str_of(name), str_of(name)};
    uint64_t head;
    int e = copy_log_head(c, &log, &head, detail);

    return e < 0 ? e : copy_log(c, &log, head, NULL, detail);
}

/* ---- what comes last: cursors of webhooks, read before all heads, so never ahead of them */

static void free_bytes(void *value)
{
    buf_done(value);
    free(value);
}

static int read_latest(struct copier *c, struct omap *objects, struct err_detail *detail)
{
    struct copy_lister l auto_of(copy_lister_done);
    struct str key;
    int e;

    copy_lister_init(&l, c->from, STR(KEYS_HOOKS));
    while ((e = copy_lister_next(&l, &key, detail)) > 0) {
        struct buf *bytes = calloc(1, sizeof(*bytes));

        if (!bytes)
            return -ERR_NOMEM;
        *bytes = BUF_INIT(CURSOR_MAX);
        e = copy_get(c->from, key, 0, STORE_WHOLE, bytes, detail);
        if (e == 0 && omap_count(objects) < LATEST_MAX)
            e = omap_put(objects, key, bytes);
        else
            free_bytes(bytes);
        if (e < 0 && e != -ERR_NOTFOUND) /* older ones are removed all the time */
            return e;
    }
    return e;
}

/* In order, so that the greatest number, which is the one that counts, comes last. */
static int write_latest(struct copier *c, const struct omap *objects, struct err_detail *detail)
{
    int e = 0;

    for (struct omap_node *n = omap_first(objects); e == 0 && n; n = omap_next(objects, n)) {
        struct store_info info;

        e = copy_head(c->to, omap_key(n), &info, detail);
        if (e == -ERR_NOTFOUND)
            e = copy_create(c, omap_key(n), STORE_LOG, buf_str(omap_value(n)), detail);
        else if (e == 0)
            copy_present(c);
    }
    return e;
}

/* ---- repositories */

static struct copy_log repo_log(struct str name, struct buf *prefix)
{
    keys_repo(prefix, name);
    return (struct copy_log){buf_str(prefix), name};
}

static int add_repo(struct copier *c, struct str name)
{
    uint64_t *head;
    int e;

    if (omap_get(c->heads, name))
        return 0;
    head = calloc(1, sizeof(*head));
    if (!head)
        return -ERR_NOMEM;
    e = omap_put(c->heads, name, head);
    if (e < 0)
        free(head);
    return e;
}

/* The catalog names every repository that has an entry (B20). */
static int read_names(struct copier *c, uint64_t head, struct err_detail *detail)
{
    struct buf key auto_buf = BUF_INIT(STORE_KEY_MAX), raw auto_buf = BUF_INIT(OBJLOG_ENTRY_MAX);

    for (uint64_t seq = 1; seq <= head; seq++) {
        struct json_doc *doc auto_json = NULL;
        struct objlog_entry entry;
        int e;

        buf_clear(&key);
        buf_clear(&raw);
        keys_log_entry(&key, STR(KEYS_CATALOG), true, seq);
        e = copy_get(c->from, buf_str(&key), 0, STORE_WHOLE, &raw, detail);
        if (e == 0)
            e = objlog_parse(buf_str(&raw), STR(KEYS_CATALOG), seq, &entry, &doc, detail);
        if (e == -ERR_NOTFOUND || e == -ERR_CORRUPT)
            return 0; /* told when it is copied: the log ends there */
        for (size_t i = 0; e == 0 && i < json_len(entry.ops); i++) {
            struct str name = json_str(json_get(json_at(entry.ops, i), "name"));

            e = name_valid(name) ? add_repo(c, name) : 0;
        }
        if (e < 0)
            return e;
    }
    return 0;
}

static int read_heads(struct copier *c, struct err_detail *detail)
{
    int e = 0;

    for (struct omap_node *n = omap_first(c->heads); e == 0 && n; n = omap_next(c->heads, n)) {
        struct buf prefix auto_buf = BUF_INIT(STORE_KEY_MAX);
        struct copy_log log = repo_log(omap_key(n), &prefix);

        e = copy_log_head(c, &log, omap_value(n), detail);
    }
    return e;
}

/* Before an entry of the catalog that speaks of entries, these. */
static int before_catalog(struct copier *c, const struct json *ops, struct err_detail *detail)
{
    int e = 0;

    for (size_t i = 0; e == 0 && i < json_len(ops); i++) {
        struct buf prefix auto_buf = BUF_INIT(STORE_KEY_MAX);
        struct str name = json_str(json_get(json_at(ops, i), "name"));
        const uint64_t *head = name.at ? omap_get(c->heads, name) : NULL;
        int64_t seq;

        if (!head || !json_get_int(json_at(ops, i), "seq", &seq) || seq <= 0)
            continue;
        struct copy_log log = repo_log(name, &prefix);
        e = copy_log(c, &log, (uint64_t)seq < *head ? (uint64_t)seq : *head, NULL, detail);
    }
    return e;
}

static int copy_repo(struct copier *c, struct str name, struct err_detail *detail)
{
    struct buf prefix auto_buf = BUF_INIT(STORE_KEY_MAX);
    struct copy_log log = repo_log(name, &prefix);
    uint64_t head = *(uint64_t *)omap_get(c->heads, name);
    int e = copy_log(c, &log, head, NULL, detail);

    mutex_lock(&c->mu);
    c->counts->repositories++;
    mutex_unlock(&c->mu);
    return e < 0 ? e : copy_tables(c, &log, head, detail);
}

static int copy_repos(struct copier *c, uint64_t catalog_head, struct err_detail *detail)
{
    struct copy_log catalog = {STR(KEYS_CATALOG), STR(KEYS_CATALOG)};
    int e = copy_log(c, &catalog, catalog_head, before_catalog, detail);

    for (struct omap_node *n = omap_first(c->heads); e == 0 && n; n = omap_next(c->heads, n))
        e = copy_submit(c, copy_repo, omap_key(n));
    if (copy_wait(c) < 0 && e == 0)
        e = c->err;
    return e < 0 ? e : copy_tables(c, &catalog, catalog_head, detail);
}

/* ---- the way */

static int copy_all(struct copier *c, struct omap *latest, struct err_detail *detail)
{
    struct copy_log catalog = {STR(KEYS_CATALOG), STR(KEYS_CATALOG)};
    uint64_t catalog_head = 0;
    int e = copy_format(c, detail);

    if (e == 0)
        e = copy_whole_log(c, KEYS_SECRET, detail);
    if (e == 0)
        e = copy_whole_log(c, KEYS_ROBOTS, detail);
    if (e == 0)
        e = read_latest(c, latest, detail);
    if (e == 0)
        e = copy_log_head(c, &catalog, &catalog_head, detail);
    if (e == 0)
        e = read_names(c, catalog_head, detail);
    if (e == 0)
        e = read_heads(c, detail);
    if (e == 0)
        e = copy_blobs(c, detail);
    if (e == 0)
        e = copy_links(c, detail);
    if (e == 0)
        e = copy_markers(c, detail);
    if (e == 0)
        e = copy_repos(c, catalog_head, detail);
    return e < 0 ? e : write_latest(c, latest, detail);
}

int copy_run(struct store *from, struct store *to, const struct copy_settings *settings,
             struct copy_counts *ret, struct err_detail *detail)
{
    struct copier c = {.from = from, .to = to, .settings = settings, .counts = ret};
    struct omap *latest auto_omap = NULL;
    struct err_detail why = {""};
    int e;

    assert(from && to && settings->threads <= COPY_THREADS_MAX);
    *ret = (struct copy_counts){.objects = 0};
    mutex_init(&c.mu);
    cond_init(&c.room);
    e = omap_new(free, &c.heads);
    if (e == 0)
        e = omap_new(free_bytes, &latest);
    if (e == 0 && settings->threads > 0)
        e = work_new("copy", settings->threads, 2 * COPY_THREADS_MAX, &c.work);
    if (e == 0)
        e = copy_all(&c, latest, &why);
    work_free(c.work);
    if (c.err < 0) { /* the cause; what the first thread met may be a consequence */
        e = c.err;
        why = c.detail;
    }
    omap_free(c.heads);
    cond_done(&c.room);
    mutex_done(&c.mu);
    return e < 0 ? err_set(detail, e, "%s", why.text[0] ? why.text : err_text(e)) : 0;
}
