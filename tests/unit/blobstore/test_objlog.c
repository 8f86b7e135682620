/* The log primitive: what is committed, what is not, and what is not known, under each fault a
 * store can have. */
#include "fixture.h"

#include "base/clock.h"
#include "base/json.h"
#include "blobstore/store_ops.h"

struct world {
    struct faults f;
    struct store *s;
    struct node *node;
};

static void world_open(struct world *w)
{
    w->s = faulty_store(&w->f, mem_store());
    w->node = open_node(w->s);
    faults_clear(&w->f);
}

static void world_close(struct world *w)
{
    node_free(w->node);
    store_free(w->s);
}
#define auto_world auto_of(world_close)

static int setup(void **state)
{
    (void)state;
    fake_time_install();
    return 0;
}

static struct objlog *new_log(struct world *w)
{
    struct objlog_spec spec = {STR("repos/a"), STR("a"), true, STORE_LOG};
    struct objlog *l;

    assert_int_equal(objlog_new(w->node, &spec, &l), 0);
    return l;
}

/* What a reader saw: the op texts, one letter each, "-" for an empty entry. */

static int see(const struct objlog_entry *e, void *arg)
{
    struct buf *text = arg;

    if (json_len(e->ops) == 0)
        buf_addc(text, '-');
    for (size_t i = 0; i < json_len(e->ops); i++)
        buf_add(text, json_str(json_at(e->ops, i)));
    return 0;
}

static int append(struct objlog *l, struct objlog_pos *pos, const char *letter)
{
    struct buf ops auto_buf = BUF_INIT(64);

    buf_addf(&ops, "[\"%s\"]", letter);
    return objlog_append(l, pos, buf_str(&ops), STR_NONE, clock_boot_ms(), NULL, NULL);
}

static void follow_sees(struct objlog *l, struct objlog_pos *pos, const char *want)
{
    struct buf text auto_buf = BUF_INIT(1000);

    assert_int_equal(objlog_follow(l, pos, see, &text, NULL), 0);
    assert_string_equal(buf_c(&text), want);
}

/* Everything in the log, as a reader who starts at nothing finds it. */
static void history_is(struct world *w, const char *want)
{
    struct objlog *l auto_objlog = new_log(w);
    struct objlog_pos pos = {0};

    faults_clear(&w->f);
    follow_sees(l, &pos, want);
    assert_int_equal(check_log(w->s, "repos/a", true), strlen(want));
}

/* ---- no faults */

static void test_append_and_follow(void **state)
{
    struct world w auto_world;
    struct objlog *l auto_objlog = NULL;
    struct objlog *other auto_objlog = NULL;
    struct objlog_pos pos = {0}, reader = {0};

    (void)state;
    world_open(&w);
    l = new_log(&w);
    other = new_log(&w);
    assert_int_equal(objlog_probe(l, 0), 0);
    assert_int_equal(append(l, &pos, "a"), 0);
    assert_int_equal(append(l, &pos, "b"), 0);
    assert_int_equal(pos.seq, 2);
    assert_int_equal(objlog_probe(other, 0), -ERR_AGAIN);
    assert_int_equal(objlog_probe(other, 2), 0);
    follow_sees(other, &reader, "ab");
    assert_memory_equal(&reader, &pos, sizeof(pos));
    assert_int_equal(append(other, &reader, "c"), 0);
    assert_int_equal(append(l, &pos, "d"), -ERR_EXISTS);
    assert_int_equal(pos.seq, 2);
    follow_sees(l, &pos, "c");
    assert_int_equal(append(l, &pos, "d"), 0);
    history_is(&w, "abcd");
}

static void test_entry_text_is_canonical(void **state)
{
    struct world w auto_world;
    struct objlog *l auto_objlog = NULL;
    struct objlog_pos pos = {0};
    const struct objlog_entry *e;
    struct buf raw auto_buf = BUF_INIT(4096), want auto_buf = BUF_INIT(4096);
    int64_t now;

    (void)state;
    world_open(&w);
    l = new_log(&w);
    now = clock_wall_ms();
    assert_int_equal(
        objlog_append(l, &pos, STR("[{\"op\":\"x\"}]"), STR("a\nb"), clock_boot_ms(), &e, NULL), 0);
    read_object(w.s, "repos/a/_log/0000000000000000/00000000000000000001", &raw);
    buf_addf(&want,
             "{\"v\":1,\"repo\":\"a\",\"seq\":1,\"prev\":\"%064d\",\"node\":\"" STR_FMT
             "\",\"nonce\":\"" STR_FMT
             "\",\"ts\":%lld,\"gc\":0,\"ops\":[{\"op\":\"x\"}],\"bytes\":3}\na\nb",
             0, STR_ARG(node_id(w.node)), STR_ARG(e->nonce), (long long)now);
    assert_string_equal(buf_c(&raw), buf_c(&want));
    assert_true(str_eq(e->raw, buf_str(&raw)));
    assert_true(str_eq(e->payload, STR("a\nb")));
    assert_memory_equal(e->hash, pos.hash, sizeof(pos.hash));
    assert_int_equal(e->ts, now);
}

static void test_time_rises_without_a_clock(void **state)
{
    struct world w auto_world;
    struct objlog *l auto_objlog = NULL;
    struct objlog_pos pos = {0};
    int64_t first;

    (void)state;
    world_open(&w);
    l = new_log(&w);
    assert_int_equal(append(l, &pos, "a"), 0);
    first = pos.ts;
    assert_int_equal(append(l, &pos, "b"), 0); /* the clock stands still */
    assert_int_equal(pos.ts, first + 1);
    fake_time_pass(1000);
    assert_int_equal(append(l, &pos, "c"), 0);
    assert_int_equal(pos.ts, first + 1000);
    history_is(&w, "abc");
}

static int stop_at(const struct objlog_entry *e, void *arg)
{
    return e->seq == *(uint64_t *)arg ? 5 : 0;
}

static void test_apply_stops(void **state)
{
    struct world w auto_world;
    struct objlog *l auto_objlog = NULL;
    struct objlog_pos pos = {0}, reader = {0};
    uint64_t stop = 2;

    (void)state;
    world_open(&w);
    l = new_log(&w);
    assert_int_equal(append(l, &pos, "a"), 0);
    assert_int_equal(append(l, &pos, "b"), 0);
    assert_int_equal(objlog_follow(l, &reader, stop_at, &stop, NULL), 5);
    assert_int_equal(reader.seq, 1); /* not moved past what was not applied */
    follow_sees(l, &reader, "b");
    assert_int_equal(objlog_read(l, 2, stop_at, &stop, NULL), 5);
    assert_int_equal(objlog_read(l, 3, stop_at, &stop, NULL), -ERR_NOTFOUND);
}

static void test_what_cannot_be_read_is_not_written(void **state)
{
    static const char *const bad[] = {"", "{}", "[", "[1,]", "[\"a\"", "[\"\xff\"]", "[]\n", "[]]"};
    struct world w auto_world;
    struct objlog *l auto_objlog = NULL;
    struct objlog_pos pos = {0};
    struct buf big auto_buf = BUF_INIT(OBJLOG_ENTRY_MAX);

    (void)state;
    world_open(&w);
    l = new_log(&w);
    for (size_t i = 1; i < ARRAY_LEN(bad); i++)
        assert_int_equal(
            objlog_append(l, &pos, str_of(bad[i]), STR_NONE, clock_boot_ms(), NULL, NULL),
            -ERR_INVAL);
    memset(buf_reserve(&big, OBJLOG_ENTRY_MAX), 'x', OBJLOG_ENTRY_MAX);
    buf_added(&big, OBJLOG_ENTRY_MAX);
    assert_int_equal(objlog_append(l, &pos, STR("[]"), buf_str(&big), clock_boot_ms(), NULL, NULL),
                     -ERR_TOOBIG);
    assert_int_equal(objlog_append(l, &pos, STR("[]"), str_head(buf_str(&big), OBJLOG_OP_MAX),
                                   clock_boot_ms(), NULL, NULL),
                     0);
    history_is(&w, "-");
}

/* Operations that the caller knows are not parsed back, but looked through. */
static void test_known_operations(void **state)
{
    static const char *const bad[] = {"[\"\xff\"]", "[\"\\u0000\"]"};
    struct world w auto_world;
    struct objlog *l auto_objlog = NULL;
    struct objlog_pos pos = {0}, reader = {0};
    const struct objlog_entry *e;
    int64_t now = clock_boot_ms();
    struct objlog_batch b = {.validated_ms = now, .decide_until_ms = now + 3000, .known = true};

    (void)state;
    world_open(&w);
    l = new_log(&w);
    for (size_t i = 0; i < ARRAY_LEN(bad); i++) {
        b.ops = str_of(bad[i]);
        assert_int_equal(objlog_append_until(l, &pos, &b, &e, NULL), -ERR_INVAL);
    }
    b.ops = STR("[\"a\"]");
    assert_int_equal(objlog_append_until(l, &pos, &b, &e, NULL), 0);
    assert_null(e->ops);
    assert_int_equal(e->seq, 1);
    assert_true(str_eq(e->node, node_id(w.node)));
    b.ops = STR("[\"b\"]");
    assert_int_equal(objlog_append_until(l, &pos, &b, NULL, NULL), 0);
    /* As a reader finds it. */
    follow_sees(l, &reader, "ab");
    assert_memory_equal(&reader, &pos, sizeof(pos));
    history_is(&w, "ab");
}

/* ---- one fault: the outcome is known all the same */

static const struct {
    const char *name;
    struct rule rule;
    int result;
    const char *history;
} single[] = {
    {"reply lost after apply", {.op = "create", .fault = FAULT_REPLY_LOST}, 0, "ab"},
    {"failed before, again works", {.op = "create", .fault = FAULT_FAIL_BEFORE}, 0, "ab"},
    {"late, sent again", {.op = "create", .fault = FAULT_LATE}, 0, "ab"},
    {"duplicate", {.op = "create", .fault = FAULT_DUPLICATE}, 0, "ab"},
    {"412 to one's own write", {.op = "create", .fault = FAULT_OWN_EXISTS}, 0, "ab"},
    {"no space",
     {.op = "create", .fault = FAULT_FAIL_BEFORE, .err = -ERR_NOSPACE},
     -ERR_NOSPACE,
     "b"},
    {"denied", {.op = "create", .fault = FAULT_FAIL_BEFORE, .err = -ERR_DENIED}, -ERR_DENIED, "b"},
    {"no clock", {.op = "now", .fault = FAULT_FAIL_BEFORE}, -ERR_NOTCOMMITTED, "b"},
    {"refused for good",
     {.op = "create", .to = 1000, .fault = FAULT_FAIL_BEFORE},
     -ERR_NOTCOMMITTED,
     "b"},
};

static void test_single_faults(void **state)
{
    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(single); i++) {
        struct world w auto_world;
        struct objlog *l auto_objlog = NULL;
        struct objlog_pos pos = {0};
        int64_t start;

        world_open(&w);
        l = new_log(&w);
        faults_add(&w.f, single[i].rule);
        start = clock_boot_ms();
        assert_int_equal(append(l, &pos, "a"), single[i].result);
        assert_true(clock_boot_ms() - start <= OBJLOG_DECIDE_MS);
        assert_false(objlog_unsettled(l));
        assert_int_equal(pos.seq, single[i].result == 0 ? 1 : 0);
        faults_clear(&w.f);
        assert_int_equal(append(l, &pos, "b"), 0);
        store_fault_flush_late(w.s);
        history_is(&w, single[i].history);
    }
}

/* A foreign entry takes the number while ours is failing, lost or refused. */
static void test_foreign_winner(void **state)
{
    static const enum store_fault faults[] = {FAULT_NONE, FAULT_REPLY_LOST, FAULT_FAIL_BEFORE,
                                              FAULT_LATE};

    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(faults); i++) {
        struct world w auto_world;
        struct objlog *l auto_objlog = NULL;
        struct objlog *foreign auto_objlog = NULL;
        struct objlog_pos pos = {0}, theirs = {0};

        world_open(&w);
        l = new_log(&w);
        foreign = new_log(&w);
        assert_int_equal(append(foreign, &theirs, "x"), 0);
        faults_add(&w.f, (struct rule){.op = "create", .fault = faults[i]});
        assert_int_equal(append(l, &pos, "a"), -ERR_EXISTS);
        assert_false(objlog_unsettled(l));
        store_fault_flush_late(w.s);
        follow_sees(l, &pos, "x");
        assert_int_equal(append(l, &pos, "a"), 0);
        history_is(&w, "xa");
    }
}

/* Equal operations by the same node are two entries: mine means these bytes. */
static void test_same_operation_of_same_node_is_not_mine(void **state)
{
    struct world w auto_world;
    struct objlog *l auto_objlog = NULL;
    struct objlog *twin auto_objlog = NULL;
    struct objlog_pos pos = {0}, theirs = {0};

    (void)state;
    world_open(&w);
    l = new_log(&w);
    twin = new_log(&w);
    assert_int_equal(append(twin, &theirs, "a"), 0);
    assert_int_equal(append(l, &pos, "a"), -ERR_EXISTS);
    history_is(&w, "a");
}

/* ---- undecided */

/* Appends "a" so that nobody knows: late creates, and reads that fail. */
static void leave_undecided(struct world *w, struct objlog *l, struct objlog_pos *pos,
                            enum store_fault fault)
{
    int64_t start = clock_boot_ms();

    faults_add(&w->f, (struct rule){.op = "create", .to = 1000, .fault = fault});
    faults_add(&w->f, (struct rule){.op = "get", .to = 1000, .fault = FAULT_FAIL_BEFORE});
    assert_int_equal(append(l, pos, "a"), -ERR_UNKNOWN);
    assert_true(objlog_unsettled(l));
    assert_true(clock_boot_ms() - start <= OBJLOG_DECIDE_MS);
    assert_int_equal(pos->seq, 0);
}

static void test_undecided_was_committed(void **state)
{
    struct world w auto_world;
    struct objlog *l auto_objlog = NULL;
    struct objlog_pos pos = {0};

    (void)state;
    world_open(&w);
    l = new_log(&w);
    leave_undecided(&w, l, &pos, FAULT_REPLY_LOST);
    faults_clear(&w.f);
    assert_int_equal(append(l, &pos, "b"), -ERR_EXISTS);
    assert_false(objlog_unsettled(l));
    follow_sees(l, &pos, "a"); /* mine: it was committed, once */
    assert_int_equal(append(l, &pos, "b"), 0);
    history_is(&w, "ab");
}

static void test_undecided_is_settled_by_an_empty_entry(void **state)
{
    struct world w auto_world;
    struct objlog *l auto_objlog = NULL;
    struct objlog_pos pos = {0};

    (void)state;
    world_open(&w);
    l = new_log(&w);
    leave_undecided(&w, l, &pos, FAULT_LATE);
    faults_clear(&w.f);
    assert_int_equal(append(l, &pos, "b"), -ERR_EXISTS);
    assert_false(objlog_unsettled(l));
    store_fault_flush_late(w.s); /* too late for "a" */
    follow_sees(l, &pos, "-");
    assert_int_equal(append(l, &pos, "b"), 0);
    history_is(&w, "-b");
}

static void test_undecided_lands_before_it_is_settled(void **state)
{
    struct world w auto_world;
    struct objlog *l auto_objlog = NULL;
    struct objlog_pos pos = {0};

    (void)state;
    world_open(&w);
    l = new_log(&w);
    leave_undecided(&w, l, &pos, FAULT_LATE);
    faults_clear(&w.f);
    store_fault_flush_late(w.s);
    follow_sees(l, &pos, "a"); /* a reader's probe finds it */
    assert_false(objlog_unsettled(l));
    assert_int_equal(append(l, &pos, "b"), 0);
    history_is(&w, "ab");
}

/* While the settling entry is itself undecided nothing else is sent; it has a nonce of its own. */
static void test_settling_may_be_undecided_too(void **state)
{
    struct world w auto_world;
    struct objlog *l auto_objlog = NULL;
    struct objlog_pos pos = {0};

    (void)state;
    world_open(&w);
    l = new_log(&w);
    leave_undecided(&w, l, &pos, FAULT_LATE);
    assert_int_equal(append(l, &pos, "b"), -ERR_NOTCOMMITTED);
    assert_true(objlog_unsettled(l));
    assert_int_equal(append(l, &pos, "c"), -ERR_NOTCOMMITTED);
    faults_clear(&w.f);
    store_fault_flush_late(w.s); /* first comes "a" */
    assert_int_equal(append(l, &pos, "d"), -ERR_EXISTS);
    follow_sees(l, &pos, "a");
    assert_int_equal(append(l, &pos, "d"), 0);
    history_is(&w, "ad");
}

static void test_foreign_entry_settles(void **state)
{
    struct world w auto_world;
    struct objlog *l auto_objlog = NULL;
    struct objlog *foreign auto_objlog = NULL;
    struct objlog_pos pos = {0}, theirs = {0};

    (void)state;
    world_open(&w);
    l = new_log(&w);
    foreign = new_log(&w);
    leave_undecided(&w, l, &pos, FAULT_LATE);
    faults_clear(&w.f);
    assert_int_equal(append(foreign, &theirs, "x"), 0);
    assert_int_equal(append(l, &pos, "b"), -ERR_EXISTS);
    store_fault_flush_late(w.s);
    follow_sees(l, &pos, "x");
    assert_int_equal(append(l, &pos, "b"), 0);
    history_is(&w, "xb");
}

/* ---- D: nothing is sent long after its validation */

static void test_old_validation_is_refused(void **state)
{
    struct world w auto_world;
    struct objlog *l auto_objlog = NULL;
    struct objlog_pos pos = {0};
    int64_t validated;

    (void)state;
    world_open(&w);
    l = new_log(&w);
    validated = clock_boot_ms();
    fake_time_pass(OBJLOG_VALID_MS + 1);
    assert_int_equal(objlog_append(l, &pos, STR("[]"), STR_NONE, validated, NULL, NULL),
                     -ERR_NOTCOMMITTED);
    assert_int_equal(w.f.calls, 0);
}

/* The same bytes are not sent again once D has passed: a create that failed until then is not
 * committed. */
static void test_nothing_is_sent_again_past_validity(void **state)
{
    struct world w auto_world;
    struct objlog *l auto_objlog = NULL;
    struct objlog_pos pos = {0};
    int64_t validated;

    (void)state;
    world_open(&w);
    l = new_log(&w);
    validated = clock_boot_ms();
    fake_time_pass(OBJLOG_VALID_MS - 3);
    faults_add(&w.f, (struct rule){.op = "create", .fault = FAULT_FAIL_BEFORE});
    assert_int_equal(objlog_append(l, &pos, STR("[\"a\"]"), STR_NONE, validated, NULL, NULL),
                     -ERR_NOTCOMMITTED); /* the second create would come 5 ms later */
    assert_false(objlog_unsettled(l));
    faults_clear(&w.f);
    assert_int_equal(append(l, &pos, "b"), 0);
    history_is(&w, "b");
}

static void test_late_past_validity_is_unknown(void **state)
{
    struct world w auto_world;
    struct objlog *l auto_objlog = NULL;
    struct objlog_pos pos = {0};
    int64_t validated;

    (void)state;
    world_open(&w);
    l = new_log(&w);
    validated = clock_boot_ms();
    fake_time_pass(OBJLOG_VALID_MS - 3);
    faults_add(&w.f, (struct rule){.op = "create", .fault = FAULT_LATE});
    assert_int_equal(objlog_append(l, &pos, STR("[\"a\"]"), STR_NONE, validated, NULL, NULL),
                     -ERR_UNKNOWN);
    assert_true(objlog_unsettled(l));
    faults_clear(&w.f);
    assert_int_equal(append(l, &pos, "b"), -ERR_EXISTS);
    store_fault_flush_late(w.s);
    follow_sees(l, &pos, "-");
}

/* ---- damage */

static void put_entry(struct world *w, const char *number, struct str text)
{
    struct buf key auto_buf = BUF_INIT(STORE_KEY_MAX);

    buf_addf(&key, "repos/a/_log/0000000000000000/%s", number);
    assert_int_equal(store_put(w->s, buf_str(&key), STORE_LOG, text, NULL), 0);
}

#define ZEROS "0000000000000000000000000000000000000000000000000000000000000000"
#define ID    "00112233445566778899aabbccddeeff"
#define ENTRY(v, repo, seq, prev, ts, rest)                                                        \
    "{\"v\":" v ",\"repo\":\"" repo "\",\"seq\":" seq ",\"prev\":\"" prev "\",\"node\":\"" ID      \
    "\",\"nonce\":\"" ID "\",\"ts\":" ts ",\"gc\":0," rest

static const struct {
    const char *text;
    int err;
} entries[] = {
    {ENTRY("1", "a", "1", ZEROS, "5", "\"ops\":[]}"), 0},
    {ENTRY("1", "a", "1", ZEROS, "5", "\"ops\":[],\"new\":{}}"), 0}, /* B2: unknown keys */
    {ENTRY("1", "a", "1", ZEROS, "5", "\"ops\":[],\"bytes\":2}\nxy"), 0},
    {ENTRY("1", "a", "1", ZEROS, "5", "\"ops\":[],\"bytes\":0}\n"), 0},
    {ENTRY("2", "a", "1", ZEROS, "5", "\"ops\":[]}"), -ERR_VERSION},
    {ENTRY("0", "a", "1", ZEROS, "5", "\"ops\":[]}"), -ERR_CORRUPT},
    {ENTRY("1", "b", "1", ZEROS, "5", "\"ops\":[]}"), -ERR_CORRUPT},
    {ENTRY("1", "a", "2", ZEROS, "5", "\"ops\":[]}"), -ERR_CORRUPT},
    {ENTRY("1", "a", "1", "1" ZEROS, "5", "\"ops\":[]}"), -ERR_CORRUPT},
    {ENTRY("1", "a", "1", "ff" ID ID, "5", "\"ops\":[]}"), -ERR_CORRUPT},
    {ENTRY("1", "a", "1", ID ID, "5", "\"ops\":[]}"), -ERR_CORRUPT}, /* wrong chain */
    {ENTRY("1", "a", "1", ZEROS, "0", "\"ops\":[]}"), -ERR_CORRUPT},
    {ENTRY("1", "a", "1", ZEROS, "5", "\"ops\":{}}"), -ERR_CORRUPT},
    {ENTRY("1", "a", "1", ZEROS, "5", "\"op\":[]}"), -ERR_CORRUPT},
    {ENTRY("1", "a", "1", ZEROS, "5", "\"ops\":[],\"bytes\":3}\nxy"), -ERR_CORRUPT},
    {ENTRY("1", "a", "1", ZEROS, "5", "\"ops\":[],\"bytes\":1}\nxy"), -ERR_CORRUPT},
    {ENTRY("1", "a", "1", ZEROS, "5", "\"ops\":[],\"bytes\":1}"), -ERR_CORRUPT},
    {ENTRY("1", "a", "1", ZEROS, "5", "\"ops\":[]}\nxy"), -ERR_CORRUPT},
    {"{\"v\":1}", -ERR_CORRUPT},
    {"[]", -ERR_CORRUPT},
    {"", -ERR_CORRUPT},
};

static void test_entries_are_judged(void **state)
{
    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(entries); i++) {
        struct world w auto_world;
        struct objlog *l auto_objlog = NULL;
        struct objlog_pos pos = {0};
        struct buf text auto_buf = BUF_INIT(100);
        struct err_detail detail = {{0}};

        world_open(&w);
        l = new_log(&w);
        put_entry(&w, "00000000000000000001", str_of(entries[i].text));
        assert_int_equal(objlog_follow(l, &pos, see, &text, &detail), entries[i].err);
        assert_int_equal(pos.seq, entries[i].err == 0 ? 1 : 0);
        assert_true(entries[i].err == 0 || detail.text[0] != 0);
    }
}

static void test_broken_chain_is_read_only(void **state)
{
    struct world w auto_world;
    struct objlog *l auto_objlog = NULL;
    struct objlog_pos pos = {0};
    struct buf text auto_buf = BUF_INIT(100), raw auto_buf = BUF_INIT(4096);

    (void)state;
    world_open(&w);
    l = new_log(&w);
    assert_int_equal(append(l, &pos, "a"), 0);
    read_object(w.s, "repos/a/_log/0000000000000000/00000000000000000001", &raw);
    assert_int_equal(append(l, &pos, "b"), 0);
    raw.at[raw.len - 1] = ' '; /* still an entry to the eye of a lax reader */
    buf_addc(&raw, '}');
    put_entry(&w, "00000000000000000001", buf_str(&raw));
    pos = (struct objlog_pos){0};
    assert_int_equal(objlog_follow(l, &pos, see, &text, NULL), -ERR_CORRUPT);
    assert_int_equal(pos.seq, 1);
    assert_int_equal(append(l, &pos, "c"), -ERR_READONLY);
    assert_false(has_object(w.s, "repos/a/_log/0000000000000000/00000000000000000003"));
}

static void test_time_must_rise(void **state)
{
    struct world w auto_world;
    struct objlog *l auto_objlog = NULL;
    struct objlog_pos pos = {0};
    struct buf text auto_buf = BUF_INIT(100), raw auto_buf = BUF_INIT(4096);
    struct digest d;
    char hex[DIGEST_TEXT_MAX];

    (void)state;
    world_open(&w);
    l = new_log(&w);
    buf_add(&raw, STR(ENTRY("1", "a", "1", ZEROS, "5", "\"ops\":[]}")));
    put_entry(&w, "00000000000000000001", buf_str(&raw));
    digest_of(DIGEST_SHA256, buf_str(&raw), &d);
    buf_clear(&raw);
    buf_addf(&raw,
             "{\"v\":1,\"repo\":\"a\",\"seq\":2,\"prev\":\"%s\",\"node\":\"" ID "\",\"nonce\":\"" ID
             "\",\"ts\":5,\"gc\":0,\"ops\":[]}",
             digest_hex(&d, hex).at);
    put_entry(&w, "00000000000000000002", buf_str(&raw));
    assert_int_equal(objlog_follow(l, &pos, see, &text, NULL), -ERR_CORRUPT);
    assert_int_equal(pos.seq, 1);
}

/* Each store call in turn fails, or its reply is lost: an append that said 0 is in the history
 * once, one that said "not committed" or "exists" is not, and the log goes on. */
static void test_any_call_may_fail(void **state)
{
    bool done = false;

    (void)state;
    for (unsigned at = 1; !done; at++) {
        for (int lost = 0; lost < 2; lost++) {
            struct world w auto_world;
            struct objlog *l auto_objlog = NULL;
            struct objlog_pos pos = {0};
            struct buf text auto_buf = BUF_INIT(100);
            int a, b;

            world_open(&w);
            l = new_log(&w);
            *(lost ? &w.f.lost_at : &w.f.fail_at) = at;
            a = append(l, &pos, "a");
            b = append(l, &pos, "b");
            assert_true(a == 0 || a == -ERR_NOTCOMMITTED);
            assert_true(b == 0 || b == -ERR_NOTCOMMITTED);
            done = w.f.calls < at;
            faults_clear(&w.f);
            assert_int_equal(append(l, &pos, "c"), 0);
            buf_addf(&text, "%s%sc", a == 0 ? "a" : "", b == 0 ? "b" : "");
            history_is(&w, buf_c(&text));
        }
        assert_true(at < 100);
    }
}

/* The answer comes by the caller's deadline. */
static void test_deadline(void **state)
{
    struct world w auto_world;
    struct objlog *l auto_objlog = NULL;
    struct objlog_pos pos = {0};
    int64_t begun;

    (void)state;
    world_open(&w);
    l = new_log(&w);
    faults_add(&w.f,
               (struct rule){.op = "create", .to = 1000, .from = 1, .fault = FAULT_FAIL_BEFORE});
    begun = clock_boot_ms();
    const struct objlog_batch b = {
        .ops = STR("[\"a\"]"), .validated_ms = begun, .decide_until_ms = begun + 3000};
    assert_int_equal(objlog_append_until(l, &pos, &b, NULL, NULL), -ERR_NOTCOMMITTED);
    assert_in_range(clock_boot_ms() - begun, 2000, 3100);
    faults_clear(&w.f);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_append_and_follow),
        cmocka_unit_test(test_entry_text_is_canonical),
        cmocka_unit_test(test_time_rises_without_a_clock),
        cmocka_unit_test(test_apply_stops),
        cmocka_unit_test(test_what_cannot_be_read_is_not_written),
        cmocka_unit_test(test_known_operations),
        cmocka_unit_test(test_single_faults),
        cmocka_unit_test(test_foreign_winner),
        cmocka_unit_test(test_same_operation_of_same_node_is_not_mine),
        cmocka_unit_test(test_undecided_was_committed),
        cmocka_unit_test(test_undecided_is_settled_by_an_empty_entry),
        cmocka_unit_test(test_undecided_lands_before_it_is_settled),
        cmocka_unit_test(test_settling_may_be_undecided_too),
        cmocka_unit_test(test_foreign_entry_settles),
        cmocka_unit_test(test_old_validation_is_refused),
        cmocka_unit_test(test_nothing_is_sent_again_past_validity),
        cmocka_unit_test(test_late_past_validity_is_unknown),
        cmocka_unit_test(test_entries_are_judged),
        cmocka_unit_test(test_broken_chain_is_read_only),
        cmocka_unit_test(test_time_must_rise),
        cmocka_unit_test(test_any_call_may_fail),
        cmocka_unit_test(test_deadline),
    };

    return cmocka_run_group_tests_name("objlog", tests, setup, NULL);
}
