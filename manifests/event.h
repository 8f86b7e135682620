/* What is told about a change: CloudEvents 1.0 in JSON (docs/http-api.md, events). One for each
 * operation of an entry; an entry that settles a number tells nothing. The text is a function of
 * registry, entry and position alone, so whoever reads a log tells the same bytes. Pure; any
 * thread. */
#ifndef STOWAGE_MANIFESTS_EVENT_H
#define STOWAGE_MANIFESTS_EVENT_H

#include "base/json.h"
#include "blobstore/objlog.h"

#define EVENT_TEXT_MAX (2u << 20)
#define EVENT_TYPE_MAX 64

/* The word of an operation in types and filters: "push", "tags", "delete", ... */
struct str event_action(const struct json *op);

/* Appends the event of operation i. */
int event_render(struct str registry, struct str repo, const struct objlog_entry *e, size_t i,
                 struct buf *out) must_check;
/* An entry that cannot be read is told, too: whoever follows must not take the gap for nothing. */
int event_render_unreadable(struct str registry, struct str repo, uint64_t seq,
                            struct buf *out) must_check;

#endif
