#include "blobstore/cursor.h"

#include <assert.h>

#include "base/clock.h"
#include "base/json.h"
#include "base/mutant.h"
#include "blobstore/lastlog.h"

#define OPS_MAX   (6 * CURSOR_AT_MAX + 128) /* JSON may escape each byte */
#define TRIES_MAX 5

struct cursor {
    struct lastlog *log;
    struct buf at; /* as the log has it */
    bool known;
};

int cursor_new(struct node *n, struct str prefix, struct cursor **ret)
{
    struct cursor *c = calloc(1, sizeof(*c));
    int e;

    if (!c)
        return -ERR_NOMEM;
    c->at = BUF_INIT(CURSOR_AT_MAX);
    e = lastlog_new(n, prefix, &c->log);
    if (e < 0) {
        cursor_free(c);
        return e;
    }
    *ret = c;
    return 0;
}

void cursor_free(struct cursor *c)
{
    if (!c)
        return;
    lastlog_free(c->log);
    buf_done(&c->at);
    free(c);
}

bool cursor_known(const struct cursor *c)
{
    return c->known;
}

struct str cursor_at(const struct cursor *c)
{
    return buf_str(&c->at);
}

static int set_at(struct cursor *c, struct str at)
{
    buf_clear(&c->at);
    buf_add(&c->at, at);
    c->known = buf_err(&c->at) == 0;
    return buf_err(&c->at);
}

static int apply(const struct objlog_entry *e, void *arg)
{
    const struct json *op = json_at(e->ops, 0);
    struct str word, at;

    if (json_len(e->ops) == 0)
        return 0;
    if (!json_get_str(op, "op", &word) || !json_get_str(op, "at", &at))
        return -ERR_CORRUPT;
    if (!str_eq(word, STR("cursor")))
        return -ERR_VERSION;
    return set_at(arg, at);
}

static int append(struct cursor *c, struct str at, int64_t looked_ms, struct err_detail *detail)
{
    struct buf ops auto_buf = BUF_INIT(OPS_MAX);
    struct jw w = JW_INIT(&ops);

    if (at.len > CURSOR_AT_MAX)
        return -ERR_TOOBIG;
    jw_begin(&w, '[');
    jw_begin(&w, '{');
    jw_kstr(&w, "op", STR("cursor"));
    jw_kstr(&w, "at", at);
    jw_end(&w, '}');
    jw_end(&w, ']');
    return buf_err(&ops) < 0 ? buf_err(&ops)
                             : lastlog_append(c->log, buf_str(&ops), looked_ms, detail);
}

int cursor_take(struct cursor *c, struct err_detail *detail)
{
    int e = -ERR_EXISTS;

    for (int i = 0; i < TRIES_MAX && e == -ERR_EXISTS; i++) {
        int64_t looked_ms = clock_boot_ms();

        e = lastlog_read(c->log, apply, c, detail);
        if (e == 0 && c->known && !mutant("no-fence"))
            e = append(c, buf_str(&c->at), looked_ms, detail);
    }
    return e;
}

int cursor_save(struct cursor *c, struct str at, struct err_detail *detail)
{
    int e;

    assert(at.at != c->at.at);
    e = append(c, at, clock_boot_ms(), detail);
    return e < 0 ? e : set_at(c, at);
}
