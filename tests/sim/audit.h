/* Rules that the store alone can be held to: each effect is looked at as it happens, and all that
 * lies there at the end. Knows the bucket format (docs/bucket-format.md), not the code that writes
 * it, but for the encoder of checkpoints. All faults go to sim_fail. */
#ifndef STOWAGE_TESTS_SIM_AUDIT_H
#define STOWAGE_TESTS_SIM_AUDIT_H

#include "base/str.h"
#include "tasks.h"

void audit_begin(void);
void audit_end(void); /* frees */

bool audit_is_entry(struct str key); /* of a log */
/* A process read that an entry is not there; a create leaves it. */
void audit_absent(const struct proc *p, struct str key);
void audit_sending(const struct proc *p, struct str key, struct str bytes);
void audit_created(struct str key, struct str bytes);
void audit_exists(struct str key, struct str bytes); /* a create that found something */
void audit_put(struct str key, struct str bytes);
void audit_removed(struct str key);

/* At the end, when nothing moves any more. */
void audit_store(void);   /* logs, checkpoints, records, catalog */
void audit_history(void); /* clients' records: linearizable, nothing missing, nothing doubled */
unsigned audit_too_complex(void); /* histories the checker gave up on, since the start */
unsigned audit_judged(void);

#endif
