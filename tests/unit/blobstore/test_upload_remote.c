/* Upload sessions on stores like S3: where a look is a request, and where bytes are not given back
 * before they are an object. */
#include "upload_fixture.h"

#include "blobstore/store_ops.h"

/* On a remote store, by a URL that tells of nothing written: no look, and what is wrong about it is
 * found out. */
static void test_begun_without_a_look(void **state)
{
    struct store *s = mem_store();
    struct store_ops ops = *s->ops;
    struct peer a, b;
    char id[KEYS_SESSION_LEN + 1];
    struct digest d = content_digest(LARGE, DIGEST_SHA256);
    struct upload *u;

    (void)state;
    ops.remote = true;
    s->ops = &ops;
    peer_open(&a, s);
    peer_open(&b, s);
    start(&a, id);
    assert_int_equal(upload_hold_new(a.uploads, REPO, IDENTITY, str_of(id), &u, NULL), 0);
    assert_int_equal(upload_write(u, content(0, 1000), NULL), 0);
    assert_int_equal(upload_save(u, NULL), 0);
    upload_release(u);

    /* The same URL at another node, which knows nothing of that: 416, and nothing is lost. */
    assert_int_equal(upload_hold_new(b.uploads, REPO, IDENTITY, str_of(id), &u, NULL), 0);
    assert_int_equal(upload_offset(u), 0);
    assert_int_equal(upload_write(u, content(1000, 500), NULL), 0);
    assert_int_equal(upload_save(u, NULL), -ERR_RANGE);
    assert_int_equal(upload_offset(u), 1000);
    upload_release(u);
    assert_int_equal(offset_of(&a, id), 1000);
    assert_int_equal(upload_hold_new(b.uploads, REPO, IDENTITY, str_of(id), &u, NULL), 0);
    assert_int_equal(upload_offset(u), 1000); /* known by now */
    upload_release(u);
    assert_int_equal(patch(&a, id, LARGE), 0);
    assert_int_equal(put(&b, id, LARGE, &d), 0);
    blob_is_whole(&b, LARGE, &d);

    /* Cancelled elsewhere. */
    start(&a, id);
    assert_int_equal(upload_hold(a.uploads, REPO, IDENTITY, str_of(id), &u, NULL), 0);
    assert_int_equal(upload_cancel(u, NULL), 0);
    upload_release(u);
    assert_int_equal(upload_hold_new(b.uploads, REPO, IDENTITY, str_of(id), &u, NULL), 0);
    assert_int_equal(upload_write(u, content(0, LARGE), NULL), 0);
    assert_int_equal(upload_save(u, NULL), -ERR_NOTFOUND);
    upload_release(u);

    /* Bytes that others wrote before are not theirs to end: 416, and the session stays. */
    start(&a, id);
    assert_int_equal(patch(&a, id, 1000), 0);
    assert_int_equal(upload_hold_new(b.uploads, REPO, IDENTITY, str_of(id), &u, NULL), 0);
    assert_int_equal(upload_write(u, content(1000, LARGE - 1000), NULL), 0);
    assert_int_equal(upload_close(u, &d, 0, NULL), -ERR_RANGE);
    upload_release(u);
    assert_int_equal(offset_of(&a, id), 1000);
    peer_close(&b);
    peer_close(&a);
    store_free(s);
}

/* Its bytes to a node that has forgotten what it knew of the session. */
static int append_unknowing(struct store *s, const char *id, size_t from, size_t len,
                            uint64_t *ret_offset)
{
    struct upload *u;
    struct peer p;
    int r;

    peer_open(&p, s);
    assert_int_equal(upload_hold_new(p.uploads, REPO, IDENTITY, str_of(id), &u, NULL), 0);
    assert_int_equal(upload_offset(u), 0);
    assert_int_equal(upload_write(u, content(from, len), NULL), 0);
    r = upload_append(u, NULL);
    *ret_offset = upload_offset(u);
    upload_release(u);
    peer_close(&p);
    return r;
}

/* R57: pieces without a place, each by the first URL to a node that knows nothing of the others:
 * they stand one behind another. What this node cannot send again changes nothing (here a stream:
 * parts of it are sent at once). What ended stays ended. */
static void test_appended_without_a_look(void **state)
{
    static const size_t ends[] = {1000, 1001, 5000, 60000};
    struct store *s = mem_store();
    struct store_ops ops = *s->ops;
    char id[KEYS_SESSION_LEN + 1];
    struct upload *u;
    struct digest d;
    uint64_t offset;
    size_t from = 0;
    struct peer a;

    (void)state;
    ops.remote = true;
    s->ops = &ops;
    peer_open(&a, s);
    start(&a, id);
    for (size_t i = 0; i < ARRAY_LEN(ends); from = ends[i++]) {
        assert_int_equal(append_unknowing(s, id, from, ends[i] - from, &offset), 0);
        assert_int_equal(offset, ends[i]);
        assert_int_equal(append_unknowing(s, id, from, 0, &offset), 0); /* no bytes: where? */
        assert_int_equal(offset, ends[i]);
    }
    assert_int_equal(append_unknowing(s, id, from, LARGE - from, &offset), -ERR_RANGE);
    assert_int_equal(offset, from);
    assert_int_equal(patch(&a, id, LARGE), 0);
    d = content_digest(LARGE, DIGEST_SHA256);
    assert_int_equal(put(&a, id, LARGE, &d), 0);
    blob_is_whole(&a, LARGE, &d);
    for (unsigned with_bytes = 0; with_bytes < 2; with_bytes++) {
        start(&a, id);
        assert_int_equal(upload_hold(a.uploads, REPO, IDENTITY, str_of(id), &u, NULL), 0);
        assert_int_equal(upload_cancel(u, NULL), 0);
        upload_release(u);
        assert_int_equal(append_unknowing(s, id, 0, with_bytes * 100, &offset), -ERR_NOTFOUND);
    }
    peer_close(&a);
    store_free(s);
}

/* ---- a store that gives bytes back only when they are an object, as S3 does with parts */

static const struct store_ops *bare_ops;
static struct store_ops shut_ops;
static unsigned gets_fail;

static int shut_read(struct store_stream *st, uint64_t offset, size_t len, struct buf *out,
                     struct err_detail *detail)
{
    (void)st;
    (void)offset;
    (void)len;
    (void)out;
    return err_set(detail, -ERR_INVAL, "shut");
}

static int shut_open(struct store *s, struct str key, struct store_stream **ret,
                     struct err_detail *detail)
{
    int r = bare_ops->stream_open(s, key, ret, detail);

    if (r == 0)
        (*ret)->ops = &shut_ops;
    return r;
}

static int shut_resume(struct store *s, struct str key, struct str state, uint64_t size,
                       struct store_stream **ret, struct err_detail *detail)
{
    int r = bare_ops->stream_resume(s, key, state, size, ret, detail);

    if (r == 0)
        (*ret)->ops = &shut_ops;
    return r;
}

static int shut_get(struct store *s, struct str key, uint64_t offset, size_t len, struct buf *out,
                    struct err_detail *detail)
{
    if (gets_fail > 0 && str_starts(key, STR("data/"))) {
        gets_fail--;
        return err_set(detail, -ERR_UNAVAIL, "shut");
    }
    return bare_ops->get(s, key, offset, len, out, detail);
}

static struct store *shut_store(void)
{
    struct store *s = mem_store();

    bare_ops = s->ops;
    shut_ops = *s->ops;
    shut_ops.stream_open = shut_open;
    shut_ops.stream_resume = shut_resume;
    shut_ops.stream_read = shut_read;
    shut_ops.get = shut_get;
    s->ops = &shut_ops;
    return s;
}

/* R62, B45: an algorithm first named at the end. */
static void test_proved_from_the_object(void **state)
{
    struct store *s = shut_store();
    struct peer a, b;
    char id[KEYS_SESSION_LEN + 1];
    struct digest d = content_digest(LARGE, DIGEST_SHA512),
                  other = content_digest(LARGE + 1, DIGEST_SHA512);
    struct blob_info info;

    (void)state;
    peer_open(&a, s);
    peer_open(&b, s);
    start(&a, id);
    assert_int_equal(put(&a, id, LARGE, &d), 0);
    blob_is_whole(&b, LARGE, &d);

    /* Wrong: nothing is stored, whoever asks again. */
    start(&a, id);
    assert_int_equal(put(&a, id, LARGE, &other), -ERR_DIGEST);
    assert_int_equal(blob_info(a.blobs, &other, &info, NULL), -ERR_NOTFOUND);
    assert_int_equal(count_objects(s, "data/"), 1);
    assert_int_equal(offset_of(&a, id), -ERR_NOTFOUND);

    /* That others have such a blob proves nothing. */
    start(&a, id);
    assert_int_equal(put(&a, id, LARGE - 1, &d), -ERR_DIGEST);
    assert_int_equal(count_objects(s, "data/"), 1);

    /* Cut off between the object and its proof: another node proves it. */
    d = content_digest(LARGE + 2, DIGEST_SHA512);
    start(&a, id);
    gets_fail = 1;
    assert_int_equal(put(&a, id, LARGE + 2, &d), -ERR_UNAVAIL);
    assert_int_equal(blob_info(b.blobs, &d, &info, NULL), -ERR_NOTFOUND);
    assert_int_equal(put(&b, id, LARGE + 2, &d), 0);
    blob_is_whole(&b, LARGE + 2, &d);

    /* And refuses it where that is due. */
    start(&a, id);
    gets_fail = 1;
    assert_int_equal(put(&a, id, LARGE + 3, &other), -ERR_UNAVAIL);
    assert_int_equal(put(&b, id, LARGE + 3, &other), -ERR_DIGEST);
    assert_int_equal(count_objects(s, "data/"), 2);
    peer_close(&b);
    peer_close(&a);
    store_free(s);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_begun_without_a_look),
        cmocka_unit_test(test_appended_without_a_look),
        cmocka_unit_test(test_proved_from_the_object),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
