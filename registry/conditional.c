/* Parsers for If-Match, If-None-Match, Range and Content-Range. */
#include "registry/conditional.h"

#include <assert.h>

#include "base/digest.h"

static struct str trim(struct str s)
{
    while (s.len && (s.at[0] == ' ' || s.at[0] == '\t'))
        s = str_skip(s, 1);
    while (s.len && (s.at[s.len - 1] == ' ' || s.at[s.len - 1] == '\t'))
        s.len--;
    return s;
}

/* Takes the next element of a comma list out of *rest. */
static struct str next_element(struct str *rest)
{
    ptrdiff_t comma = str_find(*rest, ',');
    struct str one = comma < 0 ? *rest : str_head(*rest, (size_t)comma);

    *rest = comma < 0 ? STR_NONE : str_skip(*rest, (size_t)comma + 1);
    return trim(one);
}

bool etag_listed(struct str header, struct str digest_text)
{
    while (header.len) {
        struct str one = next_element(&header);

        if (str_eq(one, STR("*")))
            return true;
        if (str_starts(one, STR("W/")))
            one = str_skip(one, 2);
        if (one.len >= 2 && one.at[0] == '"' && one.at[one.len - 1] == '"')
            one = str_make(one.at + 1, one.len - 2);
        if (str_eq(one, digest_text))
            return true;
    }
    return false;
}

size_t etags_max(struct str header)
{
    size_t n = header.len > 0;

    for (size_t i = 0; i < header.len; i++)
        n += header.at[i] == ',';
    return n;
}

void etags_add(struct str header, bool strong, struct etag_list *list)
{
    struct digest d;

    while (header.len) {
        struct str one = next_element(&header);

        if (str_eq(one, STR("*"))) {
            list->any = true;
            continue;
        }
        if (str_starts(one, STR("W/"))) {
            if (strong)
                continue;
            one = str_skip(one, 2);
        }
        if (one.len >= 2 && one.at[0] == '"' && one.at[one.len - 1] == '"')
            one = str_make(one.at + 1, one.len - 2);
        if (digest_parse(one, &d) < 0)
            continue;
        assert(list->count < list->max);
        list->at[list->count++] = one;
    }
}

/* One range: 1 = satisfiable, 0 = not, -1 = not a range at all. */
static int range_parse(struct str one, uint64_t size, struct byte_range *ret)
{
    ptrdiff_t dash = str_find(one, '-');
    struct str from, to;
    uint64_t first = 0, last = 0;

    if (dash < 0)
        return -1;
    from = trim(str_head(one, (size_t)dash));
    to = trim(str_skip(one, (size_t)dash + 1));
    if ((from.len == 0 && to.len == 0) || (from.len && !str_u64(from, &first)) ||
        (to.len && !str_u64(to, &last)))
        return -1;
    if (from.len == 0) { /* the last n bytes */
        if (last == 0 || size == 0)
            return 0;
        *ret = (struct byte_range){last >= size ? 0 : size - last, size - 1};
        return 1;
    }
    if (to.len == 0)
        last = size - 1;
    if (first >= size || (to.len && last < first))
        return 0;
    *ret = (struct byte_range){first, last >= size ? size - 1 : last};
    return 1;
}

enum range_kind ranges_parse(struct str header, uint64_t size, struct byte_range *out,
                             size_t *ret_count)
{
    struct str rest = trim(header);
    size_t count = 0, seen = 0;
    uint64_t total = 0, len;

    if (!str_starts(rest, STR("bytes=")))
        return RANGE_NONE;
    rest = str_skip(rest, 6);
    while (rest.len) {
        struct byte_range range;
        int ok = range_parse(next_element(&rest), size, &range);

        if (ok < 0 || ++seen > HTTP_RANGES_MAX)
            return RANGE_NONE;
        if (ok == 0)
            continue;
        len = range.last - range.first + 1;
        if (len > size - total) /* together longer than the body */
            return RANGE_NONE;
        total += len;
        out[count++] = range;
    }
    if (seen == 0)
        return RANGE_NONE;
    if (count == 0)
        return RANGE_UNSATISFIABLE;
    *ret_count = count;
    return RANGE_SOME;
}

bool content_range_parse(struct str s, uint64_t *ret_first, uint64_t *ret_last)
{
    ptrdiff_t dash, slash;
    uint64_t first, last;

    if (str_starts(s, STR("bytes ")) || str_starts(s, STR("bytes=")))
        s = str_skip(s, 6);
    slash = str_find(s, '/');
    if (slash >= 0)
        s = str_head(s, (size_t)slash);
    dash = str_find(s, '-');
    if (dash <= 0 || !str_u64(str_head(s, (size_t)dash), &first) ||
        !str_u64(str_skip(s, (size_t)dash + 1), &last) || last < first || last >= INT64_MAX)
        return false;
    *ret_first = first;
    *ret_last = last;
    return true;
}
