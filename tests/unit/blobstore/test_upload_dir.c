/* Uploads on a directory with real threads and real time: several nodes on one root, as several
 * processes would be. */
#include "upload_fixture.h"

#include <stdatomic.h>

#include "base/thread.h"

#define NODES   3
#define ROUNDS  12
#define THREADS (2 * NODES)

struct shared {
    struct peer peers[NODES];
    atomic_uint failed;
};

struct worker {
    struct shared *shared;
    unsigned number;
};

/* Asserts belong to the main thread: workers count. */
static int push_chunks(struct shared *sh, unsigned first, size_t size)
{
    struct digest d = content_digest(size, DIGEST_SHA256);
    char id[KEYS_SESSION_LEN + 1];
    int r = 0;

    start(&sh->peers[first % NODES], id);
    for (size_t at = size / 3, i = 0; r == 0 && at > 0 && at < size; at += size / 3, i++)
        r = patch(&sh->peers[(first + i) % NODES], id, at);
    return r < 0 ? r : put(&sh->peers[(first + 2) % NODES], id, size, &d);
}

static void work(void *arg)
{
    const struct worker *w = arg;

    for (unsigned i = 0; i < ROUNDS; i++) {
        size_t size = i % 2 ? LARGE + i : SMALL + i; /* all workers bring the same blobs */

        if (push_chunks(w->shared, w->number + i, size) != 0)
            atomic_fetch_add(&w->shared->failed, 1);
        if (i % 4 == 3 && uploads_sweep(w->shared->peers[0].uploads, NULL, NULL, NULL) != 0)
            atomic_fetch_add(&w->shared->failed, 1);
    }
}

static void open_all(struct shared *sh, struct store *stores[NODES], const char *place)
{
    for (unsigned i = 0; i < NODES; i++) {
        assert_int_equal(store_dir_new(place, &stores[i], NULL), 0);
        peer_open(&sh->peers[i], stores[i]);
    }
}

static void close_all(struct shared *sh, struct store *stores[NODES])
{
    for (unsigned i = 0; i < NODES; i++) {
        peer_close(&sh->peers[i]);
        store_free(stores[i]);
    }
}

static void test_threads_and_nodes_on_one_directory(void **state)
{
    struct shared sh = {.failed = 0};
    struct store *stores[NODES];
    struct worker workers[THREADS];
    struct thread threads[THREADS];
    char place[PLACE_MAX];

    (void)state;
    (void)content(0, 1); /* made before the threads */
    make_place(place);
    open_all(&sh, stores, place);
    for (unsigned i = 0; i < THREADS; i++) {
        workers[i] = (struct worker){&sh, i};
        assert_int_equal(thread_start(&threads[i], "push", work, &workers[i]), 0);
    }
    for (unsigned i = 0; i < THREADS; i++)
        thread_join(&threads[i]);
    assert_int_equal(sh.failed, 0);
    for (unsigned i = 0; i < ROUNDS; i++) {
        size_t size = i % 2 ? LARGE + i : SMALL + i;
        struct digest d = content_digest(size, DIGEST_SHA256);

        blob_is_whole(&sh.peers[i % NODES], size, &d);
    }
    assert_int_equal(check_records(&sh.peers[0], stores[0]), ROUNDS);
    assert_int_equal(count_objects(stores[0], "data/"), ROUNDS / 2); /* losers took theirs away */
    close_all(&sh, stores);
    remove_place(place);
}

static void test_restart_continues_on_files(void **state)
{
    struct shared sh = {.failed = 0};
    struct store *stores[NODES];
    struct digest d = content_digest(LARGE, DIGEST_SHA256);
    char place[PLACE_MAX], id[KEYS_SESSION_LEN + 1];
    struct upload *u;

    (void)state;
    make_place(place);
    open_all(&sh, stores, place);
    start(&sh.peers[0], id);
    assert_int_equal(patch(&sh.peers[0], id, 100000), 0);
    assert_int_equal(upload_hold(sh.peers[0].uploads, REPO, IDENTITY, str_of(id), &u, NULL), 0);
    assert_int_equal(upload_write(u, content(7, 50000), NULL), 0); /* never saved */
    upload_release(u);
    assert_int_equal(offset_of(&sh.peers[1], id), 100000);
    close_all(&sh, stores);
    open_all(&sh, stores, place);
    assert_int_equal(offset_of(&sh.peers[0], id), 100000);
    assert_int_equal(patch(&sh.peers[1], id, 150000), 0);
    assert_int_equal(put(&sh.peers[2], id, LARGE, &d), 0);
    blob_is_whole(&sh.peers[0], LARGE, &d);
    close_all(&sh, stores);
    remove_place(place);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_threads_and_nodes_on_one_directory),
        cmocka_unit_test(test_restart_continues_on_files),
    };

    return cmocka_run_group_tests_name("upload_dir", tests, NULL, NULL);
}
