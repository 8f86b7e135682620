/* Input: the text of a checkpoint's head up to the comma before its sum, a line feed, and bytes
 * that follow the head. The sum is added here, so that what lies behind it is reached; so is, where
 * the bytes are to be the one part of the table, its digest, when the text has a line of x in its
 * place. The input as it is is tried, too. Whatever is taken is read to its end: records are found,
 * or the table is refused, and nothing else happens. */
#include "base/enc.h"
#include "state_check.h"

#define REPO_NAME STR("team/app")
#define SHA_HEX   64

static void add_sum(struct str bytes, struct buf *out)
{
    struct digest d;
    char hex[DIGEST_TEXT_MAX];

    digest_of(DIGEST_SHA256, bytes, &d);
    buf_add(out, bytes);
    digest_hex(&d, hex);
    buf_addf(out, ",\"sum\":\"%s\"}", hex);
}

static void read_all(const struct state *s)
{
    struct layers_cursor c auto_layers_cursor = {.layers = NULL};
    struct buf before auto_buf = BUF_INIT(TABLE_KEY_MAX);
    uint64_t records = 0;
    int e;

    layers_cursor_init(&c, &s->layers);
    for (e = layers_seek(&c, STR_NONE); e == 1; e = layers_next(&c)) {
        struct hit hit auto_hit = {.value = STR_NONE};

        assert(c.key.len > 0 && str_cmp(buf_str(&before), c.key) < 0);
        assert(layers_get(&s->layers, c.key, &hit, NULL) == 0 && str_eq(hit.value, c.value));
        buf_clear(&before);
        buf_add(&before, c.key);
        records++;
    }
    assert(e == 0 || e == -ERR_CORRUPT);
    assert(e < 0 || records <= table_records(s->layers.base));
    assert(e == 0 || table_bad(s->layers.base));
}

static void check_text(struct str text)
{
    struct state *s auto_state = NULL;
    struct err_detail detail = {{0}};
    struct checkpoint_head head;
    int r = state_decode(text, REPO_NAME, state_check_spec(), &s, &head, &detail);

    assert(r == 0 || r == -ERR_CORRUPT || r == -ERR_VERSION || r == -ERR_TOOBIG);
    if (r < 0) {
        assert(!s);
        return;
    }
    assert(head.seq > 0 && head.previous < head.seq && str_eq(head.repo, REPO_NAME));
    if (table_inline(s->layers.base).len > 0)
        read_all(s);
}

/* The first 64 x become the digest of the bytes. */
static void set_digest(struct buf *text, struct str bytes)
{
    char hex[DIGEST_TEXT_MAX], mark[SHA_HEX];
    struct digest d;
    char *at;

    memset(mark, 'x', sizeof(mark));
    at = text->len ? memmem(text->at, text->len, mark, sizeof(mark)) : NULL;
    digest_of(DIGEST_SHA256, bytes, &d);
    if (at)
        memcpy(at, digest_hex(&d, hex).at, SHA_HEX);
}

void fuzz_one(struct str input)
{
    struct buf text auto_buf = BUF_INIT(FUZZ_INPUT_MAX),
                    whole auto_buf = BUF_INIT(2 * FUZZ_INPUT_MAX);
    struct str rest = input;

    check_text(input);
    buf_add(&text, fuzz_line(&rest));
    set_digest(&text, rest);
    add_sum(buf_str(&text), &whole);
    if (rest.len > 0) {
        buf_addc(&whole, '\n');
        buf_add(&whole, rest);
    }
    assert(buf_err(&whole) == 0);
    check_text(buf_str(&whole));
}
