/* The ordered map against a sorted array, with random operations. */
#include "base/omap.h"
#include "check.h"

#define KEYS_MAX   300
#define OPERATIONS 200000

static int live; /* values allocated by the tests and not yet freed */

static void *value_new(uint64_t v)
{
    uint64_t *p = malloc(sizeof(*p));

    assert_non_null(p);
    *p = v;
    live++;
    return p;
}

static void value_free(void *p)
{
    live--;
    free(p);
}

/* ---- The model: sorted keys of up to 3 bytes, some with NUL and high bytes. */
static struct {
    unsigned char key[3];
    size_t len;
    uint64_t value;
} model[KEYS_MAX];
static size_t model_count;
static uint64_t seed = 42;

static uint64_t next_random(uint64_t n)
{
    seed ^= seed << 13;
    seed ^= seed >> 7;
    seed ^= seed << 17;
    return seed % n;
}

static struct str model_key(size_t i)
{
    return str_make(model[i].key, model[i].len);
}

/* The first place whose key is not below. */
static size_t model_place(struct str key)
{
    size_t i = 0;

    while (i < model_count && str_cmp(model_key(i), key) < 0)
        i++;
    return i;
}

static bool model_has(size_t i, struct str key)
{
    return i < model_count && str_eq(model_key(i), key);
}

static void model_put(struct str key, uint64_t value)
{
    size_t i = model_place(key);

    if (!model_has(i, key)) {
        memmove(&model[i + 1], &model[i], (model_count - i) * sizeof(model[0]));
        model_count++;
        memset(model[i].key, 0, sizeof(model[i].key));
        if (key.len > 0)
            memcpy(model[i].key, key.at, key.len);
        model[i].len = key.len;
    }
    model[i].value = value;
}

static void model_remove(size_t i)
{
    model_count--;
    memmove(&model[i], &model[i + 1], (model_count - i) * sizeof(model[0]));
}

static void same_node(const struct omap_node *n, size_t i)
{
    assert_int_equal(n != NULL, i < model_count);
    if (!n)
        return;
    assert_true(str_eq(omap_key(n), model_key(i)));
    assert_int_equal(*(uint64_t *)omap_value(n), model[i].value);
}

static void same_map(const struct omap *m)
{
    struct omap_node *n = omap_first(m);

    assert_int_equal(omap_count(m), model_count);
    for (size_t i = 0; i < model_count; i++, n = omap_next(m, n))
        same_node(n, i);
    assert_null(n);
}

static void one_operation(struct omap *m, struct str key)
{
    size_t place = model_place(key);
    bool there = model_has(place, key);
    uint64_t v = next_random(1000000), *found;

    switch (next_random(5)) {
    case 0:
        if (!there && model_count == KEYS_MAX)
            break;
        assert_int_equal(omap_put(m, key, value_new(v)), 0);
        model_put(key, v);
        break;
    case 1:
        assert_int_equal(omap_remove(m, key), there);
        if (there)
            model_remove(place);
        break;
    case 2:
        found = omap_get(m, key);
        assert_int_equal(found != NULL, there);
        if (found)
            assert_int_equal(*found, model[place].value);
        break;
    case 3:
        same_node(omap_at_least(m, key), place);
        break;
    default:
        same_node(omap_after(m, key), place + there);
        break;
    }
}

static void agrees_with_the_model(void **state)
{
    static const unsigned char letters[] = {0, 1, 'a', 'b', '/', 0x7f, 0x80, 0xff};
    struct omap *m auto_omap = NULL;

    (void)state;
    assert_int_equal(omap_new(value_free, &m), 0);
    for (int i = 0; i < OPERATIONS; i++) {
        unsigned char key[3];
        size_t len = (size_t)next_random(4);

        for (size_t k = 0; k < len; k++)
            key[k] = letters[next_random(sizeof(letters))];
        one_operation(m, str_make(key, len));
        if (i % 1000 == 0)
            same_map(m);
    }
    assert_int_equal(live, model_count);
    omap_freep(&m);
    assert_int_equal(live, 0);
}

static void replaces_and_owns(void **state)
{
    struct omap *m auto_omap = NULL;
    char key[] = "key";
    struct omap_node *n;
    uint64_t *same;

    (void)state;
    assert_int_equal(omap_new(value_free, &m), 0);
    assert_int_equal(omap_put(m, str_of(key), value_new(1)), 0);
    key[0] = 'X'; /* the map has its own copy */
    n = omap_first(m);
    assert_str(omap_key(n), "key");
    assert_int_equal(omap_put(m, STR("key"), value_new(2)), 0);
    assert_ptr_equal(omap_first(m), n);
    assert_int_equal(*(uint64_t *)omap_value(n), 2);
    same = omap_get(m, STR("key"));
    assert_int_equal(omap_put(m, STR("key"), same), 0); /* not freed */
    assert_int_equal(*same, 2);
    assert_int_equal(live, 1);
    assert_int_equal(omap_count(m), 1);
}

/* So many that absence is told by a filter, which grows with them. */
static void many(void **state)
{
    enum { MANY = 20000 };
    struct omap *m auto_omap = NULL;
    char key[16];

    (void)state;
    assert_int_equal(omap_new(NULL, &m), 0);
    for (unsigned i = 0; i < MANY; i++) {
        snprintf(key, sizeof(key), "key-%u", i * 7 % MANY);
        assert_null(omap_get(m, str_of(key)));
        assert_int_equal(omap_put(m, str_of(key), key), 0);
        assert_non_null(omap_get(m, str_of(key)));
    }
    for (unsigned i = 0; i < MANY; i += 2) {
        snprintf(key, sizeof(key), "key-%u", i);
        assert_true(omap_remove(m, str_of(key)));
    }
    for (unsigned i = 0; i < 2 * MANY; i++) {
        snprintf(key, sizeof(key), "key-%u", i);
        assert_int_equal(omap_get(m, str_of(key)) != NULL, i < MANY && i % 2 == 1);
    }
    assert_int_equal(omap_count(m), MANY / 2);
    assert_true(omap_bytes(m) > MANY / 2 * sizeof(key));
}

/* What is moved comes in place of what is there; nothing is copied or freed. */
static void moves(void **state)
{
    struct omap *from auto_omap = NULL;
    struct omap *to auto_omap = NULL;
    uint64_t *replaced;

    (void)state;
    assert_int_equal(omap_new(value_free, &from), 0);
    assert_int_equal(omap_new(value_free, &to), 0);
    assert_int_equal(omap_put(from, STR("a"), value_new(1)), 0);
    assert_int_equal(omap_put(from, STR("b"), value_new(2)), 0);
    assert_int_equal(omap_put(to, STR("b"), value_new(3)), 0);
    assert_int_equal(omap_put(to, STR("c"), value_new(4)), 0);
    assert_null(omap_move(to, from, omap_first(from)));
    replaced = omap_move(to, from, omap_first(from));
    assert_non_null(replaced);
    assert_int_equal(*replaced, 3);
    value_free(replaced);
    assert_null(omap_first(from));
    assert_int_equal(omap_count(from), 0);
    assert_int_equal(omap_bytes(from), 0);
    assert_int_equal(omap_count(to), 3);
    assert_int_equal(*(uint64_t *)omap_get(to, STR("a")), 1);
    assert_int_equal(*(uint64_t *)omap_get(to, STR("b")), 2);
    assert_int_equal(*(uint64_t *)omap_get(to, STR("c")), 4);
    assert_true(omap_remove(to, STR("b")));
    assert_int_equal(omap_bytes(to) % 2, 0); /* of two alike */
    assert_int_equal(live, 2);
    omap_freep(&to);
    assert_int_equal(live, 0);
}

static void empty_and_bytes(void **state)
{
    struct omap *m auto_omap = NULL;
    size_t one;

    (void)state;
    assert_int_equal(omap_new(NULL, &m), 0);
    assert_null(omap_first(m));
    assert_null(omap_after(m, STR_NONE));
    assert_null(omap_at_least(m, STR("x")));
    assert_null(omap_get(m, STR("x")));
    assert_false(omap_remove(m, STR("x")));
    assert_int_equal(omap_bytes(m), 0);
    assert_int_equal(omap_put(m, STR("0123456789"), &one), 0); /* values of others are not freed */
    one = omap_bytes(m);
    assert_true(one > 10);
    assert_int_equal(omap_put(m, STR("0123456789"), &one), 0);
    assert_int_equal(omap_bytes(m), one);
    assert_int_equal(omap_put(m, STR(""), &one), 0);
    assert_int_equal(omap_bytes(m), 2 * one - 10);
    assert_true(omap_remove(m, STR("0123456789")));
    assert_int_equal(omap_bytes(m), one - 10);
    omap_free(NULL);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(agrees_with_the_model),
        cmocka_unit_test(replaces_and_owns),
        cmocka_unit_test(moves),
        cmocka_unit_test(many),
        cmocka_unit_test(empty_and_bytes),
    };

    return cmocka_run_group_tests_name("omap", tests, NULL, NULL);
}
