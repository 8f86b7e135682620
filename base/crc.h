/* CRC-32C (Castagnoli, RFC 3720 appendix B.4): finds damage, proves nothing. Pure, any thread. */
#ifndef STOWAGE_BASE_CRC_H
#define STOWAGE_BASE_CRC_H

#include "base/str.h"

uint32_t crc32c(struct str bytes);
uint32_t crc32c_plain(struct str bytes); /* without the processor's instruction */

#endif
