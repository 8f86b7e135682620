/* Commands about callers: stowage policy explain, stowage robot, stowage rotate-keys. */
#include <stdio.h>

#include "auth/file.h"
#include "auth/policy.h"
#include "base/clock.h"
#include "registry/cmd.h"
#include "registry/robots.h"
#include "registry/store_open.h"

#define LIST_MAX (4u << 20)
#define BY       "command"

/* ---- policy explain WHO REPOSITORY ACTION [TAG] */

static int explain(const struct config *config, const struct opt_list *args, bool *ret_allowed,
                   struct err_detail *why)
{
    struct buf text auto_buf = BUF_INIT(FILE_BYTES_MAX);
    struct policy *policy auto_policy = NULL;
    struct login *login auto_login = NULL;
    struct policy_answer answer;
    struct policy_ask ask = {.repo = str_of(args->at[2])};
    struct file_stamp stamp;
    unsigned bits = action_bits(str_of(args->at[3]));
    int e = file_read(config->access.policy, &text, &stamp, why);

    if (e == 0)
        e = policy_parse(buf_str(&text), &policy, why);
    if (e == 0)
        e = policy_caller(str_of(args->at[1]), &login, why);
    if (e == 0 && (bits == 0 || (bits & (bits - 1))))
        e = err_set(why, -ERR_INVAL, "\"%s\" is no action", args->at[3]);
    if (e < 0)
        return e;
    while (!(bits & ACTION_BIT(ask.action)))
        ask.action++;
    ask.login = login;
    ask.tag = args->count == 5 ? str_of(args->at[4]) : STR_NONE;
    policy_decide(policy, &ask, &answer);
    if (answer.line)
        printf("%s: %s:%u: " STR_FMT "\n", answer.allowed ? "allowed" : "denied",
               config->access.policy, answer.line, STR_ARG(answer.rule));
    else
        printf("denied: no rule of %s matches\n", config->access.policy);
    *ret_allowed = answer.allowed;
    return 0;
}

int cmd_policy(const struct config *config, const struct opt_list *args)
{
    struct err_detail why = {""};
    bool allowed = false;
    int e;

    if (args->count < 4 || args->count > 5 || strcmp(args->at[0], "explain") != 0 ||
        !config->access.policy[0]) {
        cmd_complain("usage: stowage policy explain --policy FILE WHO REPOSITORY ACTION [TAG]");
        return EXIT_USAGE;
    }
    e = explain(config, args, &allowed, &why);
    if (e < 0) {
        cmd_complain("%s", why.text[0] ? why.text : err_text(e));
        return EXIT_USAGE;
    }
    return allowed ? EXIT_OK : EXIT_FAILED;
}

/* ---- robot create NAME SCOPE... | list | revoke ID */

static int create(const struct config *config, struct robots_log *l, const struct opt_list *args,
                  struct err_detail *why)
{
    struct buf scopes auto_buf = BUF_INIT(ROBOT_SCOPE_MAX);
    char id[ROBOT_ID_LEN + 1], key[ROBOT_KEY_MAX];
    struct robot_order order = {.name = str_of(args->at[1]), .by = STR(BY)};
    int e;

    for (size_t i = 2; i < args->count; i++) {
        if (i > 2)
            buf_addc(&scopes, ' ');
        buf_add(&scopes, str_of(args->at[i]));
    }
    order.scopes = buf_str(&scopes);
    if (config->expires_s)
        order.expires_ms = clock_wall_ms() + config->expires_s * 1000;
    e = buf_err(&scopes);
    if (e == 0)
        e = robots_log_create(l, &order, id, key, why);
    if (e == 0)
        printf("id %s\nkey %s\n", id, key);
    explicit_bzero(key, sizeof(key));
    return e;
}

static int run_robot(const struct config *config, struct robots_log *l, const struct opt_list *args,
                     struct err_detail *why)
{
    struct buf text auto_buf = BUF_INIT(LIST_MAX);
    int e;

    if (strcmp(args->at[0], "create") == 0)
        return create(config, l, args, why);
    if (strcmp(args->at[0], "revoke") == 0)
        return robots_log_revoke(l, str_of(args->at[1]), STR(BY), STR_NONE, &text, why);
    e = robots_log_list(l, &text, why);
    if (e == 0)
        printf("%s\n", buf_c(&text));
    return e;
}

/* A node on the store, as long as run lasts. */
static int with_node(const struct config *config, const struct opt_list *args, enum store_use use,
                     int (*run)(const struct config *config, struct node *node,
                                const struct opt_list *args, struct err_detail *why))
{
    struct err_detail why = {""};
    struct store *store auto_store = NULL;
    struct node *node auto_node = NULL;
    int e = store_open_config(config, use, &store, &why);

    if (e == 0)
        e = node_open(store, &node, &why);
    if (e == 0)
        e = run(config, node, args, &why);
    if (e < 0)
        cmd_complain("%s", why.text[0] ? why.text : err_text(e));
    return e < 0 ? EXIT_FAILED : EXIT_OK;
}

static int robot_on_node(const struct config *config, struct node *node,
                         const struct opt_list *args, struct err_detail *why)
{
    struct robots_log *l;
    int e = robots_log_new(node, &l);

    if (e < 0)
        return e;
    e = run_robot(config, l, args, why);
    robots_log_free(l);
    return e;
}

int cmd_robot(const struct config *config, const struct opt_list *args)
{
    const char *what = args->count ? args->at[0] : "";

    if (!(strcmp(what, "create") == 0 && args->count >= 3) &&
        !(strcmp(what, "revoke") == 0 && args->count == 2) &&
        !(strcmp(what, "list") == 0 && args->count == 1)) {
        cmd_complain("usage: stowage robot create NAME SCOPE... | list | revoke ID");
        return EXIT_USAGE;
    }
    return with_node(config, args, strcmp(what, "create") == 0 ? STORE_SERVE : STORE_EDIT,
                     robot_on_node);
}

/* ---- rotate-keys */

static int rotate(const struct config *config, struct node *node, const struct opt_list *args,
                  struct err_detail *why)
{
    (void)config, (void)args;
    return node_add_secret(node, why);
}

int cmd_rotate_keys(const struct config *config, const struct opt_list *args)
{
    if (args->count) {
        cmd_complain("rotate-keys takes no argument, but got \"%s\"", args->at[0]);
        return EXIT_USAGE;
    }
    return with_node(config, args, STORE_EDIT, rotate);
}
