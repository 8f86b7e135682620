/* The log primitive and wrong clocks (design section 9): of a node, and of whoever wrote the last
 * entry. */
#include "fixture.h"

#include <stdio.h>

#include "base/clock.h"
#include "blobstore/store_ops.h"

struct world {
    struct store *s;
    struct node *node;
};

static void world_close(struct world *w)
{
    node_free(w->node);
    store_free(w->s);
}

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

static int append(struct objlog *l, struct objlog_pos *pos, const char *letter)
{
    struct buf ops auto_buf = BUF_INIT(64);

    buf_addf(&ops, "[\"%s\"]", letter);
    return objlog_append(l, pos, buf_str(&ops), STR_NONE, clock_boot_ms(), NULL, NULL);
}

static int64_t store_ahead_ms; /* how far the store's clock is ahead of the node's */

static int shifted_now(struct store *s, int64_t *ret_ms, struct err_detail *detail)
{
    (void)s, (void)detail;
    *ret_ms = clock_wall_ms() + store_ahead_ms;
    return 0;
}

static void shift_clock(struct store *s, struct store_ops *storage)
{
    *storage = *s->ops;
    storage->now = shifted_now;
    s->ops = storage;
    store_ahead_ms = 0;
}

/* A node whose clock is wrong by more than five minutes, either way, commits nothing; it goes on
 * when its clock is right. Stamps are the store's. */
static void test_wrong_node_clock(void **state)
{
    static const struct {
        int64_t ahead_ms;
        int result;
    } cases[] = {{0, 0},
                 {NODE_CLOCK_WARN_MS + 1, 0},
                 {-NODE_CLOCK_MAX_MS, 0},
                 {-NODE_CLOCK_MAX_MS - 1, -ERR_NOTCOMMITTED},
                 {NODE_CLOCK_MAX_MS + 1, -ERR_NOTCOMMITTED},
                 {INT64_C(400) * 86400 * 1000, -ERR_NOTCOMMITTED}};

    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        struct store *s = mem_store();
        struct store_ops ops;
        struct world w = {.s = s, .node = NULL};
        struct objlog *l auto_objlog = NULL;
        struct objlog_pos pos = {0};
        struct err_detail detail = {{0}};

        shift_clock(s, &ops);
        w.node = open_node(s);
        l = new_log(&w);
        store_ahead_ms = cases[i].ahead_ms;
        assert_int_equal(
            objlog_append(l, &pos, STR("[\"a\"]"), STR_NONE, clock_boot_ms(), NULL, &detail),
            cases[i].result);
        if (cases[i].result == 0)
            assert_int_equal(pos.ts, clock_wall_ms() + cases[i].ahead_ms);
        else
            assert_non_null(strstr(detail.text, "clock of this node"));
        store_ahead_ms = 0;
        if (cases[i].result < 0)
            assert_int_equal(append(l, &pos, "a"), 0);
        world_close(&w);
    }
}

/* An entry from the future is not followed by another until the store's clock is near it. */
static void test_entry_from_the_future(void **state)
{
    struct store *s = mem_store();
    struct store_ops ops;
    struct world w = {.s = s, .node = NULL};
    struct objlog *l auto_objlog = NULL;
    struct objlog_pos pos = {0};
    struct err_detail detail = {{0}};

    (void)state;
    shift_clock(s, &ops);
    w.node = open_node(s);
    l = new_log(&w);
    assert_int_equal(append(l, &pos, "a"), 0);
    pos.ts += OBJLOG_AHEAD_MS + 1000; /* as its writer's clock had it */
    assert_int_equal(
        objlog_append(l, &pos, STR("[\"b\"]"), STR_NONE, clock_boot_ms(), NULL, &detail),
        -ERR_NOTCOMMITTED);
    assert_non_null(strstr(detail.text, "ahead of the store's clock"));
    assert_int_equal(check_log(s, "repos/a", true), 1);
    fake_time_pass(1000);
    assert_int_equal(append(l, &pos, "b"), 0);
    world_close(&w);
}

static int note_ahead(const struct objlog_entry *e, void *arg)
{
    static const char key[] = ",\"gc\":0,\"ahead\":";
    char *at, *text = arg;

    snprintf(text, 4096, STR_FMT, STR_ARG(e->raw));
    at = strstr(text, key);
    memmove(text, at ? at + sizeof(key) - 1 : "", at ? strlen(at + sizeof(key) - 1) + 1 : 1);
    return 0;
}

/* An operator's override: it is followed in the logs that are named, and each such entry says so.
 */
static void test_override(void **state)
{
    static const char *const others[] = {"b", "catalog"}, *const mine[] = {"b", "a"};
    struct store *s = mem_store();
    struct store_ops ops;
    struct world w = {.s = s, .node = NULL};
    struct objlog *l auto_objlog = NULL;
    struct objlog_pos pos = {0};
    char text[4096];
    int64_t wrong;

    (void)state;
    shift_clock(s, &ops);
    w.node = open_node(s);
    l = new_log(&w);
    assert_int_equal(append(l, &pos, "a"), 0);
    wrong = pos.ts += INT64_C(86400) * 1000;
    node_override_ahead(w.node, others, 2);
    assert_int_equal(append(l, &pos, "b"), -ERR_NOTCOMMITTED);
    node_override_ahead(w.node, mine, 2);
    assert_int_equal(append(l, &pos, "b"), 0);
    assert_int_equal(append(l, &pos, "c"), 0);
    assert_int_equal(pos.ts, wrong + 2);
    assert_int_equal(objlog_read(l, 1, note_ahead, text, NULL), 0);
    assert_string_equal(text, "");
    assert_int_equal(objlog_read(l, 2, note_ahead, text, NULL), 0);
    assert_int_equal(strtoll(text, NULL, 10), 86400 * 1000);
    assert_int_equal(objlog_read(l, 3, note_ahead, text, NULL), 0);
    assert_int_equal(strtoll(text, NULL, 10), 86400 * 1000 + 1);
    /* The clock has caught up: an entry like any other. */
    fake_time_pass(86400 * 1000 + 5);
    assert_int_equal(append(l, &pos, "d"), 0);
    assert_int_equal(objlog_read(l, 4, note_ahead, text, NULL), 0);
    assert_string_equal(text, "");
    world_close(&w);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_wrong_node_clock),
        cmocka_unit_test(test_entry_from_the_future),
        cmocka_unit_test(test_override),
    };

    return cmocka_run_group_tests(tests, setup, NULL);
}
