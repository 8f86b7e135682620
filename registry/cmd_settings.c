/* stowage settings: shows or changes the settings of a repository, on the store itself, also beside
 * serving nodes. */
#include <stdio.h>
#include <string.h>

#include "manifests/settings.h"
#include "registry/cmd.h"
#include "registry/store_open.h"

/* "v*,!latest" as a list. */
static void write_list(struct jw *w, struct str list)
{
    jw_begin(w, '[');
    while (list.len > 0) {
        ptrdiff_t comma = str_find(list, ',');

        jw_str(w, comma < 0 ? list : str_head(list, (size_t)comma));
        list = comma < 0 ? STR_NONE : str_skip(list, (size_t)comma + 1);
    }
    jw_end(w, ']');
}

/* From what --set says; there is one setting as yet, so nothing of the old ones stays. */
static int read_sets(const struct opt_list *sets, struct settings **ret, struct err_detail *why)
{
    struct buf text auto_buf = BUF_INIT(SETTINGS_BYTES_MAX);
    struct jw w = JW_INIT(&text);

    jw_begin(&w, '{');
    for (size_t i = 0; i < sets->count; i++) {
        struct str one = str_of(sets->at[i]);

        if (!utf8_valid(one) || !str_starts(one, STR("immutable=")))
            return err_set(why, -ERR_INVAL, "--set takes immutable=PATTERN,PATTERN,...");
        jw_key(&w, "immutable");
        write_list(&w, str_skip(one, strlen("immutable=")));
    }
    jw_end(&w, '}');
    if (buf_err(&text) < 0)
        return err_set(why, -ERR_INVAL, "--set is too long");
    return settings_parse(buf_str(&text), ret, why);
}

static int print_settings(const struct settings *s)
{
    struct buf text auto_buf = BUF_INIT(2 * SETTINGS_BYTES_MAX);
    struct jw w = JW_INIT(&text);

    settings_write(&w, s);
    buf_addc(&text, '\n');
    if (buf_err(&text) < 0)
        return buf_err(&text);
    fwrite(text.at, 1, text.len, stdout);
    return fflush(stdout) == 0 ? 0 : -ERR_IO;
}

static int run(struct app *app, struct str name, const struct settings *wanted,
               struct err_detail *why)
{
    struct repo_who who = {.by = STR("command line"), .req = STR("settings")};
    struct repo *repo auto_repo = NULL;
    struct settings *now auto_settings = NULL;
    int e = repo_get(app->repos, name, &repo, why);

    if (e == 0)
        e = wanted ? repo_set_settings(repo, wanted, &who, why) : repo_refresh(repo, why);
    if (e == 0 && !repo_exists(repo))
        e = err_set(why, -ERR_NOREPO, "there is no repository " STR_FMT, STR_ARG(name));
    if (e == 0)
        e = repo_settings(repo, &now);
    return e < 0 ? e : print_settings(now);
}

int cmd_settings(const struct config *config, const struct opt_list *args)
{
    struct err_detail why = {""};
    struct settings *wanted auto_settings = NULL;
    struct store *store auto_store = NULL;
    struct app app = {.store = NULL};
    struct access_settings access = {.allow_anonymous_network = false};
    struct str name = args->count == 1 ? str_of(args->at[0]) : STR_NONE;
    int e;

    if (!name_valid(name) || name_reserved(name)) {
        cmd_complain("usage: stowage settings [--root DIR] NAME [--set KEY=VALUE]");
        return EXIT_USAGE;
    }
    if (config->set.count > 0 && read_sets(&config->set, &wanted, &why) < 0) {
        cmd_complain("%s", why.text);
        return EXIT_USAGE;
    }
    e = store_open_config(config, STORE_EDIT, &store, &why);
    if (e == 0)
        e = app_open(&app, store, (enum references)config->references, &access, &why);
    if (e == 0)
        e = run(&app, name, wanted, &why);
    app_close(&app);
    if (e < 0)
        cmd_complain("%s", why.text[0] ? why.text : err_text(e));
    return e < 0 ? EXIT_FAILED : EXIT_OK;
}
