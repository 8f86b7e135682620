/* Two places to go back to: the last `*` (gives up at a '/') and the last `**` (never gives up).
 * What a `**` can reach includes all that an earlier star can, so only the newest matters, and a
 * `*` that gives up falls back to the `**` before it. */
#include "auth/glob.h"

struct retreat {
    size_t p, t; /* go on with the pattern at p, the text at t */
    bool set;
};

bool glob_match(struct str pattern, struct str text)
{
    struct retreat one = {.set = false}, all = {.set = false};
    size_t p = 0, t = 0;

    for (;;) {
        if (p < pattern.len && pattern.at[p] == '*') {
            size_t stars = 1;

            while (p + stars < pattern.len && pattern.at[p + stars] == '*')
                stars++;
            p += stars;
            if (stars == 1) {
                one = (struct retreat){p, t, true};
            } else {
                all = (struct retreat){p, t, true};
                one.set = false;
            }
            continue;
        }
        if (t == text.len && p == pattern.len)
            return true;
        if (t < text.len && p < pattern.len && pattern.at[p] == text.at[t]) {
            p++, t++;
            continue;
        }
        if (one.set && one.t < text.len && text.at[one.t] != '/') {
            p = one.p, t = ++one.t;
        } else if (all.set && all.t < text.len) {
            p = all.p, t = ++all.t;
            one.set = false;
        } else {
            return false;
        }
    }
}
