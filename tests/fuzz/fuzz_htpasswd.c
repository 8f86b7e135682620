/* Input: a file of users. Refusals say why; nobody unknown has a proof. */
#include <assert.h>

#include "auth/htpasswd.h"
#include "fuzz.h"

void fuzz_one(struct str input)
{
    struct htpasswd *h = NULL;
    struct err_detail why = {""};
    uint8_t proof[HMAC_BYTES];
    int e = htpasswd_parse(input, &h, &why);

    assert(e == 0 || e == -ERR_NOMEM || why.text[0]);
    if (e < 0)
        return;
    assert(!htpasswd_proof(h, STR(""), proof) && !htpasswd_proof(h, STR("\n"), proof));
    htpasswd_unref(h);
}
