/* Settings of one repository (docs/bucket-format.md section 6): what its log's last `settings`
 * says. Values never change after they were read; any thread. NULL stands for the defaults.
 *
 * immutable: patterns of tags that, once set, are neither moved nor removed. `*` is any run of
 * characters, `?` any one; a pattern that begins with `!` takes tags out again. The last one that
 * fits decides. */
#ifndef STOWAGE_MANIFESTS_SETTINGS_H
#define STOWAGE_MANIFESTS_SETTINGS_H

#include "base/json.h"

#define SETTINGS_PATTERNS_MAX    64
#define SETTINGS_PATTERN_MAX_LEN 128
#define SETTINGS_BYTES_MAX       (16u << 10) /* of the text */

struct settings;

/* Reads an object, strictly: -ERR_UNSUPPORTED for a key that this version does not know, -ERR_INVAL
 * for a value that is none; the detail names it. */
int settings_read(const struct json *object, struct settings **ret,
                  struct err_detail *detail) must_check;
int settings_parse(struct str text, struct settings **ret, struct err_detail *detail) must_check;
void settings_free(struct settings *s);
void settings_freep(struct settings **s);
#define auto_settings auto_of(settings_freep)

/* Canonical (B2): what is as by default is left out; "{}" for NULL. */
struct str settings_text(const struct settings *s);
/* With every key there is. */
void settings_write(struct jw *w, const struct settings *s);

bool settings_immutable(const struct settings *s, struct str tag);
bool settings_any_immutable(const struct settings *s); /* can a tag be so? */

bool pattern_valid(struct str pattern);
bool pattern_fits(struct str pattern, struct str tag); /* without regard to `!` */

#endif
