/*
 * page block: a block of whole leaves, above the largest slot and up to half a chunk.
 *
 * It is a slab of one slot. The arena keeps a few of them current by their length: such a block
 * is freed by the fast path, which sets its bit, and taken again by clearing it, without the
 * gate and without the buddy tree. How much may lie kept is bounded.
 */
#ifndef BM_CORE_PAGE_BLOCK_H
#define BM_CORE_PAGE_BLOCK_H

#include "core/arena.h"

/* A block of `bytes` (rounded up to leaves, at most BM_PAGE_BLOCK_MAX) at a multiple of
 * `alignment`, a power of two up to BM_PAGE_BLOCK_MAX. *is_zero: whether it reads as zero.
 * Owner; takes the gate. NULL: no memory. */
void *bm_page_block_allocate(struct bm_arena *arena, size_t bytes, size_t alignment,
                             bool *is_zero);

/* Resizes a live page block of the owner's arena in place. False: it cannot, or not without
 * moving; nothing changed. Owner; takes the gate. */
BM_MUST_CHECK bool bm_page_block_resize(struct bm_arena *arena, struct bm_tree *tree,
                                        struct bm_slab *slab, size_t bytes);

/* Keeps a page block that is free and not kept. False: there is no place. Gate. */
bool bm_page_block_keep(struct bm_arena *arena, struct bm_tree *tree, struct bm_slab *slab);

/* Lets go of all kept blocks. Owner, under the gate. */
void bm_page_block_drop_all(struct bm_arena *arena);

#endif
