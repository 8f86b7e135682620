/* An event is a flag under a lock of its own. The setter's last touch is the unlock, which the
 * waiter's lock comes after. */
#include "base/event.h"

#include <assert.h>

#include "base/clock.h"

void event_init(struct event *e)
{
    mutex_init(&e->mu);
    cond_init(&e->changed);
    e->set = false;
}

void event_done(struct event *e)
{
    cond_done(&e->changed);
    mutex_done(&e->mu);
}

void event_set(struct event *e)
{
    mutex_lock(&e->mu);
    assert(!e->set);
    e->set = true;
    cond_signal(&e->changed);
    mutex_unlock(&e->mu);
}

void event_wait(struct event *e)
{
    mutex_lock(&e->mu);
    while (!e->set)
        cond_wait(&e->changed, &e->mu);
    e->set = false;
    mutex_unlock(&e->mu);
}

bool event_wait_until(struct event *e, int64_t deadline_ms)
{
    bool set;

    mutex_lock(&e->mu);
    while (!e->set && clock_boot_ms() < deadline_ms)
        (void)cond_wait_until(&e->changed, &e->mu, deadline_ms);
    set = e->set;
    e->set = false;
    mutex_unlock(&e->mu);
    return set;
}
