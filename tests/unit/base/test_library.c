/* Libraries that are loaded when they are needed, and what is said of those that cannot be. */
#include "base/library.h"
#include "check.h"

static void test_loads(void **state)
{
    double (*root)(double) = NULL;
    const struct library_function functions[] = {{"sqrt", &root}};

    (void)state;
    assert_int_equal(library_load("libm.so.6", functions, ARRAY_LEN(functions), NULL), 0);
    assert_true(root(16.0) > 3.9 && root(16.0) < 4.1);
}

static void test_says_what_lacks(void **state)
{
    void (*nothing)(void) = NULL;
    const struct library_function functions[] = {{"no_such_function", &nothing}};
    struct err_detail why = {""};

    (void)state;
    assert_int_equal(library_load("libm.so.6", functions, 1, &why), -ERR_UNSUPPORTED);
    assert_string_equal(why.text, "the library libm.so.6 has no no_such_function");
    assert_null(nothing);
    assert_int_equal(library_load("libstowage-none.so.1", functions, 1, &why), -ERR_UNSUPPORTED);
    assert_string_equal(why.text, "the library libstowage-none.so.1 cannot be loaded");
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_loads),
                                       cmocka_unit_test(test_says_what_lacks)};

    return cmocka_run_group_tests(tests, NULL, NULL);
}
