/* Input: the query of a request, as it was sent. */
#include "base/enc.h"
#include "fuzz.h"
#include "registry/api_common.h"
#include "registry/http_internal.h"

#define VALUES_MAX 64

static const char *const names[] = {"digest", "n", "last", "mount", "from", "tag"};

/* The same, found by another way: how many parameters bear the name. */
static unsigned occurrences(struct str query, struct str name)
{
    unsigned n = 0;

    for (size_t i = 0; i < query.len; i++) {
        struct str rest = str_skip(query, i);

        if ((i == 0 || query.at[i - 1] == '&') && str_starts(rest, name) &&
            (rest.len == name.len || rest.at[name.len] == '=' || rest.at[name.len] == '&'))
            n++;
    }
    return n;
}

/* A value comes back from a query made of it. */
static void check_round_trip(struct req *r, const char *name, struct str value)
{
    struct buf query auto_buf = BUF_INIT(4 * FUZZ_INPUT_MAX);
    struct buf again auto_buf = BUF_INIT(FUZZ_INPUT_MAX);
    struct str sent = r->query;

    buf_addf(&query, "x&%s=", name);
    url_encode(&query, value, NULL);
    buf_add(&query, STR("&x"));
    assert(buf_err(&query) == 0);
    r->query = buf_str(&query);
    assert(req_query(r, name, 0, false, &again) == 0 && str_eq(buf_str(&again), value));
    assert(req_query(r, name, 1, false, &again) == -ERR_NOTFOUND);
    r->query = sent;
}

static void check_name(struct req *r, const char *name)
{
    unsigned there = occurrences(r->query, str_of(name));

    for (unsigned i = 0; i < VALUES_MAX; i++) {
        struct buf plain auto_buf = BUF_INIT(FUZZ_INPUT_MAX);
        struct buf restored auto_buf = BUF_INIT(FUZZ_INPUT_MAX);
        int e = req_query(r, name, i, false, &plain);
        int e2 = req_query(r, name, i, true, &restored);

        assert(e == e2 && (e == -ERR_NOTFOUND) == (i >= there));
        if (e == -ERR_NOTFOUND)
            return;
        assert(e == 0 || e == -ERR_INVAL);
        if (e < 0)
            continue;
        assert(plain.len == restored.len && plain.len <= r->query.len);
        assert(str_find(buf_str(&restored), ' ') < 0 && !fuzz_has_nul(buf_str(&plain)));
        check_round_trip(r, name, buf_str(&plain));
    }
}

static void check_page_size(struct req *r)
{
    size_t n = 0;
    int e = api_page_size(r, 100, 1000, &n);

    assert((e == 0 || e == -ERR_INVAL) && n <= 1000);
    if (occurrences(r->query, STR("n")) == 0)
        assert(e == 0 && n == 100);
}

void fuzz_one(struct str input)
{
    static struct req r;

    if (fuzz_has_nul(input))
        return; /* a request line holds none */
    r.query = input;
    for (size_t i = 0; i < ARRAY_LEN(names); i++)
        check_name(&r, names[i]);
    check_page_size(&r);
}
