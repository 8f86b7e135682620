/* Bits under a lock of their own. The setter's last touch is the unlock, which the waiter's lock
 * comes after. */
#include "base/event.h"

#include <assert.h>

#include "base/clock.h"

void event_init(struct event *e)
{
    mutex_init(&e->mu);
    cond_init(&e->changed);
    e->said = 0;
}

void event_done(struct event *e)
{
    cond_done(&e->changed);
    mutex_done(&e->mu);
}

void event_set(struct event *e, unsigned bits)
{
    assert(bits != 0);
    mutex_lock(&e->mu);
    e->said |= bits;
    cond_signal(&e->changed);
    mutex_unlock(&e->mu);
}

/* With mu held, which it gives back. */
static unsigned take(struct event *e)
{
    unsigned said = e->said;

    e->said = 0;
    mutex_unlock(&e->mu);
    return said;
}

unsigned event_wait(struct event *e)
{
    mutex_lock(&e->mu);
    while (e->said == 0)
        cond_wait(&e->changed, &e->mu);
    return take(e);
}

unsigned event_wait_until(struct event *e, int64_t deadline_ms)
{
    mutex_lock(&e->mu);
    while (e->said == 0 && cond_wait_until(&e->changed, &e->mu, deadline_ms))
        ;
    return take(e);
}
