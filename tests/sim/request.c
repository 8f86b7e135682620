/* Requests as a node runs them: the steps are those of the HTTP handlers (registry/api_*.c),
 * without HTTP. */
#include <assert.h>
#include <stdio.h>

#include "base/thread.h"
#include "world.h"

#define CHUNK_BYTES (40u << 10)
#define MISSING_MAX (REPO_MISSING_MAX * DIGEST_TEXT_MAX)
#define IDENTITY    STR("someone")

/* Errors that say "try later" must not come where nothing goes wrong. */
static void note_error(const char *what, int e, const struct err_detail *why)
{
    sim_trace("%s: %s %s", what, err_name(e), why->text);
    if (!world->plan.faulty && e != -ERR_NOTFOUND && e != -ERR_MISSING_REF && e != -ERR_RANGE &&
        e != -ERR_BUSY && e != -ERR_CONDITION && e != -ERR_DENIED)
        sim_fail("%s without any fault: %s (%s)", what, err_name(e), why->text);
    if (e == -ERR_CORRUPT || e == -ERR_VERSION || e == -ERR_READONLY || e == -ERR_DIGEST)
        sim_fail("%s: %s (%s)", what, err_name(e), why->text);
}

static struct repo *open_repo(struct request *rq, unsigned repo, int *ret_err,
                              struct err_detail *why)
{
    struct repo *r = NULL;

    *ret_err = repo_get(rq->site->repos, world_repo(repo), &r, why);
    if (*ret_err < 0)
        return NULL;
    return r;
}

static struct repo *fresh_repo(struct request *rq, unsigned repo, int *ret_err,
                               struct err_detail *why)
{
    struct repo *r = open_repo(rq, repo, ret_err, why);

    if (*ret_err == 0)
        *ret_err = repo_refresh(r, why);
    return r;
}

/* ---- changes of the log */

static struct repo_who who_of(struct request *rq)
{
    return (struct repo_who){
        .by = IDENTITY, .req = str_of(rq->number), .override = rq->op->override};
}

/* If-Match with what the tag was, or If-None-Match: *. */
struct condition {
    struct taglog_if is;
    struct str match;
    char text[DIGEST_TEXT_MAX];
};

static const struct taglog_if *condition_of(const struct request *rq, struct condition *c)
{
    unsigned want = rq->op->want;

    if (want == 0)
        return NULL;
    *c = (struct condition){.is = {.absent = want == 1}};
    if (want > 1) {
        c->match = digest_text(&world->mans[want - 2].digest, c->text);
        c->is.one_of = true;
        c->is.match = &c->match;
        c->is.match_count = 1;
    }
    return &c->is;
}

/* The store, too, may say "denied": then no tag is named, and nothing was done. */
static int denial(int e, const struct repo_refusal *refusal)
{
    return e == -ERR_DENIED && !refusal->tag[0] ? -ERR_UNAVAIL : e;
}

static void note_missing(struct request *rq, struct str list)
{
    while (list.len > 0) {
        ptrdiff_t end = str_find(list, '\n');
        struct str text = str_head(list, (size_t)end);
        int blob = world_blob_of(text), manifest = world_manifest_of(text);

        if (blob >= 0)
            rq->op->missing_blobs |= 1u << blob;
        else if (manifest >= 0)
            rq->op->missing_manifests |= 1u << manifest;
        else
            sim_fail("a digest nobody named is missing: " STR_FMT, STR_ARG(text));
        list = str_skip(list, (size_t)end + 1);
    }
}

void request_put(struct request *rq)
{
    const struct man *man = &world->mans[rq->manifest];
    struct buf missing auto_buf = BUF_INIT(MISSING_MAX);
    struct manifest m auto_manifest = {.doc = NULL};
    struct err_detail why = {{0}};
    struct str tags[TAGS_MAX];
    struct repo_refusal refusal = {.present = false};
    struct repo_put put = {.manifest = &m,
                           .body = buf_str(&man->body),
                           .digest = man->digest,
                           .tags = tags,
                           .refusal = &refusal};
    struct repo_who who = who_of(rq);
    struct repo *r auto_repo = NULL;
    struct condition condition;
    int e = manifest_parse(put.body, STR_NONE, &m, &why);

    for (unsigned i = 0; i < world->plan.tags; i++)
        if (rq->tags & (1u << i))
            tags[put.tag_count++] = world_tag(i);
    put.condition = condition_of(rq, &condition);
    if (e == 0)
        r = open_repo(rq, rq->repo, &e, &why);
    if (e == 0)
        e = repo_put(r, &put, &who, &missing, &why);
    if (e == -ERR_MISSING_REF)
        note_missing(rq, buf_str(&missing));
    e = denial(e, &refusal);
    if (e < 0)
        note_error("put", e, &why);
    rq->result = e;
}

void request_set_tags(struct request *rq)
{
    struct taglog_set sets[TAGS_MAX];
    struct repo_refusal refusal = {.present = false};
    struct err_detail why = {{0}};
    struct repo_who who = who_of(rq);
    size_t count = 0;
    int e;
    struct repo *r auto_repo = open_repo(rq, rq->repo, &e, &why);

    for (unsigned i = 0; i < world->plan.tags; i++)
        if ((rq->tags | rq->gone) & (1u << i))
            sets[count++] = (struct taglog_set){.tag = world_tag(i),
                                                .remove = !(rq->tags & (1u << i)),
                                                .digest = world->mans[rq->manifest].digest};
    if (e == 0)
        e = repo_set_tags(r, sets, count, &who, &refusal, &why);
    e = denial(e, &refusal);
    if (e < 0)
        note_error("set-tags", e, &why);
    rq->result = e;
}

void request_settings(struct request *rq)
{
    struct settings *settings auto_settings = NULL;
    struct buf text auto_buf = BUF_INIT(SETTINGS_BYTES_MAX);
    struct jw w = JW_INIT(&text);
    struct err_detail why = {{0}};
    struct repo_who who = who_of(rq);
    int e;
    struct repo *r auto_repo = open_repo(rq, rq->repo, &e, &why);

    jw_begin(&w, '{');
    jw_key(&w, "immutable");
    jw_begin(&w, '[');
    for (unsigned i = 0; i < world->plan.tags; i++)
        if (rq->tags & (1u << i))
            jw_str(&w, world_tag(i));
    jw_end(&w, ']');
    jw_end(&w, '}');
    if (e == 0)
        e = settings_parse(buf_str(&text), &settings, &why);
    if (e == 0)
        e = repo_set_settings(r, settings, &who, &why);
    if (e == -ERR_DENIED) /* by the store */
        e = -ERR_UNAVAIL;
    if (e < 0)
        note_error("settings", e, &why);
    rq->result = e;
}

void request_remove(struct request *rq)
{
    struct repo_refusal refusal = {.present = false};
    struct err_detail why = {{0}};
    struct repo_who who = who_of(rq);
    struct condition condition;
    int e;
    struct repo *r auto_repo = open_repo(rq, rq->repo, &e, &why);

    if (e == 0 && rq->op->kind == OP_DELETE_TAG)
        e = repo_delete_tag_if(r, world_tag(rq->tag), condition_of(rq, &condition), &who, &refusal,
                               &why);
    else if (e == 0 && rq->op->kind == OP_DELETE_MANIFEST)
        e = repo_delete_manifest_for(r, &world->mans[rq->manifest].digest, &who, &refusal, &why);
    else if (e == 0)
        e = repo_unlink_blob(r, world_blob(rq->op->blob), &who, &why);
    e = denial(e, &refusal);
    if (e < 0)
        note_error(hist_name(rq->op->kind), e, &why);
    rq->result = e;
}

/* ---- reads */

/* What is a member has its bytes (I5, I7). */
static int read_bytes(struct request *rq, const struct digest *d, struct str want,
                      struct err_detail *why)
{
    struct buf bytes auto_buf = BUF_INIT(MANIFEST_BYTES_MAX);
    char text[DIGEST_TEXT_MAX];
    int e = blob_read(rq->site->blobs, d, MANIFEST_BYTES_MAX, &bytes, why);

    if (rq->site->proc.dead)
        return -ERR_UNAVAIL;
    digest_text(d, text);
    if (e == -ERR_NOTFOUND || e == -ERR_CORRUPT || e == -ERR_TOOBIG)
        sim_fail("%s is a member of " STR_FMT " but its bytes are not there: %s (%s)", text,
                 STR_ARG(world_repo(rq->repo)), err_name(e), why->text);
    else if (e == 0 && !str_eq(buf_str(&bytes), want))
        sim_fail("%s of " STR_FMT " has other bytes", text, STR_ARG(world_repo(rq->repo)));
    return e;
}

static int get_manifest(struct request *rq, struct repo *r, struct err_detail *why)
{
    struct repo_manifest m;
    struct digest d;
    char text[DIGEST_TEXT_MAX];
    int index, e;

    if (rq->op->kind == OP_GET_TAG)
        e = repo_tag(r, world_tag(rq->tag), &m);
    else
        e = repo_manifest(r, &world->mans[rq->manifest].digest, &m);
    rq->op->value = 0;
    if (e == -ERR_NOTFOUND)
        return 0;
    d = m.digest;
    index = world_manifest_of(digest_text(&d, text));
    if (index < 0) {
        sim_fail("a tag leads to %s, which nobody pushed", text);
        return -ERR_UNAVAIL;
    }
    rq->op->value = rq->op->kind == OP_GET_TAG ? index + 1 : 1;
    return read_bytes(rq, &d, buf_str(&world->mans[index].body), why);
}

static int get_blob(struct request *rq, struct repo *r, struct err_detail *why)
{
    const struct digest *d = world_blob(rq->op->blob);
    struct blob_info info;
    int e = repo_blob(r, d, &info, why);

    rq->op->value = e == 0;
    if (e < 0)
        return e == -ERR_NOTFOUND ? 0 : e;
    return read_bytes(rq, d, buf_str(&world->contents[rq->op->blob / 2].bytes), why);
}

static int note_tag(struct str tag, void *arg)
{
    struct request *rq = arg;

    for (unsigned i = 0; i < TAGS_MAX; i++)
        if (str_eq(tag, world_tag(i)))
            rq->op->tags |= 1u << i;
    return 0;
}

void request_read(struct request *rq)
{
    struct err_detail why = {{0}};
    bool more;
    int e;
    struct repo *r auto_repo = NULL;

    if (rq->op->kind == OP_GET_BLOB && !rq->site->proc.dead &&
        repo_blob_never(rq->site->repos, world_repo(rq->repo), world_blob(rq->op->blob))) {
        rq->result = 0; /* value is 0: not there */
        return;
    }
    r = fresh_repo(rq, rq->repo, &e, &why);
    if (e == 0 && rq->op->kind == OP_GET_BLOB)
        e = get_blob(rq, r, &why);
    else if (e == 0 && rq->op->kind == OP_LIST)
        e = repo_tags(r, STR_NONE, 100, note_tag, rq, &more);
    else if (e == 0)
        e = get_manifest(rq, r, &why);
    if (e < 0)
        note_error(hist_name(rq->op->kind), e, &why);
    rq->result = e;
}

/* ---- blobs */

void request_start(struct request *rq)
{
    upload_start(rq->site->uploads, world_repo(rq->repo), IDENTITY,
                 rq->alg ? DIGEST_SHA512 : DIGEST_SHA256, rq->session->id);
}

static int write_up_to(struct upload *u, const struct content *c, uint64_t upto,
                       struct err_detail *why)
{
    uint64_t at;
    int e = 0;

    while (e == 0 && (at = upload_offset(u)) < upto) {
        uint64_t n = upto - at < CHUNK_BYTES ? upto - at : CHUNK_BYTES;

        e = upload_write(u, str_make(c->bytes.at + at, (size_t)n), why);
    }
    return e;
}

/* A session that was gone stays gone, and what it acknowledged stays acknowledged. */
static void note_held(struct request *rq, const struct upload *u)
{
    struct session *s = rq->session;

    if (upload_closed(u))
        return;
    if (s->dead_at && s->dead_at < rq->tick)
        sim_fail("session %s lives again", s->id);
    if (s->acked_at && s->acked_at < rq->tick && upload_offset(u) < s->acked)
        sim_fail("session %s lost bytes: %llu of %llu", s->id, (unsigned long long)upload_offset(u),
                 (unsigned long long)s->acked);
}

/* Of a small session that was closed only the process knows that closed it: no rule is broken when
 * another one starts it anew. */
static void note_gone(struct session *s)
{
    if (!s->dead_at && !s->closed_small)
        s->dead_at = hist_tick();
}

/* begins: as the registry holds it for a URL that tells of nothing written; what became of the
 * session shows when it is saved. */
static int hold(struct request *rq, bool begins, struct upload **ret, struct err_detail *why)
{
    int e =
        (begins ? upload_hold_new : upload_hold)(rq->site->uploads, world_repo(rq->session->repo),
                                                 IDENTITY, str_of(rq->session->id), ret, why);

    if (rq->site->proc.dead) {
        if (e == 0)
            upload_release(*ret);
        return -ERR_UNAVAIL;
    }
    if (e == 0 && !begins)
        note_held(rq, *ret);
    else if (e == -ERR_NOTFOUND)
        note_gone(rq->session);
    return e;
}

void request_patch(struct request *rq)
{
    const struct content *c = &world->contents[rq->session->content];
    struct err_detail why = {{0}};
    struct upload *u;
    bool begins = !rq->session->acked_at;
    int e = hold(rq, begins, &u, &why);

    if (e < 0) {
        note_error("hold", e, &why);
        rq->result = e;
        return;
    }
    if (upload_closed(u)) {
        e = -ERR_NOTFOUND;
    } else {
        e = write_up_to(u, c, rq->upto, &why);
        if (e == 0)
            e = upload_save(u, &why);
        if (e == 0 && begins && !rq->site->proc.dead)
            note_held(rq, u);
    }
    if (e == 0 && !rq->site->proc.dead && upload_offset(u) >= rq->session->acked) {
        rq->session->acked = upload_offset(u);
        rq->session->acked_at = hist_tick();
    }
    if (e < 0)
        note_error("patch", e, &why);
    upload_release(u);
    rq->result = e;
}

void request_close(struct request *rq)
{
    const struct content *c = &world->contents[rq->session->content];
    struct err_detail why = {{0}};
    uint64_t link_u;
    struct repo *r auto_repo = NULL;
    struct upload *u;
    int e = hold(rq, false, &u, &why);

    if (e < 0) {
        note_error("hold", e, &why);
        rq->result = e;
        return;
    }
    e = write_up_to(u, c, c->bytes.len, &why);
    if (e == 0)
        r = fresh_repo(rq, rq->session->repo, &e, &why);
    if (e == 0) {
        const struct digest *d = &c->digests[rq->alg];

        rq->reached = true;
        rq->session->closed_small |= c->bytes.len <= BLOB_INLINE_MAX;
        e = repo_link_u(r, d, &link_u);
        if (e == 0)
            e = upload_close(u, d, link_u, &why);
    }
    if (e < 0)
        note_error("close", e, &why);
    else if (!rq->site->proc.dead)
        note_gone(rq->session);
    upload_release(u);
    rq->result = e;
}

void request_cancel(struct request *rq)
{
    struct err_detail why = {{0}};
    struct upload *u;
    int e = hold(rq, false, &u, &why);

    if (e == 0) {
        e = upload_cancel(u, &why);
        if (e == 0 && !rq->site->proc.dead)
            note_gone(rq->session);
        upload_release(u);
    }
    if (e < 0)
        note_error("cancel", e, &why);
    rq->result = e;
}

void request_find(struct request *rq) /* in rq->from, for a mount */
{
    unsigned into = rq->repo;

    rq->repo = rq->from;
    request_read(rq);
    rq->repo = into;
}

void request_mount(struct request *rq)
{
    const struct digest *d = world_blob(rq->op->blob);
    struct err_detail why = {{0}};
    uint64_t link_u;
    int e;
    struct repo *r auto_repo = fresh_repo(rq, rq->repo, &e, &why);

    if (e == 0) {
        rq->reached = true;
        e = repo_link_u(r, d, &link_u);
        if (e == 0)
            e = blob_link_create(rq->site->blobs, world_repo(rq->repo), d, link_u, &why);
    }
    if (e < 0)
        note_error("mount", e, &why);
    rq->result = e;
}

void request_sweep(struct request *rq)
{
    struct err_detail why = {{0}};
    int e = uploads_sweep(rq->site->uploads, NULL, NULL, &why);

    if (e < 0)
        note_error("sweep", e, &why);
}
