/* Every failure of malloc gives -ERR_NOMEM and leaks nothing: each case runs again and again with
 * the n-th allocation failing, until it gets through. The program's own malloc counts; sanitizers
 * bring theirs, so the cases run without failures there. */
#include <stdlib.h>

#include "base/buf.h"
#include "base/json.h"
#include "base/omap.h"
#include "base/work.h"
#include "check.h"

#define ALLOCATIONS_MAX 1000

#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
#define OWN_MALLOC 0
#elif defined(__clang__)
#define OWN_MALLOC !(__has_feature(address_sanitizer) || __has_feature(thread_sanitizer))
#else
#define OWN_MALLOC 1
#endif

static _Thread_local int fail_at; /* 0 = none; 1 = the next one */
static _Thread_local int outstanding;

#if OWN_MALLOC
void *__libc_malloc(size_t n);
void *__libc_calloc(size_t n, size_t size);
void *__libc_realloc(void *p, size_t n);
void __libc_free(void *p);

static bool fails(void)
{
    return fail_at > 0 && --fail_at == 0;
}

static void *counted(void *p)
{
    outstanding += p != NULL;
    return p;
}

void *malloc(size_t n)
{
    return fails() ? NULL : counted(__libc_malloc(n));
}

void *calloc(size_t n, size_t size)
{
    return fails() ? NULL : counted(__libc_calloc(n, size));
}

void *realloc(void *p, size_t n)
{
    if (fails())
        return NULL;
    return p ? __libc_realloc(p, n) : counted(__libc_realloc(p, n));
}

void free(void *p)
{
    outstanding -= p != NULL;
    __libc_free(p);
}
#endif

static int use_buf(void)
{
    struct buf b auto_buf = BUF_INIT(100000);

    for (int i = 0; i < 1000; i++)
        buf_addf(&b, "%d,", i);
    buf_add(&b, STR("end"));
    return buf_err(&b);
}

static int use_omap(void)
{
    struct omap *m auto_omap = NULL;
    int r = omap_new(NULL, &m);

    for (int i = 0; r == 0 && i < 20; i++) {
        size_t count = omap_count(m);

        r = omap_put(m, str_make(&i, sizeof(i)), &fail_at);
        if (r < 0 && omap_count(m) != count)
            return 1;
    }
    return r;
}

static int use_json(void)
{
    struct json_doc *doc auto_json = NULL;
    struct err_detail d = {{0}};

    return json_parse(STR("{\"a\":[1,2.5,\"x\\u00fcy\",true,null],\"b\":{\"c\":\"d\",\"e\":{}},"
                          "\"long\":\"0123456789012345678901234567890123456789\"}"),
                      &doc, &d);
}

static int use_json_dump(void)
{
    struct json_doc *doc auto_json = NULL;
    struct buf b auto_buf = BUF_INIT(1000);
    int left = fail_at, r;

    fail_at = 0;
    r = json_parse(STR("{\"b\":[{\"x\":1},2.5],\"a\":\"y\"}"), &doc, NULL);
    fail_at = left;
    if (r == 0) {
        json_dump(&b, json_root(doc));
        r = buf_err(&b);
    }
    return r;
}

static int use_work(void)
{
    struct work *w = NULL;
    int r = work_new("nomem", 3, 5, &w);

    work_free(w);
    return r;
}

static void every_failure_is_reported(void **state)
{
    static const struct {
        const char *name;
        int (*fn)(void);
        int allocations_min;
    } cases[] = {
        {"buf", use_buf, 3},    {"omap", use_omap, 21},
        {"json", use_json, 20}, {"json_dump", use_json_dump, 2},
        {"work", use_work, 3},
    };

    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        int n = 1;

        assert_int_equal(cases[i].fn(), 0); /* what is allocated once for all */
        if (!OWN_MALLOC)
            continue;
        for (; n < ALLOCATIONS_MAX; n++) {
            int before = outstanding, r, left;

            fail_at = n;
            r = cases[i].fn();
            left = fail_at;
            fail_at = 0;
            if (left > 0) {
                check(r == 0, "%s without a failure", cases[i].name);
                break;
            }
            check(r == -ERR_NOMEM, "%s: allocation %d gives %d", cases[i].name, n, r);
            if (cases[i].fn != use_work) /* its threads free what this one allocates */
                check(outstanding == before, "%s: allocation %d leaks", cases[i].name, n);
        }
        check(n > cases[i].allocations_min && n < ALLOCATIONS_MAX, "%s: %d allocations",
              cases[i].name, n);
    }
}

static void more_than_there_is(void **state)
{
    struct buf b auto_buf = BUF_INIT(SIZE_MAX - 1);

    (void)state;
    if (!OWN_MALLOC)
        return;
    buf_addc(&b, 'x');
    assert_null(buf_reserve(&b, SIZE_MAX - 2));
    assert_int_equal(buf_err(&b), -ERR_NOMEM);
    assert_string_equal(buf_c(&b), "x");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_failure_is_reported),
        cmocka_unit_test(more_than_there_is),
    };

    return cmocka_run_group_tests_name("nomem", tests, NULL, NULL);
}
