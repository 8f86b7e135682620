/* A client of its own for each: this happens every few minutes at most. */
#include "registry/fetch.h"

#include "base/clock.h"
#include "blobstore/httpc.h"

int fetch_url(void *arg, const char *url, const char *ca_file, struct buf *out,
              struct err_detail *detail)
{
    struct httpc_settings settings = {.ca_file = ca_file, .connections_max = 1};
    struct httpc_request r = {
        .method = "GET", .url = url, .deadline_ms = clock_boot_ms() + FETCH_MS, .answer = out};
    struct httpc *h;
    int e = httpc_new(&settings, &h, detail);

    (void)arg;
    if (e < 0)
        return e;
    e = httpc_run(h, &r);
    if (e == 0 && r.result == HTTPC_TOO_LARGE)
        e = err_set(detail, -ERR_UNAVAIL, "%s answers too much", url);
    else if (e == 0 && r.result != HTTPC_ANSWERED)
        e = err_set(detail, -ERR_UNAVAIL, "%s does not answer", url);
    else if (e == 0 && r.status != 200)
        e = err_set(detail, -ERR_UNAVAIL, "%s answers %u", url, r.status);
    httpc_request_done(&r);
    httpc_free(h);
    return e;
}
