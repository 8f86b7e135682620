/* Inside of events; included by events*.c only. */
#ifndef STOWAGE_MANIFESTS_EVENTS_INTERNAL_H
#define STOWAGE_MANIFESTS_EVENTS_INTERNAL_H

#include <stdatomic.h>

#include "base/omap.h"
#include "base/thread.h"
#include "manifests/events.h"

#define BUCKET_MS  600000
#define DIRTY_MAX  256
#define MARKER_MAX 4096
#define CHANGES    "changes/"

/* A repository that may change soon, or did lately. Written by the hub's thread alone, under mu. */
struct active {
    struct active *newer, *older; /* by last change */
    uint64_t head;                /* all entries up to it were noticed */
    uint64_t noticed;             /* behind its last notice, 0: none */
    unsigned pins;                /* readers of it alone */
    int64_t bucket;               /* newest one with a marker; 0: none, only pinned */
    uint8_t id[EVENT_REPO_BYTES];
    size_t len;
    char name[];
};

struct notice {
    struct active *repo;
    uint64_t seq;
};

struct dirty {
    size_t len;
    uint64_t seq;
    char name[NAME_MAX_LEN];
};

struct events {
    struct node *node; /* borrowed */
    struct thread thread;

    atomic_bool watching; /* the thread looks; else commits need not be told */
    struct mutex mu;      /* guards everything below */
    struct cond wake;
    bool started, stop;
    unsigned reader_count;
    struct events_reader *readers;
    struct omap *active; /* name -> struct active; written by the thread alone */
    struct active *newest, *oldest;
    bool ready;     /* everything in the window is in `active` */
    int64_t window; /* oldest bucket that is not sealed */
    uint64_t tail;  /* index of the next notice */
    struct notice *notices;
    struct dirty *dirty;
    size_t dirty_count;
    bool dirty_lost; /* more than fit: look everywhere */
};

enum reading { READ_ONE, READ_OLD, READ_LIVE };

struct events_reader {
    struct events *events;
    struct events_reader *next, **at; /* guarded by the hub's mu */
    void (*wake)(void *arg);
    bool (*allowed)(void *arg, struct str repo);
    void *arg;
    struct str repo; /* on name */
    char name[NAME_MAX_LEN + 1];

    enum reading reading;
    bool from_now;             /* live as soon as the hub is ready */
    struct event_cursor place; /* of one: seq. Of all, while reading old entries: the place, and
                                  what was delivered behind it */
    bool in_window;
    struct buf list_after;  /* markers up to this one are done with; empty: not begun */
    struct omap *delivered; /* name -> uint64_t, in the window while old entries are read */
    uint64_t notice;        /* next one */
    uint64_t doubtful;      /* notices before it may be of what is in `delivered` */
    uint64_t target;        /* index up to which a cursor is known: */
    struct buf target_cursor;
    struct buf cursor; /* newest complete one */
    uint64_t told;     /* bytes in this step */
};

/* ---- events_hub.c */
struct hub_pace {
    int64_t next_ms, all_ms, said_ms; /* next look; next look at everything; last complaint */
    struct dirty mine[DIRTY_MAX];
};
void hub_cycle(struct events *ev, struct hub_pace *pace); /* what the thread does all the time */
int hub_start(struct events *ev) must_check;              /* locked */
/* Locked: where a reader stands that was told of everything noticed. */
void hub_cursor(struct events *ev, struct event_cursor *ret);
void hub_wake_readers(struct events *ev, struct str repo); /* locked; empty: all */

/* ---- events_read.c: the store */
int64_t events_bucket_start(int64_t bucket);
int events_marker_seq(struct events *ev, struct str key, uint64_t *ret,
                      struct err_detail *detail) must_check;
bool events_marker_parse(struct str key, int64_t *ret_bucket, struct str *ret_name);
void events_marker_key(struct buf *out, int64_t bucket, struct str name);
/* Greatest entry there is, not less than from (which is there, or 0). */
int events_find_head(struct events *ev, struct str name, uint64_t from, uint64_t *ret,
                     struct err_detail *detail) must_check;
/* Is entry seq there? 1, 0. */
int events_entry_there(struct events *ev, struct str name, uint64_t seq,
                       struct err_detail *detail) must_check;

#endif
