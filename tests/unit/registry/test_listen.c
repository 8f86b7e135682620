/* Listening addresses: what is accepted, what is refused and how it is said. Everything listens on
 * loopback or on a local socket in a scratch folder. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/buf.h"
#include "registry/listen.h"

static struct access *access_of(bool network)
{
    struct access_settings settings = {.allow_anonymous_network = network};
    struct access *a;

    assert_int_equal(access_new(&settings, &a, NULL), 0);
    return a;
}

static void close_socket(struct listen_socket *s)
{
    close(s->fd);
    if (s->unlink_path)
        unlink(s->unlink_path);
    free(s->unlink_path);
}

static int open_text(const char *text, bool network, struct listen_socket *ret,
                     struct err_detail *why)
{
    struct access *a = access_of(network);
    int e;

    why->text[0] = '\0';
    e = listen_open(str_of(text), a, ret, why);
    access_free(a);
    return e;
}

/* Port 0 everywhere: no fixed port is ever taken. */
static void test_accepted(void **state)
{
    static const struct {
        const char *text, *url;
    } rows[] = {
        {"127.0.0.1:0", "http://127.0.0.1:"},
        {"localhost:0", "http://127.0.0.1:"},
        {"127.0.0.2:00", "http://127.0.0.2:"},
        {"[::1]:0", "http://[::1]:"},
    };
    struct err_detail why;

    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        struct listen_socket s = {.fd = -1};
        int e = open_text(rows[i].text, false, &s, &why);

        if (rows[i].text[0] == '[' && e == -ERR_IO)
            continue; /* a machine without IPv6 */
        if (e != 0)
            fail_msg("%s: %s", rows[i].text, why.text);
        assert_true(str_starts(str_of(s.url), str_of(rows[i].url)));
        assert_true(strlen(s.url) > strlen(rows[i].url));
        assert_true(s.url[strlen(rows[i].url)] != '0');
        assert_null(s.unlink_path);
        assert_true(fcntl(s.fd, F_GETFL) & O_NONBLOCK);
        assert_true(fcntl(s.fd, F_GETFD) & FD_CLOEXEC);
        close_socket(&s);
    }
}

static void test_malformed(void **state)
{
    static const char *const rows[] = {
        "",
        ":",
        ":0",
        "127.0.0.1",
        "127.0.0.1:",
        "127.0.0.1:x",
        "127.0.0.1:-1",
        "127.0.0.1:+1",
        "127.0.0.1: 1",
        "127.0.0.1:65536",
        "127.0.0.1:18446744073709551616",
        "127.0.0.1:0:0",
        "127.1:0",
        "0127.0.0.1:0",
        "256.0.0.1:0",
        "[127.0.0.1]:0",
        "[::1]",
        "[::1:0",
        "[::1]0",
        "[]:0",
        "[::1]x:0",
        "::1:0",
        "[::g]:0",
        "[fe80::1%lo]:0",
        "registry.example:0",
        "LOCALHOST:0",
        "http://127.0.0.1:0",
        "1111111111111111111111111111111111111111111111111111111111111:0",
        "unix:",
    };
    struct listen_socket s = {.fd = -1};
    struct err_detail why;

    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        if (open_text(rows[i], true, &s, &why) != -ERR_INVAL)
            fail_msg("%s", rows[i]);
        assert_non_null(strstr(why.text, "is no address"));
        assert_int_equal(s.fd, -1);
    }
}

/* Refused before a socket exists; loopback is judged by the number, not by its spelling. */
static void test_network_is_refused(void **state)
{
    static const char *const rows[] = {
        "0.0.0.0:0", "[::]:0", "192.0.2.1:0", "128.0.0.1:0", "[2001:db8::1]:0", "[::2]:0",
    };
    struct listen_socket s = {.fd = -1};
    struct err_detail why;

    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        assert_int_equal(open_text(rows[i], false, &s, &why), -ERR_DENIED);
        assert_non_null(strstr(why.text, rows[i]));
        assert_int_equal(s.fd, -1);
    }
}

static void test_taken(void **state)
{
    struct listen_socket first = {.fd = -1}, second = {.fd = -1};
    struct err_detail why;

    (void)state;
    assert_int_equal(open_text("127.0.0.1:0", false, &first, &why), 0);
    assert_int_equal(open_text(first.url + strlen("http://"), false, &second, &why), -ERR_EXISTS);
    assert_non_null(strstr(why.text, "taken"));
    assert_non_null(strstr(why.text, first.url + strlen("http://")));
    close_socket(&first);
}

/* ---- Local sockets. */
struct scratch {
    char dir[64];
    char socket[96];
    char address[112];
};

static int make_scratch(void **state)
{
    struct scratch *s = calloc(1, sizeof(*s));

    assert_non_null(s);
    snprintf(s->dir, sizeof(s->dir), "/tmp/listen-XXXXXX");
    assert_non_null(mkdtemp(s->dir));
    snprintf(s->socket, sizeof(s->socket), "%s/s", s->dir);
    snprintf(s->address, sizeof(s->address), "unix:%s", s->socket);
    *state = s;
    return 0;
}

static int drop_scratch(void **state)
{
    struct scratch *s = *state;

    unlink(s->socket);
    assert_int_equal(rmdir(s->dir), 0);
    free(s);
    return 0;
}

static void test_unix(void **state)
{
    struct scratch *t = *state;
    struct listen_socket s = {.fd = -1};
    struct err_detail why;
    struct stat st;
    mode_t before = umask(0);

    assert_int_equal(open_text(t->address, false, &s, &why), 0);
    umask(before);
    assert_string_equal(s.url, t->address);
    assert_string_equal(s.unlink_path, t->socket);
    assert_int_equal(stat(t->socket, &st), 0);
    assert_int_equal(st.st_mode & 07777, 0660); /* whatever the umask */
    close_socket(&s);
}

static void test_unix_mode_under_strict_umask(void **state)
{
    struct scratch *t = *state;
    struct listen_socket s = {.fd = -1};
    struct err_detail why;
    struct stat st;
    mode_t before = umask(0777);
    int e = open_text(t->address, false, &s, &why);

    umask(before);
    assert_int_equal(e, 0);
    assert_int_equal(stat(t->socket, &st), 0);
    assert_int_equal(st.st_mode & 07777, 0660);
    close_socket(&s);
}

/* A socket that somebody answers on is taken; one left by a dead process is replaced. */
static void test_unix_taken_and_stale(void **state)
{
    struct scratch *t = *state;
    struct listen_socket first = {.fd = -1}, second = {.fd = -1};
    struct err_detail why;

    assert_int_equal(open_text(t->address, false, &first, &why), 0);
    assert_int_equal(open_text(t->address, false, &second, &why), -ERR_EXISTS);
    assert_int_equal(access(t->socket, F_OK), 0);
    close(first.fd); /* as a kill leaves it: the file stays */
    free(first.unlink_path);
    assert_int_equal(access(t->socket, F_OK), 0);
    assert_int_equal(open_text(t->address, false, &second, &why), 0);
    close_socket(&second);
}

/* Never removes what is no socket. */
static void test_unix_path_is_a_file(void **state)
{
    struct scratch *t = *state;
    struct listen_socket s = {.fd = -1};
    struct err_detail why;
    int fd = open(t->socket, O_CREAT | O_WRONLY, 0600);

    assert_true(fd >= 0);
    close(fd);
    assert_true(open_text(t->address, false, &s, &why) < 0);
    assert_true(why.text[0] != '\0');
    assert_int_equal(access(t->socket, F_OK), 0);
}

static void test_unix_path_length(void **state)
{
    struct buf text auto_buf = BUF_INIT(256);
    struct listen_socket s = {.fd = -1};
    struct err_detail why;

    (void)state;
    buf_add(&text, STR("unix:/tmp/"));
    while (text.len < strlen("unix:") + 108)
        buf_addc(&text, 'x');
    assert_int_equal(open_text(buf_c(&text), false, &s, &why), -ERR_INVAL);
    assert_int_equal(open_text("unix:/nonexistent-folder/s", false, &s, &why), -ERR_NOTFOUND);
    assert_non_null(strstr(why.text, "/nonexistent-folder/s"));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_accepted),
        cmocka_unit_test(test_malformed),
        cmocka_unit_test(test_network_is_refused),
        cmocka_unit_test(test_taken),
        cmocka_unit_test_setup_teardown(test_unix, make_scratch, drop_scratch),
        cmocka_unit_test_setup_teardown(test_unix_mode_under_strict_umask, make_scratch,
                                        drop_scratch),
        cmocka_unit_test_setup_teardown(test_unix_taken_and_stale, make_scratch, drop_scratch),
        cmocka_unit_test_setup_teardown(test_unix_path_is_a_file, make_scratch, drop_scratch),
        cmocka_unit_test(test_unix_path_length),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
