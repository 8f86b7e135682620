/* Helpers of the targets, and the function that libFuzzer looks for. */
#include "fuzz.h"

#include <regex.h>
#include <stdio.h>

#include "base/log.h"

struct fuzz_regex {
    regex_t compiled;
};

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    log_set_level(LOG_ERROR);
    if (size <= FUZZ_INPUT_MAX)
        fuzz_one(str_make(data, size));
    return 0;
}

uint8_t fuzz_u8(struct str *in)
{
    uint8_t v = in->len ? (uint8_t)in->at[0] : 0;

    *in = str_skip(*in, 1);
    return v;
}

uint64_t fuzz_u64(struct str *in)
{
    uint64_t v = 0;

    for (int i = 0; i < 8; i++)
        v |= (uint64_t)fuzz_u8(in) << (8 * i);
    return v;
}

struct str fuzz_line(struct str *in)
{
    ptrdiff_t feed = str_find(*in, '\n');
    struct str line = feed < 0 ? *in : str_head(*in, (size_t)feed);

    *in = str_skip(*in, line.len + 1);
    return line;
}

bool fuzz_edit(struct buf *bytes, struct str edits)
{
    bool changed = false;

    while (edits.len >= 3 && bytes->len > 0) {
        size_t place = fuzz_u8(&edits);
        uint8_t value;

        place = (place << 8 | fuzz_u8(&edits)) % bytes->len;
        value = fuzz_u8(&edits);
        changed = changed || (uint8_t)bytes->at[place] != value;
        bytes->at[place] = (char)value;
    }
    return changed;
}

bool fuzz_has_nul(struct str s)
{
    return s.len && memchr(s.at, 0, s.len);
}

char *fuzz_text(struct str s)
{
    char *text = malloc(s.len + 1);

    assert(text);
    memcpy(text, s.len ? s.at : "", s.len);
    text[s.len] = '\0';
    return text;
}

bool fuzz_matches(struct fuzz_regex **regex, const char *expression, struct str s)
{
    char *text auto_free = NULL;

    if (!*regex) {
        *regex = malloc(sizeof(**regex));
        assert(*regex);
        fuzz_need(regcomp(&(*regex)->compiled, expression, REG_EXTENDED | REG_NOSUB), "regcomp");
    }
    if (fuzz_has_nul(s))
        return false;
    text = fuzz_text(s);
    return regexec(&(*regex)->compiled, text, 0, NULL, 0) == 0;
}

void fuzz_need(int err, const char *what)
{
    if (err == 0)
        return;
    fprintf(stderr, "fuzz: %s: error %d\n", what, err);
    abort();
}
