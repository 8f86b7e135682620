/* Random bytes from the kernel (or the installed scheduler). Never fails: a kernel without
 * randomness ends the process. Any thread. */
#ifndef STOWAGE_BASE_RAND_H
#define STOWAGE_BASE_RAND_H

#include <stddef.h>
#include <stdint.h>

void rand_bytes(void *out, size_t len);
uint64_t rand_below(uint64_t n); /* uniform in [0, n), n > 0 */

#endif
