/* Listings of the S3 store: objects, and uploads that nobody completed (store_s3.h). */
#include <assert.h>

#include "blobstore/store_s3_internal.h"

#define UPLOAD_PAGES_MAX 10000 /* of one listing of uploads */

struct lister {
    struct str root;
    store_list_fn fn;
    void *arg;
    int told; /* what fn returned */
};

static int tell(struct lister *l, struct str key, const struct store_info *info)
{
    if (!str_starts(key, l->root))
        return -ERR_CORRUPT;
    l->told = l->fn(str_skip(key, l->root.len), info, l->arg);
    return l->told;
}

static int on_object(const struct s3_item *item, void *arg)
{
    struct store_info info = {item->size, item->date_ms};

    return tell(arg, item->key, &info);
}

static int query_objects(struct store_s3 *s, struct s3_call *c, struct str prefix, struct str after,
                         unsigned max)
{
    struct buf text auto_buf = BUF_INIT(2 * STORE_KEY_MAX + S3_PREFIX_MAX);
    struct buf number auto_buf = BUF_INIT(32);

    buf_add_u64(&number, max);
    sigv4_query_add(&c->query, "encoding-type", STR("url"));
    sigv4_query_add(&c->query, "list-type", STR("2"));
    sigv4_query_add(&c->query, "max-keys", buf_str(&number));
    buf_add(&text, buf_str(&s->root));
    buf_add(&text, prefix);
    sigv4_query_add(&c->query, "prefix", buf_str(&text));
    if (after.len > 0) {
        buf_clear(&text);
        buf_add(&text, buf_str(&s->root));
        buf_add(&text, after);
        sigv4_query_add(&c->query, "start-after", buf_str(&text));
    }
    return buf_err(&text) < 0 ? buf_err(&text) : buf_err(&c->query);
}

int s3_list(struct store *store, struct str prefix, struct str after, unsigned max,
            store_list_fn fn, void *arg, struct err_detail *detail)
{
    struct store_s3 *s = s3_of(store);
    struct buf text auto_buf = BUF_INIT(S3XML_BYTES_MAX);
    struct s3_page page auto_s3_page = S3_PAGE_INIT;
    struct lister l = {.root = buf_str(&s->root), .fn = fn, .arg = arg};
    struct s3_call c;
    int r;

    s3_call_init(&c, S3_READ, "GET", STR_NONE);
    c.answer = &text;
    r = query_objects(s, &c, prefix, after, max);
    if (r == 0)
        r = s3_run_one(s, &c, detail);
    s3_call_done(&c);
    if (r == 0)
        r = s3xml_objects(buf_str(&text), on_object, &l, &page);
    if (l.told != 0)
        return l.told;
    if (r == -ERR_CORRUPT)
        return err_set(detail, -ERR_UNAVAIL, "the object store's listing cannot be read");
    return r == -ERR_NOTFOUND ? -ERR_UNAVAIL : r;
}

/* ---- uploads */

typedef int (*upload_fn)(const struct s3_item *item, void *arg);

static int uploads_page(struct store_s3 *s, struct str prefix, struct s3_page *page, upload_fn fn,
                        void *arg, struct err_detail *detail)
{
    struct buf text auto_buf = BUF_INIT(S3XML_BYTES_MAX);
    struct buf full auto_buf = BUF_INIT(STORE_KEY_MAX + S3_PREFIX_MAX);
    struct s3_call c;
    int r;

    buf_add(&full, buf_str(&s->root));
    buf_add(&full, prefix);
    s3_call_init(&c, S3_READ, "GET", STR_NONE);
    c.answer = &text;
    sigv4_query_add(&c.query, "encoding-type", STR("url"));
    if (page->key_marker.len > 0)
        sigv4_query_add(&c.query, "key-marker", buf_str(&page->key_marker));
    sigv4_query_add(&c.query, "prefix", buf_str(&full));
    if (page->upload_marker.len > 0)
        sigv4_query_add(&c.query, "upload-id-marker", buf_str(&page->upload_marker));
    sigv4_query_add(&c.query, "uploads", STR_NONE);
    r = buf_err(&full) < 0 ? buf_err(&full) : s3_run_one(s, &c, detail);
    s3_call_done(&c);
    buf_clear(&page->key_marker);
    buf_clear(&page->upload_marker);
    if (r == -ERR_NOTFOUND) { /* so rclone says that there are none */
        page->truncated = false;
        return 0;
    }
    if (r == 0)
        r = s3xml_uploads(buf_str(&text), fn, arg, page);
    return r == -ERR_CORRUPT
               ? err_set(detail, -ERR_UNAVAIL, "the object store's list of uploads is unreadable")
               : r;
}

static int each_upload(struct store_s3 *s, struct str prefix, upload_fn fn, void *arg,
                       struct err_detail *detail)
{
    struct s3_page page auto_s3_page = S3_PAGE_INIT;
    int r = 0;

    for (unsigned i = 0; i < UPLOAD_PAGES_MAX; i++) {
        r = uploads_page(s, prefix, &page, fn, arg, detail);
        if (r != 0 || !page.truncated || page.key_marker.len == 0)
            break;
    }
    return r;
}

int s3_abort(struct store_s3 *s, struct str key, struct str upload, struct err_detail *detail)
{
    struct s3_call c;
    int r;

    s3_call_init(&c, S3_WRITE, "DELETE", key);
    sigv4_query_add(&c.query, "uploadId", upload);
    r = s3_run_one(s, &c, detail);
    s3_call_done(&c);
    return r == -ERR_NOTFOUND ? 0 : r;
}

static int on_upload(const struct s3_item *item, void *arg)
{
    struct store_info info = {1, item->date_ms};

    return tell(arg, item->key, &info);
}

int s3_stream_list(struct store *store, store_list_fn fn, void *arg, struct err_detail *detail)
{
    struct store_s3 *s = s3_of(store);
    struct lister l = {.root = buf_str(&s->root), .fn = fn, .arg = arg};
    int r = each_upload(s, STR_NONE, on_upload, &l, detail);

    return l.told != 0 ? l.told : r;
}

/* The ids of one key's uploads, gathered so that nothing is asked inside a listing. */
struct sweep {
    struct str root, key;
    struct buf ids; /* each followed by a zero byte */
};

static int on_leftover(const struct s3_item *item, void *arg)
{
    struct sweep *w = arg;

    if (item->key.len != w->root.len + w->key.len || !str_ends(item->key, w->key))
        return 0;
    buf_add(&w->ids, item->upload);
    buf_addc(&w->ids, '\0');
    return buf_err(&w->ids);
}

int s3_stream_sweep(struct store *store, struct str key, struct err_detail *detail)
{
    struct store_s3 *s = s3_of(store);
    struct sweep w = {buf_str(&s->root), key, BUF_INIT(1u << 20)};
    int r = each_upload(s, key, on_leftover, &w, detail);

    for (size_t at = 0; r == 0 && at < w.ids.len; at += strlen(w.ids.at + at) + 1)
        r = s3_abort(s, key, str_of(w.ids.at + at), detail);
    buf_done(&w.ids);
    return r;
}
