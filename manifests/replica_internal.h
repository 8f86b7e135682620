/* Inside of a replica; included by replica*.c only. */
#ifndef STOWAGE_MANIFESTS_REPLICA_INTERNAL_H
#define STOWAGE_MANIFESTS_REPLICA_INTERNAL_H

#include <stdatomic.h>

#include "manifests/replica.h"

#define REPLICA_NAME_MAX 512
#define REPLICA_HINT_MAX 4096

struct table_writer;

struct replica {
    struct node *node; /* borrowed */
    const struct replica_ops *ops;
    void *self;
    struct work *background;
    struct objlog *log; /* the holder's; probes by anyone */
    char prefix[REPLICA_NAME_MAX], name[REPLICA_NAME_MAX];
    struct str prefix_str, name_str;
    atomic_size_t bytes;
    atomic_bool dead;
    _Atomic int64_t confirmed_ms; /* begin of a probe that found the state to be the head */

    struct mutex mu; /* guards everything below and the owner's state */
    struct objlog_pos pos;
    bool readonly; /* entries are lost or damaged: no commits */
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
    uint64_t unwritten; /* bytes of entries applied since a checkpoint was encoded here */
    struct table_writer *writer;
    bool table_ready; /* the writer holds one to be submitted */
};

/* Holder, without the lock. */
int replica_follow(struct replica *r, struct err_detail *detail) must_check;
int replica_apply(struct replica *r, const struct objlog_entry *e, bool own,
                  struct err_detail *detail) must_check;
/* event NULL: the alarm was raised already. */
void replica_set_readonly(struct replica *r, const char *event, uint64_t expected);

#define REPLICA_TURN      1u /* said to an operation: the lead may be free */
#define REPLICA_DONE_SAID 2u /* it has its answer; the last that is said */

/* Locked: the log is free, someone else may hold it. */
void replica_pass_on(struct replica *r);

/* Locked: the entry just applied moves the due rule; a checkpoint may get encoded. */
void replica_table_applied(struct replica *r, const struct objlog_entry *e, bool own);
/* Not locked: hands an encoded checkpoint to the background. */
void replica_table_submit(struct replica *r);
void replica_table_free(struct replica *r);

#endif
