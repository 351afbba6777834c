/*
 * buddy tree: which runs of equal leaves are free, one bit a node.
 *
 * A binary tree over 2^depth leaves, numbered like a heap: the root is node 1, the children
 * of n are 2n and 2n + 1, its buddy is n ^ 1, its parent n / 2. Level l holds the nodes
 * [2^l, 2^(l+1)); a node of level l covers 2^(depth - l) leaves. A set bit says "this node is
 * one free block". Allocated leaves have no bit anywhere on their way up to the root.
 *
 *     level 0            1                  leaves 0-3 allocated, 4-7 free:
 *     level 1      2          3             only the bit of node 3 is set; allocating one
 *     level 2    4   5      6   7           leaf clears it and sets 7 and 13 (the right
 *     level 3   8 9 10 11 12 13 14 15       halves on the way down to node 12)
 *
 * Invariants (bm_buddy_tree_verify walks them):
 *   1. two buddies are never both free: they would be one free block of the parent;
 *   2. no free node has a free ancestor;
 *   3. bit l of free_levels is set if and only if level l has a free node;
 *   4. free_leaves is the sum of the leaves that the free nodes cover.
 *
 * The same tree hands out the pages of a chunk and the chunks of a region. It knows neither:
 * it holds no addresses and takes no lock; whoever owns it brings both.
 */
#ifndef BM_CORE_BUDDY_TREE_H
#define BM_CORE_BUDDY_TREE_H

#include "base/attributes.h"
#include "base/bits.h"

#include <stdbool.h>
#include <stdint.h>

enum {
    BM_BUDDY_MAX_DEPTH = 10,
    BM_BUDDY_MAX_LEAVES = 1 << BM_BUDDY_MAX_DEPTH,
    BM_BUDDY_WORDS = 2 * BM_BUDDY_MAX_LEAVES / 64,
};

struct bm_buddy_tree {
    uint16_t depth;       /* constant after init */
    uint16_t free_levels; /* invariant 3 */
    uint32_t free_leaves; /* invariant 4 */
    uint64_t is_free[BM_BUDDY_WORDS];
};

/* A tree of 2^depth leaves, none of them free; depth <= BM_BUDDY_MAX_DEPTH. */
void bm_buddy_tree_init(struct bm_buddy_tree *tree, unsigned depth);

/* The order of the smallest block that holds `leaves` leaves: log2, rounded up. */
static inline unsigned bm_order_of(unsigned leaves)
{
    return leaves <= 1 ? 0 : bm_highest_bit(leaves - 1) + 1;
}

/* The order of the largest free block, or -1 when nothing is free. */
static inline int bm_buddy_tree_largest_order(const struct bm_buddy_tree *tree)
{
    return tree->free_levels == 0 ? -1 : tree->depth - (int)bm_lowest_bit(tree->free_levels);
}

/* Takes `leaves` leaves that start at a multiple of 2^order, 2^order >= leaves: of the smallest
 * free blocks that hold 2^order the one of the lowest address, trimmed to `leaves`; what is
 * left of it is free again. False: no free block is large enough. */
BM_MUST_CHECK bool bm_buddy_tree_allocate(struct bm_buddy_tree *tree, unsigned order,
                                          unsigned leaves, unsigned *first);

/* The same of any of those free blocks, so that nobody knows where what was allocated lies. */
BM_MUST_CHECK bool bm_buddy_tree_allocate_at_random(struct bm_buddy_tree *tree, unsigned order,
                                                    unsigned leaves, unsigned *first);

/* Where bm_buddy_tree_allocate would take them; false: no free block is large enough. */
bool bm_buddy_tree_find(const struct bm_buddy_tree *tree, unsigned order, unsigned *first);

/* Takes exactly the leaves [first, first + leaves) if all of them are free: how a block grows in
 * place. False: some leaf is not free, and nothing changed. */
BM_MUST_CHECK bool bm_buddy_tree_claim(struct bm_buddy_tree *tree, unsigned first, unsigned leaves);

/* Frees the leaves [first, first + leaves), which must all be allocated. Any run will do, so
 * trimming a tail and freeing a trimmed block are this same call. */
void bm_buddy_tree_release(struct bm_buddy_tree *tree, unsigned first, unsigned leaves);

/* The first free block at or after leaf `from`, in address order: true and its run, or false
 * when there is none. For walks: start at 0, go on at *first + *leaves. */
bool bm_buddy_tree_next_free(const struct bm_buddy_tree *tree, unsigned from, unsigned *first,
                             unsigned *leaves);

/* The last free block of exactly an order that starts before leaf `before`: true and its first
 * leaf, or false when there is none. For walks down: start at 2^depth, go on at *first. */
bool bm_buddy_tree_previous_of_order(const struct bm_buddy_tree *tree, unsigned order,
                                     unsigned before, unsigned *first);

/* Whether a leaf is free, and then the free block that covers it. */
bool bm_buddy_tree_covers(const struct bm_buddy_tree *tree, unsigned leaf, unsigned *first,
                          unsigned *leaves);

/* How many free blocks there are of an order. */
unsigned bm_buddy_tree_count_free(const struct bm_buddy_tree *tree, unsigned order);

/* Walks every invariant; aborts with the broken one. */
void bm_buddy_tree_verify(const struct bm_buddy_tree *tree);

#endif
