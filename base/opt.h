/* Option schema: one table feeds the command line flags (--name VALUE, --name=VALUE), environment
 * variables (STOWAGE_NAME), a configuration file, --help, the man page and docs/configuration.md.
 * Precedence: flag, environment, file, default. Unknown flag or bad value = one sentence and
 * -ERR_INVAL. */
#ifndef STOWAGE_BASE_OPT_H
#define STOWAGE_BASE_OPT_H

#include "base/buf.h"

enum opt_type {
    OPT_STRING,
    OPT_LIST /* repeatable string */,
    OPT_SIZE /* bytes: 1048576, 64KiB, 4MiB, 1GiB */,
    OPT_COUNT,
    OPT_SECONDS /* 90, 15m, 24h */,
    OPT_BOOL,
    OPT_CHOICE
};

#define OPT_LIST_MAX  16
#define OPT_SPECS_MAX 64

struct opt_spec {
    const char *name; /* "allow-anonymous-network": dashes; the environment name is
                         STOWAGE_ALLOW_ANONYMOUS_NETWORK */
    enum opt_type type;
    const char *value;   /* placeholder in help, "HOST:PORT" */
    const char *initial; /* default as text, NULL = none */
    const char *choices; /* OPT_CHOICE: "strict|index-sparse|none" */
    int64_t min, max;    /* numbers; max 0 = no limit */
    const char *help;    /* one sentence */
    size_t offset;       /* of the field in the settings struct */
};

/* Field types by opt_type: STRING const char *; LIST struct opt_list; SIZE, COUNT, SECONDS int64_t;
 * BOOL bool; CHOICE int (index into choices). Strings are borrowed from argv, environment or the
 * table. */
struct opt_list {
    const char *at[OPT_LIST_MAX];
    size_t count;
};

/* A BOOL flag takes no following argument (--name, --name=true, --name=false). An environment
 * variable gives one value, an empty one counts as absent; a list given by flags replaces the one
 * of environment or default. Fills settings from defaults, environ, then argv[0..argc); non-flags
 * are collected in rest (at most OPT_LIST_MAX). "--" ends flags. */
int opt_parse(const struct opt_spec *specs, size_t count, int argc, char **argv, void *settings,
              struct opt_list *rest, struct err_detail *detail) must_check;

/* What a configuration file says, in its order; whoever reads the file owns it all, and it outlives
 * the settings. A list setting stands once for each of its values. */
struct opt_entry {
    const char *name, *value;
    unsigned line; /* from 1 */
    bool item;     /* of a list */
};
struct opt_file {
    const char *path;
    const struct opt_entry *entries;
    size_t count;
};
/* The same with a file. */
int opt_parse_file(const struct opt_spec *specs, size_t count, const struct opt_file *file,
                   int argc, char **argv, void *settings, struct opt_list *rest,
                   struct err_detail *detail) must_check;
/* Appends the settings as such a file. */
void opt_yaml(const struct opt_spec *specs, size_t count, const void *settings, struct buf *out);
void opt_env_name(const char *name,
                  struct buf *out); /* appends "STOWAGE_ALLOW_ANONYMOUS_NETWORK" */
void opt_help(const struct opt_spec *specs, size_t count, struct buf *out); /* text for --help */
void opt_roff(const struct opt_spec *specs, size_t count, struct buf *out); /* man page section */
void opt_markdown(const struct opt_spec *specs, size_t count, struct buf *out); /* docs table */

#endif
