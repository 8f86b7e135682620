/* stowage log, stowage diff. */
#include <stdio.h>

#include "base/enc.h"
#include "manifests/compare.h"
#include "manifests/history.h"
#include "registry/cmd_past.h"

#define NONE "-"

static const char *text_of(const struct digest *d, char out[DIGEST_TEXT_MAX])
{
    if (!d)
        return NONE;
    digest_text(d, out);
    return out;
}

static struct str or_none(struct str s)
{
    return s.len > 0 ? s : STR(NONE);
}

/* ---- log */

struct log_printer {
    struct str tag; /* only this one; empty: all */
    bool said;      /* of the operation */
};

static const char *const kinds[] = {
    [TAGLOG_PUT] = "put",       [TAGLOG_TAGS] = "tags", [TAGLOG_DELETE] = "delete",
    [TAGLOG_UNLINK] = "unlink", [TAGLOG_DROP] = "drop", [TAGLOG_SETTINGS] = "settings"};

static void print_head(const struct history_event *e)
{
    char time[TIME_TEXT_MAX];

    printf("%llu  %s  " STR_FMT "  " STR_FMT "  %s%s", (unsigned long long)e->seq,
           time_format_rfc3339(e->ts, time).at, STR_ARG(or_none(e->op->by)),
           STR_ARG(or_none(e->op->req)), kinds[e->op->kind], e->op->override ? ",override" : "");
}

static int print_event(const struct history_event *e, void *arg)
{
    struct log_printer *p = arg;
    char digest[DIGEST_TEXT_MAX];

    switch (e->what) {
    case HISTORY_OP:
        p->said = false;
        break;
    case HISTORY_TAG:
        if (p->tag.len > 0 && !str_eq(p->tag, e->tag))
            break;
        print_head(e);
        printf("  " STR_FMT "  " STR_FMT " -> " STR_FMT "\n", STR_ARG(e->tag),
               STR_ARG(or_none(e->from)), STR_ARG(or_none(e->to)));
        p->said = true;
        break;
    case HISTORY_OP_END:
        if (p->said || (p->tag.len > 0 && e->op->kind != TAGLOG_DROP))
            break;
        print_head(e);
        if (e->op->kind == TAGLOG_PUT || e->op->kind == TAGLOG_DELETE ||
            e->op->kind == TAGLOG_UNLINK)
            printf("  " NONE "  %s", text_of(&e->op->digest, digest));
        putchar('\n');
        break;
    case HISTORY_ENTRY:
    case HISTORY_ENTRY_END:
        break;
    }
    return 0;
}

static int print_log(struct past *p, struct repo *r, void *arg)
{
    const struct past_target *t = arg;
    struct log_printer printer = {.tag = t->tag};
    uint64_t head = repo_seq(r), wanted = (uint64_t)p->config->entries;

    return history_walk(r, head > wanted ? head - wanted : 0, head, print_event, &printer, &p->why);
}

int cmd_log(const struct config *config, const struct opt_list *args)
{
    struct past_target t;
    struct past p;
    int e;

    if (args->count != 1 || !past_target_parse(args->at[0], &t) || t.prefix) {
        cmd_complain("usage: stowage log [--entries N] NAME[:TAG]");
        return EXIT_USAGE;
    }
    e = past_open(&p, config);
    if (e == 0)
        e = past_each(&p, &t, NULL, print_log, &t);
    past_close(&p);
    return e < 0 || p.failed ? EXIT_FAILED : EXIT_OK;
}

/* ---- diff */

struct diff {
    const struct past_target *target;
    struct str name; /* printed before each line, where there may be several */
};

static int print_tag(struct str tag, const struct digest *from, const struct digest *to, void *arg)
{
    const struct diff *d = arg;
    char a[DIGEST_TEXT_MAX], b[DIGEST_TEXT_MAX];

    if (d->target->tag.len == 0 || str_eq(d->target->tag, tag))
        printf(STR_FMT ":" STR_FMT "  %s -> %s\n", STR_ARG(d->name), STR_ARG(tag), text_of(from, a),
               text_of(to, b));
    return 0;
}

static int print_manifest(const struct digest *m, const struct repo_manifest *from,
                          const struct repo_manifest *to, void *arg)
{
    const struct diff *d = arg;
    char text[DIGEST_TEXT_MAX];

    if (!from != !to)
        printf(STR_FMT "@%s  %s\n", STR_ARG(d->name), text_of(m, text), to ? "added" : "removed");
    return 0;
}

static int print_diff(struct past *p, struct repo *r, void *arg)
{
    struct repo *from auto_repo = NULL, *to auto_repo = NULL;
    struct diff d = {.target = arg, .name = repo_name(r)};
    uint64_t first = 0, last = repo_seq(r);
    int e = past_position(p, r, p->config->at, &first);

    if (e == 0 && p->config->to[0])
        e = past_position(p, r, p->config->to, &last);
    /* Nothing was written there since. */
    if (e == -ERR_TIME && d.target->prefix)
        return 0;
    if (e == 0)
        e = repo_view(r, first, &from, &p->why);
    if (e == 0)
        e = repo_view(r, last, &to, &p->why);
    if (e == 0)
        e = compare_tags(from, to, print_tag, &d);
    if (e == 0 && d.target->tag.len == 0)
        e = compare_manifests(from, to, print_manifest, &d);
    return e;
}

int cmd_diff(const struct config *config, const struct opt_list *args)
{
    struct past_target t;
    struct past p;
    int e;

    if (args->count != 1 || !past_target_parse(args->at[0], &t) || !config->at[0]) {
        cmd_complain("usage: stowage diff --at MOMENT [--to MOMENT] NAME[:TAG] or PREFIX/");
        return EXIT_USAGE;
    }
    e = past_open(&p, config);
    if (e == 0)
        e = past_each(&p, &t, config->at, print_diff, &t);
    past_close(&p);
    return e < 0 || p.failed ? EXIT_FAILED : EXIT_OK;
}
