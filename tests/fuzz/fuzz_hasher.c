/* Input: the text of a saved hash state; the same bytes are hashed in two parts, too, the place of
 * the cut being their first byte. */
#include "fuzz.h"

static void check_loaded(struct str text)
{
    struct buf saved auto_buf = BUF_INIT(HASHER_STATE_MAX);
    struct hasher h;
    struct digest d;
    int r = hasher_load(&h, text);

    assert(r == 0 || r == -ERR_INVAL);
    if (r < 0)
        return;
    hasher_save(&h, &saved);
    assert(buf_err(&saved) == 0 && str_eq(buf_str(&saved), text)); /* B2: one text for a state */
    hasher_add(&h, STR("more"));
    hasher_final(&h, &d);
}

/* Saved between two parts and loaded, the digest is that of the whole. */
static void check_cut(struct str bytes, enum digest_alg alg, size_t cut)
{
    struct buf saved auto_buf = BUF_INIT(HASHER_STATE_MAX);
    struct digest whole, parts;
    struct hasher h, loaded;

    hasher_init(&h, alg);
    hasher_add(&h, str_head(bytes, cut));
    hasher_save(&h, &saved);
    assert(buf_err(&saved) == 0 && hasher_load(&loaded, buf_str(&saved)) == 0);
    hasher_add(&loaded, str_skip(bytes, cut));
    hasher_final(&loaded, &parts);
    digest_of(alg, bytes, &whole);
    assert(digest_eq(&whole, &parts));
}

void fuzz_one(struct str input)
{
    size_t cut = input.len ? (uint8_t)input.at[0] : 0;

    check_loaded(input);
    check_cut(input, DIGEST_SHA256, cut < input.len ? cut : input.len);
    check_cut(input, DIGEST_SHA512, cut < input.len ? cut : input.len);
}
