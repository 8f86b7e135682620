/* Growable byte buffer. Invariants: len <= max; when at is not NULL, len < cap and at[len] is NUL.
 */
#include <assert.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

#include "base/buf.h"

#define BUF_CAP_MIN 64

void buf_done(struct buf *b)
{
    free(b->at);
    *b = BUF_INIT(b->max);
}

void buf_clear(struct buf *b)
{
    b->err = 0;
    b->len = 0;
    if (b->at)
        b->at[0] = '\0';
}

/* Room for n bytes and the NUL. */
static bool make_room(struct buf *b, size_t n)
{
    size_t need, cap;
    char *at;

    assert(b && b->len <= b->max);
    if (b->err)
        return false;
    if (n > b->max - b->len || b->max == SIZE_MAX) {
        b->err = -ERR_TOOBIG;
        return false;
    }
    need = b->len + n + 1;
    if (need <= b->cap)
        return true;
    cap = b->cap < BUF_CAP_MIN / 2 ? BUF_CAP_MIN : b->cap > SIZE_MAX / 2 ? need : b->cap * 2;
    if (cap < need)
        cap = need;
    if (cap > b->max + 1)
        cap = b->max + 1;
    at = realloc(b->at, cap);
    if (!at) {
        b->err = -ERR_NOMEM;
        return false;
    }
    b->at = at;
    b->cap = cap;
    b->at[b->len] = '\0';
    return true;
}

char *buf_reserve(struct buf *b, size_t n)
{
    return make_room(b, n) ? b->at + b->len : NULL;
}

void buf_added(struct buf *b, size_t n)
{
    if (b->err || n == 0)
        return;
    assert(n < b->cap - b->len);
    b->len += n;
    b->at[b->len] = '\0';
}

void buf_truncate(struct buf *b, size_t len)
{
    assert(len <= b->len);
    b->len = len;
    if (b->at)
        b->at[len] = '\0';
}

void buf_add(struct buf *b, struct str s)
{
    if (!make_room(b, s.len) || s.len == 0)
        return;
    memcpy(b->at + b->len, s.at, s.len);
    buf_added(b, s.len);
}

void buf_addc(struct buf *b, char c)
{
    buf_add(b, str_make(&c, 1));
}

void buf_addf(struct buf *b, const char *format, ...)
{
    va_list args, again;
    size_t room, n;
    int r;

    if (!make_room(b, 0))
        return;
    room = b->cap - b->len;
    va_start(args, format);
    va_copy(again, args);
    r = vsnprintf(b->at + b->len, room, format, args);
    va_end(args);
    n = r < 0 ? 0 : (size_t)r;
    if (r < 0) {
        b->err = -ERR_NOMEM;
    } else if (n < room) {
        b->len += n;
    } else if (make_room(b, n)) {
        r = vsnprintf(b->at + b->len, n + 1, format, again);
        assert((size_t)r == n);
        b->len += n;
    }
    va_end(again);
    b->at[b->len] = '\0'; /* a try that did not fit left its head behind */
}

void buf_add_u64(struct buf *b, uint64_t v)
{
    char digits[20];
    size_t at = sizeof(digits);

    do {
        digits[--at] = (char)('0' + v % 10);
        v /= 10;
    } while (v);
    buf_add(b, str_make(digits + at, sizeof(digits) - at));
}

const char *buf_c(const struct buf *b)
{
    return b->at ? b->at : "";
}
