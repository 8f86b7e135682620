/* Input: an even first byte: an upload session's id follows; an odd one: places and values by which
 * a good id is changed. */
#include "blobstore/upload.h"
#include "fuzz.h"

#define NAME STR("team/app")

static struct store *store;
static struct node *node;
static struct blobs *blobs;
static struct uploads *uploads;
static char good[KEYS_SESSION_LEN + 1];

static void setup(void)
{
    if (uploads)
        return;
    fuzz_need(store_mem_new(&store), "store_mem_new");
    fuzz_need(node_open(store, &node, NULL), "node_open");
    fuzz_need(blobs_new(node, &blobs), "blobs_new");
    fuzz_need(uploads_new(blobs, &uploads), "uploads_new");
    upload_start(uploads, NAME, STR("someone"), DIGEST_SHA256, good);
}

/* Valid is only what was made, and only where and for whom it was made. */
static void check_id(struct str id)
{
    struct upload *u = NULL;
    bool valid = upload_id_valid(uploads, NAME, STR("someone"), id);
    int r;

    assert(valid == str_eq(id, str_of(good)));
    assert(!upload_id_valid(uploads, STR("team/apq"), STR("someone"), id));
    assert(!upload_id_valid(uploads, NAME, STR_NONE, id));
    r = upload_hold(uploads, NAME, STR("someone"), id, &u, NULL);
    assert(r == (valid ? 0 : -ERR_NOTFOUND));
    if (r == 0)
        upload_release(u);
}

void fuzz_one(struct str input)
{
    struct buf id auto_buf = BUF_INIT(KEYS_SESSION_LEN);

    setup();
    if (fuzz_u8(&input) % 2 == 0) {
        check_id(input);
        return;
    }
    buf_add(&id, str_of(good));
    fuzz_edit(&id, input);
    check_id(buf_str(&id));
}
