/* stowage revert, stowage rm. */
#include <stdio.h>

#include "base/enc.h"
#include "base/rand.h"
#include "manifests/revert.h"
#include "registry/cmd_past.h"

#define REQUEST_BYTES 8

/* An id of its own for each entry, like a request's. */
struct request {
    char text[2 * REQUEST_BYTES + 1];
};

static struct repo_who command(const struct config *config, struct request *r)
{
    uint8_t bytes[REQUEST_BYTES];

    rand_bytes(bytes, sizeof(bytes));
    hex_encode(bytes, sizeof(bytes), r->text);
    return (struct repo_who){
        .by = STR("command line"), .req = str_of(r->text), .override = config->override};
}

static int print_change(const struct revert_change *c, void *arg)
{
    struct repo *r = arg;
    char from[DIGEST_TEXT_MAX] = "-", to[DIGEST_TEXT_MAX] = "-";

    if (c->from)
        digest_text(c->from, from);
    if (c->to)
        digest_text(c->to, to);
    if (c->what == REVERT_TAG)
        printf(STR_FMT ":" STR_FMT "  %s -> %s\n", STR_ARG(repo_name(r)), STR_ARG(c->tag), from,
               to);
    else
        printf(STR_FMT "@%s  %s\n", STR_ARG(repo_name(r)), c->what == REVERT_PUT ? to : from,
               c->what == REVERT_PUT ? "restored" : "deleted");
    return 0;
}

static void print_missing(struct repo *r, struct str missing)
{
    while (missing.len > 0) {
        size_t len = (size_t)str_find(missing, '\n');

        cmd_complain(STR_FMT ": " STR_FMT " is gone", STR_ARG(repo_name(r)),
                     STR_ARG(str_head(missing, len)));
        missing = str_skip(missing, len + 1);
    }
}

static int revert_one(struct past *p, struct repo *r, void *arg)
{
    const struct past_target *t = arg;
    struct buf missing auto_buf = BUF_INIT((size_t)REPO_MISSING_MAX * (DIGEST_TEXT_MAX + 1));
    struct request request;
    struct revert how = {.tag = t->tag,
                         .dry_run = p->config->dry_run,
                         .who = command(p->config, &request),
                         .told = print_change,
                         .arg = r};
    uint64_t to = 0, entry = 0;
    int e = past_position(p, r, p->config->at, &to);

    /* Nothing was written there since. */
    if (e == -ERR_TIME && t->prefix)
        return 0;
    if (e == 0)
        e = revert_repo(r, to, &how, &entry, &missing, &p->why);
    if (e == -ERR_MISSING_REF)
        print_missing(r, buf_str(&missing));
    if (e < 0)
        return e;
    if (entry > 0)
        printf(STR_FMT "  entry %llu\n", STR_ARG(repo_name(r)), (unsigned long long)entry);
    return 0;
}

int cmd_revert(const struct config *config, const struct opt_list *args)
{
    struct past_target t;
    struct past p;
    int e;

    if (args->count != 1 || !past_target_parse(args->at[0], &t) || !config->at[0]) {
        cmd_complain(
            "usage: stowage revert --at MOMENT [--dry-run] [--override] NAME[:TAG] or PREFIX/");
        return EXIT_USAGE;
    }
    e = past_open(&p, config);
    if (e == 0)
        e = past_each(&p, &t, config->at, revert_one, &t);
    past_close(&p);
    return e < 0 || p.failed ? EXIT_FAILED : EXIT_OK;
}

static int drop_one(struct past *p, struct repo *r, void *arg)
{
    struct request request;
    struct repo_who who = command(p->config, &request);
    uint64_t entry = 0;
    int e = revert_drop(r, &who, &entry, &p->why);

    (void)arg;
    if (e == 0)
        printf(STR_FMT "  entry %llu\n", STR_ARG(repo_name(r)), (unsigned long long)entry);
    return e;
}

int cmd_rm(const struct config *config, const struct opt_list *args)
{
    struct past_target t;
    struct past p;
    int e;

    if (args->count != 1 || !past_target_parse(args->at[0], &t) || t.prefix || t.tag.len > 0) {
        cmd_complain("usage: stowage rm [--override] NAME");
        return EXIT_USAGE;
    }
    e = past_open(&p, config);
    if (e == 0)
        e = past_each(&p, &t, NULL, drop_one, NULL);
    past_close(&p);
    return e < 0 || p.failed ? EXIT_FAILED : EXIT_OK;
}
