/* The files that may change while the server runs, each with its content as it was last read. */
#include <stdlib.h>

#include "auth/access_internal.h"
#include "base/log.h"

static int parse_users(struct str text, void **ret, struct err_detail *detail)
{
    struct htpasswd *h;
    int e = htpasswd_parse(text, &h, detail);

    if (e == 0)
        *ret = h;
    return e;
}

static int parse_rules(struct str text, void **ret, struct err_detail *detail)
{
    struct policy *p;
    int e = policy_parse(text, &p, detail);

    if (e == 0)
        *ret = p;
    return e;
}

static int parse_issuers(struct str text, void **ret, struct err_detail *detail)
{
    struct issuers *is;
    int e = issuers_parse(text, &is, detail);

    if (e == 0)
        *ret = is;
    return e;
}

static void unref_users(void *value)
{
    htpasswd_unref(value);
}

static void unref_rules(void *value)
{
    policy_unref(value);
}

static void unref_issuers(void *value)
{
    issuers_unref(value);
}

static const struct {
    int (*parse)(struct str text, void **ret, struct err_detail *detail);
    void (*unref)(void *value);
} kinds[ACCESS_FILES] = {
    [ACCESS_HTPASSWD] = {parse_users, unref_users},
    [ACCESS_POLICY] = {parse_rules, unref_rules},
    [ACCESS_ISSUERS] = {parse_issuers, unref_issuers},
};

static int read_content(const char *path, enum access_file which, void **ret,
                        struct file_stamp *ret_stamp, struct err_detail *detail)
{
    struct buf text auto_buf = BUF_INIT(FILE_BYTES_MAX);
    struct err_detail why = {""};
    int e = file_read(path, &text, ret_stamp, detail);

    if (e < 0)
        return e;
    e = kinds[which].parse(buf_str(&text), ret, &why);
    if (text.at)
        explicit_bzero(text.at, text.cap);
    return e < 0 ? err_set(detail, e, "%s: %s", path, why.text[0] ? why.text : err_text(e)) : 0;
}

int access_files_open(struct access *a, struct err_detail *detail)
{
    int e = 0;

    for (int i = 0; i < ACCESS_FILES && e == 0; i++) {
        struct access_content *c = &a->files[i];

        if (c->path)
            e = read_content(c->path, (enum access_file)i, &c->value, &c->stamp, detail);
    }
    return e;
}

void access_files_close(struct access *a)
{
    for (int i = 0; i < ACCESS_FILES; i++)
        kinds[i].unref(a->files[i].value);
}

struct htpasswd *access_htpasswd(struct access *a)
{
    struct htpasswd *h;

    mutex_lock(&a->mu);
    h = a->files[ACCESS_HTPASSWD].value;
    h = h ? htpasswd_ref(h) : NULL;
    mutex_unlock(&a->mu);
    return h;
}

struct policy *access_policy(struct access *a)
{
    struct policy *p;

    mutex_lock(&a->mu);
    p = a->files[ACCESS_POLICY].value;
    p = p ? policy_ref(p) : NULL;
    mutex_unlock(&a->mu);
    return p;
}

struct issuers *access_issuers(struct access *a)
{
    struct issuers *is;

    mutex_lock(&a->mu);
    is = a->files[ACCESS_ISSUERS].value;
    is = is ? issuers_ref(is) : NULL;
    mutex_unlock(&a->mu);
    return is;
}

bool access_look(struct access *a, int64_t now_ms)
{
    struct file_stamp now, then;
    long long looked = atomic_load_explicit(&a->looked_ms, memory_order_relaxed);

    if (now_ms - looked < ACCESS_LOOK_MS ||
        !atomic_compare_exchange_strong(&a->looked_ms, &looked, now_ms))
        return atomic_load_explicit(&a->changed, memory_order_relaxed);
    for (int i = 0; i < ACCESS_FILES; i++) {
        if (!a->files[i].path)
            continue;
        now = file_stamp(a->files[i].path);
        mutex_lock(&a->mu);
        then = a->files[i].stamp;
        mutex_unlock(&a->mu);
        if (!file_stamp_eq(&now, &then))
            atomic_store(&a->changed, true);
    }
    return atomic_load(&a->changed);
}

/* ---- Logins that a new content ends. */

struct two_contents {
    const struct htpasswd *before, *after;
};

/* A user's password is another, or a token's user is gone. Names of others hold a colon. */
static bool user_changed(const struct login *l, void *arg)
{
    const struct two_contents *c = arg;
    struct str name = str_of(login_name(l));
    uint8_t before[HMAC_BYTES], after[HMAC_BYTES];

    if ((login_kind(l) != LOGIN_PASSWORD && login_kind(l) != LOGIN_TOKEN) || name.len == 0 ||
        str_find(name, ':') >= 0)
        return false;
    return !htpasswd_proof(c->before, name, before) || !htpasswd_proof(c->after, name, after) ||
           memcmp(before, after, sizeof(before)) != 0;
}

/* Everybody whom an issuer vouched for is asked again. */
static bool from_outside(const struct login *l, void *arg)
{
    (void)arg;
    return login_kind(l) == LOGIN_ISSUER || login_kind(l) == LOGIN_SERVER;
}

static void reload_one(struct access *a, enum access_file which)
{
    struct access_content *c = &a->files[which];
    struct file_stamp stamp = file_stamp(c->path), read = {0};
    struct err_detail why = {""};
    void *fresh = NULL, *old = NULL;
    int e;

    if (file_stamp_eq(&stamp, &c->stamp))
        return;
    e = read_content(c->path, which, &fresh, &read, &why);
    mutex_lock(&a->mu);
    c->stamp = e < 0 ? stamp : read;
    if (e == 0) {
        old = c->value;
        c->value = fresh;
    }
    mutex_unlock(&a->mu);
    if (e < 0) {
        log_error("auth.not_reloaded", KV_S("why", why.text),
                  KV_S("effect", "what was read before counts on"));
        return;
    }
    if (which == ACCESS_HTPASSWD)
        seen_drop(a->seen, user_changed, &(struct two_contents){old, fresh});
    if (which == ACCESS_ISSUERS)
        seen_drop(a->seen, from_outside, NULL);
    log_info("auth.reloaded", KV_S("file", c->path));
    kinds[which].unref(old);
}

void access_reload(struct access *a)
{
    mutex_lock(&a->reload);
    if (atomic_exchange(&a->changed, false))
        for (int i = 0; i < ACCESS_FILES; i++)
            if (a->files[i].path)
                reload_one(a, (enum access_file)i);
    mutex_unlock(&a->reload);
}
