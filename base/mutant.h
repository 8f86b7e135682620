/* Rules that tests may leave out: `if (mutant("name"))` stands beside a rule and says what a
 * program without it would do. Constant false, so nothing at all, but where STOWAGE_MUTANTS is
 * defined: in the twin that the simulator runs (tests/sim), which chooses one by name. A rule whose
 * mutant no test catches is not tested. */
#ifndef STOWAGE_BASE_MUTANT_H
#define STOWAGE_BASE_MUTANT_H

#include <stdbool.h>

#ifdef STOWAGE_MUTANTS
bool mutant_chosen(const char *name); /* of the test program */
#define mutant(name) __builtin_expect(mutant_chosen(name), false)
#else
#define mutant(name) false
#endif

#endif
