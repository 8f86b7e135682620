/* What tests of the blobstore share: time that stands still until it is moved (sleeping moves it),
 * faults by rule, a process that dies at its n-th store call, and a check of logs that knows
 * nothing of objlog.c. */
#ifndef STOWAGE_TESTS_BLOBSTORE_FIXTURE_H
#define STOWAGE_TESTS_BLOBSTORE_FIXTURE_H

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "blobstore/node.h"
#include "blobstore/objlog.h"
#include "blobstore/store.h"

/* Takes over clocks, sleep, randomness and locks of a test with one thread. */
void fake_time_install(void);
void fake_time_pass(int64_t ms);
int64_t fake_time_slept(void); /* milliseconds slept since the install */

#define RULES_MAX 8
struct rule {
    const char *op;       /* NULL: any */
    const char *key_part; /* NULL: any */
    unsigned from, to;    /* which of the calls that match, from 1; to 0 = from */
    enum store_fault fault;
    int err; /* of FAULT_FAIL_BEFORE and reads; 0 = -ERR_UNAVAIL */
    unsigned seen;
};
struct faults {
    struct rule rules[RULES_MAX];
    unsigned count;
    uint64_t calls;      /* since the last faults_clear */
    uint64_t fail_at;    /* this call alone fails before it is applied, 0 = none */
    uint64_t lost_at;    /* the reply of this call is lost, 0 = none */
    uint64_t dead_after; /* all later calls fail: the process is gone, 0 = never */
    uint64_t
        hook_at; /* before this call hook runs; its own calls are not counted and do not fail */
    void (*hook)(const struct store_fault_call *call, void *arg);
    void *hook_arg;
    bool in_hook;
};
struct store *faulty_store(struct faults *f, struct store *inner);
void faults_clear(struct faults *f);
void faults_add(struct faults *f, struct rule rule);

struct node *open_node(struct store *s);
struct store *mem_store(void);

/* A new folder for a store on files; removing it and all below. */
#define PLACE_MAX 256
void make_place(char out[PLACE_MAX]);
void remove_place(const char *place);

/* Whole object, appended to out; fails the test when it is not there. */
void read_object(struct store *s, const char *key, struct buf *out);
bool has_object(struct store *s, const char *key);
unsigned count_objects(struct store *s, const char *prefix);

/* Entries 1.. of a log are dense and chained by sha256, ts rises, nonces differ. Returns their
 * number. */
unsigned check_log(struct store *s, const char *prefix, bool deep);

#endif
