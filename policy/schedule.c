#include "policy/schedule.h"

#include "protocol/base/when.h"

#define FIRST_WAIT (5 * WHEN_MINUTE)
#define LAST_WAIT  (8 * WHEN_HOUR)

int64_t schedule_renewal_start(int64_t not_before, int64_t not_after, uint64_t renewal_period)
{
    int64_t life = not_after > not_before ? not_after - not_before : 0;
    int64_t window = life / 5;

    if (renewal_period < (uint64_t)window)
        window = (int64_t)renewal_period;
    return not_after - window;
}

int64_t schedule_back_off(unsigned failures, uint32_t chance)
{
    int64_t wait = FIRST_WAIT;

    while (failures-- > 1 && wait < LAST_WAIT)
        wait *= 2;
    if (wait > LAST_WAIT)
        wait = LAST_WAIT;
    return wait / 2 + (int64_t)(chance % (uint64_t)(wait / 2 + 1));
}
