/* Key names of the bucket (docs/bucket-format.md section 2): the only file that builds or takes
 * apart keys. Pure functions; a name or digest that reaches this file is valid, so a wrong one is a
 * programmer's error. */
#include "blobstore/keys.h"

#include <assert.h>

#include "base/enc.h"

#define REPO_SEPARATOR '!' /* stands for '/' where a repository's name is one segment */
#define DATA_FAN_OUT   2   /* hex digits of the folder of data objects, records and links */
#define DEEP_DIGITS    16  /* leading digits of a number that name its folder in a deep log */
#define PART_HEX       64  /* a sha256 */
#define MINUTE_DIGITS  12  /* yyyymmddhhmm */

static bool is_lower_hex(struct str s)
{
    for (size_t i = 0; i < s.len; i++)
        if (!((s.at[i] >= '0' && s.at[i] <= '9') || (s.at[i] >= 'a' && s.at[i] <= 'f')))
            return false;
    return true;
}

/* By hand, because each strict read makes the key that it asks for. */
static void add_number(struct buf *out, uint64_t seq)
{
    char digits[KEYS_NUMBER_DIGITS];

    for (int i = KEYS_NUMBER_DIGITS; i > 0; seq /= 10)
        digits[--i] = (char)('0' + seq % 10);
    buf_add(out, str_make(digits, sizeof(digits)));
}

void keys_format(struct buf *out)
{
    buf_add(out, STR("format"));
}

void keys_data(struct buf *out, struct str session_id)
{
    assert(session_id.len >= KEYS_SESSION_BIRTH + DATA_FAN_OUT);
    assert(is_lower_hex(session_id));
    buf_add(out, STR("data/"));
    buf_add(out, str_head(str_skip(session_id, KEYS_SESSION_BIRTH), DATA_FAN_OUT));
    buf_addc(out, '/');
    buf_add(out, session_id);
}

/* "<alg>/<2>/<hex>.<g>" */
static void add_digest(struct buf *out, const struct digest *d, unsigned g)
{
    char text[DIGEST_TEXT_MAX];
    struct str hex = digest_hex(d, text);

    buf_add(out, digest_alg_name(d->alg));
    buf_addc(out, '/');
    buf_add(out, str_head(hex, DATA_FAN_OUT));
    buf_addc(out, '/');
    buf_add(out, hex);
    buf_addc(out, '.');
    buf_add_u64(out, g);
}

void keys_record(struct buf *out, const struct digest *d, unsigned g)
{
    buf_add(out, STR("blobs/"));
    add_digest(out, d, g);
}

void keys_links_of(struct buf *out, const struct digest *d, unsigned g)
{
    buf_add(out, STR("links/"));
    add_digest(out, d, g);
    buf_addc(out, '/');
}

void keys_link(struct buf *out, const struct digest *d, unsigned g, struct str repo, uint64_t u)
{
    assert(repo.len > 0 && str_find(repo, REPO_SEPARATOR) < 0);
    keys_links_of(out, d, g);
    for (size_t i = 0; i < repo.len; i++)
        buf_addc(out, repo.at[i] == '/' ? REPO_SEPARATOR : repo.at[i]);
    buf_addc(out, '/');
    buf_add_u64(out, u);
}

/* Cuts the next segment off *rest; false when there is no further '/'. */
static bool cut_segment(struct str *rest, struct str *ret)
{
    ptrdiff_t at = str_find(*rest, '/');

    if (at < 0)
        return false;
    *ret = str_head(*rest, (size_t)at);
    *rest = str_skip(*rest, (size_t)at + 1);
    return ret->len > 0;
}

/* Decimal as this file writes it: no leading zero. */
static bool parse_decimal(struct str s, uint64_t *ret)
{
    return str_u64(s, ret) && (s.len == 1 || s.at[0] != '0');
}

bool keys_link_parse(struct str key, struct buf *ret_repo, uint64_t *ret_u)
{
    struct str rest = key, links, alg, fan, record, repo;
    uint64_t u;

    if (!cut_segment(&rest, &links) || !str_eq(links, STR("links")))
        return false;
    if (!cut_segment(&rest, &alg) || !cut_segment(&rest, &fan) || !cut_segment(&rest, &record))
        return false;
    if (!cut_segment(&rest, &repo) || !parse_decimal(rest, &u))
        return false;
    for (size_t i = 0; i < repo.len; i++)
        buf_addc(ret_repo, repo.at[i] == REPO_SEPARATOR ? '/' : repo.at[i]);
    *ret_u = u;
    return buf_err(ret_repo) == 0;
}

void keys_repo(struct buf *out, struct str repo)
{
    assert(repo.len > 0);
    buf_add(out, STR("repos/"));
    buf_add(out, repo);
}

void keys_session(struct buf *out, struct str session_id)
{
    assert(session_id.len == KEYS_SESSION_LEN && is_lower_hex(session_id));
    buf_add(out, STR(KEYS_UPLOADS));
    buf_add(out, session_id);
}

bool keys_word_valid(struct str word)
{
    for (size_t i = 0; i < word.len; i++)
        if (!((word.at[i] >= '0' && word.at[i] <= '9') ||
              (word.at[i] >= 'a' && word.at[i] <= 'z') || word.at[i] == '-'))
            return false;
    return word.len > 0 && word.len <= KEYS_WORD_MAX;
}

void keys_lease(struct buf *out, struct str job)
{
    assert(keys_word_valid(job));
    buf_add(out, STR("lease/"));
    buf_add(out, job);
}

void keys_hook(struct buf *out, struct str target)
{
    assert(keys_word_valid(target));
    buf_add(out, STR(KEYS_HOOKS));
    buf_add(out, target);
}

void keys_log_entry(struct buf *out, struct str prefix, bool deep, uint64_t seq)
{
    assert(prefix.len > 0 && seq > 0);
    buf_add(out, prefix);
    if (deep) {
        size_t number;

        buf_add(out, STR("/_log/"));
        number = out->len;
        add_number(out, seq);
        if (buf_err(out) == 0)
            buf_truncate(out, number + DEEP_DIGITS);
    }
    buf_addc(out, '/');
    add_number(out, seq);
}

bool keys_number_parse(struct str last_segment, uint64_t *ret_seq)
{
    uint64_t seq;

    if (last_segment.len != KEYS_NUMBER_DIGITS || !str_u64(last_segment, &seq) || seq == 0)
        return false;
    *ret_seq = seq;
    return true;
}

bool keys_session_parse(struct str key, struct str *ret_id, uint64_t *ret_seq)
{
    struct str rest = key, uploads, id;
    uint64_t seq;

    if (!cut_segment(&rest, &uploads) || !str_eq(uploads, STR("uploads")))
        return false;
    if (!cut_segment(&rest, &id) || id.len != KEYS_SESSION_LEN || !is_lower_hex(id))
        return false;
    if (!keys_number_parse(rest, &seq))
        return false;
    *ret_id = id;
    *ret_seq = seq;
    return true;
}

bool keys_data_parse(struct str key, struct str *ret_id)
{
    struct str rest = key, data, fan;

    if (!cut_segment(&rest, &data) || !str_eq(data, STR("data")) || !cut_segment(&rest, &fan))
        return false;
    if (rest.len != KEYS_SESSION_LEN || !is_lower_hex(rest))
        return false;
    if (!str_eq(fan, str_head(str_skip(rest, KEYS_SESSION_BIRTH), DATA_FAN_OUT)))
        return false;
    *ret_id = rest;
    return true;
}

void keys_table(struct buf *out, struct str prefix, uint64_t seq)
{
    assert(seq > 0);
    keys_tables_of(out, prefix);
    add_number(out, seq);
}

void keys_tables_of(struct buf *out, struct str prefix)
{
    assert(prefix.len > 0);
    buf_add(out, prefix);
    buf_add(out, STR("/_table/"));
}

void keys_part(struct buf *out, struct str prefix, struct str sha256_hex)
{
    assert(sha256_hex.len == PART_HEX && is_lower_hex(sha256_hex));
    keys_parts_of(out, prefix);
    buf_add(out, sha256_hex);
}

void keys_parts_of(struct buf *out, struct str prefix)
{
    assert(prefix.len > 0);
    buf_add(out, prefix);
    buf_add(out, STR("/_part/"));
}

void keys_probes_of(struct buf *out, struct str random)
{
    assert(random.len > 0 && is_lower_hex(random));
    buf_add(out, STR("probe/"));
    buf_add(out, random);
    buf_addc(out, '/');
}

void keys_probe(struct buf *out, struct str random, unsigned n)
{
    keys_probes_of(out, random);
    buf_add_u64(out, n);
}

void keys_hint(struct buf *out, struct str prefix)
{
    assert(prefix.len > 0);
    buf_add(out, prefix);
    buf_add(out, STR("/_hint"));
}

void keys_changes(struct buf *out, int64_t ms, struct str repo)
{
    char text[TIME_TEXT_MAX];
    struct str minute = time_format_minute(ms, text);

    assert(minute.len == MINUTE_DIGITS && repo.len > 0);
    buf_add(out, STR("changes/"));
    buf_add(out, str_head(minute, MINUTE_DIGITS - 1)); /* ten minutes a folder */
    buf_add(out, STR("0/"));
    buf_add(out, repo);
    buf_add(out, STR("/_"));
}

/* ---- taking apart: what building it again gives back is a key of ours */

static bool same_key(const struct buf *built, struct str key)
{
    return buf_err(built) == 0 && str_eq(buf_str(built), key);
}

/* "<alg>/<2>/<hex>.<g>" */
static bool parse_digest(struct str alg, struct str record, struct digest *ret, unsigned *ret_g)
{
    struct buf text auto_buf = BUF_INIT(DIGEST_TEXT_MAX);
    ptrdiff_t dot = str_find(record, '.');
    uint64_t g;

    if (dot < 0 || !parse_decimal(str_skip(record, (size_t)dot + 1), &g) || g > INT32_MAX)
        return false;
    buf_add(&text, alg);
    buf_addc(&text, ':');
    buf_add(&text, str_head(record, (size_t)dot));
    *ret_g = (unsigned)g;
    return buf_err(&text) == 0 && digest_parse(buf_str(&text), ret) == 0;
}

bool keys_record_parse(struct str key, struct digest *ret, unsigned *ret_g)
{
    struct buf built auto_buf = BUF_INIT(STORE_KEY_MAX);
    struct str rest = key, top, alg, fan;

    if (!cut_segment(&rest, &top) || !cut_segment(&rest, &alg) || !cut_segment(&rest, &fan) ||
        !parse_digest(alg, rest, ret, ret_g))
        return false;
    keys_record(&built, ret, *ret_g);
    return same_key(&built, key);
}

bool keys_link_digest_parse(struct str key, struct digest *ret, unsigned *ret_g)
{
    struct buf built auto_buf = BUF_INIT(STORE_KEY_MAX);
    struct str rest = key, top, alg, fan, record;

    if (!cut_segment(&rest, &top) || !cut_segment(&rest, &alg) || !cut_segment(&rest, &fan) ||
        !cut_segment(&rest, &record) || !parse_digest(alg, record, ret, ret_g))
        return false;
    keys_links_of(&built, ret, *ret_g);
    return buf_err(&built) == 0 && str_starts(key, buf_str(&built));
}

bool keys_repo_parse(struct str key, struct str *ret_name)
{
    struct str top = STR("repos/");

    if (!str_starts(key, top))
        return false;
    key = str_skip(key, top.len);
    for (size_t i = 1; i + 1 < key.len; i++)
        if (key.at[i] == '/' && key.at[i + 1] == '_') {
            *ret_name = str_head(key, i);
            return true;
        }
    return false;
}

bool keys_changes_parse(struct str key, struct str *ret_name)
{
    struct str rest = key, top, minute, end = STR("/_");

    if (!cut_segment(&rest, &top) || !str_eq(top, STR("changes")) || !cut_segment(&rest, &minute))
        return false;
    if (minute.len != MINUTE_DIGITS || minute.at[MINUTE_DIGITS - 1] != '0')
        return false;
    for (size_t i = 0; i < minute.len; i++)
        if (minute.at[i] < '0' || minute.at[i] > '9')
            return false;
    if (rest.len <= end.len || !str_ends(rest, end))
        return false;
    *ret_name = str_head(rest, rest.len - end.len);
    return true;
}

bool keys_log_parse(struct str key, struct str prefix, enum keys_log_part *ret, uint64_t *ret_seq)
{
    struct buf built auto_buf = BUF_INIT(STORE_KEY_MAX);
    struct str last = key;

    for (ptrdiff_t slash; (slash = str_find(last, '/')) >= 0;)
        last = str_skip(last, (size_t)slash + 1);
    keys_hint(&built, prefix);
    *ret = KEYS_LOG_HINT;
    if (same_key(&built, key))
        return true;
    if (last.len == PART_HEX && is_lower_hex(last)) {
        *ret = KEYS_LOG_PART;
        buf_clear(&built);
        keys_part(&built, prefix, last);
        return same_key(&built, key);
    }
    if (!keys_number_parse(last, ret_seq) || *ret_seq > INT64_MAX)
        return false;
    *ret = KEYS_LOG_ENTRY;
    buf_clear(&built);
    keys_log_entry(&built, prefix, true, *ret_seq);
    if (same_key(&built, key))
        return true;
    *ret = KEYS_LOG_TABLE;
    buf_clear(&built);
    keys_table(&built, prefix, *ret_seq);
    return same_key(&built, key);
}
