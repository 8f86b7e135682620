/* A verified caller. */
#include "auth/login.h"

#include <assert.h>
#include <stdatomic.h>
#include <stdlib.h>

struct login {
    atomic_uint refs;
    enum login_kind kind;
    bool limited;
    struct scopes limit;
    int64_t expires_ms;
    char *attrs[LOGIN_ATTRS_MAX];
    size_t attr_count;
    char name[LOGIN_NAME_MAX + 1];
};

int login_new(enum login_kind kind, struct str name, struct login **ret)
{
    struct login *l;

    if (name.len > LOGIN_NAME_MAX || !utf8_valid(name) ||
        (name.len && memchr(name.at, 0, name.len)))
        return -ERR_INVAL;
    l = calloc(1, sizeof(*l));
    if (!l)
        return -ERR_NOMEM;
    atomic_init(&l->refs, 1);
    l->kind = kind;
    if (name.len)
        memcpy(l->name, name.at, name.len);
    *ret = l;
    return 0;
}

struct login *login_ref(struct login *l)
{
    if (l)
        atomic_fetch_add_explicit(&l->refs, 1, memory_order_relaxed);
    return l;
}

void login_unref(struct login *l)
{
    if (!l || atomic_fetch_sub_explicit(&l->refs, 1, memory_order_acq_rel) != 1)
        return;
    for (size_t i = 0; i < l->attr_count; i++)
        free(l->attrs[i]);
    scopes_done(&l->limit);
    free(l);
}

void login_unrefp(struct login **l)
{
    login_unref(*l);
    *l = NULL;
}

int login_add_attr(struct login *l, const char *prefix, struct str value)
{
    struct buf text auto_buf = BUF_INIT(LOGIN_ATTR_MAX);
    char *copy;

    if (l->attr_count == LOGIN_ATTRS_MAX)
        return -ERR_LIMIT;
    buf_add(&text, str_of(prefix));
    buf_add(&text, value);
    if (buf_err(&text) < 0)
        return buf_err(&text) == -ERR_NOMEM ? -ERR_NOMEM : -ERR_LIMIT;
    copy = strdup(buf_c(&text));
    if (!copy)
        return -ERR_NOMEM;
    l->attrs[l->attr_count++] = copy;
    return 0;
}

void login_limit(struct login *l, struct scopes *limit)
{
    assert(!l->limited);
    l->limited = true;
    l->limit = *limit;
    *limit = (struct scopes){.count = 0};
}

void login_set_expiry(struct login *l, int64_t expires_ms)
{
    l->expires_ms = expires_ms;
}

enum login_kind login_kind(const struct login *l)
{
    return l->kind;
}

const char *login_name(const struct login *l)
{
    return l->name;
}

size_t login_attr_count(const struct login *l)
{
    return l->attr_count;
}

struct str login_attr(const struct login *l, size_t i)
{
    assert(i < l->attr_count);
    return str_of(l->attrs[i]);
}

const struct scopes *login_scopes(const struct login *l)
{
    return l->limited ? &l->limit : NULL;
}

int64_t login_expiry(const struct login *l)
{
    return l->expires_ms;
}
