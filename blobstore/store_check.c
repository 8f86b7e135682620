/* Checks that any store must pass (store_check.h); each is one function that says what is wrong. */
#include "blobstore/store_check.h"

#include <assert.h>
#include <stdio.h>

#include "base/enc.h"
#include "base/rand.h"
#include "blobstore/keys.h"
#include "blobstore/store_ops.h"

#define CHECK_KEYS_MAX 64
#define CHECK_BYTES    64

struct check {
    struct store *s;
    char random[33];
    unsigned used;
    char text[ERR_DETAIL_MAX];
};

/* A key that nobody ever used. */
static void new_key(struct check *c, struct buf *out)
{
    keys_probe(out, str_of(c->random), c->used++);
    assert(c->used <= CHECK_KEYS_MAX && buf_err(out) == 0);
}

static int unsafe(struct check *c, const char *what)
{
    snprintf(c->text, sizeof(c->text), "%s", what);
    return -ERR_UNSUPPORTED;
}

static int could_not(struct check *c, const char *what, int err)
{
    snprintf(c->text, sizeof(c->text), "%s: %s", what, err_text(err));
    return err;
}

static int expect(struct check *c, struct str key, struct str bytes, const char *otherwise)
{
    struct buf found auto_buf = BUF_INIT(2 * CHECK_BYTES);
    int r = store_get(c->s, key, 0, STORE_WHOLE, &found, NULL);

    if (r < 0 && r != -ERR_NOTFOUND && r != -ERR_TOOBIG)
        return could_not(c, "reading back", r);
    return r == 0 && str_eq(buf_str(&found), bytes) ? 0 : unsafe(c, otherwise);
}

static int check_create_once(struct check *c)
{
    struct buf key auto_buf = BUF_INIT(STORE_KEY_MAX);
    struct err_detail why = {""};
    int r;

    new_key(c, &key);
    r = store_create(c->s, buf_str(&key), STORE_LOG, STR("first"), &why);
    if (r < 0)
        return could_not(c, why.text[0] ? why.text : "creating an object", r);
    r = store_create(c->s, buf_str(&key), STORE_LOG, STR("second"), &why);
    if (r == 0)
        return unsafe(c, "it ignores the condition of a create: an object that existed was "
                         "overwritten");
    if (r != -ERR_EXISTS)
        return unsafe(c, "it refuses the condition of a create, which must be answered by 412");
    return expect(c, buf_str(&key), STR("first"),
                  "a create that it refused changed the object that existed");
}

/* All racers' requests are under way at once, each with bytes of its own. */
static int race(struct check *c)
{
    struct buf key auto_buf = BUF_INIT(STORE_KEY_MAX);
    struct store_op ops[STORE_CHECK_RACERS];
    char bytes[STORE_CHECK_RACERS][CHECK_BYTES];
    unsigned winners = 0, winner = 0;

    new_key(c, &key);
    for (unsigned i = 0; i < STORE_CHECK_RACERS; i++) {
        snprintf(bytes[i], sizeof(bytes[i]), "racer %u", i);
        ops[i] = (struct store_op){
            .kind = STORE_OP_CREATE, .key = buf_str(&key), .bytes = str_of(bytes[i])};
    }
    store_run(c->s, ops, STORE_CHECK_RACERS);
    for (unsigned i = 0; i < STORE_CHECK_RACERS; i++) {
        if (ops[i].result == 0) {
            winners++;
            winner = i;
        } else if (ops[i].result != -ERR_EXISTS) {
            return could_not(c, "creating one object many times at once", ops[i].result);
        }
    }
    if (winners != 1)
        return unsafe(c, winners == 0 ? "of creates of one object at the same time none succeeded"
                                      : "of creates of one object at the same time more than one "
                                        "succeeded: it looks first and writes then");
    return expect(c, buf_str(&key), str_of(bytes[winner]),
                  "of creates of one object at the same time one that lost was stored");
}

static int check_races(struct check *c)
{
    int r = 0;

    for (unsigned i = 0; i < STORE_CHECK_ROUNDS && r == 0; i++)
        r = race(c);
    return r;
}

static int check_read_after_absence(struct check *c)
{
    struct buf key auto_buf = BUF_INIT(STORE_KEY_MAX), out auto_buf = BUF_INIT(CHECK_BYTES);
    int r;

    new_key(c, &key);
    r = store_get(c->s, buf_str(&key), 0, STORE_WHOLE, &out, NULL);
    if (r != -ERR_NOTFOUND)
        return r == 0 ? unsafe(c, "it has objects that nobody wrote")
                      : could_not(c, "reading what is absent", r);
    r = store_create(c->s, buf_str(&key), STORE_LOG, STR("now"), NULL);
    if (r < 0)
        return could_not(c, "creating an object", r);
    return expect(c, buf_str(&key), STR("now"),
                  "it answers from a cache: an object just written is not there");
}

static int count_one(struct str key, const struct store_info *info, void *arg)
{
    (void)key;
    (void)info;
    ++*(unsigned *)arg;
    return 0;
}

static int check_listing(struct check *c)
{
    struct buf prefix auto_buf = BUF_INIT(STORE_KEY_MAX);
    unsigned count = 0;
    int r;

    keys_probes_of(&prefix, str_of(c->random));
    r = store_list(c->s, buf_str(&prefix), STR_NONE, STORE_LIST_MAX, count_one, &count, NULL);
    if (r < 0)
        return could_not(c, "listing", r);
    return count == c->used ? 0 : unsafe(c, "a listing misses objects that were just written");
}

static int check_kind(struct check *c)
{
    struct buf key auto_buf = BUF_INIT(STORE_KEY_MAX);
    struct err_detail why = {""};
    int r;

    if (!c->s->ops->check)
        return 0;
    new_key(c, &key);
    r = c->s->ops->check(c->s, buf_str(&key), &why);
    if (r < 0)
        snprintf(c->text, sizeof(c->text), "%s", why.text[0] ? why.text : err_text(r));
    return r;
}

static void clean_up(struct check *c)
{
    struct buf key auto_buf = BUF_INIT(STORE_KEY_MAX);

    for (unsigned i = 0; i < c->used; i++) {
        buf_clear(&key);
        keys_probe(&key, str_of(c->random), i);
        (void)!store_remove(c->s, buf_str(&key), STORE_HINT, NULL);
    }
}

static enum store_verdict verdict(int r)
{
    return r == 0                  ? STORE_CHECK_GOOD
           : r == -ERR_AGAIN       ? STORE_CHECK_WARNING
           : r == -ERR_UNSUPPORTED ? STORE_CHECK_UNSAFE
                                   : STORE_CHECK_FAILED;
}

int store_check(struct store *s, store_finding_fn report, void *arg, struct err_detail *detail)
{
    static const struct {
        const char *name;
        int (*run)(struct check *c);
    } checks[] = {
        {"create once", check_create_once},
        {"races of creates", check_races},
        {"read after absence", check_read_after_absence},
        {"listing", check_listing},
        {"kind of store", check_kind},
    };
    struct check c = {.s = s};
    uint8_t random[16];
    int r = 0;

    rand_bytes(random, sizeof(random));
    hex_encode(random, sizeof(random), c.random);
    for (size_t i = 0; i < ARRAY_LEN(checks) && r == 0; i++) {
        c.text[0] = '\0';
        r = checks[i].run(&c);
        const struct store_finding f = {checks[i].name, verdict(r), c.text};
        if (report)
            report(&f, arg);
        if (r == -ERR_AGAIN) /* a warning */
            r = 0;
    }
    clean_up(&c);
    if (r == -ERR_UNSUPPORTED)
        return err_set(detail, r, "the store is not safe for a registry: %s", c.text);
    return r < 0 ? err_set(detail, r, "the store cannot be checked: %s", c.text) : 0;
}
