/* A borrowed view of bytes, not NUL-ended. at may be NULL only when len is 0. Any thread. */
#ifndef STOWAGE_BASE_STR_H
#define STOWAGE_BASE_STR_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

struct str {
    const char *at;
    size_t len;
};

#define STR(literal) ((struct str){"" literal, sizeof(literal) - 1})
#define STR_NONE     ((struct str){NULL, 0})
#define STR_FMT      "%.*s"
#define STR_ARG(s)   (int)(s).len, ((s).len ? (s).at : "")

static inline struct str str_of(const char *c)
{
    return (struct str){c, c ? strlen(c) : 0};
}

static inline struct str str_make(const void *at, size_t len)
{
    return (struct str){at, len};
}

static inline bool str_eq(struct str a, struct str b)
{
    return a.len == b.len && (a.len == 0 || memcmp(a.at, b.at, a.len) == 0);
}

/* Byte order, shorter first on a common prefix: the order of every sorted answer. */
static inline int str_cmp(struct str a, struct str b)
{
    size_t n = a.len < b.len ? a.len : b.len;
    int c = n ? memcmp(a.at, b.at, n) : 0;
    return c ? c : (a.len > b.len) - (a.len < b.len);
}

static inline bool str_starts(struct str s, struct str prefix)
{
    return s.len >= prefix.len && (prefix.len == 0 || memcmp(s.at, prefix.at, prefix.len) == 0);
}

static inline bool str_ends(struct str s, struct str suffix)
{
    return s.len >= suffix.len &&
           (suffix.len == 0 || memcmp(s.at + s.len - suffix.len, suffix.at, suffix.len) == 0);
}

/* Index of the first c, or -1. */
static inline ptrdiff_t str_find(struct str s, char c)
{
    const char *p = s.len ? memchr(s.at, c, s.len) : NULL;
    return p ? p - s.at : -1;
}

static inline struct str str_skip(struct str s, size_t n)
{
    return n >= s.len ? (struct str){s.at ? s.at + s.len : NULL, 0}
                      : (struct str){s.at + n, s.len - n};
}

static inline struct str str_head(struct str s, size_t n)
{
    return (struct str){s.at, n < s.len ? n : s.len};
}

/* Decimal digits only, no sign, no blanks; false when empty, not digits, or past UINT64_MAX. */
bool str_u64(struct str s, uint64_t *ret);

/* ASCII only, whatever the locale. */
bool str_eq_nocase(struct str a, struct str b);

/* Bytes of the character at the start of s, 1 to 4; 0 when s is empty or does not start with valid
 * UTF-8. */
size_t utf8_step(struct str s);
bool utf8_valid(struct str s);

/* A copy that ends with NUL, the caller's to free; NULL: no memory. (strndup may look behind what
 * does not end so.) */
char *str_dup(struct str s);

#endif
