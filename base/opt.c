/* Option schema: reading of values. Owns no state. The texts made from the same table are in
 * opt_text.c. */
#include <assert.h>
#include <stdlib.h>

#include "base/opt.h"

#define OPT_NAME_MAX  64
#define OPT_PLACE_MAX 4200 /* a path, a line */

/* Where a value came from, for the sentence that refuses it. */
struct source {
    const char *prefix; /* "--" or "" */
    const char *name;
};

static int refuse(struct err_detail *d, const struct source *from, const char *value,
                  const char *wanted)
{
    return err_set(d, -ERR_INVAL, "%s%s: \"%s\" is not %s", from->prefix, from->name, value,
                   wanted);
}

/* The number at the start of s and what follows it. */
static bool number_and_unit(struct str s, uint64_t *number, struct str *unit)
{
    size_t digits = 0;

    while (digits < s.len && s.at[digits] >= '0' && s.at[digits] <= '9')
        digits++;
    *unit = str_skip(s, digits);
    return str_u64(str_head(s, digits), number);
}

static bool parse_number(enum opt_type type, struct str s, int64_t *ret)
{
    static const struct {
        enum opt_type type;
        struct str unit;
        uint64_t factor;
    } units[] = {
        {OPT_SIZE, {"", 0}, 1},
        {OPT_SIZE, {"B", 1}, 1},
        {OPT_SIZE, {"KiB", 3}, UINT64_C(1) << 10},
        {OPT_SIZE, {"MiB", 3}, UINT64_C(1) << 20},
        {OPT_SIZE, {"GiB", 3}, UINT64_C(1) << 30},
        {OPT_SIZE, {"TiB", 3}, UINT64_C(1) << 40},
        {OPT_COUNT, {"", 0}, 1},
        {OPT_SECONDS, {"", 0}, 1},
        {OPT_SECONDS, {"s", 1}, 1},
        {OPT_SECONDS, {"m", 1}, 60},
        {OPT_SECONDS, {"h", 1}, 3600},
        {OPT_SECONDS, {"d", 1}, 86400},
    };
    uint64_t number;
    struct str unit;

    if (!number_and_unit(s, &number, &unit))
        return false;
    for (size_t i = 0; i < ARRAY_LEN(units); i++) {
        if (units[i].type != type || !str_eq(unit, units[i].unit))
            continue;
        if (number > (uint64_t)INT64_MAX / units[i].factor)
            return false;
        *ret = (int64_t)(number * units[i].factor);
        return true;
    }
    return false;
}

static int set_number(const struct opt_spec *spec, const struct source *from, const char *value,
                      void *field, struct err_detail *d)
{
    int64_t max = spec->max ? spec->max : INT64_MAX, v;

    if (!parse_number(spec->type, str_of(value), &v))
        return refuse(d, from, value,
                      spec->type == OPT_SIZE    ? "a size such as 1048576, 64KiB or 4MiB"
                      : spec->type == OPT_COUNT ? "a whole number"
                                                : "a time such as 90, 15m or 24h");
    if (v < spec->min || v > max)
        return err_set(d, -ERR_INVAL, "%s%s: \"%s\" is not between %lld and %lld", from->prefix,
                       from->name, value, (long long)spec->min, (long long)max);
    memcpy(field, &v, sizeof(v));
    return 0;
}

static int set_bool(const struct source *from, const char *value, void *field, struct err_detail *d)
{
    bool v = strcmp(value, "true") == 0;

    if (!v && strcmp(value, "false") != 0)
        return refuse(d, from, value, "true or false");
    memcpy(field, &v, sizeof(v));
    return 0;
}

static int set_choice(const struct opt_spec *spec, const struct source *from, const char *value,
                      void *field, struct err_detail *d)
{
    struct str rest = str_of(spec->choices);

    for (int index = 0;; index++) {
        ptrdiff_t bar = str_find(rest, '|');
        struct str choice = bar < 0 ? rest : str_head(rest, (size_t)bar);

        if (str_eq(choice, str_of(value))) {
            memcpy(field, &index, sizeof(index));
            return 0;
        }
        if (bar < 0)
            return err_set(d, -ERR_INVAL, "%s%s: \"%s\" is not one of %s", from->prefix, from->name,
                           value, spec->choices);
        rest = str_skip(rest, (size_t)bar + 1);
    }
}

static int set_value(const struct opt_spec *spec, const struct source *from, const char *value,
                     void *settings, struct err_detail *d)
{
    char *field = (char *)settings + spec->offset;
    struct opt_list *list;

    switch (spec->type) {
    case OPT_STRING:
        memcpy(field, &value, sizeof(value));
        return 0;
    case OPT_LIST:
        list = (struct opt_list *)(void *)field;
        if (list->count == OPT_LIST_MAX)
            return err_set(d, -ERR_INVAL, "%s%s: given more than %d times", from->prefix,
                           from->name, OPT_LIST_MAX);
        list->at[list->count++] = value;
        return 0;
    case OPT_SIZE:
    case OPT_COUNT:
    case OPT_SECONDS:
        return set_number(spec, from, value, field, d);
    case OPT_BOOL:
        return set_bool(from, value, field, d);
    case OPT_CHOICE:
        return set_choice(spec, from, value, field, d);
    }
    return -ERR_INVAL;
}

/* Lists are replaced, not extended, by a source of higher precedence. */
static void empty_list(const struct opt_spec *spec, void *settings)
{
    if (spec->type == OPT_LIST)
        ((struct opt_list *)(void *)((char *)settings + spec->offset))->count = 0;
}

static void clear_field(const struct opt_spec *spec, void *settings)
{
    static const size_t bytes[] = {
        [OPT_STRING] = sizeof(char *),   [OPT_LIST] = sizeof(struct opt_list),
        [OPT_SIZE] = sizeof(int64_t),    [OPT_COUNT] = sizeof(int64_t),
        [OPT_SECONDS] = sizeof(int64_t), [OPT_BOOL] = sizeof(bool),
        [OPT_CHOICE] = sizeof(int),
    };

    memset((char *)settings + spec->offset, 0, bytes[spec->type]);
}

void opt_env_name(const char *name, struct buf *out)
{
    buf_add(out, STR("STOWAGE_"));
    for (; *name; name++)
        buf_addc(out, *name == '-'                   ? '_'
                      : *name >= 'a' && *name <= 'z' ? (char)(*name - 'a' + 'A')
                                                     : *name);
}

static int set_from_env(const struct opt_spec *spec, void *settings, struct err_detail *d)
{
    struct buf name auto_buf = BUF_INIT(OPT_NAME_MAX);
    const char *value;

    opt_env_name(spec->name, &name);
    if (buf_err(&name))
        return buf_err(&name);
    value = getenv(buf_c(&name));
    if (!value || !*value)
        return 0;
    empty_list(spec, settings);
    return set_value(spec, &(struct source){"", buf_c(&name)}, value, settings, d);
}

static const struct opt_spec *find_spec(const struct opt_spec *specs, size_t count, struct str name)
{
    for (size_t i = 0; i < count; i++) {
        if (str_eq(name, str_of(specs[i].name)))
            return &specs[i];
    }
    return NULL;
}

struct flags {
    const struct opt_spec *specs;
    size_t count;
    void *settings;
    uint64_t seen; /* bit of each spec already given as a flag */
    struct err_detail *detail;
};

/* One flag; next is the following argument or NULL. Returns 1 when it took next, 0 when not. */
static int set_from_flag(struct flags *f, const char *arg, const char *next)
{
    struct str name = str_skip(str_of(arg), 2);
    ptrdiff_t equals = str_find(name, '=');
    const char *value = equals < 0 ? NULL : name.at + equals + 1;
    const struct opt_spec *spec;
    bool took_next = false;
    uint64_t bit;
    int r;

    if (equals >= 0)
        name = str_head(name, (size_t)equals);
    spec = find_spec(f->specs, f->count, name);
    if (arg[1] != '-' || !spec)
        return err_set(f->detail, -ERR_INVAL, "unknown flag %s", arg);
    if (!value && spec->type == OPT_BOOL) {
        value = "true";
    } else if (!value) {
        if (!next)
            return err_set(f->detail, -ERR_INVAL, "--%s needs a value", spec->name);
        value = next;
        took_next = true;
    }
    bit = UINT64_C(1) << (spec - f->specs);
    if (!(f->seen & bit))
        empty_list(spec, f->settings);
    f->seen |= bit;
    r = set_value(spec, &(struct source){"--", spec->name}, value, f->settings, f->detail);
    return r < 0 ? r : took_next;
}

static int add_rest(struct opt_list *rest, const char *arg, struct err_detail *d)
{
    if (!rest || rest->count == OPT_LIST_MAX)
        return err_set(d, -ERR_INVAL, "unexpected argument \"%s\"", arg);
    rest->at[rest->count++] = arg;
    return 0;
}

static int parse_args(struct flags *f, int argc, char **argv, struct opt_list *rest)
{
    bool flags_end = false;

    for (int i = 0; i < argc; i++) {
        int r;

        if (!flags_end && strcmp(argv[i], "--") == 0) {
            flags_end = true;
            continue;
        }
        if (flags_end || argv[i][0] != '-' || argv[i][1] == '\0')
            r = add_rest(rest, argv[i], f->detail);
        else
            r = set_from_flag(f, argv[i], i + 1 < argc ? argv[i + 1] : NULL);
        if (r < 0)
            return r;
        i += r;
    }
    return 0;
}

static int set_from_entry(const struct opt_spec *spec, const struct opt_file *file,
                          const struct opt_entry *entry, void *settings, struct err_detail *d)
{
    struct buf place auto_buf = BUF_INIT(OPT_PLACE_MAX);

    buf_addf(&place, "%s:%u: ", file->path, entry->line);
    if (buf_err(&place))
        return buf_err(&place);
    if (entry->item && spec->type != OPT_LIST)
        return err_set(d, -ERR_INVAL, "%s%s: one value is expected, not a list", buf_c(&place),
                       entry->name);
    return set_value(spec, &(struct source){buf_c(&place), entry->name}, entry->value, settings, d);
}

static int set_from_file(const struct opt_spec *specs, size_t count, const struct opt_file *file,
                         void *settings, struct err_detail *d)
{
    for (size_t i = 0; i < file->count; i++) {
        const struct opt_entry *entry = &file->entries[i];
        const struct opt_spec *spec = find_spec(specs, count, str_of(entry->name));
        int r;

        if (!spec)
            return err_set(d, -ERR_INVAL,
                           "%s:%u: there is no setting \"%.64s\"; expected is the name of a flag",
                           file->path, entry->line, entry->name);
        if (i == 0 || strcmp(entry->name, file->entries[i - 1].name) != 0)
            empty_list(spec, settings);
        r = set_from_entry(spec, file, entry, settings, d);
        if (r < 0)
            return r;
    }
    return 0;
}

int opt_parse_file(const struct opt_spec *specs, size_t count, const struct opt_file *file,
                   int argc, char **argv, void *settings, struct opt_list *rest,
                   struct err_detail *detail)
{
    struct flags f = {specs, count, settings, 0, detail};
    int r;

    assert(count <= OPT_SPECS_MAX && settings);
    if (rest)
        rest->count = 0;
    for (size_t i = 0; i < count; i++) {
        clear_field(&specs[i], settings);
        if (specs[i].initial) {
            r = set_value(&specs[i], &(struct source){"default of ", specs[i].name},
                          specs[i].initial, settings, detail);
            assert(r == 0);
        }
    }
    r = file ? set_from_file(specs, count, file, settings, detail) : 0;
    for (size_t i = 0; r == 0 && i < count; i++)
        r = set_from_env(&specs[i], settings, detail);
    return r < 0 ? r : parse_args(&f, argc, argv, rest);
}

int opt_parse(const struct opt_spec *specs, size_t count, int argc, char **argv, void *settings,
              struct opt_list *rest, struct err_detail *detail)
{
    return opt_parse_file(specs, count, NULL, argc, argv, settings, rest, detail);
}
