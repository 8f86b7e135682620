#include "blobstore/lease.h"

#include <assert.h>

#include "base/clock.h"
#include "base/json.h"
#include "base/log.h"
#include "base/mutant.h"
#include "base/thread.h"
#include "blobstore/keys.h"
#include "blobstore/lastlog.h"

#define OPS_MAX       256
#define RENEW_PART    3  /* of the time, a holder creates the next epoch */
#define EARLY_PART    10 /* of the time, a holder stops before others may begin */
#define LOOK_PART     8  /* of the time, others look */
#define FORGOTTEN_TTL 2  /* times, by the store's clock: nobody holds it, no need to wait */

/* What the newest epoch says. */
struct holder {
    bool held; /* else released, or there was none */
    bool mine; /* this process wrote it */
    int64_t ttl_ms, ts;
    int64_t seen_ms; /* clock_boot_ms when this node saw it */
    bool fresh;      /* seen by the look in progress */
};

struct lease {
    struct node *node; /* borrowed */
    struct lastlog *log;
    char job[KEYS_WORD_MAX + 1];
    int64_t ttl_ms;
    struct holder holder;

    struct mutex mu;
    uint64_t epoch;   /* guarded by mu: first one of ours in a row, 0: not held */
    int64_t until_ms; /* guarded by mu: clock_boot_ms */
    int64_t renew_ms; /* when the next one is due */
};

int lease_new(struct node *n, struct str job, int64_t ttl_ms, struct lease **ret)
{
    struct buf prefix auto_buf = BUF_INIT(STORE_KEY_MAX);
    struct lease *l;
    int e;

    assert(n && keys_word_valid(job) && ttl_ms >= LEASE_TTL_MIN_MS);
    l = calloc(1, sizeof(*l));
    if (!l)
        return -ERR_NOMEM;
    mutex_init(&l->mu);
    l->node = n;
    l->ttl_ms = ttl_ms;
    memcpy(l->job, job.at, job.len);
    keys_lease(&prefix, job);
    e = buf_err(&prefix);
    if (e == 0)
        e = lastlog_new(n, buf_str(&prefix), &l->log);
    if (e < 0) {
        lease_free(l);
        return e;
    }
    *ret = l;
    return 0;
}

void lease_free(struct lease *l)
{
    if (!l)
        return;
    lastlog_free(l->log);
    mutex_done(&l->mu);
    free(l);
}

uint64_t lease_epoch(struct lease *l)
{
    uint64_t epoch;

    mutex_lock(&l->mu);
    epoch = clock_boot_ms() < l->until_ms || mutant("lease-forever") ? l->epoch : 0;
    mutex_unlock(&l->mu);
    return epoch;
}

static void set_held(struct lease *l, uint64_t epoch, int64_t sent_ms)
{
    mutex_lock(&l->mu);
    l->epoch = epoch;
    l->until_ms = epoch ? sent_ms + l->ttl_ms - l->ttl_ms / EARLY_PART : 0;
    mutex_unlock(&l->mu);
    l->renew_ms = sent_ms + l->ttl_ms / RENEW_PART;
}

/* ---- epochs */

static int apply(const struct objlog_entry *e, void *arg)
{
    struct lease *l = arg;
    const struct json *op = json_at(e->ops, 0);
    struct str word;
    int64_t ttl = 0;

    if (json_len(e->ops) == 0)
        return 0; /* settles a number and means nothing else (B7) */
    if (!json_get_str(op, "op", &word))
        return -ERR_CORRUPT;
    if (str_eq(word, STR("hold"))) {
        if (!json_get_int(op, "ttl", &ttl) || ttl <= 0)
            return -ERR_CORRUPT;
    } else if (!str_eq(word, STR("release"))) {
        return -ERR_VERSION;
    }
    l->holder = (struct holder){.held = ttl > 0,
                                .mine = str_eq(e->node, node_id(l->node)),
                                .ttl_ms = ttl,
                                .ts = e->ts,
                                .fresh = true};
    return 0;
}

static int look(struct lease *l, struct err_detail *detail)
{
    int e;

    l->holder.fresh = false;
    e = lastlog_read(l->log, apply, l, detail);
    if (l->holder.fresh)
        l->holder.seen_ms = clock_boot_ms();
    return e;
}

static int append(struct lease *l, const char *word, int64_t looked_ms, struct err_detail *detail)
{
    struct buf ops auto_buf = BUF_INIT(OPS_MAX);
    struct jw w = JW_INIT(&ops);

    jw_begin(&w, '[');
    jw_begin(&w, '{');
    jw_kstr(&w, "op", str_of(word));
    if (strcmp(word, "hold") == 0)
        jw_kint(&w, "ttl", l->ttl_ms);
    jw_end(&w, '}');
    jw_end(&w, ']');
    return buf_err(&ops) < 0 ? buf_err(&ops)
                             : lastlog_append(l->log, buf_str(&ops), looked_ms, detail);
}

/* May this node create the next epoch? The holder's time is counted from when it was seen; only one
 * that is long gone by the store's clock is not waited for. */
static bool is_free(struct lease *l)
{
    const struct holder *h = &l->holder;
    int64_t now;

    if (!h->held || clock_boot_ms() - h->seen_ms >= h->ttl_ms)
        return true;
    return store_now(node_store(l->node), &now, NULL) == 0 &&
           now - h->ts > FORGOTTEN_TTL * h->ttl_ms;
}

static int take(struct lease *l, uint64_t epoch, int64_t looked_ms, struct err_detail *detail)
{
    int64_t sent_ms = clock_boot_ms();
    int e = append(l, "hold", looked_ms, detail);

    if (e < 0)
        return e;
    if (!epoch)
        log_info("lease.taken", KV_S("job", l->job), KV_I("epoch", (int64_t)lastlog_seq(l->log)));
    set_held(l, epoch ? epoch : lastlog_seq(l->log), sent_ms);
    l->holder =
        (struct holder){.held = true, .mine = true, .ttl_ms = l->ttl_ms, .seen_ms = sent_ms};
    return 0;
}

static void lose(struct lease *l)
{
    if (l->epoch)
        log_warn("lease.lost", KV_S("job", l->job), KV_I("epoch", (int64_t)l->epoch));
    set_held(l, 0, 0);
}

int lease_step(struct lease *l, int64_t *ret_wait_ms, struct err_detail *detail)
{
    int64_t looked_ms = clock_boot_ms();
    uint64_t epoch = lease_epoch(l);
    int e = 0;

    *ret_wait_ms = l->ttl_ms / LOOK_PART;
    if (epoch && looked_ms < l->renew_ms) {
        *ret_wait_ms =
            l->renew_ms - looked_ms < *ret_wait_ms ? l->renew_ms - looked_ms : *ret_wait_ms;
        return 0;
    }
    e = look(l, detail);
    if (e < 0)
        return e;
    /* Whose time has passed begins a new epoch, like anybody else. */
    epoch = l->holder.held && l->holder.mine ? lease_epoch(l) : 0;
    if (!epoch)
        lose(l);
    if (epoch || is_free(l))
        e = take(l, epoch, looked_ms, detail);
    return e == -ERR_EXISTS ? look(l, detail) : e;
}

int lease_released(struct lease *l, int64_t *ret_ms, struct err_detail *detail)
{
    int e = look(l, detail);

    if (e == 0)
        *ret_ms = l->holder.held ? 0 : l->holder.ts;
    return e;
}

void lease_release(struct lease *l)
{
    struct err_detail why = {""};
    int64_t now = 0;

    if (!lease_epoch(l))
        return;
    set_held(l, 0, 0);
    if (append(l, "release", clock_boot_ms(), &why) == 0 &&
        store_now(node_store(l->node), &now, &why) == 0)
        l->holder = (struct holder){.mine = true, .ts = now};
    else
        log_info("lease.not_released", KV_S("job", l->job), KV_S("why", why.text));
}
