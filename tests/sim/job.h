/* A job that one node does at a time (blobstore/lease.h, cursor.h), on nodes that sleep in the
 * middle of their steps: a run of its own, beside the world of clients. */
#ifndef STOWAGE_TESTS_SIM_JOB_H
#define STOWAGE_TESTS_SIM_JOB_H

#include "net.h"

/* One run in virtual time; what is wrong goes to sim_fail. faulty: the store fails as settings
 * say, but for crashes. Returns how many steps of a sleeper came too late. */
unsigned job_run(uint64_t seed, bool faulty, const struct net_settings *settings);

#endif
