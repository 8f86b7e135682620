/* The memory store: the shared suite, bare and behind the fault wrapper. */
#include "store_suite.h"

static int open_mem(const char *place, struct store **ret, struct err_detail *detail)
{
    (void)place;
    (void)detail;
    return store_mem_new(ret);
}

static int open_fault(const char *place, struct store **ret, struct err_detail *detail)
{
    struct store *inner = NULL;
    int r = open_mem(place, &inner, detail);

    return r < 0 ? r : store_fault_new(inner, suite_no_fault, NULL, ret);
}

int main(void)
{
    static const struct suite_backend backends[] = {
        {"mem", open_mem, false, false, false},
        {"mem behind fault", open_fault, false, false, false},
    };
    struct CMUnitTest tests[128];
    size_t n = 0;

    for (size_t i = 0; i < ARRAY_LEN(backends); i++)
        n += suite_tests(&backends[i], tests + n, ARRAY_LEN(tests) - n);
    return _cmocka_run_group_tests("store_mem", tests, n, NULL, NULL);
}
