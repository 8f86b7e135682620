/* Events in virtual time: two nodes commit, readers come, go, fall behind and change nodes, entries
 * come to light late. Every entry reaches every reader, those of a repository in order; replays are
 * equal; cursors are bound to what they are for. */
#include "fixture.h"

#include <stdio.h>

#include "base/clock.h"
#include "base/enc.h"
#include "manifests/event_cursor.h"
#include "manifests/events_internal.h"

#define NODES    2
#define REPOS    9
#define ENTRIES  600 /* of one repository, at most */
#define STEPS    2500
#define CURSORS  12
#define TEXT_MAX (64u << 20)

struct world {
    struct faults f;
    struct store *store;
    struct node *node[NODES];
    struct blobs *blobs[NODES];
    struct repos *repos[NODES];
    struct events *events[NODES];
    struct hub_pace *pace[NODES];
    uint64_t chance;
    unsigned salt;
};

/* What a reader was told. */
struct told {
    struct buf text; /* all events, a line each */
    uint64_t last[REPOS];
    bool seen[REPOS][ENTRIES];
    unsigned count, again, behind;
};

struct reader {
    struct events_reader *r;
    unsigned node;
    bool woken;
};

static const char *const names[REPOS] = {"a", "a/b", "a/0", "b", "c-d", "c/d/e", "z", "z9", "z/1"};

static int setup(void **state)
{
    (void)state;
    fake_time_install();
    return 0;
}

static unsigned dice(struct world *w, unsigned n)
{
    w->chance = w->chance * 6364136223846793005u + 1442695040888963407u;
    return (unsigned)(w->chance >> 33) % n;
}

static void committed(void *arg, struct str name, uint64_t seq)
{
    events_committed(arg, name, seq);
}

static void open_nodes(struct world *w)
{
    *w = (struct world){.chance = 7};
    w->store = faulty_store(&w->f, mem_store());
    for (unsigned i = 0; i < NODES; i++) {
        struct repos_settings settings = {.references = REFERENCES_NONE, .committed = committed};

        w->node[i] = open_node(w->store);
        assert_int_equal(blobs_new(w->node[i], &w->blobs[i]), 0);
        assert_int_equal(events_new(w->node[i], &w->events[i]), 0);
        w->events[i]->started = true; /* its thread is this one: see look() */
        w->pace[i] = calloc(1, sizeof(*w->pace[i]));
        settings.committed_arg = w->events[i];
        assert_int_equal(repos_new(w->blobs[i], &settings, &w->repos[i]), 0);
    }
    faults_clear(&w->f);
}

static void close_nodes(struct world *w)
{
    for (unsigned i = 0; i < NODES; i++) {
        repos_free(w->repos[i]);
        w->events[i]->started = false;
        events_free(w->events[i]);
        free(w->pace[i]);
        blobs_free(w->blobs[i]);
        node_free(w->node[i]);
    }
    store_free(w->store);
}
#define auto_world auto_of(close_nodes)

static void look(struct world *w)
{
    for (unsigned i = 0; i < NODES; i++)
        hub_cycle(w->events[i], w->pace[i]);
}

/* One entry, by one of the nodes. */
static void push(struct world *w, unsigned node, const char *name)
{
    struct image image = {.config = "c"};
    const struct repo_who who = {.by = STR("me"), .req = STR("r")};
    struct buf body auto_buf = BUF_INIT(4096), missing auto_buf = BUF_INIT(4096);
    struct manifest m;
    struct repo *r auto_repo = NULL;
    struct str tag = STR("t");
    struct repo_put put = {.body = STR_NONE, .tags = &tag, .tag_count = 1};
    char salt[32];
    int e;

    snprintf(salt, sizeof(salt), "%u", w->salt++);
    image.salt = salt;
    image_body(&image, &body);
    assert_int_equal(manifest_parse(buf_str(&body), STR_NONE, &m, NULL), 0);
    put.manifest = &m;
    put.body = buf_str(&body);
    body_digest(put.body, &put.digest);
    assert_int_equal(repo_get(w->repos[node], str_of(name), &r, NULL), 0);
    e = repo_put(r, &put, &who, &missing, NULL);
    check(e == 0 || e == -ERR_UNKNOWN || e == -ERR_NOTCOMMITTED, "push: %s", err_name(e));
    manifest_done(&m);
}

static uint64_t length(struct world *w, const char *name)
{
    char prefix[64];

    snprintf(prefix, sizeof(prefix), "repos/%s/_log/", name);
    return count_objects(w->store, prefix);
}

/* ---- readers */

static int index_of(struct str name)
{
    for (int i = 0; i < REPOS; i++)
        if (str_eq(name, str_of(names[i])))
            return i;
    fail_msg("a repository of nobody");
    return 0;
}

static int hear(const struct event *e, void *arg)
{
    struct told *t = arg;
    struct json_doc *doc auto_json = NULL;
    int i = index_of(e->repo);
    int64_t seq;

    assert_int_equal(json_parse(e->text, &doc, NULL), 0);
    assert_true(json_get_int(json_get(json_root(doc), "data"), "seq", &seq));
    assert_true(seq > 0 && seq < ENTRIES);
    check(str_eq(e->action, STR("push")), "action");
    if (t->seen[i][seq])
        t->again++;
    else /* in order, what is told the first time */
        check((uint64_t)seq > t->last[i], "%s: %u after %u", names[i], (unsigned)seq,
              (unsigned)t->last[i]);
    if (!t->seen[i][seq])
        t->last[i] = (uint64_t)seq;
    t->seen[i][seq] = true;
    t->count++;
    buf_add(&t->text, e->text);
    buf_addc(&t->text, '\n');
    return 0;
}

static void told_done(struct told *t)
{
    buf_done(&t->text);
}
#define TOLD_INIT ((struct told){.text = BUF_INIT(TEXT_MAX)})

static void wake(void *arg)
{
    struct reader *r = arg;

    r->woken = true;
}

static void open_reader(struct world *w, struct reader *r, unsigned node, const char *repo,
                        struct str after)
{
    struct events_spec spec = {.repo = str_of(repo), .after = after, .wake = wake, .arg = r};
    struct err_detail why = {""};
    int e = events_open(w->events[node], &spec, &r->r, &why);

    check(e == 0, "open: %s", why.text);
    r->node = node;
    r->woken = true;
}

/* As long as there is something. */
static void hear_all(struct reader *r, struct told *t)
{
    struct err_detail why = {""};
    int e = 1;

    r->woken = false;
    while (e > 0) {
        e = events_step(r->r, hear, t, &why);
        check(e >= 0, "step: %s", why.text);
    }
}

/* Everything from a cursor on, by one node. */
static void replay(struct world *w, unsigned node, const char *repo, struct str after,
                   struct told *t)
{
    struct reader r;

    open_reader(w, &r, node, repo, after);
    hear_all(&r, t);
    hub_cycle(w->events[node], w->pace[node]);
    hear_all(&r, t);
    assert_true(events_caught_up(r.r));
    events_close(r.r);
}

/* One that settles a number tells nothing. */
static bool is_empty(struct world *w, const char *name, uint64_t seq)
{
    struct buf raw auto_buf = BUF_INIT(65536);
    char key[128];

    snprintf(key, sizeof(key), "repos/%s/_log/%016u/%020u", name, 0, (unsigned)seq);
    read_object(w->store, key, &raw);
    return strstr(buf_c(&raw), "\"ops\":[]") != NULL;
}

static void has_all(struct world *w, const struct told *t, const uint64_t *from)
{
    for (unsigned i = 0; i < REPOS; i++)
        for (uint64_t seq = from ? from[i] + 1 : 1; seq <= length(w, names[i]); seq++)
            check(t->seen[i][seq] || is_empty(w, names[i], seq), "%s: entry %u of %u was told",
                  names[i], (unsigned)seq, (unsigned)length(w, names[i]));
}

/* ---- tests */

static void test_replay_is_in_order_and_equal(void **state)
{
    struct told one auto_of(told_done) = TOLD_INIT, two auto_of(told_done) = TOLD_INIT;
    struct world w auto_world;

    (void)state;
    open_nodes(&w);
    for (unsigned n = 0; n < 300; n++) {
        push(&w, dice(&w, NODES), names[dice(&w, REPOS)]);
        fake_time_pass(dice(&w, 30000));
    }
    replay(&w, 0, "", STR_NONE, &one);
    has_all(&w, &one, NULL);
    assert_int_equal(one.again, 0);
    replay(&w, 1, "", STR_NONE, &two);
    check(str_eq(buf_str(&one.text), buf_str(&two.text)), "two replays are equal");
    /* And much later, when all is sealed. */
    told_done(&two);
    two = TOLD_INIT;
    fake_time_pass(4 * 3600000);
    look(&w);
    replay(&w, 1, "", STR_NONE, &two);
    check(str_eq(buf_str(&one.text), buf_str(&two.text)), "a replay years later is equal");
}

static void test_one_repository(void **state)
{
    struct told one auto_of(told_done) = TOLD_INIT, rest auto_of(told_done) = TOLD_INIT;
    struct buf cursor auto_buf = BUF_INIT(EVENT_CURSOR_MAX);
    struct reader r;
    struct world w auto_world;

    (void)state;
    open_nodes(&w);
    for (unsigned n = 0; n < 20; n++)
        push(&w, n % 2, n % 4 == 3 ? "a" : "b");
    open_reader(&w, &r, 0, "b", STR_NONE);
    look(&w);
    hear_all(&r, &one);
    assert_int_equal(one.count, 15);
    buf_add(&cursor, events_cursor(r.r));
    r.woken = false;
    push(&w, 0, "a");
    look(&w);
    assert_false(r.woken);
    push(&w, 1, "b"); /* by the other node: found by looking */
    fake_time_pass(EVENTS_POLL_MS);
    look(&w);
    assert_true(r.woken);
    hear_all(&r, &one);
    assert_int_equal(one.count, 16);
    push(&w, 0, "b");
    look(&w);
    assert_true(r.woken);
    events_close(r.r);
    replay(&w, 1, "b", buf_str(&cursor), &rest);
    assert_int_equal(rest.count, 2);
    told_done(&rest);
    rest = TOLD_INIT;
    replay(&w, 1, "b", STR("16"), &rest);
    assert_int_equal(rest.count, 1);
    told_done(&rest);
    rest = TOLD_INIT;
    replay(&w, 1, "b", STR("now"), &rest);
    assert_int_equal(rest.count, 0);
}

struct live {
    struct told *told[2];
    struct reader r[2];
    struct buf cursors[CURSORS];
    unsigned kept;
};

/* One thing happens: a change, maybe one that comes to light minutes later or whose reply is lost;
 * a reader reads, or dies and comes back at either node; time passes. */
static void happen(struct world *w, struct live *l)
{
    unsigned what = dice(w, 100), i = dice(w, 2);
    struct buf cursor auto_buf = BUF_INIT(EVENT_CURSOR_MAX);

    if (what < 40)
        push(w, dice(w, NODES), names[dice(w, dice(w, 4) ? 3 : REPOS)]);
    if (what == 41) {
        faults_add(&w->f, (struct rule){.op = "create",
                                        .key_part = "/_log/",
                                        .from = 1,
                                        .fault = dice(w, 2) ? FAULT_LATE : FAULT_REPLY_LOST});
        push(w, dice(w, NODES), names[dice(w, REPOS)]);
        faults_clear(&w->f);
    }
    if (what == 42 || what == 43)
        store_fault_flush_late(w->store);
    if (what >= 44 && what < 60)
        hear_all(&l->r[i], l->told[i]);
    if (what == 60) {
        buf_add(&cursor, events_cursor(l->r[i].r));
        check(cursor.len > 0, "a reader has a cursor");
        events_close(l->r[i].r);
        open_reader(w, &l->r[i], dice(w, NODES), "", buf_str(&cursor));
    }
    if (what == 61 && l->kept < CURSORS)
        buf_add(&l->cursors[l->kept++], events_cursor(l->r[i].r));
    if (what >= 62 && what < 64)
        fake_time_pass(dice(w, 400000));
    fake_time_pass(dice(w, 4000));
    look(w);
}

/* From a cursor on, on both nodes. */
static void replays_are_equal(struct world *w, struct str after, bool whole)
{
    struct told one auto_of(told_done) = TOLD_INIT, two auto_of(told_done) = TOLD_INIT;

    replay(w, 0, "", after, &one);
    replay(w, 1, "", after, &two);
    check(str_eq(buf_str(&one.text), buf_str(&two.text)), "two replays are equal");
    check(one.again == 0, "nothing twice in one replay");
    if (whole)
        has_all(w, &one, NULL);
}

/* Readers that follow for hours. */
static void test_chance(void **state)
{
    struct live *l = calloc(1, sizeof(*l));
    struct world w auto_world;
    uint64_t from[REPOS] = {0};

    (void)state;
    open_nodes(&w);
    for (unsigned i = 0; i < CURSORS; i++)
        l->cursors[i] = BUF_INIT(EVENT_CURSOR_MAX);
    for (unsigned i = 0; i < 2; i++) {
        l->told[i] = calloc(1, sizeof(struct told));
        l->told[i]->text = BUF_INIT(TEXT_MAX);
        open_reader(&w, &l->r[i], i, "", STR("now"));
        look(&w);
        hear_all(&l->r[i], l->told[i]);
    }
    for (unsigned n = 0; n < STEPS; n++)
        happen(&w, l);
    store_fault_flush_late(w.store);
    fake_time_pass(60000);
    look(&w);
    replays_are_equal(&w, STR_NONE, true);
    check(l->kept > 3, "cursors: %u", l->kept);
    for (unsigned i = 0; i < CURSORS; i++) {
        if (i < l->kept)
            replays_are_equal(&w, buf_str(&l->cursors[i]), false);
        buf_done(&l->cursors[i]);
    }
    for (unsigned i = 0; i < 2; i++) {
        hear_all(&l->r[i], l->told[i]);
        has_all(&w, l->told[i], from);
        events_close(l->r[i].r);
        told_done(l->told[i]);
        free(l->told[i]);
    }
    free(l);
}

/* A reader that sleeps while more is noticed than is kept gets it from the logs. */
static void test_far_behind(void **state)
{
    struct told t auto_of(told_done) = TOLD_INIT;
    struct reader r;
    struct world w auto_world;

    (void)state;
    open_nodes(&w);
    push(&w, 0, "a");
    open_reader(&w, &r, 0, "", STR("now"));
    look(&w);
    hear_all(&r, &t);
    for (unsigned n = 0; n < 50; n++)
        push(&w, 0, n % 2 ? "a" : "b");
    look(&w);
    w.events[0]->tail += EVENTS_NOTICES_MAX; /* as if so much had come in between */
    hear_all(&r, &t);
    assert_int_equal(t.count, 50);
    has_all(&w, &t, (const uint64_t[REPOS]){1});
    push(&w, 0, "a");
    look(&w);
    hear_all(&r, &t);
    assert_int_equal(t.count, 51);
    events_close(r.r);
}

/* While a reader of old entries is at b, for the first time, something happens. */
struct meanwhile {
    struct world *w;
    unsigned push; /* so many entries of a come to light ... */
    int64_t pass;  /* ... and so much time passes */
    bool done;
};

static void no_wake(void *arg)
{
    (void)arg;
}

static bool at_b(void *arg, struct str repo)
{
    struct meanwhile *m = arg;

    if (!str_eq(repo, STR("b")) || m->done)
        return true;
    m->done = true;
    for (unsigned n = 0; n < m->push; n++)
        push(m->w, n % 2, "a");
    fake_time_pass(m->pass);
    hub_cycle(m->w->events[0], m->w->pace[0]);
    return true;
}

/* A reader from the first entry on is told of everything, and its cursor says so. */
static void hears_all(struct meanwhile *m)
{
    struct told t auto_of(told_done) = TOLD_INIT, rest auto_of(told_done) = TOLD_INIT;
    struct events_spec spec = {.allowed = at_b, .wake = no_wake, .arg = m};
    struct reader r;

    assert_int_equal(events_open(m->w->events[0], &spec, &r.r, NULL), 0);
    hear_all(&r, &t);
    assert_true(m->done);
    has_all(m->w, &t, NULL);
    assert_int_equal(t.again, 0);
    fake_time_pass(EVENTS_POLL_MS);
    look(m->w); /* the other node knows, too */
    replay(m->w, 1, "", events_cursor(r.r), &rest);
    assert_int_equal(rest.count, 0);
    events_close(r.r);
}

/* To so long before some ten minutes end. */
static void pass_to_before_end(struct world *w, int64_t ms)
{
    int64_t now;

    assert_int_equal(store_now(w->store, &now, NULL), 0);
    fake_time_pass(2 * BUCKET_MS - now % BUCKET_MS - ms);
}

/* Shortly before ten minutes end the markers of the next are there. What comes to light when a
 * reader has done with the one and not yet with the other is told. */
static void test_between_two_markers(void **state)
{
    struct world w auto_world;
    struct meanwhile m = {.w = &w, .push = 2, .pass = EVENTS_POLL_MS};

    (void)state;
    open_nodes(&w);
    pass_to_before_end(&w, 20000);
    push(&w, 0, "a");
    push(&w, 0, "b");
    assert_int_equal(count_objects(w.store, CHANGES), 4);
    look(&w);
    hears_all(&m);
}

/* The hub knew less than the second marker of a repository when the first was read. */
static void test_before_a_second_marker(void **state)
{
    struct world w auto_world;
    struct meanwhile m = {.w = &w, .pass = EVENTS_POLL_MS};

    (void)state;
    open_nodes(&w);
    pass_to_before_end(&w, 200000);
    push(&w, 0, "a");
    push(&w, 0, "b");
    look(&w);
    for (unsigned n = 0; n < 3; n++)
        push(&w, 1, "a");
    assert_int_equal(count_objects(w.store, CHANGES), 2);
    fake_time_pass(150000);
    push(&w, 1, "a");
    assert_int_equal(count_objects(w.store, CHANGES), 3);
    hears_all(&m);
}

/* What the hub forgets because it is sealed by now, a reader still finds. */
static void test_sealed_meanwhile(void **state)
{
    struct world w auto_world;
    struct meanwhile m = {.w = &w, .pass = EVENTS_SEAL_MS + 2 * BUCKET_MS};

    (void)state;
    open_nodes(&w);
    pass_to_before_end(&w, 200000);
    push(&w, 0, "a");
    push(&w, 0, "b");
    push(&w, 0, "z");
    look(&w);
    hears_all(&m);
}

static bool only_b(void *arg, struct str repo)
{
    (void)arg;
    return str_eq(repo, STR("b"));
}

static void test_rights_and_limits(void **state)
{
    struct told t auto_of(told_done) = TOLD_INIT;
    struct events_spec spec = {.wake = wake, .allowed = only_b};
    struct reader r = {.woken = false}, *all = calloc(EVENTS_READERS_MAX, sizeof(*all));
    struct err_detail why = {""};
    struct events_reader *more;
    struct world w auto_world;

    (void)state;
    open_nodes(&w);
    for (unsigned n = 0; n < 10; n++)
        push(&w, 0, n % 2 ? "a" : "b");
    spec.arg = &r;
    assert_int_equal(events_open(w.events[0], &spec, &r.r, NULL), 0);
    look(&w);
    hear_all(&r, &t);
    assert_int_equal(t.count, 5);
    push(&w, 0, "a");
    push(&w, 0, "b");
    look(&w);
    hear_all(&r, &t);
    assert_int_equal(t.count, 6);
    for (unsigned i = 1; i < EVENTS_READERS_MAX; i++)
        open_reader(&w, &all[i], 0, "", STR("now"));
    assert_int_equal(events_open(w.events[0], &spec, &more, &why), -ERR_BUSY);
    check(why.text[0] != 0, "a sentence");
    for (unsigned i = 1; i < EVENTS_READERS_MAX; i++)
        events_close(all[i].r);
    events_close(r.r);
    free(all);
}

static void test_cursors(void **state)
{
    struct event_cursor *c = calloc(1, sizeof(*c)), *back = calloc(1, sizeof(*back));
    struct buf text auto_buf = BUF_INIT(EVENT_CURSOR_MAX + 2);
    struct world w auto_world;

    (void)state;
    open_nodes(&w);
    c->bucket = 3000000;
    c->seq = INT64_MAX;
    memset(c->name, 'n', NAME_MAX_LEN);
    c->pair_count = EVENT_PAIRS_MAX;
    for (unsigned i = 0; i < EVENT_PAIRS_MAX; i++) {
        char name[16];

        snprintf(name, sizeof(name), "r%u", i);
        event_repo(w.node[0], str_of(name), c->pairs[i].repo);
        c->pairs[i].seq = 1ull << (i % 40);
    }
    assert_int_equal(event_cursor_encode(w.node[0], STR_NONE, c, &text), 0);
    check(text.len <= EVENT_CURSOR_MAX, "%zu characters", text.len);
    assert_int_equal(event_cursor_decode(w.node[1], STR_NONE, buf_str(&text), back, NULL), 0);
    assert_memory_equal(c, back, sizeof(*c));
    assert_int_equal(event_cursor_decode(w.node[1], STR("a"), buf_str(&text), back, NULL),
                     -ERR_INVAL);
    for (size_t i = 0; i < text.len; i += 13) {
        char was = text.at[i];

        text.at[i] = was == '0' ? '1' : '0';
        assert_int_equal(event_cursor_decode(w.node[1], STR_NONE, buf_str(&text), back, NULL),
                         -ERR_INVAL);
        text.at[i] = was;
        assert_int_equal(
            event_cursor_decode(w.node[1], STR_NONE, str_head(buf_str(&text), i), back, NULL),
            -ERR_INVAL);
    }
    /* One of a few repositories names none of them, and is no longer for one or two more. */
    memset(c, 0, sizeof(*c));
    snprintf(c->name, sizeof(c->name), "library/secret");
    for (size_t len = text.len; c->pair_count < 3; c->pair_count++) {
        char plain[EVENT_CURSOR_MAX / 2];

        buf_clear(&text);
        event_repo(w.node[0], STR("library/other"), c->pairs[c->pair_count].repo);
        assert_int_equal(event_cursor_encode(w.node[0], STR_NONE, c, &text), 0);
        assert_true(hex_decode(buf_str(&text), (uint8_t *)plain, text.len / 2));
        assert_null(memmem(plain, text.len / 2, "secret", strlen("secret")));
        assert_true(c->pair_count == 0 || text.len == len);
        len = text.len;
        assert_int_equal(event_cursor_decode(w.node[1], STR_NONE, buf_str(&text), back, NULL), 0);
        assert_string_equal(c->name, back->name);
        assert_int_equal(c->pair_count, back->pair_count);
        assert_memory_equal(c->pairs, back->pairs, c->pair_count * sizeof(c->pairs[0]));
    }
    free(c);
    free(back);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup(test_replay_is_in_order_and_equal, setup),
        cmocka_unit_test_setup(test_one_repository, setup),
        cmocka_unit_test_setup(test_chance, setup),
        cmocka_unit_test_setup(test_far_behind, setup),
        cmocka_unit_test_setup(test_between_two_markers, setup),
        cmocka_unit_test_setup(test_before_a_second_marker, setup),
        cmocka_unit_test_setup(test_sealed_meanwhile, setup),
        cmocka_unit_test_setup(test_rights_and_limits, setup),
        cmocka_unit_test_setup(test_cursors, setup),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
