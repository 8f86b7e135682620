/* The configuration file, read by libyaml's events: they carry the line of each name and value,
 * which the sentences of refusal need, and which a loader into structs does not keep. */
#include "registry/config_file.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <unistd.h>
#include <yaml.h>

#include "base/fd.h"

/* Names and values, kept until the file is freed. */
struct text {
    struct text *next;
    char at[];
};

struct config_file {
    struct opt_file file;
    struct opt_entry *entries;
    struct text *texts;
};

static const char *keep(struct config_file *f, const char *at, size_t len)
{
    struct text *t = malloc(sizeof(*t) + len + 1);

    if (!t)
        return NULL;
    memcpy(t->at, at, len);
    t->at[len] = 0;
    t->next = f->texts;
    f->texts = t;
    return t->at;
}

void config_file_free(struct config_file *f)
{
    if (!f)
        return;
    for (struct text *t = f->texts, *after; t; t = after) {
        after = t->next;
        free(t);
    }
    free(f->entries);
    free(f);
}

void config_file_freep(struct config_file **f)
{
    config_file_free(*f);
    *f = NULL;
}

const struct opt_file *config_file_get(const struct config_file *f)
{
    return &f->file;
}

/* ---- reading */

struct reader {
    yaml_parser_t parser;
    yaml_event_t event; /* the one looked at */
    bool has_event;
    struct config_file *to;
    struct err_detail *detail;
};

static unsigned line_of(const yaml_mark_t *mark)
{
    return (unsigned)mark->line + 1;
}

static int refuse(struct reader *r, const char *wanted)
{
    return err_set(r->detail, -ERR_INVAL, "%s:%u: %s", r->to->file.path,
                   line_of(&r->event.start_mark), wanted);
}

static void forget(struct reader *r)
{
    if (r->has_event)
        yaml_event_delete(&r->event);
    r->has_event = false;
}

static int next(struct reader *r)
{
    forget(r);
    if (yaml_parser_parse(&r->parser, &r->event)) {
        r->has_event = true;
        return 0;
    }
    if (r->parser.error == YAML_MEMORY_ERROR)
        return -ERR_NOMEM;
    return err_set(r->detail, -ERR_INVAL, "%s:%u: this is no YAML: %s", r->to->file.path,
                   line_of(&r->parser.problem_mark),
                   r->parser.problem ? r->parser.problem : "cannot be read");
}

static int take_text(struct reader *r, const char **ret)
{
    const char *at = (const char *)r->event.data.scalar.value;
    size_t len = r->event.data.scalar.length;

    if (r->event.data.scalar.anchor)
        return refuse(r, "anchors are not read");
    if (memchr(at, 0, len))
        return refuse(r, "a NUL is in this value");
    if (len == 0 && r->event.data.scalar.style == YAML_PLAIN_SCALAR_STYLE)
        return refuse(r, "a value is expected");
    *ret = keep(r->to, at, len);
    return *ret ? 0 : -ERR_NOMEM;
}

static int add(struct reader *r, const char *name, unsigned line, bool item)
{
    struct config_file *to = r->to;
    const char *value;
    int e;

    if (to->file.count == CONFIG_FILE_ENTRIES_MAX)
        return refuse(r, "too many settings");
    if (r->event.type != YAML_SCALAR_EVENT)
        return refuse(r, item ? "a list holds plain values"
                              : "a value or a list of values is expected");
    e = take_text(r, &value);
    if (e == 0)
        to->entries[to->file.count++] = (struct opt_entry){name, value, line, item};
    return e;
}

static int read_list(struct reader *r, const char *name)
{
    int e = next(r);

    while (e == 0 && r->event.type != YAML_SEQUENCE_END_EVENT) {
        e = add(r, name, line_of(&r->event.start_mark), true);
        if (e == 0)
            e = next(r);
    }
    return e;
}

static int read_setting(struct reader *r)
{
    const char *name;
    unsigned line = line_of(&r->event.start_mark);
    int e;

    if (r->event.type != YAML_SCALAR_EVENT)
        return refuse(r, "the name of a setting is expected");
    e = take_text(r, &name);
    if (e < 0)
        return e;
    for (size_t i = 0; i < r->to->file.count; i++)
        if (strcmp(r->to->entries[i].name, name) == 0)
            return err_set(r->detail, -ERR_INVAL, "%s:%u: \"%.64s\" stands in line %u already",
                           r->to->file.path, line, name, r->to->entries[i].line);
    e = next(r);
    if (e < 0)
        return e;
    return r->event.type == YAML_SEQUENCE_START_EVENT ? read_list(r, name)
                                                      : add(r, name, line, false);
}

static int read_document(struct reader *r)
{
    bool empty = r->event.type == YAML_SCALAR_EVENT && r->event.data.scalar.length == 0 &&
                 r->event.data.scalar.style == YAML_PLAIN_SCALAR_STYLE;
    int e;

    if (empty)
        return 0;
    if (r->event.type != YAML_MAPPING_START_EVENT)
        return refuse(r, "lines of the form NAME: VALUE are expected");
    e = next(r);
    while (e == 0 && r->event.type != YAML_MAPPING_END_EVENT) {
        e = read_setting(r);
        if (e == 0)
            e = next(r);
    }
    return e;
}

static int read_stream(struct reader *r)
{
    int e = next(r); /* the stream's start */

    if (e == 0)
        e = next(r);
    if (e < 0 || r->event.type == YAML_STREAM_END_EVENT)
        return e;
    e = next(r); /* behind the document's start */
    if (e == 0)
        e = read_document(r);
    if (e == 0)
        e = next(r); /* its end */
    if (e == 0)
        e = next(r);
    if (e == 0 && r->event.type != YAML_STREAM_END_EVENT)
        return refuse(r, "a second document is not read");
    return e;
}

int config_file_parse(struct str text, const char *path, struct config_file **ret,
                      struct err_detail *detail)
{
    struct config_file *f auto_config_file = calloc(1, sizeof(*f));
    struct reader r = {.to = f, .detail = detail};
    int e;

    if (!f)
        return -ERR_NOMEM;
    f->entries = calloc(CONFIG_FILE_ENTRIES_MAX, sizeof(*f->entries));
    f->file = (struct opt_file){keep(f, path, strlen(path)), f->entries, 0};
    if (!f->file.path || !f->entries || !yaml_parser_initialize(&r.parser))
        return -ERR_NOMEM;
    yaml_parser_set_input_string(&r.parser, (const unsigned char *)text.at, text.len);
    e = read_stream(&r);
    forget(&r);
    yaml_parser_delete(&r.parser);
    if (e < 0)
        return e;
    *ret = f;
    f = NULL;
    return 0;
}

int config_file_load(const char *path, struct config_file **ret, struct err_detail *detail)
{
    struct buf text auto_buf = BUF_INIT(CONFIG_FILE_BYTES_MAX);
    int fd auto_fd = open(path, O_RDONLY | O_CLOEXEC);
    char block[4096];
    ssize_t n = 0;

    if (fd < 0)
        return err_set(detail, err_from_errno(errno), "cannot open %s: %s", path,
                       strerrordesc_np(errno));
    while (buf_err(&text) == 0 && (n = read(fd, block, sizeof(block))) > 0)
        buf_add(&text, str_make(block, (size_t)n));
    if (n < 0)
        return err_set(detail, -ERR_IO, "cannot read %s: %s", path, strerrordesc_np(errno));
    if (buf_err(&text) < 0)
        return err_set(detail, buf_err(&text), "%s is larger than 1 MiB", path);
    return config_file_parse(buf_str(&text), path, ret, detail);
}
