/* What the files of the shared suite have in common. */
#ifndef STOWAGE_TESTS_STORE_SUITE_INTERNAL_H
#define STOWAGE_TESTS_STORE_SUITE_INTERNAL_H

#include "store_suite.h"

struct suite {
    const struct suite_backend *backend;
    struct store *s;
    char place[SUITE_PLACE_MAX];
};

struct suite_test {
    const char *name;
    CMUnitTestFunction fn;
};
#define SUITE_STREAM_TESTS 9
extern const struct suite_test suite_stream_tests[SUITE_STREAM_TESTS];

extern bool suite_remote; /* of the backend under test */

struct store *suite_open_again(struct suite *t); /* a second store of the same place */
int suite_create(struct store *s, const char *key, const char *bytes);
void suite_holds(struct store *s, const char *key, const char *bytes);
void suite_absent(struct store *s, const char *key);

/* Callbacks of listings. */
struct listed {
    char keys[64][64];
    unsigned count, stop_after;
    int stop_with;
};
int suite_collect(struct str key, const struct store_info *info, void *listed);
int suite_count(struct str key, const struct store_info *info, void *unsigned_number);

#endif
