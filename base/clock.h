/* Clocks and sleep. The only place that asks the kernel for time (a lint holds it). Any thread.
 *
 * Correctness rests on the rate of clock_boot_ms (CLOCK_BOOTTIME), never on agreement between
 * machines. Every function goes through the scheduler when one is installed (base/thread.h), so
 * whole nodes can run in virtual time. */
#ifndef STOWAGE_BASE_CLOCK_H
#define STOWAGE_BASE_CLOCK_H

#include <stdint.h>

int64_t clock_boot_ms(void); /* counts while suspended; for ages, deadlines, validity */
int64_t clock_boot_ns(void); /* same clock, for measuring */
int64_t clock_wall_ms(void); /* UTC, milliseconds since 1970; may jump; for stamps only */
void clock_sleep_ms(int64_t ms);

#endif
