/* The tests that every backend of the object store passes, also behind the fault wrapper. A test
 * program appends them for each of its backends to one list and runs that. */
#ifndef STOWAGE_TESTS_STORE_SUITE_H
#define STOWAGE_TESTS_STORE_SUITE_H

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "blobstore/store.h"

#define SUITE_PLACE_MAX 256

struct suite_backend {
    const char *name;
    /* Opens a store. `place` belongs to one test; a second store of it sees what the first holds
     * when `shared` says so. */
    int (*open)(const char *place, struct store **ret, struct err_detail *detail);
    bool needs_place; /* a folder, made before and removed behind each test */
    bool shared;
    /* Over a network: nothing is known without waiting, dates are whole seconds, keys are UTF-8,
     * URLs can be signed, what is no full part is kept by whoever saves a stream. */
    bool remote;
};

/* Fills out with the suite's tests for the backend; returns how many. */
size_t suite_tests(const struct suite_backend *backend, struct CMUnitTest *out, size_t max);

/* A new folder; removing it and all below. */
void suite_make_place(char out[SUITE_PLACE_MAX]);
void suite_remove_place(const char *place);

/* FAULT_NONE always. */
enum store_fault suite_no_fault(const struct store_fault_call *call, int *ret_err, void *arg);

/* For tests of the directory alone: one store in a folder of its own. */
struct bench {
    struct store *s;
    char place[SUITE_PLACE_MAX];
};
int bench_setup(void **state);
int bench_teardown(void **state);
struct store *bench_open(const char *place);
const char *bench_path(const struct bench *t, const char *name); /* until the next call */
int bench_create(struct store *s, const char *key, const char *bytes);
/* Runs this program again with the arguments, `in` and `out` (-1: /dev/null) as its standard
 * streams; returns its exit code, or 128 and its signal. start and wait: the two halves. */
int bench_start(const char *const *arguments, int in, int out);
int bench_wait(int pid);
unsigned bench_names(const char *path); /* that do not begin with '.' */

#endif
