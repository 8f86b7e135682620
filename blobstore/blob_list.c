/* Who has a blob: its links, page by page (blob.h). */
#include <assert.h>
#include <stdlib.h>

#include "blobstore/blob.h"

#define BLOB_LINKS_PAGE 64u /* links of one listing */

/* One page of a listing, copied so that the callback may use the store. */
struct link_page {
    struct buf keys; /* each followed by a zero byte */
    unsigned count;
};

static int page_add(struct str key, const struct store_info *info, void *arg)
{
    struct link_page *page = arg;

    (void)info;
    buf_add(&page->keys, key);
    buf_addc(&page->keys, 0);
    page->count++;
    return buf_err(&page->keys);
}

static int each_of_page(const struct link_page *page, int (*fn)(struct str, uint64_t, void *),
                        void *arg)
{
    struct str rest = buf_str(&page->keys);
    int r = 0;

    for (unsigned i = 0; r == 0 && i < page->count; i++) {
        struct buf repo auto_buf = BUF_INIT(STORE_KEY_MAX);
        struct str key = str_of(rest.at);
        uint64_t u;

        rest = str_skip(rest, key.len + 1);
        if (keys_link_parse(key, &repo, &u))
            r = fn(buf_str(&repo), u, arg);
    }
    return r;
}

int blob_each_link(struct blobs *b, const struct digest *d,
                   int (*fn)(struct str repo, uint64_t u, void *arg), void *arg,
                   struct err_detail *detail)
{
    struct buf prefix auto_buf = BUF_INIT(STORE_KEY_MAX);
    struct buf after auto_buf = BUF_INIT(STORE_KEY_MAX);
    unsigned seen = 0, got = BLOB_LINKS_PAGE;
    int r = 0;

    assert(b && d && fn);
    keys_links_of(&prefix, d, BLOB_GENERATION);
    while (r == 0 && got == BLOB_LINKS_PAGE && seen < BLOB_MOUNT_SCAN_MAX) {
        struct buf keys auto_buf = BUF_INIT(BLOB_LINKS_PAGE * (STORE_KEY_MAX + 1));
        struct link_page page = {.keys = keys};

        r = store_list(node_store(blobs_node(b)), buf_str(&prefix), buf_str(&after),
                       BLOB_LINKS_PAGE, page_add, &page, detail);
        keys = page.keys;
        if (r == 0)
            r = each_of_page(&page, fn, arg);
        got = page.count;
        seen += got;
        if (got > 0) { /* the last key is where the next page starts */
            size_t start = keys.len - 1;

            while (start > 0 && keys.at[start - 1] != 0)
                start--;
            buf_clear(&after);
            buf_add(&after, str_make(keys.at + start, keys.len - 1 - start));
        }
    }
    return r;
}
