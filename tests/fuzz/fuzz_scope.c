/* Input: scopes. What is understood, written again, is understood as the same. */
#include <assert.h>

#include "auth/scope.h"
#include "fuzz.h"

void fuzz_one(struct str input)
{
    struct scopes s auto_scopes = {.count = 0}, again auto_scopes = {.count = 0};
    struct buf text auto_buf = BUF_INIT(1u << 20), second auto_buf = BUF_INIT(1u << 20);

    fuzz_need(scopes_parse(input, &s), "scopes_parse");
    assert(s.count <= SCOPES_MAX);
    scopes_text(&s, &text);
    fuzz_need(scopes_parse(buf_str(&text), &again), "scopes_parse");
    scopes_text(&again, &second);
    assert(str_eq(buf_str(&text), buf_str(&second)));
}
