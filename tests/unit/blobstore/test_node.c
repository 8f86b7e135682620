/* Opening a store: the format object, the first secret, keys derived for uses. */
#include "fixture.h"

#include "base/clock.h"
#include "base/enc.h"
#include "base/json.h"

static int setup(void **state)
{
    (void)state;
    fake_time_install();
    return 0;
}

static void test_open_makes_format_and_secret(void **state)
{
    struct store *s auto_store = mem_store();
    struct node *n auto_node = open_node(s);
    struct buf text auto_buf = BUF_INIT(4096);
    struct buf want auto_buf = BUF_INIT(4096);
    uint8_t id[16];

    (void)state;
    read_object(s, "format", &text);
    buf_addf(&want, "{\"v\":1,\"registry\":\"" STR_FMT "\"}", STR_ARG(node_registry(n)));
    assert_string_equal(buf_c(&text), buf_c(&want));
    assert_true(hex_decode(node_registry(n), id, sizeof(id)));
    assert_true(hex_decode(node_id(n), id, sizeof(id)));
    assert_int_equal(check_log(s, "secret", true), 1);
}

static void test_second_node_joins(void **state)
{
    struct store *s auto_store = mem_store();
    struct node *a auto_node = open_node(s);
    struct node *b auto_node = open_node(s);
    uint8_t key_a[HMAC_BYTES], key_b[HMAC_BYTES], other[HMAC_BYTES];

    (void)state;
    assert_true(str_eq(node_registry(a), node_registry(b)));
    assert_false(str_eq(node_id(a), node_id(b)));
    assert_int_equal(check_log(s, "secret", true), 1);
    assert_true(node_key(a, STR("use"), 0, key_a) && node_key(b, STR("use"), 0, key_b));
    assert_memory_equal(key_a, key_b, HMAC_BYTES);
    assert_true(node_key(a, STR("other use"), 0, other));
    assert_memory_not_equal(key_a, other, HMAC_BYTES);
    assert_false(node_key(a, STR("use"), 1, other));
}

static const struct {
    const char *text;
    int err;
} formats[] = {
    {"{\"v\":2,\"registry\":\"00112233445566778899aabbccddeeff\"}", -ERR_VERSION},
    {"{\"v\":2}", -ERR_VERSION},
    {"{\"v\":1,\"registry\":\"00112233445566778899aabbccddeeff\",\"more\":true}", 0},
    {"{\"v\":1,\"registry\":\"0011\"}", -ERR_CORRUPT},
    {"{\"registry\":\"00112233445566778899aabbccddeeff\"}", -ERR_CORRUPT},
    {"{\"v\":1", -ERR_CORRUPT},
    {"", -ERR_CORRUPT},
};

static void test_format_is_judged(void **state)
{
    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(formats); i++) {
        struct store *s auto_store = mem_store();
        struct node *n auto_node = NULL;
        struct err_detail detail = {{0}};

        assert_int_equal(store_create(s, STR("format"), STORE_LOG, str_of(formats[i].text), NULL),
                         0);
        assert_int_equal(node_open(s, &n, &detail), formats[i].err);
        assert_true(formats[i].err == 0 || detail.text[0] != 0);
    }
}

static const struct rule races[] = {
    {.op = "create", .key_part = "format", .fault = FAULT_REPLY_LOST},
    {.op = "create", .key_part = "format", .fault = FAULT_OWN_EXISTS},
    {.op = "create", .key_part = "format", .fault = FAULT_LATE},
    {.op = "create", .key_part = "secret", .fault = FAULT_REPLY_LOST},
    {.op = "create", .key_part = "secret", .fault = FAULT_OWN_EXISTS},
    {.op = "create", .key_part = "secret", .fault = FAULT_DUPLICATE},
};

static void test_open_survives_lost_replies(void **state)
{
    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(races); i++) {
        struct faults f;
        struct store *s auto_store = faulty_store(&f, mem_store());
        struct node *a auto_node = NULL;
        struct node *b auto_node = NULL;

        faults_add(&f, races[i]);
        a = open_node(s);
        store_fault_flush_late(s);
        b = open_node(s);
        assert_true(str_eq(node_registry(a), node_registry(b)));
        assert_int_equal(check_log(s, "secret", true), 1);
    }
}

static void add_secret(struct node *n, struct store *s, uint64_t seq, const char *hex)
{
    struct objlog_spec spec = {STR("secret"), STR("secret"), true, STORE_LOG};
    struct objlog *log auto_objlog = NULL;
    struct objlog_pos pos = {.seq = seq};
    struct buf key auto_buf = BUF_INIT(STORE_KEY_MAX);
    struct buf raw auto_buf = BUF_INIT(4096);
    struct buf ops auto_buf = BUF_INIT(4096);
    struct digest d;

    keys_log_entry(&key, STR("secret"), true, seq);
    read_object(s, buf_c(&key), &raw);
    digest_of(DIGEST_SHA256, buf_str(&raw), &d);
    memcpy(pos.hash, d.bytes, sizeof(pos.hash));
    pos.ts = clock_wall_ms();
    fake_time_pass(10);
    buf_addf(&ops, "[{\"op\":\"secret\",\"key\":\"%s\"}]", hex);
    assert_int_equal(objlog_new(n, &spec, &log), 0);
    assert_int_equal(objlog_append(log, &pos, buf_str(&ops), STR_NONE, clock_boot_ms(), NULL, NULL),
                     0);
}

#define SECRET_B "bbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbb"

static void test_refresh_finds_new_secrets_newest_first(void **state)
{
    struct store *s auto_store = mem_store();
    struct node *a auto_node = open_node(s);
    uint8_t old[HMAC_BYTES], newest[HMAC_BYTES], second[HMAC_BYTES], want[HMAC_BYTES];
    uint8_t secret[32];

    (void)state;
    assert_true(node_key(a, STR("use"), 0, old));
    add_secret(a, s, 1, SECRET_B);
    assert_true(node_key(a, STR("use"), 0, newest)); /* not known yet */
    assert_memory_equal(newest, old, HMAC_BYTES);
    assert_int_equal(node_refresh_secrets(a, NULL), 0);
    assert_true(node_key(a, STR("use"), 0, newest) && node_key(a, STR("use"), 1, second));
    assert_memory_equal(second, old, HMAC_BYTES);
    memset(secret, 0xbb, sizeof(secret));
    hkdf_sha256(str_make(secret, sizeof(secret)), STR("use"), want);
    assert_memory_equal(newest, want, HMAC_BYTES);
    assert_false(node_key(a, STR("use"), 2, second));
    assert_int_equal(node_refresh_secrets(a, NULL), 0); /* nothing new */
}

static void test_unreadable_secrets_refuse(void **state)
{
    struct store *s auto_store = mem_store();
    struct node *a auto_node = open_node(s);
    struct node *b auto_node = NULL;

    (void)state;
    add_secret(a, s, 1, "nothex");
    assert_int_equal(node_open(s, &b, NULL), -ERR_CORRUPT);
    assert_int_equal(node_refresh_secrets(a, NULL), -ERR_CORRUPT);
}

/* Each store call in turn fails once: opening again works and there is one registry. */
static void test_open_after_any_failure(void **state)
{
    bool done = false;

    (void)state;
    for (unsigned at = 1; !done; at++) {
        struct faults f;
        struct store *s auto_store = faulty_store(&f, mem_store());
        struct node *a auto_node = NULL;
        struct node *b auto_node = NULL;

        f.fail_at = at;
        (void)!node_open(s, &a, NULL);
        done = f.calls < at;
        faults_clear(&f);
        b = open_node(s);
        assert_true(!a || str_eq(node_registry(a), node_registry(b)));
        assert_int_equal(check_log(s, "secret", true), 1);
        assert_true(at < 100);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_open_makes_format_and_secret),
        cmocka_unit_test(test_second_node_joins),
        cmocka_unit_test(test_format_is_judged),
        cmocka_unit_test(test_open_survives_lost_replies),
        cmocka_unit_test(test_refresh_finds_new_secrets_newest_first),
        cmocka_unit_test(test_unreadable_secrets_refuse),
        cmocka_unit_test(test_open_after_any_failure),
    };

    return cmocka_run_group_tests_name("node", tests, setup, NULL);
}
