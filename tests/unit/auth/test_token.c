/* Tokens: issued and verified by nodes that share secrets, keys that are replaced, times, uses;
 * key sets; API keys. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "auth/issuer.h"
#include "auth/robot.h"
#include "auth/token.h"
#include "base/clock.h"
#include "base/enc.h"

#define NOW 1795600000000

/* The secrets of a store: newest first. */
struct secrets {
    int64_t end[4];
    uint8_t first[4];
    unsigned count, known, asked;
};

static bool seed(void *arg, unsigned index, uint8_t out[HMAC_BYTES], int64_t *ret_end)
{
    struct secrets *s = arg;
    unsigned hidden = s->count - s->known; /* newest ones that this node has not seen */

    if (index >= s->known)
        return false;
    memset(out, s->first[index + hidden], HMAC_BYTES);
    *ret_end = index == 0 ? 0 : s->end[index + hidden];
    return true;
}

static int refresh(void *arg)
{
    struct secrets *s = arg;

    s->known = s->count;
    s->asked++;
    return 0;
}

static struct token_mint *mint_of(struct secrets *s)
{
    struct token_source source = {seed, refresh, s};
    struct token_mint *m;

    assert_int_equal(token_mint_new(&source, STR("stowage:x"), STR("svc"), &m), 0);
    return m;
}

static void issue(struct token_mint *m, const char *name, const char *scope, int64_t now,
                  struct buf *out)
{
    struct scopes access auto_scopes = {.count = 0};
    struct login *l;

    assert_int_equal(login_new(LOGIN_PASSWORD, str_of(name), &l), 0);
    assert_int_equal(login_add_attr(l, "group:", STR("devs")), 0);
    assert_int_equal(scopes_parse(str_of(scope), &access), 0);
    assert_int_equal(token_issue(m, &(struct token_grant){l, &access, false, STR_NONE, now}, out),
                     0);
    login_unref(l);
}

static int verify(struct token_mint *m, const char *text, int64_t now, struct login **ret)
{
    struct jwt j auto_jwt = {.header = NULL};
    int e = jwt_read(str_of(text), &j, NULL);

    return e < 0 ? e : token_verify(m, &j, now, ret, NULL);
}

static void test_round(void **state)
{
    struct secrets s = {{0}, {7}, 1, 1, 0};
    struct token_mint *a = mint_of(&s), *b = mint_of(&s);
    struct buf text auto_buf = BUF_INIT(JWT_TEXT_MAX);
    struct login *l = NULL;

    (void)state;
    issue(a, "alice", "repository:a/b:pull,push registry:catalog:*", NOW, &text);
    assert_int_equal(verify(b, buf_c(&text), NOW, &l), 0); /* another node */
    assert_string_equal(login_name(l), "alice");
    assert_true(str_eq(login_attr(l, 0), STR("group:devs")));
    assert_int_equal(scopes_actions(login_scopes(l), SCOPE_REPOSITORY, STR("a/b"), false),
                     ACTION_BIT(ACTION_PULL) | ACTION_BIT(ACTION_PUSH));
    assert_int_equal(scopes_actions(login_scopes(l), SCOPE_REPOSITORY, STR("a"), false), 0);
    assert_int_equal(scopes_actions(login_scopes(l), SCOPE_REGISTRY, STR("catalog"), false),
                     ACTIONS_GRANTED);
    login_unref(l);
    token_mint_free(a);
    token_mint_free(b);
}

static void test_times(void **state)
{
    static const struct {
        int64_t after_s;
        int result;
    } rows[] = {
        {-TOKEN_LEEWAY_SECONDS - 1, -ERR_UNAUTHORIZED},
        {-TOKEN_LEEWAY_SECONDS, 0},
        {TOKEN_SECONDS + TOKEN_LEEWAY_SECONDS - 1, 0},
        {TOKEN_SECONDS + TOKEN_LEEWAY_SECONDS, -ERR_UNAUTHORIZED},
    };
    struct secrets s = {{0}, {7}, 1, 1, 0};
    struct token_mint *m = mint_of(&s);
    struct buf text auto_buf = BUF_INIT(JWT_TEXT_MAX);

    (void)state;
    issue(m, "alice", "", NOW, &text);
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        struct login *l = NULL;

        assert_int_equal(verify(m, buf_c(&text), NOW + rows[i].after_s * 1000, &l), rows[i].result);
        login_unref(l);
    }
    token_mint_free(m);
}

/* A node that does not know the newest secret finds it by the token's key; what an old key signed
 * before its end is good, what it signs later is not. */
static void test_rotation(void **state)
{
    struct secrets one = {{0}, {7}, 1, 1, 0};
    struct secrets two = {{0, NOW + 1000}, {9, 7}, 2, 2, 0}, behind = two;
    struct token_mint *before = mint_of(&one), *after = mint_of(&two), *late;
    struct buf old auto_buf = BUF_INIT(JWT_TEXT_MAX), fresh auto_buf = BUF_INIT(JWT_TEXT_MAX),
                   forged auto_buf = BUF_INIT(JWT_TEXT_MAX),
                   keys auto_buf = BUF_INIT(JWT_KEYS_TEXT);
    struct jwt_keys *set;
    struct login *l = NULL;

    (void)state;
    behind.known = 1;
    late = mint_of(&behind);
    issue(before, "alice", "", NOW, &old);
    issue(after, "alice", "", NOW + 2000, &fresh);
    issue(before, "alice", "", NOW + 200000, &forged); /* with a key that leaked */
    assert_int_equal(verify(after, buf_c(&old), NOW + 2000, &l), 0);
    login_unref(l);
    assert_int_equal(verify(late, buf_c(&fresh), NOW + 2000, &l), 0);
    assert_int_equal(behind.asked, 1);
    login_unref(l);
    assert_int_equal(verify(after, buf_c(&forged), NOW + 200000, &l), -ERR_UNAUTHORIZED);
    assert_int_equal(verify(before, buf_c(&fresh), NOW + 2000, &l), -ERR_UNAUTHORIZED);
    assert_int_equal(token_jwks(after, &keys), 0);
    assert_int_equal(jwt_keys_read(buf_str(&keys), &set, NULL), 0);
    assert_int_equal(jwt_keys_count(set), 2);
    jwt_keys_free(set);
    token_mint_free(before);
    token_mint_free(after);
    token_mint_free(late);
}

static void test_refresh_is_another_use(void **state)
{
    struct secrets s = {{0}, {7}, 1, 1, 0};
    struct token_mint *m = mint_of(&s);
    struct buf text auto_buf = BUF_INIT(JWT_TEXT_MAX), access auto_buf = BUF_INIT(JWT_TEXT_MAX),
                    proof auto_buf = BUF_INIT(64);
    struct login *l = NULL;
    struct jwt j auto_jwt = {.header = NULL}, k auto_jwt = {.header = NULL};

    (void)state;
    assert_int_equal(login_new(LOGIN_PASSWORD, STR("bob"), &l), 0);
    assert_int_equal(token_issue(m, &(struct token_grant){l, NULL, true, STR("abcd"), NOW}, &text),
                     0);
    login_unref(l);
    issue(m, "bob", "", NOW, &access);
    assert_int_equal(jwt_read(buf_str(&text), &j, NULL), 0);
    assert_int_equal(jwt_read(buf_str(&access), &k, NULL), 0);
    assert_int_equal(token_verify(m, &j, NOW, &l, NULL), -ERR_UNAUTHORIZED);
    assert_int_equal(token_verify_refresh(m, &k, NOW, &l, &proof, NULL), -ERR_UNAUTHORIZED);
    assert_int_equal(token_verify_refresh(m, &j, NOW + 86400000, &l, &proof, NULL), 0);
    assert_string_equal(buf_c(&proof), "abcd");
    login_unref(l);
    token_mint_free(m);
}

/* What is no token at all, whatever key there may be. */
static void test_unreadable(void **state)
{
    static const char *const rows[] = {
        "",
        "a",
        "a.b",
        "a.b.c",
        "e30.e30.",                                          /* no algorithm */
        "eyJhbGciOiJub25lIn0.e30.",                          /* none */
        "eyJhbGciOiJIUzI1NiJ9.e30.AAAA",                     /* HS256 */
        "eyJhbGciOiJFZERTQSJ9.e30.AAAA",                     /* EdDSA */
        "eyJhbGciOiJFUzI1NiJ9.e30.AAAA.AAAA",                /* four parts */
        "eyJhbGciOiJFUzI1NiJ9.W10.AAAA",                     /* a list for claims */
        "eyJhbGciOiJFUzI1NiIsImNyaXQiOlsiYjY0Il19.e30.AAAA", /* crit */
        "eyJhbGciOiJFUzI1NiJ9=.e30.AAAA",
    };

    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        struct jwt j auto_jwt = {.header = NULL};

        if (jwt_read(str_of(rows[i]), &j, NULL) != -ERR_INVAL)
            fail_msg("row %zu was read", i);
    }
}

/* Every change of one character ends it. */
static void test_tampered(void **state)
{
    struct secrets s = {{0}, {7}, 1, 1, 0};
    struct token_mint *m = mint_of(&s);
    struct buf text auto_buf = BUF_INIT(JWT_TEXT_MAX);
    struct login *l = NULL;

    (void)state;
    issue(m, "alice", "repository:a:pull", NOW, &text);
    for (size_t i = 0; i + 1 < text.len; i += 3) { /* the last one's low bits say nothing */
        char was = text.at[i];

        text.at[i] = was == 'A' ? 'B' : 'A';
        if (was != '.')
            assert_true(verify(m, buf_c(&text), NOW, &l) < 0);
        text.at[i] = was;
    }
    assert_int_equal(verify(m, buf_c(&text), NOW, &l), 0);
    login_unref(l);
    token_mint_free(m);
}

static void test_key_sets(void **state)
{
    static const struct {
        const char *json;
        int count; /* -1: no set */
    } rows[] = {
        {"", -1},
        {"{}", -1},
        {"{\"keys\":{}}", -1},
        {"{\"keys\":[]}", 0},
        {"{\"keys\":[1,null,{}]}", 0},
        {"{\"keys\":[{\"kty\":\"oct\",\"k\":\"AAAA\",\"kid\":\"a\"}]}", 0},
        {"{\"keys\":[{\"kty\":\"RSA\",\"n\":\"AQAB\",\"e\":\"AQAB\"}]}", 0},
        {"{\"keys\":[{\"kty\":\"EC\",\"crv\":\"P-256\",\"x\":\"AAAA\",\"y\":\"AAAA\"}]}", 0},
        {"{\"keys\":[{\"kty\":\"EC\",\"crv\":\"P-256\",\"x\":"
         "\"HhhTL9R1TALzBB2cdc6zO4P_2BrHzk_ogsyxyYvFiW4\",\"y\":"
         "\"pGwxHE4v9A3ZajZT5uRURdMt_khuztdcepDGoYiBwKM\"}]}",
         1},
        {"{\"keys\":[{\"kty\":\"EC\",\"crv\":\"P-256\",\"use\":\"enc\",\"x\":"
         "\"HhhTL9R1TALzBB2cdc6zO4P_2BrHzk_ogsyxyYvFiW4\",\"y\":"
         "\"pGwxHE4v9A3ZajZT5uRURdMt_khuztdcepDGoYiBwKM\"}]}",
         0},
    };

    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        struct jwt_keys *k = NULL;
        int e = jwt_keys_read(str_of(rows[i].json), &k, NULL);

        if (e != (rows[i].count < 0 ? -ERR_INVAL : 0) ||
            (k && jwt_keys_count(k) != (size_t)rows[i].count))
            fail_msg("row %zu: %d", i, e);
        jwt_keys_free(k);
    }
}

static void test_seeds(void **state)
{
    uint8_t zero[HMAC_BYTES] = {0}, high[HMAC_BYTES];
    struct jwt_signer *s = NULL;

    (void)state;
    memset(high, 0xff, sizeof(high));
    assert_int_equal(jwt_signer_new(zero, &s), -ERR_INVAL);
    assert_int_equal(jwt_signer_new(high, &s), -ERR_INVAL);
    zero[HMAC_BYTES - 1] = 1;
    assert_int_equal(jwt_signer_new(zero, &s), 0);
    assert_int_equal(strlen(jwt_signer_kid(s)), 32);
    jwt_signer_free(s);
}

static void test_issuer_files(void **state)
{
    static const struct {
        const char *json, *says; /* NULL: good */
    } rows[] = {
        {"{\"issuers\":[]}", NULL},
        {"{\"issuers\":[{\"name\":\"a\",\"issuer\":\"i\",\"jwks\":\"/k\"}]}", NULL},
        {"{\"issuers\":[{\"name\":\"a\",\"issuer\":\"i\",\"jwks\":\"https://k\"}]}", NULL},
        {"{\"issuers\":[{\"name\":\"a\",\"issuer\":\"i\",\"jwks\":\"http://k\"}]}", "https URL"},
        {"{\"issuers\":[{\"name\":\"a\",\"issuer\":\"i\",\"jwks\":\"http://127.0.0.1:1@k\"}]}",
         "https URL"},
        {"{\"issuers\":[{\"name\":\"a\",\"issuer\":\"i\",\"jwks\":\"file:///k\"}]}", "https URL"},
        {"{\"issuers\":[{\"name\":\"A\",\"issuer\":\"i\",\"jwks\":\"/k\"}]}", "lower-case"},
        {"{\"issuers\":[{\"name\":\"robot\",\"issuer\":\"i\",\"jwks\":\"/k\"}]}", "lower-case"},
        {"{\"issuers\":[{\"name\":\"a\",\"jwks\":\"/k\"}]}", "needs \"issuer\""},
        {"{\"issuers\":[{\"name\":\"a\",\"issuer\":\"i\",\"jwks\":\"/k\",\"x\":1}]}", "\"x\""},
        {"{\"issuers\":[{\"name\":\"a\",\"issuer\":\"i\",\"jwks\":\"/k\",\"kind\":\"z\"}]}",
         "kind"},
        {"{\"issuers\":[{\"name\":\"a\",\"issuer\":\"i\",\"jwks\":\"/k\",\"require\":{\"a\":1}}]}",
         "require"},
        {"[]", "issuers"},
        {"{", ""},
    };

    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        struct issuers *is = NULL;
        struct err_detail why = {""};
        int e = issuers_parse(str_of(rows[i].json), &is, &why);

        if (e != (rows[i].says ? -ERR_INVAL : 0) ||
            (rows[i].says && !strstr(why.text, rows[i].says)))
            fail_msg("row %zu: %d %s", i, e, why.text);
        issuers_unref(is);
    }
}

/* A key set that cannot be had is asked for again after a while, not with each token. */
static int fetch_nothing(void *arg, const char *url, const char *ca, struct buf *out,
                         struct err_detail *detail)
{
    (void)url, (void)ca, (void)out;
    ++*(int *)arg;
    return err_set(detail, -ERR_UNAVAIL, "nothing");
}

static void test_fetching_is_bounded(void **state)
{
    int asked = 0;
    struct issuer_fetch fetch = {fetch_nothing, &asked};
    struct issuers *is;
    struct buf text auto_buf = BUF_INIT(4096);

    (void)state;
    assert_int_equal(issuers_parse(STR("{\"issuers\":[{\"name\":\"a\",\"issuer\":\"i\",\"jwks\":"
                                       "\"https://k\"}]}"),
                                   &is, NULL),
                     0);
    b64url_encode(&text, STR("{\"alg\":\"ES256\"}"));
    buf_addc(&text, '.');
    b64url_encode(&text, STR("{\"iss\":\"i\",\"aud\":\"svc\",\"sub\":\"x\",\"exp\":1795600300}"));
    buf_add(&text, STR(".AAAA"));
    for (int i = 0; i < 5; i++) {
        struct jwt j auto_jwt = {.header = NULL};
        struct login *l;

        assert_int_equal(jwt_read(buf_str(&text), &j, NULL), 0);
        assert_true(issuers_know(is, &j));
        assert_int_equal(issuers_verify(is, &j, STR("svc"), NOW, &fetch, &l, NULL), -ERR_UNAVAIL);
    }
    assert_int_equal(asked, 1);
    issuers_unref(is);
}

static void apply(struct robots *rs, const struct buf *op, int expect)
{
    struct json_doc *doc auto_json = NULL;

    assert_int_equal(json_parse(buf_str(op), &doc, NULL), 0);
    assert_int_equal(robots_apply(rs, json_root(doc), NOW), expect);
}

static void test_robots(void **state)
{
    char scopes[] = "repository:a/*:pull registry:catalog:*", key[ROBOT_KEY_MAX];
    struct buf op auto_buf = BUF_INIT(8192), bad auto_buf = BUF_INIT(64);
    struct jw w = JW_INIT(&op);
    struct robot robot;
    struct robots *rs;
    struct login *l = NULL;

    (void)state;
    assert_int_equal(robots_new(&rs), 0);
    robot_make(&robot, key);
    memcpy(robot.name, "ci", 3);
    robot.scopes = scopes;
    robot.expires_ms = NOW + 1000;
    robot_add_create(&w, &robot, STR("root"), STR("1"));
    assert_null(strstr(buf_c(&op), key + 21)); /* the secret is not in it */
    apply(rs, &op, 0);
    assert_true(robot_is_key(str_of(key)));
    assert_int_equal(robots_check(rs, STR("ci"), str_of(key), NOW, &l), 0);
    assert_string_equal(login_name(l), "robot:ci");
    assert_int_equal(scopes_actions(login_scopes(l), SCOPE_REPOSITORY, STR("a/b"), true),
                     ACTION_BIT(ACTION_PULL));
    login_unref(l);
    assert_int_equal(robots_check(rs, STR("other"), str_of(key), NOW, &l), -ERR_UNAUTHORIZED);
    assert_int_equal(robots_check(rs, STR("ci"), str_of(key), NOW + 1000, &l), -ERR_UNAUTHORIZED);
    key[strlen(key) - 1] ^= 1;
    assert_int_equal(robots_check(rs, STR("ci"), str_of(key), NOW, &l), -ERR_UNAUTHORIZED);
    assert_true(robots_has(rs, STR("ci"), NOW));
    buf_clear(&op);
    w = JW_INIT(&op);
    robot_add_revoke(&w, str_of(robot.id), STR("root"), STR("2"));
    apply(rs, &op, 0);
    assert_int_equal(robots_count(rs), 0);
    buf_add(&bad, STR("{\"op\":\"other\"}"));
    apply(rs, &bad, -ERR_VERSION);
    robots_free(rs);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_round),        cmocka_unit_test(test_times),
        cmocka_unit_test(test_rotation),     cmocka_unit_test(test_refresh_is_another_use),
        cmocka_unit_test(test_unreadable),   cmocka_unit_test(test_tampered),
        cmocka_unit_test(test_key_sets),     cmocka_unit_test(test_seeds),
        cmocka_unit_test(test_issuer_files), cmocka_unit_test(test_fetching_is_bounded),
        cmocka_unit_test(test_robots),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
