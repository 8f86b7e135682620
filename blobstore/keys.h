/* Every key name of the bucket (docs/bucket-format.md section 2). Nobody else builds keys.
 * Functions append to a buf made with BUF_INIT(STORE_KEY_MAX); names and digests are valid by
 * contract (asserted). Any thread. */
#ifndef STOWAGE_BLOBSTORE_KEYS_H
#define STOWAGE_BLOBSTORE_KEYS_H

#include "base/digest.h"
#include "blobstore/store.h"

#define KEYS_NUMBER_DIGITS 20

/* Upload session ids: birth (12 hex), random (32 hex), MAC (32 hex). */
#define KEYS_SESSION_BIRTH  12
#define KEYS_SESSION_RANDOM 32
#define KEYS_SESSION_MAC    32
#define KEYS_SESSION_LEN    (KEYS_SESSION_BIRTH + KEYS_SESSION_RANDOM + KEYS_SESSION_MAC)

void keys_format(struct buf *out);
void keys_data(struct buf *out, struct str session_id);
/* "data/<2>/<id>" -> id (streams are named by such keys, too); false when it is not one. */
bool keys_data_parse(struct str key, struct str *ret_id);
void keys_record(struct buf *out, const struct digest *d, unsigned g);
void keys_link(struct buf *out, const struct digest *d, unsigned g, struct str repo, uint64_t u);
/* Prefix of all links of a digest's generation: "links/<alg>/<2>/<hex>.<g>/". */
void keys_links_of(struct buf *out, const struct digest *d, unsigned g);
/* Repository name and u out of a key under keys_links_of; false when it is not one. */
bool keys_link_parse(struct str key, struct buf *ret_repo, uint64_t *ret_u);

/* Prefixes of logs. A deep log has entries at <prefix>/_log/<16>/<20>, a flat one (sessions) at
 * <prefix>/<20>. */
void keys_repo(struct buf *out, struct str repo);          /* "repos/<name>" */
void keys_session(struct buf *out, struct str session_id); /* "uploads/<id>" */
#define KEYS_CATALOG "catalog"
#define KEYS_SECRET  "secret"
#define KEYS_ROBOTS  "robots"
#define KEYS_UPLOADS "uploads/"
/* Flat ones: "lease/<job>", "hooks/<target>"; lower-case letters, digits and '-' inside. */
void keys_lease(struct buf *out, struct str job);
void keys_hook(struct buf *out, struct str target);
bool keys_word_valid(struct str word);
#define KEYS_WORD_MAX 64
#define KEYS_HOOKS    "hooks/"
void keys_log_entry(struct buf *out, struct str prefix, bool deep, uint64_t seq);
/* "uploads/<id>/<20>" -> id and number. */
bool keys_session_parse(struct str key, struct str *ret_id, uint64_t *ret_seq);
void keys_table(struct buf *out, struct str prefix, uint64_t seq);
void keys_tables_of(struct buf *out, struct str prefix); /* "<prefix>/_table/" */
void keys_part(struct buf *out, struct str prefix, struct str sha256_hex);
void keys_parts_of(struct buf *out, struct str prefix); /* "<prefix>/_part/" */
bool keys_number_parse(struct str last_segment, uint64_t *ret_seq);
void keys_hint(struct buf *out, struct str prefix);
/* Scratch of store_check: "probe/<random>/<n>", and the prefix of all of one check. */
void keys_probe(struct buf *out, struct str random, unsigned n);
void keys_probes_of(struct buf *out, struct str random);
/* Marker for the ten minutes that hold ms. */
void keys_changes(struct buf *out, int64_t ms, struct str repo);

/* Taking keys apart, for readers of a whole store; false: not such a key. Names are borrowed from
 * the key; whether one is valid is not known here. */
bool keys_record_parse(struct str key, struct digest *ret, unsigned *ret_g);
bool keys_link_digest_parse(struct str key, struct digest *ret, unsigned *ret_g);
bool keys_repo_parse(struct str key, struct str *ret_name);    /* "repos/<name>/_..." */
bool keys_changes_parse(struct str key, struct str *ret_name); /* "changes/<12>/<name>/_" */
enum keys_log_part { KEYS_LOG_ENTRY, KEYS_LOG_TABLE, KEYS_LOG_PART, KEYS_LOG_HINT };
/* A key of the deep log at prefix; *ret_seq of entries and tables only. */
bool keys_log_parse(struct str key, struct str prefix, enum keys_log_part *ret, uint64_t *ret_seq);

#endif
