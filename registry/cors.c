#include "registry/cors.h"

#include "registry/app.h"
#include "registry/http.h"

struct cors cors_of(struct req *r)
{
    const struct opt_list *origins = req_app(r)->origins;
    struct cors c = {.configured = origins && origins->count > 0};
    struct str origin = c.configured ? req_header(r, "Origin") : STR_NONE;

    for (size_t i = 0; origin.len && i < origins->count; i++) {
        struct str one = str_of(origins->at[i]);

        if (str_eq(one, origin)) {
            c.origin = origin;
            c.explicit = true;
            return c;
        }
        if (str_eq(one, STR("*")))
            c.origin = STR("*");
    }
    return c;
}

bool cors_preflight(struct req *r, const char *method)
{
    if (strcmp(method, "OPTIONS") != 0 || cors_of(r).origin.len == 0 ||
        req_header(r, "Access-Control-Request-Method").len == 0)
        return false;
    req_add_header(r, "Access-Control-Allow-Methods", STR(CORS_METHODS));
    req_add_header(r, "Access-Control-Allow-Headers", STR(CORS_HEADERS));
    req_add_header(r, "Access-Control-Max-Age", STR("3600"));
    return req_reply_empty(r, 204) == 0;
}
