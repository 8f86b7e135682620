/* Shared by the tests of the blobstore: see fixture.h. */
#include "fixture.h"

#include <ftw.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>

#include "base/digest.h"
#include "base/enc.h"
#include "base/json.h"
#include "base/thread.h"
#include "blobstore/keys.h"

#define FAKE_START_MS 1800000000000 /* some day in 2027 */
#define OBJECT_MAX    (64u << 20)
#define ENTRIES_MAX   4096u

/* ---- time */

static int64_t fake_boot_ms = 5000000;
static int64_t fake_slept_ms;
static uint64_t fake_random_state = 0x9e3779b97f4a7c15u;

static void fake_lock(struct mutex *m)
{
    assert_false(m->sched != NULL); /* one thread: a second lock would wait for ever */
    m->sched = m;
}

static void fake_unlock(struct mutex *m)
{
    assert_true(m->sched == m);
    m->sched = NULL;
}

static void fake_wait(struct cond *c, struct mutex *m)
{
    (void)c;
    (void)m;
    fail_msg("a wait in a test with one thread");
}

static bool fake_wait_until(struct cond *c, struct mutex *m, int64_t deadline_ms)
{
    (void)c;
    (void)m;
    if (fake_boot_ms < deadline_ms)
        fake_boot_ms = deadline_ms;
    return false;
}

static void fake_wake(struct cond *c, bool all)
{
    (void)c;
    (void)all;
}

static int fake_start(struct thread *t, const char *name, void (*fn)(void *), void *arg)
{
    (void)t;
    (void)name;
    (void)fn;
    (void)arg;
    return -ERR_NOMEM;
}

static void fake_join(struct thread *t)
{
    (void)t;
}

static int64_t fake_boot_ns(void)
{
    return fake_boot_ms * 1000000;
}

static int64_t fake_wall_ms(void)
{
    return FAKE_START_MS + fake_boot_ms;
}

static void fake_sleep(int64_t ms)
{
    assert_true(ms >= 0);
    fake_boot_ms += ms;
    fake_slept_ms += ms;
}

static void fake_random(void *out, size_t len)
{
    uint8_t *bytes = out;

    for (size_t i = 0; i < len; i++) {
        fake_random_state ^= fake_random_state << 13;
        fake_random_state ^= fake_random_state >> 7;
        fake_random_state ^= fake_random_state << 17;
        bytes[i] = (uint8_t)(fake_random_state >> 32);
    }
}

void fake_time_install(void)
{
    static const struct sched_ops ops = {
        .lock = fake_lock,
        .unlock = fake_unlock,
        .wait = fake_wait,
        .wait_until = fake_wait_until,
        .wake = fake_wake,
        .start = fake_start,
        .join = fake_join,
        .boot_ns = fake_boot_ns,
        .wall_ms = fake_wall_ms,
        .sleep_ms = fake_sleep,
        .random = fake_random,
    };

    sched_install(&ops);
}

void fake_time_pass(int64_t ms)
{
    fake_boot_ms += ms;
}

int64_t fake_time_slept(void)
{
    return fake_slept_ms;
}

/* ---- faults */

static bool rule_matches(struct rule *rule, const struct store_fault_call *call)
{
    unsigned to = rule->to == 0 ? rule->from : rule->to;

    if (rule->op && !str_eq(str_of(rule->op), str_of(call->op)))
        return false;
    if (rule->key_part && (call->key.len == 0 || !memmem(call->key.at, call->key.len,
                                                         rule->key_part, strlen(rule->key_part))))
        return false;
    rule->seen++;
    return rule->seen >= rule->from && rule->seen <= to;
}

static enum store_fault decide(const struct store_fault_call *call, int *ret_err, void *arg)
{
    struct faults *f = arg;

    if (f->in_hook)
        return FAULT_NONE;
    f->calls++;
    if (f->calls == f->hook_at) {
        f->in_hook = true;
        f->hook(call, f->hook_arg);
        f->in_hook = false;
    }
    *ret_err = -ERR_UNAVAIL;
    if (f->dead_after > 0 && f->calls > f->dead_after)
        return FAULT_FAIL_BEFORE;
    if (f->calls == f->fail_at)
        return FAULT_FAIL_BEFORE;
    if (f->calls == f->lost_at)
        return FAULT_REPLY_LOST;
    for (unsigned i = 0; i < f->count; i++) {
        if (!rule_matches(&f->rules[i], call))
            continue;
        if (f->rules[i].err < 0)
            *ret_err = f->rules[i].err;
        return f->rules[i].fault;
    }
    return FAULT_NONE;
}

struct store *faulty_store(struct faults *f, struct store *inner)
{
    struct store *s;

    *f = (struct faults){.count = 0};
    assert_int_equal(store_fault_new(inner, decide, f, &s), 0);
    return s;
}

void faults_clear(struct faults *f)
{
    *f = (struct faults){.count = 0};
}

void faults_add(struct faults *f, struct rule rule)
{
    assert_true(f->count < RULES_MAX);
    if (rule.from == 0)
        rule.from = 1;
    f->rules[f->count++] = rule;
}

/* ---- stores */

struct store *mem_store(void)
{
    struct store *s;

    assert_int_equal(store_mem_new(&s), 0);
    return s;
}

struct node *open_node(struct store *s)
{
    struct err_detail detail = {{0}};
    struct node *n;
    int r = node_open(s, &n, &detail);

    if (r < 0)
        fail_msg("node_open: %s %s", err_name(r), detail.text);
    return n;
}

void read_object(struct store *s, const char *key, struct buf *out)
{
    int r = store_get(s, str_of(key), 0, STORE_WHOLE, out, NULL);

    if (r < 0)
        fail_msg("%s: %s", key, err_name(r));
}

bool has_object(struct store *s, const char *key)
{
    struct store_info info;
    int r = store_head(s, str_of(key), &info, NULL);

    assert_true(r == 0 || r == -ERR_NOTFOUND);
    return r == 0;
}

static int count_one(struct str key, const struct store_info *info, void *arg)
{
    (void)key;
    (void)info;
    ++*(unsigned *)arg;
    return 0;
}

unsigned count_objects(struct store *s, const char *prefix)
{
    unsigned count = 0;

    assert_int_equal(
        store_list(s, str_of(prefix), STR_NONE, STORE_LIST_MAX, count_one, &count, NULL), 0);
    return count;
}

static int remove_one(const char *path, const struct stat *st, int type, struct FTW *ftw)
{
    (void)st;
    (void)type;
    (void)ftw;
    return remove(path);
}

void make_place(char out[PLACE_MAX])
{
    const char *tmp = getenv("TMPDIR");

    assert_true(snprintf(out, PLACE_MAX, "%s/stowage-test-XXXXXX", tmp ? tmp : "/tmp") < PLACE_MAX);
    assert_non_null(mkdtemp(out));
}

void remove_place(const char *place)
{
    assert_int_equal(nftw(place, remove_one, 16, FTW_DEPTH | FTW_PHYS), 0);
}

/* ---- logs */

static void check_entry(const struct buf *raw, uint64_t seq, const char *prev, int64_t *ts,
                        char nonce[33])
{
    ptrdiff_t feed = str_find(buf_str(raw), '\n');
    struct str text = str_head(buf_str(raw), feed < 0 ? raw->len : (size_t)feed);
    struct json_doc *doc auto_json = NULL;
    struct str s;
    int64_t n;

    assert_int_equal(json_parse(text, &doc, NULL), 0);
    assert_true(json_get_int(json_root(doc), "seq", &n) && (uint64_t)n == seq);
    assert_true(json_get_str(json_root(doc), "prev", &s) && str_eq(s, str_of(prev)));
    assert_true(json_get_int(json_root(doc), "ts", &n) && n > *ts);
    *ts = n;
    assert_true(json_get_str(json_root(doc), "nonce", &s) && s.len == 32);
    memcpy(nonce, s.at, 32);
    nonce[32] = 0;
}

unsigned check_log(struct store *s, const char *prefix, bool deep)
{
    static char nonces[ENTRIES_MAX][33];
    char prev[65];
    int64_t ts = 0;
    unsigned count = 0;

    memset(prev, '0', 64);
    prev[64] = 0;
    for (;;) {
        struct buf key auto_buf = BUF_INIT(STORE_KEY_MAX);
        struct buf raw auto_buf = BUF_INIT(OBJECT_MAX);
        struct digest d;
        char text[DIGEST_TEXT_MAX];

        buf_add(&key, str_of(prefix));
        if (deep)
            buf_addf(&key, "/_log/%016" PRIu64, (uint64_t)(count + 1) / 10000);
        buf_addf(&key, "/%020" PRIu64, (uint64_t)(count + 1));
        if (!has_object(s, buf_c(&key)))
            break;
        read_object(s, buf_c(&key), &raw);
        assert_true(count < ENTRIES_MAX);
        check_entry(&raw, count + 1, prev, &ts, nonces[count]);
        for (unsigned i = 0; i < count; i++)
            assert_string_not_equal(nonces[i], nonces[count]);
        digest_of(DIGEST_SHA256, buf_str(&raw), &d);
        memcpy(prev, digest_hex(&d, text).at, 64);
        count++;
    }
    assert_int_equal(count, count_objects(s, prefix)); /* nothing behind a gap */
    return count;
}
