/* decay: what was not needed for an interval, in any unit. */
#include "core/decay.h"

#include "expect.h"

enum { DELAY = 100, INTERVAL = DELAY / 2 };

static struct bm_decay decay;

/* The amount changes as whoever owns it does that. */
static void rise(size_t *amount, size_t by)
{
    bm_decay_note(&decay, *amount);
    *amount += by;
}

Test(decay, finds_the_least_of_an_interval)
{
    size_t amount = 50;
    expect(bm_decay_begin_interval(&decay, amount, 1000, DELAY));
    amount -= 30;
    rise(&amount, 60);
    expect(!bm_decay_begin_interval(&decay, amount, 1000 + INTERVAL - 1, DELAY));
    expect(bm_decay_begin_interval(&decay, amount, 1000 + INTERVAL, DELAY));
    expect(bm_decay_take_step(&decay, amount, 1000, 1000 + INTERVAL) == 20);
    expect(bm_decay_take_step(&decay, amount, 1000, 1000 + 2 * INTERVAL - 1) == 0);
    expect(bm_decay_begin_interval(&decay, amount, 1000 + 2 * INTERVAL, DELAY));
    expect(bm_decay_take_step(&decay, amount, 1000, 1000 + 2 * INTERVAL) == 80);
}

Test(decay, goes_in_steps)
{
    enum { AMOUNT = 25, STEP = 10 };
    size_t amount = AMOUNT;
    uint64_t now_ms = 1000;
    (void)bm_decay_begin_interval(&decay, amount, now_ms, DELAY);
    now_ms += INTERVAL;
    (void)bm_decay_begin_interval(&decay, amount, now_ms, DELAY);
    static const size_t expected[] = {10, 10, 5, 0};
    for (unsigned step = 0; step < 4; step++) {
        size_t taken = bm_decay_take_step(&decay, amount, STEP, now_ms);
        expect_at(taken == expected[step], "step %u: %zu", step, taken);
        amount -= taken;
        expect(bm_decay_take_step(&decay, amount, STEP, now_ms) == 0);
        now_ms = bm_decay_due_ms(&decay, amount);
    }
    expect(amount == 0 && now_ms == UINT64_MAX);
}

/* What came into use meanwhile can't be purged. */
Test(decay, takes_no_more_than_there_is)
{
    (void)bm_decay_begin_interval(&decay, 100, 1000, DELAY);
    (void)bm_decay_begin_interval(&decay, 100, 1000 + INTERVAL, DELAY);
    expect(bm_decay_take_step(&decay, 7, 50, 1000 + INTERVAL) == 7);
}

Test(decay, is_due_at_the_next_step_or_the_intervals_end)
{
    (void)bm_decay_begin_interval(&decay, 10, 1000, DELAY);
    expect(bm_decay_due_ms(&decay, 0) == UINT64_MAX);
    expect(bm_decay_due_ms(&decay, 10) == 1000 + INTERVAL);
    (void)bm_decay_begin_interval(&decay, 10, 1000 + INTERVAL, DELAY);
    expect(bm_decay_due_ms(&decay, 10) <= 1000 + INTERVAL);
    (void)bm_decay_take_step(&decay, 10, 4, 1000 + INTERVAL);
    expect(bm_decay_due_ms(&decay, 6) == 1000 + INTERVAL + BM_DECAY_STEP_MS);
}

Test(decay, never_is_never)
{
    (void)bm_decay_begin_interval(&decay, 10, 1000, BM_PURGE_NEVER);
    uint64_t later = 1000 + 10 * BM_PURGE_DELAY_MS;
    expect(bm_decay_begin_interval(&decay, 10, later, BM_PURGE_NEVER));
    expect(bm_decay_take_step(&decay, 10, 10, later) == 0);
}

Test(decay, intervals_are_half_the_delay)
{
    expect(bm_decay_interval_ms(1000) == 500 && bm_decay_interval_ms(7) == 3);
    expect(bm_decay_interval_ms(1) == 1);
    expect(bm_decay_interval_ms(BM_PURGE_AT_ONCE) == BM_PURGE_DELAY_MS / 2);
    expect(bm_decay_interval_ms(BM_PURGE_NEVER) == BM_PURGE_DELAY_MS / 2);
}
