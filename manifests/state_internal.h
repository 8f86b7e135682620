/* Inside of the state; included by state*.c only. state.c: what operations do; state_query.c:
 * questions; state_rows.c: records as bytes. */
#ifndef STOWAGE_MANIFESTS_STATE_INTERNAL_H
#define STOWAGE_MANIFESTS_STATE_INTERNAL_H

#include "manifests/pack.h"
#include "manifests/state.h"

#define STATE_ROW_MAX TABLE_VALUE_MAX

/* Sections: the first byte of a key. */
#define STATE_BLOBS     'b'
#define STATE_MANIFESTS 'm'
#define STATE_REFERRERS 'r'
#define STATE_TAGS      't'
#define STATE_ON        'x' /* tags by manifest */

void state_key_section(struct state_key *k, char section);
bool state_key_digest(struct str *rest, struct digest *ret); /* off the front */
/* A record that leads from a manifest to a tag: has the tag moved on, blindly? 1, 0. */
int state_on_is_past(const struct state *s, const struct digest *manifest,
                     struct str tag) must_check;

void state_pack_tag(struct buf *out, const struct state_tag *t);
bool state_unpack_tag(struct str value, struct state_tag *ret); /* all but the name */
void state_pack_manifest(struct buf *out, const struct state_manifest *m);
bool state_unpack_manifest(struct str value, struct state_manifest *ret); /* all but the digest */
void state_pack_ref(struct buf *out, const struct digest *d, enum ref_kind kind, int64_t size);
void state_pack_blob(struct buf *out, const struct state_blob *b);
bool state_unpack_blob(struct str value, struct state_blob *ret);
void state_pack_referrer(struct buf *out, const struct state_referrer *r);
bool state_unpack_referrer(struct str value, struct state_referrer *ret); /* all but the digest */

static inline uint64_t state_last_unlink(const struct state *s, const struct state_blob *b)
{
    return b->unlinked > s->dropped ? b->unlinked : s->dropped;
}

#endif
