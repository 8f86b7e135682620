/* Growable byte buffer with a named maximum. Not thread-safe; owned by one holder at a time.
 *
 * Adding past max or failing to allocate sets a sticky error and adds nothing more: callers may add
 * many times and check once with buf_err(). A NUL always follows the bytes (not counted), so
 * buf_c() is a C string when the content holds no NUL. */
#ifndef STOWAGE_BASE_BUF_H
#define STOWAGE_BASE_BUF_H

#include "base/err.h"
#include "base/str.h"

struct buf {
    char *at;
    size_t len, cap, max;
    int err; /* 0, -ERR_TOOBIG or -ERR_NOMEM */
};

#define BUF_INIT(maximum) ((struct buf){NULL, 0, 0, (maximum), 0})

void buf_done(struct buf *b);  /* frees; the buffer is empty and usable again, max kept */
void buf_clear(struct buf *b); /* length 0, error cleared, memory kept */
#define auto_buf auto_of(buf_done)

void buf_add(struct buf *b, struct str s);
void buf_addc(struct buf *b, char c);
void buf_addf(struct buf *b, const char *format, ...) printf_like(2, 3);
void buf_add_u64(struct buf *b, uint64_t v);
/* Room for n more bytes at the returned place (NULL on error); buf_added() then counts those
 * written. */
char *buf_reserve(struct buf *b, size_t n);
void buf_added(struct buf *b, size_t n);
void buf_truncate(struct buf *b, size_t len);

static inline struct str buf_str(const struct buf *b)
{
    return (struct str){b->at, b->len};
}
const char *buf_c(const struct buf *b); /* never NULL */
static inline int buf_err(const struct buf *b)
{
    return b->err;
}

#endif
