/* Shared by the tests of upload sessions: see upload_fixture.h. */
#include "upload_fixture.h"

#include "base/clock.h"

#define CONTENT_MAX (1u << 20)

void peer_open(struct peer *p, struct store *s)
{
    p->node = open_node(s);
    assert_int_equal(blobs_new(p->node, &p->blobs), 0);
    assert_int_equal(uploads_new(p->blobs, &p->uploads), 0);
}

void peer_close(struct peer *p)
{
    uploads_free(p->uploads);
    blobs_free(p->blobs);
    node_free(p->node);
    *p = (struct peer){NULL, NULL, NULL};
}

struct str content(size_t from, size_t len)
{
    static char bytes[CONTENT_MAX];
    static bool made;

    if (!made) {
        uint32_t x = 12345;

        for (size_t i = 0; i < sizeof(bytes); i++) {
            x = x * 1664525u + 1013904223u;
            bytes[i] = (char)(x >> 24);
        }
        made = true;
    }
    assert_true(from + len <= sizeof(bytes));
    return str_make(bytes + from, len);
}

struct digest content_digest(size_t len, enum digest_alg alg)
{
    struct digest d;

    digest_of(alg, content(0, len), &d);
    return d;
}

void start(struct peer *p, char id[KEYS_SESSION_LEN + 1])
{
    upload_start(p->uploads, REPO, IDENTITY, DIGEST_SHA256, id);
}

static int write_to(struct upload *u, size_t to)
{
    int r = 0;

    while (r == 0 && upload_offset(u) < to) {
        size_t left = to - (size_t)upload_offset(u);

        r = upload_write(u, content((size_t)upload_offset(u), left < 30000 ? left : 30000), NULL);
    }
    return r;
}

int patch(struct peer *p, const char *id, size_t to)
{
    struct upload *u;
    int r = upload_hold(p->uploads, REPO, IDENTITY, str_of(id), &u, NULL);

    if (r < 0)
        return r;
    r = write_to(u, to);
    if (r == 0)
        r = upload_save(u, NULL);
    upload_release(u);
    return r;
}

int put(struct peer *p, const char *id, size_t size, const struct digest *d)
{
    struct upload *u;
    int r = upload_hold(p->uploads, REPO, IDENTITY, str_of(id), &u, NULL);

    if (r < 0)
        return r;
    r = upload_closed(u) ? 0 : write_to(u, size);
    if (r == 0)
        r = upload_close(u, d, 0, NULL);
    upload_release(u);
    return r;
}

int64_t offset_of(struct peer *p, const char *id)
{
    struct upload *u;
    int64_t r = upload_hold(p->uploads, REPO, IDENTITY, str_of(id), &u, NULL);

    if (r < 0)
        return r;
    r = (int64_t)upload_offset(u);
    upload_release(u);
    return r;
}

void blob_is_whole(struct peer *p, size_t size, const struct digest *d)
{
    struct buf bytes auto_buf = BUF_INIT(CONTENT_MAX);

    assert_int_equal(blob_read(p->blobs, d, CONTENT_MAX, &bytes, NULL), 0);
    assert_int_equal(bytes.len, size);
    assert_true(str_eq(buf_str(&bytes), content(0, size)));
    assert_int_equal(blob_link_exists(p->blobs, REPO, d, 0, NULL), 0);
}

/* ---- what lies in the store */

struct keys {
    char at[64][256];
    unsigned count;
};

static int add_key(struct str key, const struct store_info *info, void *arg)
{
    struct keys *keys = arg;

    (void)info;
    assert_true(keys->count < ARRAY_LEN(keys->at) && key.len < sizeof(keys->at[0]));
    memcpy(keys->at[keys->count], key.at, key.len);
    keys->at[keys->count][key.len] = 0;
    keys->count++;
    return 0;
}

static void list_keys(struct store *s, const char *prefix, struct keys *ret)
{
    ret->count = 0;
    assert_int_equal(store_list(s, str_of(prefix), STR_NONE, STORE_LIST_MAX, add_key, ret, NULL),
                     0);
}

static void record_of(struct store *s, const char *key, struct blob_info *ret)
{
    struct buf head auto_buf = BUF_INIT(BLOB_HEADER_MAX);

    assert_int_equal(store_get(s, str_of(key), 0, BLOB_HEADER_MAX, &head, NULL), 0);
    assert_int_equal(blob_header_parse(buf_str(&head), ret, NULL), 0);
}

unsigned check_records(struct peer *p, struct store *s)
{
    static struct keys keys;

    (void)p;
    list_keys(s, "blobs/", &keys);
    for (unsigned i = 0; i < keys.count; i++) {
        struct buf key auto_buf = BUF_INIT(STORE_KEY_MAX);
        struct store_info data;
        struct blob_info info;

        record_of(s, keys.at[i], &info);
        if (info.data_id[0] == 0)
            continue;
        keys_data(&key, str_of(info.data_id));
        assert_int_equal(store_head(s, buf_str(&key), &data, NULL), 0);
        assert_int_equal(data.size, info.size);
    }
    return keys.count;
}

static unsigned data_without_record(struct store *s)
{
    static struct keys data, records;
    unsigned orphans = 0;

    list_keys(s, "data/", &data);
    list_keys(s, "blobs/", &records);
    for (unsigned i = 0; i < data.count; i++) {
        bool named = false;

        for (unsigned k = 0; k < records.count; k++) {
            struct blob_info info;

            record_of(s, records.at[k], &info);
            named = named || (info.data_id[0] != 0 && strstr(data.at[i], info.data_id));
        }
        orphans += named ? 0 : 1;
    }
    return orphans;
}

static int no_stream(struct str key, const struct store_info *info, void *arg)
{
    (void)info;
    (void)arg;
    fail_msg("a stream is left: " STR_FMT, STR_ARG(key));
    return 0;
}

unsigned sweep_all(struct peer *p, struct store *s)
{
    static struct keys data;

    for (int i = 0; i < 3; i++) { /* expire, remove, and once more for what a crash left between */
        fake_time_pass(27 * HOUR_MS);
        assert_int_equal(uploads_sweep(p->uploads, NULL, NULL, NULL), 0);
    }
    assert_int_equal(count_objects(s, "uploads/"), 0);
    assert_int_equal(store_stream_list(s, no_stream, NULL, NULL), 0);
    assert_int_equal(data_without_record(s), 0);
    check_records(p, s);
    list_keys(s, "data/", &data);
    return data.count;
}
