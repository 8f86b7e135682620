/* Small pieces that several handlers share. */
#ifndef STOWAGE_REGISTRY_API_COMMON_H
#define STOWAGE_REGISTRY_API_COMMON_H

#include "registry/app.h"
#include "registry/http.h"

#define QUERY_VALUE_MAX 4096 /* a decoded query value */

/* May this call wait for the store? Event threads may not. */
enum waiting { NO_WAIT, MAY_WAIT };

/* The target's repository, as new as the moment of the call. -ERR_AGAIN when that needs a wait and
 * none is allowed. */
int api_fresh_repo(struct req *r, struct str name, enum waiting waiting,
                   struct repo **ret) must_check;

/* The repository that a request reads: of the past (repo_is_view) when it asks for that; else the
 * same, but perhaps as old as --staleness allows. What that one does not hold is not yet missing:
 * *ret_strict false, call api_confirm and look again. */
int api_read_repo(struct req *r, enum waiting waiting, struct repo **ret,
                  bool *ret_strict) must_check;
int api_confirm(struct req *r, struct repo *repo, enum waiting waiting) must_check;
/* A right besides the route's: 0, or the refusal to answer. */
int api_may(struct req *r, enum action action, struct str repo, struct str tag) must_check;
/* 1 with a view, for which there is a right of its own, when the request asks for the past
 * (api_moment); 0: it does not. What is said of a view stays true, and api_add_past says so. */
int api_past_repo(struct req *r, enum waiting waiting, struct repo **ret) must_check;
/* 1: the request asks for the past, by the name of a view or by ?at=; 0: for the present.
 * -ERR_TIME. */
struct moment;
int api_moment(struct req *r, struct moment *ret) must_check;
void api_add_past(struct req *r);
void api_link_at(struct req *r, struct buf *url); /* appends ?at= as it came, as "&at=..." */
/* -ERR_NOTFOUND for bytes that a state of the past names and that are there no more. */
int api_content_removed(struct req *r) must_check;

/* The reference of the path as a digest: -ERR_DIGEST when malformed; -ERR_NOTFOUND when of an
 * algorithm not served (R6, R7). */
int api_path_digest(struct req *r, struct digest *ret) must_check;
/* A digest from text of a write: malformed or not served is -ERR_DIGEST with a sentence (R53). */
int api_write_digest(struct req *r, struct str text, struct digest *ret) must_check;

struct repo_who api_who(struct req *r);
/* `?override=true`: immutable tags shall not hold the change back. Sets who->override; then the
 * caller must have the right to, for each of these tags, or without any for the whole repository.
 * -ERR_INVAL: any other value but false; else as api_may. */
int api_override(struct req *r, const struct str *tags, size_t count,
                 struct repo_who *who) must_check;

void api_add_digest_header(struct req *r, const struct digest *d);
/* -ERR_CORRUPT for a record that a repository's state promises and the store does not have; its key
 * goes to the log. */
int api_missing_record(struct req *r, const struct digest *d);

void api_add_etag(struct req *r, const struct digest *d);
struct str api_etag(const struct digest *d,
                    char out[DIGEST_TEXT_MAX + 2]); /* "<digest>" with its quotes */

/* If-Match and If-None-Match of a write (R95): 1 with what they ask for, 0 without them. ret is
 * done by the caller. */
int api_condition(struct req *r, struct taglog_if *ret) must_check;
/* The answer of a change that was refused by -ERR_CONDITION or -ERR_DENIED on a tag. */
bool api_is_refusal(int err, const struct repo_refusal *refusal);
int api_reply_refused(struct req *r, int err, const struct repo_refusal *refusal);

/* Cache-Control of what never changes; of one caller alone where callers differ (R33). */
struct str api_cache_immutable(struct req *r);

/* Page size from the query: `n` decimal, clamped to max; initial when absent; -ERR_INVAL with a
 * sentence when no number (R121). */
int api_page_size(struct req *r, size_t initial, size_t max, size_t *ret) must_check;

#endif
