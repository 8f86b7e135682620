/* Handlers of the routes (registry/routes.def), one file for each resource: api_blob.c,
 * api_upload.c, api_manifest.c, api_list.c (tags, catalog), api_referrers.c, api_settings.c,
 * api_release.c (several tags in one step), api_events.c, api_history.c (log, history of a tag),
 * api_revert.c (diff, revert, deletion of a repository), api_token.c, api_robots.c, api_node.c
 * (ping, discovery, health, metrics). They translate between HTTP and the domain; contracts in
 * http.h. */
#ifndef STOWAGE_REGISTRY_API_H
#define STOWAGE_REGISTRY_API_H

#include "base/str.h"

struct req;

int api_ping(struct req *r);
int api_discover(struct req *r);
int api_livez(struct req *r);
int api_readyz(struct req *r);
int api_metrics(struct req *r);

int api_events(struct req *r);

int api_token_get(struct req *r);
int api_token_post_fast(struct req *r);
int api_token_post(struct req *r);
int api_token_keys(struct req *r);
int api_robots_get(struct req *r);
int api_robots_post(struct req *r);
int api_robot_delete(struct req *r);

int api_catalog_fast(struct req *r);
int api_catalog(struct req *r);
int api_tags_fast(struct req *r);
int api_tags(struct req *r);
int api_log(struct req *r);
int api_diff(struct req *r);
int api_revert(struct req *r);
int api_revert_under(struct req *r);
int api_repository_delete(struct req *r);
int api_tag_history(struct req *r);
int api_referrers_fast(struct req *r);
int api_referrers(struct req *r);

int api_manifest_get_fast(struct req *r);
int api_manifest_get(struct req *r);
int api_manifest_put(struct req *r);
int api_manifest_delete(struct req *r);

int api_settings_get_fast(struct req *r);
int api_settings_get(struct req *r);
int api_settings_put(struct req *r);

#define API_RELEASE_BYTES_MAX (256u << 10) /* of a request to it */
int api_release(struct req *r);

int api_blob_get_fast(struct req *r);
int api_blob_get(struct req *r);
int api_blob_delete(struct req *r);

int api_upload_post_begin(struct req *r);
int api_upload_post(struct req *r);
int api_upload_get(struct req *r);
int api_upload_patch_begin(struct req *r);
int api_upload_patch(struct req *r);
int api_upload_put_begin(struct req *r);
int api_upload_put(struct req *r);
int api_upload_data(struct req *r, struct str bytes);
void api_upload_gone(struct req *r);
int api_upload_delete(struct req *r);

#endif
