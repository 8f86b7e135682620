/* Input: a key set, or a file of issuers. What is read keeps to its maximum. */
#include <assert.h>

#include "auth/issuer.h"
#include "fuzz.h"

void fuzz_one(struct str input)
{
    struct jwt_keys *keys = NULL;
    struct issuers *is = NULL;

    if (jwt_keys_read(input, &keys, NULL) == 0)
        assert(jwt_keys_count(keys) <= JWT_KEYS_MAX);
    jwt_keys_free(keys);
    if (issuers_parse(input, &is, NULL) == 0)
        assert(issuers_count(is) <= ISSUERS_MAX);
    issuers_unref(is);
}
