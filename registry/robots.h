/* The log of API keys in the store (docs/bucket-format.md section 13): read when a key is
 * presented, written when one is made or revoked. Any thread; everything may wait for the store. */
#ifndef STOWAGE_REGISTRY_ROBOTS_H
#define STOWAGE_REGISTRY_ROBOTS_H

#include "auth/robot.h"
#include "blobstore/node.h"

struct robots_log;
int robots_log_new(struct node *node, struct robots_log **ret) must_check;
void robots_log_free(struct robots_log *l);
struct robots *robots_log_table(struct robots_log *l);

/* The table is as new as the moment of the call. */
int robots_log_refresh(struct robots_log *l, struct err_detail *detail) must_check;

struct robot_order {
    struct str name, scopes;
    int64_t expires_ms; /* wall clock; 0: never */
    struct str by, req;
};
/* Makes a key; the text, which is nowhere kept, is in ret_key. -ERR_INVAL, -ERR_LIMIT. */
int robots_log_create(struct robots_log *l, const struct robot_order *order, char ret_id[],
                      char ret_key[ROBOT_KEY_MAX], struct err_detail *detail) must_check;
/* -ERR_NOTFOUND. The name of what was revoked is appended. */
int robots_log_revoke(struct robots_log *l, struct str id, struct str by, struct str req,
                      struct buf *ret_name, struct err_detail *detail) must_check;
/* Appends {"robots":[{"id","name","scopes","created","expires"}]}. */
int robots_log_list(struct robots_log *l, struct buf *out, struct err_detail *detail) must_check;

#endif
