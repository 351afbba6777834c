/*
 * small: the fast paths of small blocks, for every entry point that allocates or frees one to
 * inline. Each either does all of its work, or nothing that a slow path can't start over from; as
 * always in the hardened library, where blocks are not handed out as they are.
 */
#ifndef BM_API_SMALL_H
#define BM_API_SMALL_H

#include "api/thread_arena.h"
#include "base/bits.h"
#include "core/arena.h"

/* Takes a slot for `size` bytes, at most BM_SMALL_MAX. False: the thread's arena has none at
 * hand. */
BM_INLINE bool bm_small_take(size_t size, void **block)
{
    return !BM_HARDENED && bm_cursor_take(bm_arena_cursor(bm_thread.fast, size), block);
}

/* The same for any size, at a multiple of `alignment`: a size that is a multiple of a power of two
 * up to a leaf has a class whose slots are too. */
BM_INLINE bool bm_small_take_aligned(size_t alignment, size_t size, void **block)
{
    return bm_likely(size - 1 < BM_SMALL_MAX) && bm_likely(alignment <= BM_LEAF_BYTES) &&
           bm_likely(bm_is_power_of_two(alignment)) &&
           bm_small_take(bm_round_up(size, alignment), block);
}

/* Frees a live slot of the thread's arena. False: it is none, or needs a closer look. */
BM_INLINE bool bm_small_free(void *block)
{
    return !BM_HARDENED && bm_arena_free_fast(bm_thread.fast, block);
}

#endif
