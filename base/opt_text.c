/* Option schema: the texts made from the table (help, manual page, documentation). Pure functions.
 */
#include <assert.h>

#include "base/opt.h"

#define HELP_COLUMN 34

static bool shows_value(const struct opt_spec *s)
{
    return s->type != OPT_BOOL;
}

static const char *value_name(const struct opt_spec *s)
{
    return s->value ? s->value : s->choices ? s->choices : "VALUE";
}

static bool shows_default(const struct opt_spec *s)
{
    return s->initial && *s->initial && s->type != OPT_BOOL;
}

void opt_help(const struct opt_spec *specs, size_t count, struct buf *out)
{
    for (size_t i = 0; i < count; i++) {
        const struct opt_spec *s = &specs[i];
        size_t start = out->len, width;

        buf_addf(out, "  --%s", s->name);
        if (shows_value(s))
            buf_addf(out, " %s", value_name(s));
        width = out->len - start;
        if (width >= HELP_COLUMN) {
            buf_addc(out, '\n');
            width = 0;
        }
        buf_addf(out, "%*s%s", (int)(HELP_COLUMN - width), "", s->help);
        if (s->type == OPT_LIST)
            buf_add(out, STR(" Repeatable."));
        if (s->choices && s->value)
            buf_addf(out, " One of %s.", s->choices);
        if (shows_default(s))
            buf_addf(out, " Default: %s.", s->initial);
        buf_addc(out, '\n');
    }
}

/* Escapes what roff would read as a request, a hyphen or an escape. */
static void add_roff(struct buf *out, const char *text)
{
    if (*text == '.' || *text == '\'')
        buf_add(out, STR("\\&"));
    for (; *text; text++) {
        if (*text == '-')
            buf_add(out, STR("\\-"));
        else if (*text == '\\')
            buf_add(out, STR("\\e"));
        else
            buf_addc(out, *text);
    }
}

void opt_roff(const struct opt_spec *specs, size_t count, struct buf *out)
{
    for (size_t i = 0; i < count; i++) {
        const struct opt_spec *s = &specs[i];

        buf_add(out, STR(".TP\n\\fB\\-\\-"));
        add_roff(out, s->name);
        buf_add(out, STR("\\fR"));
        if (shows_value(s)) {
            buf_add(out, STR(" \\fI"));
            add_roff(out, value_name(s));
            buf_add(out, STR("\\fR"));
        }
        buf_add(out, STR(", \\fB"));
        opt_env_name(s->name, out);
        buf_add(out, STR("\\fR\n"));
        add_roff(out, s->help);
        if (s->type == OPT_LIST)
            buf_add(out, STR(" Repeatable."));
        if (s->choices && s->value) {
            buf_add(out, STR(" One of "));
            add_roff(out, s->choices);
            buf_addc(out, '.');
        }
        if (shows_default(s)) {
            buf_add(out, STR(" Default: "));
            add_roff(out, s->initial);
            buf_addc(out, '.');
        }
        buf_addc(out, '\n');
    }
}

/* A bar would end the cell. */
static void add_cell(struct buf *out, const char *text)
{
    for (; *text; text++) {
        if (*text == '|')
            buf_addc(out, '\\');
        buf_addc(out, *text);
    }
}

void opt_markdown(const struct opt_spec *specs, size_t count, struct buf *out)
{
    buf_add(out, STR("| Flag | Environment | Default | Meaning |\n|---|---|---|---|\n"));
    for (size_t i = 0; i < count; i++) {
        const struct opt_spec *s = &specs[i];

        buf_addf(out, "| `--%s", s->name);
        if (shows_value(s)) {
            buf_addc(out, ' ');
            add_cell(out, value_name(s));
        }
        buf_add(out, STR("` | `"));
        opt_env_name(s->name, out);
        buf_add(out, STR("` | "));
        if (shows_default(s)) {
            buf_addc(out, '`');
            add_cell(out, s->initial);
            buf_addc(out, '`');
        }
        buf_add(out, STR(" | "));
        add_cell(out, s->help);
        if (s->type == OPT_LIST)
            buf_add(out, STR(" Repeatable."));
        if (s->choices && s->value) {
            buf_add(out, STR(" One of "));
            add_cell(out, s->choices);
            buf_addc(out, '.');
        }
        buf_add(out, STR(" |\n"));
    }
}

/* Quoted, as JSON quotes: any text stays one value. */
static void add_quoted(struct buf *out, const char *text)
{
    buf_addc(out, '"');
    for (; *text; text++) {
        unsigned char c = (unsigned char)*text;

        if (c < ' ')
            buf_addf(out, "\\x%02x", c);
        else if (c == '"' || c == '\\')
            buf_addf(out, "\\%c", c);
        else
            buf_addc(out, (char)c);
    }
    buf_addc(out, '"');
}

static void add_choice(struct buf *out, const char *choices, int index)
{
    for (; index > 0; index--)
        choices = strchr(choices, '|') + 1;
    buf_add(out, str_make(choices, strcspn(choices, "|")));
}

void opt_yaml(const struct opt_spec *specs, size_t count, const void *settings, struct buf *out)
{
    for (size_t i = 0; i < count; i++) {
        const struct opt_spec *s = &specs[i];
        const char *field = (const char *)settings + s->offset;
        const struct opt_list *list = (const struct opt_list *)(const void *)field;
        const char *text;
        int64_t number;
        int choice;

        buf_addf(out, "%s: ", s->name);
        switch (s->type) {
        case OPT_STRING:
            memcpy(&text, field, sizeof(text));
            add_quoted(out, text ? text : "");
            break;
        case OPT_LIST:
            buf_addc(out, '[');
            for (size_t j = 0; j < list->count; j++) {
                buf_add(out, j > 0 ? STR(", ") : STR_NONE);
                add_quoted(out, list->at[j]);
            }
            buf_addc(out, ']');
            break;
        case OPT_SIZE:
        case OPT_COUNT:
        case OPT_SECONDS:
            memcpy(&number, field, sizeof(number));
            buf_addf(out, "%lld", (long long)number);
            break;
        case OPT_BOOL:
            buf_add(out, *(const bool *)(const void *)field ? STR("true") : STR("false"));
            break;
        case OPT_CHOICE:
            memcpy(&choice, field, sizeof(choice));
            add_choice(out, s->choices, choice);
            break;
        }
        buf_addc(out, '\n');
    }
}
