/*
 * decay: how much of what lies free was not needed lately, and goes back to the system.
 *
 * It asks for need, not for age (docs/decisions/0011). The fewest that lay free at any moment of
 * an interval, half the purge delay long, are those that nobody had a use for in it; as many go in
 * the next interval, a few at a time. So what goes up and down keeps what it is going to use, and
 * what stays down has given back all within the purge delay, as far as the steps are enough for it.
 *
 * It counts in any unit: free chunks of the regions, free leaves of an arena's trees. It knows
 * neither, and takes no lock.
 */
#ifndef BM_CORE_DECAY_H
#define BM_CORE_DECAY_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum {
    /* Purge delays, in milliseconds: the default, and what has a meaning of its own. */
    BM_PURGE_DELAY_MS = 1000,
    BM_PURGE_AT_ONCE = 0,
    BM_PURGE_NEVER = -1,
    /* Between two steps of one purge. */
    BM_DECAY_STEP_MS = 10,
};

struct bm_decay {
    size_t least;    /* at any moment of this interval */
    size_t unneeded; /* the least of the one before, without what was purged since */
    uint64_t interval_end_ms;
    uint64_t next_step_ms;
};

/* To be called before the amount rises: it may just have been as low as it got. */
static inline void bm_decay_note(struct bm_decay *decay, size_t amount)
{
    if (decay->least > amount)
        decay->least = amount;
}

/* The length of an interval. With delays that know none, whatever else is done now and then is
 * done as often as by default. */
static inline uint64_t bm_decay_interval_ms(int delay_ms)
{
    return delay_ms > 1 ? (uint64_t)delay_ms / 2 : delay_ms == 1 ? 1 : BM_PURGE_DELAY_MS / 2;
}

/* Begins a new interval if the last one is over at `now_ms` of a clock that never goes back: true
 * then. */
bool bm_decay_begin_interval(struct bm_decay *decay, size_t amount, uint64_t now_ms, int delay_ms);

/* How much of `amount` to purge now, at most `step`. What is returned counts as purged. */
size_t bm_decay_take_step(struct bm_decay *decay, size_t amount, size_t step, uint64_t now_ms);

/* So much of a step was not purged, but may be in the next. */
void bm_decay_put_back(struct bm_decay *decay, size_t amount);

/* When to ask again; UINT64_MAX: not before the amount rises. */
uint64_t bm_decay_due_ms(const struct bm_decay *decay, size_t amount);

#endif
