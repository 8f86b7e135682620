/* Inside of a replica; included by replica*.c only. */
#ifndef STOWAGE_MANIFESTS_REPLICA_INTERNAL_H
#define STOWAGE_MANIFESTS_REPLICA_INTERNAL_H

#include <stdatomic.h>

#include "manifests/replica.h"

#define REPLICA_NAME_MAX 512
#define REPLICA_HINT_MAX 4096
#define REPLICA_BAD_MAX  16 /* the oldest is forgotten */

#define NS_PER_MS 1000000

struct table_writer;

struct replica {
    struct node *node; /* borrowed */
    const struct replica_ops *ops;
    void *self;
    struct layers *layers;
    struct table_cache *cache;
    struct work *background;
    struct objlog *log; /* the holder's; probes by anyone */
    char prefix[REPLICA_NAME_MAX], name[REPLICA_NAME_MAX];
    struct str prefix_str, name_str;
    atomic_size_t bytes;
    _Atomic int64_t confirmed_ns; /* begin of a probe that found the state to be the head */
    bool frozen;                  /* stands at a position of the past; set before it is shared */
    uint64_t frozen_seq;

    struct mutex mu; /* guards everything below and the owner's state */
    struct objlog_pos pos;
    bool readonly; /* entries are lost or damaged: no commits */
    bool unheard;  /* the holder's: opened without a look at the hint, being empty */
    bool stuck;    /* the next entry is damaged: nothing more will be applied */
    int refused;   /* 0, or the error that everything answers (-ERR_VERSION, -ERR_NOMEM) */
    struct err_detail why;

    /* The log's one holder; others wait, followers before committers. */
    bool held;
    unsigned followers_waiting;
    struct cond followers;

    /* Shared probes, numbered as they begin: whoever arrives is served by the next to begin. */
    bool probing;
    uint64_t probe_begun, probe_done, probe_failed;
    int probe_err;
    struct err_detail probe_detail;
    struct cond probers;

    /* Fairness, the holder's: when another node's entry was seen, how long an entry of ours took,
     * and when this node last left the next number to others, and until when. */
    int64_t foreign_ms, round_ns, yielded_ms, yield_until_ms;

    struct replica_op *queue, **queue_end;
    size_t queue_len;

    struct due due;
    uint64_t unwritten;     /* bytes of entries applied since a checkpoint was begun here */
    uint64_t base_seq;      /* position of the base, 0 none */
    bool freezing;          /* the frozen layer belongs to the task that writes a checkpoint */
    bool table_pending;     /* what froze is not written yet, by choice */
    bool table_ready;       /* the task is to be submitted */
    struct cond table_over; /* it ended */
    struct table_writer *writer;
    uint64_t bad_tables[REPLICA_BAD_MAX]; /* positions of checkpoints that are not used any more */
    size_t bad_count, bad_next;
    uint64_t known_seq; /* the log reached this, whatever is read of it now */
};

/* Holder, without the lock. */
int replica_follow(struct replica *r, struct err_detail *detail) must_check;
/* The same up to the entry stop, unless that is 0: 1 when it stands there now. What it meets on the
 * way is answered only, not held against the log. */
int replica_follow_to(struct replica *r, uint64_t stop, struct err_detail *detail) must_check;
int replica_apply(struct replica *r, const struct objlog_entry *e, bool own,
                  const struct replica_known *known, struct err_detail *detail) must_check;
/* 0: the replica stands at the checkpoint of that position. -ERR_NOTFOUND: it is not to be had
 * (said by an alarm when it is damaged). */
int replica_try_table(struct replica *r, uint64_t seq, struct err_detail *detail) must_check;
/* Of a frozen one: to its position, from nothing. */
int replica_go_to(struct replica *r, struct err_detail *detail) must_check;
/* event NULL: the alarm was raised already. */
void replica_set_readonly(struct replica *r, const char *event, uint64_t expected);

#define REPLICA_TURN      1u /* said to an operation: the lead may be free */
#define REPLICA_DONE_SAID 2u /* it has its answer; the last that is said */

/* Locked: the log is free, someone else may hold it. */
void replica_pass_on(struct replica *r);

/* ---- replica_open.c */
/* 0: the replica stands at the checkpoint of that position. -ERR_NOTFOUND: it is not to be had
 * (said by an alarm when it is damaged). */
int replica_try_table(struct replica *r, uint64_t seq, struct err_detail *detail) must_check;
/* Opens anew, in place, after the table at the base was found damaged or gone; nobody sees an older
 * state meanwhile. Not the holder, not locked. */
int replica_reload(struct replica *r, struct err_detail *detail) must_check;
bool replica_lost(const struct replica *r); /* locked: it needs that */

/* ---- replica_table.c */
/* Locked: the entry just applied moves the due rule; the changes may freeze for a checkpoint. */
void replica_table_applied(struct replica *r, const struct objlog_entry *e, bool own);
/* Holder, not locked: hands a checkpoint to the background; waits for the one before while too much
 * lies in memory. */
void replica_table_submit(struct replica *r);
/* Holder, not locked: the log's end was reached; what froze on the way is written. */
void replica_table_replayed(struct replica *r);
void replica_table_free(struct replica *r);
/* Not locked: until none is being written. */
void replica_table_wait(struct replica *r);
struct table_spec replica_table_spec(const struct replica *r);

/* ---- replica_prune.c */
struct prune {
    struct store *store;
    struct str prefix, name;
};
/* Removes checkpoints that nobody needs any more, and parts that none names. */
void replica_prune(const struct prune *p);
#define REPLICA_PART_GRACE_MS (15 * 60 * 1000LL) /* what is younger may be about to be named */
#define REPLICA_TABLE_MAX_MS  (5 * 60 * 1000LL)  /* a checkpoint that takes longer is given up */

#endif
