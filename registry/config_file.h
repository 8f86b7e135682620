/* The configuration file: YAML, one mapping from the names of flags to their values; a list where a
 * flag may be repeated. Anything else of YAML (nested mappings, anchors, several documents) is
 * refused with the line. What the names and values mean is the option table's business
 * (base/opt.h). One thread. */
#ifndef STOWAGE_REGISTRY_CONFIG_FILE_H
#define STOWAGE_REGISTRY_CONFIG_FILE_H

#include "base/opt.h"

#define CONFIG_FILE_BYTES_MAX   (1u << 20)
#define CONFIG_FILE_ENTRIES_MAX 1024

struct config_file;
/* -ERR_INVAL with a sentence that names file and line; -ERR_NOTFOUND, -ERR_IO, ... */
int config_file_load(const char *path, struct config_file **ret,
                     struct err_detail *detail) must_check;
/* The same from bytes; path is for sentences. */
int config_file_parse(struct str text, const char *path, struct config_file **ret,
                      struct err_detail *detail) must_check;
const struct opt_file *config_file_get(const struct config_file *f);
void config_file_free(struct config_file *f);
void config_file_freep(struct config_file **f);
#define auto_config_file auto_of(config_file_freep)

#endif
