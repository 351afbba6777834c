#include "core/decay.h"

static size_t smaller_of(size_t left, size_t right)
{
    return left < right ? left : right;
}

bool bm_decay_begin_interval(struct bm_decay *decay, size_t amount, uint64_t now_ms, int delay_ms)
{
    if (now_ms < decay->interval_end_ms)
        return false;
    bm_decay_note(decay, amount);
    decay->unneeded = delay_ms == BM_PURGE_NEVER ? 0 : decay->least;
    decay->least = amount;
    decay->interval_end_ms = now_ms + bm_decay_interval_ms(delay_ms);
    return true;
}

size_t bm_decay_take_step(struct bm_decay *decay, size_t amount, size_t step, uint64_t now_ms)
{
    size_t taken = smaller_of(smaller_of(decay->unneeded, step), amount);
    if (taken == 0 || now_ms < decay->next_step_ms)
        return 0;
    decay->unneeded -= taken;
    decay->next_step_ms = now_ms + BM_DECAY_STEP_MS;
    return taken;
}

void bm_decay_put_back(struct bm_decay *decay, size_t amount)
{
    decay->unneeded += amount;
}

uint64_t bm_decay_due_ms(const struct bm_decay *decay, size_t amount)
{
    if (amount == 0)
        return UINT64_MAX;
    return decay->unneeded != 0 ? decay->next_step_ms : decay->interval_end_ms;
}
