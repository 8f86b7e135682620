/* Input: arguments of the program, one a line; read by the program's own table and by one that has
 * every type. */
#include <stddef.h>

#include "base/opt.h"
#include "fuzz.h"
#include "registry/config.h"

#define ARGS_MAX 64

struct settings {
    const char *string;
    struct opt_list list;
    int64_t size, count, age;
    bool flag;
    int choice;
};

static const struct opt_spec specs[] = {
    {"string", OPT_STRING, "S", NULL, NULL, 0, 0, "A string.", offsetof(struct settings, string)},
    {"list", OPT_LIST, "S", "one", NULL, 0, 0, "A list.", offsetof(struct settings, list)},
    {"size", OPT_SIZE, "N", "4KiB", NULL, 1, INT64_C(1) << 50, "A size.",
     offsetof(struct settings, size)},
    {"count", OPT_COUNT, "N", "7", NULL, 2, 512, "A count.", offsetof(struct settings, count)},
    {"age", OPT_SECONDS, "T", "24h", NULL, 0, 0, "A time.", offsetof(struct settings, age)},
    {"flag", OPT_BOOL, NULL, "false", NULL, 0, 0, "A flag.", offsetof(struct settings, flag)},
    {"choice", OPT_CHOICE, NULL, "a", "a|bb|ccc", 0, 0, "A choice.",
     offsetof(struct settings, choice)},
};

struct args {
    char *text;
    char *at[ARGS_MAX];
    int count;
};

static void split(struct str input, struct args *a)
{
    a->text = fuzz_text(input);
    for (char *at = a->text; at && a->count < ARGS_MAX;) {
        char *feed = strchr(at, '\n');

        a->at[a->count++] = at;
        if (feed)
            *feed++ = '\0';
        at = feed;
    }
}

/* Strings are those of the arguments or of the table. */
static void check_borrowed(const struct args *a, size_t len, const char *s, const char *initial)
{
    assert((s >= a->text && s <= a->text + len) || s == initial);
}

static void check_settings(const struct args *a, size_t len, const struct settings *s)
{
    check_borrowed(a, len, s->string, NULL);
    assert(s->list.count >= 1 && s->list.count <= OPT_LIST_MAX);
    for (size_t i = 0; i < s->list.count; i++)
        check_borrowed(a, len, s->list.at[i], specs[1].initial);
    assert(s->size >= 1 && s->size <= INT64_C(1) << 50);
    assert(s->count >= 2 && s->count <= 512 && s->age >= 0);
    assert(s->choice >= 0 && s->choice <= 2);
}

static void check_result(int r, const struct err_detail *detail)
{
    assert(r == 0 || (r == -ERR_INVAL && detail->text[0]));
    assert(memchr(detail->text, 0, sizeof(detail->text)));
}

void fuzz_one(struct str input)
{
    struct err_detail detail = {{0}};
    struct args a = {.count = 0};
    struct settings s;
    struct config config;
    struct opt_list rest;
    size_t len;
    int r;

    split(input, &a);
    len = input.len;
    r = opt_parse(specs, ARRAY_LEN(specs), a.count, a.at, &s, &rest, &detail);
    check_result(r, &detail);
    assert(rest.count <= OPT_LIST_MAX);
    if (r == 0)
        check_settings(&a, len, &s);
    detail.text[0] = '\0';
    r = opt_parse(config_specs, config_spec_count, a.count, a.at, &config, &rest, &detail);
    check_result(r, &detail);
    if (r == 0)
        assert(config.workers >= 2 && config.workers <= 512 && config.listen.count > 0);
    free(a.text);
}
