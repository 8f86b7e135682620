/* The error table as functions, and the writing of error details. Owns no state. */
#include <assert.h>
#include <errno.h>
#include <stdarg.h>
#include <stdio.h>

#include "base/err.h"
#include "base/str.h"

static const struct {
    const char *name, *text;
    int status;
    bool retryable;
} errs[ERR_COUNT] = {[ERR_NONE] = {"NONE", "no error", 200, false},
#define ERR_ROW(name, status, retry, text) [ERR_##name] = {#name, text, status, retry},
                     ERR_TABLE(ERR_ROW)
#undef ERR_ROW
};

static int err_index(int err)
{
    int i = err < 0 ? -err : err;

    assert(i >= 0 && i < ERR_COUNT);
    return i;
}

const char *err_name(int err)
{
    return errs[err_index(err)].name;
}

const char *err_text(int err)
{
    return errs[err_index(err)].text;
}

int err_status(int err)
{
    return errs[err_index(err)].status;
}

bool err_retryable(int err)
{
    return errs[err_index(err)].retryable;
}

/* Faults of this machine (permissions, bad arguments of ours) are IO: a client is never blamed for
 * them. */
int err_from_errno(int errno_value)
{
    switch (errno_value) {
    case ENOENT:
    case ENOTDIR:
        return -ERR_NOTFOUND;
    case EEXIST:
        return -ERR_EXISTS;
    case ENOSPC:
    case EDQUOT:
    case EFBIG: /* the file size limit of the process or the file system */
        return -ERR_NOSPACE;
    case ENOMEM:
        return -ERR_NOMEM;
    case ENAMETOOLONG:
        return -ERR_INVAL;
    case EAGAIN:
        return -ERR_AGAIN;
    case EMFILE:
    case ENFILE:
    case EBUSY:
        return -ERR_BUSY;
    case ECANCELED:
        return -ERR_CANCELLED;
    case ESTALE:
    case ETIMEDOUT:
    case ECONNREFUSED:
    case ECONNRESET:
    case ECONNABORTED:
    case ENETUNREACH:
    case EHOSTUNREACH:
    case EPIPE:
        return -ERR_UNAVAIL;
    default:
        return -ERR_IO;
    }
}

/* Details quote input: what is not printable UTF-8 becomes '?', also a sequence cut at the limit.
 */
static void make_plain(char *text, size_t len)
{
    size_t i = 0;

    while (i < len) {
        size_t n = utf8_step(str_make(text + i, len - i));

        if (n == 0 || (unsigned char)text[i] < 0x20 || text[i] == 0x7f) {
            text[i] = '?';
            n = 1;
        }
        i += n;
    }
}

int err_set(struct err_detail *detail, int err, const char *format, ...)
{
    va_list args;

    assert(format);
    err_index(err);
    if (!detail)
        return err;
    va_start(args, format);
    if (vsnprintf(detail->text, sizeof(detail->text), format, args) < 0)
        detail->text[0] = '\0';
    va_end(args);
    make_plain(detail->text, strlen(detail->text));
    return err;
}
