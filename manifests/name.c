/* Grammars of names, tags and references (R1-R4), written out as loops over bytes: no state, no
 * allocation. */
#include "manifests/name.h"

#define RESERVED_LEN 19 /* at-20261122t075000z */

static bool lower_or_digit(char c)
{
    return (c >= 'a' && c <= 'z') || (c >= '0' && c <= '9');
}

static bool digits(const char *at, size_t len)
{
    for (size_t i = 0; i < len; i++)
        if (at[i] < '0' || at[i] > '9')
            return false;
    return true;
}

/* Length of the separator at s[i]: one '.', one or two '_', any run of '-'; 0 when there is none.
 */
static size_t separator(struct str s, size_t i)
{
    size_t n = 0;

    if (s.at[i] == '.')
        return 1;
    if (s.at[i] == '_')
        return i + 1 < s.len && s.at[i + 1] == '_' ? 2 : 1;
    while (i + n < s.len && s.at[i + n] == '-')
        n++;
    return n;
}

bool name_valid(struct str name)
{
    size_t i = 0, n;

    if (name.len == 0 || name.len > NAME_MAX_LEN)
        return false;
    for (;;) {
        n = i;
        while (i < name.len && lower_or_digit(name.at[i]))
            i++;
        if (i == n)
            return false;
        if (i == name.len)
            return true;
        n = name.at[i] == '/' ? 1 : separator(name, i);
        if (n == 0)
            return false;
        i += n;
    }
}

bool tag_valid(struct str tag)
{
    if (tag.len == 0 || tag.len > TAG_MAX_LEN)
        return false;
    for (size_t i = 0; i < tag.len; i++) {
        char c = tag.at[i];
        bool word = lower_or_digit(c) || (c >= 'A' && c <= 'Z') || c == '_';

        if (!word && (i == 0 || (c != '.' && c != '-')))
            return false;
    }
    return true;
}

bool name_reserved(struct str name)
{
    ptrdiff_t slash = str_find(name, '/');
    struct str first = slash < 0 ? name : str_head(name, (size_t)slash);

    return first.len == RESERVED_LEN && str_starts(first, STR("at-")) && digits(first.at + 3, 8) &&
           first.at[11] == 't' && digits(first.at + 12, 6) && first.at[18] == 'z';
}

int reference_parse(struct str text, struct reference *ret)
{
    struct reference ref = {.tag = STR_NONE};
    int r;

    if (str_find(text, ':') >= 0) {
        r = digest_parse(text, &ref.digest);
        if (r < 0)
            return r;
        ref.is_digest = true;
    } else {
        if (!tag_valid(text))
            return -ERR_INVAL;
        ref.tag = text;
    }
    *ret = ref;
    return 0;
}
