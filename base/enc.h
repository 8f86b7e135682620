/* Encodings: lower-case hex, base64, percent-encoding (RFC 3986), RFC 3339 times. Pure functions,
 * any thread. */
#ifndef STOWAGE_BASE_ENC_H
#define STOWAGE_BASE_ENC_H

#include "base/buf.h"

/* out takes 2 * len characters and a NUL. */
void hex_encode(const uint8_t *bytes, size_t len, char *out);
/* Exactly 2 * len lower-case digits, else false and out undefined. */
bool hex_decode(struct str hex, uint8_t *out, size_t len);

/* Base64 (RFC 4648). Encoding appends; the url form has '-' and '_' and no padding. Decoding takes
 * either alphabet with or without padding and refuses everything else: blanks, other characters,
 * bits that are left over. -ERR_INVAL. */
void b64_encode(struct buf *out, struct str bytes);
void b64url_encode(struct buf *out, struct str bytes);
int b64_decode(struct buf *out, struct str text) must_check;

/* Appends s with every byte outside [A-Za-z0-9._~-] and outside `also` percent-encoded. */
void url_encode(struct buf *out, struct str s, const char *also);
/* Appends the decoded bytes; plus_is_space for query values. -ERR_INVAL on a bad escape or %00. */
int url_decode(struct buf *out, struct str s, bool plus_is_space) must_check;

#define TIME_TEXT_MAX 32
/* "2026-11-22T07:50:00.123Z" from milliseconds since 1970 UTC; returns the view on out. */
struct str time_format_rfc3339(int64_t ms, char out[TIME_TEXT_MAX]);
/* "Sun, 22 Nov 2026 07:50:00 GMT" (RFC 9110 5.6.7). */
struct str time_format_http(int64_t ms, char out[TIME_TEXT_MAX]);
/* "202611220750" style digits of UTC down to the minute, for keys. */
struct str time_format_minute(int64_t ms, char out[TIME_TEXT_MAX]);

#endif
