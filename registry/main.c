/* The program: finds the command, reads its settings, runs it. Nothing else. */
#include <fcntl.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "base/log.h"
#include "registry/cmd.h"
#include "registry/config_file.h"

struct command {
    const char *name, *args, *help;
    int (*run)(const struct config *config, const struct opt_list *args);
};

static const struct command commands[] = {
    {"serve", "[OPTION...]", "Serves the registry until it is told to stop.", cmd_serve},
    {"export", "[OPTION...] NAME:TAG FILE.tar",
     "Writes a tagged image or artifact as an OCI layout tar.", cmd_export},
    {"import", "[OPTION...] FILE.tar NAME:TAG",
     "Reads an OCI layout tar or a docker-archive tar under a tag.", cmd_import},
    {"fsck", "[--root DIR] [--deep] [--json] [NAME...]",
     "Checks the store, or these repositories, reading only, also while it is served: a line for "
     "each finding, then counts. Status 0: no damage, 1: damage, 3: could not look at everything.",
     cmd_fsck},
    {"copy", "[OPTION...] SOURCE DESTINATION",
     "Copies a whole registry between stores (dir:PATH), also while it is served: what is missing "
     "in the destination, verified. Status 0: all of it, 1: something is damaged, or could not.",
     cmd_copy},
    {"log", "[OPTION...] [--entries N] NAME[:TAG]",
     "Prints what happened to a repository or one of its tags: number, time, who, request, "
     "operation, tag, from what to what.",
     cmd_log},
    {"diff", "[OPTION...] --at MOMENT [--to MOMENT] NAME[:TAG] or PREFIX/",
     "Prints what differs between two states of a repository, a tag, or all below a prefix.",
     cmd_diff},
    {"revert", "[OPTION...] --at MOMENT [--dry-run] NAME[:TAG] or PREFIX/",
     "Takes a repository, a tag, or all below a prefix back to what it was: one entry for each "
     "repository, which another revert undoes.",
     cmd_revert},
    {"rm", "[OPTION...] NAME",
     "Empties a repository: every tag, manifest and blob leaves it. A revert brings it back.",
     cmd_rm},
    {"config", "[OPTION...]", "Prints all settings as they are in effect, as a configuration file.",
     cmd_config},
    {"settings", "[--root DIR] NAME [--set KEY=VALUE]",
     "Prints the settings of a repository as JSON; with --set it changes them first, for all nodes "
     "at once.",
     cmd_settings},
    {"doctor", "[OPTION...]",
     "Tries whether the store is safe for a registry (create-once, races, uploads, URLs, clock), "
     "on "
     "scratch objects that are removed again. Status 0: as far as can be tried, 1: no.",
     cmd_doctor},
    {"policy", "explain --policy FILE WHO REPOSITORY ACTION [TAG]",
     "Says whether WHO (anonymous, or a list of NAME, group:NAME, claim:NAME=VALUE) may do this, "
     "and by which rule. Status 0: allowed, 1: denied.",
     cmd_policy},
    {"robot", "create [--expires TIME] NAME SCOPE... | list | revoke ID",
     "Makes an API key, which is shown once; lists; revokes.", cmd_robot},
    {"rotate-keys", "[--root DIR]",
     "Adds a secret: new tokens are signed by another key, those that were given stay valid for "
     "their time.",
     cmd_rotate_keys},
    {"version", "", "Prints version, commit, bucket format and libraries.", cmd_version},
    {"man", "", "Prints the manual page (roff).", cmd_man},
    {"help", "", "Prints this.", cmd_help},
};

void cmd_complain(const char *format, ...)
{
    va_list args;

    va_start(args, format);
    fputs("stowage: ", stderr);
    vfprintf(stderr, format, args);
    fputc('\n', stderr);
    va_end(args);
}

static void print(const struct buf *text)
{
    if (text->len)
        fwrite(text->at, 1, text->len, stdout);
}

int cmd_help(const struct config *config, const struct opt_list *args)
{
    struct buf text auto_buf = BUF_INIT(64u << 10);

    (void)config, (void)args;
    buf_add(&text, STR("Stowage, an OCI container and artifact registry whose whole state lives in "
                       "an object store.\n\nUsage:\n"));
    for (size_t i = 0; i < ARRAY_LEN(commands); i++)
        buf_addf(&text, "  stowage %s%s%s\n      %s\n", commands[i].name,
                 commands[i].args[0] ? " " : "", commands[i].args, commands[i].help);
    buf_add(&text,
            STR("\nOptions (each also as an environment variable: --root is STOWAGE_ROOT):\n"));
    opt_help(config_specs, config_spec_count, &text);
    print(&text);
    return EXIT_OK;
}

int cmd_man(const struct config *config, const struct opt_list *args)
{
    struct buf text auto_buf = BUF_INIT(64u << 10);

    (void)config, (void)args;
    buf_add(&text, STR(".TH STOWAGE 1\n.SH NAME\nstowage \\- OCI container and artifact "
                       "registry\n.SH SYNOPSIS\n"));
    for (size_t i = 0; i < ARRAY_LEN(commands); i++)
        buf_addf(&text, ".B stowage %s\n%s\n.br\n", commands[i].name, commands[i].args);
    buf_add(&text, STR(".SH COMMANDS\n"));
    for (size_t i = 0; i < ARRAY_LEN(commands); i++)
        buf_addf(&text, ".TP\n.B %s\n%s\n", commands[i].name, commands[i].help);
    buf_add(&text, STR(".SH OPTIONS\n"));
    opt_roff(config_specs, config_spec_count, &text);
    buf_add(&text, STR(".SH EXIT STATUS\n0: done. 1: could not, with a sentence on standard error. "
                       "2: wrong usage. fsck: 1: damage was found. 3: could not look at "
                       "everything.\n"));
    print(&text);
    return EXIT_OK;
}

static const struct command *find_command(const char *name)
{
    for (size_t i = 0; i < ARRAY_LEN(commands); i++)
        if (strcmp(commands[i].name, name) == 0)
            return &commands[i];
    if (strcmp(name, "--help") == 0 || strcmp(name, "-h") == 0)
        return find_command("help");
    if (strcmp(name, "--version") == 0)
        return find_command("version");
    return NULL;
}

static bool wants_help(int argc, char **argv)
{
    for (int i = 0; i < argc; i++)
        if (strcmp(argv[i], "--help") == 0 || strcmp(argv[i], "-h") == 0)
            return true;
    return false;
}

/* The first files that are opened must not become standard output or error. */
static void open_standard_files(void)
{
    int fd = open("/dev/null", O_RDWR);

    while (fd >= 0 && fd <= STDERR_FILENO)
        fd = dup(fd);
    if (fd > STDERR_FILENO)
        close(fd);
}

/* Flags and environment name the file, and then win over it. */
static int read_settings(int argc, char **argv, struct config_file **ret_file,
                         struct config *config, struct opt_list *args, struct err_detail *why)
{
    int e = opt_parse(config_specs, config_spec_count, argc, argv, config, args, why);

    if (e < 0 || config->config_file[0] == 0)
        return e;
    e = config_file_load(config->config_file, ret_file, why);
    if (e < 0)
        return e;
    return opt_parse_file(config_specs, config_spec_count, config_file_get(*ret_file), argc, argv,
                          config, args, why);
}

int cmd_config(const struct config *config, const struct opt_list *args)
{
    struct buf text auto_buf = BUF_INIT(64u << 10);

    (void)args;
    opt_yaml(config_specs, config_spec_count, config, &text);
    print(&text);
    return EXIT_OK;
}

int main(int argc, char **argv)
{
    struct err_detail why = {""};
    struct config config = {.root = NULL};
    struct config_file *file auto_config_file = NULL; /* its texts are the settings' */
    struct opt_list args = {.count = 0};
    const struct command *command;
    int e;

    open_standard_files();
    if (argc < 2) {
        cmd_complain("which command? serve, export, import, version; see stowage --help");
        return EXIT_USAGE;
    }
    command = find_command(argv[1]);
    if (!command) {
        cmd_complain("there is no command \"%s\"; see stowage --help", argv[1]);
        return EXIT_USAGE;
    }
    if (wants_help(argc - 2, argv + 2))
        return cmd_help(NULL, NULL);
    e = read_settings(argc - 2, argv + 2, &file, &config, &args, &why);
    if (e == -ERR_NOMEM) {
        cmd_complain("%s", err_text(e));
        return EXIT_FAILED;
    }
    if (e < 0) {
        cmd_complain("%s; see stowage --help", why.text);
        return EXIT_USAGE;
    }
    log_set_level((enum log_level)config.log_level);
    return command->run(&config, &args);
}
