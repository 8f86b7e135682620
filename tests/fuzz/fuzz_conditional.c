/* Input: the size of a body in 8 bytes, then one header value, looked at as Range, If-None-Match
 * and Content-Range. */
#include "fuzz.h"
#include "registry/conditional.h"

static struct fuzz_regex *content_range_regex;

static void check_ranges(struct str header, uint64_t size)
{
    static struct byte_range ranges[HTTP_RANGES_MAX];
    size_t count = 0;
    __extension__ unsigned __int128 total = 0;
    enum range_kind kind = ranges_parse(header, size, ranges, &count);

    if (kind != RANGE_SOME)
        return;
    assert(count > 0 && count <= HTTP_RANGES_MAX);
    for (size_t i = 0; i < count; i++) {
        assert(ranges[i].first <= ranges[i].last && ranges[i].last < size);
        total += ranges[i].last - ranges[i].first + 1;
    }
    assert(count == 1 || total <= size);
}

/* A list that names the digest still does with anything before it. */
static void check_etag(struct str header)
{
    static const char *const before[] = {"", "\"", "W/\"", " W/", "\t\""};
    static const char *const behind[] = {"", "\"", "\"", " ,", "\" , x"};
    struct digest d;
    char text[DIGEST_TEXT_MAX];

    digest_of(DIGEST_SHA256, STR("x"), &d);
    digest_text(&d, text);
    for (size_t i = 0; i < ARRAY_LEN(before); i++) {
        struct buf list auto_buf = BUF_INIT(FUZZ_INPUT_MAX + 256);

        buf_add(&list, header);
        buf_addc(&list, ',');
        buf_addf(&list, "%s%s%s", before[i], text, behind[i]);
        assert(buf_err(&list) == 0 && etag_listed(buf_str(&list), str_of(text)));
    }
    if (etag_listed(header, str_of(text)))
        assert(str_find(header, '*') >= 0 ||
               memmem(header.at, header.len, text, strlen(text)) != NULL);
}

static void check_content_range(struct str header)
{
    uint64_t first = 1, last = 0;
    struct buf again auto_buf = BUF_INIT(128);
    uint64_t first2 = 0, last2 = 0;

    if (!content_range_parse(header, &first, &last))
        return;
    assert(first <= last);
    if (!fuzz_has_nul(header))
        assert(fuzz_matches(&content_range_regex, "^(bytes[ =])?[0-9]+-[0-9]+(/.*)?$", header));
    buf_addf(&again, "%llu-%llu", (unsigned long long)first, (unsigned long long)last);
    assert(content_range_parse(buf_str(&again), &first2, &last2));
    assert(first == first2 && last == last2);
}

void fuzz_one(struct str input)
{
    uint64_t size = fuzz_u64(&input);

    check_ranges(input, size);
    check_etag(input);
    check_content_range(input);
}
