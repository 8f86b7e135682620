#include "auth/action.h"

#include <assert.h>

static const char *const words[] = {
#define ACTION_WORD(name, word) word,
    ACTION_TABLE(ACTION_WORD)
#undef ACTION_WORD
};

const char *action_word(enum action a)
{
    assert((size_t)a < ARRAY_LEN(words));
    return words[a];
}

unsigned action_bits(struct str word)
{
    if (str_eq(word, STR("*")))
        return ACTIONS_GRANTED;
    for (size_t i = 0; i < ARRAY_LEN(words); i++)
        if ((ACTIONS_GRANTED & ACTION_BIT(i)) && str_eq(word, str_of(words[i])))
            return ACTION_BIT(i);
    return 0;
}
