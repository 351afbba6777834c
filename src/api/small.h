/*
 * small: the fast paths of small blocks, for every entry point that allocates or frees one to
 * inline. Each either does all of its work, or nothing that a slow path can't start over from; as
 * always in the hardened library, where blocks are not handed out as they are.
 */
#ifndef BM_API_SMALL_H
#define BM_API_SMALL_H

#include "api/thread_arena.h"
#include "core/arena.h"

/* Takes a slot for `size` bytes, at most BM_SMALL_MAX. False: the thread's arena has none at hand. */
BM_INLINE bool bm_small_take(size_t size, void **block)
{
    return !BM_HARDENED && bm_arena_take(bm_arena_cursor(bm_thread.fast, size), block);
}

/* Frees a live slot of the thread's arena. False: it is none, or needs a closer look. */
BM_INLINE bool bm_small_free(void *block)
{
    return !BM_HARDENED && bm_arena_free_fast(bm_thread.fast, block);
}

#endif
