/* A checkpoint of a state that is one's own: for checks and tools; a replica makes its own in the
 * background. */
#include <assert.h>

#include "manifests/checkpoint.h"
#include "manifests/state.h"

int state_encode(const struct state *s, const struct checkpoint_head *head,
                 const struct table_spec *spec, table_emit_fn emit, void *arg, struct buf *out,
                 struct table **ret_table, struct err_detail *detail)
{
    const struct overlay *top = s->layers.over[0];
    struct table *t auto_table = NULL;
    struct buf more auto_buf = BUF_INIT(CHECKPOINT_HEAD_MAX);
    struct jw w = JW_INIT(&more);
    struct checkpoint_head whole = *head;
    int e;

    assert(s->incomplete == 0 && !s->layers.over[1] && layers_blind(&s->layers) == 0);
    e = table_merge(spec, &table_limits, top->hides ? NULL : s->layers.base, top->map, emit, arg,
                    &t, detail);
    if (e < 0)
        return e;
    state_write_numbers(s, &w);
    whole.bytes = s->layers.bytes;
    e = buf_err(&more) < 0 ? buf_err(&more) : checkpoint_encode(&whole, buf_str(&more), t, out);
    if (e == 0 && ret_table)
        *ret_table = STEAL(t);
    return e;
}

int state_decode(struct str text, struct str repo, const struct table_spec *spec,
                 struct state **ret, struct checkpoint_head *ret_head, struct err_detail *detail)
{
    struct json_doc *doc auto_json = NULL;
    struct state *s auto_state = NULL;
    struct table *t auto_table = NULL;
    struct checkpoint_head head;
    int e = checkpoint_decode(text, repo, spec, &head, &doc, &t, detail);

    if (e == 0)
        e = state_new(&s);
    if (e == 0)
        e = state_read_numbers(s, json_root(doc), head.seq);
    if (e < 0)
        return e;
    s->layers.base = STEAL(t);
    s->layers.bytes = head.bytes;
    *ret = STEAL(s);
    *ret_head = head;
    return 0;
}
