/* Input: the reference of a manifest's path: a tag or a digest (R3, R4). */
#include "blobstore/keys.h"
#include "fuzz.h"
#include "manifests/name.h"

static struct fuzz_regex *digest_regex, *served_regex;

static void check_digest(struct str text, const struct digest *d)
{
    struct buf key auto_buf = BUF_INIT(STORE_KEY_MAX);
    char out[DIGEST_TEXT_MAX], hex[DIGEST_TEXT_MAX];
    struct digest again;

    assert(str_eq(digest_text(d, out), text));
    assert(str_ends(text, digest_hex(d, hex)));
    assert(digest_parse(str_of(out), &again) == 0 && memcmp(&again, d, sizeof(again)) == 0);
    assert(digest_eq(&again, d));
    keys_record(&key, d, UINT32_MAX);
    assert(buf_err(&key) == 0);
}

void fuzz_one(struct str input)
{
    bool grammar, served;
    struct reference ref;
    int r = reference_parse(input, &ref);

    assert(r == 0 || r == -ERR_INVAL || r == -ERR_UNSUPPORTED);
    if (input.len > 4096)
        return;
    grammar = fuzz_matches(&digest_regex, "^[a-z0-9]+([+._-][a-z0-9]+)*:[a-zA-Z0-9=_-]+$", input);
    served = fuzz_matches(&served_regex, "^(sha256:[a-f0-9]{64}|sha512:[a-f0-9]{128})$", input);
    if (r == 0 && ref.is_digest) {
        assert(grammar && served);
        check_digest(input, &ref.digest);
    } else if (r == 0) {
        assert(str_eq(ref.tag, input) && tag_valid(input) && str_find(input, ':') < 0);
    } else {
        assert(!served && !tag_valid(input));
        assert(r != -ERR_UNSUPPORTED || grammar);
    }
}
