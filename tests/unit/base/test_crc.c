/* CRC-32C against the vectors of RFC 3720 appendix B.4. */
#include "base/crc.h"
#include "check.h"

static void check_both(struct str bytes, uint32_t want)
{
    assert_int_equal(crc32c(bytes), want);
    assert_int_equal(crc32c_plain(bytes), want);
}

static void test_vectors(void **state)
{
    unsigned char bytes[32];
    struct str all = {(char *)bytes, sizeof(bytes)};

    (void)state;
    check_both(STR_NONE, 0);
    check_both(STR("123456789"), 0xe3069283);
    memset(bytes, 0, sizeof(bytes));
    check_both(all, 0x8a9136aa);
    memset(bytes, 0xff, sizeof(bytes));
    check_both(all, 0x62a8ab43);
    for (unsigned i = 0; i < sizeof(bytes); i++)
        bytes[i] = (unsigned char)i;
    check_both(all, 0x46dd794e);
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_vectors)};

    return cmocka_run_group_tests(tests, NULL, NULL);
}
