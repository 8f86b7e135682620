/* stowage fsck: looks at a whole store, or at some repositories, while it is in use. */
#include <stdio.h>
#include <string.h>

#include "base/json.h"
#include "manifests/fsck.h"
#include "manifests/name.h"
#include "registry/cmd.h"
#include "registry/store_open.h"

#define LINE_MAX_BYTES  (16u << 10)
#define EXIT_UNFINISHED 3

static void report_text(const struct fsck_finding *x, void *arg)
{
    (void)arg;
    printf("%s  " STR_FMT "  " STR_FMT "  " STR_FMT "\n", fsck_severity_name(x->severity),
           STR_ARG(x->key), STR_ARG(x->what), STR_ARG(x->meaning));
}

static void print_line(struct buf *line)
{
    buf_addc(line, '\n');
    if (buf_err(line) == 0)
        fwrite(line->at, 1, line->len, stdout);
}

static void report_json(const struct fsck_finding *x, void *arg)
{
    struct buf line auto_buf = BUF_INIT(LINE_MAX_BYTES);
    struct jw w = JW_INIT(&line);

    (void)arg;
    jw_begin(&w, '{');
    jw_kstr(&w, "severity", str_of(fsck_severity_name(x->severity)));
    jw_kstr(&w, "key", x->key);
    jw_kstr(&w, "what", x->what);
    jw_kstr(&w, "meaning", x->meaning);
    jw_end(&w, '}');
    print_line(&line);
}

static void summary_text(const struct fsck_counts *c, bool complete)
{
    printf("%s: %llu damage, %llu warnings, %llu garbage; looked at %llu repositories, %llu "
           "entries, %llu manifests, %llu records, %llu links, %llu sessions; hashed %llu bytes\n",
           complete ? "complete" : "NOT complete", (unsigned long long)c->findings[FSCK_DAMAGE],
           (unsigned long long)c->findings[FSCK_WARNING],
           (unsigned long long)c->findings[FSCK_GARBAGE], (unsigned long long)c->repositories,
           (unsigned long long)c->entries, (unsigned long long)c->manifests,
           (unsigned long long)c->records, (unsigned long long)c->links,
           (unsigned long long)c->sessions, (unsigned long long)c->bytes);
}

static void summary_json(const struct fsck_counts *c, bool complete)
{
    struct buf line auto_buf = BUF_INIT(LINE_MAX_BYTES);
    struct jw w = JW_INIT(&line);

    jw_begin(&w, '{');
    jw_key(&w, "complete");
    jw_bool(&w, complete);
    jw_kint(&w, "damage", (int64_t)c->findings[FSCK_DAMAGE]);
    jw_kint(&w, "warnings", (int64_t)c->findings[FSCK_WARNING]);
    jw_kint(&w, "garbage", (int64_t)c->findings[FSCK_GARBAGE]);
    jw_kint(&w, "repositories", (int64_t)c->repositories);
    jw_kint(&w, "entries", (int64_t)c->entries);
    jw_kint(&w, "manifests", (int64_t)c->manifests);
    jw_kint(&w, "records", (int64_t)c->records);
    jw_kint(&w, "links", (int64_t)c->links);
    jw_kint(&w, "sessions", (int64_t)c->sessions);
    jw_kint(&w, "bytes", (int64_t)c->bytes);
    jw_end(&w, '}');
    print_line(&line);
}

static int status_of(int e, const struct fsck_counts *counts)
{
    if (e == -ERR_NOREPO)
        return EXIT_USAGE;
    if (e < 0)
        return EXIT_UNFINISHED;
    return counts->findings[FSCK_DAMAGE] ? EXIT_FAILED : EXIT_OK;
}

int cmd_fsck(const struct config *config, const struct opt_list *args)
{
    struct str names[OPT_LIST_MAX];
    struct fsck_settings settings = {.deep = config->deep,
                                     .names = names,
                                     .name_count = args->count,
                                     .report = config->json ? report_json : report_text};
    struct fsck_counts counts = {.repositories = 0};
    struct store *store auto_store = NULL;
    struct err_detail why = {""};
    int e;

    for (size_t i = 0; i < args->count; i++) {
        names[i] = str_of(args->at[i]);
        if (!name_valid(names[i])) {
            cmd_complain("\"%s\" is no name of a repository", args->at[i]);
            return EXIT_USAGE;
        }
    }
    e = store_open_config(config, STORE_LOOK, &store, &why);
    if (e == 0) {
        e = fsck_run(store, &settings, &counts, &why);
        if (config->json)
            summary_json(&counts, e == 0);
        else
            summary_text(&counts, e == 0);
    }
    if (e < 0)
        cmd_complain("%s", why.text[0] ? why.text : err_text(e));
    if (fflush(stdout) != 0 && e == 0)
        e = -ERR_IO;
    return status_of(e, &counts);
}
