/* stowage export, stowage import: work on the store itself, also beside a serving node. */
#include <stdio.h>
#include <string.h>

#include "registry/archive.h"
#include "registry/cmd.h"
#include "registry/store_open.h"

/* NAME:TAG */
static bool parse_target(const char *text, struct str *name, struct str *tag)
{
    struct str s = str_of(text);
    ptrdiff_t colon = str_find(s, ':');

    if (colon < 0)
        return false;
    *name = str_head(s, (size_t)colon);
    *tag = str_skip(s, (size_t)colon + 1);
    return name_valid(*name) && tag_valid(*tag);
}

enum direction { EXPORT, IMPORT };

static int run(const struct config *config, const char *file, struct str name, struct str tag,
               enum direction direction)
{
    struct err_detail why = {""};
    struct store *store auto_store = NULL;
    const struct access_settings access = {.allow_anonymous_network = false};
    struct app app = {.store = NULL};
    char text[DIGEST_TEXT_MAX];
    struct digest d;
    int e = store_open_config(config, direction == IMPORT ? STORE_SERVE : STORE_EDIT, &store, &why);

    if (e == 0)
        e = app_open(&app, store, (enum references)config->references, &access, &why);
    if (e == 0)
        e = direction == IMPORT ? archive_import(&app, file, name, tag, &d, &why)
                                : archive_export(&app, name, tag, file,
                                                 (enum references)config->references, &d, &why);
    app_close(&app);
    if (e < 0) {
        cmd_complain("%s", why.text[0] ? why.text : err_text(e));
        return EXIT_FAILED;
    }
    digest_text(&d, text);
    fprintf(direction == EXPORT && strcmp(file, "-") == 0 ? stderr : stdout, "%s\n", text);
    return EXIT_OK;
}

int cmd_export(const struct config *config, const struct opt_list *args)
{
    struct str name, tag;

    if (args->count != 2 || !parse_target(args->at[0], &name, &tag)) {
        cmd_complain("usage: stowage export [OPTION...] NAME:TAG FILE.tar");
        return EXIT_USAGE;
    }
    return run(config, args->at[1], name, tag, EXPORT);
}

int cmd_import(const struct config *config, const struct opt_list *args)
{
    struct str name, tag;

    if (args->count != 2 || !parse_target(args->at[1], &name, &tag)) {
        cmd_complain("usage: stowage import [OPTION...] FILE.tar NAME:TAG");
        return EXIT_USAGE;
    }
    if (name_reserved(name)) {
        cmd_complain("names that start with a point in time are read-only views");
        return EXIT_FAILED;
    }
    return run(config, args->at[0], name, tag, IMPORT);
}
