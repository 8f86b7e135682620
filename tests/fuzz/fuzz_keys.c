/* Input: a key as a listing of the bucket may give it. */
#include "blobstore/keys.h"
#include "fuzz.h"

static void check_session(struct str key)
{
    struct buf again auto_buf = BUF_INIT(STORE_KEY_MAX);
    struct buf prefix auto_buf = BUF_INIT(STORE_KEY_MAX);
    struct str id;
    uint64_t seq;

    if (!keys_session_parse(key, &id, &seq))
        return;
    keys_session(&prefix, id);
    keys_log_entry(&again, buf_str(&prefix), false, seq);
    assert(str_eq(buf_str(&again), key));
}

static void check_data(struct str key)
{
    struct buf again auto_buf = BUF_INIT(STORE_KEY_MAX);
    struct str id;

    if (!keys_data_parse(key, &id))
        return;
    keys_data(&again, id);
    assert(str_eq(buf_str(&again), key));
}

/* Name and number come back from the key made of them, below the same digest. */
static void check_link(struct str key)
{
    struct buf repo auto_buf = BUF_INIT(STORE_KEY_MAX);
    struct buf again auto_buf = BUF_INIT(2 * STORE_KEY_MAX);
    struct buf back auto_buf = BUF_INIT(STORE_KEY_MAX);
    struct digest d;
    uint64_t u, u2;

    if (!keys_link_parse(key, &repo, &u))
        return;
    assert(repo.len > 0 && str_find(buf_str(&repo), '!') < 0);
    digest_of(DIGEST_SHA256, key, &d);
    keys_link(&again, &d, 0, buf_str(&repo), u);
    assert(keys_link_parse(buf_str(&again), &back, &u2));
    assert(u2 == u && str_eq(buf_str(&back), buf_str(&repo)));
}

static void check_number(struct str segment)
{
    struct buf again auto_buf = BUF_INIT(STORE_KEY_MAX);
    uint64_t seq;

    if (!keys_number_parse(segment, &seq))
        return;
    assert(seq > 0);
    keys_table(&again, STR("x"), seq);
    assert(str_ends(buf_str(&again), segment));
}

void fuzz_one(struct str input)
{
    if (input.len > STORE_KEY_MAX)
        return;
    check_session(input);
    check_data(input);
    check_link(input);
    check_number(input);
}
