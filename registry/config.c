#include "registry/config.h"

#include <stddef.h>

const struct opt_spec config_specs[] = {
    {"config", OPT_STRING, "FILE", "", NULL, 0, 0,
     "YAML file of settings: the names of these options without dashes in front, and their values. "
     "Flags and environment win over it.",
     offsetof(struct config, config_file)},
    {"root", OPT_STRING, "DIR", "./data", NULL, 0, 0,
     "Directory that holds everything: the embedded object store. Several processes on one host "
     "may share it.",
     offsetof(struct config, root)},
    {"store", OPT_STRING, "URL", "", NULL, 0, 0,
     "Object store that holds everything: dir:PATH or s3://BUCKET[/PREFIX]; empty: the directory "
     "of "
     "--root.",
     offsetof(struct config, store)},
    {"s3-endpoint", OPT_STRING, "URL", "", NULL, 0, 0,
     "Server of an s3:// store, https://HOST[:PORT]; empty: AWS_ENDPOINT_URL_S3, AWS_ENDPOINT_URL, "
     "else AWS itself.",
     offsetof(struct config, s3_endpoint)},
    {"s3-public-endpoint", OPT_STRING, "URL", "", NULL, 0, 0,
     "The same server as clients reach it, for redirects; empty: --s3-endpoint.",
     offsetof(struct config, s3_public_endpoint)},
    {"s3-region", OPT_STRING, "NAME", "", NULL, 0, 0,
     "Region of the bucket; empty: AWS_REGION, the profile's, else us-east-1.",
     offsetof(struct config, s3_region)},
    {"s3-addressing", OPT_CHOICE, NULL, "auto", "auto|path|host", 0, 0,
     "Whether the bucket stands in the path or in front of the host; auto: host on AWS, path on an "
     "endpoint.",
     offsetof(struct config, s3_addressing)},
    {"s3-ca-file", OPT_STRING, "FILE", "", NULL, 0, 0,
     "Certificates (PEM) that the server's is checked against; empty: AWS_CA_BUNDLE, the system's.",
     offsetof(struct config, s3_ca_file)},
    {"s3-create-header", OPT_STRING, "HEADER", "If-None-Match: *", NULL, 0, 0,
     "Condition that makes a PUT create only; x-goog-if-generation-match: 0 on Google's.",
     offsetof(struct config, s3_create_header)},
    {"redirect-off", OPT_BOOL, NULL, "false", NULL, 0, 0,
     "Send blobs of a bucket through the node instead of redirecting clients to the object store.",
     offsetof(struct config, redirect.off)},
    {"redirect-min", OPT_SIZE, "SIZE", "1MiB", NULL, 65537, 0,
     "Smaller blobs come from the node, larger ones by redirect.",
     offsetof(struct config, redirect.min_bytes)},
    {"redirect-ttl", OPT_SECONDS, "TIME", "20m", NULL, REDIRECT_TTL_MIN_S, 604800,
     "How long a redirect's URL can be used.", offsetof(struct config, redirect.ttl_s)},
    {"redirect-off-network", OPT_LIST, "CIDR", NULL, NULL, 0, 0,
     "No redirect for clients of this network (10.0.0.0/8), which cannot reach the object store; "
     "may be repeated.",
     offsetof(struct config, redirect.networks)},
    {"redirect-off-agent", OPT_LIST, "TEXT", NULL, NULL, 0, 0,
     "No redirect for clients whose User-Agent holds this text; may be repeated.",
     offsetof(struct config, redirect.agents)},
    {"listen", OPT_LIST, "ADDRESS", "127.0.0.1:5000", NULL, 0, 0,
     "Address to serve on: HOST:PORT with a numeric host, [IPv6]:PORT or unix:PATH; may be "
     "repeated; port 0 takes a free one.",
     offsetof(struct config, listen)},
    {"allow-anonymous-network", OPT_BOOL, NULL, "false", NULL, 0, 0,
     "Serve on other than loopback addresses although nobody is authenticated: everyone who "
     "reaches them may push and delete.",
     offsetof(struct config, access.allow_anonymous_network)},
    {"htpasswd", OPT_STRING, "FILE", "", NULL, 0, 0,
     "Users and their passwords, lines of user:hash by bcrypt (htpasswd -B). They may do what the "
     "policy says, without one everything; nobody else may do anything.",
     offsetof(struct config, access.htpasswd)},
    {"policy", OPT_STRING, "FILE", "", NULL, 0, 0,
     "Who may do what with which repositories and tags, see docs/authentication.md; what no rule "
     "allows is denied.",
     offsetof(struct config, access.policy)},
    {"issuers", OPT_STRING, "FILE", "", NULL, 0, 0,
     "Whose tokens are believed besides, and what they make of their bearers, see "
     "docs/authentication.md.",
     offsetof(struct config, access.issuers)},
    {"auth-mode", OPT_CHOICE, NULL, "basic", "basic|bearer", 0, 0,
     "What clients are asked for: user and password with each request, or a token that this "
     "registry gives at /auth/token. Anonymous pulls by docker need bearer.",
     offsetof(struct config, access.mode)},
    {"auth-service", OPT_STRING, "NAME", "stowage", NULL, 0, 0,
     "Name of this registry in tokens (their audience).", offsetof(struct config, access.service)},
    {"auth-realm", OPT_STRING, "URL", "", NULL, 0, 0,
     "Token server that clients are sent to instead; its keys stand in --issuers.",
     offsetof(struct config, token_realm)},
    {"trusted-proxy", OPT_LIST, "ADDRESS", NULL, NULL, 0, 0,
     "Proxy whose X-Forwarded-* and certificate headers are believed: an address, a range "
     "(192.0.2.0/24) or unix for socket files.",
     offsetof(struct config, trusted_proxies)},
    {"client-certificate-header", OPT_STRING, "NAME", "", NULL, 0, 0,
     "Header in which a trusted proxy names the subject of a client certificate that it verified.",
     offsetof(struct config, certificate_header)},
    {"cors-origin", OPT_LIST, "ORIGIN", NULL, NULL, 0, 0,
     "Web page (https://host) whose scripts may use the registry, * for any without credentials.",
     offsetof(struct config, origins)},
    {"expires", OPT_SECONDS, "TIME", "0", NULL, 0, 0,
     "robot create: how long the key is valid, 90m or 720h; 0: without end.",
     offsetof(struct config, expires_s)},
    {"external-url", OPT_STRING, "URL", "", NULL, 0, 0,
     "What clients see in front of /v2/ when a proxy adds a path (/registry) or must be named in "
     "full "
     "(https://host/registry); empty: relative references, right behind every proxy that adds no "
     "path.",
     offsetof(struct config, external_url)},
    {"references", OPT_CHOICE, NULL, "strict", "strict|index-sparse|none", 0, 0,
     "What a pushed manifest may refer to without it being in the repository: nothing, entries of "
     "an index, or anything.",
     offsetof(struct config, references)},
    {"staleness", OPT_SECONDS, "TIME", "0", NULL, 0, CONFIG_STALENESS_MAX,
     "Answer reads of tags, manifests, referrers and blobs from a state that was the newest one at "
     "a moment not longer ago than this; 0: always from the newest.",
     offsetof(struct config, staleness)},
    {"override-ahead", OPT_LIST, "NAME", NULL, NULL, 0, 0,
     "Repository (or catalog) whose log takes entries although its last one lies in the future of "
     "the store's clock; each such entry is marked.",
     offsetof(struct config, override_ahead)},
    {"refuse-tag-delete", OPT_BOOL, NULL, "false", NULL, 0, 0, "Refuse to delete tags (405).",
     offsetof(struct config, refuse.tag_delete)},
    {"refuse-manifest-delete", OPT_BOOL, NULL, "false", NULL, 0, 0,
     "Refuse to delete manifests (405).", offsetof(struct config, refuse.manifest_delete)},
    {"refuse-blob-delete", OPT_BOOL, NULL, "false", NULL, 0, 0, "Refuse to delete blobs (405).",
     offsetof(struct config, refuse.blob_delete)},
    {"refuse-catalog", OPT_BOOL, NULL, "false", NULL, 0, 0, "Refuse to list repositories (405).",
     offsetof(struct config, refuse.catalog)},
    {"refuse-anonymous-mount", OPT_BOOL, NULL, "false", NULL, 0, 0,
     "Do not mount a blob without being told from which repository.",
     offsetof(struct config, refuse.anonymous_mount)},
    {"webhooks", OPT_STRING, "FILE", "", NULL, 0, 0,
     "Targets that changes are posted to (JSON, see the manual on operation); one of the processes "
     "that have such a file posts.",
     offsetof(struct config, webhooks)},
    {"workers", OPT_COUNT, "N", "128", NULL, 2, 512,
     "Threads, at most, for work that waits for the store.", offsetof(struct config, workers)},
    {"deep", OPT_BOOL, NULL, "false", NULL, 0, 0, "fsck: hash every byte of every blob.",
     offsetof(struct config, deep)},
    {"json", OPT_BOOL, NULL, "false", NULL, 0, 0, "fsck: findings and counts as lines of JSON.",
     offsetof(struct config, json)},
    {"set", OPT_LIST, "KEY=VALUE", NULL, NULL, 0, 0,
     "settings: what is set, such as immutable=v*,!v0: tags that are neither moved nor removed.",
     offsetof(struct config, set)},
    {"log-level", OPT_CHOICE, NULL, "info", "debug|info|warn|error", 0, 0,
     "Least severe events that are logged.", offsetof(struct config, log_level)},
};
const size_t config_spec_count = ARRAY_LEN(config_specs);
