/* stowage doctor: is this store safe for a registry, and is this machine's clock right? */
#include <stdio.h>

#include "base/clock.h"
#include "blobstore/node.h"
#include "blobstore/store_check.h"
#include "registry/cmd.h"
#include "registry/store_open.h"

struct said {
    unsigned warnings;
};

static void report(const struct store_finding *f, void *arg)
{
    static const char *const words[] = {"ok", "warning", "UNSAFE", "FAILED"};
    struct said *said = arg;

    said->warnings += f->verdict == STORE_CHECK_WARNING;
    printf("%-8s %s%s%s\n", words[f->verdict], f->check, f->text[0] ? ": " : "", f->text);
    fflush(stdout);
}

static int check_clock(struct store *s, struct said *said, struct err_detail *why)
{
    int64_t now, ahead, off;
    int e = store_now(s, &now, why);

    if (e < 0)
        return e;
    ahead = clock_wall_ms() - now;
    off = ahead < 0 ? -ahead : ahead;
    said->warnings += off > NODE_CLOCK_WARN_MS;
    printf("%-8s clock: this machine's is %lld ms %s the store's\n",
           off > NODE_CLOCK_MAX_MS    ? "UNSAFE"
           : off > NODE_CLOCK_WARN_MS ? "warning"
                                      : "ok",
           (long long)off, ahead < 0 ? "behind" : "ahead of");
    return off > NODE_CLOCK_MAX_MS
               ? err_set(why, -ERR_UNSUPPORTED,
                         "this machine's clock is more than 5 minutes off the store's: a node "
                         "would commit nothing")
               : 0;
}

int cmd_doctor(const struct config *config, const struct opt_list *args)
{
    struct err_detail why = {""};
    struct store *store auto_store = NULL;
    struct said said = {0};
    int e;

    if (args->count) {
        cmd_complain("doctor takes no argument, but got \"%s\"", args->at[0]);
        return EXIT_USAGE;
    }
    e = store_open_config(config, STORE_SERVE, &store, &why);
    if (e == 0)
        e = store_check(store, report, &said, &why);
    if (e == 0)
        e = check_clock(store, &said, &why);
    if (e < 0) {
        cmd_complain("%s", why.text[0] ? why.text : err_text(e));
        return EXIT_FAILED;
    }
    printf("the store %s is safe for a registry as far as can be tried; %u warnings\n",
           store_open_text(config), said.warnings);
    return EXIT_OK;
}
