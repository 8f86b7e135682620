/* Ownership words and function attributes.
 *
 * auto_of(fn) runs fn(&variable) when the variable leaves scope; every type with a destructor names
 * its own word (auto_buf, auto_fd, ...) beside it. x_steal(&v) takes the value out and leaves the
 * empty one. */
#ifndef STOWAGE_BASE_ATTR_H
#define STOWAGE_BASE_ATTR_H

#include <stdlib.h>

#define must_check        __attribute__((warn_unused_result))
#define printf_like(f, a) __attribute__((format(printf, f, a)))
#define auto_of(fn)       __attribute__((cleanup(fn)))
#define ARRAY_LEN(a)      (sizeof(a) / sizeof((a)[0]))

static inline void mem_freep(void *pp)
{
    free(*(void **)pp);
    *(void **)pp = NULL;
}
#define auto_free auto_of(mem_freep)

/* Takes a pointer out of its owner. */
#define STEAL(p)                                                                                   \
    __extension__({                                                                                \
        __typeof__(p) taken_ = (p);                                                                \
        (p) = NULL;                                                                                \
        taken_;                                                                                    \
    })

#endif
