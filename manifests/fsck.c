/* The way through a store, and what all checks share: telling, reading, listing. */
#include "manifests/fsck_internal.h"

#include <assert.h>
#include <stdarg.h>
#include <stdio.h>

#include "base/clock.h"
#include "base/enc.h"

#define WHAT_MAX     512
#define KEY_TEXT_MAX (3 * STORE_KEY_MAX + 1)
#define GET_TRIES    4
#define GET_PAUSE_MS 200
#define LOOK_MS      150 /* before an absence is believed */
#define PAUSES_MAX   20  /* so many times; a store with more damage is not in doubt */
#define SMALL_MAX    4096
#define REGISTRY_LEN 16

/* ---- telling */

const char *fsck_severity_name(enum fsck_severity s)
{
    static const char *const names[FSCK_SEVERITIES] = {"damage", "warning", "garbage"};

    return names[s];
}

/* Keys that are not ours may hold anything: one line stays one line, one word one word. */
static void add_key(struct buf *out, struct str key)
{
    for (size_t i = 0; i < key.len; i++) {
        unsigned char c = (unsigned char)key.at[i];

        if (c > ' ' && c < 0x7f && c != '%')
            buf_addc(out, (char)c);
        else
            buf_addf(out, "%%%02X", c);
    }
}

static void add_plain(struct buf *out, const char *text)
{
    for (; *text; text++)
        buf_addc(out, *text >= ' ' && *text < 0x7f ? *text : '?');
}

void fsck_say(struct fsck *f, enum fsck_severity severity, struct str key, const char *meaning,
              const char *format, ...)
{
    static char mark; /* values are never NULL and never read */
    struct buf name auto_buf = BUF_INIT(KEY_TEXT_MAX);
    struct buf text auto_buf = BUF_INIT(WHAT_MAX);
    char what[WHAT_MAX];
    struct fsck_finding finding = {.severity = severity, .meaning = str_of(meaning)};
    va_list args;

    va_start(args, format);
    vsnprintf(what, sizeof(what), format, args);
    va_end(args);
    add_key(&name, key);
    add_plain(&text, what);
    finding.key = buf_str(&name);
    finding.what = buf_str(&text);
    f->counts->findings[severity]++;
    if (severity == FSCK_DAMAGE && omap_count(f->told) < FSCK_TOLD_MAX)
        (void)!omap_put(f->told, key, &mark);
    f->settings->report(&finding, f->settings->arg);
}

bool fsck_told(const struct fsck *f, struct str key)
{
    return omap_get(f->told, key) != NULL;
}

void fsck_unknown(struct fsck *f, struct str key)
{
    fsck_say(f, FSCK_WARNING, key, "nothing reads it; it is from elsewhere or a newer version",
             "is no key of the bucket format");
}

/* ---- reading */

bool fsck_of_object(int e)
{
    return e == -ERR_IO || e == -ERR_CORRUPT || e == -ERR_TOOBIG;
}

static bool again(int e, int tries)
{
    if (e == -ERR_NOMEM || !err_retryable(e) || tries >= GET_TRIES)
        return false;
    clock_sleep_ms(GET_PAUSE_MS << tries);
    return true;
}

/* An object's error stays in f->why, another one is why the check ends. */
static int failed(struct fsck *f, struct str key, int e)
{
    if (e < 0 && f->why.text[0] == '\0')
        err_set(&f->why, e, "%s", err_text(e));
    if (e < 0 && e != -ERR_NOTFOUND && !fsck_of_object(e))
        return err_set(f->detail, e, STR_FMT ": %.150s", STR_ARG(str_head(key, 90)), f->why.text);
    return e;
}

int fsck_get(struct fsck *f, struct str key, uint64_t offset, uint64_t len, struct buf *out)
{
    size_t start = out->len;
    int e, tries = 0;

    do {
        buf_truncate(out, start);
        f->why.text[0] = '\0';
        e = store_get(f->store, key, offset, len, out, &f->why);
    } while (e < 0 && again(e, ++tries));
    return failed(f, key, e);
}

int fsck_head(struct fsck *f, struct str key, struct store_info *ret)
{
    int e, tries = 0;

    do {
        f->why.text[0] = '\0';
        e = store_head(f->store, key, ret, &f->why);
    } while (e < 0 && again(e, ++tries));
    return failed(f, key, e);
}

bool fsck_pause(struct fsck *f)
{
    if (f->pauses >= PAUSES_MAX)
        return false;
    f->pauses++;
    clock_sleep_ms(LOOK_MS);
    return true;
}

int fsck_confirm_gone(struct fsck *f, struct str key)
{
    struct store_info info;

    (void)fsck_pause(f);
    return fsck_head(f, key, &info);
}

/* ---- listing */

struct page_key {
    size_t at, len;
    struct store_info info;
};

struct page {
    struct buf bytes;
    struct page_key keys[STORE_LIST_MAX];
    size_t count;
};

static void page_freep(struct page **p)
{
    if (*p)
        buf_done(&(*p)->bytes);
    free(*p);
}

static int page_add(struct str key, const struct store_info *info, void *arg)
{
    struct page *p = arg;

    assert(p->count < ARRAY_LEN(p->keys));
    p->keys[p->count++] = (struct page_key){p->bytes.len, key.len, *info};
    buf_add(&p->bytes, key);
    return buf_err(&p->bytes);
}

static int page_read(struct fsck *f, struct str prefix, struct str after, unsigned max,
                     struct page *p)
{
    int e, tries = 0;

    do {
        p->count = 0;
        buf_clear(&p->bytes);
        f->why.text[0] = '\0';
        e = store_list(f->store, prefix, after, max, page_add, p, &f->why);
    } while (e < 0 && again(e, ++tries));
    if (e < 0)
        return err_set(f->detail, e, "cannot list " STR_FMT ": %.150s",
                       STR_ARG(str_head(prefix, 90)), f->why.text[0] ? f->why.text : err_text(e));
    return 0;
}

int fsck_each(struct fsck *f, struct str prefix, struct str after, fsck_key_fn fn, void *arg)
{
    struct page *p auto_of(page_freep) = calloc(1, sizeof(*p));
    struct buf from auto_buf = BUF_INIT(STORE_KEY_MAX);
    bool more = true;
    int e = 0;

    if (!p)
        return -ERR_NOMEM;
    p->bytes = BUF_INIT(STORE_LIST_MAX * STORE_KEY_MAX);
    buf_add(&from, after);
    while (e == 0 && more) {
        e = buf_err(&from);
        if (e == 0)
            e = page_read(f, prefix, buf_str(&from), STORE_LIST_MAX, p);
        more = p->count == STORE_LIST_MAX;
        for (size_t i = 0; e == 0 && i < p->count; i++) {
            struct str key = str_make(p->bytes.at + p->keys[i].at, p->keys[i].len);

            e = fn(f, key, &p->keys[i].info, arg);
            if (i + 1 == p->count) {
                buf_clear(&from);
                buf_add(&from, key);
            }
        }
    }
    return e;
}

int fsck_first(struct fsck *f, struct str prefix, struct str after, struct buf *ret_key)
{
    struct page *p auto_of(page_freep) = calloc(1, sizeof(*p));
    int e;

    if (!p)
        return -ERR_NOMEM;
    p->bytes = BUF_INIT(STORE_KEY_MAX);
    e = page_read(f, prefix, after, 1, p);
    if (e < 0)
        return e;
    if (p->count == 0)
        return -ERR_NOTFOUND;
    buf_clear(ret_key);
    buf_add(ret_key, buf_str(&p->bytes));
    return buf_err(ret_key);
}

/* ---- format and secrets */

static const char no_registry[] = "no server can start on this store";

/* -ERR_NOTFOUND: and nothing else is there. */
static int check_format(struct fsck *f)
{
    struct buf key auto_buf = BUF_INIT(STORE_KEY_MAX);
    struct buf text auto_buf = BUF_INIT(SMALL_MAX);
    struct buf any auto_buf = BUF_INIT(STORE_KEY_MAX);
    struct json_doc *doc auto_json = NULL;
    uint8_t id[REGISTRY_LEN];
    struct str registry;
    int64_t version;
    int e;

    keys_format(&key);
    e = fsck_get(f, buf_str(&key), 0, STORE_WHOLE, &text);
    if (e == -ERR_NOTFOUND) {
        e = fsck_first(f, STR_NONE, STR_NONE, &any);
        if (e == 0)
            e = fsck_confirm_gone(f, buf_str(&key));
        else if (e == -ERR_NOTFOUND)
            return err_set(f->detail, e, "there is no registry here");
        if (e == -ERR_NOTFOUND) {
            fsck_say(f, FSCK_DAMAGE, buf_str(&key),
                     "a server makes a new one and takes the registry for another", "is missing");
            return 0;
        }
    }
    if (e < 0 && !fsck_of_object(e))
        return e;
    if (e < 0) {
        fsck_say(f, FSCK_DAMAGE, buf_str(&key), no_registry, "cannot be read: %s", f->why.text);
        return 0;
    }
    e = json_parse(buf_str(&text), &doc, NULL);
    if (e == -ERR_NOMEM)
        return e;
    if (e == 0 && json_get_int(json_root(doc), "v", &version) && version > 1)
        return err_set(f->detail, -ERR_VERSION, "the store needs bucket format version %lld",
                       (long long)version);
    if (e < 0 || !json_get_int(json_root(doc), "v", &version) || version != 1 ||
        !json_get_str(json_root(doc), "registry", &registry) ||
        !hex_decode(registry, id, sizeof(id)))
        fsck_say(f, FSCK_DAMAGE, buf_str(&key), no_registry, "does not follow the format");
    return 0;
}

static int apply_secret(void *self, const struct objlog_entry *e, struct err_detail *detail)
{
    uint64_t *count = self;

    for (size_t i = 0; i < json_len(e->ops); i++) {
        const struct json *op = json_at(e->ops, i);
        uint8_t key[32];

        if (!str_eq(json_str(json_get(op, "op")), STR("secret")))
            return err_set(detail, -ERR_VERSION, "an operation of a newer version");
        if (!hex_decode(json_str(json_get(op, "key")), key, sizeof(key)))
            return err_set(detail, -ERR_CORRUPT, "a secret is malformed");
        ++*count;
    }
    return 0;
}

static int check_secrets(struct fsck *f)
{
    static const struct fsck_log_ops ops = {
        .apply = apply_secret,
        .lost = "unfinished uploads and tokens signed with lost secrets are refused",
        .broken = "no server can start on this store",
        .wrong = "nothing reads it",
    };
    uint64_t count = 0;
    struct fsck_log log = {
        .prefix = STR(KEYS_SECRET), .name = STR(KEYS_SECRET), .ops = &ops, .self = &count};
    struct buf key auto_buf = BUF_INIT(STORE_KEY_MAX);
    int e = fsck_log_check(f, &log);

    fsck_log_key(&log, 1, &key);
    if (e == 0 && count == 0 && log.whole && !fsck_told(f, buf_str(&key)))
        fsck_say(f, FSCK_DAMAGE, buf_str(&key), ops.lost, "there is no secret");
    return e;
}

static int apply_robot(void *self, const struct objlog_entry *e, struct err_detail *detail)
{
    (void)self;
    for (size_t i = 0; i < json_len(e->ops); i++) {
        struct str op = json_str(json_get(json_at(e->ops, i), "op"));

        if (!str_eq(op, STR("create")) && !str_eq(op, STR("revoke")))
            return err_set(detail, -ERR_VERSION, "an operation of a newer version");
    }
    return 0;
}

static int check_robots(struct fsck *f)
{
    static const struct fsck_log_ops ops = {
        .apply = apply_robot,
        .lost = "API keys made there are refused, and ones revoked there are valid again",
        .broken = "no API key is accepted",
        .wrong = "nothing reads it",
    };
    struct fsck_log log = {.prefix = STR(KEYS_ROBOTS), .name = STR(KEYS_ROBOTS), .ops = &ops};

    return fsck_log_check(f, &log);
}

/* ---- the way */

static int check_repos(struct fsck *f)
{
    struct buf key auto_buf = BUF_INIT(STORE_KEY_MAX);
    struct buf after auto_buf = BUF_INIT(STORE_KEY_MAX);
    struct str name;
    int e;

    while ((e = fsck_first(f, STR("repos/"), buf_str(&after), &key)) == 0) {
        buf_clear(&after);
        if (keys_repo_parse(buf_str(&key), &name) && name_valid(name)) {
            e = fsck_repo_check(f, name);
            /* Its keys lie together: behind the last of them. */
            keys_repo(&after, name);
            buf_add(&after, STR("/_\x7f"));
        } else {
            fsck_unknown(f, buf_str(&key));
            buf_add(&after, buf_str(&key));
        }
        if (e == 0)
            e = buf_err(&after);
        if (e < 0)
            return e;
    }
    return e == -ERR_NOTFOUND ? 0 : e;
}

/* What lies beside the folders of the format. */
static int check_rest(struct fsck *f)
{
    static const char *const known[] = {"blobs/",  "catalog/", "changes/", "data/",
                                        "hooks/",  "lease/",   "links/",   "repos/",
                                        "robots/", "secret/",  "uploads/"};
    struct buf key auto_buf = BUF_INIT(STORE_KEY_MAX);
    struct buf after auto_buf = BUF_INIT(STORE_KEY_MAX);
    int e;

    while ((e = fsck_first(f, STR_NONE, buf_str(&after), &key)) == 0) {
        size_t i = 0;

        while (i < ARRAY_LEN(known) && !str_starts(buf_str(&key), str_of(known[i])))
            i++;
        buf_clear(&after);
        if (i < ARRAY_LEN(known)) {
            buf_add(&after, str_head(str_of(known[i]), strlen(known[i]) - 1));
            buf_addc(&after, '/' + 1);
        } else {
            if (!str_eq(buf_str(&key), STR("format")))
                fsck_unknown(f, buf_str(&key));
            buf_add(&after, buf_str(&key));
        }
        if (buf_err(&after) < 0)
            return buf_err(&after);
    }
    return e == -ERR_NOTFOUND ? 0 : e;
}

static int check_names(struct fsck *f)
{
    int e = 0;

    for (size_t i = 0; e == 0 && i < f->settings->name_count; i++) {
        struct buf prefix auto_buf = BUF_INIT(STORE_KEY_MAX);
        struct buf key auto_buf = BUF_INIT(STORE_KEY_MAX);
        struct str name = f->settings->names[i];

        keys_repo(&prefix, name);
        buf_add(&prefix, STR("/_"));
        e = fsck_first(f, buf_str(&prefix), STR_NONE, &key);
        if (e == -ERR_NOTFOUND)
            return err_set(f->detail, -ERR_NOREPO, "there is no repository " STR_FMT,
                           STR_ARG(str_head(name, 200)));
        if (e == 0)
            e = fsck_repo_check(f, name);
    }
    return e;
}

static int check_everything(struct fsck *f)
{
    int e = check_secrets(f);

    if (e == 0)
        e = check_robots(f);
    if (e == 0)
        e = check_repos(f);
    if (e == 0)
        e = fsck_catalog_leftover(f);
    if (e == 0)
        e = fsck_records_check(f);
    if (e == 0)
        e = fsck_links_check(f);
    if (e == 0)
        e = fsck_changes_check(f);
    if (e == 0)
        e = fsck_sessions_check(f);
    return e < 0 ? e : check_rest(f);
}

int fsck_run(struct store *s, const struct fsck_settings *settings, struct fsck_counts *ret,
             struct err_detail *detail)
{
    struct err_detail unused = {""};
    struct fsck f = {
        .store = s, .settings = settings, .counts = ret, .detail = detail ? detail : &unused};
    int e = omap_new(NULL, &f.told);

    assert(s && settings && settings->report && ret);
    *ret = (struct fsck_counts){.repositories = 0};
    if (e == 0)
        e = table_cache_new(TABLE_CACHE_MAX, &f.tables);
    if (e == 0)
        e = store_now(s, &f.now, f.detail);
    if (e == 0)
        e = check_format(&f);
    if (e == 0)
        e = fsck_catalog_check(&f);
    if (e == 0)
        e = fsck_all(&f) ? check_everything(&f) : check_names(&f);
    fsck_catalog_free(f.catalog);
    table_cache_free(f.tables);
    omap_free(f.told);
    return e;
}
