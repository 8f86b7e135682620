/* Links of blobs, and markers of changes. */
#include "manifests/fsck_internal.h"

#define MARKER_MAX 4096
#define NEVER      "is a link for a deletion that the log does not have"

struct links {
    struct digest digest; /* of the last record asked for */
    unsigned g;
    bool known, there;
};

static int record_there(struct fsck *f, struct links *l, const struct digest *d, unsigned g)
{
    struct buf key auto_buf = BUF_INIT(STORE_KEY_MAX);
    struct store_info info;
    int e;

    if (l->known && l->g == g && digest_eq(&l->digest, d))
        return 0;
    keys_record(&key, d, g);
    e = fsck_head(f, buf_str(&key), &info);
    if (e < 0 && e != -ERR_NOTFOUND && !fsck_of_object(e))
        return e;
    *l = (struct links){.digest = *d, .g = g, .known = true, .there = e != -ERR_NOTFOUND};
    return 0;
}

/* Does the entry hold the unlink of the digest, or a drop? */
static bool unlinks(const struct objlog_entry *e, struct str digest)
{
    for (size_t i = 0; i < json_len(e->ops); i++) {
        const struct json *op = json_at(e->ops, i);
        struct str word = json_str(json_get(op, "op"));

        if (str_eq(word, STR("drop")) ||
            (str_eq(word, STR("unlink")) && str_eq(json_str(json_get(op, "digest")), digest)))
            return true;
    }
    return false;
}

static int check_u(struct fsck *f, struct str key, const struct digest *d, struct str repo,
                   uint64_t u)
{
    struct buf prefix auto_buf = BUF_INIT(STORE_KEY_MAX);
    struct buf entry_key auto_buf = BUF_INIT(STORE_KEY_MAX);
    struct buf raw auto_buf = BUF_INIT(OBJLOG_ENTRY_MAX);
    struct json_doc *doc auto_json = NULL;
    struct objlog_entry entry;
    char text[DIGEST_TEXT_MAX];
    int e;

    if (u > INT64_MAX) {
        fsck_say(f, FSCK_GARBAGE, key, "none", NEVER);
        return 0;
    }
    keys_repo(&prefix, repo);
    keys_log_entry(&entry_key, buf_str(&prefix), true, u);
    e = buf_err(&entry_key) < 0 ? buf_err(&entry_key)
                                : fsck_get(f, buf_str(&entry_key), 0, STORE_WHOLE, &raw);
    if (e == 0)
        e = objlog_parse(buf_str(&raw), repo, u, &entry, &doc, &f->why);
    if (e == -ERR_NOTFOUND || (e == 0 && !unlinks(&entry, digest_text(d, text))))
        fsck_say(f, FSCK_GARBAGE, key, "none", NEVER);
    return e == -ERR_NOTFOUND || e == -ERR_VERSION || fsck_of_object(e) ? 0 : e;
}

/* B44: the first one is there before any other. */
static int check_first(struct fsck *f, const struct digest *d, unsigned g, struct str repo)
{
    struct buf key auto_buf = BUF_INIT(STORE_KEY_MAX);
    struct store_info info;
    int e;

    keys_link(&key, d, g, repo, 0);
    e = buf_err(&key) < 0 ? buf_err(&key) : fsck_head(f, buf_str(&key), &info);
    if (e == -ERR_NOTFOUND && !fsck_told(f, buf_str(&key)))
        fsck_say(f, FSCK_WARNING, buf_str(&key),
                 "a HEAD of the blob may say that it is not there, until its next push",
                 "is missing: a later link is there");
    return e == -ERR_NOTFOUND || fsck_of_object(e) ? 0 : e;
}

static int see_link(struct fsck *f, struct str key, const struct store_info *info, void *arg)
{
    struct buf repo auto_buf = BUF_INIT(STORE_KEY_MAX);
    struct buf again auto_buf = BUF_INIT(STORE_KEY_MAX);
    struct links *l = arg;
    struct digest d;
    unsigned g;
    uint64_t u;
    int e;

    if (!keys_link_digest_parse(key, &d, &g) || !keys_link_parse(key, &repo, &u) ||
        !name_valid(buf_str(&repo))) {
        fsck_unknown(f, key);
        return 0;
    }
    keys_link(&again, &d, g, buf_str(&repo), u);
    if (!str_eq(buf_str(&again), key)) {
        fsck_unknown(f, key);
        return 0;
    }
    f->counts->links++;
    if (info->size > 0)
        fsck_say(f, FSCK_WARNING, key, "none, the bytes of a link are not read", "is not empty");
    if (f->now - info->modified_ms <= FSCK_YOUNG_MS)
        return 0;
    e = record_there(f, l, &d, g);
    if (e < 0)
        return e;
    if (!l->there) {
        fsck_say(f, FSCK_WARNING, key,
                 "the blob cannot be pulled; if its push was acknowledged, it is lost",
                 "is a link to a blob without a record: an upload that was cut off, or a lost "
                 "record");
        return 0;
    }
    if (u == 0)
        return 0;
    e = check_first(f, &d, g, buf_str(&repo));
    return e < 0 ? e : check_u(f, key, &d, buf_str(&repo), u);
}

int fsck_links_check(struct fsck *f)
{
    struct links l = {.known = false};

    return fsck_each(f, STR("links/"), STR_NONE, see_link, &l);
}

/* ---- markers */

/* The marker was made before its first entry and after the one before that. */
static int check_marker_seq(struct fsck *f, struct str key, struct str name, uint64_t seq)
{
    struct buf prefix auto_buf = BUF_INIT(STORE_KEY_MAX);
    struct buf entry auto_buf = BUF_INIT(STORE_KEY_MAX);
    struct store_info info;
    int e;

    if (seq <= 1)
        return 0;
    keys_repo(&prefix, name);
    keys_log_entry(&entry, buf_str(&prefix), true, seq - 1);
    e = fsck_head(f, buf_str(&entry), &info);
    if (e == -ERR_NOTFOUND && !fsck_told(f, buf_str(&entry)))
        fsck_say(f, FSCK_DAMAGE, buf_str(&entry),
                 "acknowledged changes of this repository are lost",
                 "is missing: the marker " STR_FMT " came after it", STR_ARG(str_head(key, 300)));
    return e == -ERR_NOTFOUND || fsck_of_object(e) ? 0 : e;
}

static int see_marker(struct fsck *f, struct str key, const struct store_info *info, void *arg)
{
    struct buf text auto_buf = BUF_INIT(MARKER_MAX);
    struct json_doc *doc auto_json = NULL;
    struct str name;
    int64_t version, seq;
    int e;

    (void)info, (void)arg;
    if (!keys_changes_parse(key, &name) || !name_valid(name)) {
        fsck_unknown(f, key);
        return 0;
    }
    e = fsck_get(f, key, 0, STORE_WHOLE, &text);
    if (e == -ERR_NOTFOUND)
        return 0;
    if (e < 0 && !fsck_of_object(e))
        return e;
    if (e == 0)
        e = json_parse(buf_str(&text), &doc, NULL);
    if (e == -ERR_NOMEM)
        return e;
    if (e < 0 || !json_get_int(json_root(doc), "v", &version) || version < 1 ||
        !json_get_int(json_root(doc), "seq", &seq) || seq < 1) {
        fsck_say(f, FSCK_WARNING, key, "event streams may leave out these changes",
                 "is no marker that can be read");
        return 0;
    }
    return check_marker_seq(f, key, name, (uint64_t)seq);
}

int fsck_changes_check(struct fsck *f)
{
    return fsck_each(f, STR("changes/"), STR_NONE, see_marker, NULL);
}
