/* stowage copy: a whole registry from one store to another, for backup and migration. */
#include <stdio.h>

#include "manifests/copy.h"
#include "registry/cmd.h"
#include "registry/store_open.h"

static void report(struct str key, struct str what, void *arg)
{
    (void)arg;
    printf("damage  " STR_FMT "  " STR_FMT "\n", STR_ARG(key), STR_ARG(what));
    fflush(stdout);
}

static void summary(const struct copy_counts *c, bool complete)
{
    printf("%s: copied %llu objects, %llu bytes, of them %llu entries of logs; %llu were there; "
           "%llu repositories; %llu damaged\n",
           complete ? "complete" : "NOT complete", (unsigned long long)c->objects,
           (unsigned long long)c->bytes, (unsigned long long)c->entries,
           (unsigned long long)c->present, (unsigned long long)c->repositories,
           (unsigned long long)c->damaged);
}

int cmd_copy(const struct config *config, const struct opt_list *args)
{
    struct copy_settings settings = {.threads = COPY_THREADS_MAX, .report = report};
    struct copy_counts counts = {.objects = 0};
    struct store *from auto_store = NULL, *to auto_store = NULL;
    struct err_detail why = {""};
    int e;

    if (args->count != 2) {
        cmd_complain("usage: stowage copy [OPTION...] SOURCE DESTINATION");
        return EXIT_USAGE;
    }
    if (config->workers < COPY_THREADS_MAX)
        settings.threads = (unsigned)config->workers;
    e = store_open_name(config, args->at[0], STORE_LOOK, &from, &why);
    if (e == 0)
        e = store_open_name(config, args->at[1], STORE_SERVE, &to, &why);
    if (e == 0) {
        e = copy_run(from, to, &settings, &counts, &why);
        summary(&counts, e == 0);
    }
    if (e < 0)
        cmd_complain("%s", why.text[0] ? why.text : err_text(e));
    if (fflush(stdout) != 0)
        return EXIT_FAILED;
    return e < 0 || counts.damaged ? EXIT_FAILED : EXIT_OK;
}
