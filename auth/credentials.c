#include "auth/credentials.h"

#include "base/enc.h"

void credentials_done(struct credentials *c)
{
    if (c->text.at)
        explicit_bzero(c->text.at, c->text.cap);
    buf_done(&c->text);
    *c = (struct credentials){.kind = CREDENTIALS_NONE};
}

static bool user_valid(struct str user)
{
    for (size_t i = 0; i < user.len; i++)
        if ((unsigned char)user.at[i] < ' ' || user.at[i] == 0x7f)
            return false;
    return user.len <= CREDENTIALS_USER_MAX && utf8_valid(user);
}

/* User and password lie behind each other in text. */
static void set_basic(struct credentials *c, size_t user_len, size_t gap)
{
    struct str all = buf_str(&c->text);

    c->user = str_head(all, user_len);
    c->password = str_skip(all, user_len + gap);
    c->kind = CREDENTIALS_BASIC;
    if (c->user.len == 0 && c->password.len == 0)
        c->kind = CREDENTIALS_NONE;
    else if (!user_valid(c->user) || c->user.len == 0 ||
             (c->password.len && memchr(c->password.at, 0, c->password.len)))
        c->kind = CREDENTIALS_BAD;
}

static int parse_basic(struct str value, struct credentials *c)
{
    int e = b64_decode(&c->text, value);
    ptrdiff_t colon;

    if (e == -ERR_NOMEM)
        return e;
    colon = e < 0 ? -1 : str_find(buf_str(&c->text), ':');
    if (colon >= 0)
        set_basic(c, (size_t)colon, 1);
    return 0;
}

static int parse_bearer(struct str value, struct credentials *c)
{
    for (size_t i = 0; i < value.len; i++)
        if (value.at[i] <= ' ' || value.at[i] > '~')
            return 0;
    buf_add(&c->text, value);
    if (buf_err(&c->text) < 0)
        return buf_err(&c->text) == -ERR_NOMEM ? -ERR_NOMEM : 0;
    c->token = buf_str(&c->text);
    c->kind = value.len ? CREDENTIALS_BEARER : CREDENTIALS_BAD;
    return 0;
}

static struct str trimmed(struct str s)
{
    while (s.len && (s.at[0] == ' ' || s.at[0] == '\t'))
        s = str_skip(s, 1);
    while (s.len && (s.at[s.len - 1] == ' ' || s.at[s.len - 1] == '\t'))
        s.len--;
    return s;
}

static void init(struct credentials *c)
{
    *c = (struct credentials){.kind = CREDENTIALS_BAD, .text = BUF_INIT(CREDENTIALS_TEXT_MAX)};
}

int credentials_parse(struct str header, struct credentials *ret)
{
    ptrdiff_t blank;
    struct str scheme, value;

    init(ret);
    header = trimmed(header);
    if (header.len == 0)
        ret->kind = CREDENTIALS_NONE;
    blank = str_find(header, ' ');
    if (blank < 0 || header.len > CREDENTIALS_TEXT_MAX)
        return 0;
    scheme = str_head(header, (size_t)blank);
    value = trimmed(str_skip(header, (size_t)blank));
    if (str_eq_nocase(scheme, STR("Basic")))
        return parse_basic(value, ret);
    if (str_eq_nocase(scheme, STR("Bearer")))
        return parse_bearer(value, ret);
    return 0;
}

int credentials_basic(struct str user, struct str password, struct credentials *ret)
{
    init(ret);
    buf_add(&ret->text, user);
    buf_add(&ret->text, password);
    if (buf_err(&ret->text) < 0)
        return buf_err(&ret->text) == -ERR_NOMEM ? -ERR_NOMEM : 0;
    set_basic(ret, user.len, 0);
    return 0;
}

int credentials_certificate(struct str subject, struct credentials *ret)
{
    init(ret);
    buf_add(&ret->text, subject);
    if (buf_err(&ret->text) < 0)
        return buf_err(&ret->text) == -ERR_NOMEM ? -ERR_NOMEM : 0;
    ret->user = buf_str(&ret->text);
    if (user_valid(ret->user) && ret->user.len)
        ret->kind = CREDENTIALS_CERTIFICATE;
    return 0;
}
