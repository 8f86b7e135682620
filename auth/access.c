/* Settings and their files, and the decision. */
#include <assert.h>
#include <stdlib.h>

#include "auth/access_internal.h"
#include "base/clock.h"
#include "base/log.h"

static bool given(const char *path)
{
    return path && path[0];
}

/* ---- Files. */

static int read_htpasswd(const char *path, struct htpasswd **ret, struct file_stamp *ret_stamp,
                         struct err_detail *detail)
{
    struct buf text auto_buf = BUF_INIT(FILE_BYTES_MAX);
    struct err_detail why = {""};
    int e = file_read(path, &text, ret_stamp, detail);

    if (e < 0)
        return e;
    e = htpasswd_parse(buf_str(&text), ret, &why);
    if (text.at)
        explicit_bzero(text.at, text.cap);
    return e < 0 ? err_set(detail, e, "%s: %s", path, why.text[0] ? why.text : err_text(e)) : 0;
}

struct htpasswd *access_htpasswd(struct access *a)
{
    struct htpasswd *h;

    mutex_lock(&a->mu);
    h = a->htpasswd ? htpasswd_ref(a->htpasswd) : NULL;
    mutex_unlock(&a->mu);
    return h;
}

bool access_look(struct access *a, int64_t now_ms)
{
    struct file_stamp now, then;
    long long looked = atomic_load_explicit(&a->looked_ms, memory_order_relaxed);

    if (now_ms - looked < ACCESS_LOOK_MS ||
        !atomic_compare_exchange_strong(&a->looked_ms, &looked, now_ms))
        return atomic_load_explicit(&a->changed, memory_order_relaxed);
    if (given(a->settings.htpasswd)) {
        now = file_stamp(a->settings.htpasswd);
        mutex_lock(&a->mu);
        then = a->htpasswd_stamp;
        mutex_unlock(&a->mu);
        if (!file_stamp_eq(&now, &then))
            atomic_store(&a->changed, true);
    }
    return atomic_load(&a->changed);
}

struct two_contents {
    const struct htpasswd *before, *after;
};

static bool password_changed(const struct login *l, void *arg)
{
    const struct two_contents *c = arg;
    uint8_t before[HMAC_BYTES], after[HMAC_BYTES];

    if (login_kind(l) != LOGIN_PASSWORD)
        return false;
    return !htpasswd_proof(c->before, str_of(login_name(l)), before) ||
           !htpasswd_proof(c->after, str_of(login_name(l)), after) ||
           memcmp(before, after, sizeof(before)) != 0;
}

static void reload_htpasswd(struct access *a)
{
    struct htpasswd *fresh auto_htpasswd = NULL, *old auto_htpasswd = NULL;
    struct file_stamp stamp = file_stamp(a->settings.htpasswd), read;
    struct err_detail why = {""};
    struct two_contents contents;
    int e;

    if (file_stamp_eq(&stamp, &a->htpasswd_stamp))
        return;
    e = read_htpasswd(a->settings.htpasswd, &fresh, &read, &why);
    mutex_lock(&a->mu);
    a->htpasswd_stamp = e < 0 ? stamp : read;
    if (e == 0) {
        old = a->htpasswd;
        a->htpasswd = htpasswd_ref(fresh);
    }
    mutex_unlock(&a->mu);
    if (e < 0) {
        log_error("auth.not_reloaded", KV_S("why", why.text),
                  KV_S("effect", "the users that were read before count on"));
        return;
    }
    contents = (struct two_contents){old, fresh};
    seen_drop(a->seen, password_changed, &contents);
    log_info("auth.reloaded", KV_S("file", a->settings.htpasswd),
             KV_I("users", htpasswd_count(fresh)));
}

void access_reload(struct access *a)
{
    mutex_lock(&a->reload);
    if (atomic_exchange(&a->changed, false) && given(a->settings.htpasswd))
        reload_htpasswd(a);
    mutex_unlock(&a->reload);
}

/* ---- Life. */

int access_new(const struct access_settings *settings, struct access **ret,
               struct err_detail *detail)
{
    struct access *a = calloc(1, sizeof(*a));
    int e = 0;

    if (!a)
        return -ERR_NOMEM;
    a->settings = *settings;
    a->enabled = given(settings->htpasswd);
    mutex_init(&a->reload);
    mutex_init(&a->mu);
    if (given(settings->htpasswd))
        e = read_htpasswd(settings->htpasswd, &a->htpasswd, &a->htpasswd_stamp, detail);
    atomic_init(&a->looked_ms, a->enabled ? clock_boot_ms() : 0);
    if (e == 0 && a->enabled)
        e = seen_new(&a->seen);
    if (e == 0 && a->enabled)
        e = throttle_new(&a->throttle);
    if (e == 0 && a->enabled)
        e = gate_new(0, &a->gate);
    if (e < 0) {
        access_free(a);
        return e;
    }
    *ret = a;
    return 0;
}

void access_free(struct access *a)
{
    if (!a)
        return;
    gate_free(a->gate);
    throttle_free(a->throttle);
    seen_free(a->seen);
    htpasswd_unref(a->htpasswd);
    mutex_done(&a->reload);
    mutex_done(&a->mu);
    free(a);
}

bool access_enabled(const struct access *a)
{
    return a->enabled;
}

struct gate *access_gate(struct access *a)
{
    return a->gate;
}

/* ---- The decision. */

int access_check(struct access *a, const struct identity *who, enum action action, struct str repo,
                 struct str tag, struct err_detail *reason)
{
    assert(a && who);
    (void)repo, (void)tag;
    if (action == ACTION_HEALTH || action == ACTION_TOKEN)
        return 0;
    if (!a->enabled)
        return who->name[0] == '\0' ? 0 : -ERR_DENIED; /* there are no other identities */
    if (!who->login)
        return err_set(reason, -ERR_DENIED, "nobody may do this without saying who he is");
    return 0;
}

int access_check_listen(const struct access *a, struct str address, bool loopback,
                        struct err_detail *detail)
{
    if (loopback || a->enabled || a->settings.allow_anonymous_network)
        return 0;
    return err_set(detail, -ERR_DENIED,
                   "will not listen on " STR_FMT " without authentication: anyone who reaches it "
                   "could push and delete; give users (--htpasswd), listen on a loopback address, "
                   "or pass --allow-anonymous-network",
                   STR_ARG(address));
}
