/* Groups of operations by many threads on one and on two nodes: everything answered is in the
 * history exactly once (I2), waiting operations share entries, removals are done once, memberships
 * hold. */
#include "fixture.h"

#include <stdio.h>

#include "base/clock.h"

#define REPO "library/app"

static const struct repo_who who = {.by = {"tester", 6}, .req = {"r", 1}};

static struct image image_of(const char *salt)
{
    return (struct image){.config = "config", .layers = {"one", "two"}, .salt = salt};
}

static void add_content(struct site *s, const char *repo)
{
    add_blob(s, repo, "config");
    add_blob(s, repo, "one");
    add_blob(s, repo, "two");
}

static bool has_tag(struct site *s, const char *tag)
{
    struct repo *r auto_repo = repo_of(s, REPO);
    struct repo_manifest m;

    assert_int_equal(repo_refresh(r, NULL), 0);
    return repo_tag(r, str_of(tag), &m) == 0;
}

static unsigned entries(struct store *store)
{
    return check_log(store, "repos/" REPO, true);
}

#define WRITERS 8
#define PUSHES  25

struct crowd {
    struct site sites[2];
    int errors[2 * WRITERS];
    bool removed[2 * WRITERS];
};

static void push_many(unsigned index, void *arg)
{
    struct crowd *c = arg;
    struct site *s = &c->sites[index % 2];

    for (unsigned i = 0; i < PUSHES && c->errors[index] == 0; i++) {
        char tag[32];
        struct image image = image_of(tag);
        struct buf body auto_buf = BUF_INIT(MANIFEST_BYTES_MAX);
        struct manifest m auto_manifest = {.doc = NULL};
        struct buf missing auto_buf = BUF_INIT(4096);
        struct repo *r auto_repo = NULL;
        struct str name = {tag, 0};
        struct repo_put put = {.manifest = &m, .tags = &name, .tag_count = 1};
        int e;

        name.len = (size_t)snprintf(tag, sizeof(tag), "tag-%u-%u", index, i);
        image_body(&image, &body);
        put.body = buf_str(&body);
        body_digest(put.body, &put.digest);
        e = manifest_parse(put.body, STR_NONE, &m, NULL);
        if (e == 0)
            e = repo_get(s->repos, STR(REPO), &r, NULL);
        if (e == 0)
            e = repo_put(r, &put, &who, &missing, NULL);
        if (e == 0 && i % 5 == 4) /* some go at once */
            e = repo_delete_tag(r, name, &who, NULL);
        c->errors[index] = e;
    }
}

struct history_check {
    unsigned puts, removals, batches, batched_max;
};

static void count_entry(const struct json *root, struct history_check *h)
{
    const struct json *ops = json_get(root, "ops");
    unsigned n = 0;

    for (size_t i = 0; i < json_len(ops); i++) {
        struct str op = json_str(json_get(json_at(ops, i), "op"));

        h->puts += str_eq(op, STR("put"));
        h->removals += str_eq(op, STR("tags"));
        n++;
    }
    h->batches++;
    h->batched_max = n > h->batched_max ? n : h->batched_max;
}

static void read_entry(struct store *store, unsigned seq, struct buf *raw, struct json_doc **doc)
{
    char key[256];

    snprintf(key, sizeof(key), "repos/" REPO "/_log/%016u/%020u", seq / 10000, seq);
    read_object(store, key, raw);
    assert_int_equal(json_parse(buf_str(raw), doc, NULL), 0);
}

static void read_history(struct store *store, unsigned count, struct history_check *h)
{
    for (unsigned i = 1; i <= count; i++) {
        struct buf raw auto_buf = BUF_INIT(OBJLOG_ENTRY_MAX);
        struct json_doc *doc auto_json = NULL;

        read_entry(store, i, &raw, &doc);
        count_entry(json_root(doc), h);
    }
}

/* Two nodes, eight threads each: everything that was answered stands exactly once in a dense log,
 * and both nodes see the same. */
static void test_two_nodes_many_writers(void **state)
{
    struct watch w;
    struct store *store = watched_store(&w, mem_store());
    struct crowd c = {.errors = {0}};
    struct history_check h = {0};
    unsigned count;

    (void)state;
    for (int i = 0; i < 2; i++)
        site_open(&c.sites[i], store, REFERENCES_STRICT, NULL);
    add_content(&c.sites[0], REPO);
    w.log_delay_ms = 1;
    run_threads(2 * WRITERS, push_many, &c);
    for (unsigned i = 0; i < 2 * WRITERS; i++)
        check(c.errors[i] == 0, "writer %u: %s", i, err_name(c.errors[i]));
    count = entries(store);
    read_history(store, count, &h);
    assert_int_equal(h.puts, 2 * WRITERS * PUSHES);
    assert_int_equal(h.removals, 2 * WRITERS * PUSHES / 5);
    for (unsigned i = 0; i < 2 * WRITERS * PUSHES; i++) {
        char tag[32];
        bool stays = i % PUSHES % 5 != 4;

        snprintf(tag, sizeof(tag), "tag-%u-%u", i / PUSHES, i % PUSHES);
        check(has_tag(&c.sites[0], tag) == stays, "%s", tag);
        check(has_tag(&c.sites[1], tag) == stays, "%s", tag);
    }
    print_message("%u operations in %u entries, largest batch %u\n", h.puts + h.removals, count,
                  h.batched_max);
    check(h.batched_max > 1, "nothing was batched");
    for (int i = 0; i < 2; i++)
        site_close(&c.sites[i]);
    store_free(store);
}

/* One node, slow creates: the waiting operations share entries. */
static void test_groups(void **state)
{
    struct watch w;
    struct store *store = watched_store(&w, mem_store());
    struct crowd c = {.errors = {0}};
    unsigned count;

    (void)state;
    for (int i = 0; i < 2; i++)
        site_open(&c.sites[i], store, REFERENCES_STRICT, NULL);
    add_content(&c.sites[0], REPO);
    site_close(&c.sites[1]);
    c.sites[1] = c.sites[0];
    w.log_delay_ms = 5;
    run_threads(2 * WRITERS, push_many, &c);
    for (unsigned i = 0; i < 2 * WRITERS; i++)
        assert_int_equal(c.errors[i], 0);
    count = entries(store);
    check(count < 2 * WRITERS * PUSHES / 4, "%u entries", count);
    print_message("%u operations in %u entries\n", 2 * WRITERS * PUSHES * 6 / 5, count);
    site_close(&c.sites[0]);
    store_free(store);
}

/* ---- fairness */

#define RIVAL_MS 1500

struct rivals {
    struct site sites[2];
    int errors[2];
    unsigned done[2];
    int64_t longest_ms[2]; /* of one push */
    int64_t end_ms;
};

static void push_until(unsigned index, void *arg)
{
    struct rivals *c = arg;

    while (clock_boot_ms() < c->end_ms && c->errors[index] == 0) {
        int64_t begun = clock_boot_ms(), took;
        char salt[32];
        struct image image = image_of(salt);

        snprintf(salt, sizeof(salt), "%u-%u", index, c->done[index]);
        c->errors[index] = put_image(&c->sites[index], REPO, &image, salt);
        took = clock_boot_ms() - begun;
        c->longest_ms[index] = took > c->longest_ms[index] ? took : c->longest_ms[index];
        c->done[index]++;
    }
}

/* Of two nodes that write without a pause the one whose store is slower does not starve: who won a
 * number leaves the next one to others. */
static void test_winner_yields(void **state)
{
    struct watch fast, slow;
    struct store *inner = mem_store();
    struct store *stores[] = {watched_store(&fast, inner), watched_store(&slow, inner)};
    struct rivals c = {.errors = {0}};

    (void)state;
    for (int i = 0; i < 2; i++)
        site_open(&c.sites[i], stores[i], REFERENCES_STRICT, NULL);
    add_content(&c.sites[0], REPO);
    fast.log_delay_ms = 10;
    slow.log_delay_ms = 15;
    c.end_ms = clock_boot_ms() + RIVAL_MS;
    run_threads(2, push_until, &c);
    print_message("%u and %u entries, longest %lld and %lld ms\n", c.done[0], c.done[1],
                  (long long)c.longest_ms[0], (long long)c.longest_ms[1]);
    assert_int_equal(c.errors[0] + c.errors[1], 0);
    check(c.done[1] * 5 >= c.done[0], "the slower one starves");
    for (int i = 0; i < 2; i++)
        site_close(&c.sites[i]);
    store_free(stores[0]); /* and the inner one, which both wrap: */
    free(stores[1]);       /* of the other only the shell is left */
}

#define IN_FLIGHT_MS 150 /* an entry is on its way for so long, others gather meanwhile */

/* The first of each node holds its log, the others wait for it. */
static int hold_log(struct site *s, unsigned index)
{
    char tag[16];
    struct image image = image_of(tag);

    snprintf(tag, sizeof(tag), "hold-%u", index);
    return put_image(s, REPO, &image, tag);
}

static void remove_same(unsigned index, void *arg)
{
    struct crowd *c = arg;
    struct repo *r auto_repo = NULL;
    int e = repo_get(c->sites[index % 2].repos, STR(REPO), &r, NULL);

    if (index < 2) {
        c->errors[index] = hold_log(&c->sites[index], index);
        return;
    }
    clock_sleep_ms(IN_FLIGHT_MS / 3);
    if (e == 0)
        e = repo_delete_tag(r, STR("t"), &who, NULL);
    c->removed[index] = e == 0;
    c->errors[index] = e;
}

/* Of many that remove one tag exactly one has done it, also of those in one batch. */
static void test_one_removal(void **state)
{
    struct watch w;
    struct store *store = watched_store(&w, mem_store());
    struct crowd c = {.errors = {0}};
    struct history_check h = {0};
    struct image image = image_of(NULL);
    unsigned done = 0;

    (void)state;
    for (int i = 0; i < 2; i++)
        site_open(&c.sites[i], store, REFERENCES_STRICT, NULL);
    add_content(&c.sites[0], REPO);
    assert_int_equal(put_image(&c.sites[0], REPO, &image, "t"), 0);
    w.log_delay_ms = IN_FLIGHT_MS;
    run_threads(2 * WRITERS, remove_same, &c);
    for (unsigned i = 0; i < 2 * WRITERS; i++) {
        check(i < 2 ? c.errors[i] == 0 : c.removed[i] || c.errors[i] == -ERR_NOTFOUND,
              "thread %u: %s", i, err_name(c.errors[i]));
        done += c.removed[i];
    }
    assert_int_equal(done, 1);
    read_history(store, entries(store), &h);
    assert_int_equal(h.removals, 1);
    for (int i = 0; i < 2; i++)
        site_close(&c.sites[i]);
    store_free(store);
}

/* In an entry: no put with a ref that an operation before it took away. */
static void check_order(struct store *store, unsigned count, struct str digest)
{
    for (unsigned i = 1; i <= count; i++) {
        struct buf raw auto_buf = BUF_INIT(OBJLOG_ENTRY_MAX);
        struct json_doc *doc auto_json = NULL;
        const struct json *ops;
        bool unlinked = false;

        read_entry(store, i, &raw, &doc);
        ops = json_get(json_root(doc), "ops");
        for (size_t j = 0; j < json_len(ops); j++) {
            const struct json *refs = json_get(json_at(ops, j), "refs");

            unlinked |= str_eq(json_str(json_get(json_at(ops, j), "op")), STR("unlink"));
            for (size_t k = 0; unlinked && k < json_len(refs); k++)
                check(!str_eq(json_str(json_at(json_at(refs, k), 0)), digest), "entry %u", i);
        }
    }
}

struct shelf {
    struct site s;
    int errors[2 * WRITERS];
};

static void push_and_unlink(unsigned index, void *arg)
{
    struct shelf *sh = arg;
    struct digest one = digest_named("one");
    struct repo *r auto_repo = NULL;
    int e = repo_get(sh->s.repos, STR(REPO), &r, NULL);

    for (unsigned i = 0; i < PUSHES && e == 0; i++) {
        char salt[32];
        struct image image = image_of(salt);
        struct buf body auto_buf = BUF_INIT(MANIFEST_BYTES_MAX);
        struct manifest m auto_manifest = {.doc = NULL};
        struct buf missing auto_buf = BUF_INIT(4096);
        struct repo_put put = {.manifest = &m};

        if (index % 4 == 0) {
            e = repo_unlink_blob(r, &one, &who, NULL);
            if (e == 0 || e == -ERR_NOTFOUND)
                e = blob_link_create(sh->s.blobs, STR(REPO), &one, link_u_of(r, &one), NULL);
            continue;
        }
        snprintf(salt, sizeof(salt), "%u-%u", index, i);
        image_body(&image, &body);
        put.body = buf_str(&body);
        body_digest(put.body, &put.digest);
        e = manifest_parse(put.body, STR_NONE, &m, NULL);
        if (e == 0)
            e = repo_put(r, &put, &who, &missing, NULL);
        if (e == -ERR_MISSING_REF)
            e = 0;
    }
    sh->errors[index] = e;
}

/* Pushes and unlinks of one blob at once: in the log no put has a ref in the entry of, or without a
 * link since, its last unlink; a second node that reads the log agrees about what is readable. */
static void test_unlinks_among_puts(void **state)
{
    struct watch w;
    struct store *store = watched_store(&w, mem_store());
    struct shelf sh = {.errors = {0}};
    struct site fresh;
    struct digest one = digest_named("one");

    (void)state;
    site_open(&sh.s, store, REFERENCES_STRICT, NULL);
    add_content(&sh.s, REPO);
    w.log_delay_ms = 1;
    run_threads(WRITERS, push_and_unlink, &sh);
    for (unsigned i = 0; i < WRITERS; i++)
        check(sh.errors[i] == 0, "thread %u: %s", i, err_name(sh.errors[i]));
    site_open(&fresh, store, REFERENCES_STRICT, NULL);
    assert_true(blob_readable(&fresh, REPO, "one") == blob_readable(&sh.s, REPO, "one"));
    check_order(store, entries(store), text_of(&one));
    site_close(&fresh);
    site_close(&sh.s);
    store_free(store);
}

static void unlink_then_put(unsigned index, void *arg)
{
    struct shelf *sh = arg;
    struct image image = image_of("after");
    struct digest one = digest_named("one");
    struct repo *r auto_repo = NULL;

    if (index == 0) {
        sh->errors[index] = hold_log(&sh->s, index);
        return;
    }
    clock_sleep_ms((int64_t)index * IN_FLIGHT_MS / 4);
    sh->errors[index] = repo_get(sh->s.repos, STR(REPO), &r, NULL);
    if (sh->errors[index] == 0)
        sh->errors[index] = index == 1 ? repo_unlink_blob(r, &one, &who, NULL)
                                       : put_image(&sh->s, REPO, &image, "after");
}

/* A put that waits behind an unlink of one of its blobs is judged after it. */
static void test_unlink_before_put(void **state)
{
    struct watch w;
    struct store *store = watched_store(&w, mem_store());
    struct shelf sh = {.errors = {0}};
    struct digest one = digest_named("one");

    (void)state;
    site_open(&sh.s, store, REFERENCES_STRICT, NULL);
    add_content(&sh.s, REPO);
    w.log_delay_ms = IN_FLIGHT_MS;
    run_threads(3, unlink_then_put, &sh);
    assert_int_equal(sh.errors[0], 0);
    assert_int_equal(sh.errors[1], 0);
    /* On a very busy machine the put may come first. */
    assert_true(sh.errors[2] == 0 || sh.errors[2] == -ERR_MISSING_REF);
    assert_false(blob_readable(&sh.s, REPO, "one"));
    check_order(store, entries(store), text_of(&one));
    site_close(&sh.s);
    store_free(store);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_two_nodes_many_writers),
        cmocka_unit_test(test_groups),
        cmocka_unit_test(test_one_removal),
        cmocka_unit_test(test_winner_yields),
        cmocka_unit_test(test_unlinks_among_puts),
        cmocka_unit_test(test_unlink_before_put),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
