/* Input: a token, then (after a line feed) a key set. Nothing that no key signed is verified. */
#include "auth/credentials.h"
#include "auth/token.h"
#include "fuzz.h"

static bool seed(void *arg, unsigned index, uint8_t out[HMAC_BYTES], int64_t *ret_end)
{
    (void)arg;
    memset(out, 7, HMAC_BYTES);
    *ret_end = 0;
    return index == 0;
}

static int refresh(void *arg)
{
    (void)arg;
    return 0;
}

void fuzz_one(struct str input)
{
    static struct token_mint *mint;
    struct token_source source = {seed, refresh, NULL};
    struct str text = fuzz_line(&input);
    struct credentials c auto_credentials = {.kind = CREDENTIALS_NONE};
    struct jwt j auto_jwt = {.header = NULL};
    struct jwt_keys *keys = NULL;
    struct login *l = NULL;

    if (!mint)
        fuzz_need(token_mint_new(&source, STR("stowage:x"), STR("svc"), &mint), "token_mint_new");
    (void)!credentials_parse(text, &c);
    (void)!jwt_keys_read(input, &keys, NULL);
    if (jwt_read(text, &j, NULL) == 0) {
        if (keys)
            (void)!jwt_verify(&j, keys);
        if (token_verify(mint, &j, 1795600000000, &l, NULL) == 0)
            login_unref(l);
    }
    jwt_keys_free(keys);
}
