/* Following the changes of one repository, or of all, from any position (docs/http-api.md, events;
 * I8). Every committed operation reaches a reader at least once, those of one repository in order,
 * with the same bytes each time.
 *
 * Order. Entries older than EVENTS_SEAL_MS come by ten minutes of their times, in these by
 * repository, in these by number: all readers get them in one order. Younger ones may still come to
 * light in between, so a reader gets what is there in that order once, and from then on what comes,
 * as it comes. Of one repository the order is always that of its log.
 *
 * Where changes are found. Writers make a marker of ten minutes before their entries (`changes/`).
 * Old entries are found by listing markers. For new ones a thread lists the markers of now and
 * looks for the next entry of the repositories in them, every EVENTS_POLL_MS while somebody reads;
 * what this node commits itself it is told of (events_committed). Costs per second with a reader: a
 * listing for each 1,000 repositories written to in these ten minutes, a look for each.
 *
 * A reader waits without a thread: events_step answers what is there, and its `wake` is called when
 * there is more. Thread rule: any thread, a reader by one at a time. */
#ifndef STOWAGE_MANIFESTS_EVENTS_H
#define STOWAGE_MANIFESTS_EVENTS_H

#include "manifests/event_cursor.h"

#define EVENTS_READERS_MAX 256
#define EVENTS_POLL_MS     1000
#define EVENTS_IDLE_MS     60000           /* looking ends so long after the last reader */
#define EVENTS_SEAL_MS     (1200 * 1000LL) /* an entry comes to light within this of its time */
#define EVENTS_ACTIVE_MAX  262144          /* repositories written to in the last half hour */
#define EVENTS_NOTICES_MAX 16384           /* a reader further behind reads old entries again */
#define EVENTS_STEP_BYTES  (256u << 10)    /* a step ends when it has told so much */

struct events; /* per node */

int events_new(struct node *n, struct events **ret) must_check;
void events_free(struct events *ev); /* without readers */

/* This node committed entry seq: never waits, any thread. */
void events_committed(struct events *ev, struct str repo, uint64_t seq);

struct events_reader;

struct events_spec {
    struct str repo;  /* empty: all */
    struct str after; /* a cursor; empty: from the first; "now": what comes from now on; of one
                         repository also a number: after that entry */
    /* May it read of this repository? NULL: of all. */
    bool (*allowed)(void *arg, struct str repo);
    void (*wake)(void *arg); /* from any thread, must not wait nor call back */
    void *arg;
};
/* -ERR_INVAL: the cursor; -ERR_BUSY: too many readers. Strings are copied. May wait for the store.
 */
int events_open(struct events *ev, const struct events_spec *spec, struct events_reader **ret,
                struct err_detail *detail) must_check;
void events_close(struct events_reader *r); /* afterwards wake is not called any more */

/* Tells some events: fn gets each with its action and, at the last one of an entry, the cursor
 * behind it, where one is known (else empty); non-zero ends the step behind that entry. 0: nothing
 * more is there, wake will be called; 1: call again. Errors: the store's; call again later. */
struct event {
    struct str text, action, repo, cursor;
};
typedef int (*events_fn)(const struct event *e, void *arg);
int events_step(struct events_reader *r, events_fn fn, void *arg,
                struct err_detail *detail) must_check;

/* Has it told all that was there? */
bool events_caught_up(const struct events_reader *r);

/* The newest cursor such that everything told so far lies before it, or will be told again; valid
 * until the next step. Empty before the first step that knew one. */
struct str events_cursor(const struct events_reader *r);

#endif
