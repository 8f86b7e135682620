/* Settings of the program: one table (config.c) feeds flags, environment, help, the man page and
 * docs/configuration.md. */
#ifndef STOWAGE_REGISTRY_CONFIG_H
#define STOWAGE_REGISTRY_CONFIG_H

#include "base/opt.h"
#include "registry/app.h"
#include "registry/redirect.h"

#define CONFIG_STALENESS_MAX 60 /* seconds */

struct config {
    const char *config_file;
    const char *root, *store;
    const char *s3_endpoint, *s3_public_endpoint, *s3_region, *s3_ca_file, *s3_create_header;
    int s3_addressing;
    const char *cache_dir;
    int64_t cache_size;
    struct redirect_settings redirect;
    struct opt_list listen;
    int references;
    struct access_settings access;
    const char *external_url;
    struct opt_list trusted_proxies, origins;
    const char *certificate_header, *token_realm;
    int64_t expires_s; /* robot create */
    struct app_refuse refuse;
    bool tag_history;
    int64_t staleness; /* seconds */
    struct opt_list override_ahead;
    int log_level;
    const char *webhooks;
    int64_t workers;
    const char *at, *to; /* log, diff, revert */
    int64_t entries;
    bool dry_run;
    bool override;
    bool deep, json;     /* fsck */
    struct opt_list set; /* settings */
};

extern const struct opt_spec config_specs[];
extern const size_t config_spec_count;

#endif
