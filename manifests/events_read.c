/* Markers and entries in the store, for events. */
#include "manifests/events_internal.h"

#include "base/enc.h"
#include "base/json.h"
#include "blobstore/keys.h"

#define BUCKET_DIGITS 12

int64_t events_bucket_start(int64_t bucket)
{
    return bucket * BUCKET_MS;
}

/* name empty: what all keys of the bucket begin with. */
void events_marker_key(struct buf *out, int64_t bucket, struct str name)
{
    keys_changes(out, events_bucket_start(bucket), name.len ? name : STR("a"));
    if (!name.len && buf_err(out) == 0)
        buf_truncate(out, strlen(CHANGES) + BUCKET_DIGITS + 1);
}

/* Days from 1970-01-01 to the date, proleptic Gregorian. */
static int64_t days_of(int64_t year, int64_t month, int64_t day)
{
    int64_t y = month <= 2 ? year - 1 : year, era = y / 400, of_era = y - era * 400;
    int64_t of_year = (153 * (month + (month > 2 ? -3 : 9)) + 2) / 5 + day - 1;

    return era * 146097 + of_era * 365 + of_era / 4 - of_era / 100 + of_year - 719468;
}

bool events_marker_parse(struct str key, int64_t *ret_bucket, struct str *ret_name)
{
    int64_t part[5] = {0}; /* year, month, day, hour, minute */
    static const unsigned digits[] = {4, 2, 2, 2, 2};
    struct str rest = str_skip(key, strlen(CHANGES));

    if (!keys_changes_parse(key, ret_name) || !name_valid(*ret_name))
        return false;
    for (size_t i = 0; i < ARRAY_LEN(digits); i++) {
        for (unsigned d = 0; d < digits[i]; d++)
            part[i] = 10 * part[i] + rest.at[d] - '0';
        rest = str_skip(rest, digits[i]);
    }
    if (part[0] < 1970 || part[1] < 1 || part[1] > 12 || part[2] < 1 || part[2] > 31)
        return false;
    *ret_bucket = ((days_of(part[0], part[1], part[2]) * 24 + part[3]) * 60 + part[4]) / 10;
    return true;
}

int events_marker_seq(struct events *ev, struct str key, uint64_t *ret, struct err_detail *detail)
{
    struct buf text auto_buf = BUF_INIT(MARKER_MAX);
    struct json_doc *doc auto_json = NULL;
    int64_t seq;
    int e = store_get(node_store(ev->node), key, 0, STORE_WHOLE, &text, detail);

    if (e == -ERR_TOOBIG)
        e = -ERR_CORRUPT;
    if (e < 0)
        return e;
    if (json_parse(buf_str(&text), &doc, NULL) < 0 || !json_get_int(json_root(doc), "seq", &seq) ||
        seq < 1)
        return err_set(detail, -ERR_CORRUPT, "the marker " STR_FMT " cannot be read",
                       STR_ARG(str_head(key, 180)));
    *ret = (uint64_t)seq;
    return 0;
}

int events_entry_there(struct events *ev, struct str name, uint64_t seq, struct err_detail *detail)
{
    struct buf key auto_buf = BUF_INIT(STORE_KEY_MAX), prefix auto_buf = BUF_INIT(STORE_KEY_MAX);
    struct store_info info;
    int e;

    keys_repo(&prefix, name);
    keys_log_entry(&key, buf_str(&prefix), true, seq);
    if (buf_err(&key) < 0)
        return buf_err(&key);
    e = store_head(node_store(ev->node), buf_str(&key), &info, detail);
    return e == 0 ? 1 : e == -ERR_NOTFOUND ? 0 : e;
}

/* A log is dense: by doubling steps, then by halves. */
int events_find_head(struct events *ev, struct str name, uint64_t from, uint64_t *ret,
                     struct err_detail *detail)
{
    uint64_t low = from, step = 1;
    int e;

    while ((e = events_entry_there(ev, name, low + step, detail)) > 0) {
        low += step;
        step *= 2;
    }
    while (e == 0 && step > 1) {
        step /= 2;
        e = events_entry_there(ev, name, low + step, detail);
        if (e > 0)
            low += step;
        e = e < 0 ? e : 0;
    }
    *ret = low;
    return e;
}
