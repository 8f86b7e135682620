/* The S3 store against a real server (tests/s3/gateway.py starts it and says where): the shared
 * suite, bare and behind the fault wrapper. Stores of one place go to the server's processes in
 * turn. Without a server there is nothing to test here. */
#include "store_suite.h"

#include <stdio.h>
#include <string.h>

#include "blobstore/store_s3.h"

#define PART_BYTES (5u << 20) /* the least a server takes */

static int open_s3(const char *place, struct store **ret, struct err_detail *detail)
{
    static unsigned turn;
    struct store_s3_settings settings = {.bucket = str_of(getenv("STOWAGE_TEST_BUCKET")),
                                         .prefix = str_of(strrchr(place, '/') + 1),
                                         .part_bytes = PART_BYTES};
    struct str all = str_of(getenv("STOWAGE_TEST_S3"));
    ptrdiff_t blank = str_find(all, ' ');
    char endpoint[256];
    struct str one = blank < 0       ? all
                     : turn % 2 == 0 ? str_head(all, (size_t)blank)
                                     : str_skip(all, (size_t)blank + 1);

    turn++;
    snprintf(endpoint, sizeof(endpoint), STR_FMT, STR_ARG(one));
    settings.endpoint = endpoint;
    return store_s3_new(&settings, ret, detail);
}

static int open_fault(const char *place, struct store **ret, struct err_detail *detail)
{
    struct store *inner = NULL;
    int r = open_s3(place, &inner, detail);

    return r < 0 ? r : store_fault_new(inner, suite_no_fault, NULL, ret);
}

int main(void)
{
    static const struct suite_backend backends[] = {
        {"s3", open_s3, true, true, true},
        {"s3 behind fault", open_fault, true, true, true},
    };
    struct CMUnitTest tests[128];
    size_t n = 0;

    if (getenv("STOWAGE_TEST_S3") == NULL) {
        printf("1..0 # SKIP no S3 server\n");
        return 0;
    }
    for (size_t i = 0; i < ARRAY_LEN(backends); i++)
        n += suite_tests(&backends[i], tests + n, ARRAY_LEN(tests) - n);
    return _cmocka_run_group_tests("store_s3", tests, n, NULL, NULL);
}
