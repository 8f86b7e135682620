/* The way from a node to the store: each call is a message that takes time to arrive, an effect at
 * one instant, and a reply that takes time to come back. Below it lie store_fault and store_mem.
 * Faults, lateness and death strike here; so nodes see everything a network and an object store may
 * do to them, within the contract of blobstore/store.h (S1-S5).
 *
 * Every effect is shown to the audit (audit.h) at its instant. */
#ifndef STOWAGE_TESTS_SIM_NET_H
#define STOWAGE_TESTS_SIM_NET_H

#include "blobstore/store.h"
#include "tasks.h"

#define NET_LATE_MAX_US (15 * 60 * SEC) /* the window in which a store accepts an old signature */

/* Chances are in 10000 calls. */
struct net_faults {
    unsigned fail;      /* not applied, an error that may pass */
    unsigned fail_hard; /* not applied, an error that stays */
    unsigned lost;      /* applied, the reply is lost */
    unsigned own_exists;
    unsigned late;  /* no reply; applied later */
    unsigned twice; /* applied, and the same again later */
    unsigned crash; /* the process dies around this call */
    unsigned slow;  /* takes seconds */
    unsigned pause; /* the process sleeps behind this call */
    int64_t pause_max_us;
    unsigned cut; /* of log entries: sent, and then the process reaches nothing for a while */
};

/* The store of a simulation; at most one at a time. */
struct net_settings {
    struct net_faults faults;
    int64_t latency_max_us; /* of one way */
    bool remote;            /* nothing is answered without waiting */
};
void net_begin(uint64_t seed, const struct net_settings *settings);
void net_end(void);
void net_set_faults(const struct net_faults *faults); /* NULL: none */
/* Until then the calls of one process, or (p NULL) of all, fail, but for some in 10000. */
void net_outage(const struct proc *p, int64_t until_us, unsigned but);
/* The next entry of a repository is sent, arrives late, and then the store is away for so long; 0:
 * not any more. */
void net_cut_next(int64_t for_us);
/* Behind so many calls the process that made the last of them sleeps so long; for_us 0: not any
 * more. */
void net_sleep_next(unsigned calls, int64_t for_us);
/* The next answer that a number of a log is free takes so long to come back; 0: not any more. */
void net_slow_next(int64_t for_us);
/* Everything that is on its way arrives. */
void net_settle(void);
uint64_t net_calls(void);

/* A process's connection. die is called when a fault kills the process. */
int net_open(struct proc *p, void (*die)(struct proc *p), struct store **ret) must_check;

/* The bare store, for those who look at it from outside. */
struct store *net_store(void);

#endif
