/*
 * own chunks: the trees that an arena's owner knows to be its own, all slabs in them included. The
 * fast paths look there (bm_arena_own_chunk) and nowhere else; what they don't find takes the slow
 * path.
 *
 * The owner adds a tree when it frees a block there, or keeps a page block there to take again.
 * Whoever releases a tree removes it, and who makes another arena's slab in it (guest.h).
 */
#ifndef BM_CORE_OWN_CHUNKS_H
#define BM_CORE_OWN_CHUNKS_H

#include "core/arena.h"

/* Where there is none yet, and all bytes are zero. */
void bm_own_chunks_init(struct bm_arena *arena);

/* Adds a tree in which the arena has a slab, unless it has guests, as it does if it is another's.
 * Owner, with or without the gate. */
void bm_own_chunks_enter(struct bm_arena *arena, struct bm_tree *tree);

/* The same of one that mostly is there. */
BM_INLINE void bm_own_chunks_add(struct bm_arena *arena, struct bm_tree *tree)
{
    if (bm_unlikely(bm_peek(*bm_arena_own_chunk(arena, (uintptr_t)tree)) != tree))
        bm_own_chunks_enter(arena, tree);
}

/* Gate. Guests are counted before. */
void bm_own_chunks_remove(struct bm_arena *arena, const struct bm_tree *tree);

/* Owner. */
void bm_own_chunks_clear(struct bm_arena *arena);

#endif
