/* Invariants of a repository's state, whatever operations it comes from. */
#ifndef STOWAGE_TESTS_STATE_CHECK_H
#define STOWAGE_TESTS_STATE_CHECK_H

#include "fuzz.h"
#include "manifests/checkpoint.h"

/* Every tag stands on a manifest that is present, counts follow from refs. */
void state_check(const struct state *s);
/* The checkpoint has the size foretold, and decoded it is the same state: equal bytes again. */
void state_check_table(const struct state *s, const struct checkpoint_head *head);

#endif
