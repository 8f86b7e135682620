/* Blob records and their data. Data objects are listed a range at a time into a table of fixed
 * size; then all records are read, which mark theirs; what stays unmarked belongs to no record.
 * A data object made after its range was listed is asked for by itself. */
#include "manifests/fsck_internal.h"

#include <assert.h>

#include "base/enc.h"

#define RANGE_MAX  262144u /* data objects looked at in one pass over the records */
#define ID_BYTES   (KEYS_SESSION_LEN / 2)
#define FAN_AT     (KEYS_SESSION_BIRTH / 2) /* the byte that names the folder */
#define DEEP_BYTES (1u << 20)

struct data {
    uint8_t id[ID_BYTES];
    bool used;
    uint64_t size;
    int64_t modified_ms;
};

struct range {
    struct data *at; /* in the order of their keys */
    size_t count;
    bool more;       /* others follow the last */
    bool first;      /* the first pass, that looks at records themselves */
    struct buf from; /* keys up to this were in earlier ranges */
    struct buf last; /* of this range */
};

static void range_freep(struct range **r)
{
    if (*r) {
        buf_done(&(*r)->from);
        buf_done(&(*r)->last);
        free((*r)->at);
    }
    free(*r);
}

static int compare(const void *a, const void *b)
{
    const struct data *x = a, *y = b;
    int c = (x->id[FAN_AT] > y->id[FAN_AT]) - (x->id[FAN_AT] < y->id[FAN_AT]);

    return c ? c : memcmp(x->id, y->id, ID_BYTES);
}

static bool parse_id(struct str id, struct data *ret)
{
    return id.len == KEYS_SESSION_LEN && hex_decode(id, ret->id, ID_BYTES);
}

static struct data *find(const struct range *r, struct str id)
{
    struct data key = {.used = false};

    return parse_id(id, &key) ? bsearch(&key, r->at, r->count, sizeof(key), compare) : NULL;
}

static void id_text(const struct data *d, char out[KEYS_SESSION_LEN + 1])
{
    hex_encode(d->id, ID_BYTES, out);
}

static int add_data(struct fsck *f, struct str key, const struct store_info *info, void *arg)
{
    struct range *r = arg;
    struct data *d = &r->at[r->count];
    struct str id;

    if (r->count == RANGE_MAX) {
        r->more = true;
        return 1;
    }
    if (!keys_data_parse(key, &id) || !parse_id(id, d)) {
        fsck_unknown(f, key);
        return 0;
    }
    d->used = false;
    d->size = info->size;
    d->modified_ms = info->modified_ms;
    r->count++;
    buf_clear(&r->last);
    buf_add(&r->last, key);
    return buf_err(&r->last);
}

/* ---- records */

static const char unread[] = "every pull of this blob fails";

static int not_here(struct fsck *f, int e, struct str key, const char *meaning, const char *what)
{
    if (e == -ERR_NOTFOUND)
        fsck_say(f, FSCK_DAMAGE, key, meaning, "%s", what);
    else if (fsck_of_object(e))
        fsck_say(f, FSCK_DAMAGE, key, meaning, "%s", f->why.text);
    return e == -ERR_NOTFOUND || fsck_of_object(e) ? 1 : e;
}

/* Hashes what lies at [offset, end) of an object. 1: told. */
static int hash_object(struct fsck *f, struct str key, uint64_t offset, uint64_t end,
                       const struct digest *d)
{
    struct buf block auto_buf = BUF_INIT(DEEP_BYTES);
    struct digest actual;
    struct hasher h;

    hasher_init(&h, d->alg);
    while (offset < end) {
        uint64_t left = end - offset;
        int e;

        buf_clear(&block);
        e = fsck_get(f, key, offset, left < DEEP_BYTES ? left : DEEP_BYTES, &block);
        if (e < 0)
            return not_here(f, e, key, unread, "is missing");
        if (block.len == 0)
            break;
        hasher_add(&h, buf_str(&block));
        f->counts->bytes += block.len;
        offset += block.len;
    }
    hasher_final(&h, &actual);
    if (digest_eq(&actual, d))
        return 0;
    fsck_say(f, FSCK_DAMAGE, key, "pulls get bytes that clients refuse, or an error",
             "does not hold the bytes of its digest");
    return 1;
}

/* known: what a listing said of the data object; NULL: it is asked. */
static int check_data(struct fsck *f, const struct digest *d, const struct blob_info *info,
                      struct str record, const struct data *known, const char *meaning)
{
    struct buf key auto_buf = BUF_INIT(STORE_KEY_MAX);
    struct store_info object = {.size = known ? known->size : 0};
    int e = 0;

    keys_data(&key, str_of(info->data_id));
    if (!known)
        e = fsck_head(f, buf_str(&key), &object);
    if (e == -ERR_NOTFOUND)
        e = fsck_confirm_gone(f, buf_str(&key));
    if (e == -ERR_NOTFOUND) {
        fsck_say(f, FSCK_DAMAGE, buf_str(&key), meaning,
                 "is missing, but the record " STR_FMT " names it", STR_ARG(record));
        return 1;
    }
    if (e < 0)
        return not_here(f, e, buf_str(&key), meaning, "is missing");
    if (object.size != info->size && known) /* a listing may be of an earlier moment */
        return check_data(f, d, info, record, NULL, meaning);
    if (object.size != info->size) {
        fsck_say(f, FSCK_DAMAGE, buf_str(&key), meaning,
                 "has %llu bytes instead of the %llu that its record says",
                 (unsigned long long)object.size, (unsigned long long)info->size);
        return 1;
    }
    return f->settings->deep ? hash_object(f, buf_str(&key), 0, info->size, d) : 0;
}

int fsck_record_look(struct fsck *f, const struct digest *d, struct blob_info *ret)
{
    struct buf key auto_buf = BUF_INIT(STORE_KEY_MAX);
    struct buf head auto_buf = BUF_INIT(BLOB_HEADER_MAX);
    int e;

    keys_record(&key, d, 0);
    e = fsck_get(f, buf_str(&key), 0, BLOB_HEADER_MAX, &head);
    return e < 0 ? e : blob_header_parse(buf_str(&head), ret, &f->why);
}

/* The record itself. 1: told. */
static int check_itself(struct fsck *f, const struct digest *d, struct str key,
                        uint64_t object_size, struct blob_info *ret, const char *meaning)
{
    struct buf head auto_buf = BUF_INIT(BLOB_HEADER_MAX);
    int e = fsck_get(f, key, 0, BLOB_HEADER_MAX, &head);
    uint64_t wanted;

    if (e == 0)
        e = blob_header_parse(buf_str(&head), ret, &f->why);
    if (e == -ERR_VERSION) {
        fsck_say(f, FSCK_WARNING, key, "servers of this version cannot read it", "%s", f->why.text);
        return 1;
    }
    if (e < 0)
        return not_here(f, e, key, meaning, "is missing");
    wanted = ret->header_len + (ret->data_id[0] ? 0 : ret->size);
    if (object_size != wanted) {
        fsck_say(f, FSCK_DAMAGE, key, meaning, "has %llu bytes instead of %llu",
                 (unsigned long long)object_size, (unsigned long long)wanted);
        return 1;
    }
    if (ret->data_id[0] && str_of(ret->data_id).len != KEYS_SESSION_LEN) {
        fsck_say(f, FSCK_DAMAGE, key, meaning, "names no data object");
        return 1;
    }
    return f->settings->deep && !ret->data_id[0]
               ? hash_object(f, key, ret->header_len, object_size, d)
               : 0;
}

int fsck_record_check(struct fsck *f, const struct digest *d, unsigned g, uint64_t object_size,
                      const char *meaning)
{
    struct buf key auto_buf = BUF_INIT(STORE_KEY_MAX);
    struct blob_info info;
    int e;

    keys_record(&key, d, g);
    f->counts->records++;
    e = check_itself(f, d, buf_str(&key), object_size, &info, meaning);
    if (e == 0 && info.data_id[0])
        e = check_data(f, d, &info, buf_str(&key), NULL, meaning);
    return e < 0 ? e : 0;
}

/* Is the data object one of this range? */
static bool in_range(const struct range *r, struct str id)
{
    struct buf key auto_buf = BUF_INIT(STORE_KEY_MAX);

    keys_data(&key, id);
    return str_cmp(buf_str(&key), buf_str(&r->from)) > 0 &&
           (!r->more || str_cmp(buf_str(&key), buf_str(&r->last)) <= 0);
}

static int see_record(struct fsck *f, struct str key, const struct store_info *info, void *arg)
{
    struct range *r = arg;
    struct blob_info record;
    struct data *data;
    struct digest d;
    unsigned g;
    int e;

    if (!keys_record_parse(key, &d, &g)) {
        if (r->first)
            fsck_unknown(f, key);
        return 0;
    }
    if (r->first) {
        f->counts->records++;
        if (fsck_told(f, key))
            return 0;
        e = check_itself(f, &d, key, info->size, &record, unread);
    } else {
        e = fsck_record_look(f, &d, &record);
        e = e == -ERR_NOTFOUND || e == -ERR_VERSION || fsck_of_object(e) ? 1 : e;
    }
    if (e != 0 || !record.data_id[0] || !in_range(r, str_of(record.data_id)))
        return e < 0 ? e : 0;
    data = find(r, str_of(record.data_id));
    if (data && data->used)
        fsck_say(f, FSCK_DAMAGE, key, "a collection of one blob would take the other's bytes",
                 "names the data of another record");
    if (data)
        data->used = true;
    e = check_data(f, &d, &record, key, data, unread);
    return e < 0 ? e : 0;
}

/* ---- data that belongs to no record */

static int check_unused(struct fsck *f, const struct data *d)
{
    struct buf key auto_buf = BUF_INIT(STORE_KEY_MAX);
    struct buf session auto_buf = BUF_INIT(STORE_KEY_MAX);
    struct buf entry auto_buf = BUF_INIT(STORE_KEY_MAX);
    char id[KEYS_SESSION_LEN + 1];
    int e;

    if (d->used || f->now - d->modified_ms <= FSCK_YOUNG_MS)
        return 0;
    id_text(d, id);
    keys_data(&key, str_of(id));
    keys_session(&session, str_of(id));
    buf_addc(&session, '/');
    e = fsck_first(f, buf_str(&session), STR_NONE, &entry);
    if (e != -ERR_NOTFOUND)
        return e; /* its session ends it, or makes its record */
    e = fsck_confirm_gone(f, buf_str(&key));
    if (e == 0)
        fsck_say(f, FSCK_GARBAGE, buf_str(&key), "none",
                 "belongs to no record and to no upload session (%llu bytes)",
                 (unsigned long long)d->size);
    return e == -ERR_NOTFOUND || fsck_of_object(e) ? 0 : e;
}

static int pass(struct fsck *f, struct range *r)
{
    int e;

    r->count = 0;
    r->more = false;
    buf_clear(&r->from);
    buf_add(&r->from, buf_str(&r->last));
    if (buf_err(&r->from) < 0)
        return buf_err(&r->from);
    e = fsck_each(f, STR("data/"), buf_str(&r->from), add_data, r);
    if (e >= 0)
        e = fsck_each(f, STR("blobs/"), STR_NONE, see_record, r);
    for (size_t i = 0; e == 0 && i < r->count; i++)
        e = check_unused(f, &r->at[i]);
    return e;
}

int fsck_records_check(struct fsck *f)
{
    struct range *r auto_of(range_freep) = calloc(1, sizeof(*r));
    int e = 0;

    if (!r)
        return -ERR_NOMEM;
    r->at = calloc(RANGE_MAX + 1, sizeof(*r->at));
    if (!r->at)
        return -ERR_NOMEM;
    r->from = BUF_INIT(STORE_KEY_MAX);
    r->last = BUF_INIT(STORE_KEY_MAX);
    r->first = r->more = true;
    while (e == 0 && r->more) {
        e = pass(f, r);
        r->first = false;
    }
    return e;
}
