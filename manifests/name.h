/* Grammar of repository names, tags, references (R1-R4). Pure, any thread. */
#ifndef STOWAGE_MANIFESTS_NAME_H
#define STOWAGE_MANIFESTS_NAME_H

#include "base/digest.h"

#define NAME_MAX_LEN 255
#define TAG_MAX_LEN  128

bool name_valid(struct str name); /* R1, R2 */
bool tag_valid(struct str tag);   /* R3 */
/* First component at-[0-9]{8}t[0-9]{6}z: the reserved read-only view, writes are refused (405). */
bool name_reserved(struct str name);

/* The <reference> of a manifest path: holds ':' = digest, else tag. 0; -ERR_INVAL (neither);
 * -ERR_UNSUPPORTED (digest of an algorithm not served). */
struct reference {
    bool is_digest;
    struct digest digest;
    struct str tag;
};
int reference_parse(struct str text, struct reference *ret) must_check;

#endif
