/* Input: a repository's name, or a tag. The oracles are the grammars of R1 to R3 as expressions. */
#include "blobstore/keys.h"
#include "fuzz.h"
#include "manifests/name.h"

#define COMPONENT "[a-z0-9]+((\\.|_|__|-+)[a-z0-9]+)*"

static struct fuzz_regex *name_regex, *tag_regex, *reserved_regex;

/* Whatever stands on either side of a '/' is a name of its own. */
static void check_parts(struct str name)
{
    for (size_t i = 0; i < name.len; i++) {
        if (name.at[i] != '/')
            continue;
        assert(name_valid(str_head(name, i)) && name_valid(str_skip(name, i + 1)));
    }
}

/* B3: a valid name makes valid keys, and links give it back. */
static void check_keys(struct str name)
{
    struct buf key auto_buf = BUF_INIT(STORE_KEY_MAX);
    struct buf back auto_buf = BUF_INIT(STORE_SEGMENT_MAX);
    struct digest d;
    uint64_t u;

    digest_of(DIGEST_SHA512, name, &d);
    keys_link(&key, &d, 7, name, UINT64_MAX);
    assert(buf_err(&key) == 0);
    assert(keys_link_parse(buf_str(&key), &back, &u));
    assert(str_eq(buf_str(&back), name) && u == UINT64_MAX);
    buf_clear(&key);
    keys_repo(&key, name);
    keys_log_entry(&key, STR("/x"), true, UINT64_MAX);
    assert(buf_err(&key) == 0);
    buf_clear(&key);
    keys_changes(&key, INT64_C(1800000000000), name);
    assert(buf_err(&key) == 0);
}

void fuzz_one(struct str input)
{
    bool name = name_valid(input), tag = tag_valid(input);

    if (input.len <= 2 * NAME_MAX_LEN) { /* the expression's cost grows fast */
        assert(name == (input.len <= NAME_MAX_LEN &&
                        fuzz_matches(&name_regex, "^" COMPONENT "(/" COMPONENT ")*$", input)));
        assert(tag == fuzz_matches(&tag_regex, "^[a-zA-Z0-9_][a-zA-Z0-9._-]{0,127}$", input));
        assert(name_reserved(input) ==
               (fuzz_matches(&reserved_regex, "^at-[0-9]{8}t[0-9]{6}z(/|$)", input) ||
                (fuzz_has_nul(input) && name_reserved(input))));
    } else {
        assert(!name && !tag);
    }
    if (!name)
        return;
    check_parts(input);
    check_keys(input);
}
