/* The cursor of a job: who takes it fences off whoever had it. */
#include "fixture.h"

#include "blobstore/cursor.h"

struct world {
    struct store *s;
    struct node *nodes[2];
    struct cursor *old, *new;
};

static void world_open(struct world *w)
{
    w->s = mem_store();
    for (size_t i = 0; i < ARRAY_LEN(w->nodes); i++)
        w->nodes[i] = open_node(w->s);
    assert_int_equal(cursor_new(w->nodes[0], STR("hooks/x"), &w->old), 0);
    assert_int_equal(cursor_new(w->nodes[1], STR("hooks/x"), &w->new), 0);
}

static void world_close(struct world *w)
{
    cursor_free(w->old);
    cursor_free(w->new);
    for (size_t i = 0; i < ARRAY_LEN(w->nodes); i++)
        node_free(w->nodes[i]);
    store_free(w->s);
}
#define auto_world auto_of(world_close)

static void stands_at(const struct cursor *c, const char *at)
{
    assert_true(cursor_known(c));
    assert_true(str_eq(cursor_at(c), str_of(at)));
}

static void test_taken_over(void **state)
{
    struct world w auto_world = {.s = NULL};

    (void)state;
    world_open(&w);
    assert_int_equal(cursor_take(w.old, NULL), 0);
    assert_false(cursor_known(w.old));
    assert_int_equal(count_objects(w.s, "hooks/x/"), 0); /* nothing to take yet */
    assert_int_equal(cursor_save(w.old, STR("1"), NULL), 0);
    assert_int_equal(cursor_save(w.old, STR("2"), NULL), 0);
    stands_at(w.old, "2");

    assert_int_equal(cursor_take(w.new, NULL), 0);
    stands_at(w.new, "2");
    assert_int_equal(count_objects(w.s, "hooks/x/"), 3);
    assert_int_equal(cursor_save(w.old, STR("3"), NULL),
                     -ERR_EXISTS); /* before the new one moves */
    assert_int_equal(cursor_save(w.new, STR("4"), NULL), 0);
    assert_int_equal(cursor_take(w.old, NULL), 0);
    stands_at(w.old, "4");
    assert_int_equal(cursor_save(w.new, STR("5"), NULL), -ERR_EXISTS);
}

static void test_two_that_begin(void **state)
{
    struct world w auto_world = {.s = NULL};

    (void)state;
    world_open(&w);
    assert_int_equal(cursor_take(w.old, NULL), 0);
    assert_int_equal(cursor_take(w.new, NULL), 0);
    assert_int_equal(cursor_save(w.new, STR("b"), NULL), 0);
    assert_int_equal(cursor_save(w.old, STR("a"), NULL), -ERR_EXISTS);
    assert_int_equal(cursor_take(w.old, NULL), 0);
    stands_at(w.old, "b");
}

static void test_limits(void **state)
{
    struct world w auto_world = {.s = NULL};
    char text[CURSOR_AT_MAX + 2];

    (void)state;
    memset(text, '"', sizeof(text));
    world_open(&w);
    assert_int_equal(cursor_take(w.old, NULL), 0);
    assert_int_equal(cursor_save(w.old, str_make(text, CURSOR_AT_MAX + 1), NULL), -ERR_TOOBIG);
    assert_false(cursor_known(w.old));
    assert_int_equal(cursor_save(w.old, str_make(text, CURSOR_AT_MAX), NULL), 0);
    assert_int_equal(cursor_take(w.new, NULL), 0);
    assert_int_equal(cursor_at(w.new).len, CURSOR_AT_MAX);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_taken_over),
        cmocka_unit_test(test_two_that_begin),
        cmocka_unit_test(test_limits),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
