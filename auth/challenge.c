#include "auth/challenge.h"

static void add_param(struct buf *out, const char *before, struct str value)
{
    buf_add(out, str_of(before));
    for (size_t i = 0; i < value.len; i++)
        if (value.at[i] >= ' ' && value.at[i] <= '~' && value.at[i] != '"' && value.at[i] != '\\')
            buf_addc(out, value.at[i]);
    buf_addc(out, '"');
}

void challenge_text(const struct challenge *c, struct buf *out)
{
    if (!c->bearer) {
        add_param(out, "Basic realm=\"", c->realm);
        return;
    }
    add_param(out, "Bearer realm=\"", c->realm);
    add_param(out, ",service=\"", c->service);
    if (c->scope.len)
        add_param(out, ",scope=\"", c->scope);
    if (c->error == CHALLENGE_INVALID_TOKEN)
        buf_add(out, STR(",error=\"invalid_token\""));
    else if (c->error == CHALLENGE_INSUFFICIENT_SCOPE)
        buf_add(out, STR(",error=\"insufficient_scope\""));
}
