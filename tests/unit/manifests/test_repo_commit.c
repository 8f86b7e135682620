/* Changes of a repository: reference rules (R88-R91, B14, I13), pushes that change nothing (R97),
 * deletion (R140-R142), races between nodes. */
#include "fixture.h"

#include <errno.h>
#include <fcntl.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include "base/clock.h"
#include "blobstore/keys.h"
#include "blobstore/store_dir_internal.h"

#define REPO  "library/app"
#define OTHER "library/other"

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

static int delete_tag(struct site *s, const char *tag)
{
    struct repo *r auto_repo = repo_of(s, REPO);

    return repo_delete_tag(r, str_of(tag), &who, NULL);
}

static int delete_manifest(struct site *s, const struct digest *d)
{
    struct repo *r auto_repo = repo_of(s, REPO);

    return repo_delete_manifest(r, d, &who, NULL);
}

static int unlink_blob(struct site *s, const char *name)
{
    struct repo *r auto_repo = repo_of(s, REPO);
    struct digest d = digest_named(name);

    return repo_unlink_blob(r, &d, &who, NULL);
}

static bool has_tag(struct site *s, const char *tag)
{
    struct repo *r auto_repo = repo_of(s, REPO);
    struct repo_manifest m;

    assert_int_equal(repo_refresh(r, NULL), 0);
    return repo_tag(r, str_of(tag), &m) == 0;
}

static bool has_manifest(struct site *s, const struct digest *d)
{
    struct repo *r auto_repo = repo_of(s, REPO);
    struct repo_manifest m;

    assert_int_equal(repo_refresh(r, NULL), 0);
    return repo_manifest(r, d, &m) == 0;
}

static unsigned entries(struct store *store)
{
    return check_log(store, "repos/" REPO, true);
}

/* ---- references */

/* R88: all that is missing is named, each once; nothing is stored. */
static void test_strict(void **state)
{
    struct store *store = mem_store();
    struct site s;
    struct image image = {.config = "config", .layers = {"two", "one", "two", "three", "one"}};
    struct buf body auto_buf = BUF_INIT(MANIFEST_BYTES_MAX);
    struct buf missing auto_buf = BUF_INIT(1 << 16);
    struct digest one = digest_named("one"), two = digest_named("two"), d;
    char want[512];

    (void)state;
    site_open(&s, store, REFERENCES_STRICT, NULL);
    add_blob(&s, REPO, "config");
    add_blob(&s, REPO, "three");
    add_blob(&s, OTHER, "one"); /* of another repository: as good as none */
    image_body(&image, &body);
    image_digest(&image, &d);
    assert_int_equal(put_body(&s, REPO, buf_str(&body), NULL, &missing), -ERR_MISSING_REF);
    snprintf(want, sizeof(want), "%s\n%s\n", text_of(&two).at, text_of(&one).at);
    assert_string_equal(buf_c(&missing), want);
    assert_false(has_manifest(&s, &d));
    assert_int_equal(count_objects(store, "repos/"), 0);
    add_blob(&s, REPO, "one");
    add_blob(&s, REPO, "two");
    assert_int_equal(put_body(&s, REPO, buf_str(&body), NULL, NULL), 0);
    assert_true(has_manifest(&s, &d));
    site_close(&s);
    store_free(store);
}

static int put_index(struct site *s, const char *const *digests, const char *type, const char *tag)
{
    struct buf body auto_buf = BUF_INIT(MANIFEST_BYTES_MAX);
    const char *tags[] = {tag, NULL};

    index_body(digests, type, &body);
    return put_body(s, REPO, buf_str(&body), tags, NULL);
}

/* R88, R90: manifests among manifests, others among blobs; never the one for the other. */
static void test_index(void **state)
{
    struct store *store = mem_store();
    struct site s;
    struct image image = image_of(NULL);
    struct digest m, one = digest_named("one");
    char manifest[DIGEST_TEXT_MAX], blob[DIGEST_TEXT_MAX];
    const char *manifests[] = {manifest, NULL}, *blobs[] = {blob, NULL};
    static const char cache[] = "application/vnd.buildkit.cacheconfig.v0";

    (void)state;
    image_digest(&image, &m);
    digest_text(&m, manifest);
    digest_text(&one, blob);
    site_open(&s, store, REFERENCES_STRICT, NULL);
    add_content(&s, REPO);
    assert_int_equal(put_index(&s, manifests, NULL, "i"), -ERR_MISSING_REF);
    assert_int_equal(put_image(&s, REPO, &image, NULL), 0);
    assert_int_equal(put_index(&s, manifests, NULL, "i"), 0);
    assert_int_equal(put_index(&s, blobs, cache, "i"), 0);
    assert_int_equal(put_index(&s, manifests, cache, "i"), -ERR_MISSING_REF);
    assert_int_equal(put_index(&s, blobs, NULL, "i"), -ERR_MISSING_REF);
    site_close(&s);
    store_free(store);
}

/* R91: what each policy lets pass. */
static void test_policies(void **state)
{
    static const struct {
        enum references policy;
        int index, image;
    } cases[] = {
        {REFERENCES_STRICT, -ERR_MISSING_REF, -ERR_MISSING_REF},
        {REFERENCES_INDEX_SPARSE, 0, -ERR_MISSING_REF},
        {REFERENCES_NONE, 0, 0},
    };

    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        struct store *store = mem_store();
        struct site s;
        struct image image = image_of(NULL);
        struct digest m = digest_named("nowhere");
        char text[DIGEST_TEXT_MAX];
        const char *list[] = {text, NULL};

        digest_text(&m, text);
        site_open(&s, store, cases[i].policy, NULL);
        check(put_index(&s, list, NULL, "i") == cases[i].index, "case %zu", i);
        check(put_index(&s, list, "application/octet-stream", "i") == cases[i].index, "case %zu",
              i);
        check(put_image(&s, REPO, &image, "t") == cases[i].image, "case %zu", i);
        site_close(&s);
        store_free(store);
    }
}

/* I13: whatever a manifest names without its being a member here stays unreadable, however it is
 * named. */
static void test_names_grant_nothing(void **state)
{
    static const char *const names[] = {"secret config", "secret layer", "secret subject"};
    struct store *store = mem_store();
    struct site s;
    struct image foreign = {.config = "config",
                            .layers = {"secret layer"},
                            .layer_type = "application/vnd.oci.image.layer.nondistributable.v1.tar",
                            .subject = "secret subject"};
    struct image lenient = {.config = "secret config", .layers = {"secret layer"}};
    struct digest secret = digest_named("secret layer");
    char text[DIGEST_TEXT_MAX];
    const char *list[] = {text, NULL};

    (void)state;
    digest_text(&secret, text);
    site_open(&s, store, REFERENCES_STRICT, NULL);
    for (size_t i = 0; i < ARRAY_LEN(names); i++)
        add_blob(&s, OTHER, names[i]);
    add_blob(&s, REPO, "config");
    assert_int_equal(put_image(&s, REPO, &foreign, "t"), 0);
    for (size_t i = 0; i < ARRAY_LEN(names); i++)
        check(!blob_readable(&s, REPO, names[i]), "%s", names[i]);
    site_close(&s);

    site_open(&s, store, REFERENCES_NONE, NULL);
    assert_int_equal(put_image(&s, REPO, &lenient, "t"), 0);
    assert_int_equal(put_index(&s, list, "application/octet-stream", "i"), 0);
    assert_int_equal(put_index(&s, list, NULL, "i"), 0);
    for (size_t i = 0; i < ARRAY_LEN(names); i++) {
        check(!blob_readable(&s, REPO, names[i]), "%s", names[i]);
        check(blob_readable(&s, OTHER, names[i]), "%s", names[i]);
    }
    /* Naming a digest twice, once unproven and once by oneself's own record, is no proof. */
    assert_int_equal(unlink_blob(&s, "secret layer"), -ERR_NOTFOUND);
    site_close(&s);
    store_free(store);
}

/* The manifest that a repository holds is no blob of it (B13). */
static void test_manifest_is_no_blob(void **state)
{
    struct store *store = mem_store();
    struct site s;
    struct image image = image_of(NULL);
    struct digest d;
    struct repo *r;
    struct blob_info info;

    (void)state;
    site_open(&s, store, REFERENCES_STRICT, NULL);
    add_content(&s, REPO);
    assert_int_equal(put_image(&s, REPO, &image, "t"), 0);
    image_digest(&image, &d);
    r = repo_of(&s, REPO);
    assert_int_equal(repo_blob(r, &d, &info, NULL), -ERR_NOTFOUND);
    assert_int_equal(repo_unlink_blob(r, &d, &who, NULL), -ERR_NOTFOUND);
    repo_unref(r);
    site_close(&s);
    store_free(store);
}

/* ---- unlink, link, put again (B11, B12) */

static void test_unlink(void **state)
{
    struct store *store = mem_store();
    struct site s;
    struct image image = image_of(NULL), second = image_of("second");
    struct digest one = digest_named("one");

    (void)state;
    site_open(&s, store, REFERENCES_STRICT, NULL);
    add_content(&s, REPO);
    add_content(&s, OTHER);
    assert_int_equal(put_image(&s, REPO, &image, "t"), 0);
    assert_int_equal(unlink_blob(&s, "one"), 0);
    assert_false(blob_readable(&s, REPO, "one"));
    assert_true(blob_readable(&s, OTHER, "one")); /* R142 */
    assert_int_equal(unlink_blob(&s, "one"), -ERR_NOTFOUND);
    assert_int_equal(put_image(&s, REPO, &second, "t"), -ERR_MISSING_REF);
    assert_int_equal(put_image(&s, REPO, &image, "t"), -ERR_MISSING_REF);
    /* The old link is meaningless, also if it comes back. */
    assert_int_equal(blob_link_create(s.blobs, STR(REPO), &one, 0, NULL), 0);
    assert_false(blob_readable(&s, REPO, "one"));
    add_blob(&s, REPO, "one");
    assert_true(blob_readable(&s, REPO, "one"));
    /* The same manifest again records the ref anew; then the link is not needed. */
    assert_int_equal(put_image(&s, REPO, &image, "t"), 0);
    assert_int_equal(blob_link_remove(s.blobs, STR(REPO), &one, 2, NULL), 0);
    assert_true(blob_readable(&s, REPO, "one"));
    assert_int_equal(entries(store), 3);
    site_close(&s);
    /* The same from the log alone. */
    site_open(&s, store, REFERENCES_STRICT, NULL);
    assert_true(blob_readable(&s, REPO, "one"));
    assert_int_equal(unlink_blob(&s, "one"), 0);
    assert_false(blob_readable(&s, REPO, "one"));
    site_close(&s);
    store_free(store);
}

static void test_deletes(void **state)
{
    struct store *store = mem_store();
    struct site s;
    struct image image = image_of(NULL);
    struct digest d, none = digest_named("none");

    (void)state;
    site_open(&s, store, REFERENCES_STRICT, NULL);
    add_content(&s, REPO);
    image_digest(&image, &d);
    assert_int_equal(delete_tag(&s, "t"), -ERR_NOTFOUND);
    assert_int_equal(delete_manifest(&s, &d), -ERR_NOTFOUND);
    assert_int_equal(put_image(&s, REPO, &image, "t"), 0);
    assert_int_equal(put_image(&s, REPO, &image, "u"), 0);
    assert_int_equal(delete_tag(&s, "t"), 0); /* R140: the manifest stays */
    assert_false(has_tag(&s, "t"));
    assert_true(has_tag(&s, "u"));
    assert_true(has_manifest(&s, &d));
    assert_int_equal(delete_tag(&s, "t"), -ERR_NOTFOUND);
    assert_int_equal(delete_manifest(&s, &none), -ERR_NOTFOUND);
    assert_int_equal(delete_manifest(&s, &d), 0); /* R141: with its tags */
    assert_false(has_manifest(&s, &d));
    assert_false(has_tag(&s, "u"));
    assert_int_equal(delete_manifest(&s, &d), -ERR_NOTFOUND);
    assert_int_equal(entries(store), 4);
    assert_true(blob_readable(&s, REPO, "one")); /* its own link */
    site_close(&s);
    store_free(store);
}

/* ---- R97 */

/* An unchanged push makes no object at all; any change makes an entry. */
static void test_unchanged(void **state)
{
    struct watch w;
    struct store *store = watched_store(&w, mem_store());
    struct site s;
    struct image image = image_of(NULL);

    (void)state;
    site_open(&s, store, REFERENCES_STRICT, NULL);
    add_content(&s, REPO);
    assert_int_equal(put_image(&s, REPO, &image, "t"), 0);
    watch_clear(&w);
    assert_int_equal(put_image(&s, REPO, &image, "t"), 0);
    assert_int_equal(put_image(&s, REPO, &image, NULL), 0);
    check(w.creates == 0, "%u created, first %s", w.creates, w.keys[0]);
    assert_int_equal(put_image(&s, REPO, &image, "u"), 0);
    check(w.creates == 1, "%u created, first %s", w.creates, w.keys[0]);
    assert_int_equal(unlink_blob(&s, "one"), 0);
    add_blob(&s, REPO, "one");
    watch_clear(&w);
    assert_int_equal(put_image(&s, REPO, &image, "u"), 0); /* its ref stood no more */
    check(w.creates == 1, "%u created, first %s", w.creates, w.keys[0]);
    watch_clear(&w);
    assert_int_equal(put_image(&s, REPO, &image, "u"), 0);
    assert_int_equal(w.creates, 0);
    site_close(&s);
    /* Another node sees it so, too. */
    site_open(&s, store, REFERENCES_STRICT, NULL);
    watch_clear(&w);
    assert_int_equal(put_image(&s, REPO, &image, "u"), 0);
    assert_int_equal(w.creates, 0);
    assert_int_equal(entries(store), 4);
    site_close(&s);
    store_free(store);
}

/* ---- races between nodes: something else happens just before the entry is created */

struct race {
    struct store *inner, *store;
    struct watch w;
    struct site a, b; /* a under the watch */
    int result;
    const char *name;
    struct digest digest;
    struct image image;
};

static void race_open(struct race *r, enum references policy)
{
    r->inner = mem_store();
    r->store = watched_store(&r->w, r->inner);
    site_open(&r->a, r->store, policy, NULL);
    site_open(&r->b, r->inner, policy, NULL);
    r->result = 1;
}

static void race_close(struct race *r)
{
    site_close(&r->a);
    site_close(&r->b);
    store_free(r->store);
}

static void race_unlink(void *arg)
{
    struct race *r = arg;

    r->result = unlink_blob(&r->b, r->name);
}

static void race_unlink_and_again(void *arg)
{
    struct race *r = arg;

    r->result = unlink_blob(&r->b, r->name);
    add_blob(&r->b, REPO, r->name);
}

static void race_delete(void *arg)
{
    struct race *r = arg;

    r->result = delete_manifest(&r->b, &r->digest);
}

static void race_put(void *arg)
{
    struct race *r = arg;

    r->result = put_image(&r->b, REPO, &r->image, r->name);
}

static void race_delete_tag(void *arg)
{
    struct race *r = arg;

    r->result = delete_tag(&r->b, r->name);
}

static void before_entry(struct race *r, void (*fn)(void *arg))
{
    watch_hook(&r->w, "create", "repos/" REPO "/_log/", fn, r);
}

/* A blob that leaves between validation and commit is not a ref: found missing, or found again by
 * its new link. */
static void test_lost_to_unlink(void **state)
{
    struct race r = {.name = "one"};
    struct image image = image_of(NULL);

    (void)state;
    race_open(&r, REFERENCES_STRICT);
    add_content(&r.a, REPO);
    before_entry(&r, race_unlink);
    assert_int_equal(put_image(&r.a, REPO, &image, "t"), -ERR_MISSING_REF);
    assert_int_equal(r.result, 0);
    assert_false(blob_readable(&r.a, REPO, "one"));
    add_blob(&r.a, REPO, "one");
    before_entry(&r, race_unlink_and_again);
    assert_int_equal(put_image(&r.a, REPO, &image, "t"), 0);
    assert_int_equal(r.result, 0);
    assert_true(blob_readable(&r.a, REPO, "one"));
    assert_int_equal(entries(r.inner), 3);
    race_close(&r);

    race_open(&r, REFERENCES_NONE);
    add_content(&r.a, REPO);
    before_entry(&r, race_unlink);
    assert_int_equal(put_image(&r.a, REPO, &image, "t"), 0);
    assert_int_equal(r.result, 0);
    assert_false(blob_readable(&r.a, REPO, "one")); /* I13: not recorded */
    assert_false(blob_readable(&r.b, REPO, "one"));
    assert_true(blob_readable(&r.b, REPO, "two"));
    race_close(&r);
}

/* A blob that was a member by a manifest alone, and that manifest goes. */
static void test_lost_to_delete(void **state)
{
    struct race r = {.name = "one"};
    struct image first = image_of("first"), second = image_of("second");
    struct digest one = digest_named("one");

    (void)state;
    race_open(&r, REFERENCES_STRICT);
    add_content(&r.a, REPO);
    assert_int_equal(put_image(&r.a, REPO, &first, NULL), 0);
    assert_int_equal(blob_link_remove(r.a.blobs, STR(REPO), &one, 0, NULL), 0);
    image_digest(&first, &r.digest);
    before_entry(&r, race_delete);
    assert_int_equal(put_image(&r.a, REPO, &second, NULL), -ERR_MISSING_REF);
    assert_int_equal(r.result, 0);
    race_close(&r);
}

/* An index whose child goes. */
static void test_lost_child(void **state)
{
    struct race r = {.name = NULL};
    struct image image = image_of(NULL);
    char text[DIGEST_TEXT_MAX];
    const char *list[] = {text, NULL};

    (void)state;
    race_open(&r, REFERENCES_STRICT);
    add_content(&r.a, REPO);
    assert_int_equal(put_image(&r.a, REPO, &image, NULL), 0);
    image_digest(&image, &r.digest);
    digest_text(&r.digest, text);
    before_entry(&r, race_delete);
    assert_int_equal(put_index(&r.a, list, NULL, "i"), -ERR_MISSING_REF);
    assert_int_equal(r.result, 0);
    race_close(&r);
}

/* Both tags stand, whoever was first; removals that another node did first are not found. */
static void test_lost_races(void **state)
{
    struct race r = {.name = "theirs", .image = image_of("theirs")};
    struct image image = image_of("mine");
    struct digest d;

    (void)state;
    race_open(&r, REFERENCES_STRICT);
    add_content(&r.a, REPO);
    before_entry(&r, race_put);
    assert_int_equal(put_image(&r.a, REPO, &image, "mine"), 0);
    assert_int_equal(r.result, 0);
    assert_true(has_tag(&r.a, "mine") && has_tag(&r.a, "theirs"));
    assert_true(has_tag(&r.b, "mine") && has_tag(&r.b, "theirs"));
    before_entry(&r, race_delete_tag);
    assert_int_equal(delete_tag(&r.a, "theirs"), -ERR_NOTFOUND);
    assert_int_equal(r.result, 0);
    image_digest(&image, &d);
    r.digest = d;
    before_entry(&r, race_delete);
    assert_int_equal(delete_manifest(&r.a, &d), -ERR_NOTFOUND);
    r.name = "two";
    before_entry(&r, race_unlink);
    assert_int_equal(unlink_blob(&r.a, "two"), -ERR_NOTFOUND);
    assert_int_equal(r.result, 0);
    assert_int_equal(entries(r.inner), 5);
    race_close(&r);
}

/* ---- failures */

static void test_failures(void **state)
{
    struct watch w;
    struct store *store = watched_store(&w, mem_store());
    struct site s;
    struct image image = image_of(NULL);

    (void)state;
    site_open(&s, store, REFERENCES_STRICT, NULL);
    add_content(&s, REPO);
    watch_fail(&w, "create", "blobs/", -ERR_NOSPACE, 1000);
    assert_int_equal(put_image(&s, REPO, &image, "t"), -ERR_NOSPACE);
    watch_fail(&w, "create", "changes/", -ERR_NOSPACE, 1000);
    assert_int_equal(put_image(&s, REPO, &image, "t"), -ERR_NOSPACE);
    watch_fail(&w, "create", "repos/" REPO "/_log/", -ERR_NOSPACE, 1000);
    assert_int_equal(put_image(&s, REPO, &image, "t"), -ERR_NOSPACE);
    assert_false(has_tag(&s, "t"));
    watch_fail(&w, "create", "never", 0, 0);
    assert_int_equal(put_image(&s, REPO, &image, "t"), 0);
    watch_fail(&w, "create", "repos/" REPO "/_log/", -ERR_NOSPACE, 1000);
    assert_int_equal(delete_tag(&s, "t"), -ERR_NOSPACE);
    assert_true(has_tag(&s, "t"));
    watch_fail(&w, "create", "never", 0, 0);
    assert_int_equal(delete_tag(&s, "t"), 0);
    site_close(&s);
    store_free(store);
}

/* ---- records whose name is owed to the entry (a directory with many writers) */

static atomic_uint syncs_of_all, syncs_of_one;
static unsigned fails_from, fails_to; /* of the syncs of everything, by number */

static int sync_all(int fd)
{
    unsigned n = atomic_fetch_add(&syncs_of_all, 1) + 1;

    (void)fd;
    if (n >= fails_from && n <= fails_to) {
        errno = EIO;
        return -1;
    }
    return 0;
}

static int sync_one(int fd)
{
    (void)fd;
    atomic_fetch_add(&syncs_of_one, 1);
    return 0;
}

/* A directory that shares syncs, as if many were syncing all the time. */
static struct store *busy_directory(const char *root)
{
    struct store *store = NULL;
    struct dir_syncs *syncs;

    assert_int_equal(store_dir_new(root, &store, NULL), 0);
    syncs = &((struct store_dir *)(void *)store)->syncs;
    if (syncs->meminfo < 0)
        syncs->meminfo = open("/dev/null", O_RDONLY | O_CLOEXEC);
    syncs->little = true;
    syncs->looked_ms = INT64_MAX / 2;
    syncs->slow_ms = INT64_MAX / 2;
    syncs->alone = 1000;
    store_dir_call_syncfs = sync_all;
    store_dir_call_fsync = store_dir_call_fdatasync = sync_one;
    return store;
}

static bool record_is_known(struct store *store, const struct image *image)
{
    struct buf key auto_buf = BUF_INIT(STORE_KEY_MAX);
    struct store_info info;
    struct digest d;

    image_digest(image, &d);
    keys_record(&key, &d, 0);
    return store_probe(store, buf_str(&key), &info) == 0;
}

static void test_owed(void **state)
{
    char root[256], command[300];
    const char *tmp = getenv("TMPDIR");
    struct image first = image_of("1"), second = image_of("2"), third = image_of("3");
    struct store *store;
    struct site s;

    (void)state;
    snprintf(root, sizeof(root), "%s/stowage-owed-XXXXXX", tmp ? tmp : "/tmp");
    assert_non_null(mkdtemp(root));
    store = busy_directory(root);
    site_open(&s, store, REFERENCES_NONE, NULL);
    assert_int_equal(put_image(&s, REPO, &first, "a"), 0); /* and what comes once */
    fails_from = fails_to = 0;
    atomic_store(&syncs_of_all, 0);
    atomic_store(&syncs_of_one, 0);
    assert_int_equal(put_image(&s, REPO, &second, "b"), 0);
    /* The record's bytes; its name and the entry's bytes; the entry's name. */
    assert_int_equal(atomic_load(&syncs_of_all), 3);
    assert_int_equal(atomic_load(&syncs_of_one), 0);
    assert_true(record_is_known(store, &second));
    /* When the second fails, and fails again, everything is synced by itself. */
    atomic_store(&syncs_of_all, 0);
    fails_from = 2;
    fails_to = 3;
    assert_int_equal(put_image(&s, REPO, &third, "c"), 0);
    assert_true(atomic_load(&syncs_of_one) >= 3);
    assert_true(record_is_known(store, &third));
    assert_true(has_tag(&s, "a") && has_tag(&s, "b") && has_tag(&s, "c"));
    assert_int_equal(entries(store), 3);
    ((struct store_dir *)(void *)store)->syncs.alone = 0;
    site_close(&s);
    store_free(store);
    store_dir_call_syncfs = syncfs;
    store_dir_call_fsync = fsync;
    store_dir_call_fdatasync = fdatasync;
    snprintf(command, sizeof(command), "rm -rf %s", root);
    assert_int_equal(system(command), 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_strict),
        cmocka_unit_test(test_index),
        cmocka_unit_test(test_policies),
        cmocka_unit_test(test_names_grant_nothing),
        cmocka_unit_test(test_manifest_is_no_blob),
        cmocka_unit_test(test_unlink),
        cmocka_unit_test(test_deletes),
        cmocka_unit_test(test_unchanged),
        cmocka_unit_test(test_lost_to_unlink),
        cmocka_unit_test(test_lost_to_delete),
        cmocka_unit_test(test_lost_child),
        cmocka_unit_test(test_lost_races),
        cmocka_unit_test(test_failures),
        cmocka_unit_test(test_owed),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
