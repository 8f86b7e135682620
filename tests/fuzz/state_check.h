/* What holds of every state, counted anew. */
#ifndef STOWAGE_TESTS_FUZZ_STATE_CHECK_H
#define STOWAGE_TESTS_FUZZ_STATE_CHECK_H

#include "fuzz.h"
#include "manifests/checkpoint.h"
#include "manifests/state.h"

/* Of a table for tests: nothing is stored. */
const struct table_spec *state_check_spec(void);

void state_check(const struct state *s);
/* Its checkpoint says the same again, to the byte. */
void state_check_table(const struct state *s, const struct checkpoint_head *head);

#endif
