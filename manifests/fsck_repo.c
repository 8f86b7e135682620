/* One repository: its log, the state that follows, checkpoints against that state, what visible
 * manifests need (I5), its row in the catalog, links that deletions left. */
#include "manifests/fsck_internal.h"

#include "manifests/state.h"

#define MARKER_MS   (600 * 1000LL)
#define WHO_MAX     400
#define CATALOG_TRY 8 /* moments in which the catalog may catch up */

struct check {
    struct fsck *f;
    struct str name;
    struct state *state;
    struct due due;
    bool due_known;
    int64_t bucket; /* ten minutes of the last entry */
    unsigned unmarked;
    int64_t unmarked_ms;
};

static void check_done(struct check *c)
{
    state_free(c->state);
}

/* ---- the log's meaning */

struct decoded {
    struct taglog_op op;
    struct buf body;
    struct manifest manifest;
    bool incomplete;
};

static void decoded_done(struct decoded *d)
{
    taglog_op_done(&d->op);
    manifest_done(&d->manifest);
    buf_done(&d->body);
}

/* Bytes of a manifest: 0, -ERR_NOTFOUND, an error of the object (f->why), other. */
static int read_manifest(struct fsck *f, const struct digest *d, struct buf *out)
{
    struct buf key auto_buf = BUF_INIT(STORE_KEY_MAX);
    struct buf record auto_buf = BUF_INIT(BLOB_HEADER_MAX + BLOB_MANIFEST_MAX);
    struct blob_info info;
    struct digest actual;
    struct str bytes;
    int e;

    keys_record(&key, d, 0);
    e = fsck_get(f, buf_str(&key), 0, STORE_WHOLE, &record);
    if (e == 0)
        e = blob_header_parse(buf_str(&record), &info, &f->why);
    if (e < 0)
        return e;
    bytes = str_skip(buf_str(&record), info.header_len);
    if (info.data_id[0] || bytes.len != info.size)
        return err_set(&f->why, -ERR_CORRUPT, "has another length than its header says");
    digest_of(d->alg, bytes, &actual);
    f->counts->bytes += bytes.len;
    if (!digest_eq(&actual, d))
        return err_set(&f->why, -ERR_CORRUPT, "does not hold the bytes of its digest");
    buf_add(out, bytes);
    return buf_err(out);
}

/* What is wrong with the record is told with the manifests, if it is visible. */
static int extend(struct check *c, struct decoded *d)
{
    int e = read_manifest(c->f, &d->op.digest, &d->body);

    if (e == 0)
        e = manifest_parse(buf_str(&d->body), d->op.media_type, &d->manifest, NULL);
    if (e == 0)
        e = taglog_extend(&d->op, &d->manifest);
    d->incomplete = e < 0;
    return e == -ERR_NOTFOUND || e == -ERR_INVAL || e == -ERR_VERSION || fsck_of_object(e) ? 0 : e;
}

static int check_rules(struct check *c, const struct objlog_entry *e, const struct taglog_op *op)
{
    struct buf prefix auto_buf = BUF_INIT(STORE_KEY_MAX), key auto_buf = BUF_INIT(STORE_KEY_MAX);

    keys_repo(&prefix, c->name);
    keys_log_entry(&key, buf_str(&prefix), true, e->seq);
    if (buf_err(&prefix) < 0 || buf_err(&key) < 0)
        return -ERR_NOMEM;
    return fsck_check_rules(c->f, buf_str(&key), c->state, op);
}

static int apply_one(struct check *c, const struct objlog_entry *e, const struct json *op,
                     struct err_detail *detail)
{
    struct decoded d auto_of(decoded_done) = {.body = BUF_INIT(MANIFEST_BYTES_MAX)};
    int r = taglog_decode(op, &d.op, detail);

    if (r == 0 && d.op.ext)
        r = extend(c, &d);
    if (r == 0)
        r = check_rules(c, e, &d.op);
    return r < 0 ? r : state_apply(c->state, &d.op, d.incomplete, e->seq, e->ts);
}

/* Markers stand before the entries they announce; one that changes nothing needs none. */
static int check_marker(struct check *c, const struct objlog_entry *e)
{
    struct buf key auto_buf = BUF_INIT(STORE_KEY_MAX);
    int64_t written = e->ahead < e->ts ? e->ts - e->ahead : e->ts;
    struct store_info info;
    int r;

    if (written / MARKER_MS == c->bucket || json_len(e->ops) == 0)
        return 0;
    c->bucket = written / MARKER_MS;
    keys_changes(&key, written, c->name);
    r = buf_err(&key) < 0 ? buf_err(&key) : fsck_head(c->f, buf_str(&key), &info);
    if (r != -ERR_NOTFOUND)
        return fsck_of_object(r) ? 0 : r;
    if (c->unmarked++ == 0)
        c->unmarked_ms = written;
    return 0;
}

static int apply(void *self, const struct objlog_entry *e, struct err_detail *detail)
{
    struct check *c = self;
    int r = 0;

    for (size_t i = 0; r == 0 && i < json_len(e->ops); i++)
        r = apply_one(c, e, json_at(e->ops, i), detail);
    return r == 0 ? check_marker(c, e) : r;
}

/* Where a checkpoint is due follows from sizes alone, so they are counted. */
static int passed(void *self, const struct objlog_entry *e)
{
    struct check *c = self;

    if (c->due_known && due_add(&c->due, e->raw.len))
        due_pass(&c->due, e->seq, c->state->layers.bytes);
    return 0;
}

/* The state is that of the table. */
static int take_over(struct check *c, const struct fsck_table *t)
{
    int e = state_reset(c->state);

    if (e == 0)
        e = state_read_numbers(c->state, t->keys, t->head->seq);
    c->state->layers.base = table_ref(t->table);
    c->state->layers.bytes = t->head->bytes;
    return e;
}

static int table(void *self, const struct fsck_table *t, bool whole, struct err_detail *detail)
{
    struct check *c = self;
    struct buf mine auto_buf = BUF_INIT(CHECKPOINT_HEAD_MAX);
    int e;

    if (!whole) { /* as a server does that opens here */
        c->due_known = false;
        return take_over(c, t);
    }
    if (c->state->incomplete > 0)
        return 0;
    e = state_encode(c->state, t->head, t->spec, NULL, NULL, &mine, NULL, detail);
    if (e == 0 && !str_eq(buf_str(&mine), t->text))
        e = err_set(detail, -ERR_CORRUPT, "holds another state than the log gives up to there");
    if (e == 0 && c->due_known && c->due.last != t->head->seq)
        e = err_set(detail, -ERR_CORRUPT, "stands where no checkpoint is due");
    /* What is proven need not stay in memory. */
    return e == 0 ? take_over(c, t) : e;
}

static const struct fsck_log_ops repo_ops = {
    .apply = apply,
    .passed = passed,
    .table = table,
    .lost = "acknowledged changes of this repository are lost; servers keep it read-only",
    .broken = "what follows is no longer vouched for; servers without a later checkpoint keep the "
              "repository read-only at the state before it",
    .wrong = "servers raise an alarm and open the repository from an older one or from the log",
};

/* ---- what visible manifests need */

static int first_tag(struct str tag, void *arg)
{
    buf_addc(arg, ':');
    buf_add(arg, tag);
    return 1;
}

static void describe(const struct check *c, const struct state_manifest *m, struct buf *out)
{
    char text[DIGEST_TEXT_MAX];

    buf_addf(out, "pulls of " STR_FMT, STR_ARG(c->name));
    if (state_tags_of(c->state, &m->digest, first_tag, out) <= 0)
        buf_addf(out, "@" STR_FMT, STR_ARG(digest_text(&m->digest, text)));
    buf_add(out, STR(" fail"));
}

/* An absence is looked at again; what is left was told. */
static int settle(struct check *c, const struct digest *d, int e, const char *meaning)
{
    struct buf key auto_buf = BUF_INIT(STORE_KEY_MAX);

    keys_record(&key, d, 0);
    if (e == -ERR_NOTFOUND)
        e = fsck_confirm_gone(c->f, buf_str(&key));
    if (e == -ERR_NOTFOUND)
        fsck_say(c->f, FSCK_DAMAGE, buf_str(&key), meaning, "is missing");
    else if (fsck_of_object(e))
        fsck_say(c->f, FSCK_DAMAGE, buf_str(&key), meaning, "%s", c->f->why.text);
    else
        return e == -ERR_VERSION ? 0 : e;
    return 0;
}

static int check_manifest(const struct state_manifest *m, void *arg)
{
    struct check *c = arg;
    struct buf body auto_buf = BUF_INIT(MANIFEST_BYTES_MAX);
    struct buf meaning auto_buf = BUF_INIT(WHO_MAX);
    int e = read_manifest(c->f, &m->digest, &body);

    c->f->counts->manifests++;
    if (e == 0 && body.len != (uint64_t)m->size)
        e = err_set(&c->f->why, -ERR_CORRUPT, "has another size than the log says");
    if (e == 0)
        return 0;
    describe(c, m, &meaning);
    return settle(c, &m->digest, e, buf_c(&meaning));
}

/* The first manifest that has the ref, to name it. */
struct user {
    const struct check *c;
    const struct digest *of;
    struct buf *meaning;
};

static int is_user(const struct state_manifest *m, void *arg)
{
    const struct user *u = arg;
    struct str rest = m->refs;
    struct state_ref ref;

    while (state_ref_next(&rest, &ref))
        if (digest_eq(&ref.digest, u->of)) {
            describe(u->c, m, u->meaning);
            return 1;
        }
    return 0;
}

static int check_ref(const struct digest *d, const struct state_blob *b, void *arg)
{
    struct check *c = arg;
    struct buf key auto_buf = BUF_INIT(STORE_KEY_MAX);
    struct buf meaning auto_buf = BUF_INIT(WHO_MAX);
    struct user user = {c, d, &meaning};
    struct store_info object;
    int e = state_has_manifest(c->state, d), found;

    if (b->users == 0 || e != 0)
        return e < 0 ? e : 0;
    keys_record(&key, d, 0);
    e = fsck_head(c->f, buf_str(&key), &object);
    if (e == 0 && fsck_all(c->f))
        return 0; /* what it holds is looked at once, with all records */
    found = state_each_manifest(c->state, NULL, is_user, &user);
    if (found < 0)
        return found;
    if (e == 0)
        return fsck_record_check(c->f, d, 0, object.size, buf_c(&meaning));
    return settle(c, d, e, buf_c(&meaning));
}

static int check_needs(struct check *c)
{
    int e = state_each_manifest(c->state, NULL, check_manifest, c);

    return e < 0 ? e : state_each_blob(c->state, check_ref, c);
}

/* ---- links of deleted blobs */

static int stale_link(struct fsck *f, struct str key, const struct store_info *info, void *arg)
{
    struct buf repo auto_buf = BUF_INIT(STORE_KEY_MAX);
    const uint64_t *current = arg;
    uint64_t u;

    if (keys_link_parse(key, &repo, &u) && u > 0 && u < *current && /* the first stays: B44 */
        f->now - info->modified_ms > FSCK_YOUNG_MS)
        fsck_say(f, FSCK_GARBAGE, key, "none", "is a link from before the blob's last deletion");
    return 0;
}

static int check_links_of(const struct digest *d, const struct state_blob *b, void *arg)
{
    struct check *c = arg;
    struct buf prefix auto_buf = BUF_INIT(STORE_KEY_MAX);
    uint64_t u;
    int e;

    if (b->unlinked == 0)
        return 0;
    e = state_link_u(c->state, d, &u);
    keys_link(&prefix, d, 0, c->name, 0);
    if (buf_err(&prefix) == 0)
        buf_truncate(&prefix, prefix.len - 1); /* "0" */
    if (e == 0)
        e = buf_err(&prefix);
    return e < 0 ? e : fsck_each(c->f, buf_str(&prefix), STR_NONE, stale_link, &u);
}

static int check_links(struct check *c)
{
    return state_each_blob(c->state, check_links_of, c);
}

/* ---- the catalog */

/* The catalog follows a moment later: it is asked again before a finding, and a log that went on
 * meanwhile settles it. */
static int check_row(struct check *c, const struct fsck_log *log)
{
    struct buf key auto_buf = BUF_INIT(STORE_KEY_MAX);
    bool filled = c->state->manifests > 0;
    const struct fsck_row *row = fsck_catalog_row(c->f, c->name);
    struct store_info info;
    int e = 0;

    for (int i = 0; e == 0 && i < CATALOG_TRY; i++) {
        if (row && (row->filled == filled || row->seq > log->head))
            break;
        if (i > 0 && (!row || !fsck_pause(c->f))) /* a row stands before the log's first entry */
            break;
        e = fsck_catalog_refresh(c->f);
        row = fsck_catalog_row(c->f, c->name);
    }
    if (e < 0)
        return e;
    keys_log_entry(&key, STR(KEYS_CATALOG), true, 1);
    if (!row) {
        buf_clear(&key);
        keys_repo(&key, c->name);
        fsck_say(c->f, FSCK_DAMAGE, buf_str(&key),
                 "it can be pulled from but no listing shows it, until its next change",
                 "has a log, but the catalog does not know it");
        return 0;
    }
    if (row->seq > log->head) {
        fsck_log_key(log, log->head + 1, &key);
        e = fsck_head(c->f, buf_str(&key), &info);
        if (e == -ERR_NOTFOUND)
            fsck_log_lost(c->f, log, row->seq, "the catalog");
        return e == -ERR_NOTFOUND || fsck_of_object(e) ? 0 : e;
    }
    if (row->filled == filled || !log->whole)
        return 0;
    fsck_log_key(log, log->head + 1, &key);
    e = fsck_head(c->f, buf_str(&key), &info);
    if (e == -ERR_NOTFOUND) {
        buf_clear(&key);
        keys_repo(&key, c->name);
        fsck_say(c->f, FSCK_WARNING, buf_str(&key), "listings are wrong until its next change",
                 "is %s, but the catalog says otherwise", filled ? "filled" : "empty");
    }
    return e == -ERR_NOTFOUND || fsck_of_object(e) ? 0 : e;
}

int fsck_repo_check(struct fsck *f, struct str name)
{
    struct check c auto_of(check_done) = {.f = f, .name = name, .due_known = true, .bucket = -1};
    struct buf prefix auto_buf = BUF_INIT(STORE_KEY_MAX);
    struct fsck_log log = {.name = name, .ops = &repo_ops, .self = &c};
    int e = state_new(&c.state);

    keys_repo(&prefix, name);
    log.prefix = buf_str(&prefix);
    if (e == 0)
        e = fsck_log_check(f, &log);
    if (e < 0)
        return e;
    f->counts->repositories++;
    if (c.unmarked > 0) {
        struct buf key auto_buf = BUF_INIT(STORE_KEY_MAX);

        keys_changes(&key, c.unmarked_ms, name);
        fsck_say(f, FSCK_WARNING, buf_str(&key), "event streams may leave out these changes",
                 "is missing (%u such markers of this repository)", c.unmarked);
    }
    e = check_needs(&c);
    if (e == 0)
        e = check_links(&c);
    if (e == 0 && log.head > 0)
        e = check_row(&c, &log);
    return e;
}
