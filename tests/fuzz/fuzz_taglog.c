/* Input: operations of a tag log, one a line, each an entry of its own. */
#include "base/json.h"
#include "state_check.h"

#define OPS_MAX   64
#define START_MS  INT64_C(1800000000000)
#define TEXT_MAX  (16u * FUZZ_INPUT_MAX)
#define MISSING   20 /* of so many puts with ext, the record of one cannot be read */
#define REPO_NAME STR("team/app")

/* Written and read again an operation is the same text. */
static void check_canonical(const struct taglog_op *op)
{
    struct buf one auto_buf = BUF_INIT(TEXT_MAX), two auto_buf = BUF_INIT(TEXT_MAX);
    struct taglog_op again auto_taglog_op = {.kind = TAGLOG_DROP};
    struct json_doc *doc auto_json = NULL;

    if (op->ext)
        return; /* decided anew by the encoder, from what is not at hand here */
    assert(taglog_encode(op, &one) == 0 && json_parse(buf_str(&one), &doc, NULL) == 0);
    assert(taglog_decode(json_root(doc), &again, NULL) == 0 && again.kind == op->kind);
    if (again.ext)
        return;
    assert(taglog_encode(&again, &two) == 0 && str_eq(buf_str(&one), buf_str(&two)));
}

static int count_referrer(const struct state_referrer *m, void *arg)
{
    const struct digest *wanted = arg;

    return digest_eq(&m->digest, wanted);
}

static void check_put(const struct state *s, const struct taglog_op *op, uint64_t seq)
{
    struct hit hit auto_hit = {.value = STR_NONE};
    struct state_manifest m;
    struct digest subject, digest = op->digest;

    assert(state_manifest(s, &op->digest, &hit, &m) == 0);
    assert(m.seq == seq && m.ref_count == op->ref_count && m.size == op->size);
    for (size_t i = 0; i < op->tag_count; i++) {
        struct hit tag auto_hit = {.value = STR_NONE};
        struct state_tag t;

        assert(state_tag(s, op->tags[i], &tag, &t) == 0 && digest_eq(&t.digest, &op->digest));
    }
    for (size_t i = 0; i < op->ref_count; i++)
        assert(op->refs[i].kind == REF_MANIFEST || state_readable(s, &op->refs[i].digest) == 1);
    if (op->subject.len > 0 && digest_parse(op->subject, &subject) == 0)
        assert(state_referrers(s, &subject, NULL, count_referrer, &digest) == 1);
}

static void check_applied(const struct state *s, const struct taglog_op *op, uint64_t seq)
{
    uint64_t u;

    if (op->kind == TAGLOG_PUT)
        check_put(s, op, seq);
    if (op->kind == TAGLOG_DELETE)
        assert(state_has_manifest(s, &op->digest) == 0);
    if (op->kind == TAGLOG_UNLINK)
        assert(state_readable(s, &op->digest) == 0 && state_link_u(s, &op->digest, &u) == 0 &&
               u == seq);
    if (op->kind == TAGLOG_DROP)
        assert(s->tags == 0 && s->manifests == 0 && s->dropped == seq && s->layers.bytes == 0);
    if (op->kind == TAGLOG_DROP || op->kind == TAGLOG_DELETE || op->kind == TAGLOG_UNLINK)
        assert(s->removed == seq);
    state_check(s);
}

static int apply_line(struct state *s, struct str line, uint64_t seq)
{
    struct taglog_op op auto_taglog_op = {.kind = TAGLOG_DROP};
    struct json_doc *doc auto_json = NULL;
    struct err_detail detail = {{0}};
    int r;

    if (json_parse(line, &doc, NULL) < 0)
        return 0;
    r = taglog_decode(json_root(doc), &op, &detail);
    assert(r == 0 || ((r == -ERR_CORRUPT || r == -ERR_VERSION) && detail.text[0]));
    if (r < 0)
        return 0;
    check_canonical(&op);
    r = state_apply(s, &op, op.ext && seq % MISSING == 0, seq, START_MS + (int64_t)seq);
    if (r == 0)
        check_applied(s, &op, seq);
    return r;
}

void fuzz_one(struct str input)
{
    struct state *s auto_state = NULL;
    struct checkpoint_head head = {.repo = REPO_NAME};

    fuzz_need(state_new(&s), "state_new");
    for (uint64_t seq = 1; seq <= OPS_MAX && input.len > 0; seq++) {
        assert(apply_line(s, fuzz_line(&input), seq) == 0);
        head.seq = seq;
        head.ts = START_MS + (int64_t)seq;
    }
    if (head.seq > 0)
        state_check_table(s, &head);
}
