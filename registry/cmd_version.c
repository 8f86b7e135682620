#include <stdio.h>

#include "base/digest.h"
#include "base/json.h"
#include "registry/archive.h"
#include "registry/cmd.h"
#include "registry/http.h"
#include "registry/version.h"

#define BUCKET_FORMAT 1

int cmd_version(const struct config *config, const struct opt_list *args)
{
    (void)config, (void)args;
    printf("stowage %s\n", STOWAGE_VERSION);
    printf("commit %s\n", STOWAGE_COMMIT);
    printf("bucket format %d\n", BUCKET_FORMAT);
    printf("libmicrohttpd %s\n", http_library());
    printf("jansson %s\n", json_library());
    printf("%s\n", digest_library());
    printf("%s\n", archive_library());
    return EXIT_OK;
}
