/* Input: a checkpoint up to the comma before its sum; the sum is added here, so that what lies
 * behind it is reached. The input as it is is tried, too. */
#include "base/enc.h"
#include "state_check.h"

#define REPO_NAME STR("team/app")

static void add_sum(struct str bytes, struct buf *out)
{
    struct digest d;
    char hex[DIGEST_TEXT_MAX];

    digest_of(DIGEST_SHA256, bytes, &d);
    buf_add(out, bytes);
    digest_hex(&d, hex);
    buf_addf(out, ",\"sum\":\"%s\"}", hex);
}

static void check_text(struct str text)
{
    struct state *s auto_state = NULL;
    struct err_detail detail = {{0}};
    struct checkpoint_head head;
    int r = checkpoint_decode(text, REPO_NAME, &s, &head, &detail);

    assert(r == 0 || r == -ERR_CORRUPT || r == -ERR_VERSION || r == -ERR_TOOBIG);
    if (r < 0) {
        assert(!s);
        return;
    }
    assert(head.seq > 0 && head.previous < head.seq && str_eq(head.repo, REPO_NAME));
    state_check(s);
    state_check_table(s, &head);
}

void fuzz_one(struct str input)
{
    struct buf text auto_buf = BUF_INIT(FUZZ_INPUT_MAX + 2 * CHECKPOINT_END_BYTES);

    check_text(input);
    add_sum(input, &text);
    assert(buf_err(&text) == 0);
    check_text(buf_str(&text));
}
