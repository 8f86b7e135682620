/* Commands of the program. Each returns the exit status: 0, 1 (could not; fsck: damage found), 2
 * (wrong usage), 3 (fsck: could not look at everything); what failed was said in one sentence on
 * stderr. */
#ifndef STOWAGE_REGISTRY_CMD_H
#define STOWAGE_REGISTRY_CMD_H

#include "registry/config.h"

enum { EXIT_OK = 0, EXIT_FAILED = 1, EXIT_USAGE = 2 };

int cmd_serve(const struct config *config, const struct opt_list *args);
int cmd_copy(const struct config *config, const struct opt_list *args);     /* SRC DST */
int cmd_export(const struct config *config, const struct opt_list *args);   /* NAME:TAG FILE.tar */
int cmd_import(const struct config *config, const struct opt_list *args);   /* FILE.tar NAME:TAG */
int cmd_fsck(const struct config *config, const struct opt_list *args);     /* [NAME...] */
int cmd_settings(const struct config *config, const struct opt_list *args); /* NAME */
int cmd_doctor(const struct config *config, const struct opt_list *args);
int cmd_policy(const struct config *config, const struct opt_list *args); /* explain ... */
int cmd_robot(const struct config *config, const struct opt_list *args);  /* create, list, revoke */
int cmd_rotate_keys(const struct config *config, const struct opt_list *args);
int cmd_log(const struct config *config, const struct opt_list *args);    /* NAME[:TAG] */
int cmd_diff(const struct config *config, const struct opt_list *args);   /* NAME[:TAG] | PREFIX/ */
int cmd_revert(const struct config *config, const struct opt_list *args); /* NAME[:TAG] | PREFIX/ */
int cmd_rm(const struct config *config, const struct opt_list *args);     /* NAME */
int cmd_version(const struct config *config, const struct opt_list *args);
int cmd_config(const struct config *config, const struct opt_list *args);
int cmd_man(const struct config *config, const struct opt_list *args);
int cmd_help(const struct config *config, const struct opt_list *args);

/* "stowage: <sentence>" on stderr. */
void cmd_complain(const char *format, ...) printf_like(1, 2);

#endif
