/* Errors. Functions return 0 (or a count) or a negative enum err; out-parameters (ret_*) are
 * touched only on success. Where a cause is known, it is written into a struct err_detail that the
 * caller may pass (or NULL). Three outcomes of a write are kept apart everywhere: refused (did not
 * happen), failed (did not happen), and ERR_UNKNOWN (may have happened; must be read back, never
 * blindly repeated). Any thread. */
#ifndef STOWAGE_BASE_ERR_H
#define STOWAGE_BASE_ERR_H

#include <stdbool.h>

#include "base/attr.h"
#include "base/err.def"

enum err {
    ERR_NONE = 0,
#define ERR_ENUM(name, status, retry, text) ERR_##name,
    ERR_TABLE(ERR_ENUM)
#undef ERR_ENUM
        ERR_COUNT
};

#define ERR_DETAIL_MAX 256

struct err_detail {
    char text[ERR_DETAIL_MAX]; /* one plain sentence, no secrets; empty when nothing is known */
};

/* All take the negative value that functions return (or ERR_x itself). */
const char *err_name(int err); /* "NOTFOUND" */
const char *err_text(int err); /* "no such object" */
int err_status(int err);       /* default HTTP status */
bool err_retryable(int err);
int err_from_errno(
    int errno_value); /* negative enum err; ENOSPC, EDQUOT -> NOSPACE, ENOENT -> NOTFOUND, ... */

/* Writes the text (cut at the limit) when detail is given and returns err: return err_set(d,
 * -ERR_INVAL, "..."); */
int err_set(struct err_detail *detail, int err, const char *format, ...) printf_like(3, 4);

#endif
