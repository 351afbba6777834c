/*
 * page block: a block of whole leaves, above the largest slot and up to half a chunk.
 *
 * It is a slab of one slot. The arena keeps a few of them current by their length: such a block
 * is freed by the fast path, which sets its bit, and taken again by clearing it, without the
 * gate and without the buddy tree. How much may lie kept is bounded.
 *
 * Its pages may go back all the same while the owner sleeps: whoever has the gate claims a free
 * kept block by its word, which is then neither that of a free block nor that of a live one.
 */
#ifndef BM_CORE_PAGE_BLOCK_H
#define BM_CORE_PAGE_BLOCK_H

#include "core/arena.h"

/* Where a page block of so many leaves is kept. */
BM_INLINE struct bm_kept *bm_page_block_kept(struct bm_arena *arena, size_t leaves)
{
    return &arena->kept[leaves % BM_KEPT_PAGE_BLOCKS];
}

/* Takes a kept block of exactly the leaves that `bytes` need. False: none is free, or it is being
 * purged. An exchange, because others may claim it at the same moment. Owner. */
BM_INLINE bool bm_page_block_take(struct bm_arena *arena, size_t bytes, void **block)
{
    size_t leaves = (bytes + BM_LEAF_BYTES - 1) / BM_LEAF_BYTES;
    struct bm_kept *kept = bm_page_block_kept(arena, leaves);
    if (kept->leaves != leaves)
        return false;
    _Atomic uint64_t *word = &kept->slab->free[0];
    uint64_t free = 1;
    /* No test can time a claim to come between: GCOVR_EXCL_BR_START */
    if (atomic_load_explicit(word, memory_order_relaxed) != free ||
        !atomic_compare_exchange_strong_explicit(word, &free, 0, memory_order_acquire,
                                                 memory_order_relaxed))
        return false;
    /* GCOVR_EXCL_BR_STOP */
    atomic_store_explicit(&kept->age, BM_KEPT_USED, memory_order_relaxed);
    *block = kept->block;
    return true;
}

/* A block of `bytes` (rounded up to leaves, at most BM_PAGE_BLOCK_MAX) at a multiple of
 * `alignment`, a power of two up to BM_PAGE_BLOCK_MAX. *is_zero: whether it reads as zero.
 * Owner; takes the gate. NULL: no memory. */
void *bm_page_block_allocate(struct bm_arena *arena, size_t bytes, size_t alignment, bool *is_zero);

/* Resizes a live page block of the owner's arena in place; it is no longer kept. False: it cannot,
 * or not without moving; it is as long as it was. Owner; takes the gate. */
BM_MUST_CHECK bool bm_page_block_resize(struct bm_arena *arena, struct bm_tree *tree,
                                        struct bm_slab *slab, size_t bytes);

/* Keeps a page block that is free and not kept. False: there is no place. Gate. */
bool bm_page_block_keep(struct bm_arena *arena, struct bm_tree *tree, struct bm_slab *slab);

/* Purges free kept blocks that are of an age at least; younger ones get older. Bytes that the
 * system held of them. Any thread, under the gate. */
size_t bm_page_block_purge(struct bm_arena *arena, enum bm_kept_age age);

/* Whether a kept block is free, and would be purged in the end. Any thread, under the gate. */
bool bm_page_block_ages(struct bm_arena *arena);

/* Whether a page block is kept, and its pages have gone since it was freed. Any thread, under the
 * gate. */
bool bm_page_block_is_purged(struct bm_arena *arena, const struct bm_slab *slab);

/* Lets go of all kept blocks. Owner, under the gate. */
void bm_page_block_drop_all(struct bm_arena *arena);

#endif
