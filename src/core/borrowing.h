/*
 * borrowing: a size class that few blocks are of takes slots of its lender, a larger class, until
 * slabs of its own are worth while (docs/decisions/0004, 0012).
 *
 * Which cursor serves a size is said by the arena's cursor_offsets: they change here alone.
 */
#ifndef BM_CORE_BORROWING_H
#define BM_CORE_BORROWING_H

#include "core/arena.h"

/* What serves the largest size of a class, and all its sizes. */
static inline uint16_t *bm_borrowing_offset(struct bm_arena *arena, unsigned size_class)
{
    return &arena->cursor_offsets[bm_size_classes[size_class].slot_bytes / BM_QUANTUM];
}

static inline bool bm_borrows(struct bm_arena *arena, unsigned size_class)
{
    return *bm_borrowing_offset(arena, size_class) != size_class * BM_CURSOR_BYTES;
}

/* Every class but the lenders borrows from now on; size 0 has a cursor that is empty. Owner. */
void bm_borrow_all(struct bm_arena *arena);

/* Gives a class slabs of its own from now on. Owner. */
void bm_stop_borrowing(struct bm_arena *arena, unsigned size_class);

/* Whether a lender has so many slots that its borrowers had better have their own. Owner. */
bool bm_has_lent_enough(struct bm_arena *arena, unsigned lender);

#endif
