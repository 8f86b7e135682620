/* What surrounds a repository's entries: the catalog before, the marker of changes before, large
 * manifests whose refs lie in their records (B15), operations of newer versions, damaged records.
 */
#include "fixture.h"

#include <stdio.h>

#include "base/clock.h"

#define REPO   "library/app"
#define LAYERS 2000

static const struct repo_who who = {.by = {"tester", 6}, .req = {"r", 1}};

static unsigned find_key(const struct watch *w, const char *part)
{
    for (unsigned i = 0; i < w->creates && i < WATCH_KEYS_MAX; i++)
        if (strstr(w->keys[i], part))
            return i;
    fail_msg("nothing like %s was created", part);
    return 0;
}

static struct image image_of(const char *salt)
{
    return (struct image){.config = "config", .layers = {"one"}, .salt = salt};
}

/* B20 and the marker: both stand before the first entry; then a push costs its record and its
 * entry. */
static void test_order_of_first_push(void **state)
{
    struct watch w;
    struct store *store = watched_store(&w, mem_store());
    struct site s;
    struct image image = image_of(NULL), second = image_of("second");
    unsigned record, catalog, marker, entry;

    (void)state;
    site_open(&s, store, REFERENCES_STRICT, NULL);
    add_blob(&s, REPO, "config");
    add_blob(&s, REPO, "one");
    watch_clear(&w);
    assert_int_equal(put_image(&s, REPO, &image, "t"), 0);
    record = find_key(&w, "blobs/");
    catalog = find_key(&w, "catalog/_log/");
    marker = find_key(&w, "changes/");
    entry = find_key(&w, "repos/" REPO "/_log/");
    assert_true(record < entry && catalog < entry && marker < entry);
    assert_true(w.creates == 4 || w.creates == 5); /* near the end of ten minutes a second marker */
    watch_clear(&w);
    assert_int_equal(put_image(&s, REPO, &second, "t"), 0);
    assert_true(w.creates == 2 || w.creates == 3);
    site_close(&s);
    store_free(store);
}

/* No entry without its place in the catalog. */
static void test_catalog_fails(void **state)
{
    struct watch w;
    struct store *store = watched_store(&w, mem_store());
    struct site s;
    struct image image = image_of(NULL);

    (void)state;
    site_open(&s, store, REFERENCES_NONE, NULL);
    watch_fail(&w, "create", "catalog/_log/", -ERR_NOSPACE, 1000);
    assert_int_equal(put_image(&s, REPO, &image, "t"), -ERR_NOSPACE);
    assert_int_equal(count_objects(store, "repos/"), 0);
    watch_fail(&w, "create", "never", 0, 0);
    assert_int_equal(put_image(&s, REPO, &image, "t"), 0);
    site_close(&s);
    store_free(store);
}

static int catch_key(struct str key, const struct store_info *info, void *arg)
{
    (void)info;
    snprintf(arg, STORE_KEY_MAX, STR_FMT, STR_ARG(key));
    return 0;
}

static void test_marker(void **state)
{
    struct store *store = mem_store();
    struct site s;
    struct image image = image_of(NULL);
    struct buf text auto_buf = BUF_INIT(256);
    char key[STORE_KEY_MAX + 1] = "";

    (void)state;
    site_open(&s, store, REFERENCES_NONE, NULL);
    assert_int_equal(put_image(&s, REPO, &image, "t"), 0);
    assert_int_equal(store_list(store, STR("changes/"), STR_NONE, 10, catch_key, key, NULL), 0);
    assert_int_equal(strlen(key), strlen("changes/202611220750/" REPO "/_"));
    assert_true(str_ends(str_of(key), STR("0/" REPO "/_")));
    read_object(store, key, &text);
    assert_string_equal(buf_c(&text), "{\"v\":1,\"seq\":1}");
    site_close(&s);
    store_free(store);
}

/* ---- ext */

static void layer_name(unsigned i, char out[32])
{
    snprintf(out, 32, "layer %u", i);
}

static void large_body(struct buf *body)
{
    struct digest config = digest_named("config"), subject = digest_named("subject");

    buf_addf(body,
             "{\"schemaVersion\":2,\"config\":{\"mediaType\":\"c/d\",\"digest\":\"%s\","
             "\"size\":6},\"subject\":{\"mediaType\":\"" MEDIA_OCI_MANIFEST
             "\",\"digest\":\"%s\",\"size\":1},\"annotations\":{\"note\":\"long\"},\"layers\":[",
             text_of(&config).at, text_of(&subject).at);
    for (unsigned i = 0; i < LAYERS; i++) {
        char name[32];
        struct digest d;

        layer_name(i, name);
        d = digest_named(name);
        buf_addf(body, "%s{\"mediaType\":\"%s\",\"digest\":\"%s\",\"size\":7}", i ? "," : "",
                 i == 5 ? "application/vnd.oci.image.layer.nondistributable.v1.tar" : "a/b",
                 text_of(&d).at);
    }
    buf_add(body, STR("]}"));
    assert_int_equal(buf_err(body), 0);
}

static void add_layers(struct site *s)
{
    add_blob(s, REPO, "config");
    for (unsigned i = 0; i < LAYERS; i++) {
        char name[32];

        layer_name(i, name);
        add_blob(s, i == 5 ? "library/other" : REPO, name);
    }
}

static void remove_links(struct site *s)
{
    for (unsigned i = 0; i < LAYERS; i++) {
        char name[32];
        struct digest d;

        layer_name(i, name);
        d = digest_named(name);
        assert_int_equal(blob_link_remove(s->blobs, STR(REPO), &d, 0, NULL), 0);
    }
}

static int see_note(const struct repo_referrer *ref, void *arg)
{
    assert_true(str_eq(ref->annotations, STR("{\"note\":\"long\"}")));
    ++*(unsigned *)arg;
    return 0;
}

static void check_large(struct site *s)
{
    struct digest subject = digest_named("subject");
    struct repo *r = repo_of(s, REPO);
    unsigned count = 0;

    assert_int_equal(repo_refresh(r, NULL), 0);
    assert_int_equal(repo_referrers(r, &subject, STR_NONE, see_note, &count), 0);
    assert_int_equal(count, 1);
    repo_unref(r);
    assert_true(blob_readable(s, REPO, "layer 0"));
    assert_true(blob_readable(s, REPO, "layer 1999"));
    assert_false(blob_readable(s, REPO, "layer 5")); /* foreign: of another repository */
}

/* B15: the entry stays small; refs, annotations and what is foreign are the same on every node. */
static void test_ext(void **state)
{
    static const char *const tags[] = {"t", NULL};
    struct watch w;
    struct store *store = watched_store(&w, mem_store());
    struct site s, other;
    struct buf body auto_buf = BUF_INIT(MANIFEST_BYTES_MAX);
    struct buf entry auto_buf = BUF_INIT(OBJLOG_ENTRY_MAX);

    (void)state;
    site_open(&s, store, REFERENCES_STRICT, NULL);
    site_open(&other, store, REFERENCES_STRICT, NULL);
    repo_unref(repo_of(&other, REPO));
    add_layers(&s);
    large_body(&body);
    assert_int_equal(put_body(&s, REPO, buf_str(&body), tags, NULL), 0);
    read_object(store, "repos/" REPO "/_log/0000000000000000/00000000000000000001", &entry);
    assert_true(entry.len < 2000);
    assert_non_null(strstr(buf_c(&entry), "\"ext\":true,\"foreign\":[\"sha256:"));
    remove_links(&s);
    check_large(&s);
    check_large(&other);
    watch_clear(&w);
    assert_int_equal(put_body(&s, REPO, buf_str(&body), tags, NULL), 0); /* R97 */
    assert_int_equal(w.creates, 0);
    site_close(&s);
    site_close(&other);
    site_open(&s, store, REFERENCES_STRICT, NULL);
    check_large(&s);
    site_close(&s);
    store_free(store);
}

/* A record that cannot be read does not stop the repository; it grants nothing. */
static void test_ext_unreadable(void **state)
{
    static const char *const tags[] = {"t", NULL};
    struct store *store = mem_store();
    struct site s;
    struct buf body auto_buf = BUF_INIT(MANIFEST_BYTES_MAX);
    struct buf key auto_buf = BUF_INIT(STORE_KEY_MAX);
    struct image image = image_of(NULL);
    struct repo_manifest m;
    struct digest d;
    struct repo *r;

    (void)state;
    site_open(&s, store, REFERENCES_NONE, NULL);
    add_layers(&s);
    large_body(&body);
    body_digest(buf_str(&body), &d);
    assert_int_equal(put_body(&s, REPO, buf_str(&body), tags, NULL), 0);
    remove_links(&s);
    site_close(&s);
    keys_record(&key, &d, 0);
    assert_int_equal(store_remove(store, buf_str(&key), STORE_RECORD, NULL), 0);
    site_open(&s, store, REFERENCES_NONE, NULL);
    r = repo_of(&s, REPO);
    assert_int_equal(repo_refresh(r, NULL), 0);
    assert_int_equal(repo_tag(r, STR("t"), &m), 0);
    repo_unref(r);
    assert_false(blob_readable(&s, REPO, "layer 0"));
    assert_int_equal(put_image(&s, REPO, &image, "u"), 0);
    site_close(&s);
    store_free(store);
}

/* ---- operations that this version does not know, and entries that are no entries */

static void append_ops(struct store *store, const char *ops)
{
    struct node *n = open_node(store);
    struct objlog *l = NULL;
    struct objlog_pos pos = {.seq = 0};
    struct objlog_spec spec = {
        .prefix = STR("repos/" REPO), .name = STR(REPO), .deep = true, .cls = STORE_LOG};

    assert_int_equal(objlog_new(n, &spec, &l), 0);
    assert_int_equal(objlog_append(l, &pos, str_of(ops), STR_NONE, clock_boot_ms(), NULL, NULL), 0);
    objlog_free(l);
    node_free(n);
}

static void test_newer_operation(void **state)
{
    struct store *store = mem_store();
    struct site s;
    struct repo *r = NULL;
    struct err_detail detail = {{0}};

    (void)state;
    append_ops(store, "[{\"op\":\"rename\",\"by\":\"\",\"req\":\"\"}]");
    site_open(&s, store, REFERENCES_NONE, NULL);
    assert_int_equal(repo_get(s.repos, STR(REPO), &r, &detail), -ERR_VERSION);
    assert_non_null(strstr(detail.text, "newer version"));
    site_close(&s);
    store_free(store);
}

/* Seen by a node that had it open already: nothing is answered from a state that may be wrong. */
static void test_newer_operation_later(void **state)
{
    struct store *store = mem_store();
    struct site s;
    struct repo *r;
    struct digest d = digest_named("x");

    (void)state;
    site_open(&s, store, REFERENCES_NONE, NULL);
    r = repo_of(&s, REPO);
    append_ops(store, "[{\"op\":\"rename\",\"by\":\"\",\"req\":\"\"}]");
    assert_int_equal(repo_refresh_nowait(r), -ERR_AGAIN);
    assert_int_equal(repo_refresh(r, NULL), -ERR_VERSION);
    assert_int_equal(repo_refresh_nowait(r), -ERR_AGAIN);
    assert_int_equal(repo_refresh(r, NULL), -ERR_VERSION);
    assert_int_equal(repo_delete_manifest(r, &d, &who, NULL), -ERR_VERSION);
    repo_unref(r);
    site_close(&s);
    store_free(store);
}

/* An operation that does not follow the format: read-only, what was applied is read. */
static void test_malformed_operation(void **state)
{
    struct store *store = mem_store();
    struct site s;
    struct image image = image_of(NULL);
    struct repo *r;

    (void)state;
    append_ops(store, "[{\"op\":\"delete\",\"digest\":\"x\",\"by\":\"\",\"req\":\"\"}]");
    site_open(&s, store, REFERENCES_NONE, NULL);
    r = repo_of(&s, REPO);
    assert_int_equal(repo_refresh(r, NULL), 0);
    assert_int_equal(repo_refresh_nowait(r), 0);
    assert_false(repo_exists(r));
    assert_int_equal(put_image(&s, REPO, &image, "t"), -ERR_READONLY);
    repo_unref(r);
    site_close(&s);
    store_free(store);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_order_of_first_push),
        cmocka_unit_test(test_catalog_fails),
        cmocka_unit_test(test_marker),
        cmocka_unit_test(test_ext),
        cmocka_unit_test(test_ext_unreadable),
        cmocka_unit_test(test_newer_operation),
        cmocka_unit_test(test_newer_operation_later),
        cmocka_unit_test(test_malformed_operation),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
