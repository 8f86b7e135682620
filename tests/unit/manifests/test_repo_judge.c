/* Conditions on tags (R95) at the commit point: on one state, in one batch, and against another
 * node that was faster. */
#include "fixture.h"

#include <stdio.h>

#include "base/clock.h"
#include "base/json.h"

#define REPO "library/app"

static const struct repo_who who = {.by = {"tester", 6}, .req = {"r", 1}};

static struct image image_of(const char *salt)
{
    return (struct image){.config = "config", .salt = salt};
}

static struct digest digest_of_image(const char *salt)
{
    struct image image = image_of(salt);
    struct digest d;

    image_digest(&image, &d);
    return d;
}

/* A condition of one kind: '=' the image, '!' not the image, '+' anything, '-' nothing. */
struct asked {
    struct taglog_if c;
    struct str text;
    char storage[DIGEST_TEXT_MAX];
};

static const struct taglog_if *ask(struct asked *a, char kind, const char *salt)
{
    struct digest d;

    *a = (struct asked){.c = {.present = kind == '+', .absent = kind == '-'}};
    if (kind == '=' || kind == '!') {
        d = digest_of_image(salt);
        a->text = digest_text(&d, a->storage);
    }
    if (kind == '=')
        a->c = (struct taglog_if){.one_of = true, .match = &a->text, .match_count = 1};
    if (kind == '!')
        a->c = (struct taglog_if){.other = &a->text, .other_count = 1};
    return kind ? &a->c : NULL;
}

static int put_by(struct site *s, const char *salt, const char *tag, const struct taglog_if *c,
                  const struct repo_who *by, struct repo_refusal *refusal)
{
    struct image image = image_of(salt);
    struct buf body auto_buf = BUF_INIT(MANIFEST_BYTES_MAX);
    struct buf missing auto_buf = BUF_INIT(4096);
    struct manifest m auto_manifest = {.doc = NULL};
    struct repo *r auto_repo = repo_of(s, REPO);
    struct str name = str_of(tag);
    struct repo_put put = {.manifest = &m,
                           .tags = &name,
                           .tag_count = tag ? 1 : 0,
                           .condition = c,
                           .refusal = refusal};

    image_body(&image, &body);
    put.body = buf_str(&body);
    body_digest(put.body, &put.digest);
    assert_int_equal(manifest_parse(put.body, STR_NONE, &m, NULL), 0);
    return repo_put(r, &put, by, &missing, NULL);
}

static int put_if(struct site *s, const char *salt, const char *tag, const struct taglog_if *c,
                  struct repo_refusal *refusal)
{
    return put_by(s, salt, tag, c, &who, refusal);
}

static int delete_if(struct site *s, const char *tag, const struct taglog_if *c)
{
    struct repo *r auto_repo = repo_of(s, REPO);
    struct repo_refusal refusal;

    return repo_delete_tag_if(r, str_of(tag), c, &who, &refusal, NULL);
}

/* Is the tag on the image of that salt (NULL: absent)? */
static bool tag_is(struct site *s, const char *tag, const char *salt)
{
    struct repo *r auto_repo = repo_of(s, REPO);
    struct repo_manifest m;
    struct digest d;
    int e;

    assert_int_equal(repo_refresh(r, NULL), 0);
    e = repo_tag(r, str_of(tag), &m);
    if (e < 0 || !salt)
        return e < 0 && !salt;
    d = digest_of_image(salt);
    return digest_eq(&m.digest, &d);
}

static void test_put(void **state)
{
    static const struct {
        const char *before, *put; /* images; before NULL: no tag */
        char kind;
        const char *salt;
        int result;
    } cases[] = {
        {NULL, "b", '-', NULL, 0},
        {NULL, "b", '=', "a", -ERR_CONDITION},
        {NULL, "b", '+', NULL, -ERR_CONDITION},
        {NULL, "b", '!', "a", 0},
        {"a", "b", '=', "a", 0},
        {"a", "b", '=', "c", -ERR_CONDITION},
        {"a", "b", '-', NULL, -ERR_CONDITION},
        {"a", "b", '+', NULL, 0},
        {"a", "b", '!', "a", -ERR_CONDITION},
        {"a", "b", '!', "c", 0},
        /* The tag is there already: the condition counts all the same. */
        {"b", "b", '=', "a", -ERR_CONDITION},
        {"b", "b", '-', NULL, -ERR_CONDITION},
        {"b", "b", '=', "b", 0},
    };

    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        struct store *store = mem_store();
        struct site s;
        struct asked a;
        struct repo_refusal refusal;
        const struct taglog_if *c = ask(&a, cases[i].kind, cases[i].salt);
        int e;

        site_open(&s, store, REFERENCES_STRICT, NULL);
        add_blob(&s, REPO, "config");
        if (cases[i].before)
            assert_int_equal(put_if(&s, cases[i].before, "t", NULL, NULL), 0);
        e = put_if(&s, cases[i].put, "t", c, &refusal);
        check(e == cases[i].result, "case %zu: %s", i, err_name(e));
        check(tag_is(&s, "t", e == 0 ? cases[i].put : cases[i].before), "case %zu", i);
        if (e < 0) {
            struct digest d = digest_of_image(cases[i].before ? cases[i].before : "");

            assert_string_equal(refusal.tag, "t");
            assert_int_equal(refusal.present, cases[i].before != NULL);
            assert_true(!refusal.present || digest_eq(&refusal.digest, &d));
        }
        site_close(&s);
        store_free(store);
    }
}

/* Without tags the condition is about the manifest. */
static void test_put_without_tags(void **state)
{
    struct store *store = mem_store();
    struct site s;
    struct asked a;

    (void)state;
    site_open(&s, store, REFERENCES_STRICT, NULL);
    add_blob(&s, REPO, "config");
    assert_int_equal(put_if(&s, "a", NULL, ask(&a, '=', "a"), NULL), -ERR_CONDITION);
    assert_int_equal(put_if(&s, "a", NULL, ask(&a, '-', NULL), NULL), 0);
    assert_int_equal(put_if(&s, "a", NULL, ask(&a, '-', NULL), NULL), -ERR_CONDITION);
    assert_int_equal(put_if(&s, "a", NULL, ask(&a, '=', "a"), NULL), 0);
    site_close(&s);
    store_free(store);
}

static void test_delete(void **state)
{
    struct store *store = mem_store();
    struct site s;
    struct asked a;

    (void)state;
    site_open(&s, store, REFERENCES_STRICT, NULL);
    add_blob(&s, REPO, "config");
    assert_int_equal(put_if(&s, "a", "t", NULL, NULL), 0);
    assert_int_equal(delete_if(&s, "t", ask(&a, '=', "b")), -ERR_CONDITION);
    assert_int_equal(delete_if(&s, "t", ask(&a, '-', NULL)), -ERR_CONDITION);
    assert_true(tag_is(&s, "t", "a"));
    assert_int_equal(delete_if(&s, "t", ask(&a, '=', "a")), 0);
    assert_true(tag_is(&s, "t", NULL));
    assert_int_equal(delete_if(&s, "t", ask(&a, '=', "a")), -ERR_NOTFOUND);
    site_close(&s);
    store_free(store);
}

/* The condition is in the history. */
static void test_recorded(void **state)
{
    struct store *store = mem_store();
    struct site s;
    struct asked a;
    struct buf raw auto_buf = BUF_INIT(OBJLOG_ENTRY_MAX);
    char want[256];

    (void)state;
    site_open(&s, store, REFERENCES_STRICT, NULL);
    add_blob(&s, REPO, "config");
    assert_int_equal(put_if(&s, "a", "t", NULL, NULL), 0);
    assert_int_equal(put_if(&s, "b", "t", ask(&a, '=', "a"), NULL), 0);
    assert_int_equal(delete_if(&s, "t", ask(&a, '+', NULL)), 0);
    read_object(store, "repos/" REPO "/_log/0000000000000000/00000000000000000002", &raw);
    snprintf(want, sizeof(want), ",\"if\":{\"match\":[\"%s\"]},\"by\"",
             (ask(&a, '=', "a"), a.storage));
    check(strstr(buf_c(&raw), want), "%s", buf_c(&raw));
    buf_clear(&raw);
    read_object(store, "repos/" REPO "/_log/0000000000000000/00000000000000000003", &raw);
    check(strstr(buf_c(&raw), "\"digest\":null,\"if\":{\"present\":true}}]"), "%s", buf_c(&raw));
    site_close(&s);
    store_free(store);
}

/* ---- two nodes */

struct race {
    struct watch w;
    struct store *inner, *store;
    struct site a, b; /* b writes before the entry of a is created */
    const char *salt;
    int result;
};

static void race_put(void *arg)
{
    struct race *r = arg;

    r->result = put_if(&r->b, r->salt, "t", NULL, NULL);
}

static void test_lost(void **state)
{
    struct race r = {.salt = "theirs"};
    struct asked a;

    (void)state;
    r.inner = mem_store();
    r.store = watched_store(&r.w, r.inner);
    site_open(&r.a, r.store, REFERENCES_STRICT, NULL);
    site_open(&r.b, r.inner, REFERENCES_STRICT, NULL);
    add_blob(&r.a, REPO, "config");
    assert_int_equal(put_if(&r.a, "a", "t", NULL, NULL), 0);
    watch_hook(&r.w, "create", "repos/" REPO "/_log/", race_put, &r);
    assert_int_equal(put_if(&r.a, "mine", "t", ask(&a, '=', "a"), NULL), -ERR_CONDITION);
    assert_int_equal(r.result, 0);
    assert_true(tag_is(&r.a, "t", "theirs") && tag_is(&r.b, "t", "theirs"));
    /* The other one's change makes the condition come true, or leaves it true. */
    r.salt = "same";
    watch_hook(&r.w, "create", "repos/" REPO "/_log/", race_put, &r);
    assert_int_equal(put_if(&r.a, "mine", "t", ask(&a, '+', NULL), NULL), 0);
    assert_true(tag_is(&r.a, "t", "mine"));
    r.salt = "again";
    watch_hook(&r.w, "create", "repos/" REPO "/_log/", race_put, &r);
    assert_int_equal(delete_if(&r.a, "t", ask(&a, '=', "mine")), -ERR_CONDITION);
    assert_true(tag_is(&r.a, "t", "again"));
    site_close(&r.a);
    site_close(&r.b);
    store_free(r.store);
}

/* ---- one batch */

#define WRITERS      8
#define IN_FLIGHT_MS 150

struct crowd {
    struct site s;
    int errors[WRITERS];
};

static void swap_same(unsigned index, void *arg)
{
    struct crowd *c = arg;
    struct asked a;
    char salt[16];

    snprintf(salt, sizeof(salt), "new-%u", index);
    if (index == 0) { /* holds the log while the others gather */
        c->errors[index] = put_if(&c->s, "hold", "hold", NULL, NULL);
        return;
    }
    clock_sleep_ms(IN_FLIGHT_MS / 3);
    c->errors[index] = index % 2 ? put_if(&c->s, salt, "t", ask(&a, '=', "old"), NULL)
                                 : delete_if(&c->s, "t", ask(&a, '=', "old"));
}

/* Of many in one batch that ask for the same, one has it. */
static void test_one_batch(void **state)
{
    struct watch w;
    struct store *store = watched_store(&w, mem_store());
    struct crowd c = {.errors = {0}};
    unsigned done = 0;

    (void)state;
    site_open(&c.s, store, REFERENCES_STRICT, NULL);
    add_blob(&c.s, REPO, "config");
    assert_int_equal(put_if(&c.s, "old", "t", NULL, NULL), 0);
    w.log_delay_ms = IN_FLIGHT_MS;
    run_threads(WRITERS, swap_same, &c);
    for (unsigned i = 1; i < WRITERS; i++) {
        check(c.errors[i] == 0 || c.errors[i] == -ERR_CONDITION || c.errors[i] == -ERR_NOTFOUND,
              "%s", err_name(c.errors[i]));
        done += c.errors[i] == 0;
    }
    assert_int_equal(done, 1);
    site_close(&c.s);
    store_free(store);
}

/* ---- many tags at once */

static int set_tags(struct site *s, const struct taglog_set *sets, size_t count,
                    struct repo_refusal *refusal)
{
    struct repo *r auto_repo = repo_of(s, REPO);

    return repo_set_tags(r, sets, count, &who, refusal, NULL);
}

static void test_sets(void **state)
{
    struct store *store = mem_store();
    struct site s;
    struct asked a;
    struct repo_refusal refusal;
    struct digest one = digest_of_image("one"), two = digest_of_image("two"),
                  none = digest_of_image("none");
    struct taglog_set sets[] = {{.tag = STR("x"), .digest = one},
                                {.tag = STR("y"), .digest = two},
                                {.tag = STR("t"), .remove = true}};

    (void)state;
    site_open(&s, store, REFERENCES_STRICT, NULL);
    add_blob(&s, REPO, "config");
    assert_int_equal(put_if(&s, "one", "t", NULL, NULL), 0);
    assert_int_equal(put_if(&s, "two", NULL, NULL, NULL), 0);
    sets[1].condition = ask(&a, '+', NULL);
    assert_int_equal(set_tags(&s, sets, 3, &refusal), -ERR_CONDITION);
    assert_string_equal(refusal.tag, "y");
    assert_false(refusal.present);
    assert_true(tag_is(&s, "x", NULL) && tag_is(&s, "y", NULL) && tag_is(&s, "t", "one"));
    sets[1].condition = NULL;
    sets[1].digest = none;
    assert_int_equal(set_tags(&s, sets, 3, &refusal), -ERR_MISSING_REF);
    assert_string_equal(refusal.tag, "y");
    assert_true(digest_eq(&refusal.digest, &none));
    assert_true(tag_is(&s, "x", NULL));
    sets[1].digest = two;
    sets[1].condition = ask(&a, '-', NULL);
    assert_int_equal(set_tags(&s, sets, 3, &refusal), 0);
    assert_true(tag_is(&s, "x", "one") && tag_is(&s, "y", "two") && tag_is(&s, "t", NULL));
    assert_int_equal(check_log(store, "repos/" REPO, true), 3);
    sets[1].condition = NULL; /* all stands already: no entry */
    assert_int_equal(set_tags(&s, sets, 3, &refusal), 0);
    assert_int_equal(check_log(store, "repos/" REPO, true), 3);
    sets[1].tag = STR("x");
    assert_int_equal(set_tags(&s, sets, 3, &refusal), -ERR_INVAL);
    site_close(&s);
    store_free(store);
}

/* ---- immutable tags */

static int settle(struct site *s, const char *text)
{
    struct repo *r auto_repo = repo_of(s, REPO);
    struct settings *settings auto_settings = NULL;

    assert_int_equal(settings_parse(str_of(text), &settings, NULL), 0);
    return repo_set_settings(r, settings, &who, NULL);
}

static int delete_manifest(struct site *s, const char *salt, struct repo_refusal *refusal)
{
    struct repo *r auto_repo = repo_of(s, REPO);
    struct digest d = digest_of_image(salt);

    return repo_delete_manifest_for(r, &d, &who, refusal, NULL);
}

#define IMMUTABLE "{\"immutable\":[\"v*\"]}"

static void test_immutable(void **state)
{
    struct store *store = mem_store();
    struct site s;
    struct asked a;
    struct repo_refusal refusal;
    struct taglog_set sets[] = {{.tag = STR("t"), .digest = digest_of_image("two")},
                                {.tag = STR("v1"), .digest = digest_of_image("two")}};

    (void)state;
    site_open(&s, store, REFERENCES_STRICT, NULL);
    add_blob(&s, REPO, "config");
    assert_int_equal(put_if(&s, "one", "v1", NULL, NULL), 0);
    assert_int_equal(put_if(&s, "two", "t", NULL, NULL), 0);
    assert_int_equal(settle(&s, IMMUTABLE), 0);
    assert_int_equal(check_log(store, "repos/" REPO, true), 3);
    assert_int_equal(settle(&s, IMMUTABLE), 0); /* they are so: no entry */
    assert_int_equal(check_log(store, "repos/" REPO, true), 3);
    assert_int_equal(put_if(&s, "two", "v1", NULL, &refusal), -ERR_DENIED);
    assert_string_equal(refusal.tag, "v1");
    assert_true(refusal.present);
    /* Before conditions, those that hold and those that do not. */
    assert_int_equal(put_if(&s, "two", "v1", ask(&a, '=', "one"), NULL), -ERR_DENIED);
    assert_int_equal(put_if(&s, "two", "v1", ask(&a, '-', NULL), NULL), -ERR_DENIED);
    assert_int_equal(put_if(&s, "one", "v1", NULL, NULL), 0);
    assert_int_equal(delete_if(&s, "v1", NULL), -ERR_DENIED);
    assert_int_equal(delete_if(&s, "v2", NULL), -ERR_NOTFOUND);
    assert_int_equal(delete_manifest(&s, "one", &refusal), -ERR_DENIED);
    assert_string_equal(refusal.tag, "v1");
    assert_int_equal(set_tags(&s, sets, 2, &refusal), -ERR_DENIED);
    assert_true(tag_is(&s, "v1", "one") && tag_is(&s, "t", "two"));
    sets[0].remove = true;
    sets[1].digest = digest_of_image("one");
    assert_int_equal(set_tags(&s, sets, 2, &refusal), 0);
    /* A new tag of the pattern may be made, and is then immutable, too. */
    assert_int_equal(put_if(&s, "two", "v2", NULL, NULL), 0);
    assert_int_equal(put_if(&s, "one", "v2", NULL, NULL), -ERR_DENIED);
    assert_int_equal(settle(&s, "{}"), 0);
    assert_int_equal(delete_manifest(&s, "one", &refusal), 0);
    assert_true(tag_is(&s, "v1", NULL));
    site_close(&s);
    store_free(store);
}

static int count_overrides(const struct objlog_entry *e, void *arg)
{
    unsigned *said = arg;

    for (size_t i = 0; i < json_len(e->ops); i++)
        *said += json_get(json_at(e->ops, i), "override") != NULL;
    return 0;
}

/* How often the log says that it is an override. */
static unsigned overrides_said(struct site *s)
{
    struct repo *r auto_repo = repo_of(s, REPO);
    unsigned said = 0;

    assert_int_equal(repo_refresh(r, NULL), 0);
    for (uint64_t seq = 1; seq <= repo_seq(r); seq++)
        assert_int_equal(repo_read(r, seq, count_overrides, &said, NULL), 0);
    return said;
}

/* Who asks to is not held back, and the log says so; nobody else is let through by it. */
static void test_override(void **state)
{
    static const struct repo_who boss = {.by = {"boss", 4}, .req = {"o", 1}, .override = true};
    struct taglog_set sets[] = {{.tag = STR("v1"), .digest = digest_of_image("one")},
                                {.tag = STR("v2"), .remove = true}};
    struct digest one = digest_of_image("one");
    struct store *store = mem_store();
    struct site s;
    struct repo *r auto_repo = NULL;
    struct asked a;
    struct repo_refusal refusal;

    (void)state;
    site_open(&s, store, REFERENCES_STRICT, NULL);
    add_blob(&s, REPO, "config");
    r = repo_of(&s, REPO);
    assert_int_equal(settle(&s, IMMUTABLE), 0);
    assert_int_equal(put_if(&s, "one", "v1", NULL, NULL), 0);
    assert_int_equal(put_if(&s, "one", "v2", NULL, NULL), 0);
    assert_int_equal(overrides_said(&s), 0);
    assert_int_equal(put_by(&s, "two", "v1", NULL, &boss, NULL), 0);
    assert_true(tag_is(&s, "v1", "two"));
    assert_int_equal(overrides_said(&s), 1);
    assert_int_equal(put_if(&s, "one", "v1", NULL, NULL), -ERR_DENIED);
    /* Conditions hold for everybody; what changes nothing is no entry. */
    assert_int_equal(put_by(&s, "one", "v1", ask(&a, '=', "one"), &boss, NULL), -ERR_CONDITION);
    assert_int_equal(put_by(&s, "two", "v1", NULL, &boss, NULL), 0);
    assert_int_equal(overrides_said(&s), 1);
    assert_int_equal(repo_set_tags(r, sets, 2, &who, &refusal, NULL), -ERR_DENIED);
    assert_int_equal(repo_set_tags(r, sets, 2, &boss, &refusal, NULL), 0);
    assert_true(tag_is(&s, "v1", "one") && tag_is(&s, "v2", NULL));
    assert_int_equal(repo_delete_manifest(r, &one, &who, NULL), -ERR_DENIED);
    assert_int_equal(repo_delete_manifest(r, &one, &boss, NULL), 0);
    assert_int_equal(put_by(&s, "two", "v3", NULL, &boss, NULL), 0);
    assert_int_equal(repo_delete_tag_if(r, STR("v3"), NULL, &boss, &refusal, NULL), 0);
    assert_true(tag_is(&s, "v3", NULL));
    assert_int_equal(overrides_said(&s), 5);
    repo_unrefp(&r);
    site_close(&s);
    store_free(store);
}

static void race_settle(void *arg)
{
    struct race *r = arg;

    r->result = settle(&r->b, IMMUTABLE);
}

/* Another node's settings come between the check and the entry. */
static void test_immutable_meanwhile(void **state)
{
    struct race r = {.salt = "theirs"};

    (void)state;
    r.inner = mem_store();
    r.store = watched_store(&r.w, r.inner);
    site_open(&r.a, r.store, REFERENCES_STRICT, NULL);
    site_open(&r.b, r.inner, REFERENCES_STRICT, NULL);
    add_blob(&r.a, REPO, "config");
    assert_int_equal(put_if(&r.a, "one", "v1", NULL, NULL), 0);
    watch_hook(&r.w, "create", "repos/" REPO "/_log/", race_settle, &r);
    assert_int_equal(put_if(&r.a, "two", "v1", NULL, NULL), -ERR_DENIED);
    assert_int_equal(r.result, 0);
    assert_true(tag_is(&r.a, "v1", "one"));
    assert_int_equal(settle(&r.b, "{}"), 0);
    watch_hook(&r.w, "create", "repos/" REPO "/_log/", race_settle, &r);
    assert_int_equal(delete_manifest(&r.a, "one", NULL), -ERR_DENIED);
    assert_int_equal(settle(&r.b, "{}"), 0);
    watch_hook(&r.w, "create", "repos/" REPO "/_log/", race_settle, &r);
    assert_int_equal(delete_if(&r.a, "v1", NULL), -ERR_DENIED);
    site_close(&r.a);
    site_close(&r.b);
    store_free(r.store);
}

static void put_different(unsigned index, void *arg)
{
    struct crowd *c = arg;
    char salt[16];

    snprintf(salt, sizeof(salt), "new-%u", index);
    if (index == 0) {
        c->errors[index] = put_if(&c->s, "hold", "hold", NULL, NULL);
        return;
    }
    clock_sleep_ms(IN_FLIGHT_MS / 3);
    if (index == 1)
        c->errors[index] = settle(&c->s, "{\"immutable\":[\"v*\",\"w*\"]}");
    else
        c->errors[index] = put_if(&c->s, salt, "v1", NULL, NULL);
}

/* Of many in one batch that make one immutable tag, one does; those behind settings are judged by
 * them. */
static void test_immutable_in_one_batch(void **state)
{
    struct watch w;
    struct store *store = watched_store(&w, mem_store());
    struct crowd c = {.errors = {0}};
    unsigned done = 0;

    (void)state;
    site_open(&c.s, store, REFERENCES_STRICT, NULL);
    add_blob(&c.s, REPO, "config");
    assert_int_equal(settle(&c.s, IMMUTABLE), 0);
    w.log_delay_ms = IN_FLIGHT_MS;
    run_threads(WRITERS, put_different, &c);
    assert_int_equal(c.errors[1], 0);
    for (unsigned i = 2; i < WRITERS; i++) {
        check(c.errors[i] == 0 || c.errors[i] == -ERR_DENIED, "%s", err_name(c.errors[i]));
        done += c.errors[i] == 0;
    }
    assert_int_equal(done, 1);
    site_close(&c.s);
    store_free(store);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_put),
        cmocka_unit_test(test_put_without_tags),
        cmocka_unit_test(test_delete),
        cmocka_unit_test(test_recorded),
        cmocka_unit_test(test_lost),
        cmocka_unit_test(test_one_batch),
        cmocka_unit_test(test_sets),
        cmocka_unit_test(test_immutable),
        cmocka_unit_test(test_override),
        cmocka_unit_test(test_immutable_meanwhile),
        cmocka_unit_test(test_immutable_in_one_batch),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
