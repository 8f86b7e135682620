/* Conditional requests and ranges (RFC 9110 sections 13 and 14; R34-R38, R77). Pure, any thread. */
#ifndef STOWAGE_REGISTRY_CONDITIONAL_H
#define STOWAGE_REGISTRY_CONDITIONAL_H

#include "registry/http.h"

/* Does an If-None-Match value name the digest: quoted or bare, weak or strong, in a list, or "*"?
 */
bool etag_listed(struct str header, struct str digest_text);

/* The entity tags of one line of If-Match (strong: weak ones never match) or If-None-Match, for a
 * write. Those that are no digests can match nothing and are left out. */
struct etag_list {
    bool any;       /* "*" */
    struct str *at; /* texts of digests, borrowed from the headers */
    size_t count, max;
};
size_t etags_max(struct str header); /* elements, at most */
void etags_add(struct str header, bool strong, struct etag_list *list);

enum range_kind {
    RANGE_NONE,         /* no usable range: the whole (200) */
    RANGE_SOME,         /* 206 */
    RANGE_UNSATISFIABLE /* 416 */
};
/* Reads a Range value for a body of that size. Ranges are clamped; more than HTTP_RANGES_MAX, or
 * together longer than the body, count as none (they would only cost). out holds HTTP_RANGES_MAX.
 */
enum range_kind ranges_parse(struct str header, uint64_t size, struct byte_range *out,
                             size_t *ret_count);

/* Content-Range of a chunk: "a-b", also with a unit before and a size behind (R54). Above INT64_MAX
 * there are no places. */
bool content_range_parse(struct str header, uint64_t *ret_first, uint64_t *ret_last);

#endif
